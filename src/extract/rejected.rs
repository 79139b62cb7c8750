//! Rows of an extract that are set aside.

use super::{BuildError, BuildOptions};
use crate::rejected::RejectedLimit;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Why a row of an extract or a change is set aside, and which column says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Such as `bad_time`; `docs/extract.md` and `docs/changes.md` list them.
    pub name: &'static str,
    /// The column or field, empty if none.
    pub column: &'static str,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        if self.column.is_empty() { Ok(()) } else { write!(f, " in {}", self.column) }
    }
}

pub(crate) fn reason(name: &'static str, column: &'static str) -> Reason {
    Reason { name, column }
}

/// Collects what is set aside in `rejected.csv`: file, line, reason, column; no content.
pub(super) struct Rejected {
    path: PathBuf,
    partial: PathBuf,
    out: csv::Writer<BufWriter<File>>,
    counts: BTreeMap<Cow<'static, str>, u64>,
    files: BTreeMap<&'static str, OfFile>,
    strict: bool,
    limit: RejectedLimit,
}

/// What became of the rows of one file.
#[derive(Default)]
struct OfFile {
    rows: u64,
    rejected: u64,
    /// By reason and column: how many, and what the first different values look like.
    reasons: BTreeMap<(&'static str, &'static str), (u64, Vec<String>)>,
}

/// Different values of a column that a message shows.
const SHOWN_VALUES: usize = 3;
/// Most characters of a value that are shown.
const SHOWN_CHARACTERS: usize = 32;
/// Values that identify no person, and are shown as they are.
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

/// What a value looks like, without what it says: letters as x, digits as 9.
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
    /// Begins the file that belongs to a register file, under a temporary name. With `strict` the first
    /// row is an error instead.
    pub(super) fn create(output: &Path, options: &BuildOptions) -> Result<Rejected, BuildError> {
        let path = &beside(output);
        // Named after the register: others may be built beside it at the same time.
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".rejected.csv");
        let partial = crate::files::partial(&output.with_file_name(name));
        let write = || {
            let mut out = csv::Writer::from_writer(BufWriter::new(crate::files::create(&partial)?));
            out.write_record(HEADER)?;
            Ok(out)
        };
        let out = write().map_err(|error| BuildError::Write { path: path.to_owned(), error })?;
        Ok(Rejected {
            path: path.to_owned(),
            partial,
            out,
            counts: BTreeMap::new(),
            files: BTreeMap::new(),
            strict: options.strict,
            limit: options.max_rejected,
        })
    }

    /// Counts rows that were read of a file, whatever became of them.
    pub(super) fn count_rows(&mut self, file: &'static str, rows: u64) {
        self.files.entry(file).or_default().rows += rows;
    }

    /// Sets a row aside. `line` counts from 1.
    pub(super) fn push(&mut self, file: &'static str, line: u64, why: Reason) -> Result<(), BuildError> {
        self.push_value(file, line, why, "")
    }

    /// The same with the value of the column that says so.
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
        let of_file = self.files.entry(file).or_default();
        of_file.rejected += 1;
        let (count, values) = of_file.reasons.entry((why.name, why.column)).or_default();
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

    /// Number of rows by reason.
    pub(super) fn counts(&self) -> &BTreeMap<Cow<'static, str>, u64> {
        &self.counts
    }

    /// The file of which more rows were set aside than allowed, and why most of them were.
    pub(super) fn too_many(&self) -> Option<TooManyRejected> {
        let all: u64 = self.files.values().map(|file| file.rejected).sum();
        let exceeded = |file: &OfFile| match self.limit {
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

    /// Gives the file its name.
    pub(super) fn finish(mut self) -> Result<PathBuf, BuildError> {
        let mut write = || {
            self.out.flush()?;
            fs::rename(&self.partial, &self.path)
        };
        write().map_err(|error| BuildError::Write { path: self.path.clone(), error })?;
        Ok(std::mem::take(&mut self.path))
    }
}

/// `rejected.csv` beside a register file.
pub(super) fn beside(output: &Path) -> PathBuf {
    output.with_file_name("rejected.csv")
}

const HEADER: [&str; 4] = ["file", "line", "reason", "column"];

/// Whether a file begins as [`Rejected`] writes it.
pub(super) fn is_own(beginning: &[u8]) -> bool {
    beginning.starts_with(HEADER.join(",").as_bytes())
}

/// More rows of a file of an extract were set aside than allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct TooManyRejected {
    /// Which file.
    pub file: &'static str,
    /// Rows of it that were set aside, of so many.
    pub rejected: u64,
    /// Rows of it.
    pub rows: u64,
    /// What was allowed.
    pub limit: RejectedLimit,
    /// The most frequent reason.
    pub reason: &'static str,
    /// Its column, empty if none.
    pub column: &'static str,
    /// How many rows it is about.
    pub count: u64,
    /// What the column's first different values look like: letters as x, digits as 9.
    pub values: Vec<String>,
    /// Where all of them are listed.
    pub listed: PathBuf,
}

impl std::fmt::Display for TooManyRejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TooManyRejected { file, rejected, rows, limit, reason, column, count, values, listed } = self;
        write!(
            f,
            "{rejected} of {rows} rows of {file} would be set aside, and {limit} are allowed; {count} of them are {reason}"
        )?;
        if !column.is_empty() {
            write!(f, " in column {column}")?;
        }
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            write!(f, ", with values such as {} (letters shown as x, digits as 9)", values.join(", "))?;
        }
        write!(f, "; {} lists them, and the earlier register file is as it was", listed.display())
    }
}

impl Drop for Rejected {
    fn drop(&mut self) {
        // After `finish` there is no such file; after an error it is of no use.
        let _ = fs::remove_file(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_without_what_they_say() {
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
