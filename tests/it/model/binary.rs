//! Runs the real binary and compares its output with the expected one.

use super::expected::{Expected, expected};
use super::form::Refusal;
use super::lists::List;
use super::registers::Register;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A difference between binary and model.
pub(crate) type Difference = Result<(), String>;

/// The binary that is tested: the one of this build, or the one that `NABAR_BINARY` names.
fn binary() -> OsString {
    std::env::var_os("NABAR_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_nabar").into())
}

/// Runs nabar in a directory; `Ok` is its standard output.
pub(crate) fn nabar(directory: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let output = run(directory, arguments, input)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(format!("nabar {arguments:?}: {}: {}", output.status, message.trim()))
}

/// Runs nabar in a directory, which may end with any exit code.
pub(crate) fn run(directory: &Path, arguments: &[&str], input: &[u8]) -> Result<Output, String> {
    let mut child = Command::new(binary())
        .args(arguments)
        .current_dir(directory)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run nabar: {error}"))?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let output = std::thread::scope(|scope| {
        // Written on another thread: nabar may fill its output before it has read all. If it ends early, its exit
        // code says more than the broken pipe.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    });
    output.map_err(|error| format!("nabar does not end: {error}"))
}

/// Builds `name.nabar` from an extract.
pub(crate) fn build(directory: &Path, extract: &str, name: &str) {
    nabar(directory, &["build", extract, "-o", name, "--quiet", "--max-rejected", "100%"], b"")
        .expect("built");
    nabar(directory, &["verify", name, "--quiet"], b"").expect("whole");
}

/// The forms in which a list is given to `split`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain { threads: usize },
    StandardInput,
    Gzip,
    Zstandard,
}

pub(crate) const FORMS: [Form; 5] = [
    Form::Plain { threads: 3 },
    Form::Plain { threads: 1 },
    Form::StandardInput,
    Form::Gzip,
    Form::Zstandard,
];

impl Form {
    fn file_name(self) -> &'static str {
        match self {
            Form::Plain { .. } => "list.csv",
            Form::StandardInput => "-",
            Form::Gzip => "list.csv.gz",
            Form::Zstandard => "list.csv.zst",
        }
    }

    fn encode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Form::Plain { .. } | Form::StandardInput => bytes.to_vec(),
            Form::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).expect("written");
                encoder.finish().expect("written")
            }
            Form::Zstandard => zstd::encode_all(bytes, 1).expect("written"),
        }
    }
}

/// A register that was built in a directory.
pub(crate) struct Built<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) file: &'a str,
    pub(crate) register: Register,
}

impl Built<'_> {
    fn question(&self, list: &List) -> Vec<String> {
        let mut arguments = vec!["-r".to_owned(), self.file.to_owned()];
        arguments.extend(["--date".to_owned(), list.day.to_string()]);
        if let Some((sender, _)) = self.register.senders.get(list.sender) {
            // Ten digits are as good as twelve.
            let sender = if list.sender.is_multiple_of(2) { &sender[2..] } else { sender };
            arguments.extend(["--sender".to_owned(), sender.to_owned()]);
        }
        arguments
    }

    fn arguments(&self, list: &List) -> Vec<String> {
        let mut arguments = self.question(list);
        arguments.extend(list.options.arguments());
        // However many rows are rejected, the files are compared.
        arguments.extend(["--max-rejected".to_owned(), "100%".to_owned()]);
        if list.set_aside {
            arguments.extend(["--duplicates".to_owned(), "set-aside".to_owned()]);
        }
        arguments
    }

    /// Compares `split` in some forms, `check` and `lookup` with the model.
    pub(crate) fn compare(&self, list: &List, forms: &[Form]) -> Difference {
        let bytes = list.bytes();
        let expected = match expected(list, &bytes, &self.register) {
            Ok(expected) => expected,
            Err(code) => return self.compare_refusal(list, &bytes, code),
        };
        for &form in forms {
            self.compare_split(list, &bytes, form, &expected)
                .map_err(|difference| format!("split, {form:?}: {difference}"))?;
        }
        self.compare_check(list, &bytes, &expected).map_err(|difference| format!("check: {difference}"))?;
        self.compare_lookup(list, &expected).map_err(|difference| format!("lookup: {difference}"))
    }

    /// A job that must be refused before it begins, and leave nothing.
    fn compare_refusal(&self, list: &List, bytes: &[u8], code: Refusal) -> Difference {
        fs::write(self.directory.join("list.csv"), bytes).expect("written");
        let out = self.directory.join("out");
        let _ = fs::remove_dir_all(&out);
        for command in [&["split", "--quiet", "-o", "out", "list.csv"][..], &["check", "--json", "list.csv"]]
        {
            let arguments: Vec<String> =
                command.iter().map(|&text| text.to_owned()).chain(self.arguments(list)).collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = run(self.directory, &arguments, b"")?;
            if output.status.code() != Some(code) {
                let message = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!(
                    "{}: expected exit code {code}, found {}: {}",
                    command[0],
                    output.status,
                    message.trim()
                ));
            }
            if out.exists() {
                return Err(format!("{}: refused, and an output is there", command[0]));
            }
        }
        Ok(())
    }

    fn compare_split(&self, list: &List, bytes: &[u8], form: Form, expected: &Expected) -> Difference {
        let encoded = form.encode(bytes);
        let mut arguments = self.arguments(list);
        arguments.extend(["split", "--quiet", "-o", "out", form.file_name()].map(str::to_owned));
        arguments.rotate_right(5); // the command comes first
        if let Form::Plain { threads } = form {
            arguments.extend(["--threads".to_owned(), threads.to_string()]);
        }
        let mut input = &b""[..];
        match form {
            Form::StandardInput => input = &encoded,
            _ => fs::write(self.directory.join(form.file_name()), &encoded).expect("written"),
        }
        let out = self.directory.join("out");
        let _ = fs::remove_dir_all(&out);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let printed = nabar(self.directory, &arguments, input)?;
        if !printed.is_empty() {
            return Err("--quiet printed something".to_owned());
        }

        let mut names: Vec<&str> = expected.files.keys().map(String::as_str).collect();
        names.extend(["report.html", "report.json"]);
        names.sort_unstable();
        let found = fs::read_dir(&out).expect("listed").map(|entry| entry.expect("read").file_name());
        let mut found: Vec<String> = found.map(|name| name.to_string_lossy().into_owned()).collect();
        found.sort_unstable();
        if found != names {
            return Err(format!("files: expected {names:?}, found {found:?}"));
        }
        // The feedback first: its differences are the easiest to read.
        let feedback = expected.files.iter().filter(|(name, _)| *name == "feedback.csv");
        for (name, content) in feedback.chain(&expected.files) {
            same(name, content, &fs::read(out.join(name)).expect("read"))?;
        }
        let report = fs::read(out.join("report.json")).expect("read");
        same_report(&report, expected.report.clone(), form.file_name(), &encoded)
    }

    /// The same figures without files.
    fn compare_check(&self, list: &List, bytes: &[u8], expected: &Expected) -> Difference {
        let mut arguments = self.arguments(list);
        fs::write(self.directory.join("list.csv"), bytes).expect("written");
        arguments.extend(["check", "--json", "list.csv"].map(str::to_owned));
        arguments.rotate_right(3);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let printed = nabar(self.directory, &arguments, b"")?;
        let mut report = expected.report.clone();
        report.as_object_mut().expect("an object").remove("files");
        for operator in report["operators"].as_array_mut().expect("operators") {
            operator["file"] = Value::Null;
        }
        same_report(&printed, report, "list.csv", bytes)
    }

    fn compare_lookup(&self, list: &List, expected: &Expected) -> Difference {
        let mut arguments = self.question(list);
        arguments.extend(["lookup", "--json", "-"].map(str::to_owned));
        arguments.rotate_right(3);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut input = Vec::new();
        for (cell, _) in &expected.lookups {
            input.extend_from_slice(cell);
            input.push(b'\n');
        }
        let printed = nabar(self.directory, &arguments, &input)?;
        let printed = String::from_utf8(printed).map_err(|error| error.to_string())?;
        let answers: Vec<&str> = printed.lines().collect();
        if answers.len() != expected.lookups.len() {
            return Err(format!("{} answers to {} ids", answers.len(), expected.lookups.len()));
        }
        for (answer, (cell, fields)) in answers.iter().zip(&expected.lookups) {
            let found: Value = serde_json::from_str(answer).map_err(|error| error.to_string())?;
            for (name, value) in fields.as_object().expect("an object") {
                if found.get(name) != Some(value) {
                    let cell = cell.escape_ascii();
                    return Err(format!("{name} of \"{cell}\": expected {value}, found {answer}"));
                }
            }
        }
        Ok(())
    }
}

/// Compares two files, and shows the first difference.
fn same(name: &str, expected: &[u8], found: &[u8]) -> Difference {
    if expected == found {
        return Ok(());
    }
    let at = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let near = |bytes: &[u8]| {
        let near = &bytes[at.saturating_sub(60)..bytes.len().min(at + 60)];
        near.escape_ascii().to_string()
    };
    let lengths = (expected.len(), found.len());
    Err(format!(
        "{name}, byte {at} (lengths {lengths:?}):\n  expected …{}…\n  found    …{}…",
        near(expected),
        near(found)
    ))
}

fn same_report(found: &[u8], mut expected: Value, path: &str, encoded: &[u8]) -> Difference {
    let mut found: Value = serde_json::from_slice(found).map_err(|error| error.to_string())?;
    if expected["outcomes"]["rejected"] == expected["list"]["rows"] {
        // Without identities there is no mix-up, and whether a header counts among "most rows" is not specified.
        expected["list"].as_object_mut().expect("an object").remove("columns");
    }
    expected["list"]["path"] = json!(path);
    expected["list"]["bytes"] = json!(encoded.len());
    expected["list"]["digest"] = json!(format!("blake3:{}", blake3::hash(encoded).to_hex()));
    let object = found.as_object_mut().ok_or("the report is no object")?;
    for name in ["seconds", "rows_per_second"] {
        // Of an empty list there is no rate.
        object.remove(name).filter(|value| value.is_number()).ok_or(format!("{name} is no number"))?;
    }
    // A report may have more names than the model knows.
    let mut differences = String::new();
    let mut differ = |name: String, expected: &Value, found: &Value| {
        if expected != found {
            differences.push_str(&format!("\n  {name}: expected {expected}\n  found {found}"));
        }
    };
    for (name, value) in expected.as_object().expect("an object") {
        match (name.as_str(), value) {
            ("list" | "register", Value::Object(names)) => {
                for (inner, value) in names {
                    differ(format!("{name}.{inner}"), value, &found[name][inner]);
                }
            }
            _ => differ(name.clone(), value, &found[name]),
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(format!("report:{differences}")) }
}

/// A shorter list that also differs, and its difference, found with a limited number of trials.
pub(crate) fn shrunk(built: &Built<'_>, list: &List, difference: String) -> (List, String) {
    let (mut best, mut how) = (list.clone(), difference);
    let is_long = list.bytes().len() > 1 << 20;
    let (mut size, mut trials) = (list.pieces.len() / 2, if is_long { 30 } else { 200 });
    while size > 0 {
        // The first rows say what columns there are.
        let mut at = best.kept;
        while at < best.pieces.len() && trials > 0 {
            let mut shorter = best.clone();
            shorter.pieces.drain(at..(at + size).min(best.pieces.len()));
            trials -= 1;
            match built.compare(&shorter, &FORMS) {
                // Another difference may be found on the way; one at a time.
                Err(difference) if kind(&difference) == kind(&how) => (best, how) = (shorter, difference),
                _ => at += size,
            }
        }
        size /= 2;
    }
    (best, how)
}

/// What differs, without where.
fn kind(difference: &str) -> String {
    let first_lines: Vec<&str> = difference.lines().take(2).collect();
    let mut words: String = first_lines.concat().chars().filter(|letter| !letter.is_ascii_digit()).collect();
    words.truncate(words.char_indices().nth(60).map_or(words.len(), |(at, _)| at));
    words
}
