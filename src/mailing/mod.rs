//! Mailings: which rows of a list go digitally, and through which operator.
//!
//! [`check`] makes the report of a list, [`split`] also its files. Every row of a list goes to exactly one
//! file, byte for byte, in the order of the list; the sums are checked before a job ends.

mod archive;
mod buffers;
mod cells;
mod channel_report;
mod error;
mod explained;
mod feedback;
mod file_kind;
mod footer;
mod further;
mod groups;
mod guard;
mod html;
mod id_numbers;
mod input;
mod likely_cause;
mod lines;
mod list_run;
mod list_sheet;
mod meanings;
mod mottakersplitt;
mod names;
#[cfg(not(feature = "workbooks"))]
mod no_workbook;
mod options;
mod other_ids;
mod output_directory;
mod outputs;
mod parse;
mod preview;
mod print_run;
mod receipts;
mod recheck;
mod register_report;
mod report;
mod row_cells;
mod rows;
mod ruling;
mod run;
mod seen;
mod shape;
mod sniff;
mod split_directory;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod titles;
mod well_formed;
mod words;
#[cfg(feature = "workbooks")]
mod workbook;
mod zip_entries;

pub use channel_report::{
    ChannelCosts, ChannelSummary, ChannelsSummary, FurtherSummary, IdListSummary, RuleSummary,
};
pub use error::{ArchiveProblem, FurtherRegisterError, Hint, ListError, ReceiptsError};
pub use explained::{ExplainedLetter, explain_letter, explain_row};
pub use file_kind::FileKind;
pub use further::other_country;
pub(crate) use groups::GROUPS_BYTES_MAX;
pub use groups::{GroupBy, GroupOptions};
pub use html::is_html_report;
pub(crate) use id_numbers::IdNumbers;
pub use likely_cause::LikelyCause;
pub use options::{Duplicates, ListOptions, MAX_REJECTED, Progress, StreamLimits, TwoIds};
pub use preview::{LetterPreview, RunPreview, preview_run};
pub use receipts::{
    FurtherRecord, LetterRecord, ReceiptOptions, ReceiptsSummary, Reconciled, ReconciledFile, RecordKey,
    RunRecord, RunRegister,
};
pub use recheck::{LATE_MOVED, LATE_PAPER, Rechecked};
pub use register_report::{AskedSummary, RegisterSummary, SourceSummary};
pub use report::{
    DecidedBy, EntriesSummary, FEEDBACK, FeedbackSummary, FileSummary, GroupSummary, GroupsSummary,
    ListSummary, MOTTAKERSPLITT_RESULT, MadeSummary, MottakersplittSummary, OperatorSummary, Prices,
    REJECTED, REPORT, REPORT_HTML, Report, RunSummary, Savings, SenderSummary, SettingsSummary, SheetSummary,
    VERSION,
};
pub use rows::{Layout, RowProblem};
pub(crate) use ruling::IdRuling;
pub use ruling::Ruling;
pub use sniff::Encoding;
pub use split_directory::SplitDirectory;
pub use tally::Verdict;
pub use words::{Language, ReportWords};

use crate::channels::IdList;
use crate::identities::{Country, Ordinal, Today};
use crate::register::{Outcome, Question};
use crate::rejected::RejectedLimit;
use crate::sheets::WorkbookError;
use archive::Archive;
use groups::ListGroups;
use guard::holds_run;
use input::Input;
use output_directory::OutputDirectory;
use outputs::Outputs;
use parse::ParseContext;
use ruling::{ListRuling, Quiet};
use run::{Job, ListResult};
use seen::SeenIdentities;
use sniff::{CellPlace, ListForm};
use std::io::Read;
use std::path::Path;
use std::time::Instant;
use tally::{Ruled, VerdictNumbers};

/// Why a job with so many rejected rows is refused, if it is. A list without rows is refused unless all rows may be
/// rejected.
fn refusal(limit: RejectedLimit, rejected: u64, rows: u64) -> Option<&'static str> {
    match (rows, limit.is_exceeded(rejected, rows)) {
        _ if limit.allows_all() => None,
        (0, _) => Some("no_rows"),
        (_, true) => Some("max_rejected"),
        (_, false) => None,
    }
}

/// A mailing to be checked or split.
#[derive(Clone)]
pub struct Mailing<'a> {
    /// The register, with sender and day.
    pub question: &'a Question<'a>,
    /// The list; `-` is standard input.
    pub list: &'a Path,
    /// How the list is read.
    pub options: ListOptions,
    /// The day that determines the century of numbers with ten digits.
    pub today: Today,
    /// The time at which the age of the register is measured.
    pub now: jiff::Timestamp,
    /// The rules that decide the channel of each letter, if there are any.
    pub ruling: Option<&'a Ruling<'a>>,
    /// What happens to duplicates.
    pub duplicates: Duplicates,
    /// The limit of rejected rows. Rows that are not letters, such as blank ones, do not count.
    pub max_rejected: RejectedLimit,
    /// What letters are grouped by in the report.
    pub groups: Option<&'a GroupOptions>,
    /// Prices of letters.
    pub prices: Option<&'a Prices>,
    /// Threads, at least 1.
    pub threads: usize,
    /// What was asked of a live register for this job, for the report.
    pub asked: Option<AskedSummary>,
    /// Observes the job.
    pub progress: &'a dyn Progress,
}

impl<'a> Mailing<'a> {
    /// A mailing as of today (UTC), with default options and limits, no prices, and a thread for each core.
    pub fn new(question: &'a Question<'a>, list: &'a Path) -> Mailing<'a> {
        let now = jiff::Timestamp::now();
        let date = jiff::tz::Offset::UTC.to_datetime(now).date();
        Mailing {
            question,
            list,
            options: ListOptions::default(),
            today: Today::from_date(date).unwrap_or(Today::CONTRACT),
            now,
            ruling: None,
            duplicates: Duplicates::default(),
            max_rejected: MAX_REJECTED,
            groups: None,
            prices: None,
            asked: None,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            progress: &(),
        }
    }
}

/// Where the files of a split go.
#[derive(Clone, Debug)]
pub struct Destination<'a> {
    /// The directory.
    pub directory: &'a Path,
    /// Whether the directory may be non-empty.
    pub force: bool,
    /// Whether the files are synced to the disk before the job ends.
    pub sync: bool,
    /// Language of `report.html`.
    pub language: Language,
    /// Whether the files of rows are CSV also if the list is in a workbook.
    pub csv: bool,
}

impl<'a> Destination<'a> {
    /// A new or empty directory, without syncing, and with `report.html` in English.
    pub fn new(directory: &'a Path) -> Destination<'a> {
        Destination { directory, force: false, sync: false, language: Language::default(), csv: false }
    }
}

/// Makes the report of a list.
pub fn check(mailing: &Mailing<'_>) -> Result<Report, ListError> {
    match archive::description_of(&mailing.options) {
        None => check_input(mailing, input::open(mailing.list)?, None),
        Some(zip) => archive::with_index(mailing, zip, |mailing, index, archive| {
            check_input(mailing, index, Some(archive))
        }),
    }
}

/// Makes the report of a list that is read from `list`; `mailing.list` is only its name in the report.
pub fn check_stream(
    mailing: &Mailing<'_>,
    list: Box<dyn Read + Send>,
    limits: StreamLimits,
) -> Result<Report, ListError> {
    match archive::description_of(&mailing.options) {
        None => check_input(mailing, input::stream(list, limits)?, None),
        Some(_) => Err(ArchiveProblem::Stream.into()),
    }
}

fn check_input(
    mailing: &Mailing<'_>,
    mut input: Input,
    archive: Option<&Archive<'_>>,
) -> Result<Report, ListError> {
    let started = Instant::now();
    mailing.check_age()?;
    let form = mailing.form_of(&mut input)?;
    let result = run::run(&mailing.job(&form)?, input, None)?;
    mailing.check_rows(&result)?;
    mailing.check_run(&form, &result)?;
    let mut report = mailing.report(&form, &result, None, started);
    if let Some(archive) = archive.filter(|_| report.refused.is_none()) {
        let entries = archive.check_entries(&form, mailing.own_columns())?;
        report.list.run = Some(archive.summary(&result, entries));
    }
    Ok(report)
}

/// The identities of a list's letters that the register may have, ascending, each once; of a row with two identities both.
/// Also whether the list has too many rejected rows for the job.
pub fn recipients(mailing: &Mailing<'_>) -> Result<(Vec<Ordinal>, bool), ListError> {
    match archive::description_of(&mailing.options) {
        None => recipients_of(mailing, input::open(mailing.list)?),
        Some(zip) => archive::with_index(mailing, zip, |mailing, index, _| recipients_of(mailing, index)),
    }
}

fn recipients_of(mailing: &Mailing<'_>, mut input: Input) -> Result<(Vec<Ordinal>, bool), ListError> {
    let mut form = mailing.form_of(&mut input)?;
    // Both identities of a row, whichever is reached better.
    form.second = form.second.map(|(column, _)| (column, TwoIds::Both));
    let result = run::run(&mailing.job(&form)?, input, None)?;
    let country = mailing.question.register().kind().country();
    let ids = result.seen.ordinals().filter(|id| country.has(*id)).collect();
    Ok((ids, mailing.refusal(&result).is_some()))
}

/// The identities of a list that channel rules name. Errors: also too many rows without an id, or none with one.
fn list_of_ids(
    mailing: &Mailing<'_>,
    list: &IdList,
    other_country: Option<Country>,
) -> Result<(SeenIdentities, IdListSummary), ListError> {
    let progress = Quiet(mailing.progress);
    // A second identity in a row may be the one that matters.
    let id_columns = list.id_column.iter().cloned().collect();
    let strict = ListOptions { strict_rows: true, every_cell: true, ..ListOptions::default() };
    let options = ListOptions { id_columns, other_country, ..strict };
    let mailing = Mailing {
        list: &list.path,
        options,
        ruling: None,
        groups: None,
        max_rejected: list.max_rejected,
        progress: &progress,
        ..mailing.clone()
    };
    let mut input = input::open(mailing.list)?;
    let form = mailing.form_of(&mut input)?;
    let result = run::run(&mailing.job(&form)?, input, None)?;
    mailing.check_columns(&result)?;
    // Also what looks like the end of a report, or stands above the header: it may hold the one id that matters.
    let is_footer = |ruled: &Ruled| ruled.verdict == Verdict::Rejected(RowProblem::Footer);
    let footers: u64 =
        mailing.by_verdict(&result).filter(|(ruled, _)| is_footer(ruled)).map(|(_, rows)| rows).sum();
    let above = u64::from(holds_run(&form.beginning) || form.may_skip_recipient());
    let (rejected, rows) = mailing.rejected(&result);
    let (rejected, rows) = (rejected + footers + above, rows + footers + above);
    let ids = result.seen.ordinals().count() as u64;
    let (name, line) = (list.name.clone(), list.line);
    if list.max_rejected.is_exceeded(rejected, rows) {
        return Err(ListError::IdListRejected { name, line, rejected });
    }
    if ids == 0 && !list.may_be_empty {
        return Err(ListError::IdListEmpty { name, line });
    }
    let digest = format!("blake3:{}", result.hash.to_hex());
    Ok((result.seen, IdListSummary { name, ids, rejected, digest }))
}

/// Splits a list into files by outcome and operator.
///
/// If the limit of rejected rows is exceeded, the report says so, and only the rejected rows and the reports are kept.
pub fn split(mailing: &Mailing<'_>, to: &Destination<'_>) -> Result<Report, ListError> {
    let started = Instant::now();
    mailing.check_age()?;
    let kind = mailing.question.register().kind();
    mottakersplitt::check(mailing.options.run.as_ref(), mailing.list, kind, mailing.duplicates)?;
    check_input_outside(mailing, to)?;
    // Before the list is read: the directory is locked also while the job waits for its list.
    let directory = OutputDirectory::create(to.directory, to.force)?;
    match archive::description_of(&mailing.options) {
        None => split_input(mailing, to, directory, (input::open(mailing.list)?, None), started),
        Some(zip) => archive::with_index(mailing, zip, |mailing, index, archive| {
            split_input(mailing, to, directory, (index, Some(archive)), started)
        }),
    }
}

fn split_input(
    mailing: &Mailing<'_>,
    to: &Destination<'_>,
    directory: OutputDirectory,
    (mut input, archive): (Input, Option<&Archive<'_>>),
    started: Instant,
) -> Result<Report, ListError> {
    let form = mailing.form_of(&mut input)?;
    if let Some(archive) = archive {
        // Before anything is split.
        archive.check_entries(&form, mailing.own_columns())?;
    }
    let register = mailing.question.register();
    let job = mailing.job(&form)?;
    // Parts of an index are not named as the archive is.
    let name = if archive.is_some() { Path::new("") } else { mailing.list };
    let ending = list_run::ending(mailing.options.run.as_ref(), name);
    let rules = (mailing.ruling, job.numbers);
    let mut outputs = Outputs::create(directory, register, rules, mailing.duplicates, &form, &ending)?;
    let result = run::run(&job, input, Some(&outputs))?;
    mailing.check_rows(&result)?;
    let (counts, around) = mailing.check_run(&form, &result)?;
    outputs.finish_run(&result.after_letters, (&counts, around), result.letters_end, &result.tally)?;
    let mut files = outputs.check(&result.tally, result.rows, mailing.threads)?;
    if to.sync {
        outputs.sync()?;
    }
    let directory = outputs.into_directory();
    if mailing.refusal(&result).is_some() {
        let rejected = format!("{REJECTED}{ending}");
        directory.keep_only(&[&rejected])?;
        files.of_rows.retain(|file| file.path == rejected);
    }
    let archive = archive.filter(|_| mailing.refusal(&result).is_none());
    let pack = |archive: &Archive<'_>| {
        let how = (to.sync, mailing.threads.max(1), mailing.progress);
        archive.pack(&directory, &mut files.of_rows, &form, mailing.own_columns(), how)
    };
    let entries = archive.map(pack).transpose()?;
    if let Some(sheet) = form.sheet.as_ref().filter(|_| !to.csv) {
        let how = (to.sync, to.language);
        sheet.write_parts(mailing, &form, &directory, &mut files.of_rows, how)?;
    }
    let mut report = mailing.report(&form, &result, Some(&files), started);
    if let Some((archive, entries)) = archive.zip(entries) {
        report.list.run = Some(archive.summary(&result, entries));
    }
    let is_asked = mottakersplitt::is_mottakersplitt(mailing.options.run.as_ref());
    if let Some(run) = report.list.run.as_mut().filter(|_| is_asked && report.refused.is_none()) {
        let times = (mailing.now, jiff::Timestamp::now());
        let how = (to.sync, mailing.progress);
        run.result = Some(mottakersplitt::write_result(mailing.list, &form, &directory, times, how)?);
    }
    let json = serde_json::to_vec_pretty(&report)
        .map_err(|error| ListError::Write { path: to.directory.join(REPORT), error: error.into() })?;
    directory.add(REPORT, &json, to.sync)?;
    directory.add(REPORT_HTML, report.to_html(to.language).as_bytes(), to.sync)?;
    directory.finish(to.sync)?;
    Ok(report)
}

/// Checks that a split may write to its directory, without creating it.
pub fn check_destination(to: &Destination<'_>) -> Result<(), ListError> {
    match std::fs::read_dir(to.directory).map(|mut entries| entries.next().is_some()) {
        Ok(true) if !to.force => Err(ListError::Occupied(to.directory.to_owned())),
        _ => Ok(()),
    }
}

/// Checks that the list is not in the output directory, where it could be replaced.
fn check_input_outside(mailing: &Mailing<'_>, to: &Destination<'_>) -> Result<(), ListError> {
    let (Ok(directory), Ok(list)) = (to.directory.canonicalize(), mailing.list.canonicalize()) else {
        return Ok(());
    };
    match list.parent() == Some(&directory) {
        true => Err(ListError::InputInOutput(mailing.list.to_owned())),
        false => Ok(()),
    }
}

impl Mailing<'_> {
    fn form_of(&self, input: &mut Input) -> Result<ListForm, ListError> {
        let form = self.sniffed(input)?;
        let of_rules = self.ruling.map_or(0, |ruling| ruling.rules().columns().len());
        let of_groups = form.cells.get(of_rules..self.own_columns()).unwrap_or_default();
        let second = form.second.map(|(column, _)| column);
        let has_ids = |place: &CellPlace| match (place, &form.guard.rules.layout) {
            (CellPlace::Column(column), Layout::Delimited { column: id, .. }) => {
                column == id || Some(*column) == second || form.guard.expected.contains(column)
            }
            (CellPlace::Bytes(from, length), Layout::Fixed { offset, length: ids }) => {
                *from < offset + ids && *offset < from + length
            }
            _ => false,
        };
        match of_groups.iter().any(has_ids) {
            true => Err(ListError::GroupsOfIdentities),
            false => Ok(form),
        }
    }

    /// The first of the columns of a form that are neither of the rules nor of the groups.
    fn own_columns(&self) -> usize {
        let of_rules = self.ruling.map_or(0, |ruling| ruling.rules().columns().len());
        of_rules + self.groups.map_or(0, |groups| groups.columns().count())
    }

    fn sniffed(&self, input: &mut Input) -> Result<ListForm, ListError> {
        if self.options.id_columns.len() > 2 {
            return Err(ListError::BadIdColumns);
        }
        let country = self.question.register().kind().country();
        let columns = self.ruling.map(|ruling| ruling.rules().columns()).unwrap_or_default();
        // First those of the rules, then those of the groups.
        let groups = self.groups.into_iter().flat_map(GroupOptions::columns);
        let names = columns.iter().map(|column| &column.name).chain(groups).chain(&self.options.cell_columns);
        let cell_columns: Vec<String> = names.cloned().collect();
        let other_country = self.ruling.and_then(|ruling| ruling.other_country(country));
        let other_country = other_country.or(self.options.other_country);
        let form = match &self.options.run {
            Some(run) => {
                let ids = IdNumbers {
                    country,
                    other: other_country.filter(|other| *other != country),
                    today: self.today,
                };
                self.form_of_run(run, input, &cell_columns, ids)
            }
            None => {
                let options = ListOptions { cell_columns, other_country, ..self.options.clone() };
                self.form_of_rows(input, &options)
            }
        };
        form.map_err(|error| match error {
            ListError::AmbiguousColumn { wanted, .. } => {
                let line =
                    columns.iter().find(|column| column.name == wanted).map_or(0, |column| column.line);
                ListError::AmbiguousColumn { line, wanted }
            }
            ListError::NoSuchColumn { wanted, columns: has, similar } => {
                match columns.iter().find(|column| column.name == wanted) {
                    Some(column) => {
                        ListError::NoRuleColumn { line: column.line, wanted, columns: has, similar }
                    }
                    None => ListError::NoSuchColumn { wanted, columns: has, similar },
                }
            }
            error => error,
        })
    }

    /// The form of a list of rows, or of the sheet of a workbook, which `input` becomes.
    fn form_of_rows(&self, input: &mut Input, options: &ListOptions) -> Result<ListForm, ListError> {
        if let Input::Workbook(workbook) = input {
            let workbook = workbook.take().ok_or(ListError::NotAList(FileKind::Workbook))?;
            let (rows, form) = self.choose_sheet(workbook, options)?;
            *input = rows;
            return Ok(form);
        }
        if options.sheet.is_some() {
            return Err(WorkbookError::NotAWorkbook.into());
        }
        let (sample, whole) = input.sample();
        sniff::sniff(sample, whole, self.question.register().kind().country(), self.today, options)
    }

    /// Errors: there are too many rules for the operators of the register.
    fn numbers(&self) -> Result<VerdictNumbers, ListError> {
        let operators = self.question.register().operators().len();
        let rules = self.ruling.map_or(0, |ruling| ruling.rules().rules().len());
        let further = self.ruling.map(|ruling| ruling.further().operators()).unwrap_or_default();
        let further: Vec<usize> = further.into_iter().map(<[_]>::len).collect();
        VerdictNumbers::new(operators, rules, &further).ok_or(ListError::TooManyRules { operators, rules })
    }

    fn job<'j>(&'j self, form: &'j ListForm) -> Result<Job<'j>, ListError> {
        let (numbers, operators) = (self.numbers()?, self.question.register().operators());
        let day = self.today.date();
        let of_list = |ruling| ListRuling::new(ruling, operators, numbers, day, form);
        let rules = self.ruling.map(Ruling::rules);
        Ok(Job {
            context: ParseContext { question: self.question, form, strict_rows: self.options.strict_rows },
            ruling: self.ruling.map(of_list).transpose()?,
            groups: self.groups.and_then(|groups| ListGroups::new(groups, numbers, rules, day, form)),
            numbers,
            duplicates: self.duplicates,
            threads: self.threads.max(1),
            progress: self.progress,
        })
    }

    fn by_verdict<'r>(&self, result: &'r ListResult) -> impl Iterator<Item = (Ruled, u64)> + use<'r> {
        // Checked when the job began.
        let numbers = self.numbers().ok().into_iter();
        numbers.flat_map(VerdictNumbers::all).zip(result.tally.letters.iter().copied())
    }

    /// Errors: the answers of the register are too old.
    fn check_age(&self) -> Result<(), ListError> {
        let scope = self.question.register().scope();
        Ok(scope.map_or(Ok(()), |scope| scope.usable_at(self.now))?)
    }

    /// Errors: the columns have another order from some row on; there are letters to recipients for whom the register has no answer. (A job
    /// that is refused for its rejected rows says so first.)
    fn check_rows(&self, result: &ListResult) -> Result<(), ListError> {
        self.check_columns(result)?;
        if self.refusal(result).is_some() {
            return Ok(());
        }
        let not_asked = |(ruled, _): &(Ruled, u64)| ruled.verdict == Verdict::Decided(Outcome::NotAsked);
        match self.by_verdict(result).filter(not_asked).map(|(_, letters)| letters).sum() {
            0 => {}
            letters => return Err(ListError::NotAsked(letters)),
        }
        for (index, register) in
            self.ruling.into_iter().flat_map(|ruling| ruling.rules().registers()).enumerate()
        {
            let not_asked =
                |(ruled, _): &(Ruled, u64)| ruled.further[index] == Some(Outcome::NotAsked.into());
            match self.by_verdict(result).filter(not_asked).map(|(_, letters)| letters).sum() {
                0 => {}
                letters => return Err(ListError::FurtherNotAsked { name: register.name.clone(), letters }),
            }
        }
        Ok(())
    }

    /// Errors: the columns have another order from some row on.
    fn check_columns(&self, result: &ListResult) -> Result<(), ListError> {
        let other_header = Verdict::Rejected(RowProblem::OtherHeader);
        let rows = self.by_verdict(result).filter(|(ruled, _)| ruled.verdict == other_header);
        match rows.map(|(_, rows)| rows).sum() {
            0 => Ok(()),
            rows => Err(ListError::OtherHeader(rows)),
        }
    }

    /// Why the job is refused, if it is.
    fn refusal(&self, result: &ListResult) -> Option<&'static str> {
        let (rejected, rows) = self.rejected(result);
        refusal(self.max_rejected, rejected, rows)
    }

    /// Rejected rows, and all, without those that are not letters.
    fn rejected(&self, result: &ListResult) -> (u64, u64) {
        let (mut rejected, mut not_letters) = (0, 0);
        for (ruled, rows) in self.by_verdict(result) {
            match ruled.verdict {
                Verdict::Rejected(problem) if problem.is_not_a_letter() => not_letters += rows,
                Verdict::Rejected(_) => rejected += rows,
                Verdict::Decided(_) | Verdict::Duplicate => {}
            }
        }
        (rejected, result.tally.total_letters() - not_letters)
    }
}
