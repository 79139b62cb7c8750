//! Running the real binary, and comparing what it leaves with what was expected.

use super::expected::{Expected, expected};
use super::lists::List;
use super::registers::Register;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the binary did otherwise than expected.
pub(crate) type Difference = Result<(), String>;

/// Runs nabar in a directory; `Ok` is its standard output.
pub(crate) fn nabar(directory: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nabar"))
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
        // Written aside: nabar may fill its output before it has read all. If it ends early, its exit
        // code says more than the broken pipe.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    });
    let output = output.map_err(|error| format!("nabar does not end: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(format!("nabar {arguments:?}: {}: {}", output.status, message.trim()))
}

/// Builds `name.nabar` from an extract.
pub(crate) fn build(directory: &Path, extract: &str, name: &str) {
    nabar(directory, &["build", extract, "-o", name, "--quiet"], b"").expect("built");
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
        arguments.extend(list.options.iter().cloned());
        if list.set_aside {
            arguments.extend(["--duplicates".to_owned(), "set-aside".to_owned()]);
        }
        arguments
    }

    /// Compares `split` in some forms, `check` and `lookup` with the model.
    pub(crate) fn compare(&self, list: &List, forms: &[Form]) -> Difference {
        let bytes = list.bytes();
        let expected = expected(list, &bytes, &self.register);
        for &form in forms {
            self.compare_split(list, &bytes, form, &expected)
                .map_err(|difference| format!("split, {form:?}: {difference}"))?;
        }
        self.compare_check(list, &bytes, &expected).map_err(|difference| format!("check: {difference}"))?;
        self.compare_lookup(list, &expected).map_err(|difference| format!("lookup: {difference}"))
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
        // The feedback first: it tells best what happened.
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
    expected["list"]["path"] = json!(path);
    expected["list"]["bytes"] = json!(encoded.len());
    expected["list"]["digest"] = json!(format!("blake3:{}", blake3::hash(encoded).to_hex()));
    let object = found.as_object_mut().ok_or("the report is no object")?;
    for name in ["seconds", "rows_per_second"] {
        // Of an empty list there is no rate.
        object.remove(name).filter(|value| value.is_number()).ok_or(format!("{name} is no number"))?;
    }
    if found == expected {
        return Ok(());
    }
    let mut differences = String::new();
    let names = expected.as_object().into_iter().chain(found.as_object()).flat_map(|object| object.keys());
    for name in names {
        if expected.get(name) != found.get(name) {
            let (expected, found) = (&expected[name], &found[name]);
            differences.push_str(&format!("\n  {name}: expected {expected}\n  found {found}"));
        }
    }
    Err(format!("report:{differences}"))
}

/// A shorter list that differs too, and how. Takes away what it can in so many trials.
pub(crate) fn shrunk(built: &Built<'_>, list: &List, difference: String) -> (List, String) {
    let (mut best, mut how) = (list.clone(), difference);
    let is_long = list.bytes().len() > 1 << 20;
    let (mut size, mut trials) = (list.pieces.len() / 2, if is_long { 30 } else { 200 });
    while size > 0 {
        // The first row says what columns there are.
        let mut at = 1;
        while at < best.pieces.len() && trials > 0 {
            let mut shorter = best.clone();
            shorter.pieces.drain(at..(at + size).min(best.pieces.len()));
            trials -= 1;
            match built.compare(&shorter, &FORMS) {
                Err(difference) => (best, how) = (shorter, difference),
                Ok(()) => at += size,
            }
        }
        size /= 2;
    }
    (best, how)
}
