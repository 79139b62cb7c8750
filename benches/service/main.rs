//! The service over loopback, beside Redis and nginx on the same machine: `tools/bench-service`.
//!
//! 8 million recipients (`NABAR_BENCH_RECIPIENTS`). Two connections send requests, on the same cores as the servers. Each
//! of 7 rounds measures all contestants in turn. Every byte of every answer is compared with one made by the library, or
//! with the first answer of the service, whose outcomes were checked. Fails if an answer is wrong or memory grows.
//! `tools/bench-all` makes the tables in docs/performance.md from its measurements.

mod load;
mod questions;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use load::Questions;
use nabar::identities::Identity;
use questions::{
    compact_questions, csv_questions, json_questions, nginx_file, pipelined, redis_questions, set_keys,
    soap_questions,
};
use servers::Server;
use std::fs;
use std::time::Duration;

/// Extent of the measurements.
struct Effort {
    rounds: usize,
    window: Duration,
    /// Requests of 1000 ids, and fewer larger ones.
    questions: usize,
    /// Requests during which memory must not grow.
    requests: f64,
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let effort = if short {
        Effort { rounds: 1, window: Duration::from_millis(50), questions: 10, requests: 400.0 }
    } else {
        Effort { rounds: 7, window: Duration::from_secs(2), questions: 500, requests: 2e6 }
    };
    let data = support::Data::far(support::size(8_000_000), if short { 20_000 } else { 1_000_000 });
    let (register, sender) = (data.open(), data.sender());
    let mut identities = data.identities();
    identities.dedup();
    let sets =
        |size: usize, most: usize| -> Vec<&[Identity]> { identities.chunks_exact(size).take(most).collect() };
    let thousands = sets(1000, effort.questions);

    let nabar = Server::nabar(&data.register);
    let directory = data.directory.join("nginx");
    fs::create_dir_all(&directory).expect("a directory");
    let soap = soap_questions(&nabar, &register, &sender, &thousands[..thousands.len().min(40)]);
    let mut contestants = vec![
        ("compact 1000 ids", compact_questions(&nabar, &register, &sender, &thousands)),
        (
            "compact 10 000 ids",
            compact_questions(&nabar, &register, &sender, &sets(10_000, effort.questions / 10)),
        ),
        ("JSON 1000 ids", json_questions(&nabar, &register, &sender, &thousands)),
        ("SOAP isReachable 1000 ids", soap),
        ("CSV 1000 ids", csv_questions(&nabar, &register, &sender, &thousands)),
    ];
    let forms = contestants.len();
    // One for each connection: workers of one would share them by chance.
    let nginx = [0, 1].map(|number| Server::nginx(&directory, number));
    if let [Some(first), Some(second)] = &nginx {
        let nginx = [first.address, second.address];
        for (name, file, of) in [
            ("nginx: the same answer from a file", "answer.xml", 3),
            ("nginx: compact 1000 ids from a file", "answer.1000", 0),
            ("nginx: compact 10 000 ids from a file", "answer.10000", 1),
        ] {
            contestants.push((name, nginx_file(nginx, &directory, file, &contestants[of].1)));
        }
    }
    let redis = Server::redis();
    if let Some(redis) = &redis {
        set_keys(redis, &register, &sender);
        let multiple = |sets: &[&[Identity]]| redis_questions(redis, &register, &sender, sets);
        let tens = sets(10_000, effort.questions / 10);
        contestants.push(("Redis MGET 1000 keys", multiple(&thousands)));
        contestants.push(("Redis pipelined GET 1000 keys", pipelined(&contestants[contestants.len() - 1].1)));
        contestants.push(("Redis MGET 10 000 keys", multiple(&tens)));
        support::measurement("memory beyond files", "Redis", 0, 0, 0.0, redis.memory() << 10);
    }

    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for round in 1..=effort.rounds {
        for turn in 0..contestants.len() {
            // The first contestant changes, so that none always follows the same one.
            let place = (turn + round) % contestants.len();
            let (rates, (name, questions)) = (&mut rates[place], &contestants[place]);
            let rate = questions.rate(effort.window);
            support::measurement(name, peer(name), questions.ids, round, 1.0 / rate, 0);
            rates.push(rate);
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(support::median).collect();
    println!("{} recipients; medians of requests per second", register.recipients());
    for ((name, _), rate) in contestants.iter().zip(&rates) {
        println!("{name}: {rate:.0}");
    }
    latency(&contestants[0].1, rates[0] / 2.0, &effort);
    memory(&nabar, &contestants[..forms], &rates, &effort);
}

/// The server of a job.
fn peer(name: &str) -> &'static str {
    ["Redis", "nginx"].into_iter().find(|peer| name.starts_with(peer)).unwrap_or("nabar")
}

/// Latency at half of the maximum load.
fn latency(questions: &Questions, rate: f64, effort: &Effort) {
    for round in 1..=effort.rounds {
        let took = questions.latencies(rate, effort.window);
        for (name, part) in [("median", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("longest", 1.0)] {
            let seconds = took[((took.len() - 1) as f64 * part) as usize].as_secs_f64();
            support::measurement(&format!("latency: {name}"), "nabar", questions.ids, round, seconds, 0);
            if round == effort.rounds {
                println!("latency of the last round, {name}: {:.3} ms", seconds * 1e3);
            }
        }
    }
}

/// The memory of the service does not grow with the number of answered requests.
fn memory(nabar: &Server, forms: &[(&str, Questions)], rates: &[f64], effort: &Effort) {
    let (mut kib, mut requests) = (vec![nabar.memory()], 0.0);
    while requests < effort.requests {
        for ((_, questions), rate) in forms.iter().zip(rates) {
            questions.rate(effort.window);
            requests += rate * effort.window.as_secs_f64();
        }
        kib.push(nabar.memory());
    }
    for (round, kib) in kib.iter().enumerate() {
        support::measurement("memory beyond files", "nabar", 0, round, 0.0, kib << 10);
    }
    println!("memory beyond files during some {requests:.0} more requests, KiB: {kib:?}");
    assert!(kib[kib.len() - 1] < kib[1] + (16 << 10), "memory grows");
}
