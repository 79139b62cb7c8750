//! Data directories through the real binary, each test in a directory of its own.
//!
//! What is promised to whoever feeds a register: however the changes come (in one piece, in batches, through
//! a pipe, packed, again) the register is the same; what does not fit is refused as a whole and named by
//! line and reason, never by whom it is about; and what one process has been told is what the next one sees.

#[path = "changes/checkpoints.rs"]
mod checkpoints;
#[path = "changes/live.rs"]
mod live;
#[path = "changes/pages.rs"]
mod pages;
#[path = "changes/workspace.rs"]
mod workspace;

use serde_json::{Value, json};
use std::io::Write;
use workspace::{Workspace, edited, fixture, lines_of, shows_nobody, text};

const FAR: &str = "changes/far.jsonl";

/// The fixtures: what follows `far/` and `krr/`, and how many changes.
const FIXTURES: [(&str, &str, u64); 2] = [("far", FAR, 300), ("krr", "changes/krr.jsonl", 100)];

#[test]
fn changes_give_the_same_register_however_they_come() {
    for (kind, changes, count) in FIXTURES {
        let work = Workspace::with(kind, &["whole", "seven", "one", "pipe", "packed"]);
        let (path, lines) = (fixture(changes), text(&lines_of(changes)));
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(lines.as_bytes()).expect("packed");
        work.write("changes.jsonl.gz", gz.finish().expect("packed"));
        let whole = work.apply(&["whole", &path]);
        let told = |batches: u64| {
            json!({
                "from": 1000, "to": 1000 + count, "batches": batches, "applied": count, "skipped": 0,
                "without_effect": whole["without_effect"], "set_aside": 0, "reasons": {},
            })
        };
        let same = |mut report: Value, batches: u64| {
            report.as_object_mut().expect("object").remove("seconds").expect("seconds");
            assert_eq!(report, told(batches), "{kind}");
        };
        same(whole.clone(), 1);
        same(work.apply(&["seven", &path, "--batch", "7"]), count.div_ceil(7));
        same(work.apply(&["one", &path, "--batch", "1"]), count);
        same(work.apply(&["packed", "changes.jsonl.gz"]), 1);
        let piped = work.with_input(&["apply", "pipe", "-", "--batch", "64"], lines.as_bytes());
        let piped = String::from_utf8(piped.stdout).expect("text");
        let batches = count.div_ceil(64);
        let expected = format!(
            "from sequence 1000 to {}: {count} changes applied in {batches} batches, 0 skipped",
            1000 + count
        );
        assert!(piped.starts_with(&expected), "{piped}");
        shows_nobody(&piped);
        let (files, log) = (work.export("whole"), work.changes("whole", 1000));
        for other in ["seven", "one", "pipe", "packed"] {
            assert!(work.export(other) == files, "{kind}: {other}");
            assert!(work.changes(other, 1000) == log, "{kind}: {other}");
        }
        // The log says what the lines said: applied again it is the same register, and the same log.
        work.done(&["init", &fixture(kind), "again", "--quiet"]);
        work.write("log.jsonl", &log);
        same(work.apply(&["again", "log.jsonl"]), 1);
        assert!(work.export("again") == files && work.changes("again", 1000) == log, "{kind}");
    }
}

#[test]
fn changes_that_the_register_has_are_skipped() {
    for (kind, changes, count) in FIXTURES {
        let work = Workspace::with(kind, &["data", "other"]);
        let lines = lines_of(changes);
        work.write("begin.jsonl", text(&lines[..40]));
        work.apply(&["data", "begin.jsonl"]);
        work.apply(&["other", &fixture(changes)]);
        for (batch, applied) in [("1000", count - 40), ("1000", 0), ("9", 0)] {
            let told = work.apply(&["data", &fixture(changes), "--batch", batch]);
            let counts = [&told["to"], &told["applied"], &told["skipped"]].map(Value::as_u64);
            assert_eq!(counts, [1000 + count, applied, count - applied].map(Some), "{kind}");
        }
        assert!(work.export("data") == work.export("other"), "{kind}");
        // Within one batch too, and blank lines are no lines.
        work.done(&["init", &fixture(kind), "twice", "--quiet"]);
        work.write("twice.jsonl", format!("\u{feff}\n{}\r\n\n{}", text(&lines), text(&lines)));
        let told = work.apply(&["twice", "twice.jsonl"]);
        assert_eq!([&told["applied"], &told["skipped"]], [&json!(count), &json!(count)]);
        assert!(work.changes("twice", 1000) == work.changes("other", 1000), "{kind}");
    }
}

#[test]
fn a_gap_and_another_history_refuse_the_batch_and_not_those_before() {
    let work = Workspace::with("far", &["data"]);
    let lines = lines_of(FAR);
    work.write("gap.jsonl", text(&[&lines[0], &lines[4]]));
    let gap = work.fails(1, &["apply", "data", "gap.jsonl", "--quiet"]);
    assert!(gap.contains("gap.jsonl: line 2: expected 1002, got 1005"), "{gap}");
    assert_eq!(work.changes("data", 1000), "", "nothing of the batch");
    // A gap is no bad line, so --skip-bad does not pass over it.
    let gap = work.fails(1, &["apply", "data", "gap.jsonl", "--skip-bad", "--batch", "1", "--json"]);
    assert!(gap.contains("line 2: expected 1002, got 1005"), "{gap}");
    assert_eq!(work.sequence("data"), 1001, "the batch before stays");
    work.write("rest.jsonl", text(&lines[..6]));
    work.apply(&["data", "rest.jsonl"]);
    let files = work.export("data");
    // Another change under the number of the third line, which the register has, and of the eighth, which
    // is new.
    let pending = |line: &str| edited(line, |line| line["put_recipient"]["pending"] = json!(true));
    let later = |line: &str| edited(line, |line| line["time"] = json!("2026-06-01T05:00:00Z"));
    let old = [lines[1].clone(), pending(&lines[2]), lines[6].clone()];
    let new = [lines[6].clone(), lines[7].clone(), later(&lines[7])];
    for (fork, found) in [
        (old, "line 2: the register has another change 1003"),
        (new, "line 3: the register has another change 1008"),
    ] {
        work.write("fork.jsonl", text(&fork));
        let told = work.fails(1, &["apply", "data", "fork.jsonl", "--skip-bad"]);
        assert!(told.contains(found), "{told}");
    }
    assert!(work.export("data") == files);
}

/// Lines that are no changes, as they would stand under a sequence number, and why.
fn bad_lines(number: u64) -> Vec<(String, &'static str, &'static str)> {
    let line = edited(&lines_of(FAR)[1], |line| line["sequence"] = json!(number));
    let whole = |edit: fn(&mut Value)| edited(&line, edit);
    let put = |edit: fn(&mut Value)| edited(&line, |line| edit(&mut line["put_recipient"]));
    let other = |name: &str, what: Value| {
        edited(&line, |line| {
            line.as_object_mut().expect("object").remove("put_recipient");
            line[name] = what;
        })
    };
    let person = json!({"personidentifikator": "14824739928"});
    let unknown = json!({"recipient_id": "198608162387", "acceptance": "only"});
    vec![
        ("198608162387".to_owned(), "bad_json", ""),
        (line[..line.len() - 1].to_owned(), "bad_json", ""),
        ("{\"sequence\":1,\"time\":\"Åsa 198608162387".to_owned(), "bad_json", ""),
        (whole(|line| line["sequence"] = json!(-1)), "bad_json", ""),
        (whole(|line| line["note"] = json!("198608162387")), "unknown_field", ""),
        (put(|put| put["name"] = json!("198608162387")), "unknown_field", ""),
        (put(|put| put["recipient_id"] = json!("198608162388")), "bad_check_digit", "recipient_id"),
        (put(|put| put["recipient_id"] = json!("14824739928")), "bad_length", "recipient_id"),
        (put(|put| put["type"] = json!("Insecure")), "bad_type", "type"),
        (put(|put| put["operator_id"] = json!("164000000000")), "unknown_operator", "operator_id"),
        (put(|put| put["exceptions"] = json!(["198608162387"])), "unknown_sender", "exceptions"),
        (put(|put| put["last_registration"] = json!("yesterday")), "bad_time", "last_registration"),
        (whole(|line| line["time"] = json!("")), "bad_time", "time"),
        (other("put_recipient", Value::Null), "no_change", ""),
        (whole(|line| line["remove_sender"] = json!({"id": "164821000025"})), "several_changes", ""),
        (other("remove_person", person), "not_of_this_register", "remove_person"),
        (other("put_persons", json!({"previous": 1, "persons": []})), "not_of_this_register", "put_persons"),
        (other("set_acceptance", unknown), "unknown_recipient", "recipient_id"),
    ]
}

#[test]
fn a_line_that_is_no_change_refuses_its_batch_by_line_and_reason() {
    let work = Workspace::with("far", &["data"]);
    let lines = lines_of(FAR);
    for (bad, reason, column) in bad_lines(1002) {
        work.write("bad.jsonl", text(&[&lines[0], &String::new(), &bad, &lines[2]]));
        let told = work.fails(1, &["apply", "data", "bad.jsonl"]);
        let place = if column.is_empty() { String::new() } else { format!(" in {column}") };
        let expected =
            format!("bad.jsonl: line 3: {reason}{place}; nothing of the batch was applied (--skip-bad");
        assert!(told.contains(&expected), "{bad}: {told}");
    }
    assert_eq!((work.sequence("data"), work.changes("data", 1000).as_str()), (1000, ""));
    // Its number is what tells a new change from one that the register has.
    work.write("zero.jsonl", edited(&lines[0], |line| line["sequence"] = json!(0)));
    assert_eq!(work.apply(&["data", "zero.jsonl"])["skipped"], 1);
}

#[test]
fn bad_lines_are_set_aside_and_their_numbers_used_up() {
    let work = Workspace::with("far", &["data", "replica"]);
    let count = bad_lines(0).len() as u64;
    let (mut lines, mut rejected, mut aside) =
        (vec![lines_of(FAR).remove(0)], "line,sequence,reason,column\n".to_owned(), Vec::new());
    for (place, number) in (0..).zip(1002..1002 + count) {
        let (bad, reason, column) = bad_lines(number).remove(place);
        lines.push(bad);
        rejected += &format!("{},{number},{reason},{column}\n", lines.len());
        aside.push((Some(number), Some(reason.to_owned()), Some(column.to_owned())));
    }
    lines.push(edited(&lines_of(FAR)[2], |line| line["sequence"] = json!(1002 + count)));
    work.write("bad.jsonl", text(&lines));
    let told = work.done(&["apply", "data", "bad.jsonl", "--skip-bad"]);
    shows_nobody(&told);
    assert!(told.contains(&format!("from sequence 1000 to {}: 2 changes applied", 1002 + count)), "{told}");
    assert!(told.contains(&format!("{count} lines set aside (data/rejected.csv):\n")), "{told}");
    let bad_json = rejected.matches(",bad_json,").count();
    assert!(told.contains(&format!("{bad_json:>11}  bad_json\n")), "{told}");
    assert_eq!(work.read("data/rejected.csv"), rejected);
    let log = work.changes("data", 1000);
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| line["set_aside"][name].as_str().map(str::to_owned);
        (line["sequence"].as_u64(), text("reason"), text("column"))
    };
    let logged: Vec<_> = log.lines().map(read).filter(|(_, reason, _)| reason.is_some()).collect();
    assert_eq!(logged, aside);
    work.write("log.jsonl", &log);
    assert_eq!(work.apply(&["replica", "log.jsonl"])["to"], 1002 + count);
    assert!(work.changes("replica", 1000) == log && work.export("replica") == work.export("data"));
    // The same file again: all of it is there, also what was set aside.
    let again = work.apply(&["data", "bad.jsonl", "--skip-bad"]);
    assert_eq!((again["to"].as_u64(), again["applied"].as_u64()), (Some(1002 + count), Some(0)));
}

#[test]
fn a_batch_of_which_too_much_would_be_set_aside_is_refused() {
    let work = Workspace::with("far", &["data"]);
    let mut lines = lines_of(FAR)[..20].to_vec();
    (lines[3], lines[4]) = (bad_lines(1004).remove(0).0, bad_lines(1005).remove(0).0);
    work.write("bad.jsonl", text(&lines));
    let apply = |limit: &str, more: &[&'static str]| {
        let args = [&["apply", "data", "bad.jsonl", "--skip-bad", "--max-rejected", limit], more].concat();
        work.run(&args).status.code()
    };
    assert_eq!(apply("1%", &[]), Some(3), "the default");
    assert_eq!(apply("1", &[]), Some(3));
    assert_eq!(work.sequence("data"), 1000, "nothing was applied");
    let refused = work.fails(3, &["apply", "data", "bad.jsonl", "--skip-bad", "--max-rejected", "9%"]);
    assert!(refused.contains("2 of 20 lines would be set aside, and 9 % are allowed"), "{refused}");
    assert_eq!(apply("10%", &["-q"]), Some(0));
    assert_eq!(work.sequence("data"), 1020);
}

/// Where a batch ends must not decide what becomes of a line without a readable number.
#[test]
fn bad_lines_are_the_same_in_batches_of_any_size() {
    let mut lines = lines_of(FAR)[..12].to_vec();
    for (place, bad) in [(3, "?"), (4, "{}"), (7, ""), (8, "{\"sequence\":1009}")] {
        lines[place] = bad.to_owned();
    }
    lines[7] = "no number either".to_owned();
    lines.push("a line that was cut off".to_owned());
    let work = Workspace::new();
    work.write("bad.jsonl", text(&lines));
    let mut expected = None;
    for batch in ["1", "2", "3", "4", "5", "6", "13", "100"] {
        work.done(&["init", &fixture("far"), batch, "--quiet"]);
        let mut told = work.apply(&[batch, "bad.jsonl", "--skip-bad", "--batch", batch]);
        assert_eq!(told["set_aside"], 5);
        ["batches", "seconds"].iter().for_each(|name| _ = told[*name].take());
        let rejected = work.read(&format!("{batch}/rejected.csv"));
        let result = (told, work.changes(batch, 1000), rejected, work.export(batch));
        assert!(result.2.ends_with("\n13,,bad_json,\n"), "{}", result.2);
        assert!(
            *expected.get_or_insert_with(|| result.clone()) == result,
            "batches of {batch}: {:?}",
            result.0
        );
    }
}

#[test]
fn changes_are_printed_from_anywhere_up_to_a_limit() {
    let work = Workspace::with("far", &["data"]);
    work.apply(&["data", &fixture(FAR), "--batch", "16"]);
    let all = work.changes("data", 1000);
    let numbers = |text: &str| -> Vec<u64> {
        let number = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["sequence"].as_u64();
        text.lines().map(|line| number(line).expect("number")).collect()
    };
    assert_eq!(numbers(&all), (1001..=1300).collect::<Vec<_>>());
    let printed = |from: &str, limit: &str| work.done(&["changes", "data", "--from", from, "--limit", limit]);
    assert_eq!(numbers(&printed("1015", "3")), [1016, 1017, 1018], "over the end of a batch");
    assert_eq!(numbers(&printed("1299", "3")), [1300]);
    for nothing in [printed("1300", "3"), printed("9999", "3"), printed("1000", "0")] {
        assert_eq!(nothing, "");
    }
    assert_eq!(printed("1000", "300"), all);
    let gone = work.fails(2, &["changes", "data", "--from", "999"]);
    assert!(gone.contains("after 999 are gone") && gone.contains("follow 1000"), "{gone}");
}
