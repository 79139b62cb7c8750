//! What a response reports about itself, for metrics and the audit log.

use super::tls::normal;
use crate::register::Register;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// How the body ended, if it was produced while it was sent.
    pub(super) end: StreamEnd,
    /// Why the request was refused, by the code of its interface: that of a SOAP fault, or the last word of the type of
    /// a problem.
    pub(super) fault: Option<String>,
}

/// How a body ended that was produced while it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The client did not take all of it.
    #[default]
    Abandoned,
    Complete,
    Failed,
    /// The caller was no longer accepted.
    Refused,
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

    /// The record of a refusal. `sender` is as the request spells it, and is recorded only if it is the number of an
    /// organisation.
    pub(super) fn of_refusal(fault: impl Into<String>, sender: Option<&str>) -> RequestRecord {
        let sender = sender.and_then(normal);
        RequestRecord { fault: Some(fault.into()), sender, ..RequestRecord::default() }
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
pub(super) struct SharedRecord(Arc<Mutex<RequestRecord>>);

impl SharedRecord {
    pub(super) fn new(record: RequestRecord) -> SharedRecord {
        SharedRecord(Arc::new(Mutex::new(record)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RequestRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
