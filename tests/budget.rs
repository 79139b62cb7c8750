//! The memory ceiling of the service: clients of eight addresses do at once what once took all memory or locked others
//! out, and one that behaves well asks for single recipients meanwhile.
//!
//! A separate binary with one test, so that nothing else runs beside it: the issue of the ceiling is also that a lookup
//! stays fast, and this is the only test that asserts a time.

#[path = "it/support/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "it/support/workspace.rs"]
#[allow(dead_code)]
mod workspace;

/// The paths that the shared modules use.
mod support {
    pub(crate) use crate::workspace;
}

use client::{Server, request};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use workspace::{Workspace, lines_of};

/// The ceiling, as `nabar.toml` has it, in KiB; and what a register, the program and its threads take besides.
const MEMORY_KIB: u64 = 1 << 20;
const TARGET: &str = "/v1/reachability?sender=164821000025";
const CHECK: &str = "/v1/check?sender=164821000025";
/// How long all of them go on.
const TIME: Duration = Duration::from_secs(15);

/// Sends a request from an address, on each of some connections, and reads nothing.
fn send_all(client: u8, server: &Server, connections: usize, message: &[u8]) -> Vec<TcpStream> {
    let streams = (0..connections).filter_map(|_| {
        let mut stream = server.connect_from(client).ok()?;
        stream.set_write_timeout(Some(Duration::from_secs(5))).ok()?;
        // The service may refuse to read all of it.
        let _ = stream.write_all(message);
        Some(stream)
    });
    streams.collect()
}

fn post(target: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    request("POST", target, &format!("Content-Type: {kind}\r\n"), body)
}

/// Resident memory in KiB that is not a mapped file, at its highest.
fn anonymous(server: &Server) -> u64 {
    server.status_field("RssAnon:")
}

fn reserved(server: &Server) -> String {
    let metrics = server.get("/metrics");
    metrics.text().lines().find(|line| line.starts_with("nabar_memory_bytes ")).unwrap_or_default().to_owned()
}

#[test]
fn hostile_clients_neither_exceed_the_memory_nor_lock_others_out() {
    let work = Workspace::with_data_directories("far", &["far"]);
    let change = lines_of("changes/far.jsonl").join("\n") + "\n";
    work.write("changes.jsonl", &change);
    work.done(&["apply", "far", "changes.jsonl", "--quiet"]);
    work.write("nabar.toml", format!("[limits]\nmemory_bytes = {}\n", MEMORY_KIB << 10));
    let config = work.path("nabar.toml").display().to_string();
    let server = &Server::with(&work, &["far"], &["--config", &config, "--log", "warn"]);
    let id = lines_of("far/recipients.csv")[1].split([';', ',']).next().expect("an id").to_owned();

    let ids = format!("\"{id}\",").repeat(100_000);
    let json = post(
        TARGET,
        "application/json",
        format!("{{\"recipients\":[{}]}}", ids.trim_end_matches(',')).as_bytes(),
    );
    let compact = post(TARGET, "application/vnd.nabar.ids", "199001022384".repeat(1_000_000).as_bytes());
    let lines = post(TARGET, "text/csv", format!("{id}\n").repeat(500_000).as_bytes());
    let line_of_gigabytes = zstd::encode_all(std::io::repeat(b'x').take_bytes(2 << 30), 1).expect("packed");
    let bomb = post(CHECK, "application/octet-stream", &line_of_gigabytes);
    let organisations: String =
        (0..40_000).map(|n| format!("16{:09}{}\n", 200_000_000 + n * 7_919, n % 10)).collect();
    let scattered = post(CHECK, "text/csv", organisations.as_bytes());
    let slow = format!(
        "POST {CHECK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n\r\n"
    );
    let changes = request("GET", "/v1/changes?from=1000&limit=100000", "", b"");
    let is_over = AtomicBool::new(false);
    let mut times = Vec::new();
    let mut peak = 0;
    std::thread::scope(|scope| {
        let over = &is_over;
        let attack = |client: u8, connections: usize, message: Vec<u8>| {
            scope.spawn(move || {
                let mut held = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    // The oldest connections are reset, with what they have not read.
                    held = send_all(client, server, connections, &message);
                }
                drop(held);
            });
        };
        attack(2, 160, json);
        attack(3, 30, compact);
        attack(4, 30, lines);
        attack(5, 16, bomb);
        attack(6, 16, slow.into_bytes());
        attack(7, 100, changes);
        attack(8, 16, scattered);
        // They also hold idle connections, more than descriptors of the usual limit.
        let idle = send_all(9, server, 1100, b"");
        let lookup = post(TARGET, "text/csv", format!("{id}\n").as_bytes());
        let mut client = server.connect();
        let start = Instant::now();
        while start.elapsed() < TIME {
            let began = Instant::now();
            client.send(&lookup);
            let reply = client.reply();
            times.push(began.elapsed());
            assert_eq!(reply.status, 200, "{}", reply.text());
            if times.len() % 50 == 0 {
                let now = anonymous(server);
                if now > peak + 10_000 {
                    println!("{now} KiB with {}", reserved(server));
                }
                peak = peak.max(now);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        drop(idle);
    });
    times.sort_unstable();
    let at_99 = times[times.len() * 99 / 100];
    println!(
        "peak {peak} KiB; lookups: {}, median {:?}, 99 of 100 below {at_99:?}",
        times.len(),
        times[times.len() / 2]
    );
    server.is_well("all of it");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    assert!(at_99 < Duration::from_millis(50), "{at_99:?}");
}

/// The first bytes of a reader.
trait TakeBytes: std::io::Read + Sized {
    fn take_bytes(self, bytes: u64) -> std::io::Take<Self> {
        self.take(bytes)
    }
}

impl<R: std::io::Read> TakeBytes for R {}
