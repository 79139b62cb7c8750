//! Jobs that end early in every way and are taken up again. The register file is always that of an undisturbed
//! run, no id is asked again after its answer was durable or the job that asked goes on, and none is lost.
//!
//! `NABAR_SIMULATIONS` sets the number of seeds, `NABAR_SEED` a single seed.

use super::super::answer::subject;
use super::super::asking::{self, Asked};
use super::super::config::SourceLimits;
use super::super::{AskProgress, SourceError};
use super::fake::Fake;
use super::model::{self, Truth, expected, said};
use super::{collected, left, written};
use crate::changes::encoding::ChangeDecoder;
use crate::identities::{Identity, Ordinal};
use crate::register::Kind;
use crate::replica::tests::random::Random;
use crate::replica::tests::{fast_directory, message, number};
use crate::store::format::{SEGMENT_HEAD_BYTES, frame_of};
use jiff::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Default number of seeds.
const SIMULATIONS: u64 = 3000;
/// Runs of a job after which nothing fails any longer.
const DISTURBED_RUNS: u64 = 8;
/// What must happen at least once in [`SIMULATIONS`] seeds.
const EXPECTED: [&str; 20] = [
    "again",
    "again after some time",
    "bad answer",
    "token refused",
    "a row is missing",
    "a row is doubled",
    "a row is foreign",
    "a row names no id",
    "too many",
    "bad ids",
    "away",
    "ended: away",
    "ended: bad answers",
    "ended: refused",
    "ended: interrupted",
    "completed",
    "crash: cut off",
    "crash: parts unwritten",
    "crash: head unwritten",
    "another list",
];

struct World {
    random: Random,
    kind: Kind,
    ids: Vec<Ordinal>,
    truth: Arc<BTreeMap<Ordinal, Truth>>,
    limits: SourceLimits,
    register: Fake,
    files: TempDir,
    since: Timestamp,
}

/// Interrupts a job after some calls.
struct Interruption<'a> {
    register: &'a Fake,
    after: u64,
    last: Cell<u64>,
    journal: PathBuf,
    /// Lengths up to which the journal was durable, ascending.
    synced: RefCell<Vec<usize>>,
}

impl AskProgress for Interruption<'_> {
    fn answered(&self, ids: u64, total: u64, asked: Asked) {
        assert!(self.last.get() <= ids && ids <= total, "progress goes back, or beyond the end");
        assert!(asked.retries <= asked.calls);
        self.last.set(ids);
        let length = length(&self.journal);
        let mut synced = self.synced.borrow_mut();
        if synced.last() != Some(&length) {
            synced.push(length);
        }
    }

    fn interrupted(&self) -> bool {
        self.register.state().calls >= self.after
    }
}

fn length(path: &Path) -> usize {
    fs::metadata(path).expect("a file").len() as usize
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let kind = random.one_of(&[Kind::Far, Kind::Krr]);
        let count = if random.chance(100) { 150 } else { 1 + random.below(40) };
        let ids = model::ids(kind, &mut random, count as usize);
        let refused = random.one_of(&[0, 20, 300]);
        let truth = ids.iter().map(|id| (*id, Truth::random(kind, *id, &mut random, refused)));
        let truth = Arc::new(truth.collect());
        let limits = SourceLimits {
            ids_per_call: NonZeroUsize::new(1 + random.below(50) as usize).expect("not 0"),
            calls_in_flight: NonZeroUsize::new(1 + random.below(4) as usize).expect("not 0"),
            ids_per_second: NonZeroU32::new(random.one_of(&[0, 0, 2, 50, 1000])),
            ..SourceLimits::default()
        };
        let register = Fake::new(kind, Arc::clone(&truth), limits.clone(), random.next());
        register.state().ids_max = random.one_of(&[usize::MAX, 1, 3, 20]);
        let since = Timestamp::now() - jiff::SignedDuration::from_hours(12);
        World { random, kind, ids, truth, limits, register, files: fast_directory(), since }
    }

    fn journal(&self) -> PathBuf {
        self.files.path().join("run.nabar.journal")
    }

    /// Some of the ids: the list may change between runs.
    fn list(&mut self) -> Vec<Ordinal> {
        if self.random.chance(800) {
            return self.ids.clone();
        }
        self.register.state().note("another list");
        self.ids.clone().into_iter().filter(|_| self.random.chance(700)).collect()
    }

    fn run(&mut self) {
        let start = Timestamp::now();
        for run in 0.. {
            let is_disturbed = run < DISTURBED_RUNS;
            let list = self.list();
            let is_complete = self.run_once(&list, is_disturbed);
            if is_complete && !list.is_empty() && (!is_disturbed || self.random.chance(700)) {
                return self.check_register(&list, start);
            }
            assert!(is_complete || is_disturbed, "an undisturbed run is not complete");
        }
    }

    /// One run of the job, after which its journal may be what a crash leaves. Returns whether it is complete.
    fn run_once(&mut self, list: &[Ordinal], is_disturbed: bool) -> bool {
        let mut after = u64::MAX;
        {
            let mut state = self.register.state();
            state.faults = 0;
            state.away_after = u64::MAX;
            if is_disturbed {
                state.faults = self.random.one_of(&[0, 100, 500]);
                let few = self.random.below(20);
                match self.random.below(4) {
                    0 => after = few,
                    1 => state.away_after = few,
                    _ => {}
                }
            }
        }
        self.register.begin();
        let mut collected = collected(self.kind, &self.journal(), list, self.since);
        let expected: Vec<Ordinal> = {
            let state = self.register.state();
            list.iter().filter(|id| !state.answered.contains(id)).copied().collect()
        };
        assert!(left(&collected) == expected, "what is left is not what has no answer");
        // Opening the journal has made it durable.
        let progress = Interruption {
            register: &self.register,
            after,
            last: Cell::new(0),
            journal: self.journal(),
            synced: RefCell::new(vec![length(&self.journal())]),
        };
        let asked = asking::ask(
            &self.register,
            collected.left(),
            &self.limits,
            &mut collected,
            (&runtime(), &progress),
        );
        let synced = progress.synced.into_inner();
        let is_complete = self.check_end(asked, expected.len());
        if is_complete && !list.is_empty() {
            written(collected, &self.files.path().join("at-once.nabar")).expect("consistent");
        } else {
            drop(collected);
        }
        assert!(ids_of(&self.read(), usize::MAX) == self.register.state().answered, "answers are lost");
        let crashes = is_disturbed && self.random.chance(if is_complete { 200 } else { 500 });
        if crashes {
            self.crash(&synced);
        }
        is_complete && !crashes
    }

    /// Checks how a run ended. Returns whether it is complete.
    fn check_end(&mut self, asked: Result<Asked, SourceError>, left: usize) -> bool {
        let mut state = self.register.state();
        assert!(state.wrong.is_empty(), "{:?}", state.wrong);
        let calls = state.calls;
        let end = match asked {
            Ok(asked) => {
                assert_eq!((asked.ids, asked.calls), (left as u64, calls));
                assert!(asked.retries <= calls);
                "completed"
            }
            Err(SourceError::Away { silence, .. }) => {
                assert!(silence > super::super::config::time(self.limits.give_up_after));
                "ended: away"
            }
            Err(SourceError::BadAnswer { attempts, .. }) => {
                assert_eq!(attempts, 5);
                "ended: bad answers"
            }
            Err(SourceError::Refused(why)) => {
                assert_eq!(why, "token");
                "ended: refused"
            }
            Err(SourceError::Interrupted) => "ended: interrupted",
            Err(other) => panic!("{other}"),
        };
        state.note(end);
        end == "completed"
    }

    fn read(&self) -> Vec<u8> {
        fs::read(self.journal()).expect("a journal")
    }

    /// Leaves of the journal what a crash at some time of the run may have left. `synced` has the lengths up to which it
    /// was durable in the course of the run.
    fn crash(&mut self, synced: &[usize]) {
        let mut bytes = self.read();
        let whole = bytes.clone();
        let mut state = self.register.state();
        let at = self.random.below(synced.len() as u64) as usize;
        let (durable, next) = (synced[at], synced.get(at + 1).copied());
        if at == 0 && durable == SEGMENT_HEAD_BYTES && self.random.chance(200) {
            bytes.truncate(self.random.below(1 + SEGMENT_HEAD_BYTES as u64) as usize);
            if self.random.chance(500) {
                bytes.fill(0);
            }
            state.note("crash: head unwritten");
        } else if let Some(next) = next.filter(|_| self.random.chance(500)) {
            // Between two syncs the bytes reach the disk in any order.
            bytes.truncate(next);
            for block in bytes[durable..].chunks_mut(64) {
                if self.random.chance(300) {
                    block.fill(0);
                }
            }
            state.note("crash: parts unwritten");
        } else {
            let end = next.unwrap_or(whole.len());
            bytes.truncate(durable + self.random.below(1 + (end - durable) as u64) as usize);
            state.note("crash: cut off");
        }
        let intact = bytes.iter().zip(&whole).take_while(|(a, b)| a == b).count();
        state.answered = ids_of(&whole, intact);
        fs::write(self.journal(), &bytes).expect("written");
    }

    fn check_register(&self, list: &[Ordinal], start: Timestamp) {
        let (path, at_once) = (self.files.path().join("run.nabar"), self.files.path().join("at-once.nabar"));
        let (register, scope) =
            written(collected(self.kind, &self.journal(), list, self.since), &path).expect("consistent");
        let [read, at_once] = [&path, &at_once].map(|path| fs::read(path).expect("a file"));
        assert!(read == at_once, "the answers of the journal give another file");
        let refused = list.iter().filter(|id| self.truth[id].is_refused()).count();
        assert_eq!((scope.ids, scope.refused), (list.len() as u64, refused as u64));
        let listed: BTreeSet<Ordinal> = list.iter().copied().collect();
        for id in &self.ids {
            let truth = self.truth.get(id).filter(|_| listed.contains(id));
            assert_eq!(said(&register, *id), expected(truth));
            let time = register.answered(&Identity::from_ordinal(*id).expect("an identity")).expect("intact");
            assert_eq!(time.is_some(), truth.is_some());
            if let Some(time) = time {
                assert!((start.as_second()..=Timestamp::now().as_second()).contains(&time.as_second()));
                assert!((scope.oldest..=scope.newest).contains(&time.as_second()));
            }
        }
        collected(self.kind, &self.journal(), list, self.since).remove().expect("removed");
    }
}

/// The ids with an answer in the whole frames of the first bytes of a journal; each has one.
fn ids_of(bytes: &[u8], length: usize) -> BTreeSet<Ordinal> {
    let (mut at, mut ids) = (SEGMENT_HEAD_BYTES, BTreeSet::new());
    while let Some(frame) = frame_of(bytes, at).filter(|frame| frame.end() <= length) {
        for change in ChangeDecoder::new(&bytes[frame.payload.clone()], frame.after) {
            if let Some(id) = subject(&change.expect("a change").what) {
                assert!(ids.insert(id), "an id has two answers");
            }
        }
        at = frame.end();
    }
    ids
}

/// What happened, and how often. Errors: what failed.
fn simulate(seed: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut world = World::new(seed);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(()) => Ok(std::mem::take(&mut world.register.state().happened)),
        Err(panic) => Err(format!(
            "seed {seed}: {}; replay with NABAR_SEED={seed} cargo test --lib source::tests",
            message(&*panic)
        )),
    }
}

#[test]
fn a_disturbed_job_ends_as_an_undisturbed_one() {
    let seeds = match number("NABAR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NABAR_SIMULATIONS").unwrap_or(SIMULATIONS),
    };
    let (count, mut happened) = (seeds.end - seeds.start, BTreeMap::new());
    for seed in seeds {
        match simulate(seed) {
            Ok(more) => {
                more.into_iter().for_each(|(what, times)| *happened.entry(what).or_insert(0) += times)
            }
            Err(what) => panic!("{what}"),
        }
    }
    println!("{happened:#?}");
    if count >= SIMULATIONS {
        let never: Vec<_> = EXPECTED.iter().filter(|what| !happened.contains_key(*what)).collect();
        assert!(never.is_empty(), "never simulated: {never:?}");
    }
}
