//! Mapped memory: files, and zeros. One of the four files where `unsafe` is allowed.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// A file's bytes, mapped read-only. An empty file is no bytes.
///
/// Whoever holds it relies on the file not being changed in place meanwhile. nabar itself never does: a
/// register file is written beside and renamed, and the mapping keeps the old one. A list is as much
/// the user's own as any other program's input; if somebody cuts it short while it is read, the
/// process is ended by SIGBUS, and a job's outputs are then not there under their names.
pub(crate) struct Mapped(Option<memmap2::Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Maps a file.
pub(crate) fn map(file: &File) -> io::Result<Mapped> {
    if file.metadata()?.len() == 0 {
        return Ok(Mapped(None));
    }
    // SAFETY: the mapping is read-only and private to this process's view; see `Mapped` for what is
    // relied upon about the file.
    let map = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Mapped(Some(map)))
}

/// Zeroed bytes of which only those that are touched take memory, page by page.
///
/// From the allocator they would come in huge pages where the system has them, and a few bits set here
/// and there would make all of it real.
pub(crate) fn zeroed(bytes: usize) -> io::Result<memmap2::MmapMut> {
    memmap2::MmapMut::map_anon(bytes)
}

/// Asks for huge pages for a part of zeroed bytes that will nearly all be touched. Systems that have none pass over it.
pub(crate) fn prefer_huge_pages(bytes: &memmap2::MmapMut, part: Range<usize>) {
    #[cfg(target_os = "linux")]
    let _ = bytes.advise_range(memmap2::Advice::HugePage, part.start, part.len());
    #[cfg(not(target_os = "linux"))]
    let _ = (bytes, part);
}

/// Maps the file at a path.
pub(crate) fn map_path(path: &Path) -> io::Result<Mapped> {
    map(&File::open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_is_its_bytes() {
        let directory = tempfile::tempdir().expect("directory");
        for bytes in [&b""[..], b"x", &[7; 10_000]] {
            let path = directory.path().join("file");
            std::fs::write(&path, bytes).expect("written");
            assert_eq!(map_path(&path).expect("mapped").as_ref(), bytes);
        }
        assert!(map_path(&directory.path().join("none")).is_err());
    }
}
