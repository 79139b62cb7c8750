//! Identities and lookups, part by part. `cargo bench --bench lookup`.
//!
//! The size is 1 million recipients and as many rows, or `NABAR_BENCH_RECIPIENTS`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nabar::identities::{Country, Identity};
use nabar::register::Answer;
use std::hint::black_box;

mod support;

fn size() -> usize {
    support::size(1_000_000)
}

fn identities(criterion: &mut Criterion) {
    let identities = support::Data::far(size(), size()).identities();
    let mut group = criterion.benchmark_group("identities");
    group.throughput(Throughput::Elements(identities.len() as u64));
    let dashed: Vec<String> =
        identities.iter().map(|id| format!("{}-{}", &id.as_str()[..8], &id.as_str()[8..])).collect();
    let parse = |text: &[u8]| Identity::parse(text, Country::Sweden, support::today());
    group.bench_function("parse 12 digits", |bencher| {
        bencher.iter(|| {
            let valid = identities.iter().filter(|id| parse(id.as_bytes()).is_ok()).count();
            assert_eq!(valid, identities.len());
        });
    });
    group.bench_function("parse with a dash", |bencher| {
        bencher.iter(|| {
            let valid = dashed.iter().filter(|text| parse(text.as_bytes()).is_ok()).count();
            assert_eq!(valid, identities.len());
        });
    });
    group.bench_function("from ordinal", |bencher| {
        bencher.iter(|| {
            let same =
                identities.iter().filter(|id| Identity::from_ordinal(id.ordinal()).as_ref() == Some(*id));
            assert_eq!(same.count(), identities.len());
        });
    });
}

fn lookups(criterion: &mut Criterion) {
    let data = support::Data::far(size(), size());
    let (register, sender) = (data.open(), data.sender());
    let question = register.question(Some(&sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    let map = support::hash_map(&register, &sender);
    let mut identities = data.identities();
    for order in ["list order", "id order"] {
        if order == "id order" {
            identities.sort_unstable();
        }
        let ordinals = support::ordinals(&identities);
        let numbers: Vec<u64> = identities.iter().map(support::number).collect();
        let mut answers = vec![Answer::default(); ordinals.len()];
        let expected: Vec<Answer> =
            numbers.iter().map(|number| map.get(number).copied().unwrap_or_default()).collect();
        let mut group = criterion.benchmark_group(order);
        group.throughput(Throughput::Elements(ordinals.len() as u64)).sample_size(20);
        group.bench_function("batch", |bencher| {
            bencher.iter(|| question.ask_all(&ordinals, black_box(&mut answers)).expect("undamaged"));
        });
        assert!(answers == expected, "the same answers as the hash map");
        group.bench_function("one at a time", |bencher| {
            bencher.iter(|| {
                for identity in &identities {
                    black_box(question.ask(identity).expect("undamaged"));
                }
            });
        });
        group.bench_function("hashbrown", |bencher| {
            bencher.iter_batched_ref(
                || vec![Answer::default(); numbers.len()],
                |answers| {
                    for (answer, number) in answers.iter_mut().zip(&numbers) {
                        *answer = map.get(number).copied().unwrap_or_default();
                    }
                },
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, identities, lookups);
criterion_main!(benches);
