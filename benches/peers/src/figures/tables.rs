//! The tables, by their names in the documents.

use super::{Machine, Row, Spread, jobs, limits, machine, peers, spread, values};

/// Most tables show registers of this size.
const COMMON: u64 = 8_000_000;

/// A table in Markdown; `None` if the record has nothing for it.
pub(crate) fn table(name: &str, rows: &[Row], about: &Machine) -> Option<String> {
    match name {
        "machine" => machine::machines(about),
        "versions" => machine::versions(about),
        "lookup-texts" => lookup_texts(rows),
        "lookup-bytes" => lookup_bytes(rows),
        "single-sizes" => single_sizes(rows),
        "build" => build(rows),
        "lookup-peers" => lookup_peers(rows),
        "lookup-orders" => lookup_orders(rows),
        "lookup-sizes" => lookup_sizes(rows),
        "lookup-single" => lookup_single(rows),
        "split-rows" => split(rows, common(rows, "split"), None),
        "split-sizes" => split(rows, None, common_rows(rows)),
        "split-memory" => split_memory(rows),
        "service" => jobs::service(rows),
        "changes" => jobs::changes(rows),
        "replicas" => jobs::replicas(rows),
        "targets" => jobs::targets(rows),
        "headline" => jobs::headline(rows),
        "floors" => floors(rows),
        "limits" => limits::limits(rows),
        "model" => limits::model_table(rows),
        "peers-short" => jobs::short(rows),
        _ => panic!("there is no table {name}"),
    }
}

/// Rows of a suite.
pub(super) fn of<'r>(rows: &'r [Row], suite: &'r str, job: &'r str) -> impl Iterator<Item = &'r Row> + Clone {
    rows.iter().filter(move |row| row.suite == suite && row.job == job)
}

/// The size that tables show: the common one, or the greatest.
pub(super) fn common(rows: &[Row], suite: &str) -> Option<u64> {
    let sizes = values(rows.iter().filter(|row| row.suite == suite), |row| row.recipients);
    sizes.iter().copied().find(|&size| size == COMMON).or(sizes.last().copied())
}

/// The number of ids with the most registers.
fn common_rows(rows: &[Row]) -> Option<u64> {
    let counts = values(of(rows, "split", "split"), |row| row.rows);
    let sizes = |count: &u64| {
        let of_count = of(rows, "split", "split").filter(|row| row.rows == *count);
        values(of_count, |row| row.recipients).len()
    };
    counts.into_iter().max_by_key(sizes)
}

/// 8000000 as 8 M.
pub(super) fn count(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        1000..1_000_000 => format!("{} k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{} M", number as f64 / 1e6),
        _ => format!("{} G", number as f64 / 1e9),
    }
}

/// Bytes in the unit that has few digits.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

/// Three digits.
pub(super) fn digits(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// The median, and in brackets least and most; a dash if it was not measured.
pub(super) fn cell(spread: Option<Spread>) -> String {
    spread.map_or("–".to_owned(), |Spread { least, median, most, .. }| {
        format!("{} ({} to {})", digits(median), digits(least), digits(most))
    })
}

/// A table from its head and rows.
pub(super) fn markdown(head: &[String], body: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let ruler = format!("|{}\n", "---|".repeat(head.len()));
    let body: String = body.iter().map(|cells| line(cells)).collect();
    line(head) + &ruler + &body
}

pub(super) fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// nabar in bold.
fn named(peer: &str) -> String {
    if peer == "nabar" { "**nabar**".to_owned() } else { peer.to_owned() }
}

/// Nanoseconds for an id, of a batch.
pub(super) fn batch(
    rows: &[Row],
    peer: &str,
    recipients: u64,
    order: &str,
    hits: u64,
    threads: u64,
) -> Option<Spread> {
    let matching = of(rows, "lookup", "batch").filter(|row| {
        (row.peer.as_str(), row.recipients, row.order.as_str(), row.hit_rate, row.threads)
            == (peer, recipients, order, hits, threads)
    });
    spread(matching.map(Row::nanoseconds))
}

/// The most threads that were used.
pub(super) fn most_threads(rows: &[Row], suite: &str) -> u64 {
    rows.iter().filter(|row| row.suite == suite).map(|row| row.threads).max().unwrap_or(1)
}

/// The peers of lookups, the fastest first.
pub(super) fn by_speed(rows: &[Row], recipients: u64) -> Vec<&str> {
    let mut names = peers(of(rows, "lookup", "batch").filter(|row| row.recipients == recipients));
    let median =
        |peer: &str| batch(rows, peer, recipients, "random", 50, 1).map_or(f64::MAX, |spread| spread.median);
    names.sort_by(|one, other| median(one).total_cmp(&median(other)));
    names
}

fn lookup_peers(rows: &[Row]) -> Option<String> {
    let recipients = common(rows, "lookup")?;
    let threads = most_threads(rows, "lookup");
    let line = |peer: &&str| {
        let row = of(rows, "lookup", "batch").find(|row| row.peer == **peer && row.recipients == recipients);
        let bytes = row.map_or(0.0, |row| row.bytes as f64 / row.recipients as f64);
        let mut cells = vec![named(peer), format!("{bytes:.1}")];
        cells.extend([0, 50, 100].map(|hits| cell(batch(rows, peer, recipients, "random", hits, 1))));
        cells.push(cell(batch(rows, peer, recipients, "random", 50, threads)));
        cells
    };
    let title = format!("{} recipients, ns per id", count(recipients));
    let last = format!("{threads} threads, 50 % hits");
    let head = head(&[&title, "bytes per recipient", "no hits", "50 % hits", "all hits", &last]);
    Some(markdown(&head, &by_speed(rows, recipients).iter().map(line).collect::<Vec<_>>()))
}

fn lookup_orders(rows: &[Row]) -> Option<String> {
    let recipients = common(rows, "lookup")?;
    let line = |peer: &&str| {
        let mut cells = vec![named(peer)];
        cells.extend(
            ["random", "list", "sorted"].map(|order| cell(batch(rows, peer, recipients, order, 50, 1))),
        );
        cells
    };
    let title = format!("{} recipients, ns per id", count(recipients));
    let head = head(&[&title, "drawn at random", "as in a list", "sorted by id"]);
    Some(markdown(&head, &by_speed(rows, recipients).iter().map(line).collect::<Vec<_>>()))
}

fn lookup_sizes(rows: &[Row]) -> Option<String> {
    let sizes = values(of(rows, "lookup", "batch"), |row| row.recipients);
    let line = |peer: &&str| {
        let mut cells = vec![named(peer)];
        cells.extend(sizes.iter().map(|&size| cell(batch(rows, peer, size, "random", 50, 1))));
        cells
    };
    let mut head = head(&["ns per id"]);
    head.extend(sizes.iter().map(|&size| format!("{} recipients", count(size))));
    let names = by_speed(rows, common(rows, "lookup")?);
    Some(markdown(&head, &names.iter().map(line).collect::<Vec<_>>()))
}

/// Lookups from the text of a list, of the peers measured so.
fn lookup_texts(rows: &[Row]) -> Option<String> {
    let recipients = common(rows, "lookup")?;
    let line = |peer: &&str| {
        let mut cells = vec![named(peer)];
        cells.extend(["random", "list", "sorted"].map(|order| {
            let matching = of(rows, "lookup", "text").filter(|row| {
                (row.peer.as_str(), row.recipients, row.order.as_str(), row.hit_rate)
                    == (*peer, recipients, order, 50)
            });
            cell(spread(matching.map(Row::nanoseconds)))
        }));
        cells
    };
    let names = peers(of(rows, "lookup", "text"));
    let title = format!("{} recipients, from twelve digits of text, ns per id", count(recipients));
    let head = head(&[&title, "drawn at random", "as in a list", "sorted by id"]);
    (!names.is_empty()).then(|| markdown(&head, &names.iter().map(line).collect::<Vec<_>>()))
}

/// Bytes a recipient that each one keeps, by size.
fn lookup_bytes(rows: &[Row]) -> Option<String> {
    let sizes = values(of(rows, "lookup", "batch"), |row| row.recipients);
    let line = |peer: &&str| {
        let bytes = |size: &u64| {
            let row = of(rows, "lookup", "batch").find(|row| row.peer == **peer && row.recipients == *size);
            row.map_or("–".to_owned(), |row| format!("{:.1}", row.bytes as f64 / row.recipients as f64))
        };
        std::iter::once(named(peer)).chain(sizes.iter().map(bytes)).collect::<Vec<_>>()
    };
    let mut head = head(&["bytes per recipient"]);
    head.extend(sizes.iter().map(|&size| format!("{} recipients", count(size))));
    let names = by_speed(rows, common(rows, "lookup")?);
    Some(markdown(&head, &names.iter().map(line).collect::<Vec<_>>()))
}

/// Nanoseconds for an id, one at a time.
fn single(rows: &[Row], peer: &str, recipients: u64, order: &str, hits: u64) -> Option<Spread> {
    let matching = of(rows, "lookup", "single").filter(|row| {
        (row.peer.as_str(), row.recipients, row.order.as_str(), row.hit_rate)
            == (peer, recipients, order, hits)
    });
    spread(matching.map(Row::nanoseconds))
}

fn lookup_single(rows: &[Row]) -> Option<String> {
    let recipients = common(rows, "lookup")?;
    let names = peers(of(rows, "lookup", "single"));
    let asked = [("random", 0), ("random", 50), ("random", 100), ("list", 50), ("sorted", 50)];
    let line = |peer: &&str| {
        let cells = asked.map(|(order, hits)| cell(single(rows, peer, recipients, order, hits)));
        std::iter::once(named(peer)).chain(cells).collect::<Vec<_>>()
    };
    let title = format!("{} recipients, ns per id", count(recipients));
    let orders =
        ["random, no hits", "random, 50 % hits", "random, all hits", "as in a list, 50 %", "sorted, 50 %"];
    let head = head(&[&[&title[..]], &orders[..]].concat());
    Some(markdown(&head, &names.iter().map(line).collect::<Vec<_>>()))
}

fn single_sizes(rows: &[Row]) -> Option<String> {
    let sizes = values(of(rows, "lookup", "single"), |row| row.recipients);
    let line = |peer: &&str| {
        let cells = sizes.iter().map(|&size| cell(single(rows, peer, size, "random", 50)));
        std::iter::once(named(peer)).chain(cells).collect::<Vec<_>>()
    };
    let mut head = head(&["random, 50 % hits, ns per id"]);
    head.extend(sizes.iter().map(|&size| format!("{} recipients", count(size))));
    let names = peers(of(rows, "lookup", "single"));
    (!sizes.is_empty()).then(|| markdown(&head, &names.iter().map(line).collect::<Vec<_>>()))
}

/// Building registers of all sizes.
fn build(rows: &[Row]) -> Option<String> {
    let line = |recipients: u64| {
        let built = of(rows, "split", "build").filter(|row| row.recipients == recipients);
        let memory = built.clone().next().map_or(0, |row| row.memory);
        let rate = spread(built.clone().map(|row| row.recipients as f64 / row.seconds / 1e6));
        vec![count(recipients), cell(spread(built.map(|row| row.seconds))), cell(rate), size(memory)]
    };
    let sizes = values(of(rows, "split", "build"), |row| row.recipients);
    let head = head(&["recipients", "s", "million recipients per second", "memory beyond mapped files"]);
    (!sizes.is_empty()).then(|| markdown(&head, &sizes.into_iter().map(line).collect::<Vec<_>>()))
}

/// Seconds of a split.
pub(super) fn split_seconds(rows: &[Row], peer: &str, recipients: u64, count: u64) -> Option<Spread> {
    let matching = of(rows, "split", "split")
        .filter(|row| (row.peer.as_str(), row.recipients, row.rows) == (peer, recipients, count));
    spread(matching.map(|row| row.seconds))
}

/// One register and growing lists, or one length of list and growing registers.
fn split(rows: &[Row], recipients: Option<u64>, length: Option<u64>) -> Option<String> {
    let measured = of(rows, "split", "split").filter(|row| {
        recipients.is_none_or(|recipients| row.recipients == recipients)
            && length.is_none_or(|length| row.rows == length)
    });
    let grows = if recipients.is_some() { |row: &Row| row.rows } else { |row: &Row| row.recipients };
    let sizes = values(measured.clone(), grows);
    let line = |peer: &&str| {
        let at = |size: &u64| {
            let (recipients, rows_of_list) = (recipients.unwrap_or(*size), length.unwrap_or(*size));
            cell(split_seconds(rows, peer, recipients, rows_of_list))
        };
        std::iter::once(named(peer)).chain(sizes.iter().map(at)).collect::<Vec<_>>()
    };
    let what = if recipients.is_some() { "rows" } else { "recipients" };
    let fixed = recipients.map(|number| format!("{} recipients, s", count(number)));
    let mut head = vec![fixed.or(length.map(|number| format!("{} rows, s", count(number))))?];
    head.extend(sizes.iter().map(|&size| {
        let hits = measured.clone().find(|row| grows(row) == size).map_or(0, |row| row.hit_rate);
        format!("{} {what}, {hits} % registered", count(size))
    }));
    (!sizes.is_empty()).then(|| markdown(&head, &peers(measured).iter().map(line).collect::<Vec<_>>()))
}

fn split_memory(rows: &[Row]) -> Option<String> {
    let recipients = common(rows, "split")?;
    let measured = of(rows, "split", "split").filter(|row| row.recipients == recipients && row.memory > 0);
    let sizes = values(measured.clone(), |row| row.rows);
    let line = |peer: &&str| {
        let at = |length: &u64| {
            let row = measured.clone().find(|row| row.peer == **peer && row.rows == *length);
            row.map_or("–".to_owned(), |row| (row.memory >> 20).to_string())
        };
        std::iter::once(named(peer)).chain(sizes.iter().map(at)).collect::<Vec<_>>()
    };
    let mut head = vec![format!("{} recipients, MiB at most", count(recipients))];
    head.extend(sizes.iter().map(|&size| format!("{} rows", count(size))));
    (!sizes.is_empty())
        .then(|| markdown(&head, &peers(measured.clone()).iter().map(line).collect::<Vec<_>>()))
}

fn floors(rows: &[Row]) -> Option<String> {
    let threads = most_threads(rows, "floors");
    let read = |job: &str, pages: &str, bytes: u64, threads: u64| {
        let matching = of(rows, "floors", job)
            .filter(|row| (row.peer.as_str(), row.bytes, row.threads) == (pages, bytes, threads));
        cell(spread(matching.map(Row::nanoseconds)))
    };
    let sizes = values(of(rows, "floors", "throughput"), |row| row.bytes);
    let line = |bytes: &u64| {
        vec![
            size(*bytes),
            read("latency", "small pages", *bytes, 1),
            read("latency", "huge pages", *bytes, 1),
            read("throughput", "small pages", *bytes, 1),
            read("throughput", "huge pages", *bytes, 1),
            read("throughput", "small pages", *bytes, threads),
        ]
    };
    let last = format!("prefetched, {threads} threads");
    let names =
        ["ns per read", "dependent", "dependent, huge pages", "prefetched", "prefetched, huge pages", &last];
    let reads = markdown(&head(&names), &sizes.iter().map(line).collect::<Vec<_>>());
    let copies = values(of(rows, "floors", "memcpy"), |row| row.threads).into_iter().map(|threads| {
        let copied = of(rows, "floors", "memcpy").filter(|row| row.threads == threads);
        vec![threads.to_string(), cell(spread(copied.map(|row| row.bytes as f64 / row.seconds / 1e9)))]
    });
    let copies = markdown(&head(&["copying, threads", "GB per second"]), &copies.collect::<Vec<_>>());
    (!sizes.is_empty()).then(|| format!("{reads}\n{copies}"))
}
