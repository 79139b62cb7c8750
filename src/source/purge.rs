//! Removing answers: register files of one mailing, and the journals beside them.

use crate::files::{Folder, WorkDirectory};
use crate::snapshot::{OpenError, format};
use crate::store::SEGMENT_MAGIC;
use jiff::Timestamp;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why files cannot be removed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct PurgeError {
    /// The directory or file.
    pub path: PathBuf,
    /// The system's error.
    pub error: io::Error,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Register files with answers.
    pub registers: u64,
    /// Journals of answers.
    pub journals: u64,
    /// Register files with answers that may still be kept, and so were.
    pub kept: u64,
}

/// Removes, from a directory and not from those in it, the register files whose answers must not be kept any longer and
/// all journals of answers; with `all`, also the register files that may still be kept. Nothing else is touched: not a
/// complete register, nor a data directory's log.
pub fn purge(directory: impl AsRef<Path>, all: bool) -> Result<Purged, PurgeError> {
    let directory = directory.as_ref();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| PurgeError { path, error }
    };
    let folder = Folder::open(directory).map_err(failed(directory))?;
    // What killed jobs left of their work is removed with a new one.
    drop(WorkDirectory::create(directory).map_err(failed(directory))?);
    let mut purged = Purged::default();
    let now = Timestamp::now();
    for name in folder.names().map_err(failed(directory))? {
        let path = directory.join(&name);
        match found(&folder, &name) {
            Some(Found::Answers { delete_by }) if all || delete_by.is_none_or(|by| by <= now) => {
                folder.remove(&name).map_err(failed(&path))?;
                purged.registers += 1;
            }
            Some(Found::Answers { .. }) => purged.kept += 1,
            Some(Found::Journal) => {
                // Locked until it is removed.
                if let Some(_unused) = lock(&folder, &name) {
                    folder.remove(&name).map_err(failed(&path))?;
                    purged.journals += 1;
                }
            }
            None => {}
        }
    }
    folder.sync().map_err(failed(directory))?;
    Ok(purged)
}

/// Locks a journal. `None` if a job writes to it.
fn lock(folder: &Folder, name: &OsStr) -> Option<File> {
    let file = folder.open_file(name, false).ok()?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok().map(|()| file)
}

enum Found {
    /// A register file of answers; without the time if it cannot be read.
    Answers {
        delete_by: Option<Timestamp>,
    },
    Journal,
}

fn found(folder: &Folder, name: &OsStr) -> Option<Found> {
    let entry = folder.entry(name).ok()??;
    if !crate::files::is_regular(&entry) || !crate::files::is_ours(&entry) {
        return None;
    }
    let mut head = Vec::new();
    folder.open_file(name, false).ok()?.take(format::HEADER_BYTES as u64).read_to_end(&mut head).ok()?;
    let is_journal = Path::new(name).extension() == Some(OsStr::new("journal"));
    if is_journal && head.starts_with(&SEGMENT_MAGIC) {
        return Some(Found::Journal);
    }
    if !format::has_scope(&head) {
        return None;
    }
    let path = folder.path().join(name);
    let delete_by = match crate::Snapshot::open(path).and_then(|snapshot| snapshot.register()) {
        Ok(register) => register.scope().map(crate::register::Scope::delete_by),
        Err(OpenError::Io(_)) => return None,
        Err(_) => None,
    };
    Some(Found::Answers { delete_by })
}
