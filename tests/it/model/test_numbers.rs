//! Test numbers of persons and organisations, and how lists spell and misspell them.

use super::identities::{Country, PUBLISHED, control_remainders, days_in_month, eleven, luhn_holds};
use crate::support::random::Random;

fn digits_of(text: &str) -> Vec<u32> {
    text.bytes().map(|byte| u32::from(byte - b'0')).collect()
}

/// Eleven digits closed by the one that satisfies Luhn.
pub(crate) fn with_luhn(eleven: &str) -> String {
    let candidates = (0..10).map(|last| format!("{eleven}{last}"));
    let mut right = candidates.filter(|id| luhn_holds(&digits_of(id)[2..]));
    right.next().expect("one digit of ten is right")
}

/// Births around the dates of the tests, where the century of ten digits changes.
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
    let (month, day) = match random.below(100) {
        0..15 => (month, day + 60),
        // Samordningsnummer of persons whose day or month of birth is not known.
        15..18 => (month, 60),
        18..21 => (0, 60 + random.between(0, 31)),
        _ => (month, day),
    };
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
    if random.percent(2) {
        return (*random.pick(&PUBLISHED)).to_owned();
    }
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
pub(crate) fn random_id(random: &mut Random, country: Country) -> String {
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
    match random.below(30) {
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
        // Characters that spreadsheets put around a number.
        12 => format!("=\"{id}\"").into_bytes(),
        13 => format!("=\"\"{short}\"\"").into_bytes(),
        14 => format!("'{short}").into_bytes(),
        15 => format!("'{id}'").into_bytes(),
        16 => format!("{id}.0").into_bytes(),
        17 => format!("{},0", short.trim_start_matches('0')).into_bytes(),
        18 => format!("\t={id}\x0C").into_bytes(),
        // Characters that word processors and web pages put between the digits.
        19 | 20 => {
            let dash = *random.pick(&DASHES);
            signed(if random.percent(50) { short } else { id }, dash)
        }
        21 | 22 => {
            let at = random.below(id.len() + 1);
            format!("{}{}{}", &id[..at], random.pick(&INVISIBLE), &id[at..]).into_bytes()
        }
        23 => {
            let mark = *random.pick(&INVISIBLE);
            signed(short, mark)
        }
        24 => id.chars().map(full_width).collect::<String>().into_bytes(),
        25 => {
            let (head, tail) = short.split_at(short.len() - tail);
            let sign = if id.len() == 12 { random.pick(&["-", "\u{FF0D}", "\u{FF0B}"]) } else { &"\u{FF0D}" };
            format!("{head}{sign}{}", tail.chars().map(full_width).collect::<String>()).into_bytes()
        }
        26 => {
            let (head, tail) = short.split_at(short.len() - tail);
            [head.as_bytes(), random.pick::<&[u8]>(&[b"\x96", b"\x97", b"\xAD", b"\xA0"]), tail.as_bytes()]
                .concat()
        }
        _ => id.into(),
    }
}

const DASHES: [&str; 9] = [
    "\u{2010}", "\u{2011}", "\u{2012}", "\u{2013}", "\u{2014}", "\u{2015}", "\u{2212}", "\u{FE58}",
    "\u{FE63}",
];

/// Blanks and marks that are skipped.
const INVISIBLE: [&str; 16] = [
    "\u{A0}", "\u{1680}", "\u{2000}", "\u{2007}", "\u{200A}", "\u{202F}", "\u{205F}", "\u{3000}", "\u{AD}",
    "\u{200B}", "\u{200F}", "\u{202A}", "\u{202E}", "\u{2060}", "\u{2066}", "\u{FEFF}",
];

fn full_width(digit: char) -> char {
    char::from_u32(u32::from(digit) - u32::from('0') + 0xFF10).expect("a digit")
}

/// An invalid cell of an id column, never a valid number of a real person.
pub(crate) fn misspelled(random: &mut Random, country: Country) -> Vec<u8> {
    const NO_NUMBERS: [&str; 28] = [
        "",
        " ",
        "\t ",
        "-",
        "+",
        "saknas",
        "okänd",
        "N/A",
        "1.9E+11",
        "?",
        "12",
        "000000000000",
        "1,98501E+11",
        "1.98501e11",
        "=\"\"1,98501E+11\"\"",
        "E+11",
        "1E+1111",
        "1E-11",
        "'",
        "=",
        "''",
        "=\"\"",
        "\u{200B}\u{FEFF}",
        "\u{2013}",
        "SKYDDAD",
        "\u{1A}",
        "0,0",
        "1.5E+11.0",
    ];
    let id = random_id(random, country);
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
        7 => bytes.insert(random.below(bytes.len() + 1), *random.pick(b"-+Xo.\xC2\xE5\x96\xA0\x85")),
        8 if random.percent(50) => {
            let place = random.below(bytes.len());
            bytes.splice(place..place, random.pick(&[*b"--", *b"+-", *b"  ", *b".0", *b"\x96\x97"]).to_vec());
        }
        8 => {
            // Spellings that are almost those of spreadsheets.
            let (before, after) = *random.pick(&[
                ("=\"", ""),
                ("==", ""),
                ("", ".00"),
                ("", ".5"),
                ("", "'"),
                ("''", ""),
                ("= ", ""),
            ]);
            return format!("{before}{id}{after}").into_bytes();
        }
        _ => {
            let other = if country == Country::Sweden { Country::Norway } else { Country::Sweden };
            bytes = random_id(random, other).into_bytes();
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
