//! The file operations of a data directory, behind a trait so that tests can inject failures.

use crate::files::{FileMode, Folder, is_regular};
use crate::memory;
use crate::register::column::Storage;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

/// A directory of files, by name. `docs/data-directory.md` states what is expected of the disk.
pub(crate) trait Disk: Send + Sync {
    /// Device and inode of the directory, `None` if it does not exist.
    fn identity(&self) -> Option<(u64, u64)>;
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
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file. Reads and writes are at offsets, so they may come in any order.
pub(crate) trait DiskFile: Send + Sync {
    fn length(&self) -> io::Result<u64>;
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

/// Name of the file that the writer locks. Its permissions are those of all files of the directory.
pub(crate) const LOCK: &str = "lock";

impl Disk for FileSystem {
    fn identity(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.0).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(&self.0)?.map(name).collect()
    }

    fn read(&self, name: &str) -> io::Result<Storage> {
        Ok(Arc::new(memory::map_path(&self.0.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let folder = Folder::open(&self.0)?;
        // Without permission to write, the file is opened for reading, and writing fails later.
        let file = match folder.open_file(name, true) {
            Err(error) if refuses_writing(&error) => folder.open_file(name, false)?,
            opened => opened?,
        };
        Ok(Box::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let folder = Folder::open(&self.0)?;
        // The writer has locked the directory, so an existing file is one that a crash left.
        match folder.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Box::new(folder.create_file(name, mode_of_files(&folder))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let file = Folder::open(&self.0)?.open_lock(LOCK, FileMode::of_process())?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(Box::new(file))
    }
}

/// The mode of the files of a data directory: that of its lock, so that those who could read the first file can read all
/// later ones.
pub(crate) fn mode_of_files(directory: &Folder) -> FileMode {
    match directory.entry(LOCK) {
        Ok(Some(entry)) if is_regular(&entry) => FileMode::of_permissions(entry.st_mode),
        _ => FileMode::of_process(),
    }
}

fn refuses_writing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
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
