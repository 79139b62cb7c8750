//! What replicas copy: the register file, and the changes after it.

use super::authorization::not_a_replica;
use super::body::RequestBody;
use super::config::Time;
use super::context::RequestContext;
use super::operation::{operation, problem, response, string_schema, text};
use super::problem::Problem;
use super::record::{RequestRecord, SharedRecord, StreamEnd};
use super::registers::ServedRegister;
use super::request::query;
use super::response::{AS_OF, Body, MappedCheck, respond, respond_with_file, with_extension};
use crate::register::{Damage, Register, moment};
use crate::replica::Part;
use crate::signing::{SigningKeys, Statement, header};
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use bytes::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE,
    RANGE, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use std::error::Error;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;
use utoipa::openapi::path::{OperationBuilder, ParameterIn};

const REGISTER: &str = "application/vnd.nabar.register";
const JSON_LINES: &str = "application/jsonl";
/// Changes per response: the default, and the maximum.
const CHANGES_DEFAULT: usize = 10_000;
const CHANGES_MAX: usize = 100_000;
/// Bytes of a response after which no change is added.
const BYTES_MAX: usize = 4 << 20;
/// Longest nonce.
const NONCE_MAX: usize = 64;
/// Longest time that a request waits for changes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The register that a caller copies: the whole, or a part. The route has checked that the caller may copy something.
fn source<'l>(
    context: &RequestContext<'_>,
    served: &'l ServedRegister,
    part: Option<&str>,
) -> Result<&'l ServedRegister, Problem> {
    let wanted = part.map(str::parse::<Part>).transpose();
    let wanted = wanted.map_err(|form| Problem::bad_request("bad-query", form))?;
    let organisation = context.caller.organisation();
    let may_copy_all = context.caller.is_unrestricted()
        || organisation.is_some_and(|organisation| context.service.credentials.may_replicate(organisation));
    if may_copy_all && wanted.is_none() {
        return Ok(served);
    }
    let allowed = |part: &Part| {
        let own = may_copy_all || Some(part.organisation()) == organisation;
        own && wanted.as_ref().is_none_or(|wanted| wanted == part)
    };
    let kept = served.parts.iter().find(|kept| allowed(&kept.part)).ok_or_else(not_a_replica)?;
    let not_ready =
        || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the part is not ready yet; retry");
    kept.served.get().map(|served| &**served).ok_or_else(not_ready)
}

/// Query parameters of `/v1/snapshot`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SnapshotParameters {
    /// A part of the register: `operator:NUMBER` or `dispatcher:NUMBER`.
    part: Option<String>,
}

/// The register file that the changes follow, or a part of it.
pub(super) async fn snapshot(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let parameters: SnapshotParameters = query(request.uri().query())?;
    let (served, nonce) = (source(context, served, parameters.part.as_deref())?, nonce(&request)?);
    let register = served.register();
    let file = file(&register)?;
    let (sequence, as_of) = (file.header().sequence, moment::of_nanoseconds(file.header().as_of).to_string());
    let digest = tokio::task::block_in_place(|| digest(served, &register, &file))?;
    let bytes = Bytes::from_owner(file);
    let (tag, length) = (format!("\"{digest}\""), bytes.len());
    let sent = SharedRecord::new(RequestRecord::of(&register, None, 0));
    let mut response = respond_with_range(request.headers(), &tag, &bytes, &register, &sent);
    put(&mut response, [(ETAG, tag), (AS_OF, as_of)]);
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let stated = Statement {
        what: "snapshot",
        from: sequence,
        to: sequence,
        body: digest,
        bytes: Some(length as u64),
        ..statement(served, &register, nonce)
    };
    sign(&context.service.credentials.signing(), &mut response, stated);
    match response.body().is_long() && request.method() != Method::HEAD {
        true => Ok(with_extension(response, sent)),
        false => Ok(with_extension(response, RequestRecord::of(&register, None, 0))),
    }
}

/// The digest of the register file, which is whole.
fn digest(served: &ServedRegister, register: &Register, file: &Snapshot) -> Result<String, Problem> {
    let damaged = |damage: &dyn Error| Problem::damaged(register, damage);
    register.intact().map_err(|damage| damaged(&damage))?;
    if register.is_damaged() {
        return Err(damaged(&io::Error::other("an earlier request has found damage in the register file")));
    }
    served.digest_of(register, file).map_err(|damage| damaged(&damage))
}

/// Checks that a register file has not changed when a piece of it has been copied, and records how the transfer ends.
fn check_while_sent(register: &Register, sent: &SharedRecord) -> Box<MappedCheck> {
    // Not the register, which may hold changes in memory.
    let (file, sent) = (register.file().clone(), sent.clone());
    Box::new(move |is_last| {
        if !file.is_intact() {
            let problem = Problem::unreadable(&Damage::Changed, false);
            let mut record = sent.lock();
            (record.end, record.fault) = (StreamEnd::Failed, Some(problem.word().to_owned()));
            return Err(io::Error::other(Damage::Changed));
        }
        if is_last {
            sent.lock().end = StreamEnd::Complete;
        }
        Ok(())
    })
}

/// The nonce that the signature is to include; empty if absent.
fn nonce(request: &Request<RequestBody>) -> Result<&str, Problem> {
    let nonce = request.headers().get(header::NONCE).map_or(Some(""), |value| value.to_str().ok());
    let valid =
        |nonce: &&str| nonce.len() <= NONCE_MAX && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
    nonce.filter(valid).ok_or_else(|| {
        let detail = format!("{} is up to {NONCE_MAX} letters and digits", header::NONCE);
        Problem::bad_request("bad-nonce", detail)
    })
}

/// The statement about a response, without what the response contains.
fn statement(served: &ServedRegister, register: &Register, nonce: &str) -> Statement {
    Statement {
        what: "",
        register: match &served.part {
            None => register.kind().name().to_owned(),
            Some(part) => format!("{} {part}", register.kind().name()),
        },
        from: 0,
        to: 0,
        latest: register.sequence(),
        content: String::new(),
        body: String::new(),
        bytes: None,
        nonce: nonce.to_owned(),
        time: String::new(),
        expires: String::new(),
    }
}

/// Adds the statement to a response as headers, signed if there are keys.
fn sign(keys: &SigningKeys, response: &mut Response<Body>, mut statement: Statement) {
    if !keys.is_empty() {
        statement.time = Timestamp::now().to_string();
    }
    put(response, statement.headers(keys).map(|(name, text)| (HeaderName::from_static(name), text)));
}

fn put(response: &mut Response<Body>, headers: impl IntoIterator<Item = (HeaderName, String)>) {
    let headers = headers.into_iter();
    let valid = headers.filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?)));
    response.headers_mut().extend(valid);
}

/// The register file of a version.
fn file(register: &Register) -> Result<Snapshot, Problem> {
    Snapshot::of_register(register).map_err(|error| Problem::damaged(register, &error))
}

/// The whole file, the requested range, or 304 if the client has the file.
fn respond_with_range(
    headers: &HeaderMap,
    tag: &str,
    bytes: &Bytes,
    register: &Register,
    sent: &SharedRecord,
) -> Response<Body> {
    let file = |pages| respond_with_file(REGISTER, pages, check_while_sent(register, sent));
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let cached = text(IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',').any(|other| other.trim() == "*" || other.trim().trim_start_matches("W/") == tag)
    });
    if cached {
        let mut response = respond(REGISTER, Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let ranges = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|other| other == tag));
    let Some(range) = ranges.and_then(|text| requested_range(text, bytes.len())) else {
        return file(bytes.clone());
    };
    let length = bytes.len();
    let (status, content, range) = match range {
        Some(range) => {
            let header = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            (StatusCode::PARTIAL_CONTENT, bytes.slice(range), header)
        }
        None => (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new(), format!("bytes */{length}")),
    };
    let mut response = file(content);
    *response.status_mut() = status;
    response.headers_mut().extend(HeaderValue::from_str(&range).map(|range| (CONTENT_RANGE, range)));
    response
}

/// The requested range. `None` if the header is to be ignored, `Some(None)` if the range is not satisfiable.
fn requested_range(text: &str, length: usize) -> Option<Option<Range<usize>>> {
    let parsed = http_range_header::parse_range_header(text).ok()?;
    match parsed.validate(length as u64) {
        Ok(ranges) => match &ranges[..] {
            [range] => Some(Some(*range.start() as usize..*range.end() as usize + 1)),
            // Several ranges: the whole file is sent instead.
            _ => None,
        },
        Err(_) => Some(None),
    }
}

/// Query parameters of `/v1/changes`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesParameters {
    /// The sequence number that the replica has.
    #[param(example = 1000)]
    from: u64,
    /// Maximum number of changes in the response, from 1 to 100 000; 10 000 if absent.
    #[param(minimum = 1, maximum = 100_000)]
    limit: Option<usize>,
    /// Time to wait for a change if there is none, such as `30s`; at most a minute.
    #[param(example = "1s", value_type = Option<String>)]
    wait: Option<Time>,
    /// A part of the register: `operator:NUMBER` or `dispatcher:NUMBER`.
    part: Option<String>,
}

/// The changes after a sequence number; if there are none, waits for one.
pub(super) async fn changes(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let parameters: ChangesParameters = query(request.uri().query())?;
    let (served, nonce) = (source(context, served, parameters.part.as_deref())?, nonce(&request)?);
    let limit = parameters.limit.unwrap_or(CHANGES_DEFAULT);
    if !(1..=CHANGES_MAX).contains(&limit) {
        return Err(Problem::bad_request("bad-query", format!("limit is 1 to {CHANGES_MAX}")));
    }
    let wait = parameters.wait.and_then(|wait| Duration::try_from(wait.0).ok()).unwrap_or_default();
    let register = wait_for_change(context, served, parameters.from, wait.min(WAIT_MAX)).await;
    if parameters.from > register.sequence() {
        let detail = "the register has not reached this sequence number; check that the replica copies the same \
                      register";
        return Err(Problem::bad_request("unknown-change", detail));
    }
    let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let frames = accepted.is_some_and(|accepted| accepted.contains(header::FRAMES));
    let memory = context.reserve(if parameters.from < register.sequence() { BYTES_MAX } else { 0 }).await?;
    let read = tokio::task::block_in_place(|| read(served, &register, parameters.from, limit, frames));
    let (out, to) = match read {
        Ok(read) => read,
        Err(StoreError::Gone { oldest, .. }) => return Ok(changes_gone(oldest)),
        // A checkpoint has removed the segment since.
        Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(changes_gone(file(&served.register())?.header().sequence));
        }
        Err(error) => return Err(served.unreadable_log(&error)),
    };
    let mut stated =
        Statement { what: "changes", from: parameters.from, to, ..statement(served, &register, nonce) };
    if to == register.sequence() {
        let content = tokio::task::block_in_place(|| register.content());
        let content = content.map_err(|damage| Problem::damaged(&register, &damage))?;
        // It may have been computed from the file just now.
        register.intact().map_err(|damage| Problem::damaged(&register, &damage))?;
        stated.content = content.to_string();
    }
    // Loaded once: a reload may replace them meanwhile.
    let keys = context.service.credentials.signing();
    stated.bytes = Some(out.len() as u64);
    if !keys.is_empty() {
        stated.body = blake3::hash(&out).to_hex().to_string();
    }
    let mut response = respond(if frames { header::FRAMES } else { JSON_LINES }, out);
    response.headers_mut().insert(VARY, ACCEPT.into());
    response.body_mut().keep(memory);
    sign(&keys, &mut response, stated);
    Ok(with_extension(response, RequestRecord::of(&register, None, 0)))
}

/// The newest version. If that is at `sequence`, waits for the next one.
async fn wait_for_change(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    sequence: u64,
    wait: Duration,
) -> Arc<Register> {
    let register = served.register();
    if register.sequence() != sequence || wait.is_zero() {
        return register;
    }
    tokio::select! {
        () = served.wait_for_change(sequence) => {}
        () = tokio::time::sleep(wait) => {}
        () = context.service.stopped() => {}
    }
    served.register()
}

fn changes_gone(oldest: u64) -> Response<Body> {
    let detail =
        format!("the changes have been removed; the oldest available follow {oldest}: copy GET /v1/snapshot");
    let mut response = super::response::problem(&Problem::new(StatusCode::GONE, "changes-gone", detail));
    response.headers_mut().insert(header::OLDEST, oldest.into());
    response
}

/// Changes as frames or as JSON Lines, and the sequence number of the last one.
fn read(
    served: &ServedRegister,
    register: &Register,
    from: u64,
    limit: usize,
    frames: bool,
) -> Result<(Vec<u8>, u64), StoreError> {
    let (mut out, mut to) = (Vec::new(), from);
    if from == register.sequence() {
        return Ok((out, to));
    }
    served.read_log(|log| {
        // A register file has no log.
        let log = log.ok_or(StoreError::Gone { asked: from, oldest: register.sequence() })?;
        if frames {
            return log.frames(from, register.sequence(), limit, BYTES_MAX);
        }
        for change in log.changes_until(from, register.sequence())?.take(limit) {
            if out.len() > BYTES_MAX {
                break;
            }
            let change = change?;
            out.extend_from_slice(change.to_json().as_bytes());
            out.push(b'\n');
            to = change.sequence();
        }
        Ok((out, to))
    })
}

pub(super) fn snapshot_operation() -> OperationBuilder {
    operation()
        .description(Some("The whole file, or the range in `Range`."))
        .parameters(Some(SnapshotParameters::into_params(|| Some(ParameterIn::Query))))
        .response("200", text("The register file that the changes follow", REGISTER))
        .response("206", text("The requested range", REGISTER))
        .response("304", response("The client has the file", &[]))
        .response("400", problem("Malformed"))
        .response("403", problem("The caller may not copy this"))
        .response("416", response("The range is not satisfiable", &[]))
}

pub(super) fn changes_operation() -> OperationBuilder {
    let contents = [(JSON_LINES, string_schema()), (header::FRAMES, string_schema())];
    operation()
        .description(Some(
            "JSON Lines, as `nabar changes` prints and `nabar apply` reads them; or frames of the log, if `Accept` \
             names them.",
        ))
        .parameters(Some(ChangesParameters::into_params(|| Some(ParameterIn::Query))))
        .response("200", response("The changes; empty if there are none yet", &contents))
        .response("400", problem("Malformed, or a sequence number that the register has not reached"))
        .response("403", problem("The caller may not copy this"))
        .response("410", problem("The changes have been removed: copy the register file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::{BuildOptions, build};
    use crate::service::FollowRules;
    use crate::service::config::Config;
    use crate::service::registers::Registers;
    use crate::service::standing::tests::connect;
    use crate::service::state::Service;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// The body of a download during which something is done to the file, once a first part has arrived.
    async fn downloaded(service: &Arc<Service>, meanwhile: impl FnOnce()) -> Vec<u8> {
        let mut stream = connect(service);
        let request = "GET /v1/snapshot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut all = vec![0; 1000];
        stream.read_exact(&mut all).await.expect("it has begun");
        assert!(all.starts_with(b"HTTP/1.1 200 "), "{}", all.escape_ascii());
        meanwhile();
        // An error of the connection is an end too.
        let _ = stream.read_to_end(&mut all).await;
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        all.split_off(end)
    }

    fn counted(service: &Service, status: &str) -> bool {
        let current = crate::service::metrics::CurrentState {
            ready: true,
            parts: [("audit", true), ("credentials", true), ("threads", true)],
            attempts: Vec::new(),
            memory: 0,
            jobs: 0,
            lost_log_lines: 0,
        };
        let text = service.metrics.text(&service.registers, None, &current);
        text.contains(&format!("nabar_requests_total{{endpoint=\"snapshot\",{status}}}"))
    }

    /// A register file that changes while it is sent is not sent to its end, and no byte that has changed is sent.
    #[test]
    fn a_file_that_changes_while_it_is_sent_is_cut() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("far.nabar");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        build(fixture, &path, &BuildOptions::default()).expect("built");
        let whole = std::fs::read(&path).expect("read");
        let open = || File::options().write(true).open(&path).expect("opened");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
        runtime.expect("a runtime").block_on(async {
            for damage in ["none", "overwritten", "at its end", "cut"] {
                let copy = directory.path().join("copy");
                std::fs::write(&copy, &whole).expect("written");
                // The resolution of the clock does not matter.
                let long_ago = std::time::SystemTime::UNIX_EPOCH;
                File::options()
                    .write(true)
                    .open(&copy)
                    .and_then(|copy| copy.set_modified(long_ago))
                    .expect("set");
                std::fs::rename(&copy, &path).expect("renamed");
                let (config, rules) = (Config::default(), FollowRules::default());
                let given = vec![(String::new(), path.clone())];
                let registers =
                    Registers::open(given, Vec::new(), rules, &config.replicas, None).expect("opened");
                let service = Arc::new(Service::new(registers, &config).expect("a service"));
                let end = whole.len() as u64 - 10;
                let body = downloaded(&service, || match damage {
                    "overwritten" => open().write_all_at(&[0; 500_000], 200_000).expect("written"),
                    "at its end" => open().write_all_at(&[7; 10], end).expect("written"),
                    "cut" => open().set_len(300_000).expect("cut"),
                    _ => {}
                });
                let body = body.await;
                assert!(whole.starts_with(&body), "{damage}: what was sent is of the file");
                assert_eq!(body.len() == whole.len(), damage == "none", "{damage}");
                let (good, bad) = ("status=\"200\",fault=\"\"", "status=\"500\",fault=\"damaged-register\"");
                assert_eq!(
                    (counted(&service, good), counted(&service, bad)),
                    (damage == "none", damage != "none"),
                    "{damage}"
                );
            }
        });
    }
}
