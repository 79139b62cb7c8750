//! The command line of nabar. One of the four files where `unsafe` is allowed: it tunes the allocator.
#![allow(unsafe_code)]

mod cli;

/// Faster than the system's allocator where many threads build and free buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds for which freed memory is kept. Versions of a register come and go by megabytes; given
/// back after the 10 ms that are the default, their memory is cleared by the system again and again.
const KEEP_FREED_MS: std::ffi::c_long = 1000;
/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> std::process::ExitCode {
    // SAFETY: sets a number that the allocator reads whenever it looks; the option is one of its own.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEEP_FREED_MS) };
    cli::main()
}
