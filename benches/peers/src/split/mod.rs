//! A whole split of a mailing list, measured from the start of a process to its end: one file for each operator, one for
//! paper, and the feedback.
//!
//! nabar decides while it splits; the others get each recipient's outcome, in the form that they read fastest. Lists are
//! clean, since none of the others could read a dirty one. Outputs are compared before anything is timed: the same rows
//! in the same files, in any order, and the same feedback.

mod commands;
mod outputs;

use crate::data::{Data, Tools, run};
use crate::figures::Row;
use crate::floors::touch;
use crate::record::{Record, first_line};
use crate::{Effort, note, say, turns};
use commands::peers;
use outputs::Outputs;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Memory that is touched before each measurement, by bytes of outputs: their pages, and what a tool keeps meanwhile.
const MEMORY_OF_OUTPUTS: u64 = 3;
/// The tool that the others are compared with.
const NABAR: &str = "nabar";
/// Rows that repeat another row's id.
const DUPLICATES: f64 = 0.005;
/// Rows that are in the register, if it has as many.
const HITS: f64 = 0.65;

/// Measures all sizes.
pub(crate) fn measure(tools: &Tools, effort: &Effort, record: &mut Record) {
    record.begin("split", versions());
    note("qsv is left out: as published (16.1.0) it does not compile, and Debian has no package of it");
    let mut built = BTreeSet::new();
    for &(recipients, rows) in &effort.splits {
        // Few enough that the list is not nearly the whole register.
        let most = recipients as f64 * 0.8 / rows as f64;
        let hits = if most < HITS { (most * 100.0).floor() / 100.0 } else { HITS };
        say(&format!("split: {recipients} recipients, {rows} rows, {:.0} % in the register", hits * 100.0));
        let data = Data::new(tools, recipients);
        if built.insert(recipients) {
            build(tools, &data, effort, record);
        }
        let list = data.list(tools, rows, hits, DUPLICATES);
        of_size(tools, &data, &list, effort, record, (rows, hits));
        record.write();
    }
}

fn versions() -> Vec<(&'static str, String)> {
    let python = "import duckdb, polars; print(duckdb.__version__, polars.__version__)";
    let both = first_line(Command::new(commands::python()).args(["-c", python]));
    let (duckdb, polars) = both.split_once(' ').unwrap_or(("none", "none"));
    vec![
        ("duckdb", duckdb.to_owned()),
        ("polars", polars.to_owned()),
        ("python", first_line(Command::new(commands::python()).arg("--version"))),
        ("coreutils", first_line(Command::new("sort").arg("--version"))),
        ("awk", first_line(Command::new("awk").args(["-W", "version"]))),
    ]
}

fn of_size(
    tools: &Tools,
    data: &Data,
    list: &Path,
    effort: &Effort,
    record: &mut Record,
    (rows, hits): (usize, f64),
) {
    let directory = tools.directory.join("splits");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    let mut peers = peers(tools, data, list, &directory);
    let mut first: Option<Outputs> = None;
    let (mut memory, mut bytes) = (Vec::new(), Vec::new());
    for peer in &mut peers {
        let (used, own) = with_memory(peer.command());
        let outputs = Outputs::read(&peer.output);
        if peer.name == NABAR {
            outputs.check_total(list, rows);
            let about = Row { job: "own memory".to_owned(), rows: rows as u64, memory: own, ..nabar(data) };
            record.push(about);
        }
        let expected = first.get_or_insert_with(|| outputs.clone());
        assert!(outputs == *expected, "{} splits otherwise than {}", peer.name, NABAR);
        memory.push(used);
        bytes.push(outputs.bytes);
        if peer.name != NABAR {
            peer.clear();
        }
    }
    // nabar's first outputs stay, for `cp` to copy.
    let copied = peers[0].output.clone();
    peers[0].output = directory.join("again");
    peers.push(commands::copy(&copied, &directory.join("copied")));
    memory.push(0);
    bytes.push(bytes[0]);
    for round in 1..=effort.rounds_for(rows.max(data.recipients) as u64) {
        for place in turns(peers.len(), round) {
            let peer = &peers[place];
            // Write-back of earlier outputs must not be measured here.
            run(&mut Command::new("sync"));
            peer.warm();
            touch(MEMORY_OF_OUTPUTS * bytes[place]);
            let seconds = timed(peer.command());
            peer.clear();
            record.push(Row {
                suite: "split".to_owned(),
                job: "split".to_owned(),
                peer: peer.name.to_owned(),
                recipients: data.recipients as u64,
                rows: rows as u64,
                order: "list".to_owned(),
                hit_rate: (hits * 100.0).round() as u64,
                threads: rayon::current_num_threads() as u64,
                round,
                seconds,
                bytes: bytes[place],
                memory: memory[place],
            });
        }
    }
    fs::remove_dir_all(&directory).expect("removed");
}

/// Building the register, which takes an extract of text.
fn build(tools: &Tools, data: &Data, effort: &Effort, record: &mut Record) {
    let again = tools.directory.join("again.nabar");
    let command = || {
        let mut command = Command::new(&tools.nabar);
        command.args(["build", "--quiet", "--strict"]).arg(&data.extract).arg("-o").arg(&again);
        command
    };
    let (_, memory) = with_memory(command());
    let same = fs::read(&again).expect("a file") == fs::read(&data.register).expect("a file");
    assert!(same, "building twice gives the same file");
    for round in 1..=effort.rounds_for(data.recipients as u64) {
        let seconds = timed(command());
        record.push(Row { job: "build".to_owned(), round, seconds, memory, ..nabar(data) });
    }
    fs::remove_file(&again).expect("removed");
}

/// The fields that all rows of nabar share.
fn nabar(data: &Data) -> Row {
    Row {
        suite: "split".to_owned(),
        peer: NABAR.to_owned(),
        recipients: data.recipients as u64,
        threads: rayon::current_num_threads() as u64,
        ..Row::default()
    }
}

fn timed(mut command: Command) -> f64 {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("started");
    let seconds = started.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?} failed");
    seconds
}

/// Runs it once; the most memory that all its processes had at a time, with mapped files and without.
fn with_memory(mut command: Command) -> (u64, u64) {
    let mut child: Child = command.stdout(Stdio::null()).spawn().expect("started");
    let (mut most, mut most_own) = (0, 0);
    loop {
        if let Some(status) = child.try_wait().expect("watched") {
            assert!(status.success(), "{command:?} failed");
            return (most, most_own);
        }
        let (all, own) = resident(child.id());
        (most, most_own) = (most.max(all), most_own.max(own));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Memory of a process and of those that it started, with mapped files and without.
fn resident(process: u32) -> (u64, u64) {
    let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    let status = read("status");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let children = read(&format!("task/{process}/children"));
    let children = children.split_whitespace().filter_map(|child| child.parse().ok()).map(resident);
    let sum = |(all, own), (more_all, more_own)| (all + more_all, own + more_own);
    children.fold((bytes("VmRSS:"), bytes("RssAnon:")), sum)
}
