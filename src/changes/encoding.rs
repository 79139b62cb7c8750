//! Binary encoding of changes in the change log; `docs/data-directory.md` specifies it.

use super::change::{
    Change, ChangeBody, NamedRule, OrganisationId, PutDispatcher, PutPerson, PutRecipient, SetAcceptance,
};
use crate::consent::Acceptance;
use crate::identities::{Country, Identity, Ordinal, Space};
use crate::limits::SEQUENCE_MAX;
use crate::register::contact::Contact;
use crate::register::moment::NO_NANOSECONDS;
use crate::register::state::{AccountType, KrrState};
use crate::register::{Operator, Sender};

/// The number of each kind of change.
mod number {
    pub(super) const PUT_RECIPIENT: u8 = 1;
    pub(super) const REMOVE: u8 = 2;
    pub(super) const SET_ACCEPTANCE: u8 = 3;
    pub(super) const PUT_OPERATOR: u8 = 4;
    pub(super) const REMOVE_OPERATOR: u8 = 5;
    pub(super) const PUT_SENDER: u8 = 6;
    pub(super) const REMOVE_SENDER: u8 = 7;
    pub(super) const PUT_DISPATCHER: u8 = 8;
    pub(super) const REMOVE_DISPATCHER: u8 = 9;
    pub(super) const PUT_PERSON: u8 = 10;
    pub(super) const PUT_PERSONS: u8 = 11;
    pub(super) const SET_ASIDE: u8 = 12;
    pub(super) const OTHERS: u8 = 13;
}

/// Bits of the flags.
const TYPE: u8 = 0b11;
const PENDING: u8 = 1 << 2;
const ONLY: u8 = 1 << 3;
const RESERVED: u8 = 1 << 4;
const DELETED: u8 = 1 << 5;
/// In the place of an ordinal: no operator.
const NO_OPERATOR: u32 = u32::MAX;

/// Appends a change. Its sequence number is not written, except where a change uses up several.
pub(crate) fn encode(change: &Change, out: &mut Vec<u8>) {
    let only = |rule: &NamedRule| if rule.acceptance == Acceptance::Only { ONLY } else { 0 };
    match &change.what {
        ChangeBody::PutRecipient(put) => {
            let flags = put.account_type as u8 | if put.pending { PENDING } else { 0 } | only(&put.rule);
            head(out, number::PUT_RECIPIENT, flags, put.rule.senders.len(), put.recipient, change.time);
            out.extend_from_slice(&put.operator.map_or(NO_OPERATOR, |id| id.0.0).to_le_bytes());
            out.extend_from_slice(&put.last_registration.to_le_bytes());
            out.extend_from_slice(&put.last_sender_accept_change.to_le_bytes());
            ids(out, &put.rule.senders);
        }
        ChangeBody::Remove(recipient) => head(out, number::REMOVE, 0, 0, *recipient, change.time),
        ChangeBody::SetAcceptance(set) => {
            let count = set.rule.senders.len();
            head(out, number::SET_ACCEPTANCE, only(&set.rule), count, set.recipient, change.time);
            out.extend_from_slice(&set.last_sender_accept_change.to_le_bytes());
            ids(out, &set.rule.senders);
        }
        ChangeBody::PutOperator(operator) => {
            let Operator { id, name, service_address, ui_address, internal_service_address, logo } =
                &**operator;
            head(out, number::PUT_OPERATOR, 0, 0, Ordinal::ABSENT, change.time);
            texts(out, &[id, name, service_address, ui_address, internal_service_address, logo]);
        }
        ChangeBody::RemoveOperator(id) => head(out, number::REMOVE_OPERATOR, 0, 0, id.0, change.time),
        ChangeBody::PutSender(sender) => {
            head(out, number::PUT_SENDER, 0, 0, Ordinal::ABSENT, change.time);
            texts(out, &[&sender.id, &sender.name, &sender.attention]);
        }
        ChangeBody::RemoveSender(id) => head(out, number::REMOVE_SENDER, 0, 0, id.0, change.time),
        ChangeBody::PutDispatcher(put) => {
            head(out, number::PUT_DISPATCHER, 0, put.senders.len(), Ordinal::ABSENT, change.time);
            texts(out, &[&put.id, &put.name]);
            ids(out, &put.senders);
        }
        ChangeBody::RemoveDispatcher(id) => head(out, number::REMOVE_DISPATCHER, 0, 0, id.0, change.time),
        ChangeBody::PutPerson(put) => {
            head(out, number::PUT_PERSON, person_flags(put), 0, put.person, change.time);
            person(out, put);
        }
        ChangeBody::PutPersons { previous, persons } => {
            head(out, number::PUT_PERSONS, 0, 0, Ordinal::ABSENT, change.time);
            out.extend_from_slice(&previous.to_le_bytes());
            out.extend_from_slice(&change.sequence.to_le_bytes());
            out.extend_from_slice(&(persons.len() as u32).to_le_bytes());
            for put in persons {
                head(out, number::PUT_PERSON, person_flags(put), 0, put.person, change.time);
                person(out, put);
            }
        }
        ChangeBody::SetAside { reason, column } => {
            head(out, number::SET_ASIDE, 0, 0, Ordinal::ABSENT, change.time);
            texts(out, &[reason, column]);
        }
        ChangeBody::Others { previous } => {
            head(out, number::OTHERS, 0, 0, Ordinal::ABSENT, change.time);
            out.extend_from_slice(&previous.to_le_bytes());
            out.extend_from_slice(&change.sequence.to_le_bytes());
        }
    }
}

fn head(out: &mut Vec<u8>, number: u8, flags: u8, count: usize, subject: Ordinal, time: i64) {
    let mut bytes = [0; 16];
    bytes[0] = number;
    bytes[1] = flags;
    bytes[2..4].copy_from_slice(&(count as u16).to_le_bytes());
    bytes[4..8].copy_from_slice(&subject.0.to_le_bytes());
    bytes[8..].copy_from_slice(&time.to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn ids(out: &mut Vec<u8>, ids: &[OrganisationId]) {
    ids.iter().for_each(|id| out.extend_from_slice(&id.0.0.to_le_bytes()));
}

fn text(out: &mut Vec<u8>, text: &str) {
    bytes(out, text.as_bytes());
}

fn texts(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| text(out, part));
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn person_flags(put: &PutPerson) -> u8 {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    flag(put.state.reserved, RESERVED) | flag(put.state.deleted, DELETED)
}

fn person(out: &mut Vec<u8>, put: &PutPerson) {
    bytes(out, &put.contact);
    text(out, &put.operator);
    text(out, &put.certificate);
}

/// The first 16 bytes of a change.
struct ChangeHead {
    kind: u8,
    flags: u8,
    /// Number of ids.
    count: usize,
    subject: Ordinal,
    time: i64,
}

/// Iterator over encoded changes.
pub(crate) struct ChangeDecoder<'a> {
    bytes: &'a [u8],
    /// Sequence number of the previous change.
    sequence: u64,
}

impl<'a> ChangeDecoder<'a> {
    /// `after` is the sequence number before the first change.
    pub(crate) fn new(bytes: &'a [u8], after: u64) -> ChangeDecoder<'a> {
        ChangeDecoder { bytes, sequence: after }
    }

    /// The next change, `None` if the bytes are not one that [`encode`] wrote of a valid change.
    ///
    /// A sum shows that bytes are as they were written, not that they are a change. So everything that is checked in a
    /// line of JSON is checked here as well, and each decoded change can be printed as such a line.
    fn change(&mut self) -> Option<Change> {
        let head = self.head()?;
        let mut sequence = self.sequence.checked_add(1)?;
        let what = match head.kind {
            number::PUT_RECIPIENT => self.put_recipient(&head)?,
            number::REMOVE => {
                head.has(0, false)?;
                // The register's country is checked where the register is known.
                Identity::from_ordinal(head.subject)?;
                ChangeBody::Remove(head.subject)
            }
            number::SET_ACCEPTANCE => {
                head.has(ONLY, true)?;
                ChangeBody::SetAcceptance(SetAcceptance {
                    recipient: head.recipient()?,
                    last_sender_accept_change: self.i64()?,
                    rule: self.rule(&head)?,
                })
            }
            number::PUT_OPERATOR => {
                head.has_no_subject(false)?;
                ChangeBody::PutOperator(Box::new(Operator {
                    id: self.organisation_text()?,
                    name: self.text()?,
                    service_address: self.text()?,
                    ui_address: self.text()?,
                    internal_service_address: self.text()?,
                    logo: self.text()?,
                }))
            }
            number::REMOVE_OPERATOR => ChangeBody::RemoveOperator(head.organisation()?),
            number::PUT_SENDER => {
                head.has_no_subject(false)?;
                ChangeBody::PutSender(Box::new(Sender {
                    id: self.organisation_text()?,
                    name: self.text()?,
                    attention: self.text()?,
                }))
            }
            number::REMOVE_SENDER => ChangeBody::RemoveSender(head.organisation()?),
            number::PUT_DISPATCHER => {
                head.has_no_subject(true)?;
                let (id, name) = (self.organisation_text()?, self.text()?);
                let senders = self.ids(head.count)?;
                ChangeBody::PutDispatcher(Box::new(PutDispatcher { id, name, senders }))
            }
            number::REMOVE_DISPATCHER => ChangeBody::RemoveDispatcher(head.organisation()?),
            number::PUT_PERSON => ChangeBody::PutPerson(Box::new(self.person(&head)?)),
            number::PUT_PERSONS => {
                head.has_no_subject(false)?;
                let previous = self.jump(&mut sequence)?;
                ChangeBody::PutPersons { previous, persons: self.persons(head.time)? }
            }
            number::OTHERS => {
                head.has_no_subject(false)?;
                ChangeBody::Others { previous: self.jump(&mut sequence)? }
            }
            number::SET_ASIDE => {
                head.has_no_subject(false)?;
                ChangeBody::SetAside { reason: self.text()?.into(), column: self.text()?.into() }
            }
            _ => return None,
        };
        (sequence <= SEQUENCE_MAX).then_some(())?;
        self.sequence = sequence;
        Some(Change { sequence, time: head.time, what })
    }

    fn head(&mut self) -> Option<ChangeHead> {
        let head: [u8; 16] = self.take()?;
        let time = i64::from_le_bytes(*head[8..].first_chunk()?);
        (time != NO_NANOSECONDS).then_some(ChangeHead {
            kind: head[0],
            flags: head[1],
            count: usize::from(u16::from_le_bytes([head[2], head[3]])),
            subject: Ordinal(u32::from_le_bytes(*head[4..].first_chunk()?)),
            time,
        })
    }

    /// The two numbers of a change that uses up several: the number before it, which is returned, and its own.
    fn jump(&mut self, sequence: &mut u64) -> Option<u64> {
        let previous = u64::from_le_bytes(self.take()?);
        *sequence = u64::from_le_bytes(self.take()?);
        (previous == self.sequence && *sequence > previous).then_some(previous)
    }

    fn put_recipient(&mut self, head: &ChangeHead) -> Option<ChangeBody> {
        head.has(TYPE | PENDING | ONLY, true)?;
        Some(ChangeBody::PutRecipient(PutRecipient {
            recipient: head.recipient()?,
            account_type: match head.flags & TYPE {
                0 => AccountType::Not,
                1 => AccountType::Anonymous,
                2 => AccountType::Secure,
                _ => return None,
            },
            pending: head.flags & PENDING != 0,
            operator: match u32::from_le_bytes(self.take()?) {
                NO_OPERATOR => None,
                ordinal => Some(organisation(Ordinal(ordinal))?),
            },
            last_registration: self.i64()?,
            last_sender_accept_change: self.i64()?,
            rule: self.rule(head)?,
        }))
    }

    /// The rule of a recipient: its senders ascend, each once.
    fn rule(&mut self, head: &ChangeHead) -> Option<NamedRule> {
        let senders = self.ids(head.count)?;
        let acceptance = if head.flags & ONLY != 0 { Acceptance::Only } else { Acceptance::AllExcept };
        let ascend = senders.windows(2).all(|pair| pair[0] < pair[1]);
        ascend.then(|| NamedRule { acceptance, senders: senders.into() })
    }

    /// The persons of a page, which have the time of the page.
    fn persons(&mut self, time: i64) -> Option<Vec<PutPerson>> {
        let count = u32::from_le_bytes(self.take()?);
        let mut persons = Vec::new();
        for _ in 0..count {
            let head = self.head().filter(|head| head.kind == number::PUT_PERSON && head.time == time)?;
            persons.push(self.person(&head)?);
        }
        Some(persons)
    }

    fn person(&mut self, head: &ChangeHead) -> Option<PutPerson> {
        head.has(RESERVED | DELETED, false)?;
        is_of(head.subject, Country::Norway).then_some(())?;
        let stored = self.stored_person(head)?;
        let unpacked = Contact::unpack(stored.contact)?;
        let (operator, certificate) = (stored.operator()?, stored.certificate()?);
        (is_as_packed(&unpacked, stored.contact) && operator.trim() == operator).then_some(())?;
        Some(PutPerson {
            person: stored.person,
            state: stored.state_of(&unpacked),
            contact: stored.contact.into(),
            operator: operator.into(),
            certificate: certificate.into(),
        })
    }

    fn stored_person(&mut self, head: &ChangeHead) -> Option<StoredPerson<'a>> {
        Some(StoredPerson {
            person: head.subject,
            time: head.time,
            flags: head.flags,
            contact: self.bytes()?,
            operator: self.bytes()?,
            certificate: self.bytes()?,
        })
    }

    /// The next change where it is, without the checks of [`change`](Self::change), for bytes that were checked before.
    /// `None` if it is malformed.
    pub(crate) fn next_stored(&mut self) -> Option<StoredChange<'a>> {
        let before = self.bytes;
        match self.head()? {
            head if head.kind == number::PUT_PERSON => Some(StoredChange::Person(self.stored_person(&head)?)),
            head if head.kind == number::REMOVE => {
                Some(StoredChange::Removed { subject: head.subject, time: head.time })
            }
            _ => {
                self.bytes = before;
                self.change().map(StoredChange::Other)
            }
        }
    }

    /// The bytes of the changes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The id of an organisation as text, in its usual form.
    fn organisation_text(&mut self) -> Option<String> {
        self.text().filter(|text| OrganisationId::parse(text).is_some_and(|id| id.text() == *text))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (bytes, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn ids(&mut self, count: usize) -> Option<Vec<OrganisationId>> {
        let (ids, rest) = self.bytes.split_at_checked(count * 4)?;
        self.bytes = rest;
        let id = |bytes: &[u8; 4]| organisation(Ordinal(u32::from_le_bytes(*bytes)));
        ids.as_chunks::<4>().0.iter().map(id).collect()
    }
}

/// A change where it is encoded.
pub(crate) enum StoredChange<'a> {
    Person(StoredPerson<'a>),
    Removed {
        subject: Ordinal,
        /// Nanoseconds since 1970.
        time: i64,
    },
    Other(Change),
}

/// A person where it is encoded.
pub(crate) struct StoredPerson<'a> {
    pub(crate) person: Ordinal,
    /// Nanoseconds since 1970.
    pub(crate) time: i64,
    flags: u8,
    /// Packed, without the certificate.
    pub(crate) contact: &'a [u8],
    operator: &'a [u8],
    certificate: &'a [u8],
}

impl<'a> StoredPerson<'a> {
    /// The state without the operator. `None` if the contact is malformed.
    #[cfg(test)]
    pub(crate) fn state(&self) -> Option<KrrState> {
        Some(self.state_of(&Contact::unpack(self.contact)?))
    }

    /// The id of the operator; may be empty. `None` if it is no text.
    pub(crate) fn operator(&self) -> Option<&'a str> {
        std::str::from_utf8(self.operator).ok()
    }

    /// The certificate; may be empty. `None` if it is no text.
    pub(crate) fn certificate(&self) -> Option<&'a str> {
        std::str::from_utf8(self.certificate).ok()
    }

    fn state_of(&self, contact: &Contact<&str>) -> KrrState {
        KrrState {
            reserved: self.flags & RESERVED != 0,
            deleted: self.flags & DELETED != 0,
            operator: None,
            mailbox: contact.mailbox.is_some(),
            expires: contact.expires(),
        }
    }
}

/// Yields `None` for bytes that are not a valid change, and ends there.
impl Iterator for ChangeDecoder<'_> {
    type Item = Option<Change>;

    fn next(&mut self) -> Option<Option<Change>> {
        if self.bytes.is_empty() {
            return None;
        }
        let change = self.change();
        if change.is_none() {
            self.bytes = &[];
        }
        Some(change)
    }
}

impl ChangeHead {
    /// Whether all flags are among `flags`, and there are no ids unless the kind has some.
    fn has(&self, flags: u8, ids: bool) -> Option<()> {
        (self.flags & !flags == 0 && (ids || self.count == 0)).then_some(())
    }

    fn has_no_subject(&self, ids: bool) -> Option<()> {
        self.has(0, ids).filter(|()| self.subject == Ordinal::ABSENT)
    }

    /// The subject, if it is a recipient of FaR.
    fn recipient(&self) -> Option<Ordinal> {
        is_of(self.subject, Country::Sweden).then_some(self.subject)
    }

    /// The subject, if it is an organisation and nothing follows the head.
    fn organisation(&self) -> Option<OrganisationId> {
        self.has(0, false)?;
        organisation(self.subject)
    }
}

/// Whether an ordinal is that of an identity of a country.
fn is_of(ordinal: Ordinal, country: Country) -> bool {
    let space = Space::locate(ordinal).filter(|(space, _)| space.country() == country);
    // Every Swedish ordinal has an identity.
    space.is_some() && (country == Country::Sweden || Identity::from_ordinal(ordinal).is_some())
}

fn organisation(ordinal: Ordinal) -> Option<OrganisationId> {
    let (space, _) = Space::locate(ordinal)?;
    (space == Space::Organisationsnummer).then_some(OrganisationId(ordinal))
}

/// Whether bytes are the packed form of a contact without certificate, and of no other.
fn is_as_packed(contact: &Contact<&str>, bytes: &[u8]) -> bool {
    let mut packed = Vec::with_capacity(bytes.len());
    let texts = [contact.email, contact.mobile, contact.mailbox, contact.language];
    let absent_or_some = texts.into_iter().flatten().all(|text| !text.is_empty());
    let packs = contact.pack(&mut packed).is_some();
    contact.certificate.is_none() && absent_or_some && packs && packed == bytes
}
