//! The figures in the documents against the record of what was measured (`benches/record/peers.csv`).

// The package that measures makes the tables. Only this module of it, which needs nothing else, is compiled here.
#[allow(dead_code)]
#[path = "../../benches/peers/src/figures/mod.rs"]
mod recorded;

use crate::support::workspace::root;
use std::fs;

fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn record(name: &str) -> recorded::Record {
    let read = |ending: &str| read(&format!("benches/record/{name}{ending}"));
    let record = recorded::Record::read(&read(".csv"), &read("-machine.toml"));
    assert!(!record.rows.is_empty());
    record
}

/// The tables that each document has.
const TABLES: [(&str, &[&str]); 3] = [
    ("README.md", &["headline", "peers-short"]),
    (
        "docs/performance.md",
        &[
            "build",
            "changes",
            "lookup-bytes",
            "lookup-orders",
            "lookup-peers",
            "lookup-single",
            "lookup-sizes",
            "lookup-texts",
            "machine",
            "machine before",
            "replicas",
            "service",
            "single-sizes",
            "split-memory",
            "split-rows",
            "split-sizes",
            "targets",
            "targets before",
            "versions",
        ],
    ),
    ("docs/limits.md", &["floors", "limits", "model"]),
];

/// `cargo run --release --manifest-path benches/peers/Cargo.toml -- charts` updates the documents.
#[test]
fn documents_say_what_was_recorded() {
    let (record, before) = (record("peers"), record("peers-before"));
    for (name, tables) in TABLES {
        let document = read(name);
        let marks =
            document.lines().filter_map(|line| line.strip_prefix("<!-- figures:")?.strip_suffix(" -->"));
        let mut marks: Vec<&str> = marks.collect();
        marks.sort_unstable();
        assert_eq!(marks, tables, "{name}: its tables");
        let (expected, without) = recorded::filled(&document, &record, &before);
        assert_eq!(without, Vec::<String>::new(), "{name}: tables that the record has nothing for");
        for (line, expected) in document.lines().zip(expected.lines()) {
            assert_eq!(line, expected, "{name}");
        }
        assert_eq!(document, expected, "{name}");
    }
}

/// Each chart names the points that it shows.
#[test]
fn charts_show_what_was_recorded() {
    let charts = recorded::lines::charts(&record("peers").rows);
    assert_eq!(charts.len(), 5);
    for chart in charts {
        let image = read(&format!("docs/charts/{}", chart.file));
        assert_eq!(image.lines().last(), Some(&chart.remark()[..]), "{}", chart.file);
    }
}

/// Everything was measured on one machine, from one commit.
#[test]
fn the_record_is_of_one_run() {
    let recorded::Record { rows, machine } = record("peers");
    let suites: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.suite.as_str()).collect();
    assert!(machine.keys().map(String::as_str).eq(suites), "each suite has a machine");
    for name in ["commit", "processor", "kernel"] {
        let values = machine.values().flatten().filter(|(key, _)| key == name).map(|(_, value)| value);
        let values: std::collections::BTreeSet<&String> = values.collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
    }
}

/// Medians computed independently must appear in the tables.
#[test]
fn medians_of_the_record_are_in_the_tables() {
    let record = read("benches/record/peers.csv");
    let mut nanoseconds: Vec<f64> = Vec::new();
    for line in record.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        if cells[..3] == ["lookup", "batch", "nabar"]
            && cells[3] == "8000000"
            && cells[5..8] == ["random", "50", "1"]
        {
            let number = |at: usize| cells[at].parse::<f64>().expect("a number");
            nanoseconds.push(number(9) * 1e9 / number(4));
        }
    }
    nanoseconds.sort_by(f64::total_cmp);
    assert!(nanoseconds.len() >= 5, "at least five rounds");
    assert!(nanoseconds.len() % 2 == 1, "an odd number of rounds");
    let median = nanoseconds[nanoseconds.len() / 2];
    let median = if median < 10.0 { format!("{median:.2}") } else { format!("{median:.1}") };
    let performance = read("docs/performance.md");
    let mut lines = performance.lines().filter(|line| line.starts_with("| **nabar** |"));
    assert!(lines.any(|line| line.contains(&format!(" {median} ("))), "{median} is in no line of nabar's");
}

#[test]
fn spreads_and_markers_are_computed_as_documented() {
    let spread = recorded::spread([3.0, 1.0, 2.0, 10.0].into_iter()).expect("numbers");
    assert_eq!((spread.least, spread.median, spread.most, spread.rounds), (1.0, 2.5, 10.0, 4));
    assert_eq!(recorded::spread(std::iter::empty()), None);
    let marked = "<!-- figures:service -->old<!-- /figures -->\n";
    let nothing = recorded::Record::default();
    assert_eq!(recorded::filled(marked, &nothing, &nothing), (marked.to_owned(), vec!["service".to_owned()]));
}
