//! A call to a sandbox, from its first byte to its last.

use super::admin;
use super::body::{FaultyBody, reset_at_end};
use super::faults::{CallFacts, Effects, Fault, ResetAt};
use super::maskinporten;
use super::recorded::{BODY_BYTES, RecordedCall};
use super::reply::Reply;
use super::rows;
use super::world::World;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
use regex::Regex;
use serde_json::json;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Bytes of a body.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The other end of a connection.
pub(super) struct Peer {
    /// The organisation of its client certificate.
    pub(super) caller: Option<String>,
    /// Whether it is TLS.
    pub(super) is_tls: bool,
    /// Its socket, to reset it.
    pub(super) socket: Arc<OwnedFd>,
}

/// Answers a call. Errors: the connection is to be reset.
pub(super) async fn answer(
    world: &World,
    peer: &Peer,
    request: Request<Incoming>,
) -> io::Result<Response<FaultyBody>> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            return Ok(response(Reply::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "text/plain",
                "the body is too long",
            )));
        }
    };
    let path = head.uri.path();
    if let Some(rest) = path.strip_prefix("/sandbox") {
        // What looks at the sandbox is no call to it.
        return Ok(response(admin::answer(world, &head.method, rest, head.uri.query(), &body)));
    }
    let text = String::from_utf8_lossy(&body);
    let (operation, ids) = (operation_of(&text), ids_of(&text));
    let facts = CallFacts { path, operation, caller: peer.caller.as_deref(), ids: &ids };
    let effects = world.faults.effects(&facts, Instant::now());
    let mut recorded = RecordedCall {
        time: jiff::Timestamp::now().to_string(),
        method: head.method.to_string(),
        path: path.to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        operation: operation.to_owned(),
        caller: peer.caller.clone(),
        headers: shown(&head.headers),
        body: text.chars().take(BODY_BYTES).collect(),
        assertion: (path == "/token").then(|| maskinporten::claims_of(&body)).flatten(),
        faults: effects.faults.iter().filter_map(|fault| serde_json::to_value(fault).ok()).collect(),
        ids: ids.clone(),
        ..RecordedCall::default()
    };
    if !effects.delay.is_zero() {
        recorded.faults.push(json!({ "latency": { "milliseconds": effects.delay.as_secs_f64() * 1000.0 } }));
        tokio::time::sleep(effects.delay).await;
    }
    let instead = effects.faults.iter().find_map(instead);
    let reply = match instead {
        Some(Instead::Reset) => {
            world.recorded.add(recorded);
            return Err(reset(peer));
        }
        Some(Instead::Reply(reply)) => reply,
        None => carried_out(world, peer, &head, &body, &effects).await,
    };
    recorded.status = reply.status.as_u16();
    let answer = with_faults(world, peer, reply, &effects);
    world.recorded.add(recorded);
    Ok(answer)
}

/// What is answered instead of carrying a call out.
enum Instead {
    Reset,
    Reply(Reply),
}

fn instead(fault: &Fault) -> Option<Instead> {
    let (status, retry_after, content_type, body) = match fault {
        Fault::Reset(ResetAt::Beginning) => return Some(Instead::Reset),
        Fault::Soap { code, description } => {
            let reply = Reply::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/xml; charset=utf-8",
                soap_fault(*code, description),
            );
            return Some(Instead::Reply(reply));
        }
        Fault::RateLimit { retry_after, .. } => (429, Some(*retry_after), None, String::new()),
        Fault::Status { status, retry_after, content_type, body } => {
            (*status, *retry_after, content_type.clone(), body.clone())
        }
        _ => return None,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut reply = Reply::new(status, content_type.as_deref().unwrap_or("text/plain"), body);
    if let Some(seconds) = retry_after {
        reply.headers.insert(RETRY_AFTER, seconds.into());
    }
    Some(Instead::Reply(reply))
}

/// FaR's `applicationFault` of version 3.
fn soap_fault(code: u16, description: &str) -> String {
    let side = if code < 5000 { "Server" } else { "Client" };
    let description =
        quick_xml::escape::escape(if description.is_empty() { "fault on demand" } else { description });
    let call_id = uuid::Uuid::new_v4();
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>\
         <faultcode>s:{side}</faultcode><faultstring>{description}</faultstring>\
         <detail><f:applicationFault xmlns:f=\"http://minameddelanden.gov.se/schema/Common/v3\">\
         <f:ErrorCode>{code}</f:ErrorCode><f:Description>{description}</f:Description><f:CallId>{call_id}</f:CallId>\
         </f:applicationFault></detail></s:Fault></s:Body></s:Envelope>"
    )
}

/// Carries a call out: here, or in the service behind.
async fn carried_out(
    world: &World,
    peer: &Peer,
    head: &hyper::http::request::Parts,
    body: &Bytes,
    effects: &Effects,
) -> Reply {
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let issuer = issuer(peer, &head.headers);
    let seconds = effects.faults.iter().find_map(|fault| match fault {
        Fault::TokenSeconds(seconds) => Some(*seconds),
        _ => None,
    });
    let path = head.uri.path();
    match (&head.method, path) {
        (&Method::GET, "/.well-known/oauth-authorization-server") => {
            Reply::json(StatusCode::OK, &maskinporten::metadata(&issuer))
        }
        (&Method::GET, "/jwk") => Reply::json(StatusCode::OK, &world.maskinporten.jwks()),
        (&Method::POST, "/token") => {
            let now = jiff::Timestamp::now().as_second();
            let token = world.maskinporten.token(body, &issuer, super::behind::ISSUER, now, &effects.faults);
            match token {
                Ok(token) => Reply::json(StatusCode::OK, &token),
                Err(refusal) => Reply::json(StatusCode::BAD_REQUEST, &refusal.json()),
            }
        }
        (&Method::POST, "/kivra/v1/auth") => {
            let (status, answer) = world.kivra.token(authorization, body, seconds);
            Reply::json(status, &answer)
        }
        (&Method::POST, _) if path.starts_with("/kivra/v2/tenant/") => {
            let (status, answer) =
                world.kivra.matched(authorization, &path["/kivra/v2/tenant/".len()..], body);
            Reply::json(status, &answer)
        }
        _ => sent_on(world, peer, head, body).await,
    }
}

async fn sent_on(world: &World, peer: &Peer, head: &hyper::http::request::Parts, body: &Bytes) -> Reply {
    let mut headers = head.headers.clone();
    of_connection(&mut headers);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let answer =
        world.behind.call(peer.caller.as_deref(), head.method.clone(), target, headers, body.clone()).await;
    match answer {
        Ok(mut answer) => {
            of_connection(&mut answer.headers);
            Reply { status: answer.status, headers: answer.headers, body: answer.body }
        }
        Err(error) => Reply::new(StatusCode::BAD_GATEWAY, "text/plain", error),
    }
}

/// Removes what belongs to one connection.
fn of_connection(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const EXPECT: HeaderName = HeaderName::from_static("expect");
    [CONNECTION, KEEP_ALIVE, TRANSFER_ENCODING, CONTENT_LENGTH, EXPECT].iter().for_each(|name| {
        headers.remove(name);
    });
}

/// The issuer of tokens: the address that the client has used, with a slash at its end.
fn issuer(peer: &Peer, headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{}://{host}/", if peer.is_tls { "https" } else { "http" })
}

fn with_faults(world: &World, peer: &Peer, mut reply: Reply, effects: &Effects) -> Response<FaultyBody> {
    let (mut slow, mut breaks) = (None, false);
    for fault in &effects.faults {
        match fault {
            Fault::Rows(rows) => {
                let text = String::from_utf8_lossy(&reply.body);
                reply.body = rows::mutated(&text, *rows, |end| world.faults.below(end)).into();
            }
            Fault::Truncated(share) => {
                let kept = (reply.body.len() as f64 * share) as usize;
                reply.body.truncate(kept);
            }
            Fault::Slow { bytes_per_second } => slow = Some(*bytes_per_second),
            Fault::Reset(ResetAt::Middle) => breaks = true,
            Fault::ClockSkew(seconds) => {
                let skewed = std::time::SystemTime::now();
                let by = Duration::from_secs(seconds.unsigned_abs());
                let skewed = if *seconds < 0 { skewed.checked_sub(by) } else { skewed.checked_add(by) };
                let date = skewed.and_then(|time| HeaderValue::from_str(&httpdate(time)).ok());
                if let Some(date) = date {
                    reply.headers.insert(hyper::header::DATE, date);
                }
            }
            _ => {}
        }
    }
    let bytes = std::mem::take(&mut reply.body);
    let body = match slow {
        _ if breaks => FaultyBody::broken(&bytes, Arc::clone(&peer.socket)),
        Some(bytes_per_second) => FaultyBody::slow(bytes, bytes_per_second),
        None => FaultyBody::whole(bytes),
    };
    response(reply).map(|_| body)
}

/// The date of a header, RFC 9110.
fn httpdate(time: std::time::SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

fn response(reply: Reply) -> Response<FaultyBody> {
    let mut response = Response::new(FaultyBody::whole(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

fn reset(peer: &Peer) -> io::Error {
    reset_at_end(&peer.socket);
    io::ErrorKind::ConnectionReset.into()
}

/// The headers of a call, without what proves who it is.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = |(name, value): (&HeaderName, &HeaderValue)| {
        let is_proof = name == hyper::header::AUTHORIZATION;
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = if is_proof {
            value.split(' ').next().unwrap_or_default().to_owned()
        } else {
            value.into_owned()
        };
        (name.to_string(), value)
    };
    headers.iter().map(shown).collect()
}

/// The SOAP operation of a message, empty if it has none.
fn operation_of(text: &str) -> &str {
    static BODY: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"<(?:[\w.-]+:)?Body(?:\s[^>]*)?>\s*<(?:[\w.-]+:)?([\w.-]+)").ok());
    let found = BODY.as_ref().and_then(|body| body.captures(text));
    found.and_then(|found| found.get(1)).map_or("", |name| name.as_str())
}

/// The texts of 11 or 12 digits in a body, but for the sender of a question to FaR.
fn ids_of(text: &str) -> Vec<String> {
    static IDS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(senderOrgNr>\s*)?\b(\d{11,12})\b").ok());
    let found = IDS.as_ref().map(|ids| {
        let recipients = ids.captures_iter(text).filter(|found| found.get(1).is_none());
        recipients.filter_map(|found| Some(found.get(2)?.as_str().to_owned())).collect()
    });
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_text() {
        let soap = "<?xml version='1.0'?><s:Envelope xmlns:s='x'><s:Header/><s:Body a='b'>\n <v3:isReachable xmlns:v3='y'>\
                    <v3:senderOrgNr>164821000025</v3:senderOrgNr><v3:recipientId>197509029810</v3:recipientId></v3:isReachable>";
        assert_eq!(operation_of(soap), "isReachable");
        assert_eq!(ids_of(soap), ["197509029810"], "not the sender");
        assert_eq!(ids_of(r#"{"personidentifikatorer":["28909546666"]}"#), ["28909546666"]);
        assert_eq!((operation_of("{}"), ids_of("1234567890123").len()), ("", 0));
    }
}
