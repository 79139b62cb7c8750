//! Errors of building a register file.

use crate::decode::XmlError;
use crate::files::NotReplaced;
use crate::rejected::RejectedLimit;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::PathBuf;

/// Why a register file cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file of the extract cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The error of the system or the decoder.
        error: io::Error,
    },
    /// The directory has no description and no data, or does not exist.
    #[error("{} is not an extract: it has neither register.toml nor kontaktregister.xml", .0.display())]
    NotAnExtract(PathBuf),
    /// A file of the extract is missing.
    #[error("the extract {} has no {name} (also not as .gz or .zst)", extract.display())]
    Missing {
        /// Which extract.
        extract: PathBuf,
        /// Which file.
        name: &'static str,
    },
    /// A file of the extract exists in several forms.
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
    /// `register.toml` is invalid.
    #[error("{}: {finding}", path.display())]
    Description {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        finding: String,
    },
    /// A file as a whole is invalid.
    #[error("{}, line {line}: {finding}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where reading ended, from 1.
        line: u64,
        /// What is wrong.
        finding: String,
    },
    /// In a strict build: a row would have been rejected.
    #[error("{file}, line {line}: {reason}{}", in_column(column))]
    Strict {
        /// Which file.
        file: &'static str,
        /// Which line, from 1.
        line: u64,
        /// Name of the reason.
        reason: &'static str,
        /// Column at fault, empty if the reason concerns no single one.
        column: &'static str,
    },
    /// More rows would be rejected than allowed.
    #[error("{0}")]
    TooManyRejected(Box<TooManyRejected>),
    /// The extract has no recipients, and the options do not allow that.
    #[error("the extract has no recipients: with such a register every letter would go on paper")]
    Empty,
    /// An output would replace an input, or a file that nabar did not write.
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
        /// The error of the system.
        error: io::Error,
    },
}

fn in_column(column: &str) -> String {
    if column.is_empty() { String::new() } else { format!(" in column {column}") }
}

impl From<XmlError> for BuildError {
    fn from(error: XmlError) -> BuildError {
        match error {
            XmlError::Read { path, error } => BuildError::Read { path, error },
            XmlError::Malformed { path, line, finding } => BuildError::Malformed { path, line, finding },
        }
    }
}

/// More rows of a file of an extract were rejected than allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct TooManyRejected {
    /// Which file.
    pub file: &'static str,
    /// Rows of it that were rejected.
    pub rejected: u64,
    /// Rows of it.
    pub rows: u64,
    /// The limit.
    pub limit: RejectedLimit,
    /// The most frequent reason.
    pub reason: &'static str,
    /// Its column, empty if it concerns no single one.
    pub column: &'static str,
    /// Rows rejected for this reason.
    pub count: u64,
    /// The shapes of the column's first different values: letters as x, digits as 9.
    pub values: Vec<String>,
    /// The file that lists all rejected rows.
    pub listed: PathBuf,
}

impl Display for TooManyRejected {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let TooManyRejected { file, rejected, rows, limit, reason, column, count, values, listed } = self;
        write!(
            f,
            "{rejected} of {rows} rows of {file} would be rejected, {limit} are allowed; {count} of them are {reason}"
        )?;
        if !column.is_empty() {
            write!(f, " in column {column}")?;
        }
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            write!(f, ", with values such as {} (letters shown as x, digits as 9)", values.join(", "))?;
        }
        write!(f, "; {} lists them, and the earlier register file is as it was", listed.display())
    }
}
