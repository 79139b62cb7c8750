//! The command line of nabar.

mod cli;

/// Faster than the system's allocator where many threads build and free buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
