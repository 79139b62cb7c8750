//! CSV files of an extract, with a header that names the columns.

use super::error::BuildError;
use super::rejected::Rejected;
use super::source::Source;
use crate::decode::{Reason, reason};
use crate::limits::LINE_BYTES_MAX;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

/// A file with a line feed after its end, which fails when more of it is read than allowed.
struct BoundedInput {
    inner: io::Chain<Box<dyn BufRead + Send>, &'static [u8]>,
    read: u64,
    /// Bytes of the file that may be read. The parser reads more only when it has used up what it has, so a row that it
    /// has not finished then is longer than allowed.
    allowed: u64,
    is_exceeded: bool,
}

impl Read for BoundedInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read > self.allowed {
            self.is_exceeded = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// A CSV file of an extract. Columns may be in any order, and unknown ones are ignored.
pub(super) struct Table {
    reader: csv::Reader<BoundedInput>,
    record: csv::ByteRecord,
    /// Index in the file of each wanted column.
    columns: Vec<Option<usize>>,
    names: &'static [&'static str],
    name: &'static str,
    path: PathBuf,
}

impl Table {
    /// Opens a table with the columns `names`, of which the first `required` must exist.
    pub(super) fn open(
        source: Source,
        names: &'static [&'static str],
        required: usize,
    ) -> Result<Table, BuildError> {
        let Source { name, path, reader } = source;
        // Only line feeds end rows, and the last row has one too, so lines can be counted. A carriage return
        // before it is white space at the end of the last cell.
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(1 << 18)
            .from_reader(BoundedInput {
                inner: reader.chain(&b"\n"[..]),
                read: 0,
                allowed: LINE_BYTES_MAX as u64,
                is_exceeded: false,
            });
        if let Err(error) = reader.byte_headers() {
            return Err(read_error(&path, 1, &reader, error));
        }
        if reader.position().byte() > LINE_BYTES_MAX as u64 + 1 {
            return Err(too_long(&path, 1));
        }
        let header = reader
            .byte_headers()
            .map_err(|error| BuildError::Read { path: path.clone(), error: error.into() })?;
        let columns: Vec<_> = names
            .iter()
            .map(|name| header.iter().position(|column| column.trim_ascii() == name.as_bytes()))
            .collect();
        if let Some(missing) = (0..required).find(|&column| columns[column].is_none()) {
            return Err(BuildError::MissingColumn { path, column: names[missing] });
        }
        Ok(Table { reader, record: csv::ByteRecord::new(), columns, names, name, path })
    }

    /// Reads the next row that is not blank. `false` at the end.
    fn advance(&mut self) -> Result<bool, BuildError> {
        loop {
            let (begin, line) = (self.reader.position().byte(), self.reader.position().line());
            let end_max = begin + LINE_BYTES_MAX as u64;
            self.reader.get_mut().allowed = end_max;
            match self.reader.read_byte_record(&mut self.record) {
                Err(error) => return Err(read_error(&self.path, line, &self.reader, error)),
                // A row without its line feed may have as many bytes as are allowed.
                Ok(_) if self.reader.position().byte() > end_max + 1 => {
                    return Err(too_long(&self.path, line));
                }
                Ok(false) => return Ok(false),
                Ok(true) => {}
            }
            if self.record.len() > 1 || !self.record.as_slice().trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Number of wanted columns.
    pub(super) fn column_count(&self) -> usize {
        self.names.len()
    }

    /// Line on which the row begins, from 1.
    pub(super) fn line(&self) -> u64 {
        // The reader is behind the row's line feed, at the next line.
        let within = memchr::memchr_iter(b'\n', self.record.as_slice()).count() as u64;
        self.reader.position().line() - 1 - within
    }

    /// Checks that the row has all wanted columns.
    pub(super) fn check_columns(&self) -> Result<(), Reason> {
        match self.columns.iter().flatten().max() {
            Some(&last) if last >= self.record.len() => Err(reason("missing_column", "")),
            _ => Ok(()),
        }
    }

    /// A cell of the row, trimmed; empty if the file has no such column.
    pub(super) fn cell(&self, column: usize) -> &[u8] {
        self.columns[column].and_then(|index| self.record.get(index)).unwrap_or_default().trim_ascii()
    }

    /// A cell as text.
    pub(super) fn text(&self, column: usize) -> Result<&str, Reason> {
        std::str::from_utf8(self.cell(column)).map_err(|_| reason("not_utf8", self.names[column]))
    }

    /// Calls `take` for every row, and rejects those for which it fails.
    pub(super) fn for_each(
        mut self,
        rejected: &mut Rejected,
        mut take: impl FnMut(&Table) -> Result<(), Reason>,
    ) -> Result<(), BuildError> {
        while self.advance()? {
            rejected.count_rows(self.name, 1);
            if let Err(why) = self.check_columns().and_then(|()| take(&self)) {
                let value =
                    self.names.iter().position(|name| *name == why.column).map(|column| self.cell(column));
                let value = String::from_utf8_lossy(value.unwrap_or_default());
                rejected.push_value(self.name, self.line(), why, &value)?;
            }
        }
        Ok(())
    }
}

/// The error for a row that begins on a line, from 1.
fn read_error(path: &Path, line: u64, reader: &csv::Reader<BoundedInput>, error: csv::Error) -> BuildError {
    match reader.get_ref().is_exceeded {
        true => too_long(path, line),
        false => BuildError::Read { path: path.to_owned(), error: error.into() },
    }
}

fn too_long(path: &Path, line: u64) -> BuildError {
    let finding = "the row that begins here is longer than 1 MiB: is a quotation mark not closed?".to_owned();
    BuildError::Malformed { path: path.to_owned(), line, finding }
}
