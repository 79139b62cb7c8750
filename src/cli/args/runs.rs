//! Arguments about print runs.

use clap::{Args, Subcommand};
use nabar::runs::Place;
use std::path::PathBuf;

/// How the letters of a print run are found.
#[derive(Args)]
#[command(next_help_heading = "Print runs")]
pub(crate) struct RunOptions {
    /// The list is a print run, which this file describes: docs/runs.md
    #[arg(long, value_name = "FILE")]
    pub(crate) run: Option<PathBuf>,
    /// Where records have their type: OFFSET:LENGTH in bytes, or the number of a column
    #[arg(long, value_name = "PLACE", conflicts_with = "run")]
    pub(crate) record_type: Option<Place>,
    /// A letter begins with each record of this type. Repeatable
    #[arg(long, value_name = "TYPE", requires = "record_type", conflicts_with = "run")]
    pub(crate) letter_start: Vec<String>,
    /// A letter begins where this place of records changes: OFFSET:LENGTH, or the number of a column
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["run", "letter_start"])]
    pub(crate) letter_key: Option<Place>,
    /// A letter begins with each record that matches this regular expression
    #[arg(long, value_name = "REGEX", conflicts_with_all = ["run", "letter_start", "letter_key"])]
    pub(crate) letter_match: Option<String>,
    /// Type of the records with the id, which is at --id-at or, of delimited records, in --id-column. Repeatable
    #[arg(long, value_name = "TYPE", requires = "record_type", conflicts_with = "run")]
    pub(crate) id_in: Vec<String>,
    /// Type of records before the first letter, which go to every file. Repeatable
    #[arg(long, value_name = "TYPE", requires = "record_type", conflicts_with = "run")]
    pub(crate) header_record: Vec<String>,
    /// Type of records behind the last letter, which go to every file. Repeatable
    #[arg(long, value_name = "TYPE", requires = "record_type", conflicts_with = "run")]
    pub(crate) trailer_record: Vec<String>,
    /// Number of letters in a trailer record, which each file gets for itself: 90:2:8 for records 90, byte 2, 8 bytes; 90:3
    /// for column 3. Repeatable
    #[arg(long, value_name = "TYPE:PLACE", requires = "record_type", conflicts_with = "run")]
    pub(crate) trailer_count: Vec<String>,
    /// Length in bytes of records without line ends
    #[arg(long, value_name = "BYTES", conflicts_with = "run")]
    pub(crate) record_length: Option<usize>,
    /// Character set of types and ids: utf-8, iso-8859-1, ebcdic-278, ebcdic-500 or ebcdic-1143
    #[arg(long, value_name = "NAME", conflicts_with = "run")]
    pub(crate) charset: Option<String>,
    /// The list is XML, and each letter is an element of this name
    #[arg(long, value_name = "NAME", requires = "id_path", conflicts_with_all = ["run", "record_type", "letter_key", "letter_match"])]
    pub(crate) letter_element: Option<String>,
    /// Where in the letter's element the id is: Recipient/PersonId, or Recipient/@id for an attribute
    #[arg(long, value_name = "PATH", requires = "letter_element")]
    pub(crate) id_path: Option<String>,
    /// The list is AFP, and this tag (TLE) of each page group has the id
    #[arg(long, value_name = "NAME", conflicts_with_all = ["run", "record_type", "letter_key", "letter_match", "letter_element"])]
    pub(crate) id_tag: Option<String>,
}

/// Describe print runs
///
/// A description says how the letters of a run are found: docs/runs.md. `nabar split --run` and `nabar check --run` use it.
#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(subcommand)]
    pub(crate) command: RunCommand,
}

#[derive(Subcommand)]
pub(crate) enum RunCommand {
    Describe(RunDescribe),
}

/// Look at a print run, propose a description, and show its first letters as they would be read
///
/// The description is printed on standard output. With --run, the letters are those of an existing description. Digits of ids
/// and texts are masked.
#[derive(Args)]
#[command(after_help = "Examples:\n  nabar run describe night.dat > run.toml\n  \
                  nabar run describe night.dat --run run.toml")]
pub(crate) struct RunDescribe {
    /// The run, optionally compressed with gzip or zstd
    pub(crate) file: PathBuf,
    /// The description to be tried
    #[arg(long, value_name = "FILE")]
    pub(crate) run: Option<PathBuf>,
    /// Norwegian ids
    #[arg(long)]
    pub(crate) norwegian: bool,
}
