//! Small files that are read whole: configuration, certificates, keys, tokens.

use crate::memory::{self, Mapped};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a regular file for reading, without waiting for anything: opening a pipe would wait for its writer, and reading
/// it would wait for data. Errors: it is something else than a regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY).bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file (a pipe, a device or a directory)")),
    }
}

/// Maps a regular file. Errors: as [`open_regular`].
pub(crate) fn map_regular(path: &Path) -> io::Result<Mapped> {
    memory::map(&open_regular(path)?)
}

/// Reads a regular file of at most `bytes_max` bytes.
pub(crate) fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= bytes_max {
        true => Ok(bytes),
        false => Err(io::Error::other(format!("it is longer than {bytes_max} bytes"))),
    }
}

/// As [`read_regular`]. Errors: it is not UTF-8.
pub(crate) fn read_regular_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read_regular(path, bytes_max)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{append_without_waiting, read_secret};
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::io::Write;

    /// None of these calls may wait: there is neither a reader nor a writer of the pipe.
    #[test]
    fn pipes_are_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().expect("directory");
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        assert!(read_regular(&pipe, 10).expect_err("refused").to_string().contains("not a regular file"));
        assert!(read_secret(&pipe, |_| false).expect_err("refused").to_string().contains("regular"));
        assert!(read_regular(Path::new("/dev/null"), 10).is_err());
        assert!(append_without_waiting(&pipe).is_err(), "no reader");
        // With a reader a pipe can be written to, and a full one is an error.
        let reader = File::options().read(true).write(true).open(&pipe).expect("opened");
        let mut writer = append_without_waiting(&pipe).expect("opened");
        let full = loop {
            if let Err(error) = writer.write_all(&[0; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(reader);
    }

    #[test]
    fn a_file_has_a_limit() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "1234").expect("written");
        assert_eq!(read_regular(&path, 4).expect("read"), b"1234");
        assert!(read_regular(&path, 3).is_err());
    }
}
