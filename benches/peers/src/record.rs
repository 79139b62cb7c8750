//! The record: measurements as CSV, and the machine in a file beside it.

use crate::figures::{Machine, Row, sections};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The header.
const HEADER: &str = "suite,job,peer,recipients,rows,order,hit_rate,threads,round,seconds,bytes,memory_bytes";

/// The file of rows, and beside it the file of the machine.
///
/// It is written under another name until everything has been measured: an interrupted run keeps the old record.
pub(crate) struct Record {
    path: PathBuf,
    meanwhile: PathBuf,
    commit: String,
    rows: Vec<Row>,
    machine: Machine,
}

/// The file beside the record.
pub(crate) fn machine_path(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}-machine.toml", path.file_stem().unwrap_or_default().to_string_lossy()))
}

impl Record {
    /// Begins a record with the existing rows of other suites. It is kept in `directory` until it is complete.
    pub(crate) fn open(path: &Path, directory: &Path) -> Record {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        Record {
            path: path.to_owned(),
            meanwhile: directory.join("record.csv"),
            commit: commit(),
            rows: crate::figures::rows(&read(path)),
            machine: sections(&read(&machine_path(path))),
        }
    }

    /// Begins a suite: its earlier rows are removed.
    pub(crate) fn begin(&mut self, suite: &str, versions: Vec<(&str, String)>) {
        self.rows.retain(|row| row.suite != suite);
        let about = [("commit", self.commit.clone())].into_iter().chain(machine()).chain(versions);
        let about = about.map(|(name, value)| (name.to_owned(), value.replace(['"', '\\'], ""))).collect();
        self.machine.insert(suite.to_owned(), about);
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Writes the current state.
    pub(crate) fn write(&self) {
        self.write_to(&self.meanwhile);
    }

    /// Completes the record.
    pub(crate) fn finish(&self) {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).expect("a directory for the record");
        }
        self.write_to(&self.path);
    }

    fn write_to(&self, path: &Path) {
        let lines: Vec<String> = self.rows.iter().map(Row::line).collect();
        replace(path, &format!("{HEADER}\n{}\n", lines.join("\n")));
        let mut text = String::new();
        for (suite, about) in &self.machine {
            text += &format!("[{suite}]\n");
            for (name, value) in about {
                text += &format!("{name} = \"{value}\"\n");
            }
            text.push('\n');
        }
        replace(&machine_path(path), &text);
    }
}

/// Writes a file under another name first.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("partial");
    fs::write(&beside, text).expect("written");
    fs::rename(&beside, path).expect("renamed");
}

/// The first line that a command prints, or nothing.
pub(crate) fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

/// The value of a name in a file of `name: value`.
fn value(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .find(|(key, _)| key.trim() == name)
        .map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// The commit, and whether the working tree differs from it. (Files that measuring writes do not count.)
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        first_line(Command::new("git").arg("-C").arg(root).args(arguments))
    };
    let head = git(&["rev-parse", "--short", "HEAD"]);
    if head.is_empty() || head.contains("fatal") {
        return "unknown".to_owned();
    }
    let changed = git(&[
        "status",
        "--porcelain",
        "--",
        ".",
        ":!benches/record",
        ":!docs",
        ":!README.md",
        ":!CHANGELOG.md",
    ]);
    if changed.is_empty() { head } else { format!("{head} and changes") }
}

fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = |name: &str| value("/proc/cpuinfo", name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let one = "/sys/devices/system/cpu/cpu0";
    let virtual_machine = cpu("flags").split(' ').any(|flag| flag == "hypervisor");
    vec![
        ("date", jiff::Zoned::now().date().to_string()),
        ("processor", format!("{}, family {}, model {}", cpu("model name"), cpu("cpu family"), cpu("model"))),
        ("virtual_machine", virtual_machine.to_string()),
        ("cores", cores.to_string()),
        ("shared_cache", read(&format!("{one}/cache/index3/size"))),
        ("memory", value("/proc/meminfo", "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("huge_pages", read("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("load_before", read("/proc/loadavg")),
        ("rustc", first_line(Command::new("rustc").arg("--version"))),
    ]
}

/// The version of a package that this one was built with, from its lock file: the newest, if there are several.
pub(crate) fn locked(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let lines: Vec<&str> = include_str!("../Cargo.lock").lines().collect();
    let newest = lines.windows(2).rfind(|pair| pair[0] == name);
    let version = newest.and_then(|pair| pair[1].strip_prefix("version = "));
    version.unwrap_or("unknown").trim_matches('"').to_owned()
}
