//! The disk of a follower: that of the system, which fails when it is told to.

use crate::register::column::Storage;
use crate::store::disk::{Directory, Disk, DiskFile};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What goes wrong with writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// After so many operations there is no room.
    Full(u64),
    /// After so many operations the process ends: nothing is done any more.
    Killed(u64),
}

/// What goes wrong in a process, for all that it has open.
#[derive(Clone, Default)]
pub(super) struct Troubles(Arc<Mutex<Trouble>>);

impl Troubles {
    pub(super) fn set(&self, trouble: Trouble) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn get(&self) -> Trouble {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before something is written. `needs_room`: a full disk refuses it.
    fn operation(&self, needs_room: bool) -> io::Result<()> {
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *trouble {
            Trouble::None => Ok(()),
            Trouble::Killed(0) => Err(ErrorKind::NotConnected.into()),
            Trouble::Full(0) if needs_room => Err(ErrorKind::StorageFull.into()),
            Trouble::Full(0) => Ok(()),
            Trouble::Full(left) | Trouble::Killed(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// A directory on such a disk.
pub(super) struct Failing {
    disk: Directory,
    troubles: Troubles,
}

impl Failing {
    pub(super) fn new(path: &Path, troubles: &Troubles) -> Failing {
        Failing { disk: Directory(path.to_owned()), troubles: troubles.clone() }
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FailingFile { file, troubles: self.troubles.clone() })
    }
}

impl Disk for Failing {
    fn identity(&self) -> Option<(u64, u64)> {
        self.disk.identity()
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
        self.troubles.operation(true)?;
        Ok(self.file(self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.troubles.operation(false)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.troubles.operation(false)?;
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.troubles.operation(false)?;
        self.disk.sync_names()
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock()
    }
}

struct FailingFile {
    file: Box<dyn DiskFile>,
    troubles: Troubles,
}

impl DiskFile for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// What fails has written its first half, unless the process had ended before.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let before = self.troubles.get();
        self.troubles.operation(true).or_else(|error| {
            if before != Trouble::Killed(0) {
                self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            }
            Err(error)
        })?;
        // The last that a process does may be half of it, too.
        let done = if self.troubles.get() == Trouble::Killed(0) { bytes.len() / 2 } else { bytes.len() };
        self.file.write_at(&bytes[..done], offset)?;
        if done < bytes.len() { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    /// Room may be missed only when it is needed at last.
    fn sync(&self) -> io::Result<()> {
        self.troubles.operation(true)?;
        self.file.sync()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.troubles.operation(false)?;
        self.file.cut(length)
    }
}
