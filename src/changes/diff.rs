//! What makes one register of another.

use super::{Change, NamedRule, OrganisationId, PutDispatcher, PutRecipient, What, day_of, json};
use crate::consent::RuleSet;
use crate::identities::{Identity, Ordinal};
use crate::register::{Actors, Damage, Dispatcher, FarState, Recipient, Register, content, moment};
use std::collections::{HashMap, HashSet};

/// The changes that make the content of a register that of `other`, in the order in which they can be applied; `each`
/// gets them one by one. They follow the register's sequence number, and have the other's time.
///
/// Cost: both registers are read, a second for 8 million recipients.
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
    let mut tell = |what: What| {
        sequence += 1;
        each(Change { sequence, time, what })
    };
    let (before, after) = (register.actors(), other.actors());
    // KRR's operators come with the persons who name them.
    let of_far = register.kind() == crate::register::Kind::Far;
    if of_far {
        put_actors(before, after).into_iter().try_for_each(&mut tell)?;
    }
    content::differing(register, other, |ordinal| {
        let found = Identity::from_ordinal(ordinal).map(|identity| other.recipient(&identity)).transpose()?;
        tell(match found.flatten() {
            None => What::Remove(ordinal),
            Some(recipient) => put(ordinal, recipient, after, time),
        })
    })?;
    if of_far {
        remove_actors(before, after).into_iter().try_for_each(&mut tell)?;
    }
    Ok(())
}

fn put(ordinal: Ordinal, recipient: Recipient, actors: &Actors, time: i64) -> What {
    match recipient {
        Recipient::Far { state, rule, last_registration, last_sender_accept_change } => {
            let FarState { account_type, pending, operator, .. } = state;
            let operator = operator.and_then(|place| id(&actors.operators[usize::from(place)].id));
            let [last_registration, last_sender_accept_change] =
                [last_registration, last_sender_accept_change]
                    .map(|time| time.and_then(moment::nanoseconds).unwrap_or(moment::NO_NANOSECONDS));
            let rule = named(&rule, actors);
            What::PutRecipient(PutRecipient {
                recipient: ordinal,
                account_type,
                pending,
                operator,
                last_registration,
                last_sender_accept_change,
                rule,
            })
        }
        Recipient::Krr { person, .. } => match json::put_person(*person, day_of(time)) {
            Ok(put) => What::PutPerson(Box::new(put)),
            // A register takes in only what can be told.
            Err(reason) => What::SetAside { reason: reason.name.into(), column: reason.column.into() },
        },
    }
}

fn id(id: &str) -> Option<OrganisationId> {
    OrganisationId::parse(id)
}

fn named(rule: &RuleSet, actors: &Actors) -> NamedRule {
    let senders = rule.senders.iter().filter_map(|&place| id(&actors.senders[usize::from(place)].id));
    NamedRule::new(rule.acceptance, senders.collect())
}

/// Organisations that are new or not what they were: senders before those who act for them.
fn put_actors(before: &Actors, after: &Actors) -> Vec<What> {
    let mut puts = Vec::new();
    let known: HashMap<_, _> = before.operators.iter().map(|operator| (&operator.id, operator)).collect();
    let operators = after.operators.iter().filter(|operator| known.get(&operator.id) != Some(operator));
    puts.extend(operators.map(|operator| What::PutOperator(Box::new(operator.clone()))));
    let known: HashMap<_, _> = before.senders.iter().map(|sender| (&sender.id, sender)).collect();
    let senders = after.senders.iter().filter(|sender| known.get(&sender.id) != Some(sender));
    puts.extend(senders.map(|sender| What::PutSender(Box::new(sender.clone()))));
    let known: HashMap<_, _> =
        before.dispatchers.iter().map(|dispatcher| (&dispatcher.id, given(dispatcher, before))).collect();
    let dispatchers = after.dispatchers.iter().map(|dispatcher| given(dispatcher, after));
    let dispatchers = dispatchers.filter(|dispatcher| known.get(&dispatcher.id) != Some(dispatcher));
    puts.extend(dispatchers.map(|dispatcher| What::PutDispatcher(Box::new(dispatcher))));
    puts
}

/// Organisations that are there no more: those who act for senders before these.
fn remove_actors(before: &Actors, after: &Actors) -> Vec<What> {
    let dispatchers = gone(
        before.dispatchers.iter().map(|dispatcher| &dispatcher.id),
        after.dispatchers.iter().map(|dispatcher| &dispatcher.id),
    );
    let senders =
        gone(before.senders.iter().map(|sender| &sender.id), after.senders.iter().map(|sender| &sender.id));
    let operators = gone(
        before.operators.iter().map(|operator| &operator.id),
        after.operators.iter().map(|operator| &operator.id),
    );
    let dispatchers = dispatchers.into_iter().map(What::RemoveDispatcher);
    let senders = senders.into_iter().map(What::RemoveSender);
    dispatchers.chain(senders).chain(operators.into_iter().map(What::RemoveOperator)).collect()
}

fn gone<'a>(
    before: impl Iterator<Item = &'a String>,
    after: impl Iterator<Item = &'a String>,
) -> Vec<OrganisationId> {
    let after: HashSet<&String> = after.collect();
    before.filter(|text| !after.contains(text)).filter_map(|text| id(text)).collect()
}

/// A dispatcher as a change gives it.
fn given(dispatcher: &Dispatcher, actors: &Actors) -> PutDispatcher {
    let senders =
        dispatcher.senders.iter().filter_map(|&place| id(&actors.senders[usize::from(place)].id)).collect();
    PutDispatcher { id: dispatcher.id.clone(), name: dispatcher.name.clone(), senders }
}
