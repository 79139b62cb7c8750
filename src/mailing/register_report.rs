//! The part of the report about a register.

use crate::register::Register;
use crate::snapshot::Snapshot;
use serde::Serialize;

/// The register, and its version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegisterSummary {
    /// `far` or `krr`.
    pub kind: &'static str,
    /// Number of its last change.
    pub sequence: u64,
    /// The time of its content, RFC 3339.
    pub as_of: String,
    /// Whole days since then.
    pub age_days: i64,
    /// `blake3:` and 64 hexadecimal digits, of the header of the register file, which has digests of all its sections.
    pub digest: String,
    /// Number of the last change in the file; later ones, up to `sequence`, are in the log of the data directory.
    pub file_sequence: u64,
    /// Of the answers of a live register: where they come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceSummary>,
}

/// The answers of a live register.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceSummary {
    /// Its address.
    pub address: String,
    /// Ids that it was asked for.
    pub ids: u64,
    /// Ids that it refused.
    pub refused: u64,
    /// The time of the oldest answer, RFC 3339.
    pub oldest: String,
    /// The time of the newest answer, RFC 3339.
    pub newest: String,
    /// What was asked for this job; absent if the answers are those of an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedSummary>,
}

/// What a job asked of a live register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AskedSummary {
    /// Ids that it was asked for now.
    pub ids: u64,
    /// Ids whose answers were there already.
    pub taken_over: u64,
    /// Calls.
    pub calls: u64,
    /// Calls that failed and were made again.
    pub retries: u64,
}

impl RegisterSummary {
    /// Of a register at a time. `asked` is what was asked of the live register for this job.
    pub(super) fn new(
        register: &Register,
        now: jiff::Timestamp,
        asked: Option<AskedSummary>,
    ) -> RegisterSummary {
        // A register that is open has a valid header.
        let file = Snapshot::of_register(register).ok();
        RegisterSummary {
            kind: register.source_name(),
            sequence: register.sequence(),
            as_of: register.as_of().to_string(),
            age_days: now.duration_since(register.as_of()).as_hours().div_euclid(24),
            digest: file.as_ref().map(Snapshot::header_digest).unwrap_or_default(),
            file_sequence: file.map_or(0, |file| file.header().sequence),
            source: register.scope().map(|scope| SourceSummary {
                address: scope.source.clone(),
                ids: scope.ids,
                refused: scope.refused,
                oldest: scope.oldest().to_string(),
                newest: scope.newest().to_string(),
                asked,
            }),
        }
    }
}
