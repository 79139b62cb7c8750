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
use std::io::Cursor;
use std::path::Path;

/// Writes the register of the answers for some ids. Answers of the journal for other ids, and those older than `since`,
/// are left out; the last of several counts.
///
/// Memory: some 20 bytes for each id. Cost: FaR's journal is read once, KRR's twice.
pub(super) fn write(
    journal: &Journal,
    ids: &[Ordinal],
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
    let (draft, scope) = match terms.kind {
        Kind::Far => {
            let rows = far_rows(journal, ids, since)?;
            let answered = rows.answered();
            let scope = scope_of(scope, &answered, rows.refused());
            (rows.finish(scope.clone(), answered, terms.sender), scope)
        }
        Kind::Krr => {
            let answers = krr::KrrAnswers::read(journal, ids, since)?;
            let scope = scope_of(scope, &answers.answered, answers.refused());
            (answers.draft(scope.clone()), scope)
        }
    };
    let written = draft.write(path).map_err(|error| SourceError::Write { path: path.to_owned(), error })?;
    Ok((scope, written))
}

fn far_rows<'i>(journal: &Journal, ids: &'i [Ordinal], since: Timestamp) -> Result<Rows<'i>, SourceError> {
    let mut rows = Rows::new(Kind::Far, ids, journal.operators(), false);
    let mut failed = None;
    journal.for_each(|ordinal, time, answer| {
        if let (Some(index), true) = (rows.position(ordinal), time >= since)
            && let Err(error) = rows.add(index, time, answer)
        {
            failed = Some(error);
        }
    })?;
    failed.map_or(Ok(rows), Err)
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
    in_memory(Rows::new(kind, &[], &[], false).finish(scope, AnswerTimes::default(), sender))
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
    let mut rows = Rows::new(kind, ids, operators, true);
    for (ordinal, time, answer) in answers {
        if let Some(index) = rows.position(ordinal) {
            rows.add(index, time, answer.clone())?;
        }
    }
    let max_age = u64::from(u32::MAX);
    let sender_of_scope = sender.unwrap_or_default().to_owned();
    let scope = Scope { sender: sender_of_scope, max_age, delete_after: max_age, ..Scope::default() };
    let answered = rows.answered();
    let scope = scope_of(scope, &answered, rows.refused());
    in_memory(rows.finish(scope, answered, sender))
}

fn in_memory(draft: Draft<'_>) -> Result<Register, SourceError> {
    let mut bytes = Cursor::new(Vec::new());
    draft.write_to(&mut bytes).map_err(SourceError::System)?;
    let snapshot = Snapshot::from_bytes(bytes.get_ref()).and_then(|snapshot| snapshot.register());
    snapshot.map_err(|_| SourceError::Inconsistent)
}

/// The answers of a register under construction, by the position of their ids.
struct Rows<'i> {
    ids: &'i [Ordinal],
    /// When each id was answered, in seconds since 1970; 0 for none.
    answered: Vec<u32>,
    /// Position of the id before the next answer: calls ask for ids that follow one another.
    last: usize,
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
    operators: Vec<Operator>,
    operator_numbers: HashMap<OrganisationId, u16>,
}

/// FaR: the rules of recipients that accept the sender, and of those that do not.
const ACCEPTING: u32 = 0;
const DECLINING: u32 = 1;

impl<'i> Rows<'i> {
    fn new(kind: Kind, ids: &'i [Ordinal], operators: &[Operator], keeps_times: bool) -> Rows<'i> {
        let kinds = match kind {
            Kind::Far => {
                let mut operators = operators.to_vec();
                operators.sort_unstable_by(|a, b| a.id.cmp(&b.id));
                let by_id = (0..).zip(&operators);
                Kinds::Far(FarRows {
                    numbers: vec![NO_ANSWER; ids.len()],
                    times: vec![(NO_NANOSECONDS, NO_NANOSECONDS); if keeps_times { ids.len() } else { 0 }],
                    combinations: Vec::new(),
                    number_of: HashMap::new(),
                    operator_numbers: by_id
                        .filter_map(|(number, operator)| Some((OrganisationId::parse(&operator.id)?, number)))
                        .collect(),
                    operators,
                })
            }
            Kind::Krr => Kinds::Krr(Box::default()),
        };
        Rows { ids, answered: vec![0; ids.len()], last: 0, kinds }
    }

    /// The position of an id.
    fn position(&mut self, ordinal: Ordinal) -> Option<usize> {
        self.last = match self.ids.get(self.last + 1) {
            Some(next) if *next == ordinal => self.last + 1,
            _ => self.ids.binary_search(&ordinal).ok()?,
        };
        Some(self.last)
    }

    fn add(&mut self, index: usize, time: Timestamp, answer: Answer) -> Result<(), SourceError> {
        let seconds = u32::try_from(time.as_second()).unwrap_or_default();
        self.answered[index] = seconds.max(1);
        let only = match &answer {
            ChangeBody::Remove(_) => Some(State::UNREGISTERED),
            ChangeBody::SetAside { .. } => Some(State::REFUSED),
            _ => None,
        };
        match (&mut self.kinds, answer, only) {
            (Kinds::Far(rows), _, Some(state)) => rows.set(index, (state, ACCEPTING)),
            (Kinds::Krr(draft), _, Some(state)) => {
                draft.add_answer(self.ids[index], state);
                Ok(())
            }
            (Kinds::Far(rows), ChangeBody::PutRecipient(put), None) => {
                let combination = rows.combination(&put)?;
                if let Some(times) = rows.times.get_mut(index) {
                    *times = (put.last_registration, put.last_sender_accept_change);
                }
                rows.set(index, combination)
            }
            (Kinds::Krr(draft), ChangeBody::PutPerson(put), None) => add_person(draft, &put),
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

    fn finish(self, scope: Scope, answered: AnswerTimes, sender: Option<&str>) -> Draft<'static> {
        let as_of = scope.oldest();
        let mut draft = match self.kinds {
            Kinds::Far(rows) => rows.finish(self.ids, sender, as_of),
            Kinds::Krr(mut krr) => {
                krr.keep_last();
                krr.finish(0, as_of)
            }
        };
        draft.scope = Some((scope, answered));
        draft
    }
}

impl FarRows {
    /// The state and the rule of an answer.
    fn combination(&self, put: &PutRecipient) -> Result<(State, u32), SourceError> {
        let number = |id: OrganisationId| self.operator_numbers.get(&id).ok_or(SourceError::Inconsistent);
        let operator = put.operator.map(number).transpose()?;
        let state = FarState {
            account_type: put.account_type,
            pending: put.pending,
            operator: operator.map(|number| OperatorNumber::new(*number)),
            rule: StateRule::AcceptsAll,
        };
        let rule = if accepts(&put.rule) { ACCEPTING } else { DECLINING };
        Ok((state.into(), rule))
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

    fn finish(self, ids: &[Ordinal], sender: Option<&str>, as_of: Timestamp) -> Draft<'static> {
        let mut counts = vec![0; self.combinations.len()];
        let answered = || self.numbers.iter().filter(|number| **number != NO_ANSWER);
        answered().for_each(|number| counts[usize::from(*number)] += 1);
        // Operators and rules whose answers were superseded are dropped.
        let is_used = |(_, count): &(_, &u32)| **count > 0;
        let used =
            || self.combinations.iter().zip(&counts).filter(is_used).map(|(combination, _)| *combination);
        let operator_of = |state: State| FarState::from(state).operator.filter(|_| !state.is_answer_only());
        let mut kept: Vec<usize> =
            used().filter_map(|(state, _)| operator_of(state)).map(usize::from).collect();
        kept.sort_unstable();
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
                let number = kept.binary_search(&usize::from(operator)).unwrap_or_default();
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
        let operators = kept.iter().map(|number| self.operators[*number].clone()).collect();
        let senders = sender.map(|id| Sender { id: id.to_owned(), ..Sender::default() });
        let actors = Actors { operators, senders: senders.into_iter().collect(), dispatchers: Vec::new() };
        draft.finish(0, as_of, actors, table)
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
