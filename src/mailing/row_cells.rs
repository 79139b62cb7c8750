//! Cells of rows by their columns, for channel rules and groups.

use super::cells::Cells;
use super::list_run::ListRun;
use super::rows::{Layout, text_of};
use super::sniff::{CellPlace, Encoding, ListForm};
use crate::channels::TextForms;
use crate::cpu::{BLOCK_BYTES, BaselineScan, BlockScan};
use std::ops::Range;

/// The cells that are read of each row of a list.
pub(super) struct CellReader<'a> {
    places: &'a [CellPlace],
    layout: &'a Layout,
    encoding: Encoding,
    /// The print run that the list is, if it is one.
    run: Option<&'a ListRun>,
    /// The last column that is read, and one more.
    columns: usize,
    /// A bit for each column that is read, of the first 63; the last bit is that of all others.
    wanted: u64,
}

impl<'a> CellReader<'a> {
    /// Reads cells at some of the places of a list's form.
    pub(super) fn new(form: &'a ListForm, places: &'a [CellPlace]) -> CellReader<'a> {
        let columns = places.iter().filter_map(|place| match place {
            CellPlace::Column(column) => Some(*column),
            CellPlace::Bytes(..) | CellPlace::OfLetter(_) => None,
        });
        CellReader {
            places,
            layout: &form.guard.rules.layout,
            encoding: form.encoding,
            run: form.run.as_ref(),
            columns: columns.clone().max().map_or(0, |last| last + 1),
            wanted: columns.fold(0, |all, column| all | bit_of(column)),
        }
    }

    /// Reads one row after another, for one thread.
    pub(super) fn cells(&self) -> RowCells<'_> {
        let cells = vec![0..0; self.places.len()];
        RowCells { reader: self, cells, text: Vec::new(), is_cut: false, has_quotes: false }
    }

    /// The cells of a row as text.
    pub(super) fn texts(&self, bytes: &[u8], row: &Range<usize>) -> Vec<String> {
        let mut cells = self.cells();
        (0..self.places.len()).map(|column| self.text(cells.cell(column, bytes, row))).collect()
    }

    /// Calls `each` with the texts of all places of a row, of a print run with all that have the name of one.
    pub(super) fn all_texts(&self, bytes: &[u8], row: &Range<usize>, each: &mut dyn FnMut(&str)) {
        match self.run {
            None => self.texts(bytes, row).iter().for_each(|text| each(text)),
            Some(run) => {
                for place in self.places {
                    if let CellPlace::OfLetter(column) = *place {
                        let letter = &bytes[row.clone()];
                        let column = run.column_of(column);
                        column.read_all(letter, &mut |text| each(&String::from_utf8_lossy(text)));
                    }
                }
            }
        }
    }

    /// The text of a cell.
    pub(super) fn text(&self, cell: &[u8]) -> String {
        self.encoding.text(cell)
    }
}

/// The cells of one row after another.
pub(super) struct RowCells<'a> {
    reader: &'a CellReader<'a>,
    /// The cells of the current row, if they have been found.
    cells: Vec<Range<usize>>,
    /// A cell that is not in the list as it is read.
    text: Vec<u8>,
    is_cut: bool,
    /// Whether the row has quotation marks; of fixed width they are text.
    has_quotes: bool,
}

impl RowCells<'_> {
    /// Begins with another row.
    #[inline(always)]
    pub(super) fn begin(&mut self) {
        (self.is_cut, self.has_quotes) = (false, false);
    }

    /// The cell of the row at a place: its bytes, without white space and quotation marks around them.
    #[inline(always)]
    pub(super) fn cell<'c>(&'c mut self, place: usize, bytes: &'c [u8], row: &Range<usize>) -> &'c [u8] {
        if let (Some(run), CellPlace::OfLetter(column)) = (self.reader.run, self.reader.places[place]) {
            self.text.clear();
            run.read_column(column, &bytes[row.clone()], &mut self.text);
            return self.text.trim_ascii();
        }
        if !std::mem::replace(&mut self.is_cut, true) {
            self.cut(bytes, row);
        }
        let cell = bytes[self.cells[place].clone()].trim_ascii();
        // Doubled quotation marks, and white space that is not ASCII, are rare.
        let has_marks = self.has_quotes && memchr::memchr(b'"', cell).is_some();
        if !has_marks && !may_have_wide_blank(cell) {
            return cell;
        }
        let encoding = self.reader.encoding;
        let text = encoding.text(cell).replace("\"\"", "\"");
        let encoded = (text_forms(encoding).encode)(&text);
        self.text = encoded.unwrap_or_else(|| cell.to_vec());
        &self.text
    }

    /// Finds the cells that are read.
    fn cut(&mut self, bytes: &[u8], row: &Range<usize>) {
        let CellReader { places, layout, columns, .. } = *self.reader;
        let text = text_of(bytes, row);
        match *layout {
            Layout::Delimited { delimiter, .. } => {
                if !self.cut_plain(bytes, &text, delimiter) {
                    self.has_quotes = true;
                    self.cells.fill(text.start..text.start);
                    let cells = Cells::new(bytes, row.clone(), delimiter).take(columns);
                    let cells = cells.map_while(Result::ok).enumerate();
                    cells.for_each(|(column, cell)| keep(places, &mut self.cells, column, &cell));
                }
            }
            Layout::Fixed { .. } => {
                for (place, kept) in places.iter().zip(&mut self.cells) {
                    if let CellPlace::Bytes(offset, length) = *place {
                        let start = (text.start + offset).min(text.end);
                        *kept = start..(start + length).min(text.end);
                    }
                }
            }
        }
    }

    /// Finds the cells of a row without quotation marks up to the last one that is read; `false` if it has any.
    fn cut_plain(&mut self, bytes: &[u8], text: &Range<usize>, delimiter: Option<u8>) -> bool {
        let CellReader { places, columns, wanted, .. } = *self.reader;
        let (mut column, mut start, mut at) = (0, text.start, text.start);
        while at < text.end {
            let marks = marks(&bytes[at..], delimiter.unwrap_or(b'"'));
            let mut left =
                if text.end - at < BLOCK_BYTES { marks & ((1 << (text.end - at)) - 1) } else { marks };
            while left != 0 {
                let mark = at + left.trailing_zeros() as usize;
                left &= left - 1;
                if bytes[mark] == b'"' {
                    return false;
                }
                if is_wanted(wanted, column) {
                    keep(places, &mut self.cells, column, &(start..mark));
                }
                (column, start) = (column + 1, mark + 1);
                if column == columns {
                    return true;
                }
            }
            at += BLOCK_BYTES;
        }
        keep(places, &mut self.cells, column, &(start..text.end));
        // The row ends before the other columns.
        for column in column + 1..columns {
            keep(places, &mut self.cells, column, &(text.end..text.end));
        }
        true
    }
}

pub(super) fn text_forms(encoding: Encoding) -> TextForms {
    match encoding {
        Encoding::Utf8 | Encoding::Utf8Bom => TextForms {
            decode: |bytes| Encoding::Utf8.text(bytes),
            encode: |text| Some(text.as_bytes().to_vec()),
        },
        Encoding::Windows1252 => TextForms {
            decode: |bytes| Encoding::Windows1252.text(bytes),
            encode: |text| {
                let (bytes, _, has_others) = encoding_rs::WINDOWS_1252.encode(text);
                (!has_others).then(|| bytes.into_owned())
            },
        },
    }
}

fn bit_of(column: usize) -> u64 {
    1 << column.min(63)
}

#[inline(always)]
fn is_wanted(wanted: u64, column: usize) -> bool {
    wanted & bit_of(column) != 0
}

/// The delimiters and quotation marks among the first 64 bytes, as bits.
#[inline(always)]
fn marks(bytes: &[u8], delimiter: u8) -> u64 {
    match bytes.first_chunk() {
        Some(block) => BaselineScan.equal_either(delimiter, b'"', block),
        None => {
            let mut block = [0; BLOCK_BYTES];
            block[..bytes.len()].copy_from_slice(bytes);
            BaselineScan.equal_either(delimiter, b'"', &block)
        }
    }
}

/// Keeps a cell for the conditions that read its column.
#[inline(always)]
fn keep(places: &[CellPlace], cells: &mut [Range<usize>], column: usize, cell: &Range<usize>) {
    for (place, kept) in places.iter().zip(cells) {
        if *place == CellPlace::Column(column) {
            *kept = cell.clone();
        }
    }
}

/// Whether a cell may begin or end with white space that is not ASCII, in one of the encodings. Letters such as Å do not count.
fn may_have_wide_blank(cell: &[u8]) -> bool {
    const BLANK: u8 = 0xA0; // of Windows-1252
    let is_lead = |byte: u8| matches!(byte, BLANK | 0xC2 | 0xE1..=0xE3);
    let Some((&first, &last)) = cell.first().zip(cell.last()) else { return false };
    is_lead(first)
        || !last.is_ascii() && cell[cell.len().saturating_sub(3)..].iter().any(|&byte| is_lead(byte))
}
