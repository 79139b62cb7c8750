//! The log of a data directory, and frames as a source sends them.
//!
//! Random bytes fail at the first checksum, so the payload of an input gets a frame around it whose sums are right, as
//! `docs/data-directory.md` defines them. A source can compute them too.

use crate::changes::holds;
use crate::data::{Copy, head, of};
use nabar::store::{
    FRAME_HEAD_BYTES, FRAME_MAGIC, Lines, Reader, SEGMENT_HEAD_BYTES, Writer, changes_of_frames,
};
use std::fs;

/// A frame of changes from one sequence number to another.
fn frame(payload: &[u8], after: u64, to: u64, changes: u32, before: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_HEAD_BYTES];
    bytes[..8].copy_from_slice(&FRAME_MAGIC);
    bytes[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes[16..24].copy_from_slice(&after.to_le_bytes());
    bytes[24..32].copy_from_slice(&to.to_le_bytes());
    bytes[32..36].copy_from_slice(&changes.to_le_bytes());
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..48]);
    bytes[48..56].copy_from_slice(&sum.to_le_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&bytes[..40]).update(payload);
    bytes[56..88].copy_from_slice(hasher.finalize().as_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// The first bytes choose the register, the use of the rest, and what the frame says of itself.
pub(crate) fn run(data: &[u8]) {
    let ([choice, distance, count], payload) = head::<3>(data);
    let known = of(choice & 1 != 0);
    let after = known.register.sequence();
    let to = after.wrapping_add(u64::from(distance));
    match choice >> 1 & 3 {
        0 => _ = changes_of_frames(payload, after, usize::MAX),
        1 => {
            let frame = frame(payload, after, to, u32::from(count), &[0; 32]);
            let Some(changes) = changes_of_frames(&frame, after, usize::MAX) else { return };
            assert!(changes.iter().is_sorted_by(|a, b| a.sequence() < b.sequence()), "in order");
            let copy = Copy::of(&known.data);
            let writer = Writer::open(&copy.0).expect("a writer");
            if writer.apply(Lines::of(changes), None).is_ok_and(|batch| batch.applied > 0) {
                holds(&writer, &copy.0, &known.data, after, choice & 0x38 == 0);
            }
        }
        use_of_log => {
            let copy = Copy::of(&known.data);
            let log = copy.0.join(format!("changes-{after:020}.log"));
            let mut bytes = fs::read(&log).expect("the log");
            let before: [u8; 32] = bytes[32..64].try_into().expect("a sum");
            match use_of_log {
                2 => bytes.extend(frame(payload, after, to, u32::from(count), &before)),
                _ if choice & 8 == 0 => bytes.extend_from_slice(payload),
                _ => bytes[..payload.len().min(SEGMENT_HEAD_BYTES)]
                    .copy_from_slice(&payload[..payload.len().min(SEGMENT_HEAD_BYTES)]),
            }
            fs::write(&log, bytes).expect("written");
            let reader = Reader::open(&copy.0);
            let writer = Writer::open(&copy.0);
            assert_eq!(reader.is_ok(), writer.is_ok(), "reader and writer differ");
            if let (Ok(reader), Ok(writer)) = (reader, writer)
                && reader.register().sequence() > after
            {
                holds(&writer, &copy.0, &known.data, after, choice & 0x38 == 0);
            }
        }
    }
}
