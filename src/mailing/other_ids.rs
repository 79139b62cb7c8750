//! Identities in a letter of a print run beside its own, and in what is around the letters.

use super::guard::{Guard, is_plain, next_run, spellings};
use crate::identities::Identity;
use std::ops::Range;

impl Guard {
    /// Number of different identities that a letter holds beside some, up to `most`.
    pub(super) fn other_identities(&self, text: &[u8], own: &[Identity], most: usize) -> usize {
        let mut found: Vec<Identity> = own.to_vec();
        let mut at = 0;
        while let Some(run) = next_run(text, at)
            && found.len() - own.len() < most
        {
            at = run.end;
            for spelling in spellings(&self.rules.ids, text, &run) {
                let text = &text[spelling];
                let readings = || self.rules.ids.readings(text);
                if self.is_other(text, text, &found) && readings().any(|id| is_plain(text, &id)) {
                    found.extend(readings().next());
                }
            }
            for person in self.persons_within(text, &run) {
                if !found.contains(&person) {
                    found.push(person);
                }
            }
        }
        found.len() - own.len()
    }

    /// Whether a text holds the identity of a person.
    pub(super) fn has_person(&self, text: &[u8]) -> bool {
        let ids = &self.rules.ids;
        std::iter::successors(next_run(text, 0), |run| next_run(text, run.end)).any(|run| {
            spellings(ids, text, &run).any(|one| ids.readings(&text[one]).any(|id| is_person(&id)))
                || self.persons_within(text, &run).next().is_some()
        })
    }

    /// The persons whose whole numbers are within a longer run of digits, or begin in it and go on behind a separator, as where
    /// fields touch. (Numbers of organisations are too often in others by chance.)
    fn persons_within(&self, text: &[u8], run: &Range<usize>) -> impl Iterator<Item = Identity> {
        let ids = &self.rules.ids;
        // 8 digits and 4, 6 and 4, or in Norway 6 and 5: what is before them belongs to another field.
        let heads = [8, 6].into_iter().filter({
            let length = run.len();
            move |head| length > *head
        });
        let run_of = run.clone();
        let separated = heads
            .flat_map(move |head| {
                let tail = run_of.end - head..run_of.end;
                spellings(ids, text, &tail).collect::<Vec<_>>()
            })
            .flat_map(move |one| ids.readings(&text[one]))
            .filter(is_person);
        self.whole_persons_within(text, run).chain(separated)
    }

    fn whole_persons_within(&self, text: &[u8], run: &Range<usize>) -> impl Iterator<Item = Identity> {
        let (run, ids) = (run.clone(), &self.rules.ids);
        ids.countries().flat_map(move |country| {
            let places = (run.len() + 1).saturating_sub(country.digits());
            // A run that is a whole number is a spelling.
            let places = if places > 1 { places } else { 0 };
            (run.start..run.start + places)
                .flat_map(move |at| ids.readings(&text[at..at + country.digits()]))
                .filter(is_person)
        })
    }
}

fn is_person(identity: &Identity) -> bool {
    !identity.as_bytes().starts_with(b"16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identities::{Country, Today};
    use crate::mailing::id_numbers::IdNumbers;
    use crate::mailing::rows::{Layout, RowRules};
    use crate::mailing::shape::RowShape;
    use crate::mailing::titles::Titles;

    #[test]
    fn ids_are_found_where_fields_touch() {
        let ids = IdNumbers { country: Country::Sweden, other: None, today: Today::CONTRACT };
        let guard = Guard {
            rules: RowRules {
                layout: Layout::Delimited { delimiter: None, column: 0 },
                columns: 0,
                ids,
                is_sheet: false,
            },
            shape: RowShape::Bytes { usual: 0, most: usize::MAX },
            expected: Vec::new(),
            header: Vec::new(),
            titles: Titles::default(),
            has_nel: false,
            every_cell: false,
        };
        let own = ids.identity(b"196810199809").expect("an id");
        for (text, others) in [
            ("10196810199809", 0),
            ("20199001022384", 1),
            ("of 19900102-2384 and 189001019802", 2),
            ("164821000025", 1),
            ("10164821000025", 0),
            ("invoice 1234567890123", 0),
            ("1119900102-2384", 1),
            ("11900102-2384 10681019-9809", 1),
            ("11900102-238", 0),
        ] {
            assert_eq!(guard.other_identities(text.as_bytes(), &[own], 9), others, "{text}");
        }
        assert!(guard.has_person(b"00199001022384") && guard.has_person(b"19900102-2384"));
        assert!(!guard.has_person(b"00 164821000025 202611301845") && !guard.has_person(b"HEAD"));
        assert_eq!(
            guard.other_identities(b"199001022384 189001019802", &[own], 1),
            1,
            "no more are searched for"
        );
    }
}
