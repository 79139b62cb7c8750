//! Damaged files: flipped bits, truncation, files of other directories.

use super::disk::{Bytes, SimDisk};
use super::life::filled;
use super::model::{self, FIRST, built, dump, fixture, lines, model, text};
use crate::register::Kind;
use crate::store::init::fill;
use crate::store::{
    FRAME_HEAD_BYTES, LOG_VERSION, Lines, Reader, SEGMENT_HEAD_BYTES, StoreError, Writer, names,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

type Files = BTreeMap<String, Arc<Bytes>>;

/// Batches that are durable before the next one is written.
const BATCHES: [RangeInclusive<u64>; 5] = [1001..=1001, 1002..=1004, 1005..=1005, 1006..=1016, 1017..=1018];

fn opened(files: &Files) -> Result<Writer, StoreError> {
    Writer::of(SimDisk::fresh(files.clone()).directory())
}

/// The same files with a change to one of them.
fn with(files: &Files, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    let (mut files, mut bytes) = (files.clone(), (*files[name]).as_ref().to_vec());
    change(&mut bytes);
    files.insert(name.to_owned(), Arc::new(Bytes::of(&bytes)));
    files
}

fn without(files: &Files, names: &[String]) -> Files {
    let kept = files.iter().filter(|(name, _)| !names.contains(name));
    kept.map(|(name, content)| (name.clone(), Arc::clone(content))).collect()
}

/// A directory with one segment, and the offsets of its frames and of the end of the last one.
fn with_batches() -> (Files, Vec<usize>) {
    let disk = filled();
    let writer = Writer::of(disk.directory()).expect("opens");
    let segment = names::segment(FIRST);
    let mut ends = vec![SEGMENT_HEAD_BYTES];
    for batch in BATCHES {
        writer.apply(lines(batch), None).expect("applied");
        ends.push((*disk.contents()[&segment]).as_ref().len());
    }
    (disk.contents(), ends)
}

/// The error names the damaged file and the offset.
fn assert_damaged(opened: Result<Writer, StoreError>, name: &str, at: usize, what: &str) {
    match opened {
        Err(StoreError::Damaged { path, at: found, finding }) => {
            assert_eq!((path.file_name(), found as usize), (Some(name.as_ref()), at), "{what}: {finding}");
        }
        // In the format version.
        Err(StoreError::Version { path, .. }) => {
            assert_eq!((path.file_name(), at), (Some(name.as_ref()), 8), "{what}");
        }
        Err(error) => panic!("{what}: {error}"),
        Ok(writer) => panic!("{what}: opens at {}", writer.recovered().sequence),
    }
}

#[test]
fn every_flipped_bit_of_a_segment_head_is_damage() {
    let (files, _) = with_batches();
    let segment = names::segment(FIRST);
    for at in 0..SEGMENT_HEAD_BYTES {
        for bit in 0..8 {
            let flipped = with(&files, &segment, |bytes| bytes[at] ^= 1 << bit);
            // A greater version is not damage but a newer format, at the offset of the version.
            let newer = (8..12).contains(&at) && (at > 8 || LOG_VERSION ^ 1 << bit > LOG_VERSION);
            let what = format!("bit {bit} of byte {at}");
            assert_damaged(opened(&flipped), &segment, if newer { 8 } else { 0 }, &what);
        }
    }
}

/// Bytes of a frame to be flipped: its whole head, some of its changes and some of the padding.
fn sampled(start: usize, end: usize) -> impl Iterator<Item = usize> {
    let head = start..start + FRAME_HEAD_BYTES;
    head.chain((start + FRAME_HEAD_BYTES..end).step_by(5)).chain(end - 4..end)
}

#[test]
fn a_flipped_bit_in_a_batch_that_others_follow_is_damage() {
    let (files, ends) = with_batches();
    let segment = names::segment(FIRST);
    for frame in ends.windows(2).take(BATCHES.len() - 1) {
        for at in sampled(frame[0], frame[1]) {
            let flipped = with(&files, &segment, |bytes| bytes[at] ^= 1 << (at % 8));
            assert_damaged(opened(&flipped), &segment, frame[0], &format!("byte {at}"));
        }
    }
}

#[test]
fn a_last_batch_with_a_flipped_bit_is_removed() {
    let (files, ends) = with_batches();
    let segment = names::segment(FIRST);
    let [.., start, end] = ends[..] else { panic!("no batches") };
    let before = *BATCHES[BATCHES.len() - 2].end();
    for at in sampled(start, end) {
        for flip in [1 << (at % 8), 0xFF] {
            let flipped = with(&files, &segment, |bytes| bytes[at] ^= flip);
            let writer = opened(&flipped).unwrap_or_else(|error| panic!("byte {at}: {error}"));
            assert_eq!(writer.recovered().torn_bytes, (end - start) as u64, "byte {at}");
            assert_eq!(writer.recovered().sequence, before, "byte {at}");
            assert!(at % 16 > 0 || dump(&writer.register()) == model(before));
        }
    }
}

/// Which batches of a shared sync were durable is unknown: damage in one removes it and the rest.
#[test]
fn batches_of_one_sync_are_removed_together() {
    let disk = filled();
    let writer = Writer::of(disk.directory()).expect("opens");
    writer.apply(lines(1001..=1002), None).expect("applied");
    let segment = names::segment(FIRST);
    let start = (*disk.contents()[&segment]).as_ref().len();
    writer.append(lines(1003..=1003), None).expect("written");
    let (_, pending) = writer.append(lines(1004..=1010), None).expect("written");
    writer.wait(pending).expect("durable");
    let end = (*disk.contents()[&segment]).as_ref().len();
    let torn = with(&disk.contents(), &segment, |bytes| bytes[start + 100] ^= 1);
    let recovered = opened(&torn).expect("opens").recovered();
    assert_eq!((recovered.sequence, recovered.torn_bytes), (1002, (end - start) as u64));
    // Unless a later batch recorded them as durable.
    writer.apply(lines(1011..=1011), None).expect("applied");
    let torn = with(&disk.contents(), &segment, |bytes| bytes[start + 100] ^= 1);
    assert_damaged(opened(&torn), &segment, start, "durable");
}

#[test]
fn a_truncated_segment_has_the_batches_before() {
    let (files, ends) = with_batches();
    let segment = names::segment(FIRST);
    for length in 0..=ends[ends.len() - 1] {
        let cut = with(&files, &segment, |bytes| bytes.truncate(length));
        if length < SEGMENT_HEAD_BYTES {
            assert_damaged(opened(&cut), &segment, 0, &format!("{length} bytes"));
            continue;
        }
        let batches = ends.iter().filter(|&&end| end <= length).count() - 1;
        let sequence = BATCHES[..batches].last().map_or(FIRST, |batch| *batch.end());
        let recovered = opened(&cut).unwrap_or_else(|error| panic!("{length} bytes: {error}")).recovered();
        assert_eq!(recovered.sequence, sequence, "{length} bytes");
        assert_eq!(recovered.torn_bytes, (length - ends[batches]) as u64, "{length} bytes");
        assert_eq!(recovered.changes, sequence - FIRST);
    }
}

#[test]
fn garbage_after_the_last_batch_is_removed_and_reported() {
    let (files, ends) = with_batches();
    let (segment, end) = (names::segment(FIRST), ends[ends.len() - 1]);
    let first = |bytes: &[u8]| bytes[ends[0]..ends[1]].to_vec();
    type Spoiled<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let rubbish: [Spoiled<'_>; 4] = [
        ("zeros", &|_| vec![0; 5000]),
        ("text", &|_| b"nbrframe is not enough, and neither is this".to_vec()),
        ("a batch that was there before", &first),
        ("half of one", &|bytes| first(bytes)[..100].to_vec()),
    ];
    for (what, rubbish) in rubbish {
        let longer = with(&files, &segment, |bytes| bytes.extend(rubbish(bytes)));
        let disk = SimDisk::fresh(longer);
        assert_eq!(Reader::of(disk.directory()).expect("opens").register().sequence(), 1018, "{what}");
        let writer = Writer::of(disk.directory()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(writer.recovered().torn_bytes > 0, "{what}");
        assert_eq!((*disk.contents()[&segment]).as_ref().len(), end, "{what}");
        writer.apply(lines(1019..=1030), None).expect("applied");
        let reader = Reader::of(disk.after_power_cut().directory()).expect("opens");
        assert!(dump(&reader.register()) == model(1030), "{what}");
    }
}

/// A directory with all files that it ever had: three register files, and three segments with changes in each.
fn with_segments(change: impl Fn(u64) -> Lines) -> Files {
    let disk = filled();
    let writer = Writer::of(disk.directory()).expect("opens");
    for last in [1010, 1020, 1030] {
        (last - 9..=last).for_each(|sequence| {
            writer.apply(change(sequence), None).expect("applied");
        });
        if last < 1030 {
            writer.checkpoint(true).expect("made");
        }
    }
    disk.contents()
}

fn one(sequence: u64) -> Lines {
    lines(sequence..=sequence)
}

/// The same change at another time.
fn other(sequence: u64) -> Lines {
    let text = text(sequence..=sequence).replace("\"2026-06-01T04", "\"2026-06-01T05");
    Lines::parse(text.as_bytes(), Kind::Far)
}

const REGISTERS: [u64; 3] = [1000, 1010, 1020];

/// The names of some register files and segments.
fn files_of(registers: &[u64], segments: &[u64]) -> Vec<String> {
    let registers = registers.iter().map(|&sequence| names::register(sequence));
    registers.chain(segments.iter().map(|&after| names::segment(after))).collect()
}

#[test]
fn any_register_file_with_the_segments_after_it_gives_the_register() {
    let files = with_segments(one);
    for kept in 0..3 {
        let others: Vec<u64> = (0..3).filter(|&other| other != kept).map(|other| REGISTERS[other]).collect();
        let writer = opened(&without(&files, &files_of(&others, &REGISTERS[..kept]))).expect("opens");
        assert_eq!(writer.recovered().changes, 1030 - REGISTERS[kept]);
        assert!(dump(&writer.register()) == model(1030));
    }
}

#[test]
fn a_missing_segment_is_an_error_with_the_last_sequence_number() {
    let files = with_segments(one);
    let cases: [(&[u64], &[u64], u64); 5] = [
        (&[1010, 1020], &[1010], 1010),
        (&[1010, 1020], &[1000], 1000),
        (&[1020], &[1000, 1010], 1010),
        (&[], &[1000, 1010, 1020], 1020),
        // The register file is newer than the log.
        (&[], &[1010, 1020], 1010),
    ];
    for (registers, segments, there) in cases {
        match opened(&without(&files, &files_of(registers, segments))).err() {
            Some(StoreError::LogMissing { after, .. }) => assert_eq!(after, there, "{segments:?}"),
            error => panic!("{registers:?} {segments:?}: {error:?}"),
        }
    }
    let none = opened(&without(&files, &files_of(&REGISTERS, &[])));
    assert!(matches!(none, Err(StoreError::NotOne(_))));
}

#[test]
fn a_segment_truncated_between_batches_does_not_fit_the_next() {
    let files = without(&with_segments(one), &files_of(&[1010, 1020], &[]));
    let segment = names::segment(1010);
    let length = (*files[&segment]).as_ref().len();
    for cut in SEGMENT_HEAD_BYTES..length {
        match opened(&with(&files, &segment, |bytes| bytes.truncate(cut))).err() {
            Some(StoreError::LogMissing { after, .. }) => assert!((1010..1020).contains(&after), "{cut}"),
            Some(StoreError::Damaged { path, .. }) => assert!(path.ends_with(&segment), "{cut}"),
            error => panic!("{cut}: {error:?}"),
        }
    }
}

#[test]
fn segments_and_batches_of_another_directory_do_not_fit() {
    let mine = without(&with_segments(one), &files_of(&[1010, 1020], &[]));
    let others = with_segments(other);
    for after in [1010, 1020] {
        let mut mixed = mine.clone();
        mixed.insert(names::segment(after), Arc::clone(&others[&names::segment(after)]));
        assert_damaged(opened(&mixed), &names::segment(after), 0, "exchanged");
    }
    // Batches of the other directory in the middle and at the end of a segment.
    for (after, middle) in [(1010, true), (1020, false)] {
        let segment = names::segment(after);
        let from = (*others[&segment]).as_ref();
        let start = from.len() / 8 * 4 + SEGMENT_HEAD_BYTES % 8;
        let spliced = with(&mine, &segment, |bytes| {
            bytes.truncate(start);
            bytes.extend(&from[start..]);
        });
        match opened(&spliced) {
            Err(StoreError::Damaged { path, .. }) => assert!(path.ends_with(&segment)),
            Err(error) => panic!("{error}"),
            Ok(writer) => {
                let recovered = writer.recovered();
                assert!(!middle && recovered.torn_bytes > 0, "{recovered:?}");
                assert!(dump(&writer.register()) == model(recovered.sequence));
            }
        }
    }
}

#[test]
fn a_log_of_another_kind_of_register_is_damage() {
    let disk = SimDisk::default();
    fill(&disk.directory(), &built(&fixture("krr")), "krr".as_ref()).expect("filled");
    let writer = Writer::of(disk.directory()).expect("opens");
    let text = std::fs::read(fixture("changes/krr.jsonl")).expect("the fixture");
    let sequence = writer.register().sequence();
    assert_eq!(sequence, FIRST);
    let foreign = Arc::clone(&disk.contents()[&names::segment(sequence)]);
    writer.apply(Lines::parse(&text, writer.kind()), None).expect("applied");
    for foreign in [foreign, Arc::clone(&disk.contents()[&names::segment(sequence)])] {
        let mut files = filled().contents();
        files.insert(names::segment(FIRST), foreign);
        assert_damaged(opened(&files), &names::segment(FIRST), 12, "of another register");
    }
}

#[test]
fn a_damaged_or_exchanged_register_file_is_an_error() {
    let (files, _) = with_batches();
    let register = names::register(FIRST);
    for at in 0..crate::snapshot::format::HEADER_BYTES {
        let flipped = with(&files, &register, |bytes| bytes[at] ^= 1 << (at % 8));
        match opened(&flipped).err() {
            Some(StoreError::Register { path, .. }) => assert!(path.ends_with(&register)),
            error => panic!("byte {at}: {error:?}"),
        }
    }
    let mut renamed = files.clone();
    renamed.insert(names::register(1005), Arc::clone(&files[&register]));
    assert_damaged(opened(&renamed), &names::register(1005), 0, "another sequence number");
    // The sequence number of a register file may be between two batches, not within one.
    for (sequence, fits) in [(1004, true), (1003, false)] {
        let disk = filled();
        let writer = Writer::of(disk.directory()).expect("opens");
        writer.apply(lines(1001..=sequence), None).expect("applied");
        writer.checkpoint(false).expect("made");
        let mut mixed = without(&files, &files_of(&[FIRST], &[]));
        let name = names::register(sequence);
        mixed.insert(name.clone(), Arc::clone(&disk.contents()[&name]));
        match opened(&mixed) {
            Ok(writer) => assert!(fits && dump(&writer.register()) == model(1018)),
            Err(StoreError::Damaged { .. }) => assert!(!fits),
            Err(error) => panic!("{sequence}: {error}"),
        }
    }
}

/// Files in the directory with other names are not touched.
#[test]
fn other_files_are_not_touched() {
    let (mut files, _) = with_batches();
    let others = ["lock", "rejected.csv", "changes-1.log", "register-00000000000000001010.nabar.old", "x"];
    others.iter().for_each(|name| drop(files.insert((*name).to_owned(), Arc::default())));
    files.insert(names::partial("init"), Arc::default());
    let disk = SimDisk::fresh(files.clone());
    let writer = Writer::of(disk.directory()).expect("opens");
    writer.checkpoint(false).expect("made");
    let left: Vec<String> = disk.contents().into_keys().collect();
    let mut expected: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    expected.extend(files_of(&[1018], &[1018]));
    expected.sort();
    assert_eq!(left, expected);
    assert!(dump(&writer.register()) == model::model(1018));
}
