//! Register files: intact, damaged and older ones.

use super::*;
use crate::extract;
use crate::identities::{Country, Identity};
use crate::register::{Kind, Outcome, Recipient};
use format::{ENTRY_BYTES, HEADER_BYTES};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// In place of a fixture: that of KRR with times of validation.
pub(crate) const VALIDATED: &str = "krr-validated";

/// The extract of a fixture, or in `directory` that of [`VALIDATED`].
pub(crate) fn extract_of(name: &str, directory: &Path) -> PathBuf {
    if name != VALIDATED {
        return fixture(name);
    }
    let extract = directory.join(name);
    std::fs::create_dir(&extract).expect("a directory");
    let read = |file: &str| std::fs::read_to_string(fixture("krr").join(file)).expect("a fixture");
    std::fs::write(extract.join("register.toml"), read("register.toml")).expect("written");
    let persons = with_validated(&read("personer.jsonl"));
    std::fs::write(extract.join("personer.jsonl"), persons).expect("written");
    extract
}

/// Lines of an extract or of changes of KRR, in which some persons have times of validation too.
pub(crate) fn with_validated(lines: &str) -> String {
    let with = |(number, line): (usize, &str)| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let person = if line.get("put_person").is_some() { &mut line["put_person"] } else { &mut line };
        if let Some(contact) = person.get_mut("kontaktinformasjon") {
            let time =
                |second: usize| Value::from(format!("2026-05-{:02}T10:14:{second:02}+02", 1 + number % 28));
            if number % 3 == 0 {
                contact["epostadresse_sist_validert"] = time(number % 60);
            }
            if number % 4 == 0 {
                contact["mobiltelefonnummer_sist_validert"] = time(30);
            }
        }
        format!("{line}\n")
    };
    lines.lines().enumerate().map(with).collect()
}

/// The register file of a fixture.
fn built(name: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("register.nabar");
    let extract = extract_of(name, directory.path());
    extract::build(extract, &file, &crate::extract::BuildOptions::strict()).expect("built");
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
    for name in ["far", "krr", VALIDATED] {
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
    for name in ["far", "krr", VALIDATED] {
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
    assert!(error.contains("version 9") && error.contains("up to 3"), "{error}");
}

/// Golden files of format versions 1 and 3 open, have the same content, and are reproduced byte for byte. Only registers
/// with times of validation have version 3.
#[test]
fn golden_files_of_formats_1_and_3() {
    for (name, version, file) in
        [("far", 1, "far-format-1"), ("krr", 1, "krr-format-1"), (VALIDATED, 3, "krr-format-3")]
    {
        let packed = std::fs::read(fixture(&format!("golden/{file}.nabar.zst"))).expect("golden");
        let golden = zstd::decode_all(&packed[..]).expect("zstd");
        let snapshot = Snapshot::from_bytes(&golden).expect("opens");
        assert_eq!((snapshot.header().version(), snapshot.verify()), (version, vec![]));
        assert_eq!(identities(&snapshot).len() as u64, snapshot.header().recipients);
        assert!(golden == built(name), "{name}: the extract no longer gives the same file");
    }
}

/// Reads a register whose header has another version than its contacts. Returns what `verify` finds, and whether a
/// recipient cannot be read.
fn with_other_version(name: &str) -> (Vec<verify::Finding>, bool) {
    let genuine = built(name);
    let snapshot = Snapshot::from_bytes(&genuine).expect("intact");
    let has_validated = !snapshot.header().has_validated;
    let head = format::encode(&Header { has_validated, ..*snapshot.header() }, snapshot.sections());
    let forged = Snapshot::from_bytes(&[&head[..], &genuine[head.len()..]].concat()).expect("a valid header");
    let register = forged.register().expect("contacts are read later");
    let read = register.for_each::<crate::register::Damage>(|_, _| Ok(()));
    (forged.verify(), read.is_err())
}

/// Times of validation in a file of version 1 are damage, and a file of version 3 has some.
#[test]
fn the_version_is_that_of_the_contacts() {
    let (findings, is_unreadable) = with_other_version(VALIDATED);
    assert!(is_unreadable && findings[0].finding.contains("of another format"), "{findings:?}");
    let (findings, is_unreadable) = with_other_version("krr");
    assert!(!is_unreadable && findings[0].finding.contains("of which there are none"), "{findings:?}");
    // FaR has no contacts.
    let far = built("far");
    let snapshot = Snapshot::from_bytes(&far).expect("intact");
    let head = format::encode(&Header { has_validated: true, ..*snapshot.header() }, snapshot.sections());
    let forged = Snapshot::from_bytes(&[&head[..], &far[head.len()..]].concat());
    assert!(matches!(forged.err(), Some(OpenError::Damaged { part: "header", .. })));
}

/// Times of validation are what tells one from the other, and they change no outcome.
#[test]
fn times_of_validation_change_no_outcome() {
    let registers = ["krr", VALIDATED].map(|name| Snapshot::from_bytes(&built(name)).expect("intact"));
    let identities = identities(&registers[0]);
    let [without, with] = registers.map(|snapshot| snapshot.register().expect("intact"));
    let mut validated = 0;
    for day in [jiff::civil::date(2026, 6, 1), jiff::civil::date(2027, 10, 1)] {
        let questions = [&without, &with].map(|register| register.question(None, day).expect("a question"));
        for identity in &identities {
            let [outcome, other] =
                questions.each_ref().map(|question| question.ask(identity).expect("intact"));
            assert_eq!(outcome, other);
            let Ok(Some(Recipient::Krr { person, .. })) = with.recipient(identity) else {
                panic!("a person")
            };
            let channels = person.kontaktinformasjon.unwrap_or_default();
            validated += u32::from(channels.is_validated());
        }
    }
    assert!(validated > 200, "{validated}");
}

#[test]
fn an_unknown_identity_is_not_registered() {
    let snapshot = Snapshot::from_bytes(&built("far")).expect("intact");
    let register = snapshot.register().expect("intact");
    let today = crate::identities::Today::new(2026, 6, 1).expect("a day");
    let absent = Identity::parse(b"180001019801", Country::Sweden, today).expect("valid");
    assert_eq!(register.recipient(&absent), Ok(None));
}
