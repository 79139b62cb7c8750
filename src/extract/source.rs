//! The files of an extract: plain, `.gz` or `.zst`.

use super::error::BuildError;
use crate::decode::decompressed;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Endings that a data file may have.
const ENDINGS: [&str; 3] = ["", ".gz", ".zst"];

/// An open data file of an extract.
pub(super) struct Source {
    /// Name within the extract, without the ending of a compression.
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    /// Its decompressed bytes.
    pub(super) reader: Box<dyn BufRead + Send>,
}

/// Opens a data file in one of its forms, `None` if it is absent.
pub(super) fn open_if_present(extract: &Path, name: &'static str) -> Result<Option<Source>, BuildError> {
    let exists = |ending: &&str| extract.join(format!("{name}{ending}")).is_file();
    let mut endings = ENDINGS.iter().filter(|ending| exists(ending));
    let Some(ending) = endings.next() else { return Ok(None) };
    if endings.next().is_some() {
        return Err(BuildError::Twice { extract: extract.to_owned(), name });
    }
    let path = extract.join(format!("{name}{ending}"));
    let reader = decompressed(&path).map_err(|error| BuildError::Read { path: path.clone(), error })?;
    Ok(Some(Source { name, path, reader }))
}

/// Opens a data file that must exist.
pub(super) fn open(extract: &Path, name: &'static str) -> Result<Source, BuildError> {
    open_if_present(extract, name)?.ok_or_else(|| BuildError::Missing { extract: extract.to_owned(), name })
}
