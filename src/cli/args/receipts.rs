//! Arguments about receipts and records.

use super::rejected_limit;
use crate::cli::mode::ModeArgs;
use clap::Args;
use nabar::rejected::RejectedLimit;
use std::path::PathBuf;

/// Compare receipts with the letters of a split: what arrived, and what must be printed late
///
/// Writes to the directory of the split late-paper.csv with the letters that failed, record.csv with what is known of each
/// letter, receipts-rejected.csv with the receipts that are not used, and reconcile.json. Receipts that arrive later are
/// compared in the same way; the files of the second time are named late-paper-2.csv and so on.
#[derive(Args)]
#[command(after_help = "Examples:\n  nabar reconcile out/ receipts.csv\n  \
                        nabar reconcile out/ kivra.csv digipost-result.xml --failed returnerad")]
pub(crate) struct ReconcileArgs {
    /// The output directory of the split
    #[arg(value_name = "DIR")]
    pub(crate) split: PathBuf,
    /// The receipts: CSV with a header, or Digipost's masseutsendelse-resultat; optionally compressed with gzip or zstd
    #[arg(required = true, value_name = "RECEIPTS")]
    pub(crate) receipts: Vec<PathBuf>,
    /// A status of letters that arrived, beside the usual words. Repeatable
    #[arg(long, value_name = "WORD")]
    pub(crate) delivered: Vec<String>,
    /// A status of letters that did not arrive, beside the usual words. Repeatable
    #[arg(long, value_name = "WORD")]
    pub(crate) failed: Vec<String>,
    /// Column of the row numbers, as in feedback.csv [default: by its name]
    #[arg(long, value_name = "NAME")]
    pub(crate) row_column: Option<String>,
    /// Column of the ids [default: by its name]
    #[arg(long, value_name = "NAME")]
    pub(crate) id_column: Option<String>,
    /// Column of the status [default: by its name]
    #[arg(long, value_name = "NAME")]
    pub(crate) status_column: Option<String>,
    /// Column of the reason [default: by its name]
    #[arg(long, value_name = "NAME")]
    pub(crate) reason_column: Option<String>,
    /// A channel whose letters have receipts, beside those of the mailbox operators. Repeatable
    #[arg(long = "channel", value_name = "NAME")]
    pub(crate) channels: Vec<String>,
    /// Maximum of receipts of a file that cannot be read, as a number or a percentage; with more the job is refused (exit
    /// code 3)
    #[arg(long, value_name = "N|N%", default_value = "50%", value_parser = rejected_limit)]
    pub(crate) max_rejected: RejectedLimit,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What was known of a letter of a split, decided by which rule, and what came of it
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nabar record out/ --row 3\n  nabar record out/ --id 196810199809 --json"
)]
pub(crate) struct RecordArgs {
    /// The output directory of the split
    #[arg(value_name = "DIR")]
    pub(crate) split: PathBuf,
    /// The row of the list, counted from 1 as in feedback.csv
    #[arg(long, value_name = "N", required_unless_present = "id", conflicts_with = "id")]
    pub(crate) row: Option<u64>,
    /// The id of a recipient
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
