//! Files and directories that are not complete yet.
//!
//! Each has a random name beside its final one, `.NAME.RANDOM.partial`, and is created exclusively, so nothing that
//! exists is written to. It is locked while it is written: another writer of the same name finds the lock and ends. A
//! crash releases the lock, and the next writer removes what is left; it takes only what belongs to the same user, has the
//! form of such a name, is a regular file (or a directory with a lock that names it), and is not locked.

use super::folder::{Folder, is_ours, is_regular};
use super::mode::FileMode;
use super::names::with_suffix;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Hexadecimal digits of the random part of a name.
const RANDOM_DIGITS: usize = 16;
const SUFFIX: &[u8] = b".partial";
/// Attempts to find a name that no other writer has or removes at the same time.
const ATTEMPTS: usize = 32;
/// File in an incomplete directory that is locked, and holds the directory's name.
pub(crate) const LOCK: &str = "lock";

/// The part of an incomplete file's name that belongs to its final name.
fn prefix(name: &OsStr) -> Vec<u8> {
    // Cut as if the random part belonged to the name.
    let rest = ".".repeat(2 + RANDOM_DIGITS + SUFFIX.len());
    let fitting = with_suffix(name, &rest);
    let mut prefix = vec![b'.'];
    prefix.extend(&fitting.as_bytes()[..fitting.len() - rest.len()]);
    prefix.push(b'.');
    prefix
}

fn random_name(name: &OsStr) -> io::Result<OsString> {
    let mut random = [0; RANDOM_DIGITS / 2];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut bytes = prefix(name);
    bytes.extend(format!("{:016x}", u64::from_le_bytes(random)).bytes());
    bytes.extend(SUFFIX);
    Ok(OsStr::from_bytes(&bytes).to_owned())
}

/// Whether `entry` is the name of an incomplete file or directory that becomes `name`.
pub(crate) fn is_partial_of(entry: &OsStr, name: &OsStr) -> bool {
    let middle = entry.as_bytes().strip_prefix(&prefix(name)[..]).and_then(|rest| rest.strip_suffix(SUFFIX));
    middle.is_some_and(|digits| digits.len() == RANDOM_DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Takes a lock; `None` if another writer has it.
fn try_lock(file: &File) -> io::Result<Option<()>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What incomplete files of a name mean for a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// A writer of the same name is an error, `WouldBlock`.
    Exclude,
    /// There may be others.
    Allow,
}

/// An incomplete file. Dropping it removes it.
pub(crate) struct PartialFile {
    folder: Folder,
    name: OsString,
    target: OsString,
    /// Locked.
    file: File,
    mode: FileMode,
    finished: bool,
}

impl PartialFile {
    /// Begins a file that will be `path`, and removes what a crash left of earlier ones.
    ///
    /// Errors: I/O errors; `WouldBlock` if another process or thread is writing a file for the same path.
    pub(crate) fn begin(path: &Path, mode: FileMode) -> io::Result<PartialFile> {
        let (folder, target) = Folder::of(path)?;
        remove_leftovers(&folder, target, Others::Exclude, remove_stale_file)?;
        for _ in 0..ATTEMPTS {
            let name = random_name(target)?;
            let file = match folder.create_file(&name, FileMode::PRIVATE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // Another writer may take it for a leftover until it is locked.
            if try_lock(&file)?.is_some() && file.metadata()?.nlink() > 0 {
                let target = target.to_owned();
                return Ok(PartialFile { folder, name, target, file, mode, finished: false });
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// The file, for reading and writing.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the file durable and renames it to its final name, durably. Returns its length.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.file.sync_all()?;
        let length = self.file.metadata()?.len();
        self.rename()?;
        self.folder.sync()?;
        Ok(length)
    }

    /// As [`finish`](Self::finish), unless a file has the final name. Errors: `AlreadyExists`.
    pub(crate) fn finish_new(mut self) -> io::Result<()> {
        if self.mode != FileMode::PRIVATE {
            rustix::fs::fchmod(&self.file, self.mode.raw())?;
        }
        self.file.sync_all()?;
        self.folder.rename_new(&self.name, &self.target)?;
        self.finished = true;
        self.folder.sync()
    }

    /// Renames the file to its final name, not durably.
    pub(crate) fn finish_unsynced(mut self) -> io::Result<()> {
        self.rename()
    }

    fn rename(&mut self) -> io::Result<()> {
        if self.mode != FileMode::PRIVATE {
            rustix::fs::fchmod(&self.file, self.mode.raw())?;
        }
        self.folder.rename(&self.name, (&self.folder, &self.target))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: the next writer removes it.
            let _ = self.folder.remove(&self.name);
        }
    }
}

/// An incomplete directory. Dropping it removes it with everything in it.
pub(crate) struct PartialDirectory {
    parent: Folder,
    name: OsString,
    folder: Folder,
    _lock: File,
    finished: bool,
}

impl PartialDirectory {
    /// Creates a directory in `parent` that will be `target`, or whose files will, and removes what a crash left of
    /// earlier ones.
    pub(crate) fn create(parent: Folder, target: &OsStr, others: Others) -> io::Result<PartialDirectory> {
        remove_leftovers(&parent, target, others, remove_stale_directory)?;
        let mut failed = io::ErrorKind::WouldBlock.into();
        for _ in 0..ATTEMPTS {
            let name = random_name(target)?;
            let folder = match parent.create_folder(&name, FileMode::PRIVATE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                // Another writer has removed it before it was opened.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    failed = error;
                    continue;
                }
                folder => folder?,
            };
            let mut lock = match folder.create_file(LOCK, FileMode::PRIVATE) {
                // Another writer has removed the empty directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            if try_lock(&lock)?.is_some() && lock.metadata()?.nlink() > 0 {
                lock.write_all(name.as_bytes())?;
                return Ok(PartialDirectory { parent, name, folder, _lock: lock, finished: false });
            }
        }
        Err(failed)
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Renames the directory to its final name, with the permissions that belong to a mode of files.
    pub(crate) fn finish(mut self, target: &OsStr, mode: FileMode) -> io::Result<()> {
        if mode != FileMode::PRIVATE {
            self.folder.set_mode(mode)?;
        }
        self.parent.rename(&self.name, (&self.parent, target))?;
        self.finished = true;
        // Last: after a crash, an incomplete directory without a lock would not be known as one.
        self.folder.remove(LOCK)
    }
}

impl Drop for PartialDirectory {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: the next writer removes it. A directory that is not empty stays, even if it was exchanged.
            let _ = self.folder.clear(LOCK).and_then(|()| self.parent.remove_folder(&self.name));
        }
    }
}

/// What became of an incomplete file or directory.
#[derive(PartialEq, Eq)]
enum Leftover {
    /// It is being written.
    Locked,
    /// It was removed, or is no leftover of this user.
    Gone,
}

fn remove_leftovers(
    folder: &Folder,
    target: &OsStr,
    others: Others,
    remove: impl Fn(&Folder, &OsStr) -> io::Result<Leftover>,
) -> io::Result<()> {
    for name in folder.names()?.iter().filter(|name| is_partial_of(name, target)) {
        let leftover = match remove(folder, name) {
            // Removed meanwhile, or none of ours: it blocks no writer.
            Err(error) if is_of_others(error.kind()) => Leftover::Gone,
            leftover => leftover?,
        };
        if leftover == Leftover::Locked && others == Others::Exclude {
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
    Ok(())
}

fn is_of_others(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

fn remove_stale_file(folder: &Folder, name: &OsStr) -> io::Result<Leftover> {
    if !folder.entry(name)?.is_some_and(|entry| is_ours(&entry) && is_regular(&entry)) {
        return Ok(Leftover::Gone);
    }
    let file = folder.open_own(name)?;
    match try_lock(&file)? {
        None => Ok(Leftover::Locked),
        Some(()) => folder.remove(name).map(|()| Leftover::Gone),
    }
}

fn remove_stale_directory(parent: &Folder, name: &OsStr) -> io::Result<Leftover> {
    if !parent.entry(name)?.is_some_and(|entry| is_ours(&entry)) {
        return Ok(Leftover::Gone);
    }
    let Ok(folder) = parent.folder(name) else { return Ok(Leftover::Gone) };
    let mut lock = match folder.open_own(LOCK) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Its writer ended before it was locked; one that is about to lock it takes another name.
            return match parent.remove_folder(name) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
                _ => Ok(Leftover::Gone),
            };
        }
        lock => lock?,
    };
    if try_lock(&lock)?.is_none() {
        return Ok(Leftover::Locked);
    }
    let mut named = Vec::new();
    lock.read_to_end(&mut named)?;
    // A directory that was renamed to look like a leftover has no such lock. An empty lock is that of a writer that
    // ended, or is about to find that it was removed.
    if named == name.as_bytes() {
        folder.clear(LOCK)?;
    } else if named.is_empty() && folder.names()? == [LOCK] {
        folder.remove(LOCK)?;
    } else {
        return Ok(Leftover::Gone);
    }
    parent.remove_folder(name).map(|()| Leftover::Gone)
}

/// A directory for temporary files, readable by this user only. Dropping it removes it; what a crash leaves is removed by
/// the next one in the same place.
pub struct WorkDirectory(PartialDirectory);

impl WorkDirectory {
    /// Creates a directory among the temporary ones of the system (`TMPDIR`).
    #[cfg(feature = "sandbox")]
    pub(crate) fn temporary() -> io::Result<WorkDirectory> {
        WorkDirectory::create(std::env::temp_dir())
    }

    /// Creates a directory in `parent`.
    pub fn create(parent: impl AsRef<Path>) -> io::Result<WorkDirectory> {
        WorkDirectory::within(Folder::open(parent.as_ref())?)
    }

    /// As [`create`](Self::create), beside an output: creates the directories above it that do not exist.
    pub fn beside(output: impl AsRef<Path>) -> io::Result<WorkDirectory> {
        let parent = output.as_ref().parent().unwrap_or(Path::new(""));
        WorkDirectory::within(Folder::create_all(parent, FileMode::of_process())?)
    }

    fn within(parent: Folder) -> io::Result<WorkDirectory> {
        PartialDirectory::create(parent, OsStr::new("nabar-work"), Others::Allow).map(WorkDirectory)
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.0.folder().path().to_owned()
    }
}
