//! The register file of a part.

use super::Part;
use crate::changes::apply::Editor;
use crate::changes::{Change, NamedRule, OrganisationId, PutRecipient, SetAcceptance, What};
use crate::consent::RuleSet;
use crate::identities::Ordinal;
use crate::register::moment::NO_NANOSECONDS;
use crate::register::{Actors, At, Damage, FarState, KrrState, Register};
use crate::replica::FollowError;
use crate::snapshot::write::Draft;
use std::collections::HashSet;

/// Changes that are applied at a time.
const SLICE: usize = 500_000;

/// What a part tells, with what the organisations are in a register.
pub(super) struct Scope {
    part: Part,
    /// Place of the operator.
    operator: Option<u16>,
    /// The senders of the dispatcher.
    pub(super) senders: HashSet<OrganisationId>,
}

impl Scope {
    /// `None` if the register does not have that organisation.
    pub(super) fn of(part: &Part, register: &Register) -> Option<Scope> {
        let id = part.organisation();
        let (mut operator, mut senders) = (None, HashSet::new());
        match part {
            Part::Operator(_) => {
                let place = register.operators().iter().position(|operator| operator.id == id)?;
                operator = Some(place as u16);
            }
            Part::Dispatcher(_) => {
                let dispatcher = register.dispatchers().iter().find(|dispatcher| dispatcher.id == id)?;
                let ids = dispatcher.senders.iter().map(|&place| &register.senders()[usize::from(place)].id);
                senders = ids.filter_map(|id| OrganisationId::parse(id)).collect();
            }
        }
        Some(Scope { part: part.clone(), operator, senders })
    }

    /// A rule as far as it concerns the dispatcher's senders.
    pub(super) fn rule(&self, rule: &NamedRule) -> NamedRule {
        let senders = rule.senders.iter().copied().filter(|id| self.senders.contains(id));
        NamedRule { acceptance: rule.acceptance, senders: senders.collect() }
    }

    /// A recipient as a dispatcher may see it: when it last changed its mind may be about others' senders.
    pub(super) fn recipient(&self, put: &PutRecipient) -> PutRecipient {
        PutRecipient { last_sender_accept_change: NO_NANOSECONDS, rule: self.rule(&put.rule), ..put.clone() }
    }

    /// What has to change of a recipient of the whole register.
    fn edit(&self, register: &Register, ordinal: Ordinal, at: &At<'_>) -> Result<Option<What>, Damage> {
        let state = register.state(at.view.codes.get(crate::index::Slot(at.record)));
        if let Part::Operator(_) = self.part {
            let operator = match register.kind() {
                crate::register::Kind::Far => FarState::from(state).operator,
                crate::register::Kind::Krr => KrrState::from(state).operator,
            };
            return Ok((operator != self.operator).then_some(What::Remove(ordinal)));
        }
        let [_, changed] = register.times(at)?;
        let rule = named(&register.rule(at.rule(state.into()))?, register.actors());
        let scoped = self.rule(&rule);
        let same = changed == NO_NANOSECONDS && scoped == rule;
        let set =
            SetAcceptance { recipient: ordinal, last_sender_accept_change: NO_NANOSECONDS, rule: scoped };
        Ok((!same).then_some(What::SetAcceptance(set)))
    }

    /// Whether the part has an organisation of the register.
    pub(super) fn has(&self, what: Actor, id: OrganisationId) -> bool {
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

/// A rule by the ids of its senders.
pub(super) fn named(rule: &RuleSet, actors: &Actors) -> NamedRule {
    let ids = rule.senders.iter().map(|&place| &actors.senders[usize::from(place)].id);
    NamedRule::new(rule.acceptance, ids.filter_map(|id| OrganisationId::parse(id)).collect())
}

/// A part of a register, to be written. Cost: that of as many changes as there are recipients of others.
pub(super) fn draft(part: &Part, register: &Register) -> Result<Draft, FollowError> {
    let scope = Scope::of(part, register).ok_or_else(|| FollowError::Away(format!("there is no {part}")))?;
    let mut making =
        Making { editor: Editor::of(register)?, made: None, whole: register, pending: Vec::new() };
    register.for_each_record::<Damage>(|ordinal, at| {
        let edit = scope.edit(register, ordinal, at)?;
        edit.map_or(Ok(()), |what| making.push(what))
    })?;
    for what in actors_of_others(&scope, register) {
        making.push(what)?;
    }
    making.flush()?;
    let mut draft = Draft::of(making.made.as_ref().unwrap_or(register))?;
    (draft.sequence, draft.as_of) = (register.sequence(), register.as_of());
    Ok(draft)
}

/// Organisations that the part does not have, those who act for others first.
fn actors_of_others(scope: &Scope, register: &Register) -> Vec<What> {
    let others = |what: Actor, ids: Vec<&String>| -> Vec<OrganisationId> {
        let ids = ids.into_iter().filter_map(|id| OrganisationId::parse(id));
        ids.filter(|&id| !scope.has(what, id)).collect()
    };
    let Actors { operators, senders, dispatchers } = register.actors();
    let dispatchers =
        others(Actor::Dispatcher, dispatchers.iter().map(|dispatcher| &dispatcher.id).collect());
    let senders = others(Actor::Sender, senders.iter().map(|sender| &sender.id).collect());
    let operators = others(Actor::Operator, operators.iter().map(|operator| &operator.id).collect());
    let dispatchers = dispatchers.into_iter().map(What::RemoveDispatcher);
    let senders = senders.into_iter().map(What::RemoveSender);
    dispatchers.chain(senders).chain(operators.into_iter().map(What::RemoveOperator)).collect()
}

/// The whole register on its way to the part.
struct Making<'r> {
    editor: Editor,
    made: Option<Register>,
    whole: &'r Register,
    pending: Vec<Change>,
}

impl Making<'_> {
    fn push(&mut self, what: What) -> Result<(), Damage> {
        self.pending.push(Change { sequence: self.whole.sequence(), time: i64::MIN + 1, what });
        if self.pending.len() < SLICE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Damage> {
        let before = self.made.as_ref().unwrap_or(self.whole);
        let applied = self.editor.apply(before, &self.pending)?;
        self.pending.clear();
        self.made = Some(applied.register);
        Ok(())
    }
}

impl From<Damage> for FollowError {
    fn from(damage: Damage) -> FollowError {
        FollowError::Away(format!("the register is damaged: {damage}"))
    }
}
