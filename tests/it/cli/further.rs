//! Further registers of channel rules through the real binary.

use super::{DATE, FAR, args};
use crate::support::workspace::{Workspace, fixture, root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// Rules for a list of two countries. `decided` decides the same.
const NORDIC: &str = r#"
[[register]]
name = "krr"
path = "krr.nabar"

[[channel]]
name = "mailbox"
[[channel]]
name = "norway"
mailbox = true
register = "krr"
[[channel]]
name = "print"
[[channel]]
name = "hold"

[[list]]
name = "protected"
path = "protected.csv"

[[rule]]
name = "protected"
when = { list = "protected" }
channel = "hold"
[[rule]]
name = "reserved"
when = { register = { name = "krr", reason = ["reserved", "deleted"] } }
channel = "hold"
[[rule]]
name = "sweden"
when = { outcome = "digital" }
channel = "mailbox"
[[rule]]
name = "norway"
channel = "norway"
when = { not = { cell = { column = "name", is = "x7" } } }
[[rule]]
name = "others"
channel = "print"
"#;

/// The lines of a CSV file by their first cell.
fn records(text: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(text.as_bytes()).records().map(|record| record.expect("a record")).collect()
}

/// The feedback of a split of ids by one register.
fn feedback(work: &Workspace, ids: &[String], of: &[&str]) -> Vec<csv::StringRecord> {
    work.write("ids.csv", format!("id\n{}\n", ids.join("\n")));
    work.done(&args(&[
        &["split", "ids.csv", "-o", "alone", "--force", "--quiet", "--max-rejected", "100%"],
        of,
        &DATE,
    ]));
    let feedback = records(&work.read("alone/feedback.csv"));
    assert_eq!(feedback.len(), ids.len());
    feedback
}

/// The ids of a list of the fixtures as they are written there, without those that have line ends or delimiters in them.
fn ids_of(list: &str) -> Vec<String> {
    let bytes = fs::read(fixture(list)).expect("a list");
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let ids = lines.skip(1).filter_map(|line| line.split(';').next());
    let is_plain = |id: &&str| id.bytes().any(|byte| byte.is_ascii_digit()) && !id.contains('"');
    ids.filter(is_plain).map(str::to_owned).collect()
}

/// Each row of a list of two countries goes where the two registers say that it goes, and its feedback has what each said.
#[test]
fn rows_of_two_countries_are_decided_by_the_register_of_each() {
    let work = Workspace::with_register_files();
    let (swedish, norwegian) = (ids_of("far-list.csv"), ids_of("krr-list.csv"));
    let far = feedback(&work, &swedish, &FAR);
    let krr = feedback(&work, &norwegian, &["-r", "krr.nabar"]);
    let protected = [&far[3][1], &far[40][1], &krr[5][1], &krr[60][1]].map(str::to_owned);
    work.write("protected.csv", format!("id\n{}\n", protected.join("\n")));
    work.write("rules.toml", NORDIC);
    // In turn, so that every chunk has both.
    let (mut rows, mut said) = (Vec::new(), Vec::new());
    for number in 0..swedish.len().max(norwegian.len()) {
        for (ids, answers, country) in [(&swedish, &far, "SE"), (&norwegian, &krr, "NO")] {
            if let (Some(id), Some(answer)) = (ids.get(number), answers.get(number)) {
                rows.push(format!("x{};{id};{country}\n", number % 10));
                said.push((country, answer));
            }
        }
    }
    work.write("list.csv", format!("name;id;country\n{}", rows.concat()));
    let split = ["split", "list.csv", "-o", "out", "--rules", "rules.toml", "--id-column", "id", "--json"];
    let report = work.json(&args(&[&split, &FAR, &DATE]));
    let names: Vec<_> = work
        .read("out/feedback.csv")
        .lines()
        .next()
        .expect("a header")
        .split(',')
        .map(str::to_owned)
        .collect();
    assert_eq!(names[7..], ["krr_outcome", "krr_reason", "krr_operator_id"]);
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for ((line, (country, answer)), row) in
        records(&work.read("out/feedback.csv")).iter().zip(&said).zip(&rows)
    {
        let is_ten_digits = answer[1].len() == 11 && line[3] == *"ambiguous";
        assert!(answer[2] != *"rejected" || line[2] == *"rejected" || is_ten_digits, "{line:?} {answer:?}");
        if line[2] == *"rejected" {
            files.entry("rejected.csv".to_owned()).or_default().push_str(row);
            continue;
        }
        let is_swedish = *country == "SE";
        assert_eq!(line[1], answer[1]);
        let mine = if is_swedish { &answer[2] } else { "other_country" };
        assert_eq!(&line[2], mine);
        let digital = &answer[2] == "digital";
        let (rule, channel) = match () {
            () if protected.iter().any(|id| *id == answer[1]) => ("protected", "hold"),
            () if ["reserved", "deleted"].contains(&&answer[3]) => ("reserved", "hold"),
            () if digital && is_swedish => ("sweden", "mailbox"),
            () if digital && !row.starts_with("x7") => ("norway", "norway"),
            () => ("others", "print"),
        };
        assert_eq!([&line[6], &line[5]], [rule, channel], "{line:?} {answer:?}");
        // The list that comes first depends on no register, and what it does not decide may depend on KRR.
        let further =
            if is_swedish { ["other_country", "", ""] } else { [&answer[2], &answer[3], &answer[4]] };
        assert_eq!([&line[7], &line[8], &line[9]], further);
        let operator = if is_swedish { &line[4] } else { &line[9] };
        let is_file = |file: &&Value| {
            file["channel"] == *channel && (file["operator_id"].is_null() || file["operator_id"] == *operator)
        };
        let file = report["files"].as_array().expect("files").iter().find(is_file).expect("a file");
        assert_eq!(file.get("register").is_some(), channel == "norway");
        files.entry(file["path"].as_str().expect("a name").to_owned()).or_default().push_str(row);
    }
    for (file, rows) in files {
        let text = fs::read_to_string(work.path("out").join(&file)).expect("a file");
        assert!(text == format!("name;id;country\n{rows}"), "{file}");
    }
    let asked = report["channels"]["registers"][0]["outcomes"].as_object().expect("outcomes");
    assert_eq!(
        asked.values().filter_map(Value::as_u64).sum::<u64>(),
        report["letters"].as_u64().expect("letters") - report["outcomes"]["rejected"].as_u64().expect("rows")
    );
    // Receipts of both countries, by id; and what was known.
    let delivered = records(&work.read("out/feedback.csv"));
    let of = |channel: &str| delivered.iter().find(|line| line[5] == *channel).expect("a letter");
    let (one, other) = (of("mailbox"), of("norway"));
    work.write("receipts.csv", format!("id;status\n{};failed\n{};failed\n", &one[1], &other[1]));
    let reconciled = work.json(&["reconcile", "out", "receipts.csv", "--json"]);
    let late = work.read("out/late-paper.csv");
    assert!(reconciled["failed"].as_u64() >= Some(2) && late.contains(&other[1]), "{reconciled}");
    let record = work.json(&["record", "out", "--id", &other[1], "--json"]);
    let letter = &record["letters"][0];
    assert_eq!(letter["registers"][0]["operator_id"], other[9]);
    assert!(letter["file"].as_str().expect("a file").starts_with("norway-"), "{letter}");
    assert_eq!((&letter["status"], &record["registers"][0]["kind"]), (&"failed".into(), &"krr".into()));
}

fn rules(register: &str, rule: &str) -> String {
    format!(
        "[[register]]\nname = \"other\"\n{register}\n[[channel]]\nname = \"mailbox\"\n[[channel]]\nname = \"second\"\n\
         mailbox = true\nregister = \"other\"\n[[channel]]\nname = \"print\"\n[[rule]]\nname = \"own\"\n\
         when = {{ outcome = \"digital\" }}\nchannel = \"mailbox\"\n[[rule]]\nname = \"second\"\n{rule}channel = \"second\"\n\
         [[rule]]\nname = \"others\"\nchannel = \"print\"\n"
    )
}

/// The register is asked for the letters that the first rule leaves, for the sender that it names.
#[test]
fn a_register_may_be_asked_for_another_sender() {
    let work = Workspace::with_register_files();
    let senders = work.done(&["inspect", "far.nabar", "--senders"]);
    let senders = senders.lines().skip_while(|line| *line != "senders:").skip(1);
    let ids: Vec<String> = ids_of("far-list.csv");
    let answers: Vec<_> = senders
        .filter_map(|line| line.split_whitespace().next())
        .map(|id| (id, feedback(&work, &ids, &["-r", "far.nabar", "--sender", id])))
        .collect();
    // Somebody declines one and accepts the other.
    let more = |own: &[csv::StringRecord], others: &[csv::StringRecord]| {
        own.iter().zip(others).any(|(own, other)| &own[3] == "sender_declined" && &other[2] == "digital")
    };
    let pairs = answers.iter().flat_map(|own| answers.iter().map(move |other| (own, other)));
    let mut pairs = pairs.filter(|((_, own), (_, others))| more(own, others));
    let ((sender, own), (other, others)) = pairs.next().expect("two senders");
    let asked = ["-r", "far.nabar", "--sender", sender];
    work.write("rules.toml", rules(&format!("path = \"far.nabar\"\nsender = \"{other}\""), ""));
    let split = ["split", "ids.csv", "-o", "out", "--rules", "rules.toml", "--quiet"];
    work.done(&args(&[&split, &["--max-rejected", "100%"], &asked, &DATE]));
    let mut second = 0;
    for ((line, own), other) in records(&work.read("out/feedback.csv")).iter().zip(own).zip(others) {
        let is_asked = !["digital", "rejected"].contains(&&own[2]);
        let answer = if is_asked { [&other[2], &other[3], &other[4]] } else { [""; 3] };
        assert_eq!([&line[7], &line[8], &line[9]], answer);
        assert_eq!(&line[5] == "second", is_asked && &other[2] == "digital");
        second += usize::from(&line[5] == "second");
    }
    assert!(second > 0);
    let explained =
        work.done(&args(&[&["rules", "explain", "rules.toml", "--row", "1", "ids.csv"], &asked, &DATE]));
    assert!(explained.contains("own: "), "{explained}");
}

#[test]
fn registers_that_cannot_be_used_are_refused_with_their_line() {
    let work = Workspace::with_register_files();
    let list = fixture("far-list.csv");
    let split = |register: &str, rule: &str, code: i32| {
        work.write("rules.toml", rules(register, rule));
        work.fails(code, &args(&[&["split", &list, "-o", "out", "--rules", "rules.toml"], &FAR, &DATE]))
    };
    let error = split("path = \"none.nabar\"", "", 1);
    assert!(error.contains("register other") && error.contains("line 2"), "{error}");
    let said = work.done(&["rules", "check", "rules.toml"]);
    assert!(said.contains("line 2: register other: there is no file"), "{said}");
    // Opening a pipe would wait.
    assert!(std::process::Command::new("mkfifo").arg(work.path("pipe")).status().expect("run").success());
    let error = split("path = \"pipe\"", "", 1);
    assert!(error.contains("not a regular file"), "{error}");
    let error = split("path = \"far.nabar\"\nsender = \"164999999992\"", "", 2);
    assert!(error.contains("does not have this sender"), "{error}");
    let error = split("path = \"far.nabar\"\nmax_age_hours = 24", "", 3);
    assert!(error.contains("hours ago; max_age_hours allows 24"), "{error}");
    // Answers that may not be used any longer.
    let packed = fs::read(fixture("golden/far-format-2-no-times.nabar.zst")).expect("golden");
    work.write("answers.nabar", zstd::decode_all(&packed[..]).expect("zstd"));
    let error = split("path = \"answers.nabar\"", "", 3);
    assert!(error.contains("its oldest answer is of 2025-06-01"), "{error}");
    assert!(!work.path("out").exists());
    // Unknown operators, of the register that has them not.
    let rule = "when = { register = { name = \"other\", operator = \"Brevia\" } }\n";
    work.write("rules.toml", rules("path = \"far.nabar\"", rule));
    let check = ["rules", "check", "rules.toml", &list];
    let said = work.done(&args(&[&check, &FAR, &DATE]));
    assert!(said.contains("the register other has no operator Brevia: no condition on it holds"), "{said}");
    let json = work.json(&args(&[&check, &["--json"], &FAR, &DATE]));
    assert_eq!(json["unknown_operators"][0], serde_json::json!({ "register": "other", "name": "Brevia" }));
}

/// A row with ids of two persons, one of each country, goes to no operator if it may be two rows.
#[test]
fn identities_of_the_other_country_are_noticed_in_a_row() {
    let work = Workspace::with_register_files();
    work.write("protected.csv", "id\n198902039802\n");
    work.write("rules.toml", NORDIC);
    let row = |id: &str| format!("x;{id};Storgatan 1\n");
    let clean: String = ["196410299819", "197602102381", "10870579948", "06906333862"].map(row).concat();
    let joined = format!("{}{}", row("196410299819").trim_end(), row("06906333862"));
    let list = format!(
        "name;id;street\n{clean}{clean}{joined}{}",
        row("15825927368").replace("Stor", "06906333862 ")
    );
    work.write("list.csv", list);
    let split = [
        "split",
        "list.csv",
        "-o",
        "out",
        "--rules",
        "rules.toml",
        "--json",
        "--strict-rows",
        "--id-column",
        "id",
    ];
    let report = work.json(&args(&[&split, &FAR, &DATE]));
    assert_eq!(report["reasons"]["joined_rows"], 1, "{}", report["reasons"]);
    assert_eq!(report["reasons"]["more_than_one_identity"], 1, "{}", report["reasons"]);
    // A file of ids that a rule names has those of both countries, too.
    work.write("protected.csv", "id\n198902039802\n06906333862\n");
    let report = work.json(&args(&[&split, &["--force"], &FAR, &DATE]));
    assert_eq!(report["channels"]["rules"][0]["letters"], 2);
}

#[test]
fn the_ready_made_rules_split_the_list_of_the_fixtures() {
    let work = Workspace::with_register_files();
    fs::create_dir_all(work.path("fixtures/rules")).expect("created");
    fs::copy(
        root().join("fixtures/rules/two-registers.toml"),
        work.path("fixtures/rules/two-registers.toml"),
    )
    .expect("copied");
    let list = fixture("nordic-list.csv");
    let report = work.json(&args(&[
        &["split", &list, "-o", "out", "--rules", "fixtures/rules/two-registers.toml", "--json"],
        &FAR,
        &DATE,
    ]));
    let letters = |name: &str| {
        let channels = report["channels"]["channels"].as_array().expect("channels");
        channels.iter().find(|channel| channel["name"] == name).expect("a channel")["letters"].as_u64()
    };
    let names = ["mailbox", "norway", "print", "print-norway", "hold"];
    assert_eq!(names.map(letters), [Some(6), Some(3), Some(3), Some(5), Some(1)]);
    assert_eq!(report["outcomes"]["other_country"], 9);
    let page = work.read("out/report.html");
    assert!(page.contains("Registers of the rules") && page.contains("krr: krr"));
}

/// KRR is the register of the job, and FaR the further one: lists of ids and duplicates have ids of both countries, too.
#[test]
fn either_register_may_be_that_of_the_job() {
    let work = Workspace::with_register_files();
    work.write("protected.csv", "id\n198902039802\n06829043112\n");
    let rules = |path: &str, sender: &str| {
        format!(
            "[[register]]\nname = \"other\"\npath = \"{path}\"\n{sender}[[list]]\nname = \"protected\"\n\
             path = \"protected.csv\"\n[[channel]]\nname = \"hold\"\n[[channel]]\nname = \"print\"\n[[rule]]\nname = \"held\"\n\
             when = {{ list = \"protected\" }}\nchannel = \"hold\"\n[[rule]]\nname = \"others\"\nchannel = \"print\"\n"
        )
    };
    let list = fs::read_to_string(fixture("nordic-list.csv")).expect("a list");
    let twice: String = list.lines().skip(1).map(|row| format!("{row}\n{row}\n")).collect();
    work.write("twice.csv", format!("id;namn;land\n{twice}"));
    let krr = ["-r", "krr.nabar"];
    for (of, path, sender) in
        [(&FAR[..], "krr.nabar", ""), (&krr, "far.nabar", "sender = \"164821000025\"\n")]
    {
        work.write("rules.toml", rules(path, sender));
        let split = ["split", "twice.csv", "-o", "out", "--rules", "rules.toml", "--json", "--force"];
        let report =
            work.json(&args(&[&split, &["--duplicates", "set-aside", "--id-column", "id"], of, &DATE]));
        assert_eq!(report["channels"]["lists"][0]["ids"], 2);
        assert_eq!((&report["duplicates"], &report["outcomes"]["duplicate"]), (&18.into(), &18.into()));
        assert_eq!(report["channels"]["rules"][0]["letters"], 2);
        let feedback = work.read("out/feedback.csv");
        assert!(!feedback.contains('\0') && feedback.contains("06829043112,duplicate"), "{feedback}");
        let of_id = |id: &str| work.done(&args(&[&["rules", "explain", "rules.toml", id], of, &DATE]));
        assert!(
            ["198902039802", "06829043112"].iter().all(|id| of_id(id).contains("in list protected: yes"))
        );
        let ambiguous = args(&[&["rules", "explain", "rules.toml", "6902223442"], of, &DATE]);
        assert!(work.fails(2, &ambiguous).contains("ambiguous"));
    }
}

/// Ten digits that may be a number of each country are another identity in a row, and in a list of ids.
#[test]
fn numbers_of_both_countries_are_noticed() {
    let work = Workspace::with_register_files();
    work.write("protected.csv", "id\n198902039802\n");
    work.write("rules.toml", NORDIC);
    let rows = "x1;196410299819;Lund\nx2;10870579948;Moss\nx3;197602102381;Lund\nx4;06906333862;Moss\n";
    let split = |list: &str, code: i32| {
        work.write("list.csv", list);
        let split = ["split", "list.csv", "-o", "out", "--rules", "rules.toml", "--json", "--force"];
        let arguments = args(&[&split, &["--strict-rows", "--id-column", "id"], &FAR, &DATE]);
        match code {
            0 => work.json(&arguments)["reasons"].clone(),
            code => work.fails(code, &arguments).into(),
        }
    };
    let joined =
        format!("name;id;town\n{rows}x5;199504029803;Lund6902223442\nx6;199504029803;c/o 6902223442\n");
    let reasons = split(&joined, 0);
    assert_eq!(
        (&reasons["joined_rows"], &reasons["more_than_one_identity"]),
        (&1.into(), &1.into()),
        "{reasons}"
    );
    let alone = split(&format!("name;id;town\n{rows}x5;6902223442;Lund\n"), 0);
    assert_eq!(alone["ambiguous"], 1);
    work.write("protected.csv", "id;name\n198902039802;c/o 6902223442\n");
    work.write(
        "rules.toml",
        NORDIC.replace("path = \"protected.csv\"", "path = \"protected.csv\"\nid_column = \"id\""),
    );
    let refused = split(&format!("name;id;town\n{rows}"), 3);
    assert!(refused.as_str().is_some_and(|error| error.contains("list protected")), "{refused}");
}

/// Names of columns of either country are known.
#[test]
fn a_title_of_the_other_country_is_a_header() {
    let work = Workspace::with_register_files();
    work.write("protected.csv", "fnr\n06829043112\n");
    work.write("rules.toml", NORDIC.replace("column = \"name\"", "column = \"navn\""));
    work.write("list.csv", "fnr;navn\n06829043112;Tor\n198902039802;Eva\n10870579948;Eli\n01929007146;Ola\n");
    let split = ["split", "list.csv", "-o", "out", "--rules", "rules.toml", "--json"];
    let report = work.json(&args(&[&split, &FAR, &DATE]));
    assert_eq!((&report["list"]["header_row"], &report["outcomes"]["rejected"]), (&1.into(), &0.into()));
    // No group points at a person: not by a column of other people's ids either.
    work.write("list.csv", "id;barn\n196410299819;201203042385\n197602102381;\n198902039802;\n");
    let error = work
        .fails(2, &args(&[&["check", "list.csv", "--id-column", "id", "--group-by", "barn"], &FAR, &DATE]));
    assert!(error.contains("letters are not grouped by identities"), "{error}");
}
