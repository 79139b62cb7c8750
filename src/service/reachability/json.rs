//! Ids and results as JSON.

use super::parameters::ReachabilityParameters;
use super::query::{QueryResults, ReachabilityQuery, ResultCache, ResultFields};
use crate::service::body::BufferedBody;
use crate::service::context::RequestContext;
use crate::service::live;
use crate::service::memory::Reservation;
use crate::service::organisations::RegisterVersion;
use crate::service::problem::Problem;
use crate::service::record::{SharedRecord, StreamEnd};
use crate::service::registers::ServedRegister;
use crate::service::request::from_json;
use crate::service::response::{self, Body, JSON, respond, with_extension, with_version};
use crate::source::Front;
use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Ids, and the sender and date of the question.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::service) struct ReachabilityRequest<'a> {
    /// FaR: the sender, unless it is in the query string.
    #[serde(borrow, default)]
    #[schema(examples("164821000025"))]
    sender: Option<Cow<'a, str>>,
    /// The day of the mailing, unless it is in the query string.
    #[serde(borrow, default)]
    #[schema(examples("2026-06-01"))]
    date: Option<Cow<'a, str>>,
    /// Ids in any spelling.
    #[serde(borrow)]
    #[schema(value_type = Vec<String>)]
    recipients: Vec<Id<'a>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Id<'a>(#[serde(borrow)] Cow<'a, str>);

/// The results of a question. `write` writes the same without building it.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::service) struct ReachabilityResponse {
    register: RegisterVersion,
    /// FaR: 12 digits; `null` for KRR.
    #[schema(required = true)]
    sender: Option<String>,
    date: String,
    /// One for each id, in the order of the request.
    results: Vec<RecipientResult<'static>>,
}

/// The outcome for one recipient. The first three fields are always present.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::service) struct RecipientResult<'r> {
    /// `digital`, `notify`, `paper`, or `rejected` if the id is invalid.
    outcome: &'static str,
    /// Why it is `paper` or `rejected`; `null` otherwise.
    #[schema(required = true)]
    reason: Option<&'static str>,
    /// The mailbox operator, if it is `digital`; `null` otherwise.
    #[schema(required = true)]
    operator_id: Option<&'r str>,
    /// With `rules` in the query string only.
    #[serde(flatten)]
    ruled: Option<Ruled<'r>>,
}

/// How channel rules decide a letter.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::service) struct Ruled<'r> {
    /// The channel; `null` without a valid id.
    channel: Option<&'r str>,
    /// The rule that applies; `null` without a valid id.
    rule: Option<&'r str>,
}

/// Memory per id while it is looked up: its text's place, its answer, and why it is rejected.
const ID_BYTES: usize = 24 + 6 + 2 * 8;
/// Memory per id afterwards.
const RESULT_BYTES: usize = 2 + 2 * 8;
/// More memory per id with channel rules, while it is looked up: its identity, and its rule.
const RULED_BYTES: usize = 24 + 2;
/// Memory for the parts of a streamed response that are being sent.
const STREAM_BYTES: usize = 1 << 18;
/// Results of a response that is not streamed.
const BUFFERED_RESULTS: usize = 2000;
/// The same with channel rules, whose names are longer.
const BUFFERED_RULED_RESULTS: usize = 200;
/// Results per part of a streamed response.
const PART_RESULTS: usize = 500;

/// Answers a request whose body is JSON.
pub(super) fn respond_in_json(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    parameters: &ReachabilityParameters,
    body: BufferedBody,
) -> Result<Response<Body>, Problem> {
    let BufferedBody { bytes, mut memory } = body;
    let (query, ids) = read(context, served, parameters, &bytes, &mut memory)?;
    let results = query.results(ids.iter().map(Id::bytes))?;
    drop(ids);
    drop(bytes);
    respond_with(query, results, memory)
}

/// Answers the same from a live register.
pub(super) async fn ask_in_json(
    context: &RequestContext<'_>,
    (served, front): (&ServedRegister, &Front),
    parameters: &ReachabilityParameters,
    body: BufferedBody,
) -> Result<Response<Body>, Problem> {
    let BufferedBody { bytes, mut memory } = body;
    let (query, ids) = read(context, served, parameters, &bytes, &mut memory)?;
    let (query, _) = query.asked(front, context, ids.iter().map(Id::bytes)).await?;
    let results = query.results(ids.iter().map(Id::bytes))?;
    drop(ids);
    respond_with(query, results, memory)
}

impl Id<'_> {
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Reads a request: its question and its ids.
fn read<'b>(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    parameters: &ReachabilityParameters,
    bytes: &'b Bytes,
    memory: &mut Reservation,
) -> Result<(ReachabilityQuery, Vec<Id<'b>>), Problem> {
    // Each id has two quotation marks.
    let ids = memchr::memchr_iter(b'"', bytes).count() / 2;
    let ruled = if parameters.rules.is_some() { RULED_BYTES } else { 0 };
    context.grow(memory, bytes.len() + ids * (ID_BYTES + ruled))?;
    let request: ReachabilityRequest<'_> = from_json(bytes, "{\"sender\", \"recipients\"}")?;
    let sender = parameters.sender.as_deref().or(request.sender.as_deref());
    let date = parameters.date.as_deref().or(request.date.as_deref());
    let query = ReachabilityQuery::new(context, served, sender, date)?;
    let query = query.with_rules(context, parameters.rules.as_deref())?;
    context.count_ids(request.recipients.len())?;
    Ok((query, request.recipients))
}

fn respond_with(
    query: ReachabilityQuery,
    results: QueryResults,
    mut memory: Reservation,
) -> Result<Response<Body>, Problem> {
    let (register, record) = (query.register.clone(), results.record(&query));
    let is_buffered = match &query.ruling {
        None => results.answers.len() <= BUFFERED_RESULTS,
        Some(_) => results.answers.len() <= BUFFERED_RULED_RESULTS,
    };
    if is_buffered {
        let mut writer = JsonWriter::new(query, results);
        let mut out = writer.beginning();
        writer.write_part(BUFFERED_RESULTS, &mut out);
        let mut response = with_extension(with_version(respond(JSON, out), &register), record);
        response.body_mut().keep(memory);
        return Ok(response);
    }
    let needed = results.answers.len() * RESULT_BYTES + STREAM_BYTES + live::register_bytes(&register);
    memory.resize(needed).map_err(|_| Problem::busy())?;
    let mut writer = JsonWriter::new(query, results);
    let beginning = writer.beginning();
    let left = writer.length(beginning.len());
    let record = SharedRecord::new(record);
    let stream = JsonStream { writer, beginning: Some(beginning), left, record: record.clone() };
    let response = response::stream(JSON, stream, memory);
    Ok(with_extension(with_version(response, &register), record))
}

/// Writes a [`ReachabilityResponse`]: each distinct result is formatted once.
struct JsonWriter {
    query: ReachabilityQuery,
    results: QueryResults,
    written: usize,
    cache: ResultCache<fn(ResultFields<'_>) -> Vec<u8>>,
}

const END: &[u8] = b"]}";

fn format_result(fields: ResultFields<'_>) -> Vec<u8> {
    fn present(text: &str) -> Option<&str> {
        (!text.is_empty()).then_some(text)
    }
    let result = RecipientResult {
        outcome: fields.outcome,
        reason: (!fields.reason.is_empty()).then_some(fields.reason),
        operator_id: present(fields.operator_id),
        ruled: fields.ruled.map(|(channel, rule)| Ruled { channel: present(channel), rule: present(rule) }),
    };
    serde_json::to_vec(&result).unwrap_or_default()
}

impl JsonWriter {
    fn new(query: ReachabilityQuery, results: QueryResults) -> JsonWriter {
        JsonWriter { query, results, written: 0, cache: ResultCache::new(format_result) }
    }

    /// The text before the results.
    fn beginning(&self) -> Vec<u8> {
        let results = self.results.answers.len().min(BUFFERED_RESULTS);
        let mut out = Vec::with_capacity(256 + results * 80);
        out.push(b'{');
        member(&mut out, "register", &RegisterVersion::of(&self.query.register));
        out.push(b',');
        member(&mut out, "sender", &self.query.sender);
        out.push(b',');
        member(&mut out, "date", &self.query.date.date.to_string());
        out.extend_from_slice(b",\"results\":[");
        out
    }

    /// Appends the next results; after the last one, the end.
    fn write_part(&mut self, results: usize, out: &mut Vec<u8>) {
        let part = self.written..self.results.answers.len().min(self.written + results);
        for (index, result) in part.clone().zip(self.results.part(part.clone())) {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(self.cache.text(&self.query, result));
        }
        self.written = part.end;
        if self.written == self.results.answers.len() {
            out.extend_from_slice(END);
        }
    }

    /// The length of the response in bytes.
    fn length(&mut self, beginning: usize) -> usize {
        let all = self.results.part(0..self.results.answers.len());
        let texts: usize = all.map(|result| self.cache.text(&self.query, result).len()).sum();
        beginning + texts + self.results.answers.len().saturating_sub(1) + END.len()
    }
}

/// The body of a response that is written while it is sent.
struct JsonStream {
    writer: JsonWriter,
    beginning: Option<Vec<u8>>,
    /// Bytes that have not been written.
    left: usize,
    record: SharedRecord,
}

impl HttpBody for JsonStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut out = this.beginning.take().unwrap_or_default();
        out.reserve(PART_RESULTS * 80);
        this.writer.write_part(PART_RESULTS, &mut out);
        this.left = this.left.saturating_sub(out.len());
        if this.left == 0 {
            this.record.lock().end = StreamEnd::Complete;
        }
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    out.extend_from_slice(format!("\"{name}\":").as_bytes());
    // Neither text nor numbers fail to serialize.
    let _ = serde_json::to_writer(&mut *out, value);
}
