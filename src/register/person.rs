//! A KRR recipient as in the REST contract.

use super::contact::Contact;
use super::moment;
use super::state::KrrState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An object of `personer`. Absent, null and empty fields are equivalent; empty fields are not written. `S`: the
/// type of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(bound(serialize = "S: Serialize + AsRef<str>"))]
pub struct Person<S = String> {
    /// 11 digits.
    pub personidentifikator: S,
    /// JA or NEI.
    #[serde(skip_serializing_if = "is_empty")]
    pub reservasjon: S,
    /// When the reservation was made.
    #[serde(skip_serializing_if = "is_empty")]
    pub reservasjonstidspunkt: S,
    /// When `reservasjon` last changed.
    #[serde(skip_serializing_if = "is_empty")]
    pub reservasjon_oppdatert: S,
    /// AKTIV, SLETTET or IKKE_REGISTRERT.
    #[serde(skip_serializing_if = "is_empty")]
    pub status: S,
    /// KAN_VARSLES or KAN_IKKE_VARSLES: derived for the day of the query, and ignored in input.
    #[serde(skip_serializing_if = "is_empty")]
    pub varslingsstatus: S,
    /// E-mail and mobile number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kontaktinformasjon: Option<Kontaktinformasjon<S>>,
    /// Mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digital_post: Option<DigitalPost<S>>,
    /// X.509 certificate of the mailbox, base64.
    #[serde(skip_serializing_if = "is_empty")]
    pub sertifikat: S,
    /// nb, nn, en or se.
    #[serde(skip_serializing_if = "is_empty")]
    pub spraak: S,
    /// When `spraak` last changed.
    #[serde(skip_serializing_if = "is_empty")]
    pub spraak_oppdatert: S,
}

impl Person {
    /// Length in bytes of its texts, but for those of a few bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        let contact = self.kontaktinformasjon.as_ref();
        let contact =
            contact.map_or(0, |contact| contact.epostadresse.len() + contact.mobiltelefonnummer.len());
        let mailbox = self.digital_post.as_ref();
        let mailbox =
            mailbox.map_or(0, |post| post.postkasseadresse.len() + post.postkasseleverandoeradresse.len());
        self.sertifikat.len() + contact + mailbox
    }
}

/// E-mail and mobile number of a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(bound(serialize = "S: Serialize + AsRef<str>"))]
#[allow(missing_docs)] // the names are those of the contract
pub struct Kontaktinformasjon<S = String> {
    #[serde(skip_serializing_if = "is_empty")]
    pub epostadresse: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub epostadresse_oppdatert: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub epostadresse_sist_verifisert: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub epostadresse_sist_validert: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub epostadresse_duplisert: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub mobiltelefonnummer: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub mobiltelefonnummer_oppdatert: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub mobiltelefonnummer_sist_verifisert: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub mobiltelefonnummer_sist_validert: S,
    #[serde(skip_serializing_if = "is_empty")]
    pub mobiltelefonnummer_duplisert: S,
}

impl<S: AsRef<str>> Kontaktinformasjon<S> {
    /// Whether a time of validation is known.
    pub(crate) fn is_validated(&self) -> bool {
        !is_empty(&self.epostadresse_sist_validert) || !is_empty(&self.mobiltelefonnummer_sist_validert)
    }
}

/// Mailbox of a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(bound(serialize = "S: Serialize + AsRef<str>"))]
pub struct DigitalPost<S = String> {
    /// Address of the mailbox at its operator.
    #[serde(skip_serializing_if = "is_empty")]
    pub postkasseadresse: S,
    /// Organisasjonsnummer of the operator.
    #[serde(skip_serializing_if = "is_empty")]
    pub postkasseleverandoeradresse: S,
}

/// A text that is borrowed from its document where it can be.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'d>(#[serde(borrow)] pub(crate) Cow<'d, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn is_empty<S: AsRef<str>>(text: &S) -> bool {
    text.as_ref().is_empty()
}

/// A field with an invalid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadField(pub(crate) &'static str);

fn time(text: &str, name: &'static str) -> Result<Option<Timestamp>, BadField> {
    if text.is_empty() {
        return Ok(None);
    }
    moment::parse(text).map(Some).ok_or(BadField(name))
}

fn yes_or_no(text: &str, name: &'static str) -> Result<Option<bool>, BadField> {
    match text {
        "" => Ok(None),
        "JA" => Ok(Some(true)),
        "NEI" => Ok(Some(false)),
        _ => Err(BadField(name)),
    }
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn written(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn ja_or_nei(shared: Option<bool>) -> String {
    shared.map_or("", |shared| if shared { "JA" } else { "NEI" }).to_owned()
}

impl<S: AsRef<str>> Person<S> {
    /// The state without operator and the contact without certificate.
    pub(crate) fn parts(&self) -> Result<(KrrState, Contact<&str>), BadField> {
        let deleted = match self.status.as_ref() {
            "AKTIV" | "" => false,
            "SLETTET" => true,
            _ => return Err(BadField("status")),
        };
        let channels = self.kontaktinformasjon.as_ref();
        let channel = |field: fn(&Kontaktinformasjon<S>) -> &S| channels.map_or("", |k| field(k).as_ref());
        let mailbox = self.digital_post.as_ref().map_or("", |post| post.postkasseadresse.as_ref());
        let contact = Contact {
            reserved_at: time(self.reservasjonstidspunkt.as_ref(), "reservasjonstidspunkt")?,
            reservation_updated: time(self.reservasjon_oppdatert.as_ref(), "reservasjon_oppdatert")?,
            email_updated: time(channel(|k| &k.epostadresse_oppdatert), "epostadresse_oppdatert")?,
            email_verified: time(
                channel(|k| &k.epostadresse_sist_verifisert),
                "epostadresse_sist_verifisert",
            )?,
            mobile_updated: time(
                channel(|k| &k.mobiltelefonnummer_oppdatert),
                "mobiltelefonnummer_oppdatert",
            )?,
            mobile_verified: time(
                channel(|k| &k.mobiltelefonnummer_sist_verifisert),
                "mobiltelefonnummer_sist_verifisert",
            )?,
            language_updated: time(self.spraak_oppdatert.as_ref(), "spraak_oppdatert")?,
            email_validated: time(channel(|k| &k.epostadresse_sist_validert), "epostadresse_sist_validert")?,
            mobile_validated: time(
                channel(|k| &k.mobiltelefonnummer_sist_validert),
                "mobiltelefonnummer_sist_validert",
            )?,
            email: text(channel(|k| &k.epostadresse)),
            mobile: text(channel(|k| &k.mobiltelefonnummer)),
            mailbox: text(mailbox),
            language: text(self.spraak.as_ref()),
            certificate: None,
            email_shared: yes_or_no(channel(|k| &k.epostadresse_duplisert), "epostadresse_duplisert")?,
            mobile_shared: yes_or_no(
                channel(|k| &k.mobiltelefonnummer_duplisert),
                "mobiltelefonnummer_duplisert",
            )?,
        };
        let state = KrrState {
            reserved: yes_or_no(self.reservasjon.as_ref(), "reservasjon")?.unwrap_or(false),
            deleted,
            operator: None,
            mailbox: contact.mailbox.is_some(),
            expires: contact.expires(),
        };
        Ok((state, contact))
    }
}

impl Person {
    /// The person of a state, a contact, an operator and a certificate. Times are written in UTC.
    pub(crate) fn of_parts(
        personidentifikator: &str,
        state: KrrState,
        contact: &Contact<&str>,
        operator: &str,
        sertifikat: &str,
    ) -> Person {
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let channels = Kontaktinformasjon {
            epostadresse: owned(contact.email),
            epostadresse_oppdatert: written(contact.email_updated),
            epostadresse_sist_verifisert: written(contact.email_verified),
            epostadresse_sist_validert: written(contact.email_validated),
            epostadresse_duplisert: ja_or_nei(contact.email_shared),
            mobiltelefonnummer: owned(contact.mobile),
            mobiltelefonnummer_oppdatert: written(contact.mobile_updated),
            mobiltelefonnummer_sist_verifisert: written(contact.mobile_verified),
            mobiltelefonnummer_sist_validert: written(contact.mobile_validated),
            mobiltelefonnummer_duplisert: ja_or_nei(contact.mobile_shared),
        };
        let post = DigitalPost {
            postkasseadresse: owned(contact.mailbox),
            postkasseleverandoeradresse: operator.to_owned(),
        };
        Person {
            personidentifikator: personidentifikator.to_owned(),
            reservasjon: ja_or_nei(Some(state.reserved)),
            reservasjonstidspunkt: written(contact.reserved_at),
            reservasjon_oppdatert: written(contact.reservation_updated),
            status: if state.deleted { "SLETTET" } else { "AKTIV" }.to_owned(),
            varslingsstatus: String::new(),
            kontaktinformasjon: (channels != Kontaktinformasjon::default()).then_some(channels),
            digital_post: (post != DigitalPost::default()).then_some(post),
            sertifikat: sertifikat.to_owned(),
            spraak: owned(contact.language),
            spraak_oppdatert: written(contact.language_updated),
        }
    }
}
