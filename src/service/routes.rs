//! Which address leads where, and what is noted of every exchange.

use super::access::{Caller, Peer};
use super::audit::Entry;
use super::body::{Share, Unread};
use super::exchange::{Body, Noted, Notes, Problem, json, respond};
use super::registers::Live;
use super::server::Service;
use super::{far, krr, lists, openapi, reachability, replicas};
use crate::register::Kind;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{ALLOW, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

/// Name of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What handlers need to know of the exchange beside the request.
pub(super) struct Exchange<'s> {
    pub(super) service: &'s Arc<Service>,
    /// Name of the request, 20 to 50 characters, as FaR's `CallId`.
    pub(super) id: String,
    /// Who asks.
    pub(super) caller: Caller,
    /// By what the client is counted: its organisation, or its address.
    pub(super) client: String,
}

impl Exchange<'_> {
    /// Counts the request. Errors: the client has sent too many lately.
    pub(super) fn count_request(&self) -> Result<(), Problem> {
        self.service.clients.request(&self.client)
    }

    /// Counts ids that are asked for. Errors: the client has asked for too many lately.
    pub(super) fn count_ids(&self, ids: usize) -> Result<(), Problem> {
        self.service.clients.ids(&self.client, ids)
    }
}

/// Answers any request.
pub(super) async fn answer(
    service: &Arc<Service>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    // A name of the client's own could tell of a recipient, and would be logged.
    let id = uuid::Uuid::new_v4().to_string();
    let (request, unread) = Unread::of(request);
    let caller = addressed(service, &request).and_then(|()| service.access.caller(peer, request.headers()));
    let (endpoint, organisation, answered) = match caller {
        Err(problem) if !is_open(request.uri().path()) || problem.status() == StatusCode::BAD_REQUEST => {
            ("unknown", None, Err(problem))
        }
        caller => {
            let caller = caller.unwrap_or(Caller::Unknown);
            let organisation = caller.organisation().map(str::to_owned);
            let client = organisation.clone().unwrap_or_else(|| peer.address.clone());
            let exchange = Exchange { service, id: id.clone(), caller, client };
            let (endpoint, answered) = route(&exchange, request).await;
            (endpoint, organisation, answered)
        }
    };
    unread.drain().await;
    let response = answered.unwrap_or_else(Problem::into_response);
    let named = HeaderValue::from_str(&id).map(|id| (REQUEST_ID, id));
    let entry = Entry {
        request_id: id,
        endpoint,
        status: response.status().as_u16(),
        caller: organisation,
        address: peer.address.clone(),
        ..Entry::default()
    };
    let mut response = note(service, entry, response, started);
    response.headers_mut().extend(named);
    response
}

/// Whether a request says once whom it is for, as HTTP/1.1 wants; and, where nobody is asked who they are, that
/// it does not come from a page that somebody else's site has put into a browser on this machine.
fn addressed(service: &Service, request: &Request<Unread>) -> Result<(), Problem> {
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        return Err(Problem::bad_request("host", "a request has one Host"));
    }
    let local = |origin: &HeaderValue| {
        let host =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map_or("", |(_, host)| host);
        let host =
            host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    };
    match service.authenticates || request.headers().get_all(ORIGIN).iter().all(local) {
        true => Ok(()),
        false => Err(Problem::bad_request("origin", "pages of other sites may not ask")),
    }
}

/// Whether an address tells nothing of a register.
fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics" | "/openapi.json")
}

/// Notes an exchange in metrics, log and audit log; of an answer that is still being made, at its end.
fn note(
    service: &Arc<Service>,
    mut entry: Entry,
    mut response: Response<Body>,
    started: Instant,
) -> Response<Body> {
    let share = response.extensions_mut().remove::<Share>();
    if let Some(notes) = response.extensions_mut().remove::<Notes>() {
        // Before it is known what comes of it, so that nothing is answered that is not noted.
        let begun = Entry { begun: true, time: jiff::Timestamp::now().to_string(), ..entry.clone() };
        if let Some(Err(error)) = service.audit.as_ref().map(|audit| audit.write(&begun)) {
            tracing::error!(%error, "the audit log cannot be written");
            return unaudited();
        }
        let ending = Some(Ending { service: Arc::clone(service), entry, notes, started });
        return response.map(|body| Held { body, _ending: ending, _share: share }.boxed_unsync());
    }
    let noted = response.extensions_mut().remove::<Noted>().unwrap_or_default();
    match service.note(&mut entry, noted, started) {
        Ok(()) if share.is_none() => response,
        Ok(()) => response.map(|body| Held { body, _ending: None, _share: share }.boxed_unsync()),
        Err(_) => unaudited(),
    }
}

fn unaudited() -> Response<Body> {
    let detail = "the audit log cannot be written, and without it nothing is answered";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "audit", detail).into_response()
}

impl Service {
    /// Errors: the audit log cannot be written.
    fn note(&self, entry: &mut Entry, noted: Noted, started: Instant) -> io::Result<()> {
        let spent = started.elapsed();
        let Entry { request_id, endpoint, status, .. } = &*entry;
        let (ids, micros) = (noted.ids, spent.as_micros() as u64);
        self.metrics.count(endpoint, *status, ids, spent);
        match *status {
            500.. => tracing::warn!(request_id, endpoint, status, ids, micros, "failed"),
            400.. => tracing::info!(request_id, endpoint, status, ids, micros, "refused"),
            _ => tracing::debug!(request_id, endpoint, status, ids, micros, "answered"),
        }
        let Some(audit) = self.audit.as_ref().filter(|_| !UNAUDITED.contains(&entry.endpoint)) else {
            return Ok(());
        };
        let Noted { ids, outcomes, sender, sequence } = noted;
        *entry = Entry {
            time: jiff::Timestamp::now().to_string(),
            ids,
            outcomes,
            sender,
            sequence,
            micros,
            ..std::mem::take(entry)
        };
        let written = audit.write(entry);
        if let Err(error) = &written {
            tracing::error!(%error, "the audit log cannot be written");
        }
        written
    }
}

/// Addresses that tell nothing of a register: nobody has to know who asked for them.
const UNAUDITED: [&str; 4] = ["healthz", "readyz", "metrics", "openapi"];

/// Notes an exchange when its answer has been made, or given up.
struct Ending {
    service: Arc<Service>,
    entry: Entry,
    notes: Notes,
    started: Instant,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let noted = std::mem::take(&mut *self.notes.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Nobody is left who could be told that it cannot be written but the log.
        let _ = self.service.note(&mut self.entry, noted, self.started);
    }
}

/// A body, and what happens when it ends.
struct Held {
    body: Body,
    _ending: Option<Ending>,
    _share: Option<Share>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

type Answered = Result<Response<Body>, Problem>;

async fn route(exchange: &Exchange<'_>, request: Request<Unread>) -> (&'static str, Answered) {
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
        "/metrics" => (
            "metrics",
            get(&|| {
                respond(METRICS, service.metrics.text(&service.registers, service.access.tls().as_deref()))
            }),
        ),
        "/openapi.json" => ("openapi", get(&|| json(&openapi::document(&service.registers.names())))),
        _ => {
            let Some((live, path)) = service.registers.at(&path) else {
                return ("unknown", Err(nothing_here()));
            };
            return of_register(exchange, &Arc::clone(live), path, request).await;
        }
    };
    (done.0, done.1.or_else(|allowed| Ok(not_allowed(allowed))))
}

/// The address that the service of contract 16-02 had.
const OPPSLAGSTJENESTE: &str = "/kontaktinfo-external/ws-v5";

const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn of_register(
    exchange: &Exchange<'_>,
    live: &Live,
    path: &str,
    request: Request<Unread>,
) -> (&'static str, Answered) {
    let (kind, method) = (live.register().kind(), request.method().clone());
    let (post, reads) = (method == Method::POST, method == Method::GET || method == Method::HEAD);
    // SOAP has faults of its own for that.
    if !matches!(path, "/Recipient/v3" | "/Authority" | OPPSLAGSTJENESTE)
        && let Err(problem) = exchange.count_request()
    {
        return ("unknown", Err(problem));
    }
    let listing = |answer: fn(&Live) -> Response<Body>| match reads {
        true => Ok(answer(live)),
        false => Ok(not_allowed("GET, HEAD")),
    };
    match (path, kind) {
        ("/openapi.json", _) => ("openapi", listing(|live| json(&openapi::document(&[live.name.as_str()])))),
        ("/v1/register", _) => ("register", listing(lists::description)),
        ("/v1/operators", _) => ("operators", listing(lists::operators)),
        ("/v1/senders", _) => ("senders", listing(lists::senders)),
        ("/v1/dispatchers", _) => ("dispatchers", listing(lists::dispatchers)),
        ("/v1/snapshot", _) if reads => ("snapshot", replicas::snapshot(exchange, live, &request)),
        ("/v1/changes", _) if reads => ("changes", replicas::changes(exchange, live, &request).await),
        ("/v1/snapshot", _) => ("snapshot", Ok(not_allowed("GET, HEAD"))),
        ("/v1/changes", _) => ("changes", Ok(not_allowed("GET, HEAD"))),
        ("/v1/reachability", _) if post => {
            ("reachability", reachability::reachability(exchange, live, request).await)
        }
        ("/v1/check", _) if post => ("check", lists::check(exchange, live, request).await),
        ("/v1/reachability", _) => ("reachability", Ok(not_allowed("POST"))),
        ("/v1/check", _) => ("check", Ok(not_allowed("POST"))),
        ("/Recipient/v3", Kind::Far) => ("far-recipient", Ok(far::recipient(exchange, live, request).await)),
        ("/Authority", Kind::Far) => ("far-authority", Ok(far::authority(exchange, live, request).await)),
        ("/rest/v1/personer" | "/rest/v2/personer", Kind::Krr) if post => {
            ("krr-personer", krr::persons(exchange, live, request).await)
        }
        ("/rest/v2/krr/hentEndringer", Kind::Krr) if post => {
            ("krr-endringer", krr::changes(exchange, live, request).await)
        }
        (OPPSLAGSTJENESTE, Kind::Krr) => {
            ("krr-oppslagstjeneste", Ok(krr::oppslagstjeneste(exchange, live, request).await))
        }
        ("/rest/v1/personer" | "/rest/v2/personer", Kind::Krr) => ("krr-personer", Ok(not_allowed("POST"))),
        ("/rest/v2/krr/hentEndringer", Kind::Krr) => ("krr-endringer", Ok(not_allowed("POST"))),
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
            "fresh": live.is_fresh(), "intact": register.is_intact(),
            "following": !live.failing.load(Ordering::Relaxed),
        })
    });
    let registers: Vec<_> = registers.collect();
    let ready = service.registers.all.iter().all(|live| live.is_fresh() && live.register().is_intact());
    let mut response = json(&serde_json::json!({ "ready": ready, "registers": registers }));
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
