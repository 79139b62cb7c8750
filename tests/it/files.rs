//! Permissions of what commands create, planted links, names of others, and messages about the wrong kind of path.

use crate::support::client::Server;
use crate::support::workspace::{SENDER, Workspace, fixture, nabar};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Permissions of all files and directories below a path, which is not included.
fn modes(path: &Path) -> BTreeMap<String, u32> {
    let mut found_modes = BTreeMap::new();
    for entry in fs::read_dir(path).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = fs::symlink_metadata(entry.path()).expect("there");
        if found.is_dir() {
            let below = modes(&entry.path());
            found_modes.extend(below.into_iter().map(|(path, mode)| (format!("{name}/{path}"), mode)));
        }
        found_modes.insert(name, found.mode() & 0o7777);
    }
    found_modes
}

/// Runs a command with the umask of a careless shell, or of a careful one.
fn done_with_umask(work: &Workspace, umask: &str, args: &[&str]) {
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_nabar")]).args(args).current_dir(work.path(""));
    let output = command.output().expect("run");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn everything_that_commands_create_is_private_unless_a_mode_is_given() {
    let (far, list, changes) = (fixture("far"), fixture("far-list.csv"), fixture("changes/far.jsonl"));
    for (umask, mode, file, directory) in [
        ("000", None, 0o600, 0o700),
        ("077", Some("0640"), 0o640, 0o750),
        ("000", Some("0660"), 0o660, 0o770),
    ] {
        let work = Workspace::new();
        let mode: Vec<&str> = mode.iter().flat_map(|mode| ["--mode", mode]).collect();
        let question = ["-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01", "-q"];
        let creating: [&[&str]; 6] = [
            &["build", &far, "-o", "far.nabar", "-q"],
            &[&["split"], &question[..], &[&list, "-o", "made/out"]].concat(),
            &[&["check"], &question[..], &[&list, "--html", "page.html"]].concat(),
            &["export", "far.nabar", "-o", "extract"],
            &["init", &far, "data/far", "-q"],
            &["init", "far.nabar", "data/other", "-q"],
        ];
        for args in creating {
            done_with_umask(&work, umask, &[args, &mode].concat());
        }
        // Later files of a data directory are for those who could read the first one.
        for args in [
            &["apply", "data/far", &changes, "--skip-bad", "--max-rejected", "100%", "-q"][..],
            &["checkpoint", "data/far", "-q", "--keep"],
        ] {
            done_with_umask(&work, umask, args);
        }
        // An existing directory keeps its permissions, its files get theirs.
        fs::create_dir(work.path("existing")).expect("made");
        fs::set_permissions(work.path("existing"), Permissions::from_mode(0o755)).expect("set");
        done_with_umask(
            &work,
            umask,
            &[&["split"], &question[..], &[&list, "-o", "existing"], &mode].concat(),
        );
        let created = modes(&work.path(""));
        assert!(created.len() > 30, "{created:?}");
        for (path, found) in created {
            let expected = match work.path(&path) {
                made if path == "existing" && made.is_dir() => 0o755,
                made if made.is_dir() => directory,
                // Only writers can lock it.
                _ if path.ends_with("/lock") && file != 0o660 => 0o600,
                _ => file,
            };
            assert_eq!(found, expected, "{umask} {mode:?}: {path} has {found:o}");
        }
    }
    let work = Workspace::new();
    let message = work.fails(2, &["build", &far, "-o", "far.nabar", "--mode", "0666"]);
    assert!(message.contains("0640"), "{message}");
}

/// Whom the review's links led to: the names that earlier versions used, and those of this version.
#[test]
fn planted_links_lead_nowhere() {
    let work = Workspace::with_register_files();
    let shared = work.path("shared");
    fs::create_dir_all(work.path("home/letters")).expect("made");
    work.write("home/letters/thesis", "years");
    work.write("home/precious", "precious");
    fs::create_dir(&shared).expect("made");
    for name in [".out.partial", ".out.0123456789abcdef.partial", ".data.partial", ".nabar.partial"] {
        symlink(work.path("home/letters"), shared.join(name)).expect("linked");
    }
    for name in [
        ".far.nabar.partial",
        ".far.nabar.0123456789abcdef.partial",
        "far.nabar.rejected.csv",
        ".far.nabar.rejected.csv.partial",
        "far.nabar",
        "page.html",
    ] {
        symlink(work.path("home/precious"), shared.join(name)).expect("linked");
    }
    let list = fixture("far-list.csv");
    let question = ["-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01", "-q"];
    work.done(&["build", &fixture("far"), "-o", "shared/far.nabar", "-q", "--force"]);
    work.done(&[&["split"], &question[..], &[&list, "-o", "shared/out"]].concat());
    work.done(&[&["split"], &question[..], &[&list, "-o", "shared/out", "--force"]].concat());
    work.done(&[&["check"], &question[..], &[&list, "--html", "shared/page.html", "--force"]].concat());
    work.done(&["init", "far.nabar", "shared/data", "-q"]);
    assert_eq!(work.names("home/letters"), ["thesis"]);
    assert_eq!(work.read("home/precious"), "precious");
    for name in ["far.nabar", "far.nabar.rejected.csv", "page.html"] {
        assert!(fs::symlink_metadata(shared.join(name)).expect("there").is_file(), "{name}");
    }
    // The link of another user, in place of an output directory.
    symlink(work.path("home/letters"), shared.join("mine")).expect("linked");
    if std::os::unix::fs::lchown(shared.join("mine"), Some(65534), None).is_ok() {
        for force in [&[][..], &["--force"]] {
            let args = [&["split"], &question[..], &[&list, "-o", "shared/mine"], force].concat();
            assert!(work.fails(1, &args).contains("of another user"));
        }
        assert!(work.fails(1, &["init", "far.nabar", "shared/mine"]).contains("of another user"));
        assert_eq!(work.names("home/letters"), ["thesis"]);
    }
}

#[test]
fn man_pages_replace_planted_links() {
    let work = Workspace::new();
    work.write("precious", "precious");
    fs::create_dir(work.path("man")).expect("made");
    for name in ["nabar.1", "nabar-split.1", ".nabar.1.0123456789abcdef.partial"] {
        symlink(work.path("precious"), work.path("man").join(name)).expect("linked");
    }
    done_with_umask(&work, "077", &["man", "-o", "man"]);
    done_with_umask(&work, "000", &["man", "-o", "new/man1"]);
    assert_eq!(work.read("precious"), "precious");
    for name in ["man/nabar.1", "man/nabar-split.1", "new/man1/nabar-split.1"] {
        let page = fs::symlink_metadata(work.path(name)).expect("there");
        assert!(page.is_file() && page.mode() & 0o7777 == 0o644, "{name}: {:o}", page.mode());
        assert!(work.read(name).contains(".TH"), "{name}");
    }
    assert_eq!(fs::metadata(work.path("new/man1")).expect("there").mode() & 0o777, 0o755);
    let pages = work.names("new/man1");
    assert!(pages.len() > 15 && pages.iter().all(|name| name.ends_with(".1")), "{pages:?}");
}

#[test]
fn a_killed_job_leaves_only_what_the_next_one_removes() {
    let work = Workspace::with_register_files();
    let args = ["split", "-r", "far.nabar", "--sender", SENDER, "-", "-o", "out", "-q"];
    let mut killed = work.spawn(&args);
    work.until("the job has begun", || work.names(".").iter().any(|name| name.starts_with(".out.")));
    let waiting = work.fails(1, &args);
    assert!(waiting.contains("another job is writing to out"), "{waiting}");
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    assert!(work.names(".").iter().any(|name| name.starts_with(".out.")));
    let list = fixture("far-list.csv");
    let split = ["split", "-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01", "-q"];
    work.done(&[&split[..], &[&list, "-o", "out"]].concat());
    assert!(!work.names(".").iter().any(|name| name.starts_with(".out.")));
}

/// An extract whose operators have names that no one would choose without intent.
fn with_hostile_operators(work: &Workspace) -> Vec<String> {
    let names = vec![
        "A".repeat(300),
        format!("{}B", "A".repeat(299)),
        "\u{1b}[2J\u{1b}[1;1Hpaper\u{7}".to_owned(),
        "one\nnabar: all is well".to_owned(),
        "gpj.\u{202e}Brevia".to_owned(),
        "../../../etc/cron.d/nabar".to_owned(),
    ];
    fs::create_dir(work.path("extract")).expect("made");
    for file in fs::read_dir(fixture("far")).expect("fixture").flatten() {
        fs::copy(file.path(), work.path("extract").join(file.file_name())).expect("copied");
    }
    let text = work.read("extract/operators.csv");
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(rows.headers().expect("a header")).expect("written");
    let mut given = names.iter();
    for row in rows.records() {
        let row = row.expect("a row");
        let name = given.next().map_or(&row[1], |name| name);
        let fields = row.iter().enumerate().map(|(column, field)| if column == 1 { name } else { field });
        out.write_record(fields).expect("written");
    }
    work.write("extract/operators.csv", out.into_inner().expect("written"));
    names
}

fn is_clean(text: &str) -> bool {
    let bidi = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.chars().any(|c| (c.is_control() && c != '\n') || bidi(c))
}

#[test]
fn names_of_operators_do_no_harm() {
    let work = Workspace::new();
    with_hostile_operators(&work);
    work.done(&["build", "extract", "-o", "far.nabar", "-q"]);
    let question = ["-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01"];
    let list = fixture("far-list.csv");
    let split = work.run(&[&["split"], &question[..], &[&list, "-o", "out"]].concat());
    assert!(split.status.success(), "{}", String::from_utf8_lossy(&split.stderr));
    let inspected = work.done(&["inspect", "far.nabar"]);
    for text in [
        &split.stdout[..],
        &split.stderr,
        inspected.as_bytes(),
        &fs::read(work.path("out/report.html")).expect("there"),
    ] {
        let text = String::from_utf8_lossy(text);
        assert!(is_clean(&text), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("nabar: all is well")), "{text}");
    }
    let names = work.names("out");
    let digital: Vec<&String> = names.iter().filter(|name| name.starts_with("digital-")).collect();
    let operators = work.read("extract/operators.csv").matches("\n16").count();
    assert_eq!(digital.len(), operators, "{names:?}");
    assert_eq!(digital.iter().filter(|name| name.len() == 255).count(), 2, "{names:?}");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(digital.iter().all(|name| name.trim_end_matches(".csv").chars().all(plain)), "{names:?}");
}

#[test]
fn titles_of_a_list_and_names_of_files_are_shown_clean() {
    let work = Workspace::with_register_files();
    let question = ["-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01"];
    work.write("list\u{1b}[31m.csv", "p\u{1b}[2Jnr;n\u{202e}amn;x\u{9b}\nabc;def;ghi\nabd;dee;ghj\n");
    let message =
        work.fails(2, &[&["check"], &question[..], &["list\u{1b}[31m.csv", "--header", "yes"]].concat());
    assert!(message.contains("the columns are: 1 \"p\u{fffd}[2Jnr\"") && is_clean(&message), "{message}");
    work.write("list.csv", "kund\u{1b}[2J;namn\n196810199809;Bo\n196810199809;Ci\n");
    let checked = work.run(&[&["check"], &question[..], &["list.csv", "--header", "yes"]].concat());
    let message = String::from_utf8_lossy(&checked.stderr);
    assert!(message.contains("ids in \"kund\u{fffd}[2J\"") && is_clean(&message), "{message}");
    assert!(is_clean(&work.fails(2, &["bui\u{1b}[31mld"])));
}

#[test]
fn messages_name_what_a_path_is() {
    let work = Workspace::with_register_files();
    let far = fixture("far");
    let sender = ["--sender", SENDER, "19681019-9809"];
    let message = work.fails(2, &[&["lookup", "-r", &far], &sender[..]].concat());
    assert!(message.contains("is an extract") && message.contains("`nabar build`"), "{message}");
    let message = work.fails(2, &["inspect", &far]);
    assert!(message.contains("`nabar build`"), "{message}");
    for args in [
        &["apply", "far.nabar", "changes.jsonl"][..],
        &["changes", "far.nabar", "--from", "1"],
        &["checkpoint", "far.nabar"],
    ] {
        let message = work.fails(2, args);
        assert!(message.contains("far.nabar is a file, not a data directory: `nabar init"), "{message}");
    }
    let message = work.fails(2, &["checkpoint", "not-there"]);
    assert!(message.contains("is not a data directory"), "{message}");
}

#[test]
fn a_page_can_be_printed() {
    let work = Workspace::with_register_files();
    let list = fixture("far-list.csv");
    let check =
        ["check", "-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01", &list, "--html", "-"];
    let page = work.done(&check);
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{page}");
    assert!(!work.path("-").exists());
    let message = work.fails(2, &[&check[..], &["--json"]].concat());
    assert!(message.contains("--html - and --json"), "{message}");
    work.done(&[&check[..9], &["/dev/null", "-q"]].concat());
}

#[test]
fn two_registers_in_one_directory_keep_their_rejected_rows() {
    let work = Workspace::new();
    for (kind, file) in [("far", "recipients.csv"), ("krr", "personer.jsonl")] {
        fs::create_dir(work.path(kind)).expect("made");
        for entry in fs::read_dir(fixture(kind)).expect("fixture").flatten() {
            fs::copy(entry.path(), work.path(kind).join(entry.file_name())).expect("copied");
        }
        let rows = work.read(&format!("{kind}/{file}"));
        work.write(&format!("{kind}/{file}"), rows + "1,\n");
        work.done(&["build", kind, "-o", &format!("{kind}.nabar"), "-q"]);
    }
    for (kind, file) in [("far", "recipients.csv"), ("krr", "personer.jsonl")] {
        let rejected = work.read(&format!("{kind}.nabar.rejected.csv"));
        assert_eq!(rejected.lines().count(), 2, "{rejected}");
        assert!(rejected.contains(file), "{rejected}");
    }
}

#[test]
fn the_service_writes_no_core_dumps_and_refuses_keys_that_others_can_read() {
    let work = Workspace::with_register_files();
    work.done(&["keygen", "source"]);
    fs::create_dir(work.path("etc")).expect("made");
    fs::rename(work.path("source.key"), work.path("etc/source.key")).expect("renamed");
    // Paths start from the configuration.
    work.write("etc/nabar.toml", "[replicas]\nkeys = [\"source.key\"]\n[audit]\npath = \"audit.log\"\n");
    let options = ["--config", "etc/nabar.toml"];
    let server = Server::with(&work, &["far.nabar"], &options);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).expect("it runs");
    let core: Vec<&str> = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .expect("a limit")
        .split_whitespace()
        .collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    assert_eq!(fs::metadata(work.path("etc/audit.log")).expect("there").mode() & 0o777, 0o600);
    drop(server);
    let key = work.path("etc/source.key");
    for mode in [0o644, 0o604, 0o660] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).expect("set");
        let message = work.fails(1, &["serve", "-r", "far.nabar", "--config", "etc/nabar.toml"]);
        assert!(message.contains("etc/source.key") && message.contains("chmod 600"), "{message}");
    }
    fs::write(work.path("token"), "secret").expect("written");
    fs::set_permissions(work.path("token"), Permissions::from_mode(0o644)).expect("set");
    let follow = ["follow", "--once", "--token", "token", "http://127.0.0.1:9", "replica"];
    let message = work.fails(2, &follow);
    assert!(message.contains("token") && message.contains("chmod 600"), "{message}");
}

/// Replicas and parts of a service: directories, files and what lies beside them.
#[test]
fn replicas_are_private_and_keep_their_mode() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let server = Server::start(&work, &["source"]);
    let address = format!("http://{}", server.address());
    for (mode, file, directory) in [(&[][..], 0o600, 0o700), (&["--mode", "0640"], 0o640, 0o750)] {
        let replica = format!("copies{}/far", mode.len());
        done_with_umask(&work, "000", &[&["follow", "--once", "-q", &address, &replica], mode].concat());
        for (path, found) in modes(&work.path(&format!("copies{}", mode.len()))) {
            let expected = match work.path(&format!("copies{}/{path}", mode.len())) {
                made if made.is_dir() => directory,
                // Only locked, by writers.
                _ if path.ends_with("lock") => 0o600,
                _ => file,
            };
            assert_eq!(found, expected, "{path} has {found:o}");
        }
    }
    let different =
        nabar(&["diff", "source", &address]).current_dir(work.path("")).env("TMPDIR", "/nowhere").output();
    assert!(
        different.expect("run").status.success(),
        "nothing is written to the directory for temporary files"
    );
    assert!(!work.names(".").iter().any(|name| name.starts_with(".nabar-work")), "nothing is left over");
}
