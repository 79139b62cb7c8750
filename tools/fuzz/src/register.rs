//! Register files that were changed, with checksums that are right again.
//!
//! Random bytes fail at the first checksum, so an input is a list of changes of a file. The author of a file can
//! compute checksums too.

use crate::data::{DATE, head, new_directory, of};
use nabar::extract::export;
use nabar::register::{Damage, QuestionError};
use nabar::{Identity, Register, Snapshot, Today};
use std::fs;

const HEADER_BYTES: usize = 128;
const ENTRY_BYTES: usize = 64;
/// Offsets of sums, in the header and in an entry of the section table.
const TABLE_SUM: usize = 64;
const HEADER_SUM: usize = 96;
const SECTION_SUM: usize = 24;
/// Numbers of sections.
const BLOCKS: u32 = 4;

/// A changed byte or number.
const CHANGE_BYTES: usize = 6;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_le_bytes(four.try_into().expect("four bytes")))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |eight| u64::from_le_bytes(eight.try_into().expect("eight bytes")))
}

/// The ranges of the sections, as far as they are in the file: number, entry, first byte, end.
fn sections(bytes: &[u8]) -> Vec<(u32, usize, usize, usize)> {
    let entries = (0..u32_at(bytes, 48).min(32) as usize).map(|place| HEADER_BYTES + place * ENTRY_BYTES);
    let section = |entry: usize| {
        let (first, length) = (u64_at(bytes, entry + 8) as usize, u64_at(bytes, entry + 16) as usize);
        let end = first.checked_add(length).filter(|&end| end <= bytes.len())?;
        Some((u32_at(bytes, entry), entry, first, end))
    };
    entries.filter_map(section).collect()
}

/// A part of the file that changes are in: the header with the table, or a section.
fn place(bytes: &[u8], part: u8, offset: usize) -> Option<usize> {
    let sections = sections(bytes);
    let (first, end) = match usize::from(part) % (sections.len() + 1) {
        0 => (0, HEADER_BYTES + sections.len() * ENTRY_BYTES),
        place => (sections[place - 1].2, sections[place - 1].3),
    };
    // Most of the directory is zeros; changes near the ends of a part matter most.
    (first < end).then(|| first + offset % (end - first))
}

/// Changes a file as an input says.
fn change(bytes: &mut [u8], changes: &[u8]) {
    for change in changes.chunks_exact(CHANGE_BYTES) {
        let offset = usize::from(change[1]) | usize::from(change[2]) << 8;
        let Some(at) = place(bytes, change[0], offset) else { continue };
        let value = [change[4], change[5]];
        match change[3] % 6 {
            0 => bytes[at] = value[0],
            1 => bytes[at] ^= 1 << (value[0] % 8),
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes[at] = bytes[at].wrapping_sub(1),
            4 if at + 2 <= bytes.len() => bytes[at..at + 2].copy_from_slice(&value),
            _ => {
                let end = bytes.len().min(at + 4);
                bytes[at..end].fill(value[0]);
            }
        }
    }
}

/// Corrects the sums of the blocks, as `docs/format.md` defines them.
fn seal_blocks(bytes: &mut [u8]) {
    let sections = sections(bytes);
    let range =
        |number: u32| sections.iter().find(|section| section.0 == number).map(|section| section.2..section.3);
    let width = |number: u32| {
        sections
            .iter()
            .find(|section| section.0 == number)
            .map_or(1, |section| u32_at(bytes, section.1 + 4) as usize)
    };
    let (Some(directory), Some(blocks)) = (range(3), range(BLOCKS)) else { return };
    // Elements of a column.
    let column = |number: u32, first: usize, count: usize| -> &[u8] {
        let width = width(number);
        let Some(range) = range(number) else { return &[] };
        let start = range.start.saturating_add(first.saturating_mul(width)).min(range.end);
        &bytes[start..start.saturating_add(count.saturating_mul(width)).min(range.end)]
    };
    let mut sums = Vec::new();
    for (index, entry) in bytes[directory].chunks_exact(4).enumerate() {
        let number = u32_at(entry, 0) as usize;
        let at = blocks.start + number * 64;
        if number == 0 || at + 64 > blocks.end {
            continue;
        }
        let field = |place: usize| u32_at(bytes, at + place) as usize;
        let (first, records, exception, exceptions) = (field(0), field(4), field(8), field(12));
        let contacts = (u64_at(bytes, at + 16) as usize, u64_at(bytes, at + 24) as usize);
        let index = (index as u32).to_le_bytes();
        let hot = [
            &index[..],
            &bytes[at..at + 32],
            column(5, number * 32, 32),
            column(6, first, records),
            column(7, exception, exceptions),
            column(8, exception, exceptions),
        ];
        let cold = [
            &index[..],
            column(11, first, records),
            column(12, first, records),
            column(13, first, records),
            column(14, contacts.0, contacts.1),
        ];
        let sum = |parts: &[&[u8]]| xxhash_rust::xxh3::xxh3_128(&parts.concat()).to_le_bytes();
        sums.push((at, sum(&hot), sum(&cold)));
    }
    for (at, hot, cold) in sums {
        bytes[at + 32..at + 48].copy_from_slice(&hot);
        bytes[at + 48..at + 64].copy_from_slice(&cold);
    }
}

/// Corrects the sums of sections, table and header.
fn seal(bytes: &mut [u8]) {
    let sections = sections(bytes);
    for &(_, entry, first, end) in &sections {
        let sum = blake3::hash(&bytes[first..end]);
        bytes[entry + SECTION_SUM..entry + SECTION_SUM + 32].copy_from_slice(sum.as_bytes());
    }
    let table_end = HEADER_BYTES + u32_at(bytes, 48).min(32) as usize * ENTRY_BYTES;
    let sum = blake3::hash(&bytes[HEADER_BYTES..table_end.min(bytes.len())]);
    bytes[TABLE_SUM..TABLE_SUM + 32].copy_from_slice(sum.as_bytes());
    let sum = blake3::hash(&bytes[..HEADER_SUM]);
    bytes[HEADER_SUM..HEADER_SUM + 32].copy_from_slice(sum.as_bytes());
}

/// Reads everything that a register has; the first damage.
fn read_all(register: &Register, ids: &[String]) -> Result<(), String> {
    let today = Today::from_date(DATE).expect("a day");
    let identities: Vec<Identity> = ids
        .iter()
        .filter_map(|id| Identity::parse(id.as_bytes(), register.kind().country(), today).ok())
        .collect();
    let mut senders: Vec<Option<&str>> =
        register.senders().iter().take(8).map(|sender| Some(&*sender.id)).collect();
    if senders.is_empty() {
        senders.push(None);
    }
    let mut damage = Ok(());
    let mut note = |found: Result<(), String>| {
        if damage.is_ok() {
            damage = found;
        }
    };
    for sender in senders {
        match register.question(sender, DATE) {
            // An id that is not one: no question can name it.
            Err(QuestionError::SenderUnknown) => {}
            Err(error) => note(Err(format!("a question of {sender:?}: {error}"))),
            Ok(question) => {
                for identity in &identities {
                    match question.ask(identity) {
                        Err(error) => note(Err(format!("an answer: {error}"))),
                        Ok(outcome) => _ = outcome.operator().map(|operator| &register.operator(operator).id),
                    }
                }
            }
        }
    }
    for identity in &identities {
        note(register.recipient(identity).map(drop).map_err(|error| format!("a recipient: {error}")));
    }
    let visited = register.for_each(|_, _| Ok::<(), Damage>(()));
    note(visited.map_err(|error| format!("all recipients: {error}")));
    note(register.content().map(drop).map_err(|error| format!("the content: {error}")));
    damage
}

/// The first byte chooses the register and which sums are corrected, the rest are changes of six bytes.
pub(crate) fn run(data: &[u8]) {
    let ([choice], changes) = head::<1>(data);
    let known = of(choice & 1 != 0);
    let mut bytes = fs::read(&known.file).expect("the file");
    change(&mut bytes, changes);
    if choice & 2 != 0 && choice & 4 == 0 {
        let cut = usize::from(choice) * 64 + changes.len();
        bytes.truncate(bytes.len().saturating_sub(cut));
    }
    if choice & 8 == 0 && bytes.len() > HEADER_BYTES {
        seal_blocks(&mut bytes);
        seal(&mut bytes);
    }
    let Ok(snapshot) = Snapshot::from_bytes(&bytes) else { return };
    let findings = snapshot.verify();
    let register = snapshot.register();
    let read = match &register {
        Ok(register) => read_all(register, &known.model.ids),
        Err(error) => Err(error.to_string()),
    };
    if findings.is_empty() {
        assert_eq!(read, Ok(()), "verified, and not all of it can be read");
    }
    if let Ok(register) = register
        && choice & 0x70 == 0
    {
        let extract = new_directory();
        let exported = export(&register, &extract);
        if findings.is_empty() {
            exported.expect("verified, and it can be exported");
        }
        let _ = fs::remove_dir_all(&extract);
    }
}
