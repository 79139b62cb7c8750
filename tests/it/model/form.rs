//! The format of a list: delimiter, header, lines above it, and the identity's column, decided from its first rows and
//! the command line.

use super::delimiter::tried;
use super::fixed::{fixed, fixed_row};
use super::guard::holds_identity;
use super::identities::{Country, Day, read};
use super::names::{
    Known, decoded, ends_unreadable, is_header_word, is_kind, is_title, is_usual, is_weak_name, is_withheld,
    known, long_number, may_name_ids, names_recipients,
};
use super::rows::{Row, line_at, pieces, row_at, without_any_mark, without_marks};
use std::ops::Range;

/// Bytes and rows of the sample.
pub(super) const SAMPLE_BYTES: usize = 1 << 20;
pub(super) const SAMPLE_ROWS: usize = 1001;
/// Rows in which a header is looked for if no row has an identity.
pub(super) const HEADER_ROWS: usize = 30;

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
    /// Fixed width: bytes that a row of one recipient has at most.
    pub(crate) longest: usize,
    /// Cells that most rows have; 0 for fixed width.
    pub(crate) columns: usize,
    /// Cells that a row may have something in.
    pub(crate) most: usize,
    /// Columns with the identities of others.
    pub(crate) others: Vec<usize>,
    /// Those of them with little else.
    pub(crate) only_others: Vec<usize>,
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
pub(super) const CANNOT_BE_DONE: Refusal = 2;
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
        let id_and_shape = |line: &[u8]| {
            let pieces = pieces(line, self.delimiter);
            let cell = pieces.get(self.ids[0]).map(|cell| without_any_mark(cell));
            let id = cell.and_then(|cell| read(cell, country, day).ok());
            let seems_one = cell.is_some_and(|cell| ends_unreadable(&String::from_utf8_lossy(cell)));
            let is_whole = self.columns > 1 && pieces.len() == self.columns;
            (id, is_whole, is_whole && (self.columns >= 4 || seems_one))
        };
        let may_be_two = |first: &[u8], within: &[u8]| match (id_and_shape(first), id_and_shape(within)) {
            ((Some(one), ..), (Some(other), ..)) => one != other,
            ((Some(_), is_whole, _), (None, _, may_be)) | ((None, _, may_be), (Some(_), is_whole, _)) => {
                is_whole && may_be
            }
            _ => false,
        };
        row_at(bytes, at, self.delimiter, &may_be_two)
    }
}

/// The encoding as the first mebibyte shows it.
pub(super) fn encoding(bytes: &[u8]) -> &'static str {
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
pub(super) fn sample(bytes: &[u8], start: usize, delimiter: Option<u8>) -> Vec<(usize, Row<'_>)> {
    let (mut rows, mut at) = (Vec::new(), start);
    while at < bytes.len() && rows.len() < SAMPLE_ROWS {
        // The identity's column is not known yet, so no line looks like a row.
        let row = row_at(bytes, at, delimiter, &|_, _| false);
        let next = row.end;
        if next > SAMPLE_BYTES || next == SAMPLE_BYTES && bytes.len() > SAMPLE_BYTES {
            break;
        }
        rows.push((at, row));
        at = next;
    }
    rows
}

pub(super) fn cells_of<'a, 'b>(row: &'b Row<'a>) -> &'b [&'a [u8]] {
    row.cells.as_deref().unwrap_or(&[])
}

/// Offset of the lines after those of `--skip-rows`.
pub(super) fn skip(bytes: &[u8], start: usize, count: usize) -> usize {
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
    let delimiter = match options.delimiter.or(separator) {
        Some(delimiter) => Some(delimiter),
        None => tried(bytes, start, options, country, &is_identity)?,
    };

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
    if header.is_some_and(|place| list.holds_a_row(place)) {
        return Err(CANNOT_BE_DONE);
    }
    if header.is_none() && list.is_of_joined_rows(ids[0], day) {
        return Err(NOT_A_LIST);
    }
    let names = options.expected_ids.iter();
    let expected = names.map(|name| list.column(name, header_cells)).collect::<Result<Vec<_>, _>>()?;
    let id_column = match header_cells.and_then(|cells| cells.get(ids[0])) {
        Some(cell) if !cell.is_empty() => decoded(cell, list.encoding).replace("\"\"", "\""),
        _ => (ids[0] + 1).to_string(),
    };

    let (columns, most) = list.cells_of_rows(header_cells);
    let others = list.others(columns, header_cells, &ids);
    let only_others = list.only_others(&others, below);
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
    if in_cells || holds_identity(&bytes[bom..rows_begin], country, day) {
        return Err(CANNOT_BE_DONE);
    }
    Ok(ListFormat {
        encoding: list.encoding,
        delimiter,
        fixed: None,
        width: 0,
        longest: 0,
        columns,
        most,
        others,
        only_others,
        ids,
        expected,
        id_column,
        skipped,
        skipped_rows,
        header: header_bytes,
        rows: rows_begin,
    })
}

/// Whether a row has a cell that is an identity, or a line within a quoted cell has one, however it is cut.
pub(super) fn holds_person(
    bytes: &[u8],
    start: usize,
    row: &Row<'_>,
    is_identity: &dyn Fn(&[u8]) -> bool,
) -> bool {
    let (_, second_line) = line_at(bytes, start);
    let from = if row.cells.is_none() { start } else { second_line.min(row.end) };
    let within = &bytes[from..row.end];
    let mut pieces = within.split(|byte| b";\t|,\r\n".contains(byte));
    has_identity(row, is_identity) || pieces.any(is_identity)
}

/// How many rows have an identity in a column.
pub(super) fn identities(
    rows: &[(usize, Row<'_>)],
    column: usize,
    is_identity: &dyn Fn(&[u8]) -> bool,
) -> usize {
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

pub(super) struct Sample<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether the list is longer than the sample.
    pub(super) is_cut: bool,
    pub(super) country: Country,
    pub(super) rows: &'a [(usize, Row<'a>)],
    pub(super) columns: usize,
    pub(super) encoding: &'static str,
    pub(super) options: &'a ListOptions,
    pub(super) is_identity: &'a dyn Fn(&[u8]) -> bool,
}

impl Sample<'_> {
    fn texts(&self, row: &Row<'_>) -> Vec<String> {
        cells_of(row).iter().map(|cell| decoded(cell, self.encoding)).collect()
    }

    /// Index of the header among the sampled rows.
    fn header(&self) -> Result<Option<usize>, Refusal> {
        if let Some(name) = self.options.ids.iter().find(|id| !is_number(id)) {
            let within = self.rows.len().min(HEADER_ROWS);
            let above = self.first().unwrap_or(within).min(HEADER_ROWS);
            let is_exact =
                |place: &usize| self.texts(&self.rows[*place].1).iter().any(|text| text.trim() == name);
            let is_like = |place: &usize| self.named(name, cells_of(&self.rows[*place].1)).is_some();
            // The last one above the rows, or else the first one.
            let exact = (0..above).rev().find(is_exact).or_else(|| (0..within).find(is_exact));
            let place =
                exact.or_else(|| (0..above).rev().find(is_like)).or_else(|| (0..within).find(is_like));
            let place = place.ok_or(CANNOT_BE_DONE)?;
            return if self.may_be_copied_above(place) { Ok(Some(place)) } else { Err(CANNOT_BE_DONE) };
        }
        Ok(match self.options.header {
            Header::No => None,
            Header::Auto => self.auto(),
            Header::Yes => match self.auto() {
                None if !self.rows.is_empty() && self.may_be_person(0) => return Err(CANNOT_BE_DONE),
                found => found.or((!self.rows.is_empty()).then_some(0)),
            },
        })
    }

    pub(super) fn first(&self) -> Option<usize> {
        self.rows.iter().position(|(at, row)| holds_person(self.bytes, *at, row, self.is_identity))
    }

    fn auto(&self) -> Option<usize> {
        let above = self.first().unwrap_or(self.rows.len()).min(HEADER_ROWS);
        let cells = |place: usize| cells_of(&self.rows[place].1).len();
        let has_half = |place: usize| cells(place) * 2 >= self.columns;
        let known = |title: &String| known(title, self.country) != Known::No;
        let has_words = |place: usize| self.has_usual_words(&self.rows[place].1);
        let is_first_rule = |place: usize| {
            self.id_titles(place).iter().any(known)
                && (has_half(place) || cells(place) > 1 && has_words(place))
        };
        let is_second_rule = |place: usize| has_half(place) && has_words(place);
        // The last row that a rule finds, below no row of a person.
        let may_be = |place: usize| self.may_be_header(place) && self.may_be_copied_above(place);
        let found = (0..above)
            .rfind(|&place| may_be(place) && is_first_rule(place))
            .or_else(|| (0..above).rfind(|&place| may_be(place) && is_second_rule(place)));
        let unlike = (0..above).find(|&place| self.is_unlike_the_rows(place));
        found.or_else(|| unlike.filter(|&place| may_be(place)))
    }

    fn may_be_copied_above(&self, place: usize) -> bool {
        let is_cut = self.is_cut && self.rows[place].1.end >= SAMPLE_BYTES;
        place < HEADER_ROWS && !is_cut && !(0..place).any(|place| self.stands_for_person(place))
    }

    /// The columns of the identities of half of the rows, or else of the most.
    fn likely(&self) -> Vec<usize> {
        let Some(first) = self.first() else { return Vec::new() };
        let count = |column: usize| identities(&self.rows[first..], column, self.is_identity);
        let most = (0..self.columns).map(count).max().unwrap_or(0);
        let is_half = |column: usize| count(column) > 0 && count(column) * 2 >= self.rows.len() - first;
        let halves: Vec<usize> = (0..self.columns).filter(|&column| is_half(column)).collect();
        match halves.is_empty() {
            true => (0..self.columns).filter(|&column| most > 0 && count(column) == most).collect(),
            false => halves,
        }
    }

    fn id_titles(&self, place: usize) -> Vec<String> {
        let texts = self.texts(&self.rows[place].1);
        match self.likely() {
            columns if columns.is_empty() => texts,
            columns => columns.into_iter().filter_map(|column| texts.get(column).cloned()).collect(),
        }
    }

    fn may_be_header(&self, place: usize) -> bool {
        let (all, titles) = (self.texts(&self.rows[place].1), self.id_titles(place));
        let usual = |text: &String| is_usual(text) || known(text, self.country) != Known::No;
        let is_known = titles.iter().any(|text| known(text, self.country) != Known::No);
        let has_few_digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count() <= 2;
        let is_fitting =
            |text: &String| text.trim().is_empty() || is_title(text) || is_known && has_few_digits(text);
        let named = titles.iter().any(|title| may_name_ids(title, self.country));
        // A kind of recipient or of number may be said in a row, too.
        let words = |texts: &[String]| texts.iter().filter(|text| usual(text)).count();
        let is_sure = self.columns == 1
            || words(&all) > words(&titles)
            || titles.iter().any(|text| known(text, self.country) != Known::No && !is_kind(text));
        (named || all.iter().filter(|text| usual(text)).count() >= 3)
            && (self.first().is_none() || is_sure && titles.iter().all(is_fitting))
            && all.iter().all(|text| long_number(text) < 5)
            && !self.may_be_person(place)
    }

    /// Whether there is nothing, or no title, where the identities are.
    fn may_be_person(&self, place: usize) -> bool {
        self.first().is_some()
            && self.id_titles(place).iter().all(|text| text.trim().is_empty() || !is_title(text))
    }

    /// Whether a header has the first row in it.
    fn holds_a_row(&self, place: usize) -> bool {
        let texts = self.texts(&self.rows[place].1);
        let filled = texts.iter().filter(|text| !text.trim().is_empty()).count();
        let longest = texts.iter().map(|text| long_number(text)).max().unwrap_or(0);
        let last = texts.iter().rposition(|text| !text.trim().is_empty()).map_or(0, |last| last + 1);
        longest >= 9
            || filled > self.columns && (longest >= 5 || texts.iter().any(|text| ends_unreadable(text)))
            || self.columns > 1 && last > 2 && last >= 2 * self.columns - 1 && {
                let mut beyond = texts[self.columns..].iter();
                !beyond.any(|text| is_usual(text) || known(text, self.country) != Known::No)
            }
    }

    /// Whether half of the rows end a cell with the identity of another one right behind a text.
    fn is_of_joined_rows(&self, id: usize, day: Day) -> bool {
        let id_of = |cell: &[u8]| read(cell, self.country, day).ok();
        let lengths: &[usize] = if self.country == Country::Sweden { &[13, 12, 11, 10] } else { &[12, 11] };
        let with_id: Vec<_> = self
            .rows
            .iter()
            .filter_map(|(_, row)| {
                let own = id_of(cells_of(row).get(id)?)?;
                Some((own, row))
            })
            .collect();
        let is_joined = |(own, row): &&(String, &Row<'_>)| {
            let others = cells_of(row).iter().filter(|cell| id_of(cell).is_none());
            others.map(|cell| cell.trim_ascii_end()).any(|cell| {
                let digits_of = |text: &[u8]| text.iter().filter(|byte| byte.is_ascii_digit()).count();
                let begins = lengths.iter().find_map(|&length| {
                    let (text, after) = (cell.get(..length)?, cell.get(length)?);
                    let other = id_of(text).filter(|_| digits_of(text) >= 10)?;
                    Some(other != *own && (after.is_ascii_alphabetic() || *after >= 0x80))
                });
                if begins == Some(true) {
                    return true;
                }
                let ends = lengths.iter().filter_map(|length| cell.len().checked_sub(*length));
                let has_digits = |at: usize| cell[at].is_ascii_digit() && digits_of(&cell[at..]) >= 10;
                let found = ends.filter(|&at| has_digits(at)).find_map(|at| Some((at, id_of(&cell[at..])?)));
                found.filter(|(at, _)| *at > 0).is_some_and(|(at, other)| {
                    let before = cell[at - 1];
                    let is_behind =
                        before.is_ascii_alphanumeric() || before >= 0x80 || b"\t|".contains(&before);
                    is_behind && other != *own
                })
            })
        };
        let joined = with_id.iter().filter(is_joined).count();
        joined > 0 && joined * 2 >= with_id.len()
    }

    /// Whether a row that is no header has the exact name of another column.
    pub(super) fn names_another_column(&self) -> bool {
        let Some(first) = self.first() else { return false };
        let likely = self.likely();
        (0..first.min(HEADER_ROWS)).any(|place| {
            let texts = self.texts(&self.rows[place].1);
            let has_name = texts.iter().enumerate().any(|(column, title)| {
                let rows = &self.rows[first..];
                let same = rows.iter().filter(|(_, row)| {
                    self.texts(row).get(column).is_some_and(|text| text.trim() == title.trim())
                });
                !likely.contains(&column)
                    && names_recipients(title, self.country)
                    && same.count() * 4 < rows.len()
            });
            has_name && self.id_titles(place).iter().any(|text| is_title(text))
        })
    }

    /// How many cells rows have, and in how many they may have something.
    fn cells_of_rows(&self, header: Option<&[&[u8]]>) -> (usize, usize) {
        let usual = self.columns;
        let of_two = |cells: usize| if cells < 2 { 2 } else { 2 * cells - 1 };
        let is_titled = |cell: &&[u8]| !decoded(cell, self.encoding).trim().is_empty();
        let named = header.and_then(|cells| cells.iter().rposition(is_titled));
        let most = match named.map_or(0, |last| last + 1) {
            0 if self.rows.is_empty() => usize::MAX,
            0 => usual,
            titles if usual < of_two(titles) => usual.max(titles),
            titles => titles,
        };
        (usual.min(most), most)
    }

    /// The columns with identities, or a name of them, beside the identity's own.
    fn others(&self, usual: usize, header: Option<&[&[u8]]>, ids: &[usize]) -> Vec<usize> {
        let is_other = |column: &usize| {
            let title = header.and_then(|cells| cells.get(*column));
            let title = title.map_or(String::new(), |title| decoded(title, self.encoding));
            let is_named = known(&title, self.country) != Known::No && !is_weak_name(&title);
            let rows = self.rows.iter().map(|(_, row)| cells_of(row)).filter(|cells| cells.len() == usual);
            is_named || rows.into_iter().any(|cells| (self.is_identity)(cells[*column]))
        };
        (0..usual).filter(|column| !ids.contains(column)).filter(is_other).collect()
    }

    /// Those of some columns in which half of what is there is an identity.
    fn only_others(&self, others: &[usize], below: usize) -> Vec<usize> {
        let is_one = |column: &usize| {
            let cells = self.rows[below..].iter().filter_map(|(_, row)| cells_of(row).get(*column).copied());
            let filled: Vec<&[u8]> = cells.filter(|cell| !cell.trim_ascii().is_empty()).collect();
            let ids = filled.iter().filter(|cell| (self.is_identity)(cell)).count();
            ids > 0 && ids * 2 >= filled.len()
        };
        others.iter().copied().filter(is_one).collect()
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
        let is_word = |text: &str| is_header_word(text, self.country);
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
}

pub(super) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}
