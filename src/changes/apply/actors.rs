//! Organisations of a register, and their positions by id.

use crate::changes::change::{OrganisationId, PutDispatcher};
use crate::decode::{Reason, reason};
use crate::limits::{DISPATCHERS_MAX, OPERATORS_MAX, SENDERS_MAX};
use crate::organisations::{NumberTable, OperatorNumbers, OrganisationKey, SenderNumbers};
use crate::register::{Actors, Dispatcher, Operator, Sender, Version};
use crate::register::{OperatorIndex, OperatorNumber, SenderIndex, SenderNumber};
use hashbrown::HashMap;
use std::sync::Arc;

/// The organisations, and the position of each in its list.
pub(super) struct ActorIndex {
    pub(super) actors: Arc<Actors>,
    pub(super) operator_numbers: Arc<OperatorNumbers>,
    pub(super) sender_numbers: Arc<SenderNumbers>,
    operators: HashMap<OrganisationId, OperatorIndex>,
    senders: HashMap<OrganisationId, SenderIndex>,
    dispatchers: HashMap<OrganisationId, u16>,
    /// Operators of KRR, whose ids are not organisation numbers of Sweden.
    krr_operators: HashMap<String, OperatorIndex>,
}

impl ActorIndex {
    pub(super) fn of(version: &Version) -> ActorIndex {
        let mut index = ActorIndex {
            actors: Arc::clone(&version.actors),
            operator_numbers: Arc::clone(&version.operators),
            sender_numbers: Arc::clone(&version.senders),
            operators: HashMap::new(),
            senders: HashMap::new(),
            dispatchers: HashMap::new(),
            krr_operators: HashMap::new(),
        };
        index.rebuild();
        index
    }

    /// Rebuilds the positions from the lists.
    fn rebuild(&mut self) {
        let Actors { operators, senders, dispatchers } = &*self.actors;
        self.operators = positions_by_id(operators.iter().map(|operator| &operator.id), OperatorIndex::new);
        self.senders = positions_by_id(senders.iter().map(|sender| &sender.id), SenderIndex::new);
        self.dispatchers =
            positions_by_id(dispatchers.iter().map(|dispatcher| &dispatcher.id), |index| index);
        self.krr_operators =
            operators.iter().map(|operator| operator.id.clone()).zip((0..).map(OperatorIndex::new)).collect();
    }

    /// The number of an operator.
    pub(super) fn operator(&self, id: OrganisationId) -> Option<OperatorNumber> {
        self.operators.get(&id).map(|&position| self.operator_numbers.number(position))
    }

    /// The number of a sender.
    pub(super) fn sender(&self, id: OrganisationId) -> Option<SenderNumber> {
        self.senders.get(&id).map(|&position| self.sender_numbers.number(position))
    }

    /// The number of a KRR operator, which is added to the list with the first person who has it.
    pub(super) fn krr_operator(&mut self, id: &str) -> Result<OperatorNumber, Reason> {
        if let Some(&position) = self.krr_operators.get(id) {
            return Ok(self.operator_numbers.number(position));
        }
        let number = assign_number(&self.actors.operators, &mut self.operator_numbers, OPERATORS)?;
        let index = OperatorIndex::new(self.actors.operators.len() as u16);
        self.krr_operators.insert(id.to_owned(), index);
        Arc::make_mut(&mut self.actors).operators.push(Operator::of_krr(id.to_owned()));
        Ok(number)
    }

    pub(super) fn put_operator(&mut self, operator: &Operator) -> Result<(), Reason> {
        let id = OrganisationId::parse(&operator.id).ok_or(BAD_ID)?;
        if !self.operators.contains_key(&id) {
            assign_number(&self.actors.operators, &mut self.operator_numbers, OPERATORS)?;
        }
        let list = &mut Arc::make_mut(&mut self.actors).operators;
        put(list, &mut self.operators, OperatorIndex::new, id, operator.clone());
        Ok(())
    }

    pub(super) fn put_sender(&mut self, sender: &Sender) -> Result<(), Reason> {
        let id = OrganisationId::parse(&sender.id).ok_or(BAD_ID)?;
        if !self.senders.contains_key(&id) {
            assign_number(&self.actors.senders, &mut self.sender_numbers, SENDERS)?;
        }
        let list = &mut Arc::make_mut(&mut self.actors).senders;
        put(list, &mut self.senders, SenderIndex::new, id, sender.clone());
        Ok(())
    }

    pub(super) fn put_dispatcher(&mut self, given: &PutDispatcher) -> Result<(), Reason> {
        let id = OrganisationId::parse(&given.id).ok_or(BAD_ID)?;
        let senders =
            given.senders.iter().map(|id| self.senders.get(id).copied()).collect::<Option<Vec<_>>>();
        let senders = senders.ok_or(reason("unknown_sender", "senders"))?;
        let list = &mut Arc::make_mut(&mut self.actors).dispatchers;
        if !self.dispatchers.contains_key(&id) && list.len() >= DISPATCHERS_MAX {
            return Err(reason("too_many_dispatchers", "id"));
        }
        let dispatcher = Dispatcher { id: given.id.clone(), name: given.name.clone(), senders };
        put(list, &mut self.dispatchers, |index| index, id, dispatcher);
        Ok(())
    }

    /// Removes an operator, also from all recipients. Returns whether it existed.
    pub(super) fn remove_operator(&mut self, id: OrganisationId) -> bool {
        let Some(&position) = self.operators.get(&id) else { return false };
        Arc::make_mut(&mut self.actors).operators.remove(usize::from(position));
        Arc::make_mut(&mut self.operator_numbers).remove(position);
        self.rebuild();
        true
    }

    /// Removes a sender, also from rules and dispatchers. Returns whether it existed.
    pub(super) fn remove_sender(&mut self, id: OrganisationId) -> bool {
        let Some(&position) = self.senders.get(&id) else { return false };
        let actors = Arc::make_mut(&mut self.actors);
        actors.senders.remove(usize::from(position));
        Arc::make_mut(&mut self.sender_numbers).remove(position);
        for dispatcher in &mut actors.dispatchers {
            dispatcher.senders.retain(|&sender| sender != position);
            dispatcher
                .senders
                .iter_mut()
                .for_each(|sender| *sender = SenderIndex::new(sender.get() - u16::from(*sender > position)));
        }
        self.rebuild();
        true
    }

    /// Removes a dispatcher. Returns whether it existed.
    pub(super) fn remove_dispatcher(&mut self, id: OrganisationId) -> bool {
        let Some(&position) = self.dispatchers.get(&id) else { return false };
        Arc::make_mut(&mut self.actors).dispatchers.remove(usize::from(position));
        self.rebuild();
        true
    }
}

const BAD_ID: Reason = reason("bad_organisation_number", "id");
const OPERATORS: (usize, Reason) = (OPERATORS_MAX, reason("too_many_operators", "id"));
const SENDERS: (usize, Reason) = (SENDERS_MAX, reason("too_many_senders", "id"));

fn positions_by_id<'a, I>(
    ids: impl Iterator<Item = &'a String>,
    index: fn(u16) -> I,
) -> HashMap<OrganisationId, I> {
    ids.zip((0..).map(index))
        .filter_map(|(id, position)| OrganisationId::parse(id).zip(Some(position)))
        .collect()
}

/// Assigns a number to one more organisation of a list.
fn assign_number<T, I: OrganisationKey, N: OrganisationKey>(
    list: &[T],
    numbers: &mut Arc<NumberTable<I, N>>,
    (max, full): (usize, Reason),
) -> Result<N, Reason> {
    if list.len() >= max {
        return Err(full);
    }
    Arc::make_mut(numbers).push().ok_or(full)
}

/// Replaces an organisation in its position, or appends it.
fn put<T, I: Copy + Into<usize>>(
    list: &mut Vec<T>,
    positions: &mut HashMap<OrganisationId, I>,
    index: fn(u16) -> I,
    id: OrganisationId,
    organisation: T,
) {
    match positions.get(&id) {
        Some(&position) => list[position.into()] = organisation,
        None => {
            positions.insert(id, index(list.len() as u16));
            list.push(organisation);
        }
    }
}
