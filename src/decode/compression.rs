//! Compressed files.

use crate::files::explained;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

const BUFFER_BYTES: usize = 1 << 18;

/// The bytes of a file, decompressed if its name ends in `.gz` or `.zst`.
pub(crate) fn decompressed(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(|error| explained(path, error))?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    Ok(match extension {
        Some("gz") => {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::read::MultiGzDecoder::new(file)))
        }
        Some("zst") => Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::new(file)?)),
        _ => Box::new(BufReader::with_capacity(BUFFER_BYTES, file)),
    })
}
