//! Responses and their bodies.

use super::memory::{FREE_BYTES, NoMemory, Reservation};
use super::problem::Problem;
use super::record::RequestRecord;
use crate::register::Register;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{AGE, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::any::Any;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Sequence number of the version that the response was made from.
pub(super) const SEQUENCE: HeaderName = HeaderName::from_static("nabar-sequence");
/// Its as-of time.
pub(super) const AS_OF: HeaderName = HeaderName::from_static("nabar-as-of");

/// Content type of JSON.
pub(super) const JSON: &str = "application/json";

/// A body that is produced while it is sent.
pub(super) type StreamBody = dyn HttpBody<Data = Bytes, Error = io::Error> + Send + Unpin;

/// The body of a response.
pub(super) struct Body {
    content: Content,
    /// Memory that was reserved for the request.
    memory: Reservation,
    /// Dropped when the body has been taken or abandoned.
    guard: Vec<Box<dyn Any + Send>>,
    watch: Option<BodyWatch>,
}

/// Bytes of a mapped file per frame of a body. They are copied, into the memory that belongs to the connection for a small
/// body and a small response.
const MAPPED_BYTES: usize = 2 * FREE_BYTES;

/// Decides whether bytes of a mapped file may be sent that have just been copied. It gets whether they are the last ones.
pub(super) type MappedCheck = dyn FnMut(bool) -> io::Result<()> + Send;

/// Pages of a mapped file, which may change while they are sent. What is sent is a copy that was checked after it was made.
struct MappedPages {
    pages: Bytes,
    check: Box<MappedCheck>,
}

impl MappedPages {
    fn next(&mut self) -> Option<io::Result<Bytes>> {
        let pages = self.pages.split_to(self.pages.len().min(MAPPED_BYTES));
        if pages.is_empty() {
            return None;
        }
        let copy = Bytes::copy_from_slice(&pages);
        Some((self.check)(self.pages.is_empty()).map(|()| copy))
    }
}

/// Checks from time to time whether a body may still be sent, also while nothing can be sent.
pub(super) struct BodyWatch {
    interval: Duration,
    timer: Pin<Box<Sleep>>,
    check: Box<dyn FnMut() -> io::Result<()> + Send>,
}

impl BodyWatch {
    /// An error of `check` ends the body before its end, so that it is not complete for its client.
    pub(super) fn new(
        interval: Duration,
        check: impl FnMut() -> io::Result<()> + Send + 'static,
    ) -> BodyWatch {
        let timer = Box::pin(tokio::time::sleep(interval));
        BodyWatch { interval, timer, check: Box::new(check) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.timer.as_mut().poll(context).is_ready() {
            (self.check)()?;
            self.timer.as_mut().reset(Instant::now() + self.interval);
        }
        Ok(())
    }
}

enum Content {
    /// In memory, which counts.
    Bytes(Bytes),
    Mapped(MappedPages),
    Stream(Box<StreamBody>),
}

/// Bytes, and the memory that is reserved for them until they have been sent.
struct HeldBytes {
    bytes: Bytes,
    _memory: Reservation,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body {
    fn new(content: Content) -> Body {
        Body { content, memory: Reservation::default(), guard: Vec::new(), watch: None }
    }

    /// Attaches what the request has reserved. It is kept until the body has been sent.
    pub(super) fn keep(&mut self, memory: Reservation) {
        self.memory = memory;
    }

    /// Attaches a value that is dropped when the body has been taken or abandoned.
    pub(super) fn guard(&mut self, guard: impl Any + Send) {
        self.guard.push(Box::new(guard));
    }

    /// Whether it may take long to send: it is neither in memory nor empty.
    pub(super) fn is_long(&self) -> bool {
        !matches!(self.content, Content::Bytes(_)) && !self.is_end_stream()
    }

    /// Checks from time to time whether the body may still be sent.
    pub(super) fn watch(&mut self, watch: BodyWatch) {
        self.watch = Some(watch);
    }

    /// Reserves memory for a body in memory, until its last byte has been sent. `unreserved`: a reservation of the
    /// client without any bytes, for a request that has none. Errors: there is not enough memory.
    pub(super) fn hold(&mut self, unreserved: impl FnOnce() -> Reservation) -> Result<(), NoMemory> {
        let Content::Bytes(bytes) = &mut self.content else { return Ok(()) };
        let mut memory = std::mem::take(&mut self.memory);
        if bytes.len() <= FREE_BYTES {
            return Ok(());
        }
        if !memory.can_grow() {
            memory = unreserved();
        }
        memory.resize(bytes.len())?;
        // hyper takes the bytes long before it has sent them.
        *bytes = Bytes::from_owner(HeldBytes { bytes: std::mem::take(bytes), _memory: memory });
        Ok(())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if let Some(Err(error)) = this.watch.as_mut().map(|watch| watch.poll(context)) {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut this.content {
            Content::Bytes(bytes) => {
                let all = std::mem::take(bytes);
                Poll::Ready((!all.is_empty()).then(|| Ok(Frame::data(all))))
            }
            Content::Mapped(file) => Poll::Ready(file.next().map(|next| next.map(Frame::data))),
            Content::Stream(stream) => Pin::new(stream).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Mapped(file) => file.pages.is_empty(),
            Content::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Mapped(file) => SizeHint::with_exact(file.pages.len() as u64),
            Content::Stream(stream) => stream.size_hint(),
        }
    }
}

/// A response with a body in memory.
pub(super) fn respond(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    of_content(content_type, Content::Bytes(body.into()))
}

/// A response with pages of a mapped file as its body. `check` is called for each piece of it; its error ends the body
/// before that piece.
pub(super) fn respond_with_file(
    content_type: &'static str,
    pages: Bytes,
    check: Box<MappedCheck>,
) -> Response<Body> {
    of_content(content_type, Content::Mapped(MappedPages { pages, check }))
}

/// A response whose body is produced while it is sent, and which has reserved its memory.
pub(super) fn stream(
    content_type: &'static str,
    body: impl HttpBody<Data = Bytes, Error = io::Error> + Send + Unpin + 'static,
    memory: Reservation,
) -> Response<Body> {
    let mut response = of_content(content_type, Content::Stream(Box::new(body)));
    response.body_mut().keep(memory);
    response
}

fn of_content(content_type: &'static str, content: Content) -> Response<Body> {
    let mut response = Response::new(Body::new(content));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response in JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    respond(JSON, serde_json::to_vec(value).unwrap_or_default())
}

/// An error response, with its record.
pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let status = problem.status();
    let record = RequestRecord::of_refusal(problem.word(), problem.sender());
    let mut response = respond("application/problem+json", serde_json::to_vec(problem).unwrap_or_default());
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, problem.retry_after().into());
    }
    with_extension(response, record)
}

/// Adds the headers that name the version. If its file was overwritten since, the response is 500 instead.
pub(super) fn with_version(mut response: Response<Body>, register: &Register) -> Response<Body> {
    if let Err(damage) = register.intact() {
        return problem(&Problem::damaged(register, &damage));
    }
    let headers = response.headers_mut();
    headers.insert(SEQUENCE, register.sequence().into());
    if let Ok(as_of) = HeaderValue::from_str(&register.as_of().to_string()) {
        headers.insert(AS_OF, as_of);
    }
    if register.scope().is_some() {
        // The age of the oldest answer.
        let age = jiff::Timestamp::now().duration_since(register.as_of()).as_secs().max(0);
        headers.insert(AGE, age.into());
    }
    response
}

/// Attaches a value for the code that sends and records the response.
pub(super) fn with_extension<E: Clone + Send + Sync + 'static>(
    mut response: Response<Body>,
    extension: E,
) -> Response<Body> {
    response.extensions_mut().insert(extension);
    response
}
