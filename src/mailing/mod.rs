//! Mailings: a list and a register in, and out for every row whether it goes digitally.
//!
//! [`check`] makes the report of a list, [`split`] the files too. Every row of a list ends in exactly one
//! output, byte for byte, in the order of the list; the sums are checked before a job says done.

mod buffers;
mod feedback;
mod html;
mod input;
mod lines;
mod outputs;
mod report;
mod rows;
mod run;
mod seen;
mod sniff;
mod tally;
#[cfg(test)]
mod tests;

pub use html::Language;
pub use outputs::{FEEDBACK, REJECTED, REPORT, REPORT_HTML};
pub use report::{
    FileSummary, ListSummary, OperatorSummary, RegisterSummary, Report, Savings, SenderSummary, VERSION,
};
pub use rows::{Layout, RowProblem};
pub use sniff::{Encoding, Form};
pub use tally::Verdict;

use crate::identities::Today;
use crate::register::{Damage, Outcome, Question};
use outputs::{OutputDirectory, Outputs};
use run::{Found, Job};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tally::Verdicts;

/// What a user says of a list; what is not said is told from the list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// The delimiter.
    pub delimiter: Option<u8>,
    /// Name of the identity's column, or its number from 1.
    pub id_column: Option<String>,
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

/// How many rejected rows a job may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RejectedLimit {
    /// So many.
    Rows(u64),
    /// So many of a hundred.
    Percent(f64),
}

impl RejectedLimit {
    fn exceeded(self, rejected: u64, rows: u64) -> bool {
        match self {
            RejectedLimit::Rows(limit) => rejected > limit,
            RejectedLimit::Percent(percent) => rejected as f64 * 100.0 > percent * rows as f64,
        }
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
    /// What happens to duplicates.
    pub duplicates: Duplicates,
    /// The limit of rejected rows.
    pub max_rejected: Option<RejectedLimit>,
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
    /// The list is UTF-16.
    #[error(
        "the list is UTF-16 (\"Unicode text\"): save it as UTF-8, or convert it with `iconv -f UTF-16 -t UTF-8`"
    )]
    Utf16,
    /// The list is a spreadsheet.
    #[error("the list is a spreadsheet or a zip archive: save it as CSV")]
    Spreadsheet,
    /// The list is a register file.
    #[error("this is a register file, not a list: name it with --register")]
    Register,
    /// The row that the user says is the header is a row.
    #[error("the first row has an identity in the id column, so it is no header: leave --header yes out")]
    HeaderIsRow,
    /// The list has carriage returns as line ends.
    #[error("the list ends its lines with carriage returns only: convert it with `tr '\\r' '\\n'`")]
    CarriageReturns,
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
    /// Another job writes there.
    #[error("another job is writing to {}", .0.display())]
    Busy(PathBuf),
    /// The register is damaged.
    #[error("the register is damaged: {0}; `nabar verify` tells more")]
    Damaged(#[from] Damage),
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
                | ListError::Utf16
                | ListError::Spreadsheet
                | ListError::CarriageReturns
                | ListError::Register
                | ListError::HeaderIsRow
                | ListError::IdColumn { .. }
                | ListError::NoSuchColumn { .. }
        )
    }

    /// Whether the job was asked for in a way that cannot be done, rather than failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            ListError::IdColumn { .. }
                | ListError::NoSuchColumn { .. }
                | ListError::ColumnZero
                | ListError::HeaderIsRow
                | ListError::Occupied(_)
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
    // First of all: the directory is this job's from here on, also while it waits for its list.
    let directory = OutputDirectory::create(to.directory, to.force)?;
    let input = input::open(mailing.list)?;
    let form = mailing.form_of(&input)?;
    let prefix = input.sample().0[..form.prefix].to_vec();
    let register = mailing.question.register();
    let outputs = Outputs::create(directory, register, mailing.duplicates, &prefix)?;
    let found = run::run(&mailing.job(&form), input, Some(&outputs))?;
    let mut files = outputs.check(&found.tally, found.rows)?;
    if to.sync {
        outputs.sync()?;
    }
    let directory = outputs.into_directory();
    if mailing.refused(&found) {
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

impl Mailing<'_> {
    fn form_of(&self, input: &input::Input) -> Result<Form, ListError> {
        let (sample, whole) = input.sample();
        let country = self.question.register().kind().country();
        sniff::sniff(sample, whole, country, self.today, &self.options)
    }

    fn job<'j>(&'j self, form: &'j Form) -> Job<'j> {
        Job {
            question: self.question,
            form,
            today: self.today,
            duplicates: self.duplicates,
            threads: self.threads.max(1),
            progress: self.progress,
        }
    }

    fn by_verdict<'f>(&self, found: &'f Found) -> impl Iterator<Item = (Verdict, u64)> + use<'f> {
        let verdicts = Verdicts::new(self.question.register().operators().len());
        verdicts.all().zip(found.tally.rows.iter().copied())
    }

    fn refused(&self, found: &Found) -> bool {
        let rejected = self.by_verdict(found).filter(|(verdict, _)| verdict.outcome() == "rejected");
        let rejected = rejected.map(|(_, rows)| rows).sum();
        self.max_rejected.is_some_and(|limit| limit.exceeded(rejected, found.rows))
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
            },
            sender: self.question.sender().map(|place| {
                let sender = &register.senders()[usize::from(place)];
                SenderSummary { id: sender.id.clone(), name: sender.name.clone() }
            }),
            operators: operators.collect(),
            files,
            duplicates: found.tally.duplicates,
            savings: self.prices.map(|(postage, cost)| Savings::new(postage, cost, digital, others)),
            refused: self.refused(found).then_some("max_rejected"),
            outcomes,
            reasons,
            seconds: (seconds * 1e6).round() / 1e6,
            rows_per_second: (found.rows as f64 / seconds).round(),
        }
    }

    fn list_summary(&self, form: &Form, found: &Found) -> ListSummary {
        let delimiter = match form.layout {
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
            digest: format!("blake3:{}", found.hash.to_hex()),
        }
    }
}
