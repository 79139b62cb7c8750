//! The documentation against the code: the tables of `docs/` are compared with what the program does.

mod changes;
mod channels;
mod directory;
mod extract;
mod format;
mod monitoring;
mod registers;
mod runs;
mod schema;
mod security;
mod source_schema;
mod sources;

use crate::support::workspace::{fixture, nabar, root};
use nabar::identities::{Country, Identity, Rejection, Today};
use nabar::mailing::RowProblem;
use nabar::register::{
    AccountType, FarState, KrrState, Outcome, PaperReason, Recipient, Register, StateRule,
};
use nabar::snapshot::Snapshot;
use registers::{Registers, senders};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

// --- Reading the documentation -----------------------------------------------------------------

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect(name)
}

/// The lines of the section with a heading, up to the next heading.
fn section(text: &str, heading: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
    assert!(lines.next().is_some_and(|line| line.starts_with('#')), "no section \"{heading}\"");
    lines.take_while(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// All tables of a text: their rows without header and ruler, cells without back quotes.
fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables = vec![Vec::new()];
    for line in text.lines() {
        match line.strip_prefix('|') {
            Some(row) => {
                let row = row.trim_end().trim_end_matches('|').replace("\\|", "\u{0}");
                let cell = |cell: &str| cell.trim().trim_matches('`').replace('\u{0}', "|");
                tables.last_mut().expect("a table").push(row.split('|').map(cell).collect::<Vec<_>>());
            }
            None => tables.push(Vec::new()),
        }
    }
    tables.retain(|table| table.len() > 2);
    tables.iter_mut().for_each(|table| _ = table.drain(..2));
    tables
}

/// The only table, or the first one, of a section.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    tables(&section(document, heading)).into_iter().next().unwrap_or_else(|| panic!("no table in {heading}"))
}

fn first_column(table: &[Vec<String>]) -> Vec<&str> {
    table.iter().map(|row| row[0].as_str()).collect()
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

// --- Running the program -----------------------------------------------------------------

fn run(directory: &Path, args: &[&str]) -> Output {
    nabar(args).current_dir(directory).output().expect("run")
}

/// Standard output of a command that must end with an exit code.
fn done(directory: &Path, code: i32, args: &[&str]) -> String {
    let output = run(directory, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn today() -> Today {
    Today::new(2026, 6, 1).expect("a day")
}

fn recipients(register: &Register) -> Vec<(Identity, Recipient)> {
    let mut recipients = Vec::new();
    let read = register.for_each::<nabar::register::Damage>(|identity, recipient| {
        recipients.push((*identity, recipient));
        Ok(())
    });
    read.expect("whole");
    recipients
}

/// Dotted names of all values that are neither objects nor lists.
fn names(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = match prefix {
                    "reasons" => "REASON",
                    "groups[].groups[].outcomes" => "OUTCOME",
                    "groups[].groups[].channels" => "CHANNEL",
                    _ => name,
                };
                names(&format!("{prefix}{}{name}", if prefix.is_empty() { "" } else { "." }), value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| names(&format!("{prefix}[]"), value, found)),
        _ => _ = found.insert(prefix.to_owned()),
    }
}

// --- docs/identities.md ------------------------------------------------------------------------

#[test]
fn spellings_are_read_as_documented() {
    let text = document("identities.md");
    for (heading, country) in
        [("Swedish spellings", Country::Sweden), ("Norwegian spellings", Country::Norway)]
    {
        for row in table(&text, heading) {
            let read = Identity::parse(row[0].as_bytes(), country, today());
            assert_eq!(read.as_ref().map(Identity::as_str), Ok(&row[1][..]), "{}", row[0]);
        }
    }
    let rejections = tables(&section(&text, "Rejections"));
    assert_eq!(first_column(&rejections[0]), Rejection::ALL.map(Rejection::name));
    for row in &rejections[1] {
        let country = if row[0] == "Sweden" { Country::Sweden } else { Country::Norway };
        let read = Identity::parse(row[1].as_bytes(), country, today());
        assert_eq!(read.map_err(Rejection::name), Err(&row[2][..]), "{}", row[1]);
    }
}

// --- docs/report.md ----------------------------------------------------------------------------

#[test]
fn outcomes_and_reasons_are_documented_in_their_order() {
    let text = document("report.md");
    let far = table(&text, "Reasons for paper, FaR");
    let krr = table(&text, "Reasons for paper, KRR");
    let documented: BTreeSet<&str> = first_column(&far).into_iter().chain(first_column(&krr)).collect();
    assert_eq!(documented, PaperReason::ALL.map(PaperReason::name).into_iter().collect());
    let rejected = table(&text, "Reasons for rejection");
    assert_eq!(first_column(&rejected), RowProblem::all().map(RowProblem::name).collect::<Vec<_>>());

    // The first documented reason that applies is reported.
    let message = |table: &[Vec<String>], applies: &[(&str, bool)], outcome: Outcome| {
        let applies: BTreeMap<_, _> = applies.iter().copied().collect();
        assert!(applies.keys().copied().eq(first_column(table).into_iter().collect::<BTreeSet<_>>()));
        let first = first_column(table).into_iter().find(|reason| applies[reason]);
        assert_eq!(outcome.reason(), first.unwrap_or_default());
        assert_eq!(outcome.name() == "paper", first.is_some());
    };
    for bits in 0..64u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|bit| bits >> bit & 1 == 1);
        let account_type =
            [AccountType::Not, AccountType::Anonymous, AccountType::Secure][(bits >> 4) as usize % 3];
        let operator = b.then_some(nabar::register::OperatorIndex::new(0));
        let state = FarState { account_type, pending: a, operator, rule: StateRule::AcceptsAll };
        let applies = [
            ("not_registered", account_type == AccountType::Not),
            ("sender_declined", !c),
            ("pending", a),
            ("anonymous_account", account_type == AccountType::Anonymous),
            ("operator_without_address", operator.is_none() || !d),
        ];
        message(&far, &applies, state.decide(c, d));
        let expires = 10 * (bits >> 4 & 1);
        let state = KrrState {
            reserved: a,
            deleted: b,
            operator: c.then_some(nabar::register::OperatorIndex::new(0)),
            mailbox: d,
            expires,
        };
        let applies =
            [("not_registered", false), ("deleted", b), ("reserved", a), ("not_notifiable", expires <= 5)];
        message(&krr, &applies, state.decide(5));
    }
}

#[test]
fn reports_have_the_documented_names_and_files() {
    let registers = Registers::new();
    let text = document("report.md");
    let far = Snapshot::open(registers.file("far")).expect("open").register().expect("register");
    let rows: Vec<_> =
        recipients(&far).iter().map(|(identity, _)| format!("{};x\n", identity.as_str())).collect();
    let list = format!("personnummer;namn\n{}{}wrong;y\n\n", rows.concat(), rows[0]);
    fs::write(registers.path().join("list.csv"), &list).expect("list");
    let krr = "fodselsnummer\n01819012365\n";
    fs::write(registers.path().join("krr.csv"), krr).expect("list");
    let sender = &senders()[3][..];
    let asked = ["-r", "far.nabar", "--sender", sender, "list.csv", "--json", "--date", "2026-06-01"];
    let (mut found, mut outcomes) = (BTreeSet::new(), BTreeSet::new());
    let split = |out: &str, code: i32, more: &[&str]| -> Value {
        let args = [&["split"][..], &asked, &["-o", out], more].concat();
        let printed: Value = serde_json::from_str(&done(registers.path(), code, &args)).expect("JSON");
        let written = fs::read_to_string(registers.path().join(out).join("report.json")).expect("report");
        assert_eq!(printed, serde_json::from_str::<Value>(&written).expect("JSON"));
        printed
    };
    let prices = ["--postage", "8.50", "--digital-cost", "0,90", "--duplicates", "set-aside"];
    let whole = split("whole", 0, &prices);
    let refused = split("refused", 3, &["--max-rejected", "0"]);
    // A list of the other country, so that a likely cause is named.
    fs::write(registers.path().join("foreign.csv"), "01819012365\n41819012359\n01819012373\n").expect("list");
    let args = ["check", "-r", "far.nabar", "--sender", sender, "foreign.csv", "--json"];
    let foreign: Value = serde_json::from_str(&done(registers.path(), 3, &args)).expect("JSON");
    let args = ["check", "-r", "krr.nabar", "krr.csv", "--json"];
    let check: Value = serde_json::from_str(&done(registers.path(), 0, &args)).expect("JSON");
    assert_eq!(check.get("files"), None);
    let rules = root().join("fixtures/rules/first.toml").display().to_string();
    let more = ["--group-by", "age", "--smallest-group", "0", "--id-column", "1", "--expected-ids", "1"];
    let ruled = split("ruled", 0, &[&["--rules", &rules][..], &more].concat());
    let rules = fs::read_to_string(root().join("fixtures/rules/two-registers.toml")).expect("rules");
    fs::write(registers.path().join("two.toml"), rules.replace("../../", "")).expect("rules");
    let nordic = fixture("nordic-list.csv");
    let args = [
        "split",
        "-r",
        "far.nabar",
        "--sender",
        sender,
        "--rules",
        "two.toml",
        "--json",
        "-o",
        "two",
        &nordic,
    ];
    let two: Value = serde_json::from_str(&done(registers.path(), 0, &args)).expect("JSON");
    // Print runs, an archive, a workbook, and a mottakersplitt.
    let runs = [
        ("night.dat", Some("night.toml"), "far"),
        ("letters.zip", Some("zip.toml"), "far"),
        ("list.xlsx", None, "far"),
        ("mottakersplitt.xml", Some("mottakersplitt.toml"), "krr"),
    ]
    .map(|(run, description, register)| {
        let (run_path, description) =
            (fixture(&format!("runs/{run}")), description.map(|name| fixture(&format!("runs/{name}"))));
        let (out, register_file) = (format!("out-{run}"), format!("{register}.nabar"));
        let mut args = vec!["split", "-r", &register_file, "--json", "-o", &out, &run_path];
        args.extend(description.iter().flat_map(|description| ["--run", description]));
        if register == "far" {
            args.extend(["--sender", sender]);
        }
        serde_json::from_str::<Value>(&done(registers.path(), 0, &args)).expect("JSON")
    });
    for report in [&whole, &refused, &check, &foreign, &ruled, &two].into_iter().chain(&runs) {
        names("", report, &mut found);
        outcomes.extend(report["outcomes"].as_object().expect("an object").keys().cloned());
        assert_eq!(report["version"], nabar::mailing::VERSION);
    }
    let documented: BTreeSet<String> =
        table(&text, "report.json").into_iter().map(|row| row[0].clone()).collect();
    // `sources.rs` asks a live register.
    let documented =
        documented.into_iter().filter(|name| !name.starts_with("register.source")).collect::<BTreeSet<_>>();
    // Optional objects are rows of their own.
    let documented = documented
        .into_iter()
        .filter(|name| {
            // A further register of FaR has a sender (`sources.rs`).
            !["channels", "channels.costs", "channels.registers[].sender", "list.run.empty_columns[]"]
                .contains(&&**name)
        })
        .collect::<BTreeSet<_>>();
    // A further register is described as the register of the job.
    let found = found.into_iter().map(|name| match name.starts_with("channels.registers[].register.") {
        true => "channels.registers[].register".to_owned(),
        // `runs.rs` has the names of descriptions.
        false if name.starts_with("list.run.description.") => "list.run.description".to_owned(),
        false if name.starts_with("channels.registers[].outcomes.") => {
            "channels.registers[].outcomes.OUTCOME".to_owned()
        }
        false => name,
    });
    assert_eq!(documented, found.collect());
    let documented: BTreeSet<String> =
        table(&text, "Outcomes").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, outcomes);

    let there = |out: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(registers.path().join(out)).expect("directory").flatten();
        entries.map(|entry| entry.file_name().into_string().expect("a name")).collect()
    };
    let mut expected: BTreeSet<String> =
        table(&text, "Files of a split").into_iter().map(|row| row[0].clone()).collect();
    assert!(expected.remove("digital-NAME.csv") && expected.remove("notify.csv"), "KRR only");
    let operators = whole["operators"].as_array().expect("a list").iter();
    expected.extend(operators.map(|operator| operator["file"].as_str().expect("a file").to_owned()));
    assert_eq!(there("whole"), expected);
    assert_eq!(there("refused"), ["rejected.csv", "report.html", "report.json"].map(str::to_owned).into());
    let feedback = fs::read_to_string(registers.path().join("whole/feedback.csv")).expect("feedback");
    assert_eq!(feedback.lines().next(), Some(&first_column(&table(&text, "feedback.csv")).join(",")[..]));
    assert_eq!(feedback.lines().count() as u64, whole["list"]["rows"].as_u64().expect("a number") + 1);

    let codes = table(&text, "Exit codes");
    assert_eq!(first_column(&codes), ["0", "1", "2", "3", "130"]);
    done(registers.path(), 1, &["check", "-r", "far.nabar", "--sender", sender, "no-such-list.csv"]);
    done(registers.path(), 2, &["check", "-r", "far.nabar", "list.csv"]);
    done(registers.path(), 2, &["split", "-r", "krr.nabar", "krr.csv", "-o", "whole"]);
    done(registers.path(), 3, &["check", "-r", "krr.nabar", "krr.csv", "--max-age", "1h"]);
}

#[test]
fn columns_with_known_names_are_found() {
    let registers = Registers::new();
    let text = document("lists.md");
    let known = text
        .split("Known names,")
        .nth(1)
        .expect("the names")
        .split("One or two digits")
        .next()
        .expect("a list");
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    assert!(known.len() > 30);
    for name in known {
        // Two columns hold identities; only the name tells which one is meant. Those of organisations are Swedish.
        let sender = &senders()[3][..];
        let (ids, register) = match name.starts_with("org") {
            true => (["196810199809", "195904109807"], vec!["-r", "far.nabar", "--sender", sender]),
            false => (["01819012365", "01819012373"], vec!["-r", "krr.nabar"]),
        };
        let list = format!("vh;{name};namn\n{0};{0};x\n{1};{1};y\n", ids[0], ids[1]);
        fs::write(registers.path().join("list.csv"), list).expect("list");
        let args = [&["check", "list.csv", "--json"], &register[..]].concat();
        let report: Value = serde_json::from_str(&done(registers.path(), 0, &args)).expect("JSON");
        assert_eq!(report["list"]["id_column"], name);
    }
}

// --- All of the documentation ------------------------------------------------------------------

/// The Markdown files of the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let directories = ["", "docs", "fixtures"].map(|name| root().join(name));
    let files =
        directories.iter().flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten());
    let pages = files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect()
}

fn anchor(heading: &str) -> String {
    let heading = heading.trim().to_lowercase();
    let kept = heading.chars().filter_map(|character| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        character => character.is_alphanumeric().then_some(character),
    });
    kept.collect()
}

#[test]
fn links_have_targets() {
    let pages = pages();
    assert!(pages.len() >= 4);
    for (page, text) in &pages {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { page.clone() } else { page.with_file_name(path) };
            assert!(path.exists(), "{}: {target}", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&path).expect("text");
                let headings = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(|line| line.trim_start_matches('#'));
                assert!(headings.map(anchor).any(|known| known == heading), "{}: {target}", page.display());
            }
        }
        for word in text.split('`').skip(1).step_by(2) {
            let inside = ["src/", "docs/", "tests/", "tools/"].iter().any(|start| word.starts_with(start));
            if inside && !word.contains([' ', '*', '<', '{']) {
                assert!(root().join(word).exists(), "{}: {word}", page.display());
            }
        }
    }
}

#[test]
fn options_in_the_documentation_exist() {
    let commands = [
        "build",
        "inspect",
        "verify",
        "export",
        "lookup",
        "check",
        "split",
        "init",
        "apply",
        "changes",
        "checkpoint",
        "serve",
        "sandbox",
        "follow",
        "diff",
        "keygen",
        "publish",
        "resolve",
        "recheck",
        "reconcile",
        "record",
        "purge",
        "rules explain",
    ];
    let help = |command: &&str| done(root(), 0, &command.split(' ').chain(["--help"]).collect::<Vec<_>>());
    let help: String = commands.iter().map(help).collect();
    let is_option = |c: char| c.is_ascii_lowercase() || c == '-';
    let known: BTreeSet<&str> = help.split(|c| !is_option(c)).filter(|word| word.starts_with("--")).collect();
    for (page, text) in pages().iter().filter(|(page, _)| page.starts_with(root().join("docs"))) {
        for code in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| code.starts_with("--") || code.starts_with("nabar "))
        {
            for option in code.split(|c| !is_option(c)).filter(|word| word.starts_with("--")) {
                assert!(known.contains(option), "{}: {option}", page.display());
            }
        }
    }
}
