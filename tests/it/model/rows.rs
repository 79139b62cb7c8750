//! The rows of a list, found byte by byte by a plain state machine.

/// Bytes that a row may have, and within which a quoted cell must end.
pub(crate) const ROW_BYTES_MAX: usize = 1 << 20;

/// A row: its bytes without the line end, where the next one begins, and its cells. There are none if a quoted
/// cell does not end as one.
pub(crate) struct Row<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) end: usize,
    pub(crate) cells: Option<Vec<&'a [u8]>>,
}

enum State {
    /// At the first byte of a cell.
    Begin,
    /// In a cell that is text.
    Plain,
    /// Between quotation marks.
    Quoted,
    /// Behind a quotation mark that may be the closing one.
    Closed,
}

/// The length of the line end at an offset; 0 without one.
pub(crate) fn line_end_at(bytes: &[u8], at: usize) -> usize {
    let ends: [&[u8]; 4] = [b"\r\r\n", b"\r\n", b"\n", b"\r"];
    ends.iter().find(|end| bytes[at.min(bytes.len())..].starts_with(end)).map_or(0, |end| end.len())
}

/// The line at an offset, without its line end, and the offset of the next one.
pub(crate) fn line_at(bytes: &[u8], start: usize) -> (&[u8], usize) {
    let mut at = start;
    while at < bytes.len() {
        match line_end_at(bytes, at) {
            0 => at += 1,
            length => return (&bytes[start..at], at + length),
        }
    }
    (&bytes[start..], bytes.len())
}

/// The pieces of a line between delimiters, ignoring quotation marks.
pub(crate) fn pieces(line: &[u8], delimiter: Option<u8>) -> Vec<&[u8]> {
    line.split(|&byte| Some(byte) == delimiter).collect()
}

/// A cell without quotation marks at both ends.
pub(crate) fn without_marks(cell: &[u8]) -> &[u8] {
    cell.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(cell)
}

/// A piece of a line without the quotation mark at each of its ends, which may be there or not.
pub(crate) fn without_any_mark(piece: &[u8]) -> &[u8] {
    let piece = piece.strip_prefix(b"\"").unwrap_or(piece);
    piece.strip_suffix(b"\"").unwrap_or(piece)
}

/// The row that begins at `start`, of a list that has delimiters or one column.
///
/// `may_be_two` tests the first line, and one that begins within a quoted cell.
pub(crate) fn row_at<'a>(
    bytes: &'a [u8],
    start: usize,
    delimiter: Option<u8>,
    may_be_two: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Row<'a> {
    let (line, next_line) = line_at(bytes, start);
    match cells(bytes, start, next_line, delimiter, may_be_two) {
        None => Row { text: line, end: next_line, cells: None },
        Some((text_end, end, cells)) => Row { text: &bytes[start..text_end], end, cells: Some(cells) },
    }
}

type Cells<'a> = (usize, usize, Vec<&'a [u8]>);

/// The end of the row without and with its line end, and its cells.
fn cells<'a>(
    bytes: &'a [u8],
    start: usize,
    next_line: usize,
    delimiter: Option<u8>,
    may_be_two: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Option<Cells<'a>> {
    let limit = next_line.max(start + ROW_BYTES_MAX);
    let (mut cells, mut state) = (Vec::new(), State::Begin);
    let (mut at, mut cell) = (start, start);
    // Offsets of lines within the quoted cell.
    let mut lines: Vec<usize> = Vec::new();
    loop {
        let byte = bytes.get(at).copied();
        let is_delimiter = byte.is_some() && byte == delimiter;
        let line_end = line_end_at(bytes, at);
        let is_end = byte.is_none() || line_end > 0;
        match state {
            State::Begin if byte == Some(b'"') => {
                (state, cell) = (State::Quoted, at);
                lines.clear();
            }
            State::Begin | State::Plain if is_end => {
                cells.push(&bytes[cell..at]);
                return Some((at, at + line_end, cells));
            }
            State::Begin | State::Plain if is_delimiter => {
                cells.push(&bytes[cell..at]);
                (state, cell) = (State::Begin, at + 1);
            }
            State::Begin | State::Plain => state = State::Plain,

            State::Quoted if byte.is_none() || at >= limit => return None,
            State::Quoted if byte == Some(b'"') => state = State::Closed,
            State::Quoted if line_end > 0 => {
                lines.push(at + line_end);
                at += line_end;
                continue;
            }
            State::Quoted => {}

            State::Closed if byte == Some(b'"') => state = State::Quoted, // two of them are one of the text
            State::Closed if is_end || is_delimiter => {
                // Two lines that look like rows say that the first mark was never closed.
                let first = line_at(bytes, start).0;
                if lines.iter().any(|&line| may_be_two(first, line_at(bytes, line).0)) {
                    return None;
                }
                cells.push(&bytes[cell + 1..at - 1]);
                if is_end {
                    return Some((at, at + line_end, cells));
                }
                (state, cell) = (State::Begin, at + 1);
            }
            State::Closed
                if !lines.is_empty() || bytes[cell..at].iter().any(|&byte| Some(byte) == delimiter) =>
            {
                return None;
            }
            State::Closed => state = State::Plain,
        }
        at += 1;
    }
}
