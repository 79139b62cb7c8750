//! Reading what a client sends: not more than is allowed, and not for longer than it may take.

use super::exchange::Problem;
use super::server::Service;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

/// Bytes that one permit of the budget for bodies stands for.
const PERMIT_BYTES: usize = 1 << 12;
/// Bytes of a body that count for nothing: who asks little never waits for those who send much.
const FREE_BYTES: usize = 1 << 18;

/// Time for which a body that is not wanted is read on.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The share that an exchange has of the memory for bodies; given back when its answer is sent.
#[derive(Clone)]
pub(super) struct Share {
    _permits: Arc<Vec<OwnedSemaphorePermit>>,
}

/// A body that is in memory.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is longer than {limit} bytes; send ids as text/csv, which is streamed");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
}

fn busy() -> Problem {
    let detail = "other requests take all the memory there is for bodies; ask again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
}

/// Refuses a body that would have to be unpacked first.
pub(super) fn uncompressed(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        true => Ok(()),
        false => {
            let detail = "send the body without Content-Encoding";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail))
        }
    }
}

pub(super) fn broken() -> Problem {
    Problem::bad_request("body-incomplete", "the body ended before its end")
}

impl Service {
    /// Reads the body of a request whole. Each of its bytes counts for `weight` of the memory for bodies.
    ///
    /// Errors: it is too long, it breaks off or stalls, it is compressed, or other bodies take all the
    /// memory there is for them and go on doing so.
    pub(super) async fn message(
        &self,
        request: Request<Incoming>,
        limit: usize,
        weight: usize,
    ) -> Result<Whole, Problem> {
        if let Err(problem) = uncompressed(request.headers()) {
            drain(request.into_body()).await;
            return Err(problem);
        }
        let (mut body, stall) = (request.into_body(), self.limits.stall_time);
        let hint = body.size_hint();
        if hint.lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let (mut permits, mut paid) = (Vec::new(), FREE_BYTES);
        let mut bytes: Vec<u8> = Vec::new();
        while let Some(data) = frame(&mut body, stall).await? {
            let length = bytes.len() + data.len();
            if length > limit {
                drain(body).await;
                return Err(too_large(limit));
            }
            if length * weight > paid {
                // As much again, so that a long body does not ask for each of its pieces; no more than it
                // will need if it has said that.
                let whole = hint.exact().map_or(limit, |whole| (whole as usize).max(length));
                let more = paid.max(length * weight - paid).min((whole * weight - paid).max(1));
                let more = more.div_ceil(PERMIT_BYTES);
                permits.push(self.room(more).await?);
                paid += more * PERMIT_BYTES;
            }
            if bytes.is_empty() && body.is_end_stream() {
                return Ok(Whole { bytes: data, share: Share { _permits: Arc::new(permits) } });
            }
            // All at once if it is known how much: what is not written yet takes no memory.
            let whole = hint.exact().map_or(2 * length, |whole| whole as usize).max(length);
            if bytes.capacity() < length && bytes.try_reserve_exact(whole - bytes.len()).is_err() {
                return Err(busy());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Whole { bytes: bytes.into(), share: Share { _permits: Arc::new(permits) } })
    }

    async fn room(&self, permits: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let permits = permits.min(Service::permits(self.limits.bodies_bytes)) as u32;
        let room = Arc::clone(&self.bodies).acquire_many_owned(permits);
        match timeout(self.limits.stall_time, room).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy()),
        }
    }

    /// Permits for so many bytes of bodies.
    pub(super) fn permits(bytes: usize) -> usize {
        bytes.div_ceil(PERMIT_BYTES)
    }
}

/// The next data of a body, `None` at its end.
async fn frame(body: &mut Incoming, stall: Duration) -> Result<Option<Bytes>, Problem> {
    loop {
        match timeout(stall, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(_))) | Err(_) => return Err(broken()),
        }
    }
}

/// Reads on for a moment what is not wanted: a client that is still sending would not see its answer.
pub(super) async fn drain(mut body: Incoming) {
    let rest = async { while let Ok(Some(_)) = frame(&mut body, DRAIN_TIME).await {} };
    let _ = timeout(DRAIN_TIME, rest).await;
}

/// A body as something that a thread reads from, while it comes.
pub(super) struct Reader {
    data: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

/// Reads a body on for as long as its reader is there. The second part is to be waited for.
pub(super) fn reader(mut body: Incoming, stall: Duration) -> (Reader, impl Future<Output = ()>) {
    let (sender, data) = mpsc::channel(16);
    let pump = async move {
        loop {
            let next = tokio::select! {
                next = frame(&mut body, stall) => next,
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
    (Reader { data, rest: Bytes::new() }, pump)
}

impl io::Read for Reader {
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
