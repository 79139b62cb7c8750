//! The titles of a list, in the header and in rows that are headers of other files.

use super::names;
use crate::identities::Country;

/// The titles of a list's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Titles {
    /// Without case, punctuation and accents; none if the list has no header.
    folded: Vec<String>,
    id_column: usize,
    /// That of the ids; `None` if they are of both.
    country: Option<Country>,
}

impl Titles {
    pub(super) fn new(
        titles: impl Iterator<Item = String>,
        id_column: usize,
        country: Option<Country>,
    ) -> Titles {
        Titles { folded: titles.map(|title| names::folded(&title)).collect(), id_column, country }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    /// Whether a row without identity has, where the identities are, a word that is no title of theirs or one about other
    /// people, and in another column the title of the identities' column or a known name; and that word is a title, or two
    /// others are.
    pub(super) fn are_moved(&self, texts: &[String]) -> bool {
        let country = self.country;
        let id_title = self.folded.get(self.id_column).filter(|title| !title.is_empty());
        let Some(own) = texts.get(self.id_column).filter(|own| names::may_be_title(own)) else {
            return false;
        };
        let is_id_title = |text: &str| {
            id_title.is_some_and(|title| names::folded(text) == *title)
                || names::rank(text, country) > 0 && !names::is_weak(text)
        };
        let is_title = |text: &String| {
            let folded = names::folded(text);
            !folded.is_empty()
                && (self.folded.contains(&folded)
                    || names::is_usual(text, country)
                    || names::names_others(text))
        };
        let mut others = texts.iter().enumerate().filter(|(column, _)| *column != self.id_column);
        let Some((moved, _)) = others.find(|(_, text)| is_id_title(text)) else { return false };
        let titles = texts.iter().enumerate().filter(|(column, text)| *column != moved && is_title(text));
        // A header like that of the list, such as one with another case, is no other one.
        (!is_id_title(own) || names::names_others(own)) && (is_title(own) || titles.count() >= 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_other_files() {
        let texts = |row: &str| row.split(';').map(str::to_owned).collect::<Vec<_>>();
        let titles = Titles::new(
            texts("Personnummer;Namn;VH personnummer;Idtyp").into_iter(),
            0,
            Some(Country::Sweden),
        );
        for (row, expected) in [
            ("VH Personnummer;Namn;Personnummer;Idtyp", true),
            ("VH-personnummer;NAMN;personnummer", true),
            ("Målsman;Namn;Personnr;Ort", true),
            ("Namn;Elevens pnr;Pnr", true),
            ("PERSONNUMMER;NAMN;VH;IDTYP", false),
            ("Personnr;Namn;VH personnummer;Idtyp", false),
            ("skyddad;Eva Ek;;Personnummer", false),
            ("19900102;Eva Ek;;Personnummer", false),
            ("Eva Ek;Gatan 1;Lund;Personnummer", false),
            ("Slut", false),
        ] {
            assert_eq!(titles.are_moved(&texts(row)), expected, "{row}");
        }
    }
}
