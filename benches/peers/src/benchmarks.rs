//! Runs benchmarks of the main package and reads their measurements: the service beside Redis and nginx, a register that
//! changes, replicas.

use crate::data::Tools;
use crate::figures::Row;
use crate::record::{Record, first_line};
use crate::{Effort, say};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the file that a benchmark adds its measurements to.
const OUTPUT: &str = "NABAR_BENCH_OUTPUT";
/// Names the directory where criterion writes.
const CRITERION: &str = "CRITERION_HOME";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a benchmark, which has one size. Returns its recipients, the path of its measurements, and criterion's directory.
///
/// Panics if it fails, so that the record stays unchanged.
fn run(name: &str, tools: &Tools, effort: &Effort, mut command: Command) -> (u64, PathBuf, PathBuf) {
    let recipients = effort.common_recipients();
    say(&format!("{name}: {recipients} recipients"));
    let directory = fs::canonicalize(&tools.directory).expect("a directory");
    let (output, measured) =
        (directory.join(format!("output-{name}")), directory.join(format!("criterion-{name}")));
    let _ = fs::remove_file(&output);
    let _ = fs::remove_dir_all(&measured);
    command.current_dir(root()).env(OUTPUT, &output).env(CRITERION, &measured);
    command.env("NABAR_BENCH_RECIPIENTS", recipients.to_string());
    if effort.quick {
        command.arg("--test");
    }
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{name}: {command:?} failed");
    (recipients as u64, output, measured)
}

fn benchmark(name: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["bench", "--bench", name, "--"]);
    command
}

/// The service over loopback.
pub(crate) fn service(tools: &Tools, effort: &Effort, record: &mut Record) {
    let (recipients, output, _) = run("service", tools, effort, Command::new("tools/bench-service"));
    let nginx = ["nginx", "/usr/sbin/nginx"].map(|program| first_line(Command::new(program).arg("-v")));
    let nginx = nginx.into_iter().find(|version| !version.is_empty()).unwrap_or_default();
    let redis = first_line(Command::new("redis-server").arg("--version"));
    record.begin("service", vec![("redis", redis), ("nginx", nginx)]);
    take(record, "service", recipients, &output);
}

/// Replicas of a register.
pub(crate) fn replicas(tools: &Tools, effort: &Effort, record: &mut Record) {
    let (recipients, output, _) = run("replicas", tools, effort, benchmark("replicas"));
    record.begin("replicas", Vec::new());
    take(record, "replicas", recipients, &output);
}

/// A register that changes.
pub(crate) fn changes(tools: &Tools, effort: &Effort, record: &mut Record) {
    let (recipients, output, measured) = run("changes", tools, effort, benchmark("changes"));
    record.begin("changes", Vec::new());
    take(record, "changes", recipients, &output);
    for about in samples(&measured) {
        let read = |path: &Path| -> serde_json::Value {
            serde_json::from_str(&fs::read_to_string(path).expect("criterion's")).expect("JSON")
        };
        let sample = read(&about.with_file_name("sample.json"));
        let about = read(&about);
        let numbers = |name: &str| {
            let all = sample[name].as_array().expect("numbers").iter();
            all.map(|number| number.as_f64().expect("a number")).collect::<Vec<_>>()
        };
        for (round, (nanoseconds, times)) in (1..).zip(numbers("times").into_iter().zip(numbers("iters"))) {
            record.push(Row {
                suite: "changes".to_owned(),
                job: about["full_id"].as_str().expect("a name").replace(',', ""),
                peer: "nabar".to_owned(),
                recipients,
                rows: about["throughput"]["Elements"].as_u64().expect("ids or changes"),
                threads: rayon::current_num_threads() as u64,
                round,
                seconds: nanoseconds / times / 1e9,
                ..Row::default()
            });
        }
    }
    record.write();
}

/// The files of criterion that describe its newest samples, in the order of their names.
fn samples(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(samples(&path));
        } else if path.ends_with("new/benchmark.json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Lines of `job;peer;rows;round;seconds;bytes`, as benches/support writes them.
fn take(record: &mut Record, suite: &str, recipients: u64, output: &Path) {
    for line in fs::read_to_string(output).unwrap_or_default().lines() {
        let cells: Vec<&str> = line.split(';').collect();
        let number = |at: usize| cells[at].parse::<u64>().expect("a number");
        record.push(Row {
            suite: suite.to_owned(),
            job: cells[0].to_owned(),
            peer: cells[1].to_owned(),
            recipients,
            rows: number(2),
            threads: rayon::current_num_threads() as u64,
            round: number(3),
            seconds: cells[4].parse().expect("seconds"),
            bytes: number(5),
            ..Row::default()
        });
    }
    record.write();
}
