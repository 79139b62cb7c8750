//! Makes synthetic registers, mailing lists and streams of changes of any size: the same bytes for the same
//! arguments, on every machine.
//!
//! The package does not use nabar, so that its check digits and spellings are a second opinion.

mod actors;
mod calendar;
mod changes;
mod csv;
mod dirt;
mod extract;
mod far;
mod identity;
mod json;
mod krr;
mod krr_json;
mod krr_xml;
mod list;
mod more_dirt;
mod population;
mod random;
mod row;
mod spelling;
mod text;
mod universe;
mod words;

use std::error::Error;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use calendar::Moment;
use extract::{Header, Result};
use identity::Register;
use more_dirt::{Kinds, ListDirt};
use row::{Delimiter, Dialect, Encoding, IdColumn, LineEnd, Quotes};

/// Makes synthetic registers, mailing lists and streams of changes of any size from a seed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A Swedish extract: operators, senders, dispatchers and recipients
    Far(FarArguments),
    /// A Norwegian extract: persons, as JSON lines or as the XML export
    Krr(KrrArguments),
    /// A mailing list for the recipients of an extract
    List(ListArguments),
    /// Changes that follow an extract, as JSON lines
    ///
    /// The first change has the number after the extract's; each is consistent with those before it. A
    /// stream of 300 changes or more has every kind of change.
    Changes(ChangesArguments),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Random,
    Id,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Xml,
}

/// Arguments for both kinds of extract.
#[derive(Args)]
struct ExtractArguments {
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Order of the rows
    #[arg(long, value_enum, default_value_t = Order::Random)]
    order: Order,
    /// Draw identity numbers only from series that are never assigned
    #[arg(long)]
    test_numbers: bool,
    /// Number of the register's last change
    #[arg(long, default_value_t = 1000)]
    sequence: u64,
    /// The time the extract was made
    #[arg(long, default_value = "2026-06-01T04:00:00Z", value_parser = Moment::parse)]
    as_of: Moment,
    /// Directory to write to
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Args)]
struct FarArguments {
    /// Number of recipients
    #[arg(long)]
    recipients: u64,
    /// Number of senders
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u16).range(1..=240))]
    senders: u16,
    #[command(flatten)]
    extract: ExtractArguments,
}

#[derive(Args)]
struct KrrArguments {
    /// Number of persons
    #[arg(long)]
    persons: u64,
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    #[command(flatten)]
    extract: ExtractArguments,
}

#[derive(Args)]
struct ListArguments {
    /// Directory of the extract the list is for
    #[arg(long)]
    extract: PathBuf,
    /// Number of rows, the header not counted
    #[arg(long)]
    rows: u64,
    /// Seed of all random choices
    #[arg(long, default_value_t = 2)]
    seed: u64,
    /// Share of the distinct ids that are in the register
    #[arg(long, default_value = "0.65", value_parser = millionths)]
    hits: u64,
    /// Share of the rows that are damaged
    #[arg(long, default_value = "0.01", value_parser = millionths)]
    dirt: u64,
    /// Which kinds of damage are drawn
    #[arg(long, value_enum, default_value_t = Kinds::Usual)]
    dirt_kinds: Kinds,
    /// Damage of the list as a whole; several with commas, or again for each
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    dirt_list: Vec<ListDirt>,
    /// Share of the rows that repeat another row's id
    #[arg(long, default_value = "0.005", value_parser = millionths)]
    duplicates: u64,
    /// Share of the ids that are not spelt canonically
    #[arg(long, default_value = "0.02", value_parser = millionths)]
    spellings: u64,
    /// What separates the columns
    #[arg(long, value_enum, default_value_t = Delimiter::Semicolon)]
    dialect: Delimiter,
    #[arg(long, value_enum, default_value_t = Quotes::None)]
    quotes: Quotes,
    #[arg(long, value_enum, default_value_t = LineEnd::Lf)]
    line_end: LineEnd,
    #[arg(long, value_enum, default_value_t = Encoding::Utf8)]
    encoding: Encoding,
    /// Begin with the first row instead of the names of the columns
    #[arg(long)]
    no_header: bool,
    #[arg(long, value_enum, default_value_t = IdColumn::First)]
    id_column: IdColumn,
    /// Order of the rows
    #[arg(long, value_enum, default_value_t = Order::Random)]
    order: Order,
    /// Draw the ids that are not in the register only from series that are never assigned
    #[arg(long)]
    test_numbers: bool,
    /// File to write
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Args)]
#[command(after_help = "Example:\n  nabar-generate changes fixtures/far --count 2000 -o changes.jsonl")]
struct ChangesArguments {
    /// Directory of the extract that the changes follow
    extract: PathBuf,
    /// Number of changes
    #[arg(long)]
    count: u64,
    /// Seed of all random choices
    #[arg(long, default_value_t = 3)]
    seed: u64,
    /// Draw the ids of new recipients only from series that are never assigned
    #[arg(long)]
    test_numbers: bool,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Parses a share from 0 to 1, with at most six decimals kept.
fn millionths(text: &str) -> std::result::Result<u64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("{text} is not between 0 and 1"));
    }
    Ok((share * 1e6).round() as u64)
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Far(arguments) => far(&arguments),
        Command::Krr(arguments) => krr(&arguments),
        Command::List(arguments) => list(&arguments),
        Command::Changes(arguments) => changes(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nabar-generate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn far(arguments: &FarArguments) -> Result<()> {
    let extract = &arguments.extract;
    let options = far::Options {
        recipients: arguments.recipients,
        senders: usize::from(arguments.senders),
        seed: extract.seed,
        ordered: extract.order == Order::Id,
        test_numbers: extract.test_numbers,
    };
    far::write(&extract.output, &header(Register::Far, extract), &options)
}

fn krr(arguments: &KrrArguments) -> Result<()> {
    let extract = &arguments.extract;
    let options = krr::Options {
        persons: arguments.persons,
        seed: extract.seed,
        ordered: extract.order == Order::Id,
        test_numbers: extract.test_numbers,
        xml: arguments.format == Format::Xml,
    };
    krr::write(&extract.output, &header(Register::Krr, extract), &options)
}

fn header(register: Register, extract: &ExtractArguments) -> Header {
    Header { register, sequence: extract.sequence, as_of: extract.as_of }
}

fn list(arguments: &ListArguments) -> Result<()> {
    let options = list::Options {
        rows: arguments.rows,
        seed: arguments.seed,
        hits: arguments.hits,
        dirt: arguments.dirt,
        dirt_kinds: arguments.dirt_kinds,
        dirt_list: arguments.dirt_list.clone(),
        duplicates: arguments.duplicates,
        spellings: arguments.spellings,
        ordered: arguments.order == Order::Id,
        test_numbers: arguments.test_numbers,
        dialect: Dialect {
            delimiter: arguments.dialect,
            quotes: arguments.quotes,
            line_end: arguments.line_end,
            encoding: arguments.encoding,
            header: !arguments.no_header,
            id_column: arguments.id_column,
        },
    };
    let summary = list::write(&arguments.extract, &arguments.output, &options)?;
    println!(
        "{} rows: {} ids in the register, {} not, {} duplicates; {} rows dirty",
        summary.rows, summary.in_register, summary.not_in_register, summary.duplicates, summary.dirty
    );
    Ok(())
}

fn changes(arguments: &ChangesArguments) -> Result<()> {
    let options = changes::Options {
        count: arguments.count,
        seed: arguments.seed,
        test_numbers: arguments.test_numbers,
    };
    match &arguments.output {
        Some(path) => changes::write(&arguments.extract, &mut extract::create(path)?, &options),
        None => {
            let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            changes::write(&arguments.extract, &mut out, &options).or_else(unless_closed)
        }
    }
}

/// A reader that closes the pipe early is not an error.
fn unless_closed(error: Box<dyn Error>) -> Result<()> {
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(closed) { Ok(()) } else { Err(error) }
}
