//! Register files: intact, damaged and older ones.

use super::*;
use crate::extract;
use crate::identities::{Country, Identity};
use crate::register::{Kind, Outcome, Recipient};
use format::{ENTRY_BYTES, HEADER_BYTES};
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The register file of a fixture.
fn built(name: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("register.nabar");
    extract::build(fixture(name), &file, &crate::extract::BuildOptions::strict()).expect("built");
    std::fs::read(&file).expect("read")
}

fn identities(snapshot: &Snapshot) -> Vec<Identity> {
    let mut identities = Vec::new();
    let register = snapshot.register().expect("intact");
    let all = register.for_each::<crate::register::Damage>(|identity, _| {
        identities.push(*identity);
        Ok(())
    });
    all.expect("intact");
    identities
}

type FileAnswers = Vec<(Outcome, Option<Recipient>)>;

/// The outcomes and recipients of identities, `None` if the register is reported as damaged.
fn answers(bytes: &[u8], identities: &[Identity]) -> Option<FileAnswers> {
    let register = Snapshot::from_bytes(bytes).ok()?.register().ok()?;
    let sender = (register.kind() == Kind::Far).then(|| register.senders()[3].id.clone());
    let question = register.question(sender.as_deref(), jiff::civil::date(2026, 6, 1)).ok()?;
    let answer = |identity| Some((question.ask(identity).ok()?, register.recipient(identity).ok()?));
    identities.iter().map(answer).collect()
}

#[test]
fn every_flipped_bit_of_header_and_section_table_is_an_error() {
    for name in ["far", "krr"] {
        let mut bytes = built(name);
        let sections = Snapshot::from_bytes(&bytes).expect("intact").sections().len();
        for offset in 0..HEADER_BYTES + sections * ENTRY_BYTES {
            for bit in 0..8 {
                bytes[offset] ^= 1 << bit;
                assert!(Snapshot::from_bytes(&bytes).is_err(), "{name}: bit {bit} of byte {offset}");
                bytes[offset] ^= 1 << bit;
            }
        }
    }
}

/// `verify` detects a flipped bit anywhere else. Without `verify`, the bit gives an error or does not affect the
/// answers.
#[test]
fn flipped_bits_do_not_change_answers() {
    for name in ["far", "krr"] {
        let mut bytes = built(name);
        let snapshot = Snapshot::from_bytes(&bytes).expect("intact");
        assert_eq!(snapshot.verify(), []);
        let identities = identities(&snapshot);
        let truth = answers(&bytes, &identities).expect("intact");
        let head = HEADER_BYTES + snapshot.sections().len() * ENTRY_BYTES;
        // Samples of every section and of the bytes between sections.
        let spans = snapshot.sections().iter().map(|entry| (entry.offset as usize, entry.bytes as usize));
        let samples = spans.flat_map(|(start, length)| (start..start + length).step_by(1 + length / 60));
        let offsets: Vec<usize> = samples.chain((head..bytes.len()).step_by(4999)).collect();
        for (number, at) in offsets.into_iter().enumerate() {
            let bit = 1 << (number % 8);
            bytes[at] ^= bit;
            if let Some(answers) = answers(&bytes, &identities) {
                assert!(answers == truth, "{name}: byte {at} changes an answer");
            }
            let findings = Snapshot::from_bytes(&bytes).expect("an undamaged header").verify();
            assert!(!findings.is_empty(), "{name}: verify does not detect byte {at}");
            bytes[at] ^= bit;
        }
    }
}

#[test]
fn a_file_of_another_length_is_an_error() {
    let bytes = built("far");
    for length in (0..bytes.len()).step_by(997).chain([1, 7, 8, 9, 127, 128, 129, bytes.len() - 1]) {
        let error = Snapshot::from_bytes(&bytes[..length]).err().expect("cut");
        assert_eq!(matches!(error, OpenError::Foreign), length < 8, "{length}: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(Snapshot::from_bytes(&longer), Err(OpenError::Length { .. })));
}

#[test]
fn foreign_and_newer_files_give_specific_errors() {
    for foreign in [&b""[..], b"recipient_id,type\n", b"PK\x03\x04", &[0; 4096]] {
        assert!(matches!(Snapshot::from_bytes(foreign), Err(OpenError::Foreign)));
    }
    let mut newer = built("far");
    newer[format::header::VERSION] = 9;
    let error = Snapshot::from_bytes(&newer).err().expect("newer").to_string();
    assert!(error.contains("version 9") && error.contains("up to 2"), "{error}");
}

/// Golden files of format version 1 open, have the same content, and are reproduced byte for byte.
#[test]
fn golden_files_of_format_1() {
    for name in ["far", "krr"] {
        let packed = std::fs::read(fixture(&format!("golden/{name}-format-1.nabar.zst"))).expect("golden");
        let golden = zstd::decode_all(&packed[..]).expect("zstd");
        let snapshot = Snapshot::from_bytes(&golden).expect("opens");
        assert_eq!(snapshot.verify(), []);
        assert_eq!(identities(&snapshot).len() as u64, snapshot.header().recipients);
        assert!(golden == built(name), "{name}: the extract no longer gives the same file");
    }
}

#[test]
fn an_unknown_identity_is_not_registered() {
    let snapshot = Snapshot::from_bytes(&built("far")).expect("intact");
    let register = snapshot.register().expect("intact");
    let today = crate::identities::Today::new(2026, 6, 1).expect("a day");
    let absent = Identity::parse(b"180001019801", Country::Sweden, today).expect("valid");
    assert_eq!(register.recipient(&absent), Ok(None));
}
