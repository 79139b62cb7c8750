//! Ids one per line in, results one per line out, for any length.

use super::query::{ReachabilityQuery, ResultCache, ResultFields};
use crate::service::memory::Reservation;
use crate::service::problem::Problem;
use crate::service::record::{RequestRecord, SharedRecord, StreamEnd};
use crate::service::response::{Body, stream, with_extension, with_version};
use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

const CSV: &str = "text/csv; charset=utf-8";

/// Longest line that is parsed as an id. A longer line is rejected, and not repeated in the response.
const LINE_BYTES_MAX: usize = 1024;
/// Looked up instead of a longer line: no id has so many digits.
const TOO_LONG: &[u8] = b"00000000000000000000";
/// Bytes of lines per frame of the response.
const CHUNK_BYTES: usize = 1 << 14;
/// Memory for the answers of a chunk, in any case.
pub(super) const STREAM_BYTES: usize = 1 << 19;
/// Memory for the answer of a line, if they are fewer than those of a chunk.
pub(super) const LINE_BYTES: usize = 64;
/// How many times as much memory the answers take with channel rules, whose names have up to 240 bytes, all in
/// quotation marks.
pub(super) const RULED: usize = 5;

/// Time between attempts to count ids while the client is at its limit.
const LIMIT_RETRY: Duration = Duration::from_millis(50);

/// A response that is produced while it is sent. `admit` counts streamed ids and returns whether the client is within
/// its limit; if not, the response waits.
///
/// Errors: the results of the first lines of a body that has arrived cannot be read. Later, the response ends.
pub(super) fn respond_in_lines(
    query: ReachabilityQuery,
    source: LineSource,
    memory: Reservation,
    stall: Duration,
    admit: impl Fn(usize) -> bool + Send + 'static,
) -> Result<Response<Body>, Problem> {
    let register = query.register.clone();
    let record = RequestRecord::of(&register, query.sender.as_deref(), 0);
    let record = SharedRecord::new(record);
    let mut lines = LineStream {
        query,
        source,
        partial: Vec::new(),
        done: false,
        stall,
        timer: Box::pin(tokio::time::sleep(stall)),
        stalled: false,
        record: record.clone(),
        admit: Box::new(admit),
        held: None,
    };
    lines.begin()?;
    Ok(with_extension(with_version(stream(CSV, lines, memory), &register), record))
}

/// Where lines are read from.
pub(super) enum LineSource {
    Streamed {
        body: Incoming,
        /// What has arrived and is not answered.
        rest: Bytes,
    },
    Buffered(Bytes),
}

/// Writes `id,outcome,reason,operator_id` for each line, with channel rules also `,channel,rule`.
fn write(query: &ReachabilityQuery, text: &[u8], out: &mut Vec<u8>) -> Result<RequestRecord, Problem> {
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').map(without_return).collect();
    // The text after the last line end is empty and no line.
    lines.pop_if(|last| last.is_empty());
    let ids = lines.iter().map(|line| id_of(line));
    let results = query.results(ids)?;
    let mut cache = ResultCache::new(|fields: ResultFields<'_>| {
        let ResultFields { outcome, reason, operator_id, ruled } = fields;
        let mut text = format!(",{outcome},{reason},{operator_id}").into_bytes();
        for cell in ruled.iter().flat_map(|(channel, rule)| [channel, rule]) {
            text.push(b',');
            write_cell(cell.as_bytes(), &mut text);
        }
        text.push(b'\n');
        text
    });
    for (line, result) in lines.iter().zip(results.iter()) {
        write_cell(line, out);
        out.extend_from_slice(cache.text(query, result));
    }
    Ok(results.record(query))
}

/// The id of a line.
pub(super) fn id_of(line: &[u8]) -> &[u8] {
    let line = without_return(line);
    if line.len() > LINE_BYTES_MAX { TOO_LONG } else { line }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Writes a line of the request as a cell.
fn write_cell(line: &[u8], out: &mut Vec<u8>) {
    if line.len() > LINE_BYTES_MAX {
        return;
    }
    if memchr::memchr3(b',', b'"', b'\r', line).is_none() {
        out.extend_from_slice(line);
        return;
    }
    out.push(b'"');
    for &byte in line {
        out.extend_from_slice(if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) });
    }
    out.push(b'"');
}

/// The body of a response in lines.
struct LineStream {
    query: ReachabilityQuery,
    source: LineSource,
    /// The beginning of a line that has not arrived completely.
    partial: Vec<u8>,
    done: bool,
    /// Time for which the client may send nothing.
    stall: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer measures a stall.
    stalled: bool,
    record: SharedRecord,
    admit: Box<dyn Fn(usize) -> bool + Send>,
    /// Results that wait for the client's limit, and their number.
    held: Option<(Vec<u8>, usize)>,
}

/// The next bytes that are answered together.
fn next_of(bytes: &mut Bytes) -> Bytes {
    bytes.split_to(bytes.len().min(CHUNK_BYTES))
}

impl LineStream {
    /// Answers the first lines of a body that has arrived.
    fn begin(&mut self) -> Result<(), Problem> {
        let LineSource::Buffered(bytes) = &mut self.source else { return Ok(()) };
        let (first, is_all) = (next_of(bytes), bytes.is_empty());
        let mut out = self.add(&first)?;
        if is_all {
            out.append(&mut self.end()?);
        }
        self.hold(out);
        Ok(())
    }

    /// The result of the last line, if that has no end.
    fn end(&mut self) -> Result<Vec<u8>, Problem> {
        self.done = true;
        let (line, mut out) = (std::mem::take(&mut self.partial), Vec::new());
        self.answer(&line, &mut out)?;
        Ok(out)
    }

    /// Keeps results until the client is within its limit.
    fn hold(&mut self, out: Vec<u8>) {
        if !out.is_empty() {
            let ids = memchr::memchr_iter(b'\n', &out).count();
            self.held = Some((out, ids));
        }
    }

    /// The results of the lines that are complete.
    fn add(&mut self, data: &[u8]) -> Result<Vec<u8>, Problem> {
        let mut out = Vec::new();
        let Some(end) = memchr::memrchr(b'\n', data).map(|last| last + 1) else {
            self.keep_partial(data);
            return Ok(out);
        };
        out.reserve(end * 5);
        let (mut complete, rest) = data.split_at(end);
        if !self.partial.is_empty() {
            let first = memchr::memchr(b'\n', complete).map_or(complete.len(), |first| first + 1);
            self.keep_partial(&complete[..first]);
            let line = std::mem::take(&mut self.partial);
            self.answer(&line, &mut out)?;
            complete = &complete[first..];
        }
        self.answer(complete, &mut out)?;
        self.keep_partial(rest);
        Ok(out)
    }

    /// Keeps the beginning of a line; of a line that is too long, no more than shows that.
    fn keep_partial(&mut self, data: &[u8]) {
        let free = (LINE_BYTES_MAX + 2).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&data[..data.len().min(free)]);
    }

    fn answer(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
        let record = write(&self.query, text, out)?;
        self.record.lock().add(record);
        Ok(())
    }

    /// Returns held results when the client is within its limit.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        while let Some((out, ids)) = self.held.take() {
            if (self.admit)(ids) {
                return Poll::Ready(Some(out));
            }
            self.held = Some((out, ids));
            self.timer.as_mut().reset(Instant::now() + LIMIT_RETRY);
            ready!(self.timer.as_mut().poll(context));
        }
        Poll::Ready(None)
    }

    /// The next data of the request, `None` at its end.
    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let (body, rest) = match &mut self.source {
            LineSource::Buffered(bytes) if bytes.is_empty() => return Poll::Ready(None),
            LineSource::Buffered(bytes) => return Poll::Ready(Some(Ok(next_of(bytes)))),
            LineSource::Streamed { body, rest } => (body, rest),
        };
        if !rest.is_empty() {
            return Poll::Ready(Some(Ok(next_of(rest))));
        }
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(next) => {
                self.stalled = false;
                Poll::Ready(next.map(|frame| {
                    *rest = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
                    Ok(next_of(rest))
                }))
            }
            Poll::Pending => {
                if !std::mem::replace(&mut self.stalled, true) {
                    self.timer.as_mut().reset(Instant::now() + self.stall);
                }
                ready!(self.timer.as_mut().poll(context));
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }
}

impl HttpBody for LineStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let lines = self.get_mut();
        loop {
            if let Some(out) = ready!(lines.poll_held(context)) {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
            if lines.done {
                lines.record.lock().end = StreamEnd::Complete;
                return Poll::Ready(None);
            }
            let out = match ready!(lines.poll_source(context)) {
                Some(Ok(data)) => lines.add(&data),
                None => lines.end(),
                Some(Err(error)) => {
                    // The body is cut off or malformed: the client has ended it, as if it had gone.
                    lines.record.lock().end = StreamEnd::Abandoned;
                    return Poll::Ready(Some(Err(error)));
                }
            };
            match out {
                Ok(out) => lines.hold(out),
                Err(problem) => {
                    let is_of_client = problem.status().is_client_error();
                    lines.record.lock().end =
                        if is_of_client { StreamEnd::Abandoned } else { StreamEnd::Failed };
                    return Poll::Ready(Some(Err(io::Error::other(problem.detail().to_owned()))));
                }
            }
        }
    }
}
