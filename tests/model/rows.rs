//! The rows of a list, found byte by byte by a plain state machine.

/// Bytes within which a quoted cell must end, from the beginning of its row.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Where a row has its identity.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    Delimited { delimiter: Option<u8>, column: usize },
    Fixed { offset: usize, length: usize },
}

/// A row: past its last byte, and the cell of its identity or the reason why there is none.
pub(crate) struct Row<'a> {
    pub(crate) end: usize,
    pub(crate) id: Result<&'a [u8], &'static str>,
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

/// The row that begins at `start`.
pub(crate) fn row_at<'a>(bytes: &'a [u8], start: usize, layout: &Layout) -> Row<'a> {
    let line_end =
        bytes[start..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| start + at + 1);
    let mut text = &bytes[start..line_end];
    text = text.strip_suffix(b"\n").unwrap_or(text);
    text = text.strip_suffix(b"\r").unwrap_or(text);
    match *layout {
        Layout::Fixed { offset, length } => {
            let id = match text.len() {
                0 => Err("empty"),
                bytes if bytes <= offset => Err("missing_column"),
                bytes => Ok(&text[offset..bytes.min(offset + length)]),
            };
            Row { end: line_end, id }
        }
        Layout::Delimited { delimiter, column } => match cells(bytes, start, line_end, delimiter) {
            None => Row { end: line_end, id: Err("bad_quoting") },
            Some((end, cells)) => {
                let blank = text.trim_ascii().is_empty();
                let missing = if blank { "empty" } else { "missing_column" };
                Row { end, id: cells.get(column).copied().ok_or(missing) }
            }
        },
    }
}

/// The end of the row and its cells; `None` if a quoted cell does not end as one.
fn cells(bytes: &[u8], start: usize, line_end: usize, delimiter: Option<u8>) -> Option<(usize, Vec<&[u8]>)> {
    let limit = line_end.max(start + ROW_BYTES_MAX);
    let (mut cells, mut state) = (Vec::new(), State::Begin);
    let (mut at, mut cell, mut has_line_end) = (start, start, false);
    loop {
        let byte = bytes.get(at).copied();
        let is_delimiter = byte.is_some() && byte == delimiter;
        match (state, byte) {
            (State::Begin, Some(b'"')) => {
                (state, cell, has_line_end) = (State::Quoted, at, false);
            }
            (State::Begin | State::Plain, None) => {
                cells.push(&bytes[cell..at]);
                return Some((at, cells));
            }
            (State::Begin | State::Plain, Some(b'\n')) => {
                let text = &bytes[cell..at];
                cells.push(text.strip_suffix(b"\r").unwrap_or(text));
                return Some((at + 1, cells));
            }
            (State::Begin | State::Plain, _) if is_delimiter => {
                cells.push(&bytes[cell..at]);
                (state, cell) = (State::Begin, at + 1);
            }
            (State::Begin | State::Plain, _) => state = State::Plain,

            (State::Quoted, None) => return None,
            (State::Quoted, _) if at >= limit => return None,
            (State::Quoted, Some(b'"')) => state = State::Closed,
            (State::Quoted, byte) => {
                has_line_end |= byte == Some(b'\n');
                state = State::Quoted;
            }

            (State::Closed, Some(b'"')) => state = State::Quoted, // two of them are one of the text
            (State::Closed, byte) => {
                let inside = &bytes[cell + 1..at - 1];
                match byte {
                    None | Some(b'\n') => {
                        cells.push(inside);
                        return Some(((at + 1).min(bytes.len()), cells));
                    }
                    Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => {
                        cells.push(inside);
                        return Some((at + 2, cells));
                    }
                    _ if is_delimiter => {
                        cells.push(inside);
                        (state, cell) = (State::Begin, at + 1);
                    }
                    _ if has_line_end => return None,
                    _ => state = State::Plain,
                }
            }
        }
        at += 1;
    }
}
