//! Atomic replacement of files.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Writes a file under a temporary name beside `path`, makes it durable, and renames it to `path`. At any time `path`
/// is the old file or the complete new one. Returns the new length.
///
/// Errors: I/O errors; `WouldBlock` if another process or thread is writing the same file.
///
/// Durability: the file is synced before the rename and its directory after it.
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
        // Best effort: the name of a remaining file marks it as partial.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Creates an empty file with an exclusive lock, or truncates one that a crash left behind.
///
/// The lock prevents two writers from mixing their data; a crash releases it. If the file was renamed between opening
/// and locking, it is another writer's finished file and is not touched.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        file.try_lock()?;
        let (opened, current) = (file.metadata()?, fs::metadata(path));
        if current.is_ok_and(|current| (current.dev(), current.ino()) == (opened.dev(), opened.ino())) {
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
    /// The file is an input of the same job.
    #[error("{} is an input of this job: choose another output", .0.display())]
    IsInput(PathBuf),
    /// The file was not made by nabar.
    #[error("{} exists and was not made by nabar: choose another output", .0.display())]
    Foreign(PathBuf),
    /// The path is a device, a pipe or a directory.
    #[error("{} is not a regular file: choose another output", .0.display())]
    NotAFile(PathBuf),
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The I/O error.
        error: io::Error,
    },
}

/// Bytes at the beginning of a file that identify it.
const BEGINNING_BYTES: u64 = 1024;

/// Checks that an output may replace a file: the file is not an input under any name, and `is_own` accepts its
/// beginning. Empty files, devices and pipes may be written to.
pub fn check_replaceable(
    output: impl AsRef<Path>,
    inputs: &[PathBuf],
    is_own: impl Fn(&[u8]) -> bool,
) -> Result<(), NotReplaced> {
    let output = output.as_ref();
    let Ok(existing) = fs::metadata(output) else { return Ok(()) };
    if !existing.is_file() {
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

/// Checks that an output is not an input under any name.
pub fn check_is_no_input(output: impl AsRef<Path>, inputs: &[PathBuf]) -> Result<(), NotReplaced> {
    let output = output.as_ref();
    let Ok(existing) = fs::metadata(output) else { return Ok(()) };
    let is_same = |input: &PathBuf| {
        fs::metadata(input).is_ok_and(|input| (input.dev(), input.ino()) == (existing.dev(), existing.ino()))
    };
    if existing.is_file() && inputs.iter().any(is_same) {
        return Err(NotReplaced::IsInput(output.to_owned()));
    }
    Ok(())
}

/// The path, and its entries if it is a directory.
pub fn files_of(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let path = path.as_ref();
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
    fn only_files_made_by_nabar_are_replaced() {
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
            assert!(check_replaceable(path(name), &inputs, own).is_ok(), "{name}");
        }
        for name in ["list", "link", "other-name", "./list"] {
            let checked = check_replaceable(path(name), &inputs, own);
            assert!(matches!(checked, Err(NotReplaced::IsInput(_))), "{name}");
        }
        assert!(matches!(check_replaceable(path("foreign"), &inputs, own), Err(NotReplaced::Foreign(_))));
        assert!(check_replaceable(Path::new("/dev/null"), &inputs, own).is_ok());
    }

    #[test]
    fn replacement_is_atomic() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("far.nabar");
        assert_eq!(replace(&path, |file| file.write_all(b"first")).expect("written"), 5);
        let failed = replace(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"first");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1, "no partial file remains");
        let second = replace(&path, |_| {
            let inner = replace(&path, |file| file.write_all(b"second"));
            assert_eq!(inner.expect_err("locked").kind(), io::ErrorKind::WouldBlock);
            Err(io::Error::other("enough"))
        });
        assert!(second.is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"first");
    }
}
