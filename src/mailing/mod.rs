//! Mailings: a list and a register in, and out for every row whether it goes digitally.
//!
//! [`check`] makes the report of a list, [`split`] the files too. Every row of a list ends in exactly one
//! output, byte for byte, in the order of the list; the sums are checked before a job says done.

mod buffers;
mod feedback;
mod guard;
mod html;
mod input;
mod lines;
mod outputs;
mod parse;
mod report;
mod rows;
mod run;
mod seen;
mod sniff;
mod tally;
#[cfg(test)]
mod tests;

pub use html::{Language, is_html_report};
pub use outputs::{FEEDBACK, REJECTED, REPORT, REPORT_HTML};
pub use report::{
    DecidedBy, FileSummary, ListSummary, OperatorSummary, RegisterSummary, Report, Savings, SenderSummary,
    VERSION,
};
pub use rows::{Layout, RowProblem};
pub use sniff::{Encoding, FileKind, TwoIds};
pub use tally::Verdict;

use crate::identities::Today;
use crate::register::{Damage, Outcome, Question};
use crate::rejected::RejectedLimit;
use outputs::{OutputDirectory, Outputs};
use parse::Reading;
use run::{Found, Job};
use sniff::Form;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tally::Verdicts;

/// What a user says of a list; what is not said is decided from the list. See `docs/lists.md`.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// The delimiter.
    pub delimiter: Option<u8>,
    /// Name of the identity's column, or its number from 1; of at most two columns.
    pub id_columns: Vec<String>,
    /// What becomes of a row where two columns are named.
    pub two_ids: TwoIds,
    /// Names or numbers of columns in which other identities are expected.
    pub expected_ids: Vec<String>,
    /// Whether rows with another identity are rejected.
    pub strict_rows: bool,
    /// Lines above the header, or above the first row, that are no rows.
    pub skip_rows: u64,
    /// Whether what stands above the header is left out of the files of rows.
    pub drop_skipped: bool,
    /// Offset from 0 and length in bytes of the identity, in a list of fixed width.
    pub id_at: Option<(usize, usize)>,
    /// Whether the first row is a header.
    pub header: Option<bool>,
}

/// What happens to rows whose identity stood in an earlier row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// They are counted, and go where they belong.
    #[default]
    Keep,
    /// They are counted, and go to `duplicates.csv`.
    SetAside,
}

/// Limit of rejected rows where the user sets none: of a list of which more than half cannot be read, something is wrong.
pub const MAX_REJECTED: RejectedLimit = RejectedLimit::Percent(50.0);

/// Why a job with so many rejected rows is refused, if it is. A list without rows always is, but where all rows may be
/// rejected.
fn refusal(limit: RejectedLimit, rejected: u64, rows: u64) -> Option<&'static str> {
    match (rows, limit.is_exceeded(rejected, rows)) {
        _ if limit.allows_all() => None,
        (0, _) => Some("no_rows"),
        (_, true) => Some("max_rejected"),
        (_, false) => None,
    }
}

/// Whoever watches a job.
pub trait Progress: Sync {
    /// So many rows and bytes are done.
    fn advanced(&self, _rows: u64, _bytes: u64) {}

    /// Whether the job should end and leave nothing behind.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Progress for () {}

/// A mailing to be checked or split.
pub struct Mailing<'a> {
    /// The question to the register.
    pub question: &'a Question<'a>,
    /// The list; `-` is standard input.
    pub list: &'a Path,
    /// What the user says of it.
    pub options: ListOptions,
    /// The day that tells the century of numbers with ten digits.
    pub today: Today,
    /// The time from which the age of the register is counted.
    pub now: jiff::Timestamp,
    /// What happens to duplicates.
    pub duplicates: Duplicates,
    /// The limit of rejected rows. Rows that plainly are no letters do not count.
    pub max_rejected: RejectedLimit,
    /// Prices of a letter on paper and of a digital one, in any currency.
    pub prices: Option<(f64, f64)>,
    /// Threads, at least 1.
    pub threads: usize,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

/// Where the files of a split go.
#[derive(Clone, Debug)]
pub struct Destination<'a> {
    /// The directory.
    pub directory: &'a Path,
    /// Whether it may have something in it.
    pub force: bool,
    /// Whether the files are on the disk, not only with the system, when the job is done.
    pub sync: bool,
    /// Language of `report.html`.
    pub language: Language,
}

/// Why a list cannot be checked or split.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The list cannot be read.
    #[error("cannot read the list: {0}")]
    Read(io::Error),
    /// The system gives no memory.
    #[error("cannot get memory: {0}")]
    Memory(io::Error),
    /// An output cannot be written.
    #[error("cannot write {}: {error}; nothing was left behind", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file cannot get its name.
    #[error("cannot name {}: {error}; without {REPORT} the files beside it are not all", path.display())]
    Finish {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is another kind of file.
    #[error("this is {0}")]
    NotAList(FileKind),
    /// No column holds identities, and the list looks like something else.
    #[error("no column holds identities: {cause}")]
    NotRows {
        /// What it looks like, and what to do.
        cause: String,
    },
    /// The row that the user says is the header is a row, or one that is to be skipped.
    #[error(
        "the header, or what stands above it, holds an identity, and would stand in every file: say with --skip-rows and \
         --header where the list begins, or take the identity out"
    )]
    HeaderIsRow,
    /// Other than one column of identities, or two different ones.
    #[error("one column can hold the identities, or two different ones")]
    IdColumns,
    /// The identity's column cannot be told.
    #[error(
        "cannot tell which column holds the identity; considered were: {columns}. Name it with --id-column NAME or NUMBER (and --delimiter, if the columns are wrong)"
    )]
    IdColumn {
        /// The columns and what was found in them.
        columns: String,
    },
    /// There is no such column.
    #[error("the list has no column {wanted}; it has: {columns}")]
    NoSuchColumn {
        /// What the user said.
        wanted: String,
        /// What there is.
        columns: String,
    },
    /// Columns are counted from 1.
    #[error("columns are counted from 1")]
    ColumnZero,
    /// The output directory has something in it.
    #[error("{} is not empty: name a new directory, or replace an earlier split with --force", .0.display())]
    Occupied(PathBuf),
    /// The list lies in the output directory.
    #[error(
        "{} lies in the output directory, whose files the job replaces: name another directory", .0.display()
    )]
    InputInOutput(PathBuf),
    /// Another job writes there.
    #[error("another job is writing to {}", .0.display())]
    Busy(PathBuf),
    /// The register is damaged.
    #[error("the register is damaged: {0}; `nabar verify` tells more")]
    Damaged(#[from] Damage),
    /// The list is not what it was in the beginning.
    #[error("the list was changed or truncated while it was read; nothing was left behind")]
    ListChanged,
    /// The user ended the job.
    #[error("interrupted; nothing was left behind")]
    Interrupted,
    /// What was written is not what was counted.
    #[error(
        "the sums do not agree, which should not happen: the list or an output was changed meanwhile; nothing was left behind"
    )]
    Sums,
}

impl ListError {
    /// Whether it is the list that is not what it should be.
    pub fn is_about_list(&self) -> bool {
        matches!(
            self,
            ListError::Read(_)
                | ListError::NotAList(_)
                | ListError::NotRows { .. }
                | ListError::ListChanged
                | ListError::HeaderIsRow
                | ListError::IdColumn { .. }
                | ListError::NoSuchColumn { .. }
        )
    }

    /// Whether the list is refused as a whole.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ListError::NotAList(_) | ListError::NotRows { .. })
    }

    /// Whether the job was asked for in a way that cannot be done, rather than failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            ListError::IdColumn { .. }
                | ListError::NoSuchColumn { .. }
                | ListError::ColumnZero
                | ListError::HeaderIsRow
                | ListError::IdColumns
                | ListError::Occupied(_)
                | ListError::InputInOutput(_)
        )
    }
}

/// A file of rows that a split has made.
pub(crate) struct OutputFile {
    path: String,
    outcome: String,
    operator: Option<u16>,
    rows: u64,
    bytes: u64,
}

/// Makes the report of a list.
pub fn check(mailing: &Mailing<'_>) -> Result<Report, ListError> {
    check_input(mailing, input::open(mailing.list)?)
}

/// Makes the report of a list that is read from somewhere; of `mailing.list` only the name counts.
pub fn check_stream(mailing: &Mailing<'_>, list: Box<dyn Read + Send>) -> Result<Report, ListError> {
    check_input(mailing, input::stream(list)?)
}

fn check_input(mailing: &Mailing<'_>, input: input::Input) -> Result<Report, ListError> {
    let started = Instant::now();
    let form = mailing.form_of(&input)?;
    let found = run::run(&mailing.job(&form), input, None)?;
    Ok(mailing.report(&form, &found, None, started))
}

/// Splits a list into files by outcome and operator.
///
/// If the limit of rejected rows is exceeded, the report says so and no file but the rejected rows and
/// the report is left.
pub fn split(mailing: &Mailing<'_>, to: &Destination<'_>) -> Result<Report, ListError> {
    let started = Instant::now();
    inputs_are_elsewhere(mailing, to)?;
    // First of all: the directory is this job's from here on, also while it waits for its list.
    let directory = OutputDirectory::create(to.directory, to.force)?;
    let input = input::open(mailing.list)?;
    let form = mailing.form_of(&input)?;
    let register = mailing.question.register();
    let outputs = Outputs::create(directory, register, mailing.duplicates, &form.beginning)?;
    let found = run::run(&mailing.job(&form), input, Some(&outputs))?;
    let mut files = outputs.check(&found.tally, found.rows)?;
    if to.sync {
        outputs.sync()?;
    }
    let directory = outputs.into_directory();
    if mailing.refusal(&found).is_some() {
        directory.keep_only(&[REJECTED])?;
        files.retain(|file| file.path == REJECTED);
    }
    let report = mailing.report(&form, &found, Some(&files), started);
    let json = serde_json::to_vec_pretty(&report)
        .map_err(|error| ListError::Write { path: to.directory.join(REPORT), error: error.into() })?;
    directory.add(REPORT, &json, to.sync)?;
    directory.add(REPORT_HTML, report.to_html(to.language).as_bytes(), to.sync)?;
    directory.finish(to.sync)?;
    Ok(report)
}

/// Checks that a split does not replace its own list: an earlier split's files go when the new ones come.
fn inputs_are_elsewhere(mailing: &Mailing<'_>, to: &Destination<'_>) -> Result<(), ListError> {
    let (Ok(directory), Ok(list)) = (to.directory.canonicalize(), mailing.list.canonicalize()) else {
        return Ok(());
    };
    match list.parent() == Some(&directory) {
        true => Err(ListError::InputInOutput(mailing.list.to_owned())),
        false => Ok(()),
    }
}

impl Mailing<'_> {
    fn form_of(&self, input: &input::Input) -> Result<Form, ListError> {
        if self.options.id_columns.len() > 2 {
            return Err(ListError::IdColumns);
        }
        let (sample, whole) = input.sample();
        let country = self.question.register().kind().country();
        sniff::sniff(sample, whole, country, self.today, &self.options)
    }

    fn job<'j>(&'j self, form: &'j Form) -> Job<'j> {
        Job {
            reading: Reading { question: self.question, form, strict_rows: self.options.strict_rows },
            duplicates: self.duplicates,
            threads: self.threads.max(1),
            progress: self.progress,
        }
    }

    fn by_verdict<'f>(&self, found: &'f Found) -> impl Iterator<Item = (Verdict, u64)> + use<'f> {
        let verdicts = Verdicts::new(self.question.register().operators().len());
        verdicts.all().zip(found.tally.rows.iter().copied())
    }

    /// Why the job is refused, if it is.
    fn refusal(&self, found: &Found) -> Option<&'static str> {
        let (mut rejected, mut no_letters) = (0, 0);
        for (verdict, rows) in self.by_verdict(found) {
            match verdict {
                Verdict::Rejected(problem) if problem.is_no_letter() => no_letters += rows,
                Verdict::Rejected(_) => rejected += rows,
                Verdict::Answered(_) | Verdict::Duplicate => {}
            }
        }
        refusal(self.max_rejected, rejected, found.tally.total_rows() - no_letters)
    }

    fn report(&self, form: &Form, found: &Found, files: Option<&[OutputFile]>, started: Instant) -> Report {
        let register = self.question.register();
        let mut outcomes = BTreeMap::from(["digital", "notify", "paper", "rejected"].map(|name| (name, 0)));
        let mut reasons = BTreeMap::new();
        let mut by_operator = vec![0; register.operators().len()];
        for (verdict, rows) in self.by_verdict(found).filter(|(_, rows)| *rows > 0) {
            *outcomes.entry(verdict.outcome()).or_insert(0) += rows;
            if !verdict.reason().is_empty() {
                *reasons.entry(verdict.reason()).or_insert(0) += rows;
            }
            if let Verdict::Answered(Outcome::Digital(operator)) = verdict {
                by_operator[usize::from(operator)] += rows;
            }
        }
        if self.duplicates == Duplicates::SetAside {
            outcomes.entry("duplicate").or_insert(0);
        }
        let id_of = |place: u16| register.operators()[usize::from(place)].id.clone();
        let file_of = |place: usize| {
            let mut files = files.unwrap_or_default().iter();
            files.find(|file| file.operator == Some(place as u16)).map(|file| file.path.clone())
        };
        let operators = register.operators().iter().enumerate().map(|(place, operator)| OperatorSummary {
            id: operator.id.clone(),
            name: operator.name.clone(),
            rows: by_operator[place],
            file: file_of(place),
        });
        let files = files.map(|files| {
            let summary = |file: &OutputFile| FileSummary {
                path: file.path.clone(),
                outcome: file.outcome.clone(),
                operator_id: file.operator.map(id_of),
                rows: file.rows,
                bytes: file.bytes,
            };
            files.iter().map(summary).collect()
        });
        let digital = outcomes["digital"];
        let others = outcomes["notify"] + outcomes["paper"];
        let seconds = started.elapsed().as_secs_f64();
        Report {
            version: VERSION,
            list: self.list_summary(form, found),
            register: RegisterSummary {
                kind: register.kind().name(),
                sequence: register.sequence(),
                as_of: register.as_of().to_string(),
                age_days: self.now.duration_since(register.as_of()).as_hours().div_euclid(24),
            },
            sender: self.question.sender().map(|place| {
                let sender = &register.senders()[usize::from(place)];
                SenderSummary { id: sender.id.clone(), name: sender.name.clone() }
            }),
            operators: operators.collect(),
            files,
            duplicates: found.tally.duplicates,
            letters: found.tally.total_rows(),
            second_ids: found.tally.second_ids,
            more_than_one_identity: found.tally.further,
            savings: self.prices.map(|(postage, cost)| Savings::new(postage, cost, digital, others)),
            refused: self.refusal(found),
            likely_cause: self.refusal(found).and_then(|_| form.decided.likely_cause.clone()),
            outcomes,
            reasons,
            seconds: (seconds * 1e6).round() / 1e6,
            rows_per_second: (found.rows as f64 / seconds).round(),
        }
    }

    fn list_summary(&self, form: &Form, found: &Found) -> ListSummary {
        let decided = &form.decided;
        let (found_in_sample, sampled) = decided.share;
        let delimiter = match form.guard.rules.layout {
            Layout::Delimited { delimiter: Some(delimiter), .. } => char::from(delimiter).to_string(),
            _ => String::new(),
        };
        ListSummary {
            path: self.list.display().to_string(),
            rows: found.rows,
            bytes: found.bytes,
            delimiter,
            encoding: form.encoding.name().to_owned(),
            id_column: form.id_column.clone(),
            columns: form.guard.columns,
            header_row: decided.header_row,
            skipped_rows: decided.skipped_rows,
            id_share: found_in_sample as f64 / sampled.max(1) as f64,
            decided_by: DecidedBy {
                delimiter: decided.delimiter.name(),
                header: decided.header.name(),
                id_column: decided.id_column.name(),
            },
            digest: format!("blake3:{}", found.hash.to_hex()),
        }
    }
}
