//! Detects rows with the data of several recipients, and rows that are not letters.
//!
//! A row goes to the operator of one identity. If two rows were joined (by a lost line end, by files put together
//! without one, by a quotation mark that is never closed), the data of a second recipient would go there too. So every
//! row with an identity is searched for other identities; `docs/lists.md` has the rules.

use super::cells::{Cells, without_line_end};
use super::footer::is_footer;
use super::id_numbers::IdNumbers;
use super::lines::RUN_DIGITS;
use super::rows::{Layout, RowProblem, RowRules};
use super::shape::RowShape;
use super::titles::Titles;
use crate::identities::{Country, Identity, Rejection, separator_bytes};
use std::ops::Range;

/// What rows are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    /// How rows are read.
    pub(super) rules: RowRules,
    /// How many cells or bytes rows have.
    pub(super) shape: RowShape,
    /// Columns, from 0, in which other identities are expected.
    pub(super) expected: Vec<usize>,
    /// The header without its line end; empty if there is none.
    pub(super) header: Vec<u8>,
    /// The titles of the list.
    pub(super) titles: Titles,
    /// Whether the byte 85 may be the line end NEL: in Windows-1252, where it is otherwise `…`.
    pub(super) has_nel: bool,
    /// Whether every other cell is read as the identity's is.
    pub(super) every_cell: bool,
}

/// What a row holds beside its own identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuardFinding {
    /// No other identity.
    Clean,
    /// Another identity.
    OtherIdentity,
    /// Another identity, and a sign that several rows were joined.
    JoinedRows,
    /// More than the list has columns.
    ExtraCells,
    /// Fewer or more cells than usual, with another person's identity perhaps in the identity's column.
    ShiftedCells,
}

impl Guard {
    /// Whether rows can hold anything beside the identity's cell.
    pub(super) fn is_needed(&self) -> bool {
        !matches!(self.rules.layout, Layout::Delimited { delimiter: None, .. })
    }

    /// Whether every row is searched: one without a sign of another identity may have lost it.
    pub(super) fn compares_every_row(&self) -> bool {
        let has_neighbours = match self.rules.layout {
            Layout::Delimited { column, .. } => self.shape.neighbours(column).next().is_some(),
            Layout::Fixed { .. } => false,
        };
        self.every_cell || has_neighbours
    }

    /// The delimiter that rows are compared by, and how many of them most rows have. `None` if rows are not compared by it.
    pub(super) fn delimiters(&self) -> (Option<u8>, usize) {
        match (&self.rules.layout, &self.shape) {
            (&Layout::Delimited { delimiter: Some(delimiter), .. }, RowShape::Cells { usual, .. }) => {
                (Some(delimiter), usual - 1)
            }
            _ => (None, 0),
        }
    }

    /// Bytes beyond which a row of fixed width may be two, with line end and blanks at its end.
    pub(super) fn longest(&self) -> usize {
        match self.shape {
            RowShape::Bytes { most, .. } => most,
            RowShape::Cells { .. } => usize::MAX,
        }
    }

    /// Searches a row for identities other than `own`, outside the cells `known`, and compares its cells with those that
    /// rows usually have.
    pub(super) fn search(
        &self,
        bytes: &[u8],
        row: Range<usize>,
        own: &[Identity],
        known: &[Range<usize>],
    ) -> GuardFinding {
        let cells = self.cells(bytes, &row);
        match self.search_identities(bytes, row.clone(), &cells, own, known) {
            GuardFinding::JoinedRows => GuardFinding::JoinedRows,
            _ if self.shape.has_extra(bytes, &row, &cells, known) => GuardFinding::ExtraCells,
            _ if self.shape.is_shifted(&self.rules, bytes, &cells) => GuardFinding::ShiftedCells,
            _ if self.every_cell && self.has_other_cell(bytes, &cells, own) => GuardFinding::OtherIdentity,
            finding => finding,
        }
    }

    /// Whether digits are an identity, and not one of a row's own, of which `text` has the spelling.
    pub(super) fn is_other(&self, digits: &[u8], text: &[u8], own: &[Identity]) -> bool {
        let mut readings = self.rules.ids.readings(digits).peekable();
        let is_own = |identity: &Identity| own.iter().any(|mine| is_same(mine, identity, text));
        readings.peek().is_some() && !readings.any(|identity| is_own(&identity))
    }

    /// Whether a cell ends with a whole identity, other than a row's own, right behind a letter, or behind a digit of a text:
    /// as where the last cell of one row and the first one of the next touch.
    fn ends_with_other(&self, cell: &[u8], own: &[Identity]) -> bool {
        identities_at_end(cell, &self.rules.ids).any(|(before, text, identity)| {
            let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
            let is_behind = match before.last() {
                Some(byte) if byte.is_ascii_digit() => text.len() >= 11 && before.iter().any(is_letter),
                last => last.is_some_and(is_letter),
            };
            is_behind && is_plain(text, &identity) && !own.iter().any(|mine| is_same(mine, &identity, text))
        })
    }

    /// Whether a cell is another identity than a row's own, in any spelling.
    fn has_other_cell(&self, bytes: &[u8], cells: &[Range<usize>], own: &[Identity]) -> bool {
        cells.iter().any(|cell| {
            let text = &bytes[cell.clone()];
            // Also with separators that identities do not have: 1968-10-19-9809, 681019/9809.
            let is_separated = text.iter().all(|byte| byte.is_ascii_digit() || b" -/._()+".contains(byte));
            let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
            self.is_other(text, text, own)
                || is_separated && digits.len() >= 10 && self.is_other(&digits, text, own)
        })
    }

    /// Whether another identity than a row's own begins with a run of digits.
    fn is_other_run(&self, bytes: &[u8], run: &Range<usize>, own: &[Identity]) -> bool {
        spellings(&self.rules.ids, bytes, run).any(|candidate| {
            let text = &bytes[candidate];
            self.is_other(text, text, own) && self.rules.ids.readings(text).any(|id| is_plain(text, &id))
        })
    }

    fn search_identities(
        &self,
        bytes: &[u8],
        row: Range<usize>,
        cells: &[Range<usize>],
        own: &[Identity],
        known: &[Range<usize>],
    ) -> GuardFinding {
        let has_more = match self.shape {
            RowShape::Cells { most, .. } => cells.len() > most,
            RowShape::Bytes { usual, .. } => without_line_end(&bytes[row.clone()]).len() > usual,
        };
        let sign = match has_more || self.every_cell {
            true => Some(JoiningSign::More),
            false => mark_of_joining(&bytes[row.clone()], self.has_nel),
        };
        if let Some(sign) = sign {
            // A cell may belong to another column than its position says.
            let is_read =
                |cell: &&Range<usize>| self.rules.ids.readings(&bytes[(*cell).clone()]).next().is_some();
            let own_cells: Vec<Range<usize>> = known.iter().filter(is_read).cloned().collect();
            let mut runs = std::iter::successors(next_run(&bytes[..row.end], row.start), |run| {
                next_run(&bytes[..row.end], run.end)
            });
            // A run in the field of a list of fixed width may be longer than the field.
            let is_own = |run: &Range<usize>| match sign {
                JoiningSign::More => own_cells.iter().any(|cell| contains(cell, run)),
                JoiningSign::Mark | JoiningSign::LineEnd => overlaps(&own_cells, run),
            };
            if !self.every_cell && runs.all(|run| is_own(&run)) {
                return GuardFinding::Clean;
            }
            return match self.holds_other(bytes, row, own, &own_cells, sign) {
                true => GuardFinding::JoinedRows,
                false => GuardFinding::Clean,
            };
        }
        if cells.iter().any(|cell| !known.contains(cell) && self.ends_with_other(&bytes[cell.clone()], own)) {
            return GuardFinding::JoinedRows;
        }
        let mut at = row.start;
        while let Some(run) = next_run(&bytes[..row.end], at) {
            at = run.end;
            if overlaps(known, &run) || !self.is_other_run(&bytes[..row.end], &run, own) {
                continue;
            }
            if !self.expected.is_empty() {
                let column = cells.iter().position(|cell| cell.contains(&run.start));
                if column.is_some_and(|column| self.expected.contains(&column)) {
                    continue;
                }
            }
            return GuardFinding::OtherIdentity;
        }
        GuardFinding::Clean
    }

    /// Whether a row that may be two holds another identity than `own`, in any spelling that the identity's column may have:
    /// each sequence of groups of digits with what may be between them is read; if the row has more cells or bytes than
    /// usual, also the last digits of each group, as those of a joined row may precede them.
    /// Parts of the cells that have `own` are not others.
    fn holds_other(
        &self,
        bytes: &[u8],
        row: Range<usize>,
        own: &[Identity],
        own_cells: &[Range<usize>],
        sign: JoiningSign,
    ) -> bool {
        let delimiter = match self.rules.layout {
            Layout::Delimited { delimiter, .. } => delimiter,
            Layout::Fixed { .. } => None,
        };
        let is_other = |candidate: Range<usize>| {
            if own_cells.iter().any(|cell| contains(cell, &candidate)) {
                return false;
            }
            let text = &bytes[candidate];
            let counts =
                |identity: Identity| sign != JoiningSign::LineEnd || !may_be_something_else(text, &identity);
            self.is_other(text, text, own) && self.rules.ids.readings(text).any(counts)
        };
        let mut at = row.start;
        while let Some(group) = next_digits(&bytes[..row.end], at) {
            at = group.end;
            let mut end = group.end;
            if is_other(group.clone()) {
                return true;
            }
            // Longer spellings that begin with this group.
            while let Some(next) = next_digits(&bytes[..row.end], end) {
                let between = &bytes[end..next.start];
                if next.end - group.start > SPELLING_BYTES
                    || !between.iter().all(|&byte| may_separate(byte, delimiter))
                {
                    break;
                }
                end = next.end;
                if is_other(group.start..end) {
                    return true;
                }
            }
            if sign == JoiningSign::More
                && bytes[group.start].is_ascii_digit()
                && last_digits(&self.rules.ids, &bytes[..row.end], &group).any(is_other)
            {
                return true;
            }
        }
        false
    }

    /// Whether digits outside the identity's field continue those in it, in a row with more bytes than usual. Then one run
    /// may have two identities.
    #[inline(always)]
    pub(super) fn may_touch_another(&self, bytes: &[u8], row: &Range<usize>, field: &Range<usize>) -> bool {
        let is_digit = |at: usize| row.contains(&at) && bytes[at].is_ascii_digit();
        let RowShape::Bytes { usual, .. } = self.shape else { return false };
        (is_digit(field.end) || field.start > row.start && is_digit(field.start - 1))
            && without_line_end(&bytes[row.clone()]).len() > usual
    }

    fn cells(&self, bytes: &[u8], row: &Range<usize>) -> Vec<Range<usize>> {
        match self.rules.layout {
            Layout::Delimited { delimiter, .. } => {
                Cells::new(bytes, row.clone(), delimiter).map_while(Result::ok).collect()
            }
            Layout::Fixed { .. } => Vec::new(),
        }
    }

    /// Why a row without identity is clearly not a letter, if it is not.
    pub(super) fn not_a_letter(&self, row: &[u8]) -> Option<RowProblem> {
        let delimiter = match self.rules.layout {
            Layout::Delimited { delimiter, .. } => delimiter,
            Layout::Fixed { .. } => None,
        };
        let has_quotes = matches!(self.rules.layout, Layout::Delimited { .. });
        let is_blank =
            |&byte: &u8| byte.is_ascii_whitespace() || Some(byte) == delimiter || has_quotes && byte == b'"';
        if row.iter().all(is_blank) {
            return Some(RowProblem::BlankRow);
        }
        let text = without_line_end(row.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(row));
        if !self.header.is_empty() && text == self.header {
            return Some(RowProblem::RepeatedHeader);
        }
        if self.is_other_header(text) {
            return Some(RowProblem::OtherHeader);
        }
        is_footer(row).then_some(RowProblem::Footer)
    }

    /// Whether a row has a title of the identities' column in another column, and a title of the list or a word beside it.
    fn is_other_header(&self, row: &[u8]) -> bool {
        if !matches!(self.rules.layout, Layout::Delimited { .. }) || self.titles.is_empty() {
            return false;
        }
        let cells = self.cells(row, &(0..row.len()));
        let text = |cell: Range<usize>| match self.has_nel {
            true => encoding_rs::WINDOWS_1252.decode_without_bom_handling(&row[cell]).0.into_owned(),
            false => String::from_utf8_lossy(&row[cell]).into_owned(),
        };
        let texts: Vec<String> = cells.into_iter().map(text).collect();
        self.titles.are_moved(&texts)
    }
}

/// Bytes of whole identities, with and without a sign or the century, the longest first.
pub(super) const fn whole_lengths(country: Country) -> &'static [usize] {
    match country {
        Country::Sweden => &[13, 12, 11, 10],
        Country::Norway => &[12, 11],
    }
}

/// The identity with which a cell ends, its text, and what is before it: of each country the longest one, whose last digits are
/// no other one.
pub(super) fn identities_at_end<'c>(
    cell: &'c [u8],
    ids: &IdNumbers,
) -> impl Iterator<Item = (&'c [u8], &'c [u8], Identity)> {
    let (cell, today) = (cell.trim_ascii_end(), ids.today);
    ids.countries().filter_map(move |country| {
        let ends = whole_lengths(country).iter().filter_map(|length| cell.len().checked_sub(*length));
        ends.map(|at| cell.split_at(at)).find_map(|(before, text)| {
            let is_whole = text[0].is_ascii_digit() && digits_in(text) >= 10;
            let identity = Identity::parse(text, country, today).ok().filter(|_| is_whole)?;
            Some((before, text, identity))
        })
    })
}

fn contains(cell: &Range<usize>, part: &Range<usize>) -> bool {
    cell.start <= part.start && part.end <= cell.end
}

/// Whether some bytes have six digits in succession.
pub(super) fn holds_run(bytes: &[u8]) -> bool {
    next_run(bytes, 0).is_some()
}

/// Whether a part of a row has bytes in common with one of some others.
fn overlaps(others: &[Range<usize>], part: &Range<usize>) -> bool {
    others.iter().any(|other| part.start < other.end && other.start < part.end)
}

/// The next maximal run of digits that has at least six.
pub(super) fn next_run(bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
    while at < bytes.len() {
        let start = at + bytes[at..].iter().position(u8::is_ascii_digit)?;
        let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        at = start + length;
        if length >= RUN_DIGITS {
            return Some(start..at);
        }
    }
    None
}

/// Whether some bytes hold an identity in one of the searched spellings, also with a wrong check digit.
pub(super) fn holds_identity(rules: &RowRules, bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(run) = next_run(bytes, at) {
        at = run.end;
        let is_identity = |text: Range<usize>| {
            let text = &bytes[text];
            match rules.identity(text) {
                Ok(identity) => is_plain(text, &identity),
                Err(Rejection::Ambiguous) => rules.ids.readings(text).next().is_some(),
                // With a typing error, it is somebody's all the same; ten digits alone may be a telephone number.
                Err(rejection) => rejection == Rejection::BadCheckDigit && text.len() != 10,
            }
        };
        if spellings(&rules.ids, bytes, &run).any(is_identity) {
            return true;
        }
    }
    false
}

/// The end of exactly `digits` digits that follow a run and one separator.
fn digits_after(bytes: &[u8], run: &Range<usize>, digits: usize) -> Option<usize> {
    let start = run.end + separator_bytes(&bytes[run.end..])?;
    let count = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count == digits).then_some(start + digits)
}

/// The possible identities that begin with a run of digits, one of each country.
pub(super) fn spellings(
    ids: &IdNumbers,
    bytes: &[u8],
    run: &Range<usize>,
) -> impl Iterator<Item = Range<usize>> {
    ids.countries().filter_map(|country| spelling(country, bytes, run))
}

/// The possible identity that begins with a run of digits.
fn spelling(country: Country, bytes: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    let is_person = || bytes[run.start + 2] < b'2';
    let end = match country {
        Country::Sweden => match run.len() {
            12 => Some(run.end),
            10 if is_person() => Some(run.end),
            6 | 8 => digits_after(bytes, run, 4),
            _ => None,
        },
        Country::Norway => match run.len() {
            11 => Some(run.end),
            6 => digits_after(bytes, run, 5),
            _ => None,
        },
    };
    end.map(|end| run.start..end)
}

/// Longest spelling of an identity that is read in a row that may be two: with spaces, dashes and invisible characters
/// between its digits.
const SPELLING_BYTES: usize = 48;

/// The next digits, all ASCII or all full-width: in UTF-8, U+FF10 to U+FF19.
fn next_digits(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let wide = |at: usize| matches!(bytes.get(at..at + 3), Some([0xEF, 0xBC, 0x90..=0x99]));
    let start = (at..bytes.len()).find(|&at| bytes[at].is_ascii_digit() || bytes[at] == 0xEF && wide(at))?;
    let mut end = start;
    if bytes[start].is_ascii_digit() {
        end += bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    } else {
        while wide(end) {
            end += 3;
        }
    }
    Some(start..end)
}

/// Whether a byte may be between the digits of an identity: white space, a dash, a dot, a part of another character.
fn may_separate(byte: u8, delimiter: Option<u8>) -> bool {
    Some(byte) != delimiter && (!byte.is_ascii() || matches!(byte, b' ' | b'\t' | b'-' | b'+' | b'.'))
}

/// The possible identities at the end of a run, where digits of a joined row precede them; also without a zero that was lost.
fn last_digits(ids: &IdNumbers, bytes: &[u8], run: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    ids.countries().flat_map(|country| last_digits_of(country, bytes, run))
}

fn last_digits_of(
    country: Country,
    bytes: &[u8],
    run: &Range<usize>,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let last = |digits: usize, end: usize| (run.len() > digits).then(|| run.end - digits..end);
    let candidates = match country {
        Country::Sweden => match digits_after(bytes, run, 4) {
            Some(end) => [last(8, end), last(6, end), last(5, end)],
            None => [last(12, run.end), last(10, run.end), last(9, run.end)],
        },
        Country::Norway => match digits_after(bytes, run, 5) {
            Some(end) => [last(6, end), last(5, end), None],
            None => [last(11, run.end), last(10, run.end), None],
        },
    };
    candidates.into_iter().flatten()
}

/// Whether a text alone is an identity. Ten digits of an organisation are not: too often they are something else, such
/// as the reference number of an invoice.
pub(super) fn is_plain(text: &[u8], identity: &Identity) -> bool {
    text.len() != 10 || !identity.as_bytes().starts_with(b"16")
}

/// Whether a text that is an identity may be something else in a row of which only a line end is a sign: ten digits of an
/// organisation, or fewer digits than a number has.
fn may_be_something_else(text: &[u8], identity: &Identity) -> bool {
    let digits = digits_in(text);
    let is_short = match identity.as_bytes() {
        [_, _, ten @ ..] if ten.len() == 10 => digits < 10,
        all => digits < all.len(),
    };
    is_short || !is_plain(text, identity)
}

/// Number of digits, ASCII and full-width.
fn digits_in(text: &[u8]) -> usize {
    let wide = memchr::memmem::find_iter(text, b"\xEF\xBC")
        .filter(|at| matches!(text.get(at + 2), Some(0x90..=0x99)));
    text.iter().filter(|byte| byte.is_ascii_digit()).count() + wide.count()
}

/// Whether a text is the row's own number; ten digits, or nine without a lost zero, leave the century open.
fn is_same(own: &Identity, other: &Identity, text: &[u8]) -> bool {
    let digits = digits_in(text);
    match (own.as_bytes(), other.as_bytes()) {
        ([_, _, own @ ..], [_, _, other @ ..]) if digits < 11 && own.len() == 10 => own == other,
        (own, other) => own == other,
    }
}

/// A sign that a row was two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JoiningSign {
    /// More cells than usual, or more bytes in a list of fixed width.
    More,
    /// A separator that only some programs treat as one, or a byte order mark.
    Mark,
    /// A line end, which cells between quotation marks may have.
    LineEnd,
}

/// The mark of two joined rows in a row.
fn mark_of_joining(row: &[u8], has_nel: bool) -> Option<JoiningSign> {
    let text = without_line_end(row);
    let has = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    let is_mark = |byte: &u8| matches!(byte, 0 | 0x0B | 0x0C | 0x1A | 0x1C..=0x1F);
    if text.iter().any(is_mark)
        || has_nel && memchr::memchr(0x85, text).is_some()
        || has(b"\xC2\x85")
        || has(b"\xE2\x80\xA8")
        || has(b"\xE2\x80\xA9")
        || has(b"\xEF\xBB\xBF")
    {
        return Some(JoiningSign::Mark);
    }
    memchr::memchr2(b'\n', b'\r', text).map(|_| JoiningSign::LineEnd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identities::Today;

    const ID: &str = "196810199809";
    const OTHER: &str = "195904109807";

    fn guard(country: Country) -> Guard {
        let layout = Layout::Delimited { delimiter: Some(b';'), column: 0 };
        let today = Today::new(2026, 6, 1).expect("a day");
        let rules =
            RowRules { layout, columns: 3, ids: IdNumbers { country, other: None, today }, is_sheet: false };
        Guard {
            rules,
            shape: RowShape::Cells { usual: 3, most: 3, others: Vec::new(), only_others: Vec::new() },
            expected: Vec::new(),
            header: b"pnr;namn;ort".to_vec(),
            titles: Titles::default(),
            has_nel: false,
            every_cell: false,
        }
    }

    fn search(guard: &Guard, row: &str) -> GuardFinding {
        let cell = row.find(';').unwrap_or(row.len());
        let identity = guard.rules.identity(&row.as_bytes()[..cell]).expect("an identity");
        let known = 0..cell;
        guard.search(row.as_bytes(), 0..row.len(), &[identity], &[known])
    }

    #[test]
    fn other_identities_in_a_row() {
        let sweden = guard(Country::Sweden);
        for (row, finding) in [
            (format!("{ID};Asa;Ort\n"), GuardFinding::Clean),
            (format!("{ID};{ID};681019-9809\n"), GuardFinding::Clean),
            (format!("{ID};{OTHER};x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};590410-9807;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};19590410-9807;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};5904109807;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};barn {OTHER}, Bo;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};590410 9807;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};590410\u{2013}9807;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};19590410\u{a0}9807;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};Asa;Lund4120000007;Bo AB;Lund\n"), GuardFinding::JoinedRows),
            (format!("{ID};OCR 4120000007;x\n"), GuardFinding::Clean),
            (format!("{ID};412000-0007;x\n"), GuardFinding::OtherIdentity),
            (format!("{ID};1{OTHER};x\n"), GuardFinding::Clean),
            (format!("{ID};195904109808;x\n"), GuardFinding::Clean),
            (format!("{ID};Asa;11111{OTHER};Bo;22222\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;111115904109807;Bo;22222\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;12{};Bo;2\n", &OTHER[2..]), GuardFinding::JoinedRows),
            (format!("{ID};Asa;1{}-{};Bo;2\n", &OTHER[..8], &OTHER[8..]), GuardFinding::JoinedRows),
            (format!("{ID};Asa;1{}-{};Bo;2\n", &OTHER[2..8], &OTHER[8..]), GuardFinding::JoinedRows),
            (format!("{ID};Asa;11111\u{b}{OTHER};Bo\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;1\0{OTHER}\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;1\u{85}{OTHER}\r\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;1\u{2028}{OTHER}\r\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;1\u{feff}{OTHER}\r"), GuardFinding::JoinedRows),
            (format!("{ID};\"c/o\n{OTHER}\";x\n"), GuardFinding::JoinedRows),
            // Spellings that the identity's column may have.
            (format!("{ID};Asa;Lund201249802;Bo;Malmo\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;Lund201249802.0;Bo;Malmo\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;22345201249802;Bo;Malmo\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;22345;02 01 24 - 9802;Bo;412398\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;Lund;02 01 24 - 9802;Bo;Malmo\n"), GuardFinding::ExtraCells),
            (format!("{ID};Asa;Lund;020124  9802;Bo;Malmo\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;Lund;020124\t9802;Bo;Malmo\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;Lund;020124 -9802;Bo;Malmo\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;Lund\u{b}0201249802\n"), GuardFinding::JoinedRows),
            (format!("{ID};Asa;Lund\u{b}201249802\n"), GuardFinding::JoinedRows),
            (
                "196810199809;Asa;Lund;\u{ff10}\u{ff12}\u{ff10}\u{ff11}\u{ff12}\u{ff14}\u{ff19}\u{ff18}\u{ff10}\u{ff12};412398\n"
                    .to_owned(),
                GuardFinding::JoinedRows,
            ),
            // Its own number once more, and what is none.
            (format!("{ID};Asa;Lund;681019 - 9809;Bo;Malmo\n"), GuardFinding::ExtraCells),
            (format!("{ID};Asa;Lund;201249803;Bo;Malmo\n"), GuardFinding::ExtraCells),
            (format!("{ID};Asa;LundSKYDDAD;Bo\n"), GuardFinding::ExtraCells),
            (format!("{ID};Asa;Lund; ;\n"), GuardFinding::Clean),
            (format!("{ID};\"Asa\nLund\";order 201249802\n"), GuardFinding::Clean),
            (format!("{ID};\"Asa\nLund\";OCR 4120000007\n"), GuardFinding::Clean),
            (format!("{ID};\"Asa\nLund\";020124 - 9802\n"), GuardFinding::JoinedRows),
            (format!("{ID};\"Asa\nLund\";02 01 24 - 9802\n"), GuardFinding::Clean),
        ] {
            assert_eq!(search(&sweden, &row), finding, "{}", row.escape_debug());
        }
        let norway = guard(Country::Norway);
        for (row, finding) in [
            ("01819012365;Asa;x\n", GuardFinding::Clean),
            ("01819012365;41819012359;x\n", GuardFinding::OtherIdentity),
            ("01819012365;418190 12359;x\n", GuardFinding::OtherIdentity),
            ("01819012365;Asa;141819012359\n", GuardFinding::Clean),
            ("01819012365;Asa;141819012359;Bo\n", GuardFinding::JoinedRows),
            ("41819012359;Asa;Oslo1819012365;Bo;Oslo\n", GuardFinding::JoinedRows),
            ("41819012359;Asa;Oslo;018190  12365;Bo;Oslo\n", GuardFinding::JoinedRows),
        ] {
            assert_eq!(search(&norway, row), finding, "{}", row.escape_debug());
        }
    }

    #[test]
    fn rows_of_fixed_width_that_are_longer_than_usual() {
        let mut guard = guard(Country::Sweden);
        guard.rules.layout = Layout::Fixed { offset: 0, length: 12 };
        let search = |width: usize, row: &str| {
            let guard = Guard { shape: RowShape::Bytes { usual: width, most: 40 }, ..guard.clone() };
            let identity = guard.rules.identity(&row.as_bytes()[..12]).expect("an identity");
            let known = 0..12;
            guard.search(row.as_bytes(), 0..row.len(), &[identity], &[known])
        };
        let two = format!("{ID}Anna      22345{OTHER}Bo        22345\n");
        assert_eq!(search(27, &two), GuardFinding::JoinedRows);
        assert_eq!(search(0, &two), GuardFinding::JoinedRows, "unknown width");
        assert_eq!(search(60, &format!("{ID}Anna, vh {OTHER}\n")), GuardFinding::OtherIdentity);
        assert_eq!(search(27, &format!("{ID}Anna      22345\n")), GuardFinding::Clean);
    }

    #[test]
    fn expected_columns_are_not_searched() {
        let guard = Guard { expected: vec![1], ..guard(Country::Sweden) };
        assert_eq!(search(&guard, &format!("{ID};{OTHER};x\n")), GuardFinding::Clean);
        assert_eq!(search(&guard, &format!("{ID};\"{OTHER}\";x\n")), GuardFinding::Clean);
        assert_eq!(search(&guard, &format!("{ID};x;{OTHER}\n")), GuardFinding::OtherIdentity);
    }

    #[test]
    fn rows_that_are_not_letters() {
        let guard = guard(Country::Sweden);
        for (row, problem) in [
            ("\n", Some(RowProblem::BlankRow)),
            (";;\r\n", Some(RowProblem::BlankRow)),
            ("\"\"; \t;\"\"\r", Some(RowProblem::BlankRow)),
            ("pnr;namn;ort\r\n", Some(RowProblem::RepeatedHeader)),
            ("\u{feff}pnr;namn;ort", Some(RowProblem::RepeatedHeader)),
            ("pnr;namn\n", None),
            ("Antal: 4711\n", Some(RowProblem::Footer)),
            ("Summa;;12 345,00 kr\n", Some(RowProblem::Footer)),
            ("(4711 rows affected)\n", Some(RowProblem::Footer)),
            ("(4711 rader påverkades)\n", Some(RowProblem::Footer)),
            ("Totalt antal mottagare;4711;\n", Some(RowProblem::Footer)),
            ("\u{1a}", Some(RowProblem::Footer)),
            ("Summa Andersson;1;2\n", None),
            (";;4711\n", None),
            ("SKYDDAD;Anna;Ort\n", None),
        ] {
            assert_eq!(guard.not_a_letter(row.as_bytes()), problem, "{}", row.escape_debug());
        }
    }
}
