//! Identity numbers read digit by digit, straight from the rules of `identities.md` and `lists.md`.

/// Which country's numbers a list holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Country {
    Sweden,
    Norway,
}

/// A day of the calendar. Days compare as they follow each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Day {
    pub(crate) year: u32,
    pub(crate) month: u32,
    pub(crate) day: u32,
}

impl Day {
    pub(crate) fn new(year: u32, month: u32, day: u32) -> Day {
        Day { year, month, day }
    }

    fn exists(self) -> bool {
        (1..=12).contains(&self.month) && (1..=days_in_month(self.year, self.month)).contains(&self.day)
    }

    /// The same day of the month so many months later, or the last day of that month.
    pub(crate) fn months_later(self, months: u32) -> Day {
        let count = self.month - 1 + months;
        let (year, month) = (self.year + count / 12, count % 12 + 1);
        Day { year, month, day: self.day.min(days_in_month(year, month)) }
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

pub(super) fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The canonical digits of a cell, or the reason why it has none.
pub(crate) fn parse(cell: &[u8], country: Country, today: Day) -> Result<String, &'static str> {
    let id = read(cell, country, today)?;
    // A change of a generator must not put the number of a living person into a list. A fuzzer may find one by chance.
    let is_found = cfg!(fuzzing);
    assert!(is_found || is_test_number(&id), "a generated list holds a valid number that is no test number");
    Ok(id)
}

/// The same for cells that are only tried, which may look like a number by chance.
pub(crate) fn read(cell: &[u8], country: Country, today: Day) -> Result<String, &'static str> {
    let text = unwrapped(cell);
    let (digits, sign) = match digits_and_sign(text) {
        Err("bad_character") if is_scientific(text) => return Err("scientific_notation"),
        other => other?,
    };
    match country {
        Country::Sweden => swedish(&digits, sign, today),
        Country::Norway => norwegian(&digits, sign),
    }
}

/// The cell without what spreadsheets put around a number.
fn unwrapped(cell: &[u8]) -> &[u8] {
    let mut text = cell.trim_ascii();
    text = text.strip_prefix(b"=").unwrap_or(text);
    for mark in [&b"\"\""[..], b"\""] {
        if let Some(inside) = text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark)) {
            text = inside;
        }
    }
    if let Some(rest) = text.strip_prefix(b"'") {
        text = rest.strip_suffix(b"'").unwrap_or(rest);
    }
    for tail in [b".0", b",0"] {
        if let Some(rest) = text.strip_suffix(tail)
            && rest.last().is_some_and(u8::is_ascii_digit)
        {
            return rest;
        }
    }
    text
}

/// A number as spreadsheets shorten it: `1,98501E+11`.
fn is_scientific(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let Some(at) = text.iter().position(|byte| b"eE".contains(byte)) else { return false };
    let (mantissa, exponent) = (&text[..at], &text[at + 1..]);
    let exponent = exponent.strip_prefix(b"+").unwrap_or(exponent);
    mantissa.first().is_some_and(u8::is_ascii_digit)
        && mantissa.iter().all(|byte| byte.is_ascii_digit() || b".,".contains(byte))
        && (1..=3).contains(&exponent.len())
        && exponent.iter().all(u8::is_ascii_digit)
}

type Sign = Option<(char, usize)>;

/// What one character of a cell is.
enum Mark {
    Digit(u32),
    Sign(char),
    PassedOver,
    Other,
}

/// The digits of a cell, and its sign with the number of digits before it.
fn digits_and_sign(mut text: &[u8]) -> Result<(Vec<u32>, Sign), &'static str> {
    let (mut digits, mut sign) = (Vec::new(), None);
    while !text.is_empty() {
        let (mark, length) = first_mark(text);
        text = &text[length..];
        match mark {
            Mark::Digit(digit) => digits.push(digit),
            Mark::Sign(which) if sign.is_none() && !digits.is_empty() => sign = Some((which, digits.len())),
            Mark::PassedOver => {}
            Mark::Sign(_) | Mark::Other => return Err("bad_character"),
        }
    }
    match digits.len() {
        0 => Err("empty"),
        1..=12 => Ok((digits, sign)),
        _ => Err("bad_length"),
    }
}

/// The first character and its length in bytes. A byte that no UTF-8 character has is one of Windows-1252.
fn first_mark(text: &[u8]) -> (Mark, usize) {
    for length in 1..=text.len().min(4) {
        if let Ok(valid) = std::str::from_utf8(&text[..length]) {
            return (mark(valid.chars().next().expect("a character")), length);
        }
    }
    let mark = match text[0] {
        0x96 | 0x97 => Mark::Sign('-'),
        0xA0 | 0xAD => Mark::PassedOver,
        _ => Mark::Other,
    };
    (mark, 1)
}

fn mark(character: char) -> Mark {
    match character {
        '0'..='9' => Mark::Digit(u32::from(character) - u32::from('0')),
        '\u{FF10}'..='\u{FF19}' => Mark::Digit(u32::from(character) - 0xFF10),
        '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}' => Mark::Sign('-'),
        '+' | '\u{FF0B}' => Mark::Sign('+'),
        ' ' | '\t' | '\r' | '\n' => Mark::PassedOver,
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => {
            Mark::PassedOver
        }
        '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' => Mark::PassedOver,
        '\u{2066}'..='\u{2069}' | '\u{FEFF}' => Mark::PassedOver,
        _ => Mark::Other,
    }
}

fn number(digits: &[u32]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + digit)
}

pub(super) fn luhn_holds(ten: &[u32]) -> bool {
    let doubled = |(place, digit): (usize, &u32)| if place % 2 == 0 { digit * 2 } else { *digit };
    let sum: u32 = ten.iter().enumerate().map(doubled).map(|value| value / 10 + value % 10).sum();
    sum.is_multiple_of(10)
}

fn swedish(digits: &[u32], sign: Sign, today: Day) -> Result<String, &'static str> {
    if let Some((_, before)) = sign
        && digits.len() - before != 4
    {
        return Err(if [10, 12].contains(&digits.len()) { "bad_character" } else { "bad_length" });
    }
    let plus = sign.is_some_and(|(sign, _)| sign == '+');
    match (digits.len(), sign) {
        (12, _) if plus && digits.starts_with(&[1, 6]) => Err("bad_character"), // an organisation has no age
        (12, _) => twelve(digits),
        (10, _) => ten(digits, plus, today),
        (7..=9, None) => {
            let mut padded = vec![0; 10 - digits.len()];
            padded.extend_from_slice(digits);
            // What begins with a lost zero was a person born 2000 to 2009, never an organisation.
            if padded[2] >= 2 {
                return Err("bad_length");
            }
            match ten(&padded, false, today) {
                Ok(id) if digits.len() == 9 => Ok(id),
                Ok(_) => Err("ambiguous"),
                Err(_) => Err("bad_length"),
            }
        }
        _ => Err("bad_length"),
    }
}

pub(super) fn ten(digits: &[u32], plus: bool, today: Day) -> Result<String, &'static str> {
    let mut whole;
    if digits[2] >= 2 {
        if plus {
            return Err("bad_character");
        }
        whole = vec![1, 6];
    } else {
        // The last such day that is not in the future; with a plus, a year that is at least
        // a hundred before this one.
        let mut day = Day::new(2000 + number(&digits[..2]), number(&digits[2..4]), number(&digits[4..6]));
        if day.day >= 60 {
            day.day -= 60; // what is not known of a date is 00 here
        }
        if day.year > today.year || (day > today && !plus) {
            day.year -= 100;
        }
        if plus {
            day.year -= 100;
        }
        whole = vec![day.year / 1000, day.year / 100 % 10];
    }
    whole.extend_from_slice(digits);
    twelve(&whole)
}

pub(super) fn twelve(digits: &[u32]) -> Result<String, &'static str> {
    match number(&digits[..2]) {
        16 if digits[4] < 2 => return Err("bad_organisation_number"),
        16 => {}
        18..=20 => {
            let (month, day) = (number(&digits[4..6]), number(&digits[6..8]));
            // A samordningsnummer has 60 more, and need not have a month or a day.
            let unknown =
                (month == 0 && (60..=91).contains(&day)) || ((1..=12).contains(&month) && day == 60);
            let day = if day > 60 { day - 60 } else { day };
            if !unknown && !Day::new(number(&digits[..4]), month, day).exists() {
                return Err("bad_date");
            }
        }
        _ => return Err("bad_century"),
    }
    if luhn_holds(&digits[2..]) { Ok(text(digits)) } else { Err("bad_check_digit") }
}

fn norwegian(digits: &[u32], sign: Sign) -> Result<String, &'static str> {
    match sign {
        Some(('+', _)) => return Err("bad_character"),
        Some((_, before)) if digits.len() - before != 5 => {
            return Err(if digits.len() == 11 { "bad_character" } else { "bad_length" });
        }
        _ => {}
    }
    match digits.len() {
        11 => eleven(digits),
        10 if sign.is_none() => {
            let padded: Vec<u32> = std::iter::once(0).chain(digits.iter().copied()).collect();
            eleven(&padded).map_err(|_| "bad_length")
        }
        _ => Err("bad_length"),
    }
}

pub(super) fn eleven(digits: &[u32]) -> Result<String, &'static str> {
    let (mut day, mut month) = (number(&digits[..2]), number(&digits[2..4]));
    let year = number(&digits[4..6]);
    if day > 40 {
        day -= 40; // D-nummer
    }
    month -= match month {
        0 => return Err("bad_date"),
        1..=40 => 0,
        41..=65 => 40,
        66..=80 => 65,
        _ => 80,
    };
    // From 2032 on the individual number does not give the century. A day that some century has is one that this
    // century has: of the years 00 only 2000 is a leap year, and 29 February is possible then.
    if !Day::new(2000 + year, month, day).exists() {
        return Err("bad_date");
    }
    let [first, second] = control_remainders(digits);
    if first > 3 || second != 0 {
        return Err("bad_check_digit");
    }
    Ok(text(digits))
}

pub(super) fn control_remainders(eleven: &[u32]) -> [u32; 2] {
    let remainder = |weights: &[u32]| eleven.iter().zip(weights).map(|(d, w)| d * w).sum::<u32>() % 11;
    [remainder(&[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]), remainder(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1])]
}

fn text(digits: &[u32]) -> String {
    digits.iter().map(u32::to_string).collect()
}

/// Norwegian numbers that Skatteetaten and NAV published as examples of the rules of 2032.
pub(super) const PUBLISHED: [&str; 7] =
    ["02013299997", "02013299903", "02013299806", "30108299920", "30108299939", "70108299914", "29020075838"];

/// Whether an id cannot belong to a person or company: the birth numbers that are given to test persons,
/// organisations of the series 4, Norwegian months + 80, and published examples.
pub(crate) fn is_test_number(id: &str) -> bool {
    match id.len() {
        11 => &id[2..4] > "80" || PUBLISHED.contains(&id),
        _ if id.starts_with("16") => &id[2..3] == "4",
        _ => ["238", "239", "980", "981"].contains(&&id[8..11]),
    }
}
