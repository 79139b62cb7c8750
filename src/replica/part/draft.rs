//! Creation of a part from the whole register.

use super::Part;
use crate::changes::apply::Editor;
use crate::changes::{Change, ChangeBody, NamedRule, OrganisationId, PutRecipient, SetAcceptance};
use crate::consent::RuleSet;
use crate::identities::Ordinal;
use crate::register::moment::NO_NANOSECONDS;
use crate::register::{Actors, Damage, RecordPosition, Register};
use crate::replica::FollowError;
use crate::snapshot::write::Draft;
use std::collections::HashSet;

/// Changes applied at once.
const SLICE: usize = 500_000;

/// The organisations of a part in a register.
pub(super) struct Scope {
    part: Part,
    /// The operator.
    operator: Option<crate::register::OperatorIndex>,
    /// The senders of the dispatcher.
    pub(super) senders: HashSet<OrganisationId>,
}

impl Scope {
    /// `None` if the register does not have the organisation.
    pub(super) fn of(part: &Part, register: &Register) -> Option<Scope> {
        let id = part.organisation();
        let (mut operator, mut senders) = (None, HashSet::new());
        match part {
            Part::Operator(_) => {
                let position = register.operators().iter().position(|operator| operator.id == id)?;
                operator = Some(crate::register::OperatorIndex::new(position as u16));
            }
            Part::Dispatcher(_) => {
                let dispatcher = register.dispatchers().iter().find(|dispatcher| dispatcher.id == id)?;
                let ids =
                    dispatcher.senders.iter().map(|&position| &register.senders()[usize::from(position)].id);
                senders = ids.filter_map(|id| OrganisationId::parse(id)).collect();
            }
        }
        Some(Scope { part: part.clone(), operator, senders })
    }

    /// A rule restricted to the dispatcher's senders.
    pub(super) fn rule(&self, rule: &NamedRule) -> NamedRule {
        let senders = rule.senders.iter().copied().filter(|id| self.senders.contains(id));
        NamedRule { acceptance: rule.acceptance, senders: senders.collect() }
    }

    /// A recipient as a dispatcher may see it. The time of the last change may concern other senders and is left out.
    pub(super) fn recipient(&self, put: &PutRecipient) -> PutRecipient {
        PutRecipient { last_sender_accept_change: NO_NANOSECONDS, rule: self.rule(&put.rule), ..put.clone() }
    }

    /// The change that turns a recipient of the whole register into one of the part.
    fn edit(
        &self,
        register: &Register,
        ordinal: Ordinal,
        at: &RecordPosition<'_>,
    ) -> Result<Option<ChangeBody>, Damage> {
        let code = at.view.codes.get(crate::index::Slot(at.record));
        if let Part::Operator(_) = self.part {
            let operator = match register.kind() {
                crate::register::Kind::Far => register.far_state(code).operator,
                crate::register::Kind::Krr => register.krr_state(code).operator,
            };
            return Ok((operator != self.operator).then_some(ChangeBody::Remove(ordinal)));
        }
        let [_, changed] = register.times(at)?;
        let rule = named(&register.rule(at.rule(register.far_state(code)))?, register.actors());
        let scoped = self.rule(&rule);
        let same = changed == NO_NANOSECONDS && scoped == rule;
        let set =
            SetAcceptance { recipient: ordinal, last_sender_accept_change: NO_NANOSECONDS, rule: scoped };
        Ok((!same).then_some(ChangeBody::SetAcceptance(set)))
    }

    /// Whether the part contains an organisation of the register.
    pub(super) fn contains(&self, what: Actor, id: OrganisationId) -> bool {
        match (&self.part, what) {
            (Part::Operator(own), Actor::Operator) | (Part::Dispatcher(own), Actor::Dispatcher) => {
                OrganisationId::parse(own) == Some(id)
            }
            (Part::Dispatcher(_), Actor::Sender) => self.senders.contains(&id),
            _ => true,
        }
    }
}

/// Kinds of organisations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    Operator,
    Sender,
    Dispatcher,
}

/// A rule with the ids of its senders.
pub(super) fn named(rule: &RuleSet, actors: &Actors) -> NamedRule {
    let ids = rule.senders.iter().map(|&position| &actors.senders[usize::from(position)].id);
    NamedRule::new(rule.acceptance, ids.filter_map(|id| OrganisationId::parse(id)).collect())
}

/// The draft of a part's register file. Costs as much as one change per recipient outside the part.
pub(super) fn draft(part: &Part, register: &Register) -> Result<Draft<'static>, FollowError> {
    let scope =
        Scope::of(part, register).ok_or_else(|| FollowError::Unreachable(format!("there is no {part}")))?;
    let mut builder =
        DraftBuilder { editor: Editor::of(register)?, done: None, whole: register, pending: Vec::new() };
    register.for_each_record::<Damage>(|ordinal, at| {
        let edit = scope.edit(register, ordinal, at)?;
        edit.map_or(Ok(()), |what| builder.push(what))
    })?;
    for what in actors_of_others(&scope, register) {
        builder.push(what)?;
    }
    builder.flush()?;
    let mut draft = Draft::of(builder.done.as_ref().unwrap_or(register))?;
    (draft.sequence, draft.as_of) = (register.sequence(), register.as_of());
    Ok(draft)
}

/// Removals of organisations outside the part, those that act for others first.
fn actors_of_others(scope: &Scope, register: &Register) -> Vec<ChangeBody> {
    let others = |what: Actor, ids: Vec<&String>| -> Vec<OrganisationId> {
        let ids = ids.into_iter().filter_map(|id| OrganisationId::parse(id));
        ids.filter(|&id| !scope.contains(what, id)).collect()
    };
    let Actors { operators, senders, dispatchers } = register.actors();
    let dispatchers =
        others(Actor::Dispatcher, dispatchers.iter().map(|dispatcher| &dispatcher.id).collect());
    let senders = others(Actor::Sender, senders.iter().map(|sender| &sender.id).collect());
    let operators = others(Actor::Operator, operators.iter().map(|operator| &operator.id).collect());
    let dispatchers = dispatchers.into_iter().map(ChangeBody::RemoveDispatcher);
    let senders = senders.into_iter().map(ChangeBody::RemoveSender);
    dispatchers.chain(senders).chain(operators.into_iter().map(ChangeBody::RemoveOperator)).collect()
}

/// The whole register while it is reduced to the part.
struct DraftBuilder<'r> {
    editor: Editor,
    done: Option<Register>,
    whole: &'r Register,
    pending: Vec<Change>,
}

impl DraftBuilder<'_> {
    fn push(&mut self, what: ChangeBody) -> Result<(), Damage> {
        self.pending.push(Change { sequence: self.whole.sequence(), time: i64::MIN + 1, what });
        if self.pending.len() < SLICE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Damage> {
        let before = self.done.as_ref().unwrap_or(self.whole);
        let applied = self.editor.apply(before, &self.pending)?;
        self.pending.clear();
        self.done = Some(applied.register);
        Ok(())
    }
}

impl From<Damage> for FollowError {
    fn from(damage: Damage) -> FollowError {
        FollowError::Unreachable(format!("the register is damaged: {damage}"))
    }
}
