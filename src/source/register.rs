//! The register file of a job: the answers of its journal.

use super::answer::{Answer, organisation};
use super::journal::Journal;
use super::{SourceError, Terms};
use crate::changes::{ChangeBody, PutPerson, PutRecipient};
use crate::consent::{Acceptance, RuleNumbering, RuleSet};
use crate::identities::Ordinal;
use crate::limits::OPERATORS_MAX;
use crate::organisations::{OperatorNumber, SenderNumber};
use crate::register::contact::Contact;
use crate::register::moment::NO_NANOSECONDS;
use crate::register::state::{FarState, State, StateRule};
use crate::register::{Actors, Kind, Operator, Register, Scope, Sender};
use crate::snapshot::Snapshot;
use crate::snapshot::far::{FarPlan, FarRow};
use crate::snapshot::krr::KrrDraft;
use crate::snapshot::write::Draft;
use jiff::Timestamp;
use std::collections::HashSet;
use std::io::Cursor;
use std::path::Path;

/// Writes the register of the answers for some ids. Answers of the journal for other ids, and those older than `since`,
/// are left out; the last of several counts.
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
    let mut rows = Rows::new(terms.kind, journal.operators());
    let mut last = vec![0; ids.len()];
    let mut number = 0;
    let in_scope =
        |ordinal: Ordinal, time: Timestamp| ids.binary_search(&ordinal).ok().filter(|_| time >= since);
    journal.for_each(|ordinal, time, _| {
        number += 1;
        if let Some(index) = in_scope(ordinal, time) {
            last[index] = number;
        }
    })?;
    number = 0;
    let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
    let mut failed = None;
    journal.for_each(|ordinal, time, answer| {
        number += 1;
        if in_scope(ordinal, time).is_some_and(|index| last[index] == number) {
            (oldest, newest) = (oldest.min(time.as_second()), newest.max(time.as_second()));
            if let Err(error) = rows.add(ordinal, time, answer) {
                failed = Some(error);
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let now = Timestamp::now().as_second();
    let scope = Scope {
        source: terms.address.to_owned(),
        sender: terms.sender.unwrap_or_default().to_owned(),
        on_behalf_of: terms.on_behalf_of.to_owned(),
        oldest: oldest.min(now),
        newest: if newest == i64::MIN { now } else { newest },
        ids: rows.len() as u64,
        refused: rows.refused,
        max_age: terms.max_age.as_secs(),
        delete_after: terms.delete_after.as_secs(),
    };
    let draft = rows.finish(scope.clone(), terms.sender);
    let written = draft.write(path).map_err(|error| SourceError::Write { path: path.to_owned(), error })?;
    Ok((scope, written))
}

/// A register without any answer.
pub(super) fn empty(kind: Kind, sender: Option<&str>) -> Result<Register, SourceError> {
    let (oldest, max_age) = (Timestamp::now().as_second(), u64::from(u32::MAX));
    let scope = Scope { oldest, newest: oldest, max_age, delete_after: max_age, ..Scope::default() };
    let mut bytes = Cursor::new(Vec::new());
    let written = Rows::new(kind, &[]).finish(scope, sender).write_to(&mut bytes);
    written.map_err(SourceError::System)?;
    let snapshot = Snapshot::from_bytes(bytes.get_ref()).and_then(|snapshot| snapshot.register());
    snapshot.map_err(|_| SourceError::Inconsistent)
}

/// The rows of a register under construction.
enum Kinds {
    Far { rows: Vec<FarRow>, operators: Vec<Operator>, used: HashSet<u16> },
    Krr(Box<KrrDraft>),
}

struct Rows {
    kinds: Kinds,
    /// When each row was answered, in seconds since 1970.
    answered: Vec<(Ordinal, u32)>,
    refused: u64,
}

/// FaR: the rules of recipients that accept the sender, and of those that do not.
const ACCEPTING: u32 = 0;
const DECLINING: u32 = 1;

impl Rows {
    fn new(kind: Kind, operators: &[Operator]) -> Rows {
        let kinds = match kind {
            Kind::Far => {
                let mut operators = operators.to_vec();
                operators.sort_unstable_by(|a, b| a.id.cmp(&b.id));
                Kinds::Far { rows: Vec::new(), operators, used: HashSet::new() }
            }
            Kind::Krr => Kinds::Krr(Box::default()),
        };
        Rows { kinds, answered: Vec::new(), refused: 0 }
    }

    fn len(&self) -> usize {
        self.answered.len()
    }

    fn add(&mut self, ordinal: Ordinal, time: Timestamp, answer: Answer) -> Result<(), SourceError> {
        let seconds = u32::try_from(time.as_second()).unwrap_or_default();
        self.answered.push((ordinal, seconds));
        let only = match &answer {
            ChangeBody::Remove(_) => Some(State::UNREGISTERED),
            ChangeBody::SetAside { .. } => Some(State::REFUSED),
            _ => None,
        };
        self.refused += u64::from(only == Some(State::REFUSED));
        match (&mut self.kinds, answer, only) {
            (Kinds::Far { rows, .. }, _, Some(state)) => rows.push(FarRow {
                ordinal,
                state,
                rule: ACCEPTING,
                last_registration: NO_NANOSECONDS,
                last_sender_accept_change: NO_NANOSECONDS,
            }),
            (Kinds::Krr(draft), _, Some(state)) => draft.add_answer(ordinal, state),
            (Kinds::Far { rows, operators, used }, ChangeBody::PutRecipient(put), None) => {
                rows.push(far_row(&put, operators, used)?);
            }
            (Kinds::Krr(draft), ChangeBody::PutPerson(put), None) => add_person(draft, &put)?,
            _ => return Err(SourceError::Inconsistent),
        }
        Ok(())
    }

    fn finish(mut self, scope: Scope, sender: Option<&str>) -> Draft {
        self.answered.sort_unstable();
        let as_of = scope.oldest();
        let mut draft = match self.kinds {
            Kinds::Far { rows, operators, used } => finish_far(rows, operators, &used, sender, as_of),
            Kinds::Krr(mut krr) => {
                krr.rows.sort_unstable_by_key(|row| row.ordinal);
                krr.finish(0, as_of)
            }
        };
        // Record 0 belongs to no recipient.
        let answered = std::iter::once(0).chain(self.answered.iter().map(|(_, seconds)| *seconds)).collect();
        draft.scope = Some((scope, answered));
        draft
    }
}

fn far_row(
    put: &PutRecipient,
    operators: &[Operator],
    used: &mut HashSet<u16>,
) -> Result<FarRow, SourceError> {
    let operator = match put.operator {
        None => None,
        Some(id) => {
            let position = operators.binary_search_by(|operator| operator.id.as_str().cmp(&id.text()));
            let position = position.map_err(|_| SourceError::Inconsistent)? as u16;
            used.insert(position);
            Some(OperatorNumber::new(position))
        }
    };
    let state = FarState {
        account_type: put.account_type,
        pending: put.pending,
        operator,
        rule: StateRule::AcceptsAll,
    };
    Ok(FarRow {
        ordinal: put.recipient,
        state: state.into(),
        rule: if put.rule.senders.is_empty() { DECLINING } else { ACCEPTING },
        last_registration: put.last_registration,
        last_sender_accept_change: put.last_sender_accept_change,
    })
}

fn add_person(draft: &mut KrrDraft, put: &PutPerson) -> Result<(), SourceError> {
    let contact = Contact::unpack(&put.contact).ok_or(SourceError::Inconsistent)?;
    let added = draft.add(put.person, 0, put.state, contact, &put.operator, &put.certificate);
    // A register cannot have more, nor number them.
    added.filter(|()| draft.operators() <= OPERATORS_MAX).ok_or(SourceError::Inconsistent)
}

fn finish_far(
    mut rows: Vec<FarRow>,
    operators: Vec<Operator>,
    used: &HashSet<u16>,
    sender: Option<&str>,
    as_of: Timestamp,
) -> Draft {
    rows.sort_unstable_by_key(|row| row.ordinal);
    let mut rules = RuleNumbering::default();
    let declining = RuleSet::<SenderNumber>::new(Acceptance::Only, Vec::new());
    let declining = rules.number(declining);
    let is_used = rows.iter().any(|row| row.rule == DECLINING);
    let (table, finals) = rules.finish(&[true, is_used]);
    // Operators whose answers were superseded are dropped.
    let mut numbers = vec![None; operators.len()];
    let kept = (0u16..).zip(operators).filter(|(position, _)| used.contains(position));
    let mut names = Vec::new();
    for (position, operator) in kept {
        numbers[usize::from(position)] = Some(OperatorNumber::new(names.len() as u16));
        names.push(operator);
    }
    for row in &mut rows {
        if row.rule == DECLINING {
            row.rule = finals[declining as usize];
        }
        if !row.state.is_answer_only() {
            let state = FarState::from(row.state);
            let operator = state.operator.and_then(|number| numbers[usize::from(number)]);
            row.state = state.with_operator(operator).into();
        }
    }
    let mut plan = FarPlan::default();
    rows.iter().for_each(|row| plan.count(row.state, row.rule));
    let mut draft = plan.draft();
    rows.iter().for_each(|row| draft.push(row));
    let senders = sender.map(|id| Sender { id: id.to_owned(), ..Sender::default() });
    let actors = Actors { operators: names, senders: senders.into_iter().collect(), dispatchers: Vec::new() };
    draft.finish(0, as_of, actors, table)
}

/// Whether an id on the wire is one of an organisation.
pub(super) fn is_organisation(id: &str) -> bool {
    organisation(id).is_ok()
}
