//! A directory in which a test runs the real binary.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A sender of the fixture `far`.
pub(crate) const SENDER: &str = "164821000025";

/// Maximum of polls while waiting for another process; each takes as long as running a process.
const POLLS: usize = 3000;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary of this build with arguments. Unless they say otherwise, rejected lines are without limit: most tests are
/// about which lines are rejected, not about how many may be.
pub(crate) fn nabar(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabar"));
    command.args(args);
    if args.contains(&"--skip-bad") && !args.contains(&"--max-rejected") {
        command.args(["--max-rejected", "100%"]);
    }
    command
}

/// The path of a fixture.
pub(crate) fn fixture(name: &str) -> String {
    root().join("fixtures").join(name).display().to_string()
}

/// The lines of a fixture.
pub(crate) fn lines_of(name: &str) -> Vec<String> {
    fs::read_to_string(fixture(name)).expect("fixture").lines().map(str::to_owned).collect()
}

/// Lines with their ends.
pub(crate) fn text<S: AsRef<str>>(lines: &[S]) -> String {
    lines.iter().map(|line| format!("{}\n", line.as_ref())).collect()
}

/// A line with edited JSON.
pub(crate) fn edited(line: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::from_str(line).expect("JSON");
    edit(&mut value);
    value.to_string()
}

pub(crate) struct Workspace(tempfile::TempDir);

impl Workspace {
    pub(crate) fn new() -> Workspace {
        Workspace(tempfile::tempdir().expect("directory"))
    }

    /// A directory with the register files `far.nabar` and `krr.nabar`, built from the fixtures.
    pub(crate) fn with_register_files() -> Workspace {
        let work = Workspace::new();
        for kind in ["far", "krr"] {
            work.done(&["build", &fixture(kind), "-o", &format!("{kind}.nabar"), "--quiet", "--strict"]);
        }
        work
    }

    /// A directory with data directories initialized from a fixture's extract.
    pub(crate) fn with_data_directories(kind: &str, directories: &[&str]) -> Workspace {
        let work = Workspace::new();
        for directory in directories {
            work.done(&["init", &fixture(kind), directory, "--quiet"]);
        }
        work
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("text")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = nabar(args);
        command.current_dir(self.0.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("run")
    }

    /// A command that runs while its standard input is open.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::piped()).spawn().expect("spawned")
    }

    pub(crate) fn with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self.spawn(args);
        child.stdin.take().expect("piped").write_all(input).expect("written");
        child.wait_with_output().expect("ended")
    }

    /// Standard output of a command that must succeed without unexpected messages.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
        // Notes on the format of a list and the age of the register are expected.
        let notes = ["nabar: list: ", "nabar: run: ", "nabar: register: ", "nabar: warning: "];
        let unexpected = error.lines().find(|line| !notes.iter().any(|note| line.starts_with(note)));
        assert_eq!(unexpected, None, "{args:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Standard error of a command that must end with an exit code. It must show no identity.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.starts_with("nabar: "), "{args:?}: {error}");
        shows_no_identity(&error);
        shows_no_identity(&String::from_utf8_lossy(&output.stdout));
        error
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).expect("JSON")
    }

    /// The report of `apply --json`, which must show no identity.
    pub(crate) fn apply(&self, args: &[&str]) -> Value {
        let message = self.done(&[&["apply", "--json"], args].concat());
        shows_no_identity(&message);
        serde_json::from_str(&message).expect("JSON")
    }

    /// All changes of a data directory after a sequence number.
    pub(crate) fn changes(&self, directory: &str, from: u64) -> String {
        self.done(&["changes", directory, "--from", &from.to_string()])
    }

    /// The sequence number as another process sees it.
    pub(crate) fn sequence(&self, directory: &str) -> u64 {
        self.json(&["inspect", directory, "--json"])["sequence"].as_u64().expect("number")
    }

    /// The files of an export.
    pub(crate) fn export(&self, directory: &str) -> BTreeMap<String, Vec<u8>> {
        let output = format!("{directory}.export");
        self.done(&["export", directory, "-o", &output]);
        let files = self.names(&output).into_iter();
        let files = files.map(|name| (name.clone(), fs::read(self.path(&output).join(&name)).expect("file")));
        let files = files.collect();
        fs::remove_dir_all(self.path(&output)).expect("removed");
        files
    }

    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).expect("directory").flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    /// Waits for another process to have done something.
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let polled = (0..POLLS).any(|_| done() || self.done(&["--version"]).is_empty());
        assert!(polled, "{what}: not after {POLLS} polls");
    }
}

/// What nabar never makes in a data directory.
pub(crate) const OUT_OF_PLACE: [&str; 3] = ["pipe", "directory", "link"];

/// Puts one of them in place of a file.
pub(crate) fn put_out_of_place(what: &str, path: &Path) {
    fs::remove_file(path).expect("removed");
    match what {
        "pipe" => assert!(Command::new("mkfifo").arg(path).status().expect("run").success()),
        "directory" => fs::create_dir(path).expect("made"),
        _ => symlink("nowhere", path).expect("linked"),
    }
}

/// Register file and segment of a sequence number, as `docs/data-directory.md` names them.
pub(crate) fn register_file(sequence: u64) -> String {
    format!("register-{sequence:020}.nabar")
}

pub(crate) fn segment(after: u64) -> String {
    format!("changes-{after:020}.log")
}

/// No message may show the number of a person. Organisations (16…), file names (20 digits) and masked values (only 9s)
/// are allowed; all other numbers in messages of these tests are short, apart from their fractions.
pub(crate) fn shows_no_identity(message: &str) {
    let joined = message.replace(['-', '+'], "");
    for number in joined.split(|character: char| !character.is_ascii_digit() && character != '.') {
        let digits = number.split('.').find(|digits| !digits.is_empty()).unwrap_or_default();
        let organisation = digits.len() == 12 && digits.starts_with("16");
        let is_masked = digits.bytes().all(|digit| digit == b'9');
        assert!(digits.len() < 9 || digits.len() == 20 || organisation || is_masked, "{message}");
    }
    assert!(!message.contains('@'), "{message}");
}
