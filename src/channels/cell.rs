//! Tests of cells.

use super::{CellForms, Truth};
use jiff::civil::Date;

/// A test of a cell, whose text is without white space around it. A row that ends before the column has an empty cell.
#[derive(Clone, Debug, PartialEq)]
pub enum CellTest {
    /// It is one of these texts.
    Is(Vec<String>),
    /// It is empty, or (`false`) not.
    Empty(bool),
    /// It matches one of these patterns: `*` is any text, `?` any character.
    Matches(Vec<String>),
    /// The number or date in it is within limits. Unknown if there is none.
    Within(Limits),
    /// It has no number (`false`: it has one).
    NotANumber(bool),
    /// It has no date (`false`: it has one).
    NotADate(bool),
}

/// Limits of numbers or dates.
#[derive(Clone, Debug, PartialEq)]
pub enum Limits {
    /// Of numbers.
    Numbers(Vec<Limit<f64>>),
    /// Of dates.
    Dates(Vec<Limit<Date>>),
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit<T> {
    /// At least this.
    AtLeast(T),
    /// More than this.
    Above(T),
    /// At most this.
    AtMost(T),
    /// Less than this.
    Below(T),
}

impl<T: PartialOrd> Limit<T> {
    fn allows(&self, value: &T) -> bool {
        match self {
            Limit::AtLeast(limit) => value >= limit,
            Limit::Above(limit) => value > limit,
            Limit::AtMost(limit) => value <= limit,
            Limit::Below(limit) => value < limit,
        }
    }
}

impl CellTest {
    /// Whether it holds for a text.
    pub fn of(&self, text: &str, forms: &CellForms) -> Truth {
        match self {
            CellTest::Is(texts) => texts.iter().any(|one| one == text).into(),
            CellTest::Empty(empty) => (text.is_empty() == *empty).into(),
            CellTest::Matches(patterns) => patterns.iter().any(|pattern| matches(pattern, text)).into(),
            CellTest::Within(Limits::Numbers(limits)) => within(forms.number(text), limits),
            CellTest::Within(Limits::Dates(limits)) => within(forms.date(text), limits),
            CellTest::NotANumber(not) => (forms.number(text).is_none() == *not).into(),
            CellTest::NotADate(not) => (forms.date(text).is_none() == *not).into(),
        }
    }
}

fn within<T: PartialOrd>(value: Option<T>, limits: &[Limit<T>]) -> Truth {
    value.map_or(Truth::Unknown, |value| limits.iter().all(|limit| limit.allows(&value)).into())
}

impl CellForms {
    /// The number that a text is: digits, perhaps with spaces between them, a sign and a decimal sign.
    pub(super) fn number(&self, text: &str) -> Option<f64> {
        let is_plain = |character: char| character.is_ascii_digit() || matches!(character, '-' | '+');
        let mut plain = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                ' ' | '\u{a0}' | '\u{202f}' => {}
                '\u{2212}' => plain.push('-'),
                character if character == self.decimal_sign => plain.push('.'),
                character if is_plain(character) => plain.push(character),
                _ => return None,
            }
        }
        plain.parse().ok()
    }

    /// The date that a text is, with four digits of the year.
    pub(super) fn date(&self, text: &str) -> Option<Date> {
        Date::strptime(&self.date_form, text).ok().filter(|date| date.year() >= 1000)
    }
}

/// Whether a text matches a pattern.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    wildmatch::WildMatch::new(pattern).matches(text)
}
