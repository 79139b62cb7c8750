//! Requests in progress, when their credentials cease to be accepted.

use super::*;
use crate::service::FollowRules;
use crate::service::config::{Config, Limits};
use crate::service::dispatch;
use crate::service::dispatch::tests::{REPLICA, TestService, organisations, service};
use crate::service::registers::Registers;
use crate::service::tls::tests::{Files, IDENTIFIER, Issuer};
use crate::service::tokens::TokenError;
use crate::service::tokens::tests::TestIssuer;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn connection(chain: &[CertificateDer<'_>]) -> Arc<Connection> {
    let address = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    Arc::new(Connection::new(address(1), Some(address(8443)), chain, None))
}

/// The client's end of a connection to the service, which takes 64 KiB at a time.
pub(in crate::service) fn connect(service: &Arc<Service>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (service, connection) = (Arc::clone(service), connection(&[]));
    let handler = service_fn(move |request| {
        let (service, connection) = (Arc::clone(&service), Arc::clone(&connection));
        async move { Ok::<_, Infallible>(dispatch::answer(&service, &connection, request).await) }
    });
    let server = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(far), handler);
    tokio::spawn(server);
    near
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.expect("a runtime").block_on(future)
}

/// Sends a request with a token of an organisation.
async fn send(stream: &mut DuplexStream, test: &TestService, organisation: &str, rest: &str) {
    let token = test.issuer.token(json!({"consumer": null, "organisation": organisation}));
    let (line, rest) = rest.split_once("\r\n").expect("a line");
    let text = format!("{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{rest}");
    stream.write_all(text.as_bytes()).await.expect("sent");
}

async fn until(stream: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.expect("read");
        assert!(length > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    text
}

/// Replaces the key of the issuer by another one. Tokens that were signed before are not accepted afterwards.
fn withdraw(test: &TestService, service: &Service) {
    let (other, tokens) = TestIssuer::new(9);
    let jwks = std::fs::read(&tokens.jwks).expect("read");
    std::fs::write(test.issuer.work.path().join("jwks.json"), jwks).expect("written");
    service.credentials.reload_if_due(true);
    drop(other);
}

fn metrics(service: &Service) -> String {
    let current = crate::service::metrics::CurrentState {
        ready: true,
        parts: [("audit", true), ("credentials", true), ("threads", true)],
        attempts: Vec::new(),
        memory: 0,
        jobs: 0,
        lost_log_lines: 0,
    };
    service.metrics.text(&service.registers, None, &current)
}

/// Streamed lines, with the caller waiting for more: the stream must end, and must not look complete.
#[test]
fn streamed_lines_end_when_their_caller_is_no_longer_accepted() {
    let (test, service) = service();
    let [sender, ..] = organisations(&service);
    let head = format!(
        "POST /far/v1/reachability?sender={sender}\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let line = "d\r\n196810199809\n\r\n";
    block_on(async {
        let (mut kept, mut ended) = (connect(&service), connect(&service));
        for stream in [&mut kept, &mut ended] {
            send(stream, &test, &sender, &head).await;
            stream.write_all(line.as_bytes()).await.expect("sent");
            let beginning = until(stream, "196810199809,").await;
            assert!(beginning.starts_with("HTTP/1.1 200"), "{beginning}");
        }
        kept.write_all(b"0\r\n\r\n").await.expect("sent");
        until(&mut kept, "0\r\n\r\n").await;
        withdraw(&test, &service);
        let mut rest = String::new();
        // An error of the connection is an end too.
        let _ = ended.read_to_string(&mut rest).await;
        assert!(!rest.contains("0\r\n\r\n"), "the stream looks complete: {rest}");
    });
    let text = metrics(&service);
    for expected in [r#"status="200",fault="""#, r#"status="401",fault="bad-token""#] {
        let line = format!("nabar_requests_total{{endpoint=\"reachability\",{expected}}} 1");
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

/// Requests that wait: for the rest of a list, for the rest of a body, for changes.
#[test]
fn requests_that_wait_end_when_their_caller_is_no_longer_accepted() {
    let (test, service) = service();
    let [sender, ..] = organisations(&service);
    let sequence = service.registers.all[0].register().sequence();
    let body = "Content-Length: 100000\r\n\r\nid\n196810199809\n";
    let requests = [
        (&*sender, format!("POST /far/v1/check?sender={sender}\r\nContent-Type: text/csv\r\n{body}")),
        (&*sender, format!("POST /far/v1/reachability?sender={sender}\r\nContent-Type: text/csv\r\n{body}")),
        (REPLICA, format!("GET /far/v1/changes?from={sequence}&wait=1m\r\n\r\n")),
    ];
    block_on(async {
        let mut streams = Vec::new();
        for (organisation, request) in &requests {
            let mut stream = connect(&service);
            send(&mut stream, &test, organisation, request).await;
            streams.push(stream);
        }
        // The other two are refused at once if they begin after this: the same response.
        while service.jobs.held() == 0 {
            tokio::task::yield_now().await;
        }
        withdraw(&test, &service);
        for mut stream in streams {
            let response = until(&mut stream, "\r\n\r\n").await;
            assert!(response.starts_with("HTTP/1.1 401"), "{response}");
        }
    });
}

#[test]
fn a_token_that_expires_is_no_longer_accepted() {
    let (test, service) = service();
    let [sender, ..] = organisations(&service);
    let standing = |expires: i64, scope: &str| {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({"consumer": null, "organisation": sender, "scope": scope, "exp": now + expires});
        let value = format!("Bearer {}", test.issuer.token(claims));
        let value = HeaderValue::from_str(&value).expect("a value");
        let caller = Caller::Token { organisation: sender.clone(), scopes: vec!["one".to_owned()] };
        let headers = [(AUTHORIZATION, value)].into_iter().collect();
        Standing::new(&service, &connection(&[]), &headers, &caller).expect("a caller").check()
    };
    assert_eq!(standing(600, "one"), Ok(()));
    assert_eq!(standing(-60, "one"), Err(AuthenticationError::Token(TokenError::Expired)));
    assert_eq!(standing(600, "two"), Err(AuthenticationError::OtherCaller));
}

#[test]
fn a_certificate_that_is_revoked_is_no_longer_accepted() {
    let (files, root) = (Files::new(), Issuer::root("root"));
    let list = |revoked: &[u64]| files.write("the.crl", root.list(-10, 100_000, revoked).der());
    list(&[]);
    let authority = files.authority(&root, IDENTIFIER, vec![files.path("the.crl")]);
    let config =
        Config { tls: Some(files.tls(vec![authority])), limits: Limits::default(), ..Config::default() };
    let registers = Registers::open(Vec::new(), Vec::new(), FollowRules::default(), &config.replicas, None)
        .expect("registers");
    let service = Arc::new(Service::new(registers, &config).expect("a service"));
    let [revoked, kept] = [1, 2].map(|serial| {
        let connection = connection(&[root.client(serial)]);
        let peer = connection.peer(&service.credentials).expect("valid");
        let caller = service.credentials.authenticate(&peer, &HeaderMap::new()).expect("a caller");
        Standing::new(&service, &connection, &HeaderMap::new(), &caller).expect("a caller")
    });
    assert_eq!((revoked.check(), kept.check()), (Ok(()), Ok(())));
    list(&[1]);
    service.credentials.reload_if_due(true);
    assert!(matches!(revoked.check(), Err(AuthenticationError::Certificate(_))));
    assert_eq!(kept.check(), Ok(()));
}
