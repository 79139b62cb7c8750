//! Detects why most rows of a list may have no identity.

use super::table::Sampler;
use crate::identities::{Country, Identity, Rejection};
use crate::mailing::id_numbers::IdNumbers;
use crate::mailing::likely_cause::LikelyCause;
use crate::mailing::rows::{Layout, line_end};
use std::collections::HashSet;

/// Number of lines that are examined.
const LINES: usize = 200;
/// Bytes of a line in which a fixed position of identities is searched.
const WIDTH: usize = 400;

/// The likely cause, if the sample shows one.
pub(super) fn likely(sampler: &Sampler<'_>, start: usize, layout: &Layout) -> Option<LikelyCause> {
    let lines = lines_of(&sampler.bytes[start..]);
    of_form(sampler, start, layout).or_else(|| other_column(sampler, &lines, layout))
}

/// The likely cause, if the list has another form than rows with cells.
pub(super) fn of_form(sampler: &Sampler<'_>, start: usize, layout: &Layout) -> Option<LikelyCause> {
    let text = sampler.bytes[start..].trim_ascii_start();
    let lines = lines_of(text);
    if lines.is_empty() || most(&lines, |line| has_identity(sampler, line)) {
        return None;
    }
    other_country(sampler, &lines)
        .or_else(|| rounded(sampler, &lines))
        .or_else(|| fixed_width(sampler, &lines, layout))
        .or_else(|| record_types(&lines))
}

fn lines_of(text: &[u8]) -> Vec<&[u8]> {
    let (mut at, mut lines) = (0, Vec::new());
    while at < text.len() && lines.len() < LINES {
        let end = line_end(text, at);
        lines.push(text[at..end].trim_ascii_end());
        at = end;
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn cells(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| b";\t|,".contains(byte))
        .map(|cell| cell.strip_prefix(b"\"").unwrap_or(cell))
        .map(|cell| cell.strip_suffix(b"\"").unwrap_or(cell))
}

fn most(lines: &[&[u8]], holds: impl Fn(&[u8]) -> bool) -> bool {
    lines.iter().filter(|line| holds(line)).count() * 2 > lines.len()
}

fn has_identity(sampler: &Sampler<'_>, line: &[u8]) -> bool {
    cells(line).any(|cell| sampler.ids.identity(cell).is_ok())
}

fn other_country(sampler: &Sampler<'_>, lines: &[&[u8]]) -> Option<LikelyCause> {
    let IdNumbers { country, other: None, today } = sampler.ids else { return None };
    let other = match country {
        Country::Sweden => Country::Norway,
        Country::Norway => Country::Sweden,
    };
    let has = |line: &[u8]| cells(line).any(|cell| Identity::parse(cell, other, today).is_ok());
    most(lines, has).then_some(LikelyCause::OtherCountry { register: country })
}

fn rounded(sampler: &Sampler<'_>, lines: &[&[u8]]) -> Option<LikelyCause> {
    let is_rounded = |line: &[u8]| {
        let cut = line.split(|byte| b";\t|".contains(byte));
        cut.into_iter().any(|cell| sampler.ids.identity(cell) == Err(Rejection::ScientificNotation))
    };
    most(lines, is_rounded).then_some(LikelyCause::RoundedNumbers)
}

fn fixed_width(sampler: &Sampler<'_>, lines: &[&[u8]], layout: &Layout) -> Option<LikelyCause> {
    if matches!(layout, Layout::Fixed { .. }) {
        return None;
    }
    let digits = sampler.ids.country.digits();
    for length in [digits, 10] {
        let width = lines.iter().map(|line| line.len()).max().unwrap_or(0).min(WIDTH);
        let has_identities = |offset: usize| {
            most(lines, |line| {
                let cell = line.get(offset..offset + length);
                cell.is_some_and(|cell| {
                    cell.iter().all(u8::is_ascii_digit) && sampler.ids.identity(cell).is_ok()
                })
            })
        };
        if let Some(offset) = (0..width.saturating_sub(length - 1)).find(|&offset| has_identities(offset)) {
            return Some(LikelyCause::FixedWidth { offset, length });
        }
    }
    None
}

/// Whether lines begin with one of a few codes of the same length, as in files with records of several types.
fn record_types(lines: &[&[u8]]) -> Option<LikelyCause> {
    let has_types = |length: usize| {
        let codes: HashSet<&[u8]> = lines.iter().map(|line| &line[..line.len().min(length)]).collect();
        let plain =
            codes.iter().all(|code| code.len() == length && code.iter().all(u8::is_ascii_alphanumeric));
        plain && (2..=6).contains(&codes.len()) && codes.len() * 3 <= lines.len()
    };
    (lines.len() >= 6 && (1..=4).rev().any(has_types)).then_some(LikelyCause::RecordTypes)
}

fn other_column(sampler: &Sampler<'_>, lines: &[&[u8]], layout: &Layout) -> Option<LikelyCause> {
    let delimiter = match *layout {
        Layout::Delimited { delimiter, .. } => delimiter,
        Layout::Fixed { .. } => None,
    };
    most(lines, |line| has_identity(sampler, line)).then_some(LikelyCause::OtherColumn { delimiter })
}
