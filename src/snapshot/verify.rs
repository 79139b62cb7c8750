//! Complete verification of a register file.

use super::Snapshot;
use super::format::{ENTRY_BYTES, HEADER_BYTES, OpenError};
use crate::consent::Rules;
use crate::identities::Identity;
use crate::index::Slot;
use crate::register::state::State;
use crate::register::{Damage, FarState, Kind, Recipient, Register, StateRule};
use rayon::prelude::*;

/// A violated invariant of a register file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {finding}")]
pub struct Finding {
    /// Which part of the file.
    pub part: String,
    /// What is wrong.
    pub finding: String,
}

fn finding(part: impl ToString, finding: impl ToString) -> Finding {
    Finding { part: part.to_string(), finding: finding.to_string() }
}

impl Snapshot {
    /// Checks all checksums and invariants. The list is empty if the file is intact.
    ///
    /// Cost: reads the whole file, on all cores; some seconds for 8 million recipients.
    pub fn verify(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self
            .entries
            .par_iter()
            .filter(|entry| {
                let bytes = self.bytes(entry.section);
                blake3::Hasher::new().update_rayon(bytes).finalize() != entry.sum
            })
            .map(|entry| finding(entry.section.name(), "its checksum does not match"))
            .collect();
        findings.extend(self.padding());
        match self.register() {
            Ok(register) => findings.extend(verify_register(&register, self.header.has_validated)),
            Err(OpenError::Damaged { part, finding: text }) => findings.push(finding(part, text)),
            Err(error) => findings.push(finding("file", error)),
        }
        findings
    }

    /// Checks that the bytes between sections are zero.
    fn padding(&self) -> Option<Finding> {
        let file = (*self.storage).as_ref();
        let mut end = HEADER_BYTES + self.entries.len() * ENTRY_BYTES;
        for entry in &self.entries {
            let start = entry.offset as usize;
            match file.get(end..start) {
                Some(padding) if padding.iter().all(|&byte| byte == 0) => end = start + entry.bytes as usize,
                _ => return Some(finding(entry.section.name(), "the padding before it is not zero")),
            }
        }
        (end != file.len()).then(|| finding("file", "there are bytes after the last section"))
    }
}

/// Checks the relations between the arrays. `has_validated`: as in the header.
fn verify_register(register: &Register, has_validated: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(verify_states(register));
    findings.extend(verify_layout(register));
    match register.rules() {
        Err(damage) => findings.push(finding("rules", damage)),
        Ok(rules) => findings.extend(verify_rules(register, rules)),
    }
    if findings.is_empty() {
        findings.extend(verify_recipients(register, has_validated));
    }
    findings
}

fn verify_states(register: &Register) -> Option<Finding> {
    let states = register.states();
    if states.first() != Some(&State::default()) || !states.windows(2).all(|pair| pair[0] < pair[1]) {
        return Some(finding("states", "they are not in ascending order"));
    }
    let codes = register.index().codes;
    let reserved = (1..codes.len() as u32).find(|&slot| codes.get(Slot(slot)) == 0);
    reserved.map(|_| finding("records", "a recipient has state 0, which is reserved for absent recipients"))
}

/// Checks that blocks follow one another in the order of the directory and cover every array.
fn verify_layout(register: &Register) -> Option<Finding> {
    let index = register.index();
    let (mut block, mut record, mut exception, mut contact) = (1, 1, 0, 0);
    for &number in index.directory.iter().filter(|&&number| number != 0) {
        let Some(entry) = index.blocks.get(number as usize).filter(|_| number == block) else {
            return Some(finding("directory", "its blocks are not in ascending order"));
        };
        if (entry.first_record, entry.first_exception, entry.first_contact) != (record, exception, contact) {
            return Some(finding("blocks", "a block does not begin at the end of the previous block"));
        }
        block += 1;
        record = record.saturating_add(entry.records);
        exception = exception.saturating_add(entry.exceptions);
        contact = contact.saturating_add(entry.contact_bytes);
    }
    let covered = block as usize == index.blocks.len()
        && record as usize == index.codes.len()
        && exception as usize == index.exception_rules.len()
        && exception as usize == index.exception_places.len()
        && contact == register.parts().cold.contact_bytes();
    (!covered).then(|| finding("blocks", "they do not cover the whole register"))
}

fn verify_rules(register: &Register, rules: Rules<'_>) -> Option<Finding> {
    let senders = register.senders().len();
    let all: Vec<_> = (0..rules.len() as u32).filter_map(|rule| rules.get(rule)).collect();
    let valid = all.iter().flat_map(|rule| &rule.senders).all(|&sender| usize::from(sender) < senders);
    if !valid {
        return Some(finding("rule_members", "a rule refers to a sender that does not exist"));
    }
    if !all.windows(2).skip(1).all(|pair| pair[0] < pair[1]) {
        return Some(finding("rule_heads", "the rules are not in ascending order"));
    }
    let count = rules.len() as u32;
    let exists = |rule: u32| rule != 0 && rule < count;
    if !register.index().exception_rules.iter().all(|&rule| exists(rule)) {
        return Some(finding("exception_rules", "an exception refers to a rule that does not exist"));
    }
    let shared = register.states().iter().all(|&state| match FarState::from(state).rule {
        StateRule::Shared(rule) => exists(rule) || register.kind() == Kind::Krr,
        StateRule::AcceptsAll | StateRule::Listed => true,
    });
    (!shared).then(|| finding("states", "a state refers to a rule that does not exist"))
}

/// Checks that every recipient can be read, that its state agrees with its rule, and that the format version is that of
/// the contacts.
fn verify_recipients(register: &Register, has_validated: bool) -> Option<Finding> {
    let (mut unmatched, mut validated) = (0u64, false);
    let read: Result<(), Damage> = register.for_each(|_: &Identity, recipient| {
        match recipient {
            Recipient::Far { state, rule, .. } => {
                unmatched += u64::from((state.rule == StateRule::AcceptsAll) != rule.accepts_all());
            }
            Recipient::Krr { person, .. } => {
                validated |= person.kontaktinformasjon.is_some_and(|channels| channels.is_validated());
            }
        }
        Ok(())
    });
    match read {
        Err(damage) => Some(finding("recipients", damage)),
        Ok(()) if unmatched > 0 => {
            let text = format!("the states of {unmatched} recipients do not agree with their rules");
            Some(finding("recipients", text))
        }
        // A contact with such a time in a file of an older version cannot be read.
        Ok(()) if validated != has_validated => Some(finding(
            "header",
            "its format version is that of contacts with times of validation, of which there are none",
        )),
        Ok(()) => None,
    }
}
