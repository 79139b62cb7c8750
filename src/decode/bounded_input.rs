//! Files whose records have a limited length.

use crate::limits::LINE_BYTES_MAX;
use std::io::{self, BufRead, Read};

/// Counts the lines that are read through it, and fails after a number of bytes.
pub(crate) struct BoundedInput {
    inner: Box<dyn BufRead + Send>,
    /// Line of what was read last, from 1.
    pub(crate) line: u64,
    /// Bytes that may be read.
    pub(crate) left: usize,
    /// Whether there were more.
    pub(crate) is_exceeded: bool,
}

impl BoundedInput {
    pub(crate) fn new(inner: Box<dyn BufRead + Send>) -> BoundedInput {
        BoundedInput { inner, line: 1, left: LINE_BYTES_MAX, is_exceeded: false }
    }

    /// Begins a record, which may be as long as the limit.
    pub(crate) fn begin_record(&mut self) {
        self.left = LINE_BYTES_MAX;
    }
}

impl Read for BoundedInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for BoundedInput {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = self.inner.fill_buf()?;
        if self.left == 0 && !available.is_empty() {
            self.is_exceeded = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(&available[..available.len().min(self.left)])
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            self.line += memchr::memchr_iter(b'\n', &buffer[..amount.min(buffer.len())]).count() as u64;
        }
        self.inner.consume(amount);
        self.left = self.left.saturating_sub(amount);
    }
}
