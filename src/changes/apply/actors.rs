//! Organisations of a register, and their places by id.

use crate::changes::{OrganisationId, PutDispatcher, Reason};
use crate::extract::reason;
use crate::limits::{DISPATCHERS_MAX, OPERATORS_MAX, SENDERS_MAX};
use crate::register::numbers::Numbers;
use crate::register::{Actors, Dispatcher, Operator, Sender, Version};
use hashbrown::HashMap;
use std::sync::Arc;

/// The organisations, and where each stands in its list.
pub(super) struct Places {
    pub(super) actors: Arc<Actors>,
    pub(super) operator_numbers: Arc<Numbers>,
    pub(super) sender_numbers: Arc<Numbers>,
    operators: HashMap<OrganisationId, u16>,
    senders: HashMap<OrganisationId, u16>,
    dispatchers: HashMap<OrganisationId, u16>,
    /// KRR's operators, whose numbers are their own.
    krr_operators: HashMap<String, u16>,
}

impl Places {
    pub(super) fn of(version: &Version) -> Places {
        let mut places = Places {
            actors: Arc::clone(&version.actors),
            operator_numbers: Arc::clone(&version.operators),
            sender_numbers: Arc::clone(&version.senders),
            operators: HashMap::new(),
            senders: HashMap::new(),
            dispatchers: HashMap::new(),
            krr_operators: HashMap::new(),
        };
        places.number();
        places
    }

    fn number(&mut self) {
        let Actors { operators, senders, dispatchers } = &*self.actors;
        self.operators = numbers(operators.iter().map(|operator| &operator.id));
        self.senders = numbers(senders.iter().map(|sender| &sender.id));
        self.dispatchers = numbers(dispatchers.iter().map(|dispatcher| &dispatcher.id));
        self.krr_operators = operators.iter().map(|operator| operator.id.clone()).zip(0..).collect();
    }

    /// The number of an operator.
    pub(super) fn operator(&self, id: OrganisationId) -> Option<u16> {
        self.operators.get(&id).map(|&place| self.operator_numbers.number(place))
    }

    /// The number of a sender.
    pub(super) fn sender(&self, id: OrganisationId) -> Option<u16> {
        self.senders.get(&id).map(|&place| self.sender_numbers.number(place))
    }

    /// The number of a KRR operator, which joins the list with the first person who has it.
    pub(super) fn krr_operator(&mut self, id: &str) -> Result<u16, Reason> {
        if let Some(&place) = self.krr_operators.get(id) {
            return Ok(self.operator_numbers.number(place));
        }
        let number = room(&self.actors.operators, &mut self.operator_numbers, OPERATORS)?;
        self.krr_operators.insert(id.to_owned(), self.actors.operators.len() as u16);
        Arc::make_mut(&mut self.actors).operators.push(Operator::of_krr(id.to_owned()));
        Ok(number)
    }

    pub(super) fn put_operator(&mut self, operator: &Operator) -> Result<(), Reason> {
        let id = OrganisationId::parse(&operator.id).ok_or(BAD_ID)?;
        if !self.operators.contains_key(&id) {
            room(&self.actors.operators, &mut self.operator_numbers, OPERATORS)?;
        }
        let list = &mut Arc::make_mut(&mut self.actors).operators;
        put(list, &mut self.operators, id, operator.clone());
        Ok(())
    }

    pub(super) fn put_sender(&mut self, sender: &Sender) -> Result<(), Reason> {
        let id = OrganisationId::parse(&sender.id).ok_or(BAD_ID)?;
        if !self.senders.contains_key(&id) {
            room(&self.actors.senders, &mut self.sender_numbers, SENDERS)?;
        }
        put(&mut Arc::make_mut(&mut self.actors).senders, &mut self.senders, id, sender.clone());
        Ok(())
    }

    pub(super) fn put_dispatcher(&mut self, given: &PutDispatcher) -> Result<(), Reason> {
        let id = OrganisationId::parse(&given.id).ok_or(BAD_ID)?;
        let senders =
            given.senders.iter().map(|id| self.senders.get(id).copied()).collect::<Option<Vec<u16>>>();
        let senders = senders.ok_or(reason("unknown_sender", "senders"))?;
        let list = &mut Arc::make_mut(&mut self.actors).dispatchers;
        if !self.dispatchers.contains_key(&id) && list.len() >= DISPATCHERS_MAX {
            return Err(reason("too_many_dispatchers", "id"));
        }
        let dispatcher = Dispatcher { id: given.id.clone(), name: given.name.clone(), senders };
        put(list, &mut self.dispatchers, id, dispatcher);
        Ok(())
    }

    /// Whether there was such an operator. Recipients have it no more.
    pub(super) fn remove_operator(&mut self, id: OrganisationId) -> bool {
        let Some(&place) = self.operators.get(&id) else { return false };
        Arc::make_mut(&mut self.actors).operators.remove(usize::from(place));
        Arc::make_mut(&mut self.operator_numbers).remove(place);
        self.number();
        true
    }

    /// Whether there was such a sender. Rules forget it, and dispatchers act for it no more.
    pub(super) fn remove_sender(&mut self, id: OrganisationId) -> bool {
        let Some(&place) = self.senders.get(&id) else { return false };
        let actors = Arc::make_mut(&mut self.actors);
        actors.senders.remove(usize::from(place));
        Arc::make_mut(&mut self.sender_numbers).remove(place);
        for dispatcher in &mut actors.dispatchers {
            dispatcher.senders.retain(|&sender| sender != place);
            dispatcher.senders.iter_mut().for_each(|sender| *sender -= u16::from(*sender > place));
        }
        self.number();
        true
    }

    /// Whether there was such a dispatcher.
    pub(super) fn remove_dispatcher(&mut self, id: OrganisationId) -> bool {
        let Some(&place) = self.dispatchers.get(&id) else { return false };
        Arc::make_mut(&mut self.actors).dispatchers.remove(usize::from(place));
        self.number();
        true
    }
}

const BAD_ID: Reason = Reason { name: "bad_organisation_number", column: "id" };
const OPERATORS: (usize, Reason) = (OPERATORS_MAX, Reason { name: "too_many_operators", column: "id" });
const SENDERS: (usize, Reason) = (SENDERS_MAX, Reason { name: "too_many_senders", column: "id" });

fn numbers<'a>(ids: impl Iterator<Item = &'a String>) -> HashMap<OrganisationId, u16> {
    ids.zip(0..).filter_map(|(id, place)| OrganisationId::parse(id).zip(Some(place))).collect()
}

/// A number for one more organisation of a list.
fn room<T>(list: &[T], numbers: &mut Arc<Numbers>, (max, full): (usize, Reason)) -> Result<u16, Reason> {
    if list.len() >= max {
        return Err(full);
    }
    Arc::make_mut(numbers).push().ok_or(full)
}

/// Replaces an organisation where it stands, or adds it at the end.
fn put<T>(list: &mut Vec<T>, places: &mut HashMap<OrganisationId, u16>, id: OrganisationId, organisation: T) {
    match places.get(&id) {
        Some(&place) => list[usize::from(place)] = organisation,
        None => {
            places.insert(id, list.len() as u16);
            list.push(organisation);
        }
    }
}
