//! Cold columns: data of recipients that does not affect the outcome.

use super::actors::Actors;
use super::column::{Column, DamagedSection, Guarded};
use super::contact::Contact;
use super::moment::{NO_NANOSECONDS, NO_SECONDS};
use crate::cpu::prefetch;
use crate::index::{self, Block, BlockHasher, Slot};
use crate::organisations::OperatorIndex;

/// A time for each record, in the width that the finest of them needs.
pub(crate) enum TimeColumn {
    /// Seconds since 1970, 1970 to 2106.
    Seconds(Column<u32>),
    /// Nanoseconds since 1970.
    Nanoseconds(Column<i64>),
}

impl TimeColumn {
    /// Nanoseconds since 1970, [`NO_NANOSECONDS`] without a time.
    fn get(&self, slot: Slot) -> i64 {
        let slot = slot.0 as usize;
        match self {
            TimeColumn::Seconds(column) => match column.get().get(slot) {
                None | Some(&NO_SECONDS) => NO_NANOSECONDS,
                Some(&seconds) => i64::from(seconds) * 1_000_000_000,
            },
            TimeColumn::Nanoseconds(column) => column.get().get(slot).copied().unwrap_or(NO_NANOSECONDS),
        }
    }

    fn prefetch(&self, slot: Slot) {
        match self {
            TimeColumn::Seconds(column) => prefetch(column.get(), slot.0 as usize),
            TimeColumn::Nanoseconds(column) => prefetch(column.get(), slot.0 as usize),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            TimeColumn::Seconds(column) => column.get().len(),
            TimeColumn::Nanoseconds(column) => column.get().len(),
        }
    }

    fn bytes(&self, block: &Block) -> Option<&[u8]> {
        let records = index::within(block.first_record, block.records, self.len())?;
        Some(match self {
            TimeColumn::Seconds(column) => bytemuck::cast_slice(&column.get()[records]),
            TimeColumn::Nanoseconds(column) => bytemuck::cast_slice(&column.get()[records]),
        })
    }
}

/// The cold columns of a register of one kind.
pub(crate) enum Cold {
    /// FaR.
    Far {
        /// `LastRegistration`.
        last_registration: TimeColumn,
        /// `LastSenderAcceptChange`.
        last_sender_accept_change: TimeColumn,
    },
    /// KRR.
    Krr {
        /// For each record, the offset of its contact in the block's contact data.
        contact_places: Column<u32>,
        /// Packed contacts, in the order of the blocks.
        contacts: Column<u8>,
        /// For each certificate, the offset of its end.
        certificate_ends: Guarded<u64>,
        /// Certificates as base64 text.
        certificates: Guarded<u8>,
        /// Whether contacts may have times of validation, which those of older formats do not.
        has_validated: bool,
    },
}

impl Cold {
    /// The checksum [`Block::cold_sum`]: of the block's index in the directory and, for FaR, both times of each record;
    /// for KRR, the contact offsets and the contacts. `None` if they are out of bounds.
    pub(crate) fn sum(&self, entry: usize, block: &Block) -> Option<[u8; 16]> {
        let mut hasher = BlockHasher::new(entry);
        match self {
            Cold::Far { last_registration, last_sender_accept_change } => {
                hasher.update(last_registration.bytes(block)?);
                hasher.update(last_sender_accept_change.bytes(block)?);
            }
            Cold::Krr { contact_places, contacts, .. } => {
                let offsets = contact_places.get();
                let records = index::within(block.first_record, block.records, offsets.len())?;
                hasher.update(bytemuck::cast_slice(&offsets[records]));
                hasher.update(block_contacts(contacts.get(), block)?);
            }
        }
        Some(hasher.sum())
    }

    /// Length of all contact data in bytes.
    pub(crate) fn contact_bytes(&self) -> u64 {
        match self {
            Cold::Far { .. } => 0,
            Cold::Krr { contacts, .. } => contacts.get().len() as u64,
        }
    }

    /// `LastRegistration` and `LastSenderAcceptChange` of a FaR recipient, nanoseconds since 1970.
    pub(super) fn times(&self, slot: Slot) -> [i64; 2] {
        match self {
            Cold::Far { last_registration, last_sender_accept_change } => {
                [last_registration.get(slot), last_sender_accept_change.get(slot)]
            }
            Cold::Krr { .. } => [NO_NANOSECONDS; 2],
        }
    }

    pub(super) fn prefetch_times(&self, slot: Slot) {
        if let Cold::Far { last_registration, last_sender_accept_change } = self {
            last_registration.prefetch(slot);
            last_sender_accept_change.prefetch(slot);
        }
    }

    /// Bytes that start with the packed contact of a KRR recipient. `None` if its offset is out of bounds, or it has a
    /// field that contacts of the file's format do not have.
    pub(super) fn contact(&self, block: &Block, slot: Slot) -> Option<&[u8]> {
        match self {
            Cold::Far { .. } => None,
            Cold::Krr { contact_places, contacts, has_validated, .. } => {
                let offset = *contact_places.get().get(slot.0 as usize)? as usize;
                let contact = block_contacts(contacts.get(), block)?.get(offset..)?;
                (*has_validated || !Contact::has_validated(contact)).then_some(contact)
            }
        }
    }

    /// Number of certificates in the file.
    pub(crate) fn certificates(&self) -> Result<usize, DamagedSection> {
        match self {
            Cold::Far { .. } => Ok(0),
            Cold::Krr { certificate_ends, .. } => Ok(certificate_ends.get()?.len()),
        }
    }

    /// A certificate of the file by its number.
    pub(super) fn certificate(&self, number: u32) -> Result<&str, DamagedSection> {
        let Cold::Krr { certificate_ends, certificates, .. } = self else { return Ok("") };
        let (ends, texts, number) = (certificate_ends.get()?, certificates.get()?, number as usize);
        let start = number.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
        let range = start.zip(ends.get(number).copied()).map(|(start, end)| start as usize..end as usize);
        let text = range.and_then(|range| texts.get(range)).and_then(|text| std::str::from_utf8(text).ok());
        text.ok_or(DamagedSection { name: "certificates" })
    }
}

/// The cold entry of a changed FaR recipient: both times in nanoseconds since 1970, little-endian.
pub(crate) fn entry_of_times(times: [i64; 2]) -> [u8; 16] {
    bytemuck::cast(times.map(i64::to_le_bytes))
}

/// The times of a cold entry.
pub(crate) fn times_of_entry(entry: &[u8]) -> [i64; 2] {
    let time = |half: usize| entry.get(8 * half..8 * half + 8).and_then(|bytes| bytes.try_into().ok());
    [0, 1].map(|half| time(half).map_or(NO_NANOSECONDS, i64::from_le_bytes))
}

fn block_contacts<'a>(contacts: &'a [u8], block: &Block) -> Option<&'a [u8]> {
    let first = usize::try_from(block.first_contact).ok()?;
    let end = first.checked_add(usize::try_from(block.contact_bytes).ok()?)?;
    contacts.get(first..end)
}

/// The id of an operator; empty without an operator.
pub(super) fn operator_id(actors: &Actors, operator: Option<OperatorIndex>) -> &str {
    operator.and_then(|index| actors.operators.get(usize::from(index))).map_or("", |o| o.id.as_str())
}
