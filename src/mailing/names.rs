//! Names of columns, and placeholders for identities.

use crate::identities::Country;

/// Titles of identity columns, in lower case, without punctuation and accents.
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

/// Those of [`KNOWN`] that may mean something else in a longer title: `Mottagare, namn`.
const KNOWN_ALONE: &[&str] = &["identitet", "recipient", "mottagare", "mottaker", "ssn"];

/// Those of [`KNOWN`] that mean something else in Sweden: there *dnr* is a case number.
const NORWEGIAN: &[&str] = &["dnr", "dnummer", "fnr", "fnrdnr", "fodselsnr", "fodselsnummer"];

/// Digits of a number that may be an identity without its lost zeros.
pub(super) const ID_DIGITS: usize = 9;

/// Those of [`KNOWN`] that are kinds of numbers or of recipients.
const KINDS: &[&str] = &[
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

/// Maximum number of words of a title that contains a known name.
const TITLE_WORDS: usize = 6;

/// Usual words of headers, in the form of [`KNOWN`].
const USUAL: &[&str] = &[
    "namn",
    "fornamn",
    "efternamn",
    "mellannamn",
    "tilltalsnamn",
    "navn",
    "fornavn",
    "etternavn",
    "mellomnavn",
    "name",
    "fullname",
    "givenname",
    "firstname",
    "middlename",
    "lastname",
    "surname",
    "familyname",
    "foretag",
    "foretagsnamn",
    "firma",
    "bolag",
    "company",
    "companyname",
    "adress",
    "gatuadress",
    "utdelningsadress",
    "postadress",
    "adresse",
    "gateadresse",
    "postadresse",
    "address",
    "street",
    "co",
    "coadress",
    "coadresse",
    "postnr",
    "postnummer",
    "zip",
    "zipcode",
    "postcode",
    "postalcode",
    "ort",
    "postort",
    "stad",
    "poststed",
    "sted",
    "city",
    "town",
    "kommun",
    "kommune",
    "lan",
    "fylke",
    "land",
    "country",
    "belopp",
    "summa",
    "avgift",
    "pris",
    "belop",
    "amount",
    "sum",
    "datum",
    "dato",
    "date",
    "fodelsedatum",
    "fodselsdato",
    "epost",
    "epostadress",
    "epostadresse",
    "email",
    "mail",
    "telefon",
    "telefonnummer",
    "telefonnr",
    "mobil",
    "mobilnummer",
    "mobilnr",
    "phone",
    "mobile",
    "kundnr",
    "kundnummer",
    "kundenr",
    "kundenummer",
    "kund",
    "kunde",
    "id",
    "nr",
    "nummer",
    "number",
    "no",
    "lopnr",
    "lopnummer",
    "rad",
    "row",
    "typ",
    "type",
    "status",
    "titel",
    "tittel",
    "title",
    "diarienr",
    "diarienummer",
    "arende",
    "arendenr",
    "arendenummer",
    "saksnr",
    "saksnummer",
    "fil",
    "filnamn",
    "file",
    "filename",
    "ocr",
    "kid",
    "referens",
    "referanse",
    "reference",
    "avdelning",
    "avdeling",
    "enhet",
    "fastighet",
    "fastighetsbeteckning",
    "skola",
    "skole",
    "klass",
    "klasse",
    "sprak",
    "language",
    "kommentar",
    "comment",
    "ovrigt",
    "extra",
    "sidor",
    "sider",
    "pages",
    "anm",
    "bilaga",
    "faktura",
    "fakturanr",
    "fritext",
    "meddelande",
    "tel",
    "text",
];

/// Further titles of identity columns, which are not unusual as texts of other columns, in the form of [`KNOWN`].
const ROLES: &[&str] = &[
    "person",
    "personer",
    "fodelsenummer",
    "fodelsenr",
    "individ",
    "barn",
    "elev",
    "medlem",
    "patient",
    "pasient",
    "klient",
    "deltagare",
    "deltaker",
    "anstalld",
    "ansatt",
    "hyresgast",
    "leietaker",
    "agare",
    "eier",
    "fastighetsagare",
    "innehavare",
    "debitor",
    "galdenar",
    "skyldner",
    "betalare",
    "betaler",
    "adressat",
    "sokande",
    "soker",
    "idnr",
    "idnummer",
    "kundid",
    "customerid",
    "userid",
    "identifier",
    "identity",
];

/// Placeholders for an identity that is protected or unknown.
const PLACEHOLDERS: &[&str] = &[
    "fingerad",
    "fingerat",
    "gdpr",
    "kvarskrivning",
    "personskydd",
    "reservnr",
    "sekr",
    "tillfalligt",
    "utflyttad",
    "skyddad",
    "skyddat",
    "skyddade",
    "sekretess",
    "sekretessmarkerad",
    "hemlig",
    "hemligt",
    "okand",
    "okant",
    "saknas",
    "saknar",
    "ingen",
    "inget",
    "finnsej",
    "ejkand",
    "ejkant",
    "uppgiftsaknas",
    "na",
    "null",
    "none",
    "nil",
    "unknown",
    "missing",
    "protected",
    "skjermet",
    "sperret",
    "fortrolig",
    "strengtfortrolig",
    "kode",
    "ukjent",
    "mangler",
    "tom",
    "utlandsk",
    "utenlandsk",
    "avliden",
    "dod",
    "utvandrad",
    "utvandret",
    "emigrerad",
    "test",
    "anonym",
    "utan",
    "uten",
    "ej",
    "inte",
    "ikke",
    "ikkje",
    "without",
    "not",
    "utland",
    "nyfodd",
    "sparrad",
    "sperra",
    "dold",
    "konfidentiell",
    "reservnummer",
    "tfnummer",
    "utredning",
    "nan",
    "blank",
    "felaktig",
    "felaktigt",
    "ogiltig",
    "ogiltigt",
    "ugyldig",
    "x",
    "xx",
    "xxx",
];

/// What follows *utan* in titles that say how an identity is written.
const FORMS: &[&str] = &[
    "bindestreck",
    "bindestrek",
    "streck",
    "strek",
    "sekel",
    "mellanslag",
    "mellomrom",
    "mellanrum",
    "skiljetecken",
    "skilletegn",
    "dash",
    "hyphen",
];

/// Words of titles for other people than those whom letters go to.
const OTHERS: &[&str] = &[
    "assistent",
    "borgensman",
    "formyndare",
    "fostermor",
    "fosterfar",
    "fosterforalder",
    "huvudlarare",
    "kontaktlarare",
    "larare",
    "lakare",
    "mamma",
    "medlantagare",
    "medsokande",
    "mentor",
    "mor",
    "far",
    "pappa",
    "rektor",
    "registrerad",
    "sambo",
    "skapad",
    "socialsekreterare",
    "stallforetradare",
    "utredare",
    "vh",
    "vardnadshavare",
    "vardnadshavares",
    "malsman",
    "malsmans",
    "foralder",
    "foralders",
    "make",
    "maka",
    "partner",
    "partners",
    "ombud",
    "ombuds",
    "godman",
    "forvaltare",
    "handlaggare",
    "handlaggares",
    "kontakt",
    "kontaktperson",
    "kontaktpersons",
    "kontaktpersonens",
    "anhorig",
    "anhorigs",
    "verge",
    "foresatt",
    "foresattes",
    "saksbehandler",
];

/// How well a title names the identity's column: 2 if it is a known name, 1 if it contains one, else 0. Without a country, of both.
pub(super) fn rank(title: &str, country: Option<Country>) -> u8 {
    let is_known = |name: &str| {
        let is_foreign = match country {
            None => false,
            Some(Country::Sweden) => NORWEGIAN.contains(&name),
            Some(Country::Norway) => name.starts_with("org"),
        };
        KNOWN.contains(&name) && !is_foreign
    };
    if is_known(&bare(&folded(title))) {
        return 2;
    }
    let words: Vec<String> = title
        .split(|character: char| !character.is_alphanumeric())
        .map(|word| bare(&folded(word)))
        .filter(|word| !word.is_empty())
        .collect();
    let holds = |name: &str| is_known(name) && !KNOWN_ALONE.contains(&name);
    let has_name = words.iter().any(|word| holds(word)) || words.windows(2).any(|pair| holds(&pair.concat()));
    // `Personnummer saknas` is not a title.
    let has_placeholder = has_placeholder(&words);
    // `Dnr 12345-26` is a number, not a name.
    let has_number =
        title.split(|character: char| !character.is_ascii_digit()).any(|digits| digits.len() > 2);
    u8::from(has_name && !has_placeholder && !has_number && words.len() <= TITLE_WORDS)
}

/// Whether a title is a usual word of headers.
pub(super) fn is_usual(title: &str, country: Option<Country>) -> bool {
    let word = bare(&folded(title));
    USUAL.contains(&&word[..]) || rank(title, country) > 0
}

/// Whether a title may be the one of a column of identities: it has a known name, or only usual words of headers and of
/// those whom letters go to.
pub(super) fn names_identities(title: &str, country: Option<Country>) -> bool {
    let mut words =
        title.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    let are_usual = |words: &mut dyn Iterator<Item = &str>| {
        let mut words = words.peekable();
        let is_one =
            |word: &str| is_usual(word, country) || is_role(word) || word.len() <= 2 && is_digits(word);
        words.peek().is_some() && words.all(is_one)
    };
    may_be_title(title) && (is_usual(title, country) || is_role(title) || are_usual(&mut words))
}

/// Whether a title names those whom letters go to: by a known name, or by a word for them.
pub(super) fn names_recipients(title: &str, country: Option<Country>) -> bool {
    rank(title, country) > 0 && !is_weak(title) || is_role(title)
}

/// Whether a title is a word of headers: a usual one, or one for those whom letters go to or for others.
pub(super) fn is_word_of_headers(title: &str, country: Option<Country>) -> bool {
    let has_digits = title.bytes().any(|byte| byte.is_ascii_digit());
    is_usual(title, country) || is_role(title) || names_others(title) && !has_digits
}

fn is_role(title: &str) -> bool {
    ROLES.contains(&&bare(&folded(title))[..])
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a cell may be a title, rather than a text in the place of an identity: it has a letter and no long number,
/// and is neither a placeholder nor an error of a spreadsheet.
pub(super) fn may_be_title(cell: &str) -> bool {
    let has_letter = cell.chars().any(char::is_alphabetic);
    has_letter && !cell.starts_with('#') && has_few_digits(cell) && !is_placeholder(cell) && !is_mask(cell)
}

/// Whether a cell has no other letter than X: a masked identity.
pub(super) fn is_mask(cell: &str) -> bool {
    cell.chars().all(|character| !character.is_alphabetic() || matches!(character, 'x' | 'X'))
}

/// Whether a cell has no more digits than a title of a column of identities.
pub(super) fn has_few_digits(cell: &str) -> bool {
    cell.bytes().filter(u8::is_ascii_digit).count() <= TITLE_DIGITS
}

/// Most digits of a title of a column of identities: `Personnummer (12 siffror)`.
const TITLE_DIGITS: usize = 2;

/// Digits of the longest number in a cell, with what may be between them, leaving out dates such as 2026-06-01.
pub(super) fn long_number(cell: &str) -> usize {
    let cell = without_dates(cell);
    let (mut longest, mut digits) = (0, 0);
    for character in cell.chars() {
        if character.is_numeric() {
            digits += 1;
            longest = longest.max(digits);
        } else if character.is_alphabetic() || matches!(character, '(' | ')' | ',' | ';' | '/' | ':') {
            digits = 0;
        }
    }
    longest
}

/// A text without its dates: `2026-06-01`, `2026.06.01`, `01.06.2026`, `20260601`.
fn without_dates(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let is_digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    // Eight digits with further ones, or right behind a text that a row was joined to.
    let is_part_of_identity = |at: usize, length: usize| {
        let follows = is_digit(at + length + 1) && !characters[at + length].is_alphabetic();
        follows || at > 0 && characters[at - 1].is_alphabetic()
    };
    let (mut left, mut at) = (String::new(), 0);
    while at < characters.len() {
        let is_start = at == 0 || !is_digit(at - 1);
        match date_length(&characters[at..]).filter(|length| is_start && !is_digit(at + length)) {
            // A sign that ends a number.
            Some(length) if length > 8 || !is_part_of_identity(at, length) => {
                left.push('/');
                at += length;
            }
            _ => {
                left.push(characters[at]);
                at += 1;
            }
        }
    }
    left
}

/// Length of the date with which a text begins.
fn date_length(text: &[char]) -> Option<usize> {
    const FORMS: [(&str, &str); 4] = [
        ("0000-00-00", "%Y-%m-%d"),
        ("0000.00.00", "%Y.%m.%d"),
        ("00.00.0000", "%d.%m.%Y"),
        ("00000000", "%Y%m%d"),
    ];
    FORMS.into_iter().find_map(|(shape, form)| {
        let length = shape.len();
        let has_shape = text.len() >= length
            && shape.chars().zip(text).all(|(wanted, found)| match wanted {
                '0' => found.is_ascii_digit(),
                wanted => wanted == *found,
            });
        let text: String = text.iter().take(length).collect();
        (has_shape && jiff::civil::Date::strptime(form, text).is_ok()).then_some(length)
    })
}

/// Whether a known name is also a usual title of other columns, such as one of names.
pub(super) fn is_weak(title: &str) -> bool {
    KNOWN_ALONE.contains(&&bare(&folded(title))[..])
}

/// Whether a title is only a known name for a kind of number or of recipient, such as `Samordningsnummer`. Rows may have it
/// in place of an identity.
pub(super) fn is_kind(title: &str) -> bool {
    KINDS.contains(&&bare(&folded(title))[..])
}

/// Whether a cell is a placeholder for an identity.
pub(super) fn is_placeholder(cell: &str) -> bool {
    let words = cell.split(|character: char| !character.is_alphanumeric());
    let words: Vec<String> = words.map(|word| bare(&folded(word))).filter(|word| !word.is_empty()).collect();
    PLACEHOLDERS.contains(&&bare(&folded(cell))[..]) || has_placeholder(&words)
}

/// Whether one of some words is a placeholder. `Utan bindestreck` says how an identity is written.
fn has_placeholder(words: &[String]) -> bool {
    let is_form = |next: Option<&String>| next.is_some_and(|next| FORMS.contains(&&next[..]));
    words.iter().enumerate().any(|(index, word)| {
        PLACEHOLDERS.contains(&&word[..])
            && !(["utan", "uten", "without"].contains(&&word[..]) && is_form(words.get(index + 1)))
    })
}

/// Whether a title names other people than those whom letters go to, such as guardians.
pub(super) fn names_others(title: &str) -> bool {
    let words = title.split(|character: char| !character.is_alphanumeric());
    let words: Vec<String> = words.map(|word| bare(&folded(word))).filter(|word| !word.is_empty()).collect();
    // Also in their other forms: vårdnadshavarens, ombudets.
    let is_one = |word: &str| {
        let ends = ["", "s", "n", "ns", "en", "ens", "et", "ets"].into_iter();
        ends.filter_map(|end| word.strip_suffix(end)).any(|stem| OTHERS.contains(&stem))
    };
    words.iter().any(|word| is_one(word)) || words.windows(2).any(|pair| is_one(&pair.concat()))
}

/// Whether a cell is an identity that cannot be read or is withheld, or ends with one right behind a letter, as in rows that
/// were joined: a placeholder of five letters or more, or a masked or long number.
pub(super) fn ends_unreadable(cell: &str) -> bool {
    let text = cell.trim();
    let folded = folded(text);
    let placeholder =
        PLACEHOLDERS.iter().filter(|word| word.len() >= 5).find(|word| folded.ends_with(**word));
    if let Some(word) = placeholder {
        // Alone, or glued to a text: accents have been removed from both, but each is one character.
        let before = text.chars().count().saturating_sub(word.chars().count());
        return before == 0
            || text.chars().nth(before - 1).is_some_and(char::is_alphanumeric)
                && text.chars().skip(before).all(char::is_alphanumeric);
    }
    let start = text.char_indices().rev().take_while(|(_, character)| is_of_number(*character)).last();
    let (before, number) = text.split_at(start.map_or(text.len(), |(at, _)| at));
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let masked = number.bytes().filter(|byte| matches!(byte, b'X' | b'x' | b'*')).count();
    let is_number = digits >= ID_DIGITS && !number.starts_with('0');
    let is_masked = masked >= 4 && (ID_DIGITS..=MASKED_BYTES).contains(&number.len());
    let is_long = is_number || is_masked;
    is_long && (before.is_empty() || before.ends_with(char::is_alphabetic))
}

/// Bytes of a masked identity with a sign: `19681019-XXXX`.
const MASKED_BYTES: usize = 13;

/// Whether a character may be in a number of an identity, which may be masked.
fn is_of_number(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, 'X' | 'x' | '*' | '-' | '+')
}

/// Whether a title has an exact known name that only columns of identities have.
pub(super) fn is_exact(title: &str, country: Option<Country>) -> bool {
    rank(title, country) == 2 && !is_weak(title)
}

/// A name without a number of one or two digits at its end: `pnr_1`.
fn bare(name: &str) -> String {
    let bare = name.trim_end_matches(|character: char| character.is_ascii_digit());
    if name.len() - bare.len() <= 2 { bare.to_owned() } else { name.to_owned() }
}

/// A name in lower case, without punctuation and accents.
pub(super) fn folded(name: &str) -> String {
    let fold = |character: char| match character {
        'å' | 'ä' | 'à' | 'á' => Some('a'),
        'ö' | 'ø' | 'ó' => Some('o'),
        'é' | 'è' => Some('e'),
        character if character.is_alphanumeric() => Some(character),
        _ => None,
    };
    name.to_lowercase().chars().filter_map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_titles() {
        for (title, expected) in [
            ("Personnummer", 2),
            ("PERS.NR", 2),
            ("pnr_1", 2),
            ("Fødselsnummer", 2),
            ("Person-/org.nr", 2),
            ("mottagare", 2),
            ("Personnummer (12 siffror)", 1),
            ("Fødselsnummer (11 siffer)", 1),
            ("Vårdnadshavarens personnummer", 1),
            ("Person nummer, 12 siffror", 1),
            ("Mottagare namn", 0),
            ("Lista över alla som har ett personnummer i kommunen", 0),
            ("Personnummer saknas", 0),
            ("Skyddad personnummer", 0),
            ("Dnr 12345-26", 0),
            ("Namn", 0),
            ("", 0),
            ("12", 0),
        ] {
            assert_eq!(rank(title, Some(Country::Norway)), expected, "{title}");
        }
        let usual = |title| is_usual(title, Some(Country::Sweden));
        assert!(
            usual("Adress 1") && usual("POSTNR") && usual("Pnr") && !usual("Anna") && !usual("Ort 12345")
        );
        assert_eq!([rank("Dnr", Some(Country::Norway)), rank("Dnr", Some(Country::Sweden))], [2, 0]);
        assert!(is_placeholder("SKYDDAD") && is_placeholder("okänd") && is_placeholder("N/A"));
    }
}
