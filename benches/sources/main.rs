//! Asking a live register: `nabar resolve` and a front, against a stand-in that answers each call after 50 ms.
//!
//! The stand-in is part of this process, on the same cores; the processor time and the memory are those of the process of
//! nabar only. Every job is checked: as many answers as ids, and as many calls as a thousand ids a call make.
//!
//! The time of the calls is that of a client in this process which makes the same calls and forgets the answers: that of
//! the register, and of the transfer of its answers. Both in turns, three times. It is printed with the time that the
//! stand-in waits, too, which no client can reach.
//!
//! Goals: the job takes within 5 % of the time of its calls; 1.5 s of processor time a million ids; below 150 MB (anonymous
//! memory: the list is mapped) for 8 million ids; a front answers 10 000 questions a second with calls that are at least
//! half full. `NABAR_BENCH_IDS` sets the number of ids [default: 1 million; 8 million for memory];
//! `NABAR_BENCH_KIND` asks only `far` or `krr`.

#[path = "../support/mod.rs"]
mod support;

mod stand_in;

use stand_in::{CALL_TIME, StandIn};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const CALLS_IN_FLIGHT: usize = 8;
const SENDER: &str = "164821000025";

fn main() {
    let short = support::short();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sources");
    fs::create_dir_all(&directory).expect("a directory");
    let ids = if short { 3000 } else { support::from_environment("NABAR_BENCH_IDS").unwrap_or(1_000_000) };
    let rounds = if short { 1 } else { 3 };
    let only = std::env::var("NABAR_BENCH_KIND").ok();
    let kinds = ["far", "krr"].into_iter().filter(|kind| only.as_ref().is_none_or(|only| only == kind));
    for kind in kinds {
        let source = Source::new(&directory, kind);
        let mut runs: Vec<(Run, Duration)> =
            (0..rounds).map(|_| (source.resolve(ids), source.only_calls(ids))).collect();
        let ratio = |(run, calls): &(Run, Duration)| run.wall.as_secs_f64() / calls.as_secs_f64();
        runs.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
        let (run, calls) = &runs[runs.len() / 2];
        let waiting = CALL_TIME * (ids.div_ceil(1000 * CALLS_IN_FLIGHT)) as u32;
        println!(
            "{kind}: {ids} ids in {:.2} s, {:.3} of the time of the calls ({:.3} to {:.3}), which is {:.3} of the time \
             that the register waits; {:.2} s of processor time a million ids",
            run.wall.as_secs_f64(),
            ratio(&runs[runs.len() / 2]),
            ratio(&runs[0]),
            ratio(&runs[runs.len() - 1]),
            calls.as_secs_f64() / waiting.as_secs_f64(),
            run.cpu.as_secs_f64() * 1e6 / ids as f64,
        );
    }
    if !short {
        for kind in ["far", "krr"] {
            let run = Source::new(&directory, kind).resolve(8_000_000);
            println!("{kind}: 8000000 ids take {} MB of anonymous memory", run.peak_kb / 1024);
        }
    }
    let source = Source::new(&directory, "far");
    let (clients, time) =
        if short { (20, Duration::from_millis(300)) } else { (2400, Duration::from_secs(10)) };
    let (answered, calls, asked) = source.front(clients, time);
    println!(
        "front: {:.0} questions of one id a second from {clients} connections; {:.0} ids a call",
        answered as f64 / time.as_secs_f64(),
        asked as f64 / calls.max(1) as f64
    );
}

/// A stand-in, and a source file for it.
struct Source {
    stand_in: StandIn,
    directory: PathBuf,
    kind: &'static str,
}

/// What a job took.
struct Run {
    wall: Duration,
    cpu: Duration,
    peak_kb: u64,
}

impl Source {
    fn new(directory: &Path, kind: &'static str) -> Source {
        let stand_in = StandIn::start(kind == "far");
        let text = format!(
            "kind = \"{kind}\"\naddress = \"http://{}/\"\n[limits]\ncalls_in_flight = {CALLS_IN_FLIGHT}\n",
            stand_in.address
        );
        fs::write(directory.join("source.toml"), text).expect("written");
        Source { stand_in, directory: directory.to_owned(), kind }
    }

    fn list(&self, ids: usize) -> PathBuf {
        let path = self.directory.join(format!("{}-{ids}.csv", self.kind));
        if !path.exists() {
            let mut out = Vec::from(*b"id\n");
            let all = stand_in::ids(self.kind == "far").take(ids);
            all.for_each(|id| out.extend_from_slice(format!("{id}\n").as_bytes()));
            fs::write(&path, out).expect("written");
        }
        path
    }

    fn nabar(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nabar"));
        command.args(arguments).current_dir(&self.directory);
        if self.kind == "far" && arguments[0] != "serve" {
            command.args(["--sender", SENDER]);
        }
        command
    }

    /// `nabar resolve` of some ids.
    fn resolve(&self, ids: usize) -> Run {
        let list = self.list(ids).display().to_string();
        for left in ["run.nabar", "run.nabar.journal"] {
            let _ = fs::remove_file(self.directory.join(left));
        }
        let arguments = ["resolve", "--source", "source.toml", &list, "-o", "run.nabar", "--json"];
        let started = Instant::now();
        let child = self.nabar(&arguments).stdout(Stdio::piped()).spawn().expect("nabar");
        let (cpu, peak_kb, printed) = watch(child);
        let wall = started.elapsed();
        let printed: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!((&printed["ids"], &printed["retries"]), (&ids.into(), &0.into()));
        assert_eq!(printed["calls"], ids.div_ceil(1000));
        Run { wall, cpu, peak_kb }
    }

    /// The calls of a job without the job: their answers are received and forgotten.
    fn only_calls(&self, ids: usize) -> Duration {
        let (far, address) = (self.kind == "far", self.stand_in.address);
        let all: Vec<String> = stand_in::ids(far).take(ids).collect();
        let (mut calls, mut started) = (Vec::new(), Instant::now());
        for part in all.chunks(1000) {
            let body = match far {
                true => part.iter().map(|id| format!("<recipientId>{id}</recipientId>")).collect(),
                false => format!("{{\"personidentifikatorer\":[\"{}\"]}}", part.join("\",\"")),
            };
            calls.push(format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
        let (calls, next) = (Arc::new(calls), Arc::new(AtomicU64::new(0)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            started = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..CALLS_IN_FLIGHT {
                let (calls, next) = (Arc::clone(&calls), Arc::clone(&next));
                tasks.spawn(async move {
                    let mut stream = TcpStream::connect(address).await.expect("connected");
                    while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        stream.write_all(call.as_bytes()).await.expect("sent");
                        forget_answer(&mut stream).await;
                    }
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended.expect("no call fails");
            }
        });
        started.elapsed()
    }

    /// Questions of one id to a front: how many are answered, and the calls and ids that the stand-in is asked for.
    fn front(&self, clients: usize, time: Duration) -> (u64, u64, u64) {
        // A quarter of the memory is for connections, of 256 KiB each.
        let limits = "[limits]\nconnections = 4096\nmemory_bytes = 8_000_000_000\n";
        fs::write(self.directory.join("nabar.toml"), limits).expect("written");
        let arguments = [
            "serve",
            "--source",
            "source.toml",
            "--config",
            "nabar.toml",
            "--log",
            "error",
            "--listen",
            "127.0.0.1:0",
        ];
        let child = self.nabar(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut service = Service(child.expect("nabar"));
        let address = support::address_of(&mut service.0);
        let (calls, asked) = self.stand_in.counts();
        let answered = ask(address, clients, time);
        let (calls_after, asked_after) = self.stand_in.counts();
        (answered, calls_after - calls, asked_after - asked)
    }
}

/// A process that is killed when its value is dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor time, most anonymous memory, and what a process printed.
fn watch(mut child: Child) -> (Duration, u64, String) {
    let stat = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
    let mut peak = 0;
    // Times are read while it is a zombie, and complete.
    let cpu = loop {
        let status = stat("status");
        let anonymous =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
        peak = peak.max(anonymous.and_then(|kb| kb.parse().ok()).unwrap_or(0));
        let text = stat("stat");
        let fields: Vec<&str> =
            text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        if fields.first() == Some(&"Z") {
            let ticks: u64 = fields[11..13].iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
            break Duration::from_millis(ticks * 10);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut printed = String::new();
    let _ = std::io::Read::read_to_string(&mut child.stdout.take().expect("piped"), &mut printed);
    assert!(child.wait().expect("it ended").success());
    (cpu, peak, printed)
}

/// Each client asks for one id after another, none of them twice.
fn ask(address: SocketAddr, clients: usize, time: Duration) -> u64 {
    let (answered, next) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ids: Arc<Vec<String>> = Arc::new(stand_in::ids(true).take(1_000_000).collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let end = tokio::time::Instant::now() + time;
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..clients {
            let (answered, next, ids) = (Arc::clone(&answered), Arc::clone(&next), Arc::clone(&ids));
            tasks.spawn(async move {
                let socket = TcpSocket::new_v4().expect("a socket");
                // Of as many clients as a service has.
                socket.bind((Ipv4Addr::new(127, 0, 0, 2 + (client % 16) as u8), 0).into()).expect("bound");
                let mut stream = socket.connect(address).await.expect("connected");
                while tokio::time::Instant::now() < end {
                    let id = &ids[next.fetch_add(1, Ordering::Relaxed) as usize];
                    one(&mut stream, id).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no client fails");
        }
    });
    answered.load(Ordering::Relaxed)
}

/// Receives an answer of the stand-in.
async fn forget_answer(stream: &mut TcpStream) {
    let (mut buffer, mut read) = (vec![0; 1 << 16], 0);
    let head = loop {
        read += stream.read(&mut buffer[read..]).await.expect("received");
        if let Some(end) = buffer[..read].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length =
        text.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    let mut left = head + length.unwrap_or(0) - read;
    assert!(left > 0, "an answer to a thousand ids");
    while left > 0 {
        let count = stream.read(&mut buffer).await.expect("received");
        assert!(count > 0, "the answer ends early");
        left -= count;
    }
}

async fn one(stream: &mut TcpStream, id: &str) {
    let mut request = Vec::new();
    let body = format!("{{\"recipients\":[\"{id}\"]}}");
    write!(
        request,
        "POST /v1/reachability?sender={SENDER} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("memory");
    stream.write_all(&request).await.expect("sent");
    let (mut reply, mut buffer) = (Vec::new(), [0; 2048]);
    while !reply.ends_with(b"]}") {
        let read = stream.read(&mut buffer).await.expect("received");
        assert!(read > 0, "{}", String::from_utf8_lossy(&reply));
        reply.extend_from_slice(&buffer[..read]);
    }
    assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
}
