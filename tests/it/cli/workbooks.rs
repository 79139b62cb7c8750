//! Lists in workbooks through the real binary. `tools/interop/test_workbooks.py` compares random ones with openpyxl.

use super::{DATE, FAR, args};
use crate::support::workspace::{Workspace, fixture};
use serde_json::Value;
use std::fs;

fn book(ending: &str) -> String {
    fixture(&format!("runs/list.{ending}"))
}

/// Names of the files of rows in a report, and their rows.
fn files(report: &Value) -> Vec<(String, u64)> {
    let file = |file: &Value| {
        (file["path"].as_str().expect("a path").to_owned(), file["rows"].as_u64().expect("a number"))
    };
    report["files"].as_array().expect("files").iter().map(file).collect()
}

#[test]
fn workbooks_are_split_into_workbooks() {
    let work = Workspace::with_register_files();
    for ending in ["xlsx", "ods"] {
        let out = format!("out-{ending}");
        let split = ["split", &book(ending), "-o", &out, "--json"];
        let report = work.json(&args(&[&split, &FAR, &DATE]));
        assert_eq!(report["list"]["sheet"]["name"], "Utskick");
        assert_eq!(report["list"]["sheet"]["hidden_rows"], 1);
        assert_eq!((&report["list"]["rows"], &report["list"]["header_row"]), (&120.into(), &3.into()));
        for (path, rows) in files(&report) {
            assert!(path.ends_with(".xlsx"), "{path}");
            if !path.starts_with("digital-") || rows == 0 {
                continue;
            }
            // Each is a list again, with the same outcomes.
            let part = format!("{out}/{path}");
            let again = work.json(&args(&[&["check", &part, "--json"], &FAR, &DATE]));
            assert_eq!(again["list"]["rows"], rows, "{path}");
            assert_eq!(again["outcomes"]["digital"], rows, "{path}");
        }
        // The same rows as CSV.
        let csv = format!("csv-{ending}");
        let split = ["split", &book(ending), "-o", &csv, "--json", "--csv"];
        let of_csv = work.json(&args(&[&split, &FAR, &DATE]));
        let expected: Vec<_> =
            files(&report).into_iter().map(|(path, rows)| (path.replace(".xlsx", ".csv"), rows)).collect();
        assert_eq!(files(&of_csv), expected);
        assert!(work.read(&format!("{csv}/paper.csv")).starts_with("\u{FEFF}Fastighetsavgift 2026;;;;;\n"));
        assert_eq!(work.read(&format!("{csv}/feedback.csv")), work.read(&format!("{out}/feedback.csv")));
    }
}

#[test]
fn workbooks_of_an_earlier_split_are_replaced() {
    let work = Workspace::with_register_files();
    let split = |more: &[&str]| {
        let split = ["split", &book("xlsx"), "-o", "out", "--quiet"];
        work.done(&args(&[&split, more, &FAR, &DATE]));
        let names = fs::read_dir(work.path("out")).expect("a directory");
        let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("paper")).collect::<Vec<_>>()
    };
    assert_eq!(split(&[]), ["paper.xlsx"]);
    assert_eq!(split(&["--force", "--csv"]), ["paper.csv"]);
    assert_eq!(split(&["--force"]), ["paper.xlsx"]);
}

#[test]
fn rules_groups_and_rejected_rows_are_those_of_lists() {
    let work = Workspace::with_register_files();
    let rules = "[[channel]]\nname = \"box\"\nmailbox = true\n[[channel]]\nname = \"print\"\n[[rule]]\nname = \"large\"\n\
        when = { cell = { column = \"belopp\", at_least = 200 } }\nchannel = \"print\"\n[[rule]]\nname = \"digital\"\n\
        when = { outcome = \"digital\" }\nchannel = \"box\"\n[[rule]]\nname = \"rest\"\nchannel = \"print\"\n";
    work.write("rules.toml", rules.as_bytes());
    let options = ["--rules", "rules.toml", "--group-by", "förfaller", "--smallest-group", "1", "--json"];
    let output = work.run(&args(&[&["check", &book("xlsx")], &options, &FAR, &DATE]));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let groups = report["groups"][0]["groups"].as_array().expect("groups");
    assert!(groups.iter().any(|group| group["name"] == "2026-06-01"), "{groups:?}");
    // Only the rejected rows are kept of a list that is refused.
    let split = ["split", &book("xlsx"), "-o", "out", "--max-rejected", "0", "--quiet"];
    work.fails(3, &args(&[&split, &FAR, &DATE]));
    let names = fs::read_dir(work.path("out")).expect("a directory").count();
    assert!(work.path("out/rejected.xlsx").exists() && names == 3, "{names}");
}

#[test]
fn a_mottakersplitt_is_answered() {
    let work = Workspace::with_register_files();
    let (run, description) = (fixture("runs/mottakersplitt.xml"), fixture("runs/mottakersplitt.toml"));
    let split = ["split", &run, "--run", &description, "-r", "krr.nabar", "-o", "out", "--json"];
    let report = work.json(&args(&[&split, &DATE]));
    let result = &report["list"]["run"]["result"];
    let text = work.read("out/mottakersplitt-resultat.xml");
    for (name, status) in [
        ("digipost", "DIGIPOST"),
        ("identified", "IDENTIFISERT"),
        ("unidentified", "UIDENTIFISERT"),
        ("invalid", "UGYLDIG"),
    ] {
        let count = text.matches(&format!("<status>{status}<")).count();
        assert_eq!(result[name], count, "{name}");
    }
    assert_eq!(text.matches("<resultat>").count(), 60);
    // Its recipients are Norwegian, without an option.
    let described = work.run(&["run", "describe", &run]);
    let shown = String::from_utf8_lossy(&described.stderr).into_owned();
    assert!(String::from_utf8_lossy(&described.stdout).ends_with("form = \"mottakersplitt\"\n"), "{shown}");
    assert!(described.status.success() && shown.contains("60 letters, 57 with a valid id"), "{shown}");
    let of = |more: &[&str]| work.run(&args(&[&["split", "--run", &description, "-o", "no"], more, &DATE]));
    for more in [
        &[&*run, "-r", "krr.nabar", "--duplicates", "set-aside"][..],
        &["-", "-r", "krr.nabar"],
        &[&run, "-r", "far.nabar", "--sender", "164821000025"],
    ] {
        let output = of(more);
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("mottakersplitt of Digipost"), "{more:?}");
    }
    assert!(!work.path("no").exists());
}
