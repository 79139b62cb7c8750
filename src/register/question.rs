//! One question asked of many recipients: a mailing.
//!
//! A mailing has one sender and one day. So the outcome of every state is decided once, for recipients
//! that accept the sender and for those that do not, and each recipient takes a lookup and a table.

use super::outcome::{Answer, Outcome};
use super::state::{FarState, KrrState, StateRule};
use super::{Damage, DamagedSection, Kind, Register};
use crate::consent::Rules;
use crate::cpu::{Processor, Work};
use crate::identities::{Identity, Ordinal};
use crate::index::{Found, Index, Single, Sink, Slot};
use jiff::civil::Date;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// FaR wants a sender.
    #[error("a FaR register answers for one sender: name it with --sender")]
    SenderMissing,
    /// The sender is not one of the register's.
    #[error(
        "the register knows no such sender: --sender takes the organisation number of a connected one; \
         `nabar inspect --senders` lists them"
    )]
    SenderUnknown,
    /// KRR has no senders.
    #[error("a KRR register has no senders: leave --sender out")]
    SenderUnwanted,
    /// The register is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedSection),
}

/// The answers of a state to those who accept the sender, and to those who do not.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Answers {
    accepting: Answer,
    declining: Answer,
}

impl Answers {
    /// Whether the recipient's rule must be known.
    #[inline(always)]
    fn differ(self) -> bool {
        self.accepting != self.declining
    }
}

/// The outcome of every state of one version, for one sender and one day.
pub(crate) struct Decided {
    /// Place of the sender in the version's list.
    pub(crate) sender: Option<u16>,
    day: u32,
    by_state: Vec<Answers>,
    /// Recipients with a listed rule that have been asked for.
    listed: AtomicUsize,
    /// Whether each rule accepts the sender. Made when so many listed recipients have been asked for that
    /// reading their rules one by one costs more.
    accepting: OnceLock<Vec<bool>>,
}

/// A question to a register, ready to be asked of any number of recipients.
pub struct Question<'r> {
    register: &'r Register,
    /// The register's; finding its columns anew takes as long as a lookup.
    index: Index<'r>,
    /// `None` if parts have changed.
    single: Option<Single<'r>>,
    processor: Processor,
    decided: Arc<Decided>,
    /// FaR: the rules, and the number of the sender in them.
    rules: Option<(Rules<'r>, u16)>,
}

/// So many rules can be read one after another in the time that reading one rule by its number takes.
const RULES_A_LISTED: usize = 16;

/// Ids that are looked up before those with a listed rule among them are decided, while both are in near caches.
const PASS_IDS: usize = 4096;

/// Takes each recipient's answer, and a note of those whose rule is listed.
struct Deciding<'d> {
    by_state: &'d [Answers],
    answers: &'d mut [Answer],
    listed: &'d mut Vec<(usize, Found)>,
}

impl Sink for Deciding<'_> {
    #[inline(always)]
    fn take(&mut self, first: usize, found: impl ExactSizeIterator<Item = Found>) {
        for (place, (answer, found)) in self.answers[first..].iter_mut().zip(found).enumerate() {
            let decided = self.by_state[found.code as usize];
            *answer = decided.accepting;
            // They are few, so this is cheaper than what would not branch.
            if decided.differ() {
                self.listed.push((first + place, found));
            }
        }
    }
}

/// The answer for one ordinal, if that takes no more than looking it up.
struct One<'q, 'r> {
    question: &'q Question<'r>,
    ordinal: Ordinal,
}

impl Work for One<'_, '_> {
    type Output = Option<Answer>;

    #[inline(always)]
    fn run(self) -> Option<Answer> {
        let found = self.question.single.as_ref()?.look_up(self.ordinal)?;
        let answers = self.question.decided.by_state.get(found.code as usize)?;
        (!answers.differ()).then_some(answers.accepting)
    }
}

impl Register {
    /// Who can be reached by `sender` (FaR: 10 or 12 digits of a connected sender; KRR: none) on `date`
    /// (KRR: for the 18-month rule).
    ///
    /// Cost: some microseconds, for the outcome of each state that recipients are in.
    pub fn question(&self, sender: Option<&str>, date: Date) -> Result<Question<'_>, NotAsked> {
        let sender = match (self.kind(), sender) {
            (Kind::Far, None) => return Err(NotAsked::SenderMissing),
            (Kind::Krr, Some(_)) => return Err(NotAsked::SenderUnwanted),
            (Kind::Krr, None) => None,
            (Kind::Far, Some(id)) => Some(self.sender(id).ok_or(NotAsked::SenderUnknown)?),
        };
        let (day, rules) = (super::day_number(date), self.rules_for(sender)?);
        let by_state = (0..self.states().len()).map(|code| self.decide(code, day, rules)).collect();
        let (listed, accepting) = (AtomicUsize::new(0), OnceLock::new());
        Ok(self.question_of(&Arc::new(Decided { sender, day, by_state, listed, accepting }))?)
    }

    /// A question that has been decided for this version already.
    pub(crate) fn question_of(&self, decided: &Arc<Decided>) -> Result<Question<'_>, DamagedSection> {
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

    /// The rules, and the number of a sender in them.
    fn rules_for(&self, sender: Option<u16>) -> Result<Option<(Rules<'_>, u16)>, DamagedSection> {
        sender.map(|sender| Ok((self.rules()?, self.version.senders.number(sender)))).transpose()
    }

    fn decide(&self, code: usize, day: u32, rules: Option<(Rules<'_>, u16)>) -> Answers {
        let (accepting, declining) = match (code, self.kind()) {
            (0, _) => return Answers { accepting: Answer::default(), declining: Answer::default() },
            (_, Kind::Krr) => {
                let outcome = KrrState::from(self.state(code as u32)).decide(day);
                (outcome, outcome)
            }
            (_, Kind::Far) => {
                let state = FarState::from(self.state(code as u32));
                let operator = state.operator.and_then(|place| self.operators().get(usize::from(place)));
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
        Answers { accepting: accepting.into(), declining: declining.into() }
    }
}

impl<'r> Question<'r> {
    /// The register that is asked.
    pub fn register(&self) -> &'r Register {
        self.register
    }

    /// Place of the sender in the register's list.
    pub fn sender(&self) -> Option<u16> {
        self.decided.sender
    }

    /// What has been decided, for the next question to the same version.
    pub(crate) fn decided(&self) -> &Arc<Decided> {
        &self.decided
    }

    /// The day asked, in days since 1970-01-01.
    pub fn day(&self) -> u32 {
        self.decided.day
    }

    /// The outcome for one recipient.
    pub fn ask(&self, identity: &Identity) -> Result<Outcome, Damage> {
        self.answer(identity.ordinal()).map(Answer::outcome)
    }

    /// The answer for one recipient.
    ///
    /// No branch depends on whether it is registered, so that the processor begins the next one while it waits for
    /// the memory of this one.
    #[inline]
    pub fn answer(&self, ordinal: Ordinal) -> Result<Answer, Damage> {
        match self.processor.run(One { question: self, ordinal }) {
            Some(answer) => Ok(answer),
            None => self.answer_slowly(ordinal),
        }
    }

    /// What few need: the rule of the recipient, a block that nobody has asked for, changed parts.
    #[inline(never)]
    fn answer_slowly(&self, ordinal: Ordinal) -> Result<Answer, Damage> {
        let found = self.index.look_up_one(self.register.trust(), ordinal)?;
        let answers = self.decided.by_state[found.code as usize];
        let Some((rules, sender)) = self.rules.filter(|_| answers.differ()) else {
            return Ok(answers.accepting);
        };
        let rule = self.index.rule_of(ordinal, found.slot);
        let accepts = match self.table(1, rules, sender) {
            Some(table) => table.get(rule as usize).copied(),
            None => rules.accepts(rule, sender),
        };
        let accepts = accepts.ok_or(DamagedSection { name: "exception_rules" })?;
        Ok(if accepts { answers.accepting } else { answers.declining })
    }

    /// The answers for any number of recipients, by their ordinals; `answers` is as long as they.
    ///
    /// Cost: some 4 to 9 ns each on one core with 8 million recipients; see the benchmark `lookup`.
    pub fn ask_all(&self, ordinals: &[Ordinal], answers: &mut [Answer]) -> Result<(), Damage> {
        assert_eq!(ordinals.len(), answers.len());
        let mut listed = Vec::new();
        for (ordinals, answers) in ordinals.chunks(PASS_IDS).zip(answers.chunks_mut(PASS_IDS)) {
            let mut deciding = Deciding { by_state: &self.decided.by_state, answers, listed: &mut listed };
            self.index.look_up(self.register.trust(), ordinals, &mut deciding)?;
            self.decide_listed(ordinals, &listed, answers)?;
            listed.clear();
        }
        Ok(())
    }

    /// Whether each rule accepts the sender, if so many recipients with listed rules have been asked for that reading
    /// theirs would cost more; `more` are asked for now.
    fn table(&self, more: usize, rules: Rules<'_>, sender: u16) -> Option<&[bool]> {
        let Decided { listed, accepting, .. } = &*self.decided;
        if let Some(table) = accepting.get() {
            return Some(table);
        }
        let many = listed.fetch_add(more, Ordering::Relaxed) + more > rules.len() / RULES_A_LISTED;
        many.then(|| &accepting.get_or_init(|| rules.accepting(sender))[..])
    }

    /// Decides for the recipients whose rule is listed. They are few.
    fn decide_listed(
        &self,
        ordinals: &[Ordinal],
        listed: &[(usize, Found)],
        answers: &mut [Answer],
    ) -> Result<(), Damage> {
        let Some((rules, sender)) = self.rules.filter(|_| !listed.is_empty()) else { return Ok(()) };
        let recipients: Vec<(Ordinal, Slot)> =
            listed.iter().map(|&(place, found)| (ordinals[place], found.slot)).collect();
        let table = self.table(listed.len(), rules, sender);
        let mut damaged = false;
        self.index.rules_of(&recipients, |place, rule| {
            let (row, found) = listed[place];
            let accepts = match table {
                Some(table) => table.get(rule as usize).copied(),
                None => rules.accepts(rule, sender),
            };
            match accepts {
                Some(true) => {}
                Some(false) => answers[row] = self.decided.by_state[found.code as usize].declining,
                None => damaged = true,
            }
        });
        if damaged { Err(DamagedSection { name: "exception_rules" }.into()) } else { Ok(()) }
    }
}
