//! Every route with every kind of caller.

use super::*;
use crate::service::FollowRules;
use crate::service::caller::{CONTACT_SCOPE, FEED_SCOPE, MAILBOX_SCOPE};
use crate::service::config::{Config, Limits, Replicas, Writable};
use crate::service::registers::Registers;
use crate::service::tls::NoOrganisation;
use crate::service::tokens::tests::TestIssuer;
use http_body_util::BodyExt;
use hyper::header::AUTHORIZATION;
use serde_json::json;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const STRANGER: &str = "165560000001";
pub(in crate::service) const REPLICA: &str = "991825827";

/// A service of both fixtures, at `/far` and `/krr`, and the issuer of its tokens.
pub(in crate::service) fn service() -> (TestService, Arc<Service>) {
    let work = tempfile::tempdir().expect("a directory");
    let register = |kind: &str| -> (String, PathBuf) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(kind);
        let data = work.path().join(kind);
        crate::store::init(&fixture, &data).expect("a data directory");
        (kind.to_owned(), data)
    };
    let (issuer, tokens) = TestIssuer::new(1);
    let config = Config {
        tokens: Some(tokens),
        replicas: Replicas { organisations: vec![REPLICA.to_owned()], ..Replicas::default() },
        writable: Some(Writable { owners: vec![REPLICA.to_owned()], signatories: None }),
        // All callers come from one address.
        limits: Limits { refusals_per_second: NonZeroU32::MAX, ..Limits::default() },
        ..Config::default()
    };
    let registers = vec![register("far"), register("krr")];
    let registers = Registers::open(
        registers,
        Vec::new(),
        FollowRules::default(),
        &config.replicas,
        config.writable.as_ref(),
    )
    .expect("registers");
    let service = Arc::new(Service::new(registers, &config).expect("a service"));
    (TestService { _work: work, issuer }, service)
}

pub(in crate::service) struct TestService {
    _work: TempDir,
    pub(in crate::service) issuer: TestIssuer,
}

/// A sender of the FaR fixture, a dispatcher of it, a sender that neither is, and a mailbox operator.
pub(in crate::service) fn organisations(service: &Service) -> [String; 4] {
    let far = service.registers.all[0].register();
    let mut dispatchers = far.dispatchers().iter().filter(|dispatcher| !dispatcher.senders.is_empty());
    let dispatcher = dispatchers.next().expect("a dispatcher");
    let sender = dispatcher.senders[0];
    let sender_id = far.senders()[usize::from(sender)].id.clone();
    let mut others = far.senders().iter().map(|other| &other.id);
    let other =
        others.find(|other| **other != sender_id && **other != dispatcher.id).expect("another sender");
    let is_other = |id: &String| ![&sender_id, &dispatcher.id, other].contains(&id);
    let operator = far.operators().iter().map(|operator| &operator.id).find(|id| is_other(id));
    [sender_id.clone(), dispatcher.id.clone(), other.clone(), operator.expect("an operator").clone()]
}

/// A caller, or why a request has none.
pub(in crate::service) type Authenticated = Result<Caller, AuthenticationError>;

fn certificate(organisation: &str, reads_krr: bool) -> Authenticated {
    Ok(Caller::Certificate { organisation: organisation.to_owned(), reads_krr })
}

/// The caller of a request with one or two `Authorization` headers, as the service decides it.
fn authenticate(service: &Service, peer: &Peer, authorizations: &[String]) -> Authenticated {
    let mut headers = hyper::HeaderMap::new();
    for authorization in authorizations {
        headers.append(AUTHORIZATION, HeaderValue::from_str(authorization).expect("a value"));
    }
    service.credentials.authenticate(peer, &headers)
}

/// All kinds of callers by name. Tokens are signed and verified.
pub(in crate::service) fn callers(
    test: &TestService,
    service: &Service,
) -> Vec<(&'static str, Authenticated)> {
    let [sender, dispatcher, other, operator] = organisations(service);
    let of = |other: serde_json::Value| format!("Bearer {}", test.issuer.token(other));
    let with = |authorizations: &[String]| authenticate(service, &Peer::default(), authorizations);
    let token = |organisation: &str, scope: &str| {
        with(&[of(json!({"consumer": null, "organisation": organisation, "scope": scope}))])
    };
    let (stranger, _) = TestIssuer::new(2);
    let both = format!("{CONTACT_SCOPE} {MAILBOX_SCOPE}");
    let expired = jiff::Timestamp::now().as_second() - 60;
    let unnamed = Peer { unnamed: Some(NoOrganisation::Missing), ..Peer::default() };
    let bound = of(json!({"cnf": {"x5t#S256": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}}));
    let holder = Peer { certificate: Some([7; 32]), ..Peer::default() };
    vec![
        ("no credentials", with(&[])),
        ("invalid token", with(&["Bearer x".to_owned()])),
        ("other scheme", with(&["Basic eDp5".to_owned()])),
        ("expired token", with(&[of(json!({"scope": both, "exp": expired}))])),
        ("token of another issuer", with(&[of(json!({"scope": both, "iss": "https://other.example/"}))])),
        ("token for another audience", with(&[of(json!({"scope": both, "aud": "https://other.example"}))])),
        ("token of another key", with(&[format!("Bearer {}", stranger.token(json!({"scope": both})))])),
        ("token without organisation", with(&[of(json!({"scope": both, "consumer": null}))])),
        ("two tokens", with(&[of(json!({"scope": both})), of(json!({"scope": both}))])),
        ("bound token of another", with(std::slice::from_ref(&bound))),
        ("certificate without organisation", authenticate(service, &unnamed, &[])),
        (
            "expired certificate",
            Err(AuthenticationError::Certificate(rustls::CertificateError::Expired.into())),
        ),
        ("bound token", authenticate(service, &holder, &[bound])),
        ("token", token(STRANGER, "")),
        ("other scope", token(STRANGER, "krr:global/other.read")),
        ("contact scope", token(STRANGER, CONTACT_SCOPE)),
        ("mailbox scope", token(STRANGER, MAILBOX_SCOPE)),
        ("both scopes", token(STRANGER, &both)),
        ("supplier's contact scope", token(STRANGER, "krr:global/kontaktinfo.read")),
        ("supplier's mailbox scope", token(STRANGER, "krr:global/postkasse.read")),
        ("supplier's scopes", token(STRANGER, "krr:global/kontaktinfo.read krr:global/postkasse.read")),
        ("feed scope", token(STRANGER, FEED_SCOPE)),
        ("sender", token(&sender, "")),
        ("sender's certificate", certificate(&sender, false)),
        ("dispatcher", token(&dispatcher, "")),
        ("dispatcher's certificate", certificate(&dispatcher, false)),
        ("other sender", token(&other, "")),
        ("other sender's certificate", certificate(&other, false)),
        ("operator", token(&operator, "")),
        ("operator's certificate", certificate(&operator, false)),
        ("replica", token(REPLICA, "")),
        ("replica's certificate", certificate(REPLICA, false)),
        ("unrelated certificate", certificate(STRANGER, false)),
        ("certificate without tokens", certificate(STRANGER, true)),
        ("authentication off", Ok(Caller::Unrestricted)),
    ]
}

/// Callers whose credentials are missing or invalid.
const UNAUTHENTICATED: [&str; 12] = [
    "no credentials",
    "invalid token",
    "other scheme",
    "expired token",
    "token of another issuer",
    "token for another audience",
    "token of another key",
    "token without organisation",
    "two tokens",
    "bound token of another",
    "certificate without organisation",
    "expired certificate",
];
pub(in crate::service) const SENDERS: &[&str] =
    &["sender", "sender's certificate", "dispatcher", "dispatcher's certificate", "authentication off"];
/// Senders, dispatchers and operators of the FaR fixture.
pub(in crate::service) const OPERATORS: &[&str] =
    &["operator", "operator's certificate", "authentication off"];
pub(in crate::service) const PARTICIPANTS: &[&str] = &[
    "sender",
    "sender's certificate",
    "dispatcher",
    "dispatcher's certificate",
    "other sender",
    "other sender's certificate",
    "operator",
    "operator's certificate",
    "authentication off",
];
const BOTH_SCOPES: &[&str] =
    &["both scopes", "supplier's scopes", "certificate without tokens", "authentication off"];
const ONE_SCOPE: &[&str] = &[
    "contact scope",
    "mailbox scope",
    "both scopes",
    "supplier's contact scope",
    "supplier's mailbox scope",
    "supplier's scopes",
    "certificate without tokens",
    "authentication off",
];
const FEED_SCOPES: &[&str] = &[
    "contact scope",
    "mailbox scope",
    "both scopes",
    "supplier's contact scope",
    "supplier's mailbox scope",
    "supplier's scopes",
    "feed scope",
    "certificate without tokens",
    "authentication off",
];
const REPLICAS: &[&str] = &["replica", "replica's certificate", "authentication off"];

/// Who may call a route.
#[derive(Clone, Copy)]
enum Allowed {
    All,
    Authenticated,
    Only(&'static [&'static str]),
}

/// The expected authorization: method, target (`SENDER` is a sender of FaR), and who may call it.
const EXPECTED: [(&str, &str, Allowed); 35] = [
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
    ("POST", "/far/v1/changes", Allowed::Only(REPLICAS)),
    ("POST", "/krr/v1/changes", Allowed::Only(REPLICAS)),
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
    ("POST", "/krr/rest/v2/krr/hentEndringer", Allowed::Only(FEED_SCOPES)),
    ("GET", "/krr/rest/v2/printSertifikat", Allowed::Only(ONE_SCOPE)),
    ("POST", "/krr/kontaktinfo-external/ws-v5", Allowed::Only(ONE_SCOPE)),
    ("GET", "/krr/kontaktinfo-external/ws-v5?wsdl", Allowed::Authenticated),
    ("POST", "/far/v1/check?date=2026-06-01&sender=SENDER", Allowed::Only(SENDERS)),
];

fn request(method: &str, target: &str) -> Request<RequestBody> {
    Request::builder().method(method).uri(target).body(RequestBody::default()).expect("a request")
}

/// Whether a caller is refused, in the form of the route's protocol. Requests have no body, so that callers who are
/// allowed get other errors.
async fn is_refused(service: &Arc<Service>, caller: Authenticated, request: Request<RequestBody>) -> bool {
    let (_, _, result) = answer_caller(service, &Peer::default(), "id", caller, request).await;
    let response = result.unwrap_or_else(|problem| response::problem(&problem));
    let status = response.status();
    let body = BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
    let fault = String::from_utf8_lossy(&body).contains("the token lacks");
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || fault
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn every_route_admits_the_callers_that_it_should() {
    let (test, service) = service();
    let [sender, ..] = organisations(&service);
    let mut covered = BTreeSet::new();
    block_on(async {
        for (method, target, allowed) in EXPECTED {
            let target = target.replace("SENDER", &sender);
            let uri: hyper::Uri = target.parse().expect("a target");
            let method_ = Method::from_bytes(method.as_bytes()).expect("a method");
            let found = RouteMatch::find(&service, &Peer::default(), &method_, uri.path(), uri.query());
            let route = found.route.unwrap_or_else(|| panic!("no route: {method} {target}"));
            covered.insert(std::ptr::from_ref(route));
            for (name, caller) in callers(&test, &service) {
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
    let (test, service) = service();
    let [sender, ..] = organisations(&service);
    let served = &service.registers.all[0];
    for (name, caller) in callers(&test, &service) {
        let caller = caller.unwrap_or(Caller::Unauthenticated);
        let context = RequestContext {
            service: &service,
            id: String::new(),
            caller,
            client: String::new(),
            stream: None,
        };
        let query =
            crate::service::reachability::ReachabilityQuery::new(&context, served, Some(&sender), None);
        assert_eq!(query.is_ok(), SENDERS.contains(&name), "{name}");
    }
}

#[test]
fn unknown_paths_and_other_methods_require_credentials_first() {
    let (test, service) = service();
    block_on(async {
        for (method, target, status) in [
            ("GET", "/none", 404),
            ("GET", "/far/v1/none", 404),
            ("POST", "/far/v1/register", 405),
            ("GET", "/krr/Authority?wsdl", 404),
            ("GET", "/far/Authority", 405),
        ] {
            for (name, caller) in callers(&test, &service) {
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

/// A number of a person in the place of the sender must not get into the audit log.
#[test]
fn only_the_number_of_an_organisation_is_recorded_as_sender() {
    for (query, expected) in [
        (Some("sender=164821000025"), Some("164821000025")),
        (Some("date=2026-06-01&sender=4821000025"), Some("164821000025")),
        (Some("sender=196810199809"), None),
        (Some("sender=6810199809&sender=164821000025"), None),
        (Some("sender="), None),
        (Some(""), None),
        (None, None),
    ] {
        assert_eq!(named_sender(query).as_deref(), expected, "{query:?}");
        let sender = query.and_then(|query| query.strip_prefix("sender="));
        let record = RequestRecord::of_refusal("not-allowed", sender);
        assert_eq!(record.fault.as_deref(), Some("not-allowed"));
        assert!(record.sender.is_none() || record.sender.as_deref() == expected, "{query:?}");
    }
}
