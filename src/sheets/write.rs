//! Writes the rows of a part as a workbook.

use super::cells::Cell;
use super::{DELIMITER, ROWS_MAX, Sheet, SheetColumn, WorkbookError};
use rust_xlsxwriter::{ColNum, ExcelDateTime, Format, RowNum, Workbook, Worksheet, XlsxError};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Characters of a column's width, at least and at most.
const WIDTHS: [usize; 2] = [8, 60];

/// A sheet beside the rows.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its rows: texts and numbers.
    pub(crate) rows: Vec<(String, Option<u64>)>,
}

/// How a part becomes a workbook.
pub(crate) struct Part<'a> {
    /// The sheet that the part's rows are from.
    pub(crate) sheet: &'a Sheet,
    /// Rows of the part, as [`Sheet::text`] has them.
    pub(crate) rows: &'a [u8],
    /// Columns from 0 that stay texts.
    pub(crate) ids: &'a [usize],
    /// Rows from its beginning that stay in sight.
    pub(crate) header_rows: u64,
    /// What is beside them.
    pub(crate) summary: &'a Summary,
}

fn failed(error: XlsxError) -> WorkbookError {
    match error {
        XlsxError::RowColumnLimitError => WorkbookError::TooManyRows,
        XlsxError::MaxStringLengthExceeded => {
            WorkbookError::Write("a text is longer than 32 767 characters: write CSV with --csv".to_owned())
        }
        XlsxError::IoError(error) => WorkbookError::Write(error.to_string()),
        _ => WorkbookError::Write("its rows are refused by the library: write CSV with --csv".to_owned()),
    }
}

/// Formats of cells.
struct Formats {
    text: Format,
    date: Format,
    clock: Format,
    both: Format,
    duration: Format,
    bold: Format,
}

/// Writes a part, and returns its rows. Rows are kept in a file without a name in `directory` until the workbook is whole.
///
/// Cost: some 2 cells a microsecond; memory does not grow with the rows.
pub(crate) fn write(
    part: &Part<'_>,
    to: File,
    directory: &Path,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<u64>, WorkbookError> {
    let formats = Formats {
        text: Format::new().set_num_format("@"),
        date: Format::new().set_num_format("yyyy-mm-dd"),
        clock: Format::new().set_num_format("hh:mm:ss"),
        both: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
        duration: Format::new().set_num_format("[h]:mm:ss"),
        bold: Format::new().set_bold(),
    };
    let mut workbook = Workbook::new();
    workbook.set_tempdir(directory).map_err(failed)?;
    let worksheet = workbook.add_worksheet_with_constant_memory().map_err(failed)?;
    let own_name = name(worksheet, &[&part.sheet.name, "Rows"]);
    for (column, known) in part.sheet.columns.iter().enumerate() {
        let width = known.width.clamp(WIDTHS[0], WIDTHS[1]) + 1;
        worksheet.set_column_width(column as ColNum, width as f64).map_err(failed)?;
        if part.ids.contains(&column) {
            // Also for what is typed below the rows.
            worksheet.set_column_format(column as ColNum, &formats.text).map_err(failed)?;
        }
    }
    worksheet.set_freeze_panes(part.header_rows.min(100) as RowNum, 0).map_err(failed)?;
    let Some(rows) = write_rows(worksheet, part, &formats, interrupted)? else { return Ok(None) };
    write_summary(workbook.add_worksheet(), part.summary, (&own_name, &formats)).map_err(failed)?;
    workbook.save_to_writer(BufWriter::with_capacity(1 << 18, to)).map_err(failed)?;
    Ok(Some(rows))
}

/// Names a sheet: other programs allow names that Excel does not. If no name can be used, it has the one that new sheets have.
fn name(worksheet: &mut Worksheet, wanted: &[&str]) -> String {
    let _ = wanted.iter().find(|name| worksheet.set_name(**name).is_ok());
    worksheet.name()
}

fn write_rows(
    worksheet: &mut Worksheet,
    part: &Part<'_>,
    formats: &Formats,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<u64>, WorkbookError> {
    let rows = part.rows.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(part.rows);
    let mut reader =
        csv::ReaderBuilder::new().delimiter(DELIMITER).has_headers(false).flexible(true).from_reader(rows);
    let mut record = csv::ByteRecord::new();
    let text_only = SheetColumn::default();
    let mut row = 0;
    while reader.read_byte_record(&mut record).map_err(|_| super::read::damaged("its rows"))? {
        if row >= ROWS_MAX {
            return Err(WorkbookError::TooManyRows);
        }
        if row.is_multiple_of(1024) && interrupted() {
            return Ok(None);
        }
        for (column, cell) in record.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let is_id = part.ids.contains(&column);
            let known = part.sheet.columns.get(column).filter(|_| !is_id).unwrap_or(&text_only);
            let text = String::from_utf8_lossy(cell);
            write_cell(worksheet, (row, column as ColNum), &known.cell(&text), (is_id, formats))
                .map_err(failed)?;
        }
        row += 1;
    }
    Ok(Some(row.into()))
}

fn write_cell(
    worksheet: &mut Worksheet,
    (row, column): (RowNum, ColNum),
    cell: &Cell<'_>,
    (is_id, formats): (bool, &Formats),
) -> Result<(), XlsxError> {
    match cell {
        Cell::Text(text) if is_id => worksheet.write_string_with_format(row, column, *text, &formats.text),
        Cell::Text(text) => worksheet.write_string(row, column, *text),
        Cell::Number(number) => worksheet.write_number(row, column, *number),
        Cell::Truth(truth) => worksheet.write_boolean(row, column, *truth),
        Cell::Duration(days) => worksheet.write_number_with_format(row, column, *days, &formats.duration),
        Cell::Time(text) => {
            let format = match text.len() {
                10 => &formats.date,
                8 | 12 => &formats.clock,
                _ => &formats.both,
            };
            match ExcelDateTime::parse_from_str(text) {
                Ok(time) => worksheet.write_datetime_with_format(row, column, &time, format),
                // Before 1900.
                Err(_) => worksheet.write_string(row, column, *text),
            }
        }
    }
    .map(drop)
}

fn write_summary(
    worksheet: &mut Worksheet,
    summary: &Summary,
    (other_name, formats): (&str, &Formats),
) -> Result<(), XlsxError> {
    // Names of sheets differ in more than case.
    let is_taken = |name: &&str| name.to_lowercase() == other_name.to_lowercase();
    let names: Vec<&str> =
        [summary.name, "nabar", "nabar 2"].into_iter().filter(|name| !is_taken(name)).collect();
    name(worksheet, &names);
    worksheet.set_column_width(0, WIDTHS[1] as f64)?.set_column_width(1, 14)?;
    for (row, (text, number)) in (0..).zip(&summary.rows) {
        match number {
            Some(number) => worksheet.write_string(row, 0, text)?.write_number(row, 1, *number as f64)?,
            None => worksheet.write_string_with_format(row, 0, text, &formats.bold)?,
        };
    }
    Ok(())
}
