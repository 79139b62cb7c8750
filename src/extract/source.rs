//! The files of an extract: plain, `.gz` or `.zst`.

use super::BuildError;
use std::fs::File;
use std::io::{BufRead, BufReader};
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
    let failed = |error| BuildError::Read { path: path.clone(), error };
    let file = File::open(&path).map_err(failed)?;
    let reader: Box<dyn BufRead + Send> = match *ending {
        ".gz" => Box::new(BufReader::with_capacity(1 << 18, flate2::read::MultiGzDecoder::new(file))),
        ".zst" => {
            let decoder = zstd::Decoder::new(file).map_err(failed)?;
            Box::new(BufReader::with_capacity(1 << 18, decoder))
        }
        _ => Box::new(BufReader::with_capacity(1 << 18, file)),
    };
    Ok(Some(Source { name, path, reader }))
}

/// Opens a data file that must be there.
pub(super) fn open(extract: &Path, name: &'static str) -> Result<Source, BuildError> {
    open_if_there(extract, name)?.ok_or_else(|| BuildError::Missing { extract: extract.to_owned(), name })
}
