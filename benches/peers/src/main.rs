//! Runs nabar and its alternatives on the same data and the same work.
//!
//! `tools/bench-all` runs everything. Answers are compared before anything is timed; contestants take turns in every
//! round; every measurement goes into `benches/record/peers.csv`, and tables and charts come from there.

mod benchmarks;
mod charts;
mod data;
mod figures;
mod floors;
mod lookup;
mod record;
mod split;

use clap::{Args, Parser, Subcommand, ValueEnum};
use data::Tools;
use record::{Record, first_line};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Measures nabar beside its peers
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures, and writes the record
    Run(Run),
    /// Makes tables in the documents and charts from the record
    Charts(Charts),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    Lookup,
    Split,
    Service,
    Changes,
    Replicas,
    Floors,
}

#[derive(Args)]
struct Run {
    /// Suites to measure; the record keeps its rows of the others
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["floors", "lookup", "split", "service", "changes", "replicas"])]
    suite: Vec<Suite>,
    /// Only tiny sizes, to check that everything works; writes quick.csv beside the data
    #[arg(long)]
    quick: bool,
    /// Registers of more recipients are left out
    #[arg(long, default_value_t = 50_000_000)]
    recipients_max: usize,
    /// Lists of more rows are left out
    #[arg(long, default_value_t = 20_000_000)]
    rows_max: usize,
    /// Ids that are looked up in a batch
    #[arg(long, default_value_t = 1_000_000)]
    ids: usize,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Directory of the data, which is kept for the next run
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench-data"))]
    data: PathBuf,
    /// The record
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../record/peers.csv"))]
    record: PathBuf,
    /// Directory of `nabar` and `nabar-generate`, built in release mode
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release"))]
    programs: PathBuf,
}

#[derive(Args)]
struct Charts {
    /// The record
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../record/peers.csv"))]
    record: PathBuf,
    /// The directory with README.md and docs
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    root: PathBuf,
}

/// Sizes of registers.
const RECIPIENTS: [usize; 4] = [100_000, 1_000_000, 8_000_000, 50_000_000];
/// Registers and lists that are split: growing lists, then growing registers.
const SPLITS: [(usize, usize); 8] = [
    (8_000_000, 10_000),
    (8_000_000, 100_000),
    (8_000_000, 1_000_000),
    (8_000_000, 4_000_000),
    (8_000_000, 20_000_000),
    (100_000, 1_000_000),
    (1_000_000, 1_000_000),
    (50_000_000, 1_000_000),
];
/// From this size on there are fewer rounds.
const LARGE: u64 = 20_000_000;
const ROUNDS_OF_LARGE: u64 = 3;
/// Memory and disk space of a register's peers together, in bytes per recipient.
const MEMORY_BYTES: u64 = 130;
const DISK_BYTES: u64 = 250;
/// Disk space of a list and the outputs of a split, in bytes per row.
const ROW_DISK_BYTES: u64 = 450;

/// Extent of the measurements.
pub(crate) struct Effort {
    pub(crate) quick: bool,
    pub(crate) rounds: u64,
    pub(crate) recipients: Vec<usize>,
    pub(crate) splits: Vec<(usize, usize)>,
    pub(crate) ids: usize,
}

/// Prints progress.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints what is not measured, and why.
pub(crate) fn note(text: &str) {
    println!("NOTE: {text}");
}

impl Effort {
    fn new(run: &Run) -> Effort {
        if run.quick {
            let splits = vec![(10_000, 1_000), (10_000, 10_000)];
            return Effort { quick: true, rounds: 2, recipients: vec![1_000, 10_000], splits, ids: 10_000 };
        }
        let (memory, disk) = room(&run.data);
        let fits = |recipients: usize, rows: usize| {
            let taken = DISK_BYTES * recipients as u64 + ROW_DISK_BYTES * rows as u64;
            let reason = match () {
                () if recipients > run.recipients_max => "--recipients-max",
                () if rows > run.rows_max => "--rows-max",
                () if MEMORY_BYTES * recipients as u64 > memory => "memory",
                () if taken > disk => "disk space",
                () => return true,
            };
            let what = if rows == 0 { "lookups".to_owned() } else { format!("a list of {rows} rows") };
            note(&format!("{what} with {recipients} recipients: left out, {reason}"));
            false
        };
        Effort {
            quick: false,
            rounds: run.rounds,
            recipients: RECIPIENTS.into_iter().filter(|&recipients| fits(recipients, 0)).collect(),
            splits: SPLITS.into_iter().filter(|&(recipients, rows)| fits(recipients, rows)).collect(),
            ids: run.ids,
        }
    }

    /// Rounds for a size.
    pub(crate) fn rounds_for(&self, size: u64) -> u64 {
        if size >= LARGE { self.rounds.min(ROUNDS_OF_LARGE) } else { self.rounds }
    }

    /// Sizes of the memory that is read at random.
    pub(crate) fn probes(&self) -> Vec<usize> {
        if self.quick {
            return vec![1 << 18, 1 << 22];
        }
        let (memory, _) = room(Path::new("."));
        // A quarter more for the order in which it is read.
        let sizes = (18..=32).step_by(2).map(|bits| 1_usize << bits);
        sizes.filter(|&bytes| (bytes as u64) * 2 < memory).collect()
    }

    /// The register of suites that have one size.
    pub(crate) fn common_recipients(&self) -> usize {
        let common = |recipients: &&usize| **recipients <= 8_000_000;
        if self.quick { 20_000 } else { self.recipients.iter().rfind(common).copied().unwrap_or(100_000) }
    }
}

/// The contestants in the order of a round: the first one changes, so that none always follows the same one.
pub(crate) fn turns(contestants: usize, round: u64) -> impl Iterator<Item = usize> {
    (0..contestants).map(move |turn| (turn + round as usize) % contestants)
}

/// Free bytes of memory and disk.
pub(crate) fn room(directory: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let memory = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    std::fs::create_dir_all(directory).expect("a directory for the data");
    let output = Command::new("df").args(["-B1", "--output=avail"]).arg(directory).output();
    let output =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let disk = output.lines().nth(1).and_then(|line| line.trim().parse().ok());
    (memory.map_or(u64::MAX, |kilobytes| kilobytes * 1024), disk.unwrap_or(u64::MAX))
}

fn main() {
    match Arguments::parse().command {
        Task::Run(arguments) => run(&arguments),
        Task::Charts(arguments) => charts::write(&arguments.record, &arguments.root),
    }
}

fn run(arguments: &Run) {
    let program = |name: &str| {
        let path = arguments.programs.join(name);
        let version = first_line(Command::new(&path).arg("--version"));
        assert!(version.starts_with(name), "{}: no {name}; tools/bench-all builds it", path.display());
        path
    };
    let effort = Effort::new(arguments);
    let record = if arguments.quick { arguments.data.join("quick.csv") } else { arguments.record.clone() };
    let tools = Tools {
        nabar: program("nabar"),
        generate: program("nabar-generate"),
        directory: arguments.data.clone(),
    };
    std::fs::create_dir_all(&tools.directory).expect("a directory for the data");
    if effort.rounds > ROUNDS_OF_LARGE
        && effort.rounds_for(effort.recipients.iter().copied().max().unwrap_or(0) as u64) < effort.rounds
    {
        note(&format!("from {LARGE} recipients or rows on there are {ROUNDS_OF_LARGE} rounds"));
    }
    let mut record = Record::open(&record, &tools.directory);
    for suite in &arguments.suite {
        match suite {
            Suite::Lookup => lookup::measure(&tools, &effort, &mut record),
            Suite::Split => split::measure(&tools, &effort, &mut record),
            Suite::Service => benchmarks::service(&tools, &effort, &mut record),
            Suite::Changes => benchmarks::changes(&tools, &effort, &mut record),
            Suite::Replicas => benchmarks::replicas(&tools, &effort, &mut record),
            Suite::Floors => floors::measure(&effort, &mut record),
        }
    }
    record.finish();
}
