//! Fleets: many replicas of one source, through a distributed log and an object store.
//!
//! [`publish`] mirrors the change log of a data directory to a stream of NATS JetStream, and its register files to an
//! object store; [`follow`] keeps a replica of them, with the engine of [`crate::replica`]. A message consists of frames
//! of the log and the headers that a service sends with such a response, signed likewise. `docs/fleet.md` covers sizing
//! and operation.

mod publishing;
mod source;
mod store;

pub use publishing::{Publish, Published, publish};

use crate::files;
use crate::plain_text::plain;
use crate::replica::{Event, Follow, FollowError, following};
use crate::signing::{KeyError, TrustedKeys};
use crate::store::StoreError;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio::runtime::Runtime;

/// Why a fleet cannot be published to or followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// NATS or the object store is unreachable or fails: tried again.
    #[error("{what}: {why}")]
    Unreachable {
        /// What failed.
        what: &'static str,
        /// Its error.
        why: String,
    },
    /// What the object store says cannot be true or exceeds a limit: it is not believed.
    #[error("{0}")]
    Untrusted(String),
    /// An address, key or file is unusable.
    #[error("{0}")]
    Options(String),
    /// The stream is ahead of the directory.
    #[error(
        "the stream is at sequence {published} and the directory at {here}: the directory was rolled back, or holds \
         another register; publish to a new stream"
    )]
    RolledBack {
        /// Last sequence number in the stream.
        published: u64,
        /// Last sequence number in the directory.
        here: u64,
    },
    /// The stream holds another register, or another history of it.
    #[error(
        "the stream's changes up to sequence {published} differ from the directory's: it holds another register, or the \
         directory was rolled back and then changed differently; publish to a new stream"
    )]
    OtherRegister {
        /// Last sequence number in the stream.
        published: u64,
    },
    /// The data directory fails.
    #[error(transparent)]
    Store(StoreError),
}

/// Files are missing for a moment while the directory is replaced or a checkpoint removes them.
impl From<StoreError> for FleetError {
    fn from(error: StoreError) -> FleetError {
        let missing = match &error {
            StoreError::NotOne(_) | StoreError::LogMissing { .. } => true,
            StoreError::Io { error, .. } => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        };
        match missing {
            true => FleetError::Unreachable { what: "the directory", why: error.to_string() },
            false => FleetError::Store(error),
        }
    }
}

impl From<KeyError> for FleetError {
    fn from(error: KeyError) -> FleetError {
        FleetError::Options(error.to_string())
    }
}

impl From<FleetError> for FollowError {
    fn from(error: FleetError) -> FollowError {
        match error {
            FleetError::Options(text) => FollowError::Options(text),
            FleetError::Untrusted(text) => FollowError::Untrusted(text),
            error => FollowError::Unreachable(error.to_string()),
        }
    }
}

/// A failure that may pass.
fn unreachable<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> FleetError {
    move |error| FleetError::Unreachable { what, why: plain(&error.to_string()).into_owned() }
}

/// A stream of a NATS server: `nats://host:4222/STREAM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Addresses of the servers, separated by commas.
    pub server: String,
    /// Name of the stream.
    pub name: String,
}

impl FromStr for Stream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Stream, &'static str> {
        const FORM: &str = "write nats://HOST:4222/STREAM, with a name of letters, digits, - and _";
        let (server, name) = text.rsplit_once('/').ok_or(FORM)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let known = ["nats://", "tls://"]
            .iter()
            .any(|scheme| server.len() > scheme.len() && server.starts_with(scheme));
        if !known || name.is_empty() || !name.chars().all(plain) {
            return Err(FORM);
        }
        Ok(Stream { server: server.to_owned(), name: name.to_owned() })
    }
}

impl Stream {
    /// Subject of the changes.
    fn subject(&self) -> String {
        format!("nabar.{}", self.name)
    }
}

/// Addresses and credentials of a fleet's log and register files.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Stream of the log.
    pub stream: Stream,
    /// Store of the register files: a directory, or an address such as `s3://bucket/path`.
    pub store: String,
    /// Credentials file of NATS.
    pub credentials: Option<PathBuf>,
    /// Roots of the NATS server's certificate, PEM.
    pub ca: Option<PathBuf>,
}

impl Fleet {
    async fn connect(&self) -> Result<async_nats::jetstream::Context, FleetError> {
        choose_provider();
        let mut options = async_nats::ConnectOptions::new().name("nabar");
        if let Some(credentials) = &self.credentials {
            let unusable = |error| FleetError::Options(format!("{}: {error}", credentials.display()));
            let text = files::read_secret(credentials, |_| false).map_err(unusable)?;
            options = options.credentials(&String::from_utf8_lossy(&text)).map_err(unusable)?;
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        let servers: Vec<&str> = self.stream.server.split(',').collect();
        let client = options.connect(servers).await.map_err(unreachable("NATS"))?;
        Ok(async_nats::jetstream::new(client))
    }
}

/// Makes ring the process's TLS provider, which async-nats and object_store use, unless one is installed.
fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn runtime() -> Result<Runtime, FleetError> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built.map_err(|error| FleetError::Options(format!("the runtime cannot start: {error}")))
}

/// Follows a fleet as [`crate::replica::follow`] follows a service. `consumer` is the name of the replica's durable
/// consumer, which must be unique.
///
/// Errors: those of [`crate::replica::follow`].
pub fn follow(
    fleet: &Fleet,
    consumer: &str,
    trusted: &[impl AsRef<Path>],
    follow: &Follow,
    mut report: impl FnMut(Event),
) -> Result<(), FollowError> {
    let trusted = TrustedKeys::read(trusted).map_err(|error| FollowError::Options(error.to_string()))?;
    let source = source::NatsSource::new(fleet.clone(), consumer.to_owned(), trusted)?;
    following::run(follow, &source, &mut report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_addresses_parse() {
        let stream: Stream = "nats://a:4222,nats://b:4222/far-2026".parse().expect("a stream");
        assert_eq!((&stream.server[..], &stream.name[..]), ("nats://a:4222,nats://b:4222", "far-2026"));
        for bad in ["", "nats://", "nats://host", "http://host/far", "nats://host/", "nats://host/a.b", "far"]
        {
            assert!(bad.parse::<Stream>().is_err(), "{bad}");
        }
    }
}
