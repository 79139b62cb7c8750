//! `check` and `split`.

use super::args::{Check, Header, ListArgs, QuestionArgs, Skipped, Split};
use super::{Done, Failure, day, interrupted, listen, source_of};
use indicatif::{ProgressBar, ProgressStyle};
use nabar::files;
use nabar::mailing::{self, Destination, ListOptions, Mailing, Progress, Report, RowProblem};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

pub(super) fn check(args: &Check) -> Done {
    if let Some(html) = &args.html {
        let mut inputs = files::files_of(&args.question.register);
        inputs.push(args.list.list.clone());
        files::check_is_no_input(html, &inputs)?;
        if !args.force {
            files::check_replaceable(html, &inputs, mailing::is_html_report)?;
        }
    }
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
    // What lies in the output directory goes when the new files come.
    let register = args.question.register.canonicalize().ok();
    if let (Some(register), Ok(output)) = (register, args.output.canonicalize())
        && register.starts_with(&output)
    {
        return Err(files::NotReplaced::IsInput(args.question.register.clone()).into());
    }
    let report = with_mailing(&args.question, &args.list, |mailing| mailing::split(mailing, &to))?;
    finish(&args.list, &report)
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
    let asked = register.question(question.sender.as_deref(), date)?;
    listen();
    let bar = Bar::new(list);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let mailing = Mailing {
        question: &asked,
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
                Header::Auto => None,
                Header::Yes => Some(true),
                Header::No => Some(false),
            },
        },
        today,
        now: jiff::Timestamp::now(),
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
    if !list.quiet {
        explain(&mut io::stderr().lock(), report)?;
    }
    let mut out = io::stdout().lock();
    if list.json {
        serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if !list.quiet {
        print(&mut out, report)?;
    }
    out.flush()?;
    match report.refused {
        Some(reason) => Err(Failure::Refused(refusal(report, reason)).about(&list.list)),
        None => Ok(()),
    }
}

/// Why a job was refused, and what to do.
fn refusal(report: &Report, reason: &str) -> String {
    let problem = |name: &str| RowProblem::all().find(|problem| problem.name() == name);
    let of_letters = |name: &str| problem(name).is_some_and(|problem| !problem.is_no_letter());
    let no_letters: u64 = report
        .reasons
        .iter()
        .filter(|(name, _)| problem(name).is_some_and(RowProblem::is_no_letter))
        .map(|(_, rows)| rows)
        .sum();
    let found = match reason {
        "no_rows" => "the list has no rows".to_owned(),
        _ => format!(
            "{} of {} rows were rejected, more than --max-rejected allows",
            report.outcomes["rejected"] - no_letters,
            report.letters - no_letters
        ),
    };
    let most = report.reasons.iter().filter(|(name, _)| of_letters(name)).max_by_key(|(_, rows)| **rows);
    let column = &report.list.id_column;
    let cause = match (&report.likely_cause, most) {
        (Some(cause), _) => cause.clone(),
        (None, _) if reason == "no_rows" => "is it the right file?".to_owned(),
        (None, Some((name, rows))) if report.list.id_share >= 0.5 => {
            format!("{rows} of them are {name}; nabar split leaves them in {}", mailing::REJECTED)
        }
        (None, _) => format!("are the ids in column {column}? See --id-column"),
    };
    format!("{found}: {cause}")
}

/// What was decided of the list, and on what ground; and how old the register is.
fn explain(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let list = &report.list;
    let delimiter = match &list.delimiter[..] {
        "" => "no delimiter".to_owned(),
        "\t" => "delimiter tab".to_owned(),
        delimiter => format!("delimiter {delimiter}"),
    };
    let header = match list.header_row {
        Some(row) => format!("header in row {row}"),
        None => "no header".to_owned(),
    };
    writeln!(
        out,
        "nabar: list: {}, {delimiter} ({}), {header} ({}), ids in {} ({}; {:.1} % of the first rows)",
        list.encoding,
        ground(list.decided_by.delimiter),
        ground(list.decided_by.header),
        match list.header_row {
            Some(_) => format!("\"{}\"", list.id_column),
            None => format!("column {}", list.id_column),
        },
        ground(list.decided_by.id_column),
        list.id_share * 100.0
    )?;
    if list.skipped_rows > 0 {
        let rows = list.skipped_rows;
        writeln!(out, "nabar: list: passed over above the header or the first row: {rows}")?;
    }
    if list.decided_by.header == "no_sign" && report.outcomes["rejected"] > 0 {
        let hint =
            "if a rejected row is the header, say --header yes, and --skip-rows if it is not the first";
        writeln!(out, "nabar: list: {hint}")?;
    }
    if report.more_than_one_identity > 0 {
        writeln!(
            out,
            "nabar: warning: {} rows hold an id of somebody else outside the id column; --strict-rows rejects them, \
             --expected-ids names columns where that is right",
            report.more_than_one_identity
        )?;
    }
    if let Some(joined) = report.reasons.get("joined_rows") {
        writeln!(out, "nabar: warning: {joined} rows look like two rows in one, and were rejected")?;
    }
    let register = &report.register;
    match register.age_days {
        OLD_DAYS.. => writeln!(out, "nabar: warning: the register is {} days old", register.age_days),
        days => writeln!(out, "nabar: register: {} days old", days.max(0)),
    }
}

/// Age of a register, in days, from which on a job warns.
const OLD_DAYS: i64 = 8;

/// The words of [`nabar::mailing::DecidedBy`] for people.
fn ground(word: &str) -> &str {
    match word {
        "given" => "as given",
        "sep_line" => "the first line says so",
        "identities" => "it shows the most ids",
        "cells" => "it cuts most rows alike",
        "no_choice" => "nothing else is possible",
        "known_name" => "a known name",
        "usual_words" => "usual words of headers",
        "types" => "words where the rows below have digits",
        "no_sign" => "no row looks like one",
        other => other,
    }
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let rows = report.letters;
    let percent = |part: u64| if rows == 0 { 0.0 } else { part as f64 * 100.0 / rows as f64 };
    let mut line = |indent: &str, part: u64, name: &str| {
        writeln!(out, "{indent}{part:>11}  {:>5.1} %  {name}", percent(part))
    };
    line("", rows, if report.letters > report.list.rows { "letters" } else { "rows" })?;
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
    if report.second_ids > 0 {
        writeln!(out, "letters: {} ({} to the second id)", report.letters, report.second_ids)?;
    }
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
