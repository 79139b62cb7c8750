//! Identities and lookups, each step separately. `cargo bench --bench lookup`.
//!
//! The size is 1 million recipients and as many ids, or `NABAR_BENCH_RECIPIENTS`. All answers are compared with those
//! of a hash map before anything is timed, and all results are checked after they were timed.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nabar::identities::{Country, Identity, Ordinal, Space};
use nabar::register::{Answer, Question};
use rayon::prelude::*;
use std::hint::black_box;

mod support;

/// Ids per lookup of a thread.
const CHUNK: usize = 16 << 10;

fn size() -> usize {
    support::size(1_000_000)
}

/// A spelling of identities: name, country, and how an identity is written, `None` if it cannot be written so.
type Spelling = (&'static str, Country, fn(&str) -> Option<String>);

const SPELLINGS: [Spelling; 10] = [
    ("parse 12 digits", Country::Sweden, |id| Some(id.to_owned())),
    ("parse with a dash", Country::Sweden, |id| Some(format!("{}-{}", &id[..8], &id[8..]))),
    ("parse 10 digits", Country::Sweden, |id| without_century(id).map(str::to_owned)),
    ("parse 10 digits with a dash", Country::Sweden, |id| {
        without_century(id).map(|ten| format!("{}-{}", &ten[..6], &ten[6..]))
    }),
    ("parse with a plus", Country::Sweden, |id| {
        born(id, "1827".."1927").then(|| format!("{}+{}", &id[2..8], &id[8..]))
    }),
    ("parse without a leading zero", Country::Sweden, |id| {
        born(id, "2001".."2010").then(|| id[3..].to_owned())
    }),
    ("parse 11 digits", Country::Norway, |id| Some(id.to_owned())),
    ("parse 11 digits with a space", Country::Norway, |id| Some(format!("{} {}", &id[..6], &id[6..]))),
    ("parse 11 digits with a dash", Country::Norway, |id| Some(format!("{}-{}", &id[..6], &id[6..]))),
    ("parse without a leading zero, Norwegian", Country::Norway, |id| {
        id.strip_prefix('0').map(str::to_owned)
    }),
];

/// Whether the person is born in one of these years; an organisation is born in none.
fn born(id: &str, years: std::ops::Range<&str>) -> bool {
    years.contains(&&id[..4])
}

/// Ten digits of an organisation, or of a person who is surely not yet a hundred in 2026.
fn without_century(id: &str) -> Option<&str> {
    (id.starts_with("16") || born(id, "1927".."2026")).then(|| &id[2..])
}

/// Parsing spellings to identities.
fn identities(criterion: &mut Criterion) {
    let swedish = support::Data::far(size(), size()).identities();
    let norwegian = support::Data::krr(size(), size()).identities();
    let mut group = criterion.benchmark_group("identities");
    for (name, country, spell) in SPELLINGS {
        let all = if country == Country::Sweden { &swedish } else { &norwegian };
        let spelt = all.iter().filter_map(|id| Some((*id, spell(id.as_str())?)));
        let (expected, texts): (Vec<Identity>, Vec<String>) = spelt.unzip();
        assert!(!texts.is_empty(), "no identity to {name}");
        group.throughput(Throughput::Elements(texts.len() as u64));
        let mut read = vec![None; texts.len()];
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for (identity, text) in read.iter_mut().zip(&texts) {
                    *identity = Identity::parse(text.as_bytes(), country, support::today()).ok();
                }
                black_box(&mut read);
            });
            assert!(read.iter().flatten().eq(&expected), "each is the identity that was written");
        });
    }
}

/// Canonical text to ordinal, and back to text: of each Swedish space, and of the Norwegian ones.
fn ordinals(criterion: &mut Criterion) {
    let swedish = support::Data::far(size(), size()).identities();
    let norwegian = support::Data::krr(size(), size()).identities();
    let of = |space| swedish.iter().filter(|id| id.space() == space).copied().collect::<Vec<_>>();
    let swedish = [Space::Personnummer, Space::Samordningsnummer, Space::Organisationsnummer];
    let swedish = swedish.map(|space| (space.name(), Country::Sweden, of(space)));
    let mut group = criterion.benchmark_group("ordinals");
    for (name, country, identities) in swedish.into_iter().chain([("Norwegian", Country::Norway, norwegian)])
    {
        assert!(!identities.is_empty(), "no {name}");
        let texts: Vec<&[u8]> = identities.iter().map(Identity::as_bytes).collect();
        let expected = support::ordinals(&identities);
        group.throughput(Throughput::Elements(identities.len() as u64));
        let mut found = vec![None; texts.len()];
        group.bench_function(format!("{name}: of text"), |bencher| {
            bencher.iter(|| {
                for (ordinal, text) in found.iter_mut().zip(&texts) {
                    let identity = Identity::parse(text, country, support::today());
                    *ordinal = identity.ok().map(|identity| identity.ordinal());
                }
                black_box(&mut found);
            });
            assert!(found.iter().flatten().eq(&expected), "each has its own ordinal");
        });
        // Text to ordinal and back to the same text: no two have the same ordinal.
        let all = texts.concat();
        let mut written = Vec::with_capacity(all.len());
        group.bench_function(format!("{name}: to text"), |bencher| {
            bencher.iter(|| {
                written.clear();
                for ordinal in &expected {
                    let identity = Identity::from_ordinal(*ordinal).expect("somebody's");
                    written.extend_from_slice(identity.as_bytes());
                }
                black_box(&mut written);
            });
            assert!(written == all, "each ordinal has its text");
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
                    let name = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
                    group.bench_function(name, |bencher| {
                        answers.fill(Answer::default());
                        bencher.iter(|| ask(&question, &ordinals, black_box(&mut answers), threads));
                        assert!(answers == expected, "the same answers as before it was timed");
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

/// One id after the other, compared with a hash map.
fn single(criterion: &mut Criterion) {
    let data = support::Data::far(size(), size());
    let (register, sender) = (data.open(), data.sender());
    let question = register.question(Some(&sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    let map = support::hash_map(&register, Some(&sender));
    for (order, identities) in orders(data.identities()) {
        let numbers: Vec<u64> = identities.iter().map(support::number).collect();
        let answer = |identity: &Identity| question.answer(identity.ordinal()).expect("undamaged");
        let mapped = |number: &u64| map.get(number).copied().unwrap_or_default();
        let expected: Vec<Answer> = numbers.iter().map(mapped).collect();
        let mut answers: Vec<Answer> = identities.iter().map(answer).collect();
        assert!(answers == expected, "the same answers as the hash map");
        let mut group = criterion.benchmark_group(format!("single: {order}"));
        group.throughput(Throughput::Elements(identities.len() as u64)).sample_size(20);
        group.bench_function("nabar", |bencher| {
            answers.fill(Answer::default());
            bencher.iter(|| {
                black_box(&mut answers).iter_mut().zip(&identities).for_each(|(to, id)| *to = answer(id));
            });
            assert!(answers == expected, "the same answers as before it was timed");
        });
        group.bench_function("hashbrown", |bencher| {
            answers.fill(Answer::default());
            bencher.iter(|| {
                black_box(&mut answers).iter_mut().zip(&numbers).for_each(|(to, id)| *to = mapped(id));
            });
            assert!(answers == expected, "the same answers as before it was timed");
        });
        group.finish();
    }
}

criterion_group!(benches, identities, ordinals, batches, single);
criterion_main!(benches);
