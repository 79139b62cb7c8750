//! `POST /v1/reachability`: an outcome for each of any number of ids.

mod compact;
mod json;
mod lines;
mod parameters;
mod query;

pub(super) use json::{ReachabilityRequest, ReachabilityResponse};
pub(super) use query::ReachabilityQuery;

use super::body::{self, BufferedBody, RequestBody};
use super::context::RequestContext;
use super::live;
use super::operation::{operation, problem, request_body, response, schema, string_schema};
use super::problem::Problem;
use super::registers::ServedRegister;
use super::request::{content_type, query as parse_query, unsupported_content_type};
use super::response::{Body, JSON};
use crate::limits::INLINE_BODY_BYTES;
use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use lines::LineSource;
use parameters::ReachabilityParameters;
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa::openapi::path::{OperationBuilder, ParameterIn};

/// Bytes of memory per byte of a JSON body whose ids have twelve digits: the body, its ids, and their answers.
const JSON_WEIGHT: usize = 5;
/// Bytes of memory per byte of a body of digits.
const COMPACT_WEIGHT: usize = 3;

/// Answers in the form of the request.
pub(super) async fn reachability(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let parameters: ReachabilityParameters = parse_query(request.uri().query())?;
    match &*content_type(request.headers()) {
        JSON => in_json(context, served, &parameters, request).await,
        compact::IDS => in_codes(context, served, &parameters, request).await,
        "text/csv" | "text/plain" => in_lines(context, served, &parameters, request).await,
        _ => Err(unsupported_content_type(
            "send ids as application/json, text/csv, text/plain or application/vnd.nabar.ids",
        )),
    }
}

fn new_query(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    parameters: &ReachabilityParameters,
) -> Result<ReachabilityQuery, Problem> {
    let (sender, date) = (parameters.sender.as_deref(), parameters.date.as_deref());
    ReachabilityQuery::new(context, served, sender, date)?.with_rules(context, parameters.rules.as_deref())
}

/// Runs a lookup; a long one so that it does not block other requests.
fn run<R>(body_bytes: usize, lookup: impl FnOnce() -> R) -> R {
    match body_bytes > INLINE_BODY_BYTES {
        true => tokio::task::block_in_place(lookup),
        false => lookup(),
    }
}

async fn in_json(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    parameters: &ReachabilityParameters,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let limits = &context.service.limits;
    let body = context.read_body(request, limits.json_bytes.min(limits.body_bytes), JSON_WEIGHT).await?;
    if let Some(front) = served.front() {
        return json::ask_in_json(context, (served, front), parameters, body).await;
    }
    run(body.bytes.len(), || json::respond_in_json(context, served, parameters, body))
}

async fn in_codes(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    parameters: &ReachabilityParameters,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    if parameters.rules.is_some() {
        let detail = "the compact form has no channels: with rules, send ids as JSON or in lines";
        return Err(Problem::bad_request("bad-query", detail));
    }
    let mut query = new_query(context, served, parameters)?;
    let body = context.read_body(request, context.service.limits.body_bytes, COMPACT_WEIGHT).await?;
    context.count_ids(body.bytes.len() / compact::width(&query))?;
    if let Some(front) = served.front() {
        let ids = body.bytes.chunks(compact::width(&query));
        let (asked, missing) = query.asked(front, context, ids).await?;
        // The form has no code for an id that was not asked.
        missing.map_or(Ok(()), |error| Err(live::problem(&error)))?;
        query = asked;
    }
    let mut response = run(body.bytes.len(), || compact::respond_in_codes(&query, &body.bytes))?;
    response.body_mut().keep(body.memory);
    Ok(response)
}

async fn in_lines(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    parameters: &ReachabilityParameters,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let (mut query, service) = (new_query(context, served, parameters)?, context.service);
    let limits = &service.limits;
    let times = if query.ruling.is_some() { lines::RULED } else { 1 };
    // A client that announces the length may send the whole body before it reads: then the body is buffered.
    match request.body().content_length() {
        Some(length) if length <= limits.body_bytes => {
            let BufferedBody { bytes, mut memory } = context.read_body(request, limits.body_bytes, 1).await?;
            let last = usize::from(!bytes.ends_with(b"\n") && !bytes.is_empty());
            let lines = memchr::memchr_iter(b'\n', &bytes).count() + last;
            context.count_ids(lines)?;
            let needed = bytes.len() + times * (lines * lines::LINE_BYTES).min(lines::STREAM_BYTES);
            context.grow(&mut memory, needed)?;
            if let Some(front) = served.front() {
                context.grow(&mut memory, needed + live::register_bytes(&query.register))?;
                let ids = bytes.split(|byte| *byte == b'\n').map(lines::id_of);
                query = query.asked(front, context, ids).await?.0;
            }
            let source = LineSource::Buffered(bytes);
            lines::respond_in_lines(query, source, memory, limits.stall_time, |_| true)
        }
        // The ids are asked together.
        _ if served.front().is_some() => {
            let detail = "for a live register, lines need a Content-Length";
            Err(Problem::new(StatusCode::LENGTH_REQUIRED, "length-required", detail))
        }
        _ => {
            body::require_uncompressed(request.headers())?;
            let memory = context.reserve_stream(times * lines::STREAM_BYTES).await?;
            let body = request.into_body().take().ok_or_else(body::truncated)?;
            let (counting, client) = (Arc::clone(service), context.client.clone());
            let admit = move |ids| counting.clients.count_ids(&client, ids).is_ok();
            let source = LineSource::Streamed { body, rest: Bytes::new() };
            lines::respond_in_lines(query, source, memory, limits.stall_time, admit)
        }
    }
}

pub(super) fn operation_of_reachability() -> OperationBuilder {
    let ids = [
        (JSON, schema("ReachabilityRequest")),
        ("text/csv", string_schema()),
        ("text/plain", string_schema()),
        (compact::IDS, string_schema()),
    ];
    let results = [
        (JSON, schema("ReachabilityResponse")),
        ("text/csv", string_schema()),
        (compact::RESULTS, string_schema()),
    ];
    operation()
        .description(Some(
            "Ids as JSON; one per line, with one result per line, streamed at any length; or digits without \
             separators, with one byte per id.",
        ))
        .parameters(Some(ReachabilityParameters::into_params(|| Some(ParameterIn::Query))))
        .request_body(request_body(&ids))
        .response("200", response("A result for each id, in the order of the request", &results))
        .response("406", problem("The register has more operators than the compact form has codes"))
        .response(
            "422",
            problem("Unknown sender, missing sender, or a sender for a register without senders"),
        )
}
