//! Names of the files of a data directory.

use super::disk::{Disk, FileSystem, LOCK, MODE};
use super::error::StoreError;
use crate::files::{explained, read_regular_text};
use std::io;
use std::io::ErrorKind;
use std::path::Path;

/// Name of the register file at a sequence number.
pub(crate) fn register(sequence: u64) -> String {
    format!("register-{sequence:020}.nabar")
}

/// Name of the segment of the changes after a sequence number.
pub(crate) fn segment(after: u64) -> String {
    format!("changes-{after:020}.log")
}

/// Name of a file until it is complete.
pub(crate) fn partial(name: &str) -> String {
    format!(".{name}.partial")
}

/// Contents of a data directory, ascending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Sequence numbers of the register files.
    pub(crate) registers: Vec<u64>,
    /// The sequence numbers that the segments follow.
    pub(crate) segments: Vec<u64>,
    /// Incomplete files, left by a crash.
    pub(crate) partial: Vec<String>,
}

impl Contents {
    pub(crate) fn of(disk: &dyn Disk, path: &Path) -> Result<Contents, StoreError> {
        let mut contents = Contents::default();
        let names = disk.names().map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => StoreError::not_one(path),
            _ => StoreError::io(path, "")(error),
        });
        for name in names? {
            let number = |prefix: &str, suffix: &str| -> Option<u64> {
                let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
                digits.parse().ok().filter(|_| digits.len() == 20)
            };
            if let Some(sequence) = number("register-", ".nabar") {
                contents.registers.push(sequence);
            } else if let Some(after) = number("changes-", ".log") {
                contents.segments.push(after);
            } else if name.starts_with('.') && name.ends_with(".partial") {
                contents.partial.push(name);
            }
        }
        contents.registers.sort_unstable();
        contents.segments.sort_unstable();
        Ok(contents)
    }
}

/// Whether a data directory has a file of this name, complete or not.
pub(crate) fn is_file_of_data_directory(name: &str) -> bool {
    let is_between = |prefix: &str, suffix: &str| name.starts_with(prefix) && name.ends_with(suffix);
    let is_version = is_between("register-", ".nabar") || is_between("changes-", ".log");
    is_version || is_between(".", ".partial") || [LOCK, MODE, REJECTED, FEED_OF].contains(&name)
}

/// Name of the list of rejected rows of an extract, and of rejected lines of changes.
pub(super) const REJECTED: &str = "rejected.csv";

/// Whether a path is a data directory, with a register file.
pub fn is_data_directory(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let contents = Contents::of(&FileSystem(path.to_owned()), path);
    path.is_dir() && contents.is_ok_and(|contents| !contents.registers.is_empty())
}

/// File in the directory of a replica with the name of its register, as the source gives it.
pub(crate) const REPLICA_OF: &str = "replica-of";

/// File in a data directory that follows the feed of a live register, with the address of the register.
pub(crate) const FEED_OF: &str = "feed-of";

/// The register that a data directory is a replica of: `far` or `krr`, for a part followed by a space and the part.
/// `None` if it is not a replica. The changes of a replica come from its source only: others make it differ.
pub fn replica_of(directory: impl AsRef<Path>) -> io::Result<Option<String>> {
    mark(&directory.as_ref().join(REPLICA_OF))
}

/// The address of the live register whose feed a data directory follows. `None` if it follows none.
pub fn feed_of(directory: impl AsRef<Path>) -> io::Result<Option<String>> {
    mark(&directory.as_ref().join(FEED_OF))
}

/// Longest text of such a file.
const MARK_BYTES_MAX: u64 = 4096;

/// The text of a file that says where the changes of its directory come from.
fn mark(path: &Path) -> io::Result<Option<String>> {
    match read_regular_text(path, MARK_BYTES_MAX) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(explained(path, error)),
    }
}
