//! The header of a list.

use super::columns::position;
use super::ground::Ground;
use super::table::SampleTable;
use crate::limits::HEADER_ROWS;
use crate::mailing::error::ListError;
use crate::mailing::names::{self, ID_DIGITS};
use crate::mailing::options::ListOptions;
use std::ops::Range;

/// Digits that no cell of a header has, dates aside: fewer than any identity has.
pub(super) const LONG_NUMBER_DIGITS: usize = 5;

/// Usual words of headers that show one by themselves.
const USUAL_WORDS: usize = 3;

impl SampleTable<'_> {
    /// The rows that may be the header.
    pub(super) fn above(&self) -> Range<usize> {
        0..self.first.unwrap_or(self.rows.len()).min(HEADER_ROWS)
    }

    /// The header, as far as names and words show it.
    pub(super) fn header(&self, options: &ListOptions) -> Result<(Option<usize>, Ground), ListError> {
        let named: Vec<&String> =
            options.id_columns.iter().filter(|name| name.parse::<usize>().is_err()).collect();
        if let Some(name) = named.first() {
            // The last one above the rows: lines above the header may name columns too.
            let above = self.above();
            let within = 0..self.rows.len().min(HEADER_ROWS);
            let has = |row: usize, exact: bool| position(&self.texts(row), name, exact).is_some();
            let row = [true, false].into_iter().find_map(|exact| {
                above
                    .clone()
                    .rev()
                    .find(|&row| has(row, exact))
                    .or_else(|| within.clone().find(|&row| has(row, exact)))
            });
            return match row {
                Some(row) if !self.may_be_copied_above(row) => Err(ListError::HeaderIsRow),
                Some(row) => Ok((Some(row), Ground::Given)),
                None => Err(self.no_such_column(name, None)),
            };
        }
        let (by_words, ground) = self.header_by_words();
        match options.header {
            None => Ok((by_words, ground)),
            Some(false) => Ok((None, Ground::Given)),
            Some(true) => {
                let first = (!self.rows.is_empty()).then_some(0);
                let found = by_words.or_else(|| self.header_by_types(usize::MAX));
                if found.is_none() && first.is_some_and(|row| self.may_be_recipient(row)) {
                    return Err(ListError::HeaderIsRow);
                }
                Ok((found.or(first), Ground::Given))
            }
        }
    }

    fn header_by_words(&self) -> (Option<usize>, Ground) {
        let country = self.sampler.ids.only_country();
        let known = |row: &usize| self.id_titles(*row).iter().any(|title| names::rank(title, country) > 0);
        let usual = |row: &usize| {
            let titles: Vec<String> =
                self.texts(*row).into_iter().filter(|title| !title.is_empty()).collect();
            let (words, others): (Vec<_>, Vec<_>) =
                titles.iter().partition(|title| names::is_word_of_headers(title, country));
            let least = if self.columns == 1 { 1 } else { 2 };
            words.len() >= least
                && words.len() * 2 >= titles.len()
                && others.iter().all(|title| is_wordy(title))
        };
        if self.rows.is_empty() {
            return (None, Ground::NoChoice);
        }
        // If all rows are several joined ones, the header has few of their cells.
        let has_cells = |row: &usize| self.rows[*row].cells.len() * 2 >= self.columns;
        let is_known =
            |row: &usize| known(row) && (has_cells(row) || self.rows[*row].cells.len() > 1 && usual(row));
        let is_usual = |row: &usize| has_cells(row) && usual(row);
        let may_be = |row: &usize| self.may_be_header(*row) && self.may_be_copied_above(*row);
        // The last one: lines above the header may name columns too.
        if let Some(row) = self.above().rev().find(|row| may_be(row) && is_known(row)) {
            return (Some(row), Ground::KnownName);
        }
        match self.above().rev().find(|row| may_be(row) && is_usual(row)) {
            Some(row) => (Some(row), Ground::UsualWords),
            None => (None, Ground::NoSign),
        }
    }

    /// The columns that have the identities: those of half of the rows from the first identity on, otherwise the ones with
    /// the most. None if no row has an identity.
    pub(super) fn likely_id_columns(&self) -> Vec<usize> {
        let Some(first) = self.first else { return Vec::new() };
        let holding: Vec<usize> = (0..self.columns).filter(|&column| self.holds(column, first)).collect();
        if !holding.is_empty() {
            return holding;
        }
        let count = |column: usize| {
            self.rows[first..].iter().filter(|row| row.identities.get(column) == Some(&true)).count()
        };
        let most = (0..self.columns).map(count).max().unwrap_or(0);
        (0..self.columns).filter(|&column| most > 0 && count(column) == most).collect()
    }

    /// The cells of a row where the rows below have their identities; all, if no row has one.
    fn id_titles(&self, row: usize) -> Vec<String> {
        let titles = self.texts(row);
        match &self.likely_ids[..] {
            [] => titles,
            columns => columns.iter().filter_map(|&column| titles.get(column).cloned()).collect(),
        }
    }

    /// Whether a row may be the header. The row of a recipient whose identity is missing or cannot be read must never be
    /// taken for it, and people write all kinds of words in that place: so one cell there is a word of headers, or three
    /// others are; none there is something else than a title; and no cell has a long number.
    fn may_be_header(&self, row: usize) -> bool {
        let (all, titles, country) = (self.texts(row), self.id_titles(row), self.sampler.ids.only_country());
        let is_title = |title: &String| names::names_identities(title, country);
        let usual = all.iter().filter(|title| names::is_usual(title, country)).count();
        let usual_ones = titles.iter().filter(|title| names::is_usual(title, country)).count();
        // A known name in its place needs no others beside it that look like titles.
        let is_known = titles.iter().any(|title| names::rank(title, country) > 0);
        // A word for a kind of recipient or of number may be in a row in place of an identity.
        let is_sure = self.columns == 1
            || usual > usual_ones
            || titles.iter().any(|title| names::rank(title, country) > 0 && !names::is_kind(title));
        let are_titles = titles.iter().all(|title| {
            title.is_empty() || is_known && names::has_few_digits(title) || names::may_be_title(title)
        });
        (titles.iter().any(is_title) || usual >= USUAL_WORDS)
            && (self.first.is_none() || are_titles && is_sure)
            && !all.iter().any(|title| names::long_number(title) >= LONG_NUMBER_DIGITS)
            && !self.may_be_recipient(row)
    }

    /// Whether a row without identity may be a recipient whose identity is missing or cannot be read: where the rows below
    /// have theirs, it has nothing, a placeholder, a long number, or no letter.
    fn may_be_recipient(&self, row: usize) -> bool {
        let titles = self.id_titles(row);
        let is_missing = |title: &String| title.is_empty() || !names::may_be_title(title);
        self.first.is_some() && titles.iter().all(is_missing)
    }

    /// Whether the rows above a header may be copied to every file: they are few, and none may be a recipient's. A row
    /// may be one if every column is filled, or if it may be a recipient whose identity is missing and two columns are
    /// filled.
    fn may_be_copied_above(&self, header: usize) -> bool {
        let is_cut = !self.sampler.whole && self.rows[header].range.end == self.sampler.bytes.len();
        let is_recipient = |row: usize| {
            let filled = self.texts(row).iter().filter(|title| !title.is_empty()).count();
            self.columns > 1 && (filled >= self.columns || filled >= 2 && self.may_be_recipient(row))
        };
        header < HEADER_ROWS && !is_cut && !(0..header).any(is_recipient)
    }

    /// The first row with words where the rows below have digits: in two columns beside the identity's, or in another
    /// column of identities.
    pub(super) fn header_by_types(&self, id_column: usize) -> Option<usize> {
        let first = self.first?;
        let has_digit = |cell: &Range<usize>| self.sampler.bytes[cell.clone()].iter().any(u8::is_ascii_digit);
        let below = &self.rows[first..];
        let is_digital = |&column: &usize| {
            let digital = below.iter().filter(|row| row.cells.get(column).is_some_and(has_digit)).count();
            column != id_column && digital * 5 >= below.len() * 4
        };
        let digital: Vec<usize> = (0..self.columns).filter(is_digital).collect();
        let is_distinct = digital.len() >= 2 || digital.iter().any(|&column| self.holds(column, first));
        let row = self.above().find(|&row| {
            let mut titles = self.texts(row);
            let wordy = titles.iter().all(|title| is_wordy(title) && !names::is_placeholder(title));
            titles.sort_unstable();
            titles.dedup();
            wordy && titles.len() == self.columns && titles.len() == self.rows[row].cells.len()
        });
        row.filter(|&row| {
            is_distinct && self.may_be_header(row) && self.columns >= 2 && self.may_be_copied_above(row)
        })
    }

    /// How well the rows above the first identity show a header of several titles: 2 with an exact known name, 1 with another
    /// known name or two usual words.
    pub(super) fn header_level(&self) -> u8 {
        let country = self.sampler.ids.only_country();
        let level = |titles: Vec<String>| {
            let rank = |title: &String| if names::is_weak(title) { 0 } else { names::rank(title, country) };
            let best = titles.iter().map(rank).max().unwrap_or(0);
            let usual = titles.iter().filter(|title| names::is_usual(title, country)).count();
            if titles.len() < 2 { 0 } else { best.max(u8::from(usual >= 2)) }
        };
        self.above().map(|row| level(self.texts(row))).max().unwrap_or(0)
    }

    /// Whether a row that is no header has a known name, or a word for recipients, in another column than those of the
    /// identities, and a word where they are. It may be a header that names the column of other identities, which cannot be
    /// read. A text that is also in the rows below, as in a column of types, is no name.
    pub(super) fn names_another_column(&self) -> bool {
        let (Some(first), columns) = (self.first, &self.likely_ids) else { return false };
        let below = self.rows.get(first..).unwrap_or_default();
        let is_repeated = |column: usize, title: &String| {
            let same = below
                .iter()
                .filter(|row| row.cells.get(column).is_some_and(|cell| self.text(cell) == *title));
            same.count() * 4 >= below.len()
        };
        self.above().any(|row| {
            let is_name = |(column, title): (usize, &String)| {
                !columns.contains(&column)
                    && names::names_recipients(title, self.sampler.ids.only_country())
                    && !is_repeated(column, title)
            };
            self.texts(row).iter().enumerate().any(is_name)
                && self.id_titles(row).iter().any(|title| names::may_be_title(title))
        })
    }

    /// Whether a header seems to have been joined with the first row, whose identity need not be readable: it has a number as
    /// long as identities; more cells than the rows, and a long number or what ends like an identity that cannot be read; or
    /// as many cells as two rows that were joined, and no usual word among those that the rows do not have.
    pub(super) fn holds_row(&self, header: usize) -> bool {
        let titles = self.texts(header);
        let filled = titles.iter().filter(|title| !title.is_empty()).count();
        let longest = titles.iter().map(|title| names::long_number(title)).max().unwrap_or(0);
        let last = titles.iter().rposition(|title| !title.is_empty()).map_or(0, |last| last + 1);
        longest >= ID_DIGITS
            || filled > self.columns
                && (longest >= LONG_NUMBER_DIGITS || titles.iter().any(|title| names::ends_unreadable(title)))
            || self.columns > 1
                && last >= 2 * self.columns - 1
                && last > 2
                && !titles[self.columns..]
                    .iter()
                    .any(|title| names::is_usual(title, self.sampler.ids.only_country()))
    }
}

/// Whether a cell has something in it and no digit.
fn is_wordy(cell: &str) -> bool {
    !cell.is_empty() && !cell.bytes().any(|byte| byte.is_ascii_digit())
}
