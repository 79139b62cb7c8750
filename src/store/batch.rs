//! Lines of changes, and the batch that they make of a register at a sequence number.

use super::StoreError;
use super::history::{History, Log};
use super::load::Place;
use crate::changes::json::{self, BadLine};
use crate::changes::{BadPage, Change, Reason, What, pages};
use crate::extract::decoded;
use crate::files;
use crate::register::Kind;
use crate::rejected::RejectedLimit;
use jiff::Timestamp;
use rayon::prelude::*;
use std::io;
use std::path::Path;

/// Lines that were read: a change each, or why it is none.
pub struct Lines {
    pub(crate) lines: Vec<(u64, Result<Change, BadLine>)>,
}

impl Lines {
    /// Reads JSON Lines on all cores. Blank lines are passed over.
    pub fn parse(text: &[u8], kind: Kind) -> Lines {
        Lines::parse_from(text, 1, kind)
    }

    /// The same of lines further on in a file; `first` is the number of the first one.
    pub fn parse_from(text: &[u8], first: u64, kind: Kind) -> Lines {
        let text = if first == 1 { text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text) } else { text };
        let lines: Vec<(u64, &[u8])> = (first..)
            .zip(text.split(|&byte| byte == b'\n'))
            .filter(|(_, line)| !line.trim_ascii().is_empty())
            .collect();
        let read = |&(number, line): &(u64, &[u8])| (number, json::parse(line.trim_ascii(), kind));
        let lines = match lines.len() {
            ..64 => lines.iter().map(read).collect(),
            _ => lines.par_iter().with_min_len(256).map(read).collect(),
        };
        Lines { lines }
    }

    /// Whether a text is one of pages of KRR's `HentEndringer`, and not of lines.
    pub fn are_pages(text: &[u8]) -> bool {
        pages::is_page(text)
    }

    /// Whether the beginning of a text does not tell yet whether it is one of pages.
    pub fn may_be_pages(text: &[u8]) -> bool {
        pages::is_undecided(text)
    }

    /// Takes out the lines at the end from which no number can be read: only what follows them tells
    /// whether they have used one up.
    pub fn split_unnumbered(&mut self) -> Lines {
        let numbered = |(_, read): &(u64, Result<Change, BadLine>)| match read {
            Ok(_) => true,
            Err(bad) => bad.sequence.is_some(),
        };
        let end = self.lines.iter().rposition(numbered).map_or(0, |last| last + 1);
        Lines { lines: self.lines.split_off(end) }
    }

    /// These lines and those that follow them.
    pub fn followed_by(mut self, others: Lines) -> Lines {
        self.lines.extend(others.lines);
        self
    }

    /// Reads pages of KRR's `HentEndringer`, in XML or JSON. `time` is when they were fetched, which they do
    /// not say.
    pub fn of_pages(text: &[u8], path: &Path, time: Timestamp) -> Result<Lines, BadPage> {
        Ok(Lines { lines: pages::parse(text, path, time)? })
    }

    /// Changes that were read elsewhere, as lines of their own.
    pub fn of(changes: impl IntoIterator<Item = Change>) -> Lines {
        Lines { lines: (1..).zip(changes.into_iter().map(Ok)).collect() }
    }

    /// Number of lines that are not blank.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// The bytes of a file of changes, uncompressed if its name ends in `.gz` or `.zst`.
pub fn input(path: &Path) -> io::Result<Box<dyn io::BufRead + Send>> {
    decoded(path)
}

/// A line that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Number of the line, from 1.
    pub line: u64,
    /// The sequence number that it used up, if any.
    pub sequence: Option<u64>,
    /// Why.
    pub reason: Reason,
}

impl SetAside {
    /// Writes what was set aside to a file: line, sequence, reason, column; no content.
    pub fn write(all: &[SetAside], path: &Path) -> io::Result<()> {
        let written = files::replace(path, |file| {
            let mut csv = csv::Writer::from_writer(file);
            csv.write_record(["line", "sequence", "reason", "column"])?;
            for SetAside { line, sequence, reason } in all {
                let sequence = sequence.map(|sequence| sequence.to_string()).unwrap_or_default();
                csv.write_record([&line.to_string(), &sequence, reason.name, reason.column])?;
            }
            csv.flush()
        });
        written.map(drop)
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Sequence number of the register before it.
    pub from: u64,
    /// Sequence number after it; the same if nothing was new.
    pub to: u64,
    /// Changes that were applied, without those that were set aside.
    pub applied: u64,
    /// Changes whose sequence number the register had already.
    pub skipped: u64,
    /// Changes that removed what was not there.
    pub without_effect: u64,
    /// Lines that were set aside, in their order.
    pub set_aside: Vec<SetAside>,
}

/// Why a batch is not applied. Nothing of it is visible then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A line is no change, or one that does not fit the register.
    #[error("line {line}: {reason}; nothing of the batch was applied (--skip-bad sets such lines aside)")]
    Bad {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        reason: Reason,
    },
    /// More lines of the batch would be set aside than allowed.
    #[error(
        "{rejected} of {lines} lines would be set aside, and {limit} are allowed (--max-rejected); nothing of the batch was applied"
    )]
    TooManyRejected {
        /// Lines that would be set aside.
        rejected: u64,
        /// Lines of the batch.
        lines: u64,
        /// What was allowed.
        limit: RejectedLimit,
    },
    /// Changes are missing.
    #[error(
        "line {line}: expected {expected}, got {found}: changes are missing; nothing of the batch was applied"
    )]
    Gap {
        /// Number of the line, from 1.
        line: u64,
        /// The sequence number that would follow.
        expected: u64,
        /// The one that is there.
        found: u64,
    },
    /// The register has another change under the same number.
    #[error(
        "line {line}: the register has another change {sequence}: the two have different histories; \
         nothing of the batch was applied"
    )]
    Fork {
        /// Number of the line, from 1.
        line: u64,
        /// The sequence number.
        sequence: u64,
    },
    /// More than a batch can hold.
    #[error("the batch takes {bytes} bytes in the log, more than {max}: apply it in parts with --batch")]
    TooLong {
        /// What it takes.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The changes of some lines that are new to a register.
#[derive(Default)]
pub(crate) struct Assembly {
    pub(crate) changes: Vec<Change>,
    /// For each the number of its line.
    pub(crate) lines: Vec<u64>,
    /// Changes that the register has already: line and change.
    old: Vec<(u64, Change)>,
    skipped: u64,
    pub(crate) set_aside: Vec<SetAside>,
    /// The sequence number after them.
    cursor: u64,
    /// The time of the last change.
    time: i64,
    /// Lines without a readable sequence number since the last change.
    unnumbered: Vec<(u64, Reason)>,
}

impl Assembly {
    /// Orders lines behind the sequence number `current`.
    pub(crate) fn of(
        lines: Lines,
        kind: Kind,
        current: u64,
        time: i64,
        skip_bad: bool,
    ) -> Result<Assembly, ApplyError> {
        let count = lines.len();
        let (changes, numbers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut assembly = Assembly { changes, lines: numbers, cursor: current, time, ..Assembly::default() };
        for (line, read) in lines.lines {
            // Pages, and changes that were read elsewhere, have not been asked yet which register they are of.
            match read.and_then(|change| change.of_kind(kind)) {
                Ok(change) => assembly.add(line, change, current)?,
                Err(BadLine { reason, .. }) if !skip_bad => return Err(ApplyError::Bad { line, reason }),
                Err(BadLine { sequence: None, reason, .. }) => assembly.unnumbered.push((line, reason)),
                Err(BadLine { sequence: Some(sequence), .. }) if sequence <= assembly.cursor => {
                    assembly.release();
                    assembly.skipped += 1;
                }
                Err(BadLine { sequence: Some(sequence), time, reason }) => {
                    assembly.fill(line, sequence)?;
                    assembly.time = time.unwrap_or(assembly.time);
                    assembly.put_aside(line, reason);
                }
            }
        }
        // Lines behind the last change use up no number: a file may have been cut off there.
        assembly.release();
        Ok(assembly)
    }

    /// Checks that no more lines are set aside than allowed, with `more` that are about to be, of `read` lines.
    pub(crate) fn within(
        &self,
        limit: Option<RejectedLimit>,
        read: u64,
        more: u64,
    ) -> Result<(), ApplyError> {
        let set_aside = self.set_aside.len() as u64 + more;
        match limit {
            Some(limit) if limit.is_exceeded(set_aside, read) => {
                Err(ApplyError::TooManyRejected { rejected: set_aside, lines: read, limit })
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, line: u64, mut change: Change, current: u64) -> Result<(), ApplyError> {
        if let What::PutPersons { previous, .. } | What::Others { previous } = &mut change.what {
            // A page has everybody who changed since `previous`, so it may begin earlier.
            self.release();
            if change.sequence <= self.cursor {
                self.skipped += 1;
                return Ok(());
            }
            if *previous > self.cursor {
                return Err(ApplyError::Gap { line, expected: self.cursor, found: *previous });
            }
            *previous = self.cursor;
        } else if change.sequence <= self.cursor {
            return self.repeated(line, change, current);
        } else {
            self.fill(line, change.sequence)?;
        }
        (self.cursor, self.time) = (change.sequence, change.time);
        self.changes.push(change);
        self.lines.push(line);
        Ok(())
    }

    /// A change whose number is used up already.
    fn repeated(&mut self, line: u64, change: Change, current: u64) -> Result<(), ApplyError> {
        self.release();
        self.skipped += 1;
        if change.sequence <= current {
            self.old.push((line, change));
            return Ok(());
        }
        let there = self.changes.binary_search_by_key(&change.sequence, |other| other.sequence);
        match there.map(|place| &self.changes[place]) {
            Ok(other) if differ(other, &change) => Err(ApplyError::Fork { line, sequence: change.sequence }),
            _ => Ok(()),
        }
    }

    /// Uses up the numbers before `sequence` for lines that could not be read.
    fn fill(&mut self, line: u64, sequence: u64) -> Result<(), ApplyError> {
        let missing = sequence - self.cursor - 1;
        if missing > self.unnumbered.len() as u64 {
            return Err(ApplyError::Gap { line, expected: self.cursor + 1, found: sequence });
        }
        let mut unnumbered = std::mem::take(&mut self.unnumbered);
        for (line, reason) in unnumbered.drain(..missing as usize) {
            self.put_aside(line, reason);
        }
        self.unnumbered = unnumbered;
        self.release();
        Ok(())
    }

    /// Sets aside lines that could not be read and use up no number: what follows them has the number that
    /// was expected, or an earlier one.
    fn release(&mut self) {
        let lines = self.unnumbered.drain(..);
        self.set_aside.extend(lines.map(|(line, reason)| SetAside { line, sequence: None, reason }));
    }

    /// Uses up the next number for a line that is set aside.
    fn put_aside(&mut self, line: u64, why: Reason) {
        self.cursor += 1;
        let what = What::SetAside { reason: why.name.into(), column: why.column.into() };
        self.changes.push(Change { sequence: self.cursor, time: self.time, what });
        self.lines.push(line);
        self.set_aside.push(SetAside { line, sequence: Some(self.cursor), reason: why });
    }

    /// Sets a change aside that does not fit the register.
    pub(crate) fn set_change_aside(&mut self, place: usize, why: Reason) {
        let change = &mut self.changes[place];
        change.what = What::SetAside { reason: why.name.into(), column: why.column.into() };
        let sequence = Some(change.sequence);
        self.set_aside.push(SetAside { line: self.lines[place], sequence, reason: why });
    }

    /// Compares the changes that the register has already with those in its log, as far back as that goes.
    ///
    /// A stream that is applied again comes in many batches, so the place in the log is kept.
    pub(crate) fn compare(
        &mut self,
        place: &Place,
        compared: &mut Option<Compared>,
    ) -> Result<(), ApplyError> {
        self.old.sort_by_key(|(_, change)| change.sequence);
        let Some((_, first)) = self.old.first() else {
            *compared = None;
            return Ok(());
        };
        let mut cursor = match compared.take().filter(|compared| compared.until < first.sequence) {
            Some(cursor) => cursor,
            None => Compared::from(place, first.sequence)?,
        };
        for (line, change) in &self.old {
            let logged = cursor.find(change.sequence)?;
            if logged.is_some_and(|logged| differ(&logged, change)) {
                return Err(ApplyError::Fork { line: *line, sequence: change.sequence });
            }
        }
        *compared = Some(cursor);
        Ok(())
    }

    /// What will be told of the batch.
    pub(crate) fn summary(self, from: u64, without_effect: u64) -> Batch {
        let aside = self.changes.iter().filter(|change| matches!(change.what, What::SetAside { .. })).count();
        let mut set_aside = self.set_aside;
        set_aside.sort_by_key(|set_aside| set_aside.line);
        Batch {
            from,
            to: self.cursor,
            applied: (self.changes.len() - aside) as u64,
            skipped: self.skipped,
            without_effect,
            set_aside,
        }
    }
}

/// A place in the log up to which repeated changes have been compared.
pub(crate) struct Compared {
    history: History,
    /// The last sequence number that was asked for.
    until: u64,
    /// The change that was read last.
    last: Option<Change>,
}

impl Compared {
    /// Before a sequence number, or where the log begins.
    fn from(place: &Place, sequence: u64) -> Result<Compared, StoreError> {
        let log = Log::of(place);
        let history = match log.changes(sequence.saturating_sub(1)) {
            Err(StoreError::Gone { oldest, .. }) => log.changes(oldest)?,
            history => history?,
        };
        Ok(Compared { history, until: 0, last: None })
    }

    /// The change of a sequence number, if the log has it; numbers ascend from call to call.
    fn find(&mut self, sequence: u64) -> Result<Option<Change>, StoreError> {
        self.until = sequence;
        while self.last.as_ref().is_none_or(|last| last.sequence < sequence) {
            match self.history.next().transpose()? {
                None => return Ok(None),
                next => self.last = next,
            }
        }
        Ok(self.last.clone().filter(|last| last.sequence == sequence))
    }
}

/// Whether two changes with the same number say different things. What was set aside cannot be compared.
fn differ(one: &Change, other: &Change) -> bool {
    let aside = |change: &Change| {
        matches!(change.what, What::SetAside { .. } | What::PutPersons { .. } | What::Others { .. })
    };
    one != other && !aside(one) && !aside(other)
}
