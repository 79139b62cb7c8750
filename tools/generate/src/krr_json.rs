//! Persons as the REST service returns them, one JSON object a line.
//!
//! What a reader must cope with is mixed on purpose: times in three spellings, and the empty string
//! sometimes in place of a missing member. No value needs escaping.

use crate::calendar::Moment;
use crate::krr::{Channel, Person, Status};
use crate::random::Random;
use crate::text::push_padded;

/// Writes the members of one object; `close` ends it.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, empty: true }
    }

    fn close(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.quoted(name);
        self.out.push(b':');
    }

    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value);
    }

    /// The value, or nothing, or at times the empty string.
    fn optional(&mut self, name: &str, value: Option<&str>, spelling: &mut Random) {
        match value {
            Some(value) => self.text(name, value),
            None if spelling.chance(150_000) => self.text(name, ""),
            None => {}
        }
    }

    fn time(&mut self, name: &str, moment: Moment, spelling: &mut Random) {
        self.name(name);
        self.out.push(b'"');
        push_time(self.out, moment, spelling);
        self.out.push(b'"');
    }

    fn object(&mut self, name: &str) -> Object<'_> {
        self.name(name);
        Object::open(self.out)
    }
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
pub fn push_person(out: &mut Vec<u8>, person: &mut Person) {
    let spelling = &mut person.spelling;
    let mut id = Vec::with_capacity(11);
    push_padded(&mut id, person.id, 11);
    let mut object = Object::open(out);
    object.text("personidentifikator", &String::from_utf8_lossy(&id));
    object.text("reservasjon", if person.reserved.is_some() { "JA" } else { "NEI" });
    match person.reserved {
        Some(moment) => {
            object.time("reservasjonstidspunkt", moment, spelling);
            object.time("reservasjon_oppdatert", moment, spelling);
        }
        None => object.optional("reservasjonstidspunkt", None, spelling),
    }
    object.text("status", if person.status == Status::Active { "AKTIV" } else { "SLETTET" });
    let notifiable = if person.notifiable { "KAN_VARSLES" } else { "KAN_IKKE_VARSLES" };
    object.text("varslingsstatus", notifiable);
    if person.status == Status::Active {
        push_contact(&mut object, person.email.as_ref(), person.mobile.as_ref(), spelling);
        push_mailbox(&mut object, person);
        let spelling = &mut person.spelling;
        object.optional("sertifikat", person.certificate.as_deref(), spelling);
        if let Some((language, moment)) = person.language {
            object.text("spraak", language);
            object.time("spraak_oppdatert", moment, spelling);
        }
    }
    object.close();
    out.push(b'\n');
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
        contact.optional(name, channel.map(|channel| channel.value.as_str()), spelling);
        let Some(channel) = channel else { continue };
        contact.time(&format!("{name}_oppdatert"), channel.updated, spelling);
        if let Some(verified) = channel.verified {
            contact.time(&format!("{name}_sist_verifisert"), verified, spelling);
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

    #[test]
    fn objects_nest() {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.text("a", "1");
        let mut inner = object.object("b");
        inner.text("c", "2");
        inner.close();
        object.close();
        assert_eq!(out, b"{\"a\":\"1\",\"b\":{\"c\":\"2\"}}");
    }
}
