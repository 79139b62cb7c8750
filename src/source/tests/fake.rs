//! A register in memory that fails as a schedule says, and checks that it is asked as it wants to be.

use super::super::answer::{Answers, CallError};
use super::super::asking::{Ask, Place};
use super::super::config::SourceLimits;
use super::model::{self, Truth};
use crate::changes::ChangeBody;
use crate::identities::Ordinal;
use crate::register::Kind;
use crate::replica::tests::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Timers have milliseconds: calls may follow one another by so much earlier than the rate allows.
const TIMER: Duration = Duration::from_millis(2);

/// The register; clones share their state.
#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<FakeState>>);

pub(super) struct FakeState {
    pub(super) random: Random,
    kind: Kind,
    truth: Arc<BTreeMap<Ordinal, Truth>>,
    limits: SourceLimits,
    /// Probability of a fault, in thousandths.
    pub(super) faults: u64,
    /// Most ids of a call.
    pub(super) ids_max: usize,
    /// Number of the call after which none is answered.
    pub(super) away_after: u64,
    /// A call with one of these ids fails.
    pub(super) fails_for: BTreeSet<Ordinal>,
    /// These calls are refused, and not failures that pass.
    pub(super) refuses_access: bool,
    /// A call with this id is refused as if it had too many.
    pub(super) too_many_for: Option<Ordinal>,
    /// May be asked again after it was answered.
    pub(super) probe: Option<Ordinal>,
    /// Ids whose answers are in the journal, or were given to a call that expects them: these are not asked again.
    pub(super) answered: BTreeSet<Ordinal>,
    pub(super) calls: u64,
    in_flight: usize,
    /// Ids of calls in flight.
    asking: BTreeSet<Ordinal>,
    /// Whether each call that is not the only one is to be half full.
    pub(super) half_full: bool,
    /// How long each call takes; random if absent.
    pub(super) slow: Option<Duration>,
    left_alone_until: Option<Instant>,
    next_slot: Option<Instant>,
    pub(super) happened: BTreeMap<&'static str, u64>,
    /// What was asked otherwise than agreed.
    pub(super) wrong: Vec<String>,
}

/// A call in flight, which may be aborted at any time.
struct InFlight<'a>(&'a Fake, &'a [Ordinal]);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        state.asking.retain(|id| !self.1.contains(id));
    }
}

impl Fake {
    pub(super) fn new(
        kind: Kind,
        truth: Arc<BTreeMap<Ordinal, Truth>>,
        limits: SourceLimits,
        seed: u64,
    ) -> Fake {
        Fake(Arc::new(Mutex::new(FakeState {
            random: Random::new(seed),
            kind,
            truth,
            limits,
            faults: 0,
            ids_max: usize::MAX,
            away_after: u64::MAX,
            fails_for: BTreeSet::new(),
            refuses_access: false,
            too_many_for: None,
            probe: None,
            answered: BTreeSet::new(),
            calls: 0,
            in_flight: 0,
            asking: BTreeSet::new(),
            half_full: false,
            slow: None,
            left_alone_until: None,
            next_slot: None,
            happened: BTreeMap::new(),
            wrong: Vec::new(),
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FakeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run, in which time starts over.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        (state.calls, state.left_alone_until, state.next_slot) = (0, None, None);
    }
}

impl Ask for Fake {
    async fn call(&self, ids: &[Ordinal], _place: &mut Place) -> Result<Answers, CallError> {
        let time = self.state().begin_call(ids);
        let _in_flight = InFlight(self, ids);
        // Answers at once, too: then calls follow one another without a pause.
        if let Some(time) = time {
            sleep(time).await;
        }
        self.state().end_call(ids)
    }
}

impl FakeState {
    pub(super) fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn check(&mut self, holds: bool, what: &str) {
        if !holds {
            self.wrong.push(what.to_owned());
        }
    }

    /// Checks that a call may be made now. Returns how long it takes.
    fn begin_call(&mut self, ids: &[Ordinal]) -> Option<Duration> {
        let now = Instant::now();
        self.calls += 1;
        self.in_flight += 1;
        self.check(!ids.is_empty() && ids.len() <= self.limits.ids_per_call.get(), "ids of a call");
        self.check(ids.is_sorted_by(|a, b| a < b), "ids do not ascend");
        self.check(self.in_flight <= self.limits.calls_in_flight.get(), "calls in flight");
        self.check(!ids.iter().any(|id| self.asking.contains(id)), "an id was asked twice at the same time");
        let is_full_enough =
            !self.half_full || self.in_flight == 1 || 2 * ids.len() >= self.limits.ids_per_call.get();
        self.check(is_full_enough, "a call that is not half full");
        self.asking.extend(ids);
        self.check(self.left_alone_until.is_none_or(|until| until <= now), "a call that had to wait");
        self.check(self.next_slot.is_none_or(|slot| slot <= now + TIMER), "ids per second");
        let is_answered = |id| self.answered.contains(id) && self.probe != Some(*id);
        self.check(!ids.iter().any(is_answered), "an id was asked again");
        if let Some(rate) = self.limits.ids_per_second {
            let time = Duration::from_secs_f64(ids.len() as f64 / f64::from(rate.get()));
            self.next_slot = Some(now + time);
        }
        let random = self.random.chance(700).then(|| Duration::from_millis(self.random.below(400)));
        self.slow.or(random)
    }

    fn end_call(&mut self, ids: &[Ordinal]) -> Result<Answers, CallError> {
        if self.calls > self.away_after {
            self.note("away");
            return Err(CallError::again("away"));
        }
        if ids.iter().any(|id| self.fails_for.contains(id)) {
            return Err(match self.refuses_access {
                true => CallError::Stop("it refuses this id".to_owned()),
                false => CallError::again("it fails for this id"),
            });
        }
        if self.too_many_for.is_some_and(|id| ids.contains(&id)) {
            return Err(CallError::TooMany);
        }
        if self.random.chance(self.faults)
            && let Some(fault) = self.fault(ids)
        {
            return fault;
        }
        if ids.len() > self.ids_max {
            self.note("too many");
            return Err(CallError::TooMany);
        }
        if ids.iter().any(|id| self.truth[id].is_refused()) {
            self.note("bad ids");
            if ids.len() == 1 {
                self.answered.extend(ids);
            }
            return Err(CallError::BadIds);
        }
        self.answered.extend(ids);
        Ok(self.answers(ids))
    }

    /// The right answers, in any order.
    fn answers(&mut self, ids: &[Ordinal]) -> Answers {
        let mut answers = Answers::default();
        for id in ids {
            let answer = self.truth[id].answer(*id, &mut answers.operators);
            let at = self.random.below(1 + answers.answers.len() as u64) as usize;
            answers.answers.insert(at, answer);
        }
        answers
    }

    /// A fault at random; `None` if it is one of rows, and there are no rows for these ids.
    fn fault(&mut self, ids: &[Ordinal]) -> Option<Result<Answers, CallError>> {
        let fault = self.random.below(8);
        if fault >= 4 && ids.iter().any(|id| self.truth[id].is_refused()) {
            return None;
        }
        let mut rows = self.answers(ids);
        let at = self.random.below(rows.answers.len() as u64) as usize;
        let what = match fault {
            0 => {
                self.note("again");
                return Some(Err(CallError::again("again")));
            }
            1 => {
                let after = Duration::from_millis(self.random.below(90_000));
                let until = Instant::now() + after;
                self.left_alone_until = self.left_alone_until.max(Some(until));
                self.note("again after some time");
                return Some(Err(CallError::Again { why: "later".to_owned(), after: Some(after) }));
            }
            2 => {
                self.note("bad answer");
                return Some(Err(CallError::BadAnswer("bad".to_owned())));
            }
            3 => {
                self.note("token refused");
                return Some(Err(CallError::TokenRefused("token".to_owned())));
            }
            4 => {
                rows.answers.swap_remove(at);
                "a row is missing"
            }
            5 => {
                rows.answers.push(rows.answers[at].clone());
                "a row is doubled"
            }
            6 => {
                // In place of a row, or besides all.
                if self.random.chance(500) {
                    rows.answers.swap_remove(at);
                }
                let foreign = model::ids(self.kind, &mut self.random, 1)[0];
                if ids.contains(&foreign) {
                    return None;
                }
                rows.answers.push(ChangeBody::Remove(foreign));
                "a row is foreign"
            }
            _ => {
                rows.answers.push(ChangeBody::SetAside { reason: "other".into(), column: "".into() });
                "a row names no id"
            }
        };
        self.note(what);
        Some(Ok(rows))
    }
}
