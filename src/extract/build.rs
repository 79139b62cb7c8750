//! Extract to register file.

use super::description::Description;
use super::error::BuildError;
use super::rejected::{self, Rejected};
use super::{far, krr};
use crate::files::{self, NotReplaced};
use crate::register::Kind;
use crate::rejected::RejectedLimit;
use crate::snapshot::format::MAGIC;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Options of [`build`].
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Whether a row that would be rejected is an error.
    pub strict: bool,
    /// Most rows of a file that may be rejected.
    pub max_rejected: RejectedLimit,
    /// Whether the register may have no recipients.
    pub allow_empty: bool,
    /// Whether outputs may replace files that nabar did not write.
    pub force: bool,
}

/// Default limit of rejected rows of an extract and rejected lines of changes.
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

    /// Any number of rows may be rejected, even all of them.
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
    /// Rejected rows, by reason.
    pub set_aside: BTreeMap<String, u64>,
    /// The file that lists them.
    pub rejected: PathBuf,
}

/// Builds the register file `output` from the extract in a directory, and writes the rejected rows to
/// `OUTPUT.rejected.csv` beside it.
///
/// On any error the register file is as it was. If too many rows would be rejected, `OUTPUT.rejected.csv` lists them.
pub fn build(
    extract: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &BuildOptions,
) -> Result<Summary, BuildError> {
    let output = output.as_ref();
    build_with_rejected(extract.as_ref(), output, &rejected::beside(output), options)
}

/// As [`build`], with another file of rejected rows.
pub(crate) fn build_with_rejected(
    extract: &Path,
    output: &Path,
    list: &Path,
    options: &BuildOptions,
) -> Result<Summary, BuildError> {
    // The new file is renamed to `output`, which would replace a device.
    if std::fs::metadata(output).is_ok_and(|existing| !existing.is_file()) {
        return Err(NotReplaced::NotAFile(output.to_owned()).into());
    }
    let inputs = files::files_of(extract);
    files::check_is_no_input(output, &inputs)?;
    files::check_is_no_input(list, &inputs)?;
    if !options.force {
        files::check_replaceable(output, &inputs, |beginning| beginning.starts_with(&MAGIC))?;
        files::check_replaceable(list, &inputs, rejected::is_rejected_csv)?;
    }
    let description = Description::read(extract)?;
    let mut rejected = Rejected::create(list, options.strict, options.max_rejected)?;
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
