//! Persons as the REST service returns them, one JSON object per line.
//!
//! The variants that a reader must handle are mixed on purpose: times in three spellings, and the empty string
//! sometimes in place of a missing member.

use crate::calendar::Moment;
use crate::json::Object;
use crate::krr::{Channel, Person, Status};
use crate::random::Random;
use crate::text::push_padded;

/// The value, or nothing, or at times the empty string.
fn optional(object: &mut Object<'_>, name: &str, value: Option<&str>, spelling: &mut Random) {
    match value {
        Some(value) => object.text(name, value),
        None if spelling.chance(150_000) => object.text(name, ""),
        None => {}
    }
}

fn time(object: &mut Object<'_>, name: &str, moment: Moment, spelling: &mut Random) {
    object.text_with(name, |out| push_time(out, moment, spelling));
}

/// The three spellings of the service.
fn push_time(out: &mut Vec<u8>, moment: Moment, spelling: &mut Random) {
    let zone = summer_offset(moment);
    match spelling.below(3) {
        0 => {
            moment.push_local(out, zone);
            out.push(b'+');
            push_padded(out, zone as u64, 2);
        }
        1 => push_time_with_minutes(out, moment),
        _ => {
            moment.push_utc(out);
            out.pop();
            out.push(b'.');
            push_padded(out, spelling.below(1000), 3);
            out.push(b'Z');
        }
    }
}

/// `2015-03-11T19:57:52.000+01:00`, which is also valid as an XML dateTime.
pub fn push_time_with_minutes(out: &mut Vec<u8>, moment: Moment) {
    let zone = summer_offset(moment);
    moment.push_local(out, zone);
    out.extend_from_slice(b".000+");
    push_padded(out, zone as u64, 2);
    out.extend_from_slice(b":00");
}

/// Hours east of Greenwich. April to October counts as summer; near enough, as any offset is a
/// correct spelling of the moment.
fn summer_offset(moment: Moment) -> i64 {
    if (4..=10).contains(&moment.date().month) { 2 } else { 1 }
}

/// Appends the person and a line end.
pub fn push_line(out: &mut Vec<u8>, person: &mut Person) {
    push_person(out, person);
    out.push(b'\n');
}

/// Appends the person.
pub fn push_person(out: &mut Vec<u8>, person: &mut Person) {
    let spelling = &mut person.spelling;
    let mut object = Object::open(out);
    object.id("personidentifikator", person.id, 11);
    object.text("reservasjon", if person.reserved.is_some() { "JA" } else { "NEI" });
    match person.reserved {
        Some(moment) => {
            time(&mut object, "reservasjonstidspunkt", moment, spelling);
            time(&mut object, "reservasjon_oppdatert", moment, spelling);
        }
        None => optional(&mut object, "reservasjonstidspunkt", None, spelling),
    }
    object.text("status", if person.status == Status::Active { "AKTIV" } else { "SLETTET" });
    let notifiable = if person.notifiable { "KAN_VARSLES" } else { "KAN_IKKE_VARSLES" };
    object.text("varslingsstatus", notifiable);
    if person.status == Status::Active {
        push_contact(&mut object, person.email.as_ref(), person.mobile.as_ref(), spelling);
        push_mailbox(&mut object, person);
        let spelling = &mut person.spelling;
        optional(&mut object, "sertifikat", person.certificate.as_deref(), spelling);
        if let Some((language, moment)) = person.language {
            object.text("spraak", language);
            time(&mut object, "spraak_oppdatert", moment, spelling);
        }
    }
    object.close();
}

fn push_contact(
    object: &mut Object<'_>,
    email: Option<&Channel>,
    mobile: Option<&Channel>,
    spelling: &mut Random,
) {
    if email.is_none() && mobile.is_none() && spelling.chance(500_000) {
        return;
    }
    let mut contact = object.object("kontaktinformasjon");
    for (name, channel) in [("epostadresse", email), ("mobiltelefonnummer", mobile)] {
        optional(&mut contact, name, channel.map(|channel| channel.value.as_str()), spelling);
        let Some(channel) = channel else { continue };
        time(&mut contact, &format!("{name}_oppdatert"), channel.updated, spelling);
        if let Some(verified) = channel.verified {
            time(&mut contact, &format!("{name}_sist_verifisert"), verified, spelling);
        }
        if channel.shared || spelling.chance(100_000) {
            contact.text(&format!("{name}_duplisert"), if channel.shared { "JA" } else { "NEI" });
        }
    }
    contact.close();
}

fn push_mailbox(object: &mut Object<'_>, person: &mut Person) {
    let spelling = &mut person.spelling;
    if person.mailbox.is_none() && !spelling.chance(200_000) {
        return;
    }
    let (address, operator) =
        person.mailbox.as_ref().map_or(("", ""), |mailbox| (mailbox.address.as_str(), mailbox.operator));
    let mut mailbox = object.object("digital_post");
    mailbox.text("postkasseadresse", address);
    mailbox.text("postkasseleverandoeradresse", operator);
    mailbox.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_spellings_of_time_occur() {
        let mut random = Random::new(1, crate::random::Stream::Person, 1);
        let moment = Moment::parse("2026-06-01T23:04:05Z").unwrap();
        let mut lengths = Vec::new();
        for _ in 0..100 {
            let mut out = Vec::new();
            push_time(&mut out, moment, &mut random);
            lengths.push(out.len());
        }
        for text in ["2026-06-02T01:04:05+02", "2026-06-02T01:04:05.000+02:00"] {
            assert!(lengths.contains(&text.len()), "{text}");
        }
        assert!(lengths.contains(&"2026-06-01T23:04:05.768Z".len()));
        let mut out = Vec::new();
        push_time_with_minutes(&mut out, moment);
        assert_eq!(out, b"2026-06-02T01:04:05.000+02:00");
    }
}
