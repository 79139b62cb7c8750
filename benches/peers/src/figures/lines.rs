//! The lines of the charts, from the record. Drawn by `charts.rs`; a chart lists its points in a comment, which
//! `tests/it/figures.rs` compares with these.

use super::limits::Model;
use super::tables::{batch, common, of};
use super::{Row, peers, spread, values};

/// A chart without its drawing.
pub(crate) struct Chart {
    /// Its file in `docs/charts`.
    pub(crate) file: &'static str,
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<Line>,
    /// Whether points of a line are joined.
    pub(crate) joined: bool,
}

/// A line of a chart.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Chart {
    /// All points in words, with four digits each.
    pub(crate) fn remark(&self) -> String {
        let point = |(x, y): &(f64, f64)| format!("{x:.3e} {y:.3e}");
        let line = |line: &Line| {
            format!("{}: {}", line.name, line.points.iter().map(point).collect::<Vec<_>>().join(", "))
        };
        format!("<!-- {} -->", self.lines.iter().map(line).collect::<Vec<_>>().join("; "))
    }
}

/// All charts that the record has anything for.
pub(crate) fn charts(rows: &[Row]) -> Vec<Chart> {
    let all = [lookup_time(rows), lookup_memory(rows), split_time(rows), split_memory(rows), limits(rows)];
    all.into_iter().flatten().filter(|chart| chart.lines.iter().any(|line| !line.points.is_empty())).collect()
}

fn batches(rows: &[Row]) -> impl Iterator<Item = &Row> + Clone {
    of(rows, "lookup", "batch")
        .filter(|row| (row.order.as_str(), row.hit_rate, row.threads) == ("random", 50, 1))
}

/// Medians of a number of each row, by another of its numbers, for each peer.
fn lines<'r>(
    rows: impl Iterator<Item = &'r Row> + Clone,
    x: fn(&Row) -> u64,
    y: fn(&Row) -> f64,
) -> Vec<Line> {
    let line = |peer: &str| {
        let of_peer = rows.clone().filter(|row| row.peer == peer);
        let point = |at: u64| {
            let median = spread(of_peer.clone().filter(|row| x(row) == at).map(y))?.median;
            Some((at as f64, median))
        };
        let points = values(of_peer.clone(), x).into_iter().filter_map(point).collect();
        Line { name: peer.to_owned(), points }
    };
    peers(rows.clone()).into_iter().map(line).collect()
}

fn lookup_time(rows: &[Row]) -> Option<Chart> {
    Some(Chart {
        file: "lookup-time.svg",
        title: "Batch lookup in random order, half of the ids registered, one thread".to_owned(),
        x: "recipients of the register",
        y: "nanoseconds per id",
        lines: lines(batches(rows), |row| row.recipients, Row::nanoseconds),
        joined: true,
    })
}

fn lookup_memory(rows: &[Row]) -> Option<Chart> {
    let recipients = common(rows, "lookup")?;
    let of_size = batches(rows).filter(|row| row.recipients == recipients);
    let point = |peer: &str| {
        let bytes = of_size.clone().find(|row| row.peer == peer)?.bytes as f64;
        Some((bytes / recipients as f64, batch(rows, peer, recipients, "random", 50, 1)?.median))
    };
    let line = |peer: &str| Line { name: peer.to_owned(), points: point(peer).into_iter().collect() };
    Some(Chart {
        file: "lookup-memory.svg",
        title: format!("Memory and time of a batch lookup, {} M recipients", recipients as f64 / 1e6),
        x: "bytes per recipient",
        y: "nanoseconds per id",
        lines: peers(of_size.clone()).into_iter().map(line).collect(),
        joined: false,
    })
}

/// Splits by the register that was split with most lengths of lists.
fn splits(rows: &[Row]) -> Option<impl Iterator<Item = &Row> + Clone> {
    let recipients = common(rows, "split")?;
    Some(of(rows, "split", "split").filter(move |row| row.recipients == recipients))
}

fn split_time(rows: &[Row]) -> Option<Chart> {
    Some(Chart {
        file: "split-time.svg",
        title: "A whole split, from the start of a process to its end".to_owned(),
        x: "rows of the list",
        y: "seconds",
        lines: lines(splits(rows)?, |row| row.rows, |row| row.seconds),
        joined: true,
    })
}

fn split_memory(rows: &[Row]) -> Option<Chart> {
    let with_memory = splits(rows)?.filter(|row| row.memory > 0);
    Some(Chart {
        file: "split-memory.svg",
        title: "Memory of a split, mapped files included".to_owned(),
        x: "rows of the list",
        y: "MiB at most",
        lines: lines(with_memory, |row| row.rows, |row| row.memory as f64 / f64::from(1 << 20)),
        joined: true,
    })
}

/// Reads of the probe, the model and the measurements.
fn limits(rows: &[Row]) -> Option<Chart> {
    let model = Model::new(rows)?;
    let sizes: Vec<f64> = (18..=32).map(|bits| f64::from(bits).exp2()).collect();
    let of = |ns: &dyn Fn(f64) -> f64| sizes.iter().map(|&bytes| (bytes, ns(bytes))).collect();
    let line = |name: &str, points| Line { name: name.to_owned(), points };
    Some(Chart {
        file: "limits.svg",
        title: "Lookups and what memory allows".to_owned(),
        x: "bytes of the index",
        y: "nanoseconds",
        lines: vec![
            line("nabar", model.measured.iter().map(|&(_, bytes, ns)| (bytes, ns)).collect()),
            line("a prefetched read", of(&|bytes| model.read_ns(bytes))),
            line("the model of a lookup", of(&|bytes| model.lookup_ns(bytes))),
        ],
        joined: true,
    })
}
