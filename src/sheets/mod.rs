//! Lists in workbooks: `.xlsx` of Excel and `.ods` of LibreOffice.
//!
//! A sheet is read as rows of text (`read`), which a job splits like any list. The rows of a part become a workbook again
//! (`write`), with the types that the cells had.

#![cfg_attr(not(feature = "workbooks"), allow(dead_code))] // the errors and limits are there all the same

#[cfg(feature = "workbooks")]
mod cells;
#[cfg(feature = "workbooks")]
mod check;
#[cfg(feature = "workbooks")]
mod read;
#[cfg(all(test, feature = "workbooks"))]
mod tests;
#[cfg(feature = "workbooks")]
mod write;

#[cfg(feature = "workbooks")]
pub(crate) use read::Workbook;
#[cfg(feature = "workbooks")]
pub(crate) use write::{Part, Summary, write};

use crate::plain_text::masked;
use std::fmt;

/// Delimiter of the rows that a sheet is read as.
pub(crate) const DELIMITER: u8 = b';';
/// Media type of `.xlsx`.
pub(crate) const XLSX_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// Rows of a sheet, in Excel and LibreOffice.
pub(crate) const ROWS_MAX: u32 = 1 << 20;
/// Columns of a sheet.
const COLUMNS_MAX: u32 = 1 << 14;

/// A sheet as rows of text.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// Its name.
    pub(crate) name: String,
    /// CSV in UTF-8 with a byte order mark: a row for each row of the sheet, also of empty ones, with the same number of cells.
    pub(crate) text: Vec<u8>,
    /// Rows that the workbook hides.
    pub(crate) hidden_rows: u64,
    /// Formulas that no program has calculated: their cells are empty.
    pub(crate) empty_formulas: u64,
    /// What is known of its columns.
    pub(crate) columns: Vec<SheetColumn>,
}

/// A column of a sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SheetColumn {
    /// Characters of its longest text.
    pub(crate) width: usize,
    /// Types of cells that texts in it had, if no text cell looks like one: 1 << [`CellType`].
    types: u8,
    /// Types that text cells look like.
    ambiguous: u8,
}

/// Types of cells that are not texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CellType {
    Number,
    /// Date, time, or both.
    Time,
    /// Hours, which may be more than a day.
    Duration,
    Truth,
}

/// Limits of a workbook, for those of strangers.
#[derive(Clone, Copy, Debug)]
pub struct WorkbookLimits {
    /// Bytes of the file, which is read into memory from a stream; 0 if no workbook is expected.
    pub file_bytes: u64,
    /// Bytes of shared texts, unpacked: up to ten times as much memory is used.
    pub text_bytes: u64,
    /// Bytes of a sheet, unpacked. It is read piece by piece.
    pub sheet_bytes: u64,
    /// Bytes of each other part of the file, unpacked.
    pub other_bytes: u64,
    /// Bytes of the rows as text: twice as much memory is used.
    pub row_bytes: usize,
    /// Whether workbooks of LibreOffice are read, which take up to 30 times as much memory as their file.
    pub ods: bool,
}

/// What Excel writes at most, in practice.
impl Default for WorkbookLimits {
    fn default() -> WorkbookLimits {
        WorkbookLimits {
            file_bytes: 1 << 30,
            text_bytes: 1 << 30,
            sheet_bytes: 8 << 30,
            other_bytes: 64 << 20,
            row_bytes: 1 << 30,
            ods: true,
        }
    }
}

/// A workbook cannot be read. No text of its cells is part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkbookError {
    /// Damaged, or not one of the two forms.
    #[error("the workbook is damaged, or no .xlsx or .ods ({0}): open it and save it again")]
    Damaged(String),
    /// Cells of an `.ods` whose texts would be lost.
    #[error(
        "{0} cells of the sheet have a text and no type, and would be read as empty: open the workbook and save it again"
    )]
    Untyped(u64),
    /// `--sheet` for a list that is in no workbook.
    #[error("the list is in no workbook, and has no sheets: omit --sheet")]
    NotAWorkbook,
    /// Encrypted.
    #[error("the workbook has a password: save it without one")]
    Password,
    /// A part is larger than allowed.
    #[error("{part} of the workbook has more than {limit} MiB: save the sheet as CSV")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// The limit in MiB.
        limit: u64,
    },
    /// A workbook was sent as something else.
    #[error("a workbook is read if it is sent as such: Content-Type: {XLSX_TYPE}")]
    NotAnnounced,
    /// ODS where it is not read.
    #[error("workbooks of LibreOffice (.ods) are read by the command line only: save it as .xlsx or CSV")]
    Ods,
    /// The user has interrupted the job.
    #[error("interrupted")]
    Interrupted,
    /// No sheet of this name.
    #[error("no sheet is named {:?}; the workbook has {}", shown_name(.wanted), Names(.sheets))]
    NoSuchSheet {
        /// The name that was given.
        wanted: String,
        /// The names of all sheets.
        sheets: Vec<String>,
    },
    /// No sheet has ids.
    #[error("no sheet has a column of ids; the workbook has {}: name the sheet with --sheet", Names(.0))]
    NoIds(Vec<String>),
    /// Several sheets have ids.
    #[error("several sheets have ids, {}: name one of them with --sheet", Names(.0))]
    SeveralSheets(Vec<String>),
    /// No sheet at all.
    #[error("the workbook has no sheet with rows")]
    Empty,
    /// A file cannot have so many rows.
    #[error("a part has more rows than a sheet can have, 1 048 576: write CSV with --csv")]
    TooManyRows,
    /// A workbook cannot be written.
    #[error("a workbook cannot be written: {0}")]
    Write(String),
}

impl WorkbookError {
    /// Whether the options of the job are wrong, rather than the workbook.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            WorkbookError::NoSuchSheet { .. }
                | WorkbookError::NotAWorkbook
                | WorkbookError::NoIds(_)
                | WorkbookError::SeveralSheets(_)
                | WorkbookError::TooManyRows
        )
    }

    /// Whether the workbook is refused, rather than the job failed.
    pub fn is_refusal(&self) -> bool {
        !self.is_usage() && !matches!(self, WorkbookError::Write(_) | WorkbookError::Interrupted)
    }
}

/// The name of a sheet in messages and reports: a sheet for each person may be named by their number.
pub(crate) fn shown_name(name: &str) -> String {
    const DIGITS_OF_ID: usize = 9;
    masked(name, DIGITS_OF_ID)
}

/// Names of sheets, for messages.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let plain = |name: &String| format!("{:?}", shown_name(name));
        let shown: Vec<String> = self.0.iter().take(SHOWN).map(plain).collect();
        write!(out, "{}", shown.join(", "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(out, " and {more} more"),
        }
    }
}
