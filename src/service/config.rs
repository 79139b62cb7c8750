//! `nabar.toml`: what the service is told. `docs/service.md` has every name.

use super::server::Limits;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// All that the service is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port.
    pub listen: Option<SocketAddr>,
    /// Age of a register beyond which the service is not ready, such as `36h`.
    pub max_age: Option<Time>,
    /// The registers.
    #[serde(rename = "register")]
    pub registers: Vec<NamedRegister>,
    /// Certificates.
    pub tls: Option<Tls>,
    /// Bearer tokens.
    pub tokens: Option<Tokens>,
    /// What clients may take.
    pub limits: Given,
    /// Who asked what.
    pub audit: Option<Audit>,
}

/// A register and its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedRegister {
    /// Its addresses begin with `/name`; empty if it is the only one.
    #[serde(default)]
    pub name: String,
    /// Register file or data directory.
    pub path: PathBuf,
}

/// Certificates, all as PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The service's certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Roots of clients' certificates. Without them no certificate is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether a client may come without a certificate, and show a token.
    #[serde(default)]
    pub client_optional: bool,
}

/// Bearer tokens: JWT.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// JWKS: a file, or an address that begins with `https://`.
    pub jwks: String,
    /// Algorithms that are accepted, whatever a token says.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// How often an address is asked again for its keys.
    #[serde(default = "default_refresh")]
    pub refresh: Time,
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

fn default_refresh() -> Time {
    Time(SignedDuration::from_hours(1))
}

/// Limits that differ from the usual ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // the names are those of `Limits`
pub struct Given {
    pub body_bytes: Option<usize>,
    pub json_bytes: Option<usize>,
    pub bodies_bytes: Option<usize>,
    pub connections: Option<usize>,
    pub connections_a_client: Option<usize>,
    pub jobs: Option<usize>,
    pub head_time: Option<Time>,
    pub stall_time: Option<Time>,
    pub shutdown_time: Option<Time>,
    pub requests_a_second: Option<NonZeroU32>,
    pub ids_a_second: Option<NonZeroU32>,
}

/// The audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The file that lines are appended to. SIGHUP opens it anew.
    pub path: PathBuf,
}

/// A time, such as `30s`, `36h` or `7d`. A day has 24 hours.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(pub SignedDuration);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Time, &'static str> {
        let span = text.parse::<Span>().ok();
        let time = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        time.filter(|time| time.is_positive()).map(Time).ok_or("write it as 30m, 24h or 7d")
    }
}

impl TryFrom<String> for Time {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Time, &'static str> {
        text.parse()
    }
}

/// Why `nabar.toml` is not understood.
#[derive(Debug, thiserror::Error)]
#[error("{}: {finding}", path.display())]
pub struct BadConfig {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong.
    pub finding: String,
}

impl Config {
    /// Reads a configuration. Paths in it count from its own directory.
    pub fn read(path: &Path) -> Result<Config, BadConfig> {
        let bad = |finding: String| BadConfig { path: path.to_owned(), finding };
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let mut config: Config = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        config.paths().for_each(|path| *path = directory.join(&*path));
        if let Some(tokens) = config.tokens.as_mut().filter(|tokens| !tokens.is_remote()) {
            if tokens.jwks.contains("://") {
                let finding =
                    format!("tokens.jwks: {} is neither a file nor an https:// address", tokens.jwks);
                return Err(bad(finding));
            }
            tokens.jwks = directory.join(&tokens.jwks).display().to_string();
        }
        if config.tls.as_ref().is_some_and(|tls| tls.client_optional && tls.client_ca.is_none()) {
            return Err(bad("tls.client_optional without tls.client_ca".to_owned()));
        }
        if let Some(tokens) = &config.tokens
            && (tokens.algorithms.is_empty()
                || tokens.algorithms.iter().any(|algorithm| is_secret(*algorithm)))
        {
            let finding =
                "tokens.algorithms: RS, PS, ES and EdDSA are accepted, and one of them must be there";
            return Err(bad(finding.to_owned()));
        }
        Ok(config)
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Config { registers, tls, audit, .. } = self;
        let tls = tls.iter_mut().flat_map(|tls| {
            [Some(&mut tls.certificate), Some(&mut tls.key), tls.client_ca.as_mut()].into_iter().flatten()
        });
        let registers = registers.iter_mut().map(|register| &mut register.path);
        registers.chain(tls).chain(audit.iter_mut().map(|audit| &mut audit.path))
    }

    /// Whether anybody is asked who they are.
    pub fn authenticates(&self) -> bool {
        self.tokens.is_some() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// The limits, where they are not given the usual ones.
    pub fn limits(&self) -> Limits {
        let (usual, given) = (Limits::default(), &self.limits);
        let time = |given: Option<Time>, usual: Duration| {
            given.and_then(|given| Duration::try_from(given.0).ok()).unwrap_or(usual)
        };
        Limits {
            body_bytes: given.body_bytes.unwrap_or(usual.body_bytes),
            json_bytes: given.json_bytes.unwrap_or(usual.json_bytes),
            bodies_bytes: given.bodies_bytes.unwrap_or(usual.bodies_bytes),
            connections: given.connections.unwrap_or(usual.connections),
            connections_a_client: given.connections_a_client.unwrap_or(usual.connections_a_client),
            jobs: given.jobs.unwrap_or(usual.jobs),
            head_time: time(given.head_time, usual.head_time),
            stall_time: time(given.stall_time, usual.stall_time),
            shutdown_time: time(given.shutdown_time, usual.shutdown_time),
            requests_a_second: given.requests_a_second.or(usual.requests_a_second),
            ids_a_second: given.ids_a_second.or(usual.ids_a_second),
            ..usual
        }
    }
}

impl Tokens {
    /// Whether the keys are asked for at an address.
    pub(super) fn is_remote(&self) -> bool {
        self.jwks.starts_with("https://")
    }
}

fn is_secret(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}
