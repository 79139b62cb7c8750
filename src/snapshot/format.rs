//! The register file, byte by byte. `docs/format.md` is the specification; a test compares the two.
//!
//! Header (128 bytes), section table (64 bytes per section), sections. All numbers are little-endian.
//! Every section begins at a multiple of 4096; the bytes between are zero.

use crate::register::Kind;

/// First eight bytes of every register file. Programs that treat the file as text damage the line ends and the
/// end-of-file character.
pub const MAGIC: [u8; 8] = *b"nabar\r\n\x1a";
/// The format version of complete registers.
const COMPLETE: u32 = 1;
/// The format version of registers with a scope. Programs that know version 1 only must not take a recipient that was not
/// asked for one that is not registered.
const ANSWERS: u32 = 2;
/// The newest format version that can be read: of registers, with or without a scope, in which a contact has a time of
/// validation. Programs that do not know these times would read other fields in their place.
pub const VERSION: u32 = 3;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 128;
/// Bytes of an entry of the section table.
pub const ENTRY_BYTES: usize = 64;
/// Every section begins at a multiple of this.
pub const ALIGNMENT: u64 = 4096;

/// Byte offsets of the header fields.
pub(crate) mod header {
    pub(crate) const VERSION: usize = 8;
    pub(crate) const KIND: usize = 12;
    pub(crate) const SEQUENCE: usize = 16;
    pub(crate) const AS_OF: usize = 24;
    pub(crate) const FILE_BYTES: usize = 32;
    pub(crate) const RECIPIENTS: usize = 40;
    pub(crate) const SECTIONS: usize = 48;
    pub(crate) const TABLE_SUM: usize = 64;
    pub(crate) const HEADER_SUM: usize = 96;
}

/// Byte offsets of the fields in an entry of the section table.
pub(crate) mod entry {
    pub(crate) const SECTION: usize = 0;
    pub(crate) const WIDTH: usize = 4;
    pub(crate) const OFFSET: usize = 8;
    pub(crate) const BYTES: usize = 16;
    pub(crate) const SUM: usize = 24;
}

/// A section; the value is its number in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[non_exhaustive]
#[allow(missing_docs)] // docs/format.md describes each
pub enum Section {
    Actors = 1,
    States = 2,
    Directory = 3,
    Blocks = 4,
    Pages = 5,
    Records = 6,
    ExceptionPlaces = 7,
    ExceptionRules = 8,
    RuleHeads = 9,
    RuleMembers = 10,
    LastRegistration = 11,
    LastSenderAcceptChange = 12,
    ContactPlaces = 13,
    Contacts = 14,
    CertificateEnds = 15,
    Certificates = 16,
    Scope = 17,
    Answered = 18,
}

use Section::*;

/// Sections of all registers.
const COMMON: [Section; 10] = [
    Actors,
    States,
    Directory,
    Blocks,
    Pages,
    Records,
    ExceptionPlaces,
    ExceptionRules,
    RuleHeads,
    RuleMembers,
];
const FAR: [Section; 2] = [LastRegistration, LastSenderAcceptChange];
const KRR: [Section; 4] = [ContactPlaces, Contacts, CertificateEnds, Certificates];
/// Sections of registers with a scope.
const SCOPED: [Section; 2] = [Scope, Answered];

impl Section {
    /// The sections of a register of a kind, with or without a scope, in the order of the file.
    pub fn of(kind: Kind, has_scope: bool) -> impl Iterator<Item = Section> {
        let own: &[Section] = match kind {
            Kind::Far => &FAR,
            Kind::Krr => &KRR,
        };
        let scoped: &[Section] = if has_scope { &SCOPED } else { &[] };
        COMMON.into_iter().chain(own.iter().copied()).chain(scoped.iter().copied())
    }

    /// Name in messages and documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Actors => "actors",
            States => "states",
            Directory => "directory",
            Blocks => "blocks",
            Pages => "pages",
            Records => "records",
            ExceptionPlaces => "exception_places",
            ExceptionRules => "exception_rules",
            RuleHeads => "rule_heads",
            RuleMembers => "rule_members",
            LastRegistration => "last_registration",
            LastSenderAcceptChange => "last_sender_accept_change",
            ContactPlaces => "contact_places",
            Contacts => "contacts",
            CertificateEnds => "certificate_ends",
            Certificates => "certificates",
            Scope => "scope",
            Answered => "answered",
        }
    }

    /// Allowed widths of an element in bytes.
    pub const fn widths(self) -> &'static [u32] {
        match self {
            Actors | Contacts | Certificates | Scope => &[1],
            States | CertificateEnds => &[8],
            Directory | ExceptionRules | RuleHeads | ContactPlaces | Answered => &[4],
            Blocks | Pages => &[64],
            Records => &[1, 2, 4],
            ExceptionPlaces | RuleMembers => &[2],
            LastRegistration | LastSenderAcceptChange => &[4, 8],
        }
    }
}

/// An entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section.
    pub section: Section,
    /// Width of an element in bytes.
    pub width: u32,
    /// Offset in the file.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of the section.
    pub sum: [u8; 32],
}

/// The header of a register file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Kind of the register.
    pub kind: Kind,
    /// Whether the register has the answers of an official one for some ids only.
    pub has_scope: bool,
    /// Whether a contact has the time at which its e-mail address or mobile number was last validated. KRR only.
    pub has_validated: bool,
    /// Sequence number of the last change in the register.
    pub sequence: u64,
    /// Time at which the register was current, in nanoseconds since 1970-01-01T00:00:00Z.
    pub as_of: i64,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Number of recipients.
    pub recipients: u64,
}

impl Header {
    /// The format version of the file.
    pub fn version(&self) -> u32 {
        match (self.has_validated, self.has_scope) {
            (true, _) => VERSION,
            (false, true) => ANSWERS,
            (false, false) => COMPLETE,
        }
    }
}

/// Encodes the header and the section table.
pub(crate) fn encode(header: &Header, entries: &[Entry]) -> Vec<u8> {
    let mut table = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        let mut bytes = [0; ENTRY_BYTES];
        put(&mut bytes, entry::SECTION, &(entry.section as u32).to_le_bytes());
        put(&mut bytes, entry::WIDTH, &entry.width.to_le_bytes());
        put(&mut bytes, entry::OFFSET, &entry.offset.to_le_bytes());
        put(&mut bytes, entry::BYTES, &entry.bytes.to_le_bytes());
        put(&mut bytes, entry::SUM, &entry.sum);
        table.extend_from_slice(&bytes);
    }
    let kind: u32 = match header.kind {
        Kind::Far => 1,
        Kind::Krr => 2,
    };
    let mut bytes = vec![0; HEADER_BYTES];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, header::VERSION, &header.version().to_le_bytes());
    put(&mut bytes, header::KIND, &kind.to_le_bytes());
    put(&mut bytes, header::SEQUENCE, &header.sequence.to_le_bytes());
    put(&mut bytes, header::AS_OF, &header.as_of.to_le_bytes());
    put(&mut bytes, header::FILE_BYTES, &header.file_bytes.to_le_bytes());
    put(&mut bytes, header::RECIPIENTS, &header.recipients.to_le_bytes());
    put(&mut bytes, header::SECTIONS, &(entries.len() as u32).to_le_bytes());
    put(&mut bytes, header::TABLE_SUM, blake3::hash(&table).as_bytes());
    let sum = blake3::hash(&bytes[..header::HEADER_SUM]);
    put(&mut bytes, header::HEADER_SUM, sum.as_bytes());
    bytes.extend_from_slice(&table);
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Why a register file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] std::io::Error),
    /// The file does not begin with [`MAGIC`].
    #[error("this is not a register file: make one with `nabar build`")]
    Foreign,
    /// The file has a newer format version.
    #[error("the file has format version {found}, this nabar reads up to {VERSION}: use a newer nabar")]
    Version {
        /// Format version of the file.
        found: u32,
    },
    /// The length differs from the header.
    #[error("the file has {found} bytes instead of {expected}: it was truncated or extended; copy it again")]
    Length {
        /// Length in the header.
        expected: u64,
        /// Length of the file.
        found: u64,
    },
    /// The register has the answers for one mailing, and a complete register is needed.
    #[error("it has the answers for one mailing only, which check, split, recheck and lookup can use")]
    Scoped,
    /// The register has answers of an official register that may not be used any longer.
    #[error("its answers were to be deleted by {0}: ask again, and remove the file with `nabar purge`")]
    Expired(jiff::Timestamp),
    /// A checksum does not match or an invariant of the format is violated.
    #[error("the {part} is damaged: {finding}; copy the file again or rebuild it")]
    Damaged {
        /// Name of the part of the file.
        part: &'static str,
        /// What is wrong.
        finding: &'static str,
    },
}

pub(crate) fn damaged(part: &'static str, finding: &'static str) -> OpenError {
    OpenError::Damaged { part, finding }
}

/// Decodes and checks the header and the section table.
pub(crate) fn decode(file: &[u8]) -> Result<(Header, Vec<Entry>), OpenError> {
    let length = file.len() as u64;
    if !file.starts_with(&MAGIC) {
        return Err(OpenError::Foreign);
    }
    let bytes: &[u8; HEADER_BYTES] =
        file.first_chunk().ok_or(OpenError::Length { expected: HEADER_BYTES as u64, found: length })?;
    let version = u32_at(bytes, header::VERSION);
    if version > VERSION {
        return Err(OpenError::Version { found: version });
    }
    if blake3::hash(&bytes[..header::HEADER_SUM]) != bytes[header::HEADER_SUM..] {
        return Err(damaged("header", "its checksum does not match"));
    }
    let count = u32_at(bytes, header::SECTIONS) as usize;
    let (kind, has_scope) = match (version, u32_at(bytes, header::KIND)) {
        (COMPLETE | ANSWERS, 1) => (Kind::Far, version == ANSWERS),
        (COMPLETE | ANSWERS, 2) => (Kind::Krr, version == ANSWERS),
        (VERSION, 2) => (Kind::Krr, counts_scope(count)),
        _ => return Err(damaged("header", "its format version or register kind does not exist")),
    };
    let header = Header {
        kind,
        has_scope,
        has_validated: version == VERSION,
        sequence: u64_at(bytes, header::SEQUENCE),
        as_of: u64_at(bytes, header::AS_OF) as i64,
        file_bytes: u64_at(bytes, header::FILE_BYTES),
        recipients: u64_at(bytes, header::RECIPIENTS),
    };
    if header.file_bytes != length {
        return Err(OpenError::Length { expected: header.file_bytes, found: length });
    }
    let table = file.get(HEADER_BYTES..).and_then(|rest| rest.get(..count.checked_mul(ENTRY_BYTES)?));
    let table = table.ok_or(damaged("section table", "it extends beyond the end of the file"))?;
    if blake3::hash(table) != bytes[header::TABLE_SUM..header::TABLE_SUM + 32] {
        return Err(damaged("section table", "its checksum does not match"));
    }
    Ok((header, entries(table, &header)?))
}

fn entries(table: &[u8], header: &Header) -> Result<Vec<Entry>, OpenError> {
    let mut entries = Vec::new();
    let mut sections = Section::of(header.kind, header.has_scope);
    for bytes in table.chunks_exact(ENTRY_BYTES) {
        let section = sections.next().filter(|&section| section as u32 == u32_at(bytes, entry::SECTION));
        let section =
            section.ok_or(damaged("section table", "its sections are not those of the register kind"))?;
        let mut sum = [0; 32];
        sum.copy_from_slice(&bytes[entry::SUM..entry::SUM + 32]);
        let entry = Entry {
            section,
            width: u32_at(bytes, entry::WIDTH),
            offset: u64_at(bytes, entry::OFFSET),
            bytes: u64_at(bytes, entry::BYTES),
            sum,
        };
        let end = entry.offset.checked_add(entry.bytes);
        if end.is_none_or(|end| end > header.file_bytes) || !entry.offset.is_multiple_of(ALIGNMENT) {
            return Err(damaged(section.name(), "it is out of bounds or misaligned"));
        }
        if !section.widths().contains(&entry.width) || !entry.bytes.is_multiple_of(u64::from(entry.width)) {
            return Err(damaged(section.name(), "its elements have an invalid width"));
        }
        entries.push(entry);
    }
    match sections.next() {
        None => Ok(entries),
        Some(section) => Err(damaged(section.name(), "it is missing")),
    }
}

/// Whether this is more than the number of sections of a KRR register without a scope.
fn counts_scope(sections: usize) -> bool {
    sections > Section::of(Kind::Krr, false).count()
}

/// Whether a file begins as a register file with a scope does.
pub(crate) fn has_scope(beginning: &[u8]) -> bool {
    let field = |at: usize| beginning.get(at..).map_or(0, |rest| u32_at(rest, 0));
    match field(header::VERSION) {
        _ if !beginning.starts_with(&MAGIC) => false,
        ANSWERS => true,
        VERSION => counts_scope(field(header::SECTIONS) as usize),
        _ => false,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
