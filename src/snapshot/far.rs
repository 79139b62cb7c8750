//! The draft of a FaR register: counting first, then recipients in the order of their ordinals.

use super::write::{ColdDraft, Draft, Times};
use crate::consent::RuleTable;
use crate::identities::{Country, Ordinal};
use crate::index::Builder;
use crate::limits::STATES_SPARE;
use crate::register::Actors;
use crate::register::state::{FarState, State, StateRule};
use hashbrown::HashMap;
use jiff::Timestamp;
use std::cmp::Reverse;

/// A recipient of a draft.
pub(crate) struct FarRow {
    pub(crate) ordinal: Ordinal,
    /// With the rule left out.
    pub(crate) state: State,
    /// Number of the rule in the draft's table; 0 for "all senders".
    pub(crate) rule: u32,
    /// Nanoseconds since 1970, `NO_NANOSECONDS` for none.
    pub(crate) last_registration: i64,
    /// The same.
    pub(crate) last_sender_accept_change: i64,
}

/// How many recipients are in each state with each rule: what states a register gets depends on it.
#[derive(Default)]
pub(crate) struct FarPlan {
    counts: HashMap<(State, u32), u32>,
    recipients: usize,
}

impl FarPlan {
    pub(crate) fn count(&mut self, state: State, rule: u32) {
        *self.counts.entry((state, rule)).or_insert(0) += 1;
        self.recipients += 1;
    }

    /// A draft for the recipients that were counted.
    pub(crate) fn draft(self) -> FarDraft {
        let codes = Codes::new(self.counts);
        let builder = Builder::new(Country::Sweden, codes.states.len() as u32, self.recipients);
        FarDraft {
            codes,
            builder,
            registrations: Times::of_nobody(self.recipients),
            changes: Times::of_nobody(self.recipients),
        }
    }
}

/// A FaR register that takes its recipients.
pub(crate) struct FarDraft {
    codes: Codes,
    builder: Builder,
    registrations: Times,
    changes: Times,
}

impl FarDraft {
    /// Adds a recipient; ordinals ascend.
    pub(crate) fn push(&mut self, row: &FarRow) {
        let (code, listed) = self.codes.of(row);
        self.builder.push(row.ordinal, code, if listed { row.rule } else { 0 });
        self.registrations.push(row.last_registration);
        self.changes.push(row.last_sender_accept_change);
    }

    pub(crate) fn finish(self, sequence: u64, as_of: Timestamp, actors: Actors, rules: RuleTable) -> Draft {
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
        }
    }
}

/// The numbers of states, with the rules that they share.
struct Codes {
    states: Vec<State>,
    /// Code of each state and rule; the rule 0 is "all senders".
    shared: HashMap<(State, u32), u32>,
    /// Code of each state for recipients whose rule is listed.
    listed: HashMap<State, u32>,
}

impl Codes {
    /// Gives the rules that most recipients of a state share a state of their own, as long as records
    /// keep their width, with some states to spare for changes to come.
    fn new(counts: HashMap<(State, u32), u32>) -> Codes {
        let with_rule = |rule: StateRule, state: State| -> State { FarState { rule, ..state.into() }.into() };
        let mut plain: Vec<State> = counts.keys().map(|&(state, _)| state).collect();
        plain.sort_unstable();
        plain.dedup();
        // By number, then by what the states are: never by the order in which they came.
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
        let code = |state: State| states.binary_search(&state).unwrap_or(0) as u32;
        let all = plain.iter().map(|&state| ((state, 0), code(with_rule(StateRule::AcceptsAll, state))));
        let frequent = frequent
            .iter()
            .map(|&((state, rule), _)| ((state, rule), code(with_rule(StateRule::Shared(rule), state))));
        let shared = all.chain(frequent).collect();
        let listed = plain.iter().map(|&state| (state, code(with_rule(StateRule::Listed, state)))).collect();
        Codes { states, shared, listed }
    }

    /// The code of a recipient, and whether its rule is listed.
    fn of(&self, row: &FarRow) -> (u32, bool) {
        match self.shared.get(&(row.state, row.rule)) {
            Some(&code) => (code, false),
            None => (self.listed[&row.state], true),
        }
    }
}
