//! Permissions of created files and directories.

use rustix::fs::Mode;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Permissions of a file that nabar creates: the owner reads and writes, the group and others what the mode allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

/// The mode of the process.
static MODE: AtomicU32 = AtomicU32::new(FileMode::PRIVATE.0);

impl FileMode {
    /// `0600`: only the owner.
    pub const PRIVATE: FileMode = FileMode(0o600);
    /// `0644`, for files without personal data, such as public keys.
    pub const PUBLIC: FileMode = FileMode(0o644);

    /// The mode of files that this process creates; `0600` unless [`set_for_process`](FileMode::set_for_process) was
    /// called.
    pub fn of_process() -> FileMode {
        FileMode(MODE.load(Ordering::Relaxed))
    }

    /// Sets the mode of files that this process creates, like a umask: for the whole process. Sets also the umask, for
    /// files that libraries create.
    ///
    /// To be called before the first file is created.
    pub fn set_for_process(self) {
        MODE.store(self.0, Ordering::Relaxed);
        rustix::process::umask(Mode::from_raw_mode(0o777 & !self.of_directory().0));
    }

    /// The file mode in the permissions of an existing file: what of them a file may have.
    pub(crate) fn of_permissions(permissions: u32) -> FileMode {
        FileMode(permissions & 0o664 | FileMode::PRIVATE.0)
    }

    /// The mode of files that only writers may open: with permission for the group if it may write.
    pub(crate) fn of_writers(self) -> FileMode {
        FileMode(if self.0 & 0o020 == 0 { 0o600 } else { 0o660 })
    }

    /// The mode of directories: those who may read a file may also enter its directory.
    pub(crate) fn of_directory(self) -> FileMode {
        FileMode(self.0 | (self.0 & 0o444) >> 2)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn raw(self) -> Mode {
        Mode::from_raw_mode(self.0)
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for FileMode {
    type Err = &'static str;

    /// Parses an octal mode such as `0640`.
    fn from_str(text: &str) -> Result<FileMode, &'static str> {
        const FORM: &str = "write the mode of the files in octal, such as 0600, 0640 or 0660: the owner must be able to \
                            read and write, others may at most read; directories get the matching x";
        let digits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode =
            Some(text).filter(|_| digits).and_then(|text| u32::from_str_radix(text, 8).ok()).ok_or(FORM)?;
        let allowed = mode & 0o600 == 0o600 && mode & !0o664 == 0;
        allowed.then_some(FileMode(mode)).ok_or(FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_directories_get_the_matching_x() {
        for (text, directory) in
            [("0600", "0700"), ("640", "0750"), ("0660", "0770"), ("0644", "0755"), ("0604", "0705")]
        {
            let mode: FileMode = text.parse().expect("a mode");
            assert_eq!(mode.of_directory().to_string(), directory, "{text}");
        }
        for text in
            ["", "rw-r-----", "0400", "0666", "0602", "0700", "4600", "06400", "-600", "0o600", "0680"]
        {
            assert!(text.parse::<FileMode>().is_err(), "{text}");
        }
        for (mode, of_writers) in [("0600", "0600"), ("0644", "0600"), ("0640", "0600"), ("0664", "0660")] {
            let mode: FileMode = mode.parse().expect("a mode");
            assert_eq!(mode.of_writers().to_string(), of_writers);
        }
        assert_eq!(FileMode::of_permissions(0o100_777).to_string(), "0664");
        assert_eq!(FileMode::of_permissions(0o100_400).to_string(), "0600");
    }
}
