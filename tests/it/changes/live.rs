//! Several processes use one data directory: one writes, the others read.

use crate::support::workspace::{SENDER, Workspace, fixture, lines_of, segment, shows_no_identity, text};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const CHANGES: &str = "changes/far.jsonl";
const QUESTION: [&str; 4] = ["--sender", SENDER, "--date", "2026-06-01"];

/// A running `nabar lookup` that gets one id after another.
struct OpenLookup<'w> {
    work: &'w Workspace,
    child: Child,
    ids: ChildStdin,
    /// Filled by a reading thread, so that waiting for a missing answer can time out.
    answers: Receiver<String>,
}

impl OpenLookup<'_> {
    fn new<'w>(work: &'w Workspace, args: &[&str]) -> OpenLookup<'w> {
        let mut child = work.spawn(&[&["lookup", "-r", "data"], &QUESTION[..], args].concat());
        let (ids, out) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (answered, answers) = channel();
        thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| answered.send(line))
        });
        OpenLookup { work, child, ids, answers }
    }

    fn ask(&mut self, id: &str) -> Value {
        writeln!(self.ids, "{id}").expect("lookup");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut answer = None;
        self.work.until("an answer", || {
            answer = self.answers.try_recv().ok();
            answer.is_some()
        });
        serde_json::from_str(&answer.expect("there")).expect("JSON")
    }

    fn end(mut self) {
        drop(self.ids);
        let mut error = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut error).expect("text");
        assert!(self.child.wait().expect("ended").success() && error.is_empty(), "{error}");
    }
}

/// A change of one recipient's account type, and the recipient.
fn change(sequence: u64, account: &str) -> String {
    let put = json!({"recipient_id": "196810199809", "type": account});
    json!({"sequence": sequence, "time": "2026-06-02T00:00:00Z", "put_recipient": put}).to_string()
}

#[test]
fn an_open_lookup_answers_from_the_newest_version() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let mut lookup = OpenLookup::new(&work, &["-"]);
    let first = lookup.ask("196810199809");
    assert_eq!((first["sequence"].as_u64(), first["type"].as_str()), (Some(1000), Some("Secure")));
    let mut sequence = 1000;
    // Some checkpoints, and two before the next id: the lookup has then missed a whole segment.
    for (account, checkpoints) in [("Not", 0), ("Secure", 1), ("Not", 2), ("Secure", 0), ("Not", 3)] {
        for _ in 0..checkpoints.max(1) {
            sequence += 1;
            work.write("change.jsonl", change(sequence, account));
            work.apply(&["data", "change.jsonl"]);
            if checkpoints > 0 {
                work.done(&["checkpoint", "data", "--quiet"]);
            }
        }
        let answer = lookup.ask("19681019-9809");
        assert_eq!((answer["sequence"].as_u64(), answer["type"].as_str()), (Some(sequence), Some(account)));
        assert_eq!(answer["as_of"], "2026-06-02T00:00:00Z");
    }
    assert_eq!(lookup.ask("unknown")["reason"], "bad_character");
    lookup.end();
}

/// Ids on the command line are answered before standard input is read.
#[test]
fn an_answer_does_not_wait_for_the_next_id() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let mut lookup = OpenLookup::new(&work, &["196810199809", "-"]);
    assert_eq!(lookup.answer()["sequence"], 1000);
    work.apply(&["data", &fixture(CHANGES)]);
    assert_eq!(lookup.ask("196810199809")["sequence"], 1300);
    lookup.end();
}

/// The first id may come long after the register was opened. The test sees that it is open in the process's mappings.
#[cfg(target_os = "linux")]
#[test]
fn the_first_id_is_answered_from_the_newest_version() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let mut lookup = OpenLookup::new(&work, &["-"]);
    let maps = format!("/proc/{}/maps", lookup.child.id());
    work.until("mapped", || fs::read_to_string(&maps).expect("maps").contains("/register-"));
    work.write("change.jsonl", change(1001, "Not"));
    work.apply(&["data", "change.jsonl"]);
    assert_eq!(lookup.ask("196810199809")["sequence"], 1001);
    lookup.end();
}

#[test]
fn answers_and_reports_carry_the_sequence_number_of_their_register() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let list = fixture("far-list.csv");
    let report =
        |command: &[&str]| work.json(&[command, &["-r", "data", &list, "--json"], &QUESTION].concat());
    let before = report(&["check"]);
    assert_eq!(before["register"]["sequence"], 1000);
    work.apply(&["data", &fixture(CHANGES)]);
    let after = report(&["check"]);
    let split = report(&["split", "-o", "out"]);
    for report in [&after, &split] {
        assert_eq!(report["register"]["sequence"], 1300);
        assert_eq!(report["register"]["as_of"], work.json(&["inspect", "data", "--json"])["as_of"]);
    }
    assert_ne!(before["outcomes"], after["outcomes"], "the changes have changed something");
    // The directory answers as a register file of the same register does.
    work.done(&["export", "data", "-o", "extract"]);
    work.done(&["build", "extract", "-o", "file.nabar", "--quiet"]);
    let of_file = work
        .json(&[&["split", "-r", "file.nabar", &list, "--json", "-o", "of-file"], &QUESTION[..]].concat());
    for name in ["outcomes", "reasons", "duplicates", "list"] {
        assert_eq!((&after[name], &split[name]), (&of_file[name], &of_file[name]), "{name}");
    }
    for name in work.names("out").iter().filter(|name| name.ends_with(".csv")) {
        let [out, of_file] =
            ["out", "of-file"].map(|directory| fs::read(work.path(directory).join(name)).expect("file"));
        assert!(out == of_file, "{name}");
    }
    let answer = work.done(&[&["lookup", "-r", "data", "196810199809", "abc"], &QUESTION[..]].concat());
    assert!(
        answer.lines().count() == 2 && answer.lines().all(|line| line.contains("\"sequence\":1300")),
        "{answer}"
    );
}

#[test]
fn one_process_writes_at_a_time_and_all_others_read() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let lines = lines_of(CHANGES);
    let mut first = work.spawn(&["apply", "data", "-", "--batch", "1", "--json"]);
    let mut input = first.stdin.take().expect("piped");
    writeln!(input, "{}", lines[0]).expect("fed");
    work.until("the first change", || work.sequence("data") == 1001);
    for second in [&["apply", "data", &fixture(CHANGES)][..], &["checkpoint", "data"]] {
        let report = work.fails(1, second);
        assert!(report.contains("another process is writing to data"), "{report}");
    }
    assert_eq!(work.changes("data", 1000).lines().count(), 1);
    input.write_all(text(&lines[1..]).as_bytes()).expect("fed");
    drop(input);
    let output = first.wait_with_output().expect("ended");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), report["applied"].as_u64()), (Some(0), Some(300)));
    // The lock goes with the process.
    work.done(&["checkpoint", "data", "--quiet"]);
}

/// A process that feeds through a pipe learns of a refusal when it happens, not with the next change.
#[test]
fn a_refused_batch_ends_the_process_while_its_feed_is_still_open() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let lines = lines_of(CHANGES);
    let mut child = work.spawn(&["apply", "data", "-", "--batch", "1"]);
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text(&[&lines[0], &lines[7]]).as_bytes()).expect("fed");
    work.until("ended", || child.try_wait().expect("waited").is_some());
    let output = child.wait_with_output().expect("ended");
    let (message, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(message.starts_with("from sequence 1000 to 1001: 1 changes"), "{message}");
    assert!(error.contains("line 2: expected 1002, got 1008"), "{error}");
    shows_no_identity(&message);
    shows_no_identity(&error);
    assert_eq!(work.sequence("data"), 1001);
    drop(input);
}

/// A crash may leave a large part of a batch. Readers may have it open while the next writer cuts it off.
#[test]
fn readers_outlive_a_torn_end_that_a_writer_removes() {
    let work = Workspace::with_data_directories("far", &["data"]);
    work.apply(&["data", &fixture(CHANGES)]);
    let log = work.path("data").join(segment(1000));
    let whole = fs::metadata(&log).expect("there").len();
    for _ in 0..5 {
        File::options().write(true).open(&log).expect("log").set_len(whole + (32 << 20)).expect("longer");
        let readers =
            [0; 3].map(|_| work.command(&["changes", "data", "--from", "1299"]).spawn().expect("spawned"));
        let writer = work.run(&["apply", "data", "-", "--quiet"]);
        for reader in readers {
            let output = reader.wait_with_output().expect("ended");
            assert!(output.status.success(), "{:?}", output.status);
            assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
        }
        let message = String::from_utf8_lossy(&writer.stderr);
        assert!(
            writer.status.success() && message.contains("cut short; the register is at sequence 1300"),
            "{message}"
        );
        assert_eq!(fs::metadata(&log).expect("there").len(), whole);
    }
}

/// The first signal ends a running job and keeps what it has applied. A waiting job sees the signal when the next change
/// arrives.
#[cfg(unix)]
#[test]
fn a_signal_ends_a_feed_with_what_it_has_applied() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let lines = lines_of(CHANGES);
    let mut child = work.spawn(&["apply", "data", "-", "--batch", "1", "--json"]);
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text(&lines[..20]).as_bytes()).expect("fed");
    work.until("all that was fed", || work.sequence("data") == 1020);
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    // A separate thread handles the signal, so some more changes may be applied first.
    for (line, sequence) in lines[20..].iter().zip(1021..) {
        if writeln!(input, "{line}").is_err() {
            break;
        }
        work.until("applied or ended", || {
            child.try_wait().expect("waited").is_some() || work.sequence("data") == sequence
        });
    }
    let output = child.wait_with_output().expect("ended");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{error}");
    let to = serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["to"].as_u64().expect("number");
    assert!(error.contains(&format!("interrupted; the changes up to sequence {to} are applied")), "{error}");
    assert_eq!(work.sequence("data"), to);
    assert_eq!(work.apply(&["data", &fixture(CHANGES)])["applied"], 1300 - to);
}
