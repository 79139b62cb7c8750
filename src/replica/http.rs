//! A service as the source of a replica: the client's side of `docs/replicas.md`.

use super::following::WAIT;
use super::pace::{Pace, PaceLimit};
use super::{ChangeBatch, FollowError, FollowerLink, Offer, Part, Source, client};
use crate::files;
use crate::limits::{REPLICA_CHANGES_BYTES_MAX, REPLICA_FILE_BYTES_MAX};
use crate::plain_text::plain;
use crate::register::Register;
use crate::signing::{self, Statement, TrustedKeys, header};
use crate::store::changes_of_frames;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause within a response.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time until the headers of a response are complete.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(60).saturating_add(WAIT);
/// Time between two requests for changes, if there are none.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Most bytes of a problem document.
const PROBLEM_BYTES_MAX: u64 = 1 << 16;

/// Address and credentials of a service.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// Address without `/v1`: `https://nabar.example/se`.
    pub address: String,
    /// Roots of its certificate, PEM; Mozilla's if `None`.
    pub ca: Option<PathBuf>,
    /// Client certificate and its key, PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// File with a bearer token, read for each request.
    pub token: Option<PathBuf>,
    /// Whether the token may be sent over plain HTTP to another machine, where anyone on the way can read it.
    pub allow_plain_token: bool,
    /// The requested part of the register; the source's default if `None`.
    pub part: Option<Part>,
    /// Trusted public keys, PEM. If there are any, responses that none of them has signed are refused.
    pub trusted: Vec<PathBuf>,
}

/// A client of the service.
pub(super) struct HttpSource {
    runtime: Runtime,
    client: Client,
    options: SourceOptions,
    trusted: TrustedKeys,
    pace: PaceLimit,
    link: FollowerLink,
}

impl HttpSource {
    pub(super) fn new(options: SourceOptions) -> Result<HttpSource, FollowError> {
        if !["http://", "https://"].iter().any(|scheme| options.address.starts_with(scheme)) {
            let text = "is not an address of a service: write http://HOST:PORT or https://HOST:PORT";
            return Err(FollowError::Options(format!("{} {text}", options.address)));
        }
        if options.token.is_some() && !options.allow_plain_token && is_exposed(&options.address) {
            return Err(FollowError::PlainToken(options.address));
        }
        let trusted =
            TrustedKeys::read(&options.trusted).map_err(|error| FollowError::Options(error.to_string()))?;
        let failed = |error: &dyn ToString| FollowError::Options(error.to_string());
        let read_certificates = |path| client::read_certificates(path).map_err(FollowError::Options);
        let roots = match &options.ca {
            None => None,
            Some(path) => {
                Some(client::roots(read_certificates(path)?).map_err(|error| unusable(path, error))?)
            }
        };
        let identity = match &options.certificate {
            None => None,
            Some((path, key)) => {
                Some((read_certificates(path)?, client::read_private_key(key).map_err(FollowError::Options)?))
            }
        };
        let tls = client::tls(roots, identity).map_err(|error| match &options.certificate {
            Some((path, _)) => unusable(path, error),
            None => failed(&error),
        })?;
        let mut builder = client::builder(tls);
        if options.address.starts_with("http://") && !options.allow_plain_token {
            // A proxy on another machine would read the token, and could answer instead of this one.
            builder = builder.no_proxy();
        }
        let client = builder
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STALL_TIMEOUT + WAIT)
            .build()
            .map_err(|error| failed(&client::cause(&error)))?;
        let runtime = client::runtime().map_err(|error| failed(&error))?;
        let (pace, link) = (PaceLimit::default(), FollowerLink::default());
        Ok(HttpSource { runtime, client, options, trusted, pace, link })
    }

    pub(super) fn with_link(self, link: FollowerLink) -> HttpSource {
        HttpSource { link, ..self }
    }

    fn address(&self, path: &str) -> String {
        let address = self.options.address.trim_end_matches('/');
        let mark = if path.contains('?') { '&' } else { '?' };
        match &self.options.part {
            None => format!("{address}/v1/{path}"),
            Some(part) => format!("{address}/v1/{path}{mark}part={part}"),
        }
    }

    /// Sends a request. `here` is the replica's last sequence number.
    fn request(
        &self,
        head: bool,
        path: &str,
        here: u64,
        headers: &[(&str, String)],
    ) -> Result<Response, FollowError> {
        let address = self.address(path);
        let mut request = self.client.request(if head { Method::HEAD } else { Method::GET }, &address);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.options.token {
            request = request.header("authorization", bearer(token)?);
        }
        // The time-outs start when the request is made, which needs the runtime.
        let response = self.runtime.block_on(async { timeout(HEADERS_TIMEOUT, request.send()).await });
        let slow = |_| FollowError::Unreachable("the headers of its response take too long".to_owned());
        let response = response.map_err(slow)?.map_err(|error| unreachable_source(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if head {
            // Only a response with a body has the reason.
            return self.request(false, path, here, headers);
        }
        let problem = self.read_body(response, PROBLEM_BYTES_MAX).unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap_or_default();
        let detail = plain(problem["detail"].as_str().unwrap_or_default()).into_owned();
        Err(match status {
            StatusCode::GONE => FollowError::Gone,
            StatusCode::NOT_FOUND => FollowError::NotAService,
            StatusCode::TOO_MANY_REQUESTS => FollowError::Unreachable(detail),
            _ if problem["type"] == "urn:nabar:problem:unknown-change" => FollowError::RolledBack { here },
            _ if status.is_server_error() => FollowError::Unreachable(format!("{status} {detail}")),
            _ => FollowError::Refused { status: status.as_u16(), detail },
        })
    }

    /// Reads a body of at most `bytes_max` bytes; no more is kept.
    fn read_body(&self, response: Response, bytes_max: u64) -> Result<Vec<u8>, FollowError> {
        let away = |error: io::Error| FollowError::Unreachable(error.to_string());
        let mut reader = self.body_reader(response);
        let mut body = Vec::new();
        (&mut reader).take(bytes_max).read_to_end(&mut body).map_err(away)?;
        match reader.is_at_end().map_err(away)? {
            true => Ok(body),
            false => Err(FollowError::Untrusted(format!("it is longer than {bytes_max} bytes"))),
        }
    }

    fn body_reader(&self, response: Response) -> ResponseBodyReader<'_> {
        let pace = Pace::new(self.pace);
        ResponseBodyReader { runtime: &self.runtime, response, rest: Bytes::new(), pace }
    }

    /// A nonce to be signed; empty without trusted keys.
    fn nonce(&self) -> Result<String, FollowError> {
        if self.trusted.is_empty() {
            return Ok(String::new());
        }
        signing::nonce().map_err(|error| FollowError::Options(error.to_string()))
    }

    /// The statement in the headers of a response, signed by a trusted key if there are any. Nothing of the body has
    /// been read.
    fn statement(
        &self,
        what: &'static str,
        headers: &HeaderMap,
        nonce: String,
    ) -> Result<Statement, FollowError> {
        let get = |name| text(headers, name).ok();
        let statement = Statement::of_headers(what, get, nonce).ok_or(FollowError::NotAService)?;
        super::check_signature(&self.trusted, &statement, get)?;
        let part = statement.register.split_once(' ').map(|(_, part)| part);
        if let Some(asked) = &self.options.part
            && part != Some(&asked.to_string()[..])
        {
            return Err(FollowError::OtherRegister { found: statement.register });
        }
        Ok(statement)
    }
}

impl Source for HttpSource {
    fn link(&self) -> Option<&FollowerLink> {
        Some(&self.link)
    }

    fn offer(&self) -> Result<Offer, FollowError> {
        let nonce = self.nonce()?;
        let response = self.request(true, "snapshot", 0, &[(header::NONCE, nonce.clone())])?;
        let headers = response.headers();
        let digest = text(headers, header::DIGEST)?;
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FollowError::NotAService);
        }
        let statement = self.statement("snapshot", headers, nonce)?;
        let bytes = super::stated_bytes(&statement, REPLICA_FILE_BYTES_MAX)?;
        if statement.from != statement.to {
            return Err(FollowError::NotAService);
        }
        let Statement { register, from: sequence, latest, body: digest, .. } = statement;
        Ok(Offer { register, digest, bytes, sequence, latest })
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let tag = format!("\"{}\"", offer.digest);
        let headers = [("range", format!("bytes={from}-")), ("if-range", tag.clone())];
        let response = self.request(false, "snapshot", 0, &headers)?;
        let same = response.headers().get("etag").is_some_and(|other| other.as_bytes() == tag.as_bytes());
        let status = response.status();
        let is_rest = status == StatusCode::PARTIAL_CONTENT || status == StatusCode::OK && from == 0;
        let body = self.body_reader(response);
        Ok((same && is_rest).then(|| Box::new(body) as Box<dyn Read>))
    }

    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<ChangeBatch, FollowError> {
        let from = here.sequence();
        let wait = match wait.as_secs() {
            0 => String::new(),
            seconds => format!("&wait={seconds}s"),
        };
        let nonce = self.nonce()?;
        let headers = [("accept", header::FRAMES.to_owned()), (header::NONCE, nonce.clone())];
        let path = format!("changes?from={from}&limit={most}{wait}");
        let asked = Instant::now();
        let response = self.request(false, &path, from, &headers)?;
        if response.headers().get("content-type").is_none_or(|found| found != header::FRAMES) {
            return Err(FollowError::NotAService);
        }
        // Signature and length are checked before the first byte of the body.
        let statement = self.statement("changes", response.headers(), nonce)?;
        let bytes = super::stated_bytes(&statement, REPLICA_CHANGES_BYTES_MAX)?;
        let body = self.read_body(response, bytes)?;
        if body.is_empty() && !wait.is_empty() {
            // A source that does not wait is not asked without pause.
            std::thread::sleep(PAUSE_MIN.saturating_sub(asked.elapsed()));
        }
        if body.len() as u64 != bytes {
            return Err(FollowError::Unreachable("its changes were truncated".to_owned()));
        }
        if !self.trusted.is_empty() && *blake3::hash(&body).to_hex().as_str() != *statement.body {
            let why = "changes: it was altered: its digest is not the signed one";
            return Err(FollowError::Untrusted(why.to_owned()));
        }
        let changes = changes_of_frames(&body, from, most).filter(|_| statement.from == from);
        let damaged = || {
            let why =
                format!("its changes are damaged or forged, or more than the {most} that were requested");
            FollowError::Untrusted(why)
        };
        let Statement { register, to, latest, content, .. } = statement;
        let content = Some(content).filter(|content| !content.is_empty());
        Ok(ChangeBatch { register, changes: changes.ok_or_else(damaged)?, to, latest, content })
    }
}

/// The body of a response, read while the runtime is driven.
struct ResponseBodyReader<'h> {
    runtime: &'h Runtime,
    response: Response,
    /// Bytes received and not yet read.
    rest: Bytes,
    pace: Pace,
}

impl ResponseBodyReader<'_> {
    /// Receives bytes if none are left. Returns whether the body has ended.
    fn is_at_end(&mut self) -> io::Result<bool> {
        while self.rest.is_empty() {
            let response = &mut self.response;
            let chunk =
                async { response.chunk().await.map_err(|error| io::Error::other(client::cause(&error))) };
            match self.runtime.block_on(self.pace.next(chunk))? {
                None => return Ok(true),
                Some(chunk) => self.rest = chunk,
            }
        }
        Ok(false)
    }
}

impl Read for ResponseBodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.is_at_end()? {
            return Ok(0);
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

/// Whether what is sent to an address can be read by other machines on the way.
fn is_exposed(address: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(address) else { return true };
    let is_loopback = match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        None => false,
        Some("localhost") => true,
        Some(host) => host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical().is_loopback()),
    };
    url.scheme() != "https" && !is_loopback
}

/// A failed request, with a hint at the usual reason.
fn unreachable_source(error: &reqwest::Error) -> FollowError {
    let text = client::cause(error);
    let hints = [
        ("CertificateRequired", "it requires a client certificate"),
        ("UnknownIssuer", "its certificate is not signed by a trusted root"),
        ("invalid HTTP version", "is it https://?"),
        ("InvalidContentType", "is it http://?"),
    ];
    let hint = hints.iter().find(|(found, _)| text.contains(found));
    FollowError::Unreachable(hint.map_or(text.clone(), |(_, hint)| format!("{text} ({hint})")))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, FollowError> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or(FollowError::NotAService)
}

/// The value of `Authorization` with the token in a file.
fn bearer(path: &Path) -> Result<HeaderValue, FollowError> {
    let text = files::read_secret(path, |_| false).map_err(|error| unusable(path, error))?;
    let token = text.trim_ascii();
    // Anything else would fail in each request, and be taken for a fault of the network.
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(unusable(path, "it is not a token, which is one word of letters, digits and signs"));
    }
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
        .map_err(|_| unusable(path, "it is not a token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unusable(path: &Path, error: impl ToString) -> FollowError {
    FollowError::Options(format!("{}: {}", path.display(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_beyond_this_machine_is_exposed() {
        let cases = [
            ("http://localhost:8080", false),
            ("http://127.0.0.1:8080/se", false),
            ("http://127.1.2.3", false),
            ("http://[::1]:8080", false),
            ("http://[::ffff:127.0.0.1]:8080", false),
            ("https://nabar.example", false),
            ("http://nabar.example", true),
            ("http://localhost.example", true),
            ("http://127.0.0.1.example", true),
            ("http://127.0.0.1@nabar.example", true),
            ("http://10.0.0.1", true),
            ("http://0.0.0.0", true),
        ];
        for (address, exposed) in cases {
            assert_eq!(is_exposed(address), exposed, "{address}");
            let token = Some(PathBuf::from("token"));
            let options = SourceOptions { address: address.to_owned(), token, ..SourceOptions::default() };
            let refused = matches!(HttpSource::new(options.clone()), Err(FollowError::PlainToken(_)));
            assert_eq!(refused, exposed, "{address}");
            assert!(
                HttpSource::new(SourceOptions { allow_plain_token: true, ..options }).is_ok(),
                "{address}"
            );
        }
    }
}
