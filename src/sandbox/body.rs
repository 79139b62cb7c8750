//! Bodies of answers that come as a fault wants: slowly, in part, or with the connection's end in their middle.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Time that the sent part of a broken body has to leave.
const REST: Duration = Duration::from_millis(200);
/// Pieces of a slow body a second.
const PIECES_PER_SECOND: u32 = 10;

/// A body in pieces.
#[derive(Default)]
pub(super) struct FaultyBody {
    pieces: VecDeque<Bytes>,
    /// Before each piece but the first.
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The socket that is reset after the last piece.
    breaks: Option<Arc<OwnedFd>>,
    left: u64,
    /// Whether what was sent has had time to leave.
    has_rested: bool,
}

/// Has the end of a connection be a reset.
pub(super) fn reset_at_end(socket: &OwnedFd) {
    // Without it, the client sees an end instead, which is a fault as well.
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

impl FaultyBody {
    pub(super) fn whole(bytes: Bytes) -> FaultyBody {
        let left = bytes.len() as u64;
        FaultyBody { pieces: VecDeque::from([bytes]), left, ..FaultyBody::default() }
    }

    /// With so many bytes per second.
    pub(super) fn slow(mut bytes: Bytes, bytes_per_second: u32) -> FaultyBody {
        let (piece, pause) = match bytes_per_second / PIECES_PER_SECOND {
            0 => (1, Duration::from_secs(1) / bytes_per_second.max(1)),
            piece => (piece as usize, Duration::from_secs(1) / PIECES_PER_SECOND),
        };
        let left = bytes.len() as u64;
        let mut pieces = VecDeque::new();
        while !bytes.is_empty() {
            pieces.push_back(bytes.split_to(piece.min(bytes.len())));
        }
        FaultyBody { pieces, pause, left, ..FaultyBody::default() }
    }

    /// Half of it, and then the reset of the connection.
    pub(super) fn broken(bytes: &Bytes, socket: Arc<OwnedFd>) -> FaultyBody {
        let half = bytes.slice(..bytes.len() / 2);
        // The length that is announced.
        FaultyBody {
            pieces: VecDeque::from([half]),
            breaks: Some(socket),
            left: bytes.len() as u64,
            ..FaultyBody::default()
        }
    }
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(sleep) = &mut self.sleep {
            std::task::ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        match self.pieces.pop_front() {
            Some(piece) => {
                self.left -= piece.len() as u64;
                if !self.pause.is_zero() && !self.pieces.is_empty() {
                    self.sleep = Some(Box::pin(sleep(self.pause)));
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            None => match self.breaks.take() {
                Some(socket) if self.has_rested => {
                    reset_at_end(&socket);
                    Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
                }
                // What was sent must leave first: a reset drops what has not left.
                Some(socket) => {
                    (self.breaks, self.has_rested) = (Some(socket), true);
                    let mut rest = Box::pin(sleep(REST));
                    let polled = rest.as_mut().poll(context);
                    self.sleep = Some(rest);
                    if polled.is_ready() { self.poll_frame(context) } else { Poll::Pending }
                }
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.breaks.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
