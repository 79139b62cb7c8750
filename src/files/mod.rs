//! Creation and replacement of files: everything that nabar writes to a file system is created here.
//!
//! - **Complete or not at all.** `replace` and `PartialFile` write under a temporary name and rename; so does
//!   `PartialDirectory`.
//! - **Nothing foreign is written to.** Names are created exclusively (`O_EXCL`, `O_NOFOLLOW`), relative to an open
//!   directory (`Folder`), and temporary names are random.
//! - **Nothing foreign is removed.** What a crash left is removed only if it belongs to this user and no process has
//!   locked it.
//! - **Private by default.** Files have the mode `0600` and directories `0700`, unless `FileMode` was set.
//!
//! The system calls are those of `rustix`: the same as in C, without unsafe code. (`cap-std` would also resolve the path
//! that the user gives, and refuse links and `..` in it, which are legitimate.)

mod folder;
mod input;
mod mode;
mod names;
mod owner;
mod partial;
#[cfg(feature = "replica")]
mod secret;

#[cfg(feature = "service")]
pub(crate) use folder::append_without_waiting;
pub(crate) use folder::{Folder, append, is_ours, is_regular};
pub(crate) use input::{map_regular, open_regular, read_regular, read_regular_text};
pub use mode::FileMode;
pub(crate) use names::with_suffix;
pub(crate) use owner::explained;
pub use partial::WorkDirectory;
pub(crate) use partial::{Others, PartialDirectory, PartialFile, is_partial_of};
#[cfg(feature = "replica")]
pub(crate) use secret::{has_no_private_key, read_secret};

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Writes a file under a temporary name beside `path`, makes it durable, and renames it to `path`. At any time `path`
/// is the old file or the complete new one. Returns the new length.
///
/// Errors: I/O errors; `WouldBlock` if another process or thread is writing the same file.
///
/// Durability: the file is synced before the rename and its directory after it.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<u64> {
    replace_with_mode(path, FileMode::of_process(), write)
}

/// As [`replace`], with a mode.
pub(crate) fn replace_with_mode(
    path: &Path,
    mode: FileMode,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<u64> {
    let mut partial = PartialFile::begin(path, mode)?;
    write(partial.file())?;
    partial.finish()
}

/// Sets the permissions of a file of this user.
pub(crate) fn set_mode(path: &Path, mode: FileMode) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    let file = folder.open_own(name)?;
    Ok(rustix::fs::fchmod(&file, mode.raw())?)
}

/// Writes an output of a command: a regular file is replaced, a device or a pipe is written to.
pub fn write_output(path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let path = path.as_ref();
    let is_stream = |kind: fs::FileType| kind.is_char_device() || kind.is_fifo();
    if fs::metadata(path).is_ok_and(|existing| is_stream(existing.file_type())) {
        return append(path)?.write_all(content);
    }
    replace(path, |file| file.write_all(content)).map(drop)
}

/// Writes a file without personal data, which all users may read, into a directory, which is created if it does not exist.
/// An earlier file is replaced.
pub fn write_public(directory: impl AsRef<Path>, name: &str, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let directory = directory.as_ref();
    Folder::create_all(directory, FileMode::PUBLIC)?;
    let mut partial = PartialFile::begin(&directory.join(name), FileMode::PUBLIC)?;
    partial.file().write_all(content)?;
    partial.finish_unsynced()
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
    /// The file belongs to another user.
    #[error("{} belongs to another user: choose another output", .0.display())]
    OtherOwner(PathBuf),
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

/// Checks that an output may replace a file: the file is not an input under any name, belongs to this user, and `is_own`
/// accepts its beginning. Empty files, devices and pipes may be written to.
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
    let entry = fs::symlink_metadata(output);
    if entry.is_ok_and(|entry| entry.uid() != rustix::process::geteuid().as_raw()) {
        return Err(NotReplaced::OtherOwner(output.to_owned()));
    }
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
    use std::os::unix::fs::PermissionsExt;

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
        let other = replace(&path, |_| replace(&path.with_file_name("far"), |_| Ok(())).map(drop));
        assert!(other.is_ok(), "another name, which is the beginning of this one");
    }

    fn mode(path: impl AsRef<Path>) -> u32 {
        fs::symlink_metadata(path).expect("there").mode() & 0o7777
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("listed").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whether the files could be given to another user, which only root can do.
    fn give_away(path: &Path) -> bool {
        std::os::unix::fs::lchown(path, Some(65534), None).is_ok()
    }

    #[test]
    fn created_files_are_private_unless_a_mode_is_given() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("far.nabar");
        let partial = PartialFile::begin(&path, FileMode::PRIVATE).expect("created");
        let held = names(directory.path());
        assert!(held[0].starts_with(".far.nabar.") && held[0].ends_with(".partial"), "{held:?}");
        assert_eq!(mode(directory.path().join(&held[0])), 0o600);
        partial.finish().expect("renamed");
        assert_eq!(mode(&path), 0o600);
        let group: FileMode = "0640".parse().expect("a mode");
        // The permissions of a replaced file are not kept: it may have been readable by all.
        replace_with_mode(&path, group, |_| Ok(())).expect("written");
        assert_eq!(mode(&path), 0o640);
        replace(&path, |_| Ok(())).expect("written");
        assert_eq!(mode(&path), 0o600);
        let made = directory.path().join("a/b");
        Folder::create_all(&made, group).expect("created");
        assert_eq!([mode(&made), mode(directory.path().join("a"))], [0o750, 0o750]);
        drop(append(&made.join("audit.log")).expect("opened"));
        assert_eq!(mode(made.join("audit.log")), 0o600);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("directory");
        let path = |name: &str| directory.path().join(name);
        let (target, outside) = (path("far.nabar"), path("outside"));
        fs::write(&outside, "precious").expect("written");
        let stale = ".far.nabar.0123456789abcdef.partial";
        fs::write(path(stale), "half").expect("written");
        let kept = [
            // Of another name, of an earlier version, a link, a directory, another name of a file.
            ".far.0123456789abcdef.partial",
            ".far.nabar.partial",
            ".far.nabar.1111111111111111.partial",
            ".far.nabar.2222222222222222.partial",
            ".far.nabar.3333333333333333.partial",
        ];
        for name in &kept[..2] {
            fs::write(path(name), "other").expect("written");
        }
        fs::hard_link(&outside, path(kept[4])).expect("linked");
        std::os::unix::fs::symlink(&outside, path(kept[2])).expect("linked");
        fs::create_dir(path(kept[3])).expect("made");
        assert_eq!(replace(&target, |file| file.write_all(b"new")).expect("written"), 3);
        let mut expected: Vec<_> =
            kept.iter().chain(&["far.nabar", "outside"]).map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(names(directory.path()), expected);
        assert_eq!(fs::read(&outside).expect("there"), b"precious");
        fs::write(path(stale), "theirs").expect("written");
        if give_away(&path(stale)) {
            let theirs = File::options().write(true).open(path(stale)).expect("opened");
            theirs.try_lock().expect("locked");
            assert!(replace(&target, |_| Ok(())).is_ok(), "a file of another user blocks no writer");
            assert_eq!(fs::read(path(stale)).expect("there"), b"theirs");
        }
    }

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().expect("directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("precious"), "precious").expect("written");
        for name in ["far.nabar", "page.html", "lock", "download"] {
            std::os::unix::fs::symlink(path("precious"), path(name)).expect("linked");
        }
        replace(&path("far.nabar"), |file| file.write_all(b"new")).expect("written");
        write_output(path("page.html"), b"new").expect("written");
        for name in ["far.nabar", "page.html"] {
            let written = fs::symlink_metadata(path(name)).expect("there");
            assert!(written.is_file() && fs::read(path(name)).expect("there") == b"new", "{name}");
        }
        let folder = Folder::open(directory.path()).expect("opened");
        assert!(folder.open_lock("lock", FileMode::PRIVATE).is_err());
        assert!(folder.open_own("download").is_err());
        assert_eq!(
            folder.create_file("download", FileMode::PRIVATE).expect_err("there").kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(path("precious")).expect("there"), b"precious");
    }

    #[test]
    fn what_belongs_to_another_user_is_neither_used_nor_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("real")).expect("made");
        for name in ["own-link", "their-link"] {
            std::os::unix::fs::symlink(path("real"), path(name)).expect("linked");
        }
        fs::write(path("audit.log"), "").expect("written");
        assert!(Folder::open(&path("own-link")).is_ok(), "the user's own link to another disk");
        assert!(Folder::open(&path("own-link/")).is_ok());
        assert!(append(&path("audit.log")).is_ok());
        if !(give_away(&path("their-link")) && give_away(&path("audit.log")) && give_away(&path("real"))) {
            return;
        }
        for linked in ["their-link", "their-link/", "their-link/."] {
            let refused = Folder::open(&path(linked)).err().expect("refused");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{linked}");
        }
        assert!(replace(&path("their-link/far.nabar"), |_| Ok(())).is_err());
        assert!(append(&path("audit.log")).is_err());
        let folder = Folder::open(directory.path()).expect("opened");
        assert!(
            folder.open_lock("audit.log", FileMode::PRIVATE).is_ok(),
            "several users may write to a directory"
        );
        assert!(folder.open_own_lock("audit.log", FileMode::PRIVATE).is_err());
        assert!(Folder::open(&path("real")).expect("opened").check_owner().is_err());
        let checked = check_replaceable(path("audit.log"), &[], |_| true);
        assert!(matches!(checked, Err(NotReplaced::OtherOwner(_))));
    }

    /// The bit by which the files of a group's directory belong to the group.
    #[test]
    fn directories_keep_the_group_of_their_parent() {
        let directory = tempfile::tempdir().expect("directory");
        let group = directory.path().join("group");
        fs::create_dir(&group).expect("made");
        fs::set_permissions(&group, fs::Permissions::from_mode(0o2770)).expect("set");
        for (name, mode, expected) in [("private", 0o600, 0o2700), ("shared", 0o640, 0o2750)] {
            let mode_of_files = FileMode::of_permissions(mode);
            Folder::create_all(&group.join(name), mode_of_files).expect("created");
            let found = fs::metadata(group.join(name)).expect("there").permissions().mode();
            assert_eq!(found & 0o7777, expected, "{name}");
        }
    }

    #[test]
    fn work_directories_are_private_and_removed() {
        let directory = tempfile::tempdir().expect("directory");
        let work = WorkDirectory::create(directory.path()).expect("created");
        let other = WorkDirectory::create(directory.path()).expect("two at a time");
        assert_eq!(mode(work.path()), 0o700);
        fs::create_dir(work.path().join("register")).expect("made");
        fs::write(work.path().join("register/file"), "").expect("written");
        std::os::unix::fs::symlink(directory.path(), work.path().join("link")).expect("linked");
        let (path, other_path) = (work.path(), other.path());
        drop(work);
        assert!(!path.exists() && other_path.exists());
        // As after a crash: not removed, and no longer locked.
        std::mem::forget(other);
        fs::rename(other_path.join("lock"), other_path.join("held")).expect("renamed");
        fs::write(other_path.join("lock"), other_path.file_name().expect("a name").as_encoded_bytes())
            .expect("written");
        drop(WorkDirectory::create(directory.path()).expect("created"));
        assert!(names(directory.path()).is_empty());
    }

    /// Jobs in one directory do not fail because of each other.
    #[test]
    fn work_directories_are_made_side_by_side() {
        let directory = tempfile::tempdir().expect("directory");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..300).for_each(|_| drop(WorkDirectory::create(directory.path()).expect("created")));
                });
            }
        });
        assert!(names(directory.path()).is_empty());
    }
}
