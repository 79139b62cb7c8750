//! Persons of KRR, in the fields of its REST interface.

use super::reason::{Reason, identity_reason, reason};
use crate::identities::{Country, Identity, Ordinal, Today};
use crate::register::Person;
use crate::register::contact::Contact;
use crate::register::person::BadField;
use crate::register::state::KrrState;

/// A person as decoded: state without operator, contact without certificate, and the texts of both.
pub(crate) struct DecodedPerson {
    pub(crate) ordinal: Ordinal,
    pub(crate) state: KrrState,
    pub(crate) contact: Contact,
    pub(crate) operator: String,
    pub(crate) certificate: String,
}

pub(crate) fn decode_person(person: Person, today: Today) -> Result<DecodedPerson, Reason> {
    let identity = Identity::parse(person.personidentifikator.as_bytes(), Country::Norway, today)
        .map_err(|rejection| identity_reason(rejection, "personidentifikator"))?;
    if person.status == "IKKE_REGISTRERT" {
        return Err(reason("not_registered", "status"));
    }
    let (state, contact) = person.parts().map_err(|BadField(name)| match name {
        "status" | "reservasjon" => reason("bad_value", name),
        name if name.ends_with("_duplisert") => reason("bad_value", name),
        name => reason("bad_time", name),
    })?;
    let operator = person.digital_post.map(|post| post.postkasseleverandoeradresse.trim().to_owned());
    let operator = operator.unwrap_or_default();
    Ok(DecodedPerson {
        ordinal: identity.ordinal(),
        state,
        contact,
        operator,
        certificate: person.sertifikat,
    })
}
