//! The service that a replica follows, as its client.

use super::following::WAIT;
use super::{FollowError, Offer, Part, Source, Told};
use crate::register::Register;
use crate::signing::{self, Statement, Trusted, header};
use crate::store::changes_of_frames;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// Time to connect, and time in which nothing may come in the middle of an answer.
const CONNECT_TIME: Duration = Duration::from_secs(10);
const STALL_TIME: Duration = Duration::from_secs(30);
/// Bytes of changes that are taken at a time.
const CHANGES_BYTES_MAX: u64 = 256 << 20;

/// How the service is reached, and as whom.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// Where it is, without `/v1`: `https://nabar.example/se`.
    pub address: String,
    /// Roots of its certificate, PEM; the usual ones if `None`.
    pub ca: Option<PathBuf>,
    /// Certificate to show, and its key, PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// File with a bearer token, read for each request.
    pub token: Option<PathBuf>,
    /// The part of the register that is asked for; what the source gives if `None`.
    pub part: Option<Part>,
    /// Public keys, PEM; if there are any, what is signed by none of them is refused.
    pub trusted: Vec<PathBuf>,
}

/// A service that is followed.
pub(super) struct Http {
    agent: Agent,
    options: SourceOptions,
    trusted: Trusted,
}

impl Http {
    pub(super) fn new(options: SourceOptions) -> Result<Http, FollowError> {
        if !["http://", "https://"].iter().any(|scheme| options.address.starts_with(scheme)) {
            let text = "is no address of a service: write http://HOST:PORT or https://HOST:PORT";
            return Err(FollowError::Options(format!("{} {text}", options.address)));
        }
        let trusted =
            Trusted::read(&options.trusted).map_err(|error| FollowError::Options(error.to_string()))?;
        let mut tls = TlsConfig::builder();
        if let Some(ca) = &options.ca {
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates(ca)?));
        }
        if let Some((certificate, key)) = &options.certificate {
            let unusable = |error: ureq::Error| unusable(key, error);
            let private = PrivateKey::from_pem(&read(key)?).map_err(unusable)?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&certificates(certificate)?, private)));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_per_read(Some(STALL_TIME + WAIT))
            .user_agent(concat!("nabar/", env!("CARGO_PKG_VERSION")));
        Ok(Http { agent: config.build().into(), options, trusted })
    }

    fn address(&self, path: &str) -> String {
        let address = self.options.address.trim_end_matches('/');
        let mark = if path.contains('?') { '&' } else { '?' };
        match &self.options.part {
            None => format!("{address}/v1/{path}"),
            Some(part) => format!("{address}/v1/{path}{mark}part={part}"),
        }
    }

    /// `here` is what the replica has.
    fn ask(
        &self,
        head: bool,
        path: &str,
        here: u64,
        headers: &[(&str, String)],
    ) -> Result<Response<Body>, FollowError> {
        let address = self.address(path);
        let mut request = if head { self.agent.head(&address) } else { self.agent.get(&address) };
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.options.token {
            let token = String::from_utf8(read(token)?).map_err(|_| unusable(token, "it is no text"))?;
            request = request.header("authorization", format!("Bearer {}", token.trim()));
        }
        let mut response = request.call().map_err(|error| away(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if head {
            // Without a body it does not say why.
            return self.ask(false, path, here, headers);
        }
        let problem = response.body_mut().with_config().limit(1 << 16).read_to_string().unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_str(&problem).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        Err(match status {
            StatusCode::GONE => FollowError::Gone,
            StatusCode::NOT_FOUND => FollowError::NoSource,
            StatusCode::TOO_MANY_REQUESTS => FollowError::Away(detail),
            _ if problem["type"] == "urn:nabar:problem:unknown-change" => FollowError::RolledBack { here },
            _ if status.is_server_error() => FollowError::Away(format!("{status} {detail}")),
            _ => FollowError::Refused { status: status.as_u16(), detail },
        })
    }

    /// What is asked to be signed, if it has to be.
    fn nonce(&self) -> Result<String, FollowError> {
        if self.trusted.is_empty() {
            return Ok(String::new());
        }
        signing::nonce().map_err(|error| FollowError::Options(error.to_string()))
    }

    /// What the source says of an answer, signed by somebody who is trusted.
    fn said(
        &self,
        what: &'static str,
        headers: &HeaderMap,
        body: String,
        nonce: String,
    ) -> Result<Statement, FollowError> {
        let get = |name| text(headers, name).ok();
        let said = Statement::of_headers(what, get, body, nonce).ok_or(FollowError::NoSource)?;
        super::believed(&self.trusted, &said, get(header::SIGNATURE))?;
        let part = said.register.split_once(' ').map(|(_, part)| part);
        if let Some(asked) = &self.options.part
            && part != Some(&asked.to_string()[..])
        {
            return Err(FollowError::Another { found: said.register });
        }
        Ok(said)
    }
}

impl Source for Http {
    fn offer(&self) -> Result<Offer, FollowError> {
        let nonce = self.nonce()?;
        let response = self.ask(true, "snapshot", 0, &[(header::NONCE, nonce.clone())])?;
        let headers = response.headers();
        let digest = text(headers, header::DIGEST)?.to_owned();
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FollowError::NoSource);
        }
        let said = self.said("snapshot", headers, digest.clone(), nonce)?;
        let bytes = number(headers, "content-length")?;
        Ok(Offer { register: said.register, digest, bytes, latest: said.latest })
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let tag = format!("\"{}\"", offer.digest);
        let headers = [("range", format!("bytes={from}-")), ("if-range", tag.clone())];
        let response = self.ask(false, "snapshot", 0, &headers)?;
        let same = response.headers().get("etag").is_some_and(|other| other.as_bytes() == tag.as_bytes());
        let part = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok((same && part).then(|| Box::new(response.into_body().into_reader()) as Box<dyn Read>))
    }

    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<Told, FollowError> {
        let from = here.sequence();
        let wait = match wait.as_secs() {
            0 => String::new(),
            seconds => format!("&wait={seconds}s"),
        };
        let nonce = self.nonce()?;
        let headers = [("accept", header::FRAMES.to_owned()), (header::NONCE, nonce.clone())];
        let path = format!("changes?from={from}&limit={most}{wait}");
        let mut response = self.ask(false, &path, from, &headers)?;
        if response.headers().get("content-type").is_none_or(|found| found != header::FRAMES) {
            return Err(FollowError::NoSource);
        }
        let body = response.body_mut().with_config().limit(CHANGES_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| FollowError::Away(error.to_string()))?;
        let digest = match self.trusted.is_empty() {
            true => String::new(),
            false => blake3::hash(&body).to_hex().to_string(),
        };
        let said = self.said("changes", response.headers(), digest, nonce)?;
        let changes = changes_of_frames(&body, from).filter(|_| said.from == from);
        let register = said.register;
        let damaged = || FollowError::Away("its changes came damaged".to_owned());
        let content = Some(said.content).filter(|content| !content.is_empty());
        Ok(Told {
            register,
            changes: changes.ok_or_else(damaged)?,
            to: said.to,
            latest: said.latest,
            content,
        })
    }
}

/// What went wrong on the way, and what to look at.
fn away(error: &ureq::Error) -> FollowError {
    let text = error.to_string();
    let hints = [
        ("CertificateRequired", "it wants a certificate: --certificate and --key"),
        ("UnknownIssuer", "name the roots of its certificate with --ca"),
        ("invalid HTTP version", "is it https://?"),
        ("InvalidContentType", "is it http://?"),
    ];
    let hint = hints.iter().find(|(found, _)| text.contains(found));
    FollowError::Away(hint.map_or(text.clone(), |(_, hint)| format!("{text} ({hint})")))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, FollowError> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or(FollowError::NoSource)
}

fn number(headers: &HeaderMap, name: &str) -> Result<u64, FollowError> {
    text(headers, name)?.parse().map_err(|_| FollowError::NoSource)
}

fn read(path: &Path) -> Result<Vec<u8>, FollowError> {
    fs::read(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: impl ToString) -> FollowError {
    FollowError::Options(format!("{}: {}", path.display(), error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, FollowError> {
    let pem = read(path)?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| unusable(path, error))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(certificates)
}
