//! The directory of a sandbox.

use super::error::SandboxError;
use crate::files::{self, FileMode, Folder, WorkDirectory, read_regular_text};
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The file that marks the directory of a sandbox, and has its seed.
const MARK: &str = "sandbox.seed";
/// Longest file that is read again.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The directory: one that is kept, or one that ends with the sandbox.
pub(super) struct Place {
    path: PathBuf,
    /// Held, so that one sandbox at a time writes here.
    lock: OnceLock<File>,
    _passing: Option<WorkDirectory>,
}

impl Place {
    pub(super) fn new(state: Option<&Path>) -> Result<Place, SandboxError> {
        let (path, passing) = match state {
            Some(path) => {
                let failed = |error| SandboxError::Io(path.to_owned(), error);
                Folder::create_all(path, FileMode::PRIVATE).map_err(failed)?;
                (path.to_owned(), None)
            }
            None => {
                let work = WorkDirectory::temporary()?;
                let path = work.path().join("sandbox");
                Folder::create_all(&path, FileMode::PRIVATE)?;
                (path, Some(work))
            }
        };
        let failed = |error| SandboxError::Io(path.clone(), error);
        Ok(Place { path: path.canonicalize().map_err(failed)?, lock: OnceLock::new(), _passing: passing })
    }

    /// Takes the directory for one sandbox, before anything is written to it.
    ///
    /// Errors: another one runs there; those of [`seed`](Self::seed).
    pub(super) fn take(&self, seed: Option<u64>) -> Result<u64, SandboxError> {
        let seed = self.seed(seed)?;
        let failed = |error| SandboxError::Io(self.path.clone(), error);
        let folder = Folder::open(&self.path).map_err(failed)?;
        let lock = folder.open_own_lock("sandbox.lock", FileMode::PRIVATE).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SandboxError::Busy(self.path.clone())),
            locked => locked.map_err(|error| failed(error.into()))?,
        }
        let _ = self.lock.set(lock);
        Ok(seed)
    }

    /// The seed: the one that the directory was made with, or else the given one. Marks a new directory as that of a sandbox.
    ///
    /// Errors: the directory has something else, or another seed.
    fn seed(&self, given: Option<u64>) -> Result<u64, SandboxError> {
        if let Some(text) = self.read(MARK)? {
            let made = text.trim().strip_prefix("seed ").and_then(|seed| seed.parse().ok());
            let made = made.ok_or_else(|| SandboxError::Foreign(self.path.clone()))?;
            return match given.is_none_or(|given| given == made) {
                true => Ok(made),
                false => Err(SandboxError::Seed { path: self.path.clone(), made }),
            };
        }
        let mut entries =
            std::fs::read_dir(&self.path).map_err(|error| SandboxError::Io(self.path.clone(), error))?;
        if entries.next().is_some() {
            return Err(SandboxError::Foreign(self.path.clone()));
        }
        let seed = given.unwrap_or(1);
        self.write(MARK, format!("seed {seed}\n").as_bytes())?;
        Ok(seed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The text of a file, `None` if there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, SandboxError> {
        let path = self.join(name);
        match read_regular_text(&path, FILE_BYTES_MAX) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SandboxError::Io(path, error)),
        }
    }

    /// Writes a file that only this user can read.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), SandboxError> {
        let path = self.join(name);
        let failed = |error| SandboxError::Io(path.clone(), error);
        if let Some(parent) = path.parent() {
            Folder::create_all(parent, FileMode::PRIVATE).map_err(failed)?;
        }
        let write = |file: &mut File| io::Write::write_all(file, content);
        files::replace_with_mode(&path, FileMode::PRIVATE, write).map(drop).map_err(failed)
    }
}
