//! Rows of an extract that are set aside.

use super::BuildError;
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
    strict: bool,
}

impl Rejected {
    /// Begins the file that belongs to a register file, under a temporary name. With `strict` the first
    /// row is an error instead.
    pub(super) fn create(output: &Path, strict: bool) -> Result<Rejected, BuildError> {
        let path = &output.with_file_name("rejected.csv");
        // Named after the register: others may be built beside it at the same time.
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".rejected.csv");
        let partial = crate::files::partial(&output.with_file_name(name));
        let write = || {
            let mut out = csv::Writer::from_writer(BufWriter::new(crate::files::create(&partial)?));
            out.write_record(["file", "line", "reason", "column"])?;
            Ok(out)
        };
        let out = write().map_err(|error| BuildError::Write { path: path.to_owned(), error })?;
        Ok(Rejected { path: path.to_owned(), partial, out, counts: BTreeMap::new(), strict })
    }

    /// Sets a row aside. `line` counts from 1.
    pub(super) fn push(&mut self, file: &'static str, line: u64, why: Reason) -> Result<(), BuildError> {
        if self.strict {
            return Err(BuildError::Strict { file, line, reason: why.name, column: why.column });
        }
        *self.counts.entry(Cow::Borrowed(why.name)).or_insert(0) += 1;
        let row = self.out.write_record([file, &line.to_string(), why.name, why.column]);
        row.map_err(|error| BuildError::Write { path: self.path.clone(), error: io::Error::from(error) })
    }

    /// Number of rows by reason.
    pub(super) fn counts(&self) -> &BTreeMap<Cow<'static, str>, u64> {
        &self.counts
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

impl Drop for Rejected {
    fn drop(&mut self) {
        // After `finish` there is no such file; after an error it is of no use.
        let _ = fs::remove_file(&self.partial);
    }
}
