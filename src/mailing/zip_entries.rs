//! Entries of an archive, and archives that are made of some of them.
//!
//! An entry's bytes are copied as they are: its header with the name, its data, and what describes them behind it. Nothing is
//! copied that belongs to no entry. The directory of a part repeats the records of its entries with their new places. (APPNOTE
//! 6.3, <https://pkware.com/webdocs/casestudies/APPNOTE.TXT>, sections 4.3 and 4.5.)

use super::error::ArchiveProblem;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use zip::result::ZipError;

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const RECORD: &[u8; 4] = b"PK\x01\x02";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";
/// Bytes of a header before the name, and of a record.
const LOCAL_BYTES: usize = 30;
const RECORD_BYTES: usize = 46;
/// Flag of an entry whose lengths are behind its data.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// Flags that say how data are read: encrypted, with a descriptor.
const SHAPING: u16 = 1 | HAS_DESCRIPTOR;
/// Flag of a name in UTF-8.
const UTF_8: u16 = 1 << 11;
/// The extra field with lengths and places of 8 bytes.
const EXTRA_64: u16 = 1;
/// Bytes that are written to a file at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// An entry of an archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its record in the directory.
    record: Range<usize>,
    /// Where in the record its place is, and whether that has 8 bytes.
    place_at: (usize, bool),
    /// Its header and its data.
    pub(super) bytes: Range<usize>,
    /// What describes the data behind them, if something does.
    descriptor: Range<usize>,
    flags: u16,
}

fn damaged(what: &'static str) -> ArchiveProblem {
    ArchiveProblem::Zip(ZipError::InvalidArchive(what.into()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The content of the extra field with numbers of 8 bytes, which is a part of `extra`.
fn extra_64(bytes: &[u8], mut extra: Range<usize>) -> Option<Range<usize>> {
    while extra.len() >= 4 {
        let (kind, length) = (u16_at(bytes, extra.start)?, usize::from(u16_at(bytes, extra.start + 2)?));
        let content = extra.start + 4..extra.start + 4 + length;
        if content.end > extra.end {
            return None;
        }
        if kind == EXTRA_64 {
            return Some(content);
        }
        extra.start = content.end;
    }
    None
}

/// The entries of an archive, whose directory begins at `directory`, in its order.
///
/// Errors: a record or a header is damaged, or has another name than the other; entries have bytes in common.
pub(super) fn entries(bytes: &[u8], directory: usize, count: usize) -> Result<Vec<Entry>, ArchiveProblem> {
    let mut entries = Vec::with_capacity(count.min(bytes.len() / RECORD_BYTES));
    let mut at = directory;
    for _ in 0..count {
        let entry = record(bytes, at, directory).ok_or(damaged("a record of the directory is damaged"))??;
        at = entry.record.end;
        entries.push(entry);
    }
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_unstable_by_key(|entry| entry.bytes.start);
    match order.windows(2).all(|two| two[0].descriptor.end <= two[1].bytes.start) {
        true => Ok(entries),
        false => Err(ArchiveProblem::Overlapping),
    }
}

/// The entry of the record at `at`; `None` if the record is damaged.
fn record(bytes: &[u8], at: usize, directory: usize) -> Option<Result<Entry, ArchiveProblem>> {
    if bytes.get(at..at + 4)? != RECORD {
        return None;
    }
    let length = |offset| u16_at(bytes, at + offset).map(usize::from);
    let (name_bytes, extra_bytes, comment_bytes) = (length(28)?, length(30)?, length(32)?);
    let name = at + RECORD_BYTES..at + RECORD_BYTES + name_bytes;
    let extra = name.end..name.end + extra_bytes;
    let record = at..extra.end + comment_bytes;
    bytes.get(record.clone())?;
    // Numbers that do not fit are in an extra field, in this order.
    let mut wide = extra_64(bytes, extra).unwrap_or(0..0);
    let mut number = |offset: usize| -> Option<(u64, usize, bool)> {
        match u32_at(bytes, at + offset)? {
            u32::MAX if wide.len() >= 8 => {
                let place = wide.start;
                wide.start += 8;
                Some((u64_at(bytes, place)?, place - at, true))
            }
            number => Some((number.into(), offset, false)),
        }
    };
    let ((size, ..), (packed, ..), (header, place, is_wide)) = (number(24)?, number(20)?, number(42)?);
    let header = usize::try_from(header).ok()?;
    if bytes.get(header..header.checked_add(LOCAL_BYTES)?)?.get(..4)? != LOCAL {
        return None;
    }
    let own_name = header + LOCAL_BYTES..header + LOCAL_BYTES + usize::from(u16_at(bytes, header + 26)?);
    let own_extra = own_name.end..own_name.end + usize::from(u16_at(bytes, header + 28)?);
    if bytes.get(own_name)? != &bytes[name] {
        return Some(Err(ArchiveProblem::OtherName));
    }
    let data = own_extra.end;
    let end = usize::try_from(packed).ok().and_then(|packed| data.checked_add(packed))?;
    if end > directory {
        return None;
    }
    // The header must say the same, or leave the lengths to what is behind the data.
    let (flags, method) = (u16_at(bytes, at + 8)?, u16_at(bytes, at + 10)?);
    let described = Described { crc: u32_at(bytes, at + 16)?, packed, size };
    let mut wide = extra_64(bytes, own_extra);
    let mut own = |offset: usize| match (u32_at(bytes, header + offset)?, &mut wide) {
        (u32::MAX, Some(wide)) if wide.len() >= 8 => {
            wide.start += 8;
            u64_at(bytes, wide.start - 8)
        }
        (number, _) => Some(number.into()),
    };
    let (own_size, own_packed) = (own(22)?, own(18)?);
    let own = Described { crc: u32_at(bytes, header + 14)?, packed: own_packed, size: own_size };
    let descriptor = described.behind(bytes.get(end..directory)?).map(|length| end..end + length);
    let has_descriptor = flags & HAS_DESCRIPTOR != 0;
    let says_same = own == described || has_descriptor && descriptor.is_some();
    let is_same =
        u16_at(bytes, header + 6)? & SHAPING == flags & SHAPING && u16_at(bytes, header + 8)? == method;
    if !says_same || !is_same {
        return Some(Err(ArchiveProblem::OtherHeader));
    }
    let descriptor = descriptor.filter(|_| has_descriptor).unwrap_or(end..end);
    Some(Ok(Entry { record, place_at: (place, is_wide), bytes: header..end, descriptor, flags }))
}

/// What a header, a record or a descriptor says of an entry's data.
#[derive(PartialEq, Eq)]
struct Described {
    crc: u32,
    packed: u64,
    size: u64,
}

impl Described {
    /// Bytes of a descriptor that says the same, if `bytes` begin with one: with a signature or without, with lengths of 4 or of
    /// 8 bytes.
    fn behind(&self, bytes: &[u8]) -> Option<usize> {
        let short = [self.packed, self.size].map(|length| u32::try_from(length).map(u32::to_le_bytes));
        let long = [self.packed, self.size].map(u64::to_le_bytes).concat();
        let lengths = [Some(long), short[0].ok().zip(short[1].ok()).map(|both| [both.0, both.1].concat())];
        let forms =
            lengths.into_iter().flatten().map(|lengths| [&self.crc.to_le_bytes()[..], &lengths].concat());
        let forms = forms.flat_map(|form| [[&DESCRIPTOR[..], &form].concat(), form]);
        forms.filter(|form| bytes.starts_with(form)).map(|form| form.len()).max()
    }
}

/// An archive that is being written.
pub(super) struct PartWriter<'b> {
    /// The archive that entries are from.
    from: &'b [u8],
    to: File,
    /// What is not in the file yet.
    buffer: Vec<u8>,
    /// Bytes in the file.
    written: u64,
    /// Of what is in the file: hashed while the processor has it.
    hasher: blake3::Hasher,
    directory: Vec<u8>,
    count: u64,
}

impl<'b> PartWriter<'b> {
    pub(super) fn new(from: &'b [u8], to: File) -> PartWriter<'b> {
        let buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        let hasher = blake3::Hasher::new();
        PartWriter { from, to, buffer, written: 0, hasher, directory: Vec::new(), count: 0 }
    }

    fn at(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        for long in bytes.chunks(BUFFER_BYTES).filter(|_| bytes.len() > BUFFER_BYTES) {
            self.write(long)?;
        }
        if bytes.len() <= BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.to.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Copies an entry. Those of a part are in the order of their bytes, so that no place is higher than in the archive.
    pub(super) fn copy(&mut self, entry: &Entry) -> io::Result<()> {
        let (from, place) = (self.from, self.at());
        self.push(&from[entry.bytes.clone()])?;
        self.push(&from[entry.descriptor.clone()])?;
        let start = self.directory.len();
        self.directory.extend_from_slice(&from[entry.record.clone()]);
        let (place_at, is_wide) = entry.place_at;
        let at = start + place_at;
        match u32::try_from(place) {
            _ if is_wide => self.directory[at..at + 8].copy_from_slice(&place.to_le_bytes()),
            Ok(place) => self.directory[at..at + 4].copy_from_slice(&place.to_le_bytes()),
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        self.count += 1;
        Ok(())
    }

    /// Adds an entry with other content than in the archive, compressed.
    pub(super) fn replace(&mut self, entry: &Entry, content: &[u8]) -> io::Result<()> {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
        packed.write_all(content)?;
        let packed = packed.finish()?;
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let length = |bytes: &[u8]| {
            u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
        };
        let (packed_length, content_length) = (length(&packed)?, length(content)?);
        let (from, place) = (self.from, self.at());
        let name = &from[entry.record.start + RECORD_BYTES..];
        let name = &name[..usize::from(u16_at(from, entry.record.start + 28).unwrap_or(0))];
        let place_32 = u32::try_from(place).ok();
        let version: u16 = if place_32.is_some() { 20 } else { 45 };
        // From the version needed to the length of the name.
        let mut common = version.to_le_bytes().to_vec();
        common.extend((entry.flags & UTF_8).to_le_bytes());
        common.extend(8u16.to_le_bytes());
        common.extend(&from[entry.record.start + 12..][..4]); // time and date
        common.extend(crc.sum().to_le_bytes());
        common.extend(packed_length.to_le_bytes());
        common.extend(content_length.to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        self.push(&[LOCAL, &common[..], &[0; 2], name].concat())?;
        self.push(&packed)?;
        let extra = match place_32 {
            Some(_) => Vec::new(),
            None => [&EXTRA_64.to_le_bytes()[..], &8u16.to_le_bytes(), &place.to_le_bytes()].concat(),
        };
        self.directory.extend(RECORD);
        self.directory.extend(45u16.to_le_bytes()); // version that made it
        self.directory.extend(common);
        self.directory.extend((extra.len() as u16).to_le_bytes());
        // No comment, the first disk, and no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(place_32.unwrap_or(u32::MAX).to_le_bytes());
        self.directory.extend(name);
        self.directory.extend(extra);
        self.count += 1;
        Ok(())
    }

    /// Writes the directory, and returns the file with its length and hash.
    pub(super) fn finish(mut self) -> io::Result<(File, u64, blake3::Hash)> {
        let (place, directory) = (self.at(), std::mem::take(&mut self.directory));
        self.push(&directory)?;
        let (bytes, count) = (directory.len() as u64, self.count);
        let is_wide = count >= u64::from(u16::MAX) || place.max(bytes) >= u64::from(u32::MAX);
        let mut end = Vec::with_capacity(98);
        if is_wide {
            let record = self.at();
            end.extend(END_64);
            end.extend(44u64.to_le_bytes()); // bytes that follow
            end.extend([45u16, 45].map(u16::to_le_bytes).concat());
            end.extend([0; 8]); // the first disk
            end.extend([count, count, bytes, place].map(u64::to_le_bytes).concat());
            end.extend(LOCATOR_64);
            end.extend([0; 4]);
            end.extend(record.to_le_bytes());
            end.extend(1u32.to_le_bytes());
        }
        let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let count = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
        end.extend(END);
        end.extend([0; 4]);
        end.extend([count, count].concat());
        end.extend([short(bytes), short(place)].concat());
        end.extend([0; 2]);
        self.push(&end)?;
        self.flush()?;
        Ok((self.to, self.written, self.hasher.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipArchive, ZipWriter};

    /// An archive with entries of all kinds.
    fn archive(stream: bool) -> Vec<u8> {
        let write = |writer: &mut ZipWriter<Box<dyn Target>>| {
            for number in 0..20 {
                let method =
                    [CompressionMethod::Stored, CompressionMethod::Deflated][usize::from(number % 3 == 0)];
                let options =
                    SimpleFileOptions::default().compression_method(method).large_file(number % 4 == 0);
                writer.start_file(format!("å/{number}"), options).expect("begun");
                writer.write_all(&vec![number; usize::from(number) * 100]).expect("written");
            }
        };
        trait Target: Write + std::io::Seek {}
        impl<T: Write + std::io::Seek> Target for T {}
        let path = tempfile::NamedTempFile::new().expect("a file");
        let file: Box<dyn Target> = Box::new(path.reopen().expect("open"));
        let mut writer = ZipWriter::new(file);
        write(&mut writer);
        writer.finish().expect("an archive");
        let bytes = std::fs::read(path.path()).expect("read");
        if !stream {
            return bytes;
        }
        // As programs write that cannot go back: lengths are behind the data.
        let mut out = zip::write::ZipWriter::new_stream(Vec::new());
        let mut from = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
        for index in 0..from.len() {
            let mut entry = from.by_index(index).expect("an entry");
            let name = entry.name().expect("a name").into_owned();
            out.start_file(name, SimpleFileOptions::default()).expect("begun");
            io::copy(&mut entry, &mut out).expect("copied");
        }
        out.finish().expect("an archive").into_inner()
    }

    fn contents(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
        (0..archive.len())
            .map(|index| {
                let mut entry = archive.by_index(index).expect("an entry");
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("read");
                (entry.name().expect("a name").into_owned(), content)
            })
            .collect()
    }

    fn directory_of(bytes: &[u8]) -> (usize, usize) {
        let archive = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
        (archive.central_directory_start() as usize, archive.len())
    }

    #[test]
    fn parts_have_their_entries() {
        for bytes in [archive(false), archive(true)] {
            let all = contents(&bytes);
            let (directory, count) = directory_of(&bytes);
            let entries = entries(&bytes, directory, count).expect("entries");
            let file = tempfile::NamedTempFile::new().expect("a file");
            let mut part = PartWriter::new(&bytes, file.reopen().expect("open"));
            for index in [1, 4, 5, 19] {
                part.copy(&entries[index]).expect("copied");
            }
            part.replace(&entries[3], b"another content").expect("added");
            let (_, length, hash) = part.finish().expect("finished");
            let part = std::fs::read(file.path()).expect("read");
            assert_eq!((part.len() as u64, blake3::hash(&part)), (length, hash));
            let mut expected: Vec<_> = [1, 4, 5, 19].map(|index| all[index].clone()).to_vec();
            expected.push((all[3].0.clone(), b"another content".to_vec()));
            assert_eq!(contents(&part), expected);
            // A part is an archive like any other.
            let (directory, count) = directory_of(&part);
            assert_eq!(super::entries(&part, directory, count).expect("entries").len(), 5);
        }
    }

    #[test]
    fn entries_whose_header_says_something_else_are_refused() {
        for is_stream in [false, true] {
            let bytes = archive(is_stream);
            let (directory, count) = directory_of(&bytes);
            let entry = &entries(&bytes, directory, count).expect("entries")[5];
            let (start, end) = (entry.bytes.start, entry.bytes.end);
            // Method; checksum and lengths, or those behind the data.
            let lengths = if is_stream { end + 4..entry.descriptor.end } else { start + 14..start + 26 };
            for at in lengths.chain([start + 8, start + 6]) {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                let found = entries(&changed, directory, count);
                assert!(matches!(found, Err(ArchiveProblem::OtherHeader)), "{at}");
            }
        }
    }

    #[test]
    fn parts_of_more_entries_than_16_bits_count_are_whole() {
        let mut out = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for number in 0..(1 << 16) + 3 {
            out.start_file(number.to_string(), stored).expect("begun");
        }
        let bytes = out.finish().expect("an archive").into_inner();
        let (directory, count) = directory_of(&bytes);
        let entries = entries(&bytes, directory, count).expect("entries");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut part = PartWriter::new(&bytes, file.reopen().expect("open"));
        entries.iter().skip(1).for_each(|entry| part.copy(entry).expect("copied"));
        part.replace(&entries[0], b"index").expect("added");
        part.finish().expect("finished");
        let part = std::fs::read(file.path()).expect("read");
        let mut read = ZipArchive::new(Cursor::new(&part[..])).expect("an archive");
        assert_eq!(read.len(), count);
        let mut content = String::new();
        read.by_name("0").expect("the index").read_to_string(&mut content).expect("text");
        assert_eq!(content, "index");
    }

    #[test]
    fn damaged_directories_are_errors() {
        let bytes = archive(false);
        let (directory, count) = directory_of(&bytes);
        for at in 0..bytes.len() {
            for with in [0x00, 0xFF, bytes[at] ^ 1] {
                let mut changed = bytes.clone();
                changed[at] = with;
                // An error, or entries that can be copied.
                let Ok(entries) = entries(&changed, directory, count) else { continue };
                assert!(entries.iter().all(|entry| changed.get(entry.bytes.clone()).is_some()));
            }
        }
        assert!(entries(&bytes, directory, count + 1).is_err());
        assert!(entries(&bytes[..bytes.len() - 100], directory, count).is_err());
        assert!(entries(&bytes, usize::MAX - 10, 1).is_err());
    }
}
