//! Data directories through the real binary, each test in its own directory.
//!
//! The promises to a feed: the same changes make the same register, whether they come in one piece, in batches, through
//! a pipe, compressed or repeated; a batch that does not fit is refused as a whole, with line and reason and without
//! identity; and the next process sees what one process has acknowledged.

mod checkpoints;
mod live;
mod pages;
mod validated;

use crate::support::workspace::{Workspace, edited, fixture, lines_of, shows_no_identity, text};
use serde_json::{Value, json};
use std::io::Write;

const FAR: &str = "changes/far.jsonl";

/// The fixtures: what follows `far/` and `krr/`, and how many changes.
const FIXTURES: [(&str, &str, u64); 2] = [("far", FAR, 300), ("krr", "changes/krr.jsonl", 100)];

#[test]
fn all_ways_of_feeding_make_the_same_register() {
    for (kind, changes, count) in FIXTURES {
        let work = Workspace::with_data_directories(kind, &["whole", "seven", "one", "pipe", "packed"]);
        let (path, lines) = (fixture(changes), text(&lines_of(changes)));
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(lines.as_bytes()).expect("packed");
        work.write("changes.jsonl.gz", gz.finish().expect("packed"));
        let whole = work.apply(&["whole", &path]);
        let expected_report = |batches: u64| {
            json!({
                "from": 1000, "to": 1000 + count, "batches": batches, "applied": count, "skipped": 0,
                "without_effect": whole["without_effect"], "set_aside": 0, "reasons": {},
            })
        };
        let same = |mut report: Value, batches: u64| {
            report.as_object_mut().expect("object").remove("seconds").expect("seconds");
            assert_eq!(report, expected_report(batches), "{kind}");
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
        shows_no_identity(&piped);
        let (files, log) = (work.export("whole"), work.changes("whole", 1000));
        for other in ["seven", "one", "pipe", "packed"] {
            assert!(work.export(other) == files, "{kind}: {other}");
            assert!(work.changes(other, 1000) == log, "{kind}: {other}");
        }
        // The log repeats the lines: applied again they make the same register and the same log.
        work.done(&["init", &fixture(kind), "again", "--quiet"]);
        work.write("log.jsonl", &log);
        same(work.apply(&["again", "log.jsonl"]), 1);
        assert!(work.export("again") == files && work.changes("again", 1000) == log, "{kind}");
    }
}

#[test]
fn changes_that_the_register_has_are_skipped() {
    for (kind, changes, count) in FIXTURES {
        let work = Workspace::with_data_directories(kind, &["data", "other"]);
        let lines = lines_of(changes);
        work.write("begin.jsonl", text(&lines[..40]));
        work.apply(&["data", "begin.jsonl"]);
        work.apply(&["other", &fixture(changes)]);
        for (batch, applied) in [("1000", count - 40), ("1000", 0), ("9", 0)] {
            let report = work.apply(&["data", &fixture(changes), "--batch", batch]);
            let counts = [&report["to"], &report["applied"], &report["skipped"]].map(Value::as_u64);
            assert_eq!(counts, [1000 + count, applied, count - applied].map(Some), "{kind}");
        }
        assert!(work.export("data") == work.export("other"), "{kind}");
        // Also within one batch; blank lines do not count.
        work.done(&["init", &fixture(kind), "twice", "--quiet"]);
        work.write("twice.jsonl", format!("\u{feff}\n{}\r\n\n{}", text(&lines), text(&lines)));
        let report = work.apply(&["twice", "twice.jsonl"]);
        assert_eq!([&report["applied"], &report["skipped"]], [&json!(count), &json!(count)]);
        assert!(work.changes("twice", 1000) == work.changes("other", 1000), "{kind}");
    }
}

#[test]
fn a_gap_or_a_fork_refuses_its_batch_and_keeps_those_before() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let lines = lines_of(FAR);
    work.write("gap.jsonl", text(&[&lines[0], &lines[4]]));
    let gap = work.fails(1, &["apply", "data", "gap.jsonl", "--quiet"]);
    assert!(gap.contains("gap.jsonl: line 2: expected 1002, got 1005"), "{gap}");
    assert_eq!(work.changes("data", 1000), "", "nothing of the batch");
    // A gap is not a bad line, so --skip-bad does not accept it.
    let gap = work.fails(1, &["apply", "data", "gap.jsonl", "--skip-bad", "--batch", "1", "--json"]);
    assert!(gap.contains("line 2: expected 1002, got 1005"), "{gap}");
    assert_eq!(work.sequence("data"), 1001, "the batch before stays");
    work.write("rest.jsonl", text(&lines[..6]));
    work.apply(&["data", "rest.jsonl"]);
    let files = work.export("data");
    // Other changes under the numbers of the third line, which the register has, and of the eighth, which is new.
    let pending = |line: &str| edited(line, |line| line["put_recipient"]["pending"] = json!(true));
    let later = |line: &str| edited(line, |line| line["time"] = json!("2026-06-01T05:00:00Z"));
    let old = [lines[1].clone(), pending(&lines[2]), lines[6].clone()];
    let new = [lines[6].clone(), lines[7].clone(), later(&lines[7])];
    for (fork, found) in [
        (old, "line 2: the register has another change 1003"),
        (new, "line 3: the register has another change 1008"),
    ] {
        work.write("fork.jsonl", text(&fork));
        let message = work.fails(1, &["apply", "data", "fork.jsonl", "--skip-bad"]);
        assert!(message.contains(found), "{message}");
    }
    assert!(work.export("data") == files);
}

/// Invalid lines for a sequence number, each with reason and column.
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
fn an_invalid_line_refuses_its_batch_with_line_and_reason() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let lines = lines_of(FAR);
    for (bad, reason, column) in bad_lines(1002) {
        work.write("bad.jsonl", text(&[&lines[0], &String::new(), &bad, &lines[2]]));
        let message = work.fails(1, &["apply", "data", "bad.jsonl"]);
        let column = if column.is_empty() { String::new() } else { format!(" in {column}") };
        let expected =
            format!("bad.jsonl: line 3: {reason}{column}; nothing of the batch was applied; --skip-bad");
        assert!(message.contains(&expected), "{bad}: {message}");
    }
    assert_eq!((work.sequence("data"), work.changes("data", 1000).as_str()), (1000, ""));
    // Only the number distinguishes a new change from one that the register has.
    work.write("zero.jsonl", edited(&lines[0], |line| line["sequence"] = json!(0)));
    assert_eq!(work.apply(&["data", "zero.jsonl"])["skipped"], 1);
}

#[test]
fn rejected_lines_use_up_their_numbers() {
    let work = Workspace::with_data_directories("far", &["data", "replica"]);
    let count = bad_lines(0).len() as u64;
    let (mut lines, mut rejected, mut aside) =
        (vec![lines_of(FAR).remove(0)], "line,sequence,reason,column\n".to_owned(), Vec::new());
    for (index, number) in (0..).zip(1002..1002 + count) {
        let (bad, reason, column) = bad_lines(number).remove(index);
        lines.push(bad);
        rejected += &format!("{},{number},{reason},{column}\n", lines.len());
        aside.push((Some(number), Some(reason.to_owned()), Some(column.to_owned())));
    }
    lines.push(edited(&lines_of(FAR)[2], |line| line["sequence"] = json!(1002 + count)));
    work.write("bad.jsonl", text(&lines));
    let message = work.done(&["apply", "data", "bad.jsonl", "--skip-bad"]);
    shows_no_identity(&message);
    assert!(
        message.contains(&format!("from sequence 1000 to {}: 2 changes applied", 1002 + count)),
        "{message}"
    );
    assert!(message.contains(&format!("{count} lines rejected (data/rejected.csv):\n")), "{message}");
    let bad_json = rejected.matches(",bad_json,").count();
    assert!(message.contains(&format!("{bad_json:>11}  bad_json\n")), "{message}");
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
    // The same file again: everything is known, the rejected lines too.
    let again = work.apply(&["data", "bad.jsonl", "--skip-bad"]);
    assert_eq!((again["to"].as_u64(), again["applied"].as_u64()), (Some(1002 + count), Some(0)));
}

#[test]
fn a_batch_with_too_many_rejected_lines_is_refused() {
    let work = Workspace::with_data_directories("far", &["data"]);
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
    assert!(refused.contains("2 of 20 lines would be rejected, 9 % are allowed"), "{refused}");
    assert_eq!(apply("10%", &["-q"]), Some(0));
    assert_eq!(work.sequence("data"), 1020);
}

/// The end of a batch must not decide how a line without a readable number is handled.
#[test]
fn bad_lines_are_the_same_in_batches_of_any_size() {
    let mut lines = lines_of(FAR)[..12].to_vec();
    for (index, bad) in [(3, "?"), (4, "{}"), (7, ""), (8, "{\"sequence\":1009}")] {
        lines[index] = bad.to_owned();
    }
    lines[7] = "no number either".to_owned();
    lines.push("a line that was cut off".to_owned());
    let work = Workspace::new();
    work.write("bad.jsonl", text(&lines));
    let mut expected = None;
    for batch in ["1", "2", "3", "4", "5", "6", "13", "100"] {
        work.done(&["init", &fixture("far"), batch, "--quiet"]);
        let mut report = work.apply(&[batch, "bad.jsonl", "--skip-bad", "--batch", batch]);
        assert_eq!(report["set_aside"], 5);
        ["batches", "seconds"].iter().for_each(|name| _ = report[*name].take());
        let rejected = work.read(&format!("{batch}/rejected.csv"));
        let result = (report, work.changes(batch, 1000), rejected, work.export(batch));
        assert!(result.2.ends_with("\n13,,bad_json,\n"), "{}", result.2);
        assert!(
            *expected.get_or_insert_with(|| result.clone()) == result,
            "batches of {batch}: {:?}",
            result.0
        );
    }
}

#[test]
fn changes_are_printed_from_any_number_up_to_a_limit() {
    let work = Workspace::with_data_directories("far", &["data"]);
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
    assert!(
        gone.contains("after 999 are no longer in the log") && gone.contains("begins after 1000"),
        "{gone}"
    );
}
