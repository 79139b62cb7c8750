//! Checking and splitting lists of every dialect: `cargo bench --bench mailing`.
//!
//! 1 million recipients (`NABAR_BENCH_RECIPIENTS`) and as many rows. Every split is checked to have every row once.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nabar::mailing::{self, Destination, Duplicates, Language, ListOptions, Mailing, Report};
use nabar::register::Question;
use std::fs;
use std::path::Path;

mod support;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What lists look like, and what the generator is told for that.
const DIALECTS: [(&str, &[&str]); 6] = [
    ("semicolon", &[]),
    ("clean and sorted", &["--dirt", "0", "--duplicates", "0", "--spellings", "0", "--order", "id"]),
    ("comma, some quotes", &["--dialect", "comma", "--quotes", "some"]),
    ("tab, all quoted, crlf", &["--dialect", "tab", "--quotes", "all", "--line-end", "crlf"]),
    ("pipe, latin1", &["--dialect", "pipe", "--encoding", "latin1"]),
    ("id in the last column", &["--id-column", "last"]),
];

fn mailing<'m>(question: &'m Question<'m>, list: &'m Path) -> Mailing<'m> {
    Mailing {
        question,
        list,
        options: ListOptions::default(),
        today: support::today(),
        duplicates: Duplicates::Keep,
        max_rejected: None,
        prices: None,
        threads: rayon::current_num_threads(),
        progress: &(),
    }
}

fn lists(criterion: &mut Criterion) {
    let rows = support::size(1_000_000);
    let data = support::Data::far(rows, rows);
    let (register, sender) = (data.open(), data.sender());
    let question = register.question(Some(&sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    let to = data.directory.join("split");
    for (name, options) in DIALECTS {
        let list = data.with_dialect(name, rows, options);
        let mailing = mailing(&question, &list);
        let mut group = criterion.benchmark_group(format!("list: {name}"));
        let bytes = fs::metadata(&list).expect("a list").len();
        group.throughput(Throughput::Bytes(bytes)).sample_size(10);
        let whole = |report: Report| assert_eq!(report.list.rows, rows as u64);
        group.bench_function("check", |bencher| {
            bencher.iter(|| whole(mailing::check(&mailing).expect("checked")));
        });
        group.bench_function("split", |bencher| {
            let destination =
                Destination { directory: &to, force: true, sync: false, language: Language::Swedish };
            bencher.iter(|| whole(mailing::split(&mailing, &destination).expect("split")));
        });
        let _ = fs::remove_dir_all(&to);
    }
}

criterion_group!(benches, lists);
criterion_main!(benches);
