//! What a job on a list gets beside the list and the register.

use crate::identities::Country;
use crate::rejected::RejectedLimit;
use crate::runs::{LETTER_BYTES_MAX, RunDescription};
use crate::sheets::WorkbookLimits;

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
    /// With `strict_rows`: whether every other cell is read as the identity's is, in all spellings.
    pub every_cell: bool,
    /// Number of lines above the header, or above the first row, that are not rows.
    pub skip_rows: u64,
    /// Whether the lines above the header are left out of the files of rows.
    pub drop_skipped: bool,
    /// Offset from 0 and length in bytes of the identity, in a list of fixed width.
    pub id_at: Option<(usize, usize)>,
    /// A country beside that of the register whose ids the list may have, too: that of a further register of channel rules.
    pub other_country: Option<Country>,
    /// Columns whose cells are read for channel rules: names, numbers from 1, or `OFFSET:LENGTH` in a list of fixed width.
    pub cell_columns: Vec<String>,
    /// Whether the first row is a header.
    pub header: Option<bool>,
    /// The sheet of a workbook; without it, the only one with identities.
    pub sheet: Option<String>,
    /// The list is a print run: its letters are not rows. Then what is said of rows and columns above is not used, but
    /// `strict_rows`, and `cell_columns` that are named as the run's form does.
    pub run: Option<RunDescription>,
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

impl TwoIds {
    /// `first_reachable` or `both`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            TwoIds::FirstReachable => "first_reachable",
            TwoIds::Both => "both",
        }
    }
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

impl Duplicates {
    /// `keep` or `set_aside`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Duplicates::Keep => "keep",
            Duplicates::SetAside => "set_aside",
        }
    }
}

/// Limits of a list that is read from a stream, for lists from strangers.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Bytes, after decompression.
    pub bytes: u64,
    /// Bytes after decompression per byte before it. Compressed lists of people have 3 to 20.
    pub expansion: u64,
    /// Memory that a Zstandard frame may require: 2 to this power bytes, at most 31. Levels up to 19 require 23.
    pub zstd_window_log: u32,
    /// Bytes of a letter of a print run, and of what is before the first one: up to four times as much memory is used.
    pub letter_bytes: usize,
    /// Those of a workbook.
    pub workbook: WorkbookLimits,
}

/// No limits, except that Zstandard needs at most 128 MiB.
impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            bytes: u64::MAX,
            expansion: u64::MAX,
            zstd_window_log: 27,
            letter_bytes: LETTER_BYTES_MAX,
            workbook: WorkbookLimits::default(),
        }
    }
}

/// Default limit of rejected rows. If more than half of a list cannot be read, something is wrong with it.
pub const MAX_REJECTED: RejectedLimit = RejectedLimit::Percent(50.0);

/// Observes a job, and may interrupt it.
pub trait Progress: Sync {
    /// Called with the rows and bytes done so far.
    fn advanced(&self, _rows: u64, _bytes: u64) {}

    /// Whether [`may_use`](Self::may_use) limits the job: counting costs some instructions for each row.
    fn limits_memory(&self) -> bool {
        false
    }

    /// Whether the set of identities that have occurred may take some memory in bytes: some 10 MB for people, up to 150
    /// MB for lists of organisations. Called before it does; if not, the job ends as if it were interrupted.
    fn may_use(&self, _bytes: u64) -> bool {
        true
    }

    /// Whether the job should end and leave nothing behind.
    fn interrupted(&self) -> bool {
        false
    }
}

/// No observer.
impl Progress for () {}
