//! Further identities in a row, and the signs that it was two rows.

use super::identities::{Country, Day, read};

/// An identity that a text holds: its canonical id, and how many digits it was written with.
pub(crate) struct FoundIdentity {
    pub(crate) id: String,
    pub(crate) digits: usize,
}

/// The valid identities that a text holds; with `is_joined` also at the end of runs of digits.
pub(crate) fn identities_in(text: &[u8], country: Country, day: Day, is_joined: bool) -> Vec<FoundIdentity> {
    let mut tried: Vec<Vec<u8>> = Vec::new();
    for start in 0..text.len() {
        if !text[start].is_ascii_digit() || (start > 0 && text[start - 1].is_ascii_digit()) {
            continue;
        }
        let run = digits_at(text, start);
        let separator = separator_at(text, start + run.len());
        let next = digits_at(text, start + run.len() + separator.len());
        let (long, short, tail) = match country {
            Country::Sweden => (8, 6, 4),
            Country::Norway => (6, 6, 5),
        };
        let whole = if country == Country::Sweden { 12 } else { 11 };
        let is_separated = !separator.is_empty() && next.len() == tail;
        let end_of_run = |digits: usize| run[run.len() - digits..].to_vec();
        if is_separated && [long, short].contains(&run.len()) {
            tried.push([run, separator, next].concat());
        }
        if run.len() == whole || (whole == 12 && run.len() == 10 && run[2] < b'2') {
            tried.push(run.to_vec());
        }
        if !is_joined || run.len() < 6 {
            continue;
        }
        if is_separated {
            let heads = [long, short].into_iter().filter(|&head| run.len() >= head);
            tried.extend(heads.map(|head| [&end_of_run(head)[..], separator, next].concat()));
        } else {
            let lengths = if whole == 12 { vec![12, 10] } else { vec![11] };
            tried.extend(lengths.into_iter().filter(|&length| run.len() >= length).map(end_of_run));
        }
    }
    let found = tried.iter().filter_map(|text| {
        let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
        read(text, country, day).ok().map(|id| FoundIdentity { id, digits })
    });
    found.collect()
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
        10 => one.get(2..) == found.id.get(2..),
        _ => one == found.id,
    }
}

/// Whether a row, without its own line end, has a mark that programs write between rows.
pub(crate) fn has_mark_between_rows(row: &[u8]) -> bool {
    const MARKS: [&[u8]; 14] = [
        b"\n",
        b"\r",
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
    (0..row.len()).any(|at| MARKS.iter().any(|mark| row[at..].starts_with(mark)))
}
