//! Writing a register file.

use super::format::{self, ALIGNMENT, ENTRY_BYTES, Entry, HEADER_BYTES, Header, Section};
use crate::consent::RuleTable;
use crate::files;
use crate::index::{Block, BlockHasher, BuiltIndex, OwnedCodes, stored_directory};
use crate::limits::BLOCK_ORDINALS;
use crate::register::moment::{self, NO_NANOSECONDS, NO_SECONDS};
use crate::register::state::State;
use crate::register::{Actors, Kind, Scope};
use jiff::Timestamp;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A register to be written.
pub(crate) struct Draft {
    pub(crate) sequence: u64,
    pub(crate) as_of: Timestamp,
    pub(crate) actors: Actors,
    pub(crate) states: Vec<State>,
    pub(crate) index: BuiltIndex,
    pub(crate) rules: RuleTable,
    pub(crate) cold: ColdDraft,
    /// What was asked of an official register, and when each record was answered, in seconds since 1970.
    pub(crate) scope: Option<(Scope, Vec<u32>)>,
}

/// The cold columns of a draft. Element 0 of each array is reserved for absent recipients.
pub(crate) enum ColdDraft {
    /// FaR.
    Far { last_registration: Times, last_sender_accept_change: Times },
    /// KRR.
    Krr { contacts: PackedContacts, certificates: Vec<String> },
}

impl Draft {
    /// Writes the file under a temporary name, makes it durable, and renames it. Returns its length.
    pub(crate) fn write(self, path: impl AsRef<Path>) -> io::Result<u64> {
        files::replace(path.as_ref(), |file| self.write_to(file))
    }

    /// Writes the bytes of the file.
    pub(crate) fn write_to(mut self, file: impl Write + Seek) -> io::Result<()> {
        self.seal();
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut out = Output { file, offset: 0, entries: Vec::new() };
        self.sections(&mut out)?;
        out.file.flush()
    }

    /// Sets the fields of the blocks that depend on other columns, and the checksums.
    fn seal(&mut self) {
        if let ColdDraft::Krr { contacts, .. } = &self.cold {
            let mut first = 0;
            for block in &mut self.index.blocks {
                block.first_contact = first;
                block.contact_bytes = contacts.bytes_of(block);
                first += block.contact_bytes;
            }
            self.index.blocks[0].first_contact = 0;
        }
        self.index.seal();
        for entry in 0..self.index.directory.len() {
            let number = self.index.directory[entry] as usize;
            if number != 0 {
                self.index.blocks[number].cold_sum = self.cold.sum(entry, &self.index.blocks[number]);
            }
        }
    }

    fn sections<W: Write + Seek>(&self, out: &mut Output<W>) -> io::Result<()> {
        let kind = match self.cold {
            ColdDraft::Far { .. } => Kind::Far,
            ColdDraft::Krr { .. } => Kind::Krr,
        };
        out.zeros((HEADER_BYTES + Section::of(kind, self.scope.is_some()).count() * ENTRY_BYTES) as u64)?;
        let actors = rkyv::to_bytes::<rkyv::rancor::Error>(&self.actors).map_err(io::Error::other)?;
        out.array::<u8>(Section::Actors, &actors)?;
        out.array(Section::States, &self.states)?;
        out.array(Section::Directory, stored_directory(kind.country(), &self.index.directory))?;
        out.array(Section::Blocks, &self.index.blocks)?;
        out.array(Section::Pages, &self.index.pages)?;
        match &self.index.codes {
            OwnedCodes::One(codes) => out.array(Section::Records, codes)?,
            OwnedCodes::Two(codes) => out.array(Section::Records, codes)?,
            OwnedCodes::Four(codes) => out.array(Section::Records, codes)?,
        }
        out.array(Section::ExceptionPlaces, &self.index.exception_places)?;
        out.array(Section::ExceptionRules, &self.index.exception_rules)?;
        out.array(Section::RuleHeads, &self.rules.heads)?;
        out.array(Section::RuleMembers, &self.rules.members)?;
        match &self.cold {
            ColdDraft::Far { last_registration, last_sender_accept_change } => {
                out.times(Section::LastRegistration, last_registration)?;
                out.times(Section::LastSenderAcceptChange, last_sender_accept_change)?;
            }
            ColdDraft::Krr { contacts, certificates } => self.krr_sections(out, contacts, certificates)?,
        }
        if let Some((scope, answered)) = &self.scope {
            let scope = rkyv::to_bytes::<rkyv::rancor::Error>(scope).map_err(io::Error::other)?;
            out.array::<u8>(Section::Scope, &scope)?;
            out.array(Section::Answered, answered)?;
        }
        out.head(Header {
            kind,
            has_scope: self.scope.is_some(),
            sequence: self.sequence,
            as_of: moment::nanoseconds(self.as_of).unwrap_or(0),
            file_bytes: out.offset,
            recipients: self.index.codes.as_codes().len() as u64 - 1,
        })
    }

    fn krr_sections<W: Write + Seek>(
        &self,
        out: &mut Output<W>,
        contacts: &PackedContacts,
        certificates: &[String],
    ) -> io::Result<()> {
        let offsets: Vec<u32> =
            self.index.blocks.iter().flat_map(|block| contacts.offsets_of(block)).collect();
        out.array(Section::ContactPlaces, &[vec![0], offsets].concat())?;
        out.section(Section::Contacts, 1, (1..contacts.pieces.len()).map(|record| contacts.get(record)))?;
        let ends = certificates.iter().scan(0, |end, text| {
            *end += text.len() as u64;
            Some(*end)
        });
        out.array(Section::CertificateEnds, &ends.collect::<Vec<u64>>())?;
        out.section(Section::Certificates, 1, certificates.iter().map(|text| text.as_bytes()))
    }
}

impl ColdDraft {
    /// The checksum [`Block::cold_sum`], as [`crate::register::cold::Cold::sum`] computes it.
    fn sum(&self, entry: usize, block: &Block) -> [u8; 16] {
        let mut hasher = BlockHasher::new(entry);
        match self {
            ColdDraft::Far { last_registration, last_sender_accept_change } => {
                hasher.update(last_registration.bytes(records(block)));
                hasher.update(last_sender_accept_change.bytes(records(block)));
            }
            ColdDraft::Krr { contacts, .. } => {
                contacts.offsets_of(block).for_each(|offset| hasher.update(&offset.to_le_bytes()));
                records(block).for_each(|record| hasher.update(contacts.get(record)));
            }
        }
        hasher.sum()
    }
}

fn records(block: &Block) -> std::ops::Range<usize> {
    block.first_record as usize..(block.first_record + block.records) as usize
}

/// Times in the smallest width for all of them.
pub(crate) enum Times {
    /// No recipient has a time yet.
    None {
        records: usize,
        capacity: usize,
    },
    Seconds(Vec<u32>),
    Nanoseconds(Vec<i64>),
}

const SECOND: i64 = 1_000_000_000;
/// As many elements as a block has at most.
static NO_TIMES: [u32; BLOCK_ORDINALS as usize] = [NO_SECONDS; BLOCK_ORDINALS as usize];

impl Times {
    /// Times with the reserved element 0, and capacity for `recipients` more.
    pub(crate) fn with_capacity(recipients: usize) -> Times {
        Times::None { records: 1, capacity: recipients + 1 }
    }

    /// Adds a time: nanoseconds since 1970, or [`NO_NANOSECONDS`].
    pub(crate) fn push(&mut self, time: i64) {
        let second = match time {
            NO_NANOSECONDS => Some(NO_SECONDS),
            _ if time % SECOND == 0 => u32::try_from(time / SECOND).ok().filter(|&s| s != NO_SECONDS),
            _ => None,
        };
        match (&mut *self, second) {
            (Times::None { records, .. }, Some(NO_SECONDS)) => *records += 1,
            (Times::None { records, capacity }, _) => {
                let mut times = Vec::with_capacity(*capacity);
                times.resize(*records, NO_SECONDS);
                *self = Times::Seconds(times);
                self.push(time);
            }
            (Times::Seconds(times), Some(second)) => times.push(second),
            (Times::Nanoseconds(times), _) => times.push(time),
            (Times::Seconds(times), None) => {
                let mut finer = Vec::with_capacity(times.capacity());
                finer.extend(times.iter().map(|&second| match second {
                    NO_SECONDS => NO_NANOSECONDS,
                    second => i64::from(second) * SECOND,
                }));
                finer.push(time);
                *self = Times::Nanoseconds(finer);
            }
        }
    }

    /// The elements of a block's records.
    fn bytes(&self, records: std::ops::Range<usize>) -> &[u8] {
        match self {
            Times::None { .. } => bytemuck::cast_slice(&NO_TIMES[..records.len()]),
            Times::Seconds(times) => bytemuck::cast_slice(&times[records]),
            Times::Nanoseconds(times) => bytemuck::cast_slice(&times[records]),
        }
    }
}

/// Packed contacts, in the order of insertion; they are written in the order of the records.
#[derive(Default)]
pub(crate) struct PackedContacts {
    /// The packed contacts.
    pub(crate) bytes: Vec<u8>,
    /// Offset and length of the contact of each record.
    pub(crate) pieces: Vec<(u64, u32)>,
}

impl PackedContacts {
    /// The packed contact at an offset.
    pub(crate) fn packed(&self, start: u64, length: u32) -> &[u8] {
        &self.bytes[start as usize..start as usize + length as usize]
    }

    fn get(&self, record: usize) -> &[u8] {
        let (start, length) = self.pieces[record];
        self.packed(start, length)
    }

    fn bytes_of(&self, block: &Block) -> u64 {
        self.pieces[records(block)].iter().map(|&(_, length)| u64::from(length)).sum()
    }

    /// The offsets of the contacts of a block in the block's contact data.
    fn offsets_of(&self, block: &Block) -> impl Iterator<Item = u32> + '_ {
        self.pieces[records(block)].iter().scan(0, |next, &(_, length)| {
            let offset = *next;
            *next += length;
            Some(offset)
        })
    }
}

/// Writes a file section by section.
struct Output<W: Write> {
    file: BufWriter<W>,
    offset: u64,
    entries: Vec<Entry>,
}

impl<W: Write + Seek> Output<W> {
    fn array<T: bytemuck::Pod>(&mut self, section: Section, values: &[T]) -> io::Result<()> {
        self.section(section, size_of::<T>() as u32, std::iter::once(bytemuck::cast_slice(values)))
    }

    fn times(&mut self, section: Section, times: &Times) -> io::Result<()> {
        match times {
            Times::None { records, .. } => {
                let pieces = (0..*records).step_by(NO_TIMES.len());
                let pieces = pieces.map(|from| &NO_TIMES[..NO_TIMES.len().min(records - from)]);
                self.section(section, size_of::<u32>() as u32, pieces.map(bytemuck::cast_slice))
            }
            Times::Seconds(times) => self.array(section, times),
            Times::Nanoseconds(times) => self.array(section, times),
        }
    }

    /// Writes a section, the concatenation of `pieces`.
    fn section<'a>(
        &mut self,
        section: Section,
        width: u32,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        self.zeros(self.offset.next_multiple_of(ALIGNMENT) - self.offset)?;
        let (offset, mut hasher) = (self.offset, blake3::Hasher::new());
        for piece in pieces {
            hasher.update(piece);
            self.file.write_all(piece)?;
            self.offset += piece.len() as u64;
        }
        let sum = *hasher.finalize().as_bytes();
        self.entries.push(Entry { section, width, offset, bytes: self.offset - offset, sum });
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(count), &mut self.file)?;
        self.offset += count;
        Ok(())
    }

    fn head(&mut self, header: Header) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&format::encode(&header, &self.entries))
    }
}
