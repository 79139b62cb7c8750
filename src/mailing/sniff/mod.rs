//! Deciding from the beginning of a list what kind of list it is. `docs/lists.md` has the rules.

mod cause;
mod file_kind;
mod names;
mod table;
#[cfg(test)]
mod tests;

pub use file_kind::FileKind;

use super::guard::{Guard, holds_identity, without_line_end};
use super::rows::{Layout, RowRules, line_end};
use super::{ListError, ListOptions};
use crate::identities::{Country, Today};
use std::ops::Range;
use table::Sampler;

/// How a list is encoded, as far as its beginning tells. Bytes pass through whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, or plain ASCII.
    Utf8,
    /// UTF-8 with a byte order mark.
    Utf8Bom,
    /// Windows-1252, of which ISO-8859-1 is a part.
    Windows1252,
}

impl Encoding {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Utf8Bom => "utf-8-bom",
            Encoding::Windows1252 => "windows-1252",
        }
    }
}

/// What becomes of a row with two identities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TwoIds {
    /// It is one letter, to the one that is reached best; of equals to the first.
    #[default]
    FirstReachable,
    /// It is a letter to each.
    Both,
}

/// Why something was decided as it was; the words of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// The user said so.
    Given,
    /// The first line is `sep=`.
    SepLine,
    /// It makes identities of the most cells.
    Identities,
    /// It cuts most rows alike.
    Cells,
    /// Nothing else is possible: one column, fixed width, an empty list.
    NoChoice,
    /// A known name.
    KnownName,
    /// Usual words of headers.
    UsualWords,
    /// Words, where the rows below have digits.
    Types,
    /// Nothing says that there is one.
    NoSign,
}

impl Ground {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Ground::Given => "given",
            Ground::SepLine => "sep_line",
            Ground::Identities => "identities",
            Ground::Cells => "cells",
            Ground::NoChoice => "no_choice",
            Ground::KnownName => "known_name",
            Ground::UsualWords => "usual_words",
            Ground::Types => "types",
            Ground::NoSign => "no_sign",
        }
    }
}

/// What a list is, as given by the user or decided from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// How it is encoded.
    pub(super) encoding: Encoding,
    /// How its rows are read, and what they are searched for.
    pub(super) guard: Guard,
    /// The second column of identities, and what it is for.
    pub(super) second: Option<(usize, TwoIds)>,
    /// Bytes before the first data row: byte order mark, what stands above the header, header.
    pub(super) prefix: usize,
    /// What each file of rows begins with.
    pub(super) beginning: Vec<u8>,
    /// Name of the identity's column, its number from 1 if the list has no header, or the fixed place; of two, both.
    pub(super) id_column: String,
    /// What was decided, and why.
    pub(super) decided: Decided,
}

/// What was decided of a list, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) delimiter: Ground,
    pub(super) header: Ground,
    pub(super) id_column: Ground,
    /// Number of the header's row from 1, among all rows of the file.
    pub(super) header_row: Option<u64>,
    /// Rows above the header, or above the first row.
    pub(super) skipped_rows: u64,
    /// Identities in the (first) column and rows, in the sample.
    pub(super) share: (usize, usize),
    /// Why most rows may not be read, if the sample says so.
    pub(super) likely_cause: Option<String>,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// A column of identities has at least this share of them, in percent of its rows.
const SHARE_PERCENT: usize = 50;

/// Decides the form of a list of which `sample` is the beginning, and all of it if `whole`.
pub(super) fn sniff(
    sample: &[u8],
    whole: bool,
    country: Country,
    today: Today,
    options: &ListOptions,
) -> Result<Form, ListError> {
    if let Some(kind) = FileKind::of(sample) {
        return Err(ListError::NotAList(kind));
    }
    let encoding = encoding(sample);
    let bom = if encoding == Encoding::Utf8Bom { BOM.len() } else { 0 };
    let (sep, after_sep) = match options.id_at {
        None => sep_line(sample, bom),
        Some(_) => (None, bom),
    };
    let (skipped, start) = skip_lines(sample, after_sep, options.skip_rows);
    let sampler = Sampler { bytes: sample, encoding, whole, country, today };
    let above = u64::from(sep.is_some()) + skipped;
    let form = match options.id_at {
        Some(place) => fixed(&sampler, start, place, options),
        None => delimited(&sampler, start, sep, options).map_err(|error| {
            let nowhere = Layout::Delimited { delimiter: None, column: 0 };
            match (&error, cause::of_form(&sampler, start, &nowhere)) {
                (ListError::IdColumn { .. }, Some(cause)) => ListError::NotRows { cause },
                _ => error,
            }
        })?,
    };
    let Found { layout, columns, width, header, expected, second, id_column, grounds, share } = form;
    let header_rows = header.as_ref().map_or(0, |header| header.above);
    let prefix = header.as_ref().map_or(start, |header| header.range.end);
    let header_range = header.as_ref().map_or(start..start, |header| header.range.clone());
    let mut beginning = sample[..bom].to_vec();
    beginning.extend_from_slice(if options.drop_skipped {
        &sample[header_range.clone()]
    } else {
        &sample[bom..prefix]
    });
    let rules = RowRules { layout, country, today };
    // What is written to every file must hold no identity.
    if holds_identity(&rules, &sample[bom..prefix]) {
        return Err(ListError::HeaderIsRow);
    }
    let few = share.0 * 100 < share.1 * SHARE_PERCENT;
    let likely_cause = few.then(|| cause::likely(&sampler, prefix, &rules.layout)).flatten();
    Ok(Form {
        encoding,
        guard: Guard {
            rules,
            columns,
            width,
            expected,
            header: without_line_end(&sample[header_range]).to_vec(),
        },
        second,
        prefix,
        beginning,
        id_column,
        decided: Decided {
            delimiter: grounds.delimiter,
            header: grounds.header,
            id_column: grounds.id_column,
            header_row: header.map(|header| above + header.above + 1),
            skipped_rows: above + header_rows,
            share,
            likely_cause,
        },
    })
}

/// Where the header is.
struct HeaderRow {
    /// Its bytes, line end included.
    range: Range<usize>,
    /// Rows above it.
    above: u64,
}

/// What a list is, before it is put together.
struct Found {
    layout: Layout,
    columns: usize,
    /// Of fixed width: bytes that a row usually has.
    width: usize,
    header: Option<HeaderRow>,
    expected: Vec<usize>,
    second: Option<(usize, TwoIds)>,
    id_column: String,
    grounds: Grounds,
    share: (usize, usize),
}

struct Grounds {
    delimiter: Ground,
    header: Ground,
    id_column: Ground,
}

fn fixed(
    sampler: &Sampler<'_>,
    start: usize,
    (offset, length): (usize, usize),
    options: &ListOptions,
) -> Found {
    let has_header = options.header.unwrap_or(false) && start < sampler.bytes.len();
    let header = has_header.then(|| HeaderRow { range: start..line_end(sampler.bytes, start), above: 0 });
    let layout = Layout::Fixed { offset, length };
    let first = header.as_ref().map_or(start, |header| header.range.end);
    Found {
        share: sampler.share_of_lines(first, &layout),
        layout,
        columns: 0,
        width: sampler.usual_width(first),
        header,
        expected: Vec::new(),
        second: None,
        id_column: format!("{offset}:{length}"),
        grounds: Grounds {
            delimiter: Ground::NoChoice,
            header: given_or(options.header, Ground::NoChoice),
            id_column: Ground::Given,
        },
    }
}

fn given_or(given: Option<bool>, ground: Ground) -> Ground {
    if given.is_some() { Ground::Given } else { ground }
}

fn delimited(
    sampler: &Sampler<'_>,
    start: usize,
    sep: Option<u8>,
    options: &ListOptions,
) -> Result<Found, ListError> {
    let (delimiter, ground) = match (options.delimiter, sep) {
        (Some(delimiter), _) => (Some(delimiter), Ground::Given),
        (None, Some(delimiter)) => (Some(delimiter), Ground::SepLine),
        (None, None) => sampler.delimiter(start),
    };
    let table = sampler.table(start, delimiter);
    let (header, header_ground) = table.header(options)?;
    let ids = table.id_columns(header, options)?;
    // Only now is known which column's rows tell of a header without known words.
    let (header, header_ground) = match (header, options.header) {
        (None, None) => table
            .header_by_types(ids.columns[0])
            .map_or((None, header_ground), |row| (Some(row), Ground::Types)),
        _ => (header, header_ground),
    };
    if header.is_some_and(|row| table.rows[..=row].iter().any(table::Row::has_identity)) {
        return Err(ListError::HeaderIsRow);
    }
    let expected =
        options.expected_ids.iter().map(|name| table.column(name, header)).collect::<Result<_, _>>()?;
    let names: Vec<String> = ids.columns.iter().map(|&column| table.name_of(column, header)).collect();
    let (first, second) = (ids.columns[0], ids.columns.get(1).copied());
    if second == Some(first) {
        return Err(ListError::IdColumns);
    }
    Ok(Found {
        layout: Layout::Delimited { delimiter, column: first },
        // Where the first rows are joined ones, the header shows how many cells a row has.
        columns: header.map_or(table.columns, |row| table.rows[row].cells.len().clamp(1, table.columns)),
        width: 0,
        header: header.map(|row| HeaderRow { range: table.rows[row].range.clone(), above: row as u64 }),
        expected,
        second: second.map(|column| (column, options.two_ids)),
        id_column: names.join(" + "),
        grounds: Grounds { delimiter: ground, header: header_ground, id_column: ids.ground },
        share: table.share(first, header),
    })
}

/// The delimiter of a first line `sep=;`, and where the line after it begins.
fn sep_line(bytes: &[u8], start: usize) -> (Option<u8>, usize) {
    let end = line_end(bytes, start);
    let text = without_line_end(&bytes[start..end]);
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    match text {
        [s, e, p, b'=', delimiter, rest @ ..]
            if [*s, *e, *p].eq_ignore_ascii_case(b"sep")
                && is_delimiter(*delimiter)
                && rest.trim_ascii().is_empty() =>
        {
            (Some(*delimiter), end)
        }
        _ => (None, start),
    }
}

fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'"' | b'\r' | b'\n')
}

/// Passes over so many lines. Returns how many there were.
fn skip_lines(bytes: &[u8], mut at: usize, lines: u64) -> (u64, usize) {
    let mut skipped = 0;
    while skipped < lines && at < bytes.len() {
        at = line_end(bytes, at);
        skipped += 1;
    }
    (skipped, at)
}

fn encoding(sample: &[u8]) -> Encoding {
    if sample.starts_with(BOM) {
        return Encoding::Utf8Bom;
    }
    // Text in UTF-8 has whole characters of several bytes, and perhaps a broken one; in Windows-1252
    // what looks like one is rare. A character that the sample cuts says nothing.
    let (mut whole, mut broken, mut rest) = (0, 0, sample);
    let characters = |text: &[u8]| text.iter().filter(|&&byte| byte >= 0xC0).count();
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, after) = rest.split_at(error.valid_up_to());
        whole += characters(valid);
        let Some(length) = error.error_len() else { break };
        broken += 1;
        rest = &after[length..];
    }
    whole += characters(rest);
    if broken > whole { Encoding::Windows1252 } else { Encoding::Utf8 }
}
