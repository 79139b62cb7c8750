//! The whole jobs at full size against what they are measured by: `cargo bench --bench acceptance`.
//!
//! 8 million recipients and a list of 4 million rows (`NABAR_BENCH_RECIPIENTS`, `NABAR_BENCH_ROWS`). Every
//! round runs all contestants one after another; the table has medians of 7 rounds. Answers and outputs
//! are checked before anything is timed. Prints a table in Markdown and fails if a target is missed.

use nabar::register::Answer;
use rayon::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod support;

const ROUNDS: usize = 7;
/// A cold `nabar split` takes at most so many times as long as `cp` of the bytes it writes.
const SPLIT_TO_CP_MAX: f64 = 2.0;
/// Batch lookup in random order is at least so many times as fast as hashbrown.
const LOOKUP_TO_HASHBROWN_MIN: f64 = 4.0;
/// Bytes a recipient that lookups read.
const HOT_BYTES_MAX: f64 = 4.0;
/// Memory of a split beyond mapped files, in bytes.
const SPLIT_MEMORY_MAX: u64 = 100 << 20;
/// Memory of a build beyond mapped files, in bytes.
const BUILD_MEMORY_MAX: u64 = 1 << 30;

fn number_from(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    // `cargo test --benches` only wants to know whether it builds and starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let recipients = number_from("NABAR_BENCH_RECIPIENTS", 8_000_000);
    let rows = number_from("NABAR_BENCH_ROWS", 4_000_000);
    let data = support::Data::far(recipients, rows);
    println!("{recipients} recipients, {rows} rows, {} cores, {}", rayon::current_num_threads(), processor());
    println!("\n| what | measured | target |\n|---|---|---|");
    let mut missed = 0;
    let mut line = |what: &str, measured: String, target: String, met: bool| {
        println!("| {what} | {measured} | {target}{} |", if met { "" } else { " MISSED" });
        missed += u32::from(!met);
    };

    let (build, memory) = measured(
        Command::new(env!("CARGO_BIN_EXE_nabar"))
            .args(["build", "--quiet", "--output"])
            .arg(data.directory.join("again.nabar"))
            .arg(&data.extract),
    );
    assert!(same(&data.directory.join("again.nabar"), &data.register), "building twice gives the same file");
    line(
        "`nabar build`",
        format!("{:.1} s", build.as_secs_f64()),
        "seconds".to_owned(),
        build.as_secs() < 60,
    );
    line("its memory", megabytes(memory), megabytes(BUILD_MEMORY_MAX), memory < BUILD_MEMORY_MAX);

    let sender = data.sender();
    let (ratio, split, cp, memory) = split_and_cp(&data, &sender, rows);
    let measured = format!("{ratio:.2} ({:.0} ms, `cp` {:.0} ms)", split * 1e3, cp * 1e3);
    line(
        "cold `nabar split` / `cp` of what it writes",
        measured,
        format!("≤ {SPLIT_TO_CP_MAX}"),
        ratio <= SPLIT_TO_CP_MAX,
    );
    line(
        "its memory beyond mapped files",
        megabytes(memory),
        megabytes(SPLIT_MEMORY_MAX),
        memory < SPLIT_MEMORY_MAX,
    );

    for (threads, nanoseconds, peer) in lookups(&data, &sender) {
        let ratio = peer / nanoseconds;
        let what = format!("batch lookup, {threads} thread(s): hashbrown / nabar");
        let measured = format!("{ratio:.1} ({peer:.1} ns / {nanoseconds:.1} ns)");
        line(&what, measured, format!("≥ {LOOKUP_TO_HASHBROWN_MIN}"), ratio >= LOOKUP_TO_HASHBROWN_MIN);
    }
    let hot = hot_bytes(&data);
    line("hot bytes a recipient", format!("{hot:.2}"), format!("≤ {HOT_BYTES_MAX}"), hot <= HOT_BYTES_MAX);
    if missed > 0 {
        println!("\n{missed} target(s) missed");
        std::process::exit(1);
    }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':'])).to_owned()
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes >> 20)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).expect("a file") == fs::read(other).expect("a file")
}

/// Runs a command; its duration, and the most memory that was its own and no file's.
fn measured(command: &mut Command) -> (Duration, u64) {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().expect("started");
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0;
    loop {
        if let Some(ended) = child.try_wait().expect("watched") {
            assert!(ended.success(), "{command:?} failed");
            return (started.elapsed(), memory);
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kilobytes = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = kilobytes.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        memory = memory.max(kilobytes.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn timed(command: &mut Command) -> f64 {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("started");
    assert!(status.success(), "{command:?} failed");
    started.elapsed().as_secs_f64()
}

fn split(data: &support::Data, sender: &str, to: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabar"));
    command.args(["split", "--quiet", "--date", "2026-06-01", "--sender", sender, "--register"]);
    command.arg(&data.register).arg(&data.list).arg("--output").arg(to);
    command
}

fn row_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "csv")).collect()
}

/// Rounds of a split and of `cp` of its files.
fn split_and_cp(data: &support::Data, sender: &str, rows: usize) -> (f64, f64, f64, u64) {
    let first = data.directory.join("split");
    let _ = fs::remove_dir_all(&first);
    let (_, memory) = measured(&mut split(data, sender, &first));
    check_rows(&first, &data.list, rows);
    let (mut splits, mut copies, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let copied = data.directory.join("copied");
        fs::create_dir(&copied).expect("a directory");
        copies.push(timed(Command::new("cp").args(row_files(&first)).arg(&copied)));
        fs::remove_dir_all(&copied).expect("removed");
        let again = data.directory.join("again");
        splits.push(timed(&mut split(data, sender, &again)));
        assert!(
            row_files(&first)
                .iter()
                .all(|file| { same(file, &again.join(file.file_name().unwrap_or_default())) })
        );
        fs::remove_dir_all(&again).expect("removed");
        ratios.push(splits[splits.len() - 1] / copies[copies.len() - 1]);
    }
    fs::remove_dir_all(&first).expect("removed");
    (median(ratios), median(splits), median(copies), memory)
}

/// Every row of the list is in one of the files: the same bytes, in another order.
fn check_rows(directory: &Path, list: &Path, rows: usize) {
    let feedback = directory.join("feedback.csv");
    let rows_of = |path: &Path| {
        let bytes = fs::read(path).expect("a file");
        let lines = bytes.split_inclusive(|&byte| byte == b'\n').skip(1);
        lines
            .map(blake3::hash)
            .map(|hash| u128::from_le_bytes(hash.as_bytes()[..16].try_into().expect("16")))
            .fold((0u64, 0u128), |(count, sum), hash| (count + 1, sum.wrapping_add(hash)))
    };
    let files = row_files(directory).into_iter().filter(|path| *path != feedback);
    let (count, sum) = files
        .map(|path| rows_of(&path))
        .fold((0, 0u128), |(count, sum), (more, others)| (count + more, sum.wrapping_add(others)));
    assert_eq!((count, sum), rows_of(list), "the lines of the outputs are the lines of the list");
    assert_eq!(rows_of(&feedback).0, rows as u64);
}

/// For one thread and for all: nanoseconds of a lookup, and of one in a hash map.
fn lookups(data: &support::Data, sender: &str) -> Vec<(usize, f64, f64)> {
    let register = data.open();
    let question = register.question(Some(sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    let map = support::hash_map(&register, Some(sender));
    let identities = data.identities();
    let ordinals = support::ordinals(&identities);
    let numbers: Vec<u64> = identities.iter().map(support::number).collect();
    let expected: Vec<Answer> =
        numbers.iter().map(|number| map.get(number).copied().unwrap_or_default()).collect();
    let mut answers = vec![Answer::default(); ordinals.len()];
    question.ask_all(&ordinals, &mut answers).expect("undamaged");
    assert!(answers == expected, "the same answers as the hash map");
    let mut results = Vec::new();
    for threads in [1, rayon::current_num_threads()] {
        let part = ordinals.len().div_ceil(threads);
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let started = Instant::now();
            ordinals.par_chunks(part).zip(answers.par_chunks_mut(part)).for_each(|(ordinals, answers)| {
                question.ask_all(ordinals, answers).expect("undamaged");
            });
            ours.push(started.elapsed().as_secs_f64() * 1e9 / ordinals.len() as f64);
            assert!(answers == expected);
            let started = Instant::now();
            numbers.par_chunks(part).zip(answers.par_chunks_mut(part)).for_each(|(numbers, answers)| {
                for (answer, number) in answers.iter_mut().zip(numbers) {
                    *answer = map.get(number).copied().unwrap_or_default();
                }
            });
            peers.push(started.elapsed().as_secs_f64() * 1e9 / ordinals.len() as f64);
            assert!(answers == expected);
        }
        results.push((threads, median(ours), median(peers)));
    }
    results
}

fn hot_bytes(data: &support::Data) -> f64 {
    let described =
        Command::new(env!("CARGO_BIN_EXE_nabar")).arg("inspect").arg("--json").arg(&data.register).output();
    let json: serde_json::Value =
        serde_json::from_slice(&described.expect("inspected").stdout).expect("JSON");
    json["hot_bytes_per_recipient"].as_f64().expect("a number")
}
