//! Files that appear only when they are complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
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

/// Why a file is not replaced.
#[derive(Debug, thiserror::Error)]
pub enum NotReplaced {
    /// It is read by the same job.
    #[error("{} is one of the files that this job reads: name another output", .0.display())]
    IsInput(PathBuf),
    /// It is not of nabar's making.
    #[error("{} is there, and nabar has not made it: name another output", .0.display())]
    Foreign(PathBuf),
    /// It is a device, a pipe or a directory.
    #[error("{} is no regular file: name another output", .0.display())]
    NotAFile(PathBuf),
    /// It cannot be looked at.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Beginning of a file by which it is known.
const BEGINNING_BYTES: u64 = 1024;

/// Checks that a file may be replaced by an output: that it is none of the inputs, by whatever name, and that
/// `is_own` knows its beginning. An empty file, a device and a pipe may be written to.
pub fn check_replaceable(
    output: &Path,
    inputs: &[PathBuf],
    is_own: impl Fn(&[u8]) -> bool,
) -> Result<(), NotReplaced> {
    let Ok(there) = fs::metadata(output) else { return Ok(()) };
    if !there.is_file() {
        return Ok(());
    }
    check_is_no_input(output, inputs)?;
    let mut beginning = Vec::new();
    let read = File::open(output).and_then(|file| file.take(BEGINNING_BYTES).read_to_end(&mut beginning));
    read.map_err(|error| NotReplaced::Read { path: output.to_owned(), error })?;
    if beginning.is_empty() || is_own(&beginning) {
        Ok(())
    } else {
        Err(NotReplaced::Foreign(output.to_owned()))
    }
}

/// Checks that an output is none of the inputs, by whatever name.
pub fn check_is_no_input(output: &Path, inputs: &[PathBuf]) -> Result<(), NotReplaced> {
    let Ok(there) = fs::metadata(output) else { return Ok(()) };
    let is_same = |input: &PathBuf| {
        fs::metadata(input).is_ok_and(|input| (input.dev(), input.ino()) == (there.dev(), there.ino()))
    };
    if there.is_file() && inputs.iter().any(is_same) {
        return Err(NotReplaced::IsInput(output.to_owned()));
    }
    Ok(())
}

/// The path, and the files in it if it is a directory.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    files.extend(fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()));
    files
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
    fn only_files_of_its_own_are_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        let path = |name: &str| directory.path().join(name);
        let own = |beginning: &[u8]| beginning.starts_with(b"nabar");
        for (name, content) in
            [("own", "nabar..."), ("foreign", "pnr;namn"), ("empty", ""), ("list", "nabar, a list")]
        {
            fs::write(path(name), content).expect("written");
        }
        std::os::unix::fs::symlink(path("list"), path("link")).expect("linked");
        fs::hard_link(path("list"), path("other-name")).expect("linked");
        let inputs =
            files_of(directory.path()).into_iter().filter(|file| file.ends_with("list")).collect::<Vec<_>>();
        for name in ["own", "empty", "not-there"] {
            assert!(check_replaceable(&path(name), &inputs, own).is_ok(), "{name}");
        }
        for name in ["list", "link", "other-name", "./list"] {
            let checked = check_replaceable(&path(name), &inputs, own);
            assert!(matches!(checked, Err(NotReplaced::IsInput(_))), "{name}");
        }
        assert!(matches!(check_replaceable(&path("foreign"), &inputs, own), Err(NotReplaced::Foreign(_))));
        assert!(check_replaceable(Path::new("/dev/null"), &inputs, own).is_ok());
    }

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
