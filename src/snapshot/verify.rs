//! Checking a register file completely.

use super::Snapshot;
use super::format::{ENTRY_BYTES, HEADER_BYTES, OpenError};
use crate::consent::Rules;
use crate::identities::Identity;
use crate::index::Slot;
use crate::register::state::State;
use crate::register::{Damage, FarState, Kind, Recipient, Register, StateRule};
use rayon::prelude::*;

/// Something in a register file that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {finding}")]
pub struct Finding {
    /// Which part of the file.
    pub part: String,
    /// What does not hold.
    pub finding: String,
}

fn finding(part: impl ToString, finding: impl ToString) -> Finding {
    Finding { part: part.to_string(), finding: finding.to_string() }
}

impl Snapshot {
    /// Checks every checksum and every invariant. An empty list means that the file is whole.
    ///
    /// Cost: reads all of the file, on all cores; some seconds for 8 million recipients.
    pub fn verify(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self
            .entries
            .par_iter()
            .filter(|entry| {
                let bytes = self.bytes(entry.section);
                blake3::Hasher::new().update_rayon(bytes).finalize() != entry.sum
            })
            .map(|entry| finding(entry.section.name(), "its checksum does not hold"))
            .collect();
        findings.extend(self.padding());
        match self.register() {
            Ok(register) => findings.extend(verify_register(&register)),
            Err(OpenError::Damaged { part, finding: text }) => findings.push(finding(part, text)),
            Err(error) => findings.push(finding("file", error)),
        }
        findings
    }

    /// The bytes between sections are zero.
    fn padding(&self) -> Option<Finding> {
        let file = (*self.storage).as_ref();
        let mut end = HEADER_BYTES + self.entries.len() * ENTRY_BYTES;
        for entry in &self.entries {
            let start = entry.offset as usize;
            match file.get(end..start) {
                Some(padding) if padding.iter().all(|&byte| byte == 0) => end = start + entry.bytes as usize,
                _ => return Some(finding(entry.section.name(), "what lies before it is not zero")),
            }
        }
        (end != file.len()).then(|| finding("file", "there are bytes after the last section"))
    }
}

/// What the arrays say of one another.
fn verify_register(register: &Register) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(verify_actors(register));
    findings.extend(verify_states(register));
    findings.extend(verify_layout(register));
    match register.rules() {
        Err(damage) => findings.push(finding("rules", damage)),
        Ok(rules) => findings.extend(verify_rules(register, rules)),
    }
    if findings.is_empty() {
        findings.extend(verify_recipients(register));
    }
    findings
}

fn verify_actors(register: &Register) -> Option<Finding> {
    let senders = register.senders().len();
    let known = |place: &u16| usize::from(*place) < senders;
    let whole = register.dispatchers().iter().all(|dispatcher| dispatcher.senders.iter().all(known));
    (!whole).then(|| finding("actors", "a dispatcher acts for a sender that is not there"))
}

fn verify_states(register: &Register) -> Option<Finding> {
    let states = register.states();
    if states.first() != Some(&State::default()) || !states.windows(2).all(|pair| pair[0] < pair[1]) {
        return Some(finding("states", "they are not in order"));
    }
    let codes = register.index().codes;
    let nobody = (1..codes.len() as u32).find(|&slot| codes.get(Slot(slot)) == 0);
    nobody.map(|_| finding("records", "a recipient is in the state of nobody"))
}

/// Blocks lie one after another in the order of the directory and fill every array.
fn verify_layout(register: &Register) -> Option<Finding> {
    let index = register.index();
    let (mut block, mut record, mut exception, mut contact) = (1, 1, 0, 0);
    for &number in index.directory.iter().filter(|&&number| number != 0) {
        let Some(entry) = index.blocks.get(number as usize).filter(|_| number == block) else {
            return Some(finding("directory", "its blocks are not in order"));
        };
        if (entry.first_record, entry.first_exception, entry.first_contact) != (record, exception, contact) {
            return Some(finding("blocks", "one does not begin where the one before it ends"));
        }
        block += 1;
        record = record.saturating_add(entry.records);
        exception = exception.saturating_add(entry.exceptions);
        contact = contact.saturating_add(entry.contact_bytes);
    }
    let whole = block as usize == index.blocks.len()
        && record as usize == index.codes.len()
        && exception as usize == index.exception_rules.len()
        && exception as usize == index.exception_places.len()
        && contact == register.parts().cold.contact_bytes();
    (!whole).then(|| finding("blocks", "they do not fill the register"))
}

fn verify_rules(register: &Register, rules: Rules<'_>) -> Option<Finding> {
    let senders = register.senders().len();
    let all: Vec<_> = (0..rules.len() as u32).filter_map(|rule| rules.get(rule)).collect();
    let known = all.iter().flat_map(|rule| &rule.senders).all(|&place| usize::from(place) < senders);
    if !known {
        return Some(finding("rule_members", "one names a sender that is not there"));
    }
    if !all.windows(2).skip(1).all(|pair| pair[0] < pair[1]) {
        return Some(finding("rule_heads", "the rules are not in order"));
    }
    let count = rules.len() as u32;
    let there = |rule: u32| rule != 0 && rule < count;
    if !register.index().exception_rules.iter().all(|&rule| there(rule)) {
        return Some(finding("exception_rules", "one names a rule that is not there"));
    }
    let shared = register.states().iter().all(|&state| match FarState::from(state).rule {
        StateRule::Shared(rule) => there(rule) || register.kind() == Kind::Krr,
        _ => true,
    });
    (!shared).then(|| finding("states", "one names a rule that is not there"))
}

/// Every recipient can be read, and its state says whether it has a rule of its own.
fn verify_recipients(register: &Register) -> Option<Finding> {
    let mut unmatched = 0u64;
    let read: Result<(), Damage> = register.for_each(|_: &Identity, recipient| {
        if let Recipient::Far { state, rule, .. } = recipient {
            unmatched += u64::from((state.rule == StateRule::AcceptsAll) != rule.accepts_all());
        }
        Ok(())
    });
    match read {
        Err(damage) => Some(finding("recipients", damage)),
        Ok(()) if unmatched > 0 => {
            let text = format!("{unmatched} have a state that does not agree with their rule");
            Some(finding("recipients", text))
        }
        Ok(()) => None,
    }
}
