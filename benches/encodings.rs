//! The cost of each form of request and response: `cargo bench --bench encodings`.
//!
//! The same requests of 1000 ids over one connection to a service with 1 million recipients (`NABAR_BENCH_RECIPIENTS`),
//! so the difference is reading and writing the form. Every byte of every answer is compared. `tools/bench-service`
//! compares the service with others, on all cores.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nabar::identities::Identity;

#[allow(dead_code)] // the service benchmark uses more of it
#[path = "service/load.rs"]
mod load;
#[allow(dead_code)]
#[path = "service/questions.rs"]
mod questions;
#[allow(dead_code)]
#[path = "service/servers.rs"]
mod servers;
mod support;

/// Ids per request.
const IDS: usize = 1000;
/// Number of different requests.
const QUESTIONS: usize = 15;

fn encodings(criterion: &mut Criterion) {
    let size = support::size(1_000_000);
    let data = support::Data::far(size, size);
    let (register, sender) = (data.open(), data.sender());
    let identities = data.identities();
    let sets: Vec<&[Identity]> = identities.chunks_exact(IDS).take(QUESTIONS).collect();
    let server = &servers::Server::nabar(&data.register);
    let mut group = criterion.benchmark_group("encodings: 1000 ids");
    group.throughput(Throughput::Elements(IDS as u64)).sample_size(20);
    for (name, questions) in [
        ("compact", questions::compact_questions(server, &register, &sender, &sets)),
        ("JSON", questions::json_questions(server, &register, &sender, &sets)),
        ("CSV", questions::csv_questions(server, &register, &sender, &sets)),
        ("SOAP isReachable", questions::soap_questions(server, &register, &sender, &sets)),
    ] {
        let mut connection = load::Connection::new(server.address);
        let mut asked = questions.asked.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| connection.check(questions.wire, asked.next().expect("endless")));
        });
    }
    group.finish();
}

criterion_group!(benches, encodings);
criterion_main!(benches);
