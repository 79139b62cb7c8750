//! Numbers of recipients by operator, type and identity space.

use super::state::{KrrState, StateRule};
use super::{Damage, Kind, Register};
use crate::identities::Space;
use std::collections::BTreeMap;

/// Numbers of recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All recipients.
    pub recipients: u64,
    /// By operator, in the order of the register.
    pub operators: Vec<u64>,
    /// Recipients without an operator.
    pub without_operator: u64,
    /// FaR: `Secure`, `Anonymous`, `Not`; pending recipients are also counted as `pending`. KRR: `active`, `reserved`,
    /// `deleted`; recipients with a mailbox are also counted as `mailbox`.
    pub types: BTreeMap<&'static str, u64>,
    /// FaR: recipients with an acceptance rule.
    pub own_rule: u64,
    /// By identity space.
    pub spaces: BTreeMap<Space, u64>,
}

impl Register {
    /// Counts recipients. Cost: one pass over the records; checks all blocks.
    pub fn census(&self) -> Result<Census, Damage> {
        let by_state = self.records_by_state()?;
        let mut census = Census { operators: vec![0; self.operators().len()], ..Census::default() };
        census.spaces = self.spaces()?.into_iter().map(|(space, count)| (space, u64::from(count))).collect();
        for (code, count) in by_state.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let state = self.state(code as u32);
            census.recipients += count;
            let operator = self.operator_index(state.operator());
            match operator.and_then(|index| census.operators.get_mut(usize::from(index))) {
                Some(operator) => *operator += count,
                None => census.without_operator += count,
            }
            let mut add = |name| *census.types.entry(name).or_insert(0) += count;
            match self.kind() {
                Kind::Far => {
                    let state = self.far_state(code as u32);
                    add(state.account_type.name());
                    if state.pending {
                        add("pending");
                    }
                    census.own_rule += if state.rule == StateRule::AcceptsAll { 0 } else { count };
                }
                Kind::Krr => {
                    let KrrState { deleted, reserved, mailbox, .. } = self.krr_state(code as u32);
                    add(match (deleted, reserved) {
                        (true, _) => "deleted",
                        (_, true) => "reserved",
                        _ => "active",
                    });
                    if mailbox {
                        add("mailbox");
                    }
                }
            }
        }
        Ok(census)
    }

    /// Number of records of each state.
    fn records_by_state(&self) -> Result<Vec<u64>, Damage> {
        let mut counts = vec![0; self.states().len()];
        let index = self.index();
        for part in index.present(0..index.parts()) {
            if let Some(view) = index.view(self.trust(), part)? {
                view.codes.iter().for_each(|code| counts[code as usize] += 1);
            }
        }
        Ok(counts)
    }
}
