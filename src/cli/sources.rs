//! `resolve`, `source` and `purge`: live registers.

use super::args::{
    AskingArgs, PurgeArgs, ReadingArgs, RecheckArgs, ResolveArgs, SenderArgs, SourceArgs, SourceCheck,
};
use super::args::{SourceCommand, SourceKindArg};
use super::mailing::{JobProgress, list_options};
use super::{CommandResult, Failure, InputRegister, day, interrupted, listen};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use nabar::channels::ChannelRules;
use nabar::files;
use nabar::identities::Ordinal;
use nabar::mailing::{self, Destination, ListOptions, Mailing, SplitDirectory};
use nabar::register::Register;
use nabar::rejected::RejectedLimit;
use nabar::snapshot::format;
use nabar::source::{
    self, AskProgress, Asked, CertificateStatus, Feed, Resolve, Resolved, Source, SourceError,
};
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// The JSON Schema of source files.
const SCHEMA: &str = include_str!("../../docs/source.schema.json");
/// Days before the end of a certificate from which there is a warning.
const WARNED_DAYS: i64 = 30;

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Failure {
        match error {
            SourceError::File(_)
            | SourceError::Credentials(_)
            | SourceError::SenderMissing
            | SourceError::SenderUnwanted
            | SourceError::TenantIsSender
            | SourceError::OtherScope => Failure::Usage(error.to_string()),
            SourceError::Interrupted => Failure::Interrupted(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

/// Whole days until a certificate ends. Errors: it has ended.
fn days_left(certificate: &CertificateStatus) -> Result<i64, Failure> {
    match certificate.days_left(Timestamp::now()) {
        days @ 0.. => Ok(days),
        _ => Err(Failure::Failed(format!(
            "the certificate {} ended at {}: renew it",
            certificate.subject, certificate.not_after
        ))),
    }
}

/// Opens a source, and warns of certificates that end soon.
pub(super) fn open(path: &Path, asking: &AskingArgs) -> Result<Source, Failure> {
    let source = Source::open(path, asking.on_behalf_of.as_deref())?;
    warn_of_certificates(source.certificates())?;
    Ok(source)
}

/// As [`open`], for the feed.
pub(super) fn open_feed(path: &Path, on_behalf_of: Option<&str>) -> Result<Feed, Failure> {
    let feed = Feed::open(path, on_behalf_of)?;
    warn_of_certificates(feed.certificates())?;
    Ok(feed)
}

/// Warns of certificates that end soon. Errors: one has ended.
fn warn_of_certificates(certificates: &[CertificateStatus]) -> CommandResult {
    for certificate in certificates {
        let days = days_left(certificate)?;
        if days < WARNED_DAYS {
            let text =
                format!("warning: the certificate {} ends in {days} days: renew it", certificate.subject);
            writeln!(io::stderr(), "nabar: {text}")?;
        }
    }
    Ok(())
}

/// The recipients of lists, ascending, each once. `None` if a list has too many rejected rows.
pub(super) fn recipients(
    source: &Source,
    of: &SenderArgs,
    reading: &ReadingArgs,
    lists: &[&Path],
    rules: Option<&ChannelRules>,
    max_rejected: RejectedLimit,
) -> Result<Option<Vec<Ordinal>>, Failure> {
    if let Some(list) = lists.iter().find(|list| **list == Path::new("-")) {
        let text = "the list is read twice, to ask and to split: name a file, not standard input";
        return Err(Failure::Usage(text.to_owned()).about(list));
    }
    if let Some(list) = lists.iter().find(|list| std::fs::metadata(list).is_ok_and(|list| !list.is_file())) {
        let text = "the list is read twice, to ask and to split: it must be a regular file";
        return Err(Failure::Usage(text.to_owned()).about(list));
    }
    let register = source.empty(of.sender.as_deref())?;
    let (date, today) = day(of)?;
    let sender = source.sender(of.sender.as_deref())?;
    let question = register.question(sender.as_deref(), date)?;
    let progress = JobProgress::silent();
    let other_country = rules.and_then(|rules| mailing::other_country(rules, register.kind().country()));
    let mut all = Vec::new();
    for list in lists {
        let mailing = Mailing {
            options: ListOptions { other_country, ..list_options(reading)? },
            today,
            max_rejected,
            progress: &progress,
            ..Mailing::new(&question, list)
        };
        let found = mailing::recipients(&mailing).map_err(|error| Failure::from(error).about(list))?;
        match found {
            (_, true) => return Ok(None),
            (ids, false) => all.extend(ids),
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(Some(all))
}

/// Asks for recipients. A failure names the journal, from which the same command goes on.
pub(super) fn ask(
    source: &Source,
    of: &SenderArgs,
    known: Option<&Path>,
    ids: &[Ordinal],
    (output, journal): (&Path, &Path),
    quiet: bool,
) -> Result<Resolved, Failure> {
    let known = known.map(InputRegister::open_any).transpose()?;
    let known = known.map(|known| known.register());
    let progress = AskingProgress::new(quiet);
    let job = Resolve {
        ids,
        sender: of.sender.as_deref(),
        output,
        journal,
        known: known.as_deref(),
        progress: &progress,
    };
    let resolved = source.resolve(&job);
    progress.finish();
    resolved.map_err(|error| {
        let is_kept = !matches!(error, SourceError::Journal(_)) && journal.exists();
        let failure = Failure::from(error);
        match is_kept {
            true => failure.followed_by(&format!(
                "; the answers so far are kept in {}: the same command goes on from there",
                journal.display()
            )),
            false => failure,
        }
    })
}

pub(super) fn resolve(args: &ResolveArgs) -> CommandResult {
    // The known answers may also be what is replaced, by renaming.
    files::check_is_no_input(&args.output, &args.lists)?;
    if !args.force {
        files::check_replaceable(&args.output, &args.lists, |beginning| {
            beginning.starts_with(&format::MAGIC)
        })?;
    }
    let source = open(&args.source, &args.asking)?;
    listen();
    let lists: Vec<&Path> = args.lists.iter().map(|list| &**list).collect();
    let ids = recipients(&source, &args.of, &args.reading, &lists, None, args.max_rejected)?;
    let ids = ids.ok_or_else(|| {
        Failure::Refused(
            "too many rows of a list have no id: `nabar check` says why, --max-rejected allows more; nothing was asked".to_owned(),
        )
    })?;
    let journal = source::journal_of(&args.output);
    let resolved =
        ask(&source, &args.of, args.asking.known.as_deref(), &ids, (&args.output, &journal), args.quiet)?;
    let summary = summary(&resolved);
    resolved.finish()?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &summary).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if !args.quiet {
        let of = |name: &str| summary[name].to_string().trim_matches('"').to_owned();
        writeln!(out, "{}: {} ids", args.output.display(), of("ids"))?;
        writeln!(
            out,
            "  asked now {}, taken over {}, refused by the register {}; {} calls, {} of them made again",
            of("asked"),
            of("taken_over"),
            of("refused"),
            of("calls"),
            of("retries")
        )?;
        writeln!(
            out,
            "  answered from {} to {}; to be deleted by {}",
            of("oldest"),
            of("newest"),
            of("delete_by")
        )?;
    }
    Ok(out.flush()?)
}

/// What a job did, as JSON.
pub(super) fn summary(resolved: &Resolved) -> serde_json::Value {
    let Asked { ids, calls, retries, .. } = resolved.asked;
    let scope = &resolved.scope;
    json!({
        "ids": scope.ids,
        "asked": ids,
        "taken_over": resolved.taken_over,
        "refused": scope.refused,
        "calls": calls,
        "retries": retries,
        "oldest": scope.oldest().to_string(),
        "newest": scope.newest().to_string(),
        "delete_by": scope.delete_by().to_string(),
        "file_bytes": resolved.file_bytes,
    })
}

pub(super) fn recheck(args: &RecheckArgs) -> CommandResult {
    let earlier = SplitDirectory::read(&args.split)?;
    earlier.check_one_column()?;
    let source = open(&args.source, &args.asking)?;
    let kind = source.file().kind.name();
    if !earlier.has_kind(kind) {
        let text = format!("the split is one of {}, the source is one of {kind}", earlier.kind());
        return Err(Failure::Usage(text));
    }
    let of = SenderArgs { sender: earlier.sender_of(kind).map(str::to_owned), date: None, max_age: None };
    let to = Destination::new(&args.output);
    mailing::check_destination(&to)?;
    listen();
    let (date, today) = day(&of)?;
    let progress = JobProgress::silent();
    let list = &args.split; // each of its files in turn
    let of_register = |register: &Register, job: &mut dyn FnMut(&Mailing<'_>) -> CommandResult| {
        let question = register.question(of.sender.as_deref(), date)?;
        let max_rejected = RejectedLimit::Percent(100.0);
        job(&Mailing { today, max_rejected, progress: &progress, ..Mailing::new(&question, list) })
    };
    let mut ids = Vec::new();
    of_register(&source.empty(of.sender.as_deref())?, &mut |mailing| {
        ids = earlier.recipients(mailing)?;
        Ok(())
    })?;
    let journal = source::journal_of(&args.output);
    let work = files::WorkDirectory::beside(&journal)?;
    let answers = work.path().join("answers.nabar");
    let asked = ask(&source, &of, args.asking.known.as_deref(), &ids, (&answers, &journal), args.quiet)?;
    let register = InputRegister::open_any(&answers)?.register();
    let mut done = None;
    of_register(&register, &mut |mailing| {
        let summary = super::mailing::asked_summary(&asked);
        done = Some(earlier.recheck(&Mailing { asked: Some(summary), ..mailing.clone() }, &to)?);
        Ok(())
    })?;
    asked.finish()?;
    let Some(done) = done else { return Ok(()) };
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &done).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if !args.quiet {
        for (letters, what) in [
            (done.letters, "digital letters"),
            (done.unchanged, "go to their operator as before"),
            (done.late_paper, "must be printed: late-paper.csv"),
            (done.late_moved, "have another operator now: late-moved.csv"),
        ] {
            writeln!(out, "{letters:>11}  {what}")?;
        }
    }
    Ok(out.flush()?)
}

pub(super) fn purge(args: &PurgeArgs) -> CommandResult {
    let purged =
        source::purge(&args.directory, args.all).map_err(|error| Failure::Failed(error.to_string()))?;
    if !args.quiet {
        writeln!(
            io::stdout(),
            "{}: removed {} register files of answers and {} journals; kept {} that may still be used (--all removes \
             them)",
            args.directory.display(),
            purged.registers,
            purged.journals,
            purged.kept
        )?;
    }
    Ok(())
}

pub(super) fn source(args: &SourceArgs) -> CommandResult {
    match &args.command {
        SourceCommand::Init(init) => {
            let text = match init.kind {
                SourceKindArg::Far => include_str!("source_far.toml"),
                SourceKindArg::Krr => include_str!("source_krr.toml"),
                SourceKindArg::Kivra => include_str!("source_kivra.toml"),
            };
            Ok(io::stdout().write_all(text.as_bytes())?)
        }
        SourceCommand::Schema(_) => Ok(io::stdout().write_all(SCHEMA.as_bytes())?),
        SourceCommand::Check(check) => try_source(check),
    }
}

/// Tries a source step by step; each step is printed when it has succeeded.
fn try_source(args: &SourceCheck) -> CommandResult {
    let mut out = io::stdout().lock();
    let source = Source::open(&args.source, args.on_behalf_of.as_deref())?;
    let file = source.file();
    writeln!(out, "source file   ok    {}, kind {}", file.address, file.kind.name())?;
    for certificate in source.certificates() {
        let days = days_left(certificate)?;
        let soon = if days < WARNED_DAYS { ": renew it soon" } else { "" };
        writeln!(out, "certificate   ok    {}, {days} days left{soon}", certificate.subject)?;
    }
    if file.tls.certificate.is_none() && file.tls.pkcs12.is_none() {
        writeln!(out, "certificate   none  [tls] has no client certificate")?;
    }
    match source.try_token()? {
        true => {
            let scopes = file.token.as_ref().map(|token| token.scopes().join(" ")).unwrap_or_default();
            writeln!(out, "token         ok    scopes {scopes}")?;
        }
        false => writeln!(out, "token         none  [token] is not set")?,
    }
    source.try_call(args.sender.as_deref())?;
    writeln!(out, "call          ok    the register answers for a test number")?;
    Ok(out.flush()?)
}

/// Progress on a terminal, and interruption by signals.
struct AskingProgress(Option<ProgressBar>);

impl AskingProgress {
    fn new(quiet: bool) -> AskingProgress {
        if quiet || !io::stderr().is_terminal() {
            return AskingProgress(None);
        }
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} ids asked  {msg}  {eta} left");
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        AskingProgress(Some(bar))
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl AskProgress for AskingProgress {
    fn answered(&self, ids: u64, total: u64, asked: Asked) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(ids);
            let rate = ids as f64 / bar.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(format!("{rate:.0}/s, {} calls, {} made again", asked.calls, asked.retries));
        }
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}
