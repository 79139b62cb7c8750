//! A register that changes: batches, concurrent readers, opening. `cargo bench --bench changes`.
//!
//! The size is 8 million recipients, or `NABAR_BENCH_RECIPIENTS`, with a stream of a quarter as many changes; of KRR a
//! quarter of both. Every batch is checked to have arrived, and lookups to find as many digital recipients as a plain
//! model after the same changes.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use nabar::identities::Ordinal;
use nabar::register::{Answer, Outcome};
use nabar::store::{self, Lines, Reader, Writer};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
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

/// Changes of the stream: 2 million for 8 million recipients; of fewer recipients enough for the largest batch,
/// and for changes to arrive until lookups have been measured.
fn stream() -> usize {
    let least = if support::short() { 125_000 } else { 1_200_000 };
    (support::size(8_000_000) / 4).max(least)
}

/// Rate of changes while lookups are measured.
const CHANGES_PER_SECOND: u32 = 100_000;

/// A new data directory, removed when dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new(data: &support::Data, name: &str) -> TemporaryDirectory {
        let directory = data.directory.join(name);
        let _ = std::fs::remove_dir_all(&directory);
        store::init(&data.register, &directory).expect("a data directory");
        TemporaryDirectory(directory)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A writer and its stream of changes, which restarts after its end.
struct Feed<'a> {
    data: &'a support::Data,
    text: &'a [u8],
    rest: &'a [u8],
    /// Dropped before its directory.
    writer: Arc<Writer>,
    own: TemporaryDirectory,
}

impl<'a> Feed<'a> {
    fn new(data: &'a support::Data, text: &'a [u8]) -> Feed<'a> {
        // A new directory: the previous one may still be open.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let own = TemporaryDirectory::new(data, &format!("feed-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let writer = Arc::new(Writer::open(&own.0).expect("a writer"));
        Feed { data, text, rest: text, writer, own }
    }

    /// The next batch of `count` lines.
    fn batch(&mut self, size: usize) -> Lines {
        loop {
            if let Some((batch, rest)) = split_lines(self.rest, size) {
                self.rest = rest;
                return Lines::parse(batch, self.writer.kind());
            }
            *self = Feed::new(self.data, self.text);
        }
    }
}

/// The first `count` lines and the rest; `None` if there are fewer.
fn split_lines(text: &[u8], count: usize) -> Option<(&[u8], &[u8])> {
    memchr::memchr_iter(b'\n', text).nth(count - 1).map(|end| text.split_at(end + 1))
}

fn apply(criterion: &mut Criterion) {
    let far = support::Data::far(support::size(8_000_000), 1000);
    batches(criterion, "", &far, stream(), &[(1_000, 50), (10_000, 20), (100_000, 10)]);
    let krr = support::Data::krr(support::size(8_000_000) / 4, 1000);
    batches(criterion, "KRR, ", &krr, stream() / 4, &[(1_000, 50), (10_000, 20)]);
}

/// Batches of each size, with its number of samples, of a stream of `count` changes.
fn batches(
    criterion: &mut Criterion,
    register: &str,
    data: &support::Data,
    count: usize,
    sizes: &[(usize, usize)],
) {
    let text = data.changes(count);
    for &(size, samples) in sizes {
        let mut group = criterion.benchmark_group(format!("{register}batches of {size}"));
        group.throughput(Throughput::Elements(size as u64)).sample_size(samples);
        group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(100));
        for (name, durable) in [("without the sync", false), ("durable and visible", true)] {
            // Most blocks have changed before: a register in use, not one that was just opened.
            let mut feed = Feed::new(data, &text);
            let warm = feed.batch(count / 10);
            feed.writer.apply(warm, None).expect("applied");
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|rounds| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        let batch = feed.batch(size);
                        let before = Instant::now();
                        let (done, pending) = feed.writer.append(batch, None).expect("applied");
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

/// Digital recipients of a list, as a program without nabar would keep them: no index, no states, no versions.
#[derive(Clone)]
struct Model<'l> {
    sender: &'l str,
    /// The recipients of the list's rows.
    rows: &'l [u64],
    /// The state of each.
    accounts: HashMap<u64, Option<Account>>,
    /// Operators that accept messages.
    operators: HashSet<u64>,
}

#[derive(Clone)]
struct Account {
    /// Secure and not pending.
    ready: bool,
    operator: u64,
    accepts: bool,
}

/// The relevant fields of a change to a recipient.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ChangeFields<'t> {
    recipient_id: &'t str,
    r#type: &'t str,
    pending: bool,
    operator_id: Option<&'t str>,
    acceptance: &'t str,
    exceptions: Vec<&'t str>,
    id: &'t str,
    service_address: &'t str,
}

/// A line of changes.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 't"))]
struct Line<'t> {
    put_recipient: Option<ChangeFields<'t>>,
    remove_recipient: Option<ChangeFields<'t>>,
    set_acceptance: Option<ChangeFields<'t>>,
    put_operator: Option<ChangeFields<'t>>,
    remove_operator: Option<ChangeFields<'t>>,
}

/// Canonical digits as a number; 0 without recipient.
fn number(id: &str) -> u64 {
    id.parse().unwrap_or_default()
}

impl ChangeFields<'_> {
    fn accepts(&self, sender: &str) -> bool {
        (self.acceptance == "only") == self.exceptions.contains(&sender)
    }

    fn account(&self, sender: &str) -> Account {
        Account {
            ready: self.r#type == "Secure" && !self.pending,
            operator: self.operator_id.map_or(0, number),
            accepts: self.accepts(sender),
        }
    }
}

impl<'l> Model<'l> {
    /// The model of an extract.
    fn new(data: &support::Data, sender: &'l str, rows: &'l [u64]) -> Model<'l> {
        let mut accounts: HashMap<u64, Option<Account>> = rows.iter().map(|&row| (row, None)).collect();
        let table = |name: &str| csv::Reader::from_path(data.extract.join(name)).expect("a table");
        for row in table("recipients.csv").into_records() {
            let row = row.expect("a recipient");
            let said = ChangeFields {
                r#type: &row[1],
                pending: &row[2] == "true",
                operator_id: Some(&row[3]),
                acceptance: &row[5],
                exceptions: row[6].split_whitespace().collect(),
                ..ChangeFields::default()
            };
            accounts.entry(number(&row[0])).and_modify(|account| *account = Some(said.account(sender)));
        }
        let mut model = Model { sender, rows, accounts, operators: HashSet::new() };
        for row in table("operators.csv").into_records() {
            let row = row.expect("an operator");
            model.put_operator(&ChangeFields {
                id: &row[0],
                service_address: &row[2],
                ..ChangeFields::default()
            });
        }
        model
    }

    fn put_operator(&mut self, said: &ChangeFields<'_>) {
        match said.service_address.trim() {
            "" => self.operators.remove(&number(said.id)),
            _ => self.operators.insert(number(said.id)),
        };
    }

    /// Applies the changes of some lines.
    fn follow(&mut self, lines: &[u8]) {
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Line<'_> = serde_json::from_slice(line).expect("a change");
            let sender = self.sender;
            let mut known = |said: &ChangeFields<'_>, change: &dyn Fn(&mut Option<Account>)| {
                self.accounts.entry(number(said.recipient_id)).and_modify(change);
            };
            if let Some(said) = line.put_recipient {
                known(&said, &|account| *account = Some(said.account(sender)));
            }
            if let Some(said) = line.set_acceptance {
                known(&said, &|account| {
                    account.iter_mut().for_each(|account| account.accepts = said.accepts(sender));
                });
            }
            if let Some(said) = line.remove_recipient {
                known(&said, &|account| *account = None);
            }
            if let Some(said) = line.put_operator {
                self.put_operator(&said);
            }
            if let Some(said) = line.remove_operator {
                let removed = number(said.id);
                self.operators.remove(&removed);
                // They stay without operator if it is added again.
                let theirs =
                    self.accounts.values_mut().flatten().filter(|account| account.operator == removed);
                theirs.for_each(|account| account.operator = 0);
            }
        }
    }

    /// Rows whose recipient is digital.
    fn digital(&self) -> usize {
        let digital = |account: &Account| {
            account.ready && account.accepts && self.operators.contains(&account.operator)
        };
        self.rows.iter().filter(|row| self.accounts[row].as_ref().is_some_and(digital)).count()
    }
}

/// A list and the sender for which it is looked up.
struct LookupList {
    sender: String,
    ordinals: Vec<Ordinal>,
}

impl LookupList {
    /// Looks the list up on some threads, in the version that is the newest at the start. Returns the number of digital ones.
    fn look_up(&self, writer: &Writer, threads: usize) -> usize {
        let register = writer.register();
        let question = register.question(Some(&self.sender), jiff::civil::date(2026, 6, 1));
        let question = &question.expect("a question");
        std::thread::scope(|scope| {
            let parts = self.ordinals.chunks(self.ordinals.len().div_ceil(threads)).map(|ordinals| {
                scope.spawn(move || {
                    let mut answers = vec![Answer::default(); 10_000];
                    let digital = ordinals.chunks(10_000).map(|ordinals| {
                        let answers = &mut answers[..ordinals.len()];
                        question.ask_all(ordinals, answers).expect("undamaged");
                        let digital = |answer: &&Answer| matches!(answer.outcome(), Outcome::Digital(_));
                        answers.iter().filter(digital).count()
                    });
                    digital.sum::<usize>()
                })
            });
            let parts: Vec<_> = parts.collect();
            parts.into_iter().map(|part| part.join().expect("a thread")).sum()
        })
    }
}

/// The first sender that the stream does not remove.
fn lasting_sender(data: &support::Data, changes: &[u8]) -> String {
    let removed = |id: &str| format!("\"remove_sender\":{{\"id\":\"{id}\"");
    let lasts = |id: &str| memchr::memmem::find(changes, removed(id).as_bytes()).is_none();
    let register = data.open();
    register.senders().iter().find(|sender| lasts(&sender.id)).expect("a sender").id.clone()
}

/// Lookups without writer, and while 100 000 changes per second arrive; on all cores, and on all but one.
fn readers(criterion: &mut Criterion) {
    let data = support::Data::far(support::size(8_000_000), support::size(8_000_000) / 2);
    let text = data.changes(stream());
    let identities = data.identities();
    let list = LookupList { sender: lasting_sender(&data, &text), ordinals: support::ordinals(&identities) };
    let rows: Vec<u64> = identities.iter().map(support::number).collect();
    let mut model = Model::new(&data, &list.sender, &rows);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let mut group = criterion.benchmark_group("lookups");
    group
        .throughput(Throughput::Elements(list.ordinals.len() as u64))
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    let digital = model.digital();
    assert!(digital > rows.len() / 4, "most of the hits are digital");
    group.bench_function(format!("of the register file, {cores} threads"), |bencher| {
        let own = TemporaryDirectory::new(&data, "still");
        let still = Writer::open(&own.0).expect("a writer");
        bencher.iter(|| assert_eq!(list.look_up(&still, cores), digital));
    });
    let warm = stream() / 10;
    model.follow(split_lines(&text, warm).expect("so many changes").0);
    for (size, threads) in
        [1_000, 10_000].into_iter().flat_map(|size| [(size, cores), (size, (cores - 1).max(1))])
    {
        // Most blocks have changed before anything is measured, and the register grows with the changes: so the
        // baseline is the same register before and after them.
        let mut feed = Feed::new(&data, &text);
        let warm = feed.batch(warm);
        feed.writer.apply(warm, None).expect("applied");
        beside_changes(&mut group, feed, size, &list, threads, model.clone());
    }
    group.finish();
}

/// Lookups before, while and after changes arrive in batches of a size.
fn beside_changes(
    group: &mut BenchmarkGroup<'_, WallTime>,
    mut feed: Feed<'_>,
    size: usize,
    list: &LookupList,
    threads: usize,
    mut model: Model<'_>,
) {
    let (writer, waiting) = (Arc::clone(&feed.writer), feed.rest);
    let with = format!("{threads} threads, batches of {size}");
    let digital = model.digital();
    group.bench_function(format!("{with}: before"), |bencher| {
        bencher.iter(|| assert_eq!(list.look_up(&writer, threads), digital));
    });
    let before = writer.register().sequence();
    let batches: Vec<Lines> = (0..stream() * 3 / 8 / size).map(|_| feed.batch(size)).collect();
    let (stop, applied) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // At least one, for the short form.
            let goes_on = |number: u32| number == 1 || !stop.load(Ordering::Relaxed);
            for (number, batch) in (1..).zip(batches).take_while(|(number, _)| goes_on(*number)) {
                applied.fetch_add(writer.apply(batch, None).expect("applied").applied, Ordering::Relaxed);
                let due = Duration::from_secs(1) / CHANGES_PER_SECOND * size as u32 * number;
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        });
        // Until the last lookup: changes during the analysis of criterion do not count.
        let (mut arrived, mut elapsed) = (0, Duration::ZERO);
        group.bench_function(format!("{with}: 100 000 changes a second"), |bencher| {
            bencher.iter(|| list.look_up(&writer, threads));
            (arrived, elapsed) = (applied.load(Ordering::Relaxed), began.elapsed());
        });
        stop.store(true, Ordering::Relaxed);
        record_arrival(&with, arrived, elapsed);
    });
    let arrived = (writer.register().sequence() - before) as usize;
    model.follow(split_lines(waiting, arrived).expect("so many changes").0);
    let digital = model.digital();
    group.bench_function(format!("{with}: after"), |bencher| {
        bencher.iter(|| assert_eq!(list.look_up(&writer, threads), digital));
    });
}

/// Records the number of changes that arrived: on slow machines fewer than were sent. In the short form none has arrived
/// at the end of the only lookup.
fn record_arrival(with: &str, arrived: u64, elapsed: Duration) {
    if support::short() || elapsed.is_zero() {
        return;
    }
    let (seconds, job) = (elapsed.as_secs_f64(), format!("arrival, {with}").replace(',', ""));
    support::measurement(&job, "nabar", arrived as usize, 1, seconds, 0);
    println!("changes per second that arrived: {:.0}", arrived as f64 / seconds);
}

/// Opening a data directory with a million changes in its log.
fn open(criterion: &mut Criterion) {
    let data = support::Data::far(support::size(8_000_000), 1000);
    let text = data.changes(stream());
    let mut feed = Feed::new(&data, &text);
    for _ in 0..100 {
        let batch = feed.batch(stream() / 200);
        feed.writer.apply(batch, None).expect("applied");
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
