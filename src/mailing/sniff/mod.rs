//! Decides the form of a list from its beginning. `docs/lists.md` has the rules.

mod cause;
mod columns;
mod encoding;
mod ground;
mod header;
mod table;
#[cfg(test)]
mod tests;

pub use encoding::Encoding;

use super::cells::{Cells, without_line_end};
use super::error::ListError;
use super::file_kind::FileKind;
use super::guard::{Guard, holds_identity};
use super::id_numbers::IdNumbers;
use super::likely_cause::LikelyCause;
use super::list_run::ListRun;
use super::list_sheet::ListSheet;
use super::names;
use super::options::{ListOptions, TwoIds};
use super::rows::{Layout, RowRules, line_end};
use super::shape::RowShape;
use super::titles::Titles;
use crate::identities::{Country, Today};
use crate::limits::ROW_BYTES_MAX;
use encoding::BOM;
use ground::Ground;
use std::ops::Range;
use table::{SHARE_PERCENT, SampleRow, Sampler};

/// The form of a list, as given by the user or decided from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListForm {
    /// The encoding.
    pub(super) encoding: Encoding,
    /// How rows are read, and what they are compared with.
    pub(super) guard: Guard,
    /// The second column of identities, and which letters its rows become.
    pub(super) second: Option<(usize, TwoIds)>,
    /// Where the cells of [`ListOptions::cell_columns`] are.
    pub(super) cells: Vec<CellPlace>,
    /// Bytes before the first data row: byte order mark, lines above the header, header.
    pub(super) prefix: usize,
    /// The bytes with which each file of rows begins.
    pub(super) beginning: Vec<u8>,
    /// Those at their end that are the header.
    header_bytes: usize,
    /// Name of the identity's column, its number from 1 if the list has no header, or `OFFSET:LENGTH`; of two columns,
    /// both.
    pub(super) id_column: String,
    /// The decisions, and their grounds.
    pub(super) decided: FormDecisions,
    /// The print run that the list is, if its letters are not rows.
    pub(super) run: Option<ListRun>,
    /// The sheet of a workbook that the list is.
    pub(super) sheet: Option<ListSheet>,
}

impl ListForm {
    /// The form of a print run, of which nothing has to be decided.
    pub(super) fn of_run(run: ListRun, cells: Vec<CellPlace>, beginning: &[u8], ids: IdNumbers) -> ListForm {
        let given = Ground::Given;
        ListForm {
            // Texts of letters are read as UTF-8.
            encoding: Encoding::Utf8,
            guard: Guard {
                rules: RowRules {
                    layout: Layout::Delimited { delimiter: None, column: 0 },
                    columns: 0,
                    ids,
                    is_sheet: false,
                },
                shape: RowShape::Bytes { usual: 0, most: usize::MAX },
                expected: Vec::new(),
                header: Vec::new(),
                titles: Titles::default(),
                has_nel: false,
                every_cell: false,
            },
            second: None,
            cells,
            prefix: beginning.len(),
            beginning: beginning.to_vec(),
            header_bytes: beginning.len(),
            id_column: run.description().id_place(),
            decided: FormDecisions {
                delimiter: given,
                header: given,
                id_column: given,
                header_row: None,
                skipped_rows: 0,
                share: (0, 0),
                likely_cause: None,
            },
            run: Some(run),
            sheet: None,
        }
    }

    /// Whether a line above the header has a word for a withheld identity, or as many digits as one.
    pub(super) fn may_skip_recipient(&self) -> bool {
        let above = &self.beginning[..self.beginning.len() - self.header_bytes];
        let text = self.encoding.text(above);
        let digits = |line: &str| line.chars().filter(|character| character.is_numeric()).count();
        text.lines().any(|line| names::is_placeholder(line) || digits(line) >= names::ID_DIGITS)
    }
}

/// Where in a row a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellPlace {
    /// The column, from 0.
    Column(usize),
    /// First byte, from 0, and number of bytes, in a list of fixed width.
    Bytes(usize, usize),
    /// In a print run, the index of the column of a letter.
    OfLetter(usize),
}

impl CellPlace {
    /// Of `OFFSET:LENGTH`.
    fn of_bytes(name: &str) -> Option<CellPlace> {
        let (offset, length) = name.split_once(':')?;
        let (offset, length) = (offset.parse().ok()?, length.parse().ok()?);
        (length > 0 && offset < ROW_BYTES_MAX && length < ROW_BYTES_MAX)
            .then_some(CellPlace::Bytes(offset, length))
    }
}

/// What was decided of a list, and on which grounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FormDecisions {
    pub(super) delimiter: Ground,
    pub(super) header: Ground,
    pub(super) id_column: Ground,
    /// Number of the header's row from 1, among all rows of the file.
    pub(super) header_row: Option<u64>,
    /// Rows above the header, or above the first row.
    pub(super) skipped_rows: u64,
    /// In the sample: identities in the (first) identity's column, and rows.
    pub(super) share: (usize, usize),
    /// Why most rows may have no identity, if the sample shows it.
    pub(super) likely_cause: Option<LikelyCause>,
}

/// Decides the form of a list that begins with `sample`, or is `sample` if `whole`.
pub(super) fn sniff(
    sample: &[u8],
    whole: bool,
    country: Country,
    today: Today,
    options: &ListOptions,
) -> Result<ListForm, ListError> {
    if let Some(kind) = FileKind::of(sample) {
        return Err(ListError::NotAList(kind));
    }
    let encoding = Encoding::of(sample);
    let bom = if encoding == Encoding::Utf8Bom { BOM.len() } else { 0 };
    let (sep, after_sep) = match options.id_at {
        None => sep_line(sample, bom),
        Some(_) => (None, bom),
    };
    let (skipped, start) = skip_lines(sample, after_sep, options.skip_rows);
    let is_strict = options.every_cell;
    let other = options.other_country.filter(|other| *other != country);
    let ids = IdNumbers { country, other, today };
    let sampler = Sampler { bytes: sample, encoding, whole, ids, is_strict };
    let above = u64::from(sep.is_some()) + skipped;
    let detected = match options.id_at {
        Some(id_at) => fixed(&sampler, start, id_at, options)?,
        None => delimited(&sampler, start, sep, options).map_err(|error| {
            let layout = Layout::Delimited { delimiter: None, column: 0 };
            match (&error, cause::of_form(&sampler, start, &layout)) {
                (ListError::UnknownIdColumn { .. }, Some(cause)) => ListError::NotRows { cause },
                _ => error,
            }
        })?,
    };
    let Detected { layout, shape, header, expected, second, cells, id_column, grounds, share } = detected;
    let header_rows = header.as_ref().map_or(0, |header| header.above);
    let prefix = header.as_ref().map_or(start, |header| header.range.end);
    let header_range = header.as_ref().map_or(start..start, |header| header.range.clone());
    let header_bytes = header_range.len();
    let mut beginning = sample[..bom].to_vec();
    beginning.extend_from_slice(if options.drop_skipped {
        &sample[header_range.clone()]
    } else {
        &sample[bom..prefix]
    });
    let columns = match shape {
        RowShape::Cells { usual, .. } => usual,
        RowShape::Bytes { .. } => 0,
    };
    let rules = RowRules { layout, columns, ids, is_sheet: false };
    // The beginning of every file must not hold an identity.
    if holds_identity(&rules, &sample[bom..prefix]) {
        return Err(ListError::HeaderIsRow);
    }
    if let Layout::Fixed { offset, length } = rules.layout
        && sampler.has_several_records(prefix, offset, length)
    {
        return Err(ListError::LineEndsLost);
    }
    let titles = match (&header, &rules.layout) {
        (Some(header), &Layout::Delimited { delimiter, column }) => {
            let line = &sample[header.range.clone()];
            let cells = Cells::new(line, 0..line.len(), delimiter).map_while(Result::ok);
            Titles::new(cells.map(|cell| encoding.text(&line[cell])), column, ids.only_country())
        }
        _ => Titles::default(),
    };
    let header_line = &sample[header_range];
    let few = share.0 * 100 < share.1 * SHARE_PERCENT;
    let likely_cause = few.then(|| cause::likely(&sampler, prefix, &rules.layout)).flatten();
    Ok(ListForm {
        encoding,
        guard: Guard {
            rules,
            shape,
            expected,
            header: without_line_end(header_line.strip_prefix(BOM).unwrap_or(header_line)).to_vec(),
            titles,
            has_nel: encoding == Encoding::Windows1252,
            every_cell: options.every_cell,
        },
        second,
        cells,
        prefix,
        beginning,
        header_bytes,
        id_column,
        decided: FormDecisions {
            delimiter: grounds.delimiter,
            header: grounds.header,
            id_column: grounds.id_column,
            header_row: header.map(|header| above + header.above + 1),
            skipped_rows: above + header_rows,
            share,
            likely_cause,
        },
        run: None,
        sheet: None,
    })
}

/// The row of the header.
struct HeaderRow {
    /// Its bytes, with the line end.
    range: Range<usize>,
    /// Rows above it.
    above: u64,
}

/// The form of a list without what all forms share.
struct Detected {
    layout: Layout,
    shape: RowShape,
    header: Option<HeaderRow>,
    expected: Vec<usize>,
    second: Option<(usize, TwoIds)>,
    cells: Vec<CellPlace>,
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
) -> Result<Detected, ListError> {
    let has_header = options.header.unwrap_or(false) && start < sampler.bytes.len();
    let header = has_header.then(|| HeaderRow { range: start..line_end(sampler.bytes, start), above: 0 });
    let layout = Layout::Fixed { offset, length };
    let field = header.as_ref().map(|header| {
        let cell = layout.plain_cell(sampler.bytes, header.range.clone());
        cell.map_or(String::new(), |cell| sampler.encoding.text(&sampler.bytes[cell]))
    });
    if field.is_some_and(|field| names::long_number(&field) >= header::LONG_NUMBER_DIGITS) {
        return Err(ListError::HeaderIsRow);
    }
    let first = header.as_ref().map_or(start, |header| header.range.end);
    let place = |name: &String| {
        CellPlace::of_bytes(name).ok_or_else(|| ListError::NoSuchColumn {
            wanted: name.clone(),
            columns: "bytes of each row, as OFFSET:LENGTH".to_owned(),
            similar: String::new(),
        })
    };
    let cells = options.cell_columns.iter().map(place).collect::<Result<_, _>>()?;
    Ok(Detected {
        cells,
        share: sampler.share_of_lines(first, &layout),
        shape: sampler.shape_of_lines(first, &layout),
        layout,
        header,
        expected: Vec::new(),
        second: None,
        id_column: format!("{offset}:{length}"),
        grounds: Grounds {
            delimiter: Ground::NoChoice,
            header: given_or(options.header, Ground::NoChoice),
            id_column: Ground::Given,
        },
    })
}

fn given_or(given: Option<bool>, ground: Ground) -> Ground {
    if given.is_some() { Ground::Given } else { ground }
}

fn delimited(
    sampler: &Sampler<'_>,
    start: usize,
    sep: Option<u8>,
    options: &ListOptions,
) -> Result<Detected, ListError> {
    let (delimiter, ground) = match (options.delimiter, sep) {
        (Some(delimiter), _) => (Some(delimiter), Ground::Given),
        (None, Some(delimiter)) => (Some(delimiter), Ground::SepLine),
        (None, None) => sampler.delimiter(start)?,
    };
    let table = sampler.table(start, delimiter);
    let (header, header_ground) = table.header(options)?;
    let ids = table.id_columns(header, options)?;
    if ids.columns.get(1) == Some(&ids.columns[0]) {
        return Err(ListError::BadIdColumns);
    }
    // Without known words, the header is determined by comparison with the other columns than the identity's.
    let (header, header_ground) = match (header, options.header) {
        (None, None) => table
            .header_by_types(ids.columns[0])
            .map_or((None, header_ground), |row| (Some(row), Ground::Types)),
        _ => (header, header_ground),
    };
    let has_identity = |row: usize| table.rows[..=row].iter().any(SampleRow::has_identity);
    if header.is_some_and(|row| has_identity(row) || table.holds_row(row)) {
        return Err(ListError::HeaderIsRow);
    }
    if header.is_none() && table.has_several_in_a_row(ids.columns[0]) {
        return Err(ListError::LineEndsLost);
    }
    let expected =
        options.expected_ids.iter().map(|name| table.column(name, header)).collect::<Result<_, _>>()?;
    let cell = |name: &String| table.only_column(name, header).map(CellPlace::Column);
    let cells = options.cell_columns.iter().map(cell).collect::<Result<_, _>>()?;
    let names: Vec<String> = ids.columns.iter().map(|&column| table.name_of(column, header)).collect();
    let (first, second) = (ids.columns[0], ids.columns.get(1).copied());
    Ok(Detected {
        layout: Layout::Delimited { delimiter, column: first },
        shape: table.shape(header, &ids.columns),
        header: header.map(|row| HeaderRow { range: table.rows[row].range.clone(), above: row as u64 }),
        expected,
        second: second.map(|column| (column, options.two_ids)),
        cells,
        id_column: names.join(" + "),
        grounds: Grounds { delimiter: ground, header: header_ground, id_column: ids.ground },
        share: table.share(first, header),
    })
}

/// The delimiter of a first line such as `sep=;`, and the offset of the line after it.
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

/// Skips up to `lines` lines. Returns their number, and the offset of the next line.
fn skip_lines(bytes: &[u8], mut at: usize, lines: u64) -> (u64, usize) {
    let mut skipped = 0;
    while skipped < lines && at < bytes.len() {
        at = line_end(bytes, at);
        skipped += 1;
    }
    (skipped, at)
}
