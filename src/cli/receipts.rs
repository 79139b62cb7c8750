//! `reconcile` and `record`.

use super::args::{ReconcileArgs, RecordArgs};
use super::mailing::JobProgress;
use super::{CommandResult, Failure, listen};
use nabar::mailing::{
    FurtherRecord, LetterRecord, ReceiptOptions, ReceiptsSummary, Reconciled, RecordKey, RunRecord,
    RunRegister, SplitDirectory,
};
use nabar::plain_text::plain;
use std::io::{self, Write};

pub(super) fn reconcile(args: &ReconcileArgs) -> CommandResult {
    let split = SplitDirectory::read(&args.split)?;
    let options = ReceiptOptions {
        delivered: args.delivered.clone(),
        failed: args.failed.clone(),
        row_column: args.row_column.clone(),
        id_column: args.id_column.clone(),
        status_column: args.status_column.clone(),
        reason_column: args.reason_column.clone(),
        channels: args.channels.clone(),
        max_rejected: args.max_rejected,
    };
    listen();
    let done = split.reconcile(&args.receipts, &options, &JobProgress::silent())?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &done).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if !args.quiet {
        print_reconciled(&done, &mut out)?;
    }
    Ok(out.flush()?)
}

fn print_reconciled(done: &Reconciled, out: &mut impl Write) -> io::Result<()> {
    for receipts in done.receipts.iter().filter(|receipts| receipts.reconciliation == done.number) {
        print_receipts(receipts, out)?;
    }
    for (letters, what) in [
        (done.dispatched, "letters were dispatched"),
        (done.delivered, "arrived"),
        (done.failed, "failed"),
        (done.contradictions, "have receipts that contradict each other"),
        (done.without_receipt, "have no receipt"),
    ] {
        writeln!(out, "{letters:>11}  {what}")?;
    }
    match &done.late_paper {
        Some(late) => writeln!(out, "to be printed now: {} ({} letters)", late.path, late.letters)?,
        None => writeln!(out, "nothing is to be printed now")?,
    }
    match &done.rejected_receipts {
        Some(rejected) => writeln!(out, "receipts that are not used: {rejected}"),
        None => Ok(()),
    }
}

fn print_receipts(receipts: &ReceiptsSummary, out: &mut impl Write) -> io::Result<()> {
    let ReceiptsSummary { path, receipts: all, delivered, failed, rejected, .. } = receipts;
    write!(out, "{}: {all} receipts, {delivered} letters arrived, {failed} failed", plain(path))?;
    for (problem, count) in rejected {
        write!(out, ", {count} {problem}")?;
    }
    writeln!(out)
}

pub(super) fn record(args: &RecordArgs) -> CommandResult {
    let split = SplitDirectory::read(&args.split)?;
    let key = match (args.row, &args.id) {
        (Some(row), _) => RecordKey::Row(row),
        (None, Some(id)) => RecordKey::Id(id),
        (None, None) => return Err(Failure::Usage("name a row or an id".to_owned())),
    };
    let record = split.record(key)?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &record).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print_record(&record, &mut out)?;
    }
    Ok(out.flush()?)
}

fn print_record(record: &RunRecord, out: &mut impl Write) -> io::Result<()> {
    for letter in &record.letters {
        print_letter(letter, out)?;
    }
    let mut line = |name: &str, text: &str| writeln!(out, "{name:<11} {}", plain(text));
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let RunRecord { register, sequence, as_of, .. } = record;
    line("decided", &format!("{}, for {}", known(&record.made), known(&record.date)))?;
    line("nabar", &known(&record.version))?;
    line(
        "register",
        &format!("{register}, sequence {sequence}, as of {as_of}, {}", known(&record.register_digest)),
    )?;
    for RunRegister { name, kind, sequence, as_of, digest } in &record.registers {
        line(name, &format!("{kind}, sequence {sequence}, as of {as_of}, {}", known(digest)))?;
    }
    if let Some((address, oldest, newest)) = &record.asked {
        line("asked", &format!("{address}, answers of {oldest} to {newest}"))?;
    }
    if let Some(sender) = &record.sender {
        line("sender", sender)?;
    }
    if let Some(digest) = &record.rules_digest {
        line("rules", digest)?;
    }
    line("list", &format!("{}, {}", record.list, record.list_digest))
}

fn print_letter(letter: &LetterRecord, out: &mut impl Write) -> io::Result<()> {
    let mut line = |name: &str, text: &str| match text.is_empty() {
        true => Ok(()),
        false => writeln!(out, "{name:<11} {}", plain(text)),
    };
    line("row", &letter.row.to_string())?;
    line("outcome", &format!("{} {}", letter.outcome, letter.reason.replace('_', " ")))?;
    line("operator", &letter.operator_id)?;
    for FurtherRecord { name, outcome, reason, operator_id } in &letter.registers {
        let said = [&**outcome, &reason.replace('_', " "), operator_id];
        line(name, said.join(" ").trim())?;
    }
    line("channel", &letter.channel)?;
    line("rule", &letter.rule)?;
    line("file", letter.file.as_deref().unwrap_or_default())?;
    let receipt = match &letter.receipts {
        None => "none".to_owned(),
        Some(receipts) => {
            let reason = if letter.status_reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", letter.status_reason)
            };
            format!("{}{reason}, {}, {}", letter.status, receipts.path, receipts.digest)
        }
    };
    line("receipt", &receipt)
}
