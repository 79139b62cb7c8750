//! The model: the register after each change, computed in memory by applying the changes one by one.

use super::disk::Bytes;
use crate::changes::apply::Editor;
use crate::changes::json;
use crate::changes::{Change, ChangeBody};
use crate::identities::Identity;
use crate::register::{Damage, Kind, Recipient, Register, StateRule};
use crate::snapshot::Snapshot;
use crate::store::Lines;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Sequence number before the first change of the fixture.
pub(super) const FIRST: u64 = 1000;
/// Sequence number of the last change.
pub(super) const LAST: u64 = 1300;

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The register file built from an extract of the fixtures.
pub(super) fn built(extract: &Path) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("register.nabar");
    crate::extract::build(extract, &file, &crate::extract::BuildOptions::strict()).expect("built");
    std::fs::read(&file).expect("read")
}

/// The register file of the fixture.
pub(super) fn register_file() -> Arc<Bytes> {
    static FILE: OnceLock<Arc<Bytes>> = OnceLock::new();
    Arc::clone(FILE.get_or_init(|| Arc::new(Bytes::of(&built(&fixture("far"))))))
}

fn texts() -> &'static [String] {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let text = std::fs::read_to_string(fixture("changes/far.jsonl")).expect("the fixture");
        let texts: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(texts.len() as u64, LAST - FIRST);
        texts
    })
}

/// Lines of the fixture, by sequence number.
pub(super) fn text(range: RangeInclusive<u64>) -> String {
    let indexes = (*range.start() - FIRST - 1) as usize..(*range.end() - FIRST) as usize;
    texts()[indexes].join("\n")
}

pub(super) fn lines(range: RangeInclusive<u64>) -> Lines {
    Lines::parse(text(range).as_bytes(), Kind::Far)
}

/// A line of the fixture as a change.
pub(super) fn change(sequence: u64) -> Change {
    json::parse(text(sequence..=sequence).as_bytes(), Kind::Far).expect("a change")
}

/// Digest of the content of a register.
pub(super) type Dump = [u8; 32];

/// Number of recipients, and each recipient that ever existed: a walk through all ordinals would take ten times as
/// long.
pub(super) fn dump(register: &Register) -> Dump {
    let mut text = String::new();
    let (sequence, as_of, recipients) = (register.sequence(), register.as_of(), register.recipients());
    let actors = (register.operators(), register.senders(), register.dispatchers());
    let content = register.content().expect("whole");
    write!(text, "{sequence} {as_of} {recipients} {actors:?} {content}").expect("into memory");
    for identity in everybody() {
        let mut recipient = register.recipient(identity).expect("whole");
        // The representation of the rule may differ; the rule itself is part of `recipient`.
        if let Some(Recipient::Far { state, .. }) = &mut recipient {
            state.rule = StateRule::AcceptsAll;
        }
        write!(text, "{} {recipient:?}", identity.as_str()).expect("into memory");
    }
    *blake3::hash(text.as_bytes()).as_bytes()
}

/// All recipients of the register before or after any change.
fn everybody() -> &'static [Identity] {
    static EVERYBODY: OnceLock<Vec<Identity>> = OnceLock::new();
    EVERYBODY.get_or_init(|| {
        let snapshot = Snapshot::of_storage(register_file()).expect("a register file");
        let mut known = Vec::new();
        let register = snapshot.register().expect("whole");
        let all = register.for_each::<Damage>(|identity, _| {
            known.push(identity.ordinal());
            Ok(())
        });
        all.expect("whole");
        known.extend((FIRST + 1..=LAST).filter_map(|sequence| match change(sequence).what {
            ChangeBody::PutRecipient(put) => Some(put.recipient),
            _ => None,
        }));
        known.sort_unstable();
        known.dedup();
        known.into_iter().filter_map(Identity::from_ordinal).collect()
    })
}

/// The register after the change with a sequence number.
pub(super) fn model(sequence: u64) -> Dump {
    static DUMPS: OnceLock<Vec<Dump>> = OnceLock::new();
    let dumps = DUMPS.get_or_init(|| {
        let snapshot = Snapshot::of_storage(register_file()).expect("a register file");
        let mut register = snapshot.register().expect("whole");
        let mut editor = Editor::of(&register).expect("whole");
        let mut dumps = vec![dump(&register)];
        for sequence in FIRST + 1..=LAST {
            let applied = editor.apply(&register, &[change(sequence)]).expect("whole");
            assert!(applied.bad.is_empty());
            register = applied.register;
            dumps.push(dump(&register));
        }
        dumps
    });
    dumps[(sequence - FIRST) as usize]
}
