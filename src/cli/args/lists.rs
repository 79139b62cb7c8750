//! Arguments about questions and lists.

use super::runs::RunOptions;
use super::{date, duration, rejected_limit};
use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Args, ValueEnum};
use jiff::civil::Date;
use nabar::mailing::{Duplicates, GroupBy, Language, TwoIds};
use nabar::rejected::RejectedLimit;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct QuestionArgs {
    /// The register file or data directory
    #[arg(short, long, value_name = "FILE")]
    pub(crate) register: PathBuf,
    #[command(flatten)]
    pub(crate) of: SenderArgs,
}

/// A register, or the source file of a live one.
#[derive(Args)]
pub(crate) struct MailingArgs {
    /// The register file or data directory
    #[arg(short, long, value_name = "FILE", required_unless_present = "source")]
    pub(crate) register: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) of: SenderArgs,
    /// Ask the live register that this source file describes for the ids of the list
    #[arg(long, value_name = "FILE")]
    pub(crate) source: Option<PathBuf>,
    /// Ask the source only for the ids that the register file was not asked for, or whose answers are too old
    #[arg(long, requires = "register", requires = "source", conflicts_with = "known")]
    pub(crate) ask_missing: bool,
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
}

/// How a live register is asked.
#[derive(Args)]
pub(crate) struct AskingArgs {
    /// Take over the answers of an earlier `nabar resolve`, while they may be used
    #[arg(long, value_name = "FILE", requires = "source")]
    pub(crate) known: Option<PathBuf>,
    /// The organisation for which a supplier asks KRR
    #[arg(long, value_name = "ORGNR", requires = "source")]
    pub(crate) on_behalf_of: Option<String>,
}

#[derive(Args)]
pub(crate) struct SenderArgs {
    /// Organisation number of the sender, 10 or 12 digits (FaR only)
    #[arg(long, value_name = "ORGNR")]
    pub(crate) sender: Option<String>,
    /// Day for KRR's 18-month rule, and for the century of ids with ten digits [default: today, UTC]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = date)]
    pub(crate) date: Option<Date>,
    /// Refuse a register older than this, such as 24h or 7d (exit code 3)
    #[arg(long, value_name = "AGE", value_parser = duration)]
    pub(crate) max_age: Option<jiff::SignedDuration>,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// The list: CSV, fixed width or a print run, optionally compressed with gzip or zstd; - for standard input
    pub(crate) list: PathBuf,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// The rules that decide by which channel each letter goes: docs/channels.md
    #[arg(long, value_name = "FILE", conflicts_with = "postage")]
    pub(crate) rules: Option<PathBuf>,
    /// What happens to rows whose id occurs in an earlier row
    #[arg(long, default_value = "keep")]
    pub(crate) duplicates: DuplicatesArg,
    /// Maximum of rejected rows, as a number or a percentage; with more, or without rows, the job is refused (exit code
    /// 3). 100% allows everything
    #[arg(long, value_name = "N|N%", default_value = "50%", value_parser = rejected_limit)]
    pub(crate) max_rejected: RejectedLimit,
    /// Price of a letter on paper; with --digital-cost the report has the savings
    #[arg(long, value_name = "AMOUNT", value_parser = price, requires = "digital_cost", allow_negative_numbers = true)]
    pub(crate) postage: Option<f64>,
    /// Price of a digital letter
    #[arg(long, value_name = "AMOUNT", value_parser = price, requires = "postage", allow_negative_numbers = true)]
    pub(crate) digital_cost: Option<f64>,
    /// Currency of the prices, as the report shows it
    #[arg(long, value_name = "TEXT", requires = "postage")]
    pub(crate) currency: Option<String>,
    /// Letters by the text of a column, or by `age`, in the report: the column's name or number. Repeatable
    #[arg(long, value_name = "COLUMN|age")]
    pub(crate) group_by: Vec<GroupBy>,
    /// Groups with fewer letters are not shown, so that they point at no recipient
    #[arg(long, value_name = "N", default_value_t = 10, requires = "group_by")]
    pub(crate) smallest_group: u64,
    /// Language of the report, on the terminal and as a web page
    #[arg(long, default_value = "en")]
    pub(crate) lang: Lang,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors, no progress and no report
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How a list is read.
#[derive(Args)]
pub(crate) struct ReadingArgs {
    /// Column of the ids: its name in the header, or its number from 1 [default: detected]. Twice for rows with two
    /// ids, such as child and guardian
    #[arg(long = "id-column", value_name = "NAME|NUMBER", conflicts_with = "id_at")]
    pub(crate) id_columns: Vec<String>,
    /// Letters of a row with two ids [default: first-reachable]
    #[arg(long, requires = "id_columns")]
    pub(crate) two_ids: Option<TwoIdsArg>,
    /// Column in which other ids are expected, such as a guardian's: its name or number. Repeatable
    #[arg(long, value_name = "NAME|NUMBER", conflicts_with = "id_at")]
    pub(crate) expected_ids: Vec<String>,
    /// Reject rows that hold the id of another recipient outside the id column
    #[arg(long)]
    pub(crate) strict_rows: bool,
    /// The list has fixed width: the id begins at byte OFFSET of the row, from 0, and has LENGTH bytes
    #[arg(long, value_name = "OFFSET:LENGTH", value_parser = id_position)]
    pub(crate) id_at: Option<(usize, usize)>,
    /// Sheet of a workbook (.xlsx, .ods) [default: the one with ids]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["id_at", "delimiter"])]
    pub(crate) sheet: Option<String>,
    /// Delimiter of the columns [default: detected]
    #[arg(long, value_parser = Delimiter::parser(), conflicts_with = "id_at")]
    pub(crate) delimiter: Option<Delimiter>,
    /// Whether the list has a header
    #[arg(long, default_value = "auto")]
    pub(crate) header: HeaderArg,
    /// Number of lines above the header, or above the first row, that are not rows
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) skip_rows: u64,
    /// Whether the lines above the header are copied to the files of rows
    #[arg(long, default_value = "keep")]
    pub(crate) skipped: Skipped,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum HeaderArg {
    Auto,
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Skipped {
    Keep,
    Drop,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum TwoIdsArg {
    /// One letter, to the id that is reached best; to the first one if both are reached equally well
    FirstReachable,
    /// A letter to each id
    Both,
}

impl From<TwoIdsArg> for TwoIds {
    fn from(two_ids: TwoIdsArg) -> TwoIds {
        match two_ids {
            TwoIdsArg::FirstReachable => TwoIds::FirstReachable,
            TwoIdsArg::Both => TwoIds::Both,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DuplicatesArg {
    /// They go to the file of their outcome, and are counted
    Keep,
    /// They go to duplicates.csv, except the first row with the id
    SetAside,
}

impl From<DuplicatesArg> for Duplicates {
    fn from(duplicates: DuplicatesArg) -> Duplicates {
        match duplicates {
            DuplicatesArg::Keep => Duplicates::Keep,
            DuplicatesArg::SetAside => Duplicates::SetAside,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Lang {
    En,
    Sv,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Language {
        match lang {
            Lang::En => Language::English,
            Lang::Sv => Language::Swedish,
        }
    }
}

/// A delimiter, given as the character or by name.
#[derive(Clone, Copy)]
pub(crate) struct Delimiter(pub(crate) u8);

impl Delimiter {
    fn parser() -> impl TypedValueParser<Value = Delimiter> {
        const NAMES: [(&str, &str, u8); 4] =
            [(";", "semicolon", b';'), (",", "comma", b','), ("\t", "tab", b'\t'), ("|", "pipe", b'|')];
        let values = NAMES.map(|(character, name, _)| PossibleValue::new(name).alias(character));
        clap::builder::PossibleValuesParser::new(values).map(|given| {
            let known = NAMES.iter().find(|(character, name, _)| given == *character || given == *name);
            Delimiter(known.map_or(b';', |(.., byte)| *byte))
        })
    }
}

fn id_position(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once(':').and_then(|(offset, length)| {
        let (offset, length): (usize, usize) = (offset.parse().ok()?, length.parse().ok()?);
        // Larger values do not fit a row, and their sum could overflow.
        (length > 0 && offset < nabar::limits::ROW_BYTES_MAX && length < nabar::limits::ROW_BYTES_MAX)
            .then_some((offset, length))
    });
    parts.ok_or_else(|| "write OFFSET:LENGTH in bytes, the offset from 0, such as 0:12".to_owned())
}

fn price(text: &str) -> Result<f64, String> {
    let price: Option<f64> = text.replace(',', ".").parse().ok();
    price
        .filter(|price| (0.0..1e6).contains(price))
        .ok_or_else(|| "write an amount from 0, such as 8.50".to_owned())
}
