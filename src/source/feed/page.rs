//! A page of the feed, and whether it fits what was asked.

use crate::changes::{PutPerson, json};
use crate::identities::Today;
use crate::limits::SEQUENCE_MAX;
use crate::register::contact::Contact;
use crate::register::{Person, day_number};
use crate::source::answer::{CallError, canonical};
use crate::source::krr::{KAN_IKKE_VARSLES, persons};
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Deserialize;

/// Persons who changed after a number, in the order of the feed.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) persons: Vec<PutPerson>,
    /// The number of the next call.
    pub(super) to: u64,
    /// The last number of the register.
    pub(super) latest: u64,
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum FeedError {
    /// The register does not have the changes after the number any longer, or does not know the number.
    Gone(String),
    /// As for any other call.
    Call(CallError),
}

/// The answer of hentEndringer. Fields that are not known are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(deserialize_with = "persons")]
    list: Vec<Person>,
    fra_endrings_id: u64,
    til_endrings_id: u64,
    siste_endrings_id: u64,
}

fn bad(why: impl Into<String>) -> FeedError {
    FeedError::Call(CallError::BadAnswer(format!("the page {}", why.into())))
}

/// Reads the answer to a call for the changes after `from`. It is believed only as a whole.
pub(super) fn read(body: &[u8], from: u64, now: Timestamp) -> Result<Page, FeedError> {
    // The error of serde would name content.
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        bad(format!("is not that of hentEndringer, or is cut off, at line {line} column {column}"))
    })?;
    let Answer { list, fra_endrings_id: begin, til_endrings_id: to, siste_endrings_id: latest } = answer;
    if latest < from {
        return Err(FeedError::Gone(format!("its last number is {latest}")));
    }
    // The first number of a page may be meant inclusively: no change lies between the two.
    if begin > from.saturating_add(1) {
        return Err(FeedError::Gone(format!("its page begins at number {begin}")));
    }
    if begin < from {
        return Err(bad("is one after another number"));
    }
    if to < from || to > latest || latest > SEQUENCE_MAX {
        return Err(bad("ends before it begins, or after the last number"));
    }
    if to == from && to < latest {
        return Err(bad("does not advance, although it is not the last"));
    }
    let day = day_number(Offset::UTC.to_datetime(now).date());
    let persons = list.into_iter().map(|person| put(person, day)).collect::<Result<_, _>>()?;
    Ok(Page { persons, to, latest })
}

/// A person as the directory stores it.
fn put(mut person: Person, day: u32) -> Result<PutPerson, FeedError> {
    if canonical(&person.personidentifikator).is_none() {
        return Err(bad("has a personidentifikator that is none"));
    }
    match &*person.status {
        "AKTIV" | "" if !["JA", "NEI"].contains(&&*person.reservasjon) => {
            // It is always returned; without it, a person who has reserved themselves would get digital mail.
            return Err(bad("has a person without reservasjon"));
        }
        // The feed has none, but if it had, then in place of a deletion, which must not be lost.
        "IKKE_REGISTRERT" => person.status = "SLETTET".to_owned(),
        _ => {}
    }
    let is_notifiable = person.varslingsstatus != KAN_IKKE_VARSLES;
    let mut put = json::put_person(&person, Today::CONTRACT).map_err(|reason| match reason.column {
        "" => bad("has a person whose contact data is too long"),
        column => bad(format!("has a value of {column} that the contract does not allow")),
    })?;
    // Dates are kept as they are, unless the register itself says that they do not count.
    if !is_notifiable && put.state.notifiable(day) {
        put.state.expires = 0;
        let contact = Contact::without_dates(&put.contact);
        put.contact = contact.ok_or_else(|| bad("has contact data that is too long"))?;
    }
    Ok(put)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: &str =
        r#"{"personidentifikator":"18819991495","reservasjon":"NEI","status":"AKTIV","ny":[1]}"#;

    fn page(list: &str, [from, to, latest]: [u64; 3]) -> String {
        format!(
            r#"{{"ny":1,"list":[{list}],"fraEndringsId":{from},"tilEndringsId":{to},"sisteEndringsId":{latest}}}"#
        )
    }

    fn read_at(text: &str, from: u64) -> Result<Page, FeedError> {
        read(text.as_bytes(), from, "2026-06-01T00:00:00Z".parse().expect("a time"))
    }

    fn finding(text: &str, from: u64) -> String {
        match read_at(text, from) {
            Err(FeedError::Call(CallError::BadAnswer(why))) => why,
            Err(FeedError::Gone(why)) => format!("gone: {why}"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn pages_are_read() {
        let deleted = r#"{"personidentifikator":"14819222852","status":"SLETTET"}"#;
        let text = page(&format!("{PERSON},{deleted}"), [7, 9, 12]);
        let read = read_at(&text, 7).expect("a page");
        assert_eq!((read.persons.len(), read.to, read.latest), (2, 9, 12));
        assert_eq!([0, 1].map(|index| read.persons[index].state.deleted), [false, true]);
        for end in 0..text.len() {
            assert!(finding(&text[..end], 7).contains("hentEndringer"), "cut off at {end}");
        }
        // Nothing new, an empty page, and a first number that is meant inclusively.
        for numbers in [[7, 7, 7], [7, 9, 9], [8, 9, 12]] {
            assert_eq!(read_at(&page("", numbers), 7).expect("a page").to, numbers[1]);
        }
        let unknown = r#"{"personidentifikator":"14819222852","status":"IKKE_REGISTRERT"}"#;
        assert!(read_at(&page(unknown, [7, 8, 8]), 7).expect("a page").persons[0].state.deleted);
    }

    #[test]
    fn numbers_must_fit_what_was_asked() {
        for (numbers, expected) in [
            ([6, 9, 9], "after another number"),
            ([7, 6, 9], "ends before"),
            ([7, 10, 9], "after the last number"),
            ([7, 7, 9], "does not advance"),
            ([7, 9, SEQUENCE_MAX + 1], "after the last number"),
            ([9, 10, 10], "gone: its page begins at number 9"),
            ([0, 3, 3], "gone: its last number is 3"),
        ] {
            let found = finding(&page("", numbers), 7);
            assert!(found.contains(expected), "{numbers:?}: {found}");
        }
        for text in
            ["", "[]", "{}", r#"{"list":[],"fraEndringsId":7,"tilEndringsId":-1,"sisteEndringsId":9}"#]
        {
            assert!(finding(text, 7).contains("hentEndringer"), "{text}");
        }
        assert!(finding(&page(&vec!["{}"; 1001].join(","), [7, 9, 9]), 7).contains("hentEndringer"));
        assert!(finding(&page(&vec!["{}"; 1000].join(","), [7, 9, 9]), 7).contains("that is none"));
    }

    #[test]
    fn values_that_the_contract_does_not_allow_are_refused_without_their_content() {
        for (from, to, expected) in [
            ("18819991495", "18819991496", "that is none"),
            ("AKTIV", "18819991495", "value of status"),
            ("NEI", "KANSKJE", "without reservasjon"),
            (r#""reservasjon":"NEI","#, "", "without reservasjon"),
            (r#""ny":[1]"#, r#""reservasjonstidspunkt":"18819991495""#, "value of reservasjonstidspunkt"),
        ] {
            let found = finding(&page(&PERSON.replace(from, to), [7, 9, 9]), 7);
            assert!(found.contains(expected) && !found.contains("1881"), "{found}");
        }
        assert!(
            finding(
                &page(
                    &PERSON.replace("NEI\",\"status\":\"AKTIV", "KANSKJE\",\"status\":\"SLETTET"),
                    [7, 9, 9]
                ),
                7
            )
            .contains("value of reservasjon")
        );
    }

    /// A person whom the register calls not notifiable is not; dates that say the same are kept.
    #[test]
    fn the_status_of_the_register_counts() {
        let expires = |status: &str, updated: &str| {
            let contact = format!(
                r#""varslingsstatus":"{status}","kontaktinformasjon":{{"epostadresse":"a@b.example","epostadresse_oppdatert":"{updated}"}}"#
            );
            let person = PERSON.replace(r#""ny":[1]"#, &contact);
            read_at(&page(&person, [7, 8, 8]), 7).expect("a page").persons[0].state.expires
        };
        let (fresh, stale) = ("2026-01-15T12:00:00Z", "2020-01-15T12:00:00Z");
        assert!(expires("KAN_VARSLES", fresh) > 0 && expires("KAN_VARSLES", stale) > 0);
        assert_eq!(expires(KAN_IKKE_VARSLES, fresh), 0);
        assert!(expires(KAN_IKKE_VARSLES, stale) > 0, "the dates say it too");
    }
}
