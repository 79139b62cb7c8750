//! Register files: a [`Register`] as one immutable, checksummed, memory-mapped file.
//!
//! Opening checks header, section table, organisations, states and directory, whose sizes do not grow with the number
//! of recipients: their checksums, and every position and number in them, which a forged file may have set to anything. Blocks, rules and certificates are checked at the first access. [`Snapshot::verify`] checks the whole
//! file.

mod check;
pub(crate) mod far;
mod fold;
pub mod format;
pub(crate) mod krr;
#[cfg(test)]
pub(crate) mod tests;
mod verify;
pub(crate) mod write;

pub use format::{Header, OpenError, VERSION};
pub use verify::Finding;

use crate::files::{explained, map_regular};
use crate::index::Page;
use crate::organisations::{OperatorNumbers, SenderNumbers};
use crate::register::cold::{Cold, TimeColumn};
use crate::register::column::{Bytes, Column, Guarded, Storage};
use crate::register::{Actors, CodeColumn, Parts, Register, Scope, Version, moment};
use bytemuck::Pod;
use format::{Entry, Section, damaged};
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("register files are little-endian and are mapped without conversion");

/// An open register file.
pub struct Snapshot {
    storage: Storage,
    header: Header,
    entries: Vec<Entry>,
}

/// The bytes of the file.
impl AsRef<[u8]> for Snapshot {
    fn as_ref(&self) -> &[u8] {
        (*self.storage).as_ref()
    }
}

impl Snapshot {
    /// Opens and maps a file. Cost: some tenths of a millisecond, independent of the number of recipients.
    ///
    /// ```no_run
    /// let register = nabar::snapshot::Snapshot::open("far.nabar")?.register()?;
    /// println!("{} recipients as of {}", register.recipients(), register.as_of());
    /// # Ok::<(), nabar::snapshot::OpenError>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Snapshot, OpenError> {
        let path = path.as_ref();
        Self::of_storage(Arc::new(map_regular(path).map_err(|error| explained(path, error))?))
    }

    /// Opens a copy of a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Snapshot, OpenError> {
        let mut pages = vec![Page::EMPTY; bytes.len().div_ceil(size_of::<Page>())];
        bytemuck::cast_slice_mut(&mut pages)[..bytes.len()].copy_from_slice(bytes);
        Self::of_storage(Arc::new(Copied { pages, length: bytes.len() }))
    }

    /// Opens a file in shared bytes.
    pub(crate) fn of_storage(storage: Storage) -> Result<Snapshot, OpenError> {
        let (header, entries) = format::decode((*storage).as_ref())?;
        Ok(Snapshot { storage, header, entries })
    }

    /// The file of a register, also if it has no name any longer.
    ///
    /// Errors: as [`open`](Self::open).
    pub fn of_register(register: &Register) -> Result<Snapshot, OpenError> {
        Self::of_storage(register.file().clone())
    }

    /// BLAKE3 hash of the file, 64 hexadecimal digits. Cost: reads the file, on all cores.
    pub(crate) fn digest(&self) -> String {
        blake3::Hasher::new().update_rayon(self.as_ref()).finalize().to_hex().to_string()
    }

    /// `blake3:` and the checksum of the header. As the header has the checksum of the section table, and that those of all
    /// sections, files with the same one have the same content; `nabar verify` compares the sections with it.
    pub fn header_digest(&self) -> String {
        let mut sum = [0; 32];
        sum.copy_from_slice(&self.as_ref()[format::header::HEADER_SUM..][..32]);
        format!("blake3:{}", blake3::Hash::from_bytes(sum).to_hex())
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The section table.
    pub fn sections(&self) -> &[Entry] {
        &self.entries
    }

    /// The register in the file. Errors: also if it has a [`Scope`].
    pub fn complete_register(&self) -> Result<Register, OpenError> {
        if self.header.has_scope { Err(OpenError::Scoped) } else { self.register() }
    }

    /// The register in the file.
    pub fn register(&self) -> Result<Register, OpenError> {
        let kind = self.header.kind;
        let actors = rkyv::from_bytes::<Actors, rkyv::rancor::Error>(self.checked(Section::Actors)?)
            .map_err(|_| damaged("actors", "it cannot be read"))?;
        let states = bytemuck::allocation::pod_collect_to_vec(self.checked(Section::States)?);
        let parts = Parts {
            kind,
            directory: self.column(Section::Directory)?,
            blocks: self.column(Section::Blocks)?,
            pages: self.column(Section::Pages)?,
            codes: self.codes()?,
            exception_places: self.column(Section::ExceptionPlaces)?,
            exception_rules: self.column(Section::ExceptionRules)?,
            rule_heads: self.guarded(Section::RuleHeads)?,
            rule_members: self.guarded(Section::RuleMembers)?,
            cold: self.cold()?,
            scope: self.scope()?,
            answered: self.header.has_scope.then(|| self.guarded(Section::Answered)).transpose()?,
        };
        self.checked(Section::Directory)?;
        self.check_lengths(&parts)?;
        check::actors(kind, &actors)?;
        self.check_states(&parts, &actors, &states)?;
        let version = Version {
            sequence: self.header.sequence,
            as_of: moment::of_nanoseconds(self.header.as_of),
            recipients: self.header.recipients as u32,
            operators: Arc::new(OperatorNumbers::in_file(actors.operators.len())),
            senders: Arc::new(SenderNumbers::in_file(actors.senders.len())),
            actors: Arc::new(actors),
            states: Arc::new(states),
            sums: Arc::default(),
            changes: None,
        };
        Ok(Register::new(parts, version))
    }

    fn entry(&self, section: Section) -> &Entry {
        // `decode` has checked that all sections of the kind exist.
        let found = self.entries.iter().find(|entry| entry.section == section);
        found.expect("a section of the register's kind")
    }

    fn range(&self, section: Section) -> std::ops::Range<usize> {
        let entry = self.entry(section);
        entry.offset as usize..(entry.offset + entry.bytes) as usize
    }

    fn bytes(&self, section: Section) -> &[u8] {
        &(*self.storage).as_ref()[self.range(section)]
    }

    fn checked(&self, section: Section) -> Result<&[u8], OpenError> {
        let bytes = self.bytes(section);
        if blake3::hash(bytes) != self.entry(section).sum {
            return Err(damaged(section.name(), "its checksum does not match"));
        }
        Ok(bytes)
    }

    fn column<T: Pod>(&self, section: Section) -> Result<Column<T>, OpenError> {
        let column = Column::new(&self.storage, self.range(section));
        column.ok_or(damaged(section.name(), "its elements have the wrong width"))
    }

    fn guarded<T: Pod>(&self, section: Section) -> Result<Guarded<T>, OpenError> {
        Ok(Guarded::new(self.column(section)?, section.name(), self.entry(section).sum))
    }

    /// What was asked. Errors: the section is damaged, or the answers were to be deleted by now.
    fn scope(&self) -> Result<Option<Scope>, OpenError> {
        if !self.header.has_scope {
            return Ok(None);
        }
        let scope = rkyv::from_bytes::<Scope, rkyv::rancor::Error>(self.checked(Section::Scope)?)
            .map_err(|_| damaged("scope", "it cannot be read"))?;
        match scope.delete_by() {
            by if by <= Timestamp::now() => Err(OpenError::Expired(by)),
            _ => Ok(Some(scope)),
        }
    }

    fn codes(&self) -> Result<CodeColumn, OpenError> {
        Ok(match self.entry(Section::Records).width {
            1 => CodeColumn::One(self.column(Section::Records)?),
            2 => CodeColumn::Two(self.column(Section::Records)?),
            _ => CodeColumn::Four(self.column(Section::Records)?),
        })
    }

    fn times(&self, section: Section) -> Result<TimeColumn, OpenError> {
        Ok(match self.entry(section).width {
            4 => TimeColumn::Seconds(self.column(section)?),
            _ => TimeColumn::Nanoseconds(self.column(section)?),
        })
    }

    fn cold(&self) -> Result<Cold, OpenError> {
        Ok(match self.header.kind {
            crate::register::Kind::Far => Cold::Far {
                last_registration: self.times(Section::LastRegistration)?,
                last_sender_accept_change: self.times(Section::LastSenderAcceptChange)?,
            },
            crate::register::Kind::Krr => Cold::Krr {
                contact_places: self.column(Section::ContactPlaces)?,
                contacts: self.column(Section::Contacts)?,
                certificate_ends: self.guarded(Section::CertificateEnds)?,
                certificates: self.guarded(Section::Certificates)?,
                has_validated: self.header.has_validated,
            },
        })
    }
}

/// A copy of a file, aligned for every section.
struct Copied {
    pages: Vec<Page>,
    length: usize,
}

impl Bytes for Copied {}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.pages)[..self.length]
    }
}
