//! The source's register after each change, computed by applying the changes one by one in memory.

use crate::changes::apply::Editor;
use crate::changes::{Change, json};
use crate::register::content::ContentSums;
use crate::register::{Kind, Register};
use crate::store::{self, Lines, Reader};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

/// Sequence number before the changes of the fixture.
pub(super) const FIRST: u64 = 1000;
/// Last sequence number of the fixture.
pub(super) const LAST: u64 = 1300;

/// Sequence numbers at which a restored source continues with other changes.
pub(super) const FORKS: [u64; 3] = [1030, 1080, 1150];

/// Begin of the removal of a recipient.
const REMOVAL: &str = r#""remove_recipient":{"recipient_id":"#;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Files of the fixture's data directory, made once because that is slow.
fn data_directory() -> &'static [(OsString, Vec<u8>)] {
    static FILES: OnceLock<Vec<(OsString, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let files = super::fast_directory();
        let path = files.path().join("far");
        store::init(fixture("far"), &path).expect("a data directory");
        let entries = fs::read_dir(path).expect("read").map(|entry| entry.expect("an entry"));
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).expect("read"))).collect()
    })
}

/// Creates the data directory of the fixture.
pub(super) fn begin(path: &Path) {
    fs::create_dir(path).expect("made");
    for (name, bytes) in data_directory() {
        fs::write(path.join(name), bytes).expect("written");
    }
}

/// The source's changes after [`FIRST`], and the content after each.
pub(super) struct History {
    changes: Vec<Change>,
    contents: Vec<String>,
    /// Last sequence number that is equal to the fixture's.
    pub(super) fork: u64,
}

impl History {
    /// The history of the fixture.
    pub(super) fn main() -> &'static History {
        static MAIN: OnceLock<History> = OnceLock::new();
        MAIN.get_or_init(|| {
            let text = std::fs::read_to_string(fixture("changes/far.jsonl")).expect("the fixture");
            History::of(&text, LAST)
        })
    }

    /// A history that is equal up to one of [`FORKS`].
    pub(super) fn forked(fork: usize) -> &'static History {
        static FORKED: [OnceLock<History>; FORKS.len()] = [const { OnceLock::new() }; FORKS.len()];
        FORKED[fork].get_or_init(|| {
            let text = std::fs::read_to_string(fixture("changes/far.jsonl")).expect("the fixture");
            let lines = text.lines().zip(FIRST + 1..).map(|(line, sequence)| {
                if sequence == FORKS[fork] + 1 { with_removal(line, &text) } else { line.to_owned() }
            });
            History::of(&lines.collect::<Vec<_>>().join("\n"), FORKS[fork])
        })
    }

    fn of(text: &str, fork: u64) -> History {
        let files = super::fast_directory();
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
            // Changes of the removed recipient no longer apply and are left out.
            if applied.bad.is_empty() {
                register = applied.register;
                contents.push(content(&register));
                changes.push(change);
            }
        }
        assert_eq!(changes.len() as u64, LAST - FIRST);
        History { changes, contents, fork }
    }

    /// The changes between two sequence numbers.
    pub(super) fn lines(&self, after: u64, to: u64) -> Lines {
        Lines::of(self.changes[(after - FIRST) as usize..(to - FIRST) as usize].to_vec())
    }

    /// The content digest at a sequence number, if the history has it.
    pub(super) fn content(&self, sequence: u64) -> Option<&str> {
        let index = sequence.checked_sub(FIRST)?;
        self.contents.get(index as usize).map(String::as_str)
    }
}

/// Content digest of a register, as sources send it.
pub(super) fn content(register: &Register) -> String {
    know_sums(register);
    register.content().expect("undamaged").to_string()
}

/// Computes the sums of equal register files only once: reading them takes most of a simulation's time.
pub(super) fn know_sums(register: &Register) {
    type Known = Mutex<HashMap<blake3::Hash, Arc<OnceLock<ContentSums>>>>;
    static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);
    if register.has_known_sums() {
        return;
    }
    let digest = blake3::hash((**register.file()).as_ref());
    let known = Arc::clone(KNOWN.lock().expect("no panic").entry(digest).or_default());
    register.set_known_sums(known.get_or_init(|| register.known_sums()).clone());
}

/// A change at the same time that removes a recipient whom no change concerns.
fn with_removal(line: &str, changes: &str) -> String {
    let recipients = std::fs::read_to_string(fixture("far/recipients.csv")).expect("the fixture");
    let ids = recipients.lines().skip(1).filter_map(|row| row.split(['\t', ';', ',']).next());
    let mut unknown = ids.filter(|id| id.len() == 12 && !changes.contains(id));
    let id = unknown.next().expect("a recipient");
    let head = &line[..line.find("Z\",").expect("a time") + 3];
    format!("{head}{REMOVAL}\"{id}\"}}}}")
}
