//! The first letters of a print run as a job would read them.

use super::error::ListError;
use super::id_numbers::IdNumbers;
use super::input;
use super::mottakersplitt::is_mottakersplitt;
use super::rows::RowProblem;
use crate::identities::{Country, Today};
use crate::plain_text::masked;
use crate::runs::{BytesEnd, Letters, NoProposal, RunDescription, RunError, propose};
use std::path::Path;

/// Bytes of a compressed run, or of one on standard input, that are looked at.
const STREAM_BYTES: usize = 64 << 20;
/// Letters that are shown.
const LETTERS_SHOWN: usize = 3;
/// Lines of a letter that are shown.
const LINES_SHOWN: usize = 12;

/// A description, and what it makes of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPreview {
    /// The description.
    pub description: RunDescription,
    /// The first lines of what is before the first letter, masked: it goes to every file.
    pub before: Vec<String>,
    /// The first letters, and the last one.
    pub letters: Vec<LetterPreview>,
    /// The first lines of what is behind the last letter, masked: it goes to every file.
    pub after: Vec<String>,
    /// Letters that were found, and those of them that have an id.
    pub found: u64,
    /// Letters with a valid id.
    pub with_id: u64,
    /// Whether the whole run was read.
    pub is_whole: bool,
    /// Why no more letters were found.
    pub problem: Option<RunError>,
}

/// A letter, with its digits masked.
#[derive(Clone, Debug, PartialEq)]
pub struct LetterPreview {
    /// Its number, from 1.
    pub number: usize,
    /// Records.
    pub records: u32,
    /// Length.
    pub bytes: usize,
    /// The id, masked, or why there is none: a reason as in the feedback.
    pub id: Result<String, &'static str>,
    /// The first lines, masked.
    pub lines: Vec<String>,
}

/// Shows how a run is read by a description, or by one that is proposed.
///
/// Errors: the run cannot be read, or is not as described; nothing can be proposed. Cost: reads the run.
pub fn preview_run(
    list: &Path,
    description: Option<&RunDescription>,
    country: Country,
    today: Today,
) -> Result<Result<RunPreview, NoProposal>, ListError> {
    let mut input = input::open(list)?;
    let (bytes, is_whole) = input.beginning(STREAM_BYTES, &())?;
    // Digipost's recipients are Norwegian.
    let is_norwegian = match description {
        Some(description) => is_mottakersplitt(Some(description)),
        None => memchr::memmem::find(&bytes[..bytes.len().min(1000)], b"mottakersplitt").is_some(),
    };
    let country = if is_norwegian { Country::Norway } else { country };
    let ids = IdNumbers { country, other: None, today };
    let is_id = |text: &[u8]| ids.identity(text).is_ok();
    let description = match description {
        Some(RunDescription::Zip(_)) => return Ok(Err(NoProposal::Archive)),
        Some(description) => description.clone(),
        None => match propose(bytes, &is_id) {
            Ok(description) => description,
            Err(none) => return Ok(Err(none)),
        },
    };
    let Some(run) = description.open(bytes, is_whole)? else { return Ok(Err(NoProposal::NoStart)) };
    let (first, mut letters) = (run.first_letter(), Letters::default());
    let ends = if is_whole { BytesEnd::Run } else { BytesEnd::Anywhere };
    let problem = run.letters(&bytes[first..], usize::MAX, ends, &mut letters).err();
    let id_of = |letter| {
        let text = letters.id(letter).map_err(|problem| RowProblem::from(problem).name())?;
        ids.identity(text)
            .map(|_| masked(&String::from_utf8_lossy(text), 1))
            .map_err(|rejection| rejection.name())
    };
    let mut shown = Vec::new();
    let shown_of = |bytes: &[u8]| -> Vec<String> {
        run.lines(bytes, LINES_SHOWN).iter().map(|line| masked(line, 6)).collect()
    };
    let mut start = first;
    for (number, letter) in (1..).zip(letters.all()) {
        let end = first + letter.end;
        if number <= LETTERS_SHOWN || number == letters.all().len() {
            let lines = shown_of(&bytes[start..end]);
            shown.push(LetterPreview {
                number,
                records: letter.records,
                bytes: end - start,
                id: id_of(letter),
                lines,
            });
        }
        start = end;
    }
    let is_end = letters.is_last && is_whole;
    Ok(Ok(RunPreview {
        before: shown_of(&bytes[..first]),
        after: if is_end { shown_of(&bytes[first + letters.end..]) } else { Vec::new() },
        letters: shown,
        found: letters.all().len() as u64,
        with_id: letters.all().iter().filter(|letter| id_of(letter).is_ok()).count() as u64,
        is_whole,
        problem: problem.map(|error| error.moved(first as u64)),
        description,
    }))
}
