//! The rows of a list: where each ends, and where its identity is.
//!
//! A list is never taken apart more than that: whatever else a row holds passes through as it is, in
//! whatever encoding. A line ends with LF, CR LF, CR CR LF or CR. The rules for quotation marks are those of RFC
//! 4180, and beyond it such that one bad row never takes the next ones with it (`docs/lists.md` has them all):
//!
//! - a quotation mark opens a quoted cell only as the cell's first byte; elsewhere it is text;
//! - a closing one that no delimiter, line end or end of the list follows makes the rest of the cell
//!   text, if the cell has no line end in it;
//! - otherwise, or if a quoted cell does not end within [`ROW_BYTES_MAX`], or if the row's first line and another one
//!   both have an identity where rows have theirs, the row is its first line, and is rejected (`bad_quoting`).

use crate::identities::{Country, Identity, Rejection, Today};
use crate::limits::ROW_BYTES_MAX;
#[cfg(doc)]
use crate::limits::ROW_LOOKAHEAD_BYTES;
use memchr::{memchr, memchr2, memchr3};
use std::ops::Range;

/// Where in a row the identity stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Cells between delimiters.
    Delimited {
        /// The delimiter; `None` for a list of one column.
        delimiter: Option<u8>,
        /// The identity's column, from 0.
        column: usize,
    },
    /// Bytes at fixed places.
    Fixed {
        /// First byte, from 0.
        offset: usize,
        /// Number of bytes.
        length: usize,
    },
}

impl Layout {
    /// The byte that may make a row more than its line.
    pub(super) fn quote(&self) -> Option<u8> {
        matches!(self, Layout::Delimited { .. }).then_some(b'"')
    }

    /// Twelve bytes that are the identity's cell of the row at `start`, unless there is something among them that is no
    /// digit. `None` where cells are elsewhere or end otherwise.
    #[inline(always)]
    pub(super) fn twelve<'a>(&self, bytes: &'a [u8], start: usize) -> Option<&'a [u8; 12]> {
        let Layout::Delimited { delimiter, column: 0 } = *self else { return None };
        let end = delimiter.unwrap_or(b'\n');
        let (twelve, behind) = bytes[start..].split_first_chunk()?;
        (*behind.first()? == end && !end.is_ascii_digit()).then_some(twelve)
    }

    /// The bytes of the identity in a row that is a line without quotation marks, or with such as mean nothing.
    #[inline(always)]
    pub(super) fn plain_cell(&self, bytes: &[u8], line: Range<usize>) -> Result<Range<usize>, RowProblem> {
        match *self {
            Layout::Delimited { delimiter, column } => plain_cell(bytes, line, delimiter, column),
            Layout::Fixed { offset, length } => fixed_cell(text_of(bytes, &line), offset, length),
        }
    }
}

/// How the rows of a list are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowRules {
    /// Where in a row the identity stands.
    pub(super) layout: Layout,
    /// Whose identity numbers the list has.
    pub(super) country: Country,
    /// The day that tells the century of numbers with ten digits.
    pub(super) today: Today,
}

impl RowRules {
    /// The identity that a cell holds.
    #[inline(always)]
    pub(super) fn identity(&self, cell: &[u8]) -> Result<Identity, Rejection> {
        Identity::parse(cell, self.country, self.today)
    }

    /// Whether one of some lines has an identity where rows have theirs: then it is a row.
    fn any_is_row(&self, bytes: &[u8], lines: Range<usize>) -> bool {
        let mut at = lines.start;
        while at < lines.end {
            let line = at..line_end(bytes, at);
            at = line.end;
            let cell = self.layout.plain_cell(bytes, line).map(|cell| &bytes[cell]);
            let bare = cell.map(|cell| cell.strip_prefix(b"\"").unwrap_or(cell));
            let bare = bare.map(|cell| cell.strip_suffix(b"\"").unwrap_or(cell));
            if bare.is_ok_and(|cell| self.identity(cell).is_ok()) {
                return true;
            }
        }
        false
    }
}

/// Past the end of the line that begins at `start`.
pub(super) fn line_end(bytes: &[u8], start: usize) -> usize {
    match memchr2(b'\n', b'\r', &bytes[start..]) {
        Some(length) => past_line_end(bytes, start + length),
        None => bytes.len(),
    }
}

/// Past a line end, of which `at` is the first byte.
pub(super) fn past_line_end(bytes: &[u8], at: usize) -> usize {
    match &bytes[at..] {
        [b'\r', b'\r', b'\n', ..] => at + 3,
        [b'\r', b'\n', ..] => at + 2,
        _ => at + 1,
    }
}

/// Why a row is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowProblem {
    /// Its identity is none.
    Identity(Rejection),
    /// It ends before the identity's column.
    MissingColumn,
    /// It has a quoted cell that does not end as one.
    BadQuoting,
    /// It has an identity, and signs that it is the rows of several persons.
    JoinedRows,
    /// It holds another identity, and such rows are refused.
    MoreThanOneIdentity,
    /// It has nothing but delimiters, quotation marks and white space.
    BlankRow,
    /// It is the header again.
    RepeatedHeader,
    /// It is the end of a report, such as a row of totals.
    Footer,
}

/// Those that are not about the identity, in the order of their numbers.
const OF_ROWS: [RowProblem; 7] = [
    RowProblem::MissingColumn,
    RowProblem::BadQuoting,
    RowProblem::JoinedRows,
    RowProblem::MoreThanOneIdentity,
    RowProblem::BlankRow,
    RowProblem::RepeatedHeader,
    RowProblem::Footer,
];

impl RowProblem {
    /// Number of different problems.
    pub(crate) const COUNT: usize = Rejection::ALL.len() + OF_ROWS.len();

    /// All of them, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = RowProblem> {
        Rejection::ALL.into_iter().map(RowProblem::Identity).chain(OF_ROWS)
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            RowProblem::Identity(rejection) => rejection as u16,
            other => {
                let place = OF_ROWS.iter().position(|problem| *problem == other).unwrap_or(0);
                (Rejection::ALL.len() + place) as u16
            }
        }
    }

    /// Whether the row plainly is no letter. Limits of rejected rows leave it out.
    pub const fn is_no_letter(self) -> bool {
        matches!(self, RowProblem::BlankRow | RowProblem::RepeatedHeader | RowProblem::Footer)
    }

    /// The name in reports and feedback.
    pub const fn name(self) -> &'static str {
        match self {
            RowProblem::Identity(rejection) => rejection.name(),
            RowProblem::MissingColumn => "missing_column",
            RowProblem::BadQuoting => "bad_quoting",
            RowProblem::JoinedRows => "joined_rows",
            RowProblem::MoreThanOneIdentity => "more_than_one_identity",
            RowProblem::BlankRow => "blank_row",
            RowProblem::RepeatedHeader => "repeated_header",
            RowProblem::Footer => "footer",
        }
    }
}

/// A row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Past the row's last byte, its line end included.
    pub(crate) end: usize,
    /// The bytes of the identity, without quotation marks around them.
    pub(crate) id: Result<Range<usize>, RowProblem>,
}

/// Finds rows one after another.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    rules: &'a RowRules,
    /// Quotation marks are known up to here.
    known: usize,
    /// The first of them from the last row on, or `known`.
    next_quote: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner for rows of `bytes`, most of which begin in `start..until`.
    ///
    /// `bytes` reach [`ROW_LOOKAHEAD_BYTES`] beyond the beginning of each row that is asked for, or to the end of the list.
    pub(crate) fn new(bytes: &'a [u8], rules: &'a RowRules, start: usize, until: usize) -> Scanner<'a> {
        let known = match rules.layout {
            Layout::Delimited { .. } => until.min(bytes.len()),
            Layout::Fixed { .. } => usize::MAX, // quotation marks mean nothing
        };
        let mut scanner = Scanner { bytes, rules, known, next_quote: known };
        scanner.find_quote(start);
        scanner
    }

    fn find_quote(&mut self, from: usize) {
        let ahead = self.bytes.get(from..self.known).unwrap_or_default();
        self.next_quote = memchr(b'"', ahead).map_or(self.known, |at| from + at);
    }

    /// Whether there is a quotation mark in a line. Lines are asked for in ascending order.
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

    /// The row that begins at `start`, which is below the length of the bytes and not before the last
    /// row asked for.
    #[inline(always)]
    pub(crate) fn row_at(&mut self, start: usize) -> Row {
        let bytes = self.bytes;
        let line = start..line_end(bytes, start);
        let rules = self.rules;
        match rules.layout {
            Layout::Delimited { delimiter, column } if self.has_quote(&line) => {
                quoted_row(bytes, line, delimiter, column, rules)
            }
            _ => Row { end: line.end, id: rules.layout.plain_cell(bytes, line) },
        }
    }
}

/// The bytes of an identity at fixed places in a line.
fn fixed_cell(text: Range<usize>, offset: usize, length: usize) -> Result<Range<usize>, RowProblem> {
    match text.len() {
        0 => Err(RowProblem::Identity(Rejection::Empty)),
        bytes if bytes <= offset => Err(RowProblem::MissingColumn),
        bytes => Ok(text.start + offset..text.start + bytes.min(offset + length)),
    }
}

/// A line without its line end: LF, CR LF, CR CR LF or CR.
#[inline(always)]
fn text_of(bytes: &[u8], line: &Range<usize>) -> Range<usize> {
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
) -> Row {
    let mut cells = Cells::new(bytes, line.clone(), delimiter);
    let mut id = Err(RowProblem::MissingColumn);
    for number in 0.. {
        match cells.next() {
            Some(Ok(cell)) if number == column => id = Ok(cell),
            Some(Ok(_)) => {}
            Some(Err(BadQuoting)) => return Row { end: line.end, id: Err(RowProblem::BadQuoting) },
            None => break,
        }
    }
    let is_several = cells.at > line.end
        && rules.any_is_row(bytes, line.clone())
        && rules.any_is_row(bytes, line.end..cells.at);
    if is_several {
        return Row { end: line.end, id: Err(RowProblem::BadQuoting) };
    }
    Row { end: cells.at, id }
}

/// A quoted cell that does not end as one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadQuoting;

/// The cells of one row, quoted or not, without the quotation marks around them.
pub(super) struct Cells<'a> {
    bytes: &'a [u8],
    /// Where the next cell begins; after the last one, past the row's line end.
    at: usize,
    /// How far a quoted cell may reach.
    limit: usize,
    delimiter: Option<u8>,
    done: bool,
}

impl<'a> Cells<'a> {
    /// The cells of the row that begins with a line.
    pub(super) fn new(bytes: &'a [u8], line: Range<usize>, delimiter: Option<u8>) -> Cells<'a> {
        let limit = bytes.len().min(line.start + ROW_BYTES_MAX).max(line.end);
        Cells { bytes, at: line.start, limit, delimiter, done: false }
    }

    /// Past the row's last byte, once all cells have been read.
    pub(super) fn end(&self) -> usize {
        self.at
    }

    fn quoted(&mut self, opening: usize) -> Result<Range<usize>, BadQuoting> {
        let mut search = opening + 1;
        loop {
            // A doubled mark may have led past the limit.
            let ahead = self.bytes.get(search..self.limit).ok_or(BadQuoting)?;
            let closing = memchr(b'"', ahead).ok_or(BadQuoting)? + search;
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
                // Text after a closing quotation mark: the cell is plain after all.
                Some(_) if memchr2(b'\n', b'\r', &self.bytes[opening..closing]).is_none() => {
                    return Ok(self.plain(opening, closing));
                }
                Some(_) => return Err(BadQuoting),
            }
        }
    }

    /// A cell that begins at `start` and ends at the first delimiter or line end after `from`.
    fn plain(&mut self, start: usize, from: usize) -> Range<usize> {
        let rest = &self.bytes[from..];
        let found = match self.delimiter {
            Some(delimiter) => memchr3(delimiter, b'\n', b'\r', rest),
            None => memchr2(b'\n', b'\r', rest),
        };
        let Some(length) = found else {
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
            Some(b'"') => self.quoted(start),
            _ => Ok(self.plain(start, start)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(layout: Layout) -> RowRules {
        RowRules { layout, country: Country::Sweden, today: Today::new(2026, 6, 1).expect("a day") }
    }

    fn rows(list: &str, column: usize) -> Vec<(&str, Result<&str, &'static str>)> {
        let rules = rules(Layout::Delimited { delimiter: Some(b';'), column });
        // Whatever is known of quotation marks beforehand, the rows are the same.
        let of = |known: usize| {
            let mut scanner = Scanner::new(list.as_bytes(), &rules, 0, known);
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
    fn twelve_bytes_are_a_cell_where_one_ends_behind_them() {
        let delimited = |delimiter, column| Layout::Delimited { delimiter, column };
        let twelve = |layout: Layout, bytes: &'static [u8]| layout.twelve(bytes, 2).map(|twelve| &twelve[..]);
        let list = b"x\n199001022384;name\n";
        assert_eq!(twelve(delimited(Some(b';'), 0), list), Some(&b"199001022384"[..]));
        assert_eq!(twelve(delimited(Some(b';'), 1), list), None, "it is elsewhere");
        assert_eq!(twelve(delimited(None, 0), list), None, "the cell goes on");
        assert_eq!(twelve(delimited(None, 0), b"x\n199001022384\n"), Some(&b"199001022384"[..]));
        assert_eq!(twelve(delimited(Some(b';'), 0), b"x\n199001022384"), None, "nothing is behind it");
        assert_eq!(
            twelve(delimited(Some(b'4'), 0), b"x\n1990010223844x"),
            None,
            "a cell may end among digits"
        );
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

    /// Closed by a mark of a later row: that row would travel in the first one's.
    #[test]
    fn a_quoted_cell_does_not_swallow_rows() {
        let (a, b) = ("196810199809", "195904109807");
        let list = format!("{a};\"Kalle;x\n{b};Bo 5\";y\n");
        let read = rows(&list, 0);
        assert_eq!(read.iter().map(|row| row.1).collect::<Vec<_>>(), [Err("bad_quoting"), Ok(b)]);
        let list = format!("x;\"{a}\";\"Kalle\ry;\"\"{b}\"\";z\"\n");
        assert_eq!(rows(&list, 1)[0].1, Err("bad_quoting"), "also with doubled marks around it");
        let list = format!("{a};\"c/o\nStorgatan {b};\"\n");
        assert_eq!(rows(&list, 0).len(), 1, "not where rows have theirs");
        // A cell with a line end before the identity: the first line is no row.
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
    fn fixed_places() {
        let rules = rules(Layout::Fixed { offset: 2, length: 3 });
        let list = b"xx123yy\nxx12\r\nx\n\n\"x456";
        let mut scanner = Scanner::new(list, &rules, 0, list.len());
        let (mut at, mut ids) = (0, Vec::new());
        while at < list.len() {
            let row = scanner.row_at(at);
            ids.push(row.id.map(|id| &list[id]).map_err(RowProblem::name));
            at = row.end;
        }
        assert_eq!(ids, [Ok(&b"123"[..]), Ok(b"12"), Err("missing_column"), Err("empty"), Ok(b"456")]);
    }

    proptest! {
        /// On what RFC 4180 defines, the rows are those of the csv crate.
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
        fn any_bytes_are_rows(list in "[0-9a;\"\r\n]{0,80}", column in 0..3usize) {
            let read = rows(&list, column);
            prop_assert_eq!(read.iter().map(|row| row.0).collect::<String>(), list);
        }
    }
}
