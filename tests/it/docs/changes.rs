//! `docs/changes.md` and its schema: fields, reasons, numbers and effects on a register.

use super::schema::Schema;
use super::{document, done, first_column, run, section, table, tables};
use crate::support::workspace::root;
use nabar::identities::Rejection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A directory with data directories `far` or `krr`, made of the fixtures, at sequence 1000.
pub(crate) struct Data(tempfile::TempDir);

impl Data {
    pub(crate) fn new(kinds: &[&str]) -> Data {
        let data = Data(tempfile::tempdir().expect("directory"));
        for kind in kinds {
            let extract = root().join("fixtures").join(kind);
            data.done(0, &["init", extract.to_str().expect("text"), kind, "-q"]);
        }
        data
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn done(&self, code: i32, args: &[&str]) -> String {
        done(self.path(), code, args)
    }

    /// Writes lines to a file and applies them; returns standard output, or standard error of a failure.
    pub(crate) fn apply(&self, kind: &str, lines: &[String], more: &[&str]) -> Result<String, String> {
        fs::write(self.path().join("changes.jsonl"), lines.join("\n") + "\n").expect("written");
        let output = run(self.path(), &[&["apply", kind, "changes.jsonl"], more].concat());
        match output.status.code() {
            Some(0) => Ok(String::from_utf8(output.stdout).expect("text")),
            Some(1) => Err(String::from_utf8(output.stderr).expect("text")),
            code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    pub(crate) fn sequence(&self, kind: &str) -> u64 {
        let inspected: Value =
            serde_json::from_str(&self.done(0, &["inspect", kind, "--json"])).expect("JSON");
        inspected["sequence"].as_u64().expect("a number")
    }

    /// Reason and column of each line with `--skip-bad`, `None` for lines that were applied. A line with the number
    /// "next" gets the next one.
    fn reasons(&self, kind: &str, lines: &[Value]) -> Vec<Option<(String, String)>> {
        let after = self.sequence(kind);
        let numbered = (after + 1..).zip(lines).map(|(number, line)| {
            let mut line = line.clone();
            if line.is_object() && line["sequence"] == json!("next") {
                line["sequence"] = number.into();
            }
            // A string is the text of a line that is not JSON.
            line.as_str().map_or_else(|| line.to_string(), str::to_owned)
        });
        let _ = fs::remove_file(self.path().join(kind).join("rejected.csv"));
        let numbered: Vec<String> = numbered.collect();
        self.apply(kind, &numbered, &["--skip-bad", "-q"]).expect("applied");
        let mut reasons = vec![None; lines.len()];
        for row in self.rejected(kind) {
            reasons[row[0].parse::<usize>().expect("a line") - 1] = Some((row[2].clone(), row[3].clone()));
        }
        reasons
    }

    /// The rows of `rejected.csv`, none if it is absent.
    fn rejected(&self, kind: &str) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.path().join(kind).join("rejected.csv")).unwrap_or_default();
        text.lines().skip(1).map(|row| row.split(',').map(str::to_owned).collect()).collect()
    }

    /// Outcome of a recipient, or its reason.
    fn outcome(&self, sender: &str, recipient: &str) -> String {
        let args = ["lookup", "-r", "far", "--sender", sender, "--date", "2026-06-01", "--json", recipient];
        let answer: Value = serde_json::from_str(&self.done(0, &args)).expect("JSON");
        let of = |name: &str| answer[name].as_str().map(str::to_owned);
        of("reason").or(of("outcome")).expect("an outcome")
    }
}

pub(crate) fn fixture(kind: &str) -> Vec<String> {
    let path = root().join(format!("fixtures/changes/{kind}.jsonl"));
    fs::read_to_string(path).expect("changes").lines().map(str::to_owned).collect()
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

/// A change under the next number.
fn change(name: &str, fields: Value) -> Value {
    json!({"sequence": "next", "time": "2026-06-02T00:00:00Z", name: fields})
}

/// Lines for changes, numbered after a sequence number.
fn lines(after: u64, changes: &[(&str, Value)]) -> Vec<String> {
    let line = |(sequence, (name, fields)): (u64, &(&str, Value))| {
        json!({"sequence": sequence, "time": "2026-06-02T00:00:00Z", *name: fields}).to_string()
    };
    (after + 1..).zip(changes).map(line).collect()
}

/// The names of all changes, in the order of the document.
fn names(text: &str) -> Vec<String> {
    first_column(&table(text, "The changes")).into_iter().map(str::to_owned).collect()
}

fn example(text: &str, name: &str) -> String {
    let section = section(text, name);
    section.split("```json\n").nth(1).and_then(|rest| rest.lines().next()).expect(name).to_owned()
}

#[test]
fn examples_and_fixtures_fit_the_schema() {
    let (text, schema) = (document("changes.md"), Schema::new());
    let fixtures: BTreeMap<&str, Vec<String>> = ["far", "krr"].map(|kind| (kind, fixture(kind))).into();
    for line in fixtures.values().flatten() {
        assert!(schema.accepts(&parsed(line)), "{line}");
    }
    let source = fs::read_to_string(root().join("src/changes/change.rs")).expect("source");
    let source = source.split("fn name(&self)").nth(1).and_then(|rest| rest.split("fn kind").next());
    let known: BTreeSet<&str> =
        source.expect("names").split('"').skip(1).step_by(2).filter(|word| !word.contains(' ')).collect();
    assert_eq!(names(&text).iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    let mut documented: Vec<String> =
        first_column(&table(&text, "A line"))[..2].iter().map(|s| s.to_string()).collect();
    documented.extend(names(&text));
    assert_eq!(schema.properties("").into_iter().collect::<BTreeSet<_>>(), documented.into_iter().collect());
    for name in names(&text) {
        let example = example(&text, &name);
        assert!(schema.accepts(&parsed(&example)) && parsed(&example).get(&name).is_some(), "{name}");
        if !["put_persons", "set_aside", "others"].contains(&&name[..]) {
            assert!(fixtures.values().flatten().any(|line| *line == example), "{name} is in no fixture");
        }
    }
    let data = Data::new(&["krr"]);
    data.apply("krr", &fixtures["krr"], &["-q"]).expect("applied");
    let own = ["put_persons", "set_aside", "others"].map(|name| example(&text, name));
    data.apply("krr", &own, &["-q"]).expect("applied");
    assert_eq!(data.sequence("krr"), 1180);
    let printed = data.done(0, &["changes", "krr", "--from", "1100"]);
    assert!(printed.lines().all(|line| schema.accepts(&parsed(line))) && printed.lines().count() == 3);
}

/// Each documented field with every kind of error: document, schema and program agree.
#[test]
fn fields_are_as_documented() {
    let (text, schema) = (document("changes.md"), Schema::new());
    let data = Data::new(&["far", "krr"]);
    for name in names(&text) {
        if name == "put_person" {
            continue; // Its fields are those of docs/extract.md; see below.
        }
        let kind = if name.contains("person") { "krr" } else { "far" };
        let fields = table(&text, &name);
        let mut whole = parsed(&example(&text, &name))[&name].clone();
        if ["put_persons", "others"].contains(&&name[..]) {
            whole["previous"] = 0.into(); // the register may be further
        }
        let mut documented: Vec<&str> = first_column(&fields);
        documented.sort_unstable();
        let mut properties = schema.properties(&name);
        properties.sort_unstable();
        assert_eq!(documented, properties, "{name}");
        let mut variants = vec![(whole.clone(), true)];
        let mut with = |field: &str, value: Option<Value>, good: bool| {
            let mut variant = whole.clone();
            match value {
                Some(value) => variant[field] = value,
                None => _ = variant.as_object_mut().expect("an object").remove(field),
            }
            variants.push((variant, good));
        };
        for row in &fields {
            let (field, of_type) = (&row[0][..], &row[1][..]);
            with(field, None, row[2] == "no");
            with(field, Some(Value::Null), of_type.ends_with("or null"));
            let wrong = if of_type.contains("number") { json!("x") } else { json!(5) };
            with(field, Some(wrong), false);
            if of_type.ends_with("or null") {
                with(field, Some(json!("")), true);
            }
            if of_type.starts_with("list") {
                with(field, Some(json!([])), true);
                with(field, Some(json!([5])), false);
            }
            if of_type.starts_with("time") {
                with(field, Some(json!("2026-06-01T04:00:00+02")), true);
                with(field, Some(json!("2026-06-01")), false);
            }
        }
        with("other", Some(json!("x")), false);
        let changes: Vec<Value> =
            variants.iter().map(|(variant, _)| change(&name, variant.clone())).collect();
        for ((line, (_, good)), reason) in changes.iter().zip(&variants).zip(data.reasons(kind, &changes)) {
            let mut numbered = line.clone();
            numbered["sequence"] = 1.into();
            assert_eq!(schema.accepts(&numbered), *good, "schema: {line}");
            // Unknown ids are checked elsewhere.
            let fits = reason
                .as_ref()
                .is_none_or(|(reason, _)| reason.starts_with("unknown_") && reason != "unknown_field");
            assert_eq!(fits, *good, "program: {line} {reason:?}");
        }
    }
}

#[test]
fn persons_are_those_of_the_extract() {
    let (text, schema) = (document("extract.md"), Schema::new());
    let fields = table(&text, "personer.jsonl");
    let documented: BTreeSet<String> = fields.iter().map(|row| row[0].clone()).collect();
    let mut properties = BTreeSet::new();
    for name in schema.properties("person") {
        match &schema.properties(&format!("person/properties/{name}"))[..] {
            [] => _ = properties.insert(name),
            inner => properties.extend(inner.iter().map(|inner| format!("{name}.{inner}"))),
        }
    }
    assert_eq!(documented, properties);
    let data = Data::new(&["krr"]);
    let person = |fields: Value| {
        let mut person = json!({"personidentifikator": "01819012365"});
        person.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        person
    };
    for (fields, good) in [
        (json!({}), true),
        (json!({"anything": [1], "spraak": null, "status": "", "reservasjon": "JA"}), true),
        (json!({"kontaktinformasjon": null, "digital_post": {"other": 1}}), true),
        (json!({"reservasjon": "ja"}), false),
        (json!({"status": "IKKE_REGISTRERT"}), false),
        (json!({"spraak": 1}), false),
        (json!({"spraak_oppdatert": "i går"}), false),
        (json!({"kontaktinformasjon": {"epostadresse_duplisert": "KANSKJE"}}), false),
        (json!({"digital_post": []}), true),
    ] {
        let line = change("put_person", person(fields));
        let mut numbered = line.clone();
        numbered["sequence"] = 1.into();
        // A list is read as the fields of an object in order; this is undocumented.
        if line["put_person"]["digital_post"] != json!([]) {
            assert_eq!(schema.accepts(&numbered), good, "{line}");
            assert_eq!(data.reasons("krr", std::slice::from_ref(&line))[0].is_none(), good, "{line}");
        }
    }
}

/// The reasons are private to the crate, so they are read from its source.
#[test]
fn reasons_are_documented_and_occur() {
    let text = document("changes.md");
    let mut known: BTreeSet<String> = ["bad_json", "unknown_field"].map(str::to_owned).into();
    for name in [
        "changes/apply/mod.rs",
        "changes/apply/resolve.rs",
        "changes/apply/actors.rs",
        "changes/json.rs",
        "changes/pages.rs",
        "decode/person.rs",
        "store/batch.rs",
    ] {
        let source = fs::read_to_string(root().join("src").join(name)).expect(name);
        for start in ["reason(\"", "Reason { name: \""] {
            let found = source.split(start).skip(1).filter_map(|rest| rest.split('"').next());
            known.extend(found.map(str::to_owned));
        }
    }
    let reasons = table(&text, "Bad lines");
    let documented: BTreeSet<String> = reasons.iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, known);
    for rejection in Rejection::ALL {
        assert!(section(&text, "Bad lines").contains(&format!("`{rejection}`")), "{rejection}");
    }

    let (known, operator) = ("196810199809", "164921000016");
    let far = [
        ("bad_json", "", json!("rubbish")),
        ("line_too_long", "", json!("x".repeat((1 << 20) + 1))),
        ("bad_json", "", json!({"sequence": "next", "remove_sender": {"id": operator}})),
        ("unknown_field", "", change("remove_sender", json!({"id": operator, "x": 1}))),
        ("no_change", "", json!({"sequence": "next", "time": "2026-06-02T00:00:00Z"})),
        ("no_change", "", change("put_sender", Value::Null)),
        ("several_changes", "", {
            let mut line = change("remove_sender", json!({"id": operator}));
            line["remove_operator"] = json!({"id": operator});
            line
        }),
        (
            "not_of_this_register",
            "remove_person",
            change("remove_person", json!({"personidentifikator": "01819012365"})),
        ),
        ("bad_time", "time", json!({"sequence": "next", "time": "", "remove_sender": {"id": operator}})),
        (
            "bad_time",
            "last_registration",
            change(
                "put_recipient",
                json!({"recipient_id": known, "type": "Not", "last_registration": "1600-01-01T00:00:00Z"}),
            ),
        ),
        ("bad_type", "type", change("put_recipient", json!({"recipient_id": known, "type": "secure"}))),
        (
            "bad_acceptance",
            "acceptance",
            change("set_acceptance", json!({"recipient_id": known, "acceptance": "all"})),
        ),
        ("bad_organisation_number", "id", change("put_sender", json!({"id": "12", "name": ""}))),
        (
            "unknown_operator",
            "operator_id",
            change(
                "put_recipient",
                json!({"recipient_id": known, "type": "Not", "operator_id": "164120000007"}),
            ),
        ),
        (
            "unknown_operator",
            "operator_id",
            change("put_recipient", json!({"recipient_id": known, "type": "Not", "operator_id": "12"})),
        ),
        (
            "unknown_sender",
            "exceptions",
            change(
                "set_acceptance",
                json!({"recipient_id": known, "acceptance": "only", "exceptions": ["164120000007"]}),
            ),
        ),
        (
            "unknown_sender",
            "senders",
            change("put_dispatcher", json!({"id": operator, "name": "", "senders": ["12"]})),
        ),
        (
            "unknown_recipient",
            "recipient_id",
            change("set_acceptance", json!({"recipient_id": "199001022384", "acceptance": "only"})),
        ),
        (
            "bad_check_digit",
            "recipient_id",
            change("remove_recipient", json!({"recipient_id": "199001022385"})),
        ),
        ("ambiguous", "recipient_id", change("remove_recipient", json!({"recipient_id": "1012384"}))),
    ];
    let person = |name: &str, value: Value| {
        change("put_person", json!({"personidentifikator": "01819012365", name: value}))
    };
    let krr = [
        ("not_of_this_register", "remove_sender", change("remove_sender", json!({"id": operator}))),
        ("not_registered", "status", person("status", json!("IKKE_REGISTRERT"))),
        ("bad_value", "reservasjon", person("reservasjon", json!("?"))),
        ("bad_value", "status", person("status", json!("?"))),
        ("bad_time", "spraak_oppdatert", person("spraak_oppdatert", json!("?"))),
        ("too_long", "", person("spraak", json!("x".repeat(65_536)))),
        ("empty", "personidentifikator", change("remove_person", json!({"personidentifikator": ""}))),
    ];
    let data = Data::new(&["far", "krr"]);
    let mut come = BTreeSet::new();
    for (kind, bad) in [("far", &far[..]), ("krr", &krr[..])] {
        let lines: Vec<Value> = bad.iter().map(|(.., line)| line.clone()).collect();
        for ((reason, column, line), found) in bad.iter().zip(data.reasons(kind, &lines)) {
            assert_eq!(found, Some((reason.to_string(), column.to_string())), "{line}");
            come.insert(reason.to_string());
            let Some(row) = reasons.iter().find(|row| row[0] == *reason) else { continue };
            let message = match &row[1][..] {
                "" => column.is_empty(),
                "the field" | "the change" => !column.is_empty(),
                columns => columns.contains(column),
            };
            assert!(message, "{reason} in {column}, documented for {}", row[1]);
        }
    }
    // One more than the maximum of operators and dispatchers, and of sender numbers.
    for (what, max) in [("operator", 4096), ("dispatcher", 65_535), ("sender", 65_535)] {
        let data = Data::new(&["far"]);
        let fields = |n: u32| json!({"id": super::registers::organisation(2_800_000 + n), "name": ""});
        let name = format!("put_{what}");
        let many: Vec<Value> = (0..max).map(|n| change(&name, fields(n))).collect();
        let refused: Vec<_> = data.reasons("far", &many).into_iter().flatten().collect();
        let inspected = parsed(&data.done(0, &["inspect", "far", "--json"]));
        let there = match &inspected[format!("{what}s")] {
            Value::Array(all) => all.len(),
            count => count.as_u64().expect("a number") as usize,
        };
        assert_eq!(there, max as usize, "{what}s");
        let reason = format!("too_many_{what}s");
        assert!(!refused.is_empty() && refused.iter().all(|found| *found == (reason.clone(), "id".into())));
        come.insert(reason);
    }
    assert_eq!(documented.difference(&come).collect::<Vec<_>>(), Vec::<&String>::new());
    let column: BTreeSet<_> = fs::read_to_string(data.path().join("far/rejected.csv"))
        .expect("rejected.csv")
        .lines()
        .next()
        .map(str::to_owned)
        .into_iter()
        .collect();
    assert_eq!(column, [first_column(&table(&text, "rejected.csv")).join(",")].into());
}

#[test]
fn numbers_are_as_documented() {
    let (text, data) = (document("changes.md"), Data::new(&["far"]));
    let (id, other) = ("194908079819", "198106182390");
    let remove = |sequence: u64, id: &str| {
        lines(sequence - 1, &[("remove_recipient", json!({"recipient_id": id}))]).remove(0)
    };
    let report = |printed: &str| parsed(printed);
    let first = data
        .apply("far", &[remove(1001, id), String::new(), remove(1002, id)], &["--json"])
        .expect("applied");
    let documented: BTreeSet<String> =
        table(&text, "What is printed").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, report(&first).as_object().expect("an object").keys().cloned().collect());
    let counts = |printed: &str| {
        ["from", "to", "applied", "skipped", "without_effect", "set_aside"]
            .map(|name| report(printed)[name].as_u64().expect(name))
    };
    assert_eq!(counts(&first), [1000, 1002, 2, 0, 1, 0]);
    // Skipped and compared: another spelling is the same change, another recipient is a fork.
    let again = remove(1001, "490807-9819").replace("T00:00:00Z", "T02:00:00+02");
    let again = data.apply("far", &[again, remove(1003, id)], &["--json"]).expect("applied");
    assert_eq!(counts(&again), [1002, 1003, 1, 1, 1, 0]);
    for (line, expected) in [
        (remove(1001, other), "the register has another change 1001"),
        (remove(1005, id), "expected 1004, got 1005"),
        (remove(1004, "1"), "bad_length in recipient_id; nothing of the batch was applied"),
    ] {
        let failed = data.apply("far", &[remove(1003, id), line], &[]).expect_err("refused");
        assert!(failed.contains(expected) && failed.contains("line 2"), "{failed}");
        assert_eq!(data.sequence("far"), 1003);
    }
    // Batches before a refused one stay.
    let failed = data.apply("far", &[remove(1004, id), remove(1006, id)], &["--batch", "1"]);
    assert!(failed.expect_err("a gap").contains("expected 1005") && data.sequence("far") == 1004);
    // Bad lines use up numbers: 1005 is readable, 1006 is missing, nothing is missing after 1007.
    let bad = [remove(1005, "1"), "rubbish".into(), "more".into(), remove(1007, id), "end".into()];
    data.apply("far", &bad, &["--skip-bad", "-q"]).expect("applied");
    let used: Vec<_> = data.rejected("far").into_iter().map(|row| [row[0].clone(), row[1].clone()]).collect();
    assert_eq!(used, [["1", "1005"], ["2", "1006"], ["3", ""], ["5", ""]].map(|row| row.map(str::to_owned)));
    let printed = data.done(0, &["changes", "far", "--from", "1004"]);
    let printed: Vec<Value> = printed.lines().map(parsed).collect();
    let aside: Vec<bool> = printed.iter().map(|line| line.get("set_aside").is_some()).collect();
    assert_eq!(aside, [true, true, false]);
    assert_eq!(printed[1]["set_aside"], json!({"reason": "bad_json", "column": ""}));
    let failed = data.apply("far", &["rubbish".into(), remove(1010, id)], &["--skip-bad"]);
    assert!(failed.expect_err("longer than the bad lines").contains("expected 1008, got 1010"));
    // Changes before the log are neither compared nor available.
    data.done(0, &["checkpoint", "far", "-q"]);
    data.apply("far", &[remove(1001, other)], &["-q"]).expect("skipped");
    let gone = run(data.path(), &["changes", "far", "--from", "1006"]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("which begins after 1007"));
    // Exit codes, and the rest of the table.
    assert_eq!(first_column(&table(&text, "Exit codes")), ["0", "1", "2", "3", "130"]);
    data.done(2, &["init", "far", "far"]);
    data.done(2, &["apply", ".", "changes.jsonl"]);
    data.done(2, &["changes", "far"]);
    data.done(1, &["apply", "far", "no-such-file.jsonl"]);
}

#[test]
fn removed_entries_are_forgotten_as_documented() {
    let data = Data::new(&["far"]);
    let (recipient, operator) = ("196810199809", "164921000016");
    let (sender, other) = ("164821000025", "164821000108");
    let apply = |changes: &[(&str, Value)]| {
        let lines = lines(data.sequence("far"), changes);
        data.apply("far", &lines, &["-q"]).expect("applied");
    };
    let rule = |acceptance: &str, senders: &[&str]| {
        (
            "set_acceptance",
            json!({"recipient_id": recipient, "acceptance": acceptance, "exceptions": senders}),
        )
    };
    let join = ("put_sender", json!({"id": sender, "name": "again"}));
    let dispatcher = ("put_dispatcher", json!({"id": "164727008155", "name": "d", "senders": [sender]}));
    for (acceptance, named, [of_other, of_new]) in [
        ("all-except", &[sender, other][..], ["sender_declined", "digital"]),
        ("all-except", &[sender], ["digital", "digital"]),
        ("only", &[sender, other], ["digital", "sender_declined"]),
        ("only", &[sender], ["sender_declined", "sender_declined"]),
    ] {
        apply(&[rule(acceptance, named), dispatcher.clone()]);
        let before = if acceptance == "only" { "digital" } else { "sender_declined" };
        assert_eq!(data.outcome(sender, recipient), before);
        apply(&[("remove_sender", json!({"id": sender}))]);
        assert_eq!(data.outcome(other, recipient), of_other, "{acceptance} {named:?}");
        apply(std::slice::from_ref(&join));
        assert_eq!(data.outcome(other, recipient), of_other, "{acceptance} {named:?}");
        assert_eq!(data.outcome(sender, recipient), of_new, "{acceptance} {named:?}");
    }
    let joined = ("put_sender", json!({"id": "164120000007", "name": "joins later"}));
    apply(&[rule("all-except", &[other]), joined]);
    assert_eq!(data.outcome("164120000007", recipient), "digital");
    let put =
        ("put_operator", json!({"id": operator, "name": "again", "service_address": "https://a.example"}));
    apply(&[("remove_operator", json!({"id": operator}))]);
    assert_eq!(data.outcome(sender, recipient), "operator_without_address");
    apply(&[put]);
    assert_eq!(data.outcome(sender, recipient), "operator_without_address");
    data.done(0, &["export", "far", "-o", "extract"]);
    let read = |name: &str| fs::read_to_string(data.path().join("extract").join(name)).expect(name);
    assert!(
        read("recipients.csv").lines().any(|row| row.starts_with(&format!("{recipient},Secure,false,,")))
    );
    assert!(read("dispatchers.csv").lines().any(|row| row == "164727008155,d,"), "it has no senders");
    let person =
        ("put_recipient", json!({"recipient_id": recipient, "type": "Secure", "operator_id": operator}));
    apply(&[person]);
    assert_eq!(data.outcome(sender, recipient), "digital");
}

#[test]
fn pages_are_read_as_documented() {
    let (text, data) = (document("changes.md"), Data::new(&["krr"]));
    let rows = table(&text, "Pages of KRR");
    let named = |row: usize, column: usize| rows[row][column].trim_start_matches('@').to_owned();
    let pages = |name: &str, text: String, more: &[&str]| {
        fs::write(data.path().join(name), text).expect("written");
        run(data.path(), &[&["apply", "krr", name, "--time", "2026-07-01T00:00:00Z"], more].concat())
    };
    let soap = |from: u64, to: u64, person: &str| {
        format!(
            "<s:Envelope xmlns:s='s'><s:Header><x/></s:Header><s:Body><n:HentEndringerRespons xmlns:n='n' {}='{from}' \
             {}='{to}' {}='9'><n:{} xmlns:m='m'>{person}</n:{}></n:HentEndringerRespons></s:Body></s:Envelope>",
            named(0, 0),
            named(1, 0),
            named(2, 0),
            named(3, 0),
            named(3, 0)
        )
    };
    let rest = |from: u64, to: u64, ids: &[&str]| {
        let list: Vec<Value> = ids.iter().map(|id| json!({"personidentifikator": id})).collect();
        json!({named(0, 1): from, named(1, 1): to, named(2, 1): 9, named(3, 1): list}).to_string()
    };
    let id = "01819012365";
    let person = format!("<m:personidentifikator>{id}</m:personidentifikator><m:status>SLETTET</m:status>");
    assert!(pages("a.xml", soap(1000, 1010, &person), &[]).status.success());
    // Two pages: the first begins at an earlier position of the register, the second is empty.
    let two = format!("{}\n\n  {}", rest(1005, 1020, &[id]), rest(1020, 1030, &[]));
    assert!(pages("b.json", two, &[]).status.success());
    assert!(pages("b.json", rest(990, 1030, &["1"]), &["--skip-bad"]).status.success(), "skipped");
    let printed: Vec<Value> =
        data.done(0, &["changes", "krr", "--from", "1000"]).lines().map(parsed).collect();
    let expected =
        [(1000, 1010, 1), (1010, 1020, 1), (1020, 1030, 0)].map(|(previous, sequence, persons)| {
            let page = &printed.iter().find(|line| line["sequence"] == sequence).expect("a page");
            assert_eq!(page["time"], "2026-07-01T00:00:00Z");
            assert_eq!(page[&rows[0][2][..0]], Value::Null);
            (page["put_persons"][&rows[0][2]].as_u64() == Some(previous))
                && page["put_persons"][&rows[3][2]].as_array().expect("a list").len() == persons
        });
    assert_eq!((printed.len(), expected), (3, [true; 3]));
    let within = data.done(0, &["changes", "krr", "--from", "1015"]);
    assert_eq!(parsed(within.lines().next().expect("a page"))["sequence"], 1020, "the whole page");
    let inspected = parsed(&data.done(0, &["inspect", "krr", "--json"]));
    assert_eq!(inspected["as_of"], "2026-07-01T00:00:00Z");
    // A bad person is left out and uses up no number; the rest of its page is applied.
    let bad = rest(1030, 1040, &["1", id]);
    assert_eq!(pages("c.json", bad.clone(), &[]).status.code(), Some(1));
    assert!(pages("c.json", bad, &["--skip-bad"]).status.success());
    assert_eq!(
        data.rejected("krr"),
        [["1", "", "bad_length", "personidentifikator"].map(str::to_owned).to_vec()]
    );
    for (name, page) in [
        ("gap.json", rest(1041, 1050, &[])),
        ("fault.xml", "<Envelope><Body><Fault/></Body></Envelope>".to_owned()),
        ("numbers.json", json!({named(1, 1): 1050, named(3, 1): []}).to_string()),
        ("cut.xml", soap(1040, 1050, &person)[..120].to_owned()),
    ] {
        assert_eq!(pages(name, page, &["--skip-bad"]).status.code(), Some(1), "{name}");
    }
    let backwards = pages("backwards.json", rest(1050, 1045, &[]), &[]);
    assert!(String::from_utf8_lossy(&backwards.stderr).contains("bad_value in tilEndringsId"));
    assert_eq!(data.sequence("krr"), 1040);
    // A full load begins at 0.
    fs::create_dir(data.path().join("empty")).expect("directory");
    let description = "kind = \"krr\"\nsequence = 0\nas_of = \"2026-06-01T00:00:00Z\"\n";
    fs::write(data.path().join("empty/register.toml"), description).expect("written");
    fs::write(data.path().join("empty/personer.jsonl"), "").expect("written");
    data.done(0, &["init", "empty", "loaded", "-q", "--allow-empty"]);
    fs::write(data.path().join("d.json"), rest(0, 500, &[id])).expect("written");
    data.done(0, &["apply", "loaded", "d.json", "-q"]);
    assert_eq!(data.sequence("loaded"), 500);
}

/// The output of `nabar changes`, applied to the same register, makes the same register; and a checkpoint equals the
/// register file that `nabar build` makes of the export.
#[test]
fn printed_changes_and_checkpoints_reproduce_the_register() {
    let text = document("changes.md");
    for kind in ["far", "krr"] {
        let (data, follower) = (Data::new(&[kind]), Data::new(&[kind]));
        data.apply(kind, &fixture(kind), &["-q", "--batch", "7"]).expect("applied");
        let printed = data.done(0, &["changes", kind, "--from", "1000"]);
        let printed: Vec<String> = printed.lines().map(str::to_owned).collect();
        follower.apply(kind, &printed, &["-q", "--batch", "50"]).expect("applied");
        let files = [&data, &follower].map(|data| {
            data.done(0, &["export", kind, "-o", "extract"]);
            data.done(0, &["build", "extract", "-o", "built.nabar", "--strict", "-q"]);
            data.done(0, &["checkpoint", kind, "-q"]);
            let last = data.sequence(kind);
            let file = fs::read(data.path().join(format!("{kind}/register-{last:020}.nabar"))).expect("file");
            assert!(file == fs::read(data.path().join("built.nabar")).expect("built"), "{kind}");
            file
        });
        assert!(files[0] == files[1], "{kind}");
        // Canonical: printing what was printed changes nothing.
        assert!(printed.iter().all(|line| !line.contains("varslingsstatus") && !line.contains("+0")));
    }
    let differences = &tables(&section(&text, "What is printed"))[1];
    assert!(differences.iter().any(|row| row[0].contains("ids in any spelling")));
    let data = Data::new(&["far"]);
    let (one, two) = ("164821000108", "164821000025");
    let short = json!({"recipient_id": "490807-9819", "type": "Not", "exceptions": [one, two, "4821000108"]});
    let line =
        lines(1000, &[("put_recipient", short), ("put_operator", json!({"id": "4120000007", "name": ""}))]);
    data.apply("far", &line, &["-q"]).expect("applied");
    let printed = data.done(0, &["changes", "far", "--from", "1000"]);
    let printed: Vec<Value> = printed.lines().map(parsed).collect();
    let expected = json!({"recipient_id": "194908079819", "type": "Not", "pending": false,
        "acceptance": "all-except", "exceptions": [two, one]});
    assert_eq!(printed[0]["put_recipient"], expected);
    assert_eq!(printed[1]["put_operator"]["id"], "164120000007");
    assert_eq!(printed[1]["put_operator"]["logo"], "");
}
