//! Print runs: files in which a letter is more than a row.
//!
//! A form of runs implements [`Run`]: it cuts the run into letters, finds the id of each, and says what goes around them. What
//! is before the first letter and after the last one belongs to every part of a run that is split; each letter is a range of
//! bytes between them. A new form is one file here, and a line in [`RunDescription`]. `docs/runs.md` has the forms.

mod afp;
mod cells;
mod charset;
mod counts;
mod description;
mod forms;
mod found_id;
mod proposal;
mod propose;
mod records;
#[cfg(test)]
mod tests;
mod xml;

pub use charset::Charset;
pub use counts::{CountOf, CountPlace, Totals};
pub use description::{
    AfpDescription, CountDescription, Counted, DescriptionError, Missing, MottakersplittDescription, Place,
    RecordsDescription, RunDescription, Shared, Unnamed, XmlCountDescription, XmlDescription, ZipDescription,
};
pub use proposal::{IsId, NoProposal};
pub use propose::propose;

use std::fmt;

/// Maximum length in bytes of a letter, and of what is before the first letter of a run that is read from a stream.
pub const LETTER_BYTES_MAX: usize = 256 << 20;

/// A print run that has been opened: a form, and what the beginning of a file showed.
///
/// All methods get the bytes of the run after decompression. Offsets are from the first of them.
pub trait Run: fmt::Debug + Send + Sync {
    /// Bytes before the first letter, which every part of the run begins with.
    fn first_letter(&self) -> usize;

    /// Finds letters of `bytes`, which begin with a letter or with what is after the last one: those that begin in the first
    /// `until` bytes.
    ///
    /// Errors: the run is not as its description says. Letters before are found all the same.
    fn letters(
        &self,
        bytes: &[u8],
        until: usize,
        ends: BytesEnd,
        found: &mut Letters,
    ) -> Result<(), RunError>;

    /// Where the first letter that does not begin before `from` seems to begin; the length of `bytes` if none does. They begin
    /// with a letter. A wrong guess costs time only.
    fn likely_start(&self, bytes: &[u8], from: usize) -> usize;

    /// Reads a text of each letter, for channel rules and groups; `None` if letters of this form have no texts of such names.
    fn column(&self, name: &str) -> Option<Box<dyn Column>>;

    /// How the texts that [`column`](Self::column) reads are named, for messages.
    fn column_names(&self) -> &'static str;

    /// What the numbers that depend on the letters are called.
    fn count_names(&self) -> Vec<String>;

    /// Numbers in what is before the first letter (`is_end` false) or after the last one that depend on the letters between.
    ///
    /// Errors: there is no number where the description says.
    fn counts(&self, around: &[u8], is_end: bool) -> Result<Vec<CountPlace>, RunError>;

    /// Records before the first letter or after the last one.
    fn records_around(&self, around: &[u8]) -> u64;

    /// Calls `each` with the texts in what is around the letters that are where letters have their id: there, the first record of
    /// a letter may be damaged.
    fn ids_around(&self, _around: &[u8], _each: &mut dyn FnMut(&[u8])) {}

    /// A letter as text in which other ids than its own are searched for, in ASCII as far as digits and what may be between
    /// them are concerned. `text` is filled if that is not the letter as it is.
    fn searchable<'b>(&self, letter: &'b [u8], text: &'b mut Vec<u8>) -> &'b [u8] {
        text.clear();
        letter
    }

    /// A letter as lines of text for people, at most so many.
    fn lines(&self, letter: &[u8], most: usize) -> Vec<String> {
        let mut text = Vec::new();
        let text = self.searchable(letter, &mut text);
        text.split_inclusive(|byte| *byte == b'\n').take(most).map(line).collect()
    }

    /// Sums that are made of each letter, in [`Letters::sums`].
    fn sums(&self) -> usize {
        0
    }
}

/// A line as text, without its end.
fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// Where bytes of a run end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BytesEnd {
    /// Where the run ends.
    Run,
    /// Where a letter ends and another one begins.
    Letter,
    /// Anywhere: what has no certain end is left.
    Anywhere,
}

/// Reads a text of each letter.
pub trait Column: Send + Sync {
    /// Appends the text in UTF-8; nothing if the letter has none.
    fn read(&self, letter: &[u8], text: &mut Vec<u8>);

    /// Calls `each` with all texts of the name.
    fn read_all(&self, letter: &[u8], each: &mut dyn FnMut(&[u8])) {
        let mut text = Vec::new();
        self.read(letter, &mut text);
        each(&text);
    }
}

/// Letters of a run, one after another.
#[derive(Debug, Default)]
pub struct Letters {
    all: Vec<Letter>,
    ids: Vec<u8>,
    /// For each letter its sums.
    sums: Vec<i64>,
    /// Where the next letter begins, or what is after the last one.
    pub end: usize,
    /// Whether no letter follows.
    pub is_last: bool,
}

/// A letter of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its end, which is where the next one begins.
    pub end: usize,
    /// Its records.
    pub records: u32,
    /// Bytes of its id, or why it has none.
    id: Result<u32, LetterProblem>,
    /// Where its id begins.
    id_at: u32,
}

/// Why a letter has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterProblem {
    /// No record, element or tag that may have the id.
    NoId,
    /// Several different ids.
    SeveralIds,
    /// A record of a type that the description does not name.
    UnknownRecord,
    /// What has the id ends before it.
    MissingColumn,
    /// Bytes or references that its encoding does not have.
    BadText,
}

impl Letters {
    /// No letters.
    pub fn clear(&mut self) {
        self.all.clear();
        self.ids.clear();
        self.sums.clear();
        (self.end, self.is_last) = (0, false);
    }

    /// Adds a letter with its id as text.
    pub fn push(&mut self, end: usize, records: u32, id: Result<&[u8], LetterProblem>, sums: &[i64]) {
        let id_at = self.ids.len() as u32;
        self.ids.extend(id.unwrap_or_default());
        self.sums.extend(sums);
        self.all.push(Letter { end, records, id: id.map(|id| id.len() as u32), id_at });
        self.end = end;
    }

    /// The letters.
    pub fn all(&self) -> &[Letter] {
        &self.all
    }

    /// The id of a letter.
    pub fn id(&self, letter: &Letter) -> Result<&[u8], LetterProblem> {
        letter.id.map(|length| &self.ids[letter.id_at as usize..][..length as usize])
    }

    /// The sums of all letters, one letter after another.
    pub fn sums(&self) -> &[i64] {
        &self.sums
    }
}

/// A run is not as its description says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {problem}")]
pub struct RunError {
    /// Offset from the beginning of the run, after decompression.
    pub at: u64,
    /// What is wrong.
    pub problem: RunProblem,
}

/// What is wrong with a run. No text of the run is part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunProblem {
    /// A record before the first letter is no header record.
    #[error("a record before the first letter has none of the types in `header` and `letter_start`")]
    BeforeFirst,
    /// A header record after letters.
    #[error(
        "a header record follows letters, as if several runs had been put together: split each by itself, or remove its type from `header`"
    )]
    HeaderWithin,
    /// A record after the trailer.
    #[error(
        "a record of another type follows a trailer record, as if several runs had been put together: split each by itself, or remove its type from `trailer`"
    )]
    AfterTrailer,
    /// The last record of fixed length is shorter.
    #[error("the run does not end with a whole record: is `record_length` right, or is the run cut off?")]
    PartialRecord,
    /// A record does not end.
    #[error("a record is longer than 1 MiB: is the run one of records with line ends?")]
    RecordTooLong,
    /// A letter does not end.
    #[error(
        "a letter is longer than allowed (256 MiB; in the service 8 MiB): is the beginning of letters described as it is?"
    )]
    LetterTooLong,
    /// What is before the first letter does not end.
    #[error(
        "no letter begins within the length that one may have (256 MiB; in the service 8 MiB): is the beginning of letters described as it is?"
    )]
    NoLetter,
    /// No letter in the whole run.
    #[error(
        "no letter begins in the run: is the beginning of letters (type, element, tag or pattern) described as it is?"
    )]
    NoLetters,
    /// A letter was expected.
    #[error("no letter begins here")]
    NotALetter,
    /// There is no number to be replaced.
    #[error("{0}: there is no number: is its place described as it is?")]
    NoNumber(String),
    /// A number to be replaced is not that of the run.
    #[error(
        "{count}: the run says {}, and has {}: it is cut off, or the place or meaning of the number is described wrongly",
        Shown(*said), Shown(*found)
    )]
    OtherNumber {
        /// Which number.
        count: String,
        /// The number in the run.
        said: i128,
        /// What was counted.
        found: i128,
    },
    /// A number does not fit where it must be.
    #[error("{0}: the number of a part does not fit its place")]
    NumberTooLong(String),
    /// The run ends without a trailer record.
    #[error("the run has no trailer record, as if it were cut off")]
    NoTrailer,
    /// The run ends within a letter, or before what is around the letters ends.
    #[error("the run ends here, as if it were cut off")]
    CutOff,
    /// No XML.
    #[error("this is not well-formed XML")]
    Malformed,
    /// XML with bytes or characters that its encoding does not have, around the letters.
    #[error("what is around the letters has bytes or characters that XML in this encoding cannot have")]
    Text,
    /// XML with a document type of its own.
    #[error(
        "the document declares entities or elements of its own, which is refused: remove the declarations in DOCTYPE"
    )]
    Declarations,
    /// XML in an encoding that is not supported.
    #[error("the encoding is not supported: convert the document to UTF-8")]
    Encoding,
    /// More elements within each other than any run has.
    #[error("more than 1000 elements are open")]
    TooDeep,
    /// An end without a beginning of the same name.
    #[error("what ends here has not begun")]
    EndTag,
    /// The element of letters is that of the whole document.
    #[error("the element of letters is the whole document: name the element that each letter has")]
    LetterIsRoot,
    /// Letters after what is around the letters has gone on.
    #[error(
        "a letter follows something that is not one, as in several runs put together: all letters are beside each other in a run"
    )]
    LettersElsewhere,
    /// No AFP, or a field is damaged.
    #[error("no structured field begins here: is the run AFP, and is it whole?")]
    NotAField,
    /// A page that belongs to no letter.
    #[error("a page is in no page group: its recipient is not known, and it would be copied to every file")]
    PageOutside,
    /// The id is in a tag of several segments.
    #[error("the tag with the id has several segments, which is not supported")]
    SegmentedTag,
    /// Letters of an archive are those of its index.
    #[error("an archive is read from its end, in files only")]
    Archive,
    /// A value that is summed is no number.
    #[error("{0}: a value that is summed is no number")]
    NotSummable(String),
}

/// A number in a message, unless it may be the id of a person that stands where the description looks for a number.
struct Shown(i128);

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS_OF_ID: u32 = 9;
        match self.0.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1) {
            digits if digits < DIGITS_OF_ID => write!(out, "{}", self.0),
            digits => write!(out, "a number of {digits} digits"),
        }
    }
}

impl RunError {
    /// The same error in bytes that begin after some others.
    pub(crate) fn moved(self, before: u64) -> RunError {
        RunError { at: self.at + before, ..self }
    }
}

impl RunProblem {
    /// The error at an offset.
    pub(crate) fn at(self, at: usize) -> RunError {
        RunError { at: at as u64, problem: self }
    }
}
