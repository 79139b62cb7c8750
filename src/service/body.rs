//! Reading request bodies, within limits of size, time and memory.

use super::body_memory::{MemoryPermit, PERMIT_BYTES};
use super::context::RequestContext;
use super::problem::Problem;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, EXPECT, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bytes of a body that need no reservation: small requests never wait for large ones.
const FREE_BYTES: usize = 1 << 18;

/// Bytes per second below which a body is too slow for the memory that it holds.
const RATE_MIN: usize = 1 << 17;

/// Time for which an unwanted body is still read.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The memory that a request has reserved; released when its response has been sent.
#[derive(Clone)]
pub(super) struct MemoryReservation {
    _permits: Arc<[MemoryPermit]>,
}

/// A body in memory.
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    pub(super) memory: MemoryReservation,
}

fn too_large(limit: usize) -> Problem {
    let detail =
        format!("the body is longer than {limit} bytes; ids as text/csv are streamed, at any length");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
}

fn busy() -> Problem {
    let detail = "other requests hold all memory for request bodies; retry";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
}

/// Refuses a compressed body.
pub(super) fn require_uncompressed(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        true => Ok(()),
        false => {
            let detail = "send the body without Content-Encoding";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail))
        }
    }
}

pub(super) fn truncated() -> Problem {
    Problem::bad_request("body-incomplete", "the body is truncated")
}

impl RequestContext<'_> {
    /// Reads the whole body of a request. Each byte counts as `weight` bytes of the memory budget.
    ///
    /// Errors: the body is too long, truncated, too slow or compressed, or no memory is available in time.
    pub(super) async fn read_body(
        &self,
        request: Request<RequestBody>,
        limit: usize,
        weight: usize,
    ) -> Result<BufferedBody, Problem> {
        require_uncompressed(request.headers())?;
        let announced = request.body().content_length();
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        let mut body = request.into_body().take().ok_or_else(truncated)?;
        let stall = self.service.limits.stall_time;
        let transfer_time = Duration::from_secs((announced.unwrap_or(limit) / RATE_MIN) as u64);
        // Waiting for memory, waiting for the first byte, and the transfer.
        let read = timeout(2 * stall + transfer_time, self.buffer(&mut body, announced, limit, weight));
        let read = read.await.unwrap_or_else(|_| Err(truncated()));
        if read.as_ref().is_err_and(|problem| problem.status() != StatusCode::BAD_REQUEST) {
            drain(body).await;
        }
        read
    }

    async fn buffer(
        &self,
        body: &mut Incoming,
        announced: Option<usize>,
        limit: usize,
        weight: usize,
    ) -> Result<BufferedBody, Problem> {
        let most = FREE_BYTES + self.service.body_memory.client_bytes();
        let (mut permits, mut reserved) = (Vec::new(), FREE_BYTES);
        let mut bytes: Vec<u8> = Vec::new();
        while let Some(data) = next_data(body, self.service.limits.stall_time).await? {
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(too_large(limit));
            }
            let expected = announced.unwrap_or(2 * length).max(length);
            if length * weight > reserved {
                // In whole permits, so that the reservations do not add up to more than the budget.
                let target = (expected * weight).next_multiple_of(PERMIT_BYTES).min(most);
                permits.push(self.reserve(target - reserved, permits.is_empty()).await?);
                reserved = if announced.is_some() || target == most { usize::MAX } else { target };
            }
            if bytes.is_empty() && body.is_end_stream() {
                return Ok(BufferedBody {
                    bytes: data,
                    memory: MemoryReservation { _permits: permits.into() },
                });
            }
            // The announced length at once: memory that is not written to yet is not resident.
            if bytes.capacity() < length && bytes.try_reserve_exact(expected - bytes.len()).is_err() {
                return Err(busy());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(BufferedBody { bytes: bytes.into(), memory: MemoryReservation { _permits: permits.into() } })
    }

    /// Only the first reservation of a request waits: requests that hold memory and wait for more could wait for each
    /// other.
    async fn reserve(&self, bytes: usize, first: bool) -> Result<MemoryPermit, Problem> {
        let wait = first.then_some(self.service.limits.stall_time);
        self.service.body_memory.reserve(&self.client, bytes, wait).await.ok_or_else(busy)
    }
}

/// The next data of a body, `None` at its end.
async fn next_data(body: &mut Incoming, stall: Duration) -> Result<Option<Bytes>, Problem> {
    loop {
        match timeout(stall, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(_))) | Err(_) => return Err(truncated()),
        }
    }
}

/// The body of a request, which is taken at most once.
#[derive(Clone, Default)]
pub(super) struct RequestBody {
    body: Arc<Mutex<Option<Incoming>>>,
    content_length: Option<usize>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    expects_continue: bool,
}

impl RequestBody {
    /// Separates a request from its body. The second part is for [`drain`](Self::drain).
    pub(super) fn split(request: Request<Incoming>) -> (Request<RequestBody>, RequestBody) {
        let expects_continue = request.headers().contains_key(EXPECT);
        let (head, body) = request.into_parts();
        let content_length = body.size_hint().exact().map(|length| length as usize);
        let body = RequestBody { body: Arc::new(Mutex::new(Some(body))), content_length, expects_continue };
        (Request::from_parts(head, body.clone()), body)
    }

    /// Its length, if the client has announced it.
    pub(super) fn content_length(&self) -> Option<usize> {
        self.content_length
    }

    /// The body, once.
    pub(super) fn take(self) -> Option<Incoming> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads and discards the body for a short time if no handler has taken it.
    pub(super) async fn drain(self) {
        if !self.expects_continue
            && let Some(body) = self.take()
        {
            drain(body).await;
        }
    }
}

/// Reads and discards a body for a short time: a client that is still sending would not read the response.
async fn drain(mut body: Incoming) {
    let rest = async { while let Ok(Some(_)) = next_data(&mut body, DRAIN_TIME).await {} };
    let _ = timeout(DRAIN_TIME, rest).await;
}

/// A body as [`io::Read`] for a blocking thread, while it arrives.
pub(super) struct BodyReader {
    data: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

/// A reader, and the future that feeds it until the reader is dropped.
pub(super) fn reader(mut body: Incoming, stall: Duration) -> (BodyReader, impl Future<Output = ()>) {
    let (sender, data) = mpsc::channel(16);
    let pump = async move {
        loop {
            let next = tokio::select! {
                next = next_data(&mut body, stall) => next,
                () = sender.closed() => return,
            };
            let next = match next {
                Ok(None) => return,
                Ok(Some(data)) => Ok(data),
                Err(problem) => {
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem.detail().to_owned()))
                }
            };
            let failed = next.is_err();
            if sender.send(next).await.is_err() || failed {
                return;
            }
        }
    };
    (BodyReader { data, rest: Bytes::new() }, pump)
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.data.blocking_recv() {
                None => return Ok(0),
                Some(data) => self.rest = data?,
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}
