//! `personer.jsonl` or `kontaktregister.xml`: a KRR register.

use super::description::{Description, day_of};
use super::error::BuildError;
use super::far_actors::check_limit;
use super::rejected::Rejected;
use super::source;
use crate::decode::{DecodedPerson, KRR_XML_FILE, KrrXmlReader, Reason, decode_person, reason};
use crate::identities::Today;
use crate::limits::{DECODED_BYTES, LINE_BYTES_MAX, OPERATORS_MAX, RECIPIENTS_MAX};
use crate::line_reader::{LineReader, ReadLine};
use crate::register::Person;
use crate::snapshot::krr::{KrrDraft, KrrRow};
use crate::snapshot::write::Draft;
use rayon::prelude::*;
use std::io::BufRead;
use std::path::{Path, PathBuf};

pub(super) const FILE: &str = "personer.jsonl";
/// Persons that are decoded at a time.
const BATCH_PERSONS: usize = 8192;

pub(super) fn read(
    extract: &Path,
    description: &Description,
    rejected: &mut Rejected,
) -> Result<Draft<'static>, BuildError> {
    let xml = source::open_if_present(extract, KRR_XML_FILE)?;
    let lines = source::open_if_present(extract, FILE)?;
    let mut collector = Collector::default();
    let (sequence, as_of) = match (xml, lines) {
        (Some(_), Some(_)) => {
            return Err(
                description.error(format!("the extract has both {FILE} and {}: leave one", KRR_XML_FILE))
            );
        }
        (None, None) => return Err(BuildError::Missing { extract: extract.to_owned(), name: FILE }),
        (Some(xml), None) => {
            let mut xml = KrrXmlReader::of_export(xml.reader, xml.path)?;
            let (sequence, as_of) = description.version(Some((xml.sequence(), xml.as_of())))?;
            let today = day_of(as_of);
            while let Some(batch) = xml.persons(BATCH_PERSONS, DECODED_BYTES)? {
                collector.take(KRR_XML_FILE, decode(batch, today, Ok), rejected)?;
            }
            (sequence, as_of)
        }
        (None, Some(lines)) => {
            let (sequence, as_of) = description.version(None)?;
            let today = day_of(as_of);
            let (path, reader) = (lines.path, LineReader::new(lines.reader, LINE_BYTES_MAX));
            let mut lines = Lines { path, reader };
            while let Some(batch) = lines.batch(BATCH_PERSONS)? {
                collector.take(FILE, decode(batch, today, |text| person_of_json(&text?)), rejected)?;
            }
            (sequence, as_of)
        }
    };
    let file = if collector.from_xml { KRR_XML_FILE } else { FILE };
    collector.finish(sequence, as_of, file, rejected)
}

/// A line, unless it is too long, and its number, from 1.
type Line = (u64, Result<Vec<u8>, Reason>);

struct Lines {
    path: PathBuf,
    reader: LineReader<Box<dyn BufRead + Send>>,
}

impl Lines {
    /// The next lines that are not blank, at most `count`, each with its number. `None` at the end.
    fn batch(&mut self, count: usize) -> Result<Option<Vec<Line>>, BuildError> {
        let (mut batch, mut bytes) = (Vec::with_capacity(count), 0);
        while batch.len() < count && bytes < DECODED_BYTES {
            let mut text = Vec::new();
            let read = self.reader.read(&mut text);
            let read = read.map_err(|error| BuildError::Read { path: self.path.clone(), error })?;
            let line = self.reader.number();
            match read {
                ReadLine::End => break,
                ReadLine::TooLong => batch.push((line, Err(reason("line_too_long", "")))),
                ReadLine::Whole => {
                    if line == 1 && text.starts_with(b"\xEF\xBB\xBF") {
                        text.drain(..3);
                    }
                    bytes += text.len();
                    if !text.trim_ascii().is_empty() {
                        batch.push((line, Ok(text)));
                    }
                }
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

fn person_of_json(text: &[u8]) -> Result<Person, Reason> {
    serde_json::from_slice(text).map_err(|_| reason("bad_json", ""))
}

/// Decodes persons on all cores.
fn decode<T: Send>(
    batch: Vec<(u64, T)>,
    today: Today,
    read: impl Fn(T) -> Result<Person, Reason> + Sync,
) -> Vec<(u64, Result<DecodedPerson, Reason>)> {
    let each =
        |(line, given)| (line, read(given).and_then(|given| decode_person(&upper_case_words(given), today)));
    batch.into_par_iter().map(each).collect()
}

/// An extract may have been written by hand: its words are compared without case.
fn upper_case_words(mut person: Person) -> Person {
    let Person { reservasjon, status, kontaktinformasjon, .. } = &mut person;
    let shared = kontaktinformasjon
        .as_mut()
        .map(|channels| [&mut channels.epostadresse_duplisert, &mut channels.mobiltelefonnummer_duplisert]);
    for word in [reservasjon, status].into_iter().chain(shared.into_iter().flatten()) {
        *word = word.trim().to_uppercase();
    }
    person
}

#[derive(Default)]
struct Collector {
    draft: KrrDraft,
    from_xml: bool,
}

impl Collector {
    fn take(
        &mut self,
        file: &'static str,
        batch: Vec<(u64, Result<DecodedPerson, Reason>)>,
        rejected: &mut Rejected,
    ) -> Result<(), BuildError> {
        self.from_xml = file == KRR_XML_FILE;
        rejected.count_rows(file, batch.len() as u64);
        for (line, read) in batch {
            match read {
                Ok(DecodedPerson { ordinal, state, contact, operator, certificate }) => {
                    self.draft.add(ordinal, line, state, &contact, &operator, &certificate);
                }
                Err(why) => rejected.push(file, line, why)?,
            }
        }
        check_limit("operators", self.draft.operators(), OPERATORS_MAX)?;
        check_limit("persons", self.draft.rows.len(), RECIPIENTS_MAX)
    }

    fn finish(
        mut self,
        sequence: u64,
        as_of: jiff::Timestamp,
        file: &'static str,
        rejected: &mut Rejected,
    ) -> Result<Draft<'static>, BuildError> {
        // Stable: of several entries for a person the first counts, even if they share a line.
        self.draft.rows.par_sort_by_key(|row| row.ordinal);
        let of = |row: &KrrRow| (row.ordinal, row.line);
        rejected.duplicates(&mut self.draft.rows, of, file, "personidentifikator")?;
        Ok(self.draft.finish(sequence, as_of))
    }
}
