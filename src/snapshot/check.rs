//! Checks on opening a register file: what lookups rely on and no checksum of a block covers.
//!
//! A checksum shows that a file is as it was written, not that its writer was honest. So every length, position and
//! number in the small sections is compared with what it refers to. Cost: some tens of microseconds for the
//! organisations and states of a real register. Positions in the sections of recipients are checked when they are used.

use super::Snapshot;
use super::format::{OpenError, Section, damaged};
use crate::index::{Page, Slot, directory_length, short_directory_length, stored_directory};
use crate::limits::{BLOCK_PAGES, DISPATCHERS_MAX, OPERATORS_MAX, RECIPIENTS_MAX, SENDERS_MAX, SEQUENCE_MAX};
use crate::register::state::{FarState, KrrState, State, StateRule};
use crate::register::{Actors, Kind, Parts, organisation};
use hashbrown::HashSet;

/// Checks that lists of organisations are within the limits, that their ids are valid and distinct, and that
/// dispatchers refer to senders that exist.
pub(super) fn actors(kind: Kind, actors: &Actors) -> Result<(), OpenError> {
    let Actors { operators, senders, dispatchers } = actors;
    let too_many = operators.len() > OPERATORS_MAX
        || senders.len() > SENDERS_MAX
        || dispatchers.len() > DISPATCHERS_MAX
        || (kind == Kind::Krr && !(senders.is_empty() && dispatchers.is_empty()));
    if too_many {
        return Err(damaged("actors", "there are more organisations than a register can have"));
    }
    let exists = |position: usize| position < senders.len();
    if !dispatchers.iter().flat_map(|dispatcher| &dispatcher.senders).all(|&sender| exists(sender.into())) {
        return Err(damaged("actors", "a dispatcher refers to a sender that does not exist"));
    }
    let lists = [
        are_distinct(kind, operators.iter().map(|operator| &operator.id[..])),
        are_distinct(kind, senders.iter().map(|sender| &sender.id[..])),
        are_distinct(kind, dispatchers.iter().map(|dispatcher| &dispatcher.id[..])),
    ];
    match lists.iter().all(|valid| *valid) {
        true => Ok(()),
        false => Err(damaged("actors", "the id of an organisation is invalid, or occurs twice")),
    }
}

/// Whether ids are distinct, and in Sweden organisationsnummer of 12 digits.
fn are_distinct<'a>(kind: Kind, ids: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = HashSet::new();
    let is_valid = |id: &str| match kind {
        Kind::Far => organisation(id).is_some_and(|canonical| canonical == id),
        Kind::Krr => !id.is_empty(),
    };
    ids.into_iter().all(|id| is_valid(id) && seen.insert(id))
}

/// Whether a state is one that a register of that kind can have, and refers to organisations and rules that exist.
fn is_possible(kind: Kind, has_scope: bool, state: State, rules: u64) -> bool {
    match kind {
        _ if state.is_answer_only() => has_scope,
        Kind::Far => {
            let far = FarState::from(state);
            let has_rule = match far.rule {
                StateRule::Shared(rule) => u64::from(rule) < rules,
                StateRule::AcceptsAll | StateRule::Listed => true,
            };
            has_rule && State::from(far) == state
        }
        Kind::Krr => State::from(KrrState::from(state)) == state,
    }
}

impl Snapshot {
    /// Checks the lengths of arrays, which lookups rely on and no checksum of a block covers.
    pub(super) fn check_lengths(&self, parts: &Parts) -> Result<(), OpenError> {
        let pages = parts.pages.get();
        let (country, directory) = (parts.kind.country(), parts.directory.get());
        let is_long = directory.len() == directory_length(country)
            && stored_directory(country, directory).len() == directory.len();
        if !is_long && directory.len() != short_directory_length(country) {
            return Err(damaged("directory", "its length does not match the register's identity spaces"));
        }
        let blocks = parts.blocks.get().len();
        if blocks == 0 || pages.len() != blocks * BLOCK_PAGES as usize {
            return Err(damaged("pages", "their number is not 32 for each block"));
        }
        if pages[..BLOCK_PAGES as usize].iter().any(|page| *page != Page::EMPTY) {
            return Err(damaged("pages", "the first block is not empty"));
        }
        let records = self.entry(Section::Records);
        if Some(records.bytes / u64::from(records.width)) != self.header.recipients.checked_add(1) {
            return Err(damaged("records", "their number differs from the header"));
        }
        if self.header.has_scope && self.entry(Section::Answered).bytes / 4 != self.header.recipients + 1 {
            return Err(damaged("answered", "its number of times differs from the header"));
        }
        if self.header.recipients > RECIPIENTS_MAX as u64 {
            return Err(damaged("header", "there are more recipients than a register can have"));
        }
        if self.header.sequence > SEQUENCE_MAX {
            return Err(damaged("header", "its sequence number is higher than any register can have"));
        }
        Ok(())
    }

    /// Checks record 0 and state 0, and that the states refer to operators and rules that exist.
    pub(super) fn check_states(
        &self,
        parts: &Parts,
        actors: &Actors,
        states: &[State],
    ) -> Result<(), OpenError> {
        if states.is_empty() || parts.codes.get().get(Slot(0)) != 0 {
            return Err(damaged("records", "record 0 does not have state 0"));
        }
        if states[0] != State::default() {
            return Err(damaged("states", "state 0 is not that of absent recipients"));
        }
        let operators = actors.operators.len();
        let known = |state: &State| state.operator().is_none_or(|number| usize::from(number) < operators);
        if !states.iter().all(known) {
            return Err(damaged("states", "a state refers to an operator that does not exist"));
        }
        let heads = self.entry(Section::RuleHeads);
        let rules = (heads.bytes / u64::from(heads.width)).saturating_sub(1);
        if !states[1..].iter().all(|&state| is_possible(parts.kind, parts.scope.is_some(), state, rules)) {
            return Err(damaged(
                "states",
                "a state refers to a rule that does not exist, or is not possible",
            ));
        }
        Ok(())
    }
}
