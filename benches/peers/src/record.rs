//! The record: what was measured as CSV, and on what as a file beside it.

use crate::figures::Row;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is written in the first line.
const HEADER: &str = "suite,job,peer,recipients,rows,order,hit_rate,threads,round,seconds,bytes,memory_bytes";

/// What a suite was measured on: names and values.
type About = Vec<(String, String)>;

/// The file of rows, and beside it the file of what they were measured on.
pub(crate) struct Record {
    path: PathBuf,
    rows: Vec<Row>,
    machine: BTreeMap<String, About>,
}

fn machine_path(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}-machine.toml", path.file_stem().unwrap_or_default().to_string_lossy()))
}

impl Record {
    /// Begins a record, with the rows that it has of other suites.
    pub(crate) fn open(path: &Path) -> Record {
        let text = fs::read_to_string(path).unwrap_or_default();
        let machine = fs::read_to_string(machine_path(path)).unwrap_or_default();
        Record { path: path.to_owned(), rows: crate::figures::rows(&text), machine: sections(&machine) }
    }

    /// Begins a suite: its rows of before are forgotten.
    pub(crate) fn begin(&mut self, suite: &str, versions: Vec<(&str, String)>) {
        self.rows.retain(|row| row.suite != suite);
        let mut about: About = machine().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        about.extend(versions.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self.machine.insert(suite.to_owned(), about);
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Writes both files.
    pub(crate) fn write(&self) {
        let lines: Vec<String> = self.rows.iter().map(Row::line).collect();
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).expect("a directory for the record");
        }
        fs::write(&self.path, format!("{HEADER}\n{}\n", lines.join("\n"))).expect("written");
        let mut text = String::new();
        for (suite, about) in &self.machine {
            text += &format!("[{suite}]\n");
            for (name, value) in about {
                text += &format!("{name} = \"{}\"\n", value.replace(['"', '\\'], ""));
            }
            text.push('\n');
        }
        fs::write(machine_path(&self.path), text).expect("written");
    }
}

/// The sections of a record's second file.
fn sections(text: &str) -> BTreeMap<String, About> {
    let mut sections: BTreeMap<String, About> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section.clone_into(&mut name);
        } else if let Some((key, value)) = line.split_once(" = ") {
            let entry = (key.to_owned(), value.trim_matches('"').to_owned());
            sections.entry(name.clone()).or_default().push(entry);
        }
    }
    sections
}

/// The first line that a command prints, or nothing.
pub(crate) fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

fn after(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned()
}

fn machine() -> Vec<(&'static str, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut git = Command::new("git");
    let commit = first_line(git.arg("-C").arg(root).args(["describe", "--always", "--dirty"]));
    let commit = if commit.contains("fatal") { "unknown".to_owned() } else { commit };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("date", jiff::Zoned::now().date().to_string()),
        ("commit", commit),
        ("processor", after("/proc/cpuinfo", "model name")),
        ("cores", cores.to_string()),
        ("memory", after("/proc/meminfo", "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("huge_pages", read("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("load_before", read("/proc/loadavg")),
        ("rustc", first_line(Command::new("rustc").arg("--version"))),
    ]
}

/// The version of a package that this one was built with, from its lock file: the newest, if others want older ones.
pub(crate) fn locked(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let lines: Vec<&str> = include_str!("../Cargo.lock").lines().collect();
    let newest = lines.windows(2).rfind(|pair| pair[0] == name);
    let version = newest.and_then(|pair| pair[1].strip_prefix("version = "));
    version.unwrap_or("unknown").trim_matches('"').to_owned()
}
