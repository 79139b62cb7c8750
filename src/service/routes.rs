//! Which address leads where, and what is noted of every exchange.

use super::exchange::{Body, Ids, Problem, json, respond};
use super::registers::Live;
use super::server::Service;
use super::{far, krr, lists, openapi, reachability};
use crate::register::Kind;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What a client may call a request; otherwise it is given a name.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What handlers need to know of the exchange beside the request.
pub(super) struct Exchange<'s> {
    pub(super) service: &'s Service,
    /// Name of the request, 20 to 50 characters, as FaR's `CallId`.
    pub(super) id: String,
}

/// Answers any request.
pub(super) async fn answer(service: &Service, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let exchange = Exchange { service, id: request_id(&request) };
    let (endpoint, answered) = route(&exchange, request).await;
    let mut response = answered.unwrap_or_else(Problem::into_response);
    let status = response.status();
    let ids = response.extensions().get::<Ids>().map_or(0, |ids| ids.0);
    let spent = started.elapsed();
    service.metrics.count(endpoint, status.as_u16(), ids, spent);
    let (request_id, micros, status_code) = (&exchange.id, spent.as_micros() as u64, status.as_u16());
    match status.as_u16() {
        500.. => tracing::warn!(request_id, endpoint, status = status_code, ids, micros, "failed"),
        400.. => tracing::info!(request_id, endpoint, status = status_code, ids, micros, "refused"),
        _ => tracing::debug!(request_id, endpoint, status = status_code, ids, micros, "answered"),
    }
    if let Ok(id) = HeaderValue::from_str(&exchange.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn request_id(request: &Request<Incoming>) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let good = |id: &&str| {
        (20..=50).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    given.filter(good).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

type Answered = Result<Response<Body>, Problem>;

async fn route(exchange: &Exchange<'_>, request: Request<Incoming>) -> (&'static str, Answered) {
    let service = exchange.service;
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let get = |answer: &dyn Fn() -> Response<Body>| match method {
        Method::GET | Method::HEAD => Ok(answer()),
        _ => Err("GET, HEAD"),
    };
    let done = match &*path {
        "/healthz" => ("healthz", get(&|| respond("text/plain", "ok\n"))),
        "/readyz" => ("readyz", get(&|| ready(service))),
        "/metrics" => ("metrics", get(&|| respond(METRICS, service.metrics.text(&service.registers)))),
        "/openapi.json" => ("openapi", get(&|| json(&openapi::document()))),
        _ => {
            let Some((live, path)) = service.registers.at(&path) else {
                return ("unknown", Err(nothing_here()));
            };
            return of_register(exchange, &Arc::clone(live), path, request).await;
        }
    };
    (done.0, done.1.or_else(|allowed| Ok(not_allowed(allowed))))
}

const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn of_register(
    exchange: &Exchange<'_>,
    live: &Live,
    path: &str,
    request: Request<Incoming>,
) -> (&'static str, Answered) {
    let service = exchange.service;
    let (kind, method) = (live.register().kind(), request.method().clone());
    let (post, reads) = (method == Method::POST, method == Method::GET || method == Method::HEAD);
    let listing = |answer: fn(&Live) -> Response<Body>| match reads {
        true => Ok(answer(live)),
        false => Ok(not_allowed("GET, HEAD")),
    };
    match (path, kind) {
        ("/v1/register", _) => ("register", listing(lists::description)),
        ("/v1/operators", _) => ("operators", listing(lists::operators)),
        ("/v1/senders", _) => ("senders", listing(lists::senders)),
        ("/v1/dispatchers", _) => ("dispatchers", listing(lists::dispatchers)),
        ("/v1/reachability", _) if post => {
            ("reachability", reachability::reachability(service, live, request).await)
        }
        ("/v1/check", _) if post => ("check", lists::check(service, live, request).await),
        ("/v1/reachability", _) => ("reachability", Ok(not_allowed("POST"))),
        ("/v1/check", _) => ("check", Ok(not_allowed("POST"))),
        ("/Recipient/v3", Kind::Far) => ("far-recipient", Ok(far::recipient(exchange, live, request).await)),
        ("/Authority", Kind::Far) => ("far-authority", Ok(far::authority(exchange, live, request).await)),
        ("/rest/v1/personer" | "/rest/v2/personer", Kind::Krr) if post => {
            ("krr-personer", krr::persons(service, live, request).await)
        }
        ("/rest/v1/personer" | "/rest/v2/personer", Kind::Krr) => ("krr-personer", Ok(not_allowed("POST"))),
        _ => ("unknown", Err(nothing_here())),
    }
}

fn nothing_here() -> Problem {
    let detail = "nothing is at this address; /openapi.json and docs/service.md list what is";
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

pub(super) fn not_allowed(allowed: &'static str) -> Response<Body> {
    let problem =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", format!("this address takes {allowed}"));
    let mut response = problem.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Whether all registers may be asked.
fn ready(service: &Service) -> Response<Body> {
    let registers = service.registers.all.iter().map(|live| {
        let register = live.register();
        serde_json::json!({
            "name": live.name, "sequence": register.sequence(), "as_of": register.as_of().to_string(),
            "fresh": live.is_fresh(), "following": !live.failing.load(Ordering::Relaxed),
        })
    });
    let registers: Vec<_> = registers.collect();
    let ready = service.registers.all.iter().all(|live| live.is_fresh());
    let mut response = json(&serde_json::json!({ "ready": ready, "registers": registers }));
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
