//! Arguments about channel rules.

use super::lists::{QuestionArgs, ReadingArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Check channel rules, and explain what they decide
///
/// Rules decide by which channel each letter goes: docs/channels.md. `nabar split --rules` and `nabar check --rules` use them.
#[derive(Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

#[derive(Subcommand)]
pub(crate) enum RulesCommand {
    Check(RulesCheck),
    Explain(RulesExplain),
    Schema(RulesSchema),
}

/// Check a file of rules: its lines, that its lists exist, and which rules can never apply
///
/// With a list and a register, also the ids of its lists, and how many letters each rule decides.
#[derive(Args)]
#[command(after_help = "Examples:\n  nabar rules check rules.toml\n  \
                  nabar rules check rules.toml list.csv -r far.nabar --sender 164821000025")]
pub(crate) struct RulesCheck {
    /// The file of rules
    #[arg(value_name = "RULES")]
    pub(crate) rules: PathBuf,
    /// The list: CSV or fixed width, optionally compressed with gzip or zstd
    #[arg(requires = "register")]
    pub(crate) list: Option<PathBuf>,
    /// The register file or data directory
    #[arg(short, long, value_name = "FILE", requires = "list")]
    pub(crate) register: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) of: super::SenderArgs,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Explain a letter: each rule in turn, what it saw, and which one applies
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nabar rules explain rules.toml -r far.nabar --sender 164821000025 --row 3 list.csv\n  \
                  nabar rules explain rules.toml -r far.nabar --sender 164821000025 196810199809 --cell pages=2"
)]
pub(crate) struct RulesExplain {
    /// The file of rules
    #[arg(value_name = "RULES")]
    pub(crate) rules: PathBuf,
    /// The id of a recipient; with --row the list
    #[arg(value_name = "ID|LIST")]
    pub(crate) subject: String,
    /// The row of the list, counted from 1 as in feedback.csv
    #[arg(long, value_name = "N")]
    pub(crate) row: Option<u64>,
    /// The cell of a column that the rules read, of a letter that is not in a list. Repeatable
    #[arg(long = "cell", value_name = "COLUMN=TEXT", conflicts_with = "row", value_parser = cell)]
    pub(crate) cells: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
}

/// Print the JSON Schema of files of rules, for editors and checks
#[derive(Args)]
#[command(after_help = "Example:\n  nabar rules schema > rules.schema.json")]
pub(crate) struct RulesSchema {}

fn cell(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').map(|(column, cell)| (column.to_owned(), cell.trim().to_owned()));
    parts.ok_or_else(|| "write COLUMN=TEXT".to_owned())
}
