//! Reading what a client sends: not more than is allowed, and not for longer than it may take.

use super::config::Limits;
use super::exchange::Problem;
use super::routes::Exchange;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, EXPECT, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

/// Bytes that one permit of the budget for bodies stands for.
const PERMIT_BYTES: usize = 1 << 12;
/// Bytes of a body that count for nothing: who asks little never waits for those who send much.
const FREE_BYTES: usize = 1 << 18;

/// Bytes a second below which a body comes too slowly for the memory that it holds.
const RATE_MIN: usize = 1 << 17;

/// Time for which a body that is not wanted is read on.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The share that an exchange has of the memory for bodies; given back when its answer is sent.
#[derive(Clone)]
pub(super) struct Share {
    _permits: Arc<[Room]>,
}

/// A part of what its client may have, and of what all may.
struct Room {
    _mine: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
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

impl Exchange<'_> {
    /// Reads the body of a request whole. Each of its bytes counts for `weight` of the memory for bodies.
    ///
    /// Errors: it is too long, it breaks off, stalls or comes too slowly, it is compressed, or other bodies take
    /// all the memory there is for them and go on doing so.
    pub(super) async fn message(
        &self,
        request: Request<Unread>,
        limit: usize,
        weight: usize,
    ) -> Result<Whole, Problem> {
        uncompressed(request.headers())?;
        let announced = request.body().announced();
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        let mut body = request.into_body().take().ok_or_else(broken)?;
        let stall = self.service.limits.stall_time;
        let whole_time = Duration::from_secs((announced.unwrap_or(limit) / RATE_MIN) as u64);
        // Waiting for room, waiting for the first byte, and reading.
        let read = timeout(2 * stall + whole_time, self.read(&mut body, announced, limit, weight));
        let read = read.await.unwrap_or_else(|_| Err(broken()));
        if read.as_ref().is_err_and(|problem| problem.status() != StatusCode::BAD_REQUEST) {
            drain(body).await;
        }
        read
    }

    async fn read(
        &self,
        body: &mut Incoming,
        announced: Option<usize>,
        limit: usize,
        weight: usize,
    ) -> Result<Whole, Problem> {
        let most = FREE_BYTES + of_a_client(&self.service.limits) * PERMIT_BYTES;
        let (mut share, mut paid) = (Vec::new(), FREE_BYTES);
        let mut bytes: Vec<u8> = Vec::new();
        while let Some(data) = frame(body, self.service.limits.stall_time).await? {
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(too_large(limit));
            }
            if length * weight > paid {
                let whole = announced.unwrap_or(2 * length).max(length);
                // In whole permits, so that parts do not add up to more than there are.
                let aim = (whole * weight).next_multiple_of(PERMIT_BYTES).min(most);
                share.push(self.room(aim - paid, share.is_empty()).await?);
                paid = if announced.is_some() || aim == most { usize::MAX } else { aim };
            }
            if bytes.is_empty() && body.is_end_stream() {
                return Ok(Whole { bytes: data, share: Share { _permits: share.into() } });
            }
            // All at once if it is known how much: what is not written yet takes no memory.
            let whole = announced.unwrap_or(2 * length).max(length);
            if bytes.capacity() < length && bytes.try_reserve_exact(whole - bytes.len()).is_err() {
                return Err(busy());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Whole { bytes: bytes.into(), share: Share { _permits: share.into() } })
    }

    /// Room for so many bytes. Only who has none yet waits for it: others that wait would have to wait for each
    /// other.
    async fn room(&self, bytes: usize, wait: bool) -> Result<Room, Problem> {
        let service = self.service;
        let permits = bytes.div_ceil(PERMIT_BYTES) as u32;
        let mine = service.clients.bodies(&self.client);
        if !wait {
            let mine = mine.try_acquire_many_owned(permits).map_err(|_| busy())?;
            let all = Arc::clone(&service.bodies).try_acquire_many_owned(permits).map_err(|_| busy())?;
            return Ok(Room { _mine: mine, _all: all });
        }
        let both = async {
            let mine = mine.acquire_many_owned(permits).await?;
            let all = Arc::clone(&service.bodies).acquire_many_owned(permits).await?;
            Ok::<Room, AcquireError>(Room { _mine: mine, _all: all })
        };
        match timeout(service.limits.stall_time, both).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(busy()),
        }
    }
}

/// Permits for all bodies.
pub(super) fn of_all(limits: &Limits) -> usize {
    2 * of_a_client(limits)
}

/// Permits for the bodies of one client: half of all, so that two have to be greedy before a third waits.
pub(super) fn of_a_client(limits: &Limits) -> usize {
    limits.bodies_bytes.div_ceil(2 * PERMIT_BYTES)
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

/// The body of a request, for whoever takes it.
#[derive(Clone)]
pub(super) struct Unread {
    body: Arc<Mutex<Option<Incoming>>>,
    announced: Option<usize>,
    /// Whether it is only sent when it is wanted (`Expect`).
    waits: bool,
}

impl Unread {
    /// Parts a request from its body; the second is for [`drain`](Self::drain).
    pub(super) fn of(request: Request<Incoming>) -> (Request<Unread>, Unread) {
        let waits = request.headers().contains_key(EXPECT);
        let (head, body) = request.into_parts();
        let announced = body.size_hint().exact().map(|length| length as usize);
        let unread = Unread { body: Arc::new(Mutex::new(Some(body))), announced, waits };
        (Request::from_parts(head, unread.clone()), unread)
    }

    /// Its bytes, if the client has said how many they are.
    pub(super) fn announced(&self) -> Option<usize> {
        self.announced
    }

    /// The body, once.
    pub(super) fn take(self) -> Option<Incoming> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads on for a moment what nobody has taken.
    pub(super) async fn drain(self) {
        if !self.waits
            && let Some(body) = self.take()
        {
            drain(body).await;
        }
    }
}

/// Reads on for a moment what is not wanted: a client that is still sending would not see its answer.
async fn drain(mut body: Incoming) {
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
