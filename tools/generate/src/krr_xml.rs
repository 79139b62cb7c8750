//! Persons as the full export writes them (`kontaktregister-export-14-05.xsd`).
//!
//! The export has neither varslingsstatus nor language, and its schema allows no empty values.

use crate::extract::Header;
use crate::krr::{Channel, Person, Status};
use crate::krr_json::push_time_with_minutes;
use crate::text::push_padded;

/// Appends everything before the first person.
pub fn push_start(out: &mut Vec<u8>, header: &Header) {
    out.extend_from_slice(
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <Kontaktregister xmlns=\"http://kontaktinfo.difi.no/xsd/eksporttjeneste/14-05\" \
        xmlns:m=\"http://begrep.difi.no\" eksportTidspunkt=\"",
    );
    push_time_with_minutes(out, header.as_of);
    out.extend_from_slice(b"\" senesteEndringsNummer=\"");
    out.extend_from_slice(header.sequence.to_string().as_bytes());
    out.extend_from_slice(b"\">\n");
}

/// Appends everything after the last person.
pub fn push_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"</Kontaktregister>\n");
}

/// Appends one person, one element per line.
pub fn push_person(out: &mut Vec<u8>, person: &mut Person) {
    let mut id = Vec::with_capacity(11);
    push_padded(&mut id, person.id, 11);
    out.extend_from_slice(b"  <m:Person>\n");
    element(out, "personidentifikator", &String::from_utf8_lossy(&id));
    element(out, "reservasjon", if person.reserved.is_some() { "JA" } else { "NEI" });
    element(out, "status", if person.status == Status::Active { "AKTIV" } else { "SLETTET" });
    if person.mobile.is_some() || person.email.is_some() {
        out.extend_from_slice(b"    <m:Kontaktinformasjon>\n");
        push_channel(out, "Mobiltelefonnummer", person.mobile.as_ref());
        push_channel(out, "Epostadresse", person.email.as_ref());
        out.extend_from_slice(b"    </m:Kontaktinformasjon>\n");
    }
    if let Some(mailbox) = &person.mailbox {
        out.extend_from_slice(b"    <m:SikkerDigitalPostAdresse>\n");
        element(out, "postkasseadresse", &mailbox.address);
        element(out, "postkasseleverandoerAdresse", mailbox.operator);
        out.extend_from_slice(b"    </m:SikkerDigitalPostAdresse>\n");
    }
    if let Some(certificate) = &person.certificate {
        element(out, "X509Sertifikat", certificate);
    }
    out.extend_from_slice(b"  </m:Person>\n");
}

/// No value needs escaping.
fn element(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in ["    <m:", name, ">", value, "</m:", name, ">\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn push_channel(out: &mut Vec<u8>, name: &str, channel: Option<&Channel>) {
    let Some(channel) = channel else { return };
    out.extend_from_slice(b"      <m:");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b" sistOppdatert=\"");
    push_time_with_minutes(out, channel.updated);
    if let Some(verified) = channel.verified {
        out.extend_from_slice(b"\" sistVerifisert=\"");
        push_time_with_minutes(out, verified);
    }
    for part in ["\">", &channel.value, "</m:", name, ">\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}
