//! From a request to its response: authentication, routing, authorization, handler, metrics and audit log.

use crate::service::audit::AuditEntry;
use crate::service::authorization::Requirement;
use crate::service::body::{MemoryReservation, RequestBody};
use crate::service::caller::{Caller, Peer};
use crate::service::context::RequestContext;
use crate::service::problem::Problem;
use crate::service::record::{RequestRecord, SharedRecord};
use crate::service::registers::ServedRegister;
use crate::service::response::{self, Body};
use crate::service::route::{Handler, HandlerResult, Route};
use crate::service::routes::ROUTES;
use crate::service::soap;
use crate::service::state::Service;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{ALLOW, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The endpoint of requests that no route answers.
const UNKNOWN: &str = "unknown";

/// Answers a request.
pub(super) async fn answer(
    service: &Arc<Service>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let (request, unread) = RequestBody::split(request);
    // Always the service's own: an id from the client could contain an identity number, and it is logged.
    let id = uuid::Uuid::new_v4().to_string();
    let (endpoint, organisation, result) = match check_head(service, &request) {
        Err(problem) => (UNKNOWN, None, Err(problem)),
        Ok(()) => {
            let caller = service.credentials.authenticate(peer, request.headers());
            answer_caller(service, peer, &id, caller, request).await
        }
    };
    unread.drain().await;
    let response = result.unwrap_or_else(|problem| response::problem(&problem));
    let request_id = HeaderValue::from_str(&id).map(|id| (REQUEST_ID, id));
    let entry = AuditEntry {
        request_id: id,
        endpoint,
        status: response.status().as_u16(),
        caller: organisation,
        address: peer.address.clone(),
        ..AuditEntry::default()
    };
    let mut response = record(service, entry, response, started);
    response.headers_mut().extend(request_id);
    response
}

/// Checks that a request has one `Host`, as HTTP/1.1 requires. If authentication is off, checks that it does not come
/// from a page of another site in a browser on this machine.
fn check_head(service: &Service, request: &Request<RequestBody>) -> Result<(), Problem> {
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        return Err(Problem::bad_request("host", "a request has exactly one Host header"));
    }
    let is_local = |origin: &HeaderValue| {
        let host =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map_or("", |(_, host)| host);
        let host =
            host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    };
    match service.authenticates || request.headers().get_all(ORIGIN).iter().all(is_local) {
        true => Ok(()),
        false => Err(Problem::bad_request("origin", "requests from pages of other sites are refused")),
    }
}

/// The routes of a path.
struct RouteMatch<'s> {
    /// The route for the request's method.
    route: Option<&'static Route>,
    /// Any route of the path.
    first: Option<&'static Route>,
    served: Option<&'s Arc<ServedRegister>>,
    /// Which of GET and POST have a route.
    allowed: (bool, bool),
}

impl<'s> RouteMatch<'s> {
    fn find(service: &'s Service, method: &Method, path: &str, query: Option<&str>) -> RouteMatch<'s> {
        let of_service = ROUTES.iter().any(|route| route.is_at(None, path, query));
        let (served, path) = match service.registers.at(path).filter(|_| !of_service) {
            Some((served, path)) => (Some(served), path),
            None => (None, path),
        };
        let kind = served.map(|served| served.register().kind());
        let mut found = RouteMatch { route: None, first: None, served, allowed: (false, false) };
        for route in ROUTES.iter().filter(|route| route.is_at(kind, path, query)) {
            found.first = found.first.or(Some(route));
            found.allowed.0 |= route.method == Method::GET;
            found.allowed.1 |= route.method == Method::POST;
            if found.route.is_none() && route.takes(method) {
                found.route = Some(route);
            }
        }
        found
    }

    /// Whether the path needs no credentials.
    fn is_public(&self) -> bool {
        self.route.or(self.first).is_some_and(|route| route.requirement == Requirement::Public)
    }
}

/// The endpoint, the organisation of the caller, and the response.
type RoutedResult = (&'static str, Option<String>, HandlerResult);

/// Routes and answers a request. A missing or invalid credential is an error unless the path is public.
async fn answer_caller(
    service: &Arc<Service>,
    peer: &Peer,
    id: &str,
    caller: Result<Caller, Problem>,
    request: Request<RequestBody>,
) -> RoutedResult {
    let found = RouteMatch::find(service, request.method(), request.uri().path(), request.uri().query());
    let caller = match caller {
        Err(problem) if !found.is_public() => return (UNKNOWN, None, Err(problem)),
        caller => caller.unwrap_or(Caller::Unauthenticated),
    };
    let organisation = caller.organisation().map(str::to_owned);
    let client = organisation.clone().unwrap_or_else(|| peer.address.clone());
    let context = RequestContext { service, id: id.to_owned(), caller, client };
    let (endpoint, result) = match (found.route, found.first) {
        (Some(route), _) => (route.name, handle(&context, route, found.served, request).await),
        (None, Some(other)) => (other.name, Ok(method_not_allowed(found.allowed))),
        (None, None) => (UNKNOWN, Err(not_found())),
    };
    (endpoint, organisation, result)
}

/// Checks limits and the route's requirement, and runs the handler.
async fn handle(
    context: &RequestContext<'_>,
    route: &'static Route,
    served: Option<&Arc<ServedRegister>>,
    request: Request<RequestBody>,
) -> HandlerResult {
    let service = context.service;
    let counted = match served {
        Some(_) => service.clients.count_request(&context.client),
        None => Ok(()),
    };
    let query = request.uri().query();
    let served = served.map(|served| &**served);
    let allowed =
        counted.and_then(|()| route.requirement.check(&context.caller, &service.credentials, served, query));
    if let Err(problem) = allowed {
        return Ok((route.refuse)(context, &problem));
    }
    match (route.handler, served) {
        (Handler::Service(handler), _) => Ok(handler(context)),
        (Handler::Wsdl(text), _) => Ok(soap::wsdl(context, &request, text)),
        (Handler::Register(handler), Some(served)) => Ok(handler(served)),
        (Handler::Request(handler), Some(served)) => handler(context, served, request).await,
        (Handler::Register(_) | Handler::Request(_), None) => Err(not_found()),
    }
}

fn not_found() -> Problem {
    let detail = "there is no such path; /openapi.json and docs/service.md list all paths";
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

fn method_not_allowed(allowed: (bool, bool)) -> Response<Body> {
    let allowed = match allowed {
        (true, true) => "GET, HEAD, POST",
        (true, false) => "GET, HEAD",
        _ => "POST",
    };
    let detail = format!("the allowed methods of this path are: {allowed}");
    let mut response = response::problem(&Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Records a request in metrics, log and audit log; a response that is still being produced, at its end.
fn record(
    service: &Arc<Service>,
    mut entry: AuditEntry,
    mut response: Response<Body>,
    started: Instant,
) -> Response<Body> {
    let memory = response.extensions_mut().remove::<MemoryReservation>();
    if let Some(shared) = response.extensions_mut().remove::<SharedRecord>() {
        // Before anything is sent, so that nothing is sent without an entry.
        let begun = AuditEntry { begun: true, time: jiff::Timestamp::now().to_string(), ..entry.clone() };
        if let Some(Err(error)) = service.audit.as_ref().map(|audit| audit.write(&begun)) {
            tracing::error!(%error, "the audit log cannot be written");
            return not_audited();
        }
        let at_end = Some(RecordAtEnd { service: Arc::clone(service), entry, shared, started });
        return response.map(|body| GuardedBody { body, _at_end: at_end, _memory: memory }.boxed_unsync());
    }
    let recorded = response.extensions_mut().remove::<RequestRecord>().unwrap_or_default();
    match service.record(&mut entry, recorded, started) {
        Ok(()) if memory.is_none() => response,
        Ok(()) => response.map(|body| GuardedBody { body, _at_end: None, _memory: memory }.boxed_unsync()),
        Err(_) => not_audited(),
    }
}

fn not_audited() -> Response<Body> {
    let detail = "the audit log cannot be written, and the service sends no response without an entry";
    response::problem(&Problem::new(StatusCode::SERVICE_UNAVAILABLE, "audit", detail))
}

impl Service {
    /// Errors: the audit log cannot be written.
    fn record(&self, entry: &mut AuditEntry, record: RequestRecord, started: Instant) -> io::Result<()> {
        let elapsed = started.elapsed();
        let AuditEntry { request_id, endpoint, status, .. } = &*entry;
        let (ids, micros) = (record.ids, elapsed.as_micros() as u64);
        self.metrics.count(endpoint, *status, ids, elapsed);
        match *status {
            500.. => tracing::warn!(request_id, endpoint, status, ids, micros, "failed"),
            400.. => tracing::info!(request_id, endpoint, status, ids, micros, "refused"),
            _ => tracing::debug!(request_id, endpoint, status, ids, micros, "answered"),
        }
        let Some(audit) = self.audit.as_ref().filter(|_| is_audited(entry.endpoint)) else {
            return Ok(());
        };
        let RequestRecord { ids, outcomes, sender, sequence } = record;
        *entry = AuditEntry {
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

/// Endpoints that have a public route contain nothing about recipients and are not audited.
fn is_audited(endpoint: &str) -> bool {
    !ROUTES.iter().any(|route| route.name == endpoint && route.requirement == Requirement::Public)
}

/// Records a request when its response has been sent or aborted.
struct RecordAtEnd {
    service: Arc<Service>,
    entry: AuditEntry,
    shared: SharedRecord,
    started: Instant,
}

impl Drop for RecordAtEnd {
    fn drop(&mut self) {
        let record = std::mem::take(&mut *self.shared.0.lock().unwrap_or_else(PoisonError::into_inner));
        // The response has been sent: an error can only be logged, which `record` does.
        let _ = self.service.record(&mut self.entry, record, self.started);
    }
}

/// A body, and what is released when it ends.
struct GuardedBody {
    body: Body,
    _at_end: Option<RecordAtEnd>,
    _memory: Option<MemoryReservation>,
}

impl HttpBody for GuardedBody {
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

#[cfg(test)]
mod tests;
