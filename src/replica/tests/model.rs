//! What the source's register is after each change, told by applying the changes one by one in memory.

use crate::changes::apply::Editor;
use crate::changes::{Change, json};
use crate::register::content::Sums;
use crate::register::{Kind, Register};
use crate::store::{self, Lines, Reader};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

/// Sequence number of the register that the changes of the fixture follow.
pub(super) const FIRST: u64 = 1000;
/// The last of them.
pub(super) const LAST: u64 = 1300;

/// Where a source that was restored goes on with other changes than before.
pub(super) const FORKS: [u64; 3] = [1030, 1080, 1150];

/// Nobody in the fixtures says anything of it but its removal.
const SOMEBODY: &str = r#""remove_recipient":{"recipient_id":"#;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The files of the data directory of the fixture, made once, because that takes long.
fn data_directory() -> &'static [(OsString, Vec<u8>)] {
    static FILES: OnceLock<Vec<(OsString, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let files = super::place_for_files();
        let path = files.path().join("far");
        store::init(&fixture("far"), &path).expect("a data directory");
        let entries = fs::read_dir(path).expect("read").map(|entry| entry.expect("an entry"));
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).expect("read"))).collect()
    })
}

/// Makes the data directory of the fixture.
pub(super) fn begin(path: &Path) {
    fs::create_dir(path).expect("made");
    for (name, bytes) in data_directory() {
        fs::write(path.join(name), bytes).expect("written");
    }
}

/// What the source does after [`FIRST`], and what its content is then.
pub(super) struct History {
    changes: Vec<Change>,
    contents: Vec<String>,
    /// From where on it is another than that of the fixture.
    pub(super) fork: u64,
}

impl History {
    /// That of the fixture.
    pub(super) fn main() -> &'static History {
        static MAIN: OnceLock<History> = OnceLock::new();
        MAIN.get_or_init(|| {
            let text = std::fs::read_to_string(fixture("changes/far.jsonl")).expect("the fixture");
            History::of(&text, LAST)
        })
    }

    /// One that is the same up to one of [`FORKS`].
    pub(super) fn forked(fork: usize) -> &'static History {
        static FORKED: [OnceLock<History>; FORKS.len()] = [const { OnceLock::new() }; FORKS.len()];
        FORKED[fork].get_or_init(|| {
            let text = std::fs::read_to_string(fixture("changes/far.jsonl")).expect("the fixture");
            let lines = text.lines().zip(FIRST + 1..).map(|(line, sequence)| {
                if sequence == FORKS[fork] + 1 { without_somebody(line, &text) } else { line.to_owned() }
            });
            History::of(&lines.collect::<Vec<_>>().join("\n"), FORKS[fork])
        })
    }

    fn of(text: &str, fork: u64) -> History {
        let files = super::place_for_files();
        let path = files.path().join("far");
        begin(&path);
        let register = Reader::open(&path).expect("a register").register();
        let mut register = register.at(register.version().clone());
        let mut editor = Editor::of(&register).expect("whole");
        let mut contents = vec![content(&register)];
        let mut changes: Vec<Change> = Vec::new();
        for line in text.lines() {
            let change = json::parse(line.as_bytes(), Kind::Far).expect("a change");
            let applied = editor.apply(&register, std::slice::from_ref(&change)).expect("whole");
            // What does not fit any more is left out: a change of somebody who is not there.
            if applied.bad.is_empty() {
                register = applied.register;
                contents.push(content(&register));
                changes.push(change);
            }
        }
        assert_eq!(changes.len() as u64, LAST - FIRST);
        History { changes, contents, fork }
    }

    /// The changes after one sequence number up to another.
    pub(super) fn lines(&self, after: u64, to: u64) -> Lines {
        Lines::of(self.changes[(after - FIRST) as usize..(to - FIRST) as usize].to_vec())
    }

    /// The content at a sequence number, if it has that.
    pub(super) fn content(&self, sequence: u64) -> Option<&str> {
        let place = sequence.checked_sub(FIRST)?;
        self.contents.get(place as usize).map(String::as_str)
    }
}

/// Content of a register, as sources tell it.
pub(super) fn content(register: &Register) -> String {
    know_sums(register);
    register.content().expect("undamaged").to_string()
}

/// Sums up a register file only if its like has not been: to read all of it is most of what a simulation takes.
pub(super) fn know_sums(register: &Register) {
    type Known = Mutex<HashMap<blake3::Hash, Arc<OnceLock<Sums>>>>;
    static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);
    if register.has_known_sums() {
        return;
    }
    let digest = blake3::hash((**register.file()).as_ref());
    let known = Arc::clone(KNOWN.lock().expect("no panic").entry(digest).or_default());
    register.set_known_sums(known.get_or_init(|| register.known_sums()).clone());
}

/// A change at the same time that removes somebody of whom no change says anything.
fn without_somebody(line: &str, changes: &str) -> String {
    let recipients = std::fs::read_to_string(fixture("far/recipients.csv")).expect("the fixture");
    let ids = recipients.lines().skip(1).filter_map(|row| row.split(['\t', ';', ',']).next());
    let mut unknown = ids.filter(|id| id.len() == 12 && !changes.contains(id));
    let id = unknown.next().expect("somebody");
    let head = &line[..line.find("Z\",").expect("a time") + 3];
    format!("{head}{SOMEBODY}\"{id}\"}}}}")
}
