//! Translation of changes of the whole register into changes of a part.

use super::Part;
use super::draft::{Actor, Scope, named};
use crate::changes::{Change, ChangeBody, NamedRule, OrganisationId, PutPerson};
use crate::identities::{Identity, Ordinal};
use crate::register::{Damage, Recipient, Register};
use std::collections::HashMap;

/// Translates changes for the part `here`. The last one has the sequence number of the last given change. `None` if
/// the part must be rebuilt: its organisation was removed, or acts for other senders now.
pub(super) fn changes_of_part(
    part: &Part,
    changes: &[Change],
    here: &Register,
) -> Result<Option<Vec<Change>>, Damage> {
    let Some(scope) = Scope::of(part, here) else { return Ok(None) };
    let mut out =
        PartChanges { part, scope, here, current: HashMap::new(), changes: Vec::new(), to: here.sequence() };
    for change in changes {
        match out.effect(change)? {
            Effect::Nothing => {}
            Effect::Same(what) => out.push(change, change.sequence, what),
            Effect::Page(removed, kept) => {
                let first = change.previous().max(out.to) + 1;
                if first + removed.len() as u64 > change.sequence {
                    return Ok(None);
                }
                for (sequence, person) in (first..).zip(removed) {
                    out.push(change, sequence, ChangeBody::Remove(person));
                }
                let page = ChangeBody::PutPersons { previous: out.to, persons: kept };
                out.push(change, change.sequence, page);
            }
            Effect::Rebuild => return Ok(None),
        }
    }
    if let Some(last) = changes.last().filter(|last| last.sequence > out.to) {
        let others = ChangeBody::Others { previous: out.to };
        out.changes.push(Change { sequence: last.sequence, time: last.time, what: others });
    }
    Ok(Some(out.changes))
}

/// Effect of a change on a part.
enum Effect {
    Nothing,
    Same(ChangeBody),
    /// Of a page: persons who leave the part, and those who are in it.
    Page(Vec<Ordinal>, Vec<PutPerson>),
    Rebuild,
}

struct PartChanges<'p> {
    part: &'p Part,
    scope: Scope,
    here: &'p Register,
    /// Rules of recipients changed since `here`; `None` if they are not in the part.
    current: HashMap<Ordinal, Option<NamedRule>>,
    changes: Vec<Change>,
    to: u64,
}

impl PartChanges<'_> {
    fn push(&mut self, change: &Change, sequence: u64, what: ChangeBody) {
        let page = matches!(what, ChangeBody::PutPersons { .. });
        if sequence > self.to + 1 && !page {
            let others = ChangeBody::Others { previous: self.to };
            self.changes.push(Change { sequence: sequence - 1, time: change.time, what: others });
        }
        self.changes.push(Change { sequence, time: change.time, what });
        self.to = sequence;
    }

    fn effect(&mut self, change: &Change) -> Result<Effect, Damage> {
        let same = || Effect::Same(change.what.clone());
        let has =
            |actor, id: OrganisationId| if self.scope.contains(actor, id) { same() } else { Effect::Nothing };
        let named = |actor, id: &str| OrganisationId::parse(id).map_or(Effect::Nothing, |id| has(actor, id));
        Ok(match &change.what {
            ChangeBody::PutOperator(operator) => named(Actor::Operator, &operator.id),
            ChangeBody::PutSender(sender) => named(Actor::Sender, &sender.id),
            ChangeBody::RemoveSender(id) => has(Actor::Sender, *id),
            ChangeBody::PutDispatcher(put) if self.is_own(&put.id) => {
                // The part lacks the rules of other senders.
                let known = put.senders.iter().all(|id| self.scope.senders.contains(id));
                if known && put.senders.len() == self.scope.senders.len() { same() } else { Effect::Rebuild }
            }
            ChangeBody::PutDispatcher(put) => named(Actor::Dispatcher, &put.id),
            ChangeBody::RemoveOperator(id) | ChangeBody::RemoveDispatcher(id) if self.is_own(&id.text()) => {
                Effect::Rebuild
            }
            ChangeBody::RemoveOperator(id) => has(Actor::Operator, *id),
            ChangeBody::RemoveDispatcher(id) => has(Actor::Dispatcher, *id),
            ChangeBody::SetAside { .. } | ChangeBody::Others { .. } => Effect::Nothing,
            ChangeBody::PutRecipient(put) if matches!(self.part, Part::Dispatcher(_)) => {
                let put = self.scope.recipient(put);
                self.current.insert(put.recipient, Some(put.rule.clone()));
                Effect::Same(ChangeBody::PutRecipient(put))
            }
            ChangeBody::SetAcceptance(set) if matches!(self.part, Part::Dispatcher(_)) => {
                let rule = self.scope.rule(&set.rule);
                if self.rule(set.recipient)?.as_ref() == Some(&rule) {
                    return Ok(Effect::Nothing);
                }
                self.current.insert(set.recipient, Some(rule.clone()));
                let last_sender_accept_change = crate::register::moment::NO_NANOSECONDS;
                let recipient = set.recipient;
                Effect::Same(ChangeBody::SetAcceptance(crate::changes::SetAcceptance {
                    recipient,
                    last_sender_accept_change,
                    rule,
                }))
            }
            ChangeBody::SetAcceptance(set) if self.has(set.recipient)? => same(),
            ChangeBody::SetAcceptance(_) => Effect::Nothing,
            ChangeBody::PutRecipient(put) => {
                let own = put.operator.is_some_and(|id| self.is_own(&id.text()));
                self.moved(put.recipient, own, same)?
            }
            ChangeBody::PutPerson(put) => self.moved(put.person, self.is_own(&put.operator), same)?,
            ChangeBody::Remove(ordinal) => self.moved(*ordinal, false, same)?,
            ChangeBody::PutPersons { persons, .. } => {
                let (mut removed, mut kept) = (Vec::new(), Vec::new());
                for put in persons {
                    let own = self.is_own(&put.operator);
                    match self.moved(put.person, own, || Effect::Same(ChangeBody::Remove(put.person)))? {
                        Effect::Nothing => {}
                        _ if own => kept.push(put.clone()),
                        _ => removed.push(put.person),
                    }
                }
                // A page may contain a person more than once.
                removed.retain(|person| !self.current.get(person).is_some_and(Option::is_some));
                kept.retain(|put| self.current.get(&put.person).is_some_and(Option::is_some));
                match (removed.is_empty(), kept.is_empty()) {
                    (true, true) => Effect::Nothing,
                    _ => Effect::Page(removed, kept),
                }
            }
        })
    }

    fn is_own(&self, id: &str) -> bool {
        self.part.organisation() == id
    }

    /// A recipient joins, stays in or leaves the part.
    fn moved(
        &mut self,
        ordinal: Ordinal,
        own: bool,
        same: impl FnOnce() -> Effect,
    ) -> Result<Effect, Damage> {
        let was = self.has(ordinal)?;
        // Rules are compared in a dispatcher's part only, so any rule will do.
        self.current
            .insert(ordinal, own.then(|| NamedRule::new(crate::consent::Acceptance::AllExcept, Vec::new())));
        Ok(match (was, own) {
            (_, true) => same(),
            (true, false) => Effect::Same(ChangeBody::Remove(ordinal)),
            (false, false) => Effect::Nothing,
        })
    }

    /// Whether a recipient is in the part.
    fn has(&self, ordinal: Ordinal) -> Result<bool, Damage> {
        match self.current.get(&ordinal) {
            Some(now) => Ok(now.is_some()),
            None => Ok(self.recipient(ordinal)?.is_some()),
        }
    }

    fn recipient(&self, ordinal: Ordinal) -> Result<Option<Recipient>, Damage> {
        let identity = Identity::from_ordinal(ordinal);
        Ok(identity.map(|identity| self.here.recipient(&identity)).transpose()?.flatten())
    }

    /// Current rule of a recipient.
    fn rule(&self, ordinal: Ordinal) -> Result<Option<NamedRule>, Damage> {
        if let Some(now) = self.current.get(&ordinal) {
            return Ok(now.clone());
        }
        Ok(self.recipient(ordinal)?.and_then(|recipient| match recipient {
            Recipient::Far { rule, .. } => Some(named(&rule, self.here.actors())),
            Recipient::Krr { .. } => None,
        }))
    }
}
