//! Data directories: registers that change durably while they are read.
//!
//! A directory holds a register file and the log of the changes after it. A [`Writer`] applies changes, one
//! process at a time; [`Reader`]s follow in any number of processes; a checkpoint folds the log into a new
//! register file and begins a new segment. `docs/data-directory.md` specifies the layout and the commit
//! protocol, and argues why it is safe.
//!
//! ```
//! use nabar::store::{self, Lines, Reader, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let data = directory.path().join("far");
//! store::init("fixtures/far", &data)?;
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

mod assembly;
mod batch;
mod checkpoint;
mod commit;
mod directory;
pub(crate) mod disk;
mod error;
pub(crate) mod format;
mod history;
mod init;
mod load;
mod log;
mod names;
mod open_files;
mod reader;
mod register_file;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(feature = "replica")]
mod watch;
mod writer;

pub use batch::{ApplyError, Batch, Lines, SetAside, input};
pub use checkpoint::Checkpoint;
#[cfg(test)]
pub(crate) use directory::DataDirectory;
#[cfg(feature = "service")]
pub(crate) use disk::FileId;
#[cfg(feature = "service")]
pub(crate) use disk::mode_of_files;
pub use error::StoreError;
pub use format::{FRAME_HEAD_BYTES, FRAME_MAGIC, LOG_VERSION, SEGMENT_HEAD_BYTES, SEGMENT_MAGIC};
pub use history::{History, Log, changes, changes_of_frames};
#[cfg(feature = "source")]
pub(crate) use init::init_from_bytes;
pub use init::{InitError, init, init_with};
pub(crate) use init::{adopt, create_directory_like};
#[cfg(feature = "source")]
pub(crate) use names::FEED_OF;
#[cfg(feature = "replica")]
pub(crate) use names::REPLICA_OF;
pub(crate) use names::is_file_of_data_directory;
pub use names::{feed_of, is_data_directory, replica_of};
#[cfg(feature = "replica")]
pub(crate) use open_files::OpenFiles;
pub use reader::Reader;
#[cfg(feature = "service")]
pub(crate) use register_file::verify;
#[cfg(feature = "replica")]
pub(crate) use register_file::{sequence_of_names, verify_newest};
#[cfg(feature = "replica")]
pub(crate) use watch::FileWatch;
pub use writer::{Pending, Recovered, Writer};

/// Default length of the log at which it is folded into the register file.
pub const CHECKPOINT_AT: u64 = 64 << 20;
