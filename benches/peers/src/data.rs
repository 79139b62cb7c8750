//! The data of the measurements: registers and lists of the generator, and each recipient's answer from the extract.
//!
//! The answers are computed here from the text of the extract and not by nabar, so that nabar is checked too.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The day of all requests.
pub(crate) const DATE: &str = "2026-06-01";
/// The code of recipients without account.
pub(crate) const NOT_REGISTERED: u8 = 0;
/// The first code of recipients reached digitally; the operator's index is added.
pub(crate) const FIRST_OPERATOR: u8 = 8;
/// The reasons for paper, by their codes.
pub(crate) const REASONS: [&str; 5] =
    ["not_registered", "sender_declined", "pending", "anonymous_account", "operator_without_address"];

/// The programs that make the data, and its directory.
pub(crate) struct Tools {
    /// The `nabar` that is measured.
    pub(crate) nabar: PathBuf,
    /// The generator.
    pub(crate) generate: PathBuf,
    /// The directory of all data.
    pub(crate) directory: PathBuf,
}

/// A mailbox operator.
pub(crate) struct Operator {
    /// Its number.
    pub(crate) id: String,
    /// The name of its file in a split, as docs/report.md has it, without `.csv`.
    pub(crate) file: String,
    has_address: bool,
}

/// A register and the parameters of its lookups.
pub(crate) struct Data {
    /// Number of recipients.
    pub(crate) recipients: usize,
    /// The extract.
    pub(crate) extract: PathBuf,
    /// The register file.
    pub(crate) register: PathBuf,
    /// The sender.
    pub(crate) sender: String,
    /// The operators.
    pub(crate) operators: Vec<Operator>,
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} failed");
}

/// Makes a file or a directory unless it exists. It is renamed to its name when complete.
pub(crate) fn once(path: &Path, make: impl FnOnce(&Path)) {
    if path.exists() {
        return;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    let beside = PathBuf::from(beside);
    let _ = fs::remove_dir_all(&beside);
    make(&beside);
    fs::rename(&beside, path).expect("named");
}

impl Data {
    /// The register of `recipients` recipients; existing data is reused.
    pub(crate) fn new(tools: &Tools, recipients: usize) -> Data {
        fs::create_dir_all(&tools.directory).expect("a directory for the data");
        let extract = tools.directory.join(format!("far-{recipients}"));
        let count = recipients.to_string();
        once(&extract, |extract| {
            run(Command::new(&tools.generate).args(["far", "--recipients", &count, "-o"]).arg(extract));
        });
        // Always rebuilt, because its format may have changed.
        let register = tools.directory.join(format!("far-{recipients}.nabar"));
        let mut build = Command::new(&tools.nabar);
        run(build.args(["build", "--quiet", "--strict"]).arg(&extract).arg("-o").arg(&register));
        let senders = fs::read_to_string(extract.join("senders.csv")).expect("senders");
        let sender = senders.lines().nth(1).and_then(|line| line.split(',').next()).expect("a sender");
        let operators = operators(&extract);
        Data { recipients, extract, register, sender: sender.to_owned(), operators }
    }

    /// A list of clean rows, a share of which is in the register.
    pub(crate) fn list(&self, tools: &Tools, rows: usize, hits: f64, duplicates: f64) -> PathBuf {
        let recipients = self.recipients;
        let list = tools.directory.join(format!("clean-{recipients}-{rows}-{hits:.2}-{duplicates}.csv"));
        once(&list, |list| {
            let mut command = Command::new(&tools.generate);
            command.args(["list", "--dirt", "0", "--spellings", "0", "--rows", &rows.to_string()]);
            command.args(["--hits", &format!("{hits:.2}"), "--duplicates", &duplicates.to_string()]);
            run(command.arg("--extract").arg(&self.extract).arg("-o").arg(list));
        });
        list
    }

    /// Each recipient's number and code, in no order, for the sender.
    pub(crate) fn decided(&self) -> Vec<(u64, u8)> {
        let file = File::open(self.extract.join("recipients.csv")).expect("recipients");
        let mut lines = BufReader::with_capacity(1 << 20, file);
        let (mut line, mut decided) = (String::new(), Vec::with_capacity(self.recipients));
        lines.read_line(&mut line).expect("a header");
        assert!(line.starts_with("recipient_id,type,pending,operator_id,last_registration,acceptance,exc"));
        loop {
            line.clear();
            if lines.read_line(&mut line).expect("a line") == 0 {
                assert_eq!(decided.len(), self.recipients);
                return decided;
            }
            let cells: Vec<&str> = line.split(',').collect();
            decided.push((cells[0].parse().expect("digits"), self.decide(&cells)));
        }
    }

    /// The first reason that applies, as docs/report.md has them.
    fn decide(&self, cells: &[&str]) -> u8 {
        let named = cells[6].split(' ').any(|sender| sender == self.sender);
        let accepts = named == (cells[5] == "only");
        let operator = self.operators.iter().position(|operator| operator.id == cells[3]);
        match operator {
            _ if cells[1] == "Not" => NOT_REGISTERED,
            _ if !accepts => 1,
            _ if cells[2] == "true" => 2,
            _ if cells[1] == "Anonymous" => 3,
            Some(place) if self.operators[place].has_address => FIRST_OPERATOR + place as u8,
            _ => 4,
        }
    }

    /// File, outcome, reason and operator of a code.
    pub(crate) fn words(&self, code: u8) -> [&str; 4] {
        match REASONS.get(usize::from(code)) {
            Some(reason) => ["paper", "paper", reason, ""],
            None => {
                let operator = &self.operators[usize::from(code - FIRST_OPERATOR)];
                [&operator.file, "digital", "", &operator.id]
            }
        }
    }

    /// All codes that a recipient may have.
    pub(crate) fn codes(&self) -> impl Iterator<Item = u8> {
        let last = FIRST_OPERATOR + self.operators.len() as u8;
        (0..REASONS.len() as u8).chain(FIRST_OPERATOR..last)
    }
}

fn operators(extract: &Path) -> Vec<Operator> {
    let text = fs::read_to_string(extract.join("operators.csv")).expect("operators");
    let read = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Operator {
            id: cells[0].to_owned(),
            file: format!("digital-{}", file_name(cells[1])),
            has_address: !cells[2].trim().is_empty(),
        }
    };
    text.lines().skip(1).map(read).collect()
}

/// An operator's name in the letters that file names have.
fn file_name(name: &str) -> String {
    let letter = |letter: char| match letter {
        'å' | 'ä' => 'a',
        'ö' => 'o',
        'é' => 'e',
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    name.to_lowercase().chars().map(letter).collect()
}

/// The numbers that a clean list has, in its order.
pub(crate) fn numbers(list: &Path) -> Vec<u64> {
    let lines = BufReader::new(File::open(list).expect("a list")).split(b'\n').skip(1);
    let number = |line: Vec<u8>| {
        let digits = std::str::from_utf8(&line[..12]).expect("digits");
        digits.parse().expect("digits")
    };
    lines.map(|line| number(line.expect("a line"))).collect()
}
