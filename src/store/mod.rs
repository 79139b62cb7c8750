//! Data directories: a register that changes, durably, while it is read.
//!
//! A directory holds a register file and the log of the changes after it. [`Writer`] applies changes,
//! one process at a time; [`Reader`] follows in any number of processes; a checkpoint makes a new
//! register file of both and begins a new segment of the log. `docs/data-directory.md` has the layout,
//! the commit protocol and why it is safe.
//!
//! ```
//! use nabar::store::{self, Lines, Reader, Writer};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let data = directory.path().join("far");
//! store::init(Path::new("fixtures/far"), &data)?;
//!
//! let writer = Writer::open(&data)?;
//! let mut reader = Reader::open(&data)?;
//! let line = br#"{"sequence":1001,"time":"2026-06-01T04:00:01Z",
//!     "remove_recipient":{"recipient_id":"196810199809"}}"#;
//! let line: Vec<u8> = line.iter().copied().filter(|&byte| byte != b'\n').collect();
//! let batch = writer.apply(Lines::parse(&line, writer.kind()), None)?;
//! assert_eq!((batch.from, batch.to), (1000, 1001));
//!
//! assert!(reader.refresh()?);
//! assert_eq!(reader.register().sequence(), 1001);
//! # Ok(())
//! # }
//! ```

mod batch;
mod checkpoint;
mod commit;
pub(crate) mod disk;
pub(crate) mod format;
mod history;
mod init;
mod load;
mod names;
mod reader;
mod sync;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

pub use batch::{ApplyError, Batch, Lines, SetAside, input};
pub use checkpoint::Checkpoint;
pub use format::{FRAME_HEAD_BYTES, FRAME_MAGIC, LOG_VERSION, SEGMENT_HEAD_BYTES, SEGMENT_MAGIC};
pub use history::{History, Log, changes, changes_of_frames};
pub(crate) use init::adopt;
pub use init::{InitError, init, init_with};
#[cfg(test)]
pub(crate) use load::Place;
pub use names::is_data_directory;
pub use reader::Reader;
pub use writer::{Pending, Recovered, Writer};

use crate::snapshot::OpenError;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of log after which it is folded into the register file, if nobody says another number.
pub const CHECKPOINT_AT: u64 = 64 << 20;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It has no register file.
    #[error("{} is no data directory: make one with `nabar init`", .0.display())]
    NotOne(PathBuf),
    /// Another process writes.
    #[error("another process is writing to {}: wait for it, or end it", .0.display())]
    Locked(PathBuf),
    /// The register file cannot be used.
    #[error("{}: {error}", path.display())]
    Register {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// Something that was durable is not what it was.
    #[error(
        "{}, byte {at}: {finding}; restore the directory from a copy, or replicate the register anew",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What does not hold.
        finding: String,
    },
    /// Segments are missing.
    #[error(
        "{}: the log after sequence {after} is missing: restore it, or make a new data directory of the \
         register file with `nabar init`",
        directory.display()
    )]
    LogMissing {
        /// The directory.
        directory: PathBuf,
        /// The last sequence number that is there.
        after: u64,
    },
    /// The changes asked for have been folded into the register file.
    #[error("the changes after {asked} are gone: the oldest here follow {oldest}; take the register itself")]
    Gone {
        /// What was asked for.
        asked: u64,
        /// From where on they are there.
        oldest: u64,
    },
    /// A sync or a write has failed, and what is on the disk is not known.
    #[error(
        "{}: an earlier write failed ({kind}), so nothing more is written: open the directory again",
        directory.display()
    )]
    Failed {
        /// The directory.
        directory: PathBuf,
        /// What failed.
        kind: io::ErrorKind,
    },
}

impl StoreError {
    fn io(directory: &Path, name: &str) -> impl Fn(io::Error) -> StoreError + use<> {
        let path = directory.join(name);
        move |error| StoreError::Io { path: path.clone(), error }
    }
}
