//! `check` and `split`.

use super::args::{Check, HeaderArg, ListArgs, MailingArgs, ReadingArgs, Skipped, Split};
use super::channel_rules;
use super::report::TerminalReport;
use super::sources;
use super::{CommandResult, Failure, InputRegister, day, interrupted, listen, source_of};
use indicatif::{ProgressBar, ProgressStyle};
use nabar::channels::ChannelRules;
use nabar::files::{self, WorkDirectory};
use nabar::mailing::{
    self, AskedSummary, Destination, GroupOptions, ListOptions, Mailing, Prices, Progress, Report, Ruling,
};
use nabar::register::Register;
use nabar::source::{Resolved, journal_of};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn check(args: &Check) -> CommandResult {
    let prints_page = args.html.as_deref() == Some(Path::new("-"));
    if prints_page && args.list.json {
        let text = "--html - and --json both print on standard output: name a file for the page";
        return Err(Failure::Usage(text.to_owned()));
    }
    if let Some(html) = args.html.as_ref().filter(|_| !prints_page) {
        let register = args.question.register.iter().flat_map(files::files_of);
        let inputs: Vec<PathBuf> = register.chain([args.list.list.clone()]).collect();
        files::check_is_no_input(html, &inputs)?;
        if !args.force {
            files::check_replaceable(html, &inputs, mailing::is_html_report)?;
        }
    }
    // Without an output, what was answered so far is kept beside what the list is called, in this directory.
    let here = PathBuf::from(args.list.list.file_name().unwrap_or_default());
    let report = with_mailing(&args.question, &args.list, &here, mailing::check)?;
    let page = || report.to_html(args.list.lang.into());
    match &args.html {
        Some(_) if prints_page => return finish(&args.list, &report, Some(page())),
        Some(path) => files::write_output(path, page().as_bytes())
            .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?,
        None => {}
    }
    finish(&args.list, &report, None)
}

pub(super) fn split(args: &Split) -> CommandResult {
    let to = Destination {
        directory: &args.output,
        force: args.force,
        sync: args.sync,
        language: args.list.lang.into(),
        csv: args.csv,
    };
    // The split may replace the files of the output directory.
    let register = args.question.register.as_ref().and_then(|register| register.canonicalize().ok());
    if let (Some(register), Ok(output)) = (register, args.output.canonicalize())
        && register.starts_with(&output)
    {
        return Err(files::NotReplaced::IsInput(register).into());
    }
    let read = [&args.list.reading.run.run, &args.list.rules].into_iter().flatten();
    for path in read.filter_map(|path| path.canonicalize().ok()) {
        if args.output.canonicalize().is_ok_and(|output| path.starts_with(output)) {
            return Err(files::NotReplaced::IsInput(path).into());
        }
    }
    if args.question.source.is_some() {
        // Before anything is asked.
        mailing::check_destination(&to)?;
    }
    let report =
        with_mailing(&args.question, &args.list, &args.output, |mailing| mailing::split(mailing, &to))?;
    finish(&args.list, &report, None)
}

/// The register of a job, and what asking for it brought.
struct JobRegister {
    register: Arc<Register>,
    /// What was asked for this job. Its files are removed with it.
    asked: Option<(Resolved, WorkDirectory)>,
}

impl JobRegister {
    /// Opens the register of a job, or asks the live one for the recipients of its list. `output` is where the job writes.
    fn open(
        question: &MailingArgs,
        list: &ListArgs,
        rules: Option<&ChannelRules>,
        output: &Path,
    ) -> Result<JobRegister, Failure> {
        let path = match (&question.register, &question.source) {
            (Some(_), Some(source)) if question.ask_missing => source,
            (Some(_), Some(_)) => {
                let text = "-r and --source name two registers: omit one of them, or add --ask-missing";
                return Err(Failure::Usage(text.to_owned()));
            }
            (Some(register), None) => {
                let register = source_of(register, &question.of)?.register();
                return Ok(JobRegister { register, asked: None });
            }
            (None, Some(source)) => source,
            (None, None) => return Err(Failure::Usage("name a register or a source".to_owned())),
        };
        let source = sources::open(path, &question.asking)?;
        let lists = [&*list.list];
        let found =
            sources::recipients(&source, &question.of, &list.reading, &lists, rules, list.max_rejected)?;
        let Some(ids) = found else {
            // The job is refused, and its report says why.
            let register = Arc::new(source.empty(question.of.sender.as_deref())?);
            return Ok(JobRegister { register, asked: None });
        };
        let journal = journal_of(output);
        let work = WorkDirectory::beside(&journal)?;
        let answers = work.path().join("answers.nabar");
        let known = question.register.as_ref().or(question.asking.known.as_ref()).map(|known| &**known);
        let asked = sources::ask(&source, &question.of, known, &ids, (&answers, &journal), list.quiet)?;
        let register = InputRegister::open_any(&answers)?.register();
        Ok(JobRegister { register, asked: Some((asked, work)) })
    }
}

fn with_mailing(
    question: &MailingArgs,
    list: &ListArgs,
    output: &Path,
    job: impl FnOnce(&Mailing<'_>) -> Result<Report, mailing::ListError>,
) -> Result<Report, Failure> {
    let reading = &list.reading;
    if reading.two_ids.is_some() && reading.id_columns.len() != 2 {
        return Err(Failure::Usage("--two-ids needs --id-column twice, once for each column".to_owned()));
    }
    // Before anything is asked.
    let options = list_options(reading)?;
    let rules = list.rules.as_ref().map(ChannelRules::read).transpose()?;
    listen();
    let JobRegister { register, asked } = JobRegister::open(question, list, rules.as_ref(), output)?;
    let (date, today) = day(&question.of)?;
    let question = register.question(question.of.sender.as_deref(), date)?;
    let progress = JobProgress::new(list);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let prices = list.postage.zip(list.digital_cost).map(|(postage, digital_cost)| Prices {
        postage,
        digital_cost,
        currency: list.currency.clone().unwrap_or_default(),
    });
    let groups = GroupOptions { by: list.group_by.clone(), smallest: list.smallest_group };
    let mailing = Mailing {
        question: &question,
        list: &list.list,
        options,
        today,
        now: jiff::Timestamp::now(),
        ruling: None,
        duplicates: list.duplicates.into(),
        max_rejected: list.max_rejected,
        groups: Some(&groups),
        prices: prices.as_ref(),
        asked: asked.as_ref().map(|(resolved, _)| asked_summary(resolved)),
        threads: reading.threads.map_or(cores, std::num::NonZeroUsize::get),
        progress: &progress,
    };
    let ruling = rules.as_ref().map(|rules| Ruling::load(rules, &mailing)).transpose();
    if let (Ok(Some(ruling)), Some(file), false) = (&ruling, &list.rules, list.quiet) {
        channel_rules::warn(ruling, &register, file)?;
    }
    let report = ruling.and_then(|ruling| job(&Mailing { ruling: ruling.as_ref(), ..mailing.clone() }));
    progress.finish();
    let rules = list.rules.as_deref().unwrap_or(Path::new(""));
    let report = report.map_err(|error| channel_rules::about(error, &list.list, rules))?;
    if let Some((asked, _work)) = asked {
        asked.finish()?;
    }
    Ok(report)
}

/// What was asked for a job, for its report.
pub(super) fn asked_summary(resolved: &Resolved) -> AskedSummary {
    AskedSummary {
        ids: resolved.asked.ids,
        taken_over: resolved.taken_over,
        calls: resolved.asked.calls,
        retries: resolved.asked.retries,
    }
}

/// How a list is read.
///
/// Errors: the description of a print run cannot be used, or is given with options of rows.
pub(super) fn list_options(reading: &ReadingArgs) -> Result<ListOptions, Failure> {
    Ok(ListOptions {
        delimiter: reading.delimiter.map(|delimiter| delimiter.0),
        id_columns: reading.id_columns.clone(),
        two_ids: reading.two_ids.map(Into::into).unwrap_or_default(),
        expected_ids: reading.expected_ids.clone(),
        strict_rows: reading.strict_rows,
        every_cell: false,
        skip_rows: reading.skip_rows,
        drop_skipped: reading.skipped == Skipped::Drop,
        id_at: reading.id_at,
        sheet: reading.sheet.clone(),
        // Those of the rules.
        cell_columns: Vec::new(),
        other_country: None,
        header: match reading.header {
            HeaderArg::Auto => None,
            HeaderArg::Yes => Some(true),
            HeaderArg::No => Some(false),
        },
        run: super::runs::description(reading)?,
    })
}

/// Prints the report, or a page instead.
fn finish(list: &ListArgs, report: &Report, page: Option<String>) -> CommandResult {
    let terminal = TerminalReport { report, language: list.lang.into() };
    if !list.quiet {
        terminal.explain(&mut io::stderr().lock())?;
    }
    let mut out = io::stdout().lock();
    if let Some(page) = page {
        out.write_all(page.as_bytes())?;
    } else if list.json {
        serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if !list.quiet {
        terminal.print(&mut out)?;
    }
    out.flush()?;
    match report.refused {
        Some(reason) => Err(Failure::Refused(terminal.refusal(reason)).about(&list.list)),
        None => Ok(()),
    }
}

/// Progress on a terminal, and interruption by signals.
pub(super) struct JobProgress(Option<ProgressBar>);

impl JobProgress {
    /// Nothing is shown; signals end the job.
    pub(super) fn silent() -> JobProgress {
        JobProgress(None)
    }

    fn new(list: &ListArgs) -> JobProgress {
        if list.quiet || !io::stderr().is_terminal() {
            return JobProgress(None);
        }
        let bytes = std::fs::metadata(&list.list).ok().filter(|file| file.is_file()).map(|file| file.len());
        let bar = match bytes.filter(|_| !is_compressed(&list.list)) {
            Some(bytes) => {
                ProgressBar::new(bytes).with_style(style("{bar:30} {percent:>3} %  {msg}  {eta} left"))
            }
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        JobProgress(Some(bar))
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Whether the list seems compressed, so that the progress in bytes has no known end.
fn is_compressed(list: &Path) -> bool {
    matches!(list.extension().and_then(|ending| ending.to_str()), Some("gz" | "zst"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for JobProgress {
    fn advanced(&self, rows: u64, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
            let rate = rows as f64 / bar.elapsed().as_secs_f64().max(1e-3) / 1e6;
            bar.set_message(format!("{rows} rows, {rate:.1} million/s"));
        }
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}
