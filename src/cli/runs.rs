//! `run describe`, and the description of a print run from a command's options.

use super::args::{HeaderArg, ReadingArgs, RunArgs, RunCommand, RunDescribe, RunOptions, Skipped};
use super::{CommandResult, Failure};
use jiff::Timestamp;
use jiff::tz::Offset;
use nabar::identities::{Country, Today};
use nabar::mailing::{self, RunPreview};
use nabar::plain_text::plain;
use nabar::runs::{
    AfpDescription, CountDescription, Counted, DescriptionError, Place, RecordsDescription, RunDescription,
    XmlDescription,
};
use std::io::{self, Write};

impl From<DescriptionError> for Failure {
    fn from(error: DescriptionError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

pub(super) fn run(args: &RunArgs) -> CommandResult {
    match &args.command {
        RunCommand::Describe(args) => describe(args),
    }
}

fn describe(args: &RunDescribe) -> CommandResult {
    let given = args.run.as_ref().map(RunDescription::read).transpose()?;
    let country = if args.norwegian { Country::Norway } else { Country::Sweden };
    let date = Offset::UTC.to_datetime(Timestamp::now()).date();
    let today = Today::from_date(date).ok_or_else(|| Failure::Failed("the clock is wrong".to_owned()))?;
    let preview = mailing::preview_run(&args.file, given.as_ref(), country, today)
        .map_err(|error| Failure::from(error).about(&args.file))?
        .map_err(|none| Failure::Failed(none.to_string()).about(&args.file))?;
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let mut out = io::stdout().lock();
    if given.is_none() {
        writeln!(
            out,
            "# Proposed from the content of {}: compare the letters with the run before you use it.",
            plain(&name)
        )?;
    }
    write!(out, "{}", preview.description.to_toml())?;
    out.flush()?;
    show(&preview, &mut io::stderr().lock())?;
    match preview.problem {
        Some(problem) => {
            Err(Failure::Refused(format!("the run is not as described: {problem}")).about(&args.file))
        }
        None => Ok(()),
    }
}

/// Prints the first letters.
fn show(preview: &RunPreview, out: &mut impl Write) -> io::Result<()> {
    let around = |out: &mut dyn Write, title: &str, lines: &[String]| {
        writeln!(out, "\n{title}, in every file of a split:")?;
        lines.iter().try_for_each(|line| writeln!(out, "    {line}"))
    };
    around(out, "before the first letter", &preview.before)?;
    for letter in &preview.letters {
        let id = match &letter.id {
            Ok(id) => id.clone(),
            Err(reason) => format!("rejected, {reason}"),
        };
        let number = letter.number;
        writeln!(out, "\nletter {number}: id {id}, {} records, {} bytes", letter.records, letter.bytes)?;
        letter.lines.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    }
    around(out, "behind the last letter", &preview.after)?;
    let share = if preview.is_whole { "letters" } else { "letters in the part of the run that was read" };
    writeln!(out, "\n{} {share}, {} with a valid id", preview.found, preview.with_id)
}

/// The description of the run that a list is; `None` if it has one row a letter.
pub(super) fn description(reading: &ReadingArgs) -> Result<Option<RunDescription>, Failure> {
    let options = &reading.run;
    let description = match (&options.run, &options.letter_element, &options.id_tag) {
        (Some(path), ..) => RunDescription::read(path)?,
        (None, Some(letter_element), _) => RunDescription::Xml(XmlDescription {
            letter_element: letter_element.clone(),
            id_path: options.id_path.clone().unwrap_or_default(),
            ..XmlDescription::default()
        }),
        (None, None, Some(id_tag)) => {
            RunDescription::Afp(AfpDescription { id_tag: id_tag.clone(), ..AfpDescription::default() })
        }
        (None, None, None) if has_records(options) => RunDescription::Records(records(reading)?),
        (None, None, None) => return Ok(None),
    };
    description.check()?;
    check_reading(reading, &description)?;
    Ok(Some(description))
}

fn has_records(options: &RunOptions) -> bool {
    let RunOptions { record_type, letter_key, letter_match, record_length, charset, .. } = options;
    record_type.is_some()
        || letter_key.is_some()
        || letter_match.is_some()
        || record_length.is_some()
        || charset.is_some()
}

fn records(reading: &ReadingArgs) -> Result<RecordsDescription, Failure> {
    let options = &reading.run;
    let usage = |text: &str| Failure::Usage(text.to_owned());
    let id_at = match (reading.id_at, &reading.id_columns[..]) {
        (Some((offset, length)), _) => Place::Bytes(offset, length),
        (None, [column]) => match column.parse() {
            Ok(place @ Place::Column(_)) => place,
            _ => return Err(usage("--id-column: records have columns with numbers, from 1")),
        },
        (None, _) => return Err(usage("say where the id is: --id-at, or --id-column of delimited records")),
    };
    let charset = match &options.charset {
        None => Default::default(),
        Some(name) => serde_json::from_value(name.clone().into())
            .map_err(|_| usage("--charset: utf-8, iso-8859-1, ebcdic-278, ebcdic-500 or ebcdic-1143"))?,
    };
    let mut trailer = options.trailer_record.clone();
    let mut counts = Vec::new();
    for text in &options.trailer_count {
        let (within, at) = text
            .split_once(':')
            .and_then(|(kind, place)| Some((kind.to_owned(), place.parse().ok()?)))
            .ok_or_else(|| usage("--trailer-count: write TYPE:OFFSET:LENGTH, or TYPE:COLUMN"))?;
        if !trailer.contains(&within) {
            trailer.push(within.clone());
        }
        counts.push(CountDescription { within, at, of: Counted::Letters, sum_in: Vec::new(), sum_at: None });
    }
    Ok(RecordsDescription {
        charset,
        record_length: options.record_length,
        delimiter: reading.delimiter.map(|delimiter| char::from(delimiter.0).to_string()),
        record_type: options.record_type,
        letter_start: options.letter_start.clone(),
        letter_key: options.letter_key,
        letter_match: options.letter_match.clone(),
        id_in: options.id_in.clone(),
        id_at,
        header: options.header_record.clone(),
        trailer,
        counts,
        ..RecordsDescription::default()
    })
}

/// Errors: options of rows are given for a print run.
fn check_reading(reading: &ReadingArgs, description: &RunDescription) -> Result<(), Failure> {
    let is_given = reading.run.run.is_some() || !matches!(description, RunDescription::Records(_));
    let places = reading.id_at.is_some() || !reading.id_columns.is_empty() || reading.delimiter.is_some();
    let option = match () {
        () if is_given && places => "--id-at, --id-column and --delimiter are part of",
        () if reading.two_ids.is_some() || !reading.expected_ids.is_empty() => {
            "--two-ids and --expected-ids are of lists with one row a letter, not of"
        }
        () if !matches!(reading.header, HeaderArg::Auto) || reading.skip_rows > 0 => {
            "--header and --skip-rows are of lists with one row a letter, not of"
        }
        () if reading.skipped == Skipped::Drop => "--skipped is of lists with one row a letter, not of",
        () => return Ok(()),
    };
    Err(Failure::Usage(format!("{option} the description of a print run (docs/runs.md)")))
}
