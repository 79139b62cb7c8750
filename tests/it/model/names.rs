//! Words: names of columns that are known, usual words of headers, words of totals.

use super::identities::Country;

const KNOWN: &[&str] = &[
    "personnummer",
    "personnr",
    "persnr",
    "persnummer",
    "pnr",
    "personid",
    "personidentitet",
    "personidentitetsnummer",
    "identitetsnummer",
    "identitetsnr",
    "identitet",
    "samordningsnummer",
    "samordningsnr",
    "organisationsnummer",
    "organisationsnr",
    "orgnr",
    "orgnummer",
    "personorgnr",
    "persorgnr",
    "personorganisationsnummer",
    "personellerorganisationsnummer",
    "recipientid",
    "recipient",
    "mottagarid",
    "mottagare",
    "mottakerid",
    "mottaker",
    "fodselsnummer",
    "fodselsnr",
    "fnr",
    "dnummer",
    "dnr",
    "fnrdnr",
    "personidentifikator",
    "nationalid",
    "ssn",
];

/// Names that do not count within a longer title.
const TOO_COMMON: [&str; 5] = ["identitet", "recipient", "mottagare", "mottaker", "ssn"];

/// Those usual words of headers that the specification names.
const USUAL: [&str; 7] = ["namn", "adress", "postnr", "ort", "belopp", "navn", "name"];

/// Those words for an identity that is withheld that the specification names.
const WITHHELD: [&str; 4] = ["skyddad", "okand", "saknas", "hemlig"];

const TOTALS: &[&str] = &[
    "antal",
    "antall",
    "summa",
    "sum",
    "total",
    "totalt",
    "totalsumma",
    "totalsum",
    "totals",
    "count",
    "eof",
    "slut",
    "slutt",
    "end",
    "affected",
    "rader",
    "rows",
    "poster",
    "records",
];

const BESIDE_TOTALS: &[&str] = &[
    "of",
    "file",
    "list",
    "listan",
    "rad",
    "row",
    "post",
    "record",
    "st",
    "stk",
    "kr",
    "sek",
    "nok",
    "eur",
    "pverkades",
    "personer",
    "person",
    "mottagare",
    "mottakere",
    "brev",
    "adresser",
];

/// How well a name is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Known {
    No,
    /// A title of some words has a name in it.
    Title,
    Name,
}

/// The text of a cell of the header, in the encoding of the list.
pub(crate) fn decoded(cell: &[u8], encoding: &str) -> String {
    match encoding {
        "windows-1252" => cell.iter().map(|&byte| windows_1252(byte)).collect(),
        _ => String::from_utf8_lossy(cell).into_owned(),
    }
}

/// Only the letters matter here; they are those of ISO-8859-1.
fn windows_1252(byte: u8) -> char {
    char::from(byte)
}

/// The words of a text in lower case and without accents.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in text.chars().flat_map(char::to_lowercase) {
        match character {
            'å' | 'ä' | 'à' | 'á' | 'â' => words.last_mut().expect("a word").push('a'),
            'ö' | 'ø' | 'ò' | 'ó' => words.last_mut().expect("a word").push('o'),
            'é' | 'è' | 'ê' | 'ë' => words.last_mut().expect("a word").push('e'),
            'ü' => words.last_mut().expect("a word").push('u'),
            'æ' => words.last_mut().expect("a word").push_str("ae"),
            character if character.is_alphanumeric() => words.last_mut().expect("a word").push(character),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A text in lower case, without marks, blanks and accents.
pub(crate) fn plain(text: &str) -> String {
    words(text).concat()
}

/// A word without the one or two digits at its end.
fn unnumbered(word: &str) -> &str {
    let bare = word.trim_end_matches(|last: char| last.is_ascii_digit());
    if word.len() - bare.len() <= 2 { bare } else { word }
}

fn is_known(word: &str, country: Country) -> bool {
    let norwegian = ["dnr", "dnummer", "fnr", "fnrdnr", "fodselsnr", "fodselsnummer"];
    let word = unnumbered(word);
    KNOWN.contains(&word) && (country == Country::Norway || !norwegian.contains(&word))
}

pub(crate) fn known(title: &str, country: Country) -> Known {
    if is_known(&plain(title), country) {
        return Known::Name;
    }
    let words = words(title);
    let words: Vec<&str> =
        words.iter().map(|word| unnumbered(word)).filter(|word| !word.is_empty()).collect();
    let says = |word: &str| is_known(word, country) && !TOO_COMMON.contains(&unnumbered(word));
    let one = words.iter().any(|word| says(word));
    let two = words.windows(2).any(|pair| says(&pair.concat()));
    let numbers = title.split(|character: char| !character.is_ascii_digit());
    let has_number = numbers.into_iter().any(|digits| digits.len() > 2);
    let is_title = words.len() <= 6 && (one || two) && !has_number && !is_withheld(title);
    if is_title { Known::Title } else { Known::No }
}

pub(crate) fn is_usual(title: &str) -> bool {
    USUAL.contains(&unnumbered(&plain(title)))
}

/// Whether a cell has a word for an identity that is withheld.
pub(crate) fn is_withheld(cell: &str) -> bool {
    words(cell).iter().any(|word| WITHHELD.contains(&word.as_str()))
}

/// Whether a row without line end is the end of a report.
pub(crate) fn is_footer(row: &[u8]) -> bool {
    if row.len() > 200 {
        return false;
    }
    if row.contains(&0x1A) && row.iter().all(|byte| *byte == 0x1A || byte.is_ascii_whitespace()) {
        return true;
    }
    let mut words = vec![String::new()];
    for &byte in row {
        match byte {
            0x80.. => {} // left out, so that the word continues
            _ if byte.is_ascii_alphanumeric() => {
                words.last_mut().expect("a word").push(byte.to_ascii_lowercase() as char);
            }
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let is_total = |word: &str| TOTALS.contains(&word);
    words.iter().any(|word| is_total(word))
        && words.iter().all(|word| word.len() <= 20)
        && words
            .iter()
            .all(|word| is_number(word) || is_total(word) || BESIDE_TOTALS.contains(&word.as_str()))
}
