//! Limits set by memory and copying, and a model of the cost for any size of register.

use super::jobs::service_jobs;
use super::tables::{common, count, digits, markdown, most_threads, of, size, split_seconds};
use super::{Row, Spread, spread, values};

/// Sizes of the model beside the measured ones.
const FAR_SIZES: [u64; 3] = [100_000_000, 300_000_000, 1_000_000_000];

/// The cost of a batch lookup in random order: a constant for the arithmetic, and a memory read for each cache line, at
/// the cost of prefetched reads in as much memory as the index has.
#[allow(dead_code)] // charts use more of it than tables
pub(crate) struct Model {
    /// Size of memory and nanoseconds of a read, ascending.
    reads: Vec<(f64, f64)>,
    /// Recipients, bytes of the index and nanoseconds that were measured.
    pub(crate) measured: Vec<(u64, f64, f64)>,
    /// Cache lines of an id: its page, and for those that are registered the record.
    lines: f64,
    arithmetic_ns: f64,
    bytes_a_recipient: f64,
}

/// Percent of hits in the model.
const HITS: u64 = 50;

impl Model {
    /// From the probe and the lookups of one thread; `None` if one of them is missing.
    pub(crate) fn new(rows: &[Row]) -> Option<Model> {
        let reads = reads(rows, 1);
        let lookups = of(rows, "lookup", "batch").filter(|row| {
            (row.peer.as_str(), row.order.as_str(), row.hit_rate, row.threads) == ("nabar", "random", HITS, 1)
        });
        let point = |recipients: u64| {
            let of_size = lookups.clone().filter(|row| row.recipients == recipients);
            let bytes = of_size.clone().next()?.bytes as f64;
            Some((recipients, bytes, spread(of_size.map(Row::nanoseconds))?.median))
        };
        let measured: Vec<_> =
            values(lookups.clone(), |row| row.recipients).into_iter().filter_map(point).collect();
        let &(most_recipients, most, _) = measured.last()?;
        let lines = 1.0 + HITS as f64 / 100.0;
        let mut model = Model { reads, measured, lines, arithmetic_ns: 0.0, bytes_a_recipient: 0.0 };
        model.reads.first()?;
        let &(_, bytes, ns) =
            model.measured.iter().find(|(size, ..)| Some(*size) == common(rows, "lookup"))?;
        model.arithmetic_ns = (ns - lines * model.read_ns(bytes)).max(0.0);
        model.bytes_a_recipient = most / most_recipients as f64;
        Some(model)
    }

    /// Nanoseconds of a read in so much memory: between two that were measured on a straight line over the
    /// logarithm of the size.
    pub(crate) fn read_ns(&self, bytes: f64) -> f64 {
        interpolated(&self.reads, bytes)
    }

    /// Bytes of the index of so many recipients: as measured, or as many for each as the greatest has.
    pub(crate) fn index_bytes(&self, recipients: u64) -> f64 {
        let known = self.measured.iter().find(|(other, ..)| *other == recipients);
        known.map_or(self.bytes_a_recipient * recipients as f64, |&(_, bytes, _)| bytes)
    }

    /// Nanoseconds that an id should take.
    pub(crate) fn lookup_ns(&self, bytes: f64) -> f64 {
        self.arithmetic_ns + self.lines * self.read_ns(bytes)
    }
}

/// Sizes and medians of prefetched reads, in small pages.
fn reads(rows: &[Row], threads: u64) -> Vec<(f64, f64)> {
    let probe = of(rows, "floors", "throughput")
        .filter(move |row| row.peer == "small pages" && row.threads == threads);
    let point = |bytes: u64| {
        let of_size = probe.clone().filter(|row| row.bytes == bytes);
        Some((bytes as f64, spread(of_size.map(Row::nanoseconds))?.median))
    };
    values(probe.clone(), |row| row.bytes).into_iter().filter_map(point).collect()
}

fn interpolated(points: &[(f64, f64)], bytes: f64) -> f64 {
    let after = points.iter().position(|&(size, _)| size >= bytes);
    match after {
        None => points.last().map_or(0.0, |&(_, ns)| ns),
        Some(0) => points[0].1,
        Some(after) => {
            let ((low, low_ns), (high, high_ns)) = (points[after - 1], points[after]);
            low_ns + (high_ns - low_ns) * (bytes / low).ln() / (high / low).ln()
        }
    }
}

/// The model beside the measurements.
pub(super) fn model_table(rows: &[Row]) -> Option<String> {
    let model = Model::new(rows)?;
    let mut sizes: Vec<u64> = model.measured.iter().map(|&(recipients, ..)| recipients).collect();
    sizes.extend(FAR_SIZES.iter().filter(|size| !sizes.contains(size)).copied().collect::<Vec<_>>());
    sizes.sort_unstable();
    let line = |&recipients: &u64| {
        let bytes = model.index_bytes(recipients);
        let predicted = model.lookup_ns(bytes);
        let known = model.measured.iter().find(|(other, ..)| *other == recipients);
        let known = known.map_or(["–".to_owned(), "–".to_owned()], |&(_, _, ns)| {
            let off = format!("{:+.0} %", (predicted / ns - 1.0) * 100.0);
            [
                digits(ns),
                if Some(recipients) == common(rows, "lookup") { "fitted to it".to_owned() } else { off },
            ]
        });
        let cells = [count(recipients), size(bytes as u64), digits(model.read_ns(bytes)), digits(predicted)];
        cells.into_iter().chain(known).collect::<Vec<_>>()
    };
    let head = ["recipients", "index", "read, ns", "model, ns per id", "measured", "model is off by"]
        .map(str::to_owned);
    let table = markdown(&head, &sizes.iter().map(line).collect::<Vec<_>>());
    let Model { arithmetic_ns, lines, .. } = model;
    Some(format!("{table}\nThe model: {} ns and {lines} reads per id.", digits(arithmetic_ns)))
}

/// Each job beside the least that it could take.
pub(super) fn limits(rows: &[Row]) -> Option<String> {
    let mut body = Vec::new();
    for threads in values(of(rows, "lookup", "batch"), |row| row.threads) {
        body.extend(lookup_limit(rows, threads));
    }
    body.extend(split_limits(rows).into_iter().flatten());
    body.extend(service_limits(rows));
    let head = ["job", "floor", "what the floor is", "nabar", "nabar / floor"].map(str::to_owned);
    (!body.is_empty()).then(|| markdown(&head, &body))
}

fn limit(job: String, floor: f64, what: String, measured: f64, unit: &str) -> Vec<String> {
    let ratio = format!("{:.1}", measured / floor);
    vec![job, format!("{} {unit}", digits(floor)), what, format!("{} {unit}", digits(measured)), ratio]
}

fn lookup_limit(rows: &[Row], threads: u64) -> Option<Vec<String>> {
    let recipients = common(rows, "lookup")?;
    let lookups = of(rows, "lookup", "batch").filter(|row| {
        (row.peer.as_str(), row.order.as_str(), row.hit_rate, row.threads, row.recipients)
            == ("nabar", "random", HITS, threads, recipients)
    });
    let bytes = lookups.clone().next()?.bytes;
    let probe = reads(rows, threads);
    probe.first()?;
    let lines = 1.0 + HITS as f64 / 100.0;
    let floor = lines * interpolated(&probe, bytes as f64);
    let measured = spread(lookups.map(Row::nanoseconds))?.median;
    let job = format!("batch lookup at random, {} recipients, {threads} thread(s)", count(recipients));
    let what = format!("{lines} prefetched reads in {}", size(bytes));
    Some(limit(job, floor, what, measured, "ns per id"))
}

/// A split beside `cp`, and beside copying in memory.
fn split_limits(rows: &[Row]) -> Option<Vec<Vec<String>>> {
    let recipients = common(rows, "split")?;
    let ours = of(rows, "split", "split").filter(|row| row.peer == "nabar" && row.recipients == recipients);
    let threads = most_threads(rows, "floors");
    let copied = of(rows, "floors", "memcpy").filter(|row| row.threads == threads);
    let rate = spread(copied.map(|row| row.bytes as f64 / row.seconds));
    let mut lines = Vec::new();
    for length in values(ours.clone(), |row| row.rows) {
        let nabar = split_seconds(rows, "nabar", recipients, length)?.median;
        let job = format!("split {} rows, {} recipients", count(length), count(recipients));
        if let Some(Spread { median, .. }) = split_seconds(rows, "cp", recipients, length) {
            let what = "`cp` of what it writes, one core".to_owned();
            lines.push(limit(job.clone(), median * 1e3, what, nabar * 1e3, "ms"));
        }
        let bytes = ours.clone().find(|row| row.rows == length).map(|row| row.bytes as f64);
        // Short lists are not about copying.
        if let (Some(bytes), Some(rate), true) = (bytes, rate, length >= 1_000_000) {
            let what = format!("copying as many bytes in memory, {threads} threads");
            lines.push(limit(job, bytes / rate.median * 1e3, what, nabar * 1e3, "ms"));
        }
    }
    Some(lines)
}

/// Requests beside what nginx serves of the same bytes from a file.
fn service_limits(rows: &[Row]) -> Vec<Vec<String>> {
    let median = |job: &str| spread(of(rows, "service", job).map(|row| row.seconds * 1e6));
    let pairs = [
        ("compact 1000 ids", "nginx: compact 1000 ids from a file"),
        ("compact 10 000 ids", "nginx: compact 10 000 ids from a file"),
        ("SOAP isReachable 1000 ids", "nginx: the same answer from a file"),
    ];
    let jobs = service_jobs(rows);
    let known = pairs.into_iter().filter(|(job, floor)| jobs.contains(job) && jobs.contains(floor));
    let line = |(job, floor): (&str, &str)| {
        let (nabar, floor) = (median(job)?.median, median(floor)?.median);
        let what = "nginx sends the same bytes from a file".to_owned();
        Some(limit(format!("serve {job}"), floor, what, nabar, "µs per request"))
    };
    known.filter_map(line).collect()
}
