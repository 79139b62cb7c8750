//! Binary format of the change log. `docs/data-directory.md` specifies it, and a test compares the two.
//!
//! A segment is a head of 96 bytes and frames; a frame is one batch of changes: a head of 88 bytes, the
//! changes ([`crate::changes::encoding`]), and zeros up to a multiple of 8. The sum of a frame covers the sum of
//! the frame before it, so frames cannot be omitted, exchanged or moved to another log.

use crate::register::Kind;
use std::ops::Range;

/// First eight bytes of every segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"nbrlog\r\n";
/// First eight bytes of every frame.
pub const FRAME_MAGIC: [u8; 8] = *b"nbrframe";
/// The format of segments that this version begins, and the newest that it reads. Contacts of version 1 have no times of
/// validation, which programs that know only version 1 would take for damage.
pub const LOG_VERSION: u32 = 2;
/// Bytes of a segment's head.
pub const SEGMENT_HEAD_BYTES: usize = 96;
/// Bytes of a frame's head.
pub const FRAME_HEAD_BYTES: usize = 88;

/// Bytes of a frame's head that its sum covers: without the durable length, so that the same batches have the same
/// sums everywhere.
const SUMMED_HEAD_BYTES: usize = 40;

/// A sum that covers everything before it.
pub(crate) type Sum = [u8; 32];

/// Head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    /// Format version, 1 to [`LOG_VERSION`].
    pub(crate) version: u32,
    pub(crate) kind: Kind,
    /// Sequence number of the register before the first change.
    pub(crate) after: u64,
    /// The sum before the first frame.
    pub(crate) sum: Sum,
}

/// A frame and its offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Sequence number of the register before its changes.
    pub(crate) after: u64,
    /// Sequence number after them.
    pub(crate) to: u64,
    /// Number of changes.
    pub(crate) changes: u32,
    /// Bytes of the segment that were durable when it was written.
    pub(crate) durable: u64,
    /// Range of its changes in the bytes that it was read from.
    pub(crate) payload: Range<usize>,
    /// Its sum, which the next frame's sum covers.
    pub(crate) sum: Sum,
}

impl Frame {
    /// Offset of the next frame.
    pub(crate) fn end(&self) -> usize {
        self.payload.end.next_multiple_of(8)
    }
}

/// The sum before the first frame of a log: that of the header of the register file that it follows.
pub(crate) fn root_sum(header: &[u8]) -> Sum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&SEGMENT_MAGIC).update(header);
    *hasher.finalize().as_bytes()
}

pub(crate) fn encode_segment_head(head: &SegmentHead) -> [u8; SEGMENT_HEAD_BYTES] {
    let mut bytes = [0; SEGMENT_HEAD_BYTES];
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..12].copy_from_slice(&head.version.to_le_bytes());
    bytes[12..16].copy_from_slice(&kind_number(head.kind).to_le_bytes());
    bytes[16..24].copy_from_slice(&head.after.to_le_bytes());
    bytes[32..64].copy_from_slice(&head.sum);
    let sum = blake3::hash(&bytes[..64]);
    bytes[64..].copy_from_slice(sum.as_bytes());
    bytes
}

fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::Far => 1,
        Kind::Krr => 2,
    }
}

/// Why bytes are not a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSegment {
    /// The head is truncated or damaged.
    Head,
    /// A newer format.
    Version(u32),
}

pub(crate) fn decode_segment_head(bytes: &[u8]) -> Result<SegmentHead, BadSegment> {
    let head: &[u8; SEGMENT_HEAD_BYTES] = bytes.first_chunk().ok_or(BadSegment::Head)?;
    let version = u32_at(head, 8);
    if head[..8] != SEGMENT_MAGIC {
        return Err(BadSegment::Head);
    }
    if version > LOG_VERSION {
        return Err(BadSegment::Version(version));
    }
    if version == 0 || blake3::hash(&head[..64]) != head[64..] {
        return Err(BadSegment::Head);
    }
    let kind = match u32_at(head, 12) {
        1 => Kind::Far,
        2 => Kind::Krr,
        _ => return Err(BadSegment::Head),
    };
    let mut sum = [0; 32];
    sum.copy_from_slice(&head[32..64]);
    Ok(SegmentHead { version, kind, after: u64_at(head, 16), sum })
}

/// Completes a frame: `bytes` has space for the head, then the changes. Returns the frame's sum.
pub(crate) fn seal_frame(
    bytes: &mut Vec<u8>,
    after: u64,
    to: u64,
    changes: u32,
    durable: u64,
    before: &Sum,
) -> Sum {
    let payload = bytes.len() - FRAME_HEAD_BYTES;
    bytes[..8].copy_from_slice(&FRAME_MAGIC);
    bytes[8..16].copy_from_slice(&(payload as u64).to_le_bytes());
    bytes[16..24].copy_from_slice(&after.to_le_bytes());
    bytes[24..32].copy_from_slice(&to.to_le_bytes());
    bytes[32..36].copy_from_slice(&changes.to_le_bytes());
    bytes[36..40].fill(0);
    bytes[40..48].copy_from_slice(&durable.to_le_bytes());
    let head_sum = xxhash_rust::xxh3::xxh3_64(&bytes[..48]);
    bytes[48..56].copy_from_slice(&head_sum.to_le_bytes());
    let sum = frame_sum(before, &bytes[..SUMMED_HEAD_BYTES], &bytes[FRAME_HEAD_BYTES..]);
    bytes[56..88].copy_from_slice(&sum);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    sum
}

fn frame_sum(before: &Sum, head: &[u8], payload: &[u8]) -> Sum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(head);
    // On all cores if there is enough to hash.
    if payload.len() >= 1 << 20 {
        hasher.update_rayon(payload)
    } else {
        hasher.update(payload)
    };
    *hasher.finalize().as_bytes()
}

/// The head of a frame at an offset, if one begins there; its sum is not checked.
fn frame_head(segment: &[u8], at: usize) -> Option<Frame> {
    let head: &[u8; FRAME_HEAD_BYTES] = segment.get(at..)?.first_chunk()?;
    if head[..8] != FRAME_MAGIC || xxhash_rust::xxh3::xxh3_64(&head[..48]) != u64_at(head, 48) {
        return None;
    }
    let start = at + FRAME_HEAD_BYTES;
    let end = start.checked_add(usize::try_from(u64_at(head, 8)).ok()?)?;
    let mut sum = [0; 32];
    sum.copy_from_slice(&head[56..88]);
    Some(Frame {
        after: u64_at(head, 16),
        to: u64_at(head, 24),
        changes: u32_at(head, 32),
        durable: u64_at(head, 40),
        payload: start..end,
        sum,
    })
}

/// Where the sum is in the head of a frame.
pub(crate) const FRAME_SUM_OFFSET: u64 = 56;

/// The frame at an offset, if a whole one begins there that follows `before`.
pub(crate) fn frame_at(segment: &[u8], at: usize, after: u64, before: &Sum) -> Option<Frame> {
    let frame = frame_head(segment, at)?;
    let payload = segment.get(frame.payload.clone())?;
    let padding = segment.get(frame.payload.end..frame.end())?;
    let follows = frame.after == after && frame.to >= after && padding.iter().all(|&byte| byte == 0);
    let head = &segment[at..at + SUMMED_HEAD_BYTES];
    (follows && frame_sum(before, head, payload) == frame.sum).then_some(frame)
}

/// The frame at an offset, whose sum was checked before.
pub(crate) fn frame_of(segment: &[u8], at: usize) -> Option<Frame> {
    let frame = frame_head(segment, at)?;
    segment.get(frame.payload.clone())?;
    Some(frame)
}

/// Whether more bytes may complete the frame at the beginning of `rest`: without a valid head, none begins there.
pub(crate) fn may_go_on(rest: &[u8]) -> bool {
    rest.len() < FRAME_HEAD_BYTES || frame_head(rest, 0).is_some_and(|frame| frame.end() > rest.len())
}

/// Whether the rest of a segment, which begins at `at` without a whole frame, has a frame that was written when the
/// bytes at `at` were durable. Then these are damaged; otherwise they are a torn tail.
pub(crate) fn was_durable(rest: &[u8], at: u64) -> bool {
    rest.get(8..).is_some_and(|after| has_later_frame(after, at))
}

/// Whether some bytes of a segment, aligned as frames are, have the head of a frame that was written when the byte at
/// `at` was durable.
pub(crate) fn has_later_frame(bytes: &[u8], at: u64) -> bool {
    let offsets = (0..bytes.len()).step_by(8);
    offsets
        .filter(|&offset| bytes[offset..].starts_with(&FRAME_MAGIC))
        .any(|offset| frame_head(bytes, offset).is_some_and(|frame| frame.durable > at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::with_validated;
    use crate::store::{self, Lines, Reader, Writer, init, names};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    fn unpacked(name: &str) -> Vec<u8> {
        let packed = fs::read(fixture(&format!("golden/{name}.zst"))).expect("golden");
        zstd::decode_all(&packed[..]).expect("zstd")
    }

    /// The fixtures and the sequence number of their last changes.
    const NAMES: [(&str, u64); 2] = [("far", 1300), ("krr", 1100)];

    /// The changes of a fixture; for KRR with times of validation, which format 1 does not have.
    fn changes(name: &str) -> String {
        let text = fs::read_to_string(fixture(&format!("changes/{name}.jsonl"))).expect("changes");
        if name == "krr" { with_validated(&text) } else { text }
    }

    /// Applies changes to the golden register file in batches of 50; returns the log.
    fn applied(name: &str, directory: &Path) -> Vec<u8> {
        let register = directory.join("register.nabar");
        fs::write(&register, unpacked(&format!("{name}-format-1.nabar"))).expect("written");
        let data = directory.join("made");
        init(&register, &data).expect("a data directory");
        let writer = Writer::open(&data).expect("a writer");
        let text = changes(name);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for batch in lines.chunks(50) {
            writer.apply(Lines::parse(batch.concat().as_bytes(), writer.kind()), None).expect("applied");
        }
        fs::read(data.join(names::segment(1000))).expect("the log")
    }

    /// A data directory with a golden log.
    fn golden(name: &str, version: u32, directory: &Path) -> PathBuf {
        let data = directory.join(format!("golden-{version}"));
        fs::create_dir(&data).expect("directory");
        let register = unpacked(&format!("{name}-format-1.nabar"));
        fs::write(data.join(names::register(1000)), register).expect("written");
        let log = unpacked(&format!("{name}-format-{version}.log"));
        fs::write(data.join(names::segment(1000)), log).expect("written");
        data
    }

    /// Golden logs of version 2 can be read, and the same changes still make them.
    #[test]
    fn golden_logs_of_format_2() {
        for (name, last) in NAMES {
            let directory = tempfile::tempdir().expect("directory");
            let made = applied(name, directory.path());
            let data = golden(name, 2, directory.path());
            let register = Reader::open(&data).expect("opens").register();
            assert_eq!(register.sequence(), last, "{name}");
            let golden = fs::read(data.join(names::segment(1000))).expect("the log");
            assert!(made == golden, "{name}: the same changes make another log");
        }
    }

    /// Golden logs of version 1 can be read. They are not appended to: changes go to a new segment, and programs that know
    /// version 1 only can read what was before. Changes that are sent again are not others because version 1 did not keep
    /// all of their fields.
    #[test]
    fn golden_logs_of_format_1() {
        for (name, last) in NAMES {
            let directory = tempfile::tempdir().expect("directory");
            let data = golden(name, 1, directory.path());
            let before = fs::read(data.join(names::segment(1000))).expect("the log");
            let mut reader = Reader::open(&data).expect("opens");
            assert_eq!(reader.register().sequence(), last, "{name}");
            let writer = Writer::open(&data).expect("a writer");
            let mut append = |text: &str, end: u64| {
                let batch =
                    writer.apply(Lines::parse(text.as_bytes(), writer.kind()), None).expect("applied");
                assert!(reader.refresh().is_ok());
                assert_eq!((batch.to, reader.register().sequence()), (end, end), "{name}");
            };
            append(&changes(name), last);
            assert!(!data.join(names::segment(last)).exists(), "{name}: nothing was new");
            append(&removal(name, last + 1), last + 1);
            append(&removal(name, last + 2), last + 2);
            drop(writer);
            assert!(fs::read(data.join(names::segment(1000))).expect("the log") == before, "{name}");
            let next = fs::read(data.join(names::segment(last))).expect("a segment");
            let head = decode_segment_head(&next).expect("a head");
            assert_eq!((head.version, head.after), (2, last));
            assert_eq!(Reader::open(&data).expect("opens").register().sequence(), last + 2);
            let read: Vec<_> = store::changes(&data, 1000).expect("a log").collect();
            assert_eq!(read.len() as u64, last + 2 - 1000);
        }
    }

    /// A change that removes someone, who may not be in the register.
    fn removal(name: &str, sequence: u64) -> String {
        let subject = match name {
            "far" => r#""remove_recipient":{"recipient_id":"180001019801"}"#,
            _ => r#""remove_person":{"personidentifikator":"18819991495"}"#,
        };
        format!(r#"{{"sequence":{sequence},"time":"2026-06-02T00:00:00Z",{subject}}}"#)
    }

    /// An empty segment of version 1 is replaced, also under readers that have it open.
    #[test]
    fn an_empty_segment_of_format_1_is_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        let data = golden("krr", 1, directory.path());
        let segment = data.join(names::segment(1000));
        let log = fs::read(&segment).expect("the log");
        fs::write(&segment, &log[..SEGMENT_HEAD_BYTES]).expect("written");
        let mut reader = Reader::open(&data).expect("opens");
        let writer = Writer::open(&data).expect("a writer");
        assert_eq!(
            fs::read(&segment).expect("the log"),
            log[..SEGMENT_HEAD_BYTES],
            "until there is a change"
        );
        writer.apply(Lines::parse(changes("krr").as_bytes(), writer.kind()), None).expect("applied");
        assert!(reader.refresh().expect("another segment"));
        assert_eq!(reader.register().sequence(), 1100);
        assert!(!reader.refresh().expect("nothing new"));
        let head = decode_segment_head(&fs::read(&segment).expect("the log")).expect("a head");
        assert_eq!((head.version, head.after), (2, 1000));
    }

    #[test]
    fn a_log_of_a_newer_format_is_refused_with_advice() {
        let directory = tempfile::tempdir().expect("directory");
        let data = golden("krr", 2, directory.path());
        let segment = data.join(names::segment(1000));
        let mut log = fs::read(&segment).expect("the log");
        let head = decode_segment_head(&log).expect("a head");
        log[..SEGMENT_HEAD_BYTES].copy_from_slice(&encode_segment_head(&SegmentHead { version: 3, ..head }));
        fs::write(&segment, log).expect("written");
        let error = Reader::open(&data).err().expect("newer").to_string();
        assert!(error.contains("version 3") && error.contains("up to 2: use a newer nabar"), "{error}");
    }

    #[test]
    fn a_frame_is_valid_only_in_its_position_and_undamaged() {
        let before = root_sum(b"header");
        let mut bytes = vec![0; FRAME_HEAD_BYTES];
        bytes.extend_from_slice(b"changes");
        let sum = seal_frame(&mut bytes, 7, 9, 2, 96, &before);
        let frame = frame_at(&bytes, 0, 7, &before).expect("a frame");
        assert_eq!((frame.to, frame.changes, frame.end(), frame.sum), (9, 2, 96, sum));
        assert_eq!(frame_at(&bytes, 0, 8, &before), None);
        assert_eq!(frame_at(&bytes, 0, 7, &sum), None);
        assert_eq!(frame_at(&bytes[..95], 0, 7, &before), None);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(frame_at(&flipped, 0, 7, &before), None, "byte {at}");
        }
    }
}
