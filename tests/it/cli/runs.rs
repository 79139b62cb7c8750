//! Print runs through the real binary. `tools/interop/test_runs.py` compares random runs with naive readers.

use super::{DATE, FAR, args};
use crate::support::workspace::{Workspace, fixture, shows_no_identity};
use serde_json::Value;
use std::fs;

/// The runs of the fixtures, and their descriptions.
const RUNS: [(&str, &str); 3] =
    [("night.dat", "night.toml"), ("bundle.xml", "bundle.toml"), ("night.afp", "afp.toml")];

fn run(name: &str) -> String {
    fixture(&format!("runs/{name}"))
}

/// The message of a command that is used wrongly. Places of letters in it have an at sign, which no other message has.
fn usage(work: &Workspace, args: &[&str]) -> String {
    let output = work.run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    shows_no_identity(&message.replace('@', ""));
    message
}

/// The files of a split, with the letters of each, and the parts that all of them have in common.
#[test]
fn all_letters_of_a_run_are_in_one_file_each() {
    let work = Workspace::with_register_files();
    for (name, description) in RUNS {
        let whole = fs::read(run(name)).expect("a run");
        let out = format!("out-{name}");
        let options = ["--run", &run(description), "-o", &out, "--json"];
        let report = work.json(&args(&[&["split", &run(name)], &options, &FAR, &DATE]));
        let described = &report["list"]["run"];
        let number = |value: &Value| value.as_u64().expect("a number") as usize;
        let (before, after) = (number(&described["bytes_before"]), number(&described["bytes_after"]));
        let feedback = work.read(&format!("{out}/feedback.csv"));
        assert!(
            feedback
                .starts_with("letter,recipient_id,outcome,reason,operator_id,first_record,records,bytes\n")
        );
        // Where each letter is, by the feedback: the files are made of these bytes.
        let mut at = before;
        let letters: Vec<(Vec<&str>, &[u8])> = feedback
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                let length: usize = cells[7].parse().expect("a length");
                at += length;
                (cells, &whole[at - length..at])
            })
            .collect();
        assert_eq!(at + after, whole.len(), "{name}");
        assert_eq!(report["list"]["rows"], letters.len());
        for file in report["files"].as_array().expect("files") {
            let is_its = |cells: &[&str]| match file["operator_id"].as_str() {
                Some(operator) => cells[4] == operator,
                None => cells[4].is_empty() && file["outcome"] == cells[2],
            };
            let mine: Vec<u8> = letters
                .iter()
                .filter(|(cells, _)| is_its(cells))
                .flat_map(|(_, bytes)| bytes.iter().copied())
                .collect();
            let path = file["path"].as_str().expect("a path");
            assert!(path.ends_with(&name[name.find('.').expect("an ending")..]));
            let written = fs::read(work.path(&out).join(path)).expect("a file");
            assert!(written[before..written.len() - after] == mine, "{path}");
            if description == "afp.toml" {
                assert!(
                    written.starts_with(&whole[..before]) && written.ends_with(&whole[whole.len() - after..])
                );
            }
        }
        let records: usize =
            letters.iter().map(|(cells, _)| cells[6].parse::<usize>().expect("records")).sum();
        assert_eq!(number(&described["records"]), records);
        // The same without files, and from a stream.
        let check = work
            .with_input(&args(&[&["check", "-", "--run", &run(description), "--json"], &FAR, &DATE]), &whole);
        let check: Value = serde_json::from_slice(&check.stdout).expect("JSON");
        assert_eq!(check["outcomes"], report["outcomes"], "{name}");
        assert_eq!(check["list"]["digest"], report["list"]["digest"]);
    }
}

#[test]
fn options_describe_a_run_as_a_file_does() {
    let work = Workspace::with_register_files();
    for (name, options) in [
        (
            "night.dat",
            "--record-type 0:2 --letter-start 10 --id-in 10 --id-at 10:14 --header-record 00 --trailer-count 90:2:8 --charset iso-8859-1",
        ),
        ("bundle.xml", "--letter-element Letter --id-path Recipient/PersonId"),
        ("night.afp", "--id-tag PersonId"),
    ] {
        let given: Vec<&str> = options.split(' ').collect();
        let by_options = work.json(&args(&[&["check", &run(name), "--json"], &given, &FAR, &DATE]));
        let known = RUNS.iter().find(|(run, _)| *run == name).expect("a run").1;
        let by_file =
            work.json(&args(&[&["check", &run(name), "--json", "--run", &run(known)], &FAR, &DATE]));
        assert_eq!(by_options["outcomes"], by_file["outcomes"], "{name}");
    }
    for (wrong, expected) in [
        ("--letter-start 10 --id-at 0:2", "--record-type"),
        ("--record-type 0:2 --letter-start 10", "say where the id is"),
        ("--letter-key 2 --id-at 0:2", "OFFSET:LENGTH, or name the delimiter"),
        ("--letter-element L --id-path a//b", "id_path"),
        ("--run fixtures-none.toml", "cannot read"),
        ("--id-tag PersonId --id-column 1", "are part of the description"),
        ("--id-tag PersonId --skip-rows 1", "of lists with one row a letter"),
    ] {
        let given: Vec<&str> = wrong.split(' ').collect();
        let message = usage(&work, &args(&[&["check", &run("night.dat")], &given, &FAR]));
        assert!(message.contains(expected), "{wrong}: {message}");
    }
}

/// Texts of letters, in rules and groups; and the rule of each letter in the feedback.
#[test]
fn rules_and_groups_read_texts_of_letters() {
    let work = Workspace::with_register_files();
    for (name, description, (amount, above), text) in [
        ("night.dat", "night.toml", ("30@2:10", 50_000), "20@2:7"),
        ("bundle.xml", "bundle.toml", ("Amount", 50_000), "@number"),
        ("night.afp", "afp.toml", ("Number", 50), "Number"),
    ] {
        work.write(
            "rules.toml",
            format!(
                "[[channel]]\nname = \"large\"\n[[channel]]\nname = \"print\"\n[[rule]]\nname = \"large\"\nchannel = \"large\"\n\
                 when = {{ cell = {{ column = \"{amount}\", above = {above} }} }}\n[[rule]]\nname = \"rest\"\nchannel = \"print\"\n"
            ),
        );
        let options = [
            "--run",
            &run(description),
            "--rules",
            "rules.toml",
            "--group-by",
            text,
            "--smallest-group",
            "1",
        ];
        let report = work.json(&args(&[
            &["split", &run(name), "-o", "out", "--force", "--json"],
            &options,
            &FAR,
            &DATE,
        ]));
        let channels = report["channels"]["channels"].as_array().expect("channels");
        let letters = |name: &str| {
            channels.iter().find(|one| one["name"] == name).expect("a channel")["letters"].as_u64()
        };
        assert!(letters("large") > Some(0) && letters("print") > Some(0), "{name}: {channels:?}");
        assert!(!report["groups"][0]["groups"].as_array().expect("groups").is_empty(), "{name}");
        let feedback = work.read("out/feedback.csv");
        assert!(
            feedback.lines().next().expect("titles").ends_with("channel,rule,first_record,records,bytes")
        );
    }
    let wrong = ["--run", &run("night.toml"), "--group-by", "ort"];
    let message = usage(&work, &args(&[&["check", &run("night.dat")], &wrong, &FAR]));
    assert!(message.contains("TYPE@OFFSET:LENGTH"), "{message}");
}

#[test]
fn a_run_that_is_not_as_described_leaves_nothing_behind() {
    let work = Workspace::with_register_files();
    let night = String::from_utf8_lossy(&fs::read(run("night.dat")).expect("a run")).into_owned();
    let trailer = night.rfind("\n90").expect("a trailer") + 1;
    let number = night[trailer + 2..trailer + 10].to_owned();
    for (changed, expected) in [
        (night.replacen(&format!("90{number}"), "9000000001", 1), "the run says 1, and has"),
        (night.replacen(&format!("90{number}"), "90  x  x  ", 1), "there is no number"),
        (night[..trailer].to_owned(), "no trailer record"),
        (format!("{night}{night}"), "follows a trailer record"),
        (format!("10x\n{night}"), "follows letters"),
    ] {
        work.write("run.dat", changed);
        let options = ["--run", &run("night.toml"), "-o", "out"];
        let message = work.fails(3, &args(&[&["split", "run.dat"], &options, &FAR, &DATE]));
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("run.dat") && message.contains("at byte"), "{message}");
        shows_no_identity(&message);
        assert!(!work.path("out").exists());
    }
    // A letter before the first one would go to everybody.
    work.write("early.dat", "HEAD\n11 19681019-9809\n10 196810199809\n");
    let options = ["--record-type", "0:2", "--letter-start", "10", "--id-in", "10", "--id-at", "3:13"];
    let message = work.fails(3, &args(&[&["check", "early.dat"], &options, &FAR, &DATE]));
    assert!(message.contains("would be copied to every file"), "{message}");
    // What reads a list does not read a run.
    let split = ["-o", "out", "--quiet", "--max-rejected", "100%", "--run", &run("night.toml")];
    work.done(&args(&[&["split", &run("night.dat")], &split, &FAR, &DATE]));
    let message = work.fails(2, &["reconcile", "out", &fixture("far-receipts.csv")]);
    assert!(message.contains("parts of a print run"), "{message}");
}

#[test]
fn letters_with_unknown_records_several_ids_or_none_are_rejected() {
    let work = Workspace::with_register_files();
    let letters = [
        ("10 196810199809\n30x\n", ""),
        ("10 196810199809\n31x\n", "unknown_record"),
        ("10\n30x\n", "missing_column"),
        ("10             \n30x\n", "empty"),
        ("10 196810199809\n12 199001022384\n", "more_than_one_identity"),
        ("10 196810199809\n12 19681019-9809\n", ""),
        ("10 196810199809\n30 of 199001022384\n", "more_than_one_identity"),
        ("10 196810199808\n", "bad_check_digit"),
    ];
    // Without --strict-rows: letters with ids of more than three others.
    let others = ["199001022384", "189001019802", "19790829-2399", "30196410299819"];
    let lines = |count: usize| others[..count].iter().map(|id| format!("30 {id}\n")).collect::<String>();
    work.write("others.dat", format!("10 196810199809\n{}10 196810199809\n{}", lines(3), lines(4)));
    work.write("run.dat", letters.map(|(letter, _)| letter).concat());
    work.write(
        "run.toml",
        "form = \"records\"\nrecord_type = \"0:2\"\nletter_start = \"10\"\nid_in = [\"10\", \"12\"]\nid_at = \"3:13\"\nrecords = \"30\"\n",
    );
    let split = ["-o", "out", "--quiet", "--max-rejected", "100%", "--run", "run.toml", "--strict-rows"];
    work.done(&args(&[&["split", "run.dat"], &split, &FAR, &DATE]));
    let feedback = work.read("out/feedback.csv");
    for (line, (letter, reason)) in feedback.lines().skip(1).zip(letters) {
        let cells: Vec<&str> = line.split(',').collect();
        assert!(
            !reason.is_empty() && cells[3] == reason || reason.is_empty() && cells[2] != "rejected",
            "{letter}: {line}"
        );
    }
    assert_eq!(feedback.lines().count(), letters.len() + 1);
    let split = ["-o", "others", "--quiet", "--run", "run.toml"];
    work.done(&args(&[&["split", "others.dat"], &split, &FAR, &DATE]));
    let feedback = work.read("others/feedback.csv");
    let reasons: Vec<&str> =
        feedback.lines().skip(1).map(|line| line.split(',').nth(3).expect("a reason")).collect();
    assert_eq!(reasons, ["", "more_than_one_identity"]);
}

#[test]
fn an_output_never_replaces_the_description_of_its_job() {
    let work = Workspace::with_register_files();
    let night = fs::read(run("night.dat")).expect("a run");
    work.write("night.toml", &night);
    work.done(&args(&[
        &["split", "night.toml", "-o", "out", "--quiet", "--run", &run("night.toml")],
        &FAR,
        &DATE,
    ]));
    let description = fs::read(run("night.toml")).expect("a description");
    work.write("out/paper.toml", &description);
    let again = ["split", "night.toml", "-o", "out", "--force", "--run", "out/paper.toml"];
    work.fails(2, &args(&[&again, &FAR, &DATE]));
    assert!(fs::read(work.path("out/paper.toml")).expect("kept") == description);
}

#[test]
fn what_is_described_and_never_there_is_said() {
    let work = Workspace::with_register_files();
    let check = ["check", &run("night.afp"), "--run", &run("afp.toml"), "--group-by", "Numbr"];
    let output = work.run(&args(&[&check, &FAR, &DATE]));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && message.contains("no letter has a text at Numbr"), "{message}");
    let report = work.json(&args(&[&check, &["--json"], &FAR, &DATE]));
    assert_eq!(report["list"]["run"]["empty_columns"][0], "Numbr");
    for (name, options) in [
        ("bundle.xml", ["--letter-element", "Lettr", "--id-path", "Id"]),
        ("night.dat", ["--letter-match", "^NONE", "--id-at", "10:12"]),
    ] {
        let message = work.fails(3, &args(&[&["check", &run(name)], &options, &FAR, &DATE]));
        assert!(message.contains("no letter begins in the run"), "{message}");
    }
}
