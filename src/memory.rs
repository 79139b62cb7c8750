//! Mapped memory: files, and zeros. One of the four files where `unsafe` is allowed.
//!
//! A mapping shows what happens to its file. nabar itself never changes a file in place (a register file is written
//! beside and renamed, and the mapping keeps the old one), but others do: `cp new.nabar far.nabar` truncates the file
//! and writes to it. Two things are done about that:
//!
//! - Whoever has used a mapping asks [`Mapped::is_intact`] before it believes what came of it: the time of the last
//!   write and the length must be those of when the file was mapped.
//! - Reading behind the end of a truncated file raises SIGBUS. A handler puts zeros there, notes it, and lets the read go
//!   on; without it the process would end.
#![allow(unsafe_code)]

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A file's bytes, mapped read-only. An empty file is no bytes.
pub(crate) struct Mapped {
    map: Option<memmap2::Mmap>,
    file: File,
    state: State,
    /// Its place in [`MAPPINGS`], if one was free.
    slot: Option<&'static Slot>,
}

/// What changes when a file is written to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    length: u64,
    modified: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> State {
        State { length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
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
    /// What was read before this returns `true` is what the file held when it was mapped. (A write within the
    /// resolution of the file system's clock, some milliseconds, after mapping is not seen.)
    pub(crate) fn is_intact(&self) -> bool {
        let lost = self.slot.is_some_and(|slot| slot.lost.load(Ordering::Acquire));
        !lost && self.file.metadata().is_ok_and(|metadata| State::of(&metadata) == self.state)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Before the mapping goes, so that the handler never writes over what takes its place.
        if let Some(slot) = self.slot {
            slot.release();
        }
    }
}

/// Maps a file.
pub(crate) fn map(file: &File) -> io::Result<Mapped> {
    let file = file.try_clone()?;
    let state = State::of(&file.metadata()?);
    if state.length == 0 {
        return Ok(Mapped { map: None, file, state, slot: None });
    }
    // SAFETY: the mapping is read-only and private to this process's view. That its bytes may change is covered by
    // what the module says: nothing that is read from it is believed before `is_intact` was asked, and no value of
    // a byte is unsound, as only types that any bytes make are read from it.
    let map = unsafe { memmap2::Mmap::map(&file) }?;
    let slot = Slot::take(&map);
    Ok(Mapped { map: Some(map), file, state, slot })
}

/// Maps the file at a path.
pub(crate) fn map_path(path: &Path) -> io::Result<Mapped> {
    map(&File::open(path)?)
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

/// A mapping that the handler knows. Addresses are page-aligned.
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
}

/// Mappings that the handler can know at a time; further ones end the process if their file is truncated.
const SLOTS: usize = 256;

static MAPPINGS: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; SLOTS];

impl Slot {
    fn take(map: &[u8]) -> Option<&'static Slot> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(handler::install);
        let free = |slot: &&Slot| {
            slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let slot = MAPPINGS.iter().find(free)?;
        let start = map.as_ptr() as usize;
        slot.lost.store(false, Ordering::Release);
        slot.start.store(start, Ordering::Release);
        // The end last: a slot without one holds no address.
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

    /// What was done at SIGBUS before.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    pub(super) fn install() {
        // SAFETY: both structures are valid for the calls, all-zero bytes are a valid `sigaction`, and `on_sigbus` has
        // the signature that SA_SIGINFO asks for.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before) == 0 {
                let _ = BEFORE.set(before);
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigbus as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    }

    /// Puts zeros where a mapped file has no bytes any more, from the page that was read to the end of the mapping.
    ///
    /// Only atomics and system calls: nothing here waits or allocates.
    extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the system calls this with a valid `siginfo_t`. The pages that are replaced belong to a mapping that
        // is in use (its slot is taken, and it is given back before the mapping goes), and it stays readable.
        // `mmap` is a plain system call, which is safe in a handler.
        unsafe {
            let address = (*info).si_addr() as usize;
            let page_bytes = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let page = address & !(page_bytes - 1);
            let holds = |start: usize, end: usize| (start..end).contains(&address);
            for slot in &MAPPINGS {
                let (start, end) = (slot.start.load(Ordering::Acquire), slot.end.load(Ordering::Acquire));
                if holds(start, end) {
                    slot.lost.store(true, Ordering::Release);
                    let length = (end - page).next_multiple_of(page_bytes);
                    let flags = libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
                    let put = libc::mmap(page as *mut libc::c_void, length, libc::PROT_READ, flags, -1, 0);
                    if put != libc::MAP_FAILED {
                        return;
                    }
                }
            }
            // Another cause: the read is tried again, and what was done before is done.
            match BEFORE.get() {
                Some(before) => libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut()),
                None => libc::sigaction(libc::SIGBUS, &std::mem::zeroed(), std::ptr::null_mut()),
            };
        }
    }
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
            let mapped = map_path(&path).expect("mapped");
            assert!(mapped.as_ref() == bytes && mapped.is_intact());
        }
        assert!(map_path(&directory.path().join("none")).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows neither signals nor mappings of files")]
    fn a_truncated_file_reads_as_zeros_and_is_not_intact() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("file");
        let bytes = vec![7u8; 1 << 20];
        std::fs::write(&path, &bytes).expect("written");
        let (mapped, other) = (map_path(&path).expect("mapped"), map_path(&path).expect("mapped"));
        File::options().write(true).open(&path).expect("open").set_len(5000).expect("cut");
        assert!(!mapped.is_intact(), "the length is another");
        let sum: u64 = mapped.as_ref().iter().map(|&byte| u64::from(byte)).sum();
        assert!(sum < 7 << 20, "what is gone reads as zeros");
        assert_eq!(other.as_ref()[(1 << 20) - 1], 0);
        assert!(!other.is_intact());
        // As long as before, and yet another file's bytes.
        std::fs::write(&path, &bytes).expect("written");
        assert!(!mapped.is_intact() && !other.is_intact());
        assert!(map_path(&path).expect("mapped").is_intact());
    }

    #[test]
    fn a_renamed_file_stays_intact_and_one_that_is_written_to_does_not() {
        let directory = tempfile::tempdir().expect("directory");
        let (path, new) = (directory.path().join("file"), directory.path().join("new"));
        std::fs::write(&path, b"old").expect("written");
        // Back in time, so that the clock's resolution plays no part.
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
    fn slots_are_given_back() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("file");
        std::fs::write(&path, b"x").expect("written");
        for _ in 0..SLOTS + 10 {
            assert!(map_path(&path).expect("mapped").slot.is_some());
        }
    }
}
