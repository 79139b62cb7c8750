//! `check` and `split`.

use super::args::{Check, Header, ListArgs, QuestionArgs, Split};
use super::{Done, Failure, day, interrupted, listen, source_of};
use indicatif::{ProgressBar, ProgressStyle};
use nabar::mailing::{self, Destination, ListOptions, Mailing, Progress, Report, RowProblem};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

pub(super) fn check(args: &Check) -> Done {
    let report = with_mailing(&args.question, &args.list, mailing::check)?;
    if let Some(path) = &args.html {
        std::fs::write(path, report.to_html(args.list.lang.into()))
            .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?;
    }
    finish(&args.list, &report)
}

pub(super) fn split(args: &Split) -> Done {
    let to = Destination {
        directory: &args.output,
        force: args.force,
        sync: args.sync,
        language: args.list.lang.into(),
    };
    let report = with_mailing(&args.question, &args.list, |mailing| mailing::split(mailing, &to))?;
    finish(&args.list, &report)
}

fn with_mailing(
    question: &QuestionArgs,
    list: &ListArgs,
    job: impl FnOnce(&Mailing<'_>) -> Result<Report, mailing::ListError>,
) -> Result<Report, Failure> {
    let register = source_of(question)?.register();
    let (date, today) = day(question)?;
    let asked = register.question(question.sender.as_deref(), date)?;
    listen();
    let bar = Bar::new(list);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let mailing = Mailing {
        question: &asked,
        list: &list.list,
        options: ListOptions {
            delimiter: list.delimiter.map(|delimiter| delimiter.0),
            id_column: list.id_column.clone(),
            id_at: list.id_at,
            header: match list.header {
                Header::Auto => None,
                Header::Yes => Some(true),
                Header::No => Some(false),
            },
        },
        today,
        duplicates: list.duplicates.into(),
        max_rejected: list.max_rejected,
        prices: list.postage.zip(list.digital_cost),
        threads: list.threads.map_or(cores, std::num::NonZeroUsize::get),
        progress: &bar,
    };
    let report = job(&mailing);
    bar.finish();
    report.map_err(|error| match error.is_about_list() {
        true => Failure::from(error).about(&list.list),
        false => error.into(),
    })
}

fn finish(list: &ListArgs, report: &Report) -> Done {
    let mut out = io::stdout().lock();
    if list.json {
        serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if !list.quiet {
        print(&mut out, report)?;
    }
    out.flush()?;
    if !list.quiet && report.outcomes["rejected"] * 2 > report.list.rows {
        let column = &report.list.id_column;
        writeln!(
            io::stderr(),
            "nabar: most rows were rejected: is the id in column {column}? See --id-column"
        )?;
    }
    match report.refused {
        Some(limit) => {
            let rejected = report.outcomes["rejected"];
            let name = limit.replace('_', "-");
            let text =
                format!("{rejected} of {} rows were rejected, more than --{name} allows", report.list.rows);
            Err(Failure::Refused(text))
        }
        None => Ok(()),
    }
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let rows = report.list.rows;
    let percent = |part: u64| if rows == 0 { 0.0 } else { part as f64 * 100.0 / rows as f64 };
    let mut line = |indent: &str, part: u64, name: &str| {
        writeln!(out, "{indent}{part:>11}  {:>5.1} %  {name}", percent(part))
    };
    line("", rows, "rows")?;
    line("", report.outcomes["digital"], "digital")?;
    for operator in report.operators.iter().filter(|operator| operator.rows > 0) {
        line("    ", operator.rows, &operator.name)?;
    }
    let rejects = |reason: &str| RowProblem::all().any(|problem| problem.name() == reason);
    for (outcome, &part) in report.outcomes.iter().filter(|(name, part)| **name != "digital" && **part > 0) {
        line("", part, outcome)?;
        let reasons = report.reasons.iter().filter(|(reason, _)| match *outcome {
            "paper" => !rejects(reason),
            "rejected" => rejects(reason),
            _ => false,
        });
        for (reason, &part) in reasons {
            line("    ", part, reason)?;
        }
    }
    writeln!(out, "duplicates: {}", report.duplicates)?;
    if let Some(savings) = &report.savings {
        let (saved, all) = (savings.saved, savings.paper_only);
        writeln!(out, "saves {saved:.2} of {all:.2} (all on paper)")?;
    }
    let register = &report.register;
    writeln!(
        out,
        "{} as of {}, sequence {}; {:.2} s, {:.1} million rows/s",
        register.kind,
        register.as_of,
        register.sequence,
        report.seconds,
        report.rows_per_second / 1e6
    )
}

/// Progress on a terminal, and the ear for signals.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(list: &ListArgs) -> Bar {
        if list.quiet || !io::stderr().is_terminal() {
            return Bar(None);
        }
        let bytes = std::fs::metadata(&list.list).ok().filter(|file| file.is_file()).map(|file| file.len());
        let bar = match bytes.filter(|_| !is_compressed(&list.list)) {
            Some(bytes) => {
                ProgressBar::new(bytes).with_style(style("{bar:30} {percent:>3} %  {msg}  {eta} left"))
            }
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar(Some(bar))
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Whether bytes of the list say nothing of the length of the file. Only for the bar.
fn is_compressed(list: &Path) -> bool {
    matches!(list.extension().and_then(|ending| ending.to_str()), Some("gz" | "zst"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Bar {
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
