//! Register files of answers, format versions 2 and 3: golden, damaged and forged ones.

use super::super::answer::{Answers, refused};
use super::super::journal::Journal;
use super::model::organisation;
use super::{SENDER, collected, subject_of, written};
use crate::changes::{ChangeBody, NamedRule, PutRecipient, json};
use crate::consent::Acceptance;
use crate::extract::{self, BuildOptions};
use crate::identities::{Identity, Ordinal, Today};
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::{Damage, Kind, Recipient, Register, Scope};
use crate::replica::tests::fast_directory;
use crate::replica::tests::random::Random;
use crate::snapshot::format::{self, ENTRY_BYTES, Entry, HEADER_BYTES, OpenError, Section};
use crate::snapshot::tests::{VALIDATED, extract_of};
use crate::snapshot::{Header, Snapshot};
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The complete register of a fixture, in a directory.
fn complete(name: &str, directory: &Path) -> Register {
    let file = directory.join("complete.nabar");
    extract::build(extract_of(name, directory), &file, &BuildOptions::strict()).expect("built");
    Snapshot::open(file).and_then(|snapshot| snapshot.register()).expect("a register")
}

fn complete_file(name: &str) -> Vec<u8> {
    let directory = fast_directory();
    Snapshot::of_register(&complete(name, directory.path())).expect("intact").as_ref().to_vec()
}

/// The answer for a recipient of a fixture. FaR: in the place of a rule, every third declines the sender.
fn answer(register: &Register, identity: &Identity, recipient: Recipient, number: usize) -> Answers {
    let nanoseconds = |time: Option<_>| time.and_then(moment::nanoseconds).unwrap_or(NO_NANOSECONDS);
    let mut operators = Vec::new();
    let answer = match (number % 7, recipient) {
        (3, _) => ChangeBody::Remove(identity.ordinal()),
        (5, _) => refused(identity),
        (_, Recipient::Krr { person, .. }) => {
            let put = json::put_person(&person, Today::CONTRACT).expect("a person");
            ChangeBody::PutPerson(Box::new(put))
        }
        (_, Recipient::Far { state, last_registration, last_sender_accept_change, .. }) => {
            operators.extend(state.operator.map(|index| register.operator(index).clone()));
            let accepts = if number.is_multiple_of(3) { Vec::new() } else { vec![organisation(SENDER)] };
            ChangeBody::PutRecipient(PutRecipient {
                recipient: identity.ordinal(),
                account_type: state.account_type,
                pending: state.pending,
                operator: operators.first().map(|operator| organisation(&operator.id)),
                last_registration: nanoseconds(last_registration),
                last_sender_accept_change: nanoseconds(last_sender_accept_change),
                rule: NamedRule::new(Acceptance::Only, accepts),
            })
        }
    };
    Answers { answers: vec![answer], operators }
}

/// The file of answers for all but some recipients of a fixture, one a minute. It does not expire.
fn asked(name: &str) -> Vec<u8> {
    let directory = fast_directory();
    let complete = complete(name, directory.path());
    let journal_path = directory.path().join("run.journal");
    let mut journal = Journal::open(&journal_path, &subject_of(complete.kind())).expect("a journal");
    let first: Timestamp = "2025-06-01T06:00:00Z".parse().expect("a time");
    let (mut ids, mut number) = (Vec::<Ordinal>::new(), 0usize);
    let all = complete.for_each::<Damage>(|identity, recipient| {
        number += 1;
        if !number.is_multiple_of(10) {
            ids.push(identity.ordinal());
            let time = first + SignedDuration::from_mins(number as i64);
            journal.append(time, answer(&complete, identity, recipient, number)).expect("appended");
        }
        Ok(())
    });
    all.expect("intact");
    drop(journal);
    let path = directory.path().join("run.nabar");
    written(collected(complete.kind(), &journal_path, &ids, Timestamp::MIN), &path).expect("consistent");
    std::fs::read(path).expect("a file")
}

fn opened(bytes: &[u8]) -> Result<Register, OpenError> {
    Snapshot::from_bytes(bytes)?.register()
}

/// Golden files of format versions 2 and 3 open, and are reproduced byte for byte. The first one of FaR has times of recipients,
/// which are not kept any longer.
#[test]
fn golden_files_of_answers() {
    for (name, version, file) in [
        ("far", 2, "far-format-2"),
        ("far", 2, "far-format-2-no-times"),
        ("krr", 2, "krr-format-2"),
        (VALIDATED, 3, "krr-format-3-answers"),
    ] {
        let packed = std::fs::read(fixture(&format!("golden/{file}.nabar.zst"))).expect("golden");
        let golden = zstd::decode_all(&packed[..]).expect("zstd");
        let snapshot = Snapshot::from_bytes(&golden).expect("opens");
        assert_eq!(snapshot.header().version(), version);
        assert_eq!(snapshot.verify(), []);
        let scope = snapshot.register().expect("it does not expire").scope().cloned().expect("a scope");
        assert_eq!(scope.ids, snapshot.header().recipients);
        assert!(scope.refused > 0);
        let is_current = file != "far-format-2";
        assert_eq!(golden == asked(name), is_current, "{file}: the answers no longer give the same file");
    }
}

#[test]
fn every_flipped_bit_of_header_section_table_and_scope_is_an_error() {
    for name in ["far", "krr", VALIDATED] {
        let mut bytes = asked(name);
        let snapshot = Snapshot::from_bytes(&bytes).expect("intact");
        let head = 0..HEADER_BYTES + snapshot.sections().len() * ENTRY_BYTES;
        let scope = entry_of(snapshot.sections(), Section::Scope);
        let scope = scope.offset as usize..(scope.offset + scope.bytes) as usize;
        for at in head.chain(scope) {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                let error = opened(&bytes).err().unwrap_or_else(|| panic!("{name}: bit {bit} of byte {at}"));
                assert!(!matches!(error, OpenError::Io(_)), "{error}");
                bytes[at] ^= 1 << bit;
            }
        }
        assert!(opened(&bytes).is_ok());
    }
}

/// A version 1 file with the same content would be a complete register, in which who was not asked is not registered.
#[test]
fn files_of_answers_have_another_version() {
    // A version 3 file is one of answers if it has their sections.
    for (name, has_scope) in [("krr", true), (VALIDATED, true), ("krr", false), (VALIDATED, false)] {
        let bytes = if has_scope { asked(name) } else { complete_file(name) };
        assert_eq!(format::has_scope(&bytes[..HEADER_BYTES]), has_scope, "{name}");
        assert_eq!(Snapshot::from_bytes(&bytes).expect("intact").header().has_scope, has_scope, "{name}");
    }
    for name in ["far", "krr"] {
        let bytes = asked(name);
        let snapshot = Snapshot::from_bytes(&bytes).expect("intact");
        let header = Header { has_scope: false, ..*snapshot.header() };
        let forged = with_head(&bytes, &header, snapshot.sections());
        assert!(matches!(opened(&forged), Err(OpenError::Damaged { part: "section table", .. })));
        // Nor a version 2 file without the sections.
        let complete = fast_directory();
        let complete = Snapshot::of_register(&self::complete(name, complete.path())).expect("intact");
        let header = Header { has_scope: true, ..*complete.header() };
        let forged = with_head(complete.as_ref(), &header, complete.sections());
        assert!(matches!(opened(&forged), Err(OpenError::Damaged { .. })));
    }
}

fn entry_of(entries: &[Entry], section: Section) -> Entry {
    *entries.iter().find(|entry| entry.section == section).expect("a section")
}

fn with_head(bytes: &[u8], header: &Header, entries: &[Entry]) -> Vec<u8> {
    let head = format::encode(header, entries);
    [&head[..], &bytes[head.len()..]].concat()
}

/// A file whose section has other content, at most as long as up to the next section, and whose sums match.
fn forged(bytes: &[u8], section: Section, content: &[u8]) -> Vec<u8> {
    let snapshot = Snapshot::from_bytes(bytes).expect("intact");
    let mut entries = snapshot.sections().to_vec();
    let entry = entries.iter_mut().find(|entry| entry.section == section).expect("a section");
    let (start, old) = (entry.offset as usize, entry.bytes as usize);
    let mut forged = bytes.to_vec();
    forged[start..start + old].fill(0);
    forged[start..start + content.len()].copy_from_slice(content);
    entry.bytes = content.len() as u64;
    entry.sum = *blake3::hash(content).as_bytes();
    with_head(&forged, snapshot.header(), &entries)
}

/// Uses all that a scope says. Returns whether the file opens.
fn uses(bytes: &[u8]) -> bool {
    let register = match opened(bytes) {
        Ok(register) => register,
        Err(OpenError::Damaged { .. } | OpenError::Expired(_)) => return false,
        Err(other) => panic!("{other}"),
    };
    let scope = register.scope().expect("a scope");
    let delete_by = scope.delete_by();
    assert!(delete_by > Timestamp::now());
    let _ = (scope.oldest().to_string(), scope.newest().to_string(), delete_by.to_string());
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        if let Err(error) = scope.usable_at(now) {
            assert!(error.to_string().contains("ask again"));
        }
    }
    let _ = Snapshot::from_bytes(bytes).expect("it opened").verify();
    true
}

#[test]
fn forged_scopes_never_panic() {
    let mut random = Random::new(18);
    for name in ["far", "krr"] {
        let bytes = asked(name);
        let snapshot = Snapshot::from_bytes(&bytes).expect("intact");
        let entry = entry_of(snapshot.sections(), Section::Scope);
        let original = bytes[entry.offset as usize..][..entry.bytes as usize].to_vec();
        assert!(uses(&forged(&bytes, Section::Scope, &original)));
        let mut opened = 0;
        for _ in 0..600 {
            let mut content = original.clone();
            match random.below(3) {
                0 => {
                    let length = random.below(200) as usize;
                    content = (0..length).map(|_| random.next() as u8).collect();
                }
                1 => content.truncate(random.below(1 + content.len() as u64) as usize),
                _ => {
                    for _ in 0..1 + random.below(4) {
                        let at = random.below(content.len() as u64) as usize;
                        content[at] = random.one_of(&[0, 1, 0x7f, 0x80, 0xff]);
                    }
                }
            }
            opened += u32::from(uses(&forged(&bytes, Section::Scope, &content)));
        }
        assert!(opened > 0, "{name}: all are refused, and none is used");
    }
}

#[test]
fn scopes_with_extreme_numbers_never_panic() {
    let bytes = asked("far");
    let signed = [i64::MIN, -1, 0, 253_402_207_200, 253_402_300_800, i64::MAX];
    let unsigned = [0, 1, 1 << 40, i64::MAX as u64, u64::MAX];
    for (oldest, newest) in signed.into_iter().flat_map(|a| signed.map(|b| (a, b))) {
        for (max_age, delete_after) in unsigned.into_iter().flat_map(|a| unsigned.map(|b| (a, b))) {
            let (ids, refused) = (max_age, delete_after);
            let scope = Scope { oldest, newest, ids, refused, max_age, delete_after, ..Scope::default() };
            let content = rkyv::to_bytes::<rkyv::rancor::Error>(&scope).expect("encoded");
            let opens = uses(&forged(&bytes, Section::Scope, &content));
            assert_eq!(opens, scope.delete_by() > Timestamp::now());
        }
    }
}

/// An expired file does not open.
#[test]
fn expired_files_do_not_open() {
    for (name, kind) in [("far", Kind::Far), ("krr", Kind::Krr)] {
        let bytes = asked(name);
        let register = opened(&bytes).expect("intact");
        assert_eq!(register.kind(), kind);
        let scope = Scope { delete_after: 3600, ..register.scope().cloned().expect("a scope") };
        let by = scope.oldest() + SignedDuration::from_hours(1);
        let content = rkyv::to_bytes::<rkyv::rancor::Error>(&scope).expect("encoded");
        match opened(&forged(&bytes, Section::Scope, &content)) {
            Err(OpenError::Expired(found)) => assert_eq!(found, by),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it opens"),
        }
    }
}

/// The times of the answers are as many as the ids.
#[test]
fn forged_times_of_answers_are_refused() {
    let bytes = asked("krr");
    let snapshot = Snapshot::from_bytes(&bytes).expect("intact");
    let entry = entry_of(snapshot.sections(), Section::Answered);
    let original = bytes[entry.offset as usize..][..entry.bytes as usize].to_vec();
    for length in [0, 4, original.len() - 4] {
        let forged = forged(&bytes, Section::Answered, &original[..length]);
        // The section is the last one: the file ends with it.
        assert!(matches!(opened(&forged), Err(OpenError::Damaged { part: "answered", .. })), "{length}");
    }
    let all = forged(&bytes, Section::Answered, &vec![0xff; original.len()]);
    assert!(opened(&all).is_ok());
    let mut damaged = bytes.clone();
    damaged[entry.offset as usize + 4] ^= 1;
    let register = opened(&damaged).expect("times are checked when they are used");
    let mut refused = 0;
    let each = register.for_each::<Damage>(|identity, _| {
        refused += u32::from(register.answered(identity).is_err());
        Ok(())
    });
    each.expect("intact");
    assert_eq!(refused, register.recipients());
}
