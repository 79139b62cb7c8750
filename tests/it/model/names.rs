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
    "personalnumber",
    "personalidentitynumber",
    "personalidentificationnumber",
    "personnumber",
    "socialsecuritynumber",
    "organisationnumber",
    "organizationnumber",
    "skattenummer",
    "stcd",
    "nationalid",
    "nationalidentitynumber",
    "ssn",
];

/// Names that say a kind of number or of recipient.
const KINDS: [&str; 12] = [
    "samordningsnummer",
    "samordningsnr",
    "organisationsnummer",
    "organisationsnr",
    "orgnr",
    "orgnummer",
    "dnummer",
    "dnr",
    "recipient",
    "mottagare",
    "mottaker",
    "identitet",
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
    match country {
        Country::Sweden => KNOWN.contains(&word) && !norwegian.contains(&word),
        Country::Norway => KNOWN.contains(&word) && !word.starts_with("org"),
    }
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

/// Whether a title is such a name and nothing else.
pub(crate) fn is_kind(title: &str) -> bool {
    KINDS.contains(&unnumbered(&plain(title)))
}

/// Those words of ones whom letters go to that the specification names.
const ROLES: [&str; 3] = ["elev", "medlem", "sokande"];

/// Usual words of headers that the specification has in titles of identities.
const OF_IDS: [&str; 2] = ["kund", "id"];

/// Whether a cell may be a title where the identities are.
pub(crate) fn is_title(cell: &str) -> bool {
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    let has_letter = cell.chars().any(char::is_alphabetic);
    let is_mask = cell.chars().all(|character| !character.is_alphabetic() || "xX".contains(character));
    has_letter && digits <= 2 && !cell.trim().starts_with('#') && !is_withheld(cell) && !is_mask
}

/// Whether a title is one that columns of identities have.
pub(crate) fn may_name_ids(title: &str, country: Country) -> bool {
    let is_word = |text: &str| {
        let word = plain(text);
        let is_role = ROLES.contains(&unnumbered(&word)) || OF_IDS.contains(&unnumbered(&word));
        is_usual(text) || known(text, country) != Known::No || is_role
    };
    let words = words(title);
    let is_short_number = |word: &String| word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit());
    is_title(title)
        && (is_word(title)
            || !words.is_empty() && words.iter().all(|word| is_word(word) || is_short_number(word)))
}

/// An exact known name that only columns of identities have.
pub(crate) fn is_strong_name(title: &str, country: Country) -> bool {
    known(title, country) == Known::Name && !is_weak_name(title)
}

/// A known name, or a word for those whom letters go to.
pub(crate) fn names_recipients(title: &str, country: Country) -> bool {
    known(title, country) != Known::No && !is_weak_name(title) || ROLES.contains(&unnumbered(&plain(title)))
}

/// A usual word of headers, or one for those whom letters go to or for others.
pub(crate) fn is_header_word(title: &str, country: Country) -> bool {
    let is_role = ROLES.contains(&unnumbered(&plain(title)));
    let is_about_others = names_others(title) && !title.bytes().any(|byte| byte.is_ascii_digit());
    is_usual(title) || known(title, country) != Known::No || is_role || is_about_others
}

/// Whether a title is about others, such as guardians.
pub(crate) fn names_others(title: &str) -> bool {
    let others = [
        "vh",
        "malsman",
        "vardnadshavare",
        "foresatt",
        "verge",
        "ombud",
        "kontaktperson",
        "handlaggare",
        "godman",
        "mentor",
        "registrerad",
    ];
    let words = words(title);
    let words: Vec<&str> =
        words.iter().map(|word| unnumbered(word)).filter(|word| !word.is_empty()).collect();
    let ends = ["", "s", "n", "ns", "en", "ens", "et", "ets"];
    let is_one =
        |word: &str| others.iter().any(|other| ends.iter().any(|end| word == format!("{other}{end}")));
    words.iter().any(|word| is_one(word)) || words.windows(2).any(|pair| is_one(&pair.concat()))
}

/// Whether a cell is an identity that is withheld or cannot be read, or has one right behind a letter at its end.
pub(crate) fn ends_unreadable(cell: &str) -> bool {
    let text: Vec<char> = cell.trim().chars().collect();
    if let Some(word) = WITHHELD.iter().find(|word| plain(cell).ends_with(**word)) {
        let (before, end) = text.split_at(text.len().saturating_sub(word.len()));
        let is_glued = before.last().is_some_and(|last| last.is_alphanumeric());
        return before.is_empty() || is_glued && end.iter().all(|character| character.is_alphanumeric());
    }
    let length = text.iter().rev().take_while(|character| "0123456789Xx*-+".contains(**character)).count();
    let (before, number) = text.split_at(text.len() - length);
    let digits = number.iter().filter(|character| character.is_ascii_digit()).count();
    let masked = number.iter().filter(|character| "Xx*".contains(**character)).count();
    let is_number = digits >= 9 && number[0] != '0';
    let is_masked = masked >= 4 && (9..=13).contains(&number.len());
    (is_number || is_masked) && before.last().is_none_or(|last| last.is_alphabetic())
}

pub(crate) fn is_weak_name(title: &str) -> bool {
    TOO_COMMON.contains(&unnumbered(&plain(title)))
}

/// The digits of the longest number in a cell; dates have none.
pub(crate) fn long_number(cell: &str) -> usize {
    let characters: Vec<char> = cell.trim().chars().collect();
    let is_digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    let date_at = |at: usize| -> Option<usize> {
        let text = |length: usize| characters[at..].iter().take(length).collect::<String>();
        let parts = |text: &str, sign: char| -> Vec<String> { text.split(sign).map(str::to_owned).collect() };
        let is_date = |year: &str, month: &str, day: &str| {
            let all = [year, month, day].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            let (Ok(year), Ok(month), Ok(day)) = (year.parse(), month.parse(), day.parse()) else {
                return false;
            };
            all && jiff::civil::Date::new(year, month, day).is_ok()
        };
        for sign in ['-', '.'] {
            if let [one, two, three] = &parts(&text(10), sign)[..] {
                let lengths = [one.len(), two.len(), three.len()];
                if lengths == [4, 2, 2] && is_date(one, two, three)
                    || sign == '.' && lengths == [2, 2, 4] && is_date(three, two, one)
                {
                    return Some(10);
                }
            }
        }
        let eight = text(8);
        let is_eight =
            eight.len() == 8 && eight.is_ascii() && is_date(&eight[..4], &eight[4..6], &eight[6..]);
        let follows = is_digit(at + 9) && !characters[at + 8].is_alphabetic();
        let is_glued = at > 0 && characters[at - 1].is_alphabetic();
        (is_eight && !follows && !is_glued).then_some(8)
    };
    let (mut longest, mut digits, mut at) = (0, 0, 0);
    while at < characters.len() {
        let is_start = at == 0 || !is_digit(at - 1);
        if let Some(length) = date_at(at).filter(|length| is_start && !is_digit(at + length)) {
            (digits, at) = (0, at + length);
            continue;
        }
        let character = characters[at];
        if character.is_numeric() {
            digits += 1;
        } else if character.is_alphabetic() || "(),;/:".contains(character) {
            digits = 0;
        }
        longest = longest.max(digits);
        at += 1;
    }
    longest
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
