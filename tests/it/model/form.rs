//! The format of a list: delimiter, header, lines above it, and the identity's column, decided from its first rows and
//! the command line.

use super::guard::identities_in;
use super::identities::{Country, Day, read};
use super::names::{Known, decoded, is_usual, is_withheld, known, plain};
use super::rows::{Row, line_at, pieces, row_at, without_any_mark, without_marks};
use std::ops::Range;

/// Bytes and rows of the sample.
const SAMPLE_BYTES: usize = 1 << 20;
const SAMPLE_ROWS: usize = 1001;
/// Rows in which a header is looked for if no row has an identity.
const HEADER_ROWS: usize = 30;

const BOM: &[u8] = b"\xEF\xBB\xBF";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Header {
    #[default]
    Auto,
    Yes,
    No,
}

/// The options of the command line about a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListOptions {
    pub(crate) delimiter: Option<u8>,
    pub(crate) header: Header,
    /// Names or numbers, at most two.
    pub(crate) ids: Vec<String>,
    /// `--two-ids both`.
    pub(crate) both: bool,
    pub(crate) expected_ids: Vec<String>,
    pub(crate) skip_rows: usize,
    pub(crate) drops_skipped: bool,
    pub(crate) strict: bool,
    pub(crate) fixed: Option<(usize, usize)>,
}

impl ListOptions {
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut say = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
        if let Some(delimiter) = self.delimiter {
            // Name or character.
            let named = self.ids.len().is_multiple_of(2) || delimiter == b'\t';
            let character = char::from(delimiter).to_string();
            let name = match delimiter {
                b';' if named => "semicolon",
                b',' if named => "comma",
                b'\t' if named => "tab",
                b'|' if named => "pipe",
                _ => &character,
            };
            say("--delimiter", name);
        }
        match self.header {
            Header::Auto => {}
            Header::Yes => say("--header", "yes"),
            Header::No => say("--header", "no"),
        }
        self.ids.iter().for_each(|id| say("--id-column", id));
        if self.ids.len() == 2 && (self.both || self.skip_rows > 0) {
            say("--two-ids", if self.both { "both" } else { "first-reachable" });
        }
        self.expected_ids.iter().for_each(|column| say("--expected-ids", column));
        if self.skip_rows > 0 {
            say("--skip-rows", &self.skip_rows.to_string());
        }
        if self.drops_skipped {
            say("--skipped", "drop");
        }
        if let Some((offset, length)) = self.fixed {
            say("--id-at", &format!("{offset}:{length}"));
        }
        if self.strict {
            arguments.push("--strict-rows".to_owned());
        }
        arguments
    }
}

/// The format with which a list is read.
#[derive(Clone, Debug)]
pub(crate) struct ListFormat {
    pub(crate) encoding: &'static str,
    pub(crate) delimiter: Option<u8>,
    pub(crate) fixed: Option<(usize, usize)>,
    /// Fixed width: bytes that most rows have; 0 if there is only one row.
    pub(crate) width: usize,
    /// 0 for fixed width.
    pub(crate) columns: usize,
    /// Columns of identities from 0: one or two, or none for fixed width.
    pub(crate) ids: Vec<usize>,
    pub(crate) expected: Vec<usize>,
    /// Name or number of the first of them, as reports show it.
    pub(crate) id_column: String,
    /// The bytes above the header or the first row, without the byte order mark.
    pub(crate) skipped: Range<usize>,
    pub(crate) skipped_rows: usize,
    pub(crate) header: Option<Range<usize>>,
    /// Offset of the first row.
    pub(crate) rows: usize,
}

/// The exit code of a refused job.
pub(crate) type Refusal = i32;
const CANNOT_BE_DONE: Refusal = 2;
pub(crate) const NOT_A_LIST: Refusal = 3;

/// The first bytes of files that are not lists.
const NOT_LISTS: [&[u8]; 15] = [
    b"\xFF\xFE",                         // UTF-16
    b"\xFE\xFF",                         // UTF-16, the other way round
    b"PK\x03\x04",                       // ZIP, and workbooks
    b"PK\x05\x06",                       // an empty ZIP
    b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", // old workbooks
    b"%PDF",
    b"PAR1", // Parquet
    b"ARROW1",
    b"Obj\x01", // Avro
    b"SQLite format 3\0",
    b"7z\xBC\xAF\x27\x1C",
    b"\xFD7zXZ\0",
    b"BZh",
    b"nabar\r\n\x1A",
    b"nbrlog\r\n",
];

/// Whether a file is of another type; UTF-16 without byte order mark is recognized by its zeros.
fn is_no_list(bytes: &[u8]) -> bool {
    let first = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let zeros = first.iter().filter(|&&byte| byte == 0).count();
    let is_other = |other: &&[u8]| bytes.starts_with(other) && (zeros > 0 || !other.starts_with(b"BZh"));
    NOT_LISTS.iter().any(is_other) || zeros * 5 > first.len()
}

impl ListFormat {
    /// The row that begins at an offset, in the format of the list.
    pub(crate) fn row<'a>(&self, bytes: &'a [u8], at: usize, country: Country, day: Day) -> Row<'a> {
        if let Some((offset, length)) = self.fixed {
            return fixed_row(bytes, at, offset, length);
        }
        // Of two columns the first is the identity's.
        let looks_like_row = |line: &[u8]| {
            let pieces = pieces(line, self.delimiter);
            pieces.get(self.ids[0]).is_some_and(|cell| read(without_any_mark(cell), country, day).is_ok())
        };
        row_at(bytes, at, self.delimiter, &looks_like_row)
    }
}

/// A row of fixed width: the parts before, in and after the identity field, as far as the row has them.
fn fixed_row(bytes: &[u8], at: usize, offset: usize, length: usize) -> Row<'_> {
    let (text, end) = line_at(bytes, at);
    let mut cells = vec![&text[..offset.min(text.len())]];
    if text.len() > offset {
        let place_end = text.len().min(offset + length);
        cells.extend([&text[offset..place_end], &text[place_end..]]);
    }
    Row { text, end, cells: Some(cells) }
}

/// The encoding as the first mebibyte shows it.
fn encoding(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(BOM) {
        return "utf-8-bom";
    }
    let mut rest = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let (mut characters, mut broken) = (0, 0);
    loop {
        let (valid, error) = match std::str::from_utf8(rest) {
            Ok(_) => (rest.len(), None),
            Err(error) => (error.valid_up_to(), error.error_len()),
        };
        let text = std::str::from_utf8(&rest[..valid]).expect("valid up to there");
        characters += text.chars().filter(|character| !character.is_ascii()).count();
        // A character cut by the end of the sample is not invalid.
        let Some(wrong) = error else { break };
        broken += 1;
        rest = &rest[valid + wrong..];
    }
    if broken > characters { "windows-1252" } else { "utf-8" }
}

/// The delimiter of a first line `sep=;`.
fn separator(line: &[u8]) -> Option<u8> {
    match without_marks(line) {
        [s, e, p, b'=', delimiter, rest @ ..]
            if !delimiter.is_ascii_alphanumeric() && rest.iter().all(u8::is_ascii_whitespace) =>
        {
            [s, e, p].map(u8::to_ascii_lowercase).eq(b"sep").then_some(*delimiter)
        }
        _ => None,
    }
}

/// The sampled rows from an offset on, with their offsets.
fn sample(bytes: &[u8], start: usize, delimiter: Option<u8>) -> Vec<(usize, Row<'_>)> {
    let (mut rows, mut at) = (Vec::new(), start);
    while at < bytes.len() && rows.len() < SAMPLE_ROWS {
        // The identity's column is not known yet, so no line looks like a row.
        let row = row_at(bytes, at, delimiter, &|_| false);
        let next = row.end;
        if next > SAMPLE_BYTES {
            break;
        }
        rows.push((at, row));
        at = next;
    }
    rows
}

fn cells_of<'a, 'b>(row: &'b Row<'a>) -> &'b [&'a [u8]] {
    row.cells.as_deref().unwrap_or(&[])
}

/// Offset of the lines after those of `--skip-rows`.
fn skip(bytes: &[u8], start: usize, count: usize) -> usize {
    (0..count).fold(start, |at, _| if at < bytes.len() { line_at(bytes, at).1 } else { at })
}

/// Decides the format of a list.
pub(crate) fn form(
    bytes: &[u8],
    options: &ListOptions,
    country: Country,
    day: Day,
) -> Result<ListFormat, Refusal> {
    if options.fixed.is_some() && (options.delimiter.is_some() || !options.ids.is_empty()) {
        return Err(CANNOT_BE_DONE);
    }
    if is_no_list(bytes) {
        return Err(NOT_A_LIST);
    }
    let is_identity = |cell: &[u8]| read(cell, country, day).is_ok();
    let bom = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    if let Some((offset, length)) = options.fixed {
        return fixed(bytes, bom, options, offset, length, country, day);
    }
    let (first_line, second_line) = line_at(bytes, bom);
    let separator = separator(first_line);
    let start = if separator.is_some() { second_line } else { bom };
    let delimiter = options.delimiter.or(separator).or_else(|| tried(bytes, start, options, &is_identity));

    let skipped_until = skip(bytes, start, options.skip_rows);
    let rows = sample(bytes, skipped_until, delimiter);
    let columns = columns(bytes, &rows, &is_identity);
    let is_cut = bytes.len() > SAMPLE_BYTES;
    let list = Sample {
        bytes,
        is_cut,
        rows: &rows,
        columns,
        encoding: encoding(bytes),
        options,
        country,
        is_identity: &is_identity,
    };
    let header = list.header()?;

    let below = header.map_or(0, |place| place + 1);
    let header_cells = header.map(|place| cells_of(&rows[place].1));
    let ids = list.ids(below, header_cells)?;
    let names = options.expected_ids.iter();
    let expected = names.map(|name| list.column(name, header_cells)).collect::<Result<Vec<_>, _>>()?;
    let id_column = match header_cells.and_then(|cells| cells.get(ids[0])) {
        Some(cell) if !cell.is_empty() => decoded(cell, list.encoding).replace("\"\"", "\""),
        _ => (ids[0] + 1).to_string(),
    };

    // Joined rows at the beginning show the columns less reliably than the header.
    let columns = header_cells.map_or(columns, |cells| cells.len().clamp(1, columns));
    let header_bytes = header.map(|place| rows[place].0..rows[place].1.end);
    let rows_begin = header_bytes.as_ref().map_or(skipped_until, |header| header.end);
    let skipped = bom..header_bytes.as_ref().map_or(skipped_until, |header| header.start);
    let mut skipped_rows = usize::from(separator.is_some());
    let mut at = start;
    while at < skipped_until {
        (at, skipped_rows) = (line_at(bytes, at).1, skipped_rows + 1);
    }
    skipped_rows += header.unwrap_or(0);
    // Text that is repeated in every file must hold no identity.
    let in_cells = header.is_some_and(|place| {
        rows[..=place].iter().any(|(at, row)| holds_person(bytes, *at, row, &is_identity))
    });
    if in_cells || !identities_in(&bytes[bom..rows_begin], country, day, false).is_empty() {
        return Err(CANNOT_BE_DONE);
    }
    Ok(ListFormat {
        encoding: list.encoding,
        delimiter,
        fixed: None,
        width: 0,
        columns,
        ids,
        expected,
        id_column,
        skipped,
        skipped_rows,
        header: header_bytes,
        rows: rows_begin,
    })
}

fn fixed(
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
        if !identities_in(&bytes[bom..row.end], country, day, false).is_empty() {
            return Err(CANNOT_BE_DONE);
        }
        if skipped_rows == options.skip_rows {
            header = Some(at..row.end);
            break;
        }
        (at, skipped_rows) = (row.end, skipped_rows + 1);
    }
    Ok(ListFormat {
        encoding: encoding(bytes),
        delimiter: None,
        fixed: Some((offset, length)),
        width: usual_width(bytes, header.as_ref().map_or(at, |header: &Range<usize>| header.end)),
        columns: 0,
        ids: vec![1],
        expected: Vec::new(),
        id_column: format!("{offset}:{length}"),
        skipped: bom..at,
        skipped_rows,
        rows: header.as_ref().map_or(at, |header: &Range<usize>| header.end),
        header,
    })
}

/// Bytes without line end that most of the first rows have, the smaller of equals; 0 if there are not several rows.
fn usual_width(bytes: &[u8], start: usize) -> usize {
    let bytes = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let (mut widths, mut at) = (Vec::new(), start);
    while at < bytes.len() && widths.len() < SAMPLE_ROWS - 1 {
        let (line, next) = line_at(bytes, at);
        widths.push(line.len());
        at = next;
    }
    let often = |width: usize| widths.iter().filter(|&&other| other == width).count();
    let most = widths.iter().map(|&width| (often(width), std::cmp::Reverse(width))).max();
    if widths.len() > 1 { most.map_or(0, |(_, width)| width.0) } else { 0 }
}

/// Whether a row has a cell that is an identity, or a line within a quoted cell has one, however it is cut.
fn holds_person(bytes: &[u8], start: usize, row: &Row<'_>, is_identity: &dyn Fn(&[u8]) -> bool) -> bool {
    let (_, second_line) = line_at(bytes, start);
    let from = if row.cells.is_none() { start } else { second_line.min(row.end) };
    let within = &bytes[from..row.end];
    let mut pieces = within.split(|byte| b";\t|,\r\n".contains(byte));
    has_identity(row, is_identity) || pieces.any(is_identity)
}

/// The delimiter that finds the most identities in the first rows.
fn tried(
    bytes: &[u8],
    start: usize,
    options: &ListOptions,
    is_identity: &dyn Fn(&[u8]) -> bool,
) -> Option<u8> {
    let mut best = None;
    for delimiter in *b";\t|," {
        let start = skip(bytes, start, options.skip_rows);
        let rows = sample(bytes, start, Some(delimiter));
        let widest = rows.iter().map(|(_, row)| cells_of(row).len()).max().unwrap_or(0);
        // Rows with an identity, or all if none has one; the smaller number of cells of equals.
        let has = |(at, row): &(usize, Row<'_>)| holds_person(bytes, *at, row, is_identity);
        let any = rows.iter().any(has);
        let counts: Vec<usize> =
            rows.iter().filter(|row| !any || has(row)).map(|(_, row)| cells_of(row).len()).collect();
        let often = |cells: usize| counts.iter().filter(|&&other| other == cells).count();
        let most = counts.iter().map(|&cells| (often(cells), std::cmp::Reverse(cells))).max();
        let Some((alike, std::cmp::Reverse(cells))) = most else { continue };
        if cells < 2 || alike * 2 < counts.len() {
            continue;
        }
        let ids = (0..widest).map(|column| identities(&rows, column, is_identity)).max().unwrap_or(0);
        let merit = (ids, alike, cells);
        if best.is_none_or(|(most, _)| merit > most) {
            best = Some((merit, delimiter));
        }
    }
    best.map(|(_, delimiter)| delimiter)
}

/// How many rows have an identity in a column.
fn identities(rows: &[(usize, Row<'_>)], column: usize, is_identity: &dyn Fn(&[u8]) -> bool) -> usize {
    rows.iter().filter(|(_, row)| cells_of(row).get(column).is_some_and(|cell| is_identity(cell))).count()
}

fn has_identity(row: &Row<'_>, is_identity: &dyn Fn(&[u8]) -> bool) -> bool {
    cells_of(row).iter().any(|cell| is_identity(cell))
}

/// The number of cells that most rows with an identity have.
fn columns(bytes: &[u8], rows: &[(usize, Row<'_>)], is_identity: &dyn Fn(&[u8]) -> bool) -> usize {
    let has = |(at, row): &(usize, Row<'_>)| holds_person(bytes, *at, row, is_identity);
    let some = rows.iter().any(has);
    let counted = rows.iter().filter(|row| !some || has(row));
    let counts: Vec<usize> = counted.map(|(_, row)| cells_of(row).len()).collect();
    // The smaller of equals.
    let often = |cells: usize| counts.iter().filter(|&&other| other == cells).count();
    let most = counts.iter().map(|&cells| (often(cells), std::cmp::Reverse(cells))).max();
    most.map_or(1, |(_, cells)| cells.0.max(1))
}

struct Sample<'a> {
    bytes: &'a [u8],
    /// Whether the list is longer than the sample.
    is_cut: bool,
    country: Country,
    rows: &'a [(usize, Row<'a>)],
    columns: usize,
    encoding: &'static str,
    options: &'a ListOptions,
    is_identity: &'a dyn Fn(&[u8]) -> bool,
}

impl Sample<'_> {
    fn texts(&self, row: &Row<'_>) -> Vec<String> {
        cells_of(row).iter().map(|cell| decoded(cell, self.encoding)).collect()
    }

    /// Index of the header among the sampled rows.
    fn header(&self) -> Result<Option<usize>, Refusal> {
        if let Some(name) = self.options.ids.iter().find(|id| !is_number(id)) {
            let first = &self.rows[..self.rows.len().min(HEADER_ROWS)];
            let is_exact = |row: &Row<'_>| self.texts(row).contains(name);
            let exact = first.iter().position(|(_, row)| is_exact(row));
            let place =
                exact.or_else(|| first.iter().position(|(_, row)| self.named(name, cells_of(row)).is_some()));
            return place.map(Some).ok_or(CANNOT_BE_DONE);
        }
        Ok(match self.options.header {
            Header::No => None,
            Header::Auto => self.auto(),
            Header::Yes => self.auto().or((!self.rows.is_empty()).then_some(0)),
        })
    }

    fn first(&self) -> Option<usize> {
        self.rows.iter().position(|(at, row)| holds_person(self.bytes, *at, row, self.is_identity))
    }

    fn auto(&self) -> Option<usize> {
        let above = self.first().unwrap_or(self.rows.len().min(HEADER_ROWS));
        let fits = |place: usize| {
            cells_of(&self.rows[place].1).len() * 2 >= self.columns && !self.may_be_person(place)
        };
        let known = |title: &String| known(title, self.country) != Known::No;
        let texts = |place: usize| self.texts(&self.rows[place].1);
        let found = (0..above)
            .find(|&place| fits(place) && texts(place).iter().any(known))
            .or_else(|| (0..above).find(|&place| fits(place) && self.has_usual_words(&self.rows[place].1)));
        // Only the first row that a rule finds counts, and no full row may be above it.
        let clear = |place: &usize| {
            let is_cut = self.is_cut && self.rows[*place].1.end >= SAMPLE_BYTES;
            *place < HEADER_ROWS && !is_cut && !(0..*place).any(|place| self.stands_for_person(place))
        };
        let found = if found.is_some() { found.filter(clear) } else { None };
        found.or_else(|| (0..above).find(|&place| self.is_unlike_the_rows(place)).filter(clear))
    }

    /// Whether the identity cell is empty or has a word for a withheld identity.
    fn may_be_person(&self, place: usize) -> bool {
        let Some(first) = self.first() else { return false };
        let texts = self.texts(&self.rows[place].1);
        let holding: Vec<usize> = (0..self.columns).filter(|&column| self.holds(column, first)).collect();
        let untold = |column: &usize| {
            texts.get(*column).is_none_or(|text| text.trim().is_empty() || is_withheld(text))
        };
        !holding.is_empty() && holding.iter().all(untold)
    }

    fn holds(&self, column: usize, from: usize) -> bool {
        let rows = &self.rows[from..];
        let count = identities(rows, column, self.is_identity);
        count > 0 && count * 2 >= rows.len()
    }

    /// Whether something is in every column, or in two of a row whose identity may be withheld.
    fn stands_for_person(&self, place: usize) -> bool {
        let filled = self.texts(&self.rows[place].1).iter().filter(|text| !text.trim().is_empty()).count();
        self.columns > 1 && (filled >= self.columns || filled >= 2 && self.may_be_person(place))
    }

    /// The second rule.
    fn has_usual_words(&self, row: &Row<'_>) -> bool {
        let texts = self.texts(row);
        let filled: Vec<&String> = texts.iter().filter(|text| !text.trim().is_empty()).collect();
        let is_word = |text: &str| is_usual(text) || known(text, self.country) != Known::No;
        let words = filled.iter().filter(|text| is_word(text)).count();
        let others_plain = filled
            .iter()
            .filter(|text| !is_word(text))
            .all(|text| !text.bytes().any(|byte| byte.is_ascii_digit()));
        words >= if self.columns == 1 { 1 } else { 2 } && words * 2 >= filled.len() && others_plain
    }

    /// The third rule.
    fn is_unlike_the_rows(&self, place: usize) -> bool {
        let Some(first) = self.first() else { return false };
        // With `--header yes` no column is known yet.
        if self.options.header == Header::Yes {
            return self.differs(place, first, None);
        }
        self.ids(0, None).is_ok_and(|ids| self.differs(place, first, Some(ids[0])))
    }

    fn differs(&self, place: usize, first: usize, id: Option<usize>) -> bool {
        let texts = self.texts(&self.rows[place].1);
        let is_new = |at: usize| !texts[..at].iter().any(|before| before.trim() == texts[at].trim());
        let differ = (0..texts.len()).all(is_new);
        let has_digit = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
        let with_digits = |column: &usize| {
            let rows = &self.rows[first..];
            let cells = rows.iter().filter_map(|(_, row)| cells_of(row).get(*column));
            let count = cells.filter(|cell| cell.iter().any(u8::is_ascii_digit)).count();
            Some(*column) != id && count * 5 >= rows.len() * 4
        };
        let digital: Vec<usize> = (0..self.columns).filter(with_digits).collect();
        texts.len() == self.columns
            && texts.len() >= 2
            && differ
            && !texts.iter().any(|text| text.trim().is_empty() || has_digit(text) || is_withheld(text))
            && (digital.len() >= 2 || digital.iter().any(|&column| self.holds(column, first)))
    }

    /// The columns of the identities, with the number of rows up to the header.
    fn ids(&self, below: usize, header: Option<&[&[u8]]>) -> Result<Vec<usize>, Refusal> {
        if !self.options.ids.is_empty() {
            let ids = self.options.ids.iter().map(|id| self.column(id, header));
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            let is_twice = ids.len() > 1 && ids[0] == ids[1];
            return if is_twice { Err(CANNOT_BE_DONE) } else { Ok(ids) };
        }
        // Without a header the rows above the first identity do not count.
        let from = if header.is_some() { below } else { self.first().unwrap_or(0) };
        let rows = &self.rows[from..];
        let widest = self.rows.iter().map(|(_, row)| cells_of(row).len()).max().unwrap_or(0);
        let holds = |column: &usize| {
            let count = identities(rows, *column, self.is_identity);
            count > 0 && count * 2 >= rows.len()
        };
        let holding: Vec<usize> = (0..widest).filter(holds).collect();
        if let [one] = holding[..] {
            return Ok(vec![one]);
        }
        let titles: Vec<Known> = header
            .unwrap_or(&[])
            .iter()
            .map(|cell| known(&decoded(cell, self.encoding), self.country))
            .collect();
        let candidates = if holding.is_empty() { (0..titles.len()).collect() } else { holding };
        let title = |column: usize| titles.get(column).copied().unwrap_or(Known::No);
        let best = candidates.iter().map(|&column| title(column)).max().unwrap_or(Known::No);
        let best_ones: Vec<usize> =
            candidates.into_iter().filter(|&column| best != Known::No && title(column) == best).collect();
        match best_ones.len() {
            1 => Ok(best_ones),
            _ if widest <= 1 => Ok(vec![0]),
            _ => Err(CANNOT_BE_DONE),
        }
    }

    /// The column with a name or number.
    fn column(&self, name: &str, header: Option<&[&[u8]]>) -> Result<usize, Refusal> {
        if is_number(name) {
            let number: usize = name.parse().map_err(|_| CANNOT_BE_DONE)?;
            let widest = self.rows.iter().map(|(_, row)| cells_of(row).len()).max().unwrap_or(0);
            let column = number.checked_sub(1).filter(|&column| widest == 0 || column < widest);
            return column.ok_or(CANNOT_BE_DONE);
        }
        self.named(name, header.unwrap_or(&[])).ok_or(CANNOT_BE_DONE)
    }

    /// The cell with a name: first exactly, then without case, marks and accents.
    fn named(&self, name: &str, cells: &[&[u8]]) -> Option<usize> {
        let titles: Vec<String> = cells.iter().map(|cell| decoded(cell, self.encoding)).collect();
        let exact = titles.iter().position(|title| title == name);
        exact.or_else(|| titles.iter().position(|title| plain(title) == plain(name)))
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}
