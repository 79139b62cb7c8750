//! The draft of a FaR register: recipients are counted first, then added in ascending order of ordinals.

use super::write::{ColdDraft, Draft, Times};
use crate::consent::RuleTable;
use crate::identities::{Country, Ordinal};
use crate::index::IndexBuilder;
use crate::limits::STATES_SPARE;
use crate::register::Actors;
use crate::register::state::{FarState, State, StateRule};
use hashbrown::HashMap;
use jiff::Timestamp;
use std::cmp::Reverse;

/// A recipient of a draft.
pub(crate) struct FarRow {
    pub(crate) ordinal: Ordinal,
    /// The state without rule.
    pub(crate) state: State,
    /// Number of the rule in the draft's table; 0 for "all senders".
    pub(crate) rule: u32,
    /// Nanoseconds since 1970, `NO_NANOSECONDS` without a time.
    pub(crate) last_registration: i64,
    /// Nanoseconds since 1970, `NO_NANOSECONDS` without a time.
    pub(crate) last_sender_accept_change: i64,
}

/// Number of recipients by state and rule, which determines the states of the register.
#[derive(Default)]
pub(crate) struct FarPlan {
    counts: HashMap<(State, u32), u32>,
    recipients: usize,
}

impl FarPlan {
    pub(crate) fn count(&mut self, state: State, rule: u32) {
        self.count_all(state, rule, 1);
    }

    /// Counts some recipients with the same state and rule.
    pub(crate) fn count_all(&mut self, state: State, rule: u32, recipients: u32) {
        *self.counts.entry((state, rule)).or_insert(0) += recipients;
        self.recipients += recipients as usize;
    }

    /// A draft for the counted recipients.
    pub(crate) fn draft(self) -> FarDraft {
        let codes = StateCodes::new(self.counts);
        let builder = IndexBuilder::new(Country::Sweden, codes.states.len() as u32, self.recipients);
        FarDraft {
            codes,
            builder,
            registrations: Times::with_capacity(self.recipients),
            changes: Times::with_capacity(self.recipients),
        }
    }
}

/// A FaR register under construction.
pub(crate) struct FarDraft {
    codes: StateCodes,
    builder: IndexBuilder,
    registrations: Times,
    changes: Times,
}

impl FarDraft {
    /// Adds a recipient. Ordinals must ascend.
    pub(crate) fn push(&mut self, row: &FarRow) {
        let (code, listed) = self.codes.of(row);
        self.builder.push(row.ordinal, code, if listed { row.rule } else { 0 });
        self.registrations.push(row.last_registration);
        self.changes.push(row.last_sender_accept_change);
    }

    pub(crate) fn finish(
        self,
        sequence: u64,
        as_of: Timestamp,
        actors: Actors,
        rules: RuleTable,
    ) -> Draft<'static> {
        let cold =
            ColdDraft::Far { last_registration: self.registrations, last_sender_accept_change: self.changes };
        Draft {
            sequence,
            as_of,
            actors,
            states: self.codes.states,
            index: self.builder.finish(),
            rules,
            cold,
            scope: None,
        }
    }
}

/// The states of a register and their numbers.
struct StateCodes {
    states: Vec<State>,
    /// The code of each state with a shared rule; rule 0 is "all senders".
    shared: HashMap<(State, u32), u32>,
    /// The code of each state with a listed rule.
    listed: HashMap<State, u32>,
}

impl StateCodes {
    /// Assigns separate states to the most frequent combinations of state and rule, as far as the record width allows
    /// and [`STATES_SPARE`] states remain for later changes.
    fn new(counts: HashMap<(State, u32), u32>) -> StateCodes {
        let with_rule = |rule: StateRule, state: State| -> State {
            match state.is_answer_only() {
                true => state,
                false => FarState { rule, ..state.into() }.into(),
            }
        };
        let mut plain: Vec<State> = counts.keys().map(|&(state, _)| state).collect();
        plain.sort_unstable();
        plain.dedup();
        // By count, then by state and rule, so that the order of the input does not matter.
        let mut frequent: Vec<_> = counts.into_iter().filter(|((_, rule), _)| *rule != 0).collect();
        frequent.sort_unstable_by_key(|&((state, rule), count)| (Reverse(count), state, rule));
        let needed = 1 + 2 * plain.len();
        let width = if needed <= 0x100 { 0x100usize } else { 0x1_0000 };
        frequent.truncate(width.saturating_sub(needed + STATES_SPARE));

        let shared = frequent.iter().map(|&((state, rule), _)| with_rule(StateRule::Shared(rule), state));
        let mut states: Vec<State> = std::iter::once(State::default())
            .chain(plain.iter().map(|&state| with_rule(StateRule::AcceptsAll, state)))
            .chain(plain.iter().map(|&state| with_rule(StateRule::Listed, state)))
            .chain(shared)
            .collect();
        states.sort_unstable();
        states.dedup();
        let code = |state: State| states.binary_search(&state).unwrap_or(0) as u32;
        let all = plain.iter().map(|&state| ((state, 0), code(with_rule(StateRule::AcceptsAll, state))));
        let frequent = frequent
            .iter()
            .map(|&((state, rule), _)| ((state, rule), code(with_rule(StateRule::Shared(rule), state))));
        let shared = all.chain(frequent).collect();
        let listed = plain.iter().map(|&state| (state, code(with_rule(StateRule::Listed, state)))).collect();
        StateCodes { states, shared, listed }
    }

    /// The code of a recipient, and whether its rule is listed.
    fn of(&self, row: &FarRow) -> (u32, bool) {
        match self.shared.get(&(row.state, row.rule)) {
            Some(&code) => (code, false),
            None => (self.listed[&row.state], true),
        }
    }
}
