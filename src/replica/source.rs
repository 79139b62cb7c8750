//! The service that a replica follows, as its client.

use super::FollowError;
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
}

/// A service that is followed.
pub(super) struct Source {
    agent: Agent,
    options: SourceOptions,
}

/// The register file that the source offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// BLAKE3, 64 hexadecimal digits.
    pub(super) digest: String,
    pub(super) bytes: u64,
}

/// Changes as the source tells them.
pub(super) struct Told {
    /// JSON Lines.
    pub(super) text: Vec<u8>,
    /// Sequence number of the last one.
    pub(super) to: u64,
    /// The source's own.
    pub(super) latest: u64,
}

impl Source {
    pub(super) fn new(options: SourceOptions) -> Result<Source, FollowError> {
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
            .timeout_per_read(Some(STALL_TIME + super::WAIT))
            .user_agent(concat!("nabar/", env!("CARGO_PKG_VERSION")));
        Ok(Source { agent: config.build().into(), options })
    }

    fn address(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.options.address.trim_end_matches('/'))
    }

    fn ask(&self, head: bool, path: &str, headers: &[(&str, String)]) -> Result<Response<Body>, FollowError> {
        let address = self.address(path);
        let mut request = if head { self.agent.head(&address) } else { self.agent.get(&address) };
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.options.token {
            let token = String::from_utf8(read(token)?).map_err(|_| unusable(token, "it is no text"))?;
            request = request.header("authorization", format!("Bearer {}", token.trim()));
        }
        let mut response = request.call().map_err(|error| FollowError::Away(error.to_string()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem = response.body_mut().with_config().limit(1 << 16).read_to_string().unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_str(&problem).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        Err(match status {
            StatusCode::GONE => FollowError::Gone,
            StatusCode::NOT_FOUND => FollowError::NoSource,
            StatusCode::TOO_MANY_REQUESTS => FollowError::Away(detail),
            _ if status.is_server_error() => FollowError::Away(format!("{status} {detail}")),
            _ => FollowError::Refused { status: status.as_u16(), detail },
        })
    }

    /// The register file that it has now.
    pub(super) fn offer(&self) -> Result<Offer, FollowError> {
        let response = self.ask(true, "snapshot", &[])?;
        let digest = text(response.headers(), "nabar-digest")?.to_owned();
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FollowError::NoSource);
        }
        Ok(Offer { digest, bytes: number(response.headers(), "content-length")? })
    }

    /// What is still missing of a register file. `None` if it is not what is offered any more.
    pub(super) fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<impl Read>, FollowError> {
        let tag = format!("\"{}\"", offer.digest);
        let headers = [("range", format!("bytes={from}-")), ("if-range", tag.clone())];
        let response = self.ask(false, "snapshot", &headers)?;
        let same = response.headers().get("etag").is_some_and(|other| other.as_bytes() == tag.as_bytes());
        let part = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok((same && part).then(|| response.into_body().into_reader()))
    }

    /// The changes after a sequence number; waits for some if there are none.
    pub(super) fn changes(&self, from: u64, most: usize, wait: Duration) -> Result<Told, FollowError> {
        let wait = match wait.as_secs() {
            0 => String::new(),
            seconds => format!("&wait={seconds}s"),
        };
        let mut response = self.ask(false, &format!("changes?from={from}&limit={most}{wait}"), &[])?;
        let headers = response.headers();
        let (to, latest) = (number(headers, "nabar-to")?, number(headers, "nabar-latest")?);
        if number(headers, "nabar-from")? != from {
            return Err(FollowError::NoSource);
        }
        let body = response.body_mut().with_config().limit(CHANGES_BYTES_MAX).read_to_vec();
        let text = body.map_err(|error| FollowError::Away(error.to_string()))?;
        Ok(Told { text, to, latest })
    }
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
