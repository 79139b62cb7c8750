//! Fleets: many replicas of one source, by way of a distributed log and an object store.
//!
//! [`publish`] mirrors the change log of a data directory to a stream of NATS JetStream, and its register files to an object
//! store; [`follow`] keeps a replica of them, with the engine of [`crate::replica`]. A message has frames of the log, and
//! what a service says of such an answer in its headers, signed likewise. `docs/fleet.md` tells how to size and run it.

mod publishing;
mod source;
mod store;

pub use publishing::{Publish, Published, publish};

use crate::replica::{Event, Follow, FollowError, following};
use crate::signing::{KeyError, Trusted};
use crate::store::StoreError;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::runtime::Runtime;

/// Why a fleet cannot be fed or followed.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// NATS or the object store does not answer, or cannot now: it is tried again.
    #[error("{what}: {why}")]
    Away {
        /// What was tried.
        what: &'static str,
        /// What was said.
        why: String,
    },
    /// Addresses, keys or files.
    #[error("{0}")]
    Options(String),
    /// The stream has what the directory does not have.
    #[error(
        "the stream is at sequence {published} and the directory at {here}: the directory was rolled back, or is of \
         another register; publish to a new stream"
    )]
    RolledBack {
        /// In the stream.
        published: u64,
        /// In the directory.
        here: u64,
    },
    /// The stream is of another register, or of another history of it.
    #[error(
        "what the stream has up to sequence {published} is not what the directory has: it is of another register, or the \
         directory was rolled back and changed otherwise; publish to a new stream"
    )]
    Another {
        /// In the stream.
        published: u64,
    },
    /// The data directory.
    #[error(transparent)]
    Store(StoreError),
}

/// While another directory takes its place, or a checkpoint removes files, some are not there.
impl From<StoreError> for FleetError {
    fn from(error: StoreError) -> FleetError {
        let missing = match &error {
            StoreError::NotOne(_) | StoreError::LogMissing { .. } => true,
            StoreError::Io { error, .. } => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        };
        match missing {
            true => FleetError::Away { what: "the directory", why: error.to_string() },
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
            error => FollowError::Away(error.to_string()),
        }
    }
}

/// Something that failed, and may not fail the next time.
fn away<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> FleetError {
    move |error| FleetError::Away { what, why: error.to_string() }
}

/// A stream of a NATS server: `nats://host:4222/STREAM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Address of the server; with several, commas between them.
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
    /// What changes are published under.
    fn subject(&self) -> String {
        format!("nabar.{}", self.name)
    }
}

/// Where a fleet's log and register files are, and as whom they are reached.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The log.
    pub stream: Stream,
    /// The register files: a directory, or an address such as `s3://bucket/path`.
    pub store: String,
    /// Credentials of NATS, as its tools write them.
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
            options = options.credentials_file(credentials).await.map_err(unusable)?;
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        let servers: Vec<&str> = self.stream.server.split(',').collect();
        let client = options.connect(servers).await.map_err(away("NATS"))?;
        Ok(async_nats::jetstream::new(client))
    }
}

/// Chooses who does cryptography for TLS, unless somebody else has already: NATS and stores ask for it.
fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn runtime() -> Result<Runtime, FleetError> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built.map_err(|error| FleetError::Options(format!("no threads: {error}")))
}

/// Follows a fleet as [`crate::replica::follow`] follows a service. `consumer` is the name under which NATS knows the
/// replica; each replica has its own.
///
/// Errors: as there.
pub fn follow(
    fleet: &Fleet,
    consumer: &str,
    trusted: &[PathBuf],
    follow: &Follow,
    mut tell: impl FnMut(Event),
) -> Result<(), FollowError> {
    let trusted = Trusted::read(trusted).map_err(|error| FollowError::Options(error.to_string()))?;
    let source = source::Nats::new(fleet.clone(), consumer.to_owned(), trusted)?;
    following::run(follow, &source, &mut tell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_by_server_and_name() {
        let stream: Stream = "nats://a:4222,nats://b:4222/far-2026".parse().expect("a stream");
        assert_eq!((&stream.server[..], &stream.name[..]), ("nats://a:4222,nats://b:4222", "far-2026"));
        for bad in ["", "nats://", "nats://host", "http://host/far", "nats://host/", "nats://host/a.b", "far"]
        {
            assert!(bad.parse::<Stream>().is_err(), "{bad}");
        }
    }
}
