//! Writing a register file.

use super::format::{self, ALIGNMENT, ENTRY_BYTES, Entry, HEADER_BYTES, Header, Section};
use crate::consent::RuleTable;
use crate::files;
use crate::index::{Block, BlockHasher, BuiltIndex, OwnedCodes, stored_directory};
use crate::limits::BLOCK_ORDINALS;
use crate::register::contact::Contact;
use crate::register::moment::{self, NO_NANOSECONDS, NO_SECONDS};
use crate::register::state::State;
use crate::register::{Actors, Kind, Scope};
use jiff::Timestamp;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

/// A register to be written.
pub(crate) struct Draft<'a> {
    pub(crate) sequence: u64,
    pub(crate) as_of: Timestamp,
    pub(crate) actors: Actors,
    pub(crate) states: Vec<State>,
    pub(crate) index: BuiltIndex,
    pub(crate) rules: RuleTable,
    pub(crate) cold: ColdDraft<'a>,
    /// What was asked of an official register, and when each record was answered.
    pub(crate) scope: Option<(Scope, AnswerTimes)>,
}

/// When each record was answered: the times of a call's records are equal.
#[derive(Default)]
pub(crate) struct AnswerTimes {
    /// Seconds since 1970, and how many records they are of.
    runs: Vec<(u32, u32)>,
}

impl AnswerTimes {
    /// Adds the time of the next record, in seconds since 1970.
    pub(crate) fn push(&mut self, seconds: u32) {
        match self.runs.last_mut() {
            Some((last, count)) if *last == seconds => *count += 1,
            _ => self.runs.push((seconds, 1)),
        }
    }

    /// The times in ascending order of the records, equal ones of successive records once.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = i64> {
        self.runs.iter().map(|(seconds, _)| i64::from(*seconds))
    }

    /// The number of records.
    pub(crate) fn len(&self) -> u64 {
        self.runs.iter().map(|(_, count)| u64::from(*count)).sum()
    }
}

/// The cold columns of a draft. Element 0 of each array is reserved for absent recipients.
pub(crate) enum ColdDraft<'a> {
    /// FaR.
    Far { last_registration: Times, last_sender_accept_change: Times },
    /// KRR. `places`: the length of each contact; when the draft is written, its offset in the contacts of its block.
    Krr { contacts: ContactsDraft<'a>, places: Vec<u32>, certificates: Vec<String> },
}

/// Where the packed contacts of a draft are.
pub(crate) enum ContactsDraft<'a> {
    Packed(PackedContacts),
    /// Elsewhere, because they take much memory.
    Streamed(Box<dyn StreamedContacts + 'a>),
}

/// Packed contacts that are read when the register is written.
pub(crate) trait StreamedContacts {
    /// Calls `each` with the contacts in the order of the records, from record 1 on. `certificates`: those of the draft,
    /// whose indexes the contacts have.
    fn for_each(
        &mut self,
        certificates: &[String],
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()>;
}

impl Draft<'_> {
    /// Writes the file under a temporary name, makes it durable, and renames it. Returns its length.
    pub(crate) fn write(self, path: impl AsRef<Path>) -> io::Result<u64> {
        files::replace(path.as_ref(), |file| self.write_to(file))
    }

    /// Writes the bytes of the file.
    pub(crate) fn write_to(mut self, file: impl Write + Seek + Send) -> io::Result<()> {
        self.seal();
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut out = Output { file, offset: 0, entries: Vec::new() };
        self.sections(&mut out)?;
        out.file.flush()
    }

    /// Sets the fields of the blocks that depend on other columns, and the checksums.
    fn seal(&mut self) {
        let BuiltIndex { blocks, directory, .. } = &mut self.index;
        match &mut self.cold {
            ColdDraft::Krr { places, .. } => {
                let mut first = 0;
                for block in &mut *blocks {
                    let mut bytes = 0;
                    for place in &mut places[records(block)] {
                        let length = std::mem::replace(place, bytes);
                        bytes += length;
                    }
                    (block.first_contact, block.contact_bytes) = (first, u64::from(bytes));
                    first += u64::from(bytes);
                }
                blocks[0].first_contact = 0;
            }
            ColdDraft::Far { last_registration, last_sender_accept_change } => {
                for (entry, number) in directory.iter().enumerate().filter(|(_, number)| **number != 0) {
                    let block = &mut blocks[*number as usize];
                    let mut hasher = BlockHasher::new(entry);
                    hasher.update(last_registration.bytes(records(block)));
                    hasher.update(last_sender_accept_change.bytes(records(block)));
                    block.cold_sum = hasher.sum();
                }
            }
        }
        self.index.seal();
    }

    fn sections<W: Write + Seek + Send>(&mut self, out: &mut Output<W>) -> io::Result<()> {
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
        let mut has_validated = false;
        match &mut self.cold {
            ColdDraft::Far { last_registration, last_sender_accept_change } => {
                out.times(Section::LastRegistration, last_registration)?;
                out.times(Section::LastSenderAcceptChange, last_sender_accept_change)?;
            }
            ColdDraft::Krr { contacts, places, certificates } => {
                out.array(Section::ContactPlaces, places)?;
                let mut sums = ContactSums::of(&mut self.index, places);
                out.streamed(Section::Contacts, |write| {
                    contacts.for_each(certificates, &mut |contact| {
                        sums.update(contact);
                        has_validated |= Contact::has_validated(contact);
                        write(contact)
                    })
                })?;
                out.rewrite(Section::Blocks, bytemuck::cast_slice(&self.index.blocks))?;
                let ends = certificates.iter().scan(0, |end, text| {
                    *end += text.len() as u64;
                    Some(*end)
                });
                out.array(Section::CertificateEnds, &ends.collect::<Vec<u64>>())?;
                out.pieces(Section::Certificates, 1, certificates.iter().map(|text| text.as_bytes()))?;
            }
        }
        if let Some((scope, answered)) = &self.scope {
            let scope = rkyv::to_bytes::<rkyv::rancor::Error>(scope).map_err(io::Error::other)?;
            out.array::<u8>(Section::Scope, &scope)?;
            out.section(Section::Answered, size_of::<u32>() as u32, |section| {
                // Element 0 is reserved.
                section.write_all(&[0; 4])?;
                let mut times = answered.runs.iter();
                times.try_for_each(|(seconds, count)| {
                    (0..*count).try_for_each(|_| section.write_all(&seconds.to_le_bytes()))
                })
            })?;
        }
        out.head(Header {
            kind,
            has_scope: self.scope.is_some(),
            has_validated,
            sequence: self.sequence,
            as_of: moment::nanoseconds(self.as_of).unwrap_or(0),
            file_bytes: out.offset,
            recipients: self.index.codes.as_codes().len() as u64 - 1,
        })
    }
}

/// The checksums [`Block::cold_sum`] of KRR, as [`crate::register::cold::Cold::sum`] computes them.
struct ContactSums<'d> {
    blocks: &'d mut [Block],
    places: &'d [u32],
    /// The index in the directory of each block.
    entries: Vec<usize>,
    /// The numbers of the blocks that are not complete, in descending order of their records.
    open: Vec<usize>,
    hasher: BlockHasher,
    /// Records of the last open block whose contacts are missing.
    missing: u32,
}

impl ContactSums<'_> {
    fn of<'d>(index: &'d mut BuiltIndex, places: &'d [u32]) -> ContactSums<'d> {
        let blocks = &mut *index.blocks;
        let mut entries = vec![0; blocks.len()];
        index.directory.iter().enumerate().for_each(|(entry, number)| entries[*number as usize] = entry);
        let mut open: Vec<usize> = (0..blocks.len()).filter(|number| blocks[*number].records > 0).collect();
        open.sort_unstable_by_key(|number| std::cmp::Reverse(blocks[*number].first_record));
        let mut sums = ContactSums { blocks, places, entries, open, hasher: BlockHasher::new(0), missing: 0 };
        sums.begin();
        sums
    }

    /// Begins the last open block.
    fn begin(&mut self) {
        if let Some(&number) = self.open.last() {
            let block = &self.blocks[number];
            self.missing = block.records;
            self.hasher = BlockHasher::new(self.entries[number]);
            self.hasher.update(bytemuck::cast_slice(&self.places[records(block)]));
        }
    }

    /// Adds the contact of the next record.
    fn update(&mut self, contact: &[u8]) {
        self.hasher.update(contact);
        self.missing = self.missing.saturating_sub(1);
        if let (0, Some(number)) = (self.missing, self.open.last()) {
            self.blocks[*number].cold_sum = self.hasher.sum();
            self.open.pop();
            self.begin();
        }
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
    /// Offset and length of the contact of each record from 1 on.
    pub(crate) pieces: Vec<(u64, u32)>,
}

impl PackedContacts {
    /// The packed contact at an offset.
    pub(crate) fn packed(&self, start: u64, length: u32) -> &[u8] {
        &self.bytes[start as usize..start as usize + length as usize]
    }
}

impl ContactsDraft<'_> {
    fn for_each(
        &mut self,
        certificates: &[String],
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            ContactsDraft::Packed(packed) => {
                packed.pieces.iter().try_for_each(|&(start, length)| each(packed.packed(start, length)))
            }
            ContactsDraft::Streamed(streamed) => streamed.for_each(certificates, each),
        }
    }
}

/// Writes a file section by section.
struct Output<W: Write> {
    file: BufWriter<W>,
    offset: u64,
    entries: Vec<Entry>,
}

/// Writes and hashes the bytes of a section.
struct SectionWriter<'o, W: Write> {
    file: &'o mut BufWriter<W>,
    hasher: blake3::Hasher,
    /// Small pieces that are to be hashed together, which is several times faster.
    pieces: Vec<u8>,
    bytes: u64,
}

/// Bytes that are hashed at a time, at least.
const HASHED_BYTES: usize = 1 << 16;
/// Bytes of a piece of a streamed section, and most pieces that are made before one is written.
const STREAMED_BYTES: usize = 1 << 18;
const STREAMED_AHEAD: usize = 4;

impl<W: Write> SectionWriter<'_, W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.pieces.len() + bytes.len() < HASHED_BYTES {
            self.pieces.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.pieces);
        self.file.write_all(&self.pieces)?;
        self.pieces.clear();
        Ok(())
    }
}

impl<W: Write + Seek + Send> Output<W> {
    fn array<T: bytemuck::Pod>(&mut self, section: Section, values: &[T]) -> io::Result<()> {
        self.pieces(section, size_of::<T>() as u32, std::iter::once(bytemuck::cast_slice(values)))
    }

    fn times(&mut self, section: Section, times: &Times) -> io::Result<()> {
        match times {
            Times::None { records, .. } => {
                let pieces = (0..*records).step_by(NO_TIMES.len());
                let pieces = pieces.map(|from| &NO_TIMES[..NO_TIMES.len().min(records - from)]);
                self.pieces(section, size_of::<u32>() as u32, pieces.map(bytemuck::cast_slice))
            }
            Times::Seconds(times) => self.array(section, times),
            Times::Nanoseconds(times) => self.array(section, times),
        }
    }

    /// Writes a section, the concatenation of `pieces`.
    fn pieces<'a>(
        &mut self,
        section: Section,
        width: u32,
        mut pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        self.section(section, width, |out| pieces.try_for_each(|piece| out.write_all(piece)))
    }

    /// Writes a section with the bytes that `write` writes.
    fn section(
        &mut self,
        section: Section,
        width: u32,
        write: impl FnOnce(&mut SectionWriter<'_, W>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.zeros(self.offset.next_multiple_of(ALIGNMENT) - self.offset)?;
        let (hasher, pieces) = (blake3::Hasher::new(), Vec::new());
        let mut writer = SectionWriter { file: &mut self.file, hasher, pieces, bytes: 0 };
        write(&mut writer)?;
        writer.flush()?;
        let (bytes, sum) = (writer.bytes, *writer.hasher.finalize().as_bytes());
        self.entries.push(Entry { section, width, offset: self.offset, bytes, sum });
        self.offset += bytes;
        Ok(())
    }

    /// Writes a section of bytes whose small pieces `make` passes to its argument. Another thread hashes and writes them, which
    /// takes as long as to make them.
    fn streamed(
        &mut self,
        section: Section,
        make: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.section(section, 1, |out| {
            let (sender, filled) = sync_channel::<Vec<u8>>(STREAMED_AHEAD);
            let (emptied, empty) = channel::<Vec<u8>>();
            thread::scope(|scope| {
                let writer = thread::Builder::new().spawn_scoped(scope, move || {
                    filled.into_iter().try_for_each(|mut piece| {
                        out.write_all(&piece)?;
                        piece.clear();
                        // The other end is gone once everything is made.
                        let _ = emptied.send(piece);
                        Ok(())
                    })
                })?;
                let mut piece = Vec::with_capacity(STREAMED_BYTES);
                let made = make(&mut |bytes| {
                    if piece.len() + bytes.len() > STREAMED_BYTES {
                        let next = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(STREAMED_BYTES));
                        // Fails after an error of the writer, which is the one that is returned.
                        let sent = sender.send(std::mem::replace(&mut piece, next));
                        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
                    }
                    piece.extend_from_slice(bytes);
                    Ok(())
                });
                // As above.
                let _ = sender.send(piece);
                drop(sender);
                writer.join().unwrap_or_else(|panic| resume_unwind(panic)).and(made)
            })
        })
    }

    /// Writes other bytes of the same number in the place of a section.
    fn rewrite(&mut self, section: Section, bytes: &[u8]) -> io::Result<()> {
        for entry in self.entries.iter_mut().filter(|entry| entry.section == section) {
            self.file.seek(SeekFrom::Start(entry.offset))?;
            self.file.write_all(bytes)?;
            entry.sum = *blake3::hash(bytes).as_bytes();
        }
        self.file.seek(SeekFrom::Start(self.offset))?;
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
