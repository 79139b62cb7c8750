//! A register that changes: batches, readers beside them, opening. `cargo bench --bench changes`.
//!
//! The size is 8 million recipients, or `NABAR_BENCH_RECIPIENTS`, with a stream of a quarter as many changes.
//! Every batch is checked to have arrived.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nabar::identities::Ordinal;
use nabar::register::{Answer, Outcome};
use nabar::store::{self, Lines, Reader, Writer};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod support;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As in `src/main.rs`.
#[allow(unsafe_code)]
fn keep_freed_memory(_: &mut Criterion) {
    // SAFETY: sets a number of the allocator: `mi_option_purge_delay`, in milliseconds.
    unsafe { libmimalloc_sys::mi_option_set(15, 1000) };
}

/// Changes of the stream: 2 million for 8 million recipients.
fn stream() -> usize {
    support::size(8_000_000) / 4
}

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
    writer: Arc<Writer>,
    own: Own,
}

impl<'a> Feed<'a> {
    fn new(data: &'a support::Data, text: &'a [u8]) -> Feed<'a> {
        // A directory of its own: the one before it may still be open.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let own = Own::new(data, &format!("feed-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let writer = Arc::new(Writer::open(&own.0).expect("a writer"));
        Feed { data, text, rest: text, writer, own }
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
    let text = data.changes(stream());
    for (size, samples) in [(1_000, 50), (10_000, 20), (100_000, 10)] {
        if size > stream() / 2 {
            continue;
        }
        let mut group = criterion.benchmark_group(format!("batches of {size}"));
        group.throughput(Throughput::Elements(size as u64)).sample_size(samples);
        group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(100));
        for (name, durable) in [("without the sync", false), ("durable and visible", true)] {
            // Most blocks have changed before: a register that lives, not one that was just opened.
            let mut feed = Feed::new(&data, &text);
            let warm = feed.batch(stream() / 10);
            feed.writer.apply(warm, false).expect("applied");
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

/// Lookups of the list on some threads, of the version that is the newest when they begin.
fn look_up(writer: &Writer, sender: &str, ordinals: &[Ordinal], threads: usize) -> usize {
    let register = writer.register();
    let question = register.question(Some(sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    std::thread::scope(|scope| {
        let question = &question;
        let parts = ordinals.chunks(ordinals.len().div_ceil(threads)).map(|ordinals| {
            scope.spawn(move || {
                let mut answers = vec![Answer::default(); 10_000];
                let digital = ordinals.chunks(10_000).map(|ordinals| {
                    let answers = &mut answers[..ordinals.len()];
                    question.ask_all(ordinals, answers).expect("undamaged");
                    answers.iter().filter(|answer| matches!(answer.outcome(), Outcome::Digital(_))).count()
                });
                digital.sum::<usize>()
            })
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().map(|part| part.join().expect("a thread")).sum()
    })
}

/// Lookups while nobody writes, and while 100 000 changes a second arrive; on all cores, and on all but one.
fn readers(criterion: &mut Criterion) {
    let data = support::Data::far(support::size(8_000_000), support::size(8_000_000) / 2);
    let (sender, text) = (data.sender(), data.changes(stream()));
    let ordinals = support::ordinals(&data.identities());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let mut group = criterion.benchmark_group("lookups");
    group
        .throughput(Throughput::Elements(ordinals.len() as u64))
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    group.bench_function(format!("of the register file, {cores} threads"), |bencher| {
        let own = Own::new(&data, "still");
        let still = Writer::open(&own.0).expect("a writer");
        bencher.iter(|| look_up(&still, &sender, &ordinals, cores));
    });
    let sizes = [1_000, 10_000].into_iter().filter(|size| stream() * 3 / 8 >= *size);
    for (size, threads) in sizes.flat_map(|size| [(size, cores), (size, (cores - 1).max(1))]) {
        // Most blocks have changed before anything is measured, and the register grows by what arrives: so
        // what is compared is the same register before it all and after it all.
        let mut feed = Feed::new(&data, &text);
        let warm = feed.batch(stream() / 10);
        feed.writer.apply(warm, false).expect("applied");
        let look_up = |writer: &Writer| look_up(writer, &sender, &ordinals, threads);
        assert!(look_up(&feed.writer) > ordinals.len() / 4, "most of the hits are digital");
        let with = format!("{threads} threads, batches of {size}");
        group.bench_function(format!("{with}: before"), |bencher| bencher.iter(|| look_up(&feed.writer)));
        let (stop, applied) = (AtomicBool::new(false), AtomicU64::new(0));
        let batches: Vec<Lines> = (0..stream() * 3 / 8 / size).map(|_| feed.batch(size)).collect();
        std::thread::scope(|scope| {
            let writer = Arc::clone(&feed.writer);
            let (stop, applied) = (&stop, &applied);
            let began = Instant::now();
            scope.spawn(move || {
                for (number, batch) in (1..).zip(batches).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    applied
                        .fetch_add(writer.apply(batch, false).expect("applied").applied, Ordering::Relaxed);
                    let due = Duration::from_micros(10) * size as u32 * number;
                    std::thread::sleep(due.saturating_sub(began.elapsed()));
                }
            });
            group.bench_function(format!("{with}: 100 000 changes a second"), |bencher| {
                bencher.iter(|| look_up(&feed.writer));
            });
            let rate = applied.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
            println!("changes a second that arrived: {rate:.0}");
            stop.store(true, Ordering::Relaxed);
        });
        group.bench_function(format!("{with}: after"), |bencher| bencher.iter(|| look_up(&feed.writer)));
    }
    group.finish();
}

/// Opening a data directory with a million changes in its log.
fn open(criterion: &mut Criterion) {
    let data = support::Data::far(support::size(8_000_000), 1000);
    let text = data.changes(stream());
    let mut feed = Feed::new(&data, &text);
    for _ in 0..100 {
        let batch = feed.batch(stream() / 200);
        feed.writer.apply(batch, false).expect("applied");
    }
    let sequence = feed.writer.register().sequence();
    let mut group = criterion.benchmark_group("opening");
    group.throughput(Throughput::Elements(stream() as u64 / 2)).sample_size(10);
    group.bench_function(format!("a log of {} changes", stream() / 2), |bencher| {
        bencher.iter(|| {
            let reader = Reader::open(&feed.own.0).expect("a reader");
            assert_eq!(reader.register().sequence(), sequence);
        });
    });
    group.finish();
}

criterion_group!(benches, keep_freed_memory, apply, readers, open);
criterion_main!(benches);
