//! What a response reports about itself, for metrics and the audit log.

use crate::register::Register;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What is recorded of a request. Handlers put it into the extensions of their response.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestRecord {
    /// Number of ids in the request.
    pub(super) ids: u64,
    /// Number of ids by outcome.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// The sender of the request.
    pub(super) sender: Option<String>,
    /// Sequence number of the version that the response was made from.
    pub(super) sequence: Option<u64>,
}

impl RequestRecord {
    pub(super) fn of(register: &Register, sender: Option<&str>, ids: usize) -> RequestRecord {
        RequestRecord {
            ids: ids as u64,
            sender: sender.map(str::to_owned),
            sequence: Some(register.sequence()),
            ..RequestRecord::default()
        }
    }

    /// Adds the counts of another part of the same response.
    pub(super) fn add(&mut self, other: RequestRecord) {
        self.ids += other.ids;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

/// The record of a response that is still being produced.
#[derive(Clone, Default)]
pub(super) struct SharedRecord(pub(super) Arc<Mutex<RequestRecord>>);
