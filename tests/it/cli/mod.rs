//! The commands, through the real binary, each test in its own directory.

mod channels;
mod endless;
mod further;
mod lists;
mod overwriting;
mod receipts;
mod reports;
mod runs;
mod workbooks;

use crate::support::workspace::{SENDER, Workspace, fixture};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// Personnummer of the fixture `far`.
const KNOWN: &str = "196810199809";

const FAR: [&str; 4] = ["-r", "far.nabar", "--sender", SENDER];
const DATE: [&str; 2] = ["--date", "2026-06-01"];

fn args<'a>(parts: &[&[&'a str]]) -> Vec<&'a str> {
    parts.concat()
}

/// The rows of the fixture that are a line of UTF-8 without quotation marks.
fn plain_list() -> Vec<u8> {
    let list = fs::read(fixture("far-list.csv")).expect("a list");
    let lines = list.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines
        .filter(|line| !line.is_empty() && !line.contains('"'))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .into()
}

#[test]
fn the_commands_work_on_the_fixtures() {
    let work = Workspace::with_register_files();
    for kind in ["far", "krr"] {
        let file = format!("{kind}.nabar");
        let described = work.json(&["inspect", &file, "--json"]);
        assert_eq!(described["kind"], kind);
        assert_eq!(described["sequence"], 1000);
        assert!(work.done(&["inspect", &file, "--senders"]).contains("by operator:"));
        assert!(work.done(&["verify", &file]).contains("whole"));
        work.done(&["export", &file, "-o", kind]);
        work.done(&["build", kind, "-o", "again.nabar", "--strict", "--quiet"]);
        assert!(
            fs::read(work.path(&file)).expect("file") == fs::read(work.path("again.nabar")).expect("file")
        );
    }
    let list = fixture("far-list.csv");
    let report = work.json(&args(&[&["split", &list, "-o", "out", "--json"], &FAR, &DATE]));
    assert_eq!(report["list"]["rows"], 600);
    let sum: u64 = report["outcomes"].as_object().expect("outcomes").values().filter_map(Value::as_u64).sum();
    assert_eq!(sum, 600);
    for file in report["files"].as_array().expect("files") {
        let path = work.path("out").join(file["path"].as_str().expect("path"));
        assert_eq!(fs::metadata(path).expect("there").len(), file["bytes"].as_u64().expect("bytes"));
    }
    let on_disk: Value =
        serde_json::from_slice(&fs::read(work.path("out/report.json")).expect("there")).expect("JSON");
    assert_eq!(on_disk, report);
    let mut checked = work.json(&args(&[&["check", &list, "--json"], &FAR, &DATE]));
    for name in ["outcomes", "reasons", "duplicates", "list", "register", "sender"] {
        assert_eq!(checked[name].take(), report[name], "{name}");
    }
    assert!(checked.get("files").is_none());
    let text = work.done(&args(&[&["check", "-r", "krr.nabar", &fixture("krr-list.csv")], &DATE]));
    assert!(text.contains("notify") && text.contains("Digipost"), "{text}");
}

#[test]
fn a_lookup_answers_in_order_with_the_registers_own_fields() {
    let work = Workspace::with_register_files();
    let ids = "19681019-9809\n\nabc\n189001019802\n";
    let output = work.with_input(&args(&[&["lookup", "-"], &FAR, &DATE]), ids.as_bytes());
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let message: Vec<_> =
        lines.iter().map(|line| (line["recipient_id"].as_str(), line["outcome"].as_str())).collect();
    let expected = [
        (Some(KNOWN), Some("digital")),
        (None, Some("rejected")),
        (None, Some("rejected")),
        (Some("189001019802"), Some("paper")),
    ];
    assert_eq!(message, expected);
    assert_eq!(lines[0]["operator_id"], "164921000016");
    assert_eq!((lines[0]["type"].as_str(), lines[3]["type"].as_str()), (Some("Secure"), Some("Not")));
    assert_eq!(
        (lines[1]["reason"].as_str(), lines[2]["reason"].as_str()),
        (Some("empty"), Some("bad_character"))
    );
    assert!(lines.iter().all(|line| line["sequence"] == 1000 && line["as_of"] == "2026-06-01T04:00:00Z"));
    let person = fs::read_to_string(fixture("krr/personer.jsonl")).expect("fixture");
    for given in person.lines().take(40).map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        let id = given["personidentifikator"].as_str().expect("id");
        let message = work.json(&args(&[&["lookup", "-r", "krr.nabar", "--json", id], &DATE]));
        for name in ["personidentifikator", "reservasjon", "status", "varslingsstatus"] {
            assert_eq!(message[name], given[name], "{name}");
        }
        let address =
            |value: &Value| value["kontaktinformasjon"]["epostadresse"].as_str().unwrap_or("").to_owned();
        assert_eq!(address(&message), address(&given));
    }
}

#[test]
fn invalid_arguments_are_refused_before_any_work() {
    let work = Workspace::with_register_files();
    let list = fixture("far-list.csv");
    let unknown =
        work.fails(2, &["split", "-r", "far.nabar", "--sender", "164000000000", &list, "-o", "out"]);
    assert!(unknown.contains("does not have this sender"), "{unknown}");
    assert!(work.fails(2, &["check", "-r", "far.nabar", &list]).contains("--sender"));
    assert!(work.fails(2, &["check", "-r", "krr.nabar", "--sender", SENDER, &list]).contains("no senders"));
    let personal = work.fails(2, &["check", "-r", "far.nabar", "--sender", KNOWN, &list]);
    assert!(personal.contains("does not have this sender") && !personal.contains(KNOWN), "{personal}");
    assert!(!work.path("out").exists());
    let short = work.json(&["check", "-r", "far.nabar", "--sender", "482100-0025", &list, "--json"]);
    assert_eq!(short["sender"]["id"], SENDER);
    assert!(work.fails(1, &args(&[&["check", "none.csv"], &FAR])).contains("none.csv: cannot read"));
    assert!(work.fails(1, &["inspect", &list]).contains("not a register file"));
    work.fails(2, &["split"]);
    work.fails(2, &args(&[&["check", &list, "--max-rejected", "many"], &FAR]));
    work.fails(2, &args(&[&["check", &list, "--id-at", "12"], &FAR]));
    work.fails(2, &args(&[&["check", &list, "--date", "1999-01-01"], &FAR]));
    work.fails(2, &args(&[&["check", &list, "--postage", "8.50"], &FAR]));
    // Messages about arguments have the same form as others, and each says what to write.
    let negative = ["check", &list, "--postage", "-1", "--digital-cost", "1"];
    for (asked, what) in [
        (&negative[..], "8.50"),
        (&["check", &list, "--date", "01/06/2026"], "2026-06-01"),
        (&["check", &list, "--date", "20260601"], "2026-06-01"),
        (&["check", &list, "--nonsense"], "--nonsense"),
    ] {
        let error = work.fails(2, &args(&[asked, &FAR]));
        assert!(error.starts_with("nabar: ") && error.contains(what) && !error.contains("error:"), "{error}");
    }
    work.done(&["keygen", "source"]);
    assert!(work.fails(2, &["keygen", "source"]).contains("source.key already exists"));
}

#[test]
fn exceeded_limits_exit_with_3() {
    let work = Workspace::with_register_files();
    let list = fixture("far-list.csv");
    let old = work.fails(3, &args(&[&["check", &list, "--max-age", "24h", "--quiet"], &FAR]));
    assert!(old.contains("2026-06-01") && old.contains("--max-age"), "{old}");
    work.done(&args(&[&["check", &list, "--max-age", "36500d", "--quiet"], &FAR]));
    let many = work
        .fails(3, &args(&[&["split", &list, "-o", "out", "--max-rejected", "1%", "--quiet"], &FAR, &DATE]));
    assert!(many.contains("22 of 599 rows"), "a blank row does not count: {many}");
    assert_eq!(work.names("out"), ["rejected.csv", "report.html", "report.json"]);
    let report: Value =
        serde_json::from_slice(&fs::read(work.path("out/report.json")).expect("there")).expect("JSON");
    assert_eq!(report["refused"], "max_rejected");
    work.done(&args(&[&["split", &list, "-o", "o2", "--max-rejected", "50%", "--quiet"], &FAR, &DATE]));
    let bad = work.path("bad");
    fs::create_dir(&bad).expect("made");
    for name in ["register.toml", "operators.csv", "senders.csv", "dispatchers.csv"] {
        fs::copy(fixture(&format!("far/{name}")), bad.join(name)).expect("copied");
    }
    let recipients = "recipient_id,type,pending,operator_id\n196810199800,Secure,false,\n";
    fs::write(bad.join("recipients.csv"), recipients).expect("written");
    let strict = work.fails(3, &["build", "bad", "-o", "bad.nabar", "--strict"]);
    assert!(strict.contains("line 2: bad_check_digit") && !strict.contains("196810199800"), "{strict}");
    let refused = work.fails(3, &["build", "bad", "-o", "bad.nabar"]);
    assert!(
        refused.contains("1 of 1 rows of recipients.csv") && refused.contains("recipient_id"),
        "{refused}"
    );
    assert!(!work.path("bad.nabar").exists());
    let empty = work.fails(3, &["build", "bad", "-o", "bad.nabar", "--max-rejected", "100%"]);
    assert!(empty.contains("no recipients"), "{empty}");
    let built = work.done(&["build", "bad", "-o", "bad.nabar", "--max-rejected", "1", "--allow-empty"]);
    assert!(built.contains("1  bad_check_digit"), "{built}");
}

#[test]
fn an_output_directory_must_be_absent_or_empty_or_forced() {
    let work = Workspace::with_register_files();
    let split = |list: &str, more: &[&'static str]| {
        work.run(&args(&[&["split", list, "-o", "out", "--quiet"], &FAR, &DATE, more])).status.code()
    };
    let list = fixture("far-list.csv");
    fs::create_dir(work.path("out")).expect("made");
    assert_eq!(split(&list, &[]), Some(0), "an empty directory will do");
    let first = work.names("out");
    assert_eq!(split(&list, &[]), Some(2));
    assert_eq!(work.names("out"), first);
    fs::write(work.path("out/mine.txt"), "keep").expect("written");
    assert_eq!(split(&list, &["--force", "--duplicates", "set-aside"]), Some(0));
    assert!(work.names("out").contains(&"duplicates.csv".to_owned()));
    // The files of the earlier split are removed with it, others stay.
    assert_eq!(split(&list, &["--force", "--sync"]), Some(0));
    let mut expected = first.clone();
    expected.push("mine.txt".to_owned());
    expected.sort();
    assert_eq!(work.names("out"), expected);
    // A report that lists foreign files does not make the split remove them.
    fs::write(work.path("victim"), "keep").expect("written");
    let report = r#"{"files":[{"path":"../victim"},{"path":"/etc/hostname"},{"path":"mine.txt/.."}]}"#;
    fs::write(work.path("out/report.json"), report).expect("written");
    assert_eq!(split(&list, &["--force"]), Some(0));
    assert!(work.path("victim").exists() && work.path("out/mine.txt").exists());
}

/// A file size limit simulates a full disk: writing fails in the middle.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_output() {
    let work = Workspace::with_register_files();
    let row = format!("{KNOWN};some text that makes the row a little longer\n");
    fs::write(work.path("list.csv"), row.repeat(40_000)).expect("written");
    let script = format!(
        "trap '' XFSZ; ulimit -f 512; exec {} split -r far.nabar --sender {SENDER} list.csv -o out --quiet",
        env!("CARGO_BIN_EXE_nabar")
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(work.path("")).output().expect("run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write") && error.contains("nothing was left behind"), "{error}");
    assert_eq!(
        work.names("."),
        ["far.nabar", "far.nabar.rejected.csv", "krr.nabar", "krr.nabar.rejected.csv", "list.csv"]
    );
}

/// A signal ends a job that waits for its list, and there is no output directory.
#[cfg(unix)]
/// Whether there is an incomplete output directory.
fn is_left(work: &Workspace) -> bool {
    work.names(".").iter().any(|name| name.starts_with(".out.") && name.ends_with(".partial"))
}

#[test]
fn interrupted_jobs_leave_nothing_and_the_next_job_cleans_up_after_a_killed_one() {
    let work = Workspace::with_register_files();
    let row = format!("{KNOWN};x\n").repeat(300_000);
    for signal in ["INT", "TERM", "KILL"] {
        let mut child = work
            .command(&args(&[&["split", "-", "-o", "out", "--quiet"], &FAR]))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawned");
        let mut input = child.stdin.take().expect("piped");
        // More than read-ahead and pipe hold, so the job has begun when this is written.
        input.write_all(row.as_bytes()).expect("written");
        let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(kill.expect("kill").success());
        // A waiting job sees the signal when more of its list arrives.
        while input.write_all(row.as_bytes()).is_ok() {}
        drop(input);
        let output = child.wait_with_output().expect("ended");
        assert!(!work.path("out").exists(), "{signal}");
        if signal == "KILL" {
            assert!(is_left(&work), "what a killed job leaves");
        } else {
            assert_eq!(output.status.code(), Some(130));
            assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
            assert!(!is_left(&work), "{signal}");
        }
    }
    work.done(&args(&[&["split", &fixture("far-list.csv"), "-o", "out", "--quiet"], &FAR]));
    assert!(!is_left(&work));
}

#[test]
fn a_compressed_list_that_was_cut_short_is_an_error() {
    let work = Workspace::with_register_files();
    let list = fs::read(fixture("far-list.csv")).expect("fixture");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&list).expect("packed");
    for (name, packed) in
        [("gz", gz.finish().expect("packed")), ("zst", zstd::encode_all(&list[..], 1).expect("packed"))]
    {
        // Recognized by content, not by name.
        fs::write(work.path("packed"), &packed).expect("written");
        let report = work.json(&args(&[&["check", "packed", "--json"], &FAR, &DATE]));
        assert_eq!(
            (report["list"]["rows"].as_u64(), report["list"]["bytes"].as_u64()),
            (Some(600), Some(packed.len() as u64))
        );
        assert_eq!(report["list"]["digest"], format!("blake3:{}", blake3::hash(&packed).to_hex()));
        fs::write(work.path("packed"), &packed[..packed.len() - 20]).expect("written");
        let cut = work.fails(1, &args(&[&["split", "packed", "-o", name, "--quiet"], &FAR, &DATE]));
        assert!(cut.contains("packed: cannot read the list") && !work.path(name).exists(), "{cut}");
    }
}

#[test]
fn no_message_shows_an_identity_number() {
    let work = Workspace::with_register_files();
    let numbers = ["196810199809", "196810199800", "681019-9809", "16681019980"];
    fs::write(work.path("list.csv"), numbers.join("\n") + "\n").expect("written");
    fs::write(work.path("two.csv"), format!("{KNOWN};{KNOWN}\n{KNOWN};{KNOWN}\n")).expect("written");
    let mut message = String::new();
    for command in [
        args(&[&["check", "list.csv"], &FAR]),
        args(&[&["check", "two.csv"], &FAR]),
        args(&[&["check", "two.csv", "--id-column", "9"], &FAR]),
        args(&[&["split", "list.csv", "-o", "out", "--max-rejected", "0"], &FAR]),
    ] {
        let output = work.run(&command);
        message += &String::from_utf8_lossy(&output.stderr);
        message += &String::from_utf8_lossy(&output.stdout);
    }
    message += &fs::read_to_string(work.path("out/report.json")).expect("there");
    message += &fs::read_to_string(work.path("out/report.html")).expect("there");
    for number in numbers {
        assert!(!message.contains(number), "{message}");
    }
}

#[test]
fn a_damaged_register_is_refused_and_verify_says_where() {
    let work = Workspace::with_register_files();
    let mut bytes = fs::read(work.path("far.nabar")).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(work.path("far.nabar"), &bytes).expect("written");
    let found = work.fails(1, &["verify", "far.nabar"]);
    assert!(found.contains("last_sender_accept_change"), "{found}");
    bytes.truncate(bytes.len() / 2);
    fs::write(work.path("far.nabar"), &bytes).expect("written");
    let list = fixture("far-list.csv");
    assert!(work.fails(1, &args(&[&["check", &list], &FAR])).contains("it was truncated"));
}

#[test]
fn completions_and_man_pages_come_from_the_same_definition() {
    let work = Workspace::with_register_files();
    for shell in ["bash", "zsh", "fish"] {
        assert!(work.done(&["completions", shell]).contains("max-rejected"));
    }
    work.done(&["man", "-o", "man"]);
    assert!(work.names("man").contains(&"nabar-split.1".to_owned()));
    for command in ["build", "inspect", "verify", "export", "lookup", "check", "split"] {
        assert!(work.done(&[command, "--help"]).contains("Example"), "{command}");
    }
}

#[test]
fn the_version_says_which_files_it_reads() {
    let work = Workspace::new();
    let short = work.done(&["-V"]);
    assert_eq!(short, format!("nabar {}\n", env!("CARGO_PKG_VERSION")));
    let long = work.done(&["--version"]);
    let formats = format!(
        "register files: formats 1 to {}\nchange logs: formats 1 to {}\nreport.json: version {}\n",
        nabar::snapshot::VERSION,
        nabar::store::LOG_VERSION,
        nabar::mailing::VERSION
    );
    assert!(
        long.starts_with(short.trim_end()) && long.contains("\ncommit ") && long.ends_with(&formats),
        "{long}"
    );
}
