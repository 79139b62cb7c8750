//! Errors of data directories.

use super::format::LOG_VERSION;
use crate::files::explained;
use crate::snapshot::OpenError;
use std::io;
use std::path::{Path, PathBuf};

/// Files by which an extract is recognised.
const EXTRACT_FILES: [&str; 4] =
    ["register.toml", "kontaktregister.xml", "kontaktregister.xml.gz", "kontaktregister.xml.zst"];

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An error of the system.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The directory has no register file.
    #[error("{} is not a data directory: make one with `nabar init`", .0.display())]
    NotOne(PathBuf),
    /// The path is a file, such as a register file.
    #[error("{} is a file, not a data directory: `nabar init FILE DIR` makes one of a register file", .0.display())]
    IsFile(PathBuf),
    /// The directory has no register file, but those of an extract.
    #[error(
        "{} is an extract, not a register: make a register file of it with `nabar build`, or a data directory with \
         `nabar init`", .0.display()
    )]
    IsExtract(PathBuf),
    /// Another process is writing.
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
    /// Another program has replaced the register file, or written to it, and what is there now is not used.
    #[error("{}: what is there now in place of the register file is not used: {why}", path.display())]
    Replaced {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is a newer register file that is not used.
    #[error(
        "{}: this register file is newer than what is read, and is not used: {why}; remove it, or put a whole one in \
         its place",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Durable bytes have changed.
    #[error(
        "{}, byte {at}: {finding}; restore the directory from a copy, or replicate the register again",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Offset of the damaged frame, head or file.
        at: u64,
        /// What is wrong.
        finding: String,
    },
    /// A segment has a newer format version.
    #[error("{}: the log has format version {found}, this nabar reads up to {LOG_VERSION}: use a newer nabar", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Format version of the segment.
        found: u32,
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
        /// The last sequence number before the gap.
        after: u64,
    },
    /// The requested changes have been folded into the register file.
    #[error(
        "the changes after {asked} are no longer in the log, which begins after {oldest}: copy the register"
    )]
    Gone {
        /// The requested changes follow this sequence number.
        asked: u64,
        /// The oldest changes of the log follow this one.
        oldest: u64,
    },
    /// A sync or a write has failed, and the content of the disk is unknown.
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
    /// The error for a path that is no data directory: what it is instead.
    pub(super) fn not_one(path: &Path) -> StoreError {
        let is_extract = || EXTRACT_FILES.iter().any(|name| path.join(name).is_file());
        match path {
            // It may be one: it cannot be seen.
            path if is_denied(path) => {
                let denied = io::ErrorKind::PermissionDenied;
                let error = std::fs::metadata(path).err().unwrap_or_else(|| denied.into());
                StoreError::io(path, "")(error)
            }
            path if path.is_file() => StoreError::IsFile(path.to_owned()),
            path if is_extract() => StoreError::IsExtract(path.to_owned()),
            path => StoreError::NotOne(path.to_owned()),
        }
    }

    /// Whether the content of the directory is damaged, so that nothing but another copy of it helps.
    #[cfg(feature = "replica")]
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            StoreError::Damaged { .. } | StoreError::LogMissing { .. } => true,
            StoreError::Register { error, .. } => {
                matches!(error, OpenError::Foreign | OpenError::Length { .. } | OpenError::Damaged { .. })
            }
            _ => false,
        }
    }

    pub(super) fn io(directory: &Path, name: &str) -> impl Fn(io::Error) -> StoreError + use<> {
        let path = directory.join(name);
        move |error| StoreError::Io { path: path.clone(), error: explained(&path, error) }
    }
}

fn is_denied(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
