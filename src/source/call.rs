//! Calls over HTTP, and what their failures mean.

use super::answer::CallError;
use super::config::{SourceFile, time};
use crate::plain_text::plain;
use crate::replica::client::{self, ClientIdentity};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use std::time::Duration;

/// Length of an answer in bytes, at most: a part for the answer and one for each id. A row of FaR has some 700 bytes, a
/// person of KRR with a certificate some 3000.
const ANSWER_BYTES: usize = 256 << 10;
const ANSWER_BYTES_PER_ID: usize = 8 << 10;
/// Longest time that a register may ask to be left alone for; a longer one counts as this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// The answer to a request.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    retry_after: Option<Duration>,
}

/// The HTTP client of a source.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client,
    /// Time for a call, if it is shorter than that of the source.
    call_time: Option<Duration>,
}

impl HttpClient {
    /// The same client, whose calls take no longer than this.
    pub(super) fn with_call_time(&self, call_time: Duration) -> HttpClient {
        HttpClient { client: self.client.clone(), call_time: Some(call_time) }
    }

    /// Errors: a certificate or key cannot be used; the text names the file.
    pub(super) fn new(file: &SourceFile, identity: Option<ClientIdentity>) -> Result<HttpClient, String> {
        let roots = match &file.tls.ca {
            None => None,
            Some(path) => {
                let unusable = |error: rustls::Error| format!("{}: {error}", path.display());
                Some(client::roots(client::read_certificates(path)?).map_err(unusable)?)
            }
        };
        let certificate = file.tls.certificate.as_ref().or(file.tls.pkcs12.as_ref());
        let tls = client::tls(roots, identity).map_err(|error| match certificate {
            Some(path) => format!("{}: {error}", path.display()),
            None => error.to_string(),
        })?;
        let limits = &file.limits;
        let mut builder = client::builder(tls);
        if file.address.starts_with("http://") {
            // On this machine: a proxy would see the ids.
            builder = builder.no_proxy();
        }
        let client = builder
            .redirect(Policy::none())
            .connect_timeout(time(limits.connect_time))
            .timeout(time(limits.call_time))
            .pool_max_idle_per_host(limits.calls_in_flight.get())
            .build()
            .map_err(|error| client::cause(&error))?;
        Ok(HttpClient { client, call_time: None })
    }

    /// Sends a body, and reads the whole answer, which is for some ids. Errors: those of the connection.
    pub(super) async fn post(
        &self,
        address: &str,
        content_type: &'static str,
        headers: HeaderMap,
        (body, ids): (String, usize),
    ) -> Result<Reply, CallError> {
        let bytes_max = ANSWER_BYTES + ids * ANSWER_BYTES_PER_ID;
        self.exchange(address, content_type, headers, (body, bytes_max)).await
    }

    /// Sends a body, and reads the whole answer. Errors: those of the connection, or the answer is too long.
    pub(super) async fn exchange(
        &self,
        address: &str,
        content_type: &'static str,
        headers: HeaderMap,
        (body, bytes_max): (String, usize),
    ) -> Result<Reply, CallError> {
        let mut request =
            self.client.post(address).headers(headers).header(CONTENT_TYPE, content_type).body(body);
        if let Some(time) = self.call_time {
            request = request.timeout(time);
        }
        let failed = |error: reqwest::Error| connection_error(&client::cause(&error), error.is_timeout());
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(seconds);
        let body = client::read_body(response, bytes_max).await;
        let body = body.map_err(|error| connection_error(&error.to_string(), false))?;
        Ok(Reply { status, body, retry_after })
    }
}

/// The time of `Retry-After`: seconds, or a date.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or_default()
        }
    };
    Some(time.min(RETRY_AFTER_MAX))
}

/// Failures of TLS that do not pass, by what rustls says, and what to do.
const PERMANENT: [(&str, &str); 9] = [
    ("UnknownIssuer", "the register's certificate is not below a known root: name its CA with [tls] ca"),
    ("CertificateRequired", "the register wants a client certificate: name it in [tls]"),
    ("CertificateExpired", "the register says that the client certificate has expired: renew it"),
    ("certificate expired", "the register's certificate has expired"),
    ("UnknownCA", "the register does not know the issuer of the client certificate"),
    ("BadCertificate", "the register refuses the client certificate"),
    ("CertificateRevoked", "the client certificate is revoked"),
    ("not valid for name", "the register's certificate is for another name: check the address"),
    // The last: any other finding, such as a signature of another authority of the same name.
    ("invalid peer certificate", "the register's certificate is not valid"),
];

/// What follows from a failed connection.
fn connection_error(cause: &str, timed_out: bool) -> CallError {
    match PERMANENT.iter().find(|(found, _)| cause.contains(found)) {
        Some((_, what)) => CallError::Stop(format!("no connection: {what} ({})", plain(cause))),
        None if timed_out => CallError::again(format!("no answer in time: {}", plain(cause))),
        None => CallError::again(plain(cause)),
    }
}

impl Reply {
    /// Whether a word of all answers of a contract is at the beginning of the body. If not, the body is a page of a proxy
    /// or of a gateway.
    pub(super) fn may_be(&self, word: &str) -> bool {
        let beginning = &self.body[..self.body.len().min(1024)];
        memchr::memmem::find(beginning, word.as_bytes()).is_some()
    }

    /// What follows from a status that is not a success and whose body is not read.
    pub(super) fn error(&self, what: &str) -> CallError {
        let status = self.status;
        let again = || CallError::Again {
            why: format!("{what} answers with status {}", status.as_u16()),
            after: self.retry_after,
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => again(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CallError::Stop(format!(
                "{what} refuses access (status {}): check the certificate, or the token's scopes",
                status.as_u16()
            )),
            status if status.is_redirection() => CallError::Stop(format!(
                "{what} redirects to another address (status {}): ids are not sent there; check the address",
                status.as_u16()
            )),
            status if status.is_client_error() => CallError::Stop(format!(
                "{what} does not take the request (status {}): check the address, and that it is of the right kind",
                status.as_u16()
            )),
            _ => again(),
        }
    }
}
