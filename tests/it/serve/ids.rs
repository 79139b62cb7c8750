//! Ids of the fixtures, and the answers of `nabar lookup` to them.

use crate::support::workspace::{Workspace, lines_of};
use serde_json::Value;
use std::io::{Seek, Write};

/// The day of all requests.
pub(crate) const DATE: &str = "2026-06-01";

/// Recipients of the fixture `far`, 12 digits each.
pub(crate) fn far_ids() -> Vec<String> {
    let rows = lines_of("far/recipients.csv").into_iter().skip(1);
    rows.map(|row| row.split(',').next().expect("a column").to_owned()).collect()
}

/// Persons of the fixture `krr`, 11 digits each.
pub(crate) fn krr_ids() -> Vec<String> {
    let id = |line: String| {
        let person: Value = serde_json::from_str(&line).expect("JSON");
        person["personidentifikator"].as_str().expect("text").to_owned()
    };
    lines_of("krr/personer.jsonl").into_iter().map(id).collect()
}

/// Ids in the changes of a fixture.
pub(crate) fn changed_ids(changes: &str, name: &str) -> Vec<String> {
    let id = |line: String| {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let change = line.as_object().expect("object").values().find(|value| value.is_object());
        change.and_then(|change| change[name].as_str()).map(str::to_owned)
    };
    lines_of(changes).into_iter().filter_map(id).collect()
}

/// The answers of `nabar lookup`, one per line.
pub(crate) fn lookup(work: &Workspace, register: &str, sender: Option<&str>, lines: &[&[u8]]) -> Vec<Value> {
    let mut arguments = vec!["lookup", "-r", register, "--json", "--date", DATE];
    arguments.extend(sender.iter().flat_map(|sender| ["--sender", sender]));
    arguments.push("-");
    let input: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&input).and_then(|()| file.rewind()).expect("written");
    let output = work.command(&arguments).stdin(file).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), lines.len());
    answers
}

/// Outcome, reason and operator of an answer, in any form; empty if absent.
pub(crate) fn words(answer: &Value) -> (String, String, String) {
    let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (word("outcome"), word("reason"), word("operator_id"))
}

/// The CSV row that answers a line.
pub(crate) fn row(line: &[u8], answer: &Value) -> Vec<u8> {
    let text = line.iter().any(|byte| b",\"\r".contains(byte));
    let mut out = Vec::new();
    if line.len() <= 1024 && text {
        out.push(b'"');
        for &byte in line {
            out.extend_from_slice(if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) });
        }
        out.push(b'"');
    } else if line.len() <= 1024 {
        out.extend_from_slice(line);
    }
    // What is longer than any id is not read.
    let too_long = || ["rejected", "bad_length", ""].map(str::to_owned).into();
    let (outcome, reason, operator) = if line.len() <= 1024 { words(answer) } else { too_long() };
    out.extend_from_slice(format!(",{outcome},{reason},{operator}\n").as_bytes());
    out
}

/// Lines joined by a line end.
pub(crate) fn joined(lines: &[&[u8]], end: &str) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, end.as_bytes()].concat()).collect()
}
