//! What is told to a part of the changes of the whole register.

use super::Part;
use super::made::{Actor, Scope, named};
use crate::changes::{Change, NamedRule, OrganisationId, PutPerson, What};
use crate::identities::{Identity, Ordinal};
use crate::register::{Damage, Recipient, Register};
use std::collections::HashMap;

/// The changes that make the part at a later sequence number of the part `here`, the last one with the number of the
/// last change. `None` if the part has to be made anew: its organisation has left, or sends for others now.
pub(super) fn told(part: &Part, changes: &[Change], here: &Register) -> Result<Option<Vec<Change>>, Damage> {
    let Some(scope) = Scope::of(part, here) else { return Ok(None) };
    let mut telling =
        Telling { part, scope, here, now: HashMap::new(), told: Vec::new(), to: here.sequence() };
    for change in changes {
        match telling.what(change)? {
            Tells::Nothing => {}
            Tells::This(what) => telling.tell(change, change.sequence, what),
            Tells::Page(removed, kept) => {
                let first = change.previous().max(telling.to) + 1;
                if first + removed.len() as u64 > change.sequence {
                    return Ok(None);
                }
                for (sequence, person) in (first..).zip(removed) {
                    telling.tell(change, sequence, What::Remove(person));
                }
                let page = What::PutPersons { previous: telling.to, persons: kept };
                telling.tell(change, change.sequence, page);
            }
            Tells::Anew => return Ok(None),
        }
    }
    if let Some(last) = changes.last().filter(|last| last.sequence > telling.to) {
        let others = What::Others { previous: telling.to };
        telling.told.push(Change { sequence: last.sequence, time: last.time, what: others });
    }
    Ok(Some(telling.told))
}

/// What a change is to a part.
enum Tells {
    Nothing,
    This(What),
    /// Of a page: who leaves the part, and who is in it.
    Page(Vec<Ordinal>, Vec<PutPerson>),
    Anew,
}

struct Telling<'p> {
    part: &'p Part,
    scope: Scope,
    here: &'p Register,
    /// Who has been told of since: whether they are in the part, and their rule.
    now: HashMap<Ordinal, Option<NamedRule>>,
    told: Vec<Change>,
    to: u64,
}

impl Telling<'_> {
    fn tell(&mut self, change: &Change, sequence: u64, what: What) {
        let page = matches!(what, What::PutPersons { .. });
        if sequence > self.to + 1 && !page {
            let others = What::Others { previous: self.to };
            self.told.push(Change { sequence: sequence - 1, time: change.time, what: others });
        }
        self.told.push(Change { sequence, time: change.time, what });
        self.to = sequence;
    }

    fn what(&mut self, change: &Change) -> Result<Tells, Damage> {
        let this = || Tells::This(change.what.clone());
        let has = |actor, id: OrganisationId| if self.scope.has(actor, id) { this() } else { Tells::Nothing };
        let named = |actor, id: &str| OrganisationId::parse(id).map_or(Tells::Nothing, |id| has(actor, id));
        Ok(match &change.what {
            What::PutOperator(operator) => named(Actor::Operator, &operator.id),
            What::PutSender(sender) => named(Actor::Sender, &sender.id),
            What::RemoveSender(id) => has(Actor::Sender, *id),
            What::PutDispatcher(put) if self.is_own(&put.id) => {
                // Whom others send for, it was not told of.
                let known = put.senders.iter().all(|id| self.scope.senders.contains(id));
                if known && put.senders.len() == self.scope.senders.len() { this() } else { Tells::Anew }
            }
            What::PutDispatcher(put) => named(Actor::Dispatcher, &put.id),
            What::RemoveOperator(id) | What::RemoveDispatcher(id) if self.is_own(&id.text()) => Tells::Anew,
            What::RemoveOperator(id) => has(Actor::Operator, *id),
            What::RemoveDispatcher(id) => has(Actor::Dispatcher, *id),
            What::SetAside { .. } | What::Others { .. } => Tells::Nothing,
            What::PutRecipient(put) if matches!(self.part, Part::Dispatcher(_)) => {
                let put = self.scope.recipient(put);
                self.now.insert(put.recipient, Some(put.rule.clone()));
                Tells::This(What::PutRecipient(put))
            }
            What::SetAcceptance(set) if matches!(self.part, Part::Dispatcher(_)) => {
                let rule = self.scope.rule(&set.rule);
                if self.rule(set.recipient)?.as_ref() == Some(&rule) {
                    return Ok(Tells::Nothing);
                }
                self.now.insert(set.recipient, Some(rule.clone()));
                let last_sender_accept_change = crate::register::moment::NO_NANOSECONDS;
                let recipient = set.recipient;
                Tells::This(What::SetAcceptance(crate::changes::SetAcceptance {
                    recipient,
                    last_sender_accept_change,
                    rule,
                }))
            }
            What::SetAcceptance(set) if self.has(set.recipient)? => this(),
            What::SetAcceptance(_) => Tells::Nothing,
            What::PutRecipient(put) => {
                let own = put.operator.is_some_and(|id| self.is_own(&id.text()));
                self.moved(put.recipient, own, this)?
            }
            What::PutPerson(put) => self.moved(put.person, self.is_own(&put.operator), this)?,
            What::Remove(ordinal) => self.moved(*ordinal, false, this)?,
            What::PutPersons { persons, .. } => {
                let (mut removed, mut kept) = (Vec::new(), Vec::new());
                for put in persons {
                    let own = self.is_own(&put.operator);
                    match self.moved(put.person, own, || Tells::This(What::Remove(put.person)))? {
                        Tells::Nothing => {}
                        _ if own => kept.push(put.clone()),
                        _ => removed.push(put.person),
                    }
                }
                // A page may have somebody more than once.
                removed.retain(|person| !self.now.get(person).is_some_and(Option::is_some));
                kept.retain(|put| self.now.get(&put.person).is_some_and(Option::is_some));
                match (removed.is_empty(), kept.is_empty()) {
                    (true, true) => Tells::Nothing,
                    _ => Tells::Page(removed, kept),
                }
            }
        })
    }

    fn is_own(&self, id: &str) -> bool {
        self.part.organisation() == id
    }

    /// Somebody is in the part from now on, or is not.
    fn moved(&mut self, ordinal: Ordinal, own: bool, this: impl FnOnce() -> Tells) -> Result<Tells, Damage> {
        let was = self.has(ordinal)?;
        // No rule of theirs is compared.
        self.now
            .insert(ordinal, own.then(|| NamedRule::new(crate::consent::Acceptance::AllExcept, Vec::new())));
        Ok(match (was, own) {
            (_, true) => this(),
            (true, false) => Tells::This(What::Remove(ordinal)),
            (false, false) => Tells::Nothing,
        })
    }

    /// Whether somebody is in the part.
    fn has(&self, ordinal: Ordinal) -> Result<bool, Damage> {
        match self.now.get(&ordinal) {
            Some(now) => Ok(now.is_some()),
            None => Ok(self.recipient(ordinal)?.is_some()),
        }
    }

    fn recipient(&self, ordinal: Ordinal) -> Result<Option<Recipient>, Damage> {
        let identity = Identity::from_ordinal(ordinal);
        Ok(identity.map(|identity| self.here.recipient(&identity)).transpose()?.flatten())
    }

    /// Somebody's rule.
    fn rule(&self, ordinal: Ordinal) -> Result<Option<NamedRule>, Damage> {
        if let Some(now) = self.now.get(&ordinal) {
            return Ok(now.clone());
        }
        Ok(self.recipient(ordinal)?.and_then(|recipient| match recipient {
            Recipient::Far { rule, .. } => Some(named(&rule, self.here.actors())),
            Recipient::Krr { .. } => None,
        }))
    }
}
