//! Rejected rows of an extract, and the file that lists them.

use super::error::{BuildError, TooManyRejected};
use crate::decode::{Reason, reason};
use crate::files::{FileMode, PartialFile, with_suffix};
use crate::identities::Ordinal;
use crate::rejected::RejectedLimit;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Writes rejected rows to a file (file, line, reason, column; no content) and counts them.
pub(super) struct Rejected {
    path: PathBuf,
    partial: PartialFile,
    out: csv::Writer<BufWriter<File>>,
    counts: BTreeMap<Cow<'static, str>, u64>,
    files: BTreeMap<&'static str, FileCounts>,
    strict: bool,
    limit: RejectedLimit,
}

/// Counts of one file.
#[derive(Default)]
struct FileCounts {
    rows: u64,
    rejected: u64,
    /// By reason and column: number of rows, and the shapes of the first different values.
    reasons: BTreeMap<(&'static str, &'static str), (u64, Vec<String>)>,
}

/// Different values of a column that a message shows.
const SHOWN_VALUES: usize = 3;
/// Most characters of a value that are shown.
const SHOWN_CHARACTERS: usize = 32;
/// Values that identify no recipient and are shown unchanged.
const PLAIN_VALUES: &[&str] = &[
    "true",
    "false",
    "yes",
    "no",
    "ja",
    "nej",
    "nei",
    "y",
    "n",
    "j",
    "t",
    "f",
    "sant",
    "falskt",
    "null",
    "none",
    "nan",
    "secure",
    "anonymous",
    "not",
    "aktiv",
    "slettet",
    "active",
    "inactive",
    "pending",
    "all",
    "only",
];

/// The shape of a value: letters as x, digits as 9.
fn shape(value: &str) -> String {
    if value.is_empty() || PLAIN_VALUES.contains(&&value.to_lowercase()[..]) {
        return value.to_owned();
    }
    let masked = value.chars().take(SHOWN_CHARACTERS).map(|character| match character {
        character if character.is_uppercase() => 'X',
        character if character.is_alphabetic() => 'x',
        character if character.is_numeric() => '9',
        character if character.is_ascii_graphic() || character == ' ' => character,
        _ => '?',
    });
    let more = if value.chars().count() > SHOWN_CHARACTERS { "…" } else { "" };
    masked.chain(more.chars()).collect()
}

impl Rejected {
    /// Creates the file under a temporary name. With `strict` the first rejected row is an error instead.
    pub(super) fn create(path: &Path, strict: bool, limit: RejectedLimit) -> Result<Rejected, BuildError> {
        let path = path.to_owned();
        let write = || {
            let mut partial = PartialFile::begin(&path, FileMode::of_process())?;
            let mut out = csv::Writer::from_writer(BufWriter::new(partial.file().try_clone()?));
            out.write_record(HEADER)?;
            Ok((partial, out))
        };
        let (partial, out) = write().map_err(|error| BuildError::Write { path: path.clone(), error })?;
        let (counts, files) = (BTreeMap::new(), BTreeMap::new());
        Ok(Rejected { path, partial, out, counts, files, strict, limit })
    }

    /// Counts rows of a file, rejected or not.
    pub(super) fn count_rows(&mut self, file: &'static str, rows: u64) {
        self.files.entry(file).or_default().rows += rows;
    }

    /// Rejects a row. `line` counts from 1.
    pub(super) fn push(&mut self, file: &'static str, line: u64, why: Reason) -> Result<(), BuildError> {
        self.push_value(file, line, why, "")
    }

    /// As [`push`](Self::push), with the value of the column at fault.
    pub(super) fn push_value(
        &mut self,
        file: &'static str,
        line: u64,
        why: Reason,
        value: &str,
    ) -> Result<(), BuildError> {
        if self.strict {
            return Err(BuildError::Strict { file, line, reason: why.name, column: why.column });
        }
        *self.counts.entry(Cow::Borrowed(why.name)).or_insert(0) += 1;
        let counts_of_file = self.files.entry(file).or_default();
        counts_of_file.rejected += 1;
        let (count, values) = counts_of_file.reasons.entry((why.name, why.column)).or_default();
        *count += 1;
        if values.len() < SHOWN_VALUES && !value.is_empty() {
            let shape = shape(value);
            if !values.contains(&shape) {
                values.push(shape);
            }
        }
        let row = self.out.write_record([file, &line.to_string(), why.name, why.column]);
        row.map_err(|error| BuildError::Write { path: self.path.clone(), error: io::Error::from(error) })
    }

    /// Keeps the first of the rows for each recipient and rejects the others, in the order of their lines. `rows`
    /// are sorted by ordinal, then by line.
    pub(super) fn duplicates<R>(
        &mut self,
        rows: &mut Vec<R>,
        ordinal_and_line: impl Fn(&R) -> (Ordinal, u32),
        file: &'static str,
        column: &'static str,
    ) -> Result<(), BuildError> {
        let (mut last, mut duplicates) = (None, Vec::new());
        rows.retain(|row| {
            let (ordinal, line) = ordinal_and_line(row);
            let is_duplicate = last.replace(ordinal) == Some(ordinal);
            if is_duplicate {
                duplicates.push(line);
            }
            !is_duplicate
        });
        duplicates.sort_unstable();
        let why = reason("duplicate_recipient", column);
        duplicates.into_iter().try_for_each(|line| self.push(file, line.into(), why))
    }

    /// Number of rejected rows by reason.
    pub(super) fn counts(&self) -> &BTreeMap<Cow<'static, str>, u64> {
        &self.counts
    }

    /// The file of which more rows were rejected than allowed, and the most frequent reason.
    pub(super) fn too_many(&self) -> Option<TooManyRejected> {
        let all: u64 = self.files.values().map(|file| file.rejected).sum();
        let exceeded = |file: &FileCounts| match self.limit {
            RejectedLimit::Rows(_) => self.limit.is_exceeded(all, 0),
            RejectedLimit::Percent(_) => self.limit.is_exceeded(file.rejected, file.rows),
        };
        let worst =
            self.files.iter().filter(|(_, file)| exceeded(file)).max_by_key(|(_, file)| file.rejected);
        let (&name, file) = worst?;
        let (&(reason, column), (count, values)) =
            file.reasons.iter().max_by_key(|(_, (count, _))| *count)?;
        Some(TooManyRejected {
            file: name,
            rejected: file.rejected,
            rows: file.rows,
            limit: self.limit,
            reason,
            column,
            count: *count,
            values: values.clone(),
            listed: self.path.clone(),
        })
    }

    /// Renames the file to its final name.
    pub(super) fn finish(self) -> Result<PathBuf, BuildError> {
        let Rejected { path, partial, mut out, .. } = self;
        let written = out.flush().and_then(|()| partial.finish_unsynced());
        written.map_err(|error| BuildError::Write { path: path.clone(), error })?;
        Ok(path)
    }
}

/// `NAME.rejected.csv` beside a register file `NAME`: other registers are built in the same directory.
pub(super) fn beside(output: &Path) -> PathBuf {
    output.with_file_name(with_suffix(output.file_name().unwrap_or_default(), ".rejected.csv"))
}

const HEADER: [&str; 4] = ["file", "line", "reason", "column"];

/// Whether a file begins like one that [`Rejected`] wrote.
pub(super) fn is_rejected_csv(beginning: &[u8]) -> bool {
    beginning.starts_with(HEADER.join(",").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_hide_the_content_of_values() {
        for (value, shown) in [
            ("False", "False"),
            ("Kalle Ström", "Xxxxx Xxxxx"),
            ("196810199809", "999999999999"),
            ("2026-06-01 04:00:00", "9999-99-99 99:99:99"),
            ("\u{1b}[0m", "?[9x"),
        ] {
            assert_eq!(shape(value), shown);
        }
        assert_eq!(shape(&"a".repeat(100)).chars().count(), SHOWN_CHARACTERS + 1);
    }
}
