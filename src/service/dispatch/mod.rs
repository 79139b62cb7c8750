//! From a request to its response: authentication, routing, authorization, handler, metrics and audit log.

use crate::service::audit::AuditEntry;
use crate::service::authorization::Requirement;
use crate::service::body::RequestBody;
use crate::service::caller::{AuthenticationError, Caller, Peer};
use crate::service::client_limits::client_network;
use crate::service::connection::Connection;
use crate::service::context::RequestContext;
use crate::service::live;
use crate::service::memory::Reservation;
use crate::service::open_connections::Usage;
use crate::service::origin;
use crate::service::problem::{CLIENT_GONE, Problem};
use crate::service::record::{RequestRecord, SharedRecord, StreamEnd};
use crate::service::registers::ServedRegister;
use crate::service::response::{self, Body};
use crate::service::route::{Handler, HandlerResult, Route};
use crate::service::routes::ROUTES;
use crate::service::soap;
use crate::service::standing::Standing;
use crate::service::state::Service;
use crate::service::tls::normal;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use url::form_urlencoded;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The endpoint of `/readyz`.
const READINESS: &str = "readyz";

/// The endpoint of requests that no route answers.
const UNKNOWN: &str = "unknown";

/// Answers a request.
pub(super) async fn answer(
    service: &Arc<Service>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let (mut request, unread) = RequestBody::split(request);
    let (peer, invalid) = match connection.peer(&service.credentials) {
        Ok(peer) => (peer, None),
        Err(error) => (Arc::clone(connection.unverified()), Some(AuthenticationError::Certificate(error))),
    };
    let is_last = invalid.is_some();
    let sender = service.audit.as_ref().and_then(|_| named_sender(request.uri().query()));
    // Always the service's own: an id from the client could contain an identity number, and it is logged.
    let id = uuid::Uuid::new_v4().to_string();
    // Probes name the service by any address, and learn nothing of the register.
    let hosts = service.credentials.allowed_hosts(peer.port).filter(|_| !peer.is_admin);
    let checked = check_form(request.uri(), request.headers(), service.limits.head_bytes);
    let checked =
        checked.and_then(|()| origin::check_head(request.version(), request.uri(), request.headers(), hosts));
    let mut standing = None;
    let (endpoint, organisation, result) = match checked {
        Err(problem) => (UNKNOWN, None, Err(problem)),
        Ok(()) => {
            let caller = match invalid {
                Some(error) => Err(error),
                None => service.credentials.authenticate(&peer, request.headers()),
            };
            if let Some(usage) = request.extensions().get::<Arc<Usage>>() {
                usage.set_authenticated(caller.as_ref().is_ok_and(|caller| caller.organisation().is_some()));
            }
            if let Ok(caller) = &caller {
                standing = Standing::new(service, connection, request.headers(), caller);
            }
            if let Some(standing) = &standing {
                request.extensions_mut().insert(Arc::clone(standing));
            }
            answer_caller(service, &peer, &id, caller, request).await
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
        address: peer.address.to_string(),
        sender,
        ..AuditEntry::default()
    };
    let mut response = record(service, entry, response, started, standing);
    response.headers_mut().extend(request_id);
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The sender that a query string names, for the audit log, if it is the number of an organisation.
fn named_sender(query: Option<&str>) -> Option<String> {
    let mut parameters = form_urlencoded::parse(query?.as_bytes());
    parameters.find(|(name, _)| name == "sender").and_then(|(_, sender)| normal(&sender))
}

/// The routes of a path.
struct RouteMatch<'s> {
    /// The route for the request's method.
    route: Option<&'static Route>,
    /// Any route of the path.
    first: Option<&'static Route>,
    served: Option<&'s Arc<ServedRegister>>,
    /// Whether the register of the path cannot be opened yet.
    is_awaited: bool,
    /// Which of GET and POST have a route.
    allowed: (bool, bool),
}

impl<'s> RouteMatch<'s> {
    fn find(
        service: &'s Service,
        peer: &Peer,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> RouteMatch<'s> {
        let is_here = |route: &&Route| !service.has_admin || route.is_admin == peer.is_admin;
        let routes = || ROUTES.iter().filter(is_here);
        let of_service = routes().any(|route| route.is_at(None, path, query));
        let is_awaited = !of_service && service.registers.is_awaited(path);
        let (served, path) = match service.registers.at(path).filter(|_| !of_service) {
            Some((served, path)) => (Some(served), path),
            None => (None, path),
        };
        let kind = served.map(|served| served.register().kind());
        let mut found = RouteMatch { route: None, first: None, served, is_awaited, allowed: (false, false) };
        if is_awaited {
            return found;
        }
        for route in routes().filter(|route| route.is_at(kind, path, query)) {
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
    caller: Result<Caller, AuthenticationError>,
    request: Request<RequestBody>,
) -> RoutedResult {
    let uri = request.uri();
    let found = RouteMatch::find(service, peer, request.method(), uri.path(), uri.query());
    let endpoint = found.route.or(found.first).map_or(UNKNOWN, |route| route.name);
    let caller = match caller {
        Err(error) if !found.is_public() => {
            let problem = service.clients.count_refusal(peer.address).err();
            if problem.is_none() && service.refusal_log.admits() {
                let address = peer.address;
                tracing::info!(request_id = id, endpoint, %address, reason = %error, "not authenticated");
            }
            return (endpoint, None, Err(problem.unwrap_or_else(|| Problem::from(&error))));
        }
        caller => caller.unwrap_or(Caller::Unauthenticated),
    };
    let organisation = caller.organisation().map(str::to_owned);
    let client = organisation.clone().unwrap_or_else(|| client_network(peer.address).to_string());
    let context = RequestContext { service, id: id.to_owned(), caller, client, stream: peer.stream.clone() };
    let result = match (found.route, found.first) {
        (Some(route), _) => handle(&context, route, found.served, request).await,
        (None, Some(_)) => count(&context, found.first).map(|()| method_not_allowed(found.allowed)),
        (None, None) if found.is_awaited => count(&context, None).and_then(|()| Err(Problem::awaited())),
        (None, None) => count(&context, None).and_then(|()| Err(not_found())),
    };
    (endpoint, organisation, result)
}

/// Counts a request. Those of probes and of metrics are not limited.
fn count(context: &RequestContext<'_>, route: Option<&Route>) -> Result<(), Problem> {
    match route.is_some_and(|route| route.is_admin) {
        true => Ok(()),
        false => context.service.clients.count_request(&context.client),
    }
}

/// Checks what hyper does not: the length of the head, of which its buffer may hold more, and how the body is encoded.
fn check_form(target: &Uri, headers: &HeaderMap, head_bytes: usize) -> Result<(), Problem> {
    let of_target = target.path_and_query().map_or(0, |target| target.as_str().len());
    // Colon, blank and line end.
    let of_headers = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if of_target + of_headers.sum::<usize>() > head_bytes {
        let detail = format!("the head of the request is longer than {head_bytes} bytes");
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", detail));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    match codings.next().is_none_or(is_chunked) && codings.next().is_none() {
        true => Ok(()),
        false => {
            let detail = "the only transfer coding that is supported is chunked";
            Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "transfer-encoding", detail))
        }
    }
}

/// Checks limits and the route's requirement, and runs the handler.
async fn handle(
    context: &RequestContext<'_>,
    route: &'static Route,
    served: Option<&Arc<ServedRegister>>,
    request: Request<RequestBody>,
) -> HandlerResult {
    let service = context.service;
    let counted = count(context, Some(route));
    let query = request.uri().query();
    let served = served.map(|served| &**served);
    let allowed =
        counted.and_then(|()| route.requirement.check(&context.caller, &service.credentials, served, query));
    let live = served.filter(|served| served.front().is_some() && !route.is_live);
    let is_here = live.map_or(Ok(()), |served| Err(live::not_here(served.register().kind())));
    if let Err(problem) = allowed.and(is_here) {
        return Ok((route.refuse)(context, &problem));
    }
    let mut response = match (route.handler, served) {
        (Handler::Service(handler), _) => handler(context),
        (Handler::Wsdl(text), _) => soap::wsdl(context, &request, text),
        (Handler::Register(handler), Some(served)) => handler(served),
        (Handler::Request(handler), Some(served)) => {
            let standing = request.extensions().get::<Arc<Standing>>().cloned();
            let lost = async {
                match standing {
                    Some(standing) => standing.lost(&context.id, route.name).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                response = handler(context, served, request) => response?,
                problem = lost => return Err(problem),
            }
        }
        (Handler::Register(_) | Handler::Request(_), None) => return Err(not_found()),
    };
    let unreserved = || Reservation::none(&service.memory, &context.client);
    match response.body_mut().hold(unreserved) {
        Ok(()) => Ok(response),
        Err(_) => Ok((route.refuse)(context, &Problem::busy())),
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
    standing: Option<Arc<Standing>>,
) -> Response<Body> {
    let (id, endpoint) = (entry.request_id.clone(), entry.endpoint);
    if let Some(shared) = response.extensions_mut().remove::<SharedRecord>() {
        // Before anything is sent, so that nothing is sent without an entry.
        let begun = AuditEntry { begun: true, time: jiff::Timestamp::now().to_string(), ..entry.clone() };
        if service.audit.as_ref().is_some_and(|audit| audit.write(&begun).is_err()) {
            return not_audited();
        }
        if let Some(standing) = standing {
            let shared = shared.clone();
            let note = move |problem: &Problem| {
                let mut record = shared.lock();
                (record.end, record.fault) = (StreamEnd::Refused, Some(problem.word().to_owned()));
            };
            response.body_mut().watch(standing.watch(id, endpoint, note));
        }
        let at_end = RecordAtEnd { service: Arc::clone(service), entry, shared, started };
        response.body_mut().guard(at_end);
        return response;
    }
    let recorded = response.extensions_mut().remove::<RequestRecord>().unwrap_or_default();
    match service.record(&mut entry, recorded, started) {
        Ok(()) => response,
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
        let fault = record.fault.as_deref().unwrap_or_default();
        self.metrics.count(endpoint, *status, fault, ids, elapsed);
        match *status {
            400.. if (*status < 500 || is_of_client(fault)) && !self.refusal_log.admits() => {}
            500.. if is_of_client(fault) => {
                tracing::info!(request_id, endpoint, status, fault, ids, micros, "refused");
            }
            // The log has changes of readiness instead.
            503 if *endpoint == READINESS => {}
            500.. => {
                if let Some(times) = self.fault_log.fails(endpoint, *status, Instant::now()) {
                    tracing::warn!(request_id, endpoint, status, ids, micros, times, "failed");
                }
            }
            400.. => tracing::info!(request_id, endpoint, status, ids, micros, "refused"),
            _ => tracing::debug!(request_id, endpoint, status, ids, micros, "answered"),
        }
        let Some(audit) = self.audit.as_ref().filter(|_| is_audited(entry.endpoint)) else {
            return Ok(());
        };
        let RequestRecord { ids, outcomes, sender, sequence, fault, end: _ } = record;
        *entry = AuditEntry {
            time: jiff::Timestamp::now().to_string(),
            ids,
            outcomes,
            sender: sender.or(entry.sender.take()),
            sequence,
            fault,
            micros,
            ..std::mem::take(entry)
        };
        if entry.status >= 400 && ids == 0 {
            audit.write_refusal(entry);
            return Ok(());
        }
        audit.write(entry)
    }
}

/// Whether a fault is the client's by the contract of its interface, although SOAP requires status 500: FaR's codes from
/// 5000 on.
fn is_of_client(fault: &str) -> bool {
    fault.parse::<u16>().is_ok_and(|code| code >= 5000)
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
        let record = std::mem::take(&mut *self.shared.lock());
        self.entry.status = match record.end {
            StreamEnd::Complete => self.entry.status,
            StreamEnd::Failed => StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            StreamEnd::Refused => StatusCode::UNAUTHORIZED.as_u16(),
            StreamEnd::Abandoned => CLIENT_GONE,
        };
        // The response has been sent: an error can only be logged, which the audit log does.
        let _ = self.service.record(&mut self.entry, record, self.started);
    }
}

#[cfg(test)]
pub(in crate::service) mod tests;
