//! Extracts: the interchange form of registers, a directory of text files.
//!
//! `docs/extract.md` describes it. [`build`] makes a register file of one, [`export`] the reverse;
//! `build(export(x))` is `x`, byte for byte.

mod export;
mod far;
mod far_actors;
mod krr;
mod krr_xml;
mod rejected;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use export::{ExportError, export};
pub use rejected::{Reason, TooManyRejected};

pub(crate) use krr::person;

pub(crate) use krr_xml::Page;
pub(crate) use rejected::reason;
pub(crate) use source::decoded;

use crate::files::{self, NotReplaced};
use crate::identities::{Ordinal, Rejection, Today};
use crate::register::{Kind, moment};
use crate::rejected::RejectedLimit;
use jiff::Timestamp;
use jiff::tz::Offset;
use rejected::Rejected;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why no register file can be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file of the extract cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system or the decoder says.
        error: io::Error,
    },
    /// A file of the extract is missing.
    #[error("the extract {} has no {name} (also not as .gz or .zst)", extract.display())]
    Missing {
        /// Which extract.
        extract: PathBuf,
        /// Which file.
        name: &'static str,
    },
    /// A file of the extract is there in two forms.
    #[error("the extract {} has {name} more than once: leave one of its plain, .gz and .zst forms", extract.display())]
    Twice {
        /// Which extract.
        extract: PathBuf,
        /// Which file.
        name: &'static str,
    },
    /// A table lacks a column.
    #[error("{} has no column {column}: its first line must name the columns, separated by commas", path.display())]
    MissingColumn {
        /// Which file.
        path: PathBuf,
        /// Which column.
        column: &'static str,
    },
    /// `register.toml` is not what it must be.
    #[error("{}: {finding}", path.display())]
    Description {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        finding: String,
    },
    /// A file as a whole is not what it must be.
    #[error("{}, line {line}: {finding}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where reading ended, from 1.
        line: u64,
        /// What is wrong.
        finding: String,
    },
    /// With `--strict`: a row would have been set aside.
    #[error("{file}, line {line}: {reason}{}; leave --strict out to set such rows aside", in_column(column))]
    Strict {
        /// Which file.
        file: &'static str,
        /// Which line, from 1.
        line: u64,
        /// Why.
        reason: &'static str,
        /// Which column says so, empty if none.
        column: &'static str,
    },
    /// More rows would be set aside than allowed.
    #[error("{0}")]
    TooManyRejected(Box<TooManyRejected>),
    /// The extract has no recipient, and that was not asked for.
    #[error("the extract has no recipients: with such a register every letter would go on paper")]
    Empty,
    /// An output would replace a file that is not of nabar's making, or one of the extract's own.
    #[error(transparent)]
    NotReplaced(#[from] NotReplaced),
    /// More than a register can hold.
    #[error("the extract has more {what} than a register can hold ({max})")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The register file or `rejected.csv` cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

fn in_column(column: &str) -> String {
    if column.is_empty() { String::new() } else { format!(" in column {column}") }
}

/// How an extract is made a register file.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Whether a row that would be set aside is an error.
    pub strict: bool,
    /// Most rows of a file that may be set aside.
    pub max_rejected: RejectedLimit,
    /// Whether a register without recipients may be made.
    pub allow_empty: bool,
    /// Whether outputs may replace files that are not of nabar's making.
    pub force: bool,
}

/// Limit of rows of an extract, and of lines of changes, that are set aside where the user sets none.
pub const MAX_REJECTED: RejectedLimit = RejectedLimit::Percent(1.0);

impl Default for BuildOptions {
    fn default() -> BuildOptions {
        BuildOptions { strict: false, max_rejected: MAX_REJECTED, allow_empty: false, force: false }
    }
}

impl BuildOptions {
    /// Every row must be stored.
    pub fn strict() -> BuildOptions {
        BuildOptions { strict: true, ..BuildOptions::default() }
    }

    /// Every row may be set aside, and no recipient left.
    pub fn lenient() -> BuildOptions {
        let max_rejected = RejectedLimit::Percent(100.0);
        BuildOptions { max_rejected, allow_empty: true, ..BuildOptions::default() }
    }
}

/// What [`build`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which register.
    pub kind: Kind,
    /// Number of recipients in it.
    pub recipients: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// Rows set aside, by reason.
    pub set_aside: BTreeMap<String, u64>,
    /// Where they are named.
    pub rejected: PathBuf,
}

/// Makes the register file `output` from the extract in a directory, and `rejected.csv` beside it.
///
/// On any error the register file is as it was. If too many rows would be set aside, `rejected.csv` names them.
pub fn build(extract: &Path, output: &Path, options: &BuildOptions) -> Result<Summary, BuildError> {
    // The file is renamed over what is there: a device would be gone.
    if std::fs::metadata(output).is_ok_and(|there| !there.is_file()) {
        return Err(NotReplaced::NotAFile(output.to_owned()).into());
    }
    let inputs = files::files_of(extract);
    files::check_is_no_input(output, &inputs)?;
    files::check_is_no_input(&rejected::beside(output), &inputs)?;
    if !options.force {
        files::check_replaceable(output, &inputs, |beginning| {
            beginning.starts_with(&crate::snapshot::format::MAGIC)
        })?;
        files::check_replaceable(&rejected::beside(output), &inputs, rejected::is_own)?;
    }
    let description = describe(extract)?;
    let mut rejected = Rejected::create(output, options)?;
    let draft = match description.kind {
        Kind::Far => far::read(extract, &description, &mut rejected)?,
        Kind::Krr => krr::read(extract, &description, &mut rejected)?,
    };
    let recipients = draft.index.codes.as_codes().len() as u64 - 1;
    if let Some(too_many) = rejected.too_many() {
        rejected.finish()?;
        return Err(BuildError::TooManyRejected(Box::new(too_many)));
    }
    if recipients == 0 && !options.allow_empty {
        return Err(BuildError::Empty);
    }
    let written = draft.write(output);
    let file_bytes = written.map_err(|error| BuildError::Write { path: output.to_owned(), error })?;
    let set_aside = rejected.counts().iter().map(|(name, count)| (name.to_string(), *count)).collect();
    let rejected = rejected.finish()?;
    Ok(Summary { kind: description.kind, recipients, file_bytes, set_aside, rejected })
}

/// What `register.toml` says.
struct Description {
    kind: Kind,
    /// `None` leaves it to the data (`kontaktregister.xml` carries both).
    sequence: Option<u64>,
    as_of: Option<Timestamp>,
    path: PathBuf,
}

impl Description {
    fn error(&self, finding: impl Into<String>) -> BuildError {
        BuildError::Description { path: self.path.clone(), finding: finding.into() }
    }

    /// Sequence and time, which must be there or come with the data.
    fn version(&self, from_data: Option<(u64, Timestamp)>) -> Result<(u64, Timestamp), BuildError> {
        let sequence = self.sequence.or(from_data.map(|(sequence, _)| sequence));
        let as_of = self.as_of.or(from_data.map(|(_, as_of)| as_of));
        match (sequence, as_of, from_data) {
            (Some(sequence), _, Some((other, _))) if sequence != other => {
                Err(self.error(format!("sequence is {sequence}, but the data says {other}")))
            }
            (Some(sequence), Some(as_of), _) => Ok((sequence, as_of)),
            (None, ..) => Err(self.error("it has no sequence: add `sequence = 1000`")),
            (_, None, _) => Err(self.error("it has no as_of: add `as_of = \"2026-06-01T04:00:00Z\"`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterToml {
    kind: String,
    sequence: Option<u64>,
    as_of: Option<toml::Value>,
}

fn describe(extract: &Path) -> Result<Description, BuildError> {
    let path = extract.join("register.toml");
    let error = |finding: String| BuildError::Description { path: path.clone(), finding };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if extract.is_dir() && source::open_if_there(extract, krr_xml::FILE)?.is_some() {
                return Ok(Description { kind: Kind::Krr, sequence: None, as_of: None, path });
            }
            return Err(BuildError::Read { path, error });
        }
        Err(error) => return Err(BuildError::Read { path, error }),
    };
    let toml: RegisterToml = toml::from_str(&text).map_err(|problem| error(problem.message().to_owned()))?;
    let kind = match toml.kind.as_str() {
        "far" => Kind::Far,
        "krr" => Kind::Krr,
        _ => return Err(error("kind is neither \"far\" nor \"krr\"".to_owned())),
    };
    let as_of =
        match toml.as_of {
            None => None,
            Some(value) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let time = moment::parse(&text);
                Some(time.ok_or_else(|| {
                    error("as_of is no RFC 3339 time such as 2026-06-01T04:00:00Z".to_owned())
                })?)
            }
        };
    Ok(Description { kind, sequence: toml.sequence, as_of, path })
}

/// The day that tells centuries in an extract: the one it speaks for, never today's, so that the same
/// extract always makes the same file.
fn day_of(as_of: Timestamp) -> Today {
    let date = Offset::UTC.to_datetime(as_of).date();
    Today::new(date.year() as u32, date.month() as u32, date.day() as u32).unwrap_or(Today::CONTRACT)
}

/// Why an identity of an extract is refused.
pub(crate) fn identity_reason(rejection: Rejection, column: &'static str) -> Reason {
    rejected::reason(rejection.name(), column)
}

/// Removes all but the first of the rows for each recipient, and sets them aside by their lines. `rows` are
/// sorted by ordinal, those for the same recipient in the order of the file.
fn set_doubles_aside<R>(
    rows: &mut Vec<R>,
    of: impl Fn(&R) -> (Ordinal, u32),
    file: &'static str,
    column: &'static str,
    rejected: &mut Rejected,
) -> Result<(), BuildError> {
    let (mut last, mut doubles) = (None, Vec::new());
    rows.retain(|row| {
        let (ordinal, line) = of(row);
        let double = last.replace(ordinal) == Some(ordinal);
        if double {
            doubles.push(line);
        }
        !double
    });
    doubles.sort_unstable();
    let mut doubles = doubles.into_iter();
    doubles.try_for_each(|line| {
        rejected.push(file, line.into(), rejected::reason("duplicate_recipient", column))
    })
}
