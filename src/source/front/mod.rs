//! A front: questions of many clients at once, for a live register.
//!
//! Each sender has a *desk*. A desk collects questions for some milliseconds, and while a call is under way until the next
//! one is at least half full; asks for the ids that it has no fresh answer for, none of them twice at the same time; and
//! makes one register of all ids whose questions are settled, which answers those questions. What was answered is kept in
//! memory until it is `max_age` old, and nowhere else.

mod cache;
pub(super) mod desk;
mod wanted;

use super::asking::{Caller, Pace};
use super::{Client, Source, SourceError, config, register};
use crate::identities::Ordinal;
use crate::register::{Kind, Register};
use crate::time::Time;
use desk::{Desk, DeskRules};
use jiff::SignedDuration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Ids of a question, at most: more are a mailing, for which `nabar resolve` asks.
pub const QUESTION_IDS_MAX: usize = 10_000;
/// Senders that are asked for at the same time.
const DESKS_MAX: usize = 64;
/// Questions of a desk that wait to be taken.
const QUEUE: usize = 1024;
/// Memory for answers in bytes, of all desks.
pub const ANSWERS_BYTES: usize = 64 << 20;
/// How long a client waits for a register that does not answer, at most.
const GIVE_UP_AFTER: Time = Time(SignedDuration::from_secs(10));

/// Why a question is not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontError {
    /// The register does not answer.
    #[error("the register does not answer: {0}")]
    Away(Arc<str>),
    /// The register refuses to answer; trying again is of no use before it is mended.
    #[error("the register refuses to answer: {0}")]
    Refused(Arc<str>),
    /// There are too many questions, or senders.
    #[error("there are too many questions; retry")]
    Busy,
}

impl FrontError {
    fn of(error: &SourceError) -> FrontError {
        let why = error.to_string().into();
        match error {
            SourceError::Refused(_) | SourceError::SenderRefused(_) | SourceError::Credentials(_) => {
                FrontError::Refused(why)
            }
            _ => FrontError::Away(why),
        }
    }
}

/// The answer to a question.
#[derive(Clone)]
pub struct FrontAnswer {
    /// A register of the ids that are answered, and of those of other questions at the same time.
    pub register: Arc<Register>,
    /// Why ids of the question are missing in it; `None` if there are all.
    pub missing: Option<FrontError>,
    /// Whether it has any id of the question.
    pub has_any: bool,
    /// Whether the register refused an id of the question.
    pub has_refused: bool,
}

/// What a front did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontCounts {
    /// Calls to the register.
    pub calls: u64,
    /// Calls that failed and were made again.
    pub retries: u64,
    /// Ids that it was asked for.
    pub asked: u64,
    /// Ids of questions that had a fresh answer.
    pub fresh: u64,
    /// Ids of questions that others were asking for already.
    pub shared: u64,
    /// Answers in memory.
    pub kept: u64,
}

/// A live register that clients ask through this process.
pub struct Front {
    source: Source,
    rules: DeskRules,
    /// When the register may be asked, for all senders.
    pace: Arc<Pace>,
    desks: Mutex<HashMap<String, Arc<OpenDesk>>>,
    /// Registers without any answer by their sender.
    empty: Mutex<HashMap<String, Arc<Register>>>,
}

/// The desk of a sender, for whom FaR is asked. KRR has one, without a name.
struct OpenDesk {
    questions: mpsc::Sender<Question>,
    desk: Arc<dyn Counted>,
}

/// The counts of a desk.
pub(super) trait Counted: Send + Sync {
    fn counts(&self) -> FrontCounts;
    fn is_failing(&self) -> bool;
}

/// Ids, ascending and each once, and where their answer goes.
pub(super) struct Question {
    /// Whose they are: clients take turns.
    pub(super) client: Arc<str>,
    pub(super) ids: Vec<Ordinal>,
    pub(super) reply: oneshot::Sender<FrontAnswer>,
}

impl Front {
    /// A front of a source. Nothing is asked yet.
    pub fn new(source: Source) -> Front {
        let file = source.file();
        let rules = DeskRules {
            kind: source.kind(),
            calls_in_flight: file.limits.calls_in_flight.get(),
            refused: Arc::default(),
            wait: config::time(GIVE_UP_AFTER),
            max_age: config::time(file.keep.max_age),
            answers: Arc::default(),
            answers_max: ANSWERS_BYTES,
            sender: None,
            probe: source.test_id(),
        };
        let pace = Arc::new(Pace::new(&file.limits));
        Front { source, rules, pace, desks: Mutex::default(), empty: Mutex::default() }
    }

    /// The kind of register.
    pub fn kind(&self) -> Kind {
        self.source.kind()
    }

    /// A register without any answer, in which the sender is known; one without senders for `None`.
    ///
    /// Errors: the system has no memory.
    pub fn empty(&self, sender: Option<&str>) -> Result<Arc<Register>, FrontError> {
        let sender = self.key(sender);
        let mut registers = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(register) = registers.get(&sender) {
            return Ok(Arc::clone(register));
        }
        if registers.len() >= DESKS_MAX {
            registers.clear();
        }
        let named = (!sender.is_empty()).then_some(&*sender);
        let register = register::empty(self.kind(), named, None).map_err(|error| FrontError::of(&error))?;
        Ok(Arc::clone(registers.entry(sender).or_insert(Arc::new(register))))
    }

    /// FaR's sender as the register writes it; empty without one.
    fn key(&self, sender: Option<&str>) -> String {
        match self.kind() {
            Kind::Krr => String::new(),
            Kind::Far => sender.and_then(crate::register::organisation).unwrap_or_default(),
        }
    }

    /// Asks for the ids of a question of a client, which ascend, each once. Clients take turns. Must be called in a runtime.
    ///
    /// Errors: there are too many questions, or the desk has ended.
    pub async fn ask(
        &self,
        sender: Option<&str>,
        client: &str,
        ids: Vec<Ordinal>,
    ) -> Result<FrontAnswer, FrontError> {
        let desk = self.desk(self.key(sender))?;
        let (reply, answer) = oneshot::channel();
        let sent = desk.questions.send(Question { client: client.into(), ids, reply }).await;
        sent.map_err(|_| FrontError::Busy)?;
        answer.await.map_err(|_| FrontError::Busy)
    }

    /// What was asked so far.
    pub fn counts(&self) -> FrontCounts {
        let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        desks.values().map(|open| open.desk.counts()).fold(FrontCounts::default(), |sum, counts| {
            FrontCounts {
                calls: sum.calls + counts.calls,
                retries: sum.retries + counts.retries,
                asked: sum.asked + counts.asked,
                fresh: sum.fresh + counts.fresh,
                shared: sum.shared + counts.shared,
                kept: sum.kept + counts.kept,
            }
        })
    }

    /// Whether the register has answered, or was not asked, the last time for each sender.
    pub fn is_answered(&self) -> bool {
        let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        !desks.values().any(|open| open.desk.is_failing())
    }

    /// A sender's desk, which is opened for its first question.
    fn desk(&self, sender: String) -> Result<Arc<OpenDesk>, FrontError> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = desks.get(&sender) {
            return Ok(Arc::clone(open));
        }
        if desks.len() >= DESKS_MAX {
            // One that no client waits for is closed, and its answers are forgotten.
            let idle = desks.iter().find(|(_, open)| Arc::strong_count(open) == 1);
            let idle = idle.map(|(sender, _)| sender.clone()).ok_or(FrontError::Busy)?;
            desks.remove(&idle);
        }
        let (questions, taken) = mpsc::channel(QUEUE);
        let mut limits = self.source.file().limits.clone();
        limits.give_up_after = limits.give_up_after.min(GIVE_UP_AFTER);
        // An answer that comes later is for no client.
        let http = self.source.http.with_call_time(config::time(limits.call_time.min(GIVE_UP_AFTER)));
        let client = Client { is_front: true, http, ..self.source.client(sender.clone()) };
        let named = Some(sender.clone()).filter(|sender| !sender.is_empty());
        let rules = DeskRules { sender: named, ..self.rules.clone() };
        let desk = Arc::new(Desk::new(Caller::sharing(client, &limits, Arc::clone(&self.pace)), rules));
        tokio::spawn(Arc::clone(&desk).run(taken));
        let open = Arc::new(OpenDesk { questions, desk });
        desks.insert(sender, Arc::clone(&open));
        Ok(open)
    }
}
