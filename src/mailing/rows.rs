//! The rows of a list: where each ends, and where its identity is.
//!
//! Nothing else of a row is parsed: its bytes pass through unchanged, in any encoding. A line ends with LF, CR LF,
//! CR CR LF or CR. The rules for quotation marks are those of RFC 4180, extended so that a bad row never swallows the
//! rows after it (`docs/lists.md` has the complete rules):
//!
//! - a quotation mark opens a quoted cell only as the cell's first byte; elsewhere it is text;
//! - if neither a delimiter, a line end nor the end of the list follows a closing mark, the rest of the cell is text,
//!   provided that the cell has no line end;
//! - otherwise, or if a quoted cell does not end within [`ROW_BYTES_MAX`], or if the row's first line and a later one
//!   both have an identity in the identity's column, the row is its first line, and is rejected (`bad_quoting`).

use super::cells::{BadQuoting, Cells, QuoteChain};
pub(super) use super::cells::{line_end, past_line_end};
use super::id_numbers::IdNumbers;
use super::names;
use super::well_formed::cell_of_well_formed_line;
use crate::identities::{Identity, Rejection};
#[cfg(doc)]
use crate::limits::{ROW_BYTES_MAX, ROW_LOOKAHEAD_BYTES};
use memchr::memchr;
use std::ops::Range;

/// Where in a row the identity is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Cells between delimiters.
    Delimited {
        /// The delimiter; `None` for a list of one column.
        delimiter: Option<u8>,
        /// The identity's column, from 0.
        column: usize,
    },
    /// Bytes at a fixed offset.
    Fixed {
        /// First byte, from 0.
        offset: usize,
        /// Number of bytes.
        length: usize,
    },
}

impl Layout {
    /// The byte that may extend a row beyond its line.
    pub(super) fn quote(&self) -> Option<u8> {
        matches!(self, Layout::Delimited { .. }).then_some(b'"')
    }

    /// The byte that ends the cell of the identity, if that is the first cell of a row.
    pub(super) fn first_cell_end(&self) -> Option<u8> {
        match *self {
            Layout::Delimited { delimiter, column: 0 } => {
                Some(delimiter.unwrap_or(b'\n')).filter(|end| !end.is_ascii_digit())
            }
            Layout::Delimited { .. } | Layout::Fixed { .. } => None,
        }
    }

    /// The bytes of the identity in a row that is one line, with all quotation marks taken as text.
    #[inline(always)]
    pub(super) fn plain_cell(&self, bytes: &[u8], line: Range<usize>) -> Result<Range<usize>, RowProblem> {
        match *self {
            Layout::Delimited { delimiter, column } => plain_cell(bytes, line, delimiter, column),
            Layout::Fixed { offset, length } => fixed_cell(text_of(bytes, &line), offset, length),
        }
    }
}

/// The first twelve bytes of the row at `start`, if the byte `end` follows them. If all twelve are digits, they are its
/// first cell.
#[inline(always)]
pub(super) fn twelve_before(end: u8, bytes: &[u8], start: usize) -> Option<&[u8; 12]> {
    let (twelve, rest) = bytes[start..].split_first_chunk()?;
    (*rest.first()? == end).then_some(twelve)
}

/// Cells of rows that lines within a text hardly ever have.
const MANY_COLUMNS: usize = 4;

/// How the rows of a list are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowRules {
    /// Where in a row the identity is.
    pub(super) layout: Layout,
    /// Cells that most rows have; 0 if that is unknown, and of fixed width.
    pub(super) columns: usize,
    /// The identity numbers of the list.
    pub(super) ids: IdNumbers,
    /// Whether every quotation mark is closed where it should be: in rows of a sheet, which nabar has written.
    pub(super) is_sheet: bool,
}

impl RowRules {
    /// The identity that a cell holds.
    #[inline(always)]
    pub(super) fn identity(&self, cell: &[u8]) -> Result<Identity, Rejection> {
        self.ids.identity(cell)
    }

    /// Whether a line has the cells of a row: as many as most rows.
    fn has_cells_of_row(&self, bytes: &[u8], line: Range<usize>) -> bool {
        let Layout::Delimited { delimiter: Some(delimiter), .. } = self.layout else { return false };
        self.columns > 1 && memchr::memchr_iter(delimiter, &bytes[line]).count() + 1 == self.columns
    }

    /// Whether a quotation mark seems never to have been closed in a row of several lines: the first line and a later one
    /// may be rows. Both have an identity, not the same one, where rows have theirs; or both have the cells of a row, one has an
    /// identity, and these cells are many or the other one's identity cannot be read or is withheld.
    fn is_several(&self, bytes: &[u8], line: Range<usize>, rest: Range<usize>) -> bool {
        let identity = |line: &Range<usize>| {
            self.bare_cell(bytes, line.clone()).and_then(|cell| self.identity(cell).ok())
        };
        let may_be_row = |line: &Range<usize>| {
            let seems_unreadable = |cell: &[u8]| names::ends_unreadable(&String::from_utf8_lossy(cell));
            self.has_cells_of_row(bytes, line.clone())
                && (self.columns >= MANY_COLUMNS
                    || self.bare_cell(bytes, line.clone()).is_some_and(seems_unreadable))
        };
        let (own, may_be) = (identity(&line), may_be_row(&line));
        let has_cells = self.has_cells_of_row(bytes, line);
        let mut at = rest.start;
        while at < rest.end {
            let next = at..line_end(bytes, at);
            at = next.end;
            let other = identity(&next);
            let is_row = match (&own, &other) {
                (Some(own), Some(other)) => own != other,
                (Some(_), None) => has_cells && may_be_row(&next),
                (None, Some(_)) => may_be && self.has_cells_of_row(bytes, next),
                (None, None) => false,
            };
            if is_row {
                return true;
            }
        }
        false
    }

    /// The identity's cell of a line that is split at its delimiters, without a quotation mark at either end.
    fn bare_cell<'a>(&self, bytes: &'a [u8], line: Range<usize>) -> Option<&'a [u8]> {
        let cell = &bytes[self.layout.plain_cell(bytes, line).ok()?];
        let cell = cell.strip_prefix(b"\"").unwrap_or(cell);
        Some(cell.strip_suffix(b"\"").unwrap_or(cell))
    }
}

/// Why a row is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowProblem {
    /// The identity is invalid.
    Identity(Rejection),
    /// The row ends before the identity's column.
    MissingColumn,
    /// The row has a quoted cell that does not end properly.
    BadQuoting,
    /// The row has another identity, and signs that it is several rows joined.
    JoinedRows,
    /// The row has more than the list has columns, as if it were several rows joined.
    ExtraCells,
    /// The row has fewer or more cells than the others, so that another person's identity may be in its identity's column.
    ShiftedCells,
    /// The row has another identity, and the job rejects such rows.
    MoreThanOneIdentity,
    /// The row has nothing but delimiters, quotation marks and white space.
    BlankRow,
    /// The row repeats the header.
    RepeatedHeader,
    /// The row is the end of a report, such as a row of totals.
    Footer,
    /// The row has titles of the list in other columns than the header.
    OtherHeader,
    /// Nothing of a letter of a print run may have its id.
    NoId,
    /// A letter of a print run has a record of a type that its description does not name.
    UnknownRecord,
    /// A letter of a print run has bytes, characters or references that its encoding does not have.
    BadText,
    /// The official register was asked for the identity and refused it.
    RefusedByRegister,
}

/// The problems that a row shows and that are not about the identity, in the order of their numbers.
const ROW_PROBLEMS: [RowProblem; 13] = [
    RowProblem::MissingColumn,
    RowProblem::BadQuoting,
    RowProblem::JoinedRows,
    RowProblem::ExtraCells,
    RowProblem::ShiftedCells,
    RowProblem::MoreThanOneIdentity,
    RowProblem::BlankRow,
    RowProblem::RepeatedHeader,
    RowProblem::Footer,
    RowProblem::OtherHeader,
    RowProblem::NoId,
    RowProblem::UnknownRecord,
    RowProblem::BadText,
];

impl RowProblem {
    /// Number of different problems that a row shows.
    pub(crate) const COUNT: usize = Rejection::ALL.len() + ROW_PROBLEMS.len();

    /// All problems.
    pub fn all() -> impl Iterator<Item = RowProblem> {
        RowProblem::shown().chain([RowProblem::RefusedByRegister])
    }

    /// The problems that a row shows, in the order of their numbers. Whether the register refuses an identity is one of its
    /// answers.
    pub(crate) fn shown() -> impl Iterator<Item = RowProblem> {
        Rejection::ALL.into_iter().map(RowProblem::Identity).chain(ROW_PROBLEMS)
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            RowProblem::Identity(rejection) => rejection as u16,
            other => {
                let index = ROW_PROBLEMS.iter().position(|problem| *problem == other).unwrap_or(0);
                (Rejection::ALL.len() + index) as u16
            }
        }
    }

    /// Whether the row is clearly not a letter. Limits of rejected rows do not count such rows.
    pub const fn is_not_a_letter(self) -> bool {
        matches!(self, RowProblem::BlankRow | RowProblem::RepeatedHeader | RowProblem::Footer)
    }

    /// The name in reports and feedback.
    pub const fn name(self) -> &'static str {
        match self {
            RowProblem::Identity(rejection) => rejection.name(),
            RowProblem::MissingColumn => "missing_column",
            RowProblem::BadQuoting => "bad_quoting",
            RowProblem::JoinedRows => "joined_rows",
            RowProblem::ExtraCells => "extra_cells",
            RowProblem::ShiftedCells => "shifted_cells",
            RowProblem::MoreThanOneIdentity => "more_than_one_identity",
            RowProblem::BlankRow => "blank_row",
            RowProblem::RepeatedHeader => "repeated_header",
            RowProblem::Footer => "footer",
            RowProblem::OtherHeader => "other_header",
            RowProblem::NoId => "no_id",
            RowProblem::UnknownRecord => "unknown_record",
            RowProblem::BadText => "bad_text",
            RowProblem::RefusedByRegister => "refused_by_register",
        }
    }
}

/// A row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScannedRow {
    /// The end of the row, after its line end.
    pub(super) end: usize,
    /// The cell of the identity, without quotation marks around it.
    pub(super) id: Result<Range<usize>, RowProblem>,
    /// Its cells, if they were counted.
    pub(super) cells: Option<usize>,
}

/// Finds rows, one after another.
pub(super) struct RowScanner<'a> {
    bytes: &'a [u8],
    rules: &'a RowRules,
    /// End of the bytes in which quotation marks are searched for in advance.
    known: usize,
    /// The first quotation mark from the last row on, or `known`.
    next_quote: usize,
    chain: QuoteChain,
}

impl<'a> RowScanner<'a> {
    /// A scanner for rows of `bytes`, most of which begin in `start..until`.
    ///
    /// `bytes` extend [`ROW_LOOKAHEAD_BYTES`] beyond the beginning of each scanned row, or to the end of the list.
    pub(super) fn new(bytes: &'a [u8], rules: &'a RowRules, start: usize, until: usize) -> RowScanner<'a> {
        let known = match rules.layout {
            Layout::Delimited { .. } => until.min(bytes.len()),
            Layout::Fixed { .. } => usize::MAX, // quotation marks are text
        };
        let mut scanner = RowScanner { bytes, rules, known, next_quote: known, chain: QuoteChain::default() };
        scanner.find_quote(start);
        scanner
    }

    fn find_quote(&mut self, from: usize) {
        let ahead = self.bytes.get(from..self.known).unwrap_or_default();
        self.next_quote = memchr(b'"', ahead).map_or(self.known, |at| from + at);
    }

    /// Whether a line has a quotation mark. Called for lines in ascending order.
    #[inline(always)]
    fn has_quote(&mut self, line: &Range<usize>) -> bool {
        if line.end <= self.next_quote {
            return false;
        }
        if self.next_quote < line.start {
            self.find_quote(line.start);
            if line.end <= self.next_quote {
                return false;
            }
        }
        line.end <= self.known || memchr(b'"', &self.bytes[line.clone()]).is_some()
    }

    /// The row that begins at `start`, which is below the length of the bytes and not before the last scanned row.
    #[inline(always)]
    pub(super) fn row_at(&mut self, start: usize) -> ScannedRow {
        let bytes = self.bytes;
        let line = start..line_end(bytes, start);
        let rules = self.rules;
        match rules.layout {
            Layout::Delimited { delimiter, column } if self.has_quote(&line) => {
                quoted_row(bytes, line, delimiter, column, rules, &mut self.chain)
            }
            _ => ScannedRow { end: line.end, id: rules.layout.plain_cell(bytes, line), cells: None },
        }
    }
}

/// The bytes of an identity at a fixed offset in a line.
fn fixed_cell(text: Range<usize>, offset: usize, length: usize) -> Result<Range<usize>, RowProblem> {
    match text.len() {
        0 => Err(RowProblem::Identity(Rejection::Empty)),
        bytes if bytes <= offset => Err(RowProblem::MissingColumn),
        bytes => Ok(text.start + offset..text.start + bytes.min(offset + length)),
    }
}

/// A line without its line end: LF, CR LF, CR CR LF or CR.
#[inline(always)]
pub(super) fn text_of(bytes: &[u8], line: &Range<usize>) -> Range<usize> {
    let ends_with = |end: usize, byte: u8| end > line.start && bytes[end - 1] == byte;
    let mut end = line.end;
    if ends_with(end, b'\n') {
        end -= 1;
        if ends_with(end, b'\r') {
            end -= 1;
            end -= usize::from(ends_with(end, b'\r'));
        }
    } else if ends_with(end, b'\r') {
        end -= 1;
    }
    line.start..end
}

/// The cell of a column in a line without quotation marks.
#[inline(always)]
fn plain_cell(
    bytes: &[u8],
    line: Range<usize>,
    delimiter: Option<u8>,
    column: usize,
) -> Result<Range<usize>, RowProblem> {
    let text = text_of(bytes, &line);
    let Some(delimiter) = delimiter else { return Ok(text) };
    let mut start = text.start;
    for _ in 0..column {
        match memchr(delimiter, &bytes[start..text.end]) {
            Some(length) => start += length + 1,
            None if bytes[text].trim_ascii().is_empty() => {
                return Err(RowProblem::Identity(Rejection::Empty));
            }
            None => return Err(RowProblem::MissingColumn),
        }
    }
    let length = memchr(delimiter, &bytes[start..text.end]).unwrap_or(text.end - start);
    Ok(start..start + length)
}

/// The cell of a column of a row.
pub(super) fn cell_of_row(
    bytes: &[u8],
    row: Range<usize>,
    layout: &Layout,
    column: usize,
) -> Result<Range<usize>, RowProblem> {
    let Layout::Delimited { delimiter, .. } = *layout else { return Err(RowProblem::MissingColumn) };
    let cell = Cells::new(bytes, row, delimiter).nth(column).ok_or(RowProblem::MissingColumn)?;
    cell.map_err(|BadQuoting| RowProblem::BadQuoting)
}

/// A row with quotation marks in its first line.
#[inline(never)]
fn quoted_row(
    bytes: &[u8],
    line: Range<usize>,
    delimiter: Option<u8>,
    column: usize,
    rules: &RowRules,
    chain: &mut QuoteChain,
) -> ScannedRow {
    if let Some(delimiter) = delimiter
        && let Some((cell, cells)) = cell_of_well_formed_line(bytes, text_of(bytes, &line), delimiter, column)
    {
        return ScannedRow { end: line.end, id: Ok(cell), cells: Some(cells) };
    }
    let bad = ScannedRow { end: line.end, id: Err(RowProblem::BadQuoting), cells: None };
    let (mut id, mut cells) = (Err(RowProblem::MissingColumn), 0);
    let end = chain.end_of_row(bytes, line.clone(), delimiter, |number, cell| {
        cells = number + 1;
        if number == column {
            id = Ok(cell);
        }
    });
    let Ok(end) = end else { return bad };
    if end > line.end && !rules.is_sheet && rules.is_several(bytes, line.clone(), line.end..end) {
        return bad;
    }
    ScannedRow { end, id, cells: Some(cells) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identities::{Country, Today};
    use crate::limits::ROW_BYTES_MAX;
    use proptest::prelude::*;

    fn rules(layout: Layout) -> RowRules {
        RowRules {
            layout,
            columns: 0,
            ids: IdNumbers {
                country: Country::Sweden,
                other: None,
                today: Today::new(2026, 6, 1).expect("a day"),
            },
            is_sheet: false,
        }
    }

    fn rows(list: &str, column: usize) -> Vec<(&str, Result<&str, &'static str>)> {
        let rules = rules(Layout::Delimited { delimiter: Some(b';'), column });
        // The rows do not depend on how far quotation marks are searched for in advance.
        let of = |known: usize| {
            let mut scanner = RowScanner::new(list.as_bytes(), &rules, 0, known);
            let (mut at, mut rows) = (0, Vec::new());
            while at < list.len() {
                let row = scanner.row_at(at);
                rows.push((&list[at..row.end], row.id.map(|id| &list[id]).map_err(RowProblem::name)));
                at = row.end;
            }
            rows
        };
        let rows = of(list.len());
        for known in [0, list.len() / 3, list.len() / 2] {
            assert_eq!(of(known), rows);
        }
        rows
    }

    #[test]
    fn rows_and_cells() {
        assert_eq!(rows("1;a\n2;b\r\n3;c", 0), [("1;a\n", Ok("1")), ("2;b\r\n", Ok("2")), ("3;c", Ok("3"))]);
        assert_eq!(
            rows("a;1\nb\n\n;\n", 1)[1..],
            [("b\n", Err("missing_column")), ("\n", Err("empty")), (";\n", Ok("")),]
        );
        assert_eq!(
            rows("1;\"a;b\nc\";x\n\"2\";b\n", 0),
            [("1;\"a;b\nc\";x\n", Ok("1")), ("\"2\";b\n", Ok("2"))]
        );
        assert_eq!(
            rows("\"a \"\"b\"\" c\";7\r\nx;\"8\"\r\n", 1)[..2],
            [("\"a \"\"b\"\" c\";7\r\n", Ok("7")), ("x;\"8\"\r\n", Ok("8")),]
        );
    }

    #[test]
    fn twelve_bytes_are_a_cell_if_it_ends_after_them() {
        let delimited = |delimiter, column| Layout::Delimited { delimiter, column };
        let twelve = |layout: Layout, bytes: &'static [u8]| {
            layout.first_cell_end().and_then(|end| twelve_before(end, bytes, 2)).map(|twelve| &twelve[..])
        };
        let list = b"x\n199001022384;name\n";
        assert_eq!(twelve(delimited(Some(b';'), 0), list), Some(&b"199001022384"[..]));
        assert_eq!(twelve(delimited(Some(b';'), 1), list), None, "another column");
        assert_eq!(twelve(delimited(None, 0), list), None, "the cell is longer");
        assert_eq!(twelve(delimited(None, 0), b"x\n199001022384\n"), Some(&b"199001022384"[..]));
        assert_eq!(twelve(delimited(Some(b';'), 0), b"x\n199001022384"), None, "no delimiter after it");
        assert_eq!(twelve(delimited(Some(b'4'), 0), b"x\n1990010223844x"), None, "a digit as delimiter");
        assert_eq!(twelve(Layout::Fixed { offset: 0, length: 12 }, list), None);
    }

    #[test]
    fn stray_quotation_marks_stay_in_their_row() {
        assert_eq!(rows("1;5\" pipe\n2;b\n", 0), [("1;5\" pipe\n", Ok("1")), ("2;b\n", Ok("2"))]);
        assert_eq!(rows("1;\"Kalle\" S;x\n2;b\n", 0)[0], ("1;\"Kalle\" S;x\n", Ok("1")));
        // Never closed; closed in the next row by a mark that opens a cell; closed by one in its middle.
        assert_eq!(rows("1;\"Kalle\n2;b\n", 0), [("1;\"Kalle\n", Err("bad_quoting")), ("2;b\n", Ok("2"))]);
        assert_eq!(
            rows("1;\"Kalle\n2;\"b\"\n", 0),
            [("1;\"Kalle\n", Err("bad_quoting")), ("2;\"b\"\n", Ok("2"))]
        );
        assert_eq!(
            rows("1;\"Kalle\n2;b\"c\n", 0),
            [("1;\"Kalle\n", Err("bad_quoting")), ("2;b\"c\n", Ok("2"))]
        );
    }

    #[test]
    fn a_carriage_return_ends_a_row_unless_it_is_quoted() {
        let read = rows("1;a\r2;b\r\n3;c\r\r\n\r\n4;d\n5;\"e\rf\"\r6;\"g\"\r\r\n7\r", 0);
        let ids: Vec<_> = read.iter().map(|(_, id)| *id).collect();
        assert_eq!(ids, [Ok("1"), Ok("2"), Ok("3"), Ok(""), Ok("4"), Ok("5"), Ok("6"), Ok("7")]);
        assert_eq!([read[0].0, read[2].0, read[5].0], ["1;a\r", "3;c\r\r\n", "5;\"e\rf\"\r"]);
        assert_eq!(rows("x;1\ry;2\r\n", 1)[0], ("x;1\r", Ok("1")), "it is not part of the cell");
        let read = rows("1;\"a\r2\"x\n", 0);
        assert_eq!(read, [("1;\"a\r", Err("bad_quoting")), ("2\"x\n", Ok("2\"x"))]);
    }

    /// A quotation mark of a later row must not join that row to the first one.
    #[test]
    fn a_quoted_cell_does_not_swallow_rows() {
        let (a, b) = ("196810199809", "195904109807");
        let list = format!("{a};\"Kalle;x\n{b};Bo 5\";y\n");
        let read = rows(&list, 0);
        assert_eq!(read.iter().map(|row| row.1).collect::<Vec<_>>(), [Err("bad_quoting"), Ok(b)]);
        let list = format!("x;\"{a}\";\"Kalle\ry;\"\"{b}\"\";z\"\n");
        assert_eq!(rows(&list, 1)[0].1, Err("bad_quoting"), "with doubled marks around it");
        let list = format!("{a};\"c/o\nStorgatan {b};\"\n");
        assert_eq!(rows(&list, 0).len(), 1, "not in the identity's column");
        // A cell with a line end before the identity: the first line is not a row.
        let list = format!("\"Anna\nc/o Bo\";{a};x\n\"Eva\n1;{b}\";{b};y\n");
        assert_eq!(rows(&list, 1).iter().map(|row| row.1).collect::<Vec<_>>(), [Ok(a), Ok(b)]);
    }

    #[test]
    fn a_quoted_cell_ends_within_the_limit() {
        let long = format!("1;\"{}\n\"\n2;b\n", "x".repeat(ROW_BYTES_MAX));
        let read = rows(&long, 0);
        assert_eq!(read[0].1, Err("bad_quoting"));
        assert_eq!(read.last(), Some(&("2;b\n", Ok("2"))));
        // A doubled mark across the limit, and a quoted cell that begins beyond it.
        for more in 0..6 {
            let filled = "x".repeat(ROW_BYTES_MAX - 6 + more);
            for tail in ["\"\"y\n\";z\n", "\";\"y\n\"\n", "\n\";\"\"\"y\"\n"] {
                let list = format!("1;\"{filled}{tail}2;b\n");
                assert_eq!(rows(&list, 0).iter().map(|row| row.0.len()).sum::<usize>(), list.len());
            }
        }
    }

    #[test]
    fn fixed_offsets() {
        let rules = rules(Layout::Fixed { offset: 2, length: 3 });
        let list = b"xx123yy\nxx12\r\nx\n\n\"x456";
        let mut scanner = RowScanner::new(list, &rules, 0, list.len());
        let (mut at, mut ids) = (0, Vec::new());
        while at < list.len() {
            let row = scanner.row_at(at);
            ids.push(row.id.map(|id| &list[id]).map_err(RowProblem::name));
            at = row.end;
        }
        assert_eq!(ids, [Ok(&b"123"[..]), Ok(b"12"), Err("missing_column"), Err("empty"), Ok(b"456")]);
    }

    proptest! {
        /// Lists that conform to RFC 4180 have the rows that the csv crate reads.
        #[test]
        fn well_formed_lists_read_as_the_csv_crate_reads_them(
            cells in proptest::collection::vec(proptest::collection::vec("[a-z;\" \n]{0,6}", 3), 1..20),
            crlf in any::<bool>(), column in 0..3usize
        ) {
            let mut writer = csv::WriterBuilder::new()
                .delimiter(b';')
                .quote_style(csv::QuoteStyle::Always)
                .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
                .from_writer(Vec::new());
            for row in &cells {
                writer.write_record(row).expect("written");
            }
            let list = String::from_utf8(writer.into_inner().expect("flushed")).expect("text");
            let read = rows(&list, column);
            prop_assert_eq!(read.len(), cells.len());
            for ((_, id), row) in read.iter().zip(&cells) {
                let doubled = row[column].replace('"', "\"\"");
                prop_assert_eq!(*id, Ok(doubled.as_str()));
            }
        }

        #[test]
        fn cells_of_well_formed_lines_are_those_of_all_lines(
            cells in proptest::collection::vec("(\"[a;]{0,30}\"|[a\"]{0,3}|a{0,40})", 1..9),
            end in "(\r\n|\n|\r|)", column in 0..9usize, before in 0..3usize,
        ) {
            let line = ["x".repeat(before), cells.join(";"), end.clone()].concat().into_bytes();
            let after = [&line[..], b"more;\"rows\"\n"].concat();
            for (bytes, is_whole) in [(&line, true), (&after, !end.is_empty())] {
                let range = before..line_end(bytes, before);
                if let Some((cell, cells)) = cell_of_well_formed_line(bytes, text_of(bytes, &range), b';', column) {
                    let mut all = Cells::new(bytes, range.clone(), Some(b';'));
                    let expected: Result<Vec<_>, _> = all.by_ref().collect();
                    let expected = expected.expect("well formed");
                    prop_assert_eq!((&expected[column], expected.len()), (&cell, cells));
                    prop_assert!(!is_whole || all.end() == range.end);
                } else if !line[before..].contains(&b'"') {
                    prop_assert!(Cells::new(bytes, range, Some(b';')).nth(column).is_none());
                }
            }
        }

        #[test]
        fn rows_cover_any_bytes(list in "[0-9a;\"\r\n]{0,80}", column in 0..3usize) {
            let read = rows(&list, column);
            prop_assert_eq!(read.iter().map(|row| row.0).collect::<String>(), list);
        }
    }
}
