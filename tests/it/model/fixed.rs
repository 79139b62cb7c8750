//! The format of a list of fixed width.

use super::form::{
    CANNOT_BE_DONE, Header, ListFormat, ListOptions, NOT_A_LIST, Refusal, SAMPLE_BYTES, SAMPLE_ROWS, encoding,
};
use super::guard::holds_identity;
use super::identities::{Country, Day, read};
use super::names::{decoded, long_number};
use super::rows::{Row, line_at};
use std::ops::Range;

/// A row of fixed width: the parts before, in and after the identity field, as far as the row has them.
pub(super) fn fixed_row(bytes: &[u8], at: usize, offset: usize, length: usize) -> Row<'_> {
    let (text, end) = line_at(bytes, at);
    let mut cells = vec![&text[..offset.min(text.len())]];
    if text.len() > offset {
        let place_end = text.len().min(offset + length);
        cells.extend([&text[offset..place_end], &text[place_end..]]);
    }
    Row { text, end, cells: Some(cells) }
}

pub(super) fn fixed(
    bytes: &[u8],
    bom: usize,
    options: &ListOptions,
    offset: usize,
    length: usize,
    country: Country,
    day: Day,
) -> Result<ListFormat, Refusal> {
    let (mut at, mut skipped_rows) = (bom, 0);
    let mut header = None;
    let wanted = options.skip_rows + usize::from(options.header == Header::Yes);
    while skipped_rows < wanted && at < bytes.len() {
        let row = fixed_row(bytes, at, offset, length);
        if holds_identity(&bytes[bom..row.end], country, day) {
            return Err(CANNOT_BE_DONE);
        }
        let field = row
            .cells
            .as_ref()
            .and_then(|cells| cells.get(1))
            .map_or(String::new(), |cell| decoded(cell, encoding(bytes)));
        if skipped_rows == options.skip_rows && long_number(&field) >= 5 {
            return Err(CANNOT_BE_DONE);
        }
        if skipped_rows == options.skip_rows {
            header = Some(at..row.end);
            break;
        }
        (at, skipped_rows) = (row.end, skipped_rows + 1);
    }
    let first = header.as_ref().map_or(at, |header: &Range<usize>| header.end);
    let lines = sampled_lines(bytes, first);
    if are_several_records(&lines, offset, length, country, day) {
        return Err(NOT_A_LIST);
    }
    let (width, longest) = widths(&lines, &|line| {
        line.len() > offset && read(&line[offset..line.len().min(offset + length)], country, day).is_ok()
    });
    Ok(ListFormat {
        encoding: encoding(bytes),
        delimiter: None,
        fixed: Some((offset, length)),
        width,
        longest,
        columns: 0,
        most: 0,
        others: Vec::new(),
        only_others: Vec::new(),
        ids: vec![1],
        expected: Vec::new(),
        id_column: format!("{offset}:{length}"),
        skipped: bom..at,
        skipped_rows,
        rows: first,
        header,
    })
}

/// The first lines of a list of fixed width, without line ends.
fn sampled_lines(bytes: &[u8], start: usize) -> Vec<&[u8]> {
    let bytes = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let (mut lines, mut at) = (Vec::new(), start);
    while at < bytes.len() && lines.len() < SAMPLE_ROWS - 1 {
        let (line, next) = line_at(bytes, at);
        lines.push(line);
        at = next;
    }
    lines
}

/// Bytes that most of the first lines have, the smaller of equals (0 if there are not several lines), and half as many again
/// as nine of ten with an identity have, or every second one of fewer than 20.
fn widths(lines: &[&[u8]], has_identity: &dyn Fn(&[u8]) -> bool) -> (usize, usize) {
    let often = |width: usize| lines.iter().filter(|line| line.len() == width).count();
    let most = lines.iter().map(|line| (often(line.len()), std::cmp::Reverse(line.len()))).max();
    let with_identity = lines.iter().filter(|line| has_identity(line));
    let mut filled: Vec<usize> = with_identity.map(|line| line.trim_ascii_end().len()).collect();
    filled.sort_unstable();
    let index = if filled.len() < 20 { filled.len() / 2 } else { filled.len() * 9 / 10 };
    let longest = if filled.len() < 2 { usize::MAX } else { filled[index] * 3 / 2 };
    (if lines.len() < 2 { 0 } else { most.map_or(0, |(_, width)| width.0) }, longest)
}

/// Whether half of the lines with an identity have others in their second half, third, up to twentieth, or in the second
/// half behind up to four bytes.
fn are_several_records(lines: &[&[u8]], offset: usize, length: usize, country: Country, day: Day) -> bool {
    let id = |line: &[u8], at: usize| read(line.get(at..at + length)?, country, day).ok();
    let with_id: Vec<&[u8]> = lines.iter().copied().filter(|line| id(line, offset).is_some()).collect();
    let periods = (2..=20).map(|count| (count, 0)).chain((1..=4).map(|between| (2, between)));
    periods.into_iter().any(|(count, between)| {
        let is_several = |line: &&&[u8]| {
            let other = id(line, offset + (line.len() + between) / count);
            (line.len() + between).is_multiple_of(count) && other.is_some() && other != id(line, offset)
        };
        let several = with_id.iter().filter(is_several).count();
        several > 1 && several * 2 >= with_id.len()
    })
}
