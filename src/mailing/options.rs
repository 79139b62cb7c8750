//! What a job on a list gets beside the list and the register.

use crate::rejected::RejectedLimit;

/// What the user says of a list. What is missing is decided from the list; `docs/lists.md` has the rules.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// The delimiter.
    pub delimiter: Option<u8>,
    /// Columns of the identities, at most two: names, or numbers from 1.
    pub id_columns: Vec<String>,
    /// Which letters a row with two identities becomes, if two columns are named.
    pub two_ids: TwoIds,
    /// Names or numbers of columns in which other identities are expected.
    pub expected_ids: Vec<String>,
    /// Whether rows with another identity are rejected.
    pub strict_rows: bool,
    /// Number of lines above the header, or above the first row, that are not rows.
    pub skip_rows: u64,
    /// Whether the lines above the header are left out of the files of rows.
    pub drop_skipped: bool,
    /// Offset from 0 and length in bytes of the identity, in a list of fixed width.
    pub id_at: Option<(usize, usize)>,
    /// Whether the first row is a header.
    pub header: Option<bool>,
}

/// Which letters a row with two identities becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TwoIds {
    /// One letter, to the recipient that is reached best; to the first one if both are reached equally well.
    #[default]
    FirstReachable,
    /// A letter to each.
    Both,
}

/// What happens to rows whose identity occurred in an earlier row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// They are counted, and go to the file of their outcome.
    #[default]
    Keep,
    /// They are counted, and go to `duplicates.csv`.
    SetAside,
}

/// Default limit of rejected rows. If more than half of a list cannot be read, something is wrong with it.
pub const MAX_REJECTED: RejectedLimit = RejectedLimit::Percent(50.0);

/// Observes a job, and may interrupt it.
pub trait Progress: Sync {
    /// Called with the rows and bytes done so far.
    fn advanced(&self, _rows: u64, _bytes: u64) {}

    /// Whether the job should end and leave nothing behind.
    fn interrupted(&self) -> bool {
        false
    }
}

/// No observer.
impl Progress for () {}
