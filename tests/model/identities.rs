//! Identity numbers read digit by digit, straight from the rules of `domain.md`; and test numbers.

use super::random::Random;

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

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The canonical digits that a cell spells, or the name of the reason why it spells none.
pub(crate) fn parse(cell: &[u8], country: Country, today: Day) -> Result<String, &'static str> {
    let (digits, sign) = digits_and_sign(cell)?;
    let id = match country {
        Country::Sweden => swedish(&digits, sign, today)?,
        Country::Norway => norwegian(&digits, sign)?,
    };
    // Whoever changes a generator must not let a number of a living person into a list.
    assert!(is_test_number(&id), "a generated list holds a valid number that is no test number");
    Ok(id)
}

type Sign = Option<(char, usize)>;

/// The digits of a cell, and its sign with the number of digits before it.
fn digits_and_sign(cell: &[u8]) -> Result<(Vec<u32>, Sign), &'static str> {
    let (mut digits, mut sign) = (Vec::new(), None);
    let mut at = 0;
    while at < cell.len() {
        let byte = cell[at];
        at += 1;
        match byte {
            b'0'..=b'9' => digits.push(u32::from(byte - b'0')),
            b'-' | b'+' if sign.is_none() && !digits.is_empty() => {
                sign = Some((byte as char, digits.len()));
            }
            b' ' | b'\t' | b'\r' | b'\n' | 0xA0 => {}
            0xC2 if cell.get(at) == Some(&0xA0) => at += 1, // the no-break space of UTF-8
            _ => return Err("bad_character"),
        }
    }
    match digits.len() {
        0 => Err("empty"),
        1..=12 => Ok((digits, sign)),
        _ => Err("bad_length"),
    }
}

fn number(digits: &[u32]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + digit)
}

fn luhn_holds(ten: &[u32]) -> bool {
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

fn ten(digits: &[u32], plus: bool, today: Day) -> Result<String, &'static str> {
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
        if day.day > 60 {
            day.day -= 60;
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

fn twelve(digits: &[u32]) -> Result<String, &'static str> {
    match number(&digits[..2]) {
        16 if digits[4] < 2 => return Err("bad_organisation_number"),
        16 => {}
        18..=20 => {
            let (month, day) = (number(&digits[4..6]), number(&digits[6..8]));
            let day = if day > 60 { day - 60 } else { day }; // samordningsnummer
            if !Day::new(number(&digits[..4]), month, day).exists() {
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

fn eleven(digits: &[u32]) -> Result<String, &'static str> {
    let (mut day, mut month) = (number(&digits[..2]), number(&digits[2..4]));
    let (year, individual) = (number(&digits[4..6]), number(&digits[6..9]));
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
    let century = match (individual, year) {
        (0..=499, _) => 1900,
        (500..=749, 54..=99) => 1800,
        (500..=999, 0..=39) => 2000,
        (900..=999, 40..=99) => 1900,
        _ => return Err("bad_century"),
    };
    if !Day::new(century + year, month, day).exists() {
        return Err("bad_date");
    }
    let [first, second] = control_remainders(digits);
    if first > 3 || second != 0 {
        return Err("bad_check_digit");
    }
    Ok(text(digits))
}

fn control_remainders(eleven: &[u32]) -> [u32; 2] {
    let remainder = |weights: &[u32]| eleven.iter().zip(weights).map(|(d, w)| d * w).sum::<u32>() % 11;
    [remainder(&[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]), remainder(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1])]
}

fn text(digits: &[u32]) -> String {
    digits.iter().map(u32::to_string).collect()
}

/// Whether an id can belong to nobody: the birth numbers that are given to test persons,
/// organisations of the series 4, Norwegian months + 80.
fn is_test_number(id: &str) -> bool {
    match id.len() {
        11 => &id[2..4] > "80",
        _ if id.starts_with("16") => &id[2..3] == "4",
        _ => ["238", "239", "980", "981"].contains(&&id[8..11]),
    }
}

fn digits_of(text: &str) -> Vec<u32> {
    text.bytes().map(|byte| u32::from(byte - b'0')).collect()
}

/// Eleven digits closed by the one that satisfies Luhn.
pub(crate) fn with_luhn(eleven: &str) -> String {
    let candidates = (0..10).map(|last| format!("{eleven}{last}"));
    let mut right = candidates.filter(|id| luhn_holds(&digits_of(id)[2..]));
    right.next().expect("one digit of ten is right")
}

/// Births around the days that the tests ask for, where ten digits change their century.
const BIRTHS: [(u32, u32, u32); 6] =
    [(2026, 5, 31), (2026, 6, 1), (2026, 6, 2), (1926, 6, 1), (1924, 2, 29), (2024, 2, 29)];

/// A Swedish person; every second born 2000 to 2009, whose numbers spreadsheets damage.
pub(crate) fn swedish_person(random: &mut Random) -> String {
    let (year, month, day) = if random.percent(8) {
        *random.pick(&BIRTHS)
    } else {
        let years = if random.percent(50) { (2000, 2009) } else { (1885, 2026) };
        let (year, month) = (random.between(years.0, years.1), random.between(1, 12));
        (year, month, random.between(1, days_in_month(year, month)))
    };
    let day = day + if random.percent(20) { 60 } else { 0 };
    let birth_number = random.pick(&["238", "239", "980", "981"]);
    with_luhn(&format!("{year:04}{month:02}{day:02}{birth_number}"))
}

/// A Swedish organisation.
pub(crate) fn organisation(random: &mut Random) -> String {
    let (second, third, rest) = (random.below(10), random.between(2, 9), random.below(1_000_000));
    with_luhn(&format!("164{second}{third}{rest:06}"))
}

/// A Norwegian person, with a first control digit that is right only from 2032 in every fourth case.
pub(crate) fn norwegian_person(random: &mut Random) -> String {
    loop {
        let day = random.between(1, 31) + if random.percent(20) { 40 } else { 0 };
        let (month, year, individual) = (random.between(81, 92), random.below(100), random.below(1000));
        let remainder = if random.percent(25) { random.between(1, 3) } else { 0 };
        if let Some(id) = with_controls(&format!("{day:02}{month:02}{year:02}{individual:03}"), remainder)
            && eleven(&digits_of(&id)).is_ok()
        {
            return id;
        }
    }
}

/// Nine digits closed by the two control digits, if there are such.
fn with_controls(nine: &str, remainder: u32) -> Option<String> {
    let candidates = (0..100).map(|controls| format!("{nine}{controls:02}"));
    candidates.into_iter().find(|id| control_remainders(&digits_of(id)) == [remainder, 0])
}

/// An identity of a country.
pub(crate) fn anybody(random: &mut Random, country: Country) -> String {
    match country {
        Country::Norway => norwegian_person(random),
        Country::Sweden if random.percent(25) => organisation(random),
        Country::Sweden => swedish_person(random),
    }
}

/// One of the spellings of an id that lists contain.
pub(crate) fn spelled(random: &mut Random, id: &str) -> Vec<u8> {
    let short = if id.len() == 12 { &id[2..] } else { id };
    let tail = if id.len() == 12 { 4 } else { 5 };
    let signed = |id: &str, sign: &str| {
        let (head, tail) = id.split_at(id.len() - tail);
        format!("{head}{sign}{tail}").into_bytes()
    };
    match random.below(16) {
        0 | 1 => short.into(),
        2 => signed(short, "-"),
        3 => signed(short, if id.len() == 12 { "+" } else { " " }),
        4 => signed(id, "-"),
        5 => signed(id, "+"),
        6 => signed(short, " - "),
        7 => format!(" {id}  ").into_bytes(),
        8 => [b"\xA0".as_slice(), id.as_bytes()].concat(),
        9 => [short.as_bytes(), b"\xC2\xA0"].concat(),
        10 => format!("{} {} {}", &id[..6], &id[6..9], &id[9..]).into_bytes(),
        11 => short.trim_start_matches('0').into(),
        _ => id.into(),
    }
}

/// What stands in an id column and is no id. Never a valid number of somebody.
pub(crate) fn misspelled(random: &mut Random, country: Country) -> Vec<u8> {
    const NO_NUMBERS: [&str; 12] =
        ["", " ", "\t ", "-", "+", "saknas", "okänd", "N/A", "1.9E+11", "?", "12", "000000000000"];
    let id = anybody(random, country);
    let other = |random: &mut Random, digit: u8| b'0' + (digit - b'0' + 1 + random.below(9) as u8) % 10;
    let mut bytes = id.clone().into_bytes();
    match random.below(10) {
        0 | 1 => return random.pick(&NO_NUMBERS).as_bytes().to_vec(),
        2 | 3 => {
            let last = bytes.len() - 1;
            bytes[last] = other(random, bytes[last]);
            return spelled_anyhow(random, bytes);
        }
        4 => return wrong_parts(random, country).into_bytes(),
        5 if country == Country::Sweden => _ = bytes.pop(), // eleven digits have no meaning
        5 => bytes.truncate(8),
        6 => bytes.extend((0..random.between(2, 4)).map(|_| b'7')),
        7 => bytes.insert(random.below(bytes.len() + 1), *random.pick(b"-+Xo.\xC2\xE5")),
        8 => {
            let place = random.below(bytes.len());
            bytes.splice(place..place, *b"--");
        }
        _ => {
            let other = if country == Country::Sweden { Country::Norway } else { Country::Sweden };
            bytes = anybody(random, other).into_bytes();
            if other == Country::Sweden && bytes.len() == 12 && random.percent(50) {
                bytes.insert(8, b'-');
            }
        }
    }
    bytes
}

/// A number with a wrong last digit, with a sign or without, perhaps with lost zeros.
fn spelled_anyhow(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    match random.below(3) {
        0 if bytes.len() == 12 => bytes.insert(8, b'-'),
        1 if bytes.len() == 12 && bytes.starts_with(b"200") => _ = bytes.drain(..3),
        _ => {}
    }
    bytes
}

/// Numbers whose check digits are right and whose other parts are not.
fn wrong_parts(random: &mut Random, country: Country) -> String {
    match country {
        Country::Sweden => {
            let eleven = *random.pick(&[
                "19991301238",
                "19990001238",
                "19990132238",
                "19990100238",
                "19990230239",
                "19990229980",
                "19000229981",
                "19990192238",
                "19990160239",
                "17990101238",
                "21990101238",
                "15990101980",
                "00990101980",
                "16401234567",
                "16411234567",
                "16402000001",
            ]);
            let id = with_luhn(eleven);
            if id.starts_with("1999") && random.percent(40) { id[2..].to_owned() } else { id }
        }
        Country::Norway => loop {
            let nine = *random.pick(&[
                "018050123",
                "010050123",
                "019350123",
                "019950123",
                "328150123",
                "008150123",
                "728150123",
                "308250123",
                "298201123",
                "018145600",
                "018150899",
                "018160800",
                "418153700",
                "408160123",
            ]);
            // Not every nine digits have both control digits.
            let id = with_controls(nine, random.between(0, 10));
            if let Some(id) = id.filter(|id| eleven(&digits_of(id)).is_err()) {
                return id;
            }
        },
    }
}
