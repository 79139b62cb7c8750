//! A data directory on a disk: its files, and the errors that name them.

use super::disk::{Disk, DiskFile, FileId, FileSystem, LOCK, Lock, Stream};
use super::error::StoreError;
use super::format::{self, BadSegment, LOG_VERSION, SegmentHead, Sum};
use super::names::{self, Contents};
use crate::register::{Damage, Kind, Register};
use crate::snapshot::Snapshot;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Attempts to find a directory that is being replaced, and the time between them.
const IDENTITY_ATTEMPTS: usize = 20;
const IDENTITY_WAIT: Duration = Duration::from_millis(1);

/// A data directory on a disk.
#[derive(Clone)]
pub(crate) struct DataDirectory {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
}

impl DataDirectory {
    /// A directory of the file system; nothing is read yet.
    pub(crate) fn new(path: &Path) -> DataDirectory {
        DataDirectory { disk: Arc::new(FileSystem(path.to_owned())), path: path.to_owned() }
    }

    /// The error for one of its files, or for itself without a name. What is no file, but a directory, a pipe or a link, is
    /// damage: nabar makes none there.
    pub(super) fn io(&self, name: &str) -> impl Fn(io::Error) -> StoreError + use<> {
        let (directory, name) = (self.path.clone(), name.to_owned());
        move |error| {
            let path = directory.join(&name);
            match !name.is_empty() && path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                true => StoreError::Damaged { path, at: 0, finding: error.to_string() },
                false => StoreError::io(&directory, &name)(error),
            }
        }
    }

    pub(super) fn damaged(&self, name: &str, at: u64, finding: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.path.join(name), at, finding: finding.to_string() }
    }

    /// The error for a damaged register.
    pub(super) fn damaged_register(&self, damage: &Damage) -> StoreError {
        self.damaged("", 0, format!("the register: {damage}"))
    }

    /// Whether a file does not exist; false if that is unknown.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        self.disk.open(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Checks that a name leads to a file.
    pub(super) fn leads_to(&self, name: &str, opened: &FileId) -> Result<(), StoreError> {
        match self.disk.file_id(name) {
            Ok(found) if found.is_same_file(opened) => Ok(()),
            _ => Err(self.damaged(name, 0, "another program has replaced or removed it")),
        }
    }

    pub(super) fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, StoreError> {
        self.disk.open(name).map_err(self.io(name))
    }

    /// Locks the directory against other writers until the result is dropped.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        self.disk.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked(self.path.clone()),
            _ => self.io(LOCK)(error),
        })
    }

    /// Device and inode of a directory that existed before. While another directory replaces it, it may be absent for
    /// a moment.
    pub(super) fn identity(&self) -> Result<(u64, u64), StoreError> {
        for _ in 0..IDENTITY_ATTEMPTS {
            if let Some(identity) = self.disk.identity() {
                return Ok(identity);
            }
            std::thread::sleep(IDENTITY_WAIT);
        }
        Err(StoreError::NotOne(self.path.clone()))
    }

    pub(super) fn contents(&self) -> Result<Contents, StoreError> {
        Contents::of(&*self.disk, &self.path)
    }

    /// The register of a register file.
    pub(super) fn register(&self, sequence: u64) -> Result<Register, StoreError> {
        let name = names::register(sequence);
        let storage = self.disk.read(&name).map_err(self.io(&name))?;
        let register = Snapshot::of_storage(storage).and_then(|snapshot| snapshot.register());
        let register =
            register.map_err(|error| StoreError::Register { path: self.path.join(&name), error })?;
        if register.sequence() != sequence {
            let finding = format!("it is the register at sequence {}", register.sequence());
            return Err(self.damaged(&name, 0, finding));
        }
        Ok(register)
    }

    /// Writes a register file under a temporary name, makes it durable, verifies it and renames it.
    pub(super) fn write_register(
        &self,
        sequence: u64,
        write: impl FnOnce(Stream<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let name = names::register(sequence);
        let partial = names::partial(&name);
        let disk: &dyn Disk = &*self.disk;
        let written = (|| {
            let file = disk.create(&partial)?;
            write(Stream { file: &*file, at: 0 })?;
            file.sync()
        })();
        let checked = written.map_err(self.io(&name)).and_then(|()| self.verify_register(&partial));
        if checked.is_err() {
            // Best effort: the name of a leftover says what it is.
            let _ = disk.remove(&partial);
        }
        checked?;
        disk.rename(&partial, &name).and_then(|()| disk.sync_names()).map_err(self.io(&name))
    }

    /// Verifies a register file completely.
    fn verify_register(&self, name: &str) -> Result<(), StoreError> {
        let storage = self.disk.read(name).map_err(self.io(name))?;
        let snapshot = Snapshot::of_storage(storage)
            .map_err(|error| StoreError::Register { path: self.path.join(name), error })?;
        match snapshot.verify().first() {
            None => Ok(()),
            Some(finding) => Err(self.damaged(name, 0, finding)),
        }
    }

    /// Decodes the head of a segment.
    pub(super) fn segment_head(&self, name: &str, bytes: &[u8]) -> Result<SegmentHead, StoreError> {
        format::decode_segment_head(bytes).map_err(|bad| match bad {
            BadSegment::Head => {
                self.damaged(name, 0, "it is not a segment of a change log, or its head is damaged")
            }
            BadSegment::Version(found) => StoreError::Version { path: self.path.join(name), found },
        })
    }

    /// Makes an empty segment after a sequence number, durably. It replaces one of the same name.
    pub(super) fn new_segment(
        &self,
        kind: Kind,
        after: u64,
        sum: Sum,
    ) -> Result<Box<dyn DiskFile>, StoreError> {
        let name = names::segment(after);
        let partial = names::partial(&name);
        let head = format::encode_segment_head(&SegmentHead { version: LOG_VERSION, kind, after, sum });
        let disk: &dyn Disk = &*self.disk;
        let make = || {
            let file = disk.create(&partial)?;
            file.write_at(&head, 0)?;
            file.sync()?;
            disk.rename(&partial, &name)?;
            disk.sync_names()?;
            Ok(file)
        };
        make().map_err(self.io(&name))
    }

    /// Removes the register files and segments before the register file of a sequence number. Returns how many.
    pub(super) fn remove_before(&self, sequence: u64) -> Result<u64, StoreError> {
        let contents = self.contents()?;
        let registers = contents.registers.iter().filter(|&&number| number < sequence);
        let segments = contents.segments.iter().filter(|&&after| after < sequence);
        let names = segments.map(|&after| names::segment(after));
        let mut removed = 0;
        for name in registers.map(|&number| names::register(number)).chain(names) {
            // Oldest segment first, each durably: a crash leaves segments without a gap.
            self.disk.remove(&name).map_err(self.io(&name))?;
            self.disk.sync_names().map_err(self.io(""))?;
            removed += 1;
        }
        Ok(removed)
    }
}
