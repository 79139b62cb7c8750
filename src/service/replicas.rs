//! What replicas are made of: the register file, and the changes after it.

use super::access::Caller;
use super::body::Unread;
use super::exchange::{AS_OF, Body, Noted, Problem, query, respond, stream, with_note};
use super::registers::Live;
use super::routes::Exchange;
use crate::register::{Register, moment};
use crate::replica::Part;
use crate::signing::{Keys, Statement, header};
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE,
    RANGE, VARY,
};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

const REGISTER: &str = "application/vnd.nabar.register";
const JSON_LINES: &str = "application/jsonl";
/// Changes of an answer, if nobody says how many, and at most.
const CHANGES_USUAL: usize = 10_000;
const CHANGES_MAX: usize = 100_000;
/// Bytes of an answer after which no change is added.
const BYTES_MAX: usize = 16 << 20;
/// Longest text that a replica may have signed.
const NONCE_MAX: usize = 64;
/// For how long a client may wait for changes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The register that a caller may have: all of it, or a part.
fn allowed<'l>(exchange: &Exchange<'_>, live: &'l Live, asked: Option<&str>) -> Result<&'l Live, Problem> {
    let asked = asked.map(str::parse::<Part>).transpose();
    let asked = asked.map_err(|form| Problem::bad_request("bad-query", form))?;
    let organisation = exchange.caller.organisation();
    let all = matches!(exchange.caller, Caller::Anyone)
        || organisation.is_some_and(|organisation| exchange.service.access.may_replicate(organisation));
    if all && asked.is_none() {
        return Ok(live);
    }
    let may = |part: &Part| {
        let own = all || Some(part.organisation()) == organisation;
        own && asked.as_ref().is_none_or(|asked| asked == part)
    };
    let Some(kept) = live.parts.iter().find(|kept| may(&kept.part)) else {
        let detail = "replicas.organisations in nabar.toml lists who may have all of a register, replicas.parts \
                      what others may have of it";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail));
    };
    let making = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the part is being made");
    kept.live().map(|live| &**live).ok_or_else(making)
}

/// What stands behind the question mark of a register file.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Of {
    /// Only a part of the register: `operator:NUMBER` or `dispatcher:NUMBER`.
    part: Option<String>,
}

/// The register file that the changes follow, or a part of it.
pub(super) fn snapshot(
    exchange: &Exchange<'_>,
    live: &Live,
    request: &Request<Unread>,
) -> Result<Response<Body>, Problem> {
    let asks: Of = query(request.uri().query())?;
    let (live, nonce) = (allowed(exchange, live, asks.part.as_deref())?, nonce(request)?);
    let register = live.register();
    let file = file(&register)?;
    let (sequence, as_of) = (file.header().sequence, moment::of_nanoseconds(file.header().as_of).to_string());
    let digest = tokio::task::block_in_place(|| live.digest_of(&register, &file));
    // It is sent from where it is mapped.
    let bytes = Bytes::from_owner(file);
    let tag = format!("\"{digest}\"");
    let mut response = answer_range(request.headers(), &tag, &bytes);
    put(
        &mut response,
        [(ETAG, tag), (HeaderName::from_static(header::DIGEST), digest.clone()), (AS_OF, as_of)],
    );
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let said = Statement {
        what: "snapshot",
        from: sequence,
        to: sequence,
        body: digest,
        ..statement(live, &register, nonce)
    };
    sign(&exchange.service.access.signing(), &mut response, said);
    Ok(with_note(response, Noted::of(&register, None, 0)))
}

/// What the replica wants to have signed too; empty if nothing.
fn nonce(request: &Request<Unread>) -> Result<&str, Problem> {
    let nonce = request.headers().get(header::NONCE).map_or(Some(""), |value| value.to_str().ok());
    let good =
        |nonce: &&str| nonce.len() <= NONCE_MAX && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
    nonce.filter(good).ok_or_else(|| {
        let detail = format!("{} is up to {NONCE_MAX} letters and digits", header::NONCE);
        Problem::bad_request("bad-nonce", detail)
    })
}

/// What is said of an answer, but for what it is.
fn statement(live: &Live, register: &Register, nonce: &str) -> Statement {
    Statement {
        what: "",
        register: match &live.part {
            None => register.kind().name().to_owned(),
            Some(part) => format!("{} {part}", register.kind().name()),
        },
        from: 0,
        to: 0,
        latest: register.sequence(),
        content: String::new(),
        body: String::new(),
        nonce: nonce.to_owned(),
        time: String::new(),
    }
}

/// Says of an answer what it is, and signs that if there are keys.
fn sign(keys: &Keys, response: &mut Response<Body>, mut said: Statement) {
    if !keys.is_empty() {
        said.time = Timestamp::now().to_string();
    }
    put(response, said.headers(keys).map(|(name, text)| (HeaderName::from_static(name), text)));
}

fn put(response: &mut Response<Body>, headers: impl IntoIterator<Item = (HeaderName, String)>) {
    let headers = headers.into_iter();
    let good = headers.filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?)));
    response.headers_mut().extend(good);
}

/// The file that a register is made of.
fn file(register: &Register) -> Result<Snapshot, Problem> {
    Snapshot::of_register(register).map_err(|error| Problem::damaged(&error))
}

/// All of a file, the part that is asked for, or nothing if the client has it.
fn answer_range(headers: &HeaderMap, tag: &str, bytes: &Bytes) -> Response<Body> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let known = text(IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',').any(|other| other.trim() == "*" || other.trim().trim_start_matches("W/") == tag)
    });
    if known {
        let mut response = respond(REGISTER, Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let ranges = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|other| other == tag));
    let Some(range) = ranges.and_then(|text| asked_range(text, bytes.len())) else {
        return all(bytes.clone());
    };
    let length = bytes.len();
    let (status, content, range) = match range {
        Some(range) => {
            let said = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            (StatusCode::PARTIAL_CONTENT, bytes.slice(range), said)
        }
        None => (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new(), format!("bytes */{length}")),
    };
    let mut response = all(content);
    *response.status_mut() = status;
    response.headers_mut().extend(HeaderValue::from_str(&range).map(|range| (CONTENT_RANGE, range)));
    response
}

/// The part that is asked for. `None` if it is to be passed over, `Some(None)` if there is no such part.
fn asked_range(text: &str, length: usize) -> Option<Option<Range<usize>>> {
    let parsed = http_range_header::parse_range_header(text).ok()?;
    match parsed.validate(length as u64) {
        Ok(ranges) => match &ranges[..] {
            [range] => Some(Some(*range.start() as usize..*range.end() as usize + 1)),
            // Several parts at once: nobody needs that of a register.
            _ => None,
        },
        Err(_) => Some(None),
    }
}

fn all(bytes: Bytes) -> Response<Body> {
    stream(REGISTER, Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

/// What stands behind the question mark.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Follows {
    /// The sequence number that the replica has.
    #[param(example = 1000)]
    from: u64,
    /// Most changes of the answer, from 1 to 100 000; 10 000 if it is missing.
    #[param(minimum = 1, maximum = 100_000)]
    limit: Option<usize>,
    /// For how long to wait if there are none, such as `30s`, at most a minute.
    #[param(example = "1s", value_type = Option<String>)]
    wait: Option<super::config::Time>,
    /// Only a part of the register: `operator:NUMBER` or `dispatcher:NUMBER`.
    part: Option<String>,
}

/// The changes after a number; if there are none, as soon as there are.
pub(super) async fn changes(
    exchange: &Exchange<'_>,
    live: &Live,
    request: &Request<Unread>,
) -> Result<Response<Body>, Problem> {
    let asks: Follows = query(request.uri().query())?;
    let (live, nonce) = (allowed(exchange, live, asks.part.as_deref())?, nonce(request)?);
    let limit = asks.limit.unwrap_or(CHANGES_USUAL);
    if !(1..=CHANGES_MAX).contains(&limit) {
        return Err(Problem::bad_request("bad-query", format!("limit is 1 to {CHANGES_MAX}")));
    }
    let wait = asks.wait.and_then(|wait| Duration::try_from(wait.0).ok()).unwrap_or_default();
    let register = wait_for_another(exchange, live, asks.from, wait.min(WAIT_MAX)).await;
    if asks.from > register.sequence() {
        let detail = "the register has no such change yet: is this the register that it comes from?";
        return Err(Problem::bad_request("unknown-change", detail));
    }
    let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let frames = accepted.is_some_and(|accepted| accepted.contains(header::FRAMES));
    let read = tokio::task::block_in_place(|| read(live, &register, asks.from, limit, frames));
    let (out, to) = match read {
        Ok(read) => read,
        Err(StoreError::Gone { oldest, .. }) => return Ok(gone(oldest)),
        // A checkpoint has just removed the segment.
        Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(gone(file(&live.register())?.header().sequence));
        }
        Err(error) => return Err(Problem::damaged(&error)),
    };
    let mut said = Statement { what: "changes", from: asks.from, to, ..statement(live, &register, nonce) };
    if to == register.sequence() {
        let content = tokio::task::block_in_place(|| register.content());
        said.content = content.map_err(|damage| Problem::damaged(&damage))?.to_string();
    }
    // Once: they may be read anew meanwhile.
    let keys = exchange.service.access.signing();
    if !keys.is_empty() {
        said.body = blake3::hash(&out).to_hex().to_string();
    }
    let mut response = respond(if frames { header::FRAMES } else { JSON_LINES }, out);
    response.headers_mut().insert(VARY, ACCEPT.into());
    sign(&keys, &mut response, said);
    Ok(with_note(response, Noted::of(&register, None, 0)))
}

/// The newest version; if it is at a sequence number, one after it as soon as there is one.
async fn wait_for_another(
    exchange: &Exchange<'_>,
    live: &Live,
    sequence: u64,
    wait: Duration,
) -> Arc<Register> {
    let register = live.register();
    if register.sequence() != sequence || wait.is_zero() {
        return register;
    }
    tokio::select! {
        () = live.other_than(sequence) => {}
        () = tokio::time::sleep(wait) => {}
        () = exchange.service.stopping.notified() => {}
    }
    live.register()
}

fn gone(oldest: u64) -> Response<Body> {
    let detail = format!("the changes are gone; the oldest here follow {oldest}: take GET /v1/snapshot");
    let mut response = Problem::new(StatusCode::GONE, "changes-gone", detail).into_response();
    response.headers_mut().insert(header::OLDEST, oldest.into());
    response
}

/// Changes as frames or as JSON Lines, and the number of the last one.
fn read(
    live: &Live,
    register: &Register,
    from: u64,
    limit: usize,
    frames: bool,
) -> Result<(Vec<u8>, u64), StoreError> {
    let (mut out, mut to) = (Vec::new(), from);
    if from == register.sequence() {
        return Ok((out, to));
    }
    // A register file has no changes but is itself as new as it gets.
    let log = live.log().ok_or(StoreError::Gone { asked: from, oldest: register.sequence() })?;
    if frames {
        return log.frames(from, register.sequence(), limit, BYTES_MAX);
    }
    for change in log.changes(from)?.take(limit) {
        let change = change?;
        if change.sequence() > register.sequence() || out.len() > BYTES_MAX {
            break;
        }
        out.extend_from_slice(change.to_json().as_bytes());
        out.push(b'\n');
        to = change.sequence();
    }
    Ok((out, to))
}
