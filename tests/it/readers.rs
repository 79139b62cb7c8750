//! Readers of a changing register see whole versions, in order, and only durable ones.
//!
//! Every batch writes the same values to both recipients of some pairs, so a reader that finds a pair that differs has
//! seen half a batch, or two versions at once. The two of a pair are in different blocks of the index. The number of a
//! batch determines its pairs, so a reader also knows how old each pair must be.

use crate::support::flag::SetOnDrop;
use crate::support::recipients::{init, recipients};
use jiff::{Timestamp, civil::date};
use nabar::identities::{Identity, Ordinal};
use nabar::register::{Answer, Kind, Recipient, Register};
use nabar::store::{Lines, Pending, Reader, StoreError, Writer};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Sequence number of the fixture.
const FIRST: u64 = 1000;
const PAIRS: usize = 150;
/// Pairs of a batch, besides the first pair, which is in every batch.
const TOUCHED: usize = 7;
const BATCH: u64 = 2 * (TOUCHED as u64 + 1);
const BATCHES: u64 = 4000;
const SENDER: &str = "164821000025";

struct Pairs {
    ids: Vec<(String, Identity)>,
    /// Of the first recipient of each pair, then of the second of each.
    ordinals: Vec<Ordinal>,
}

impl Pairs {
    fn new() -> Pairs {
        let ids = recipients(2 * PAIRS);
        let ordinals = ids.iter().map(|(_, identity)| identity.ordinal()).collect();
        Pairs { ids, ordinals }
    }

    /// The changes of a batch, numbered from 1: first the first recipient of each pair, then the second of each.
    fn batch(&self, number: u64) -> Lines {
        let pairs: Vec<usize> =
            [0].into_iter().chain((0..TOUCHED).map(|index| touched(number, index))).collect();
        let halves =
            [0, PAIRS].into_iter().flat_map(|half| pairs.iter().map(move |pair| (*pair, half + pair)));
        let mut text = String::new();
        for ((pair, index), sequence) in halves.zip(FIRST + (number - 1) * BATCH + 1..) {
            let (id, time) = (&self.ids[index].0, time(number));
            // Varied outcomes: the same for both, another in the next round.
            let sort = number as usize / 3 + pair;
            let (account, pending) = (["Secure", "Secure", "Not"][sort % 3], sort.is_multiple_of(5));
            let operator = ["164921000016", "164921079770", "164921159564", "164921239341"][sort % 4];
            let acceptance = ["all-except", "only"][sort / 2 % 2];
            let exceptions = ["\"164821000025\"", "\"164821000108\",\"164821000181\"", ""][sort % 7 % 3];
            writeln!(
                text,
                "{{\"sequence\":{sequence},\"time\":\"{time}\",\"put_recipient\":{{\"recipient_id\":\"{id}\",\
                 \"type\":\"{account}\",\"pending\":{pending},\"operator_id\":\"{operator}\",\
                 \"last_registration\":\"{time}\",\"acceptance\":\"{acceptance}\",\"exceptions\":[{exceptions}]}}}}"
            )
            .expect("written");
        }
        Lines::parse(text.as_bytes(), Kind::Far)
    }

    /// Checks a version through all kinds of lookup. Returns its sequence number.
    fn check(&self, register: &Register, full: bool) -> u64 {
        let sequence = register.sequence();
        let batches = (sequence - FIRST) / BATCH;
        assert_eq!((sequence - FIRST) % BATCH, 0, "sequence {sequence} is in the middle of a batch");
        let question = register.question(Some(SENDER), date(2026, 6, 1)).expect("a sender");
        let mut answers = vec![Answer::default(); self.ordinals.len()];
        question.ask_all(&self.ordinals, &mut answers).expect("undamaged");
        let (ones, others) = answers.split_at(PAIRS);
        assert!(ones == others, "two differ at sequence {sequence}");
        for pair in (0..PAIRS).filter(|pair| full || pair % 16 == batches as usize % 16 || *pair == 0) {
            let [one, other] = [pair, PAIRS + pair].map(|index| {
                let identity = &self.ids[index].1;
                assert_eq!(question.ask(identity).expect("undamaged"), ones[pair].outcome());
                register.recipient(identity).expect("undamaged")
            });
            assert_eq!(one, other, "pair {pair}, sequence {sequence}");
            let found = match &one {
                Some(Recipient::Far { last_registration, .. }) => *last_registration,
                _ => None,
            };
            assert_eq!(found, last(batches, pair).map(time), "pair {pair}, sequence {sequence}");
        }
        sequence
    }
}

/// The pair at an index of a batch: they follow those of the batch before.
fn touched(number: u64, index: usize) -> usize {
    1 + ((number - 1) as usize * TOUCHED + index) % (PAIRS - 1)
}

/// The last of the first `batches` batches that changed a pair.
fn last(batches: u64, pair: usize) -> Option<u64> {
    if pair == 0 {
        return (batches > 0).then_some(batches);
    }
    let touched = (batches as usize * TOUCHED).checked_sub(pair)?;
    let last = pair - 1 + touched / (PAIRS - 1) * (PAIRS - 1);
    Some((last / TOUCHED) as u64 + 1)
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_second(1_780_300_000 + number as i64).expect("in range")
}

/// A writer at work, and whether it is done.
struct Work<'a> {
    pairs: &'a Pairs,
    writer: &'a Writer,
    over: &'a AtomicBool,
    acknowledged: &'a AtomicU64,
}

impl Work<'_> {
    /// Checks one version after another until the writer is done, and the last once more.
    fn watch(&self, mut newest: impl FnMut() -> u64) -> u64 {
        let (mut before, mut versions) = (FIRST, 0);
        loop {
            let over = self.over.load(Ordering::Relaxed);
            let acknowledged = self.acknowledged.load(Ordering::SeqCst);
            let sequence = newest();
            assert!(sequence >= before, "{before}, then {sequence}");
            assert!(sequence >= acknowledged, "{acknowledged} is durable, {sequence} is seen");
            versions += u64::from(sequence > before);
            before = sequence;
            if over {
                return versions;
            }
            thread::yield_now();
        }
    }

    /// Waits for batches to be durable, as several feeds would.
    fn wait(&self, batches: &Mutex<Receiver<(u64, Option<Pending>)>>) {
        loop {
            let next = batches.lock().expect("unharmed").recv();
            let Ok((to, pending)) = next else { return };
            self.writer.wait(pending).expect("durable");
            assert!(self.writer.register().sequence() >= to, "acknowledged before it was visible");
            self.acknowledged.fetch_max(to, Ordering::SeqCst);
        }
    }

    /// One checkpoint after another; every fourth keeps the files.
    fn checkpoint(&self) -> u64 {
        let mut made = 0;
        while !self.over.load(Ordering::Relaxed) {
            let checkpoint = self.writer.checkpoint(made % 4 == 3).expect("made");
            assert!(checkpoint.sequence <= self.writer.register().sequence());
            made += u64::from(checkpoint.changes > 0);
            thread::yield_now();
        }
        made
    }

    fn write(&self) {
        let _end = SetOnDrop(self.over);
        let (pending_in, pending) = sync_channel(16);
        let pending = Mutex::new(pending);
        thread::scope(|scope| {
            let waiting = [0; 3].map(|_| scope.spawn(|| self.wait(&pending)));
            for number in 1..=BATCHES {
                let (batch, pending) = self.writer.append(self.pairs.batch(number), None).expect("applied");
                assert_eq!(batch.to, FIRST + number * BATCH);
                pending_in.send((batch.to, pending)).expect("a waiting thread");
            }
            drop(pending_in);
            waiting.into_iter().for_each(|waiting| waiting.join().expect("all durable"));
        });
    }
}

/// Opens a data directory that was just made. A process that another test starts has a copy of its lock until it runs its
/// own program.
fn writer(directory: &Path) -> Writer {
    loop {
        match Writer::open(directory) {
            Err(StoreError::Locked(_)) => thread::yield_now(),
            opened => return opened.expect("opened"),
        }
    }
}

/// Batches, checkpoints, readers in the writer's process, and readers as in other processes, all at the same time.
#[test]
fn every_reader_sees_whole_versions_in_their_order() {
    let work = tempfile::tempdir().expect("directory");
    let directory = work.path().join("far");
    let pairs = Pairs::new();
    init(&pairs.ids, &directory);
    let writer = writer(&directory);
    let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(FIRST));
    let at_work = Work { pairs: &pairs, writer: &writer, over: &over, acknowledged: &acknowledged };
    let (seen, checkpoints) = thread::scope(|scope| {
        let pinning =
            [0; 2].map(|_| scope.spawn(|| at_work.watch(|| pairs.check(&writer.register(), false))));
        let following = scope.spawn(|| {
            let mut reader = Reader::open(&directory).expect("opened");
            at_work.watch(|| {
                reader.refresh().expect("refreshed");
                pairs.check(&reader.register(), false)
            })
        });
        // A new reader finds everything that was acknowledged before.
        let coming = scope.spawn(|| {
            at_work.watch(|| pairs.check(&Reader::open(&directory).expect("opened").register(), true))
        });
        // A version that is kept does not change.
        let keeping = scope.spawn(|| {
            let kept = writer.register();
            let sequence = pairs.check(&kept, true);
            at_work.watch(|| writer.register().sequence());
            assert_eq!(pairs.check(&kept, true), sequence);
        });
        let checkpoints = scope.spawn(|| at_work.checkpoint());
        at_work.write();
        keeping.join().expect("the version is kept");
        let seen = pinning
            .into_iter()
            .chain([following, coming])
            .map(|thread| thread.join().expect("whole versions"));
        (seen.collect::<Vec<_>>(), checkpoints.join().expect("checkpoints"))
    });
    println!("{BATCHES} batches, {checkpoints} checkpoints; versions that the readers saw: {seen:?}");
    assert_eq!(pairs.check(&writer.register(), true), FIRST + BATCHES * BATCH);
    drop(writer);
    assert_eq!(
        pairs.check(&Reader::open(&directory).expect("opened").register(), true),
        FIRST + BATCHES * BATCH
    );
}

/// Of two checkpoints between two refreshes the second removes a segment that the reader has never seen.
#[test]
fn a_reader_that_missed_a_segment_catches_up() {
    let work = tempfile::tempdir().expect("directory");
    let directory = work.path().join("far");
    let pairs = Pairs::new();
    init(&pairs.ids, &directory);
    let writer = writer(&directory);
    let mut reader = Reader::open(&directory).expect("opened");
    let mut number = 0;
    for checkpoints in 0..4 {
        for _ in 0..checkpoints {
            number += 1;
            writer.apply(pairs.batch(number), None).expect("applied");
            writer.checkpoint(false).expect("made");
        }
        number += 1;
        writer.apply(pairs.batch(number), None).expect("applied");
        assert!(reader.refresh().expect("read"), "after {checkpoints} checkpoints");
        assert_eq!(pairs.check(&reader.register(), true), FIRST + number * BATCH);
        assert!(!reader.refresh().expect("read"), "nothing more");
    }
}
