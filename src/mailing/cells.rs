//! Ends of lines, the cells of a row, and the end of a row with quotation marks.

use crate::limits::ROW_BYTES_MAX;
use memchr::{memchr, memchr2, memchr3};
use std::collections::VecDeque;
use std::ops::Range;

/// The end of the line that begins at `start`, after its line end.
pub(super) fn line_end(bytes: &[u8], start: usize) -> usize {
    match memchr2(b'\n', b'\r', &bytes[start..]) {
        Some(length) => past_line_end(bytes, start + length),
        None => bytes.len(),
    }
}

/// The end of a line end whose first byte is at `at`.
pub(super) fn past_line_end(bytes: &[u8], at: usize) -> usize {
    match &bytes[at..] {
        [b'\r', b'\r', b'\n', ..] => at + 3,
        [b'\r', b'\n', ..] => at + 2,
        _ => at + 1,
    }
}

/// A row without its line end: LF, CR LF, CR CR LF or CR.
pub(super) fn without_line_end(row: &[u8]) -> &[u8] {
    match row {
        [text @ .., b'\r', b'\r', b'\n'] | [text @ .., b'\r', b'\n'] => text,
        [text @ .., b'\n'] | [text @ .., b'\r'] => text,
        text => text,
    }
}

/// A quoted cell does not end properly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadQuoting;

/// The cells of one row, quoted or not, without the quotation marks around them.
pub(super) struct Cells<'a> {
    bytes: &'a [u8],
    /// Where the next cell begins; after the last cell, the end of the row.
    at: usize,
    /// Where a quoted cell must have ended.
    limit: usize,
    delimiter: Option<u8>,
    done: bool,
    /// Where the search for the closing mark of the last cell ended, if that found none before the limit.
    unclosed: Option<usize>,
}

impl<'a> Cells<'a> {
    /// The cells of the row that begins with a line.
    pub(super) fn new(bytes: &'a [u8], line: Range<usize>, delimiter: Option<u8>) -> Cells<'a> {
        Cells::within(bytes, line, delimiter, ROW_BYTES_MAX)
    }

    /// The cells of a row that may be `longest` bytes long if it has quoted cells.
    fn within(bytes: &'a [u8], line: Range<usize>, delimiter: Option<u8>, longest: usize) -> Cells<'a> {
        let limit = bytes.len().min(line.start + longest).max(line.end);
        Cells { bytes, at: line.start, limit, delimiter, done: false, unclosed: None }
    }

    /// The end of the row, once all cells have been read.
    pub(super) fn end(&self) -> usize {
        self.at
    }

    /// The cell that begins with a quotation mark, whose closing mark is searched for from `search` on.
    fn quoted(&mut self, opening: usize, mut search: usize) -> Result<Range<usize>, BadQuoting> {
        loop {
            // A doubled mark may end beyond the limit.
            let found = self.bytes.get(search..self.limit).and_then(|ahead| memchr(b'"', ahead));
            let Some(length) = found else {
                self.unclosed = Some(search.max(self.limit));
                return Err(BadQuoting);
            };
            let closing = search + length;
            let after = &self.bytes[closing + 1..];
            match after.first() {
                Some(b'"') => search = closing + 2,
                None => return Ok(self.finish(opening + 1..closing, closing + 1, true)),
                Some(b'\n' | b'\r') => {
                    let end = past_line_end(self.bytes, closing + 1);
                    return Ok(self.finish(opening + 1..closing, end, true));
                }
                Some(byte) if Some(*byte) == self.delimiter => {
                    return Ok(self.finish(opening + 1..closing, closing + 2, false));
                }
                // Text after a closing quotation mark: the cell is not quoted.
                Some(_) if !self.has_separator(opening..closing) => return Ok(self.plain(opening, closing)),
                Some(_) => return Err(BadQuoting),
            }
        }
    }

    /// Whether a quoted text has a line end or a delimiter.
    fn has_separator(&self, text: Range<usize>) -> bool {
        let text = &self.bytes[text];
        let delimiter = self.delimiter.and_then(|delimiter| memchr(delimiter, text));
        delimiter.or_else(|| memchr2(b'\n', b'\r', text)).is_some()
    }

    /// A cell that begins at `start` and ends at the first delimiter or line end after `from`.
    fn plain(&mut self, start: usize, from: usize) -> Range<usize> {
        let rest = &self.bytes[from..];
        let length = match self.delimiter {
            Some(delimiter) => memchr3(delimiter, b'\n', b'\r', rest),
            None => memchr2(b'\n', b'\r', rest),
        };
        let Some(length) = length else {
            return self.finish(start..self.bytes.len(), self.bytes.len(), true);
        };
        let end = from + length;
        match self.bytes[end] {
            b'\n' | b'\r' => self.finish(start..end, past_line_end(self.bytes, end), true),
            _ => self.finish(start..end, end + 1, false),
        }
    }

    fn finish(&mut self, cell: Range<usize>, next: usize, last: bool) -> Range<usize> {
        self.at = next;
        self.done = last;
        cell
    }
}

impl Iterator for Cells<'_> {
    type Item = Result<Range<usize>, BadQuoting>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let start = self.at;
        Some(match self.bytes.get(start) {
            Some(b'"') => {
                let search = self.unclosed.take().unwrap_or(start + 1);
                self.quoted(start, search)
            }
            _ => Ok(self.plain(start, start)),
        })
    }
}

/// Bytes beyond its first line after which the cells of a row are remembered.
const LONG_BYTES: usize = if cfg!(test) { 2 } else { 256 };

/// The cells of the last long row, so that the search for the end of a row is not repeated by the rows after it.
///
/// A quotation mark that is never closed can make a row extend over many lines before that shows; then only its first
/// line is a row, and each of the next lines may begin such a search, too. Where the cells of two rows begin at the
/// same place, the rest of both rows is the same, except that the later one may end later. So the search is continued
/// instead of repeated, and all rows of a list together take time in proportion to its length.
pub(super) struct QuoteChain {
    /// Where cells of the row begin, ascending.
    starts: VecDeque<usize>,
    /// The end of the row, or that there is none. `None`: no end was found before the limit.
    end: Option<Result<usize, BadQuoting>>,
    /// Where the search for the closing mark of the last cell is continued.
    search: usize,
    /// Maximum length in bytes of a row with quoted cells.
    longest: usize,
    /// Cells that were read.
    #[cfg(test)]
    cells_read: usize,
}

impl Default for QuoteChain {
    fn default() -> QuoteChain {
        QuoteChain {
            starts: VecDeque::new(),
            end: None,
            search: 0,
            longest: ROW_BYTES_MAX,
            #[cfg(test)]
            cells_read: 0,
        }
    }
}

impl QuoteChain {
    /// The end of the row that begins with a line. Called with lines of the same bytes, in ascending order.
    ///
    /// `each` gets the cells of the row and their numbers. If these begin with 0 again, only the later ones count.
    #[inline]
    pub(super) fn end_of_row(
        &mut self,
        bytes: &[u8],
        line: Range<usize>,
        delimiter: Option<u8>,
        mut each: impl FnMut(usize, Range<usize>),
    ) -> Result<usize, BadQuoting> {
        let mut cells = Cells::within(bytes, line.clone(), delimiter, self.longest);
        let mut number = 0;
        while !cells.done {
            if cells.at > line.end {
                let end = self.end_of_long_row(&line, cells)?;
                for (number, cell) in Cells::within(bytes, line, delimiter, self.longest).enumerate() {
                    each(number, cell?);
                }
                return Ok(end);
            }
            self.count_cell();
            if let Some(cell) = cells.next() {
                each(number, cell?);
                number += 1;
            }
        }
        Ok(cells.end())
    }

    /// The end of a row of more than one line, of which `cells` are left.
    #[inline(never)]
    fn end_of_long_row(&mut self, line: &Range<usize>, mut cells: Cells<'_>) -> Result<usize, BadQuoting> {
        while self.starts.front().is_some_and(|&start| start < line.start) {
            self.starts.pop_front();
        }
        while !cells.done {
            if self.starts.binary_search(&cells.at).is_ok() {
                return self.resume(cells);
            }
            if cells.at > line.end + LONG_BYTES {
                self.starts.clear();
                return self.read(cells);
            }
            self.count_cell();
            cells.next().transpose()?;
        }
        Ok(cells.end())
    }

    /// The end of a row that joins the remembered one.
    fn resume(&mut self, mut cells: Cells<'_>) -> Result<usize, BadQuoting> {
        if let Some(end) = self.end {
            return end;
        }
        if let Some(last) = self.starts.pop_back() {
            (cells.at, cells.unclosed) = (last, Some(self.search));
        }
        self.read(cells)
    }

    /// Reads the rest of a row, and remembers its cells.
    fn read(&mut self, mut cells: Cells<'_>) -> Result<usize, BadQuoting> {
        while !cells.done {
            self.starts.push_back(cells.at);
            self.count_cell();
            if cells.next().is_some_and(|cell| cell.is_err()) {
                self.search = cells.unclosed.unwrap_or(0);
                self.end = if cells.unclosed.is_some() { None } else { Some(Err(BadQuoting)) };
                return Err(BadQuoting);
            }
        }
        self.end = Some(Ok(cells.end()));
        Ok(cells.end())
    }

    fn count_cell(&mut self) {
        #[cfg(test)]
        {
            self.cells_read += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ends of all rows, and the number of cells that were read to find them.
    fn ends(list: &[u8], longest: usize, is_remembered: bool) -> (Vec<Result<usize, BadQuoting>>, usize) {
        let (mut at, mut ends, mut read) = (0, Vec::new(), 0);
        let mut chain = QuoteChain { longest, ..QuoteChain::default() };
        while at < list.len() {
            if !is_remembered {
                read += chain.cells_read;
                chain = QuoteChain { longest, ..QuoteChain::default() };
            }
            let line = at..line_end(list, at);
            ends.push(chain.end_of_row(list, line.clone(), Some(b';'), |_, _| ()));
            // As if all rows were several: the next row begins with the next line.
            at = line.end;
        }
        (ends, read + chain.cells_read)
    }

    #[test]
    fn unclosed_marks_take_time_in_proportion_to_the_list() {
        // Each line opens a cell that the next one closes, before it opens another.
        let chain = b"a\";\"\n".repeat(20_000);
        for (list, longest) in [
            (chain.clone(), 1 << 20),
            (chain.clone(), 1 << 12),
            ([&chain[..], b"a\"b\n"].concat(), 1 << 20),
            ([&chain[..], &b"text\n".repeat(20_000)].concat(), 1 << 15),
        ] {
            let (_, read) = ends(&list, longest, true);
            assert!(read < list.len() * 2, "{read} cells were read of {} bytes", list.len());
        }
        assert!(ends(&chain, 1 << 12, false).1 > chain.len() * 50, "without memory it is quadratic");
    }

    proptest! {
        #[test]
        fn remembered_cells_change_no_end(
            lines in proptest::collection::vec("[a;\"]{0,5}(\n|\r\n|\r)?", 1..40), longest in 1..60usize
        ) {
            let list = lines.concat().into_bytes();
            prop_assert_eq!(ends(&list, longest, true).0, ends(&list, longest, false).0);
        }
    }
}
