//! The register file of a job: the answers of its journal.

mod in_order;
mod krr;

use super::answer::{Answer, organisation};
use super::journal::Journal;
use super::{SourceError, Terms};
use crate::changes::{ChangeBody, NamedRule, OrganisationId, PutPerson, PutRecipient};
use crate::consent::{Acceptance, RuleNumbering, RuleSet};
use crate::identities::Ordinal;
use crate::limits::OPERATORS_MAX;
use crate::organisations::{OperatorNumber, SenderNumber};
use crate::register::moment::NO_NANOSECONDS;
use crate::register::state::{FarState, State, StateRule};
use crate::register::{Actors, Kind, Operator, Register, Scope, Sender};
use crate::snapshot::Snapshot;
use crate::snapshot::far::{FarPlan, FarRow};
use crate::snapshot::krr::KrrDraft;
use crate::snapshot::write::{AnswerTimes, Draft};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use jiff::Timestamp;
use krr::KrrAnswers;
use std::io::Cursor;
use std::path::Path;

/// The answers of a job, as far as the register file needs them in memory: all of FaR's, and of KRR's all but the contacts.
///
/// Memory: some 8 bytes for each id, and some 20 when the file is made.
pub(super) enum JobAnswers<'i> {
    Far(Box<Rows<'i>>),
    Krr(Box<KrrAnswers<'i>>),
}

impl<'i> JobAnswers<'i> {
    /// No answers for some ids, which ascend.
    pub(super) fn new(kind: Kind, ids: &'i [Ordinal]) -> JobAnswers<'i> {
        match kind {
            Kind::Far => JobAnswers::Far(Box::new(Rows::new(kind, ids, false))),
            Kind::Krr => JobAnswers::Krr(Box::new(KrrAnswers::new(ids))),
        }
    }

    /// Adds an answer, also for another id, which is left out. Of several for an id, the last one counts.
    ///
    /// Errors: it does not fit the others.
    pub(super) fn add(&mut self, id: Ordinal, time: Timestamp, answer: &Answer) -> Result<(), SourceError> {
        match self {
            JobAnswers::Krr(answers) => answers.add(id, time, answer),
            JobAnswers::Far(rows) => match rows.positions.find(id) {
                Some(index) => rows.add(index, time, answer),
                None => Ok(()),
            },
        }
    }

    pub(super) fn is_answered(&self, index: usize) -> bool {
        match self {
            JobAnswers::Far(rows) => rows.answered[index] != 0,
            JobAnswers::Krr(answers) => answers.is_answered(index),
        }
    }

    /// Writes the register of the answers. The journal has them, too: those that are not older than `since` count.
    ///
    /// Cost: KRR's journal is read once.
    pub(super) fn write(
        self,
        journal: &Journal,
        since: Timestamp,
        terms: &Terms<'_>,
        path: &Path,
    ) -> Result<(Scope, u64), SourceError> {
        if journal.operators().len() > OPERATORS_MAX {
            return Err(SourceError::Inconsistent);
        }
        let scope = Scope {
            source: terms.address.to_owned(),
            sender: terms.scope_sender(),
            on_behalf_of: terms.on_behalf_of.to_owned(),
            max_age: terms.max_age.as_secs(),
            delete_after: terms.delete_after.as_secs(),
            ..Scope::default()
        };
        let (draft, scope) = match self {
            JobAnswers::Far(rows) => {
                let answered = rows.answered();
                let scope = scope_of(scope, &answered, rows.refused());
                let asked = (scope.clone(), answered);
                (rows.finish(asked, journal.operators(), terms.sender)?, scope)
            }
            JobAnswers::Krr(mut answers) => {
                let (answered, refused) = answers.answered();
                let scope = scope_of(scope, &answered, refused);
                (answers.draft(journal, since, (scope.clone(), answered))?, scope)
            }
        };
        let written =
            draft.write(path).map_err(|error| SourceError::Write { path: path.to_owned(), error })?;
        Ok((scope, written))
    }
}

/// A scope with the times and numbers of some answers.
fn scope_of(scope: Scope, answered: &AnswerTimes, refused: u64) -> Scope {
    let now = Timestamp::now().as_second();
    Scope {
        oldest: answered.distinct().min().unwrap_or(now).min(now),
        newest: answered.distinct().max().unwrap_or(now),
        ids: answered.len(),
        refused,
        ..scope
    }
}

/// A register without any answer.
pub(super) fn empty(kind: Kind, sender: Option<&str>, tenant: Option<&str>) -> Result<Register, SourceError> {
    let (oldest, max_age) = (Timestamp::now().as_second(), u64::from(u32::MAX));
    let asker = tenant.map(Scope::sender_of_tenant).unwrap_or_default();
    let scope =
        Scope { sender: asker, oldest, newest: oldest, max_age, delete_after: max_age, ..Scope::default() };
    in_memory(Rows::new(kind, &[], false).finish((scope, AnswerTimes::default()), &[], sender)?)
}

/// A register of some answers, in memory, with the times of the recipients. `ids` ascend.
///
/// Cost: some 0.3 ms, and less than a microsecond an answer.
pub(super) fn of_answers<'a>(
    (kind, sender): (Kind, Option<&str>),
    ids: &[Ordinal],
    operators: &[Operator],
    answers: impl Iterator<Item = (Ordinal, Timestamp, &'a Answer)>,
) -> Result<Register, SourceError> {
    let mut rows = Rows::new(kind, ids, true);
    for (ordinal, time, answer) in answers {
        if let Some(index) = rows.positions.find(ordinal) {
            rows.add(index, time, answer)?;
        }
    }
    let max_age = u64::from(u32::MAX);
    let sender_of_scope = sender.unwrap_or_default().to_owned();
    let scope = Scope { sender: sender_of_scope, max_age, delete_after: max_age, ..Scope::default() };
    let answered = rows.answered();
    let scope = scope_of(scope, &answered, rows.refused());
    in_memory(rows.finish((scope, answered), operators, sender)?)
}

fn in_memory(draft: Draft<'_>) -> Result<Register, SourceError> {
    let mut bytes = Cursor::new(Vec::new());
    draft.write_to(&mut bytes).map_err(SourceError::System)?;
    let snapshot = Snapshot::from_bytes(bytes.get_ref()).and_then(|snapshot| snapshot.register());
    snapshot.map_err(|_| SourceError::Inconsistent)
}

/// A time in seconds since 1970, which is not 0.
fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_second()).unwrap_or_default().max(1)
}

/// The positions of ids, which ascend.
pub(super) struct Positions<'i> {
    ids: &'i [Ordinal],
    /// That of the id before the next one: calls ask for ids that follow one another.
    last: usize,
}

impl<'i> Positions<'i> {
    fn new(ids: &'i [Ordinal]) -> Positions<'i> {
        Positions { ids, last: 0 }
    }

    fn find(&mut self, id: Ordinal) -> Option<usize> {
        self.last = match self.ids.get(self.last + 1) {
            Some(next) if *next == id => self.last + 1,
            _ => self.ids.binary_search(&id).ok()?,
        };
        Some(self.last)
    }
}

/// The answers of a register under construction, by the position of their ids.
pub(super) struct Rows<'i> {
    positions: Positions<'i>,
    /// When each id was answered, in seconds since 1970; 0 for none.
    answered: Vec<u32>,
    kinds: Kinds,
}

enum Kinds {
    Far(FarRows),
    Krr(Box<KrrDraft>),
}

/// In the place of the number of a combination: the id has no answer.
const NO_ANSWER: u16 = u16::MAX;

struct FarRows {
    /// The number of each id's combination of state and rule.
    numbers: Vec<u16>,
    /// The times of registration and of the last change of acceptance, if they are kept.
    times: Vec<(i64, i64)>,
    combinations: Vec<(State, u32)>,
    number_of: HashMap<(State, u32), u16>,
    /// The operators in the order in which they occurred.
    operators: Vec<OrganisationId>,
    operator_numbers: HashMap<OrganisationId, u16>,
}

/// FaR: the rules of recipients that accept the sender, and of those that do not.
const ACCEPTING: u32 = 0;
const DECLINING: u32 = 1;

impl<'i> Rows<'i> {
    fn new(kind: Kind, ids: &'i [Ordinal], keeps_times: bool) -> Rows<'i> {
        let kinds = match kind {
            Kind::Far => Kinds::Far(FarRows {
                numbers: vec![NO_ANSWER; ids.len()],
                times: vec![(NO_NANOSECONDS, NO_NANOSECONDS); if keeps_times { ids.len() } else { 0 }],
                combinations: Vec::new(),
                number_of: HashMap::new(),
                operators: Vec::new(),
                operator_numbers: HashMap::new(),
            }),
            Kind::Krr => Kinds::Krr(Box::default()),
        };
        Rows { positions: Positions::new(ids), answered: vec![0; ids.len()], kinds }
    }

    fn add(&mut self, index: usize, time: Timestamp, answer: &Answer) -> Result<(), SourceError> {
        self.answered[index] = seconds(time);
        let only = match answer {
            ChangeBody::Remove(_) => Some(State::UNREGISTERED),
            ChangeBody::SetAside { .. } => Some(State::REFUSED),
            _ => None,
        };
        match (&mut self.kinds, answer, only) {
            (Kinds::Far(rows), _, Some(state)) => rows.set(index, (state, ACCEPTING)),
            (Kinds::Krr(draft), _, Some(state)) => {
                draft.add_answer(self.positions.ids[index], state);
                Ok(())
            }
            (Kinds::Far(rows), ChangeBody::PutRecipient(put), None) => {
                let combination = rows.combination(put)?;
                if let Some(times) = rows.times.get_mut(index) {
                    *times = (put.last_registration, put.last_sender_accept_change);
                }
                rows.set(index, combination)
            }
            (Kinds::Krr(draft), ChangeBody::PutPerson(put), None) => add_person(draft, put),
            _ => Err(SourceError::Inconsistent),
        }
    }

    /// When the ids with an answer were answered.
    fn answered(&self) -> AnswerTimes {
        let mut times = AnswerTimes::default();
        self.answered.iter().filter(|seconds| **seconds != 0).for_each(|seconds| times.push(*seconds));
        times
    }

    /// The number of ids that the register refused.
    fn refused(&self) -> u64 {
        match &self.kinds {
            Kinds::Far(rows) => {
                let refused = rows.number_of.get(&(State::REFUSED, ACCEPTING));
                refused.map_or(0, |refused| {
                    rows.numbers.iter().filter(|number| *number == refused).count() as u64
                })
            }
            Kinds::Krr(draft) => draft.count(State::REFUSED),
        }
    }

    /// `operators` are those of the answers, as they were last named.
    fn finish(
        self,
        (scope, answered): (Scope, AnswerTimes),
        operators: &[Operator],
        sender: Option<&str>,
    ) -> Result<Draft<'static>, SourceError> {
        let as_of = scope.oldest();
        let mut draft = match self.kinds {
            Kinds::Far(rows) => rows.finish(self.positions.ids, operators, sender, as_of)?,
            Kinds::Krr(mut krr) => {
                krr.keep_last();
                krr.finish(0, as_of)
            }
        };
        draft.scope = Some((scope, answered));
        Ok(draft)
    }
}

impl FarRows {
    /// The state and the rule of an answer.
    fn combination(&mut self, put: &PutRecipient) -> Result<(State, u32), SourceError> {
        let operator = put.operator.map(|id| self.operator(id)).transpose()?;
        let state = FarState {
            account_type: put.account_type,
            pending: put.pending,
            operator: operator.map(OperatorNumber::new),
            rule: StateRule::AcceptsAll,
        };
        let rule = if accepts(&put.rule) { ACCEPTING } else { DECLINING };
        Ok((state.into(), rule))
    }

    /// The number of an operator. Errors: there are too many.
    fn operator(&mut self, id: OrganisationId) -> Result<u16, SourceError> {
        if let Some(number) = self.operator_numbers.get(&id) {
            return Ok(*number);
        }
        let number = u16::try_from(self.operators.len()).ok();
        let number = number.filter(|number| usize::from(*number) < OPERATORS_MAX);
        let number = number.ok_or(SourceError::Inconsistent)?;
        self.operators.push(id);
        self.operator_numbers.insert(id, number);
        Ok(number)
    }

    fn set(&mut self, index: usize, combination: (State, u32)) -> Result<(), SourceError> {
        let next = self.combinations.len();
        self.numbers[index] = match self.number_of.entry(combination) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let number = u16::try_from(next).ok().filter(|number| *number != NO_ANSWER);
                let number = number.ok_or(SourceError::Inconsistent)?;
                self.combinations.push(combination);
                *new.insert(number)
            }
        };
        Ok(())
    }

    /// Errors: an operator is not among `operators`.
    fn finish(
        self,
        ids: &[Ordinal],
        operators: &[Operator],
        sender: Option<&str>,
        as_of: Timestamp,
    ) -> Result<Draft<'static>, SourceError> {
        let mut counts = vec![0; self.combinations.len()];
        let answered = || self.numbers.iter().filter(|number| **number != NO_ANSWER);
        answered().for_each(|number| counts[usize::from(*number)] += 1);
        // Operators and rules whose answers were superseded are dropped.
        let is_used = |(_, count): &(_, &u32)| **count > 0;
        let used =
            || self.combinations.iter().zip(&counts).filter(is_used).map(|(combination, _)| *combination);
        let operator_of = |state: State| FarState::from(state).operator.filter(|_| !state.is_answer_only());
        let mut kept: Vec<OrganisationId> =
            used().filter_map(|(state, _)| Some(self.operators[usize::from(operator_of(state)?)])).collect();
        kept.sort_by_cached_key(|id| id.text());
        kept.dedup();
        let mut rules = RuleNumbering::default();
        let declining = rules.number(RuleSet::<SenderNumber>::new(Acceptance::Only, Vec::new()));
        let (table, finals) = rules.finish(&[true, used().any(|(_, rule)| rule == DECLINING)]);
        let combinations: Vec<(State, u32)> = self
            .combinations
            .iter()
            .map(|&(state, rule)| {
                let rule = if rule == DECLINING { finals[declining as usize] } else { ACCEPTING };
                let Some(operator) = operator_of(state) else { return (state, rule) };
                let id = self.operators[usize::from(operator)];
                let number = kept.iter().position(|kept| *kept == id).unwrap_or_default();
                let operator = OperatorNumber::new(number as u16);
                (FarState::from(state).with_operator(Some(operator)).into(), rule)
            })
            .collect();
        let mut plan = FarPlan::default();
        for (&(state, rule), &count) in combinations.iter().zip(&counts).filter(is_used) {
            plan.count_all(state, rule, count);
        }
        let mut draft = plan.draft();
        let no_times = (NO_NANOSECONDS, NO_NANOSECONDS);
        let answered = (0..).zip(&self.numbers).filter(|(_, number)| **number != NO_ANSWER);
        for (index, number) in answered {
            let (state, rule) = combinations[usize::from(*number)];
            let (last_registration, last_sender_accept_change) = *self.times.get(index).unwrap_or(&no_times);
            draft.push(&FarRow {
                ordinal: ids[index],
                state,
                rule,
                last_registration,
                last_sender_accept_change,
            });
        }
        let named = |id: &OrganisationId| {
            operators.iter().find(|operator| OrganisationId::parse(&operator.id) == Some(*id)).cloned()
        };
        let operators: Option<Vec<Operator>> = kept.iter().map(named).collect();
        let operators = operators.ok_or(SourceError::Inconsistent)?;
        let senders = sender.map(|id| Sender { id: id.to_owned(), ..Sender::default() });
        let actors = Actors { operators, senders: senders.into_iter().collect(), dispatchers: Vec::new() };
        Ok(draft.finish(0, as_of, actors, table))
    }
}

/// Whether a recipient accepts the sender that was asked for: the only one of the rule, or any one.
fn accepts(rule: &NamedRule) -> bool {
    rule.acceptance == Acceptance::AllExcept || !rule.senders.is_empty()
}

fn add_person(draft: &mut KrrDraft, put: &PutPerson) -> Result<(), SourceError> {
    let line = draft.rows.len() as u64;
    draft.add(put.person, line, put.state, &put.contact, &put.operator, &put.certificate);
    // A register cannot have more, nor number them.
    if draft.operators() > OPERATORS_MAX { Err(SourceError::Inconsistent) } else { Ok(()) }
}

/// Whether an id on the wire is one of an organisation.
pub(super) fn is_organisation(id: &str) -> bool {
    organisation(id).is_ok()
}
