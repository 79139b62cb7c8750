//! Why a list cannot be checked or split.

use super::file_kind::FileKind;
use super::likely_cause::LikelyCause;
use super::report::REPORT;
use crate::plain_text::plain;
use crate::register::{Damage, QuestionError, ScopeError};
use crate::runs::RunError;
use crate::sheets::WorkbookError;
use crate::snapshot::OpenError;
use crate::store::StoreError;
use std::io;
use std::path::PathBuf;
use zip::result::ZipError;

/// Why a list cannot be checked or split. [`ListError::hint`] says which setting of the job may help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The list cannot be read.
    #[error("cannot read the list: {0}")]
    Read(io::Error),
    /// Memory cannot be allocated.
    #[error("cannot allocate memory: {0}")]
    Memory(io::Error),
    /// An output cannot be written.
    #[error("cannot write {}: {error}; nothing was left behind", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Most of the first rows are several rows in one.
    #[error(
        "most rows of the list hold the identity of another recipient right behind a text, as if line ends were lost: export \
         the list again"
    )]
    LineEndsLost,
    /// The columns have another order from some row on.
    #[error(
        "the list has {0} rows with titles of its columns in another order, as if files with different columns had been put \
         together: the rows below would go to the wrong recipients; nothing was left behind"
    )]
    OtherHeader(u64),
    /// A finished file cannot be renamed to its final name.
    #[error("cannot rename a file to {}: {error}; without {REPORT} the directory is incomplete", path.display())]
    Finish {
        /// The final name.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The list is another kind of file.
    #[error("this is {0}")]
    NotAList(FileKind),
    /// No column holds identities, and the list seems to have another form than rows with cells.
    #[error("no column holds identities: {cause}")]
    NotRows {
        /// What it seems to be.
        cause: LikelyCause,
    },
    /// The header, or a line above it, holds an identity.
    #[error(
        "the header, or a line above it, may hold a recipient's row (an identity, a number that may be one, or as many cells \
         as two rows), which would be copied to every file"
    )]
    HeaderIsRow,
    /// More than two columns of identities are named, or the same one twice.
    #[error("the identities can be in one column, or in two different ones")]
    BadIdColumns,
    /// The column of the identities cannot be determined.
    #[error("cannot determine the column of the identities; the columns are: {columns}")]
    UnknownIdColumn {
        /// The columns, and the share of identities in each.
        columns: String,
    },
    /// The delimiter cannot be determined.
    #[error(
        "cannot determine the delimiter: with '{}' and with '{}' most rows have an identity, in different places",
        char::from(*one).escape_default(), char::from(*other).escape_default()
    )]
    UnknownDelimiter {
        /// The better candidate.
        one: u8,
        /// Another one.
        other: u8,
    },
    /// The list has no such column.
    #[error("the list has no column {}{similar}; it has: {columns}", shown(wanted))]
    NoSuchColumn {
        /// The name or number that was given.
        wanted: String,
        /// The columns, and the share of identities in each.
        columns: String,
        /// A question with the nearest name, or empty.
        similar: String,
    },
    /// The list has no column that channel rules read.
    #[error("line {line} of the rules: the list has no column {}{similar}; it has: {columns}", shown(wanted))]
    NoRuleColumn {
        /// Line in the file of rules.
        line: usize,
        /// The name or number in the file of rules.
        wanted: String,
        /// The columns, and the share of identities in each.
        columns: String,
        /// A question with the nearest name, or empty.
        similar: String,
    },
    /// A list of ids that channel rules name cannot be used.
    #[error("the list {name} of the rules (line {line}): {error}")]
    IdList {
        /// Its name in the file of rules.
        name: String,
        /// Line in the file of rules.
        line: usize,
        /// Why.
        error: Box<ListError>,
    },
    /// A register that channel rules name cannot be used.
    #[error("the register {name} of the rules (line {line}): {error}")]
    FurtherRegister {
        /// Its name in the file of rules.
        name: String,
        /// Line in the file of rules.
        line: usize,
        /// Why.
        error: Box<FurtherRegisterError>,
    },
    /// A register that channel rules name has the answers for some ids only, and the rules ask for others.
    #[error(
        "the register {name} of the rules was not asked for the recipients of {letters} letters: that is not to say that they \
         are not registered; nothing was left behind. Resolve this list, and use its answers"
    )]
    FurtherNotAsked {
        /// Its name in the file of rules.
        name: String,
        /// Letters.
        letters: u64,
    },
    /// Rows of a list of ids that channel rules name have no id.
    #[error(
        "the list {name} of the rules (line {line}) has rows without a valid id ({rejected}), or with what may be a second one, and a letter to one of these \
         recipients could go the wrong way: correct them (nabar check counts them by reason), or allow them with max_rejected"
    )]
    IdListRejected {
        /// Its name in the file of rules.
        name: String,
        /// Line in the file of rules.
        line: usize,
        /// Rows.
        rejected: u64,
    },
    /// A list of ids that channel rules name has no id.
    #[error(
        "the list {name} of the rules (line {line}) has no id: is it the right file? If it may be empty, say \
         may_be_empty = true"
    )]
    IdListEmpty {
        /// Its name in the file of rules.
        name: String,
        /// Line in the file of rules.
        line: usize,
    },
    /// Several columns of the list have the name that channel rules read.
    #[error(
        "line {line} of the rules: several columns of the list are named {}: name it by its number",
        shown(wanted)
    )]
    AmbiguousColumn {
        /// Line in the file of rules.
        line: usize,
        /// The name.
        wanted: String,
    },
    /// Outcomes times channel rules are more than a job can count.
    #[error(
        "the register has {operators} operators, too many for {rules} channel rules and the operators of their further registers"
    )]
    TooManyRules {
        /// Operators of the register.
        operators: usize,
        /// Rules.
        rules: usize,
    },
    /// Letters would be grouped by the identities of their recipients.
    #[error(
        "letters are not grouped by identities: group by another column than one of recipients or other people"
    )]
    GroupsOfIdentities,
    /// A column by which letters are grouped has a different text in nearly each row.
    #[error(
        "column {} has more than {most} different texts, or too long ones: group by another column",
        shown(column)
    )]
    TooManyGroups {
        /// Its name or number.
        column: String,
        /// Most texts of a column.
        most: usize,
    },
    /// The list has fewer rows than the one that was asked for.
    #[error("the list has {rows} rows")]
    NoSuchRow {
        /// Its rows.
        rows: u64,
    },
    /// Columns are counted from 1.
    #[error("columns are counted from 1")]
    ColumnZero,
    /// A row is longer than [`ROW_BYTES_MAX`](crate::limits::ROW_BYTES_MAX). With the offset of its first byte.
    #[error("the row that begins at byte {0} is longer than 1 MiB: is this a list with one row per line?")]
    RowTooLong(u64),
    /// The list is a print run, which is not as its description says.
    #[error("the run is not as described: {0}; nothing was left behind")]
    Run(#[from] RunError),
    /// The list is an archive that cannot be split.
    #[error("{0}; nothing was left behind")]
    Archive(#[from] ArchiveProblem),
    /// What is before the first letter of a print run or behind the last one, which goes to every file, has the id of a person.
    #[error(
        "what is before the first letter of the run, or behind the last one, holds the identity of a person, which would be \
         copied to every file: a letter begins otherwise than described; or, if that id may go to everybody, say ids_around = true in \
         the description; nothing was left behind"
    )]
    AroundLetters,
    /// The split was one of a print run.
    #[error(
        "{} has the parts of a print run: only lists of one row a letter are rechecked, recorded and reconciled so far", .0.display()
    )]
    SplitOfRun(PathBuf),
    /// The list is a workbook that cannot be read, or whose parts cannot be written.
    #[error(transparent)]
    Workbook(#[from] WorkbookError),
    /// The list is a mottakersplitt, which the job cannot answer.
    #[error("a mottakersplitt of Digipost: {0}")]
    Mottakersplitt(&'static str),
    /// The split has workbooks.
    #[error(
        "{} has workbooks: only files of CSV are rechecked, recorded and reconciled; split the list with --csv", .0.display()
    )]
    SplitOfWorkbook(PathBuf),
    /// The list is longer than the caller allows: [`StreamLimits::bytes`](super::StreamLimits::bytes).
    #[error("the list is longer than {0} bytes after decompression")]
    TooLong(u64),
    /// The list is compressed more than the caller allows: [`StreamLimits::expansion`](super::StreamLimits::expansion).
    #[error("the list has more than {0} times as many bytes after decompression as before")]
    ExpandsTooMuch(u64),
    /// The output directory is not empty.
    #[error("{} is not empty", .0.display())]
    Occupied(PathBuf),
    /// The output directory, or a file that would be replaced, belongs to another user.
    #[error("{} belongs to another user", .0.display())]
    OtherOwner(PathBuf),
    /// The list is in the output directory.
    #[error("{} lies in the output directory, whose files the job replaces", .0.display())]
    InputInOutput(PathBuf),
    /// Another job writes to the output directory.
    #[error("another job is writing to {}", .0.display())]
    Busy(PathBuf),
    /// The register is damaged.
    #[error("the register is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The register has the answers for some ids only, and these letters are to others.
    #[error(
        "the register was not asked for the recipients of {0} letters: that is not to say that they are not registered; \
         nothing was left behind"
    )]
    NotAsked(u64),
    /// The directory has no complete split.
    #[error("{} has no report of a split: name the output directory of `nabar split`", .0.display())]
    NoSplit(PathBuf),
    /// The list of a split had ids in two columns.
    #[error("the list of this split had ids in two columns: split it again instead")]
    TwoColumns,
    /// An output of an earlier job cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    ReadOutput {
        /// The output.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// An output of an earlier job is not as that job wrote it.
    #[error("{} was changed since it was written: its digest is another one than its report says", .0.display())]
    OutputChanged(PathBuf),
    /// The report of the split has no digests.
    #[error("the split in {} was made by an earlier version, and its report has no digests: split again", .0.display())]
    NoDigests(PathBuf),
    /// A reconciliation in the directory is one of another split.
    #[error("{} is of an earlier split in this directory: move it and the files with its number elsewhere", .0.display())]
    OtherSplit(PathBuf),
    /// The split has no such channel.
    #[error("the split has no channel {}", plain(.0))]
    NoSuchChannel(String),
    /// The run has no letter of that row or recipient.
    #[error("the split in {} has no such letter", .0.display())]
    NoSuchLetter(PathBuf),
    /// Most receipts of a file cannot be read.
    #[error(
        "{}: {unread} of {receipts} receipts cannot be read (most: {most}), more than allowed: are the columns and the words \
         of the status the right ones? Nothing was left behind", path.display()
    )]
    ReceiptsRejected {
        /// The file.
        path: PathBuf,
        /// Receipts that cannot be read.
        unread: u64,
        /// All of the file.
        receipts: u64,
        /// Why most of them cannot.
        most: &'static str,
    },
    /// Receipts cannot be read.
    #[error("receipts: {0}")]
    Receipts(#[from] ReceiptsError),
    /// The answers of the register are too old.
    #[error("the register: {0}")]
    Stale(#[from] ScopeError),
    /// The list was changed during the job.
    #[error("the list was changed or truncated while it was read; nothing was left behind")]
    ListChanged,
    /// The job was interrupted.
    #[error("interrupted; nothing was left behind")]
    Interrupted,
    /// Rows or bytes of the outputs differ from those of the list.
    #[error(
        "the outputs do not have the rows and bytes of the list: the list or an output was changed during the job; \
         nothing was left behind"
    )]
    Sums,
}

/// The name of a column, unless it may be an identity.
fn shown(wanted: &str) -> std::borrow::Cow<'_, str> {
    match wanted.bytes().filter(u8::is_ascii_digit).count() {
        0..6 => plain(wanted),
        _ => "of that name".into(),
    }
}

/// A setting of the job that may help after a [`ListError`]. Callers name it as their users know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Name the column of the identities, or the delimiter.
    NameIdColumn,
    /// Name the delimiter.
    NameDelimiter,
    /// Say where the header and the first row are, or remove the identity from the lines above the first row.
    SkipRows,
    /// Name another output directory, or allow the files of an earlier split to be replaced.
    ReplaceOutput,
    /// Name another output directory.
    OtherOutput,
    /// The file that was given as the list is a register.
    ListIsRegister,
    /// Verify the register.
    VerifyRegister,
    /// Ask the official register for the ids of this list.
    AskMissing,
}

impl ListError {
    /// The setting of the job that may help.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            ListError::UnknownIdColumn { .. } => Some(Hint::NameIdColumn),
            ListError::UnknownDelimiter { .. } => Some(Hint::NameDelimiter),
            ListError::HeaderIsRow => Some(Hint::SkipRows),
            ListError::Occupied(_) => Some(Hint::ReplaceOutput),
            ListError::InputInOutput(_) | ListError::OtherOwner(_) => Some(Hint::OtherOutput),
            ListError::NotAList(FileKind::Register) => Some(Hint::ListIsRegister),
            ListError::Damaged(_) => Some(Hint::VerifyRegister),
            ListError::NotAsked(_) => Some(Hint::AskMissing),
            ListError::Read(_)
            | ListError::Memory(_)
            | ListError::Write { .. }
            | ListError::Finish { .. }
            | ListError::NotAList(_)
            | ListError::NotRows { .. }
            | ListError::BadIdColumns
            | ListError::NoSuchColumn { .. }
            | ListError::NoRuleColumn { .. }
            | ListError::IdList { .. }
            | ListError::FurtherRegister { .. }
            | ListError::FurtherNotAsked { .. }
            | ListError::IdListRejected { .. }
            | ListError::IdListEmpty { .. }
            | ListError::AmbiguousColumn { .. }
            | ListError::TooManyRules { .. }
            | ListError::TooManyGroups { .. }
            | ListError::GroupsOfIdentities
            | ListError::LineEndsLost
            | ListError::OtherHeader(_)
            | ListError::NoSuchRow { .. }
            | ListError::ColumnZero
            | ListError::RowTooLong(_)
            | ListError::Run(_)
            | ListError::AroundLetters
            | ListError::Archive(_)
            | ListError::SplitOfRun(_)
            | ListError::Workbook(_)
            | ListError::Mottakersplitt(_)
            | ListError::SplitOfWorkbook(_)
            | ListError::TooLong(_)
            | ListError::ExpandsTooMuch(_)
            | ListError::Busy(_)
            | ListError::Stale(_)
            | ListError::NoSplit(_)
            | ListError::ReadOutput { .. }
            | ListError::OutputChanged(_)
            | ListError::NoDigests(_)
            | ListError::OtherSplit(_)
            | ListError::NoSuchChannel(_)
            | ListError::NoSuchLetter(_)
            | ListError::Receipts(_)
            | ListError::ReceiptsRejected { .. }
            | ListError::TwoColumns
            | ListError::ListChanged
            | ListError::Interrupted
            | ListError::Sums => None,
        }
    }

    /// Whether the list is the cause.
    pub fn is_about_list(&self) -> bool {
        matches!(
            self,
            ListError::Read(_)
                | ListError::NotAList(_)
                | ListError::NotRows { .. }
                | ListError::ListChanged
                | ListError::RowTooLong(_)
                | ListError::Run(_)
                | ListError::AroundLetters
                | ListError::Archive(_)
                | ListError::Workbook(_)
                | ListError::TooLong(_)
                | ListError::ExpandsTooMuch(_)
                | ListError::HeaderIsRow
                | ListError::UnknownIdColumn { .. }
                | ListError::UnknownDelimiter { .. }
                | ListError::LineEndsLost
                | ListError::OtherHeader(_)
                | ListError::NoSuchColumn { .. }
                | ListError::NoRuleColumn { .. }
                | ListError::AmbiguousColumn { .. }
                | ListError::TooManyGroups { .. }
                | ListError::NoSuchRow { .. }
        )
    }

    /// Whether the list is refused as a whole.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            ListError::NotAList(_)
                | ListError::NotRows { .. }
                | ListError::LineEndsLost
                | ListError::OtherHeader(_)
                | ListError::RowTooLong(_)
                | ListError::Run(_)
                | ListError::AroundLetters
                | ListError::Archive(_)
                | ListError::NotAsked(_)
                | ListError::FurtherNotAsked { .. }
                | ListError::Stale(_)
                | ListError::ReceiptsRejected { .. }
                | ListError::IdListRejected { .. }
                | ListError::IdListEmpty { .. }
        ) || match self {
            ListError::Workbook(error) => error.is_refusal(),
            ListError::IdList { error, .. } => error.is_refusal(),
            ListError::FurtherRegister { error, .. } => error.is_age(),
            _ => false,
        }
    }

    /// Whether the options of the job are wrong, rather than the job failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            ListError::UnknownIdColumn { .. }
                | ListError::UnknownDelimiter { .. }
                | ListError::NoSuchColumn { .. }
                | ListError::NoRuleColumn { .. }
                | ListError::AmbiguousColumn { .. }
                | ListError::NoSuchRow { .. }
                | ListError::TooManyRules { .. }
                | ListError::TooManyGroups { .. }
                | ListError::GroupsOfIdentities
                | ListError::ColumnZero
                | ListError::HeaderIsRow
                | ListError::BadIdColumns
                | ListError::NoSplit(_)
                | ListError::NoDigests(_)
                | ListError::OtherSplit(_)
                | ListError::NoSuchChannel(_)
                | ListError::NoSuchLetter(_)
                | ListError::TwoColumns
                | ListError::SplitOfRun(_)
                | ListError::SplitOfWorkbook(_)
                | ListError::Mottakersplitt(_)
                | ListError::Occupied(_)
                | ListError::InputInOutput(_)
                | ListError::OtherOwner(_)
        ) || match self {
            ListError::Workbook(error) => error.is_usage(),
            ListError::IdList { error, .. } => error.is_usage(),
            ListError::FurtherRegister { error, .. } => error.is_usage(),
            _ => false,
        }
    }
}

/// Receipts cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {finding}", path.display())]
pub struct ReceiptsError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub finding: String,
}

/// Why a further register cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FurtherRegisterError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data directory cannot be read.
    #[error(transparent)]
    Directory(#[from] StoreError),
    /// It cannot be asked for this sender.
    #[error("{0}: `sender` names another one than that of the job")]
    Question(#[from] QuestionError),
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(#[from] Damage),
    /// Its answers are too old.
    #[error(transparent)]
    Stale(#[from] ScopeError),
    /// It is too old.
    #[error("it is from {as_of}, {hours} hours ago; max_age_hours allows {allowed}: get a newer one")]
    Old {
        /// The time of its content.
        as_of: jiff::Timestamp,
        /// Hours since then.
        hours: i64,
        /// Hours that are allowed.
        allowed: u32,
    },
}

impl FurtherRegisterError {
    /// Whether the rules ask it for a sender that it does not have, rather than it cannot be read.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, FurtherRegisterError::Question(error) if !matches!(error, QuestionError::Damaged(_)))
    }

    /// Whether the register is refused for its age.
    pub(super) fn is_age(&self) -> bool {
        matches!(self, FurtherRegisterError::Stale(_) | FurtherRegisterError::Old { .. })
    }
}

/// A ZIP run cannot be read, or is not as its description says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveProblem {
    /// It is no ZIP, or damaged.
    #[error("the archive cannot be read: {0}")]
    Zip(#[from] ZipError),
    /// Archives are read from their end.
    #[error("an archive is read from its end: name a file, not standard input")]
    Stream,
    /// It has no such entry.
    #[error("the archive has no entry {0}, which its description names as the index")]
    NoIndex(String),
    /// The index is too long.
    #[error("the index is longer than 1 GiB after decompression")]
    IndexTooLong,
    /// More entries than any run has.
    #[error("the archive has more than 16 million entries")]
    TooManyEntries,
    /// Several entries of one name.
    #[error(
        "{0} entries of the archive have the name of another one: which file a letter means is not known"
    )]
    SameNames(usize),
    /// Entries that would be unpacked elsewhere.
    #[error(
        "{0} entries of the archive have names that lead out of a directory (.., /, \\ or a drive): the archive may be an attack"
    )]
    UnsafeNames(usize),
    /// Something is before the archive.
    #[error("the file has something before its archive, such as another one: split each by itself")]
    BytesBefore,
    /// Entries that have bytes in common.
    #[error("entries of the archive have bytes in common: it is damaged, or an attack")]
    Overlapping,
    /// An entry has another name than its directory says.
    #[error("an entry of the archive has another name than its directory says: it is damaged, or an attack")]
    OtherName,
    /// An entry's own header says something else of its data than the directory.
    #[error(
        "an entry of the archive says something else of its data than the directory (lengths, method or checksum): it is damaged, or an \
         attack"
    )]
    OtherHeader,
    /// An index that is compressed more than any list.
    #[error("the index has more than 200 times as many bytes after decompression as before: it is no index")]
    IndexExpands,
    /// Entries that no letter names.
    #[error(
        "{0} entries of the archive are named by no letter of the index: `common` names those for all, `unnamed` says what to do with others"
    )]
    Unnamed(usize),
    /// Files that are not there.
    #[error(
        "{files} files that letters name are not in the archive, the first one of letter {letter}: `missing = \"allow\"` splits it all the same"
    )]
    Missing {
        /// How many.
        files: u64,
        /// Number of the first letter that names one, in its part.
        letter: u64,
    },
    /// Entries that several letters name.
    #[error("{0} entries of the archive are named by several letters, and `shared` is \"refuse\"")]
    Shared(usize),
}
