//! Connections whose clients take responses too slowly.

use super::open_connections::Usage;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection that fails if its client takes what is written more slowly, on average, than a rate. Only the time
/// counts for which the connection takes nothing more, so neither idle connections nor slow answers are affected.
pub(super) struct PacedStream<S> {
    inner: S,
    /// Time for which writing may wait in any case.
    grace: Duration,
    bytes_per_second: u64,
    written: u64,
    waited: Duration,
    /// Since when the connection takes nothing.
    blocked: Option<Instant>,
    usage: Option<Arc<Usage>>,
}

impl<S> PacedStream<S> {
    pub(super) fn new(inner: S, grace: Duration, bytes_per_second: u64) -> PacedStream<S> {
        let bytes_per_second = bytes_per_second.max(1);
        PacedStream {
            inner,
            grace,
            bytes_per_second,
            written: 0,
            waited: Duration::ZERO,
            blocked: None,
            usage: None,
        }
    }

    /// Also notes in `usage` whether a write waits.
    pub(super) fn noted_in(mut self, usage: Arc<Usage>) -> PacedStream<S> {
        self.usage = Some(usage);
        self
    }

    fn note(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if polled.is_pending() != self.blocked.is_some()
            && let Some(usage) = &self.usage
        {
            usage.set_blocked(polled.is_pending());
        }
        if polled.is_pending() {
            self.blocked.get_or_insert_with(Instant::now);
            return Poll::Pending;
        }
        let written = ready!(polled)?;
        self.waited += self.blocked.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.written += written as u64;
        let allowed = Duration::from_millis(self.written.saturating_mul(1000) / self.bytes_per_second);
        match self.waited > self.grace + allowed {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => Poll::Ready(Ok(written)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// The error of writing 100 000 bytes to a client that takes `bytes` each `pause`.
    fn written(bytes: usize, pause: Duration) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let (near, mut far) = duplex(1024);
            let mut stream = PacedStream::new(near, Duration::from_secs(5), 1000);
            let reads = tokio::spawn(async move {
                let mut buffer = vec![0; bytes];
                while far.read_exact(&mut buffer).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            });
            let result = stream.write_all(&[0; 100_000]).await;
            reads.abort();
            result
        })
    }

    #[test]
    fn slow_readers_are_given_up() {
        assert!(written(500, Duration::from_millis(400)).is_ok(), "faster than the rate");
        let slow = written(100, Duration::from_secs(1)).expect_err("slower than the rate");
        assert_eq!(slow.kind(), io::ErrorKind::TimedOut);
    }
}
