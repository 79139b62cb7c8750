//! `build`, `inspect`, `verify` and `export`.

use super::args::{Build, Export, Inspect, Verify};
use super::{CommandResult, Failure, InputRegister, open, open_failure};
use nabar::extract::BuildOptions;
use nabar::plain_text::plain;
use nabar::register::{Census, Damage, Register};
use nabar::snapshot::Snapshot;
use nabar::snapshot::format::Section;
use nabar::store::Reader;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(super) fn build(args: &Build) -> CommandResult {
    let started = Instant::now();
    let options = BuildOptions {
        strict: args.strict,
        max_rejected: args.max_rejected,
        allow_empty: args.allow_empty,
        force: args.force,
    };
    let summary = nabar::extract::build(&args.extract, &args.output, &options)?;
    if args.quiet {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {} recipients, {} bytes ({:.1} per recipient), {:.1} s",
        args.output.display(),
        summary.recipients,
        summary.file_bytes,
        summary.file_bytes as f64 / summary.recipients.max(1) as f64,
        started.elapsed().as_secs_f64()
    )?;
    let set_aside: u64 = summary.set_aside.values().sum();
    if set_aside > 0 {
        writeln!(out, "{set_aside} rows of the extract were rejected ({}):", summary.rejected.display())?;
        for (reason, count) in &summary.set_aside {
            writeln!(out, "  {count:>9}  {reason}")?;
        }
    }
    Ok(())
}

pub(super) fn verify(args: &Verify) -> CommandResult {
    let mut unfinished = 0;
    let findings = if args.register.is_dir() {
        // Opening reads the whole log, and checks its checksums and that each change is valid. Then every recipient is
        // read with the changes, as an export reads it.
        let reader = Reader::open(&args.register)?;
        let findings = snapshot_of(&reader, &args.register)?.verify();
        if findings.is_empty() {
            reader.register().for_each::<Damage>(|_, _| Ok(()))?;
        }
        unfinished = reader.unfinished_bytes()?;
        findings
    } else {
        open(&args.register)?.verify()
    };
    if findings.is_empty() {
        if !args.quiet {
            writeln!(io::stdout(), "{}: whole", args.register.display())?;
        }
        if unfinished > 0 {
            // If standard error is closed, the exit code still says that the register is whole.
            let _ = writeln!(
                io::stderr(),
                "nabar: note: {unfinished} bytes after the last whole batch of changes are not read: they are being \
                 written, or were never acknowledged and will be removed by the next `nabar apply`"
            );
        }
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    let text =
        format!("{} is damaged; copy it again or rebuild it:{}", args.register.display(), lines.concat());
    Err(Failure::Failed(text))
}

pub(super) fn export(args: &Export) -> CommandResult {
    Ok(nabar::extract::export(&InputRegister::open(&args.register)?.register(), &args.output)?)
}

pub(super) fn inspect(args: &Inspect) -> CommandResult {
    let mut unfinished = None;
    let (snapshot, register) = if args.register.is_dir() {
        let reader = Reader::open(&args.register)?;
        unfinished = Some(reader.unfinished_bytes()?);
        (snapshot_of(&reader, &args.register)?, reader.register())
    } else {
        let snapshot = open(&args.register)?;
        let register = snapshot.register().map_err(|error| open_failure(&args.register, &error))?;
        (snapshot, Arc::new(register))
    };
    let census = register.census()?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &as_json(&snapshot, &register, &census, unfinished))
            .map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    print(&mut out, &snapshot, &register, &census)?;
    if let Some(bytes @ 1..) = unfinished {
        writeln!(out, "unfinished  {bytes} bytes after the last whole batch of changes, which are not read")?;
    }
    if args.senders {
        writeln!(out, "senders:")?;
        for sender in register.senders() {
            writeln!(out, "  {}  {}", plain(&sender.id), plain(&sender.name))?;
        }
    }
    Ok(())
}

/// The register file that a reader has open: a checkpoint may have removed its name.
fn snapshot_of(reader: &Reader, directory: &Path) -> Result<Snapshot, Failure> {
    Snapshot::of_register(&reader.register()).map_err(|error| open_failure(directory, &error))
}

/// Bytes of the sections that lookups read.
fn hot_bytes(snapshot: &Snapshot) -> u64 {
    let hot = [
        Section::Directory,
        Section::Blocks,
        Section::Pages,
        Section::Records,
        Section::ExceptionPlaces,
        Section::ExceptionRules,
    ];
    snapshot.sections().iter().filter(|entry| hot.contains(&entry.section)).map(|entry| entry.bytes).sum()
}

fn per_recipient(bytes: u64, census: &Census) -> f64 {
    bytes as f64 / census.recipients.max(1) as f64
}

fn print(out: &mut impl Write, snapshot: &Snapshot, register: &Register, census: &Census) -> io::Result<()> {
    let header = snapshot.header();
    writeln!(out, "register    {}", register.source_name())?;
    writeln!(out, "sequence    {}", register.sequence())?;
    writeln!(out, "as of       {}", register.as_of())?;
    writeln!(out, "digest      {}", snapshot.header_digest())?;
    writeln!(out, "format      {}", header.version())?;
    writeln!(out, "recipients  {}", census.recipients)?;
    writeln!(out, "senders     {}", register.senders().len())?;
    writeln!(out, "dispatchers {}", register.dispatchers().len())?;
    writeln!(
        out,
        "bytes       {} ({:.2} per recipient; {:.2} of them hot)",
        header.file_bytes,
        per_recipient(header.file_bytes, census),
        per_recipient(hot_bytes(snapshot), census)
    )?;
    let (parts, bytes) = register.changed();
    if parts > 0 {
        let changes = register.sequence() - header.sequence;
        writeln!(
            out,
            "changes     {changes} since the register file; {parts} changed parts of {bytes} bytes"
        )?;
    }
    writeln!(out, "by operator:")?;
    for (operator, count) in register.operators().iter().zip(&census.operators) {
        writeln!(out, "  {count:>10}  {} {}", plain(&operator.id), plain(&operator.name))?;
    }
    writeln!(out, "  {:>10}  none", census.without_operator)?;
    writeln!(out, "by type:")?;
    for (name, count) in &census.types {
        writeln!(out, "  {count:>10}  {name}")?;
    }
    writeln!(out, "  {:>10}  with an individual acceptance rule", census.own_rule)?;
    writeln!(out, "by identity space:")?;
    for (space, count) in &census.spaces {
        writeln!(out, "  {count:>10}  {}", space.name())?;
    }
    Ok(())
}

/// `unfinished`: bytes after the last whole batch of a data directory's log.
fn as_json(snapshot: &Snapshot, register: &Register, census: &Census, unfinished: Option<u64>) -> Value {
    let operators = register.operators().iter().zip(&census.operators);
    let operators: Vec<Value> = operators
        .map(|(operator, count)| json!({"id": operator.id, "name": operator.name, "recipients": count}))
        .collect();
    let senders: Vec<Value> =
        register.senders().iter().map(|sender| json!({"id": sender.id, "name": sender.name})).collect();
    let spaces: serde_json::Map<_, _> =
        census.spaces.iter().map(|(space, count)| (space.name().to_owned(), json!(count))).collect();
    let sections: Vec<Value> = snapshot
        .sections()
        .iter()
        .map(|entry| json!({"name": entry.section.name(), "bytes": entry.bytes, "width": entry.width}))
        .collect();
    json!({
        "kind": register.source_name(),
        "sequence": register.sequence(),
        "as_of": register.as_of().to_string(),
        "digest": snapshot.header_digest(),
        "format": snapshot.header().version(),
        "recipients": census.recipients,
        "bytes": snapshot.header().file_bytes,
        "bytes_per_recipient": per_recipient(snapshot.header().file_bytes, census),
        "hot_bytes_per_recipient": per_recipient(hot_bytes(snapshot), census),
        "changes_since_file": register.sequence() - snapshot.header().sequence,
        "unfinished_bytes": unfinished,
        "changed_parts": register.changed().0,
        "changed_bytes": register.changed().1,
        "operators": operators,
        "without_operator": census.without_operator,
        "types": census.types,
        "own_rule": census.own_rule,
        "spaces": spaces,
        "senders": senders,
        "dispatchers": register.dispatchers().len(),
        "sections": sections,
    })
}
