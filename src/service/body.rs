//! Reading what a client sends: not more than is allowed, and not for longer than it may take.

use super::exchange::Problem;
use super::server::Service;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use std::io;
use tokio::sync::{SemaphorePermit, mpsc};

/// Bytes that one permit of the budget for bodies stands for.
const PERMIT_BYTES: usize = 1 << 16;

/// A body that is in memory, with its share of the memory for bodies.
pub(super) struct Whole<'s> {
    pub(super) bytes: Bytes,
    _share: SemaphorePermit<'s>,
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is longer than {limit} bytes; send ids as text/csv, which is streamed");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
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
    /// Reads a body whole.
    ///
    /// Errors: it is too long, it breaks off, or other bodies take all the memory there is for them.
    async fn whole(&self, body: Incoming, limit: usize) -> Result<Whole<'_>, Problem> {
        let hint = body.size_hint();
        if hint.lower() > limit as u64 {
            return Err(too_large(limit));
        }
        // A length that is not told may become any that is allowed.
        let length = hint.upper().map_or(limit, |upper| upper.min(limit as u64) as usize);
        let permits = length.div_ceil(PERMIT_BYTES) as u32;
        let share = self.bodies.acquire_many(permits).await.map_err(|_| broken())?;
        let mut body = body;
        let first = frame(&mut body).await?;
        let Some(first) = first else { return Ok(Whole { bytes: Bytes::new(), _share: share }) };
        if body.is_end_stream() {
            return Ok(Whole { bytes: first, _share: share });
        }
        let mut bytes = BytesMut::with_capacity(length.min(limit).max(first.len()));
        bytes.extend_from_slice(&first);
        while let Some(data) = frame(&mut body).await? {
            if bytes.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Whole { bytes: bytes.freeze(), _share: share })
    }

    /// Reads the body of a request whole. Errors also: it is compressed.
    pub(super) async fn message(
        &self,
        request: Request<Incoming>,
        limit: usize,
    ) -> Result<Whole<'_>, Problem> {
        uncompressed(request.headers())?;
        self.whole(request.into_body(), limit).await
    }

    /// Permits for so many bytes of bodies.
    pub(super) fn permits(bytes: usize) -> usize {
        bytes.div_ceil(PERMIT_BYTES)
    }
}

/// The next data of a body, `None` at its end.
async fn frame(body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(_)) => return Err(broken()),
        }
    }
}

/// A body as something that a thread reads from, while it comes.
pub(super) struct Reader {
    data: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

/// Reads a body on for as long as its reader is there. The second part is to be waited for.
pub(super) fn reader(mut body: Incoming) -> (Reader, impl Future<Output = ()>) {
    let (sender, data) = mpsc::channel(16);
    let pump = async move {
        loop {
            let next = match frame(&mut body).await {
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
