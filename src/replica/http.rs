//! A service as the source of a replica: the client's side of `docs/replicas.md`.

use super::following::WAIT;
use super::{ChangeBatch, FollowError, Offer, Part, Source, client};
use crate::register::Register;
use crate::signing::{self, Statement, TrustedKeys, header};
use crate::store::changes_of_frames;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Runtime;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause within a response.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of one response with changes.
const CHANGES_BYTES_MAX: usize = 256 << 20;
/// Most bytes of a problem document.
const PROBLEM_BYTES_MAX: usize = 1 << 16;

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
}

impl HttpSource {
    pub(super) fn new(options: SourceOptions) -> Result<HttpSource, FollowError> {
        if !["http://", "https://"].iter().any(|scheme| options.address.starts_with(scheme)) {
            let text = "is not an address of a service: write http://HOST:PORT or https://HOST:PORT";
            return Err(FollowError::Options(format!("{} {text}", options.address)));
        }
        let trusted =
            TrustedKeys::read(&options.trusted).map_err(|error| FollowError::Options(error.to_string()))?;
        let failed = |error: &dyn ToString| FollowError::Options(error.to_string());
        let roots = match &options.ca {
            None => None,
            Some(path) => Some(client::roots(certificates(path)?).map_err(|error| unusable(path, error))?),
        };
        let identity = match &options.certificate {
            None => None,
            Some((path, key)) => Some((certificates(path)?, private_key(key)?)),
        };
        let tls = client::tls(roots, identity).map_err(|error| match &options.certificate {
            Some((path, _)) => unusable(path, error),
            None => failed(&error),
        })?;
        let client = client::builder(tls)
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STALL_TIMEOUT + WAIT)
            .build()
            .map_err(|error| failed(&client::cause(&error)))?;
        let runtime = client::runtime().map_err(|error| failed(&error))?;
        Ok(HttpSource { runtime, client, options, trusted })
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
            let token = String::from_utf8(read(token)?).map_err(|_| unusable(token, "it is not UTF-8"))?;
            request = request.header("authorization", format!("Bearer {}", token.trim()));
        }
        // The time-outs start when the request is made, which needs the runtime.
        let response = self.runtime.block_on(async { request.send().await });
        let response = response.map_err(|error| unreachable_source(&error))?;
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
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        Err(match status {
            StatusCode::GONE => FollowError::Gone,
            StatusCode::NOT_FOUND => FollowError::NotAService,
            StatusCode::TOO_MANY_REQUESTS => FollowError::Unreachable(detail),
            _ if problem["type"] == "urn:nabar:problem:unknown-change" => FollowError::RolledBack { here },
            _ if status.is_server_error() => FollowError::Unreachable(format!("{status} {detail}")),
            _ => FollowError::Refused { status: status.as_u16(), detail },
        })
    }

    fn read_body(&self, response: Response, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.runtime.block_on(client::read_body(response, bytes_max))
    }

    /// A nonce to be signed; empty without trusted keys.
    fn nonce(&self) -> Result<String, FollowError> {
        if self.trusted.is_empty() {
            return Ok(String::new());
        }
        signing::nonce().map_err(|error| FollowError::Options(error.to_string()))
    }

    /// The statement about a response, signed by a trusted key if there are any.
    fn statement(
        &self,
        what: &'static str,
        headers: &HeaderMap,
        body: String,
        nonce: String,
    ) -> Result<Statement, FollowError> {
        let get = |name| text(headers, name).ok();
        let statement = Statement::of_headers(what, get, body, nonce).ok_or(FollowError::NotAService)?;
        super::check_signature(&self.trusted, &statement, get(header::SIGNATURE))?;
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
    fn offer(&self) -> Result<Offer, FollowError> {
        let nonce = self.nonce()?;
        let response = self.request(true, "snapshot", 0, &[(header::NONCE, nonce.clone())])?;
        let headers = response.headers();
        let digest = text(headers, header::DIGEST)?.to_owned();
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FollowError::NotAService);
        }
        let statement = self.statement("snapshot", headers, digest.clone(), nonce)?;
        let bytes = number(headers, "content-length")?;
        Ok(Offer { register: statement.register, digest, bytes, latest: statement.latest })
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let tag = format!("\"{}\"", offer.digest);
        let headers = [("range", format!("bytes={from}-")), ("if-range", tag.clone())];
        let response = self.request(false, "snapshot", 0, &headers)?;
        let same = response.headers().get("etag").is_some_and(|other| other.as_bytes() == tag.as_bytes());
        let part = response.status() == StatusCode::PARTIAL_CONTENT;
        let body = ResponseBodyReader { runtime: &self.runtime, response, rest: Bytes::new() };
        Ok((same && part).then(|| Box::new(body) as Box<dyn Read>))
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
        let response = self.request(false, &path, from, &headers)?;
        if response.headers().get("content-type").is_none_or(|found| found != header::FRAMES) {
            return Err(FollowError::NotAService);
        }
        let headers = response.headers().clone();
        let body = self.read_body(response, CHANGES_BYTES_MAX);
        let body = body.map_err(|error| FollowError::Unreachable(error.to_string()))?;
        let digest = match self.trusted.is_empty() {
            true => String::new(),
            false => blake3::hash(&body).to_hex().to_string(),
        };
        let statement = self.statement("changes", &headers, digest, nonce)?;
        let changes = changes_of_frames(&body, from).filter(|_| statement.from == from);
        let register = statement.register;
        let damaged = || FollowError::Unreachable("its changes are damaged".to_owned());
        let content = Some(statement.content).filter(|content| !content.is_empty());
        Ok(ChangeBatch {
            register,
            changes: changes.ok_or_else(damaged)?,
            to: statement.to,
            latest: statement.latest,
            content,
        })
    }
}

/// The body of a response, read while the runtime is driven.
struct ResponseBodyReader<'h> {
    runtime: &'h Runtime,
    response: Response,
    /// Bytes received and not yet read.
    rest: Bytes,
}

impl Read for ResponseBodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let chunk = self.runtime.block_on(self.response.chunk());
            match chunk.map_err(|error| io::Error::other(client::cause(&error)))? {
                None => return Ok(0),
                Some(chunk) => self.rest = chunk,
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
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

fn number(headers: &HeaderMap, name: &str) -> Result<u64, FollowError> {
    text(headers, name)?.parse().map_err(|_| FollowError::NotAService)
}

fn read(path: &Path) -> Result<Vec<u8>, FollowError> {
    fs::read(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: impl ToString) -> FollowError {
    FollowError::Options(format!("{}: {}", path.display(), error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FollowError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let certificates = certificates.map_err(|error| unusable(path, error))?;
    if certificates.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FollowError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| unusable(path, error))
}
