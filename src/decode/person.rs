//! Persons of KRR, in the fields of its REST interface.

use super::reason::{Reason, identity_reason, reason};
use crate::identities::{Country, Identity, Ordinal, Today};
use crate::register::Person;
use crate::register::person::BadField;
use crate::register::state::KrrState;

/// A person as decoded: state without operator, packed contact without certificate, and the texts of both.
pub(crate) struct DecodedPerson {
    pub(crate) ordinal: Ordinal,
    pub(crate) state: KrrState,
    pub(crate) contact: Box<[u8]>,
    pub(crate) operator: Box<str>,
    pub(crate) certificate: Box<str>,
}

pub(crate) fn decode_person<S: AsRef<str>>(
    person: &Person<S>,
    today: Today,
) -> Result<DecodedPerson, Reason> {
    let identity = Identity::parse(person.personidentifikator.as_ref().as_bytes(), Country::Norway, today)
        .map_err(|rejection| identity_reason(rejection, "personidentifikator"))?;
    if person.status.as_ref() == "IKKE_REGISTRERT" {
        return Err(reason("not_registered", "status"));
    }
    let (state, parts) = person.parts().map_err(|BadField(name)| match name {
        "status" | "reservasjon" => reason("bad_value", name),
        name if name.ends_with("_duplisert") => reason("bad_value", name),
        name => reason("bad_time", name),
    })?;
    let mut contact = Vec::new();
    parts.pack(&mut contact).ok_or(reason("too_long", ""))?;
    let operator = person.digital_post.as_ref().map(|post| post.postkasseleverandoeradresse.as_ref().trim());
    Ok(DecodedPerson {
        ordinal: identity.ordinal(),
        state,
        contact: contact.into_boxed_slice(),
        operator: operator.unwrap_or_default().into(),
        certificate: person.sertifikat.as_ref().into(),
    })
}
