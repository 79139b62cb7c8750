//! Lines of changes, and the result of applying them as a batch.

use super::disk::mode_of_files;
use super::error::StoreError;
use crate::changes::json::{self, BadLine};
use crate::changes::{BadPage, Change, ChangeBody, pages};
use crate::decode::{Reason, decompressed, reason};
use crate::files::{self, Folder};
use crate::register::Kind;
use crate::rejected::RejectedLimit;
use jiff::Timestamp;
use rayon::prelude::*;
use std::io;
use std::path::Path;

/// Parsed lines of changes, good and bad.
#[derive(Default)]
pub struct Lines {
    pub(crate) lines: Vec<(u64, Result<Change, BadLine>)>,
}

impl Lines {
    /// Parses JSON Lines on all cores. Blank lines are skipped.
    pub fn parse(text: &[u8], kind: Kind) -> Lines {
        Lines::parse_from(text, 1, kind)
    }

    /// As [`parse`](Self::parse), for lines in the middle of a file; `first` is the number of the first one.
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

    /// Parses JSON Lines without `sequence` and `time`: they are numbered from 1, and `time` is that of all of them.
    /// [`numbered_after`](Self::numbered_after) gives them the numbers of a register.
    pub fn parse_unnumbered(text: &[u8], time: Timestamp, kind: Kind) -> Lines {
        let mut numbered = Vec::with_capacity(text.len());
        let lines = text.split(|&byte| byte == b'\n').map(|line| line.trim_ascii());
        for (number, line) in (1..).zip(lines.filter(|line| !line.is_empty())) {
            // A line that has them has them twice then, which is an error.
            match line.strip_prefix(b"{") {
                Some(rest) => {
                    numbered.extend_from_slice(
                        format!("{{\"sequence\":{number},\"time\":\"{time}\",").as_bytes(),
                    );
                    numbered.extend_from_slice(rest);
                }
                None => numbered.extend_from_slice(line),
            }
            numbered.push(b'\n');
        }
        let mut lines = Lines::parse(&numbered, kind);
        for (_, read) in &mut lines.lines {
            if let Ok(change) = read
                && matches!(change.what, ChangeBody::PutPersons { .. } | ChangeBody::Others { .. })
            {
                // They state the number before them.
                let reason = reason("bad_value", "sequence");
                *read = Err(BadLine { sequence: Some(change.sequence), time: Some(change.time), reason });
            }
        }
        lines
    }

    /// Numbers lines that are numbered from 1 as those after a sequence number.
    pub fn numbered_after(mut self, sequence: u64) -> Lines {
        for (_, read) in &mut self.lines {
            match read {
                Ok(change) => change.sequence = change.sequence.saturating_add(sequence),
                Err(bad) => {
                    bad.sequence = bad.sequence.map(|number| number.saturating_add(sequence));
                }
            }
        }
        self
    }

    /// A line that is longer than [`LINE_BYTES_MAX`](crate::limits::LINE_BYTES_MAX): a bad line.
    pub fn too_long(number: u64) -> Lines {
        let reason = reason("line_too_long", "");
        Lines { lines: vec![(number, Err(BadLine { sequence: None, time: None, reason }))] }
    }

    /// Whether a line, of which this is the beginning, holds a page, which may be longer than other lines: its persons
    /// are one change.
    pub fn holds_page(beginning: &[u8]) -> bool {
        memchr::memmem::find(beginning, b"\"put_persons\"").is_some()
    }

    /// Whether a line is not a change.
    pub fn has_bad(&self) -> bool {
        self.lines.iter().any(|(_, read)| read.is_err())
    }

    /// Number of lines at the end without a legible sequence number.
    pub fn unnumbered(&self) -> usize {
        self.lines.len() - self.end_of_numbered()
    }

    fn end_of_numbered(&self) -> usize {
        let numbered = |(_, read): &(u64, Result<Change, BadLine>)| match read {
            Ok(_) => true,
            Err(bad) => bad.sequence.is_some(),
        };
        self.lines.iter().rposition(numbered).map_or(0, |last| last + 1)
    }

    /// Whether a text consists of pages of KRR's `HentEndringer`, not of lines.
    pub fn are_pages(text: &[u8]) -> bool {
        pages::is_page(text)
    }

    /// Whether the beginning of a text is too short to tell pages from lines.
    pub fn may_be_pages(text: &[u8]) -> bool {
        pages::is_undecided(text)
    }

    /// Splits off the lines at the end without a legible sequence number: whether they use up numbers depends on the
    /// lines that follow.
    pub fn split_unnumbered(&mut self) -> Lines {
        match self.end_of_numbered() {
            // Not copied: such lines may be split off again and again.
            0 => std::mem::take(self),
            end => Lines { lines: self.lines.split_off(end) },
        }
    }

    /// Appends the lines that follow these.
    pub fn followed_by(mut self, others: Lines) -> Lines {
        self.lines.extend(others.lines);
        self
    }

    /// Parses pages of KRR's `HentEndringer`, in XML or JSON. `time` is when they were fetched: pages have no time.
    pub fn of_pages(text: &[u8], path: impl AsRef<Path>, time: Timestamp) -> Result<Lines, BadPage> {
        Ok(Lines { lines: pages::parse(text, path.as_ref(), time)? })
    }

    /// Changes from another source, one per line.
    pub fn of(changes: impl IntoIterator<Item = Change>) -> Lines {
        Lines { lines: (1..).zip(changes.into_iter().map(Ok)).collect() }
    }

    /// Number of lines that are not blank.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// The bytes of a file of changes, decompressed if its name ends in `.gz` or `.zst`.
pub fn input(path: impl AsRef<Path>) -> io::Result<Box<dyn io::BufRead + Send>> {
    decompressed(path.as_ref())
}

/// A rejected line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Number of the line, from 1.
    pub line: u64,
    /// The sequence number that it uses up, if any.
    pub sequence: Option<u64>,
    /// Why.
    pub reason: Reason,
}

impl SetAside {
    /// Writes rejected lines to a file: line, sequence, reason, column; no content.
    pub fn write(all: &[SetAside], path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let folder = Folder::open(path.parent().unwrap_or(Path::new("")))?;
        let written = files::replace_with_mode(path, mode_of_files(&folder), |file| {
            folder.adopt(file)?;
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

/// Result of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Sequence number of the register before the batch.
    pub from: u64,
    /// Sequence number after the batch; the same if nothing was new.
    pub to: u64,
    /// Changes that were applied, without rejected ones.
    pub applied: u64,
    /// Changes whose sequence number was already in the register.
    pub skipped: u64,
    /// Removals of what did not exist.
    pub without_effect: u64,
    /// Rejected lines, in order.
    pub set_aside: Vec<SetAside>,
}

/// Why a batch is not applied. No part of it is published then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A line is not a change, or does not fit the register.
    #[error("line {line}: {reason}; nothing of the batch was applied")]
    Bad {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        reason: Reason,
    },
    /// More lines of the batch would be rejected than allowed.
    #[error(
        "{rejected} of {lines} lines would be rejected, {limit} are allowed; nothing of the batch was applied"
    )]
    TooManyRejected {
        /// Lines that would be rejected.
        rejected: u64,
        /// Lines of the batch.
        lines: u64,
        /// The limit.
        limit: RejectedLimit,
    },
    /// Changes are missing.
    #[error(
        "line {line}: expected {expected}, got {found}: changes are missing; nothing of the batch was applied"
    )]
    Gap {
        /// Number of the line, from 1.
        line: u64,
        /// The next sequence number of the register.
        expected: u64,
        /// The sequence number of the line.
        found: u64,
    },
    /// The register has a different change with the same sequence number.
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
    /// The batch is too long for a frame of the log.
    #[error("the batch takes {bytes} bytes in the log, more than {max}")]
    TooLong {
        /// Bytes it takes.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}
