//! Kills the real process, hundreds of times, at random moments.
//!
//! All rounds use one data directory. In each round a process applies an endless stream in small batches and makes
//! checkpoints all the time, while readers follow. It is killed after a number of bytes or visible batches, or when a
//! file of a checkpoint appears or disappears. Then the register must be at the end of a batch, equal to the stream up to
//! there, and must have everything that a reader has seen. At the end it must equal a register that gets the stream at
//! once.
//!
//! SIGKILL does not lose the page cache, so this tests the order of writes and renames, and opening what is left. Lost
//! writes are simulated in `src/store/tests/mod.rs`.
//!
//! Budget: 20 seconds on two cores, mostly waiting for the disk. The seed decides the conditions of the kills; the machine
//! decides where the process is then.

mod stream;

use crate::support::flag::SetOnDrop;
use crate::support::random::Random;
use crate::support::workspace::{fixture, nabar};
use nabar::store::Reader;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use stream::{BATCH, FIRST, Stream};

const ROUNDS: u64 = 200;
const SEED: u64 = 1;
/// After so many looks at the directory a process is killed although its condition was not met.
const POLLS: usize = 20_000;

fn command(args: &[&str]) -> Command {
    let mut command = nabar(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs a command that must succeed.
fn done(args: &[&str]) {
    let output = command(args).output().expect("run");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The files of an export.
fn export(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let output = directory.with_extension("export");
    done(&["export", text(directory), "-o", text(&output)]);
    let entries = fs::read_dir(&output).expect("directory").flatten();
    entries.map(|e| (e.file_name().into_string().expect("text"), fs::read(e.path()).expect("file"))).collect()
}

/// KillCondition to kill a process.
#[derive(Debug)]
enum KillCondition {
    /// After so many bytes written to its pipe.
    Fed(u64),
    /// After a reader has seen so many more batches.
    Seen(u64),
    /// After files with such a name have appeared or disappeared so many times.
    FilesChanged(&'static str, u64),
}

impl KillCondition {
    fn of(random: &mut Random) -> KillCondition {
        match random.below(8) {
            0 => KillCondition::Fed(random.below(4096) as u64),
            1 => KillCondition::Fed(random.below(1 << 17) as u64),
            2 | 3 => KillCondition::Seen(random.below(40) as u64),
            4 => KillCondition::FilesChanged(".partial", random.below(6) as u64),
            5 => KillCondition::FilesChanged("register-", random.below(6) as u64),
            6 => KillCondition::FilesChanged("changes-", random.below(6) as u64),
            _ => KillCondition::FilesChanged("", random.below(12) as u64),
        }
    }
}

/// The directory of all rounds.
struct KillRounds {
    stream: Stream,
    directory: PathBuf,
    /// The highest sequence number that a reader has seen.
    shown: AtomicU64,
    /// Set after the rounds, also if one has failed.
    over: AtomicBool,
}

impl KillRounds {
    /// Refreshes a reader and checks that it does not go back.
    fn follow(&self, reader: &mut Reader, seen: &mut u64) -> u64 {
        reader.refresh().expect("a reader that does not depend on the writer");
        let register = reader.register();
        let batches = self.stream.check_two(&register);
        assert!(register.sequence() >= *seen, "{} after {seen}", register.sequence());
        *seen = register.sequence();
        self.shown.fetch_max(*seen, Ordering::Relaxed);
        batches
    }

    /// Follows through all rounds.
    fn follow_all(&self) {
        let (mut reader, mut seen) = (Reader::open(&self.directory).expect("opened"), 0);
        while !self.over.load(Ordering::Relaxed) {
            self.follow(&mut reader, &mut seen);
            thread::yield_now();
        }
        // After the last write the reader must be level.
        self.follow(&mut reader, &mut seen);
        assert_eq!(seen, Reader::open(&self.directory).expect("opened").register().sequence());
        self.stream.check_all(&reader.register());
    }

    /// The file names that contain a text.
    fn names(&self, part: &str) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).expect("directory").flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("text"));
        let mut names: Vec<String> = names.filter(|name| name.contains(part)).collect();
        names.sort();
        names
    }

    /// A process from its start to its end. Returns the names of the files that it leaves.
    fn round(&self, random: &mut Random) -> Vec<String> {
        let mut reader = Reader::open(&self.directory).expect("opened");
        let begin = self.stream.check_all(&reader.register());
        let mut seen = FIRST + begin * BATCH;
        // Repeats some batches that the register has.
        let first = begin + 1 - (random.below(3) as u64).min(begin);
        let arguments = ["apply", text(&self.directory), "-", "--batch", "20", "--checkpoint-at", "3000"];
        let mut child = command(&arguments).stdin(Stdio::piped()).spawn().expect("spawned");
        let input = child.stdin.take().expect("piped");
        let (when, fed) = (KillCondition::of(random), AtomicU64::new(0));
        let pid = child.id();
        thread::scope(|scope| {
            scope.spawn(|| self.feed(first, input, &fed));
            let _killed = KilledOnPanic(pid);
            let (mut turns, mut names) = (0, self.names(""));
            for _ in 0..POLLS {
                let batches = self.follow(&mut reader, &mut seen);
                let kill = match when {
                    KillCondition::Fed(bytes) => fed.load(Ordering::Relaxed) >= bytes,
                    KillCondition::Seen(more) => batches >= begin + more,
                    KillCondition::FilesChanged(part, times) => {
                        let now = self.names(part);
                        turns += u64::from(now != names);
                        names = now;
                        turns > times
                    }
                };
                if kill {
                    break;
                }
                thread::yield_now();
            }
            self.kill(&mut child, &when);
        });
        let left = self.names("");
        let before = self.shown.load(Ordering::Relaxed);
        let register = Reader::open(&self.directory).expect("what is left can be read").register();
        self.stream.check_all(&register);
        assert!(register.sequence() >= before, "{before} was shown, {} is left", register.sequence());
        left
    }

    /// Feeds batches until the pipe is closed.
    fn feed(&self, first: u64, mut input: ChildStdin, fed: &AtomicU64) {
        for number in first.. {
            let batch = self.stream.batch(number);
            // In pieces that end in the middle of lines.
            for piece in batch.as_bytes().chunks(1500) {
                if input.write_all(piece).is_err() {
                    return;
                }
                fed.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
    }

    fn kill(&self, child: &mut Child, when: &KillCondition) {
        // If it ended before, standard error has the reason.
        let ended = child.try_wait().expect("waited");
        child.kill().expect("killed");
        child.wait().expect("ended");
        let mut error = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut error).expect("text");
        assert!(ended.is_none() && !error.contains("panicked"), "{when:?}: {ended:?}: {error}");
    }
}

/// Kills a process if the test fails: it would read without end what it is fed.
struct KilledOnPanic(u32);

impl Drop for KilledOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = std::process::Command::new("kill").args(["-9", &self.0.to_string()]).status();
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_a_reader_has_seen() {
    let work = tempfile::tempdir().expect("directory");
    let (directory, other) = (work.path().join("killed"), work.path().join("other"));
    for directory in [&directory, &other] {
        done(&["init", &fixture("far"), text(directory)]);
    }
    let shown = AtomicU64::new(FIRST);
    let killed = KillRounds { stream: Stream::new(), directory, shown, over: AtomicBool::new(false) };
    let mut left: BTreeMap<&str, u64> = BTreeMap::new();
    thread::scope(|scope| {
        let following = scope.spawn(|| killed.follow_all());
        let rounds = SetOnDrop(&killed.over);
        let mut random = Random::new(SEED);
        for _ in 0..ROUNDS {
            let names = killed.round(&mut random);
            let count = |part: &str| names.iter().filter(|name| name.starts_with(part)).count();
            let state = match (count(".register-"), count(".changes-"), count("register-"), count("changes-"))
            {
                (1.., ..) => "while a register file was written",
                (_, 1.., ..) => "while a segment was begun",
                (_, _, 2.., _) | (.., 2..) => "within a checkpoint, between two files",
                _ => "with nothing in the middle",
            };
            *left.entry(state).or_default() += 1;
        }
        drop(rounds);
        following.join().expect("the reader that follows");
    });
    let register = Reader::open(&killed.directory).expect("opened").register();
    let batches = killed.stream.check_all(&register);
    println!("{ROUNDS} processes were killed, over {batches} batches: {left:?}");
    // The rest of the stream; for the other register the whole stream at once.
    let changes = work.path().join("changes.jsonl");
    let all: String = (1..=batches + 10).map(|number| killed.stream.batch(number)).collect();
    fs::write(&changes, all).expect("written");
    for directory in [&killed.directory, &other] {
        done(&["apply", text(directory), text(&changes)]);
        done(&["verify", text(directory)]);
    }
    assert!(export(&killed.directory) == export(&other));
}
