//! Reading the comma separated files of an extract (RFC 4180), row by row.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use crate::extract::Result;

/// The columns of a file: those that must be there, then those that may.
pub struct Columns<'a> {
    pub required: &'a [&'a str],
    pub optional: &'a [&'a str],
}

/// A file with named columns.
pub struct Table<R> {
    reader: R,
    record: Record,
    /// For each column asked for, its place in the file.
    places: Vec<Option<usize>>,
}

impl Table<BufReader<File>> {
    pub fn open(directory: &Path, name: &str, columns: &Columns<'_>) -> Result<Self> {
        let path = directory.join(name);
        let about = |error: &dyn std::fmt::Display| {
            let hint = "; compressed files must be unpacked first";
            let packed =
                ["gz", "zst"].iter().any(|ending| directory.join(format!("{name}.{ending}")).exists());
            format!("{}: {error}{}", path.display(), if packed { hint } else { "" })
        };
        let file = File::open(&path).map_err(|error| about(&error))?;
        let table = Table::new(BufReader::with_capacity(1 << 20, file), columns);
        table.map_err(|error| about(&error).into())
    }
}

impl<R: BufRead> Table<R> {
    pub fn new(mut reader: R, columns: &Columns<'_>) -> Result<Self> {
        let mut record = Record::default();
        record.read(&mut reader)?;
        if record.text.starts_with(b"\xEF\xBB\xBF") {
            record.cells[0].start = 3;
        }
        let place = |name: &str| (0..record.cells.len()).find(|&at| record.cell(at) == Ok(name));
        let places: Vec<_> =
            columns.required.iter().chain(columns.optional).map(|name| place(name)).collect();
        for (name, place) in columns.required.iter().zip(&places) {
            place.ok_or_else(|| format!("there is no column {name}"))?;
        }
        Ok(Table { reader, record, places })
    }

    /// Calls `row` with the cells of each row, in the order the columns were asked for. A column that is
    /// not there has empty cells. Errors tell the line, and never what is in it.
    pub fn for_each<const N: usize>(&mut self, mut row: impl FnMut([&str; N]) -> Result<()>) -> Result<()> {
        assert_eq!(N, self.places.len(), "a cell for each column");
        while self.record.read(&mut self.reader)? {
            let mut cells = [""; N];
            let mut read = Ok(());
            for (cell, place) in cells.iter_mut().zip(&self.places) {
                let Some(place) = *place else { continue };
                match self.record.cell(place) {
                    Ok(text) => *cell = text,
                    Err(error) => read = Err(error.into()),
                }
            }
            read.and_then(|()| row(cells)).map_err(|error| format!("line {}: {error}", self.record.line))?;
        }
        Ok(())
    }
}

/// One record, unquoted; its buffers are used again for the next.
#[derive(Default)]
struct Record {
    text: Vec<u8>,
    cells: Vec<Range<usize>>,
    /// Line that the record begins on, from 1.
    line: u64,
    /// Lines read so far.
    lines: u64,
    raw: Vec<u8>,
}

impl Record {
    /// Reads the next record that is not a blank line; false at the end.
    fn read(&mut self, reader: &mut impl BufRead) -> Result<bool> {
        loop {
            self.raw.clear();
            self.line = self.lines + 1;
            if !self.read_line(reader)? {
                return Ok(false);
            }
            while self.raw.iter().filter(|&&byte| byte == b'"').count() % 2 == 1 {
                if !self.read_line(reader)? {
                    return Err(format!("line {}: a quote is not closed", self.line).into());
                }
            }
            if !self.raw.trim_ascii().is_empty() {
                self.split();
                return Ok(true);
            }
        }
    }

    fn read_line(&mut self, reader: &mut impl BufRead) -> Result<bool> {
        let read = reader.read_until(b'\n', &mut self.raw)?;
        self.lines += 1;
        Ok(read > 0)
    }

    /// Cuts `raw` at the commas outside quotes and takes the quotes away.
    fn split(&mut self) {
        self.text.clear();
        self.cells.clear();
        let raw = self.raw.trim_ascii_end();
        let (mut start, mut inside) = (0, false);
        let mut after_quote = false;
        for &byte in raw {
            match byte {
                b'"' => {
                    // The second of two quotes within quotes stands for itself.
                    if !inside && after_quote {
                        self.text.push(b'"');
                    }
                    inside = !inside;
                }
                b',' if !inside => {
                    self.cells.push(start..self.text.len());
                    start = self.text.len();
                }
                _ => self.text.push(byte),
            }
            after_quote = byte == b'"';
        }
        self.cells.push(start..self.text.len());
    }

    /// The text of a cell, without white space around it; empty where the row has no such cell.
    fn cell(&self, at: usize) -> std::result::Result<&str, &'static str> {
        let range = self.cells.get(at).cloned().unwrap_or_default();
        std::str::from_utf8(&self.text[range]).map(str::trim).map_err(|_| "a cell is not UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::push_csv_line;

    const COLUMNS: Columns<'_> = Columns { required: &["id", "name"], optional: &["attention"] };

    fn rows(text: &[u8]) -> Result<Vec<[String; 3]>> {
        let mut rows = Vec::new();
        Table::new(text, &COLUMNS)?.for_each(|cells: [&str; 3]| {
            rows.push(cells.map(str::to_owned));
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = b"\xEF\xBB\xBFname,other,id\r\n A ,x,1\r\n\r\nB,y,2";
        assert_eq!(rows(text).unwrap(), [["1", "A", ""], ["2", "B", ""]]);
        let error = rows(b"id,attention\n").unwrap_err().to_string();
        assert_eq!(error, "there is no column name");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let cells = ["1", "Myndigheten \"Rent vatten\"", "Kundtjänst, plan 3\nvåning 2"];
        let mut text = b"id,name,attention\n".to_vec();
        push_csv_line(&mut text, &cells);
        push_csv_line(&mut text, &["2", "\"", ""]);
        assert_eq!(rows(&text).unwrap(), [cells, ["2", "\"", ""]]);
    }

    #[test]
    fn errors_tell_the_line() {
        let error = rows(b"id,name\n1,\"A\nB\"\n2,\xFF\n").unwrap_err().to_string();
        assert_eq!(error, "line 4: a cell is not UTF-8");
        let error = rows(b"id,name\n1,\"A\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: a quote is not closed");
    }
}
