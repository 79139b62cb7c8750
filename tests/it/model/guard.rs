//! Further identities in a row, and the signs that it was two rows.

use super::identities::{Country, Day, read};
use std::ops::Range;

/// An identity that a text holds: its canonical id, how many digits it was written with, and where.
pub(crate) struct FoundIdentity {
    pub(crate) id: String,
    pub(crate) digits: usize,
    at: Range<usize>,
}

/// Whether a text holds an identity, or one with a wrong check digit unless it is ten digits alone.
pub(crate) fn holds_identity(text: &[u8], country: Country, day: Day) -> bool {
    let is_mistyped = |at: Range<usize>| {
        let cell = &text[at];
        cell.len() != 10 && read(cell, country, day) == Err("bad_check_digit")
    };
    !identities_in(text, country, day, false).is_empty()
        || spellings_in(text, country, false).into_iter().any(is_mistyped)
}

/// The valid identities that a text holds; with `is_joined` also at the end of runs of digits.
pub(crate) fn identities_in(text: &[u8], country: Country, day: Day, is_joined: bool) -> Vec<FoundIdentity> {
    let found = spellings_in(text, country, is_joined).into_iter().filter_map(|at| {
        let digits = text[at.clone()].iter().filter(|byte| byte.is_ascii_digit()).count();
        read(&text[at.clone()], country, day).ok().map(|id| FoundIdentity { id, digits, at })
    });
    found.collect()
}

/// Where identities may be.
fn spellings_in(text: &[u8], country: Country, is_joined: bool) -> Vec<Range<usize>> {
    let mut tried: Vec<Range<usize>> = Vec::new();
    for start in 0..text.len() {
        if !text[start].is_ascii_digit() || (start > 0 && text[start - 1].is_ascii_digit()) {
            continue;
        }
        let run = digits_at(text, start);
        let run_end = start + run.len();
        let separator = separator_at(text, run_end);
        let next = digits_at(text, run_end + separator.len());
        let end = run_end + separator.len() + next.len();
        let (long, short, tail) = match country {
            Country::Sweden => (8, 6, 4),
            Country::Norway => (6, 6, 5),
        };
        let whole = if country == Country::Sweden { 12 } else { 11 };
        let is_separated = !separator.is_empty() && next.len() == tail;
        if is_separated && [long, short].contains(&run.len()) {
            tried.push(start..end);
        }
        if run.len() == whole || (whole == 12 && run.len() == 10 && run[2] < b'2') {
            tried.push(start..run_end);
        }
        if !is_joined {
            continue;
        }
        // Without a zero that was lost, too.
        let (lengths, end) = match is_separated {
            true => (vec![long, short, short - 1], end),
            false if whole == 12 => (vec![12, 10, 9], run_end),
            false => (vec![11, 10], run_end),
        };
        tried.extend(
            lengths.iter().filter(|&&length| run.len() >= length).map(|length| run_end - length..end),
        );
    }
    tried
}

/// The whole identity with which a cell ends, right behind a letter, or behind a digit of a text.
pub(crate) fn touching(cell: &[u8], country: Country, day: Day) -> Option<FoundIdentity> {
    let cell = cell.trim_ascii();
    let lengths = if country == Country::Sweden { 10..=13 } else { 11..=12 };
    let found = lengths.rev().filter(|&length| length <= cell.len()).find_map(|length| {
        let (before, text) = cell.split_at(cell.len() - length);
        let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
        let id = read(text, country, day).ok()?;
        (text[0].is_ascii_digit() && digits >= 10).then_some((before, text, digits, id))
    });
    let (before, text, digits, id) = found?;
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    let is_behind = before.last().is_some_and(|last| {
        is_letter(last) || last.is_ascii_digit() && text.len() >= 11 && before.iter().any(is_letter)
    });
    let is_reference = text.len() == 10 && id.starts_with("16");
    (is_behind && !is_reference).then_some(FoundIdentity { id, digits, at: 0..0 })
}

/// A sign that a row was two.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sign {
    More,
    Mark,
    LineEnd,
}

/// Whether a text has six digits in succession outside a part of it; of a row with more bytes than usual, they may begin or
/// end in that part.
pub(crate) fn has_run_outside(text: &[u8], own: &Range<usize>, sign: Sign) -> bool {
    let starts = (0..text.len()).filter(|&at| at == 0 || !text[at - 1].is_ascii_digit());
    let mut runs = starts.map(|at| at..at + digits_at(text, at).len());
    runs.any(|run| {
        let is_outside = match sign {
            Sign::More => run.start < own.start || own.end < run.end,
            Sign::Mark | Sign::LineEnd => run.end <= own.start || own.end <= run.start,
        };
        run.len() >= 6 && is_outside
    })
}

/// The identities in a cell of a row that may be two, in any spelling. `own`: where the row's own identity is in it.
pub(crate) fn identities_in_joined(
    text: &[u8],
    (country, day): (Country, Day),
    delimiter: Option<u8>,
    sign: Sign,
    own: &Range<usize>,
) -> Vec<FoundIdentity> {
    // Each digit, of one byte or three, with its bytes.
    let digit_at = |at: usize| match &text[at..] {
        [b'0'..=b'9', ..] => Some(1),
        [0xEF, 0xBC, 0x90..=0x99, ..] => Some(3),
        _ => None,
    };
    let digits: Vec<(usize, usize)> =
        (0..text.len()).filter_map(|at| digit_at(at).map(|bytes| (at, bytes))).collect();
    let begins = |&(at, bytes): &(usize, usize)| !digits.contains(&(at.wrapping_sub(bytes), bytes));
    let ends = |&(at, bytes): &(usize, usize)| !digits.contains(&(at + bytes, bytes));
    let is_within = |part: &[u8]| {
        let may_be = |byte: &u8| {
            byte.is_ascii_digit() || *byte >= 0x80 || b" \t-+.".contains(byte) && Some(*byte) != delimiter
        };
        part.len() <= 48 && part.iter().all(may_be)
    };
    let is_own = |part: &Range<usize>| own.start <= part.start && part.end <= own.end;
    let mut found = if sign == Sign::More { identities_in(text, country, day, true) } else { Vec::new() };
    found.retain(|one| !is_own(&one.at));
    for first in digits.iter().filter(|digit| begins(digit)) {
        for last in digits.iter().filter(|digit| digit.0 >= first.0 && ends(digit)) {
            let part = &text[first.0..last.0 + last.1];
            // A single group may be longer.
            let is_group =
                digits.iter().filter(|digit| (first.0..=last.0).contains(&digit.0) && ends(digit)).count()
                    == 1;
            let at = first.0..last.0 + last.1;
            if is_own(&at) {
                continue;
            }
            if let (true, Ok(id)) = (is_group || is_within(part), read(part, country, day)) {
                let count = digits.iter().filter(|digit| (first.0..=last.0).contains(&digit.0)).count();
                found.push(FoundIdentity { id, digits: count, at });
            }
        }
    }
    let whole = if country == Country::Sweden { 10 } else { 11 };
    let is_organisation = |found: &FoundIdentity| found.id.len() == 12 && found.id.starts_with("16");
    let is_bare = |found: &FoundIdentity| {
        let ten = found.id.get(2..).unwrap_or_default().as_bytes();
        found.digits == 10 && text.windows(10).any(|part| part == ten)
    };
    found.retain(|one| {
        sign != Sign::LineEnd || one.digits >= whole && !(is_organisation(one) && is_bare(one))
    });
    found
}

/// The separator at an offset: a sign, a blank, or a character that is read as one.
fn separator_at(text: &[u8], at: usize) -> &[u8] {
    let rest = &text[at.min(text.len())..];
    let character = (1..=rest.len().min(4))
        .find_map(|length| std::str::from_utf8(&rest[..length]).ok().and_then(|text| text.chars().next()));
    let is_separator = |character: char| {
        matches!(character,
            '-' | '+' | ' ' | '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200F}' | '\u{202F}' | '\u{205F}' | '\u{3000}'
            | '\u{AD}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
            | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}' | '\u{FF0B}')
    };
    match character {
        Some(character) if is_separator(character) => &rest[..character.len_utf8()],
        None if rest.first().is_some_and(|byte| [0xA0, 0xAD, 0x96, 0x97].contains(byte)) => &rest[..1],
        _ => &[],
    }
}

/// The run of digits at an offset.
fn digits_at(text: &[u8], start: usize) -> &[u8] {
    let rest = &text[start.min(text.len())..];
    &rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()]
}

/// Whether a canonical id equals the found one, apart from the century that ten digits leave open.
pub(crate) fn is_same(one: &str, found: &FoundIdentity) -> bool {
    match found.digits {
        9 | 10 if one.len() == 12 => one.get(2..) == found.id.get(2..),
        _ => one == found.id,
    }
}

/// The mark in a row, without its own line end, that programs write between rows.
pub(crate) fn mark_between_rows(row: &[u8], encoding: &str) -> Option<Sign> {
    const MARKS: [&[u8]; 12] = [
        b"\0",
        b"\x0B",
        b"\x0C",
        b"\x1A",
        b"\x1C",
        b"\x1D",
        b"\x1E",
        b"\x1F",
        b"\xC2\x85",
        b"\xE2\x80\xA8",
        b"\xE2\x80\xA9",
        b"\xEF\xBB\xBF",
    ];
    let has_nel = encoding == "windows-1252" && row.contains(&0x85);
    if has_nel || (0..row.len()).any(|at| MARKS.iter().any(|mark| row[at..].starts_with(mark))) {
        return Some(Sign::Mark);
    }
    row.iter().any(|byte| b"\r\n".contains(byte)).then_some(Sign::LineEnd)
}
