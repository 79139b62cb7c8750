//! Making data directories, and folding their logs into new register files.

use crate::support::workspace::{SENDER, Workspace, fixture, lines_of, register_file, segment, text};
use serde_json::Value;
use std::fs;
use std::io::Write;

const CHANGES: &str = "changes/far.jsonl";

#[test]
fn a_register_file_and_its_extract_make_the_same_directory() {
    for (kind, recipients) in [("far", 500), ("krr", 400), ("krr-xml", 50)] {
        let work = Workspace::new();
        work.done(&["build", &fixture(kind), "-o", "file.nabar", "--quiet"]);
        let built = fs::read(work.path("file.nabar")).expect("built");
        let mut exports = Vec::new();
        for (directory, source) in [("of-file", "file.nabar".to_owned()), ("data/of extract", fixture(kind))]
        {
            let message = work.done(&["init", &source, directory]);
            let described = work.json(&["inspect", directory, "--json"]);
            let sequence = described["sequence"].as_u64().expect("number");
            assert_eq!(message, format!("{directory}: {recipients} recipients at sequence {sequence}\n"));
            assert_eq!(described["recipients"], recipients);
            let file = work.path(directory).join(register_file(sequence));
            assert!(fs::read(file).expect("register file") == built, "{directory}");
            assert_eq!(work.changes(directory, sequence), "");
            assert!(work.done(&["verify", directory]).contains("whole"));
            exports.push(work.export(directory));
        }
        assert!(exports[0] == exports[1] && exports[0] == work.export("file.nabar"), "{kind}");
    }
}

#[test]
fn commands_refuse_other_directories_and_init_needs_an_empty_one() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let before = work.names("data");
    let again = work.fails(2, &["init", &fixture("far"), "data"]);
    assert!(again.contains("data exists already and is not empty"), "{again}");
    assert_eq!(work.names("data"), before);
    fs::create_dir(work.path("mine")).expect("made");
    work.write("mine/notes.txt", "keep");
    work.fails(2, &["init", &fixture("far"), "mine"]);
    fs::create_dir(work.path("empty")).expect("made");
    for (name, advice) in [
        ("mine", "is not a data directory: make one with `nabar init`"),
        ("empty", "is not a data directory: make one with `nabar init`"),
        ("mine/notes.txt", "is a file, not a data directory: `nabar init FILE DIR` makes one"),
    ] {
        let changes = fixture(CHANGES);
        let question = ["--sender", SENDER, "--date", "2026-06-01"];
        for command in [
            &["apply", name, &changes][..],
            &["changes", name, "--from", "0"],
            &["checkpoint", name],
            &["inspect", name],
            &[&["lookup", "-r", name, "196810199809"], &question[..]].concat(),
        ] {
            // These two also read register files.
            let reads_files = ["inspect", "lookup"].contains(&command[0]) && work.path(name).is_file();
            let message = work.fails(if reads_files { 1 } else { 2 }, command);
            assert!(message.contains(name), "{message}");
            assert!(reads_files || message.contains(advice), "{message}");
        }
    }
    work.fails(2, &["apply", "none", &fixture(CHANGES)]);
    work.fails(1, &["inspect", "none"]);
    assert_eq!((work.names("mine"), work.names("empty")), (vec!["notes.txt".to_owned()], vec![]));
    let bad = work.fails(1, &["init", "mine/notes.txt", "empty"]);
    assert!(bad.contains("not a register file"), "{bad}");
    work.done(&["init", &fixture("far"), "empty"]);
}

/// A crash in the middle of `init` leaves a log without a register file.
#[test]
fn an_init_that_was_interrupted_can_be_repeated_with_another_register() {
    let work = Workspace::with_data_directories("far", &["old", "newer"]);
    work.apply(&["newer", &fixture(CHANGES)]);
    work.done(&["checkpoint", "newer", "--quiet"]);
    for (name, left, source, sequence) in
        [("up", ("old", 1000), ("newer", 1300), 1300), ("down", ("newer", 1300), ("old", 1000), 1000)]
    {
        fs::create_dir(work.path(name)).expect("made");
        let leftover = segment(left.1);
        fs::copy(work.path(left.0).join(&leftover), work.path(name).join(&leftover)).expect("copied");
        work.write(&format!("{name}/.{}.partial", register_file(left.1)), "half");
        let source = format!("{}/{}", source.0, register_file(source.1));
        work.done(&["init", &source, name, "--quiet"]);
        assert_eq!(work.sequence(name), sequence);
        assert_eq!(work.changes(name, sequence), "");
        let gone = work.fails(2, &["changes", name, "--from", "999"]);
        assert!(gone.contains(&format!("begins after {sequence}")), "{gone}");
        let report = work.apply(&[name, &fixture(CHANGES)]);
        assert_eq!(report["to"], 1300);
    }
    assert!(work.export("up") == work.export("down"));
}

#[test]
fn a_checkpoint_is_the_register_that_a_build_of_the_export_makes() {
    for (kind, changes) in [("far", CHANGES), ("krr", "changes/krr.jsonl")] {
        let work = Workspace::with_data_directories(kind, &["data", "kept"]);
        for directory in ["data", "kept"] {
            work.apply(&[directory, &fixture(changes), "--batch", "30"]);
        }
        let (files, log, to) = (work.export("data"), work.changes("data", 1000), work.sequence("data"));
        work.done(&["export", "data", "-o", "extract"]);
        work.done(&["build", "extract", "-o", "rebuilt.nabar", "--strict", "--quiet"]);
        let message = work.done(&["checkpoint", "data"]);
        let expected = format!("data: register file of sequence {to} with {} changes, ", to - 1000);
        assert!(message.starts_with(&expected) && message.contains("2 files removed"), "{message}");
        work.done(&["checkpoint", "kept", "--keep", "--quiet"]);
        let rebuilt = fs::read(work.path("rebuilt.nabar")).expect("rebuilt");
        for directory in ["data", "kept"] {
            let file = fs::read(work.path(directory).join(register_file(to))).expect("register file");
            assert!(file == rebuilt, "{kind}: {directory}");
            assert!(work.export(directory) == files, "{kind}: {directory}");
            assert!(work.done(&["verify", directory]).contains("whole"));
        }
        let names = |sequences: &[u64], name: fn(u64) -> String| sequences.iter().map(|&s| name(s)).collect();
        let expected = |sequences: &[u64]| -> Vec<String> {
            let files: Vec<String> = names(sequences, segment);
            let lock = ["lock", "mode"].map(str::to_owned);
            let registers: Vec<String> = names(sequences, register_file);
            let rejected = ["rejected.csv".to_owned()];
            [&files[..], &lock, &registers, &rejected].concat()
        };
        assert_eq!(work.names("data"), expected(&[to]));
        assert_eq!(work.names("kept"), expected(&[1000, to]));
        let gone = work.fails(2, &["changes", "data", "--from", &(to - 1).to_string()]);
        assert!(gone.contains(&format!("which begins after {to}")), "{gone}");
        assert_eq!(work.changes("data", to), "");
        assert!(work.changes("kept", 1000) == log, "the log continues across the checkpoint");
        // A second run has nothing to do; without --keep it removes the old files.
        assert!(work.done(&["checkpoint", "data"]).contains("with 0 changes"));
        assert!(work.done(&["checkpoint", "kept"]).contains("2 files removed"));
        assert_eq!(work.names("kept"), expected(&[to]));
    }
}

#[test]
fn checkpoints_do_not_change_what_later_batches_do() {
    let work = Workspace::with_data_directories("far", &["plain", "often"]);
    let lines = lines_of(CHANGES);
    for (number, part) in lines.chunks(75).enumerate() {
        work.write("part.jsonl", text(part));
        for directory in ["plain", "often"] {
            work.apply(&[directory, "part.jsonl", "--batch", "10"]);
        }
        work.done(&["checkpoint", "often", if number % 2 == 0 { "--keep" } else { "--quiet" }]);
        assert!(work.export("plain") == work.export("often"), "{number}");
    }
    // Changes that the checkpoint folded away are skipped unread; those in the log are compared.
    let report = work.apply(&["often", &fixture(CHANGES), "--batch", "7"]);
    assert_eq!((report["skipped"].as_u64(), report["applied"].as_u64()), (Some(300), Some(0)));
}

#[test]
fn a_long_log_makes_a_checkpoint_by_itself() {
    let work = Workspace::with_data_directories("far", &["never", "often", "kept"]);
    let changes = fixture(CHANGES);
    let often = ["--batch", "10", "--checkpoint-at", "1000"];
    work.apply(&["never", &changes, "--batch", "10", "--checkpoint-at", "0"]);
    work.apply(&[&["often", &changes], &often[..]].concat());
    work.apply(&[&["kept", &changes, "--keep"], &often[..]].concat());
    let registers = |directory: &str| -> Vec<String> {
        work.names(directory).into_iter().filter(|name| name.ends_with(".nabar")).collect()
    };
    assert_eq!(registers("never"), [register_file(1000)]);
    assert!(registers("often").len() == 1 && registers("often") > vec![register_file(1000)]);
    assert!(registers("kept").len() > 1 && registers("kept")[0] == register_file(1000));
    for directory in ["often", "kept"] {
        assert!(work.export(directory) == work.export("never"), "{directory}");
    }
    assert!(work.changes("kept", 1000) == work.changes("never", 1000));
}

/// All segments count towards the length that starts a checkpoint, also after a restart: otherwise a feed that restarts
/// often would never reach one.
#[test]
fn a_log_of_several_segments_is_as_long_as_all_of_them() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let lines = lines_of(CHANGES);
    work.write("begin.jsonl", text(&lines[..250]));
    work.apply(&["data", "begin.jsonl", "--batch", "10"]);
    work.done(&["checkpoint", "data", "--keep", "--quiet"]);
    // As after a crash before the register file was renamed.
    fs::remove_file(work.path("data").join(register_file(1250))).expect("removed");
    assert_eq!(work.sequence("data"), 1250);
    work.write("next.jsonl", text(&lines[250..252]));
    let log: u64 = [1000, 1250]
        .map(|after| work.path("data").join(segment(after)))
        .iter()
        .map(|path| fs::metadata(path).expect("there").len())
        .sum();
    work.apply(&["data", "next.jsonl", "--checkpoint-at", &(log - 1000).to_string()]);
    assert!(work.path("data").join(register_file(1252)).exists(), "{:?}", work.names("data"));
}

/// A power cut can leave part of a batch that was never acknowledged.
#[test]
fn a_batch_that_was_cut_short_is_passed_over_and_removed() {
    let work = Workspace::with_data_directories("far", &["data", "whole"]);
    let lines = lines_of(CHANGES);
    work.write("part.jsonl", text(&lines[..100]));
    work.apply(&["data", "part.jsonl", "--batch", "50"]);
    let log = work.path("data").join(segment(1000));
    let bytes = fs::read(&log).expect("log");
    fs::write(&log, &bytes[..bytes.len() - 9]).expect("written");
    assert_eq!(work.sequence("data"), 1050);
    assert_eq!(work.changes("data", 1000).lines().count(), 50);
    assert_eq!(fs::metadata(&log).expect("there").len() as usize, bytes.len() - 9, "reading removes nothing");
    // It is mentioned, and is no damage.
    let unfinished =
        work.json(&["inspect", "data", "--json"])["unfinished_bytes"].as_u64().expect("a number");
    assert!(unfinished > 0);
    assert!(work.done(&["inspect", "data"]).contains(&format!("unfinished  {unfinished} bytes")));
    let verified = work.run(&["verify", "data"]);
    let note = String::from_utf8(verified.stderr).expect("text");
    assert!(verified.status.success() && note.contains(&format!("note: {unfinished} bytes after")), "{note}");
    let output = work.run(&["apply", "data", &fixture(CHANGES), "--json"]);
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(
        error.contains("bytes of a batch that a crash had cut short; the register is at sequence 1050"),
        "{error}"
    );
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((report["from"].as_u64(), report["to"].as_u64()), (Some(1050), Some(1300)));
    assert_eq!(work.json(&["inspect", "data", "--json"])["unfinished_bytes"], 0);
    work.apply(&["whole", &fixture(CHANGES)]);
    assert!(work.export("data") == work.export("whole"));
    assert!(work.changes("data", 1000) == work.changes("whole", 1000));
    // Damage in the middle of the log is not a torn end: no command uses the rest.
    let mut bytes = fs::read(&log).expect("log");
    bytes[200] ^= 1;
    fs::write(&log, &bytes).expect("written");
    for command in [&["changes", "data", "--from", "1000"][..], &["checkpoint", "data"], &["inspect", "data"]]
    {
        let report = work.fails(1, command);
        assert!(report.contains(&segment(1000)) && report.contains("restore"), "{report}");
    }
}

/// A running writer whose register file is written to applies nothing more, and makes no checkpoint of what it reads then.
#[test]
fn a_register_file_that_is_overwritten_is_not_folded_into_another() {
    for (what, damaged) in [("zeros", vec![0; 200_000]), ("nothing", Vec::new())] {
        let work = Workspace::with_data_directories("far", &["data"]);
        let path = work.path("data").join(register_file(1000));
        let (whole, changes) = (fs::read(&path).expect("read"), lines_of(CHANGES));
        let mut writer = work.spawn(&["apply", "data", "-", "--batch", "10", "--checkpoint-at", "2900"]);
        let mut input = writer.stdin.take().expect("piped");
        input.write_all(text(&changes[..50]).as_bytes()).expect("written");
        work.until("they are applied", || work.sequence("data") == 1050);
        // In place: the inode is the same.
        fs::write(&path, &damaged).expect("written");
        // The writer may have ended.
        let _ = input.write_all(text(&changes[50..300]).as_bytes());
        drop(input);
        let ended = writer.wait_with_output().expect("ended");
        let message = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{what}: {message}");
        assert!(message.contains("truncated or overwritten"), "{what}: {message}");
        fs::write(&path, &whole).expect("written");
        assert!(work.done(&["verify", "data"]).contains("whole"));
        let sequence = work.sequence("data");
        assert!((1050..1300).contains(&sequence), "{what}: {sequence}");
        let other = Workspace::with_data_directories("far", &["data"]);
        other.write("changes.jsonl", text(&changes[..sequence as usize - 1000]));
        other.done(&["apply", "data", "changes.jsonl", "--quiet"]);
        assert!(work.export("data") == other.export("data"), "{what}");
    }
}
