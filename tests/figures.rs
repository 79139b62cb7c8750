//! The figures in the documents against the record of what was measured (`benches/record/peers.csv`).

// The tables are made by the package that measures. It is not compiled here, but for this module, which needs
// nothing else.
#[allow(dead_code)]
#[path = "../benches/peers/src/figures/mod.rs"]
mod figures;

use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `cargo run --release --manifest-path benches/peers/Cargo.toml -- charts` puts it right.
#[test]
fn documents_say_what_was_recorded() {
    let rows = figures::rows(&read("benches/record/peers.csv"));
    assert!(!rows.is_empty());
    for name in ["README.md", "docs/performance.md", "docs/limits.md"] {
        let document = read(name);
        let (expected, without) = figures::filled(&document, &rows);
        assert_eq!(without, Vec::<String>::new(), "{name}: tables that the record has nothing for");
        for (line, expected) in document.lines().zip(expected.lines()) {
            assert_eq!(line, expected, "{name}");
        }
        assert_eq!(document, expected, "{name}");
    }
}

/// Medians once more, by somebody else, and looked for where they must stand.
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
fn spreads_and_marks_are_as_they_are_meant() {
    let spread = figures::spread([3.0, 1.0, 2.0, 10.0].into_iter()).expect("numbers");
    assert_eq!((spread.least, spread.median, spread.most, spread.rounds), (1.0, 2.5, 10.0, 4));
    assert_eq!(figures::spread(std::iter::empty()), None);
    let remark =
        "<!-- figures: somebody prints this -->\ntext\n<!-- figures:service -->old<!-- /figures -->\n";
    assert_eq!(figures::filled(remark, &[]), (remark.to_owned(), vec!["service".to_owned()]));
}
