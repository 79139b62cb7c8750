//! Inputs without line ends: each has a limit, and takes no more memory than any other.

use crate::support::workspace::{SENDER, Workspace, fixture, lines_of, shows_no_identity};
use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Bytes of an input that is too long: more than the commands may take.
const ENDLESS_BYTES: u64 = 1 << 30;
/// Kibibytes of address space of the commands.
const MEMORY_KIB: &str = "900000";
const LINE_BYTES_MAX: usize = 1 << 20;

/// Runs a command with little memory. Standard input is a file of the workspace.
fn run(work: &Workspace, input: Option<&str>, args: &[&str]) -> Output {
    // One thread: each reserves address space.
    let script = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_nabar")]).args(args);
    command.current_dir(work.path("")).env("RAYON_NUM_THREADS", "1");
    match input {
        Some(name) => command.stdin(File::open(work.path(name)).expect("there")),
        None => command.stdin(Stdio::null()),
    };
    command.output().expect("run")
}

fn message(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    shows_no_identity(&text);
    text
}

/// A file of a text and then zeros, which the file system does not store.
fn endless(work: &Workspace, name: &str, beginning: &str) {
    let mut file = File::create(work.path(name)).expect("created");
    file.write_all(beginning.as_bytes()).expect("written");
    file.set_len(ENDLESS_BYTES).expect("set");
}

/// The same, compressed.
fn endless_zst(work: &Workspace, name: &str, beginning: &str) {
    let file = File::create(work.path(name)).expect("created");
    let mut out = zstd::Encoder::new(file, 1).expect("an encoder");
    out.write_all(beginning.as_bytes()).expect("written");
    let zeros = vec![0; 1 << 20];
    (0..ENDLESS_BYTES >> 20).for_each(|_| out.write_all(&zeros).expect("written"));
    out.finish().expect("written");
}

fn copy_of_fixture(work: &Workspace, kind: &str) {
    fs::create_dir(work.path(kind)).expect("made");
    for file in fs::read_dir(fixture(kind)).expect("fixture").flatten() {
        fs::copy(file.path(), work.path(kind).join(file.file_name())).expect("copied");
    }
}

#[test]
fn changes_without_a_line_end_are_a_bad_line() {
    let work = Workspace::with_data_directories("far", &["far"]);
    let first = lines_of("changes/far.jsonl")[0].clone() + "\n";
    endless(&work, "endless.jsonl", &first);
    endless_zst(&work, "endless.jsonl.zst", &first);
    for (input, changes) in
        [(None, "endless.jsonl"), (None, "endless.jsonl.zst"), (Some("endless.jsonl"), "-")]
    {
        for batch in [&[][..], &["--batch", "1000"]] {
            let output = run(&work, input, &[&["apply", "far", changes], batch].concat());
            let text = message(&output);
            assert_eq!(output.status.code(), Some(1), "{changes} {batch:?}: {text}");
            assert!(text.contains("line 2: line_too_long") && text.contains("1 MiB"), "{text}");
            assert_eq!(work.sequence("far"), 1000);
        }
    }
    let skip = ["--skip-bad", "--max-rejected", "100%", "--json"];
    let output = run(&work, None, &[&["apply", "far", "endless.jsonl"], &skip[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["applied"], &report["reasons"]["line_too_long"]), (&1.into(), &1.into()), "{report}");
    assert!(work.read("far/rejected.csv").contains("2,,line_too_long,"));
}

#[test]
fn endless_lines_that_are_no_changes_are_refused() {
    let work = Workspace::with_data_directories("far", &["far"]);
    // 2 bytes a line.
    work.write("short.jsonl", "x\n".repeat(64 << 20));
    let skip = ["--skip-bad", "--max-rejected", "100%"];
    for batch in [&[][..], &["--batch", "1000"]] {
        let output = run(&work, None, &[&["apply", "far", "short.jsonl"], batch, &skip[..]].concat());
        let text = message(&output);
        assert!(output.status.code() == Some(1) && text.contains("1048576 lines"), "{batch:?}: {text}");
        let output = run(&work, None, &[&["apply", "far", "short.jsonl"], batch].concat());
        let text = message(&output);
        assert!(output.status.code() == Some(1) && text.contains("line 1: bad_json"), "{batch:?}: {text}");
    }
}

#[test]
fn lines_of_changes_may_be_as_long_as_the_limit_and_pages_longer() {
    let work = Workspace::with_data_directories("far", &["far"]);
    let line = lines_of("changes/far.jsonl")[0].clone();
    let filled = |bytes: usize| format!("{}{line}", " ".repeat(bytes - line.len()));
    for (bytes, end, fits) in [
        (LINE_BYTES_MAX, "\n", true),
        (LINE_BYTES_MAX, "", true),
        (LINE_BYTES_MAX - 1, "\r\n", true),
        (LINE_BYTES_MAX + 1, "\n", false),
        (LINE_BYTES_MAX, "\r\n", false),
    ] {
        work.write("changes.jsonl", filled(bytes) + end);
        let output = run(&work, None, &["apply", "far", "changes.jsonl"]);
        assert_eq!(output.status.success(), fits, "{bytes} {end:?}: {}", message(&output));
    }
    let krr = Workspace::with_data_directories("krr", &["one", "two"]);
    let person = serde_json::json!({
        "personidentifikator": "18819991495", "status": "AKTIV", "reservasjon": "NEI",
        "kontaktinformasjon": {}, "digital_post": {}, "sertifikat": "",
    });
    let time = "2026-06-02T04:00:00Z";
    let persons: Vec<_> = (0..30_000).map(|_| person.clone()).collect();
    let change = |sequence| {
        serde_json::json!({"sequence": sequence, "time": time,
        "put_persons": {"previous": 1000, "persons": persons}})
    };
    let text = format!("{}\n", change(1500));
    assert!(text.len() > 3 * LINE_BYTES_MAX);
    krr.write("page.jsonl", &text);
    for (directory, options) in [("one", &[][..]), ("two", &["--batch", "7"])] {
        krr.done(&[&["apply", directory, "page.jsonl", "-q"], options].concat());
        assert_eq!(krr.sequence(directory), 1500);
    }
    let listed = krr.changes("one", 1000);
    assert!(listed.len() > LINE_BYTES_MAX, "what is printed can be applied: {}", listed.len());
}

#[test]
fn endless_pages_are_refused() {
    let work = Workspace::with_data_directories("krr", &["krr"]);
    endless(&work, "page.json", "{\"list\":[");
    endless(&work, "page.xml", "<HentEndringerRespons fraEndringsNummer=\"1000\" ");
    for page in ["page.json", "page.xml"] {
        for batch in [&[][..], &["--batch", "10"]] {
            let output = run(&work, None, &[&["apply", "krr", page], batch].concat());
            let text = message(&output);
            assert!(output.status.code() == Some(1) && text.contains("67108864 bytes"), "{page}: {text}");
        }
    }
}

#[test]
fn tables_without_a_row_end_are_refused_with_the_line() {
    for (file, beginning) in [
        ("recipients.csv", None),
        ("recipients.csv", Some("recipient_id,type,pending,operator_id\n")),
        ("recipients.csv", Some("recipient_id,type,pending,operator_id\n\"")),
        ("senders.csv", Some("id,name\n164821000025,\"")),
        ("operators.csv", Some("id,name\n")),
    ] {
        let line = beginning.map_or(1, |_| 2);
        for compressed in [false, true] {
            let work = Workspace::new();
            copy_of_fixture(&work, "far");
            fs::remove_file(work.path("far").join(file)).expect("there");
            match compressed {
                true => endless_zst(&work, &format!("far/{file}.zst"), beginning.unwrap_or_default()),
                false => endless(&work, &format!("far/{file}"), beginning.unwrap_or_default()),
            }
            let output = run(&work, None, &["build", "far", "-o", "far.nabar"]);
            let text = message(&output);
            assert_eq!(output.status.code(), Some(1), "{file}: {text}");
            assert!(
                text.contains(&format!("line {line}: the row")) && text.contains("1 MiB"),
                "{file}: {text}"
            );
            assert_eq!(work.names("."), ["far"], "nothing is left");
        }
    }
}

#[test]
fn rows_may_be_as_long_as_the_limit() {
    let work = Workspace::new();
    copy_of_fixture(&work, "far");
    let senders = work.read("far/senders.csv");
    let row = |bytes: usize| {
        let beginning = "162021005489,Namn,\"";
        format!("{beginning}{}\"", "x".repeat(bytes - beginning.len() - 1))
    };
    for (bytes, fits) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
        for end in ["\n", "", "\n164821000025,again\n"] {
            work.write("far/senders.csv", format!("{senders}{}{end}", row(bytes)));
            let output = run(&work, None, &["build", "far", "-o", "far.nabar", "--max-rejected", "100%"]);
            let too_long = message(&output).contains("longer than 1 MiB");
            assert_eq!(output.status.success(), fits, "{bytes} {end:?}: {}", message(&output));
            assert_eq!(too_long, !fits);
        }
    }
}

#[test]
fn persons_without_an_end_are_rejected_or_refused() {
    let work = Workspace::new();
    copy_of_fixture(&work, "krr");
    let persons = work.read("krr/personer.jsonl");
    let count = persons.lines().count();
    endless(&work, "krr/personer.jsonl", &persons);
    let output = run(&work, None, &["build", "krr", "-o", "krr.nabar"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    assert!(
        work.read("krr.nabar.rejected.csv").contains(&format!("personer.jsonl,{},line_too_long,", count + 1))
    );
    fs::remove_file(work.path("krr/personer.jsonl")).expect("there");
    let root = "<Kontaktregister senesteEndringsNummer=\"1000\" eksportTidspunkt=\"2026-06-01T04:00:00Z\">\n";
    for (beginning, line) in [
        ("<Kontaktregister ", 1),
        (root, 2),
        (&format!("{root}<Person>")[..], 2),
        (&format!("{root}<Person><personidentifikator>"), 2),
        (&format!("{root}<!--"), 2),
        (&format!("{root}<Annet><a "), 2),
    ] {
        endless(&work, "krr/kontaktregister.xml", beginning);
        let output = run(&work, None, &["build", "krr", "-o", "krr.nabar"]);
        let text = message(&output);
        assert_eq!(output.status.code(), Some(1), "{beginning}: {text}");
        assert!(text.contains(&format!("line {line}: an element is longer")), "{beginning}: {text}");
    }
    // Nothing but children, entities or nesting.
    for part in ["<x>", "<status>AKTIV</status>", "<personidentifikator>&amp;", "<Kontaktinformasjon>"] {
        work.write(
            "krr/kontaktregister.xml",
            format!("{root}<Person>{}", part.repeat((4 << 20) / part.len())),
        );
        let output = run(&work, None, &["build", "krr", "-o", "krr.nabar"]);
        let text = message(&output);
        assert!(text.contains("an element is longer than 1 MiB"), "{part}: {text}");
    }
    endless(&work, "krr/register.toml", "kind = \"");
    let output = run(&work, None, &["build", "krr", "-o", "krr.nabar"]);
    assert!(message(&output).contains("register.toml: it is longer than 1 MiB"), "{}", message(&output));
}

#[test]
fn an_id_without_a_line_end_is_rejected() {
    let work = Workspace::with_register_files();
    endless(&work, "ids", "19681019-9809\n");
    let args = ["lookup", "-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01", "-"];
    let output = run(&work, Some("ids"), &args);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["recipient_id"], "196810199809");
    assert_eq!((&lines[1]["outcome"], &lines[1]["reason"]), (&"rejected".into(), &"bad_length".into()));
}
