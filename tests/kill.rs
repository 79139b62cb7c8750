//! Kills the real process, hundreds of times, at moments that nobody has chosen well.
//!
//! One data directory goes through all rounds. In each a process applies an endless stream in small batches
//! and makes checkpoints all the time, while readers follow; it is killed when so many bytes were fed, or
//! so many batches were seen, or when a file of a checkpoint turns up or goes. What then must hold: the
//! register is at the end of a batch, all of it as the stream says, and nothing that a reader has shown is
//! gone. In the end the register is the one that gets all of the stream at once.
//!
//! SIGKILL leaves what was written in the page cache, so this is about the order of writes and renames, and
//! about opening what is left. Lost writes are simulated in `src/store/tests.rs`.
//!
//! Budget: 20 seconds on two cores, of which most is waiting for the disk. The seed decides what is killed
//! for; where that finds the process is up to the machine.

#[allow(dead_code)] // The model uses more of it.
#[path = "model/random.rs"]
mod random;
#[path = "kill/stream.rs"]
mod stream;

use nabar::store::Reader;
use random::Random;
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
/// Looks at the directory before a process is killed for nothing: what it waited for did not come.
const POLLS: usize = 20_000;

fn nabar(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabar"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs a command that must succeed.
fn done(args: &[&str]) {
    let output = nabar(args).output().expect("run");
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

/// What a process is killed for.
#[derive(Debug)]
enum When {
    /// So many bytes have gone into its pipe.
    Fed(u64),
    /// A reader has seen so many more batches.
    Seen(u64),
    /// A file with such a name has turned up so many times, or has gone.
    Turned(&'static str, u64),
}

impl When {
    fn of(random: &mut Random) -> When {
        match random.below(8) {
            0 => When::Fed(random.below(4096) as u64),
            1 => When::Fed(random.below(1 << 17) as u64),
            2 | 3 => When::Seen(random.below(40) as u64),
            4 => When::Turned(".partial", random.below(6) as u64),
            5 => When::Turned("register-", random.below(6) as u64),
            6 => When::Turned("changes-", random.below(6) as u64),
            _ => When::Turned("", random.below(12) as u64),
        }
    }
}

/// The directory of all rounds.
struct Killed {
    stream: Stream,
    directory: PathBuf,
    /// The highest sequence number that anybody has shown.
    shown: AtomicU64,
    /// Set when the rounds are over, also if one of them has failed.
    over: AtomicBool,
}

/// Ends the reader that follows, whatever happens.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Killed {
    /// Takes in what is new, and checks that it does not go back.
    fn follow(&self, reader: &mut Reader, seen: &mut u64) -> u64 {
        reader.refresh().expect("a reader goes on, whatever becomes of the writer");
        let register = reader.register();
        let batches = self.stream.check_two(&register);
        assert!(register.sequence() >= *seen, "{} after {seen}", register.sequence());
        *seen = register.sequence();
        self.shown.fetch_max(*seen, Ordering::Relaxed);
        batches
    }

    /// Reads on through all rounds.
    fn follow_all(&self) {
        let (mut reader, mut seen) = (Reader::open(&self.directory).expect("opened"), 0);
        while !self.over.load(Ordering::Relaxed) {
            self.follow(&mut reader, &mut seen);
            thread::yield_now();
        }
        // Nobody writes any more: it has not been left behind.
        self.follow(&mut reader, &mut seen);
        assert_eq!(seen, Reader::open(&self.directory).expect("opened").register().sequence());
        self.stream.check_all(&reader.register());
    }

    /// The names of the files of one sort.
    fn names(&self, part: &str) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).expect("directory").flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("text"));
        let mut names: Vec<String> = names.filter(|name| name.contains(part)).collect();
        names.sort();
        names
    }

    /// A process from its start to its end. Returns what it has left of files.
    fn round(&self, random: &mut Random) -> Vec<String> {
        let mut reader = Reader::open(&self.directory).expect("opened");
        let begin = self.stream.check_all(&reader.register());
        let mut seen = FIRST + begin * BATCH;
        // Some batches that are there already come again.
        let first = begin + 1 - (random.below(3) as u64).min(begin);
        let arguments = ["apply", text(&self.directory), "-", "--batch", "20", "--checkpoint-at", "3000"];
        let mut child = nabar(&arguments).stdin(Stdio::piped()).spawn().expect("spawned");
        let input = child.stdin.take().expect("piped");
        let (when, fed) = (When::of(random), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| self.feed(first, input, &fed));
            let (mut turns, mut names) = (0, self.names(""));
            for _ in 0..POLLS {
                let batches = self.follow(&mut reader, &mut seen);
                let kill = match when {
                    When::Fed(bytes) => fed.load(Ordering::Relaxed) >= bytes,
                    When::Seen(more) => batches >= begin + more,
                    When::Turned(part, times) => {
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

    /// Feeds batches until nobody takes them.
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

    fn kill(&self, child: &mut Child, when: &When) {
        // If it has ended by itself, it says why.
        let ended = child.try_wait().expect("waited");
        child.kill().expect("killed");
        child.wait().expect("ended");
        let mut error = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut error).expect("text");
        assert!(ended.is_none() && !error.contains("panicked"), "{when:?}: {ended:?}: {error}");
    }
}

#[test]
fn whenever_the_writer_is_killed_nothing_that_was_shown_is_lost() {
    let work = tempfile::tempdir().expect("directory");
    let (directory, other) = (work.path().join("killed"), work.path().join("other"));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
    done(&["init", text(&fixture), text(&directory)]);
    done(&["init", text(&fixture), text(&other)]);
    let shown = AtomicU64::new(FIRST);
    let killed = Killed { stream: Stream::new(), directory, shown, over: AtomicBool::new(false) };
    let mut left: BTreeMap<&str, u64> = BTreeMap::new();
    thread::scope(|scope| {
        let following = scope.spawn(|| killed.follow_all());
        let rounds = End(&killed.over);
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
    // The rest of the stream, then all of it at once.
    let changes = work.path().join("changes.jsonl");
    let all: String = (1..=batches + 10).map(|number| killed.stream.batch(number)).collect();
    fs::write(&changes, all).expect("written");
    for directory in [&killed.directory, &other] {
        done(&["apply", text(directory), text(&changes)]);
        done(&["verify", text(directory)]);
    }
    assert!(export(&killed.directory) == export(&other));
}
