//! The memory ceiling of the service: clients of eight addresses do at once what once took all memory or locked others
//! out, and one that behaves well asks for single recipients meanwhile.
//!
//! A separate binary with one test, so that nothing else runs beside it. The times of the lookups are printed; with
//! `NABAR_ASSERT_LATENCY=1`, on a machine that does nothing else, 99 of 100 must be below 50 ms.

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

use client::{Client, Server, request};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{ErrorKind, Write};
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
fn send_all(
    client: u8,
    server: &Server,
    connections: usize,
    message: &[u8],
    over: &AtomicBool,
) -> Vec<TcpStream> {
    let streams = (0..connections).filter_map(|_| {
        let mut stream = server.connect_from(client).ok()?;
        stream.set_write_timeout(Some(Duration::from_millis(100))).ok()?;
        send(&mut stream, message, over);
        Some(stream)
    });
    streams.collect()
}

/// Sends what the service takes within 5 s, while the test lasts.
fn send(stream: &mut TcpStream, message: &[u8], over: &AtomicBool) {
    let start = Instant::now();
    let mut sent = 0;
    while sent < message.len() && start.elapsed() < Duration::from_secs(5) && !over.load(Ordering::Relaxed) {
        match stream.write(&message[sent..]) {
            Ok(written) => sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// The flag that ends the other threads, set also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets this process, and the service that it starts, open as many descriptors as the system allows.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
    limit.maximum.unwrap_or(u64::MAX)
}

fn post(target: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    request("POST", target, &format!("Content-Type: {kind}\r\n"), body)
}

/// Resident memory in KiB that is not a mapped file, at its highest.
fn anonymous(server: &Server) -> u64 {
    server.status_field("RssAnon:")
}

/// A metric, asked on a connection that exists already.
fn metric(client: &mut Client, name: &str) -> u64 {
    client.send(&request("GET", "/metrics", "", b""));
    let reply = client.reply();
    let text = reply.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {}: {text}", reply.status))
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
    let part = zstd::encode_all(&vec![b'x'; 8 << 20][..], 1).expect("packed");
    let line_of_gigabytes = part.repeat(256); // frames, one after another
    let bomb = post(CHECK, "application/octet-stream", &line_of_gigabytes);
    let organisations: String =
        (0..40_000).map(|n| format!("16{:09}{}\n", 200_000_000 + n * 7_919, n % 10)).collect();
    let scattered = post(CHECK, "text/csv", organisations.as_bytes());
    let slow = format!(
        "POST {CHECK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n\r\n"
    );
    let changes = request("GET", "/v1/changes?from=1000&limit=100000", "", b"");
    let is_over = AtomicBool::new(false);
    let idle_connections =
        usize::try_from(raise_descriptors()).unwrap_or(usize::MAX).saturating_sub(700).min(1100);
    let mut client = server.connect();
    let mut times = Vec::new();
    let mut peak = 0;
    std::thread::scope(|scope| {
        let over = &is_over;
        let ends = Ends(over);
        let attack = |client: u8, connections: usize, message: Vec<u8>| {
            scope.spawn(move || {
                let mut held = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    // The oldest connections are reset, with what they have not read.
                    held = send_all(client, server, connections, &message, over);
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
        let idle = send_all(9, server, idle_connections, b"", over);
        let lookup = post(TARGET, "text/csv", format!("{id}\n").as_bytes());
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
                    let reserved = metric(&mut client, "nabar_memory_bytes");
                    println!("{now} KiB with {} KiB reserved", reserved >> 10);
                }
                peak = peak.max(now);
            }
        }
        drop(ends);
        drop(idle);
    });
    times.sort_unstable();
    let at_99 = times[times.len() * 99 / 100];
    println!(
        "peak {peak} KiB; lookups: {}, median {:?}, 99 of 100 below {at_99:?}",
        times.len(),
        times[times.len() / 2]
    );
    let began = Instant::now();
    // The connections of the others end.
    while metric(&mut client, "nabar_connections") > 100 {
        std::thread::yield_now();
    }
    println!("all are free after {:?}", began.elapsed());
    server.is_well("all of it");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    if std::env::var_os("NABAR_ASSERT_LATENCY").is_some() {
        assert!(at_99 < Duration::from_millis(50), "{at_99:?}");
    }
}
