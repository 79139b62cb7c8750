//! Data directories, files and outputs of several users. Only root can run commands as others; without it the tests end
//! early.

use crate::support::workspace::{SENDER, Workspace, fixture, lines_of, nabar, text};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// The user that owns the directories, and one of the same group.
const OWNER: (u32, u32) = (64_001, 64_100);
const MEMBER: (u32, u32) = (64_002, 64_100);
const STRANGER: (u32, u32) = (64_003, 64_003);
const ROOT: (u32, u32) = (0, 0);

/// A workspace with a copy of the program and the fixtures that others can use, and a directory `data` of [`OWNER`];
/// `None` without root.
fn shared() -> Option<Workspace> {
    let work = Workspace::with_register_files();
    fs::create_dir(work.path("data")).expect("made");
    if chown(work.path("data"), Some(OWNER.0), Some(OWNER.1)).is_err() {
        eprintln!("skipped: only root runs commands as other users");
        return None;
    }
    // By another process: a program cannot run while a descriptor for writing it is open, which other tests' children inherit.
    let copied = Command::new("cp")
        .args([env!("CARGO_BIN_EXE_nabar").as_ref(), work.path("nabar").as_os_str()])
        .status();
    assert!(copied.expect("run").success());
    work.write("changes.jsonl", text(&lines_of("changes/far.jsonl")[..20]));
    for name in ["nabar", ".", "data", "far.nabar", "changes.jsonl"] {
        fs::set_permissions(work.path(name), Permissions::from_mode(0o755)).expect("set");
    }
    Some(work)
}

/// Runs a command as a user with one group.
fn run(work: &Workspace, (user, group): (u32, u32), args: &[&str]) -> Output {
    let mut command = Command::new(work.path("nabar"));
    command.args(args).current_dir(work.path("")).stdin(Stdio::null()).uid(user).gid(group);
    command.output().expect("run")
}

fn done(work: &Workspace, user: (u32, u32), args: &[&str]) {
    let output = run(work, user, args);
    assert!(output.status.success(), "{user:?} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The message of a command that must fail.
fn fails(work: &Workspace, user: (u32, u32), args: &[&str]) -> String {
    let output = run(work, user, args);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.starts_with("nabar: "), "{user:?} {args:?}: {message}");
    message
}

/// Owner, group and mode of each file of a directory.
fn owners(work: &Workspace, directory: &str) -> Vec<(String, u32, u32, u32)> {
    let of = |name: String| {
        let found = fs::symlink_metadata(work.path(directory).join(&name)).expect("there");
        (name, found.uid(), found.gid(), found.mode() & 0o7777)
    };
    work.names(directory).into_iter().map(of).collect()
}

/// Applies one more change each time.
fn applied(work: &Workspace, user: (u32, u32), directory: &str, count: usize) {
    let name = format!("changes-{count}.jsonl");
    work.write(&name, text(&lines_of("changes/far.jsonl")[..count]));
    fs::set_permissions(work.path(&name), Permissions::from_mode(0o644)).expect("set");
    done(work, user, &["apply", directory, &name, "-q"]);
}

#[test]
fn a_data_directory_is_written_by_its_owner_and_root() {
    let Some(work) = shared() else { return };
    done(&work, OWNER, &["init", "far.nabar", "data/far", "-q"]);
    applied(&work, OWNER, "data/far", 1);
    // Root leaves the owner what it makes.
    applied(&work, ROOT, "data/far", 2);
    done(&work, ROOT, &["checkpoint", "data/far", "-q"]);
    work.write("bad.jsonl", "rubbish\n");
    done(&work, ROOT, &["apply", "data/far", "bad.jsonl", "-q", "--skip-bad", "--max-rejected", "100%"]);
    for (name, user, group, mode) in owners(&work, "data/far") {
        assert_eq!((user, group, mode), (OWNER.0, OWNER.1, 0o600), "{name}");
    }
    applied(&work, OWNER, "data/far", 3);
    done(&work, OWNER, &["checkpoint", "data/far", "-q"]);
    // A file of a third user, linked into the directory, is not written to.
    work.write("precious", "precious");
    let segment = work.names("data/far").into_iter().find(|name| name.ends_with(".log")).expect("a segment");
    fs::remove_file(work.path("data/far").join(&segment)).expect("removed");
    fs::hard_link(work.path("precious"), work.path("data/far").join(&segment)).expect("linked");
    assert!(fails(&work, ROOT, &["apply", "data/far", "changes.jsonl", "-q"]).contains("of another user"));
    fs::remove_file(work.path("data/far").join(&segment)).expect("removed");
    symlink(work.path("precious"), work.path("data/far").join(&segment)).expect("linked");
    fails(&work, ROOT, &["apply", "data/far", "changes.jsonl", "-q"]);
    assert_eq!(work.read("precious"), "precious");
}

#[test]
fn a_group_writes_to_a_group_writable_data_directory() {
    let Some(work) = shared() else { return };
    done(&work, OWNER, &["init", "far.nabar", "data/far", "-q", "--mode", "0660"]);
    applied(&work, MEMBER, "data/far", 1);
    done(&work, MEMBER, &["checkpoint", "data/far", "-q"]);
    applied(&work, OWNER, "data/far", 2);
    applied(&work, MEMBER, "data/far", 3);
    done(&work, OWNER, &["checkpoint", "data/far", "-q"]);
    for (name, user, group, mode) in owners(&work, "data/far") {
        assert!([OWNER.0, MEMBER.0].contains(&user) && (group, mode) == (OWNER.1, 0o660), "{name}");
    }
    // Permissions for all do not make others writers.
    fs::set_permissions(work.path("data/far"), Permissions::from_mode(0o777)).expect("set");
    for (name, ..) in owners(&work, "data/far") {
        fs::set_permissions(work.path("data/far").join(name), Permissions::from_mode(0o666)).expect("set");
    }
    for args in [&["apply", "data/far", "changes.jsonl"][..], &["checkpoint", "data/far"]] {
        let message = fails(&work, STRANGER, args);
        assert!(message.contains("belongs to user 64001") && message.contains("--mode 0660"), "{message}");
    }
}

#[test]
fn readers_cannot_hold_the_lock() {
    let Some(work) = shared() else { return };
    done(&work, OWNER, &["init", "far.nabar", "data/far", "-q", "--mode", "0640"]);
    // As by an earlier version, or by chmod.
    fs::set_permissions(work.path("data/far/lock"), Permissions::from_mode(0o640)).expect("set");
    applied(&work, OWNER, "data/far", 1);
    done(&work, MEMBER, &["inspect", "data/far"]);
    let mut held = Command::new("flock");
    held.args(["-n", "data/far/lock", "true"]).current_dir(work.path("")).uid(MEMBER.0).gid(MEMBER.1);
    assert!(!held.output().expect("run").status.success(), "a reader cannot open the lock");
    let mode = |name: &str| fs::metadata(work.path("data/far").join(name)).expect("there").mode() & 0o777;
    assert_eq!([mode("lock"), mode("mode")], [0o600, 0o640]);
    assert!(fails(&work, MEMBER, &["checkpoint", "data/far"]).contains("belongs to user 64001"));
}

#[test]
fn a_refusal_says_who_owns_the_file_and_what_to_do() {
    let Some(work) = shared() else { return };
    done(&work, OWNER, &["init", "far.nabar", "data/far", "-q"]);
    fs::copy(work.path("far.nabar"), work.path("data/far.nabar")).expect("copied");
    chown(work.path("data/far.nabar"), Some(OWNER.0), Some(OWNER.1)).expect("given");
    fs::set_permissions(work.path("data/far.nabar"), Permissions::from_mode(0o600)).expect("set");
    let commands: [&[&str]; 7] = [
        &["inspect", "data/far"],
        &["serve", "-r", "data/far", "--listen", "127.0.0.1:0"],
        &["inspect", "data/far.nabar"],
        &["serve", "-r", "data/far.nabar", "--listen", "127.0.0.1:0"],
        &["lookup", "-r", "data/far", "--sender", SENDER, "19681019-9809"],
        &["apply", "data/far", "changes.jsonl"],
        &["verify", "data/far/register-00000000000000001000.nabar"],
    ];
    for args in commands {
        let message = fails(&work, MEMBER, args);
        for part in ["belongs to user 64001", "--mode 0640", "runs as user 64002"] {
            assert!(message.contains(part), "{args:?}: {message}");
        }
    }
}

#[test]
fn the_output_directory_of_another_user_is_refused() {
    let Some(work) = shared() else { return };
    fs::create_dir(work.path("out")).expect("made");
    chown(work.path("out"), Some(OWNER.0), None).expect("given");
    let list = fixture("far-list.csv");
    let split =
        ["split", "-r", "far.nabar", "--sender", SENDER, "--date", "2026-06-01", "-q", &list, "-o", "out"];
    for force in [&[][..], &["--force"]] {
        let message = work.fails(2, &[&split[..], force].concat());
        assert!(message.contains("out belongs to another user"), "{message}");
    }
    assert!(work.names("out").is_empty());
}

#[test]
fn a_key_is_complete_or_not_there() {
    let work = Workspace::new();
    // No space for the content of a file.
    let script = format!("trap '' XFSZ; ulimit -f 0; exec {} keygen source", env!("CARGO_BIN_EXE_nabar"));
    let mut command = Command::new("sh");
    let output = command.args(["-c", &script]).current_dir(work.path("")).output().expect("run");
    assert!(!output.status.success());
    assert!(work.names(".").is_empty(), "{:?}", work.names("."));
    let made = nabar(&["keygen", "source"]).current_dir(work.path("")).output().expect("run");
    assert!(made.status.success());
    let key = work.read("source.key");
    work.fails(2, &["keygen", "source"]);
    fs::remove_file(work.path("source.key")).expect("removed");
    work.fails(2, &["keygen", "source"]);
    assert_eq!(work.names("."), ["source.pub"]);
    assert!(key.contains("PRIVATE KEY"));
}
