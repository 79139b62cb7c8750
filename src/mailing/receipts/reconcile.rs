//! Compares receipts with the letters of a split.
//!
//! Each time, the record of the run is written again as a file of its own, with what all receipts said so far, and the letters
//! that failed now are a file to be printed. The summary is renamed last, so that a reconciliation that was interrupted is as
//! if it had not begun.

use super::super::error::ListError;
use super::super::input::{self, Input};
use super::super::output_directory::{OutputDirectory, write_error};
use super::super::report::FEEDBACK;
use super::super::rows::{RowRules, RowScanner};
use super::super::split_directory::SplitDirectory;
use super::super::{LATE_PAPER, Progress};
use super::letters::{Fate, Letters, MORE_COLUMNS, columns_of_feedback, for_each_line};
use super::{Answer, ReadReceipt, Receipt, ReceiptKey, ReceiptOptions, ReceiptReader, Unusable};
use crate::identities::{Identity, Ordinal};
use crate::rejected::RejectedLimit;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The record of a run.
const RECORD: &str = "record.csv";
/// Receipts that were not used.
const REJECTED_RECEIPTS: &str = "receipts-rejected.csv";
/// The summary.
const SUMMARY: &str = "reconcile.json";
/// Most reconciliations of a run.
const NUMBER_MAX: u32 = 9999;

/// One file of receipts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReceiptsSummary {
    /// Number of the reconciliation in which it was read, from 1.
    pub reconciliation: u32,
    /// Path as given.
    pub path: String,
    /// `blake3:` and 64 hexadecimal digits, of the file as it is.
    pub digest: String,
    /// Receipts in it.
    pub receipts: u64,
    /// Letters that arrived.
    pub delivered: u64,
    /// Letters that did not.
    pub failed: u64,
    /// Receipts that are not used, by the reason: `double` (as an earlier one), `contradiction` (the opposite of an earlier
    /// one), `stranger` (no letter of the run that was dispatched), `ambiguous` (one of several letters to the same
    /// recipient), `no_key`, `keys_differ`, `unknown_status`, `unreadable`.
    pub rejected: BTreeMap<String, u64>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReconciledFile {
    /// Name in the directory of the split.
    pub path: String,
    /// Letters in it.
    pub letters: u64,
    /// `blake3:` and 64 hexadecimal digits.
    pub digest: String,
}

/// What is known of the letters of a run after a reconciliation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconciled {
    /// Number of the reconciliation, from 1.
    pub number: u32,
    /// When it was made, RFC 3339.
    pub at: String,
    /// Version of nabar.
    pub version: String,
    /// Digest of the feedback of the split.
    pub feedback_digest: String,
    /// Letters that were dispatched.
    pub dispatched: u64,
    /// Letters that arrived.
    pub delivered: u64,
    /// Letters that did not.
    pub failed: u64,
    /// Letters whose receipts contradict each other.
    pub contradictions: u64,
    /// Letters without receipt.
    pub without_receipt: u64,
    /// All files of receipts so far, in the order in which they were read.
    pub receipts: Vec<ReceiptsSummary>,
    /// The letters that failed now; `null` if there are none.
    pub late_paper: Option<ReconciledFile>,
    /// The record of the run.
    pub record: ReconciledFile,
    /// Name of the file of receipts that are not used; `null` if there are none.
    pub rejected_receipts: Option<String>,
}

/// The name of a file in a reconciliation: the first has none, later ones their number.
fn numbered(name: &str, number: u32) -> String {
    match (name.rsplit_once('.'), number) {
        (Some((stem, ending)), 2..) => format!("{stem}-{number}.{ending}"),
        _ => name.to_owned(),
    }
}

impl SplitDirectory {
    /// The last reconciliation, if there was one. Errors: it is one of another split, or cannot be read.
    pub(super) fn last_reconciled(&self) -> Result<Option<Reconciled>, ListError> {
        let mut last = None;
        for number in 1..=NUMBER_MAX {
            let path = self.path().join(numbered(SUMMARY, number));
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                Err(error) => return Err(ListError::ReadOutput { path, error }),
            };
            let summary: Reconciled =
                serde_json::from_slice(&text).map_err(|_| ListError::OutputChanged(path.clone()))?;
            if summary.number != number || Some(&summary.feedback_digest) != self.feedback_digest() {
                return Err(ListError::OtherSplit(path));
            }
            last = Some(summary);
        }
        Ok(last)
    }

    /// Digest of the feedback; `None` if an earlier version of nabar made the split.
    pub(super) fn feedback_digest(&self) -> Option<&String> {
        self.report().feedback.as_ref().map(|feedback| &feedback.digest)
    }

    /// The letters as the last reconciliation left them.
    fn letters(&self, last: Option<&Reconciled>) -> Result<Letters, ListError> {
        let (name, digest) = match last {
            Some(last) => (&*last.record.path, Some(&last.record.digest)),
            None => (FEEDBACK, self.feedback_digest()),
        };
        let letters = Letters::read(self, name)?;
        match digest == Some(&letters.digest) {
            true => Ok(letters),
            false => Err(ListError::OutputChanged(self.path().join(name))),
        }
    }

    /// Compares files of receipts with the letters of the split, and writes to its directory: `late-paper.csv` with the
    /// letters that failed, `record.csv` with what is known of each letter, `receipts-rejected.csv` with the receipts that
    /// are not used, and `reconcile.json`. A later reconciliation adds to what is known, and its files have its number
    /// (`late-paper-2.csv`).
    ///
    /// Memory: 24 bytes a letter, up to twice that while they are read, and what is mapped. Errors: the split was made by a version that wrote no digests; one of
    /// its files was changed; receipts cannot be read.
    pub fn reconcile(
        &self,
        receipts: &[PathBuf],
        options: &ReceiptOptions,
        progress: &dyn Progress,
    ) -> Result<Reconciled, ListError> {
        if self.feedback_digest().is_none() {
            return Err(ListError::NoDigests(self.path().to_owned()));
        }
        let dispatched = self.dispatched(&options.channels)?;
        let directory = OutputDirectory::create(self.path(), true)?;
        let last = self.last_reconciled()?;
        let number = last.as_ref().map_or(1, |last| last.number + 1);
        let mut letters = self.letters(last.as_ref())?;
        let mut summaries = last.as_ref().map(|last| last.receipts.clone()).unwrap_or_default();
        let rejected = numbered(REJECTED_RECEIPTS, number);
        let mut set_aside = SetAside { directory: &directory, name: rejected.clone(), file: None };
        let mut failed = Vec::new();
        for path in receipts {
            let mut comparison = Comparison::new(&mut letters, &dispatched, summaries.len() as u32 + 1);
            let reader = ReceiptReader { options, ids: self.ids() };
            let (mut stopped, mut failure) = (false, None);
            let digest = reader.read(path, &mut |read| {
                stopped |= progress.interrupted();
                if !stopped && failure.is_none() {
                    failure = comparison.take(read, &mut set_aside).err();
                }
            })?;
            if stopped {
                return Err(ListError::Interrupted);
            }
            if let Some(error) = failure {
                return Err(error);
            }
            comparison.settle_several(&mut set_aside)?;
            comparison.check(options.max_rejected, path)?;
            let Comparison { mut summary, failed: of_file, .. } = comparison;
            failed.extend(of_file);
            (summary.reconciliation, summary.path, summary.digest) =
                (number, path.display().to_string(), digest);
            summaries.push(summary);
        }
        // A receipt of a later file may contradict.
        failed.retain(|&letter| letters.letters[letter as usize].fate == Fate::Failed);
        failed.sort_unstable();
        set_aside.finish()?;
        let late_paper = match failed.is_empty() {
            true => None,
            false => Some(self.write_late(&directory, &numbered(LATE_PAPER, number), &letters, &failed)?),
        };
        let earlier = last.as_ref().map_or(FEEDBACK, |last| &last.record.path);
        let record = self.write_record(&directory, &numbered(RECORD, number), earlier, &letters)?;
        let count = |fate: Fate| {
            let dispatched = letters.letters.iter().filter(|letter| is_dispatched(&dispatched, letter.file));
            dispatched.filter(|letter| letter.fate == fate).count() as u64
        };
        let counts = [Fate::Delivered, Fate::Failed, Fate::Contradiction, Fate::Unknown].map(count);
        let summary = Reconciled {
            number,
            at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feedback_digest: self.feedback_digest().cloned().unwrap_or_default(),
            dispatched: counts.iter().sum(),
            delivered: counts[0],
            failed: counts[1],
            contradictions: counts[2],
            without_receipt: counts[3],
            receipts: summaries,
            late_paper,
            record,
            rejected_receipts: set_aside.file.is_some().then_some(rejected),
        };
        let name = numbered(SUMMARY, number);
        let json = serde_json::to_vec_pretty(&summary)
            .map_err(|error| ListError::Write { path: self.path().join(&name), error: error.into() })?;
        directory.add(&name, &json, true)?;
        directory.add_to_existing(&name)?;
        Ok(summary)
    }

    /// By file of rows, whether its letters have receipts: those of operators, and of further channels. Errors: there is no
    /// such channel.
    fn dispatched(&self, channels: &[String]) -> Result<Vec<bool>, ListError> {
        let files = &self.report().files;
        let is_channel =
            |file: &super::super::split_directory::WrittenFile, name: &String| match &file.channel {
                Some(channel) => channel == name,
                // Without channel rules, the outcome.
                None => file.outcome.as_ref() == Some(name),
            };
        if let Some(name) = channels.iter().find(|name| !files.iter().any(|file| is_channel(file, name))) {
            return Err(ListError::NoSuchChannel(name.clone()));
        }
        let of = |file| channels.iter().any(|name| is_channel(file, name));
        Ok(files.iter().map(|file| file.operator_id.is_some() || of(file)).collect())
    }

    /// Writes the rows of letters, in the order of the list.
    fn write_late(
        &self,
        directory: &OutputDirectory,
        name: &str,
        letters: &Letters,
        failed: &[u32],
    ) -> Result<ReconciledFile, ListError> {
        let path = self.path().join(name);
        let mut file = BufWriter::new(directory.create_file(name)?);
        let mut open: Vec<Option<RowsOfFile>> = self.report().files.iter().map(|_| None).collect();
        for &letter in failed {
            let index = usize::from(letters.letters[letter as usize].file);
            if open[index].is_none() {
                open[index] = Some(RowsOfFile::open(self, index)?);
            }
        }
        let first = open.iter().flatten().next();
        let mut bytes = first.map_or(0, |rows| rows.beginning.len()) as u64;
        if let Some(rows) = first {
            file.write_all(&rows.beginning).map_err(write_error(&path))?;
        }
        let mut cursors: Vec<Option<Cursor<'_>>> =
            open.iter().map(|rows| rows.as_ref().map(RowsOfFile::cursor)).collect();
        let count = failed.len() as u64;
        let mut failed = failed.iter().copied().peekable();
        for (letter, index) in letters.letters.iter().zip(0u32..) {
            let Some(Some(cursor)) = cursors.get_mut(usize::from(letter.file)) else { continue };
            let row = cursor.next().ok_or_else(|| ListError::OutputChanged(self.path().to_owned()))?;
            if failed.next_if_eq(&index).is_some() {
                bytes += row.len() as u64;
                file.write_all(row).map_err(write_error(&path))?;
            }
        }
        let written = open.iter().flatten().all(RowsOfFile::is_intact) && failed.next().is_none();
        if !written {
            return Err(ListError::OutputChanged(self.path().to_owned()));
        }
        finish(file, &path)?;
        let digest = directory.digest(name, bytes)?;
        Ok(ReconciledFile { path: name.to_owned(), letters: count, digest })
    }

    /// Writes the lines of an earlier record, or of the feedback, with what is known now.
    fn write_record(
        &self,
        directory: &OutputDirectory,
        name: &str,
        earlier: &str,
        letters: &Letters,
    ) -> Result<ReconciledFile, ListError> {
        let path = self.path().join(name);
        let failed = |error: csv::Error| match error.into_kind() {
            csv::ErrorKind::Io(error) => ListError::Write { path: path.clone(), error },
            _ => ListError::OutputChanged(path.clone()),
        };
        let mut lines = csv::Writer::from_writer(BufWriter::new(directory.create_file(name)?));
        let of_feedback = columns_of_feedback(self);
        let of_receipts = MORE_COLUMNS.map(str::to_owned);
        lines.write_record(of_feedback.iter().chain(&of_receipts)).map_err(failed)?;
        let mut left = letters.letters.iter().zip(0u32..);
        for_each_line(&self.path().join(earlier), &mut |line| {
            let (letter, index) = left.next().ok_or_else(|| ListError::OutputChanged(path.clone()))?;
            for column in 0..of_feedback.len() {
                lines.write_field(line.get(column).unwrap_or_default()).map_err(failed)?;
            }
            lines.write_field(letter.fate.name()).map_err(failed)?;
            lines.write_field(letters.reasons.get(&index).map_or("", |reason| reason)).map_err(failed)?;
            let receipts = if letter.receipts == 0 { String::new() } else { letter.receipts.to_string() };
            lines.write_field(receipts).map_err(failed)?;
            lines.write_record(None::<&[u8]>).map_err(failed)
        })?;
        let file = lines.into_inner().map_err(|error| ListError::Write {
            path: path.clone(),
            error: std::io::Error::from(error.error().kind()),
        })?;
        finish(file, &path)?;
        let bytes = directory.length(name)?;
        let digest = directory.digest(name, bytes)?;
        Ok(ReconciledFile { path: name.to_owned(), letters: letters.letters.len() as u64, digest })
    }
}

fn is_dispatched(dispatched: &[bool], file: u16) -> bool {
    dispatched.get(usize::from(file)).copied().unwrap_or(false)
}

/// Ends a file: what was written is on the disk before its name is.
fn finish(file: BufWriter<File>, path: &Path) -> Result<(), ListError> {
    let failed = write_error(path);
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_data().map_err(failed)
}

/// Receipts of one file, compared with the letters.
struct Comparison<'l> {
    letters: &'l mut Letters,
    dispatched: &'l [bool],
    /// Number of the file of receipts.
    number: u32,
    summary: ReceiptsSummary,
    /// Letters that failed.
    failed: Vec<u32>,
    /// Receipts for recipients of several letters, which say nothing until all are there.
    several: HashMap<Ordinal, Vec<(u64, Receipt)>>,
}

impl<'l> Comparison<'l> {
    fn new(letters: &'l mut Letters, dispatched: &'l [bool], number: u32) -> Comparison<'l> {
        let summary = ReceiptsSummary::default();
        Comparison { letters, dispatched, number, summary, failed: Vec::new(), several: HashMap::new() }
    }

    /// Errors: more receipts than allowed cannot be read.
    fn check(&self, limit: RejectedLimit, path: &Path) -> Result<(), ListError> {
        let rejected = |problem: &Unusable| self.summary.rejected.get(problem.name()).copied().unwrap_or(0);
        let unread = Unusable::ALL.iter().map(rejected).sum();
        match limit.is_exceeded(unread, self.summary.receipts) {
            false => Ok(()),
            true => Err(ListError::ReceiptsRejected {
                path: path.to_owned(),
                unread,
                receipts: self.summary.receipts,
                most: Unusable::ALL.into_iter().max_by_key(rejected).map_or("", Unusable::name),
            }),
        }
    }

    /// Takes a receipt. Errors: those that are set aside cannot be written.
    fn take(&mut self, (line, read): ReadReceipt, set_aside: &mut SetAside<'_>) -> Result<(), ListError> {
        self.summary.receipts += 1;
        let problem = match read {
            Err(unusable) => Some(unusable.name()),
            Ok(receipt) => self.compare(line, receipt),
        };
        problem.map_or(Ok(()), |problem| self.set_aside(line, problem, set_aside))
    }

    fn set_aside(&mut self, line: u64, problem: &str, set_aside: &mut SetAside<'_>) -> Result<(), ListError> {
        *self.summary.rejected.entry(problem.to_owned()).or_insert(0) += 1;
        set_aside.add(self.number, line, problem)
    }

    /// Compares a receipt with its letter. Returns why it is not used.
    fn compare(&mut self, line: u64, receipt: Receipt) -> Option<&'static str> {
        let mut found = self.letters.of(receipt.key);
        found.retain(|&letter| is_dispatched(self.dispatched, self.letters.letters[letter as usize].file));
        if found.is_empty() {
            return Some("stranger");
        }
        if let Some(recipient) = &receipt.check {
            found.retain(|&letter| self.letters.is_to(letter, recipient));
            if found.is_empty() {
                return Some(Unusable::KeysDiffer.name());
            }
        }
        match (&found[..], receipt.key) {
            (&[letter], _) => self.settle(letter, &receipt),
            (_, ReceiptKey::Row(_)) => Some("ambiguous"),
            (_, ReceiptKey::Id(id)) => {
                self.several.entry(id.ordinal()).or_default().push((line, receipt));
                None
            }
        }
    }

    /// What a receipt says of its letter. Returns why it is not used.
    fn settle(&mut self, letter: u32, receipt: &Receipt) -> Option<&'static str> {
        let place = &mut self.letters.letters[letter as usize];
        let said = match receipt.answer {
            Answer::Delivered => Fate::Delivered,
            Answer::Failed => Fate::Failed,
        };
        match place.fate {
            Fate::Unknown => {
                (place.fate, place.receipts) = (said, self.number);
                if !receipt.reason.is_empty() {
                    self.letters.reasons.insert(letter, receipt.reason.clone());
                }
                match said {
                    Fate::Failed => {
                        self.summary.failed += 1;
                        self.failed.push(letter);
                    }
                    _ => self.summary.delivered += 1,
                }
                None
            }
            fate if fate == said => Some("double"),
            _ => {
                place.fate = Fate::Contradiction;
                Some("contradiction")
            }
        }
    }

    /// Settles the letters to recipients of several: if each of them has a receipt and all say the same. Otherwise it is not
    /// known which letter failed, and to print another one would send that twice.
    fn settle_several(&mut self, set_aside: &mut SetAside<'_>) -> Result<(), ListError> {
        let mut several: Vec<_> = std::mem::take(&mut self.several).into_iter().collect();
        several.sort_unstable_by_key(|(recipient, _)| *recipient);
        for (recipient, receipts) in several {
            let Some(id) = Identity::from_ordinal(recipient) else { continue };
            let mut open = self.letters.of(ReceiptKey::Id(id));
            open.retain(|&letter| {
                let letter = &self.letters.letters[letter as usize];
                is_dispatched(self.dispatched, letter.file) && letter.fate == Fate::Unknown
            });
            let all_say_the_same = receipts.iter().all(|(_, receipt)| receipt.answer == receipts[0].1.answer);
            let settles = all_say_the_same && !open.is_empty() && receipts.len() >= open.len();
            let mut open = open.into_iter();
            for (line, receipt) in &receipts {
                let problem = match open.next().filter(|_| settles) {
                    Some(letter) => self.settle(letter, receipt),
                    None if settles => Some("double"),
                    None => Some("ambiguous"),
                };
                if let Some(problem) = problem {
                    self.set_aside(*line, problem, set_aside)?;
                }
            }
        }
        Ok(())
    }
}

/// The file of receipts that are not used; created with the first one.
struct SetAside<'d> {
    directory: &'d OutputDirectory,
    name: String,
    file: Option<BufWriter<File>>,
}

impl SetAside<'_> {
    fn add(&mut self, file: u32, line: u64, problem: &str) -> Result<(), ListError> {
        let failed = write_error(&self.directory.partial_path(&self.name));
        let out = match &mut self.file {
            Some(out) => out,
            None => {
                let mut out = BufWriter::new(self.directory.create_file(&self.name)?);
                out.write_all(b"receipts,line,problem\n").map_err(&failed)?;
                self.file.insert(out)
            }
        };
        writeln!(out, "{file},{line},{problem}").map_err(failed)
    }

    fn finish(&mut self) -> Result<(), ListError> {
        let failed = write_error(&self.directory.partial_path(&self.name));
        let Some(out) = &mut self.file else { return Ok(()) };
        out.flush().and_then(|()| out.get_ref().sync_data()).map_err(failed)
    }
}

/// The rows of a file of the split.
struct RowsOfFile {
    input: Input,
    rules: RowRules,
    prefix: usize,
    beginning: Vec<u8>,
}

impl RowsOfFile {
    /// Opens a file of the split. Errors: it is not as the split wrote it.
    fn open(split: &SplitDirectory, index: usize) -> Result<RowsOfFile, ListError> {
        let file = &split.report().files[index];
        let path = split.path().join(&file.path);
        let changed = || ListError::OutputChanged(path.clone());
        let input = input::open(&path)?;
        let Input::Mapped(mapped) = &input else { return Err(changed()) };
        let digest = format!("blake3:{}", blake3::hash(mapped.as_ref()).to_hex());
        if file.digest.as_ref() != Some(&digest) {
            return Err(changed());
        }
        let (sample, whole) = input.sample();
        let form = split.form_of(sample, whole)?;
        let beginning = mapped.as_ref()[..form.prefix].to_vec();
        Ok(RowsOfFile { rules: form.guard.rules.clone(), prefix: form.prefix, beginning, input })
    }

    fn bytes(&self) -> &[u8] {
        match &self.input {
            Input::Mapped(mapped) => mapped.as_ref(),
            Input::Stream(_) | Input::Workbook(_) => &[],
        }
    }

    fn is_intact(&self) -> bool {
        matches!(&self.input, Input::Mapped(mapped) if mapped.is_intact())
    }

    fn cursor(&self) -> Cursor<'_> {
        let bytes = self.bytes();
        let scanner = RowScanner::new(bytes, &self.rules, self.prefix, bytes.len());
        Cursor { bytes, scanner, at: self.prefix }
    }
}

/// Goes through the rows of a file.
struct Cursor<'a> {
    bytes: &'a [u8],
    scanner: RowScanner<'a>,
    at: usize,
}

impl<'a> Iterator for Cursor<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        (self.at < self.bytes.len()).then(|| {
            let start = self.at;
            self.at = self.scanner.row_at(start).end;
            &self.bytes[start..self.at]
        })
    }
}
