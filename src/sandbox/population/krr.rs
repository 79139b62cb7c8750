//! Synthetic persons of KRR: their numbers have a month + 80, as Skatteetaten's test persons have.

use super::super::error::SandboxError;
use super::super::place::Place;
use super::super::random::Random;
use super::{Drawn, Resident, State, drawn, state};
use crate::identities::Country;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Persons.
const COUNT: usize = 2_000;

/// A customer of KRR, and a supplier that asks for it.
pub(in crate::sandbox) const CUSTOMER: (&str, &str) = ("991825827", "Sandkassen kommune");
pub(in crate::sandbox) const SUPPLIER: (&str, &str) = ("987464291", "Sandkassen trykkeri AS");
const DIGIPOST: &str = "984661185";
const E_BOKS: &str = "996460320";

pub(super) static STATES: [State; 13] = [
    state("mailbox-digipost", 25, "notifiable, mailbox at Digipost"),
    state("mailbox-e-boks", 15, "notifiable, mailbox at e-Boks"),
    state("contact-without-mailbox", 20, "e-mail and mobile, no mailbox"),
    state("e-mail-only", 6, "an e-mail address, no mobile, no mailbox"),
    state("mobile-only", 6, "a mobile number, no e-mail address, no mailbox"),
    state("contact-shared", 3, "e-mail and mobile that others have too (duplisert JA)"),
    state("contact-expired", 6, "not validated for more than 18 months: cannot be notified"),
    state("contact-expired-with-mailbox", 3, "the same, with a mailbox at Digipost"),
    state("no-contact", 4, "known, without contact information"),
    state("reserved", 5, "reserved against digital mail"),
    state("reserved-with-mailbox", 2, "reserved, with a mailbox at Digipost"),
    state("deleted", 3, "status SLETTET"),
    state("not-in-the-register", 2, "a valid number that the register does not have"),
];

/// Writes the extract. Returns all persons.
pub(super) fn make(
    place: &Place,
    random: &mut Random,
    now: Timestamp,
) -> Result<Vec<Resident>, SandboxError> {
    let states = drawn(&STATES, COUNT, random);
    let mut ids = Drawn { random, taken: BTreeSet::new() };
    let (mut lines, mut residents) = (String::new(), Vec::with_capacity(COUNT));
    for (number, state) in states.into_iter().enumerate() {
        let id = ids.next(Country::Norway, |random| {
            let (day, month, year) = (1 + random.below(28), 81 + random.below(12), 40 + random.below(60));
            format!("{day:02}{month:02}{year:02}{:03}", random.below(500))
        });
        if let Some(person) = person(state, &id, number, now) {
            lines.push_str(&format!("{person}\n"));
        }
        residents.push(Resident { register: "krr", state, id });
    }
    place.write("extract/krr/personer.jsonl", lines.as_bytes())?;
    let register = format!("kind = \"krr\"\nsequence = 1000\nas_of = \"{now}\"\n");
    place.write("extract/krr/register.toml", register.as_bytes())?;
    Ok(residents)
}

fn person(state: &str, id: &str, number: usize, now: Timestamp) -> Option<Value> {
    let ago = |days: i64| (now - SignedDuration::from_hours(24 * days)).to_string();
    let days = if state.starts_with("contact-expired") { 700 } else { 40 };
    let e_mail = || {
        json!({
            "epostadresse": format!("person{number}@sandkassen.example"),
            "epostadresse_oppdatert": ago(days + 10), "epostadresse_sist_verifisert": ago(days),
        })
    };
    let mobile = || {
        json!({
            "mobiltelefonnummer": format!("+4799{:06}", 990_000 + number % 10_000),
            "mobiltelefonnummer_oppdatert": ago(days + 10), "mobiltelefonnummer_sist_verifisert": ago(days),
        })
    };
    let both = || merged(e_mail(), mobile());
    let mailbox = |operator: &str| {
        json!({
            "digital_post": {
                "postkasseadresse": format!("person.{number}#{:04X}", number % 0xFFFF),
                "postkasseleverandoeradresse": operator,
            },
            "sertifikat": "MIIBLeVujfoEmgPstGLhmhNFuSx7AA1uQIDjbjMXqwv44pfs",
        })
    };
    let contact = |contact: Value| json!({ "kontaktinformasjon": contact });
    let reserved =
        || json!({ "reservasjon": "JA", "reservasjonstidspunkt": ago(90), "reservasjon_oppdatert": ago(90) });
    let shared = || json!({ "epostadresse_duplisert": "JA", "mobiltelefonnummer_duplisert": "JA" });
    let more = match state {
        "mailbox-digipost" | "contact-expired-with-mailbox" => merged(contact(both()), mailbox(DIGIPOST)),
        "mailbox-e-boks" => merged(contact(both()), mailbox(E_BOKS)),
        "contact-without-mailbox" | "contact-expired" => contact(both()),
        "e-mail-only" => contact(e_mail()),
        "mobile-only" => contact(mobile()),
        "contact-shared" => contact(merged(both(), shared())),
        "no-contact" => json!({}),
        "reserved" => merged(reserved(), contact(both())),
        "reserved-with-mailbox" => merged(merged(reserved(), contact(both())), mailbox(DIGIPOST)),
        "deleted" => json!({ "status": "SLETTET" }),
        _ => return None,
    };
    let language = ["nb", "nn", "en", "se"][number % 4];
    let own = json!({
        "personidentifikator": id, "reservasjon": "NEI", "status": "AKTIV",
        "spraak": language, "spraak_oppdatert": ago(100),
    });
    Some(merged(own, more))
}

/// One object with the members of both; the second's count.
fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}
