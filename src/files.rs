//! Files that appear only when they are complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Writes a file under a temporary name beside `path`, makes it durable, and renames it to `path`.
/// Whatever happens, `path` is the old file or the whole new one. Returns the new length.
///
/// Errors: those of the system; `WouldBlock` if somebody else is writing the same file.
///
/// Durable: the file is synced before the rename and its directory after it.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<u64> {
    let partial = partial(path);
    let written: io::Result<u64> = (|| {
        let mut file = create(&partial)?;
        write(&mut file)?;
        file.sync_all()?;
        let length = file.metadata()?.len();
        fs::rename(&partial, path)?;
        sync_directory(path)?;
        Ok(length)
    })();
    if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
        // Best effort: what remains has a name that says what it is.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Creates an empty file that nobody else writes, or takes over one that a crash left behind.
///
/// Two writers would mix what they write, so the file is locked; a crash frees the lock. A file that was
/// renamed between opening and locking is somebody's finished one, and is left alone.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        file.try_lock()?;
        let (mine, there) = (file.metadata()?, fs::metadata(path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino())) {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

/// `.NAME.partial` beside `path`.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

/// Makes renames in the directory of `path` durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("far.nabar");
        assert_eq!(replace(&path, |file| file.write_all(b"first")).expect("written"), 5);
        let failed = replace(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"first");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1, "nothing beside it");
        let second = replace(&path, |_| {
            let inner = replace(&path, |file| file.write_all(b"second"));
            assert_eq!(inner.expect_err("locked").kind(), io::ErrorKind::WouldBlock);
            Err(io::Error::other("enough"))
        });
        assert!(second.is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"first");
    }
}
