//! Every route with every kind of caller.

use super::*;
use crate::service::caller::{CONTACT_SCOPE, MAILBOX_SCOPE};
use crate::service::config::{Config, Replicas, Time, Tokens};
use crate::service::registers::Registers;
use hyper::header::AUTHORIZATION;
use jiff::SignedDuration;
use jsonwebtoken::Algorithm;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The public key of RFC 8037, A.2. No test signs a token: callers are made directly.
const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const STRANGER: &str = "165560000001";
const REPLICA: &str = "991825827";

/// A service of both fixtures, at `/far` and `/krr`, with authentication on.
fn service() -> (TempDir, Arc<Service>) {
    let work = tempfile::tempdir().expect("a directory");
    let register = |kind: &str| -> (String, PathBuf) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(kind);
        let data = work.path().join(kind);
        crate::store::init(&fixture, &data).expect("a data directory");
        (kind.to_owned(), data)
    };
    let jwks = work.path().join("jwks.json");
    std::fs::write(&jwks, JWKS).expect("written");
    let config = Config {
        tokens: Some(Tokens {
            issuer: "issuer".to_owned(),
            audience: "audience".to_owned(),
            jwks: jwks.display().to_string(),
            algorithms: vec![Algorithm::EdDSA],
            refresh: Time(SignedDuration::from_hours(1)),
        }),
        replicas: Replicas { organisations: vec![REPLICA.to_owned()], ..Replicas::default() },
        ..Config::default()
    };
    let registers = vec![register("far"), register("krr")];
    let registers = Registers::open(registers, None, &config.replicas).expect("registers");
    (work, Arc::new(Service::new(registers, &config).expect("a service")))
}

/// A sender of the FaR fixture, a dispatcher of it, and a sender that neither is.
fn organisations(service: &Service) -> [String; 3] {
    let far = service.registers.all[0].register();
    let mut dispatchers = far.dispatchers().iter().filter(|dispatcher| !dispatcher.senders.is_empty());
    let dispatcher = dispatchers.next().expect("a dispatcher");
    let sender = dispatcher.senders[0];
    let sender_id = far.senders()[usize::from(sender)].id.clone();
    let mut others = far.senders().iter().map(|other| &other.id);
    let other =
        others.find(|other| **other != sender_id && **other != dispatcher.id).expect("another sender");
    [sender_id, dispatcher.id.clone(), other.clone()]
}

fn token(organisation: &str, scopes: &[&str]) -> Result<Caller, Problem> {
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    Ok(Caller::Token { organisation: Some(organisation.to_owned()), scopes })
}

fn certificate(organisation: &str, reads_krr: bool) -> Result<Caller, Problem> {
    Ok(Caller::Certificate { organisation: organisation.to_owned(), reads_krr })
}

/// All kinds of callers by name.
fn callers(service: &Service) -> Vec<(&'static str, Result<Caller, Problem>)> {
    let [sender, dispatcher, other] = organisations(service);
    let authenticate = |authorization: &'static str| {
        let mut headers = hyper::HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(authorization));
        service.credentials.authenticate(&Peer::default(), &headers)
    };
    vec![
        ("no credentials", service.credentials.authenticate(&Peer::default(), &hyper::HeaderMap::new())),
        ("invalid token", authenticate("Bearer x")),
        ("token", token(STRANGER, &[])),
        ("other scope", token(STRANGER, &["krr:global/other.read"])),
        ("contact scope", token(STRANGER, &[CONTACT_SCOPE])),
        ("mailbox scope", token(STRANGER, &[MAILBOX_SCOPE])),
        ("both scopes", token(STRANGER, &[CONTACT_SCOPE, MAILBOX_SCOPE])),
        ("token without organisation", Ok(Caller::Token { organisation: None, scopes: Vec::new() })),
        ("sender", token(&sender, &[])),
        ("sender's certificate", certificate(&sender, false)),
        ("dispatcher", token(&dispatcher, &[])),
        ("other sender", token(&other, &[])),
        ("other sender's certificate", certificate(&other, false)),
        ("replica", certificate(REPLICA, false)),
        ("certificate without tokens", certificate(STRANGER, true)),
        ("authentication off", Ok(Caller::Unrestricted)),
    ]
}

/// Callers whose credentials are missing or invalid.
const UNAUTHENTICATED: [&str; 2] = ["no credentials", "invalid token"];
const SENDERS: &[&str] = &["sender", "sender's certificate", "dispatcher", "authentication off"];
const BOTH_SCOPES: &[&str] = &["both scopes", "certificate without tokens", "authentication off"];
const ONE_SCOPE: &[&str] =
    &["contact scope", "mailbox scope", "both scopes", "certificate without tokens", "authentication off"];
const REPLICAS: &[&str] = &["replica", "authentication off"];

/// Who may call a route.
#[derive(Clone, Copy)]
enum Allowed {
    All,
    Authenticated,
    Only(&'static [&'static str]),
}

/// The expected authorization: method, target (`SENDER` is a sender of FaR), and who may call it.
const EXPECTED: [(&str, &str, Allowed); 32] = [
    ("GET", "/healthz", Allowed::All),
    ("GET", "/readyz", Allowed::All),
    ("GET", "/metrics", Allowed::All),
    ("GET", "/openapi.json", Allowed::All),
    ("GET", "/far/openapi.json", Allowed::Authenticated),
    ("GET", "/krr/openapi.json", Allowed::Authenticated),
    ("GET", "/far/v1/register", Allowed::Authenticated),
    ("GET", "/krr/v1/register", Allowed::Authenticated),
    ("GET", "/far/v1/operators", Allowed::Authenticated),
    ("GET", "/krr/v1/operators", Allowed::Authenticated),
    ("GET", "/far/v1/senders", Allowed::Authenticated),
    ("GET", "/krr/v1/senders", Allowed::Authenticated),
    ("GET", "/far/v1/dispatchers", Allowed::Authenticated),
    ("GET", "/krr/v1/dispatchers", Allowed::Authenticated),
    ("GET", "/far/v1/snapshot", Allowed::Only(REPLICAS)),
    ("GET", "/krr/v1/snapshot", Allowed::Only(REPLICAS)),
    ("GET", "/far/v1/changes?from=1000", Allowed::Only(REPLICAS)),
    ("GET", "/krr/v1/changes?from=1000", Allowed::Only(REPLICAS)),
    ("POST", "/far/v1/reachability?sender=SENDER", Allowed::Only(SENDERS)),
    ("POST", "/krr/v1/reachability", Allowed::Only(BOTH_SCOPES)),
    ("POST", "/far/v1/check?sender=SENDER", Allowed::Only(SENDERS)),
    ("POST", "/krr/v1/check", Allowed::Only(BOTH_SCOPES)),
    ("POST", "/far/Recipient/v3", Allowed::Authenticated),
    ("GET", "/far/Recipient/v3?wsdl", Allowed::Authenticated),
    ("POST", "/far/Authority", Allowed::Authenticated),
    ("GET", "/far/Authority?wsdl", Allowed::Authenticated),
    ("POST", "/krr/rest/v1/personer", Allowed::Only(ONE_SCOPE)),
    ("POST", "/krr/rest/v2/personer", Allowed::Only(ONE_SCOPE)),
    ("POST", "/krr/rest/v2/krr/hentEndringer", Allowed::Only(ONE_SCOPE)),
    ("POST", "/krr/kontaktinfo-external/ws-v5", Allowed::Only(ONE_SCOPE)),
    ("GET", "/krr/kontaktinfo-external/ws-v5?wsdl", Allowed::Authenticated),
    ("POST", "/far/v1/check?date=2026-06-01&sender=SENDER", Allowed::Only(SENDERS)),
];

fn request(method: &str, target: &str) -> Request<RequestBody> {
    Request::builder().method(method).uri(target).body(RequestBody::default()).expect("a request")
}

/// Whether a caller is refused, in the form of the route's protocol. Requests have no body, so that callers who are
/// allowed get other errors.
async fn is_refused(
    service: &Arc<Service>,
    caller: Result<Caller, Problem>,
    request: Request<RequestBody>,
) -> bool {
    let (_, _, result) = answer_caller(service, &Peer::default(), "id", caller, request).await;
    let response = result.unwrap_or_else(|problem| response::problem(&problem));
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let fault = String::from_utf8_lossy(&body).contains("the token lacks");
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || fault
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn every_route_admits_the_callers_that_it_should() {
    let (_work, service) = service();
    let [sender, ..] = organisations(&service);
    let mut covered = BTreeSet::new();
    block_on(async {
        for (method, target, allowed) in EXPECTED {
            let target = target.replace("SENDER", &sender);
            let uri: hyper::Uri = target.parse().expect("a target");
            let method_ = Method::from_bytes(method.as_bytes()).expect("a method");
            let found = RouteMatch::find(&service, &method_, uri.path(), uri.query());
            let route = found.route.unwrap_or_else(|| panic!("no route: {method} {target}"));
            covered.insert(std::ptr::from_ref(route));
            for (name, caller) in callers(&service) {
                let expected = match allowed {
                    Allowed::All => true,
                    Allowed::Authenticated => !UNAUTHENTICATED.contains(&name),
                    Allowed::Only(names) => names.contains(&name),
                };
                let refused = is_refused(&service, caller, request(method, &target)).await;
                assert_eq!(!refused, expected, "{method} {target}: {name}");
            }
        }
    });
    for route in &ROUTES {
        let name = format!("{} {}", route.method, route.path);
        assert!(covered.contains(&std::ptr::from_ref(route)), "no expectation for {name}");
    }
}

/// FaR's outcomes for a sender in the body: the route admits the caller, and making the question refuses it.
#[test]
fn outcomes_require_the_sender_in_the_body_too() {
    let (_work, service) = service();
    let [sender, ..] = organisations(&service);
    let served = &service.registers.all[0];
    for (name, caller) in callers(&service) {
        let caller = caller.unwrap_or(Caller::Unauthenticated);
        let context = RequestContext { service: &service, id: String::new(), caller, client: String::new() };
        let query =
            crate::service::reachability::ReachabilityQuery::new(&context, served, Some(&sender), None);
        assert_eq!(query.is_ok(), SENDERS.contains(&name), "{name}");
    }
}

#[test]
fn unknown_paths_and_other_methods_require_credentials_first() {
    let (_work, service) = service();
    block_on(async {
        for (method, target, status) in [
            ("GET", "/none", 404),
            ("GET", "/far/v1/none", 404),
            ("POST", "/far/v1/register", 405),
            ("GET", "/krr/Authority?wsdl", 404),
            ("GET", "/far/Authority", 405),
        ] {
            for (name, caller) in callers(&service) {
                let expected = if caller.is_err() { 401 } else { status };
                let peer = Peer::default();
                let answer = answer_caller(&service, &peer, "id", caller, request(method, target));
                let response = answer.await.2.unwrap_or_else(|problem| response::problem(&problem));
                assert_eq!(response.status(), expected, "{method} {target}: {name}");
            }
        }
        let peer = Peer::default();
        for (target, allow) in [
            ("/healthz", "GET, HEAD"),
            ("/far/v1/check", "POST"),
            ("/far/Authority", "POST"),
            ("/far/Authority?wsdl", "GET, HEAD, POST"),
        ] {
            let answer =
                answer_caller(&service, &peer, "id", Ok(Caller::Unrestricted), request("PUT", target));
            let response = answer.await.2.expect("a response");
            assert_eq!(
                (response.status().as_u16(), &response.headers()[ALLOW]),
                (405, &HeaderValue::from_static(allow))
            );
        }
    });
}
