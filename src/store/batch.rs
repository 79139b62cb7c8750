//! Lines of changes, and the batch that they make of a register at a sequence number.

use super::StoreError;
use super::history::History;
use crate::changes::json::{self, BadLine};
use crate::changes::{BadPage, Change, Reason, What, pages};
use crate::extract::decoded;
use crate::files;
use crate::register::Kind;
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
    pub(crate) fn of(lines: Lines, current: u64, time: i64, skip_bad: bool) -> Result<Assembly, ApplyError> {
        let mut assembly = Assembly { cursor: current, time, ..Assembly::default() };
        for (line, read) in lines.lines {
            match read {
                Ok(change) => assembly.add(line, change, current)?,
                Err(BadLine { reason, .. }) if !skip_bad => return Err(ApplyError::Bad { line, reason }),
                Err(BadLine { sequence: None, reason, .. }) => assembly.unnumbered.push((line, reason)),
                Err(BadLine { sequence: Some(sequence), .. }) if sequence <= assembly.cursor => {
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
        let behind = std::mem::take(&mut assembly.unnumbered).into_iter();
        assembly.set_aside.extend(behind.map(|(line, reason)| SetAside { line, sequence: None, reason }));
        Ok(assembly)
    }

    fn add(&mut self, line: u64, mut change: Change, current: u64) -> Result<(), ApplyError> {
        if let What::PutPersons { previous, .. } = &mut change.what {
            // A page has everybody who changed since `previous`, so it may begin earlier.
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
        let rest = unnumbered.into_iter();
        self.set_aside.extend(rest.map(|(line, reason)| SetAside { line, sequence: None, reason }));
        Ok(())
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
    pub(crate) fn compare(
        &mut self,
        history: impl Fn(u64) -> Result<History, StoreError>,
    ) -> Result<(), ApplyError> {
        self.old.sort_by_key(|(_, change)| change.sequence);
        let Some((_, first)) = self.old.first() else { return Ok(()) };
        let history = match history(first.sequence - 1) {
            Err(StoreError::Gone { oldest, .. }) => {
                self.old.retain(|(_, change)| change.sequence > oldest);
                return self.compare(history);
            }
            history => history?,
        };
        let mut old = self.old.iter().peekable();
        for logged in history {
            let logged = logged?;
            while let Some((line, change)) = old.next_if(|(_, change)| change.sequence <= logged.sequence) {
                if change.sequence == logged.sequence && differ(&logged, change) {
                    return Err(ApplyError::Fork { line: *line, sequence: change.sequence });
                }
            }
            if old.peek().is_none() {
                break;
            }
        }
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

/// Whether two changes with the same number say different things. What was set aside cannot be compared.
fn differ(one: &Change, other: &Change) -> bool {
    let aside = |change: &Change| matches!(change.what, What::SetAside { .. } | What::PutPersons { .. });
    one != other && !aside(one) && !aside(other)
}
