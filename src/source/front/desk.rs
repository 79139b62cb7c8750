//! The desk of a sender: collects questions, asks, and settles them.

use super::cache::AnswerCache;
use super::wanted::{Added, Part, Wanted};
use super::{Counted, FrontAnswer, FrontCounts, FrontError, Question};
use crate::changes::ChangeBody;
use crate::identities::Ordinal;
use crate::limits::OPERATORS_MAX;
use crate::recurring::RecurringLine;
use crate::register::{Kind, Operator, Register};
use crate::source::answer::subject;
use crate::source::asking::{Answered, Ask, AttemptError, Caller, Failure, Outcome, too_many};
use crate::source::{SourceError, register};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

/// How long a desk collects questions before it asks, or answers from memory.
const COLLECTING: Duration = Duration::from_millis(2);
/// Calls in succession that the register refuses, the last one for a test number, after which it is taken to refuse all.
const REFUSALS_MAX: u64 = 3;
/// Calls in succession that fail, after which the register is asked for a test number: it may fail for some ids only.
const FAILURES_MAX: u64 = 2;
/// How long after its last answer a register is taken to answer.
const LATELY: Duration = Duration::from_secs(60);
/// After this time calls have more ids again, if the register has taken fewer.
const MORE_AFTER: Duration = Duration::from_secs(60);
/// How often it looks for answers that have become too old.
const TIDYING: Duration = Duration::from_secs(5);

/// What holds for a desk.
#[derive(Clone)]
pub(in crate::source) struct DeskRules {
    pub(in crate::source) kind: Kind,
    /// FaR: the sender.
    pub(in crate::source) sender: Option<String>,
    pub(in crate::source) calls_in_flight: usize,
    /// Calls in succession, of all desks, that the register refused.
    pub(in crate::source) refused: Arc<AtomicU64>,
    /// How long a question waits for its answer.
    pub(in crate::source) wait: Duration,
    /// An id that no recipient has, which tells whether the register answers at all. Without one, any two calls in succession
    /// that fail do.
    pub(in crate::source) probe: Option<Ordinal>,
    pub(in crate::source) max_age: Duration,
    /// Memory of the answers of all desks, in bytes, and its limit.
    pub(in crate::source) answers: Arc<AtomicUsize>,
    pub(in crate::source) answers_max: usize,
}

/// The desk of a sender.
pub(in crate::source) struct Desk<R> {
    caller: Caller<R>,
    rules: DeskRules,
    counts: DeskCounts,
}

#[derive(Default)]
struct DeskCounts {
    asked: AtomicU64,
    fresh: AtomicU64,
    shared: AtomicU64,
    kept: AtomicU64,
    /// Calls in succession that have failed.
    failures: AtomicU64,
    /// Whether the register refuses all, or does not answer, since the last call that it answered.
    is_failing: AtomicBool,
    /// Whether it does not answer.
    is_away: AtomicBool,
}

/// A call that has ended.
type Ended = (Part, Vec<Ordinal>, Result<Outcome, AttemptError>);

impl<R: Ask> Desk<R> {
    pub(in crate::source) fn new(caller: Caller<R>, rules: DeskRules) -> Desk<R> {
        Desk { caller, rules, counts: DeskCounts::default() }
    }

    #[cfg(test)]
    pub(in crate::source) fn rules(&self) -> &DeskRules {
        &self.rules
    }

    /// Answers questions until their channel is closed.
    pub(in crate::source) async fn run(self: Arc<Self>, mut questions: mpsc::Receiver<Question>) {
        let mut table = Table::new(&self.rules);
        let mut calls: JoinSet<Ended> = JoinSet::new();
        let mut tidy = interval(TIDYING);
        // The end of the time for collecting, and whether what is wanted has waited for so long.
        let (mut until, mut is_due) = (None, false);
        loop {
            let mut settles = false;
            tokio::select! {
                // Questions first: those that have come are part of the next call.
                biased;
                question = questions.recv() => {
                    let Some(question) = question else { return };
                    table.add(question, &self.counts);
                    while let Ok(question) = questions.try_recv() {
                        table.add(question, &self.counts);
                    }
                    until.get_or_insert_with(|| Instant::now() + COLLECTING);
                }
                Some(ended) = calls.join_next() => {
                    match ended {
                        Ok(ended) => self.end(&mut table, ended),
                        // It has panicked: which ids it had is unknown.
                        Err(_) => table.fail_all(),
                    }
                    settles = true;
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    (until, is_due, settles) = (None, true, true);
                }
                () = sleep_until(table.deadline().unwrap_or_else(Instant::now)), if table.deadline().is_some() => {
                    let is_silent;
                    (settles, is_silent) = table.give_up();
                    if is_silent {
                        self.note_away(&"no answer in time");
                    }
                }
                _ = tidy.tick() => {
                    table.tidy();
                    if table.fewer_since.is_some_and(|since| since.elapsed() >= MORE_AFTER) {
                        self.caller.take_more(false);
                        table.fewer_since = self.caller.takes_fewer().then(Instant::now);
                    }
                    // Where the front is not ready, no client may ask any longer.
                    if self.is_failing() && calls.is_empty() && table.wanted.is_empty() {
                        table.probe();
                    }
                }
                () = sleep_until(table.wanted.next_part().unwrap_or_else(Instant::now)),
                    if table.wanted.next_part().is_some() && calls.len() < self.rules.calls_in_flight => {}
            }
            let most = self.caller.ids_per_call();
            while calls.len() < self.rules.calls_in_flight && table.has_call(most, is_due, calls.is_empty()) {
                let part = table.next_call(most);
                if part.is_empty() {
                    break;
                }
                let ids = part.ids();
                if !part.is_repeated {
                    self.counts.asked.fetch_add(ids.len() as u64, Ordering::Relaxed);
                }
                let desk = Arc::clone(&self);
                calls.spawn(async move {
                    let result = desk.caller.attempt_once(&ids).await;
                    (part, ids, result)
                });
            }
            is_due &= table.wanted.queued() > 0;
            if settles {
                table.settle();
                self.counts.kept.store(table.cache.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

impl<R: Ask> Desk<R> {
    /// A call has ended: its ids are settled, or put back.
    fn end(&self, table: &mut Table, (part, ids, result): Ended) {
        match result {
            Ok(Outcome::Answered(answered)) => {
                self.note_answer();
                table.wanted.trust(&part);
                table.end(&ids, answered);
            }
            Ok(Outcome::TooMany) if ids.len() == 1 => {
                // So it is not their number.
                self.caller.take_more(true);
                self.note_answer();
                table.give_up_ids(&ids, &too_many());
            }
            Ok(outcome) => {
                // Parts are of the same ids: their number says nothing more.
                if matches!(outcome, Outcome::TooMany) && !part.is_repeated {
                    self.caller.take_fewer(ids.len() / 2);
                    table.fewer_since = Some(Instant::now());
                    tracing::warn!(ids = ids.len() / 2, "the live register takes fewer ids a call");
                }
                self.note_answer();
                table.answered_at = Some(Instant::now());
                match self.caller.refuses_all().filter(|_| part.is_of_one_client()) {
                    Some(error) => table.give_up_ids(&ids, &error),
                    None => table.put_back(part, Instant::now()),
                }
            }
            Err(AttemptError::Passing(failure)) => self.fail(table, (part, ids), failure),
            Err(AttemptError::Final(error)) => {
                self.note_refusal(table, &ids, &error);
                // It may refuse because of an id of one of the clients.
                match part.is_of_one_client() || !table.has_answered_lately() || self.is_failing() {
                    true => table.give_up_ids(&ids, &error),
                    false => table.put_back(part, Instant::now()),
                }
            }
        }
    }

    /// A call has failed, and can be made again.
    fn fail(&self, table: &mut Table, (mut part, ids): (Part, Vec<Ordinal>), failure: Failure) {
        let why = FrontError::Away(failure.why.as_str().into());
        let again = self.caller.again(&mut part.failures, failure);
        self.note_failure(table, &ids, &why);
        match again {
            Ok(at) => {
                table.keep_reason(&ids, &why);
                // Most ids of several have done nothing to the call, and need not wait.
                table.put_back(part, if ids.len() > 1 { Instant::now() } else { at });
            }
            Err(error) => {
                if matches!(error, SourceError::Away { .. }) {
                    self.note_away(&error);
                }
                table.give_up_ids(&ids, &error);
            }
        }
    }

    /// The register has answered.
    fn note_answer(&self) {
        self.rules.refused.store(0, Ordering::Relaxed);
        self.counts.failures.store(0, Ordering::Relaxed);
        self.counts.is_away.store(false, Ordering::Relaxed);
        if self.counts.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the live register answers again");
        }
    }

    /// A call has failed. Whether the register does not answer at all, a call for a test number tells.
    fn note_failure(&self, table: &mut Table, ids: &[Ordinal], why: &FrontError) {
        let failures = self.counts.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < FAILURES_MAX {
            return;
        }
        if self.tells_all(ids) || self.counts.is_away.load(Ordering::Relaxed) {
            self.note_away(why);
            self.caller.leave_alone();
        } else {
            table.probe();
        }
    }

    /// Whether a call for some ids tells whether the register answers at all.
    fn tells_all(&self, ids: &[Ordinal]) -> bool {
        self.rules.probe.is_none_or(|probe| ids == [probe])
    }

    /// The register has refused a call. Whether it refuses all, a call for a test number tells.
    fn note_refusal(&self, table: &mut Table, ids: &[Ordinal], error: &SourceError) {
        // A register that refuses a sender answers. Any client can ask for one that it does not know.
        if let SourceError::SenderRefused(_) = error {
            static LINE: RecurringLine = RecurringLine::new();
            if let Some(times) = LINE.occurs(std::time::Instant::now()) {
                tracing::warn!(%error, times, "the live register refuses a sender");
            }
            return self.note_answer();
        }
        let refused = self.rules.refused.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts.is_away.store(false, Ordering::Relaxed);
        if refused >= REFUSALS_MAX && self.tells_all(ids) {
            self.note_failing(error);
        } else if refused >= REFUSALS_MAX - 1 && !self.is_failing() {
            table.probe();
        }
    }

    fn note_away(&self, why: &dyn std::fmt::Display) {
        self.counts.is_away.store(true, Ordering::Relaxed);
        self.note_failing(why);
    }

    fn note_failing(&self, why: &dyn std::fmt::Display) {
        if !self.counts.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %why, "the live register");
        }
    }
}

impl<R: Ask> Counted for Desk<R> {
    fn counts(&self) -> FrontCounts {
        let asked = self.caller.asked();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FrontCounts {
            calls: asked.calls,
            retries: asked.retries,
            asked: of(&self.counts.asked),
            fresh: of(&self.counts.fresh),
            shared: of(&self.counts.shared),
            kept: of(&self.counts.kept),
        }
    }

    fn is_failing(&self) -> bool {
        self.counts.is_failing.load(Ordering::Relaxed)
    }
}

/// A question with ids that are not answered yet.
struct Open {
    question: Question,
    /// The number of these ids.
    waits_for: usize,
    missing: Option<FrontError>,
    /// Why the last call for one of these ids failed.
    failed: Option<FrontError>,
}

/// What a desk has before it.
struct Table {
    rules: DeskRules,
    cache: AnswerCache,
    /// The operators of the answers, as they were last named.
    operators: Vec<Operator>,
    open: HashMap<u64, Open>,
    /// When each of them has waited for long enough, the earliest first.
    deadlines: VecDeque<(Instant, u64)>,
    next: u64,
    wanted: Wanted,
    /// When the register last answered.
    answered_at: Option<Instant>,
    /// When calls last got fewer ids, or more again.
    fewer_since: Option<Instant>,
    /// Questions whose ids are all settled.
    settled: Vec<(Question, Option<FrontError>)>,
}

impl Table {
    fn new(rules: &DeskRules) -> Table {
        Table {
            cache: AnswerCache::new(Arc::clone(&rules.answers), rules.answers_max),
            rules: rules.clone(),
            operators: Vec::new(),
            open: HashMap::new(),
            deadlines: VecDeque::new(),
            next: 0,
            wanted: Wanted::default(),
            answered_at: None,
            fewer_since: None,
            settled: Vec::new(),
        }
    }

    /// Answers that are older are asked again.
    fn since(&self) -> Timestamp {
        Timestamp::now().saturating_sub(self.rules.max_age).unwrap_or(Timestamp::MIN)
    }

    fn add(&mut self, question: Question, counts: &DeskCounts) {
        if !self.wanted.has_room(&question.client, question.ids.len()) {
            self.settled.push((question, Some(FrontError::Busy)));
            return;
        }
        let (since, number) = (self.since(), self.next);
        self.next += 1;
        let (mut fresh, mut shared, mut waits_for) = (0, 0, 0);
        for &id in &question.ids {
            if self.cache.get(id, since).is_some() {
                fresh += 1;
                continue;
            }
            waits_for += 1;
            shared += u64::from(self.wanted.add(&question.client, id, number) == Added::Shared);
        }
        counts.fresh.fetch_add(fresh, Ordering::Relaxed);
        counts.shared.fetch_add(shared, Ordering::Relaxed);
        match waits_for {
            0 => self.settled.push((question, None)),
            waits_for => {
                self.deadlines.push_back((Instant::now() + self.rules.wait, number));
                self.open.insert(number, Open { question, waits_for, missing: None, failed: None });
            }
        }
    }

    /// Whether a call is to be made now: it is full; or what is wanted has waited, and no call is under way or it is half
    /// full; or there is a part of an earlier call.
    fn has_call(&self, most: usize, is_due: bool, is_idle: bool) -> bool {
        let wanted = self.wanted.queued();
        wanted >= most
            || wanted > 0 && is_due && (is_idle || 2 * wanted >= most)
            || self.wanted.next_part().is_some_and(|at| at <= Instant::now())
    }

    /// The ids of the next call. Those of clients that have gone are left out.
    fn next_call(&mut self, most: usize) -> Part {
        let open = &self.open;
        let is_waiting = |number| open.get(&number).is_some_and(|open| !open.question.reply.is_closed());
        self.wanted.take(most, Instant::now(), is_waiting)
    }

    /// The ids of a call that has failed are asked again in parts.
    fn put_back(&mut self, part: Part, at: Instant) {
        self.wanted.put_back(part, Instant::now(), at);
    }

    fn has_answered_lately(&self) -> bool {
        self.answered_at.is_some_and(|at| at.elapsed() < LATELY)
    }

    /// The register is asked for a test number next.
    fn probe(&mut self) {
        self.rules.probe.into_iter().for_each(|id| self.wanted.add_probe(id, Instant::now()));
    }

    /// A call for some ids has failed.
    fn keep_reason(&mut self, ids: &[Ordinal], why: &FrontError) {
        for number in self.wanted.questions(ids) {
            if let Some(open) = self.open.get_mut(&number) {
                open.failed = Some(why.clone());
            }
        }
    }

    /// A call has been answered, which is checked: each id once, and no other.
    fn end(&mut self, ids: &[Ordinal], (time, answers): Answered) {
        self.answered_at = Some(Instant::now());
        for operator in answers.operators {
            match self.operators.iter_mut().find(|known| known.id == operator.id) {
                Some(known) => *known = operator,
                None => self.operators.push(operator),
            }
        }
        for answer in answers.answers {
            if let Some(id) = subject(&answer) {
                self.cache.put(id, time, answer);
            }
        }
        ids.iter().for_each(|id| self.settle_id(*id, None));
    }

    /// Ids are not asked again.
    fn give_up_ids(&mut self, ids: &[Ordinal], error: &SourceError) {
        let missing = FrontError::of(error);
        ids.iter().for_each(|id| self.settle_id(*id, Some(&missing)));
    }

    fn settle_id(&mut self, id: Ordinal, missing: Option<&FrontError>) {
        let waiting = self.wanted.remove(id);
        self.settle_questions(waiting, missing);
    }

    /// An id of some questions is settled.
    fn settle_questions(&mut self, waiting: Vec<u64>, missing: Option<&FrontError>) {
        for number in waiting {
            let Entry::Occupied(mut open) = self.open.entry(number) else { continue };
            let question = open.get_mut();
            question.waits_for -= 1;
            if let Some(error) = missing {
                question.missing = Some(error.clone());
            }
            if question.waits_for == 0 {
                let Open { question, missing, .. } = open.remove();
                self.settled.push((question, missing));
            }
        }
    }

    /// When the first question has waited for long enough.
    fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Settles the questions that have waited for long enough; their ids are not asked any longer. Returns whether there
    /// are any, and whether the register has answered none meanwhile.
    fn give_up(&mut self) -> (bool, bool) {
        let now = Instant::now();
        let (mut has_any, mut is_silent) = (false, false);
        while let Some((deadline, number)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            let Some(Open { question, failed, .. }) = self.open.remove(&number) else { continue };
            self.wanted.forget(&question.client, &question.ids, number);
            has_any = true;
            let is_answering = self.answered_at.is_some_and(|at| at + self.rules.wait >= deadline);
            is_silent |= !is_answering;
            let error = failed.unwrap_or_else(|| match is_answering {
                true => FrontError::Busy,
                false => FrontError::Away("no answer in time".into()),
            });
            self.settled.push((question, Some(error)));
        }
        (has_any, is_silent)
    }

    /// No question is left waiting for a call that has ended without a result.
    fn fail_all(&mut self) {
        for (_, waiting) in self.wanted.clear() {
            self.settle_questions(waiting, Some(&FrontError::Busy));
        }
    }

    /// Answers the questions that are settled, with one register.
    fn settle(&mut self) {
        let mut settled = std::mem::take(&mut self.settled);
        // Clients that have gone need no answer.
        settled.retain(|(question, _)| !question.reply.is_closed());
        if !settled.is_empty() {
            match self.register_of(&settled) {
                Ok(register) => settled.into_iter().for_each(|settled| self.reply(settled, &register)),
                // The questions are dropped, which their clients see.
                Err(error) => tracing::error!(%error, "answers of a register do not fit together"),
            }
        }
        self.tidy();
    }

    /// The register may have ids of other questions, too: what is said of its own ones is counted.
    fn reply(&self, (question, missing): (Question, Option<FrontError>), register: &Arc<Register>) {
        let answers = || question.ids.iter().filter_map(|id| self.cache.get(*id, Timestamp::MIN));
        // An answer that was fresh when it was asked for may have left since.
        let has_left = missing.is_none() && answers().count() < question.ids.len();
        let answer = FrontAnswer {
            register: Arc::clone(register),
            missing: missing.or(has_left.then_some(FrontError::Busy)),
            has_any: answers().next().is_some(),
            has_refused: answers().any(|(_, answer)| matches!(answer, ChangeBody::SetAside { .. })),
        };
        // The client may have gone.
        let _ = question.reply.send(answer);
    }

    fn register_of(&self, settled: &[(Question, Option<FrontError>)]) -> Result<Arc<Register>, SourceError> {
        if self.operators.len() > OPERATORS_MAX {
            return Err(SourceError::Inconsistent);
        }
        let mut ids: Vec<Ordinal> = settled.iter().flat_map(|(question, _)| &question.ids).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        // What was fresh when it was asked for is used, also if it has become too old meanwhile.
        let known =
            |id: &Ordinal| self.cache.get(*id, Timestamp::MIN).map(|(time, answer)| (*id, time, answer));
        let of = (self.rules.kind, self.rules.sender.as_deref());
        register::of_answers(of, &ids, &self.operators, ids.iter().filter_map(known)).map(Arc::new)
    }

    fn tidy(&mut self) {
        if self.settled.is_empty() {
            self.cache.evict(self.since());
        }
    }
}
