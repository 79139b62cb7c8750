//! The difference between two registers, as changes.

use super::change::{Change, ChangeBody, NamedRule, OrganisationId, PutDispatcher, PutRecipient, day_of};
use super::json;
use crate::consent::RuleSet;
use crate::identities::{Identity, Ordinal};
use crate::register::{Actors, Damage, Dispatcher, FarState, Kind, Recipient, Register, content, moment};
use std::collections::{HashMap, HashSet};

/// Calls `each` with the changes that turn the content of a register into that of `other`, in an order in which they
/// can be applied. Their sequence numbers follow the register's, their time is that of `other`.
///
/// Cost: both registers are read, one second for 8 million recipients.
///
/// Errors: a register is damaged; those of `each`.
///
/// # Panics
///
/// If they are registers of two countries.
pub fn difference<E: From<Damage>>(
    register: &Register,
    other: &Register,
    mut each: impl FnMut(Change) -> Result<(), E>,
) -> Result<(), E> {
    assert_eq!(register.kind(), other.kind(), "registers of one country");
    let mut sequence = register.sequence();
    let time = moment::nanoseconds(other.as_of()).unwrap_or_default();
    let mut emit = |what: ChangeBody| {
        sequence += 1;
        each(Change { sequence, time, what })
    };
    let (before, after) = (register.actors(), other.actors());
    // Operators of KRR are added with the persons who name them.
    let of_far = match register.kind() {
        Kind::Far => true,
        Kind::Krr => false,
    };
    if of_far {
        put_actors(before, after).into_iter().try_for_each(&mut emit)?;
    }
    content::differing(register, other, |ordinal| {
        let recipient =
            Identity::from_ordinal(ordinal).map(|identity| other.recipient(&identity)).transpose()?;
        emit(match recipient.flatten() {
            None => ChangeBody::Remove(ordinal),
            Some(recipient) => put(ordinal, recipient, after, time),
        })
    })?;
    if of_far {
        remove_actors(before, after).into_iter().try_for_each(&mut emit)?;
    }
    Ok(())
}

fn put(ordinal: Ordinal, recipient: Recipient, actors: &Actors, time: i64) -> ChangeBody {
    match recipient {
        Recipient::Far { state, rule, last_registration, last_sender_accept_change } => {
            let FarState { account_type, pending, operator, .. } = state;
            let operator = operator.and_then(|index| id(&actors.operators[usize::from(index)].id));
            let [last_registration, last_sender_accept_change] =
                [last_registration, last_sender_accept_change]
                    .map(|time| time.and_then(moment::nanoseconds).unwrap_or(moment::NO_NANOSECONDS));
            let rule = named(&rule, actors);
            ChangeBody::PutRecipient(PutRecipient {
                recipient: ordinal,
                account_type,
                pending,
                operator,
                last_registration,
                last_sender_accept_change,
                rule,
            })
        }
        Recipient::Krr { person, .. } => match json::put_person(&person, day_of(time)) {
            Ok(put) => ChangeBody::PutPerson(Box::new(put)),
            // Unreachable: a register has only persons that decode.
            Err(reason) => ChangeBody::SetAside { reason: reason.name.into(), column: reason.column.into() },
        },
    }
}

fn id(id: &str) -> Option<OrganisationId> {
    OrganisationId::parse(id)
}

fn named(rule: &RuleSet, actors: &Actors) -> NamedRule {
    let senders = rule.senders.iter().filter_map(|&index| id(&actors.senders[usize::from(index)].id));
    NamedRule::new(rule.acceptance, senders.collect())
}

/// New and changed organisations: senders before the dispatchers that act for them.
fn put_actors(before: &Actors, after: &Actors) -> Vec<ChangeBody> {
    let mut puts = Vec::new();
    let known: HashMap<_, _> = before.operators.iter().map(|operator| (&operator.id, operator)).collect();
    let operators = after.operators.iter().filter(|operator| known.get(&operator.id) != Some(operator));
    puts.extend(operators.map(|operator| ChangeBody::PutOperator(Box::new(operator.clone()))));
    let known: HashMap<_, _> = before.senders.iter().map(|sender| (&sender.id, sender)).collect();
    let senders = after.senders.iter().filter(|sender| known.get(&sender.id) != Some(sender));
    puts.extend(senders.map(|sender| ChangeBody::PutSender(Box::new(sender.clone()))));
    let known: HashMap<_, _> = before
        .dispatchers
        .iter()
        .map(|dispatcher| (&dispatcher.id, put_dispatcher(dispatcher, before)))
        .collect();
    let dispatchers = after.dispatchers.iter().map(|dispatcher| put_dispatcher(dispatcher, after));
    let dispatchers = dispatchers.filter(|dispatcher| known.get(&dispatcher.id) != Some(dispatcher));
    puts.extend(dispatchers.map(|dispatcher| ChangeBody::PutDispatcher(Box::new(dispatcher))));
    puts
}

/// Removed organisations: dispatchers before the senders they act for.
fn remove_actors(before: &Actors, after: &Actors) -> Vec<ChangeBody> {
    let dispatchers = removed_ids(
        before.dispatchers.iter().map(|dispatcher| &dispatcher.id),
        after.dispatchers.iter().map(|dispatcher| &dispatcher.id),
    );
    let senders = removed_ids(
        before.senders.iter().map(|sender| &sender.id),
        after.senders.iter().map(|sender| &sender.id),
    );
    let operators = removed_ids(
        before.operators.iter().map(|operator| &operator.id),
        after.operators.iter().map(|operator| &operator.id),
    );
    let dispatchers = dispatchers.into_iter().map(ChangeBody::RemoveDispatcher);
    let senders = senders.into_iter().map(ChangeBody::RemoveSender);
    dispatchers.chain(senders).chain(operators.into_iter().map(ChangeBody::RemoveOperator)).collect()
}

fn removed_ids<'a>(
    before: impl Iterator<Item = &'a String>,
    after: impl Iterator<Item = &'a String>,
) -> Vec<OrganisationId> {
    let after: HashSet<&String> = after.collect();
    before.filter(|text| !after.contains(text)).filter_map(|text| id(text)).collect()
}

/// A dispatcher as in a change.
fn put_dispatcher(dispatcher: &Dispatcher, actors: &Actors) -> PutDispatcher {
    let senders =
        dispatcher.senders.iter().filter_map(|&index| id(&actors.senders[usize::from(index)].id)).collect();
    PutDispatcher { id: dispatcher.id.clone(), name: dispatcher.name.clone(), senders }
}
