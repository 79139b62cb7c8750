//! Reading request bodies, within limits of size, time and memory.

use super::context::RequestContext;
use super::memory::{FREE_BYTES, Reservation};
use super::problem::Problem;
use super::state::Service;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, EXPECT, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// Time for which an unwanted body is still read.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Time for which a body may be silent while the service stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Parts of a body between the connection and the thread that reads them: less than a megabyte.
const PARTS_AHEAD: usize = 8;

/// A body in memory.
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    pub(super) memory: Reservation,
}

fn too_large(limit: usize) -> Problem {
    let detail =
        format!("the body is longer than {limit} bytes; ids as text/csv are streamed, at any length");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
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
    /// Reads the whole body of a request. Each byte reserves `weight` bytes of memory: for the body, and for what is
    /// made of it.
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
        let mut body = TimedBody::new(self.service, request.into_body().take().ok_or_else(truncated)?);
        let read = self.buffer(&mut body, announced, limit, weight).await;
        let is_readable = |problem: &Problem| {
            !matches!(problem.status(), StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT)
        };
        if read.as_ref().is_err_and(is_readable) {
            drain(body.body).await;
        }
        read
    }

    async fn buffer(
        &self,
        body: &mut TimedBody,
        announced: Option<usize>,
        limit: usize,
        weight: usize,
    ) -> Result<BufferedBody, Problem> {
        let mut memory: Option<Reservation> = None;
        let mut bytes: Vec<u8> = Vec::new();
        while let Some(data) = body.next().await? {
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(too_large(limit));
            }
            let reserved = memory.as_ref().map_or(FREE_BYTES, Reservation::bytes);
            let expected = announced.unwrap_or(if length * weight > reserved { 2 * length } else { length });
            let expected = expected.max(length);
            if expected * weight > reserved {
                match &mut memory {
                    // Only the first reservation of a request waits.
                    None => memory = Some(self.reserve(expected * weight).await?),
                    Some(memory) => {
                        let all = memory.resize(expected * weight);
                        all.or_else(|_| memory.resize(length * weight)).map_err(|_| Problem::busy())?;
                    }
                }
            }
            if bytes.is_empty() && body.body.is_end_stream() {
                return Ok(BufferedBody { bytes: data, memory: memory.unwrap_or_default() });
            }
            // The announced length at once: memory that is not written to yet is not resident.
            if bytes.capacity() < length && bytes.try_reserve_exact(expected - bytes.len()).is_err() {
                return Err(Problem::busy());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(BufferedBody { bytes: bytes.into(), memory: memory.unwrap_or_default() })
    }

    /// Reserves memory. If there is none, waits for it, at most `limits.wait_time`.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<Reservation, Problem> {
        let reserved = self.service.memory.reserve(&self.client, bytes, self.service.limits.wait_time);
        reserved.await.map_err(|_| Problem::busy())
    }

    /// Reserves memory for lines that are answered while they arrive.
    pub(super) async fn reserve_stream(&self, bytes: usize) -> Result<Reservation, Problem> {
        let wait = self.service.limits.wait_time;
        let reserved = self.service.memory.reserve_stream(&self.client, bytes, wait).await;
        reserved.map_err(|_| Problem::busy())
    }

    /// Makes sure that a request has as much memory, besides that of its connection. Does not wait.
    pub(super) fn grow(&self, memory: &mut Reservation, bytes: usize) -> Result<(), Problem> {
        if bytes <= FREE_BYTES.max(memory.bytes()) {
            return Ok(());
        }
        if !memory.can_grow() {
            *memory = Reservation::none(&self.service.memory, &self.client);
        }
        memory.resize(bytes).map_err(|_| Problem::busy())
    }
}

/// A body whose client must not be slow: neither silent for `limits.stall_time`, nor slower than
/// `limits.bytes_per_second_min` over the whole time for which it is waited for.
struct TimedBody {
    body: Incoming,
    received: u64,
    waited: Duration,
    stall_time: Duration,
    bytes_per_second: u64,
    service: Arc<Service>,
}

impl TimedBody {
    fn new(service: &Arc<Service>, body: Incoming) -> TimedBody {
        let limits = &service.limits;
        TimedBody {
            body,
            received: 0,
            waited: Duration::ZERO,
            stall_time: limits.stall_time,
            bytes_per_second: limits.bytes_per_second_min.max(1),
            service: Arc::clone(service),
        }
    }

    /// The next data, `None` at the end. Errors: the client is gone or too slow, or the service stops.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let allowed =
                self.stall_time + Duration::from_millis(self.received * 1000 / self.bytes_per_second);
            let left = allowed.saturating_sub(self.waited).min(self.stall_time);
            let began = Instant::now();
            let stopped = async {
                self.service.stopped().await;
                sleep(STOP_PATIENCE).await;
            };
            let frame = tokio::select! {
                // What has arrived is read in any case.
                biased;
                frame = timeout(left, self.body.frame()) => frame,
                () = stopped => return Err(Problem::stopping()),
            };
            self.waited += began.elapsed();
            match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.received += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
                Ok(Some(Err(_))) => return Err(truncated()),
                Err(_) => {
                    let detail = "the body arrives too slowly";
                    return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", detail));
                }
            }
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
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(DRAIN_TIME, rest).await;
}

/// A body as [`io::Read`] for a blocking thread, while it arrives.
pub(super) struct BodyReader {
    parts: mpsc::Receiver<Part>,
    rest: Bytes,
    at_end: bool,
}

/// What arrives next.
enum Part {
    Data(Bytes),
    End,
    Failed(Problem),
}

/// A reader, and the future that feeds it until the reader is dropped. The future returns why the body is incomplete.
pub(super) fn reader(
    service: &Arc<Service>,
    body: Incoming,
) -> (BodyReader, impl Future<Output = Option<Problem>> + use<>) {
    let (sender, parts) = mpsc::channel(PARTS_AHEAD);
    let mut body = TimedBody::new(service, body);
    let pump = async move {
        loop {
            let next = tokio::select! {
                next = body.next() => next,
                () = sender.closed() => {
                    drain(body.body).await;
                    return None;
                }
            };
            let (part, problem) = match next {
                Ok(Some(data)) => (Part::Data(data), None),
                Ok(None) => (Part::End, None),
                Err(problem) => (Part::Failed(problem.clone()), Some(problem)),
            };
            let is_last = !matches!(part, Part::Data(_));
            if sender.send(part).await.is_err() {
                drain(body.body).await;
                return problem;
            }
            if is_last {
                return problem;
            }
        }
    };
    (BodyReader { parts, rest: Bytes::new(), at_end: false }, pump)
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.at_end {
            match self.parts.blocking_recv() {
                Some(Part::Data(data)) => self.rest = data,
                Some(Part::End) => self.at_end = true,
                Some(Part::Failed(problem)) => return Err(io::Error::other(problem.detail().to_owned())),
                // The request was abandoned.
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}
