//! KRR's contract, asked: `POST /rest/v2/personer`.

use super::answer::{Answers, CallError, canonical};
use crate::changes::{ChangeBody, json};
use crate::identities::{Identity, Ordinal, Today};
use crate::limits::CALL_IDS_MAX;
use crate::register::Person;
use crate::register::contact::Contact;
use crate::register::person::Text;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// The path after the address of the register.
pub(super) const PATH: &str = "/rest/v2/personer";

/// The message that asks for some ids.
pub(super) fn request(ids: &[Ordinal]) -> String {
    let mut out = String::with_capacity(32 + ids.len() * 14);
    out.push_str("{\"personidentifikatorer\":[");
    for (index, id) in ids.iter().filter_map(|ordinal| Identity::from_ordinal(*ordinal)).enumerate() {
        for part in [if index > 0 { ",\"" } else { "\"" }, id.as_str(), "\""] {
            out.push_str(part);
        }
    }
    out.push_str("]}");
    out
}

/// `varslingsstatus` of a person who cannot be notified.
pub(super) const KAN_IKKE_VARSLES: &str = "KAN_IKKE_VARSLES";

#[derive(Deserialize)]
struct Persons {
    #[serde(deserialize_with = "persons")]
    personer: Vec<PersonAnswer>,
}

/// As many persons as a call can ask for. Errors: there are more, of which no more are read.
pub(super) fn persons<'de, D: Deserializer<'de>, P: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<P>, D::Error> {
    struct AtMost<P>(PhantomData<P>);
    impl<'de, P: Deserialize<'de>> Visitor<'de> for AtMost<P> {
        type Value = Vec<P>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "at most {CALL_IDS_MAX} persons")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut given: A) -> Result<Vec<P>, A::Error> {
            let mut persons = Vec::with_capacity(CALL_IDS_MAX);
            while let Some(person) = given.next_element()? {
                if persons.len() == CALL_IDS_MAX {
                    return Err(A::Error::invalid_length(CALL_IDS_MAX + 1, &self));
                }
                persons.push(person);
            }
            Ok(persons)
        }
    }
    deserializer.deserialize_seq(AtMost(PhantomData))
}

/// The answer for a person. It is made as soon as the person is read: a thousand persons with their texts are too much
/// for the caches.
struct PersonAnswer {
    answer: Result<ChangeBody, String>,
    is_notifiable: bool,
}

impl<'de> Deserialize<'de> for PersonAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PersonAnswer, D::Error> {
        let person = Person::<Text<'de>>::deserialize(deserializer)?;
        let is_notifiable = person.varslingsstatus.as_ref() != KAN_IKKE_VARSLES;
        Ok(PersonAnswer { answer: answer(&person), is_notifiable })
    }
}

/// Errors: a value is not allowed; the text does not name it.
fn answer(person: &Person<Text<'_>>) -> Result<ChangeBody, String> {
    const NO_ID: &str = "has a personidentifikator that is none";
    let id = person.personidentifikator.as_ref();
    if person.status.as_ref() == "IKKE_REGISTRERT" {
        return canonical(id).map(ChangeBody::Remove).ok_or(NO_ID.to_owned());
    }
    if id.len() != 11 || !id.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(NO_ID.to_owned());
    }
    let put = json::put_person(person, Today::CONTRACT);
    let put = put.map_err(|why| match why.column {
        "personidentifikator" => NO_ID.to_owned(),
        column => format!("has a value of {column} that the contract does not allow"),
    })?;
    if person.reservasjon.as_ref().is_empty() {
        // It is always returned; without it, a person who has reserved themselves would get digital mail.
        return Err("has a person without reservasjon".to_owned());
    }
    Ok(ChangeBody::PutPerson(Box::new(put)))
}

/// Reads the answer to [`request`]. Fields that are not known are ignored.
///
/// A person whom the register itself calls not notifiable is not, also if the dates of its channels say otherwise. The
/// journal has only the dates, so they are left out there; what is kept in memory has them (`keeps_dates`).
pub(super) fn read(body: &[u8], keeps_dates: bool) -> Result<Answers, CallError> {
    let bad = |why: String| CallError::BadAnswer(format!("the answer {why}"));
    // The error of serde would name content.
    let text = std::str::from_utf8(body).map_err(|_| bad("is not UTF-8".to_owned()))?;
    let Persons { personer } = serde_json::from_str(text).map_err(|error| {
        bad(format!(
            "is not that of personer, or is cut off, at line {} column {}",
            error.line(),
            error.column()
        ))
    })?;
    let answers = personer.into_iter().map(|PersonAnswer { answer, is_notifiable }| {
        let mut answer = answer.map_err(bad)?;
        if let (ChangeBody::PutPerson(put), false) = (&mut answer, is_notifiable) {
            put.state.expires = 0;
            if !keeps_dates {
                let contact = Contact::without_dates(&put.contact);
                put.contact = contact.ok_or_else(|| bad("has contact data that is too long".to_owned()))?;
            }
        }
        Ok(answer)
    });
    Ok(Answers { answers: answers.collect::<Result<_, _>>()?, operators: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let body = br#"{"personer":[{"personidentifikator":"18819991495","reservasjon":"NEI","status":"AKTIV","ny":1,
            "digital_post":{"postkasseadresse":"a.b#1234","postkasseleverandoeradresse":"984661185"}},
            {"personidentifikator":"14819222852","status":"IKKE_REGISTRERT"}],"side":1}"#;
        let Ok(read) = read(body, false) else { panic!("answers") };
        assert!(
            matches!(&read.answers[..], [ChangeBody::PutPerson(put), ChangeBody::Remove(_)] if &*put.operator == "984661185")
        );
        for end in 0..body.len() - 1 {
            assert!(
                matches!(super::read(&body[..end], false), Err(CallError::BadAnswer(_))),
                "cut off at {end}"
            );
        }
    }

    #[test]
    fn the_status_of_the_register_counts() {
        let expires = |status: &str| {
            let body = format!(
                "{{\"personer\":[{{\"personidentifikator\":\"18819991495\",\"reservasjon\":\"NEI\",\"status\":\"AKTIV\",\
                 \"varslingsstatus\":\"{status}\",\"kontaktinformasjon\":{{\"epostadresse\":\"a@b.example\",\
                 \"epostadresse_oppdatert\":\"2020-01-15T12:00:00Z\"}}}}]}}"
            );
            let Ok(read) = read(body.as_bytes(), false) else { panic!("answers") };
            match &read.answers[..] {
                [ChangeBody::PutPerson(put)] => put.state.expires,
                _ => panic!("a person"),
            }
        };
        assert!(expires("KAN_VARSLES") > 0);
        assert_eq!(expires(KAN_IKKE_VARSLES), 0);
    }

    #[test]
    fn what_is_no_answer_is_refused_without_its_content() {
        for (body, expected) in [
            (r#"<html>18819991495</html>"#, "is not that of personer"),
            (r#"{"personer":[{"personidentifikator":"18819991496"}]}"#, "that is none"),
            (
                r#"{"personer":[{"personidentifikator":"18819991495","status":"18819991495","reservasjon":"NEI"}]}"#,
                "value of status",
            ),
            (
                r#"{"personer":[{"personidentifikator":"18819991495","status":"AKTIV"}]}"#,
                "without reservasjon",
            ),
        ] {
            match read(body.as_bytes(), false) {
                Err(CallError::BadAnswer(why)) => {
                    assert!(why.contains(expected) && !why.contains("1881"), "{why}");
                }
                _ => panic!("{body}"),
            }
        }
    }

    #[test]
    fn an_answer_has_no_more_persons_than_a_call_has_ids() {
        let body = |persons: usize| format!("{{\"personer\":[{}{{}}]}}", "{},".repeat(persons - 1));
        let why = |persons: usize| match read(body(persons).as_bytes(), false) {
            Err(CallError::BadAnswer(why)) => why,
            _ => panic!("bad"),
        };
        assert!(why(1000).contains("that is none"), "each is read");
        assert!(why(1001).contains("is not that of personer"), "{}", why(1001));
    }

    #[test]
    fn a_request_names_each_id() {
        let ids = [canonical("18819991495"), canonical("14819222852")].map(|id| id.expect("an id"));
        assert_eq!(request(&ids), r#"{"personidentifikatorer":["18819991495","14819222852"]}"#);
    }
}
