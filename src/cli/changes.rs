//! `init`, `apply`, `changes` and `checkpoint`: data directories.

use super::args::{Apply, ChangesArgs, CheckpointArgs, Init};
use super::change_feed::ChangeFeed;
use super::{CommandResult, Failure, interrupted, listen};
use nabar::extract::BuildOptions;
use nabar::store::{self, ApplyError, Batch, Lines, Pending, SetAside, StoreError, Writer};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

/// Maximum of batches that are read ahead, and of batches that wait for the disk.
const AHEAD: usize = 4;

pub(super) fn init(args: &Init) -> CommandResult {
    let options = BuildOptions {
        max_rejected: args.max_rejected,
        allow_empty: args.allow_empty,
        ..BuildOptions::default()
    };
    let summary = store::init_with(&args.register, &args.directory, &options)?;
    let register = store::Reader::open(&args.directory)?.register();
    if args.quiet {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let (directory, recipients) = (args.directory.display(), register.recipients());
    writeln!(out, "{directory}: {recipients} recipients at sequence {}", register.sequence())?;
    let set_aside: u64 = summary.iter().flat_map(|summary| summary.set_aside.values()).sum();
    if set_aside > 0 {
        writeln!(out, "{set_aside} rows of the extract were rejected ({directory}/rejected.csv)")?;
    }
    Ok(())
}

pub(super) fn changes(args: &ChangesArgs) -> CommandResult {
    let changes = store::changes(&args.directory, args.from)?;
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    for change in changes.take(args.limit.unwrap_or(usize::MAX)) {
        out.write_all(change?.to_json().as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

pub(super) fn checkpoint(args: &CheckpointArgs) -> CommandResult {
    let started = Instant::now();
    let writer = open(&args.directory)?;
    let done = writer.checkpoint(args.keep)?;
    if args.quiet {
        return Ok(());
    }
    let (directory, seconds) = (args.directory.display(), started.elapsed().as_secs_f64());
    let (sequence, changes, removed) = (done.sequence, done.changes, done.removed);
    Ok(writeln!(
        io::stdout(),
        "{directory}: register file of sequence {sequence} with {changes} changes, {} bytes; {removed} files \
         removed; {seconds:.1} s",
        done.file_bytes
    )?)
}

/// Opens a directory for writing, and reports an incomplete batch that a crash has left.
fn open(directory: &Path) -> Result<Writer, Failure> {
    let writer = Writer::open(directory)?;
    let recovered = writer.recovered();
    if recovered.torn_bytes > 0 {
        let (bytes, sequence) = (recovered.torn_bytes, recovered.sequence);
        // The command continues if standard error is closed.
        let _ = writeln!(
            io::stderr(),
            "nabar: {}: removed {bytes} bytes of a batch that a crash had cut short; the register is at \
             sequence {sequence}",
            directory.display()
        );
    }
    Ok(writer)
}

/// Refuses to change a replica: it would differ from its source, and `nabar follow` would start over. The numbers of a
/// directory that follows a feed are those of the register: a change of another source would take the place of one.
fn refuse_replica(directory: &Path) -> CommandResult {
    let failed = |error| Failure::Failed(format!("cannot read {}: {error}", directory.display()));
    if let Some(of) = store::feed_of(directory).map_err(failed)? {
        return Err(Failure::Usage(format!(
            "{} follows the feed of {of}, and only `nabar follow` changes it; to make it a register of its own that no \
             longer follows, remove its file feed-of",
            directory.display()
        )));
    }
    match store::replica_of(directory).map_err(failed)? {
        None => Ok(()),
        Some(of) => Err(Failure::Usage(format!(
            "{} is a replica ({of}), which only `nabar follow` changes: apply the changes to its source; or, to make it \
             a register of its own that no longer follows, remove its file replica-of",
            directory.display()
        ))),
    }
}

pub(super) fn apply(args: &Apply) -> CommandResult {
    let started = Instant::now();
    listen();
    refuse_replica(&args.directory)?;
    let writer = open(&args.directory)?;
    let mut summary = ApplySummary { from: writer.register().sequence(), ..ApplySummary::default() };
    let applied = apply_all(args, &writer, &mut summary);
    summary.to = writer.register().sequence();
    if !summary.set_aside.is_empty() {
        let path = args.directory.join("rejected.csv");
        SetAside::write(&summary.set_aside, &path)
            .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?;
    }
    if !args.quiet {
        summary.print(args, started.elapsed().as_secs_f64())?;
    }
    applied.map_err(|failure| failure.about(&args.changes))
}

/// The results of all batches.
#[derive(Default)]
struct ApplySummary {
    from: u64,
    to: u64,
    batches: u64,
    applied: u64,
    skipped: u64,
    without_effect: u64,
    set_aside: Vec<SetAside>,
}

impl ApplySummary {
    fn add(&mut self, batch: Batch) {
        self.batches += 1;
        self.applied += batch.applied;
        self.skipped += batch.skipped;
        self.without_effect += batch.without_effect;
        self.set_aside.extend(batch.set_aside);
    }

    fn print(&self, args: &Apply, seconds: f64) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let ApplySummary { from, to, batches, applied, skipped, without_effect, set_aside } = self;
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        set_aside.iter().for_each(|one| *reasons.entry(one.reason.name).or_insert(0) += 1);
        if args.json {
            let report = json!({
                "from": from, "to": to, "batches": batches, "applied": applied, "skipped": skipped,
                "without_effect": without_effect, "set_aside": set_aside.len(), "reasons": reasons,
                "seconds": seconds,
            });
            return writeln!(out, "{report}");
        }
        writeln!(
            out,
            "from sequence {from} to {to}: {applied} changes applied in {batches} batches, {skipped} skipped \
             (the register has them), {without_effect} without effect; {seconds:.2} s"
        )?;
        if !set_aside.is_empty() {
            writeln!(out, "{} lines rejected ({}/rejected.csv):", set_aside.len(), args.directory.display())?;
        }
        reasons.iter().try_for_each(|(reason, count)| writeln!(out, "  {count:>9}  {reason}"))
    }
}

/// Reads, applies and syncs batches in a pipeline: while a batch is read, the one before it is applied, and the one
/// before that is synced.
fn apply_all(args: &Apply, writer: &Writer, summary: &mut ApplySummary) -> CommandResult {
    let (lines_in, lines) = sync_channel::<Result<Lines, Failure>>(AHEAD);
    let (pending_in, pending) = sync_channel::<Option<Pending>>(AHEAD);
    let feed = ChangeFeed::of(args, writer.kind());
    // Not a scoped thread: after an error the feed is not waited for.
    let reading = thread::spawn(move || feed.read(&lines_in));
    let checkpointed = Mutex::new(Ok(()));
    thread::scope(|scope| {
        let syncing = scope.spawn(move || wait_durable(writer, &pending));
        let mut running = None;
        let applied = lines.iter().try_for_each(|lines| {
            if interrupted() {
                let sequence = writer.register().sequence();
                let text = format!("interrupted; the changes up to sequence {sequence} are applied");
                return Err(Failure::Interrupted(text));
            }
            let (batch, pending) = writer.append(lines?, args.skip_bad.then_some(args.max_rejected))?;
            summary.add(batch);
            // The receiver is gone if a sync has failed; `synced` has the error.
            pending_in.send(pending).map_err(|_| Failure::Failed(String::new()))?;
            let failed = || checkpointed.lock().is_ok_and(|made| made.is_err());
            let long = args.checkpoint_at > 0 && writer.log_bytes() > args.checkpoint_at;
            if long && running.is_none() && !failed() {
                running = Some(scope.spawn(|| {
                    let made = writer.checkpoint(args.keep).map(drop);
                    if made.is_err() {
                        *checkpointed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = made;
                    }
                }));
            }
            running.take_if(|running| running.is_finished());
            Ok(())
        });
        drop(pending_in);
        let ended = || Failure::Failed("a thread has ended".to_owned());
        let synced = syncing.join().unwrap_or_else(|_| Err(ended()));
        synced.and(applied)?;
        reading.join().map_err(|_| ended())
    })?;
    let checkpointed = checkpointed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    checkpointed.map_err(|error| {
        Failure::Failed(format!("all changes are applied, but the register file was not renewed: {error}"))
    })
}

/// Waits until batches are durable, in order.
fn wait_durable(writer: &Writer, pending: &Receiver<Option<Pending>>) -> CommandResult {
    pending.iter().try_for_each(|pending| Ok(writer.wait(pending)?))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::NotOne(_)
            | StoreError::IsFile(_)
            | StoreError::IsExtract(_)
            | StoreError::Gone { .. } => Failure::Usage(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Failure {
        match error {
            ApplyError::Store(error) => error.into(),
            ApplyError::TooManyRejected { .. } => {
                Failure::Refused(format!("{error}; --max-rejected sets the limit"))
            }
            ApplyError::Bad { reason, .. } if reason.name == "line_too_long" => Failure::Failed(format!(
                "{error}; a line of changes has at most 1 MiB: is this a file of JSON Lines? --skip-bad rejects such lines \
                 and applies the others"
            )),
            ApplyError::Bad { .. } => {
                Failure::Failed(format!("{error}; --skip-bad rejects such lines and applies the others"))
            }
            ApplyError::TooLong { .. } => Failure::Failed(format!("{error}: apply it in parts with --batch")),
            error => Failure::Failed(error.to_string()),
        }
    }
}

impl From<nabar::changes::BadPage> for Failure {
    fn from(error: nabar::changes::BadPage) -> Failure {
        Failure::Failed(error.to_string())
    }
}

impl From<store::InitError> for Failure {
    fn from(error: store::InitError) -> Failure {
        match error {
            store::InitError::Occupied(_) => Failure::Usage(error.to_string()),
            store::InitError::Extract(error) => error.into(),
            _ => Failure::Failed(error.to_string()),
        }
    }
}
