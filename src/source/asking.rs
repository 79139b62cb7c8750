//! Asks for many ids in calls, again where a call failed, until each has an answer.

use super::answer::{Answers, CallError, check, refused};
use super::config::{SourceLimits, time};
use super::{AskProgress, SourceError};
use crate::identities::{Identity, Ordinal};
use crate::replica::backoff::Backoff;
use jiff::Timestamp;
use std::panic::resume_unwind;
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
/// How often a job that ends looks whether all answers are read.
const READING: Duration = Duration::from_millis(1);

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
    /// The ids of the next calls.
    calls: tokio::sync::Mutex<mpsc::Receiver<Vec<Ordinal>>>,
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
    /// Calls whose answers have arrived and are being read.
    reading: Arc<AtomicUsize>,
}

impl Pace {
    pub(super) fn new(limits: &SourceLimits) -> Pace {
        let places = Arc::new(Semaphore::new(limits.calls_in_flight.get()));
        Pace { times: Mutex::default(), places, reading: Arc::default() }
    }
}

/// The place of a call among those in flight.
#[derive(Default)]
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    /// The number of calls that are being read; this one counts until it is dropped.
    reading: Option<Arc<AtomicUsize>>,
    is_reading: bool,
}

impl Place {
    /// Leaves the place when an answer has arrived that is worth reading, so that the next call is made, and reads the answer.
    /// That takes a millisecond, and is done beside the thread that receives answers.
    pub(super) async fn leave_and_read(
        &mut self,
        read: impl FnOnce() -> Result<Answers, CallError> + Send + 'static,
    ) -> Result<Answers, CallError> {
        if let (false, Some(reading)) = (self.is_reading, &self.reading) {
            reading.fetch_add(1, Ordering::SeqCst);
            self.is_reading = true;
        }
        self.permit = None;
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(CallError::again("the program ends")),
            },
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (true, Some(reading)) = (self.is_reading, &self.reading) {
            reading.fetch_sub(1, Ordering::SeqCst);
        }
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

impl Times {
    /// No call is made for a time.
    fn leave_alone(&mut self, time: Duration) {
        self.left_alone_until = self.left_alone_until.max(Instant::now() + time);
    }
}

/// What is asked, and where the answers are kept.
pub(super) trait Job {
    /// The next id to be asked. Ids ascend.
    fn next(&mut self) -> Option<Ordinal>;

    /// Adds what was answered at a time.
    fn append(&mut self, time: Timestamp, answers: Answers) -> Result<(), SourceError>;

    /// Makes all that was added durable.
    fn sync(&mut self) -> Result<(), SourceError>;
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

/// Threads for the calls of a job: one that sends and receives, which with the rest takes 1 % less time than one for each core
/// (FaR, `cargo bench --bench sources`), and one for each core that reads answers.
pub(super) fn runtime(limits: &SourceLimits) -> Result<Runtime, SourceError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let reading = limits.calls_in_flight.get().min(cores);
    let mut builder = runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).max_blocking_threads(1 + reading).enable_all().build();
    runtime.map_err(SourceError::System)
}

/// Asks for the ids of a job, which are `total`. What is answered is added to it, also before an error.
pub(super) fn ask<R: Ask>(
    register: &R,
    total: u64,
    limits: &SourceLimits,
    job: &mut impl Job,
    (runtime, progress): (&Runtime, &dyn AskProgress),
) -> Result<Asked, SourceError> {
    if total == 0 {
        return Ok(Asked::default());
    }
    let _entered = runtime.enter();
    // As many may read answers as are waiting for them.
    let count = 2 * limits.calls_in_flight.get();
    let (given, calls) = mpsc::channel(count);
    let shared = Arc::new(Shared {
        caller: Caller::new(register.clone(), limits),
        calls: tokio::sync::Mutex::new(calls),
        ended: AtomicBool::new(false),
    });
    let (sender, mut receiver) = mpsc::channel::<Answered>(count);
    let mut workers = JoinSet::new();
    for _ in 0..count {
        workers.spawn_on(work(Arc::clone(&shared), sender.clone()), runtime.handle());
    }
    drop(sender);
    let asked = || shared.caller.asked();
    runtime.block_on(async {
        let (mut answered, mut given) = (0, Some(given));
        let mut synced = Instant::now();
        loop {
            given = given.filter(|given| !give(job, given, shared.caller.ids_per_call()));
            match timeout(LOOK, receiver.recv()).await {
                Ok(Some(first)) => answered += append(job, first, &mut receiver)?,
                Ok(None) => break,
                Err(_) => {}
            }
            progress.answered(answered, total, asked());
            // Not for each call: that takes processor time. A power cut loses what was answered in this time.
            if synced.elapsed() >= LOOK {
                job.sync()?;
                synced = Instant::now();
            }
            if progress.interrupted() {
                append_rest(job, &mut receiver, (&shared, &mut workers)).await?;
                return Err(SourceError::Interrupted);
            }
            // A worker that failed ends the others, which lose no more than the calls in flight.
            while let Some(ended) = workers.try_join_next() {
                if let Some(error) = error_of(ended) {
                    append_rest(job, &mut receiver, (&shared, &mut workers)).await?;
                    return Err(error);
                }
            }
        }
        job.sync()?;
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

/// Appends some answers and all that have arrived meanwhile. Returns their number.
fn append(
    job: &mut impl Job,
    first: Answered,
    receiver: &mut mpsc::Receiver<Answered>,
) -> Result<u64, SourceError> {
    let mut next = Some(first);
    let mut count = 0;
    while let Some((time, answers)) = next {
        count += answers.answers.len() as u64;
        job.append(time, answers)?;
        next = receiver.try_recv().ok();
    }
    Ok(count)
}

/// Ends all calls but those whose answers are being read, appends what has been answered, and makes it durable.
async fn append_rest<R: Ask>(
    job: &mut impl Job,
    receiver: &mut mpsc::Receiver<Answered>,
    (shared, workers): (&Shared<R>, &mut JoinSet<Result<(), SourceError>>),
) -> Result<(), SourceError> {
    shared.ended.store(true, Ordering::Relaxed);
    while shared.caller.pace.reading.load(Ordering::SeqCst) > 0 {
        if let Ok(Some(more)) = timeout(READING, receiver.recv()).await {
            append(job, more, receiver)?;
        }
    }
    workers.abort_all();
    while let Some(more) = receiver.recv().await {
        append(job, more, receiver)?;
    }
    job.sync()
}

/// Gives the workers the ids of the next calls, as far as there is room. Returns whether these were the last ones.
fn give(job: &mut impl Job, given: &mpsc::Sender<Vec<Ordinal>>, count: usize) -> bool {
    while let Ok(permit) = given.try_reserve() {
        let ids: Vec<Ordinal> = std::iter::from_fn(|| job.next()).take(count).collect();
        if ids.is_empty() {
            return true;
        }
        permit.send(ids);
    }
    false
}

/// Makes one call after another, until all ids are asked.
async fn work<R: Ask>(shared: Arc<Shared<R>>, sender: mpsc::Sender<Answered>) -> Result<(), SourceError> {
    loop {
        let next = shared.calls.lock().await.recv().await;
        let Some(ids) = next else { return Ok(()) };
        let mut parts = Parts::new(&ids);
        while let Some(part) = parts.next(&shared.caller) {
            // Before the call: a worker that is aborted while it waits would lose an answer.
            let Ok(permit) = sender.reserve().await else { return Ok(()) };
            match shared.caller.call(part, &shared.ended).await? {
                Outcome::Answered(answered) => permit.send(answered),
                Outcome::Halve => parts.halve(part),
                Outcome::TooMany if part.len() == 1 => return Err(too_many()),
                Outcome::TooMany => {
                    shared.caller.take_fewer(part.len() / 2);
                    parts.halve(part);
                }
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

/// The register answers a call of one id as if there were too many.
pub(super) fn too_many() -> SourceError {
    SourceError::Refused("the register takes not even one id a call".to_owned())
}

/// How an attempt of a call ended.
pub(super) enum Outcome {
    Answered(Answered),
    /// The register refuses an id of the call, which is to be made for fewer ids.
    Halve,
    /// There are more ids in the call than the register takes.
    TooMany,
    /// Another call has ended the job.
    Ended,
}

/// Why an attempt of a call failed.
pub(super) enum AttemptError {
    /// The call can be made again.
    Passing(Failure),
    /// It is of no use to make it again.
    Final(SourceError),
}

impl From<SourceError> for AttemptError {
    fn from(error: SourceError) -> AttemptError {
        AttemptError::Final(error)
    }
}

/// A failed attempt of a call, which can be made again.
pub(super) struct Failure {
    kind: FailureKind,
    /// Without content of the call.
    pub(super) why: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    Passing,
    Token,
    BadAnswer,
}

/// The failures of the attempts of a call.
#[derive(Clone, Default)]
pub(super) struct Failures {
    backoff: Backoff,
    bad_answers: u32,
    token_refused: bool,
}

impl Failures {
    /// Those of a call for part of the ids: only that the token was refused is not of the ids.
    pub(super) fn of_part(&self) -> Failures {
        Failures { token_refused: self.token_refused, ..Failures::default() }
    }

    /// Counts a failure. Errors: the call is not to be made again.
    fn count(&mut self, failure: &Failure) -> Result<(), SourceError> {
        // A token that was taken may end before the next attempt: only two refusals in a row count.
        let was_refused = std::mem::replace(&mut self.token_refused, failure.kind == FailureKind::Token);
        let why = || failure.why.clone();
        match failure.kind {
            FailureKind::Token if was_refused => Err(SourceError::Refused(why())),
            FailureKind::BadAnswer => {
                self.bad_answers += 1;
                match self.bad_answers {
                    BAD_ANSWERS_MAX => Err(SourceError::BadAnswer { why: why(), attempts: BAD_ANSWERS_MAX }),
                    _ => Ok(()),
                }
            }
            FailureKind::Passing | FailureKind::Token => Ok(()),
        }
    }
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

    /// The register takes no more ids a call than so many.
    pub(super) fn take_fewer(&self, ids: usize) {
        self.ids_per_call.fetch_min(ids, Ordering::Relaxed);
    }

    /// It may take as many again as its source file says, or twice as many as now.
    pub(super) fn take_more(&self, is_all: bool) {
        let most = ids_per_call(&self.limits);
        let more = if is_all { most } else { most.min(2 * self.ids_per_call()) };
        self.ids_per_call.store(more, Ordering::Relaxed);
    }

    /// Whether calls have fewer ids than the source file says.
    pub(super) fn takes_fewer(&self) -> bool {
        self.ids_per_call() < ids_per_call(&self.limits)
    }

    /// The calls so far.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            ids: 0,
            calls: self.calls.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }

    /// Makes one attempt of a call for ids, which ascend.
    pub(super) async fn attempt_once(&self, ids: &[Ordinal]) -> Result<Outcome, AttemptError> {
        self.attempt(&mut Place::default(), ids, &AtomicBool::new(false)).await
    }

    /// Whether the register has refused each of many ids: then the fault is not in the ids.
    pub(super) fn refuses_all(&self) -> Option<SourceError> {
        let refused = self.refused.load(Ordering::Relaxed);
        let refuses_all = refused >= REFUSED_MAX && !self.has_answers.load(Ordering::Relaxed);
        refuses_all.then(|| {
            SourceError::SenderRefused(format!(
                "the register refuses each of the first {refused} ids: check the sender, the address and its kind"
            ))
        })
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.pace.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call until it is answered, or is to be made for half of the ids, or another call has `ended` the job.
    async fn call(&self, ids: &[Ordinal], ended: &AtomicBool) -> Result<Outcome, SourceError> {
        let (mut place, mut failures) = (Place::default(), Failures::default());
        let outcome = loop {
            // The place is kept until the next attempt, so that no more calls than allowed are made to a register in trouble.
            match self.attempt(&mut place, ids, ended).await {
                Ok(outcome) => break Ok(outcome),
                Err(AttemptError::Final(error)) => break Err(error),
                Err(AttemptError::Passing(failure)) => match self.again(&mut failures, failure) {
                    Ok(next) => sleep_until(next).await,
                    Err(error) => break Err(error),
                },
            }
        };
        // Before the place is free.
        ended.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    /// Makes one attempt of a call.
    async fn attempt(
        &self,
        place: &mut Place,
        ids: &[Ordinal],
        ended: &AtomicBool,
    ) -> Result<Outcome, AttemptError> {
        if place.permit.is_none() {
            // Places are never closed.
            place.permit = Arc::clone(&self.pace.places).acquire_owned().await.ok();
            place.reading = Some(Arc::clone(&self.pace.reading));
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
        // Noted before the place is free.
        let failed = |kind, why, after: Option<Duration>| {
            let mut times = self.times();
            times.failing_since.get_or_insert(started);
            times.leave_alone(after.unwrap_or_default());
            Err(AttemptError::Passing(Failure { kind, why }))
        };
        match answered {
            Ok(answers) => {
                self.times().failing_since = None;
                self.has_answers.store(true, Ordering::Relaxed);
                Ok(Outcome::Answered((time, answers)))
            }
            Err(CallError::BadIds) => {
                self.times().failing_since = None;
                Ok(self.refused_ids(ids, time)?)
            }
            Err(CallError::TooMany) => {
                self.times().failing_since = None;
                Ok(Outcome::TooMany)
            }
            Err(CallError::SenderRefused(why)) => Err(SourceError::SenderRefused(why).into()),
            Err(CallError::Stop(why)) => Err(SourceError::Refused(why).into()),
            Err(CallError::TokenRefused(why)) => failed(FailureKind::Token, why, Some(Duration::ZERO)),
            Err(CallError::BadAnswer(why)) => failed(FailureKind::BadAnswer, why, None),
            Err(CallError::Again { why, after }) => failed(FailureKind::Passing, why, after),
        }
    }

    /// What follows from a call with an id that the register refuses. Errors: it refuses all ids.
    fn refused_ids(&self, ids: &[Ordinal], time: Timestamp) -> Result<Outcome, SourceError> {
        if ids.len() > 1 {
            return Ok(Outcome::Halve);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = self.refuses_all() {
            return Err(error);
        }
        let answers = ids.iter().filter_map(|id| Identity::from_ordinal(*id)).map(|id| refused(&id));
        Ok(Outcome::Answered((time, Answers { answers: answers.collect(), ..Answers::default() })))
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

    /// Counts a failure of a call. Returns when it is made again.
    ///
    /// Errors: every call has failed for too long; this one is not to be made again.
    pub(super) fn again(&self, failures: &mut Failures, failure: Failure) -> Result<Instant, SourceError> {
        failures.count(&failure)?;
        self.retries.fetch_add(1, Ordering::Relaxed);
        let times = self.times();
        let silence = times.failing_since.map(|since| since.elapsed()).unwrap_or_default();
        if silence > time(self.limits.give_up_after) {
            return Err(SourceError::Away { why: failure.why, silence });
        }
        // Also if the register says that it may be asked at once.
        let next = Instant::now() + failures.backoff.next();
        Ok(next.max(times.left_alone_until))
    }

    /// The register does not answer: no caller asks it for a second.
    pub(super) fn leave_alone(&self) {
        self.times().leave_alone(AWAY_PAUSE);
    }
}
