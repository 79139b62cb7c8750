//! The result of a Digipost *mottakersplitt*, for those who have asked Digipost so far.
//!
//! A sender sends `mottakersplitt.xml` with recipients by number (`kunde-id`, `foedselsnummer`), and gets
//! `mottakersplitt-resultat.xml` with a status for each: the schemas `mottakersplitt` and `mottakersplitt-resultat`,
//! `http://www.digipost.no/xsd/avsender2_1`. A split of such a run writes that result beside its files.

use super::error::ListError;
use super::input::{self, Input};
use super::options::{Duplicates, Progress};
use super::output_directory::{OutputDirectory, write_error};
use super::report::{FEEDBACK, MOTTAKERSPLITT_RESULT, MottakersplittSummary};
use super::sniff::ListForm;
use crate::limits::CHUNK_BYTES;
use crate::register::Kind;
use crate::runs::{BytesEnd, Letters, RunDescription};
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Digipost in KRR.
const DIGIPOST: &[u8] = b"984661185";
/// The namespace of the result if the run names none.
const NAMESPACE: &str = "http://www.digipost.no/xsd/avsender2_1";
/// Columns of the feedback.
const OUTCOME: usize = 2;
const REASON: usize = 3;
const OPERATOR: usize = 4;

/// A recipient's status (`mottaker-status-kode`), and why it is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Digipost,
    Identified,
    Unidentified,
    /// The number cannot be one.
    BadNumber,
    /// No `kunde-id`.
    BadCustomer,
}

impl Status {
    /// From a line of the feedback.
    fn of(line: &csv::ByteRecord) -> Status {
        match (&line[OUTCOME], &line[REASON], &line[OPERATOR]) {
            (b"digital", _, DIGIPOST) => Status::Digipost,
            (b"rejected", b"no_id" | b"empty", _) | (_, b"not_registered", _) => Status::Unidentified,
            (b"rejected", ..) => Status::BadNumber,
            _ => Status::Identified,
        }
    }

    /// The code, and the reason of what is invalid.
    fn code(self) -> (&'static str, Option<&'static str>) {
        match self {
            Status::Digipost => ("DIGIPOST", None),
            Status::Identified => ("IDENTIFISERT", None),
            Status::Unidentified => ("UIDENTIFISERT", None),
            Status::BadNumber => ("UGYLDIG", Some("UGYLDIG_FOEDSELSNUMMER")),
            Status::BadCustomer => ("UGYLDIG", Some("UGYLDIG_KUNDEID")),
        }
    }
}

/// Whether a run is a mottakersplitt.
pub(super) fn is_mottakersplitt(description: Option<&RunDescription>) -> bool {
    matches!(description, Some(RunDescription::Mottakersplitt(_)))
}

/// Checks that a job can answer a mottakersplitt: it reads its run twice, and has an answer for each recipient.
pub(super) fn check(
    description: Option<&RunDescription>,
    list: &Path,
    kind: Kind,
    duplicates: Duplicates,
) -> Result<(), ListError> {
    let problem = match () {
        () if !is_mottakersplitt(description) => return Ok(()),
        () if kind != Kind::Krr => "its recipients have Norwegian numbers: use a register of KRR",
        () if list.as_os_str() == "-" => "it is read twice, from a file only",
        () if duplicates == Duplicates::SetAside => {
            "its result has an answer for each recipient: omit --duplicates set-aside"
        }
        () => return Ok(()),
    };
    Err(ListError::Mottakersplitt(problem))
}

/// Writes the result of a split whose feedback is written.
pub(super) fn write_result(
    list: &Path,
    form: &ListForm,
    directory: &OutputDirectory,
    (started, ended): (jiff::Timestamp, jiff::Timestamp),
    (sync, progress): (bool, &dyn Progress),
) -> Result<MottakersplittSummary, ListError> {
    let Some(column) = form.run.as_ref().and_then(|run| run.column("kunde-id")) else {
        return Err(ListError::Sums);
    };
    let mut statuses = Vec::new();
    {
        let feedback = directory.mapped(FEEDBACK)?;
        let mut lines = csv::Reader::from_reader(feedback.as_ref());
        let (mut line, mut customer) = (csv::ByteRecord::new(), Vec::new());
        each_letter(list, form, progress, &mut |letter| {
            if !lines.read_byte_record(&mut line).is_ok_and(|has_line| has_line && line.len() > OPERATOR) {
                return Err(ListError::ListChanged);
            }
            customer.clear();
            column.read(letter, &mut customer);
            let has_customer = !customer.trim_ascii().is_empty();
            statuses.push(if has_customer { Status::of(&line) } else { Status::BadCustomer });
            Ok(())
        })?;
    }
    let count = |counted: &[Status]| statuses.iter().filter(|status| counted.contains(status)).count() as u64;
    let mut summary = MottakersplittSummary {
        path: MOTTAKERSPLITT_RESULT.to_owned(),
        digipost: count(&[Status::Digipost]),
        identified: count(&[Status::Identified]),
        unidentified: count(&[Status::Unidentified]),
        invalid: count(&[Status::BadNumber, Status::BadCustomer]),
        digest: String::new(),
    };
    let file = directory.create_file(MOTTAKERSPLITT_RESULT)?;
    let failed = write_error(&directory.partial_path(MOTTAKERSPLITT_RESULT));
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let head = head(&String::from_utf8_lossy(&form.beginning), &summary, (started, ended));
    out.write_all(head.as_bytes()).map_err(&failed)?;
    let (mut next, mut customer) = (statuses.iter(), Vec::new());
    each_letter(list, form, progress, &mut |letter| {
        let (code, reason) = next.next().ok_or(ListError::ListChanged)?.code();
        customer.clear();
        column.read(letter, &mut customer);
        let customer = xml_text(&String::from_utf8_lossy(&customer));
        let reason =
            reason.map_or(String::new(), |reason| format!("<ugyldig-grunn>{reason}</ugyldig-grunn>"));
        let line = format!(
            "    <resultat><kunde-id>{customer}</kunde-id><status>{code}</status>{reason}</resultat>\n"
        );
        out.write_all(line.as_bytes()).map_err(&failed)
    })?;
    if next.next().is_some() {
        return Err(ListError::ListChanged);
    }
    out.write_all(b"  </mottaker-resultater>\n</mottakersplitt-resultat>\n").map_err(&failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    if sync {
        file.sync_data().map_err(&failed)?;
    }
    let bytes = file.metadata().map_err(&failed)?.len();
    summary.digest = directory.digest(MOTTAKERSPLITT_RESULT, bytes)?;
    Ok(summary)
}

/// Calls `each` with each letter of a run.
fn each_letter(
    list: &Path,
    form: &ListForm,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[u8]) -> Result<(), ListError>,
) -> Result<(), ListError> {
    let Some(run) = &form.run else { return Ok(()) };
    let mut letters = Letters::default();
    let mut of_chunk = |bytes: &[u8], ends| -> Result<(usize, bool), ListError> {
        if progress.interrupted() {
            return Err(ListError::Interrupted);
        }
        letters.clear();
        run.letters(bytes, CHUNK_BYTES, ends, &mut letters)?;
        let mut start = 0;
        for letter in letters.all() {
            each(&bytes[start..letter.end])?;
            start = letter.end;
        }
        Ok((letters.end, letters.is_last || letters.end == 0))
    };
    match input::open(list)? {
        Input::Mapped(mapped) => {
            let mut at = form.prefix;
            loop {
                let rest = mapped.as_ref().get(at..).unwrap_or_default();
                let (end, is_last) = of_chunk(rest, BytesEnd::Run)?;
                at += end;
                if is_last {
                    return Ok(());
                }
            }
        }
        Input::Stream(mut stream) => {
            stream.skip(form.prefix);
            while let Some(bytes) = stream.letters(run, &mut Vec::new(), progress)? {
                let mut at = 0;
                while at < bytes.len() {
                    let (end, is_last) = of_chunk(&bytes[at..], BytesEnd::Letter)?;
                    at += end;
                    if is_last {
                        break;
                    }
                }
            }
            Ok(())
        }
        Input::Workbook(_) => Err(ListError::ListChanged),
    }
}

/// What is before the results, of the run that begins with `beginning`.
fn head(
    beginning: &str,
    summary: &MottakersplittSummary,
    (started, ended): (jiff::Timestamp, jiff::Timestamp),
) -> String {
    let Job { namespace, sender, processor, job } = Job::of(beginning);
    let element = |name: &str, text: &str| format!("    <{name}>{}</{name}>\n", xml_text(text));
    let optional =
        |name: &str, text: &Option<String>| text.as_ref().map_or(String::new(), |text| element(name, text));
    let number = |name: &str, number: u64| element(name, &number.to_string());
    let time = |time: jiff::Timestamp| time.round(jiff::Unit::Second).unwrap_or(time).to_string();
    let total = summary.digipost + summary.identified + summary.unidentified + summary.invalid;
    [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(),
        format!(
            "<mottakersplitt-resultat xmlns=\"{}\">\n",
            escape(namespace.as_deref().unwrap_or(NAMESPACE))
        ),
        "  <status>SUKSESS</status>\n  <jobb-info>\n".to_owned(),
        optional("ref-avsender-id", &sender),
        optional("ref-behandler-id", &processor),
        element("ref-jobb-id", job.as_deref().unwrap_or_default()),
        element("start-tid", &time(started)),
        element("slutt-tid", &time(ended)),
        "  </jobb-info>\n  <mottaker-sammendrag>\n".to_owned(),
        number("total", total),
        number("digipost", summary.digipost),
        number("digipost-vask", 0),
        number("identifisert", summary.identified),
        number("identifisert-vask", 0),
        number("uidentifisert", summary.unidentified),
        number("uidentifisert-flere-treff", 0),
        number("ugyldig", summary.invalid),
        "  </mottaker-sammendrag>\n  <mottaker-resultater>\n".to_owned(),
    ]
    .concat()
}

/// A text as XML has it; what XML cannot have is replaced.
fn xml_text(text: &str) -> String {
    let is_control = |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    let is_none = |character: char| matches!(character, '\u{FFFE}' | '\u{FFFF}');
    escape(text.trim().replace(|character| is_control(character) || is_none(character), "\u{FFFD}"))
        .into_owned()
}

/// What a result repeats of its run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Job {
    namespace: Option<String>,
    sender: Option<String>,
    processor: Option<String>,
    job: Option<String>,
}

impl Job {
    /// From what is before the first letter, which has been read as XML.
    fn of(beginning: &str) -> Job {
        let mut reader = Reader::from_str(beginning);
        let (mut found, mut text, mut depth) = (Job::default(), String::new(), 0);
        loop {
            match reader.read_event() {
                Ok(Event::Start(element)) => {
                    if depth == 0 {
                        found.namespace = namespace_of(&element);
                    }
                    depth += 1;
                    text.clear();
                }
                Ok(Event::End(element)) => {
                    let place = match element.local_name().into_inner() {
                        "avsender-id" => &mut found.sender,
                        "behandler-id" => &mut found.processor,
                        "jobb-id" => &mut found.job,
                        _ => continue,
                    };
                    *place = Some(text.trim().to_owned());
                }
                Ok(Event::Text(part)) => text.push_str(&part),
                Ok(Event::CData(part)) => text.push_str(&part),
                Ok(Event::GeneralRef(reference)) => match reference.resolve_char_ref() {
                    Ok(Some(character)) => text.push(character),
                    _ => text.push_str(resolve_predefined_entity(&reference).unwrap_or_default()),
                },
                Ok(Event::Eof) | Err(_) => return found,
                Ok(_) => {}
            }
        }
    }
}

/// The namespace that an element's own name is in.
fn namespace_of(element: &BytesStart<'_>) -> Option<String> {
    let name = element.name();
    let prefix = name.prefix().map(|prefix| prefix.into_inner().to_owned());
    let wanted = prefix.map_or("xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
    let attribute = element.attributes().flatten().find(|attribute| attribute.key.into_inner() == wanted)?;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_repeats_the_job_of_its_run() {
        let beginning = "<?xml version=\"1.0\"?>\n<d:mottakersplitt xmlns:d=\"urn:x\"><d:jobb-innstillinger>\
            <d:avsender-id>1</d:avsender-id><d:jobb-id> a&amp;<![CDATA[<]]>&#66;<!-- c -->b </d:jobb-id><d:jobb-navn>Skatt</d:jobb-navn>\
            </d:jobb-innstillinger><d:mottakere>";
        let job = Job::of(beginning);
        assert_eq!(job.namespace.as_deref(), Some("urn:x"));
        assert_eq!(
            (job.sender.as_deref(), job.processor, job.job.as_deref()),
            (Some("1"), None, Some("a&<Bb"))
        );
    }

    #[test]
    fn statuses_of_feedback() {
        for (line, status) in [
            ("1,01010012345,digital,,984661185", Status::Digipost),
            ("1,01010012345,digital,,996460320", Status::Identified),
            ("1,01010012345,notify,,", Status::Identified),
            ("1,01010012345,paper,reserved,", Status::Identified),
            ("1,01010012345,paper,not_registered,", Status::Unidentified),
            ("1,,rejected,no_id,", Status::Unidentified),
            ("1,,rejected,bad_check_digit,", Status::BadNumber),
        ] {
            let record = csv::ByteRecord::from(line.split(',').collect::<Vec<_>>());
            assert_eq!(Status::of(&record), status, "{line}");
        }
    }
}
