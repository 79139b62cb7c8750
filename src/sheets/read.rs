//! Reads sheets as rows of text.

use super::cells::text_of;
use super::check::{self, Archive, Seen};
use super::{COLUMNS_MAX, CellType, DELIMITER, ROWS_MAX, Sheet, SheetColumn, WorkbookError, WorkbookLimits};
use calamine::{Data, DataRef, Ods, OdsError, Reader, SheetType, SheetVisible, Xlsx, XlsxError};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use zip::ZipArchive;

/// A workbook in memory.
pub(crate) struct Workbook<'a> {
    bytes: &'a [u8],
    limits: WorkbookLimits,
    /// Its reader, which has the texts that its sheets share; of an `.ods`, all sheets.
    reader: Reading<'a>,
}

enum Reading<'a> {
    Xlsx(Box<Xlsx<Cursor<&'a [u8]>>>),
    Ods(Ods<Cursor<&'a [u8]>>),
}

fn archive_of(bytes: &[u8]) -> Result<Archive<'_>, WorkbookError> {
    ZipArchive::new(Cursor::new(bytes)).map_err(|_| damaged("its archive"))
}

/// A sheet's name, and whether it is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SheetName {
    pub(crate) name: String,
    pub(crate) is_visible: bool,
}

pub(super) fn damaged(what: &str) -> WorkbookError {
    WorkbookError::Damaged(what.to_owned())
}

/// No text of the workbook is part of the error.
fn xlsx_error(error: &XlsxError) -> WorkbookError {
    match error {
        XlsxError::Password => WorkbookError::Password,
        XlsxError::Io(_) | XlsxError::Zip(_) => damaged("its archive"),
        XlsxError::Xml(_) | XlsxError::XmlAttr(_) | XlsxError::XmlEof(_) | XlsxError::Encoding(_) => {
            damaged("its XML")
        }
        XlsxError::FileNotFound(_) | XlsxError::RelationshipNotFound | XlsxError::WorksheetNotFound(_) => {
            damaged("a part is missing")
        }
        _ => damaged("a cell"),
    }
}

fn ods_error(error: &OdsError) -> WorkbookError {
    match error {
        OdsError::Password => WorkbookError::Password,
        _ => damaged("its XML"),
    }
}

impl<'a> Workbook<'a> {
    /// A workbook of which the directory has been read, and whose parts are not longer than allowed.
    pub(crate) fn open(bytes: &'a [u8], limits: WorkbookLimits) -> Result<Workbook<'a>, WorkbookError> {
        let mut archive = archive_of(bytes)?;
        let is_ods = archive.index_for_name("content.xml").is_some();
        if is_ods && !limits.ods {
            return Err(WorkbookError::Ods);
        }
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(|_| damaged("its archive"))?;
            if entry.encrypted() {
                return Err(WorkbookError::Password);
            }
            let name = entry.name().map_err(|_| damaged("its archive"))?;
            let (part, limit) = match &*name {
                "content.xml" => ("the sheets", limits.sheet_bytes),
                "xl/sharedStrings.xml" => ("the texts", limits.text_bytes),
                name if name.starts_with("xl/worksheets/") => ("a sheet", limits.sheet_bytes),
                // They are not read.
                name if name.starts_with("xl/media/") || name.starts_with("Pictures/") => continue,
                _ => ("a part", limits.other_bytes),
            };
            if entry.size() > limit {
                return Err(WorkbookError::TooLarge { part, limit: limit >> 20 });
            }
        }
        // The reader believes both.
        match is_ods {
            true => check::in_ods(&mut archive, None).map(drop)?,
            false => check::shared_texts(&mut archive)?,
        }
        // What has been looked at is not known to panic.
        let read = catch_unwind(AssertUnwindSafe(|| match is_ods {
            true => Ods::new(Cursor::new(bytes)).map(Reading::Ods).map_err(|error| ods_error(&error)),
            false => Xlsx::new(Cursor::new(bytes))
                .map(Box::new)
                .map(Reading::Xlsx)
                .map_err(|error| xlsx_error(&error)),
        }));
        Ok(Workbook { bytes, limits, reader: read.unwrap_or(Err(damaged("a part that cannot be read")))? })
    }

    /// The worksheets, in their order.
    pub(crate) fn sheets(&self) -> Vec<SheetName> {
        let metadata = match &self.reader {
            Reading::Xlsx(workbook) => workbook.sheets_metadata(),
            Reading::Ods(workbook) => workbook.sheets_metadata(),
        };
        let worksheets = metadata.iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
        let named = |sheet: &calamine::Sheet| SheetName {
            name: sheet.name.clone(),
            is_visible: sheet.visible == SheetVisible::Visible,
        };
        worksheets.map(named).collect()
    }

    /// Reads a sheet, unless that is interrupted.
    ///
    /// Cost: some 2 cells a microsecond.
    pub(crate) fn sheet(
        &mut self,
        name: &str,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Sheet, WorkbookError> {
        let mut archive = archive_of(self.bytes)?;
        let mut seen = match self.reader {
            Reading::Ods(_) => check::in_ods(&mut archive, Some(name))?,
            Reading::Xlsx(_) => check::in_xlsx(&mut archive, name)?,
        };
        let read = AssertUnwindSafe(|| self.rows(name, &mut seen, interrupted));
        let rows = catch_unwind(read).unwrap_or(Err(damaged("a part that cannot be read")))?;
        let (text, columns) = rows.finish()?;
        let Seen { hidden_rows, empty_formulas } = seen;
        Ok(Sheet { name: name.to_owned(), text, hidden_rows, empty_formulas, columns })
    }

    fn rows(
        &mut self,
        name: &str,
        seen: &mut Seen,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Rows, WorkbookError> {
        let (mut rows, mut cells) = (Rows::new(self.limits.row_bytes), 0u32);
        let mut add = |row: u32, column: u32, cell: &DataRef<'_>| {
            cells = cells.wrapping_add(1);
            match cells.is_multiple_of(4096) && interrupted() {
                true => Err(WorkbookError::Interrupted),
                false => rows.add(row, column, cell),
            }
        };
        let workbook = match &mut self.reader {
            Reading::Xlsx(workbook) => workbook,
            Reading::Ods(workbook) => {
                let range = workbook.worksheet_range(name).map_err(|_| damaged("its XML"))?;
                let (first_row, first_column) = range.start().unwrap_or_default();
                for (row, column, cell) in range.used_cells() {
                    add(first_row + row as u32, first_column + column as u32, &as_ref(cell))?;
                }
                return Ok(rows);
            }
        };
        let mut cells = workbook.worksheet_cells_reader(name).map_err(|error| xlsx_error(&error))?;
        while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(|error| xlsx_error(&error))? {
            seen.empty_formulas += u64::from(cell.formula.is_some() && cell.value == DataRef::Empty);
            add(cell.pos.0, cell.pos.1, &cell.value)?;
        }
        Ok(rows)
    }
}

fn as_ref(cell: &Data) -> DataRef<'_> {
    match cell {
        Data::Int(number) => DataRef::Int(*number),
        Data::Float(number) => DataRef::Float(*number),
        Data::String(text) => DataRef::SharedString(text),
        Data::Bool(truth) => DataRef::Bool(*truth),
        Data::DateTime(time) => DataRef::DateTime(*time),
        Data::DateTimeIso(time) => DataRef::DateTimeIso(time.clone()),
        Data::DurationIso(duration) => DataRef::DurationIso(duration.clone()),
        Data::Error(error) => DataRef::Error(error.clone()),
        Data::Empty => DataRef::Empty,
    }
}

/// Rows of text that are being read.
struct Rows {
    /// Cells, with delimiters between those of a row, and no line ends.
    text: Vec<u8>,
    /// For each row the end of its text and its cells.
    ends: Vec<(usize, u32)>,
    columns: Vec<SheetColumn>,
    /// The text of a cell.
    cell: String,
    bytes_max: usize,
}

impl Rows {
    fn new(bytes_max: usize) -> Rows {
        Rows { text: Vec::new(), ends: Vec::new(), columns: Vec::new(), cell: String::new(), bytes_max }
    }

    /// Adds a cell, in the order of rows and columns.
    fn add(&mut self, row: u32, column: u32, cell: &DataRef<'_>) -> Result<(), WorkbookError> {
        let mut text = std::mem::take(&mut self.cell);
        let kind = text_of(cell, &mut text);
        let added = if text.is_empty() { Ok(()) } else { self.add_text(row, column, kind, &text) };
        self.cell = text;
        added
    }

    fn add_text(
        &mut self,
        row: u32,
        column: u32,
        kind: Option<CellType>,
        text: &str,
    ) -> Result<(), WorkbookError> {
        let (row, cells) = (row as usize, column + 1);
        let is_next = match self.ends.len() {
            0 => true,
            rows if row + 1 == rows => self.ends[row].1 < cells,
            rows => row >= rows,
        };
        if !is_next || row >= ROWS_MAX as usize || column >= COLUMNS_MAX {
            return Err(damaged("cells are not in their order"));
        }
        self.ends.resize((row + 1).max(self.ends.len()), (self.text.len(), 0));
        let before = self.ends[row].1;
        let delimiters = if before == 0 { column } else { cells - before };
        self.text.extend(std::iter::repeat_n(DELIMITER, delimiters as usize));
        push_cell(&mut self.text, text);
        self.ends[row] = (self.text.len(), cells);
        if self.columns.len() < cells as usize {
            self.columns.resize(cells as usize, SheetColumn::default());
        }
        self.columns[column as usize].add(kind, text);
        self.check(self.text.len())
    }

    fn check(&self, bytes: usize) -> Result<(), WorkbookError> {
        match bytes > self.bytes_max {
            true => Err(WorkbookError::TooLarge { part: "the rows", limit: (self.bytes_max >> 20) as u64 }),
            false => Ok(()),
        }
    }

    /// The rows as CSV, each with as many cells as the longest has.
    fn finish(self) -> Result<(Vec<u8>, Vec<SheetColumn>), WorkbookError> {
        let width = self.columns.len();
        let padding: usize =
            self.ends.iter().map(|(_, cells)| width.saturating_sub(1.max(*cells as usize))).sum();
        let bytes = 3 + self.text.len() + padding + 3 * self.ends.len();
        self.check(bytes)?;
        let mut text = Vec::with_capacity(bytes);
        text.extend_from_slice("\u{FEFF}".as_bytes());
        let mut start = 0;
        for (end, cells) in self.ends {
            let row = &self.text[start..end];
            text.extend_from_slice(row);
            let missing = width.saturating_sub(1.max(cells as usize));
            match (row.is_empty(), missing) {
                // A line without anything would be no row.
                (true, 0) => text.extend_from_slice(b"\"\""),
                (_, missing) => text.extend(std::iter::repeat_n(DELIMITER, missing)),
            }
            text.push(b'\n');
            start = end;
        }
        Ok((text, self.columns))
    }
}

/// Appends a cell, in quotation marks if it needs them.
fn push_cell(row: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let is_plain = memchr::memchr3(DELIMITER, b'"', b'\n', bytes).is_none()
        && memchr::memchr(b'\r', bytes).is_none()
        && !text.starts_with("sep=");
    if is_plain {
        return row.extend_from_slice(bytes);
    }
    row.push(b'"');
    let mut rest = bytes;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        row.extend_from_slice(&rest[..=quote]);
        row.push(b'"');
        rest = &rest[quote + 1..];
    }
    row.extend_from_slice(rest);
    row.push(b'"');
}
