//! What the reports of `check` and `split` say beside the outcomes: digests, settings, groups, costs; and the page.

use super::{DATE, FAR, args, plain_list};
use crate::support::workspace::{Workspace, fixture};
use jiff::civil::{Date, date};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

fn digest(work: &Workspace, name: &str) -> Value {
    format!("blake3:{}", blake3::hash(&fs::read(work.path(name)).expect("a file")).to_hex()).into()
}

/// With the list, the register and the report, the job can be done again and compared.
#[test]
fn a_report_has_what_is_needed_to_repeat_the_job() {
    let work = Workspace::with_register_files();
    let list = fixture("far-list.csv");
    let more = [
        "--strict-rows",
        "--duplicates",
        "set-aside",
        "--max-rejected",
        "60%",
        "--id-column",
        "personnummer",
    ];
    let report = work.json(&args(&[&["split", &list, "-o", "out", "--json"], &FAR, &DATE, &more]));
    let files = report["files"].as_array().expect("files");
    assert!(files.len() > 5);
    for file in files {
        let name = format!("out/{}", file["path"].as_str().expect("a path"));
        assert_eq!(file["digest"], digest(&work, &name), "{name}");
    }
    assert_eq!(report["feedback"]["digest"], digest(&work, "out/feedback.csv"));
    assert_eq!(report["register"]["digest"], work.json(&["inspect", "far.nabar", "--json"])["digest"]);
    assert_eq!(
        (&report["made"]["date"], &report["made"]["version"]),
        (&"2026-06-01".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let settings = &report["settings"];
    assert_eq!((&settings["strict_rows"], &settings["duplicates"]), (&true.into(), &"set_aside".into()));
    assert_eq!(
        (&settings["max_rejected"], &settings["id_columns"][0]),
        (&"60%".into(), &"personnummer".into())
    );
    // The same again, with one thread: the same digests.
    let again =
        work.json(&args(&[&["split", &list, "-o", "again", "--json", "--threads", "1"], &FAR, &DATE, &more]));
    assert_eq!((&again["files"], &again["feedback"]), (&report["files"], &report["feedback"]));
    // Of a job that is refused, only the rejected rows are there.
    let out =
        work.run(&args(&[&["split", &list, "-o", "refused", "--json", "--max-rejected", "0"], &FAR, &DATE]));
    assert_eq!(out.status.code(), Some(3));
    let refused: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(refused["files"].as_array().expect("files").len(), 1);
    assert_eq!(refused["files"][0]["digest"], digest(&work, "refused/rejected.csv"));
}

/// The digest of a register file tells it from every other one, also of the same content in another state.
#[test]
fn the_digest_of_a_register_is_that_of_its_file() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let list = fixture("far-list.csv");
    let check = || work.json(&args(&[&["check", &list, "--json", "-r", "data"], &FAR[2..], &DATE]));
    let before = check();
    assert_eq!(before["register"]["file_sequence"], before["register"]["sequence"]);
    work.apply(&["data", &fixture("changes/far.jsonl")]);
    let after = check();
    assert_eq!(after["register"]["digest"], before["register"]["digest"]);
    assert!(after["register"]["sequence"].as_u64() > after["register"]["file_sequence"].as_u64());
    work.done(&["checkpoint", "data"]);
    let folded = check();
    assert_ne!(folded["register"]["digest"], before["register"]["digest"]);
    assert_eq!(folded["register"]["file_sequence"], folded["register"]["sequence"]);
}

/// The group of an age, as docs/report.md lists them.
fn age_group(id: &str, day: Date) -> String {
    if id.is_empty() {
        return "no_identity".to_owned();
    }
    if id.starts_with("16") {
        return "organisation".to_owned();
    }
    let number = |range: std::ops::Range<usize>| id[range].parse::<i16>().expect("digits");
    let day_of_month = number(6..8);
    let day_of_month = if day_of_month > 60 { day_of_month - 60 } else { day_of_month };
    let Ok(born) = Date::new(number(0..4), number(4..6) as i8, day_of_month as i8) else {
        return "unknown".to_owned();
    };
    let had_birthday = (day.month(), day.day()) >= (born.month(), born.day());
    let age = day.year() - born.year() - i16::from(!had_birthday);
    if age < 0 {
        return "unknown".to_owned();
    }
    let from = [0, 18, 25, 35, 45, 55, 65, 75, 85, 95];
    let index = from.iter().rposition(|from| *from <= age).expect("one");
    match from.get(index + 1) {
        Some(next) => format!("{}-{}", from[index], next - 1),
        None => format!("{}-", from[index]),
    }
}

/// Letters by town and age are those of a plain reading of list and feedback, in `check` and `split`, with any number of threads
/// and with duplicates set aside; small groups are not shown, and cannot be derived from those that are.
#[test]
fn groups_are_those_of_a_plain_reading() {
    let work = Workspace::with_register_files();
    let list = String::from_utf8(plain_list()).expect("text");
    work.write("list.csv", &list);
    let mut reader =
        csv::ReaderBuilder::new().delimiter(b';').flexible(true).quoting(false).from_reader(list.as_bytes());
    let towns: Vec<String> = reader
        .records()
        .map(|record| record.expect("a row").get(4).unwrap_or_default().trim().to_owned())
        .collect();
    for (more, smallest) in
        [(&["--duplicates", "set-aside"][..], 10), (&["--threads", "1"], 10), (&["--smallest-group", "0"], 0)]
    {
        let groups = ["--group-by", "ort", "--group-by", "age"];
        let report = work.json(&args(&[
            &["split", "list.csv", "-o", "out", "--force", "--json"],
            &FAR,
            &DATE,
            &groups,
            more,
        ]));
        let feedback = fs::read(work.path("out/feedback.csv")).expect("feedback");
        let feedback: Vec<csv::StringRecord> =
            csv::Reader::from_reader(&feedback[..]).records().map(|record| record.expect("a line")).collect();
        assert_eq!(towns.len(), feedback.len());
        let mut expected = [BTreeMap::new(), BTreeMap::new()];
        for (town, said) in towns.iter().zip(&feedback) {
            if ["blank_row", "repeated_header", "footer"].contains(&&said[3]) {
                continue;
            }
            for (table, name) in
                expected.iter_mut().zip([town.clone(), age_group(&said[1], date(2026, 6, 1))])
            {
                let group: &mut BTreeMap<String, u64> = table.entry(name).or_default();
                *group.entry(said[2].to_owned()).or_insert(0) += 1;
            }
        }
        for (by, (table, found)) in
            ["ort", "age"].iter().zip(expected.iter().zip(report["groups"].as_array().expect("groups")))
        {
            assert_eq!(found["by"], *by);
            let shown = found["groups"].as_array().expect("groups");
            for group in shown {
                let of = &table[group["name"].as_str().expect("a name")];
                assert_eq!(
                    group["outcomes"],
                    serde_json::to_value(of).expect("JSON"),
                    "{by} {}",
                    group["name"]
                );
                let letters: u64 = of.values().sum();
                assert!(group["letters"] == letters && letters >= smallest);
            }
            let letters = |group: &Value| group["letters"].as_u64().expect("a number");
            let (hidden, of_hidden) =
                (&found["hidden_groups"], found["hidden_letters"].as_u64().expect("a number"));
            assert_eq!(hidden.as_u64(), Some((table.len() - shown.len()) as u64));
            let all: u64 = table.values().flat_map(BTreeMap::values).sum();
            assert_eq!(shown.iter().map(letters).sum::<u64>() + of_hidden, all);
            assert!(of_hidden == 0 || of_hidden >= smallest);
        }
        assert!(report["groups"][0]["groups"].as_array().expect("groups").len() > 3);
        let check = work.json(&args(&[&["check", "list.csv", "--json"], &FAR, &DATE, &groups, more]));
        assert_eq!(check["groups"], report["groups"]);
    }
    let message = work.fails(2, &args(&[&["check", "list.csv", "--group-by", "stad"], &FAR, &DATE]));
    assert!(message.contains("no column stad"), "{message}");
    work.fails(2, &args(&[&["check", "list.csv", "--group-by", "personnummer"], &FAR, &DATE]));
    let many: String = (0..10_001).map(|number| format!("196810199809;{number}\n")).collect();
    work.write("many.csv", format!("personnummer;arende\n{many}"));
    let message = work.fails(2, &args(&[&["check", "many.csv", "--group-by", "arende"], &FAR, &DATE]));
    assert!(message.contains("more than 10000 different texts"), "{message}");
}

/// Prices of letters by what rules find in their cells: `cost` of a rule instead of that of its channel, and `compared_cost`.
#[test]
fn rules_have_prices_of_their_own() {
    let work = Workspace::with_register_files();
    work.write(
        "rules.toml",
        r#"
currency = "SEK"
compare_with = "print"
[[channel]]
name = "mailbox"
cost = 0.90
[[channel]]
name = "print"
cost = 8.50
[[rule]]
name = "has a mailbox, heavy"
when = { outcome = "digital", cell = { column = "vikt", above = 20 } }
channel = "mailbox"
compared_cost = 17
[[rule]]
name = "has a mailbox"
when = { outcome = "digital" }
channel = "mailbox"
[[rule]]
name = "heavy"
when = { cell = { column = "vikt", above = 20 } }
channel = "print"
cost = 17
compared_cost = 17
[[rule]]
name = "others"
channel = "print"
"#,
    );
    work.write("list.csv", "personnummer;vikt\n196810199809;30\n196810199809;5\n199001022384;30\n199001022384;5\n199001022384;5\n");
    let report = work.json(&args(&[&["check", "list.csv", "--rules", "rules.toml", "--json"], &FAR, &DATE]));
    let of = |name: &str| {
        report["channels"]["rules"]
            .as_array()
            .expect("rules")
            .iter()
            .map(|rule| rule[name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("letters"), [1, 1, 1, 2]);
    assert_eq!(of("cost"), [0.9, 0.9, 17.0, 8.5]);
    assert_eq!(of("total"), [0.9, 0.9, 17.0, 17.0]);
    let channels = &report["channels"]["channels"];
    assert_eq!((&channels[0]["total"], &channels[1]["total"]), (&1.8.into(), &34.0.into()));
    let costs = &report["channels"]["costs"];
    assert_eq!(
        (&costs["as_split"], &costs["compared"], &costs["saved"]),
        (&35.8.into(), &59.5.into(), &23.7.into())
    );
    let rules = work.read("rules.toml").replace("compare_with = \"print\"\n", "");
    work.write("rules.toml", rules);
    let message = work.fails(2, &["rules", "check", "rules.toml"]);
    assert!(message.contains("line 13") && message.contains("compared_cost"), "{message}");
}

/// What a page must have for a screen reader and on paper; `tools/interop/test_report_page.py` has axe-core look at it.
#[test]
fn the_page_has_landmarks_headers_and_bars_that_are_printed() {
    let work = Workspace::with_register_files();
    let more = ["--group-by", "age", "--rules", "rules.toml", "--lang", "sv"];
    work.write("rules.toml", include_str!("../../../fixtures/rules/first.toml"));
    work.write("protected.csv", "id\n196810199809\n");
    let list = fixture("far-list.csv");
    let run = args(&[&["check", &list, "--html", "page.html", "-q"], &FAR, &DATE, &more]);
    let out = work.command(&run).env("TZ", "Europe/Stockholm").output().expect("run");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let page = work.read("page.html");
    for part in [
        "<main>",
        "<header>",
        "lang=\"sv\"",
        "(UTC+01:00)",
        "Per ålder",
        "bara mottagaren kan ändra det",
        "@media print",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<table>").count(), page.matches("<thead>").count());
    assert!(page.matches("<rect").count() > 10);
    let body = page.split("</style>").nth(1).expect("a body");
    assert!(!body.contains("style=") && !body.contains("background"), "bars are no backgrounds");
}
