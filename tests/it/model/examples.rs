//! Small lists for the sentences of `lists.md`, with expected results written by hand.
//!
//! Model and binary are both compared with them, so that they cannot misread a sentence in the same way.

use super::binary::{Built, FORMS, build, nabar, run};
use super::expected::expected;
use super::form::{Header, ListOptions};
use super::identities::{Country, Day};
use super::lists::List;
use super::registers::{Register, far_of, krr_of};
use super::{example_forms, example_rows};
use serde_json::Value;
use std::fs;
use std::path::Path;

const DAY: Day = Day { year: 2026, month: 6, day: 1 };

/// The numbers behind the letters: `@A` in a list, `A` in a row.
const SWEDEN: [(&str, &str); 5] = [
    ("A", "199001022384"), // digital
    ("B", "200001022383"), // digital
    ("C", "189001019802"), // does not accept the sender
    ("D", "199001622381"), // not in the register
    ("E", "191711602399"), // not in the register, without day of birth
];
const NORWAY: [(&str, &str); 3] = [
    ("A", "01819012365"), // digital
    ("B", "41819012359"), // can be notified
    ("C", "01810050019"), // not in the register
];

pub(crate) struct Example {
    sentence: &'static str,
    list: Vec<u8>,
    options: Vec<String>,
    country: Country,
    /// For each line of the feedback the identity (or `-`) and the reason, or the outcome if it has none.
    rows: Option<Vec<String>>,
    /// The numbers of the feedback's lines, if they are not 1, 2, 3 …
    numbers: Option<Vec<usize>>,
    report: Vec<(&'static str, Value)>,
    above: Option<Vec<u8>>,
    exit: i32,
}

pub(crate) fn example(sentence: &'static str, list: &[u8]) -> Example {
    Example {
        sentence,
        list: list.to_vec(),
        options: Vec::new(),
        country: Country::Sweden,
        rows: None,
        numbers: None,
        report: Vec::new(),
        above: None,
        exit: 0,
    }
}

impl Example {
    pub(crate) fn norway(mut self) -> Example {
        self.country = Country::Norway;
        self
    }

    pub(crate) fn with(mut self, options: &str) -> Example {
        self.options.extend(options.split(' ').map(str::to_owned));
        self
    }

    pub(crate) fn rows(mut self, rows: &str) -> Example {
        let rows = rows.split(',').map(|row| row.trim().to_owned());
        self.rows = Some(rows.filter(|row| !row.is_empty()).collect());
        self
    }

    pub(crate) fn numbered(mut self, numbers: &[usize]) -> Example {
        self.numbers = Some(numbers.to_vec());
        self
    }

    pub(crate) fn says(mut self, name: &'static str, value: impl Into<Value>) -> Example {
        self.report.push((name, value.into()));
        self
    }

    /// The text at the beginning of every file of rows.
    pub(crate) fn above(mut self, above: &[u8]) -> Example {
        self.above = Some(above.to_vec());
        self
    }

    pub(crate) fn exits(mut self, code: i32) -> Example {
        self.exit = code;
        self
    }

    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        if self.country == Country::Sweden { &SWEDEN } else { &NORWAY }
    }

    /// The list with the numbers that the letters stand for.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = 0;
        while at < self.list.len() {
            let alias =
                |(name, _): &&(&str, &str)| self.list[at..].starts_with(format!("@{name}").as_bytes());
            match self.aliases().iter().find(alias) {
                Some((name, id)) => {
                    bytes.extend_from_slice(id.as_bytes());
                    at += 1 + name.len();
                }
                None => {
                    bytes.push(self.list[at]);
                    at += 1;
                }
            }
        }
        bytes
    }

    /// The lines of a feedback as they are written here, and their numbers.
    fn shown(&self, feedback: &[u8]) -> (Vec<String>, Vec<usize>) {
        let feedback = String::from_utf8_lossy(feedback);
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        for line in feedback.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let alias = self.aliases().iter().find(|(_, id)| *id == cells[1]);
            let id = alias.map_or(if cells[1].is_empty() { "-" } else { cells[1] }, |(name, _)| name);
            rows.push(format!("{id} {}", if cells[3].is_empty() { cells[2] } else { cells[3] }));
            numbers.push(cells[0].parse().expect("a number"));
        }
        (rows, numbers)
    }

    /// Differences of a job that succeeded.
    fn differences(&self, feedback: &[u8], report: &Value, file: &[u8]) -> Vec<String> {
        let (rows, numbers) = self.shown(feedback);
        let mut differences = Vec::new();
        if let Some(expected) = &self.rows
            && *expected != rows
        {
            differences.push(format!("rows: expected {expected:?}, found {rows:?}"));
        }
        let expected = self.numbers.clone().unwrap_or((1..=rows.len()).collect());
        if expected != numbers {
            differences.push(format!("numbers of rows: expected {expected:?}, found {numbers:?}"));
        }
        for (name, value) in &self.report {
            let found = name.split('.').fold(report, |value, name| &value[name]);
            if found != value {
                differences.push(format!("{name}: expected {value}, found {found}"));
            }
        }
        if let Some(above) = &self.above
            && !(file.starts_with(above) && file.len() >= above.len())
        {
            let (above, file) = (above.escape_ascii(), file.escape_ascii());
            differences.push(format!("files begin with {above}, found {file}"));
        }
        differences
    }
}

/// The options of an example, for the model.
fn list_options(arguments: &[String]) -> ListOptions {
    let mut options = ListOptions::default();
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().expect("a value").to_owned();
        match option {
            "--delimiter" => {
                options.delimiter = Some(match value().as_str() {
                    "semicolon" => b';',
                    "comma" => b',',
                    "tab" => b'\t',
                    "pipe" => b'|',
                    other => other.as_bytes()[0],
                });
            }
            "--header" => {
                options.header = match value().as_str() {
                    "yes" => Header::Yes,
                    "no" => Header::No,
                    _ => Header::Auto,
                };
            }
            "--id-column" => options.ids.push(value()),
            "--two-ids" => options.both = value() == "both",
            "--expected-ids" => options.expected_ids.push(value()),
            "--skip-rows" => options.skip_rows = value().parse().expect("a number"),
            "--skipped" => options.drops_skipped = value() == "drop",
            "--strict-rows" => options.strict = true,
            "--id-at" => {
                let place = value();
                let (offset, length) = place.split_once(':').expect("offset and length");
                options.fixed = Some((offset.parse().expect("a number"), length.parse().expect("a number")));
            }
            other => panic!("{other} is no option that examples have"),
        }
    }
    options
}

fn examples() -> Vec<Example> {
    let mut examples = example_forms::examples();
    examples.extend(example_rows::examples());
    examples
}

fn registers(directory: &Path) -> [(Country, &'static str, Register); 2] {
    let extracts = ["far", "krr"].map(|name| directory.join(name));
    extracts.iter().for_each(|extract| fs::create_dir(extract).expect("created"));
    let id = |aliases: &[(&'static str, &'static str)], place: usize| aliases[place].1;
    let recipients = [(id(&SWEDEN, 0), true), (id(&SWEDEN, 1), true), (id(&SWEDEN, 2), false)];
    let persons = [(id(&NORWAY, 0), true), (id(&NORWAY, 1), false)];
    [
        (Country::Sweden, "far.nabar", far_of(&extracts[0], &recipients)),
        (Country::Norway, "krr.nabar", krr_of(&extracts[1], DAY, &persons)),
    ]
}

fn list_of(example: &Example) -> List {
    let mut list = List::new(vec![example.bytes()], 1, list_options(&example.options));
    list.day = DAY;
    list
}

/// The model reads the examples as they were written by hand.
#[test]
fn the_model_agrees_with_the_examples() {
    let directory = tempfile::tempdir().expect("a directory");
    let registers = registers(directory.path());
    let mut failures = Vec::new();
    for example in examples() {
        let (_, _, register) =
            registers.iter().find(|(country, ..)| *country == example.country).expect("one");
        let list = list_of(&example);
        let differences = match expected(&list, &list.bytes(), register) {
            Err(code) if code == example.exit => Vec::new(),
            Err(code) => vec![format!("exit code: expected {}, found {code}", example.exit)],
            Ok(_) if example.exit != 0 => vec![format!("exit code: expected {}, found 0", example.exit)],
            Ok(found) => {
                example.differences(&found.files["feedback.csv"], &found.report, &found.files["paper.csv"])
            }
        };
        failures.extend(
            differences.into_iter().map(|difference| format!("{}\n  {difference}", example.sentence)),
        );
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

/// The binary reads the examples as they were written by hand, and in every other respect as the model does.
#[test]
fn nabar_agrees_with_the_examples() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut built: Vec<(Country, Built<'_>)> = Vec::new();
    for (country, file, register) in registers(directory.path()) {
        build(directory.path(), file.strip_suffix(".nabar").expect("the extract"), file);
        built.push((country, Built { directory: directory.path(), file, register }));
    }
    let mut failures = Vec::new();
    for example in examples() {
        let (_, built) = built.iter().find(|(country, _)| *country == example.country).expect("one");
        let mut differences = binary_differences(&example, built);
        if differences.is_empty()
            && let Err(difference) = built.compare(&list_of(&example), &FORMS)
        {
            differences.push(format!("as the model: {difference}"));
        }
        failures.extend(
            differences.into_iter().map(|difference| format!("{}\n  {difference}", example.sentence)),
        );
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

fn binary_differences(example: &Example, built: &Built<'_>) -> Vec<String> {
    let out = built.directory.join("out");
    let _ = fs::remove_dir_all(&out);
    let bytes = example.bytes();
    fs::write(built.directory.join("list.csv"), &bytes).expect("written");
    let mut arguments =
        vec!["split", "-q", "-r", built.file, "--date", "2026-06-01", "-o", "out", "list.csv"];
    arguments.extend(["--max-rejected", "100%"]);
    if example.country == Country::Sweden {
        arguments.extend(["--sender", "164820000018"]);
    }
    arguments.extend(example.options.iter().map(String::as_str));
    let output = match run(built.directory, &arguments, b"") {
        Ok(output) => output,
        Err(error) => return vec![error],
    };
    let code = output.status.code().unwrap_or(-1);
    if code != example.exit {
        let message = String::from_utf8_lossy(&output.stderr);
        return vec![format!("exit code: expected {}, found {code}: {}", example.exit, message.trim())];
    }
    if code != 0 {
        return Vec::new();
    }
    let read = |name: &str| fs::read(out.join(name)).expect("read");
    let report: Value = serde_json::from_slice(&read("report.json")).expect("JSON");
    example.differences(&read("feedback.csv"), &report, &read("paper.csv"))
}

/// Half of the rows may be rejected, unless an option sets another limit; rows that are not letters do not count.
#[test]
fn too_many_rejected_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(registers(directory.path()));
    build(directory.path(), "far", "far.nabar");
    let (a, c) = (SWEDEN[0].1, SWEDEN[2].1);
    let mut failures = Vec::new();
    for (list, options, is_refused) in [
        (format!("{a}\nx\n"), "", false),
        (format!("{a}\nx\ny\n"), "", true),
        (format!("{a}\nx\ny\n"), "--max-rejected 67%", false),
        (format!("{a}\nx\ny\n"), "--max-rejected 2", false),
        (format!("{a}\nx\ny\n"), "--max-rejected 1", true),
        (format!("{a}\nx\n\n\n\nAntal: 5\n\u{1A}\n"), "", false),
        // Blank rows and footers do not count as rows either.
        (format!("{a}\nx\ny\n\n\n\nAntal: 5\n\u{1A}\n"), "", true),
        (format!("pnr\n{a}\npnr\npnr\npnr\n"), "", false),
        ("x\ny\n".to_owned(), "--max-rejected 100%", false),
        // A list without rows.
        (String::new(), "", true),
        ("pnr\n".to_owned(), "", true),
        ("pnr\n\n\nAntal: 0\n".to_owned(), "", true),
        (String::new(), "--max-rejected 100%", false),
        ("pnr\n\n\nAntal: 0\n".to_owned(), "--max-rejected 100%", false),
        // Two persons in one row are rejected, and count.
        (format!("{a};x\n{a};{c}\u{b}x\n{a};{c}\u{b}y\n"), "", true),
    ] {
        let out = directory.path().join("out");
        let _ = fs::remove_dir_all(&out);
        fs::write(directory.path().join("list.csv"), &list).expect("written");
        let mut arguments =
            vec!["split", "-q", "-r", "far.nabar", "--date", "2026-06-01", "-o", "out", "list.csv"];
        arguments.extend(["--sender", "164820000018"]);
        arguments.extend(options.split(' ').filter(|option| !option.is_empty()));
        let output = run(directory.path(), &arguments, b"").expect("it ends");
        let code = output.status.code();
        if code != Some(if is_refused { 3 } else { 0 }) {
            failures.push(format!("{list:?} {options}: exit code {code:?}"));
            continue;
        }
        let mut names: Vec<String> = fs::read_dir(&out)
            .expect("listed")
            .map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        if is_refused && names != ["rejected.csv", "report.html", "report.json"] {
            failures.push(format!("{list:?} {options}: {names:?} remain"));
        }
        let report: Value =
            serde_json::from_slice(&fs::read(out.join("report.json")).expect("read")).expect("JSON");
        if report["refused"].is_string() != is_refused {
            failures.push(format!("{list:?} {options}: refused is {}", report["refused"]));
        }
        let check = ["check", "--json", "-r", "far.nabar", "--date", "2026-06-01", "list.csv"];
        let arguments: Vec<&str> = check.into_iter().chain(arguments[9..].iter().copied()).collect();
        if nabar(directory.path(), &arguments, b"").is_err() != is_refused {
            failures.push(format!("{list:?} {options}: check does not agree"));
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
