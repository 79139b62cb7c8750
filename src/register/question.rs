//! Questions: the outcomes of one mailing for many recipients.
//!
//! A mailing has one sender and one day. So the outcome of every state is computed once, for recipients that accept the
//! sender and for those that do not. A recipient then takes an index lookup and a table lookup.

use super::outcome::{Answer, Outcome, PaperReason};
use super::state::{State, StateRule};
use super::{Damage, DamagedSection, Kind, Register};
use crate::consent::Rules;
use crate::cpu::{Processor, Work};
use crate::identities::{Identity, Ordinal};
use crate::index::{Hit, Index, SingleLookup, Sink, Slot};
use crate::organisations::{SenderIndex, SenderNumber};
use jiff::civil::Date;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Why a question is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// A FaR question needs a sender.
    #[error("a question to a FaR register needs a sender")]
    SenderMissing,
    /// The register does not have the sender.
    #[error("the register does not have this sender")]
    SenderUnknown,
    /// The register has the answers for another sender only.
    #[error("the register was asked for another sender: its answers hold for that one only")]
    SenderNotAsked,
    /// A question to KRR, or to answers of Kivra, has no sender.
    #[error("a register of KRR or of answers of Kivra has no senders")]
    SenderUnwanted,
    /// The register is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedSection),
}

/// The answers of a state: for recipients that accept the sender, and for those that decline it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct StateAnswers {
    accepting: Answer,
    declining: Answer,
}

impl StateAnswers {
    /// Whether the answer depends on the recipient's rule.
    #[inline(always)]
    fn differ(self) -> bool {
        self.accepting != self.declining
    }
}

/// The outcome of every state of one version, for one sender and one day.
pub(crate) struct DecidedStates {
    pub(crate) sender: Option<SenderIndex>,
    day: u32,
    by_state: Vec<StateAnswers>,
    /// Number of lookups of recipients with a listed rule.
    listed: AtomicUsize,
    /// Whether each rule accepts the sender. Computed when reading the rules of listed recipients one by one has become
    /// more expensive than reading all rules.
    accepting: OnceLock<Vec<bool>>,
}

/// A question to a register, prepared for any number of recipients.
pub struct Question<'r> {
    register: &'r Register,
    /// Kept because collecting the columns takes as long as a lookup.
    index: Index<'r>,
    /// `None` if parts have changed since the register file was made.
    single: Option<SingleLookup<'r>>,
    processor: Processor,
    decided: Arc<DecidedStates>,
    /// FaR: the rules and the sender's number.
    rules: Option<(Rules<'r>, SenderNumber)>,
}

/// Rules that can be read sequentially in the time of one random access to a rule.
const RULES_PER_LISTED: usize = 16;

/// Ids per pass: all are looked up, then those with a listed rule are decided while their data is still in cache.
const PASS_IDS: usize = 4096;

/// Stores the answer of each recipient, and collects the recipients whose rule is listed.
struct AnswerSink<'d> {
    by_state: &'d [StateAnswers],
    answers: &'d mut [Answer],
    listed: &'d mut Vec<(usize, Hit)>,
}

impl Sink for AnswerSink<'_> {
    #[inline(always)]
    fn take(&mut self, first: usize, hits: impl ExactSizeIterator<Item = Hit>) {
        for (index, (answer, hit)) in self.answers[first..].iter_mut().zip(hits).enumerate() {
            // Without the state, the file has been overwritten: the answers are discarded later.
            let decided = self.by_state.get(hit.code as usize).copied().unwrap_or_default();
            *answer = decided.accepting;
            // Listed recipients are rare, so a branch is cheaper than branch-free code.
            if decided.differ() {
                self.listed.push((first + index, hit));
            }
        }
    }
}

/// The answer for one ordinal, if it does not depend on a listed rule.
struct SingleAnswer<'q, 'r> {
    question: &'q Question<'r>,
    ordinal: Ordinal,
}

impl Work for SingleAnswer<'_, '_> {
    type Output = Option<Answer>;

    #[inline(always)]
    fn run(self) -> Option<Answer> {
        let hit = self.question.single.as_ref()?.look_up(self.ordinal)?;
        let answers = self.question.decided.by_state.get(hit.code as usize)?;
        (!answers.differ()).then_some(answers.accepting)
    }
}

impl Register {
    /// Prepares a question about the outcomes for `sender` (FaR: 10 or 12 digits of a connected sender; KRR and answers of
    /// Kivra: `None`) on
    /// `date` (KRR: for the 18-month rule).
    ///
    /// Cost: some microseconds, to compute the outcome of each state.
    pub fn question(&self, sender: Option<&str>, date: Date) -> Result<Question<'_>, QuestionError> {
        let sender = match (self.kind(), sender) {
            (Kind::Far, None) if self.is_of_tenant() => None,
            (Kind::Far, Some(_)) if self.is_of_tenant() => return Err(QuestionError::SenderUnwanted),
            (Kind::Far, None) => return Err(QuestionError::SenderMissing),
            (Kind::Krr, Some(_)) => return Err(QuestionError::SenderUnwanted),
            (Kind::Krr, None) => None,
            (Kind::Far, Some(id)) => Some(self.sender(id).ok_or(match self.scope() {
                None => QuestionError::SenderUnknown,
                Some(_) => QuestionError::SenderNotAsked,
            })?),
        };
        let (day, rules) = (super::day_number(date), self.rules_for(sender)?);
        let by_state = (0..self.states().len()).map(|code| self.decide(code, day, rules)).collect();
        let (listed, accepting) = (AtomicUsize::new(0), OnceLock::new());
        Ok(self.question_of(&Arc::new(DecidedStates { sender, day, by_state, listed, accepting }))?)
    }

    /// A question whose states have been decided for this version.
    pub(crate) fn question_of(&self, decided: &Arc<DecidedStates>) -> Result<Question<'_>, DamagedSection> {
        let rules = self.rules_for(decided.sender)?;
        let index = self.index();
        Ok(Question {
            register: self,
            single: index.single(self.trust()),
            index,
            processor: Processor::detect(),
            decided: Arc::clone(decided),
            rules,
        })
    }

    /// The rules and the number of a sender.
    fn rules_for(
        &self,
        sender: Option<SenderIndex>,
    ) -> Result<Option<(Rules<'_>, SenderNumber)>, DamagedSection> {
        sender.map(|sender| Ok((self.rules()?, self.version.senders.number(sender)))).transpose()
    }

    fn decide(&self, code: usize, day: u32, rules: Option<(Rules<'_>, SenderNumber)>) -> StateAnswers {
        let (accepting, declining) = match (code, self.kind()) {
            (0, _) => {
                let absent = self.scope().map_or(Answer::default(), |_| Outcome::NotAsked.into());
                return StateAnswers { accepting: absent, declining: absent };
            }
            _ if self.state(code as u32).is_answer_only() => {
                let outcome = match self.state(code as u32) == State::REFUSED {
                    true => Outcome::Refused,
                    false => Outcome::Paper(PaperReason::NotRegistered),
                };
                (outcome, outcome)
            }
            (_, Kind::Krr) => {
                let outcome = self.krr_state(code as u32).decide(day);
                (outcome, outcome)
            }
            (_, Kind::Far) => {
                let state = self.far_state(code as u32);
                let operator = state.operator.and_then(|index| self.operators().get(usize::from(index)));
                let address = operator.is_some_and(|operator| !operator.service_address.trim().is_empty());
                let decided = |accepted| state.decide(accepted, address);
                match state.rule {
                    StateRule::AcceptsAll => (decided(true), decided(true)),
                    StateRule::Shared(rule) => {
                        let accepted =
                            rules.and_then(|(rules, sender)| rules.accepts(rule, sender)) == Some(true);
                        (decided(accepted), decided(accepted))
                    }
                    StateRule::Listed => (decided(true), decided(false)),
                }
            }
        };
        StateAnswers { accepting: accepting.into(), declining: declining.into() }
    }
}

impl<'r> Question<'r> {
    /// The register of the question.
    pub fn register(&self) -> &'r Register {
        self.register
    }

    /// The sender of the question (FaR).
    pub fn sender(&self) -> Option<SenderIndex> {
        self.decided.sender
    }

    /// The decided states, for further questions to the same version.
    pub(crate) fn decided(&self) -> &Arc<DecidedStates> {
        &self.decided
    }

    /// The day of the question, in days since 1970-01-01.
    pub fn day(&self) -> u32 {
        self.decided.day
    }

    /// The outcome for one recipient.
    pub fn ask(&self, identity: &Identity) -> Result<Outcome, Damage> {
        self.answer(identity.ordinal()).map(Answer::outcome)
    }

    /// The answer for one recipient.
    ///
    /// No branch depends on whether the recipient is registered, so that the processor executes the next lookup while
    /// this one waits for memory.
    #[inline]
    pub fn answer(&self, ordinal: Ordinal) -> Result<Answer, Damage> {
        match self.processor.run(SingleAnswer { question: self, ordinal }) {
            Some(answer) => Ok(answer),
            None => self.answer_slow(ordinal),
        }
    }

    /// Slow path: a listed rule, a block that is not checked yet, or changed parts.
    #[inline(never)]
    fn answer_slow(&self, ordinal: Ordinal) -> Result<Answer, Damage> {
        let hit = self.index.look_up_one(self.register.trust(), ordinal)?;
        let answers = self.decided.by_state.get(hit.code as usize);
        let answers = *answers.ok_or(DamagedSection { name: "records" })?;
        let Some((rules, sender)) = self.rules.filter(|_| answers.differ()) else {
            return Ok(answers.accepting);
        };
        let rule = self.index.rule_of(ordinal, hit.slot);
        let accepts = match self.accepting(1, rules, sender) {
            Some(table) => table.get(rule as usize).copied(),
            None => rules.accepts(rule, sender),
        };
        let accepts = accepts.ok_or(DamagedSection { name: "exception_rules" })?;
        Ok(if accepts { answers.accepting } else { answers.declining })
    }

    /// The answers for any number of recipients. Panics unless `ordinals` and `answers` have the same length.
    ///
    /// Cost: 4 to 9 ns per recipient on one core, with 8 million recipients in the register; see the benchmark
    /// `lookup`.
    pub fn ask_all(&self, ordinals: &[Ordinal], answers: &mut [Answer]) -> Result<(), Damage> {
        assert_eq!(ordinals.len(), answers.len());
        let mut listed = Vec::new();
        for (ordinals, answers) in ordinals.chunks(PASS_IDS).zip(answers.chunks_mut(PASS_IDS)) {
            let mut sink = AnswerSink { by_state: &self.decided.by_state, answers, listed: &mut listed };
            self.index.look_up(self.register.trust(), ordinals, &mut sink)?;
            self.decide_listed(ordinals, &listed, answers)?;
            listed.clear();
        }
        Ok(())
    }

    /// Whether each rule accepts the sender. `None` while reading the rules of listed recipients one by one is cheaper;
    /// `more` is the number of listed recipients in this call.
    fn accepting(&self, more: usize, rules: Rules<'_>, sender: SenderNumber) -> Option<&[bool]> {
        let DecidedStates { listed, accepting, .. } = &*self.decided;
        if let Some(table) = accepting.get() {
            return Some(table);
        }
        let many = listed.fetch_add(more, Ordering::Relaxed) + more > rules.len() / RULES_PER_LISTED;
        many.then(|| &accepting.get_or_init(|| rules.accepting(sender))[..])
    }

    /// Decides the answers of recipients whose rule is listed.
    fn decide_listed(
        &self,
        ordinals: &[Ordinal],
        listed: &[(usize, Hit)],
        answers: &mut [Answer],
    ) -> Result<(), Damage> {
        let Some((rules, sender)) = self.rules.filter(|_| !listed.is_empty()) else { return Ok(()) };
        let recipients: Vec<(Ordinal, Slot)> =
            listed.iter().map(|&(row, hit)| (ordinals[row], hit.slot)).collect();
        let table = self.accepting(listed.len(), rules, sender);
        let mut damaged = false;
        self.index.rules_of(&recipients, |nth, rule| {
            let (row, hit) = listed[nth];
            let accepts = match table {
                Some(table) => table.get(rule as usize).copied(),
                None => rules.accepts(rule, sender),
            };
            match accepts {
                Some(true) => {}
                Some(false) => {
                    let of_state = self.decided.by_state.get(hit.code as usize);
                    answers[row] = of_state.map_or_else(Answer::default, |of_state| of_state.declining);
                }
                None => damaged = true,
            }
        });
        if damaged { Err(DamagedSection { name: "exception_rules" }.into()) } else { Ok(()) }
    }
}
