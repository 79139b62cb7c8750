//! The log on standard error, for commands that run for long.
//!
//! A thread of its own writes it, so that a reader that has stopped reading (a full pipe, a terminal that is held) stops
//! neither requests nor following. Lines beyond those that wait are lost, and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait for the reader: some megabytes.
const LINES_WAITING: usize = 10_000;

static WRITER: OnceLock<NonBlocking> = OnceLock::new();

/// Starts the thread. What waits is written when the guard is dropped, if the reader reads.
pub(super) fn start() -> WorkerGuard {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING);
    let (writer, guard) = builder.thread_name("log").finish(io::stderr());
    // A process runs one command.
    let _ = WRITER.set(writer);
    guard
}

/// The writer of the log; `None` before [`start`].
pub(super) fn writer() -> Option<NonBlocking> {
    WRITER.get().cloned()
}

/// Lines that were lost because the reader did not read.
pub(super) fn lost() -> usize {
    WRITER.get().map_or(0, |writer| writer.error_counter().dropped_lines())
}

/// Writes a line. The command continues if standard error is closed.
pub(super) fn write_line(line: &str) {
    let line = format!("{line}\n");
    let _ = match writer() {
        Some(mut writer) => writer.write_all(line.as_bytes()),
        None => io::stderr().write_all(line.as_bytes()),
    };
}
