//! Asks for many ids in calls, again where a call failed, until each has an answer.

use super::answer::{Answers, CallError, check, refused};
use super::config::{SourceLimits, time};
use super::journal::{Journal, JournalError};
use super::{AskProgress, SourceError};
use crate::identities::{Identity, Ordinal};
use crate::replica::backoff::Backoff;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Attempts of a call whose answers do not fit it.
const BAD_ANSWERS_MAX: u32 = 5;
/// Ids that a register may refuse before it has answered for any.
const REFUSED_MAX: usize = 100;
/// Time between the calls of different callers to a register that does not answer.
const AWAY_PAUSE: Duration = Duration::from_secs(1);
/// How often the job looks for an interruption.
const LOOK: Duration = Duration::from_millis(100);

/// Counts of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Ids that were answered.
    pub ids: u64,
    /// Calls.
    pub calls: u64,
    /// Calls that failed and were made again.
    pub retries: u64,
}

/// Answers of a call, and when it was made.
pub(super) type Answered = (Timestamp, Answers);

/// State that all calls of a job share.
struct Shared<R> {
    caller: Caller<R>,
    ids: Vec<Ordinal>,
    /// Ids before this one are answered or being asked.
    next: AtomicUsize,
    /// Whether a call has failed in a way that ends the job: no other one is made.
    ended: AtomicBool,
}

/// Makes calls, each until it is answered. The limits of a source hold for all of them together.
pub(super) struct Caller<R> {
    register: R,
    /// Ids of a call: fewer after the register has refused as many.
    ids_per_call: AtomicUsize,
    /// Ids that the register has refused.
    refused: AtomicUsize,
    /// Whether it has answered for any.
    has_answers: AtomicBool,
    limits: SourceLimits,
    pace: Arc<Pace>,
    calls: AtomicU64,
    retries: AtomicU64,
}

/// When a register may be asked, and by how many calls at a time. Callers of the same register share it.
pub(super) struct Pace {
    times: Mutex<Times>,
    places: Arc<Semaphore>,
}

impl Pace {
    pub(super) fn new(limits: &SourceLimits) -> Pace {
        Pace { times: Mutex::default(), places: Arc::new(Semaphore::new(limits.calls_in_flight.get())) }
    }
}

/// A place among the calls in flight; none for a call that is the only one.
#[derive(Default)]
pub(super) struct Place(Option<OwnedSemaphorePermit>);

impl Place {
    /// Leaves the place when an answer has arrived that is worth reading, and lets the next call be made before it is read,
    /// which takes a millisecond.
    pub(super) async fn leave(&mut self) {
        self.0 = None;
        tokio::task::yield_now().await;
    }
}

struct Times {
    /// Before this time there is no call, because the rate of ids would be exceeded.
    not_before: Instant,
    /// Until this time the register wants to be left alone.
    left_alone_until: Instant,
    /// Since when every call has failed: the start of the first one. The time that a job waits for its turn is no silence.
    failing_since: Option<Instant>,
}

impl Default for Times {
    fn default() -> Times {
        let now = Instant::now();
        Times { not_before: now, left_alone_until: now, failing_since: None }
    }
}

/// A register that can be asked.
pub(super) trait Ask: Clone + Send + Sync + 'static {
    /// Asks for some ids. Answers are not checked yet. The call may leave its place early.
    fn call(
        &self,
        ids: &[Ordinal],
        place: &mut Place,
    ) -> impl Future<Output = Result<Answers, CallError>> + Send;

    /// How many of the first ids can be asked in one call.
    fn together(&self, ids: &[Ordinal]) -> usize {
        ids.len()
    }
}

/// Ids of a call: no more than those of a second, so that a call that is made again does not wait for many.
fn ids_per_call(limits: &SourceLimits) -> usize {
    let per_second = limits.ids_per_second.map_or(usize::MAX, |rate| rate.get() as usize);
    limits.ids_per_call.get().min(per_second)
}

/// Threads for the calls of a job.
pub(super) fn runtime(limits: &SourceLimits) -> Result<Runtime, SourceError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = limits.calls_in_flight.get().min(cores);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(SourceError::System)
}

/// Asks for ids, which ascend, and appends what is answered to the journal. All that was answered is in the journal, also
/// after an error.
pub(super) fn ask<R: Ask>(
    register: &R,
    ids: Vec<Ordinal>,
    limits: &SourceLimits,
    journal: &mut Journal,
    (runtime, progress): (&Runtime, &dyn AskProgress),
) -> Result<Asked, SourceError> {
    let total = ids.len() as u64;
    if ids.is_empty() {
        return Ok(Asked::default());
    }
    let _entered = runtime.enter();
    let shared = Arc::new(Shared {
        caller: Caller::new(register.clone(), limits),
        ids,
        next: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
    });
    // As many may read answers as are waiting for them.
    let count = 2 * limits.calls_in_flight.get();
    let (sender, mut receiver) = mpsc::channel::<Answered>(count);
    let mut workers = JoinSet::new();
    for _ in 0..count {
        workers.spawn_on(work(Arc::clone(&shared), sender.clone()), runtime.handle());
    }
    drop(sender);
    let asked = || shared.caller.asked();
    runtime.block_on(async {
        let mut answered = 0;
        loop {
            match timeout(LOOK, receiver.recv()).await {
                Ok(Some(first)) => {
                    answered += append(journal, first, &mut receiver)?;
                    progress.answered(answered, total, asked());
                }
                Ok(None) => break,
                Err(_) => progress.answered(answered, total, asked()),
            }
            if progress.interrupted() {
                workers.abort_all();
                while let Some(more) = receiver.recv().await {
                    append(journal, more, &mut receiver)?;
                }
                return Err(SourceError::Interrupted);
            }
            // A worker that failed ends the others, which lose no more than the calls in flight.
            while let Some(ended) = workers.try_join_next() {
                if let Some(error) = error_of(ended) {
                    workers.abort_all();
                    while let Some(more) = receiver.recv().await {
                        append(journal, more, &mut receiver)?;
                    }
                    return Err(error);
                }
            }
        }
        while let Some(ended) = workers.join_next().await {
            if let Some(error) = error_of(ended) {
                return Err(error);
            }
        }
        Ok(Asked { ids: answered, ..asked() })
    })
}

fn error_of(ended: Result<Result<(), SourceError>, tokio::task::JoinError>) -> Option<SourceError> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(error) if error.is_cancelled() => None,
        Err(error) => Some(SourceError::System(std::io::Error::other(error))),
    }
}

/// Appends some answers and all that have arrived meanwhile, and makes them durable. Returns their number.
fn append(
    journal: &mut Journal,
    first: Answered,
    receiver: &mut mpsc::Receiver<Answered>,
) -> Result<u64, JournalError> {
    let mut next = Some(first);
    let mut count = 0;
    while let Some((time, answers)) = next {
        count += answers.answers.len() as u64;
        journal.append(time, answers)?;
        next = receiver.try_recv().ok();
    }
    journal.sync()?;
    Ok(count)
}

/// Makes one call after another, until all ids are asked.
async fn work<R: Ask>(shared: Arc<Shared<R>>, sender: mpsc::Sender<Answered>) -> Result<(), SourceError> {
    loop {
        let count = shared.caller.ids_per_call();
        let first = shared.next.fetch_add(count, Ordering::Relaxed);
        let Some(rest) = shared.ids.get(first..).filter(|rest| !rest.is_empty()) else { return Ok(()) };
        let mut parts = Parts::new(&rest[..count.min(rest.len())]);
        while let Some(part) = parts.next(&shared.caller) {
            // Before the call: a worker that is aborted while it waits would lose an answer.
            let Ok(permit) = sender.reserve().await else { return Ok(()) };
            match shared.caller.call(part, &shared.ended).await? {
                Outcome::Answered(answered) => permit.send(answered),
                Outcome::Halve => parts.halve(part),
                Outcome::Ended => return Ok(()),
            }
        }
    }
}

/// The parts of a call that the register refuses as a whole.
struct Parts<'i>(Vec<&'i [Ordinal]>);

impl<'i> Parts<'i> {
    fn new(ids: &'i [Ordinal]) -> Parts<'i> {
        Parts(vec![ids])
    }

    /// The next part, with no more ids than the register takes.
    fn next<R: Ask>(&mut self, caller: &Caller<R>) -> Option<&'i [Ordinal]> {
        let part = self.0.pop()?;
        let most = caller.ids_per_call().min(caller.register.together(part)).max(1);
        let (part, rest) = part.split_at(part.len().min(most));
        self.0.extend(Some(rest).filter(|rest| !rest.is_empty()));
        Some(part)
    }

    fn halve(&mut self, part: &'i [Ordinal]) {
        let (first, second) = part.split_at(part.len() / 2);
        self.0.extend([second, first]);
    }
}

enum Outcome {
    Answered(Answered),
    Halve,
    Ended,
}

impl<R: Ask> Caller<R> {
    pub(super) fn new(register: R, limits: &SourceLimits) -> Caller<R> {
        Caller::sharing(register, limits, Arc::new(Pace::new(limits)))
    }

    /// One of several callers of a register, which is left alone by all of them, and whose limits hold for all.
    pub(super) fn sharing(register: R, limits: &SourceLimits, pace: Arc<Pace>) -> Caller<R> {
        Caller {
            register,
            ids_per_call: AtomicUsize::new(ids_per_call(limits)),
            refused: AtomicUsize::new(0),
            has_answers: AtomicBool::new(false),
            limits: limits.clone(),
            pace,
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    /// Ids of a call.
    pub(super) fn ids_per_call(&self) -> usize {
        self.ids_per_call.load(Ordering::Relaxed).max(1)
    }

    /// The calls so far.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            ids: 0,
            calls: self.calls.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }

    /// Whether the last call has failed.
    pub(super) fn is_failing(&self) -> bool {
        self.times().failing_since.is_some()
    }

    /// Asks for ids, which ascend, in as few calls as the register allows. Returns also what was answered before an error.
    pub(super) async fn ask(&self, ids: &[Ordinal]) -> (Vec<Answered>, Result<(), SourceError>) {
        let (mut parts, mut all) = (Parts::new(ids), Vec::new());
        let never = AtomicBool::new(false);
        while let Some(part) = parts.next(self) {
            match self.call(part, &never).await {
                Ok(Outcome::Answered(answered)) => all.push(answered),
                Ok(Outcome::Halve) => parts.halve(part),
                Ok(Outcome::Ended) => break,
                Err(error) => return (all, Err(error)),
            }
        }
        (all, Ok(()))
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.pace.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an id that is refused. Errors: it is one of many, and none was answered: then the fault is not in the ids.
    fn check_refused(&self) -> Result<(), SourceError> {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        match refused >= REFUSED_MAX && !self.has_answers.load(Ordering::Relaxed) {
            true => Err(SourceError::SenderRefused(format!(
                "the register refuses each of the first {refused} ids: check the sender, the address and its kind"
            ))),
            false => Ok(()),
        }
    }

    /// Makes a call until it is answered, or is to be made for half of the ids, or another call has `ended` the job.
    async fn call(&self, ids: &[Ordinal], ended: &AtomicBool) -> Result<Outcome, SourceError> {
        let mut place = Place::default();
        let outcome = self.call_in(&mut place, ids, ended).await;
        // Before the place is free.
        ended.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    async fn call_in(
        &self,
        place: &mut Place,
        ids: &[Ordinal],
        ended: &AtomicBool,
    ) -> Result<Outcome, SourceError> {
        let (mut backoff, mut bad_answers, mut token_refused) = (Backoff::default(), 0, false);
        loop {
            if place.0.is_none() {
                // Places are never closed.
                place.0 = Arc::clone(&self.pace.places).acquire_owned().await.ok();
            }
            if ended.load(Ordering::Relaxed) {
                return Ok(Outcome::Ended);
            }
            if ids.len() > self.ids_per_call() {
                // The register has refused as many meanwhile.
                return Ok(Outcome::Halve);
            }
            self.turn(ids.len()).await;
            let (started, time) = (Instant::now(), Timestamp::now());
            self.calls.fetch_add(1, Ordering::Relaxed);
            let answered = self.register.call(ids, place).await.and_then(|answers| {
                check(ids, &answers.answers)?;
                Ok(answers)
            });
            // A token that was taken may end before the next attempt: only two refusals in a row count.
            let (why, after) = match answered {
                Ok(answers) => {
                    self.times().failing_since = None;
                    self.has_answers.store(true, Ordering::Relaxed);
                    return Ok(Outcome::Answered((time, answers)));
                }
                Err(CallError::BadIds) if ids.len() == 1 => {
                    self.times().failing_since = None;
                    self.check_refused()?;
                    let answers =
                        ids.iter().filter_map(|id| Identity::from_ordinal(*id)).map(|id| refused(&id));
                    return Ok(Outcome::Answered((
                        time,
                        Answers { answers: answers.collect(), ..Answers::default() },
                    )));
                }
                Err(CallError::BadIds) => {
                    self.times().failing_since = None;
                    return Ok(Outcome::Halve);
                }
                Err(CallError::TooMany) if ids.len() == 1 => {
                    return Err(SourceError::Refused("the register takes not even one id a call".to_owned()));
                }
                Err(CallError::TooMany) => {
                    self.times().failing_since = None;
                    self.ids_per_call.fetch_min(ids.len() / 2, Ordering::Relaxed);
                    return Ok(Outcome::Halve);
                }
                Err(CallError::SenderRefused(why)) => return Err(SourceError::SenderRefused(why)),
                Err(CallError::Stop(why)) => return Err(SourceError::Refused(why)),
                Err(CallError::TokenRefused(why)) if token_refused => return Err(SourceError::Refused(why)),
                Err(CallError::TokenRefused(why)) => {
                    token_refused = true;
                    (why, Some(Duration::ZERO))
                }
                Err(CallError::BadAnswer(why)) => {
                    (bad_answers, token_refused) = (bad_answers + 1, false);
                    if bad_answers == BAD_ANSWERS_MAX {
                        return Err(SourceError::BadAnswer { why, attempts: bad_answers });
                    }
                    (why, None)
                }
                Err(CallError::Again { why, after }) => {
                    token_refused = false;
                    (why, after)
                }
            };
            self.retries.fetch_add(1, Ordering::Relaxed);
            sleep_until(self.delay(&mut backoff, started, after, why)?).await;
        }
    }

    /// Waits until a call for some ids may be made.
    async fn turn(&self, ids: usize) {
        loop {
            let start = self.reserve(ids);
            sleep_until(start).await;
            // Another call may have been refused meanwhile.
            if self.times().left_alone_until <= start {
                return;
            }
        }
    }

    /// When a call for some ids may be made.
    fn reserve(&self, ids: usize) -> Instant {
        let mut times = self.times();
        let start = times.not_before.max(times.left_alone_until).max(Instant::now());
        if let Some(rate) = self.limits.ids_per_second {
            times.not_before = start + Duration::from_secs_f64(ids as f64 / f64::from(rate.get()));
        }
        start
    }

    /// When a failed call is made again. No call is made for as long as the register wants to be left alone.
    ///
    /// Errors: every call has failed for too long.
    fn delay(
        &self,
        backoff: &mut Backoff,
        started: Instant,
        after: Option<Duration>,
        why: String,
    ) -> Result<Instant, SourceError> {
        let mut times = self.times();
        if let Some(after) = after {
            times.left_alone_until = times.left_alone_until.max(Instant::now() + after);
        }
        let silence = times.failing_since.get_or_insert(started).elapsed();
        if silence > time(self.limits.give_up_after) {
            // Others may go on asking.
            times.left_alone_until = times.left_alone_until.max(Instant::now() + AWAY_PAUSE);
            return Err(SourceError::Away { why, silence });
        }
        // Also if the register says that it may be asked at once.
        let next = Instant::now() + backoff.next();
        Ok(next.max(times.left_alone_until))
    }
}
