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
    "nationalid",
    "ssn",
];

/// Those of [`KNOWN`] that may mean something else in a longer title: `Mottagare, namn`.
const KNOWN_ALONE: &[&str] = &["identitet", "recipient", "mottagare", "mottaker", "ssn"];

/// Those of [`KNOWN`] that mean something else in Sweden: there *dnr* is a case number.
const NORWEGIAN: &[&str] = &["dnr", "dnummer", "fnr", "fnrdnr", "fodselsnr", "fodselsnummer"];

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
    "firstname",
    "lastname",
    "surname",
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
];

/// Placeholders for an identity that is protected or unknown.
const PLACEHOLDERS: &[&str] = &[
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
    "x",
    "xx",
    "xxx",
];

/// How well a title names the identity's column: 2 if it is a known name, 1 if it contains one, else 0.
pub(super) fn rank(title: &str, country: Country) -> u8 {
    let is_known = |name: &str| {
        let is_foreign = match country {
            Country::Sweden => NORWEGIAN.contains(&name),
            Country::Norway => false,
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
    let has_placeholder = words.iter().any(|word| PLACEHOLDERS.contains(&&word[..]));
    // `Dnr 12345-26` is a number, not a name.
    let has_number =
        title.split(|character: char| !character.is_ascii_digit()).any(|digits| digits.len() > 2);
    u8::from(has_name && !has_placeholder && !has_number && words.len() <= TITLE_WORDS)
}

/// Whether a title is a usual word of headers.
pub(super) fn is_usual(title: &str, country: Country) -> bool {
    let word = bare(&folded(title));
    USUAL.contains(&&word[..]) || rank(title, country) > 0
}

/// Whether a cell is a placeholder for an identity.
pub(super) fn is_placeholder(cell: &str) -> bool {
    let is_one = |text: &str| PLACEHOLDERS.contains(&&bare(&folded(text))[..]);
    is_one(cell) || cell.split(|character: char| !character.is_alphanumeric()).any(is_one)
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
            assert_eq!(rank(title, Country::Norway), expected, "{title}");
        }
        let usual = |title| is_usual(title, Country::Sweden);
        assert!(
            usual("Adress 1") && usual("POSTNR") && usual("Pnr") && !usual("Anna") && !usual("Ort 12345")
        );
        assert_eq!([rank("Dnr", Country::Norway), rank("Dnr", Country::Sweden)], [2, 0]);
        assert!(is_placeholder("SKYDDAD") && is_placeholder("okänd") && is_placeholder("N/A"));
    }
}
