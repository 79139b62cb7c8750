//! Changes: what becomes of a register after the file that it was made of.
//!
//! A [`Change`] says one thing of one recipient or organisation, under one sequence number, and stands
//! for itself: it names organisations by their ids, not by places in some list. It is written as a line
//! of JSON (`docs/changes.md`) and as some bytes of the change log (`docs/data-directory.md`), and an
//! `apply::Editor` makes of a register and some changes the register after them.

pub(crate) mod apply;
mod diff;
pub(crate) mod encoding;
pub(crate) mod json;
pub(crate) mod pages;

#[cfg(test)]
mod tests;

use crate::consent::Acceptance;
use crate::identities::{Country, Identity, Ordinal, Space, Today};
use crate::register::state::{AccountType, KrrState};
use crate::register::{Kind, Operator, Sender, moment};
use jiff::Timestamp;
use jiff::tz::Offset;

pub use crate::extract::Reason;
pub use diff::difference;
pub use pages::BadPage;

/// One change of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub(crate) sequence: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) time: i64,
    pub(crate) what: What,
}

impl Change {
    /// Its number. The next change of the register has the next one, except after pages of KRR.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the register changed.
    pub fn time(&self) -> Timestamp {
        moment::of_nanoseconds(self.time)
    }

    /// The change as a line of JSON, without its end.
    pub fn to_json(&self) -> String {
        json::text(self)
    }

    /// The sequence number that the register had before it.
    pub fn previous(&self) -> u64 {
        match &self.what {
            What::PutPersons { previous, .. } | What::Others { previous } => *previous,
            _ => self.sequence.saturating_sub(1),
        }
    }
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// FaR: the whole state of a recipient, new or known.
    PutRecipient(PutRecipient),
    /// A recipient or person leaves the register.
    Remove(Ordinal),
    /// FaR: which senders a known recipient accepts.
    SetAcceptance(SetAcceptance),
    PutOperator(Box<Operator>),
    RemoveOperator(OrganisationId),
    PutSender(Box<Sender>),
    RemoveSender(OrganisationId),
    PutDispatcher(Box<PutDispatcher>),
    RemoveDispatcher(OrganisationId),
    /// KRR: the whole state of a person, new or known.
    PutPerson(Box<PutPerson>),
    /// KRR: a page of `HentEndringer`: everybody who changed after `previous`.
    PutPersons {
        previous: u64,
        persons: Vec<PutPerson>,
    },
    /// A change that could not be applied, and why; its number is used up.
    SetAside {
        reason: Box<str>,
        column: Box<str>,
    },
    /// Changes after `previous` that are not of the part of the register that is told; their numbers are used up.
    Others {
        previous: u64,
    },
}

impl What {
    /// The name in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            What::PutRecipient(_) => "put_recipient",
            What::Remove(ordinal) => match Space::locate(*ordinal) {
                Some((space, _)) if space.country() == Country::Norway => "remove_person",
                _ => "remove_recipient",
            },
            What::SetAcceptance(_) => "set_acceptance",
            What::PutOperator(_) => "put_operator",
            What::RemoveOperator(_) => "remove_operator",
            What::PutSender(_) => "put_sender",
            What::RemoveSender(_) => "remove_sender",
            What::PutDispatcher(_) => "put_dispatcher",
            What::RemoveDispatcher(_) => "remove_dispatcher",
            What::PutPerson(_) => "put_person",
            What::PutPersons { .. } => "put_persons",
            What::SetAside { .. } => "set_aside",
            What::Others { .. } => "others",
        }
    }

    /// A person that it puts, by the place in the page.
    pub(crate) fn person(&self, place: usize) -> Option<&PutPerson> {
        match self {
            What::PutPerson(put) => Some(put),
            What::PutPersons { persons, .. } => persons.get(place),
            _ => None,
        }
    }

    /// Which register has such changes; `None` if every one does.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            What::SetAside { .. } | What::Others { .. } => None,
            What::Remove(ordinal) => Space::locate(*ordinal).map(|(space, _)| match space.country() {
                Country::Sweden => Kind::Far,
                Country::Norway => Kind::Krr,
            }),
            What::PutPerson(_) | What::PutPersons { .. } => Some(Kind::Krr),
            _ => Some(Kind::Far),
        }
    }
}

/// The id of an organisation, as its place among all identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct OrganisationId(pub(crate) Ordinal);

impl OrganisationId {
    /// Of an id in any spelling.
    pub(crate) fn parse(id: &str) -> Option<OrganisationId> {
        // Organisations have no century, so any day will do.
        let identity = Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT).ok()?;
        (identity.space() == Space::Organisationsnummer).then(|| OrganisationId(identity.ordinal()))
    }

    /// `16` and ten digits.
    pub(crate) fn text(self) -> String {
        Identity::from_ordinal(self.0).map_or(String::new(), |identity| identity.as_str().to_owned())
    }
}

/// Which senders a recipient accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedRule {
    pub(crate) acceptance: Acceptance,
    /// Senders, ascending, each once.
    pub(crate) senders: Box<[OrganisationId]>,
}

impl NamedRule {
    /// `senders` may stand in any order.
    pub(crate) fn new(acceptance: Acceptance, mut senders: Vec<OrganisationId>) -> NamedRule {
        senders.sort_unstable();
        senders.dedup();
        NamedRule { acceptance, senders: senders.into_boxed_slice() }
    }
}

/// The whole state of a FaR recipient. Times are nanoseconds since 1970, `NO_NANOSECONDS` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PutRecipient {
    pub(crate) recipient: Ordinal,
    pub(crate) account_type: AccountType,
    pub(crate) pending: bool,
    pub(crate) operator: Option<OrganisationId>,
    pub(crate) last_registration: i64,
    pub(crate) last_sender_accept_change: i64,
    pub(crate) rule: NamedRule,
}

/// Which senders a known recipient accepts from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetAcceptance {
    pub(crate) recipient: Ordinal,
    pub(crate) last_sender_accept_change: i64,
    pub(crate) rule: NamedRule,
}

/// A dispatcher, new or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PutDispatcher {
    pub(crate) id: String,
    pub(crate) name: String,
    /// In the order in which they were given.
    pub(crate) senders: Vec<OrganisationId>,
}

/// The whole state of a KRR person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PutPerson {
    pub(crate) person: Ordinal,
    /// Without the operator.
    pub(crate) state: KrrState,
    /// Packed, without the certificate.
    pub(crate) contact: Box<[u8]>,
    /// Id of the mailbox operator, empty if there is none.
    pub(crate) operator: Box<str>,
    /// Base64, empty if there is none.
    pub(crate) certificate: Box<str>,
}

/// The day of a time, for the century of ids with ten digits.
fn day_of(nanoseconds: i64) -> Today {
    let date = Offset::UTC.to_datetime(moment::of_nanoseconds(nanoseconds)).date();
    Today::new(date.year().unsigned_abs().into(), date.month() as u32, date.day() as u32)
        .unwrap_or(Today::CONTRACT)
}
