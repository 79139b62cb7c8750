//! The command line of nabar. One of the four files in which `unsafe` is allowed: it configures the allocator and ignores a
//! signal.
#![allow(unsafe_code)]

mod cli;

/// Faster than the system allocator when many threads allocate and free buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds for which the allocator keeps freed memory. Versions of a register allocate and free megabytes. With
/// the default of 10 ms, the memory is returned to the system and has to be zeroed again for the next version. (With
/// 1000 ms, requests that allocate and free as much as they may keep half as much again: `tests/budget.rs`.)
const KEEP_FREED_MS: std::ffi::c_long = 50;
/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> std::process::ExitCode {
    // SAFETY: sets an option of the allocator to a number, which is allowed at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEEP_FREED_MS) };
    // SAFETY: no thread has been started yet, and ignoring a signal runs no code. Without it, the first write beyond the
    // limit of the size of files (`ulimit -f`) ends the process; ignored, the write fails like one to a full disk.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    cli::main()
}
