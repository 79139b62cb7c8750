//! A register that changes: batches, readers beside them, opening. `cargo bench --bench changes`.
//!
//! The size is 8 million recipients, or `NABAR_BENCH_RECIPIENTS`, with a stream of 2 million changes.
//! Every batch is checked to have arrived.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nabar::store::{self, Lines, Writer};
use std::path::PathBuf;
use std::time::{Duration, Instant};

mod support;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A data directory of its own, gone at the end.
struct Own(PathBuf);

impl Own {
    fn new(data: &support::Data, name: &str) -> Own {
        let directory = data.directory.join(name);
        let _ = std::fs::remove_dir_all(&directory);
        store::init(&data.register, &directory).expect("a data directory");
        Own(directory)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A writer and the stream that it takes, from the beginning again when it has come to the end.
struct Feed<'a> {
    data: &'a support::Data,
    text: &'a [u8],
    rest: &'a [u8],
    /// Dropped before its directory.
    writer: Writer,
    _own: Own,
}

impl<'a> Feed<'a> {
    fn new(data: &'a support::Data, text: &'a [u8]) -> Feed<'a> {
        let own = Own::new(data, "apply");
        Feed { data, text, rest: text, writer: Writer::open(&own.0).expect("a writer"), _own: own }
    }

    /// The next batch of so many lines.
    fn batch(&mut self, size: usize) -> Lines {
        loop {
            if let Some(end) = memchr::memchr_iter(b'\n', self.rest).nth(size - 1) {
                let (batch, rest) = self.rest.split_at(end + 1);
                self.rest = rest;
                return Lines::parse(batch, self.writer.kind());
            }
            *self = Feed::new(self.data, self.text);
        }
    }
}

fn apply(criterion: &mut Criterion) {
    let data = support::Data::far(support::size(8_000_000), 1000);
    let text = data.changes(2_000_000);
    for (size, samples) in [(1_000, 50), (10_000, 20), (100_000, 10)] {
        let mut group = criterion.benchmark_group(format!("batches of {size}"));
        group.throughput(Throughput::Elements(size as u64)).sample_size(samples);
        group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(100));
        for (name, durable) in [("without the sync", false), ("durable and visible", true)] {
            let mut feed = Feed::new(&data, &text);
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|rounds| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        let batch = feed.batch(size);
                        let before = Instant::now();
                        let (done, pending) = feed.writer.append(batch, false).expect("applied");
                        if durable {
                            feed.writer.wait(pending.clone()).expect("durable");
                        }
                        spent += before.elapsed();
                        feed.writer.wait(pending).expect("durable");
                        assert_eq!(done.applied, size as u64);
                        assert_eq!(feed.writer.register().sequence(), done.to);
                    }
                    spent
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, apply);
criterion_main!(benches);
