//! Registers of answers that were taken over from an earlier one.

use super::super::journal::Journal;
use super::super::known::take_over;
use super::super::{SourceError, Terms};
use super::model::{self, Truth, expected, said};
use super::{collected, left, subject_of, terms_of, written};
use crate::identities::{Identity, Ordinal};
use crate::register::{Kind, Register};
use crate::replica::tests::fast_directory;
use crate::replica::tests::random::Random;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Answers at some times, and what the last of each id is.
struct Asked {
    ids: Vec<Ordinal>,
    last: BTreeMap<Ordinal, (Truth, Timestamp)>,
}

/// Appends answers for random ids: most at several times, and in another order.
fn ask(kind: Kind, random: &mut Random, journal: &mut Journal, now: Timestamp) -> Asked {
    let count = 1 + random.below(80) as usize;
    let ids = model::ids(kind, random, count);
    let mut last = BTreeMap::new();
    for _ in 0..2 * ids.len() {
        let id = random.one_of(&ids);
        let truth = Truth::random(kind, id, random, 150);
        // Later answers of the journal may have earlier times: clocks are set.
        let age = SignedDuration::from_millis(random.below(24 * 3600 * 1000) as i64);
        let time = now - age;
        journal.append(time, truth.answers(id)).expect("appended");
        last.insert(id, (truth, time));
    }
    journal.sync().expect("synced");
    Asked { ids, last }
}

fn at(register: &Register, id: Ordinal) -> Option<i64> {
    let identity = Identity::from_ordinal(id).expect("an identity");
    register.answered(&identity).expect("intact").map(Timestamp::as_second)
}

/// Takes answers over for all of `ids`, and returns the register of the new journal.
fn taken_over(
    known: &Register,
    ids: &[Ordinal],
    since: Timestamp,
    directory: &Path,
) -> (Vec<bool>, Register) {
    let path = directory.join("second.journal");
    let mut first = collected(known.kind(), &path, ids, since);
    take_over(known, &terms_of(known.kind()), &mut first).expect("taken over");
    let left_then = left(&first);
    drop(first);
    // As after a crash: what was taken over is in the journal, and is not looked up again.
    let second = collected(known.kind(), &path, ids, since);
    assert!(left(&second) == left_then);
    let (register, _) = written(second, &directory.join("second.nabar")).expect("consistent");
    (ids.iter().map(|id| left_then.binary_search(id).is_err()).collect(), register)
}

fn check(kind: Kind, seed: u64) {
    let directory = fast_directory();
    let (mut random, now) = (Random::new(seed), Timestamp::now());
    let first = directory.path().join("first.journal");
    let mut journal = Journal::open(&first, &subject_of(kind)).expect("a journal");
    let asked = ask(kind, &mut random, &mut journal, now);
    drop(journal);
    let path = directory.path().join("first.nabar");
    let first = collected(kind, &first, &asked.ids, Timestamp::MIN);
    let (known, scope) = written(first, &path).expect("consistent");
    assert_eq!(scope.ids, asked.last.len() as u64);
    for id in &asked.ids {
        let last = asked.last.get(id);
        assert_eq!(said(&known, *id), expected(last.map(|(truth, _)| truth)), "the last answer counts");
        assert_eq!(at(&known, *id), last.map(|(_, time)| time.as_second()));
    }
    // All of them, then those that are young enough.
    for (number, since) in [Timestamp::MIN, now - SignedDuration::from_hours(12)].into_iter().enumerate() {
        let directory = directory.path().join(number.to_string());
        std::fs::create_dir(&directory).expect("a directory");
        let (answered, register) = taken_over(&known, &asked.ids, since, &directory);
        for (id, answered) in asked.ids.iter().zip(answered) {
            // The register file has whole seconds.
            let young = asked.last.get(id).filter(|(_, time)| time.as_second() >= since.as_second());
            let young = young.filter(|(_, time)| {
                Timestamp::from_second(time.as_second()).is_ok_and(|second| second >= since)
            });
            assert_eq!(answered, young.is_some());
            assert_eq!(said(&register, *id), expected(young.map(|(truth, _)| truth)));
            assert_eq!(at(&register, *id), young.map(|(_, time)| time.as_second()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn answers_are_taken_over_while_they_are_young(seed: u64, is_far: bool) {
        check(if is_far { Kind::Far } else { Kind::Krr }, seed);
    }
}

/// Answers for another sender, or of another register, are not taken over; nor those of a complete register.
#[test]
fn answers_of_another_scope_are_not_taken_over() {
    let directory = fast_directory();
    let (mut random, now) = (Random::new(7), Timestamp::now());
    let run = directory.path().join("run.journal");
    let mut journal = Journal::open(&run, &subject_of(Kind::Far)).expect("a journal");
    let asked = ask(Kind::Far, &mut random, &mut journal, now);
    drop(journal);
    let path = directory.path().join("run.nabar");
    let (known, _) =
        written(collected(Kind::Far, &run, &asked.ids, Timestamp::MIN), &path).expect("consistent");
    let mut other = collected(Kind::Far, &directory.path().join("other.journal"), &asked.ids, Timestamp::MIN);
    for terms in [
        Terms { sender: Some("164821000033"), ..terms_of(Kind::Far) },
        Terms { on_behalf_of: "999888777", ..terms_of(Kind::Far) },
        Terms { address: "https://other.example/", ..terms_of(Kind::Far) },
        terms_of(Kind::Krr),
    ] {
        let taken = take_over(&known, &terms, &mut other);
        assert!(matches!(taken, Err(SourceError::OtherScope)));
        assert!(left(&other) == asked.ids && other.is_empty());
    }
}
