//! `check` and `split`.

use super::args::{Check, HeaderArg, ListArgs, QuestionArgs, Skipped, Split};
use super::report::TerminalReport;
use super::{CommandResult, Failure, day, interrupted, listen, source_of};
use indicatif::{ProgressBar, ProgressStyle};
use nabar::files;
use nabar::mailing::{self, Destination, ListOptions, Mailing, Progress, Report};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

pub(super) fn check(args: &Check) -> CommandResult {
    let prints_page = args.html.as_deref() == Some(Path::new("-"));
    if prints_page && args.list.json {
        let text = "--html - and --json both print on standard output: name a file for the page";
        return Err(Failure::Usage(text.to_owned()));
    }
    if let Some(html) = args.html.as_ref().filter(|_| !prints_page) {
        let mut inputs = files::files_of(&args.question.register);
        inputs.push(args.list.list.clone());
        files::check_is_no_input(html, &inputs)?;
        if !args.force {
            files::check_replaceable(html, &inputs, mailing::is_html_report)?;
        }
    }
    let report = with_mailing(&args.question, &args.list, mailing::check)?;
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
    };
    // The split may replace the files of the output directory.
    let register = args.question.register.canonicalize().ok();
    if let (Some(register), Ok(output)) = (register, args.output.canonicalize())
        && register.starts_with(&output)
    {
        return Err(files::NotReplaced::IsInput(args.question.register.clone()).into());
    }
    let report = with_mailing(&args.question, &args.list, |mailing| mailing::split(mailing, &to))?;
    finish(&args.list, &report, None)
}

fn with_mailing(
    question: &QuestionArgs,
    list: &ListArgs,
    job: impl FnOnce(&Mailing<'_>) -> Result<Report, mailing::ListError>,
) -> Result<Report, Failure> {
    if list.two_ids.is_some() && list.id_columns.len() != 2 {
        return Err(Failure::Usage("--two-ids needs --id-column twice, once for each column".to_owned()));
    }
    let register = source_of(question)?.register();
    let (date, today) = day(question)?;
    let sender = question.sender.as_deref();
    let question = register.question(sender, date)?;
    listen();
    let progress = JobProgress::new(list);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let mailing = Mailing {
        question: &question,
        list: &list.list,
        options: ListOptions {
            delimiter: list.delimiter.map(|delimiter| delimiter.0),
            id_columns: list.id_columns.clone(),
            two_ids: list.two_ids.map(Into::into).unwrap_or_default(),
            expected_ids: list.expected_ids.clone(),
            strict_rows: list.strict_rows,
            skip_rows: list.skip_rows,
            drop_skipped: list.skipped == Skipped::Drop,
            id_at: list.id_at,
            header: match list.header {
                HeaderArg::Auto => None,
                HeaderArg::Yes => Some(true),
                HeaderArg::No => Some(false),
            },
        },
        today,
        now: jiff::Timestamp::now(),
        duplicates: list.duplicates.into(),
        max_rejected: list.max_rejected,
        prices: list.postage.zip(list.digital_cost),
        threads: list.threads.map_or(cores, std::num::NonZeroUsize::get),
        progress: &progress,
    };
    let report = job(&mailing);
    progress.finish();
    report.map_err(|error| match error.is_about_list() {
        true => Failure::from(error).about(&list.list),
        false => error.into(),
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
struct JobProgress(Option<ProgressBar>);

impl JobProgress {
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
