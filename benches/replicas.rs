//! A replica of a register over loopback: `cargo bench --bench replicas`.
//!
//! 8 million recipients (`NABAR_BENCH_RECIPIENTS`) and a stream of a quarter as many changes; source, service and replica
//! on the same cores, each in a separate process. Every replica is checked to have the content digest of its source.
//! `tools/bench-all` makes the table in docs/performance.md from its measurements; with `--test` it only checks that
//! everything works.

use nabar::register::Kind;
use nabar::store::{self, Lines, Reader, Writer};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

mod support;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Changes of a batch at the source.
const BATCH: usize = 10_000;

/// Extent of the measurements.
struct Effort {
    rounds: usize,
    /// Single changes whose delay is measured.
    delays: usize,
    /// Duration of 1000 changes per second.
    steady: Duration,
}

/// A process that is killed when its value is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn new(arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nabar"));
        Process(command.args(arguments).stderr(Stdio::piped()).spawn().expect("nabar"))
    }

    /// A service, and its address.
    fn serve(directory: &Path, options: &[&str]) -> (Process, String) {
        let directory = directory.display().to_string();
        let fixed = ["serve", "--log", "error", "--listen", "127.0.0.1:0", "-r", &directory];
        let mut process = Process::new(&[&fixed[..], options].concat());
        let mut line = String::new();
        BufReader::new(process.0.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
        let address =
            line.split('"').find_map(|part| part.strip_prefix("listening on ")).expect("an address");
        (process, address.to_owned())
    }

    /// CPU time of its threads.
    fn running(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("Linux");
        let behind = stat.rsplit(')').next().unwrap_or_default();
        let ticks = behind.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0));
        // Linux counts in units of 10 ms.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }
}

fn follow_once(address: &str, directory: &Path) -> Duration {
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabar"));
    let done = command.args(["follow", "--once", "--quiet", address]).arg(directory).status();
    assert!(done.expect("nabar").success());
    started.elapsed()
}

fn same(source: &Path, replica: &Path) {
    let content = |path: &Path| {
        let register = Reader::open(path).expect("a data directory").register();
        (register.sequence(), register.content().expect("undamaged"))
    };
    assert_eq!(content(source), content(replica));
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let effort = match short {
        true => Effort { rounds: 1, delays: 5, steady: Duration::from_millis(500) },
        false => Effort { rounds: 5, delays: 300, steady: Duration::from_secs(20) },
    };
    let data = support::Data::far(support::size(8_000_000), if short { 20_000 } else { 1_000_000 });
    let count = support::size(8_000_000) / 4;
    let changes = data.changes(count);
    let work = data.directory.join("replicas");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).expect("a directory");
    let source = work.join("source");
    store::init(&data.register, &source).expect("a data directory");
    bootstrap(&effort, &data.register, &source, &work);
    let rest = throughput(&effort, &changes, &source, &work);
    delay_and_cost(&effort, rest, &source, &work);
    let _ = fs::remove_dir_all(&work);
}

/// The first fetch of a replica, compared with copying the register file.
fn bootstrap(effort: &Effort, register: &Path, source: &Path, work: &Path) {
    let (_service, address) = Process::serve(source, &[]);
    let copy = work.join("copy.nabar");
    for round in 0..=effort.rounds {
        let started = Instant::now();
        fs::copy(register, &copy).expect("copied");
        let copied = started.elapsed();
        fs::File::open(&copy).and_then(|file| file.sync_all()).expect("synced");
        let durable = started.elapsed();
        let replica = work.join("replica");
        let readable = {
            let text = replica.display().to_string();
            let started = Instant::now();
            let _follower = Process::new(&["follow", "--quiet", &address, &text]);
            while !store::is_data_directory(&replica) {
                thread::sleep(Duration::from_micros(200));
            }
            drop(Reader::open(&replica).expect("a replica"));
            started.elapsed()
        };
        fs::remove_dir_all(&replica).expect("removed");
        let took = follow_once(&address, &replica);
        same(source, &replica);
        fs::remove_dir_all(&replica).expect("removed");
        // The first round reads the register file for its digests.
        if round > 0 {
            for (what, took) in
                [("cp", copied), ("cp and sync", durable), ("readable", readable), ("compared", took)]
            {
                println!("beginning, {what}: {took:?}");
                support::measurement("beginning", what, 0, round, took.as_secs_f64(), 0);
            }
        }
    }
    let _ = fs::remove_file(copy);
}

/// Waits until a replica is at a sequence number.
fn until(reader: &mut Reader, sequence: u64) {
    while reader.register().sequence() < sequence {
        if !reader.refresh().expect("a replica") {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn lines(text: &[u8], count: usize) -> (&[u8], &[u8]) {
    let end = memchr::memchr_iter(b'\n', text).nth(count - 1).map_or(text.len(), |at| at + 1);
    text.split_at(end)
}

/// From the first batch at the source until the last one is visible at the replica. Returns the changes that are left.
fn throughput<'c>(effort: &Effort, changes: &'c [u8], source: &Path, work: &Path) -> &'c [u8] {
    let replica = work.join("replica");
    let (_service, address) = Process::serve(source, &[]);
    follow_once(&address, &replica);
    let text = replica.display().to_string();
    let _follower = Process::new(&["follow", "--quiet", &address, &text, "--checkpoint-at", "0"]);
    let writer = Writer::open(source).expect("a writer");
    let mut reader = Reader::open(&replica).expect("a reader");
    let mut rest = changes;
    let each = (memchr::memchr_iter(b'\n', changes).count() / (effort.rounds + 1)).max(1);
    for number in 1..=effort.rounds {
        let (mut round, behind) = lines(rest, each);
        rest = behind;
        // Parsing JSON is not measured: a source may get its changes in other forms.
        let mut batches: Vec<Lines> = Vec::new();
        while !round.is_empty() {
            let (batch, behind) = lines(round, BATCH);
            batches.push(Lines::parse(batch, Kind::Far));
            round = behind;
        }
        let started = Instant::now();
        let mut to = 0;
        for batch in batches {
            to = writer.apply(batch, None).expect("applied").to;
        }
        until(&mut reader, to);
        let took = started.elapsed();
        println!("{each} changes, from the source to a reader of the replica: {took:?}");
        support::measurement("throughput", "nabar", each, number, took.as_secs_f64(), 0);
    }
    same(source, &replica);
    rest
}

/// Single changes, and a thousand per second.
fn delay_and_cost(effort: &Effort, rest: &[u8], source: &Path, work: &Path) {
    let replica: PathBuf = work.join("replica");
    let (service, address) = Process::serve(source, &[]);
    let text = replica.display().to_string();
    let follower = Process::new(&["follow", "--quiet", &address, &text]);
    let writer = Writer::open(source).expect("a writer");
    let mut reader = Reader::open(&replica).expect("a reader");
    let (mut rest, mut delays) = (rest, Vec::new());
    for round in 0..effort.delays + 5 {
        let (line, behind) = lines(rest, 1);
        rest = behind;
        let to = writer.apply(Lines::parse(line, Kind::Far), None).expect("applied").to;
        let started = Instant::now();
        while reader.register().sequence() < to {
            reader.refresh().expect("a replica");
            thread::sleep(Duration::from_micros(50));
        }
        // The first ones include opening.
        if round >= 5 {
            let took = started.elapsed().as_secs_f64();
            support::measurement("delay", "nabar", 1, round - 4, took, 0);
            delays.push(took);
        }
        thread::sleep(Duration::from_millis(7 + round as u64 % 13));
    }
    println!(
        "an acknowledged change to a reader of an idle replica, median: {:.6} s",
        support::median(delays)
    );

    let (before, before_service) = (follower.running(), service.running());
    let started = Instant::now();
    let (mut sent, mut to) = (0, 0);
    while started.elapsed() < effort.steady {
        let due = started.elapsed().as_millis() as usize;
        if due > sent {
            let (batch, behind) = lines(rest, due - sent);
            (rest, sent) = (behind, due);
            to = writer.apply(Lines::parse(batch, Kind::Far), None).expect("applied").to;
        }
        thread::sleep(Duration::from_millis(10));
    }
    until(&mut reader, to);
    let elapsed = started.elapsed().as_secs_f64();
    for (who, after, before) in
        [("replica", follower.running(), before), ("service", service.running(), before_service)]
    {
        let share = (after - before).as_secs_f64() / elapsed;
        println!("of a core that the {who} takes at 1000 changes per second: {share:.3}");
        support::measurement("steady", who, 1000, 1, share, 0);
    }
    same(source, &replica);
}
