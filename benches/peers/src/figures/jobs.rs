//! Whole jobs and their targets.

use super::tables::{by_speed, cell, common, count, digits, head, markdown, of, size};
use super::{Row, Spread, peers, spread, values};

/// Rows of the list in the README.
const COMMON_ROWS: u64 = 4_000_000;

/// A target.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}
use Goal::{AtLeast, AtMost};

/// A line of a table: job, measurement, unit, and the target if there is one. `None` if it was not measured.
fn line(what: &str, measured: Option<Spread>, unit: &str, goal: Option<Goal>) -> Option<Vec<String>> {
    let measured = measured?;
    let (text, met) = match goal {
        None => (String::new(), true),
        Some(AtMost(most)) => (format!("at most {most}"), measured.median <= most),
        Some(AtLeast(least)) => (format!("at least {least}"), measured.median >= least),
    };
    let missed = if met { "" } else { ", **missed**" };
    let number = if measured.rounds == 1 { digits(measured.median) } else { cell(Some(measured)) };
    Some(vec![what.to_owned(), format!("{number} {unit}").trim().to_owned(), text + missed])
}

fn goals(lines: Vec<Option<Vec<String>>>) -> Option<String> {
    let lines: Vec<Vec<String>> = lines.into_iter().flatten().collect();
    (!lines.is_empty()).then(|| markdown(&head(&["", "measured", "goal"]), &lines))
}

/// How many times as long the first takes as the second for one of their rows: the spread of the rounds' ratios.
fn times<'r>(
    one: impl Iterator<Item = &'r Row>,
    other: impl Iterator<Item = &'r Row> + Clone,
) -> Option<Spread> {
    let each = |row: &Row| row.seconds / row.rows.max(1) as f64;
    let ratio = |row: &'r Row| {
        let same_round = other.clone().find(|other| other.round == row.round)?;
        Some(each(row) / each(same_round))
    };
    spread(one.filter_map(ratio))
}

/// A single measurement.
fn once(number: f64) -> Option<Spread> {
    spread(std::iter::once(number))
}

/// The splits in the README.
fn splits<'r>(rows: &'r [Row], peer: &'r str) -> impl Iterator<Item = &'r Row> + Clone + use<'r> {
    let recipients = common(rows, "split");
    let lengths =
        values(of(rows, "split", "split").filter(move |row| Some(row.recipients) == recipients), |row| {
            row.rows
        });
    let length = lengths.iter().copied().rfind(|&length| length <= COMMON_ROWS);
    of(rows, "split", "split")
        .filter(move |row| row.peer == peer && Some(row.recipients) == recipients && Some(row.rows) == length)
}

/// The dataframe engine that is the fastest.
fn engine(rows: &[Row]) -> Option<&'static str> {
    let seconds = |name: &&str| spread(splits(rows, name).map(|row| row.seconds)).map(|spread| spread.median);
    let engines = ["DuckDB", "Polars"].into_iter().filter_map(|name| Some((seconds(&name)?, name)));
    engines.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, name)| name)
}

/// Building and splitting, without the targets.
pub(super) fn headline(rows: &[Row]) -> Option<String> {
    let lines = build_and_split(rows)?.into_iter().flatten().map(|mut cells| {
        cells.truncate(2);
        cells
    });
    Some(markdown(&head(&["", "measured"]), &lines.collect::<Vec<_>>()))
}

fn build_and_split(rows: &[Row]) -> Option<Vec<Option<Vec<String>>>> {
    let recipients = common(rows, "split")?;
    let built = of(rows, "split", "build").filter(|row| row.recipients == recipients);
    let split = splits(rows, "nabar").next()?;
    let own = of(rows, "split", "own memory")
        .find(|row| (row.recipients, row.rows) == (split.recipients, split.rows));
    let mib = |row: Option<&Row>| once((row?.memory >> 20) as f64);
    let list = format!("`nabar split` of {} rows, from the start of the process", count(split.rows));
    Some(vec![
        line(
            &format!("`nabar build` of {} recipients", count(recipients)),
            spread(built.clone().map(|row| row.seconds)),
            "s",
            None,
        ),
        line("its memory beyond mapped files", mib(built.clone().next()), "MiB", Some(AtMost(1024.0))),
        line(&list, spread(splits(rows, "nabar").map(|row| row.seconds)), "s", None),
        line("its memory beyond mapped files", mib(own), "MiB", Some(AtMost(100.0))),
        line(
            "its time, against `cp` of what it writes",
            times(splits(rows, "nabar"), splits(rows, "cp")),
            "times",
            Some(AtMost(1.5)),
        ),
    ])
}

/// All targets except those of changes and replicas.
pub(super) fn targets(rows: &[Row]) -> Option<String> {
    let mut lines = build_and_split(rows)?;
    if let Some(engine) = engine(rows) {
        let what = format!("{engine}, the fastest of the dataframe engines, against it");
        lines.push(line(
            &what,
            times(splits(rows, engine), splits(rows, "nabar")),
            "times",
            Some(AtLeast(15.0)),
        ));
    }
    lines.extend(lookup_targets(rows)?);
    lines.extend(service_targets(rows)?);
    goals(lines)
}

fn lookup_targets(rows: &[Row]) -> Option<Vec<Option<Vec<String>>>> {
    let recipients = common(rows, "lookup")?;
    let lookups = |job: &'static str, peer: &'static str, order: &'static str| {
        of(rows, "lookup", job).filter(move |row| {
            (row.recipients, row.peer.as_str(), row.order.as_str(), row.hit_rate, row.threads)
                == (recipients, peer, order, 50, 1)
        })
    };
    let against = |job, peer, order| times(lookups(job, peer, order), lookups(job, "nabar", order));
    let bytes = |peer| lookups("batch", peer, "random").next().map(|row| row.bytes as f64);
    Some(vec![
        line(
            "hashbrown's time for a batch in random order, against nabar's",
            against("batch", "hashbrown", "random"),
            "times",
            Some(AtLeast(4.0)),
        ),
        line(
            "ptr_hash's time for a batch in random order, against nabar's",
            against("batch", "ptr_hash", "random"),
            "times",
            Some(AtLeast(1.0)),
        ),
        line(
            "ptr_hash's time for a batch sorted by id, against nabar's",
            against("batch", "ptr_hash", "sorted"),
            "times",
            Some(AtLeast(1.5)),
        ),
        line(
            "nabar's bytes, against ptr_hash's",
            bytes("nabar").zip(bytes("ptr_hash")).and_then(|(ours, theirs)| once(ours / theirs)),
            "times",
            Some(AtMost(0.33)),
        ),
        line(
            "nabar's bytes, against packed ptr_hash's",
            bytes("nabar").zip(bytes("ptr_hash packed")).and_then(|(ours, theirs)| once(ours / theirs)),
            "times",
            None,
        ),
        line(
            "hashbrown's time for single lookups in random order, against nabar's",
            against("single", "hashbrown", "random"),
            "times",
            Some(AtLeast(1.0)),
        ),
        line(
            "hashbrown's time for single lookups sorted by id, against nabar's",
            against("single", "hashbrown", "sorted"),
            "times",
            Some(AtLeast(1.0)),
        ),
    ])
}

fn service_targets(rows: &[Row]) -> Option<Vec<Option<Vec<String>>>> {
    common(rows, "service")?;
    let asked = |job: &'static str| of(rows, "service", job);
    let redis = |job| times(asked(redis_job(job)), asked(job));
    let late = spread(asked("latency: 99 %").map(|row| row.seconds * 1e3));
    Some(vec![
        line("compact, 10 000 ids, against Redis", redis("compact 10 000 ids"), "times", Some(AtLeast(60.0))),
        line("compact, 1000 ids, against Redis", redis("compact 1000 ids"), "times", Some(AtLeast(40.0))),
        line("JSON, 1000 ids, against Redis", redis("JSON 1000 ids"), "times", Some(AtLeast(8.0))),
        line(
            "SOAP `isReachable`, 1000 ids: its time, against nginx that sends the same answer from a file",
            times(asked("SOAP isReachable 1000 ids"), asked("nginx: the same answer from a file")),
            "times",
            Some(AtMost(3.0)),
        ),
        line("compact, 1000 ids, at half of its load: 99th percentile", late, "ms", Some(AtMost(2.0))),
    ])
}

/// The job of Redis that is compared with a request.
fn redis_job(job: &str) -> &'static str {
    if job.contains("10 000") { "Redis MGET 10 000 keys" } else { "Redis MGET 1000 keys" }
}

/// Measurements of the service that are not jobs.
const BESIDE: [&str; 2] = ["latency", "memory"];

/// The jobs of the service, in their order.
pub(super) fn service_jobs(rows: &[Row]) -> Vec<&str> {
    let mut jobs: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| row.suite == "service") {
        let known = jobs.contains(&row.job.as_str());
        if !known && !BESIDE.iter().any(|name| row.job.starts_with(name)) {
            jobs.push(&row.job);
        }
    }
    // nabar first, then the others; contestants begin in turn, so that any may be the first of the record.
    jobs.sort_by_key(|job| (job.starts_with("Redis"), job.starts_with("nginx"), *job));
    jobs
}

pub(super) fn service(rows: &[Row]) -> Option<String> {
    let recipients = common(rows, "service")?;
    let line = |job: &&str| {
        let rate = spread(of(rows, "service", job).map(|row| 1.0 / row.seconds));
        let ids = spread(of(rows, "service", job).map(|row| row.rows as f64 / row.seconds / 1e6));
        let redis = times(of(rows, "service", redis_job(job)), of(rows, "service", job));
        vec![
            (*job).to_owned(),
            cell(rate),
            cell(ids),
            redis.map_or("–".to_owned(), |redis| digits(redis.median)),
        ]
    };
    let title = format!("{} recipients", count(recipients));
    let head = head(&[&title, "requests per second", "million ids per second", "times Redis"]);
    let table = markdown(&head, &service_jobs(rows).iter().map(line).collect::<Vec<_>>());
    let late = |name: &str| {
        let rounds = of(rows, "service", name).map(|row| row.seconds * 1e3);
        spread(rounds).map_or("–".to_owned(), |spread| digits(spread.median))
    };
    let memory = spread(
        of(rows, "service", "memory beyond files")
            .filter(|row| row.peer == "nabar")
            .map(|row| row.bytes as f64),
    );
    let memory = memory.map_or(String::new(), |Spread { least, most, .. }| {
        let (least, most) = (size(least as u64), size(most as u64));
        format!(" Memory beyond files, during two million more requests: {least} to {most}.")
    });
    let redis = of(rows, "service", "memory beyond files").find(|row| row.peer == "Redis");
    let redis = redis.map_or(String::new(), |row| {
        format!(" Redis has {:.0} bytes per recipient.", row.bytes as f64 / row.recipients as f64)
    });
    Some(format!(
        "{table}\nAt half of its load a compact request of 1000 ids takes {} ms (median), {} ms (99th percentile), {} ms \
         (99.9th).{memory}{redis}\n",
        late("latency: median"),
        late("latency: 99 %"),
        late("latency: 99.9 %")
    ))
}

/// A register that changes: criterion's samples.
pub(super) fn changes(rows: &[Row]) -> Option<String> {
    common(rows, "changes")?;
    let milliseconds = |job: &str| spread(of(rows, "changes", job).map(|row| row.seconds * 1e3));
    let rate = |job: &str| spread(of(rows, "changes", job).map(|row| row.rows as f64 / row.seconds / 1e6));
    let median = |job: &str| Some(spread(of(rows, "changes", job).map(|row| row.seconds))?.median);
    let mut lines = vec![
        line(
            "batch of 1000, without the sync",
            milliseconds("batches of 1000/without the sync"),
            "ms",
            Some(AtMost(1.0)),
        ),
        line(
            "batch of 10 000, durable and visible",
            milliseconds("batches of 10000/durable and visible"),
            "ms",
            Some(AtMost(10.0)),
        ),
        line(
            "the same, million changes per second",
            rate("batches of 10000/durable and visible"),
            "",
            Some(AtLeast(1.0)),
        ),
        line(
            "batch of 100 000, without the sync",
            milliseconds("batches of 100000/without the sync"),
            "ms",
            Some(AtMost(25.0)),
        ),
        line(
            "KRR: batch of 1000, without the sync",
            milliseconds("KRR batches of 1000/without the sync"),
            "ms",
            None,
        ),
        line(
            "KRR: batch of 10 000, durable and visible",
            milliseconds("KRR batches of 10000/durable and visible"),
            "ms",
            None,
        ),
    ];
    let jobs = rows.iter().filter(|row| row.suite == "changes").map(|row| row.job.as_str());
    let mut names: Vec<&str> = jobs.collect();
    names.dedup();
    if let Some(opening) = names.iter().find(|name| name.starts_with("opening/")) {
        let opened = of(rows, "changes", opening).next().map_or(0, |row| row.rows);
        let what = format!("opening, with a log of {} changes", count(opened));
        lines.push(line(
            &what,
            spread(of(rows, "changes", opening).map(|row| row.seconds)),
            "s",
            Some(AtMost(1.0)),
        ));
    }
    const FILE: &str = "lookups/of the register file ";
    let file = names.iter().find_map(|name| Some((median(name)?, name.strip_prefix(FILE)?)));
    for before in names.iter().filter(|name| name.ends_with(": before")) {
        let with = before.trim_start_matches("lookups/").trim_end_matches(": before");
        let (Some(was), Some(during), Some(after)) = (
            median(before),
            median(&format!("lookups/{with}: 100 000 changes a second")),
            median(&format!("lookups/{with}: after")),
        ) else {
            continue;
        };
        let how = with.replace(" threads ", " threads, ").replace("1 threads", "1 thread");
        if let Some((file, _)) = file.filter(|(_, threads)| with.starts_with(threads)) {
            let what = format!("rate of lookups of changed parts, against the register file ({how})");
            lines.push(line(&what, once(file / was), "", None));
        }
        let arrived =
            of(rows, "changes", &format!("arrival {with}")).next().map(|row| row.rows as f64 / row.seconds);
        let arrived = arrived.map_or("100".to_owned(), |rate| format!("{:.0}", rate / 1e3));
        let what = format!(
            "rate of lookups while {arrived} 000 changes per second arrive, against before and after ({how})"
        );
        lines.push(line(&what, once((was + after) / 2.0 / during), "", Some(AtLeast(0.9))));
    }
    goals(lines)
}

/// Replicas over loopback.
pub(super) fn replicas(rows: &[Row]) -> Option<String> {
    common(rows, "replicas")?;
    let beginning =
        |peer: &'static str| of(rows, "replicas", "beginning").filter(move |row| row.peer == peer);
    let throughput = of(rows, "replicas", "throughput");
    let delay = of(rows, "replicas", "delay");
    let steady = |peer: &str| {
        let share = of(rows, "replicas", "steady").find(|row| row.peer == peer)?;
        once(share.seconds * 100.0)
    };
    goals(vec![
        line(
            "until a new replica can be read, against `cp` of the register file",
            times(beginning("readable"), beginning("cp")),
            "times",
            Some(AtMost(2.0)),
        ),
        line(
            "the same, against `cp` and `sync`",
            times(beginning("readable"), beginning("cp and sync")),
            "times",
            None,
        ),
        line(
            "until its content digest has been compared, against `cp`",
            times(beginning("compared"), beginning("cp")),
            "times",
            None,
        ),
        line(
            "million changes per second, from the source to a reader of the replica",
            spread(throughput.map(|row| row.rows as f64 / row.seconds / 1e6)),
            "",
            Some(AtLeast(0.5)),
        ),
        line(
            "from an acknowledged change to a reader of an idle replica",
            spread(delay.map(|row| row.seconds * 1e3)),
            "ms",
            Some(AtMost(10.0)),
        ),
        line(
            "of a core that the replica takes at 1000 changes per second",
            steady("replica"),
            "%",
            Some(AtMost(5.0)),
        ),
        line("of a core that the service takes for that", steady("service"), "%", None),
    ])
}

/// The table of the README: each job, nabar, and the others in the order of their times.
pub(super) fn short(rows: &[Row]) -> Option<String> {
    let mut body = Vec::new();
    if let Some(recipients) = common(rows, "lookup") {
        let median = |peer: &str| {
            super::tables::batch(rows, peer, recipients, "random", 50, 1).map(|spread| spread.median)
        };
        let job =
            format!("batch lookup, random order, {} recipients, one thread, ns per id", count(recipients));
        body.push(ranked(job, &by_speed(rows, recipients), median));
    }
    if let Some(recipients) = common(rows, "split") {
        let measured = of(rows, "split", "split").filter(|row| row.recipients == recipients);
        for length in values(measured.clone(), |row| row.rows).into_iter().rev().take(3).rev() {
            let median = |peer: &str| {
                super::tables::split_seconds(rows, peer, recipients, length).map(|spread| spread.median)
            };
            let job = format!("split a list of {} rows, {} recipients, s", count(length), count(recipients));
            body.push(ranked(job, &peers(measured.clone()), median));
        }
    }
    if let Some(recipients) = common(rows, "service") {
        let ids = |job: &str| {
            let rates = of(rows, "service", job).map(|row| row.seconds * 1e9 / row.rows as f64);
            spread(rates).map(|spread| spread.median)
        };
        let job =
            format!("HTTP requests, {} recipients, 10 000 ids per request, ns per id", count(recipients));
        let median = |peer: &str| match peer {
            "nabar" => ids("compact 10 000 ids"),
            "Redis" => ids("Redis MGET 10 000 keys"),
            _ => ids("nginx: compact 10 000 ids from a file"),
        };
        let names = ["nabar", "Redis", "nginx with the answer in a file"];
        body.push(ranked(job, &names, median));
    }
    (!body.is_empty()).then(|| markdown(&head(&["medians", "nabar", "others"]), &body))
}

fn ranked(job: String, names: &[&str], median: impl Fn(&str) -> Option<f64>) -> Vec<String> {
    let mut others: Vec<(f64, &str)> = names
        .iter()
        .filter(|name| **name != "nabar")
        .filter_map(|name| Some((median(name)?, *name)))
        .collect();
    others.sort_by(|one, other| one.0.total_cmp(&other.0));
    let others: Vec<String> =
        others.into_iter().map(|(number, name)| format!("{name} {}", digits(number))).collect();
    vec![job, median("nabar").map_or("–".to_owned(), digits), others.join(", ")]
}
