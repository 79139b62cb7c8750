//! Arguments about live registers.

use super::lists::{AskingArgs, ReadingArgs, SenderArgs};
use super::rejected_limit;
use crate::cli::mode::ModeArgs;
use clap::{Args, Subcommand, ValueEnum};
use nabar::rejected::RejectedLimit;
use std::path::PathBuf;

/// Ask a live register for the ids of lists: a register of exactly these ids
///
/// The register file can be used by check, split and lookup for the same sender, until its answers are too old. A job that
/// ended early goes on where it was: repeat the command.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nabar resolve --source far.toml --sender 164821000025 list.csv -o run.nabar\n  \
                  nabar split -r run.nabar --sender 164821000025 list.csv -o out/"
)]
pub(crate) struct ResolveArgs {
    /// The source file of the register
    #[arg(long, value_name = "FILE")]
    pub(crate) source: PathBuf,
    #[command(flatten)]
    pub(crate) of: SenderArgs,
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
    /// The lists: CSV or fixed width, optionally compressed with gzip or zstd
    #[arg(required = true, value_name = "LIST")]
    pub(crate) lists: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Maximum of rows of a list without a valid id, as a number or a percentage; with more nothing is asked (exit code 3).
    /// For a list of recipients of two countries, of which one register has those of one
    #[arg(long, value_name = "N|N%", default_value = "50%", value_parser = rejected_limit)]
    pub(crate) max_rejected: RejectedLimit,
    /// The register file to make; an existing one is replaced when the new one is complete
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace a file that was not made by nabar
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Describe live registers, and try them
#[derive(Args)]
pub(crate) struct SourceArgs {
    #[command(subcommand)]
    pub(crate) command: SourceCommand,
}

#[derive(Subcommand)]
pub(crate) enum SourceCommand {
    Init(SourceInit),
    Schema(SourceSchema),
    Check(SourceCheck),
}

/// Print a source file with comments, to be filled in
#[derive(Args)]
#[command(after_help = "Example:\n  nabar source init far > far.toml")]
pub(crate) struct SourceInit {
    /// The kind of register
    pub(crate) kind: SourceKindArg,
}

/// Print the JSON Schema of source files, for editors and other programs
///
/// The first line that `source init` prints names it: an editor with support for TOML then shows and checks the keys.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar source schema > source.schema.json")]
pub(crate) struct SourceSchema {}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SourceKindArg {
    /// FaR: SOAP, with a client certificate
    Far,
    /// KRR: REST, with tokens of Maskinporten
    Krr,
    /// Kivra: REST, with tokens of its own
    Kivra,
}

/// Try a live register step by step: source file, certificates and keys, token, one call
#[derive(Args)]
#[command(after_help = "Example:\n  nabar source check far.toml --sender 164821000025")]
pub(crate) struct SourceCheck {
    /// The source file
    pub(crate) source: PathBuf,
    /// Organisation number of the sender, 10 or 12 digits (FaR only)
    #[arg(long, value_name = "ORGNR")]
    pub(crate) sender: Option<String>,
    /// The organisation for which a supplier asks KRR
    #[arg(long, value_name = "ORGNR")]
    pub(crate) on_behalf_of: Option<String>,
}

/// Ask again for the digital part of a split, shortly before dispatch
///
/// Writes the letters that still go to their operator, late-paper.csv with those that must be printed, and late-moved.csv
/// with those that have another operator now. The directory of the split stays as it is.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar recheck --source far.toml out/ -o out-today/")]
pub(crate) struct RecheckArgs {
    /// The source file of the register
    #[arg(long, value_name = "FILE")]
    pub(crate) source: PathBuf,
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
    /// The output directory of the split
    #[arg(value_name = "DIR")]
    pub(crate) split: PathBuf,
    /// Output directory; new or empty
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Remove the answers of live registers from a directory
///
/// Removes register files that `nabar resolve` made and that must not be kept any longer, and the journals of jobs.
/// Nothing else is touched.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar purge runs/ --all")]
pub(crate) struct PurgeArgs {
    /// The directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also remove register files that may still be kept
    #[arg(long)]
    pub(crate) all: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
