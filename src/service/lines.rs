//! Ids one a line in, answers one a line out, for any length.

use super::exchange::{Body, Noted, Notes, Problem, stream, with_note, with_version};
use super::reachability::{Asked, Pieces, Words};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

const CSV: &str = "text/csv; charset=utf-8";

/// Longest line that is taken for an id; what is longer is rejected, and not repeated.
const LINE_BYTES_MAX: usize = 1024;
/// What stands for a longer one: no id has so many digits.
const TOO_LONG: &[u8] = b"00000000000000000000";
/// Bytes of lines that are answered at a time.
const PIECE_BYTES: usize = 1 << 16;

/// How often it is asked whether a client may have more ids.
const TURN: Duration = Duration::from_millis(50);

/// The answers to lines, made as they are sent: of lines that are still coming, or that are at hand. `may` counts
/// ids that are coming, and says whether the client may have so many now; if not, they wait.
pub(super) fn answer(
    asked: Asked,
    source: Source,
    stall: Duration,
    may: impl Fn(usize) -> bool + Send + 'static,
) -> Response<Body> {
    let register = asked.register.clone();
    let notes = Notes(Arc::new(Mutex::new(Noted::of(&register, asked.sender.as_deref(), 0))));
    let waiting = Box::pin(tokio::time::sleep(stall));
    let lines = Lines {
        asked,
        source,
        rest: Vec::new(),
        done: false,
        stall,
        waiting,
        is_waiting: false,
        notes: notes.clone(),
        may: Box::new(may),
        held: None,
    };
    with_note(with_version(stream(CSV, lines.boxed_unsync()), &register), notes)
}

/// Where lines come from.
pub(super) enum Source {
    Coming(Incoming),
    AtHand(Bytes),
}

/// Writes `id,outcome,reason,operator_id` for each line.
fn write(asked: &Asked, text: &[u8], out: &mut Vec<u8>) -> Result<Noted, Problem> {
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').map(trimmed).collect();
    // Behind the last line end there is no line.
    lines.pop_if(|last| last.is_empty());
    let ids = lines.iter().map(|line| if line.len() > LINE_BYTES_MAX { TOO_LONG } else { line });
    let answers = asked.answers(ids)?;
    let mut pieces = Pieces::new(|(outcome, reason, operator): Words<'_>| {
        format!(",{outcome},{reason},{operator}\n").into_bytes()
    });
    for (line, answer) in lines.iter().zip(answers.iter()) {
        cell(line, out);
        out.extend_from_slice(pieces.of(&asked.register, answer));
    }
    Ok(answers.noted(asked))
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Writes what was sent as a cell.
fn cell(line: &[u8], out: &mut Vec<u8>) {
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

/// Answers that are made while the ids come.
struct Lines {
    asked: Asked,
    source: Source,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    done: bool,
    /// For how long nothing may come, and for how long it does not yet.
    stall: Duration,
    waiting: Pin<Box<Sleep>>,
    is_waiting: bool,
    notes: Notes,
    may: Box<dyn Fn(usize) -> bool + Send>,
    /// Answers whose turn has not come, and how many they are.
    held: Option<(Vec<u8>, usize)>,
}

impl Lines {
    /// The answers to the lines that have come to their ends.
    fn take(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let Some(end) = memchr::memrchr(b'\n', data).map(|at| at + 1) else {
            self.keep(data);
            return Ok(out);
        };
        out.reserve(end * 5);
        let (mut whole, rest) = data.split_at(end);
        if !self.rest.is_empty() {
            let first = memchr::memchr(b'\n', whole).map_or(whole.len(), |at| at + 1);
            self.keep(&whole[..first]);
            let line = std::mem::take(&mut self.rest);
            self.answer(&line, &mut out)?;
            whole = &whole[first..];
        }
        self.answer(whole, &mut out)?;
        self.keep(rest);
        Ok(out)
    }

    /// Keeps the beginning of a line; of one that is no id, no more than tells that.
    fn keep(&mut self, data: &[u8]) {
        let room = (LINE_BYTES_MAX + 2).saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn answer(&self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let written = write(&self.asked, text, out);
        let noted = written.map_err(|problem| io::Error::other(problem.detail().to_owned()))?;
        self.notes.0.lock().unwrap_or_else(PoisonError::into_inner).add(noted);
        Ok(())
    }

    /// Holds answers until the client may have them; at once if it may.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        while let Some((out, ids)) = self.held.take() {
            if (self.may)(ids) {
                return Poll::Ready(Some(out));
            }
            self.held = Some((out, ids));
            self.waiting.as_mut().reset(Instant::now() + TURN);
            ready!(self.waiting.as_mut().poll(context));
        }
        Poll::Ready(None)
    }
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let lines = self.get_mut();
        if let Some(out) = ready!(lines.poll_turn(context)) {
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        while !lines.done {
            let next = match &mut lines.source {
                Source::Coming(body) => match Pin::new(body).poll_frame(context) {
                    Poll::Pending => {
                        if !std::mem::replace(&mut lines.is_waiting, true) {
                            lines.waiting.as_mut().reset(Instant::now() + lines.stall);
                        }
                        ready!(lines.waiting.as_mut().poll(context));
                        Some(Err(io::ErrorKind::TimedOut.into()))
                    }
                    Poll::Ready(Some(Ok(frame))) => Some(Ok(frame.into_data().unwrap_or_default())),
                    Poll::Ready(Some(Err(error))) => Some(Err(io::Error::other(error))),
                    Poll::Ready(None) => None,
                },
                Source::AtHand(bytes) if bytes.is_empty() => None,
                Source::AtHand(bytes) => Some(Ok(bytes.split_to(bytes.len().min(PIECE_BYTES)))),
            };
            let out = match next {
                Some(Ok(data)) => {
                    lines.is_waiting = false;
                    lines.take(&data)
                }
                Some(Err(error)) => Err(error),
                None => {
                    lines.done = true;
                    let (line, mut out) = (std::mem::take(&mut lines.rest), Vec::new());
                    lines.answer(&line, &mut out).map(|()| out)
                }
            };
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => {
                    let ids = memchr::memchr_iter(b'\n', &out).count();
                    lines.held = Some((out, ids));
                    return lines.poll_turn(context).map(|out| out.map(|out| Ok(Frame::data(out.into()))));
                }
                Err(error) => {
                    lines.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}
