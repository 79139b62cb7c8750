//! The file operations of a data directory, behind a trait so that tests can inject failures.

use crate::files::{FileMode, Folder, is_regular, open_regular};
use crate::memory;
use crate::register::column::Storage;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

/// Distinguishes files that have the same path at different times: device, inode, time of the last write, length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64, i64, i64, u64);

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
    }

    /// Whether both are the same file, perhaps written to meanwhile.
    pub(super) fn is_same_file(&self, other: &FileId) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

/// A directory of files, by name. `docs/data-directory.md` states what is expected of the disk.
pub(crate) trait Disk: Send + Sync {
    /// Device and inode of the directory, `None` if it does not exist.
    fn identity(&self) -> Option<(u64, u64)>;
    /// Which file has a name now. On a disk that no other program writes to, all files may have the same.
    ///
    /// Errors: also if it is not a regular one.
    fn file_id(&self, name: &str) -> io::Result<FileId> {
        let _ = name;
        Ok(FileId::default())
    }
    /// Names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// The content of a file, which is not written to while the result is held.
    fn read(&self, name: &str) -> io::Result<Storage>;
    /// Opens an existing file.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a file in place of an existing one.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file, replacing an existing one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Takes the lock of the writer; `WouldBlock` if another process has it. A crash releases it.
    fn lock(&self) -> io::Result<Lock>;
}

/// The lock of a directory, until it is dropped.
pub(crate) struct Lock {
    /// The file that is locked.
    pub(super) file: FileId,
    _held: Box<dyn Send + Sync>,
}

impl Lock {
    pub(crate) fn new(file: FileId, held: impl Send + Sync + 'static) -> Lock {
        Lock { file, _held: Box::new(held) }
    }
}

/// An open file. Reads and writes are at offsets, so they may come in any order.
pub(crate) trait DiskFile: Send + Sync {
    fn length(&self) -> io::Result<u64>;
    /// Which file it is, as [`Disk::file_id`] says it of the name of this file.
    fn id(&self) -> io::Result<FileId> {
        Ok(FileId::default())
    }
    /// Reads up to the length of `buffer`, less only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes content and length durable. Also allowed on a file opened for reading only.
    fn sync(&self) -> io::Result<()>;
    /// Sets the length of the file.
    fn cut(&self, length: u64) -> io::Result<()>;
}

/// A directory of the file system.
pub(crate) struct FileSystem(pub(crate) PathBuf);

/// Name of the file that the writer locks. Only those who may write can open it, because a process
/// that can open a file can lock it.
pub(crate) const LOCK: &str = "lock";
/// Name of the file whose permissions are those of all files of the directory.
pub(crate) const MODE: &str = "mode";

impl Disk for FileSystem {
    fn identity(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.0).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    fn file_id(&self, name: &str) -> io::Result<FileId> {
        // Opening a pipe would wait for its other end.
        let metadata = fs::metadata(self.0.join(name))?;
        check_regular(&metadata)?;
        Ok(FileId::of(&metadata))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(&self.0)?.map(name).collect()
    }

    fn read(&self, name: &str) -> io::Result<Storage> {
        Ok(Arc::new(memory::map(&open_regular(&self.0.join(name))?)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let folder = Folder::open(&self.0)?;
        // Without permission to write, the file is opened for reading, and writing fails later.
        let file = match folder.open_file(name, true) {
            Err(error) if refuses_writing(&error) => folder.open_file(name, false)?,
            opened => {
                let file = opened?;
                folder.check_writable(&rustix::fs::fstat(&file)?)?;
                file
            }
        };
        check_regular(&file.metadata()?)?;
        Ok(Box::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let folder = Folder::open(&self.0)?;
        // The writer has locked the directory, so an existing file is one that a crash left.
        match folder.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = folder.create_file(name, mode_of_files(&folder))?;
        folder.adopt(&file)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let folder = Folder::open(&self.0)?;
        folder.rename(from, (&folder, OsStr::new(to)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Folder::open(&self.0)?.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn lock(&self) -> io::Result<Lock> {
        let folder = Folder::open(&self.0)?;
        folder.check_writer()?;
        // The lock of earlier versions had the mode of the files.
        let earlier = folder.entry(LOCK)?.map(|entry| FileMode::of_permissions(entry.st_mode));
        keep_mode(&folder, earlier.unwrap_or_else(FileMode::of_process))?;
        let mode = mode_of_files(&folder).of_writers();
        let file = folder.open_lock(LOCK, mode)?;
        folder.adopt(&file)?;
        // Best effort: only its owner may do so.
        let _ = file.set_permissions(Permissions::from_mode(mode.bits()));
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(Lock::new(FileId::of(&file.metadata()?), file))
    }
}

/// Chooses the mode of the files of a data directory, unless that was done before.
pub(crate) fn keep_mode(directory: &Folder, mode: FileMode) -> io::Result<()> {
    match directory.create_file(MODE, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        file => directory.adopt(&file?),
    }
}

/// The mode of the files of a data directory: that of its file `mode`, so that those who could read the first file can read all
/// later ones.
pub(crate) fn mode_of_files(directory: &Folder) -> FileMode {
    match directory.entry(MODE) {
        Ok(Some(entry)) if is_regular(&entry) => FileMode::of_permissions(entry.st_mode),
        _ => FileMode::of_process(),
    }
}

fn check_regular(metadata: &Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn refuses_writing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.metadata()?))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match FileExt::read_at(self, &mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// A file as a stream, for writers without offsets.
pub(crate) struct Stream<'f> {
    pub(crate) file: &'f dyn DiskFile,
    pub(crate) at: u64,
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Stream<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.file.length()?.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that was planted under the name of a segment leads to no other file.
    #[test]
    fn segments_are_not_opened_through_links() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("data")).expect("made");
        fs::write(path("precious"), b"precious").expect("written");
        std::os::unix::fs::symlink(path("precious"), path("data/segment")).expect("linked");
        let disk = FileSystem(path("data"));
        assert!(disk.open("segment").is_err());
        let created = disk.create("segment").expect("in place of the link");
        created.write_at(b"new", 0).expect("written");
        assert_eq!(fs::read(path("precious")).expect("read"), b"precious");
        assert_eq!(disk.open("segment").expect("a file").length().expect("known"), 3);
    }
}
