//! Open directories, in which files are created, renamed and removed by name.
//!
//! A name is resolved in the directory that was opened, and never through a symbolic link, so that neither a link planted
//! beside an output nor a directory that is exchanged meanwhile leads elsewhere. The path of the directory itself is the
//! user's: links in it are followed, but not if its last component is a link of another user.

use super::mode::FileMode;
use super::owner::this_user;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most links that lead to a directory.
const LINKS_MAX: usize = 16;

/// An open directory.
pub(crate) struct Folder {
    file: File,
    path: PathBuf,
}

fn read_only() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW
}

/// Whether an entry belongs to this user.
pub(crate) fn is_ours(entry: &Stat) -> bool {
    entry.st_uid == this_user()
}

/// Whether an entry belongs to this user or to root, who may do anything anyway.
fn is_trusted(entry: &Stat) -> bool {
    is_ours(entry) || entry.st_uid == 0
}

pub(crate) fn is_regular(entry: &Stat) -> bool {
    FileType::from_raw_mode(entry.st_mode) == FileType::RegularFile
}

/// The error for what another user has put in place.
pub(crate) fn foreign(path: &Path, what: &str) -> io::Error {
    let text = format!("{} is {what} of another user, or none that nabar made: remove it", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

impl Folder {
    /// Opens an existing directory.
    pub(crate) fn open(path: &Path) -> io::Result<Folder> {
        // Without slashes at the end, after which the system follows a link.
        let mut target: PathBuf = path.components().collect();
        if target.as_os_str().is_empty() {
            target.push(".");
        }
        for _ in 0..LINKS_MAX {
            match rustix::fs::openat(CWD, &target, read_only(), Mode::empty()) {
                Ok(file) => return Ok(Folder { file: file.into(), path: path.to_owned() }),
                Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
            target = follow(&target)?;
        }
        Err(Errno::LOOP.into())
    }

    /// The open directory of a path, and the path's name in it.
    pub(crate) fn of(path: &Path) -> io::Result<(Folder, &OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        Ok((Folder::open(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Opens a directory. It is created if it does not exist, and those above it, for those whom `mode` allows to read.
    pub(crate) fn create_all(path: &Path, mode: FileMode) -> io::Result<Folder> {
        match Folder::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        // A link that leads nowhere is an error, and not a reason to create what it leads to.
        let parent = Folder::create_all(parent, mode)?;
        match parent.create_folder(name, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Folder::open(path),
            created => created,
        }
    }

    /// Path as it was given, for messages and for libraries that need one.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The entry of the directory itself.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.file)?)
    }

    /// Errors: the directory belongs to a user who is neither this one nor root.
    pub(crate) fn check_owner(&self) -> io::Result<()> {
        match is_trusted(&rustix::fs::fstat(&self.file)?) {
            true => Ok(()),
            false => Err(foreign(&self.path, "a directory")),
        }
    }

    /// Creates a directory. Errors: `AlreadyExists`.
    pub(crate) fn create_folder(&self, name: impl AsRef<OsStr>, mode: FileMode) -> io::Result<Folder> {
        let name = name.as_ref();
        let private = FileMode::PRIVATE.of_directory();
        rustix::fs::mkdirat(&self.file, name, private.raw())?;
        let folder = self.folder(name)?;
        if mode.of_directory() != private {
            folder.set_mode(mode)?;
        }
        Ok(folder)
    }

    /// Opens a directory in this one.
    pub(crate) fn folder(&self, name: impl AsRef<OsStr>) -> io::Result<Folder> {
        let name = name.as_ref();
        let file = rustix::fs::openat(&self.file, name, read_only(), Mode::empty())?;
        Ok(Folder { file: file.into(), path: self.path.join(name) })
    }

    /// Gives the directory the permissions that belong to a mode of files.
    pub(crate) fn set_mode(&self, mode: FileMode) -> io::Result<()> {
        // The bit by which a directory's entries get its group is inherited from its parent.
        let inherited = Mode::from_raw_mode(rustix::fs::fstat(&self.file)?.st_mode) & Mode::SGID;
        Ok(rustix::fs::fchmod(&self.file, mode.of_directory().raw() | inherited)?)
    }

    /// Opens a file, for reading or also for writing. Errors: the name is a link.
    pub(crate) fn open_file(&self, name: impl AsRef<OsStr>, write: bool) -> io::Result<File> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        // Opening a pipe would wait for its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.file, name.as_ref(), flags, Mode::empty())?.into())
    }

    /// Creates a file for reading and writing. Errors: `AlreadyExists`, also if the name is a link.
    pub(crate) fn create_file(&self, name: impl AsRef<OsStr>, mode: FileMode) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, name.as_ref(), flags, FileMode::PRIVATE.raw())?;
        if mode != FileMode::PRIVATE {
            // Not at once: the umask would take away from it.
            rustix::fs::fchmod(&file, mode.raw())?;
        }
        Ok(file.into())
    }

    /// Opens an existing regular file of this user, for reading and appending. Errors: `PermissionDenied` if it is
    /// anything else.
    pub(crate) fn open_own(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = name.as_ref();
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let refused = || foreign(&self.path.join(name), "a file");
        let file = match rustix::fs::openat(&self.file, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(refused()),
            file => file?,
        };
        let entry = rustix::fs::fstat(&file)?;
        match is_regular(&entry) && is_ours(&entry) && entry.st_nlink == 1 {
            true => Ok(file.into()),
            false => Err(refused()),
        }
    }

    /// Opens a file that is only locked, never read or written, or creates it.
    pub(crate) fn open_lock(&self, name: impl AsRef<OsStr>, mode: FileMode) -> io::Result<File> {
        let name = name.as_ref();
        match self.create_file(name, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created,
        }
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, name, flags, Mode::empty())?;
        match is_regular(&rustix::fs::fstat(&file)?) {
            true => Ok(file.into()),
            false => Err(foreign(&self.path.join(name), "a file")),
        }
    }

    /// As [`open_lock`](Self::open_lock). Errors: also if the file is another user's, who could hold the lock for ever.
    pub(crate) fn open_own_lock(&self, name: impl AsRef<OsStr>, mode: FileMode) -> io::Result<File> {
        let file = self.open_lock(&name, mode)?;
        match is_ours(&rustix::fs::fstat(&file)?) {
            true => Ok(file),
            false => Err(foreign(&self.path.join(name.as_ref()), "a file")),
        }
    }

    /// The entry of a name, which may be a link; `None` if there is none.
    pub(crate) fn entry(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.file, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(entry) => Ok(Some(entry)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All names.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.file)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Renames an entry, replacing an existing one.
    pub(crate) fn rename(&self, from: impl AsRef<OsStr>, to: (&Folder, &OsStr)) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.file, from.as_ref(), &to.0.file, to.1)?)
    }

    /// Renames an entry. Errors: `AlreadyExists`.
    pub(crate) fn rename_new(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.file, from, &self.file, to, RenameFlags::NOREPLACE) {
            // Some file systems cannot, but have links.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(&self.file, from, &self.file, to, AtFlags::empty())?;
                self.remove(from)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Removes a file, or a link itself.
    pub(crate) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.file, name.as_ref(), AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_folder(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.file, name.as_ref(), AtFlags::REMOVEDIR)?)
    }

    /// Removes everything in the directory, the file `last` at the end: after a crash it still shows what this is.
    pub(crate) fn clear(&self, last: &str) -> io::Result<()> {
        let mut names = self.names()?;
        names.sort_by_key(|name| name == last);
        for name in names {
            match self.folder(&name) {
                Ok(folder) => {
                    folder.clear(last)?;
                    self.remove_folder(&name)?;
                }
                // A file, or a link.
                Err(_) => self.remove(&name)?,
            }
        }
        Ok(())
    }

    /// Makes creations, renames and removals durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Where a link of this user or of root leads; it is read from the link whose owner was checked.
fn follow(link: &Path) -> io::Result<PathBuf> {
    let opened =
        rustix::fs::openat(CWD, link, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let entry = rustix::fs::fstat(&opened)?;
    if FileType::from_raw_mode(entry.st_mode) != FileType::Symlink {
        return Err(Errno::NOTDIR.into());
    }
    if !is_trusted(&entry) {
        return Err(foreign(link, "a symbolic link"));
    }
    let target = rustix::fs::readlinkat(&opened, "", Vec::new())?;
    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
    let joined = link.parent().unwrap_or(Path::new("")).join(target);
    // Without slashes at the end, as above.
    Ok(joined.components().collect())
}

/// Opens a file to append to, or creates it.
///
/// Errors: the file, or the link that leads to it, belongs to a user who is neither this one nor root.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    append_with(path, OFlags::empty())
}

/// As [`append`], but neither opening nor writing waits for the reader of a pipe or for a device: then they fail.
#[cfg(feature = "service")]
pub(crate) fn append_without_waiting(path: &Path) -> io::Result<File> {
    append_with(path, OFlags::NONBLOCK)
}

fn append_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    let Some(entry) = folder.entry(name)? else {
        folder.create_file(name, FileMode::of_process())?;
        return folder.open_own(name);
    };
    if !is_trusted(&entry) {
        return Err(foreign(path, "a file"));
    }
    // A link, a device such as /dev/stdout, or a pipe is the choice of this user or of root.
    let flags = (flags | OFlags::CLOEXEC | OFlags::NOCTTY).bits() as i32;
    let file = File::options().append(true).custom_flags(flags).open(path)?;
    match is_trusted(&rustix::fs::fstat(&file)?) {
        true => Ok(file),
        false => Err(foreign(path, "a file")),
    }
}
