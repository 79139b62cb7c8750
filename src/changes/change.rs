//! The types of a change.

use crate::consent::Acceptance;
use crate::identities::{Country, Identity, Ordinal, Space, Today};
use crate::register::state::{AccountType, KrrState};
use crate::register::{Kind, Operator, Sender, moment};
use jiff::Timestamp;
use jiff::tz::Offset;

/// One change of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub(crate) sequence: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) time: i64,
    pub(crate) what: ChangeBody,
}

impl Change {
    /// Its sequence number. Numbers follow one another, except after pages of KRR.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the register changed.
    pub fn time(&self) -> Timestamp {
        moment::of_nanoseconds(self.time)
    }

    /// The sequence number that the register had before it.
    pub fn previous(&self) -> u64 {
        match &self.what {
            ChangeBody::PutPersons { previous, .. } | ChangeBody::Others { previous } => *previous,
            ChangeBody::PutRecipient(_)
            | ChangeBody::Remove(_)
            | ChangeBody::SetAcceptance(_)
            | ChangeBody::PutOperator(_)
            | ChangeBody::RemoveOperator(_)
            | ChangeBody::PutSender(_)
            | ChangeBody::RemoveSender(_)
            | ChangeBody::PutDispatcher(_)
            | ChangeBody::RemoveDispatcher(_)
            | ChangeBody::PutPerson(_)
            | ChangeBody::SetAside { .. } => self.sequence.saturating_sub(1),
        }
    }
}

/// Content of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeBody {
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
    /// KRR: a page of `HentEndringer`: all persons who changed after `previous`.
    PutPersons {
        previous: u64,
        persons: Vec<PutPerson>,
    },
    /// A rejected change and the reason; it uses up its number.
    SetAside {
        reason: Box<str>,
        column: Box<str>,
    },
    /// Changes after `previous` outside the replicated part of the register; they use up their numbers.
    Others {
        previous: u64,
    },
}

impl ChangeBody {
    /// The name in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ChangeBody::PutRecipient(_) => "put_recipient",
            ChangeBody::Remove(ordinal) => match country_of(*ordinal) {
                Some(Country::Norway) => "remove_person",
                Some(Country::Sweden) | None => "remove_recipient",
            },
            ChangeBody::SetAcceptance(_) => "set_acceptance",
            ChangeBody::PutOperator(_) => "put_operator",
            ChangeBody::RemoveOperator(_) => "remove_operator",
            ChangeBody::PutSender(_) => "put_sender",
            ChangeBody::RemoveSender(_) => "remove_sender",
            ChangeBody::PutDispatcher(_) => "put_dispatcher",
            ChangeBody::RemoveDispatcher(_) => "remove_dispatcher",
            ChangeBody::PutPerson(_) => "put_person",
            ChangeBody::PutPersons { .. } => "put_persons",
            ChangeBody::SetAside { .. } => "set_aside",
            ChangeBody::Others { .. } => "others",
        }
    }

    /// The person at an index in the page, or the only person.
    pub(crate) fn person(&self, index: usize) -> Option<&PutPerson> {
        match self {
            ChangeBody::PutPerson(put) => Some(put),
            ChangeBody::PutPersons { persons, .. } => persons.get(index),
            _ => None,
        }
    }

    /// The register that has such changes; `None` if every register does.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            ChangeBody::SetAside { .. } | ChangeBody::Others { .. } => None,
            ChangeBody::Remove(ordinal) => country_of(*ordinal).map(|country| match country {
                Country::Sweden => Kind::Far,
                Country::Norway => Kind::Krr,
            }),
            ChangeBody::PutPerson(_) | ChangeBody::PutPersons { .. } => Some(Kind::Krr),
            ChangeBody::PutRecipient(_)
            | ChangeBody::SetAcceptance(_)
            | ChangeBody::PutOperator(_)
            | ChangeBody::RemoveOperator(_)
            | ChangeBody::PutSender(_)
            | ChangeBody::RemoveSender(_)
            | ChangeBody::PutDispatcher(_)
            | ChangeBody::RemoveDispatcher(_) => Some(Kind::Far),
        }
    }
}

fn country_of(ordinal: Ordinal) -> Option<Country> {
    Space::locate(ordinal).map(|(space, _)| space.country())
}

/// The id of an organisation, as an ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct OrganisationId(pub(crate) Ordinal);

impl OrganisationId {
    /// Parses an id in any spelling.
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
    /// `senders` may be in any order and have duplicates.
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

/// New acceptance rule of a known recipient.
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
    /// In the given order.
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
    /// Id of the mailbox operator, empty if the person has no mailbox.
    pub(crate) operator: Box<str>,
    /// Base64, empty if absent.
    pub(crate) certificate: Box<str>,
}

/// The day of a time, for the century of ids with ten digits.
pub(super) fn day_of(nanoseconds: i64) -> Today {
    let date = Offset::UTC.to_datetime(moment::of_nanoseconds(nanoseconds)).date();
    Today::new(date.year().unsigned_abs().into(), date.month() as u32, date.day() as u32)
        .unwrap_or(Today::CONTRACT)
}
