//! `docs/sources.md` and the README: a live register is asked as they say.

use super::directory::commands;
use super::{document, names, table};
use crate::support::client::Server;
use crate::support::workspace::{Workspace, fixture};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// A workspace with a service for both registers, and source files for it.
fn live() -> (Workspace, Server) {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far=far.nabar", "krr=krr.nabar"]);
    let address = server.address();
    work.write("far.toml", format!("kind = \"far\"\naddress = \"http://{address}/far/Recipient/v3\"\n"));
    work.write("krr.toml", format!("kind = \"krr\"\naddress = \"http://{address}/krr\"\n"));
    for list in ["far-list.csv", "krr-list.csv"] {
        fs::copy(fixture(list), work.path(list)).expect("copied");
    }
    (work, server)
}

const SENDER: [&str; 2] = ["--sender", "164821000025"];

#[test]
fn a_split_of_a_live_register_is_that_of_the_register() {
    let (work, _server) = live();
    let live = ["split", "--source", "far.toml", "far-list.csv", "-o", "live", "-q"];
    work.done(&[&live[..], &SENDER].concat());
    let own = ["split", "-r", "far.nabar", "far-list.csv", "-o", "own", "-q"];
    work.done(&[&own[..], &SENDER].concat());
    work.done(&["split", "--source", "krr.toml", "krr-list.csv", "-o", "live-krr", "-q"]);
    work.done(&["split", "-r", "krr.nabar", "krr-list.csv", "-o", "own-krr", "-q"]);
    let mut compared = 0;
    for (live, own) in [("live", "own"), ("live-krr", "own-krr")] {
        for entry in fs::read_dir(work.path(live)).expect("a directory").flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(".csv") {
                let [live, own] =
                    [live, own].map(|out| fs::read(work.path(out).join(&name)).expect("a file"));
                assert!(live == own, "{}", name.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "{compared} files");
    let left = fs::read_dir(work.path("")).expect("a directory").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.ends_with(".journal") || name.contains("nabar-work")), "{left:?}");
}

#[test]
fn answers_are_used_for_what_was_asked_only() {
    let (work, _server) = live();
    let asked = ["resolve", "--source", "far.toml", "far-list.csv", "-o", "run.nabar", "--json"];
    let printed: Value = serde_json::from_str(&work.done(&[&asked[..], &SENDER].concat())).expect("JSON");
    assert_eq!(
        (&printed["ids"], &printed["asked"], &printed["calls"]),
        (&566.into(), &566.into(), &1.into())
    );
    let again = [&asked[..], &SENDER, &["--known", "run.nabar"]].concat();
    let printed: Value = serde_json::from_str(&work.done(&again)).expect("JSON");
    assert_eq!(
        (&printed["asked"], &printed["taken_over"], &printed["calls"]),
        (&0.into(), &566.into(), &0.into())
    );
    work.done(&["verify", "run.nabar", "-q"]);

    // The same list; another one; another sender.
    work.done(&[&["check", "-r", "run.nabar", "far-list.csv", "-q"], &SENDER[..]].concat());
    work.write("more.csv", "personnummer\n196810199809\n197802022389\n");
    let split = |code: i32, more: &[&str]| {
        let base = ["split", "-r", "run.nabar", "more.csv", "-o", "out", "-q"];
        let output = work.run(&[&base[..], more].concat());
        let errors = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(!errors.contains("19780202"), "{errors}");
        errors
    };
    let refused = split(3, &SENDER);
    assert!(refused.contains("was not asked for the recipients of 1 letters"), "{refused}");
    assert!(!work.path("out").exists(), "nothing is left behind");
    assert!(refused.contains("--ask-missing"), "{refused}");
    let both = split(2, &[&SENDER[..], &["--source", "far.toml"]].concat());
    assert!(both.contains("name two registers"), "{both}");
    // Only the id that is missing is asked for.
    let missing = ["check", "-r", "run.nabar", "more.csv", "--source", "far.toml", "--ask-missing", "--json"];
    let report: Value = serde_json::from_str(&work.done(&[&missing[..], &SENDER].concat())).expect("JSON");
    let source = &report["register"]["source"]["asked"];
    assert_eq!((&source["ids"], &source["taken_over"]), (&1.into(), &1.into()), "{source}");
    assert!(split(2, &["--sender", "164921000016"]).contains("asked for another sender"));
    let one = work.done(&[&["lookup", "-r", "run.nabar", "197802022389"], &SENDER[..]].concat());
    let one: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!((&one["outcome"], one.get("type")), (&"not_asked".into(), None));
    for command in [&["export", "run.nabar", "-o", "extract"][..], &["init", "run.nabar", "data"]] {
        let output = work.run(command);
        let errors = String::from_utf8(output.stderr).expect("text");
        assert!(errors.contains("the answers for one mailing only"), "{errors}");
    }
    work.write("kept.nabar.rejected.csv", "x");
    let printed = work.done(&["purge", "."]);
    assert!(printed.contains("kept 1"), "{printed}");
    work.done(&["purge", ".", "--all", "-q"]);
    let left: Vec<_> = ["far.nabar", "krr.nabar", "run.nabar", "kept.nabar.rejected.csv", "far.toml"]
        .into_iter()
        .filter(|name| work.path(name).exists())
        .collect();
    assert_eq!(left, ["far.nabar", "krr.nabar", "kept.nabar.rejected.csv", "far.toml"]);
}

/// The answers of a live register beside a register file, and a list of two countries asked of live registers only.
#[test]
fn live_registers_of_two_countries_split_one_list() {
    let (work, _server) = live();
    let rules = fs::read_to_string(fixture("rules/two-registers.toml")).expect("rules");
    work.write("rules.toml", rules.replace("../../krr.nabar", "answers.nabar"));
    let list = &fixture("nordic-list.csv");
    let split = |out: &str, code: i32, register: &[&str]| {
        let base = ["split", list, "-o", out, "--rules", "rules.toml", "--json"];
        let output = work.run(&[&base[..], register, &SENDER].concat());
        let errors = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{errors}");
        (String::from_utf8(output.stdout).expect("text"), errors)
    };
    // Of some Norwegian recipients only.
    work.write("one.csv", "id\n06829043112\n");
    work.done(&["resolve", "--source", "krr.toml", "one.csv", "-o", "answers.nabar", "-q"]);
    let (_, errors) = split("out", 3, &["-r", "far.nabar"]);
    assert!(
        errors.contains("register krr of the rules was not asked for the recipients of 8 letters"),
        "{errors}"
    );
    assert!(!work.path("out").exists(), "nothing is left behind");
    work.done(&[
        "resolve",
        "--source",
        "krr.toml",
        list,
        "--id-column",
        "id",
        "-o",
        "answers.nabar",
        "--force",
        "-q",
    ]);
    let (printed, _) = split("out", 0, &["--source", "far.toml"]);
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    // Each register was asked for the ids of its country.
    assert_eq!(report["register"]["source"]["ids"], 9);
    assert_eq!(report["channels"]["registers"][0]["register"]["source"]["ids"], 9);
    work.write("rules.toml", rules.replace("../../", ""));
    split("own", 0, &["-r", "far.nabar"]);
    let [live, own] = ["out", "own"].map(|out| work.read(&format!("{out}/feedback.csv")));
    assert_eq!(live, own);
    for (source, letters) in [("far.toml", 6), ("krr.toml", 3)] {
        let printed =
            work.done(&["recheck", "--source", source, "out", "-o", &format!("{source}.out"), "--json"]);
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(
            (&printed["letters"], &printed["unchanged"]),
            (&letters.into(), &letters.into()),
            "{printed}"
        );
    }
}

/// A further register of FaR is asked again for its own sender; beside FaR, only if that is the sender of the mailing.
#[test]
fn further_registers_are_rechecked_for_their_sender() {
    let (work, _server) = live();
    let rules = |sender: &str| {
        format!(
            "[[register]]\nname = \"far\"\npath = \"far.nabar\"\nsender = \"{sender}\"\n[[channel]]\nname = \"own\"\n\
             mailbox = true\n[[channel]]\nname = \"second\"\nmailbox = true\nregister = \"far\"\n[[channel]]\n\
             name = \"print\"\n[[rule]]\nname = \"second\"\nchannel = \"second\"\n[[rule]]\nname = \"own\"\n\
             channel = \"own\"\n[[rule]]\nname = \"others\"\nchannel = \"print\"\n\n"
        )
        .replace("channel = \"second\"\n[[rule]]", "channel = \"second\"\nwhen = { age = { at_least = 0 } }\n[[rule]]")
        .replace("channel = \"own\"\n[[rule]]", "channel = \"own\"\nwhen = { age = { at_least = 0 } }\n[[rule]]")
    };
    let list = &fixture("nordic-list.csv");
    let split = |rules: String, register: &[&str]| {
        work.write("rules.toml", rules);
        let base =
            ["split", list, "--id-column", "id", "-o", "out", "--force", "--rules", "rules.toml", "--json"];
        let report: Value = serde_json::from_str(&work.done(&[&base[..], register].concat())).expect("JSON");
        let channels = &report["channels"]["channels"];
        [0, 1].map(|channel| channels[channel]["letters"].as_u64().expect("a number"))
    };
    let recheck = |source: &str| {
        let _ = fs::remove_dir_all(work.path("again"));
        let printed = work.done(&["recheck", "--source", source, "out", "-o", "again", "--json"]);
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        ["letters", "unchanged"].map(|name| printed[name].as_u64().expect("a number"))
    };
    let [own, second] = split(rules(SENDER[1]), &["-r", "krr.nabar"]);
    assert!(own > 0 && second > 0, "{own} {second}");
    assert_eq!((recheck("krr.toml"), recheck("far.toml")), ([own, own], [second, second]));
    let report: Value = serde_json::from_str(&work.read("out/report.json")).expect("JSON");
    assert_eq!(report["channels"]["registers"][0]["sender"], SENDER[1]);
    let [own, second] = split(rules("164821000108"), &["-r", "far.nabar", SENDER[0], SENDER[1]]);
    assert!(second > 0, "{own} {second}");
    assert_eq!(recheck("far.toml"), [own, own]);
    let [own, second] = split(rules(SENDER[1]), &["-r", "far.nabar", SENDER[0], SENDER[1]]);
    assert_eq!(recheck("far.toml"), [own + second, own + second]);
}

/// Between the split and the recheck some recipients leave, decline the sender, or change their operator.
#[test]
fn a_recheck_finds_who_has_left_and_who_has_moved() {
    let work = Workspace::with_data_directories("far", &["far"]);
    let server = Server::start(&work, &["far"]);
    work.write(
        "far.toml",
        format!("kind = \"far\"\naddress = \"http://{}/Recipient/v3\"\n", server.address()),
    );
    fs::copy(fixture("far-list.csv"), work.path("list.csv")).expect("copied");
    work.done(&[&["split", "--source", "far.toml", "list.csv", "-o", "out", "-q"], &SENDER[..]].concat());
    let recheck = |out: &str| {
        let printed = work.done(&["recheck", "--source", "far.toml", "out", "-o", out, "--json"]);
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        ["letters", "unchanged", "late_paper", "late_moved"]
            .map(|name| printed[name].as_u64().expect("a number"))
    };
    let before = recheck("same");
    assert_eq!(before, [before[0], before[0], 0, 0]);
    let digital = |out: &str, name: &str| {
        String::from_utf8_lossy(&fs::read(work.path(out).join(name)).unwrap_or_default()).into_owned()
    };
    let brevia = digital("out", "digital-brevia-ab.csv");
    assert_eq!(digital("same", "digital-brevia-ab.csv"), brevia);

    let id = |row: usize| {
        let row = brevia.lines().nth(row).expect("a row").to_owned();
        let found = work.done(
            &[&["lookup", "-r", "far", &row.split(';').next().expect("an id").replace('"', "")], &SENDER[..]]
                .concat(),
        );
        let found: Value = serde_json::from_str(&found).expect("JSON");
        (row, found["recipient_id"].as_str().expect("an id").to_owned())
    };
    let [(left, left_id), (moved, moved_id)] = [1, 2].map(id);
    let change = |sequence: u64, what: String| {
        format!("{{\"sequence\":{sequence},\"time\":\"2026-06-02T04:00:00Z\",{what}}}\n")
    };
    let removed = change(1001, format!("\"remove_recipient\":{{\"recipient_id\":\"{left_id}\"}}"));
    let put = change(
        1002,
        format!(
            "\"put_recipient\":{{\"recipient_id\":\"{moved_id}\",\"type\":\"Secure\",\"operator_id\":\"164921079770\"}}"
        ),
    );
    work.write("changes.jsonl", removed + &put);
    work.done(&["apply", "far", "changes.jsonl", "-q"]);
    let sequence = || server.get("/v1/register").text().to_owned();
    work.until("the service has the changes", || sequence().contains("1002"));
    let repeats = |row: &str| {
        brevia.lines().filter(|other| other.split(';').next() == row.split(';').next()).count() as u64
    };
    let expected = [before[0], before[0] - repeats(&left) - repeats(&moved), repeats(&left), repeats(&moved)];
    assert_eq!(recheck("late"), expected);
    let header = brevia.lines().next().expect("a header");
    for (name, row) in [("late-paper.csv", &left), ("late-moved.csv", &moved)] {
        let text = digital("late", name);
        assert_eq!(text.lines().next(), Some(header), "{name}");
        assert_eq!(text.lines().nth(1), Some(&row[..]), "{name}");
        assert!(!digital("late", "digital-brevia-ab.csv").contains(&row[..]));
    }
    let bytes_of_rows = |out: &str, is_late: bool| -> usize {
        let entries = fs::read_dir(work.path(out)).expect("a directory").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let files =
            names.filter(|name| name.starts_with("digital-") || (is_late && name.starts_with("late-")));
        let rows =
            |file: Vec<u8>| file.len() - file.iter().position(|byte| *byte == b'\n').expect("a header");
        files.map(|name| rows(fs::read(work.path(out).join(name)).expect("a file")) - 1).sum()
    };
    assert_eq!(bytes_of_rows("late", true), bytes_of_rows("out", false), "each letter is in one file");
    assert_eq!(digital("out", "digital-brevia-ab.csv"), brevia, "the split stays as it is");
}

#[test]
fn unusual_lists_and_outputs_are_refused_before_anything_is_asked_or_work() {
    let (work, _server) = live();
    let made = std::process::Command::new("mkfifo").arg(work.path("pipe")).status().expect("mkfifo");
    assert!(made.success());
    for list in ["pipe", "-"] {
        let split = ["split", "--source", "far.toml", list, "-o", "out", "-q"];
        assert!(work.fails(2, &[&split[..], &SENDER].concat()).contains("the list is read twice"), "{list}");
    }
    let split = ["split", "--source", "far.toml", "far-list.csv", "-o", "new/deep/out", "-q"];
    work.done(&[&split[..], &SENDER].concat());
    assert_eq!(work.names("new/deep"), ["out"], "also the directories above it were made");
    // The directory that the job is in, which is empty.
    fs::create_dir(work.path("here")).expect("created");
    let split = ["split", "--source", "../far.toml", "../far-list.csv", "-o", ".", "-q"];
    let output = crate::support::workspace::nabar(&[&split[..], &SENDER].concat())
        .current_dir(work.path("here"))
        .output()
        .expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(work.path("here/report.json").exists() && !work.path("here.journal").exists());
}

#[test]
fn answers_get_too_old() {
    let (work, server) = live();
    let source = format!(
        "kind = \"far\"\naddress = \"http://{}/far/Recipient/v3\"\n[keep]\nmax_age = \"1ms\"\ndelete_after = \"{{}}\"\n",
        server.address()
    );
    let resolve = |delete_after: &str| {
        work.write("short.toml", source.replace("{}", delete_after));
        let asked = ["resolve", "--source", "short.toml", "far-list.csv", "-o", "run.nabar", "-q"];
        work.done(&[&asked[..], &SENDER].concat());
        let check = ["check", "-r", "run.nabar", "far-list.csv", "-q"];
        let output = work.run(&[&check[..], &SENDER].concat());
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, errors) = resolve("1h");
    assert!(code == Some(3) && errors.contains("ask again"), "{errors}");
    let (code, errors) = resolve("1ms");
    assert!(code == Some(1) && errors.contains("were to be deleted by"), "{errors}");
    let printed = work.done(&["purge", "."]);
    assert!(printed.contains("removed 1 register files"), "{printed}");
}

#[test]
fn the_report_of_a_live_register_has_the_documented_names() {
    let (work, server) = live();
    let check = ["check", "--source", "far.toml", "far-list.csv", "--json"];
    let report: Value = serde_json::from_str(&work.done(&[&check[..], &SENDER].concat())).expect("JSON");
    let mut found = BTreeSet::new();
    names("register.source", &report["register"]["source"], &mut found);
    let documented: BTreeSet<String> = table(&document("report.md"), "report.json")
        .into_iter()
        .map(|row| row[0].clone())
        .filter(|name| name.starts_with("register.source."))
        .collect();
    found.remove("register.source");
    assert_eq!(documented.difference(&found).count() + found.difference(&documented).count(), 1, "{found:?}");
    assert_eq!(report["register"]["source"]["asked"]["calls"], 1);
    assert_eq!(
        report["register"]["source"]["address"],
        format!("http://{}/far/Recipient/v3", server.address())
    );
}

/// The commands of the page and of the README, against a service in place of the live register.
#[test]
fn the_documented_commands_run() {
    let (work, _server) = live();
    let far = fs::read(work.path("far.toml")).expect("a source file");
    fs::copy(fixture("far-list.csv"), work.path("list.csv")).expect("copied");
    let list = fs::read(fixture("far-list.csv")).expect("a list");
    let packed = zstd::encode_all(&list[..], 1).expect("packed");
    work.write("more.csv.gz", packed);
    let readme = fs::read_to_string(crate::support::workspace::root().join("README.md")).expect("README.md");
    let mut run = 0;
    for text in [document("sources.md"), readme] {
        for block in commands(&text).filter(|block| block.contains("far.toml") || block.contains("run.nabar"))
        {
            if block.contains("-o out/") {
                let _ = fs::remove_dir_all(work.path("out"));
            }
            // A service runs until it is ended: the tests of `serve::front` start it.
            for line in block.lines().filter(|line| line.starts_with("nabar ") && !line.ends_with('&')) {
                let words = line.split(" #").next().unwrap_or_default();
                let (words, file) =
                    words.split_once(" > ").map_or((words, None), |(words, file)| (words, Some(file)));
                let arguments: Vec<&str> = words.split_whitespace().skip(1).collect();
                let printed = work.done(&arguments);
                if let Some(file) = file {
                    // The example of a source file, which is then filled in.
                    work.write(file.trim(), printed);
                    work.write("far.toml", &far);
                }
                run += 1;
            }
        }
    }
    assert!(run >= 8, "{run} commands");
}

/// Each documented key is read, with its documented default, and no other.
#[test]
fn source_files_have_the_documented_keys() {
    let text = document("sources.md");
    let keys: Vec<String> = table(&text, "Source file").into_iter().map(|row| row[0].clone()).collect();
    for kind in ["far", "krr", "kivra"] {
        let example =
            fs::read_to_string(crate::support::workspace::root().join(format!("src/cli/source_{kind}.toml")));
        // With the keys in comments.
        let example = example.expect("an example");
        let lines = example.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
            _ => line,
        });
        let table: toml::Table = toml::from_str(&lines.collect::<Vec<_>>().join("\n")).expect("TOML");
        for (key, value) in &table {
            match value.as_table() {
                None => assert!(keys.contains(key), "{key}"),
                Some(inner) => {
                    for name in inner.keys() {
                        assert!(keys.contains(&format!("{key}.{name}")), "{key}.{name}");
                    }
                }
            }
        }
    }
}
