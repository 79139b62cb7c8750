//! Binary encoding of changes in the change log; `docs/data-directory.md` specifies it.

use super::change::{
    Change, ChangeBody, NamedRule, OrganisationId, PutDispatcher, PutPerson, PutRecipient, SetAcceptance,
};
use crate::consent::Acceptance;
use crate::identities::Ordinal;
use crate::register::contact::Contact;
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

    /// The next change, `None` if the bytes are not one that [`encode`] wrote.
    fn change(&mut self) -> Option<Change> {
        let head: [u8; 16] = self.take()?;
        let (flags, count) = (head[1], usize::from(u16::from_le_bytes([head[2], head[3]])));
        let subject = Ordinal(u32::from_le_bytes(*head[4..].first_chunk()?));
        let time = i64::from_le_bytes(*head[8..].first_chunk()?);
        let mut sequence = self.sequence.checked_add(1)?;
        let what = match head[0] {
            number::PUT_RECIPIENT => self.put_recipient(flags, count, subject)?,
            number::REMOVE => ChangeBody::Remove(subject),
            number::SET_ACCEPTANCE => ChangeBody::SetAcceptance(SetAcceptance {
                recipient: subject,
                last_sender_accept_change: self.i64()?,
                rule: NamedRule { acceptance: acceptance(flags), senders: self.ids(count)?.into() },
            }),
            number::PUT_OPERATOR => ChangeBody::PutOperator(Box::new(Operator {
                id: self.text()?,
                name: self.text()?,
                service_address: self.text()?,
                ui_address: self.text()?,
                internal_service_address: self.text()?,
                logo: self.text()?,
            })),
            number::REMOVE_OPERATOR => ChangeBody::RemoveOperator(OrganisationId(subject)),
            number::PUT_SENDER => ChangeBody::PutSender(Box::new(Sender {
                id: self.text()?,
                name: self.text()?,
                attention: self.text()?,
            })),
            number::REMOVE_SENDER => ChangeBody::RemoveSender(OrganisationId(subject)),
            number::PUT_DISPATCHER => {
                let (id, name) = (self.text()?, self.text()?);
                ChangeBody::PutDispatcher(Box::new(PutDispatcher { id, name, senders: self.ids(count)? }))
            }
            number::REMOVE_DISPATCHER => ChangeBody::RemoveDispatcher(OrganisationId(subject)),
            number::PUT_PERSON => ChangeBody::PutPerson(Box::new(self.person(flags, subject)?)),
            number::PUT_PERSONS => {
                let previous = u64::from_le_bytes(self.take()?);
                sequence = u64::from_le_bytes(self.take()?);
                ChangeBody::PutPersons { previous, persons: self.persons()? }
            }
            number::OTHERS => {
                let previous = u64::from_le_bytes(self.take()?);
                sequence = u64::from_le_bytes(self.take()?);
                ChangeBody::Others { previous }
            }
            number::SET_ASIDE => {
                ChangeBody::SetAside { reason: self.text()?.into(), column: self.text()?.into() }
            }
            _ => return None,
        };
        self.sequence = sequence;
        Some(Change { sequence, time, what })
    }

    fn put_recipient(&mut self, flags: u8, count: usize, recipient: Ordinal) -> Option<ChangeBody> {
        Some(ChangeBody::PutRecipient(PutRecipient {
            recipient,
            account_type: match flags & TYPE {
                0 => AccountType::Not,
                1 => AccountType::Anonymous,
                _ => AccountType::Secure,
            },
            pending: flags & PENDING != 0,
            operator: match u32::from_le_bytes(self.take()?) {
                NO_OPERATOR => None,
                ordinal => Some(OrganisationId(Ordinal(ordinal))),
            },
            last_registration: self.i64()?,
            last_sender_accept_change: self.i64()?,
            rule: NamedRule { acceptance: acceptance(flags), senders: self.ids(count)?.into() },
        }))
    }

    fn persons(&mut self) -> Option<Vec<PutPerson>> {
        let count = u32::from_le_bytes(self.take()?);
        let mut persons = Vec::new();
        for _ in 0..count {
            let head: [u8; 16] = self.take()?;
            let subject = Ordinal(u32::from_le_bytes(*head[4..].first_chunk()?));
            persons.push(self.person(head[1], subject)?);
        }
        Some(persons)
    }

    fn person(&mut self, flags: u8, person: Ordinal) -> Option<PutPerson> {
        let contact = self.bytes()?;
        let unpacked = Contact::unpack(contact)?;
        Some(PutPerson {
            person,
            state: KrrState {
                reserved: flags & RESERVED != 0,
                deleted: flags & DELETED != 0,
                operator: None,
                mailbox: unpacked.mailbox.is_some(),
                expires: unpacked.expires(),
            },
            contact: contact.into(),
            operator: self.text()?.into(),
            certificate: self.text()?.into(),
        })
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
        let id = |bytes: &[u8; 4]| OrganisationId(Ordinal(u32::from_le_bytes(*bytes)));
        Some(ids.as_chunks::<4>().0.iter().map(id).collect())
    }
}

/// Yields `None` for bytes that [`encode`] did not write, and ends there.
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

fn acceptance(flags: u8) -> Acceptance {
    if flags & ONLY != 0 { Acceptance::Only } else { Acceptance::AllExcept }
}
