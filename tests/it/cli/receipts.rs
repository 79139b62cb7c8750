//! Receipts and records through the real binary.

use super::{DATE, FAR, args, plain_list};
use crate::support::workspace::{Workspace, fixture};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A split of the list, in `out`.
fn split(work: &Workspace, more: &[&str]) -> Value {
    work.write("list.csv", plain_list());
    work.json(&args(&[&["split", "list.csv", "-o", "out", "--json"], &FAR, &DATE, more]))
}

/// The cells of a CSV file, each line of it.
fn cells(work: &Workspace, name: &str) -> Vec<Vec<String>> {
    let text = fs::read(work.path(name)).expect("a file");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&text[..]);
    reader.records().map(|record| record.expect("a record").iter().map(str::to_owned).collect()).collect()
}

/// The rows of the list by number, from 1; row 0 is the header.
fn rows() -> Vec<Vec<u8>> {
    plain_list().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Receipts of every kind, from a seed: of rows and ids, twice, contradicting, of letters on paper, of no letter.
fn receipts(feedback: &[Vec<String>], seed: u64) -> Vec<[String; 3]> {
    let mut state = seed;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let mut receipts = Vec::new();
    for line in feedback {
        if line[2] != "digital" && next(10) > 0 || next(4) == 0 {
            continue;
        }
        for _ in 0..1 + u64::from(next(8) == 0) {
            let status = ["delivered", "Levererad", "FAILED", "avvisad", "vilken?"][next(5) as usize];
            let by_row = next(2) == 0;
            receipts.push([
                if by_row { line[0].clone() } else { String::new() },
                if by_row { String::new() } else { line[1].clone() },
                status.to_owned(),
            ]);
        }
    }
    receipts.push(["9999".to_owned(), String::new(), "delivered".to_owned()]);
    receipts.push([String::new(), "199001022384".to_owned(), "failed".to_owned()]);
    receipts
}

/// Status of each row, and how many receipts are not used for each reason: read as the documentation says, one receipt after
/// another.
fn expected(
    feedback: &[Vec<String>],
    before: &BTreeMap<String, &'static str>,
    receipts: &[[String; 3]],
) -> (BTreeMap<String, &'static str>, BTreeMap<&'static str, u64>) {
    let (mut fates, mut problems) = (before.clone(), BTreeMap::new());
    let mut of_several: BTreeMap<&String, Vec<&'static str>> = BTreeMap::new();
    let settle = |fates: &mut BTreeMap<String, &'static str>, row: &String, answer| match fates.get(row) {
        None => {
            fates.insert(row.clone(), answer);
            None
        }
        Some(fate) if *fate == answer => Some("double"),
        Some(_) => {
            fates.insert(row.clone(), "contradiction");
            Some("contradiction")
        }
    };
    for [row, id, status] in receipts {
        let answer = match &**status {
            "delivered" | "Levererad" => Ok("delivered"),
            "FAILED" | "failed" | "avvisad" => Ok("failed"),
            _ => Err("unknown_status"),
        };
        let digital = feedback.iter().filter(|line| line[2] == "digital");
        let lines: Vec<_> =
            digital.filter(|line| line[0] == *row || (!id.is_empty() && line[1] == *id)).collect();
        let problem = match (row.is_empty() && id.is_empty(), answer, &lines[..]) {
            (true, ..) => Some("no_key"),
            (_, Err(problem), _) => Some(problem),
            (_, Ok(_), []) => Some("stranger"),
            (_, Ok(answer), [line]) => settle(&mut fates, &line[0], answer),
            (_, Ok(answer), _) => {
                of_several.entry(id).or_default().push(answer);
                None
            }
        };
        if let Some(problem) = problem {
            *problems.entry(problem).or_insert(0) += 1;
        }
    }
    for (id, answers) in of_several {
        let open: Vec<_> = feedback
            .iter()
            .filter(|line| line[2] == "digital" && line[1] == *id && !fates.contains_key(&line[0]))
            .map(|line| line[0].clone())
            .collect();
        let same = answers.iter().all(|answer| *answer == answers[0]);
        if same && !open.is_empty() && answers.len() >= open.len() {
            *problems.entry("double").or_insert(0) += (answers.len() - open.len()) as u64;
            open.into_iter().for_each(|row| _ = fates.insert(row, answers[0]));
        } else {
            *problems.entry("ambiguous").or_insert(0) += answers.len() as u64;
        }
    }
    problems.retain(|_, count| *count > 0);
    (fates, problems)
}

/// Each receipt changes what is known of its letter, is named as not used, or both; the letters that failed are in a file as
/// they were in the list; the second time only those that failed since.
#[test]
fn receipts_change_the_record_as_a_naive_reading_of_them_does() {
    for seed in 0..8 {
        let work = Workspace::with_register_files();
        let with_rules = seed % 2 == 1;
        work.write(
            "rules.toml",
            "[[channel]]\nname = \"mailbox\"\n[[channel]]\nname = \"print\"\n[[rule]]\nname = \"a, \\\"b\\\"\"\nchannel = \
             \"mailbox\"\nwhen = { outcome = \"digital\" }\n[[rule]]\nname = \"others\"\nchannel = \"print\"\n",
        );
        let more: &[&str] = if with_rules { &["--rules", "rules.toml"] } else { &[] };
        split(&work, more);
        let rows = rows();
        let feedback: Vec<Vec<String>> = cells(&work, "out/feedback.csv").split_off(1);
        assert_eq!(rows.len() - 1, feedback.len());
        let mut fates = BTreeMap::new();
        for round in 1..=3 {
            let receipts = receipts(&feedback, seed * 100 + round);
            let lines: String =
                receipts.iter().map(|[row, id, status]| format!("{status};{id};because;{row}\r\n")).collect();
            work.write("receipts.csv", format!("\u{feff}Utfall;Personnummer;Orsak;Rad\r\n{lines}"));
            let done = work.json(&["reconcile", "out", "receipts.csv", "--json", "--max-rejected", "100%"]);
            let before = fates.clone();
            let (after, problems) = expected(&feedback, &before, &receipts);
            let number = if round == 1 { String::new() } else { format!("-{round}") };
            let record = cells(&work, &format!("out/record{number}.csv"));
            assert_eq!(&record[0][7..], ["status", "status_reason", "receipts"]);
            for (said, line) in feedback.iter().zip(&record[1..]) {
                assert_eq!(said[..], line[..said.len()]);
                let fate = after.get(&said[0]).copied().unwrap_or_default();
                assert_eq!((&*line[7], line[9].is_empty()), (fate, fate.is_empty()), "row {}", said[0]);
            }
            let summary = done["receipts"].as_array().expect("files").last().expect("one").clone();
            let found: BTreeMap<&str, u64> = summary["rejected"]
                .as_object()
                .expect("problems")
                .iter()
                .map(|(name, count)| (&**name, count.as_u64().expect("a number")))
                .collect();
            assert_eq!(found, problems, "seed {seed}, round {round}");
            let rejected = cells(&work, &format!("out/receipts-rejected{number}.csv"));
            assert_eq!(rejected.len() as u64 - 1, problems.values().sum::<u64>());
            for line in &rejected[1..] {
                // The header is line 1.
                let at: usize = line[1].parse().expect("a line");
                assert!(at >= 2 && at < receipts.len() + 2 && line[0] == round.to_string());
                let unknown = receipts[at - 2][2] == "vilken?";
                assert!(!unknown || ["unknown_status", "no_key"].contains(&&*line[2]), "{line:?}");
            }
            let failed_now =
                |row: &str| after.get(row) == Some(&"failed") && before.get(row) != Some(&"failed");
            let late: Vec<u8> = feedback
                .iter()
                .zip(&rows[1..])
                .filter(|(said, _)| failed_now(&said[0]))
                .flat_map(|(_, row)| row.clone())
                .collect();
            match late.is_empty() {
                true => assert!(done["late_paper"].is_null()),
                false => {
                    let expected = [rows[0].clone(), late].concat();
                    let path = format!("out/late-paper{number}.csv");
                    assert!(
                        fs::read(work.path(&path)).expect("a file") == expected,
                        "seed {seed}, round {round}"
                    );
                }
            }
            let count = |fate: &str| after.values().filter(|one| **one == fate).count();
            for name in ["delivered", "failed"] {
                assert_eq!(done[name], count(name));
            }
            assert_eq!(done["contradictions"], count("contradiction"));
            fates = after;
        }
    }
}

/// The auditor's question, before and after the receipts.
#[test]
fn the_record_says_what_was_known_decided_and_answered() {
    let work = Workspace::with_register_files();
    let report = split(&work, &[]);
    let feedback = cells(&work, "out/feedback.csv").split_off(1);
    let letter = feedback.iter().find(|line| line[2] == "digital").expect("one");
    let record = work.json(&["record", "out", "--row", &letter[0], "--json"]);
    for (name, expected) in [
        ("made", &report["made"]["at"]),
        ("date", &report["made"]["date"]),
        ("register", &report["register"]["kind"]),
        ("sequence", &report["register"]["sequence"]),
        ("as_of", &report["register"]["as_of"]),
        ("register_digest", &report["register"]["digest"]),
        ("list_digest", &report["list"]["digest"]),
        ("sender", &report["sender"]["id"]),
    ] {
        assert_eq!(&record[name], expected, "{name}");
    }
    let of = &record["letters"][0];
    assert_eq!(
        (&of["outcome"], &of["operator_id"], &of["status"]),
        (&"digital".into(), &(&*letter[4]).into(), &"".into())
    );
    work.write("receipts.csv", format!("rad,status,orsak\n{},feil,brevlådan är stängd\n", letter[0]));
    work.done(&["reconcile", "out", "receipts.csv"]);
    let text = work.done(&["record", "out", "--id", &letter[1]]);
    for expected in
        ["outcome     digital", "failed (brevlådan är stängd), receipts.csv, blake3:", "far, sequence 1000"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    work.fails(2, &["record", "out", "--row", "100000"]);
    work.fails(2, &["record", "out", "--id", "199001022384"]);
    work.fails(2, &["record", "nowhere", "--row", "1"]);
}

/// Digipost's result, with the ids or the rows as `brev-id`.
#[test]
fn results_of_digipost_are_receipts() {
    let work = Workspace::with_register_files();
    let list = fixture("krr-list.csv");
    work.done(&args(&[
        &["split", "-r", "krr.nabar", &list, "-o", "out", "--duplicates", "set-aside"],
        &DATE,
    ]));
    let feedback = cells(&work, "out/feedback.csv").split_off(1);
    let digital: Vec<_> = feedback.iter().filter(|line| line[2] == "digital").collect();
    let result = |letters: &str| {
        format!(
            "<?xml version=\"1.0\"?>\n<dp:masseutsendelse-resultat xmlns:dp=\"http://www.digipost.no/xsd/avsender2_0\">\n\
             <dp:status>SUKSESS</dp:status><!-- brev --><dp:mottaker-resultater><dp:resultat><dp:kunde-id>1</dp:kunde-id>\
             <dp:status>DIGIPOST</dp:status></dp:resultat></dp:mottaker-resultater>\n<dp:brev-resultater>{letters}\
             </dp:brev-resultater></dp:masseutsendelse-resultat>\n"
        )
    };
    let letter = |id: &str, said: &str| {
        format!(
            "<dp:resultat><dp:brev-id>{id}</dp:brev-id><dp:resultat>{said}</dp:resultat><dp:kanal>WEB</dp:kanal>\
             <dp:feilinformasjon><dp:feil><dp:type>UGYLDIG_DOKUMENT</dp:type><dp:melding>A &amp; B</dp:melding></dp:feil>\
             </dp:feilinformasjon></dp:resultat>\n"
        )
    };
    let letters = [
        letter(&digital[0][1], "SENDT"),
        letter(&digital[1][0], "IKKE_SENDT"),
        letter("x", "SENDT"),
        letter(&digital[2][0], "KANSKJE"),
    ];
    work.write("result.xml", result(&letters.concat()));
    let done = work.json(&["reconcile", "out", "result.xml", "--json"]);
    assert_eq!((&done["delivered"], &done["failed"]), (&1.into(), &1.into()));
    assert_eq!(done["receipts"][0]["rejected"], serde_json::json!({"no_key": 1, "unknown_status": 1}));
    let record = work.json(&["record", "out", "--row", &digital[1][0], "--json"]);
    assert_eq!(record["letters"][0]["status_reason"], "WEB; UGYLDIG_DOKUMENT; A & B");
    let whole = result(&letters.concat());
    for (text, finding) in [
        (whole.replacen("\n", "\n<!DOCTYPE x [<!ENTITY e \"x\">]>", 1), "document type"),
        (whole[..whole.len() - 20].to_owned(), "truncated"),
        (whole.replace("avsender2_0", "annet").replace("/xsd/", "/xsd2/"), "not Digipost's"),
        ("<a/>".to_owned(), "not Digipost's"),
        (result("").replace("SUKSESS", "FEILET"), "the whole job failed"),
        (whole.replace("A &amp; B", &"x".repeat(1 << 21)), "longer than 1 MiB"),
    ] {
        work.write("bad.xml", text);
        let message = work.fails(1, &["reconcile", "out", "bad.xml"]);
        assert!(message.contains(finding), "{finding}: {message}");
    }
    // Nothing of them remains.
    let names: BTreeSet<_> =
        fs::read_dir(work.path("out")).expect("read").flatten().map(|entry| entry.file_name()).collect();
    assert!(
        !names.contains(std::ffi::OsStr::new("reconcile-2.json"))
            && names.contains(std::ffi::OsStr::new("reconcile.json"))
    );
}

/// Receipts that do not fit, and outputs that are not as the split wrote them: nothing is written.
#[test]
fn what_does_not_fit_together_is_refused() {
    let work = Workspace::with_register_files();
    split(&work, &[]);
    let feedback = cells(&work, "out/feedback.csv").split_off(1);
    let letter = feedback.iter().find(|line| line[2] == "digital").expect("one").clone();
    let with = |text: String, code, more: &[&str], finding: &str| {
        work.write("receipts.csv", text);
        let message = work.fails(code, &[&["reconcile", "out", "receipts.csv"], more].concat());
        assert!(message.contains(finding), "{finding}: {message}");
    };
    with("namn;status\nAsa;ok\n".to_owned(), 1, &[], "--row-column or --id-column; it has: namn, status");
    with(
        "rad;status;resultat\n1;ok;fel\n".to_owned(),
        1,
        &[],
        "several columns may be meant: name one with --status-column",
    );
    with(
        "rad;status;orsak\n1;fel;\"full\n2;fel;x\n3;fel;\n".to_owned(),
        1,
        &[],
        "a quotation mark is not closed",
    );
    with("rad;namn\n1;Asa\n".to_owned(), 1, &[], "--status-column");
    with(
        "rad;status\n1;ok\n".to_owned(),
        1,
        &["--reason-column", "varför"],
        "no column of the name given with --reason-column",
    );
    with(format!("{};ok\n", letter[1]), 1, &[], "no header");
    with(
        "rad;status\n1;klar\n2;klar\n3;ok\n".to_owned(),
        3,
        &[],
        "2 of 3 receipts cannot be read (most: unknown_status)",
    );
    with("rad;status\n1;ok\n".to_owned(), 2, &["--channel", "sms"], "no channel sms");
    work.fails(1, &["reconcile", "out", "nowhere.csv"]);
    let failed = format!("rad;status;id\n{};misslyckades;{}\n", letter[0], letter[1]);
    // The id of another letter than that of the row.
    let other = feedback.iter().find(|line| line[2] == "digital" && line[1] != letter[1]).expect("one");
    work.write("receipts.csv", format!("rad;status;id\n{};misslyckades;{}\n", letter[0], other[1]));
    let done = work.json(&["reconcile", "out", "receipts.csv", "--json", "--max-rejected", "1"]);
    assert_eq!(done["receipts"][0]["rejected"], serde_json::json!({"keys_differ": 1}));
    // A file of the split that was edited.
    let report: Value = serde_json::from_str(&work.read("out/report.json")).expect("JSON");
    let of = report["operators"]
        .as_array()
        .expect("operators")
        .iter()
        .find(|one| one["id"] == *letter[4])
        .expect("one");
    let path = format!("out/{}", of["file"].as_str().expect("a file"));
    let rows = fs::read(work.path(&path)).expect("rows");
    work.write(&path, [&rows[..], b"x\n"].concat());
    with(failed.clone(), 1, &[], "was changed since it was written");
    work.write(&path, rows);
    // Another split in the same directory.
    work.done(&args(&[
        &["split", "list.csv", "-o", "out", "--force", "--duplicates", "set-aside"],
        &FAR,
        &DATE,
    ]));
    with(failed.clone(), 2, &[], "of an earlier split in this directory");
    fs::remove_file(work.path("out/reconcile.json")).expect("removed");
    work.write("receipts.csv", failed);
    assert_eq!(work.json(&["reconcile", "out", "receipts.csv", "--json"])["failed"], 1);
    // A record that was edited.
    work.write("out/record.csv", work.read("out/record.csv").replace("failed", "delivered"));
    work.fails(1, &["record", "out", "--row", &letter[0]]);
    work.fails(1, &["reconcile", "out", "receipts.csv"]);
}

/// Other channels than the operators' have receipts if they are named.
#[test]
fn letters_of_other_channels_have_receipts_if_asked_for() {
    let work = Workspace::with_register_files();
    work.write(
        "rules.toml",
        "[[channel]]\nname = \"email\"\n[[channel]]\nname = \"print\"\n[[rule]]\nname = \"digital\"\nchannel = \"email\"\nwhen = { \
         outcome = \"digital\" }\n[[rule]]\nname = \"others\"\nchannel = \"print\"\n",
    );
    split(&work, &["--rules", "rules.toml"]);
    let feedback = cells(&work, "out/feedback.csv").split_off(1);
    let letter = feedback.iter().find(|line| line[5] == "email").expect("one");
    work.write("receipts.csv", format!("row|status\n{}|studsade\n", letter[0]));
    let run = |more: &[&str]| {
        work.json(&[&["reconcile", "out", "receipts.csv", "--json", "--failed", "Studsade"], more].concat())
    };
    assert_eq!(run(&[])["receipts"][0]["rejected"], serde_json::json!({"stranger": 1}));
    let done = run(&["--channel", "email"]);
    assert_eq!((&done["failed"], &done["late_paper"]["path"]), (&1.into(), &"late-paper-2.csv".into()));
    let digital = feedback.iter().filter(|line| line[5] == "email").count();
    assert_eq!(done["dispatched"], digital);
}

/// The files of a split are read as its list was: a column that was given by its number, because another one has its title, is
/// found again.
#[test]
fn files_of_lists_with_two_titles_alike_are_read_again() {
    let work = Workspace::with_register_files();
    work.write("list.csv", "Personnummer;Namn;Personnummer\nx;Asa;196810199809\nx;\"Bo\nEk\";195904109807\n");
    work.done(&args(&[&["split", "list.csv", "-o", "out", "--id-column", "3", "-q"], &FAR, &DATE]));
    work.write("receipts.csv", "rad;status\n1;ok\n2;fel\n");
    let done = work.json(&["reconcile", "out", "receipts.csv", "--json"]);
    assert_eq!((&done["delivered"], &done["failed"]), (&1.into(), &1.into()));
    let expected = "Personnummer;Namn;Personnummer\nx;\"Bo\nEk\";195904109807\n";
    assert_eq!(work.read("out/late-paper.csv"), expected);
}
