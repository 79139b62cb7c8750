//! Identities and lookups, part by part. `cargo bench --bench lookup`.
//!
//! The size is 1 million recipients and as many ids, or `NABAR_BENCH_RECIPIENTS`. All answers are compared with a hash
//! map's before anything is timed.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nabar::identities::{Country, Identity, Ordinal};
use nabar::register::{Answer, Question};
use rayon::prelude::*;
use std::hint::black_box;

mod support;

/// Ids that one thread asks for at a time.
const CHUNK: usize = 16 << 10;

fn size() -> usize {
    support::size(1_000_000)
}

/// Identities as they are written, to what they are, and back.
fn identities(criterion: &mut Criterion) {
    let swedish = support::Data::far(size(), size()).identities();
    let norwegian = support::Data::krr(size(), size()).identities();
    let with_dash = |id: &Identity| format!("{}-{}", &id.as_str()[..8], &id.as_str()[8..]);
    let plain = |id: &Identity| id.as_str().to_owned();
    let written: [(&str, Country, Vec<String>); 3] = [
        ("parse 12 digits", Country::Sweden, swedish.iter().map(plain).collect()),
        ("parse with a dash", Country::Sweden, swedish.iter().map(with_dash).collect()),
        ("parse 11 digits", Country::Norway, norwegian.iter().map(plain).collect()),
    ];
    let mut group = criterion.benchmark_group("identities");
    for (name, country, texts) in &written {
        group.throughput(Throughput::Elements(texts.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let parse = |text: &String| Identity::parse(text.as_bytes(), *country, support::today());
                assert_eq!(texts.iter().filter(|text| parse(text).is_ok()).count(), texts.len());
            });
        });
    }
    for (name, identities) in [("from ordinal", &swedish), ("from ordinal, Norwegian", &norwegian)] {
        group.throughput(Throughput::Elements(identities.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let same = |id: &&Identity| Identity::from_ordinal(id.ordinal()).as_ref() == Some(*id);
                assert_eq!(identities.iter().filter(same).count(), identities.len());
            });
        });
    }
}

/// Batches in every order, at every rate of hits, on one core and on all.
fn batches(criterion: &mut Criterion) {
    for (kind, data) in
        [("FaR", support::Data::far(size(), size())), ("KRR", support::Data::krr(size(), size()))]
    {
        let register = data.open();
        let sender = register.senders().first().map(|sender| sender.id.as_str());
        let question = register.question(sender, jiff::civil::date(2026, 6, 1)).expect("a question");
        let map = support::hash_map(&register, sender);
        let registered = |id: &Identity| map.contains_key(&support::number(id));
        let (hits, misses): (Vec<Identity>, Vec<Identity>) =
            data.identities().into_iter().partition(registered);
        let count = hits.len().min(misses.len());
        let half = || hits[..count / 2].iter().chain(&misses[..count / 2]).copied().collect();
        for (rate, ids) in [(0, misses.clone()), (50, half()), (100, hits.clone())] {
            for (order, ids) in orders(ids) {
                let mut group = criterion.benchmark_group(format!("batch: {kind}, {rate} % hits, {order}"));
                group.throughput(Throughput::Elements(ids.len() as u64)).sample_size(10);
                let expected: Vec<Answer> =
                    ids.iter().map(|id| map.get(&support::number(id)).copied().unwrap_or_default()).collect();
                let ordinals = support::ordinals(&ids);
                let mut answers = vec![Answer::default(); ordinals.len()];
                let mut threads = vec![1, rayon::current_num_threads()];
                threads.dedup();
                for threads in threads {
                    ask(&question, &ordinals, &mut answers, threads);
                    assert!(answers == expected, "the same answers as the hash map");
                    answers.fill(Answer::default());
                    let name = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
                    group.bench_function(name, |bencher| {
                        bencher.iter(|| ask(&question, &ordinals, black_box(&mut answers), threads));
                    });
                }
            }
        }
    }
}

/// Ids as they come, in the order of the ids, and drawn at random, some more than once.
fn orders(ids: Vec<Identity>) -> [(&'static str, Vec<Identity>); 3] {
    let mut draw = support::draws(ids.len());
    let drawn = ids.iter().map(|_| ids[draw()]).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    [("list order", ids), ("id order", sorted), ("random order", drawn)]
}

fn ask(question: &Question<'_>, ordinals: &[Ordinal], answers: &mut [Answer], threads: usize) {
    if threads == 1 {
        return question.ask_all(ordinals, answers).expect("undamaged");
    }
    let chunks = ordinals.par_chunks(CHUNK).zip(answers.par_chunks_mut(CHUNK));
    chunks.for_each(|(ordinals, answers)| question.ask_all(ordinals, answers).expect("undamaged"));
}

/// One id after the other, and what a hash map takes.
fn single(criterion: &mut Criterion) {
    let data = support::Data::far(size(), size());
    let (register, sender) = (data.open(), data.sender());
    let question = register.question(Some(&sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    let map = support::hash_map(&register, Some(&sender));
    for (order, identities) in orders(data.identities()) {
        let numbers: Vec<u64> = identities.iter().map(support::number).collect();
        for (identity, number) in identities.iter().zip(&numbers) {
            let expected = map.get(number).copied().unwrap_or_default();
            assert_eq!(question.answer(identity.ordinal()).expect("undamaged"), expected);
        }
        let mut group = criterion.benchmark_group(format!("single: {order}"));
        group.throughput(Throughput::Elements(identities.len() as u64)).sample_size(20);
        group.bench_function("nabar", |bencher| {
            bencher.iter(|| {
                for identity in &identities {
                    black_box(question.answer(identity.ordinal()).expect("undamaged"));
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

criterion_group!(benches, identities, batches, single);
criterion_main!(benches);
