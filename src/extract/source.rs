//! The files of an extract: plain, `.gz` or `.zst`.

use super::BuildError;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Endings that a data file may have.
const ENDINGS: [&str; 3] = ["", ".gz", ".zst"];

/// A data file of an extract, opened.
pub(super) struct Source {
    /// Name within the extract, without the ending of a compression.
    pub(super) name: &'static str,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its uncompressed bytes.
    pub(super) reader: Box<dyn BufRead + Send>,
}

/// Opens a data file in one of its forms, `None` if there is none.
pub(super) fn open_if_there(extract: &Path, name: &'static str) -> Result<Option<Source>, BuildError> {
    let there = |ending: &&str| extract.join(format!("{name}{ending}")).is_file();
    let mut endings = ENDINGS.iter().filter(|ending| there(ending));
    let Some(ending) = endings.next() else { return Ok(None) };
    if endings.next().is_some() {
        return Err(BuildError::Twice { extract: extract.to_owned(), name });
    }
    let path = extract.join(format!("{name}{ending}"));
    let reader = decoded(&path).map_err(|error| BuildError::Read { path: path.clone(), error })?;
    Ok(Some(Source { name, path, reader }))
}

/// The bytes of a file, uncompressed if its name ends in `.gz` or `.zst`.
pub(crate) fn decoded(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let file = File::open(path)?;
    let ending = path.extension().and_then(|ending| ending.to_str());
    Ok(match ending {
        Some("gz") => Box::new(BufReader::with_capacity(1 << 18, flate2::read::MultiGzDecoder::new(file))),
        Some("zst") => Box::new(BufReader::with_capacity(1 << 18, zstd::Decoder::new(file)?)),
        _ => Box::new(BufReader::with_capacity(1 << 18, file)),
    })
}

/// Opens a data file that must be there.
pub(super) fn open(extract: &Path, name: &'static str) -> Result<Source, BuildError> {
    open_if_there(extract, name)?.ok_or_else(|| BuildError::Missing { extract: extract.to_owned(), name })
}
