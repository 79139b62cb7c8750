//! What a split must give, one row at a time.

use super::identities::parse;
use super::lists::List;
use super::registers::Register;
use super::rows::{Layout, row_at};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Ids of a list that `lookup` is asked for: it is no faster than a few hundred thousand a second.
const LOOKUPS_MAX: usize = 2000;

/// The files of a split and the figures of its report.
pub(crate) struct Expected {
    /// Every file with rows in it and `feedback.csv`, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The report of the split, without what depends on the list's form (path, bytes, digest) and time.
    pub(crate) report: Value,
    /// The first identity cells of the list that fit a line, with what `lookup` must say of them.
    pub(crate) lookups: Vec<(Vec<u8>, Value)>,
}

pub(crate) fn expected(list: &List, bytes: &[u8], register: &Register) -> Expected {
    // Byte order mark and header stand before the rows of every file.
    let bom = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let has_first = list.has_header && bytes.len() > bom;
    let mut at = if has_first { row_at(bytes, bom, &list.layout).end } else { bom };

    let mut names: Vec<(String, &str, Option<usize>)> = Vec::new();
    for (place, operator) in register.operators.iter().enumerate() {
        names.push((operator.file.clone(), "digital", Some(place)));
    }
    if register.kind() == "krr" {
        names.push(("notify.csv".to_owned(), "notify", None));
    }
    names.push(("paper.csv".to_owned(), "paper", None));
    names.push(("rejected.csv".to_owned(), "rejected", None));
    if list.set_aside {
        names.push(("duplicates.csv".to_owned(), "duplicate", None));
    }
    let mut contents = vec![bytes[..at].to_vec(); names.len()];
    let mut rows_of = vec![0; names.len()];

    let mut feedback = b"row,recipient_id,outcome,reason,operator_id\n".to_vec();
    let mut outcomes = BTreeMap::from(["digital", "notify", "paper", "rejected"].map(|name| (name, 0)));
    if list.set_aside {
        outcomes.insert("duplicate", 0);
    }
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut seen, mut lookups) = (HashSet::new(), Vec::new());
    let (mut rows, mut duplicates) = (0, 0);
    while at < bytes.len() {
        let row = row_at(bytes, at, &list.layout);
        rows += 1;
        let parsed = row.id.and_then(|cell| parse(cell, register.country(), list.day));
        let (id, (mut outcome, mut reason, mut operator)) = match &parsed {
            Ok(id) => (id.as_str(), register.answer(id, list.sender, list.day)),
            Err(reason) => ("", ("rejected", *reason, None)),
        };
        if let Ok(cell) = row.id.map(<[u8]>::to_vec)
            && !cell.contains(&b'\n')
            && lookups.len() < LOOKUPS_MAX
        {
            lookups.push((cell, looked_up(list, register, id, (outcome, reason, operator))));
        }
        if parsed.is_ok() && !seen.insert(id.to_owned()) {
            duplicates += 1;
            if list.set_aside {
                (outcome, reason, operator) = ("duplicate", "", None);
            }
        }
        *outcomes.entry(outcome).or_insert(0) += 1;
        if !reason.is_empty() {
            *reasons.entry(reason).or_insert(0) += 1;
        }
        let file = names.iter().position(|(_, of, place)| *of == outcome && *place == operator);
        let file = file.expect("every outcome has a file");
        contents[file].extend_from_slice(&bytes[at..row.end]);
        rows_of[file] += 1;
        let operator_id = operator.map_or("", |place| &register.operators[place].id);
        feedback.extend(format!("{rows},{id},{outcome},{reason},{operator_id}\n").bytes());
        at = row.end;
    }

    let sender = register.senders.get(list.sender).map(|(id, name)| json!({"id": id, "name": name}));
    let operators = register.operators.iter().enumerate();
    let operators: Vec<Value> = operators
        .map(|(place, operator)| {
            json!({"id": operator.id, "name": operator.name, "rows": rows_of[place], "file": operator.file})
        })
        .collect();
    let files: Vec<Value> = (0..names.len())
        .map(|file| {
            let (path, outcome, operator) = &names[file];
            let operator_id = operator.map(|place| &register.operators[place].id);
            let bytes = contents[file].len();
            json!({"path": path, "outcome": outcome, "operator_id": operator_id, "rows": rows_of[file], "bytes": bytes})
        })
        .collect();
    let report = json!({
        "version": 1,
        "list": {
            "rows": rows,
            "delimiter": match list.layout {
                Layout::Delimited { delimiter: Some(delimiter), .. } => (delimiter as char).to_string(),
                _ => String::new(),
            },
            "encoding": encoding(bytes),
            "id_column": list.id_column,
        },
        "register": {"kind": register.kind(), "sequence": 1000, "as_of": register.as_of()},
        "sender": sender,
        "outcomes": outcomes,
        "reasons": reasons,
        "operators": operators,
        "files": files,
        "duplicates": duplicates,
    });
    let mut files: BTreeMap<String, Vec<u8>> =
        names.into_iter().map(|(name, ..)| name).zip(contents).collect();
    files.insert("feedback.csv".to_owned(), feedback);
    Expected { files, report, lookups }
}

/// The encoding as the first megabyte tells it.
fn encoding(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return "utf-8-bom";
    }
    let mut rest = &bytes[..bytes.len().min(1 << 20)];
    let (mut characters, mut broken) = (0, 0);
    loop {
        let (valid, error) = match std::str::from_utf8(rest) {
            Ok(_) => (rest.len(), None),
            Err(error) => (error.valid_up_to(), error.error_len()),
        };
        let text = std::str::from_utf8(&rest[..valid]).expect("valid up to there");
        characters += text.chars().filter(|character| !character.is_ascii()).count();
        // A character that the end of the sample cuts is none that is wrong.
        let Some(wrong) = error else { break };
        broken += 1;
        rest = &rest[valid + wrong..];
    }
    if broken > characters { "windows-1252" } else { "utf-8" }
}

/// Those fields of an answer of `lookup` that are checked.
fn looked_up(
    list: &List,
    register: &Register,
    id: &str,
    (outcome, reason, operator): (&str, &str, Option<usize>),
) -> Value {
    let mut fields = json!({
        "recipient_id": Some(id).filter(|id| !id.is_empty()),
        "outcome": outcome,
        "reason": Some(reason).filter(|reason| !reason.is_empty()),
        "operator_id": operator.map(|place| &register.operators[place].id),
        "sequence": 1000,
        "as_of": register.as_of(),
    });
    if !id.is_empty() {
        for (name, value) in register.own_fields(id, list.sender, list.day) {
            fields[name] = match value.as_str() {
                "true" | "false" => (value == "true").into(),
                _ => value.into(),
            };
        }
    }
    fields
}
