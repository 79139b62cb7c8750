//! The register file, byte by byte. `docs/format.md` says the same in words; a test holds them together.
//!
//! Header (128 bytes), section table (64 bytes a section), sections. All numbers are little-endian.
//! Every section begins at a multiple of 4096; the bytes between are zero.

use crate::register::Kind;

/// First eight bytes of every register file. The line ends and the end-of-file character are there to
/// be damaged by whatever treats the file as text.
pub const MAGIC: [u8; 8] = *b"nabar\r\n\x1a";
/// The format that this version writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 128;
/// Bytes of an entry of the section table.
pub const ENTRY_BYTES: usize = 64;
/// Every section begins at a multiple of this.
pub const ALIGNMENT: u64 = 4096;

/// Where the parts of the header are: first byte of each.
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

/// Where the parts of an entry of the section table are: first byte of each.
pub(crate) mod entry {
    pub(crate) const SECTION: usize = 0;
    pub(crate) const WIDTH: usize = 4;
    pub(crate) const OFFSET: usize = 8;
    pub(crate) const BYTES: usize = 16;
    pub(crate) const SUM: usize = 24;
}

/// A section by its number in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
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
}

use Section::*;

/// Sections of every register.
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

impl Section {
    /// The sections of a register of a kind, in the order of the file.
    pub fn of_kind(kind: Kind) -> impl Iterator<Item = Section> {
        let own: &[Section] = match kind {
            Kind::Far => &FAR,
            Kind::Krr => &KRR,
        };
        COMMON.into_iter().chain(own.iter().copied())
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
        }
    }

    /// Bytes an element may have.
    pub const fn widths(self) -> &'static [u32] {
        match self {
            Actors | Contacts | Certificates => &[1],
            States | CertificateEnds => &[8],
            Directory | ExceptionRules | RuleHeads | ContactPlaces => &[4],
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
    /// Which section.
    pub section: Section,
    /// Bytes of an element.
    pub width: u32,
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of those bytes.
    pub sum: [u8; 32],
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which register.
    pub kind: Kind,
    /// Number of the last change in it.
    pub sequence: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z for which it speaks.
    pub as_of: i64,
    /// Length of the file.
    pub file_bytes: u64,
    /// Number of recipients.
    pub recipients: u64,
}

/// Header and section table of a file.
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
    put(&mut bytes, header::VERSION, &VERSION.to_le_bytes());
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

/// Why bytes are no register file that this version can use.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] std::io::Error),
    /// Something else altogether.
    #[error("this is no register file: make one with `nabar build`")]
    Foreign,
    /// A newer format.
    #[error("the file has format version {found}, this nabar reads up to {VERSION}: use a newer nabar")]
    Version {
        /// The version that the file names.
        found: u32,
    },
    /// Shorter or longer than it was written.
    #[error(
        "the file has {found} bytes and should have {expected}: it was cut off or added to; copy it again"
    )]
    Length {
        /// What the header says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// A checksum or a rule of the format does not hold.
    #[error("the {part} is damaged: {finding}; copy the file again or rebuild it")]
    Damaged {
        /// Which part of the file.
        part: &'static str,
        /// What does not hold.
        finding: &'static str,
    },
}

pub(crate) fn damaged(part: &'static str, finding: &'static str) -> OpenError {
    OpenError::Damaged { part, finding }
}

/// Reads header and section table, and checks them.
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
        return Err(damaged("header", "its checksum does not hold"));
    }
    let kind = match (version, u32_at(bytes, header::KIND)) {
        (VERSION, 1) => Kind::Far,
        (VERSION, 2) => Kind::Krr,
        _ => return Err(damaged("header", "it names a format or a register that does not exist")),
    };
    let header = Header {
        kind,
        sequence: u64_at(bytes, header::SEQUENCE),
        as_of: u64_at(bytes, header::AS_OF) as i64,
        file_bytes: u64_at(bytes, header::FILE_BYTES),
        recipients: u64_at(bytes, header::RECIPIENTS),
    };
    if header.file_bytes != length {
        return Err(OpenError::Length { expected: header.file_bytes, found: length });
    }
    let count = u32_at(bytes, header::SECTIONS) as usize;
    let table = file.get(HEADER_BYTES..).and_then(|rest| rest.get(..count.checked_mul(ENTRY_BYTES)?));
    let table = table.ok_or(damaged("section table", "it is longer than the file"))?;
    if blake3::hash(table) != bytes[header::TABLE_SUM..header::TABLE_SUM + 32] {
        return Err(damaged("section table", "its checksum does not hold"));
    }
    Ok((header, entries(table, kind, length)?))
}

fn entries(table: &[u8], kind: Kind, length: u64) -> Result<Vec<Entry>, OpenError> {
    let mut entries = Vec::new();
    let mut sections = Section::of_kind(kind);
    for bytes in table.chunks_exact(ENTRY_BYTES) {
        let section = sections.next().filter(|&section| section as u32 == u32_at(bytes, entry::SECTION));
        let section =
            section.ok_or(damaged("section table", "its sections are not those of the register"))?;
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
        if end.is_none_or(|end| end > length) || !entry.offset.is_multiple_of(ALIGNMENT) {
            return Err(damaged(section.name(), "it does not lie within the file"));
        }
        if !section.widths().contains(&entry.width) || !entry.bytes.is_multiple_of(u64::from(entry.width)) {
            return Err(damaged(section.name(), "its elements have no such width"));
        }
        entries.push(entry);
    }
    match sections.next() {
        None => Ok(entries),
        Some(section) => Err(damaged(section.name(), "it is missing")),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
