//! Memory mappings of files and of zeros. One of the four files in which `unsafe` is allowed.
//!
//! Changes of a file are visible in its mappings. nabar does not change files in place (it writes register files under
//! a temporary name and renames them, and a mapping keeps the old file), but other programs do:
//! `cp new.nabar far.nabar` truncates the file and writes to it. There are two countermeasures:
//!
//! - The user of a mapping calls [`Mapped::is_intact`] before it relies on data read from it. The modification time and
//!   the length must be those at the time of mapping.
//! - Reading beyond the end of a truncated file raises SIGBUS, which would terminate the process. A handler maps zeros
//!   there, marks the mapping as lost, and returns to the read.
#![allow(unsafe_code)]

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The bytes of a file, mapped read-only. An empty file has no mapping.
pub(crate) struct Mapped {
    map: Option<memmap2::Mmap>,
    file: File,
    stamp: FileStamp,
    /// Its slot in [`MAPPINGS`], if one was free.
    slot: Option<&'static MappingSlot>,
}

/// Metadata that changes when a file is written to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    length: u64,
    modified: (i64, i64),
}

impl FileStamp {
    fn of(metadata: &Metadata) -> FileStamp {
        FileStamp { length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl Mapped {
    /// Whether the file has not been written to or truncated since it was mapped. Cost: one system call.
    ///
    /// If it returns `true`, data read before the call is that of the mapped file. (A write is not detected if it
    /// follows the mapping within the resolution of the file system's clock, some milliseconds.)
    pub(crate) fn is_intact(&self) -> bool {
        let lost = self.slot.is_some_and(|slot| slot.lost.load(Ordering::Acquire));
        !lost && self.file.metadata().is_ok_and(|metadata| FileStamp::of(&metadata) == self.stamp)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Before unmapping, so that the handler cannot overwrite a later mapping at the same address.
        if let Some(slot) = self.slot {
            slot.release();
        }
    }
}

/// Maps a file.
pub(crate) fn map(file: &File) -> io::Result<Mapped> {
    let file = file.try_clone()?;
    let stamp = FileStamp::of(&file.metadata()?);
    if stamp.length == 0 {
        return Ok(Mapped { map: None, file, stamp, slot: None });
    }
    // SAFETY: the mapping is read-only. Its bytes may change, as the module documentation describes: callers check
    // `is_intact` before they rely on them, and only types that are valid for all bit patterns are read from it.
    let map = unsafe { memmap2::Mmap::map(&file) }?;
    let slot = MappingSlot::take(&map);
    Ok(Mapped { map: Some(map), file, stamp, slot })
}

/// Zeroed bytes. Only pages that are touched take memory.
///
/// The allocator might return huge pages, and then a few scattered bits would take memory for all bytes.
pub(crate) fn zeroed(bytes: usize) -> io::Result<memmap2::MmapMut> {
    memmap2::MmapMut::map_anon(bytes)
}

/// Requests huge pages for a range of zeroed bytes that will be touched nearly completely, and none for the rest, of which
/// each touched byte would else take megabytes. Ignored on systems without huge pages.
pub(crate) fn prefer_huge_pages(bytes: &memmap2::MmapMut, range: Range<usize>) {
    #[cfg(target_os = "linux")]
    let _ = bytes
        .advise(memmap2::Advice::NoHugePage)
        .and_then(|()| bytes.advise_range(memmap2::Advice::HugePage, range.start, range.len()));
    #[cfg(not(target_os = "linux"))]
    let _ = (bytes, range);
}

/// A mapping registered with the handler. Addresses are page-aligned.
struct MappingSlot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
}

/// Maximum number of mappings registered with the handler. A read beyond the end of a truncated file in another mapping
/// terminates the process.
const SLOTS: usize = 256;

static MAPPINGS: [MappingSlot; SLOTS] = [const {
    MappingSlot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; SLOTS];

impl MappingSlot {
    fn take(map: &[u8]) -> Option<&'static MappingSlot> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(handler::install);
        let free = |slot: &&MappingSlot| {
            slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let slot = MAPPINGS.iter().find(free)?;
        let start = map.as_ptr() as usize;
        slot.lost.store(false, Ordering::Release);
        slot.start.store(start, Ordering::Release);
        // The end is stored last: a slot whose end is 0 contains no address.
        slot.end.store(start + map.len(), Ordering::Release);
        Some(slot)
    }

    fn release(&self) {
        self.end.store(0, Ordering::Release);
        self.start.store(0, Ordering::Release);
        self.taken.store(false, Ordering::Release);
    }
}

/// The handler of SIGBUS.
mod handler {
    use super::MAPPINGS;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    /// The previous action for SIGBUS.
    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

    pub(super) fn install() {
        // SAFETY: both structures are valid for the calls, all-zero bytes are a valid `sigaction`, and `on_sigbus` has
        // the signature that SA_SIGINFO requires.
        unsafe {
            let mut previous: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) == 0 {
                let _ = PREVIOUS.set(previous);
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigbus as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    }

    /// Maps zeros over a truncated file, from the page that was read to the end of the mapping.
    ///
    /// Uses atomics and system calls only: it does not wait or allocate.
    extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the system calls the handler with a valid `siginfo_t`. The replaced pages belong to an existing
        // mapping (its slot is taken, and it is released before unmapping), and they remain readable. `mmap` is a
        // system call without locks, which is safe in a handler.
        unsafe {
            let address = (*info).si_addr() as usize;
            let page_bytes = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let page = address & !(page_bytes - 1);
            let contains = |start: usize, end: usize| (start..end).contains(&address);
            for slot in &MAPPINGS {
                let (start, end) = (slot.start.load(Ordering::Acquire), slot.end.load(Ordering::Acquire));
                if contains(start, end) {
                    slot.lost.store(true, Ordering::Release);
                    let length = (end - page).next_multiple_of(page_bytes);
                    let flags = libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
                    let mapped = libc::mmap(page as *mut libc::c_void, length, libc::PROT_READ, flags, -1, 0);
                    if mapped != libc::MAP_FAILED {
                        return;
                    }
                }
            }
            // Another cause: restore the previous action, which then applies when the read is retried.
            match PREVIOUS.get() {
                Some(previous) => libc::sigaction(libc::SIGBUS, previous, std::ptr::null_mut()),
                None => libc::sigaction(libc::SIGBUS, &std::mem::zeroed(), std::ptr::null_mut()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn map_path(path: &Path) -> io::Result<Mapped> {
        map(&File::open(path)?)
    }

    #[test]
    fn a_mapping_has_the_bytes_of_the_file() {
        let directory = tempfile::tempdir().expect("directory");
        for bytes in [&b""[..], b"x", &[7; 10_000]] {
            let path = directory.path().join("file");
            std::fs::write(&path, bytes).expect("written");
            let mapped = map_path(&path).expect("mapped");
            assert!(mapped.as_ref() == bytes && mapped.is_intact());
        }
        assert!(map_path(&directory.path().join("none")).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri supports neither signals nor file mappings")]
    fn a_truncated_file_reads_as_zeros_and_is_not_intact() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("file");
        let bytes = vec![7u8; 1 << 20];
        std::fs::write(&path, &bytes).expect("written");
        let (mapped, other) = (map_path(&path).expect("mapped"), map_path(&path).expect("mapped"));
        File::options().write(true).open(&path).expect("open").set_len(5000).expect("cut");
        assert!(!mapped.is_intact(), "the length has changed");
        let sum: u64 = mapped.as_ref().iter().map(|&byte| u64::from(byte)).sum();
        assert!(sum < 7 << 20, "removed bytes read as zeros");
        assert_eq!(other.as_ref()[(1 << 20) - 1], 0);
        assert!(!other.is_intact());
        // The same length as before, but written again.
        std::fs::write(&path, &bytes).expect("written");
        assert!(!mapped.is_intact() && !other.is_intact());
        assert!(map_path(&path).expect("mapped").is_intact());
    }

    #[test]
    fn renaming_keeps_a_mapping_intact_and_writing_does_not() {
        let directory = tempfile::tempdir().expect("directory");
        let (path, new) = (directory.path().join("file"), directory.path().join("new"));
        std::fs::write(&path, b"old").expect("written");
        // A past modification time, so that the resolution of the clock does not matter.
        let then = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&path).expect("open").set_modified(then).expect("set");
        let mapped = map_path(&path).expect("mapped");
        std::fs::write(&new, b"new").expect("written");
        File::options().write(true).open(&new).expect("open").set_modified(then).expect("set");
        std::fs::rename(&new, &path).expect("renamed");
        assert!(mapped.as_ref() == b"old" && mapped.is_intact());
        let mapped = map_path(&path).expect("mapped");
        std::fs::write(&path, b"NEW").expect("written");
        assert!(!mapped.is_intact() && map_path(&path).expect("mapped").is_intact());
    }

    #[test]
    fn slots_are_released() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("file");
        std::fs::write(&path, b"x").expect("written");
        for _ in 0..SLOTS + 10 {
            assert!(map_path(&path).expect("mapped").slot.is_some());
        }
    }
}
