//! The disk of a follower: the system's, with injected faults.

use crate::register::column::Storage;
use crate::store::disk::{Disk, DiskFile, FileId, FileSystem, Lock};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A fault of writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The disk is full after so many operations.
    Full(u64),
    /// The process ends after so many operations: nothing is done any more.
    Killed(u64),
}

/// The fault of a process, shared by all its open files.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Fault>>);

impl Faults {
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(crate) fn get(&self) -> Fault {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called before each write. `needs_space`: a full disk refuses it.
    fn operation(&self, needs_space: bool) -> io::Result<()> {
        let mut fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *fault {
            Fault::None => Ok(()),
            Fault::Killed(0) => Err(ErrorKind::NotConnected.into()),
            Fault::Full(0) if needs_space => Err(ErrorKind::StorageFull.into()),
            Fault::Full(0) => Ok(()),
            Fault::Full(left) | Fault::Killed(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// A directory on a disk with faults.
pub(crate) struct Failing {
    disk: FileSystem,
    faults: Faults,
}

impl Failing {
    pub(crate) fn new(path: &Path, faults: &Faults) -> Failing {
        Failing { disk: FileSystem(path.to_owned()), faults: faults.clone() }
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FailingFile { file, faults: self.faults.clone() })
    }
}

impl Disk for Failing {
    fn identity(&self) -> Option<(u64, u64)> {
        self.disk.identity()
    }

    fn file_id(&self, name: &str) -> io::Result<FileId> {
        self.disk.file_id(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn read(&self, name: &str) -> io::Result<Storage> {
        self.disk.read(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.faults.operation(true)?;
        Ok(self.file(self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.operation(false)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.operation(false)?;
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.faults.operation(false)?;
        self.disk.sync_names()
    }

    fn lock(&self) -> io::Result<Lock> {
        self.disk.lock()
    }
}

struct FailingFile {
    file: Box<dyn DiskFile>,
    faults: Faults,
}

impl DiskFile for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// A failing write has written its first half, unless the process had ended before.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let before = self.faults.get();
        self.faults.operation(true).or_else(|error| {
            if before != Fault::Killed(0) {
                self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            }
            Err(error)
        })?;
        // The last write of a process may be incomplete too.
        let done = if self.faults.get() == Fault::Killed(0) { bytes.len() / 2 } else { bytes.len() };
        self.file.write_at(&bytes[..done], offset)?;
        if done < bytes.len() { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    /// A full disk may be reported by the sync only.
    fn sync(&self) -> io::Result<()> {
        self.faults.operation(true)?;
        self.file.sync()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.faults.operation(false)?;
        self.file.cut(length)
    }
}
