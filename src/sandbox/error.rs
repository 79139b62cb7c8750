//! Why a sandbox cannot start.

use crate::registration::RegistrationsError;
use crate::service::{ConfigError, OpenRegisterError, ServeError};
use crate::store::InitError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a sandbox cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A file or directory.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    /// What the directory holds is not that of a sandbox.
    #[error("the state of the sandbox cannot be used: {0}")]
    State(String),
    /// The file of faults.
    #[error("{}: these are no faults: {}", .0.display(), .1)]
    Faults(PathBuf, String),
    /// The directory holds something else.
    #[error("{}: the directory is not that of a sandbox, and not empty: name a new one with --state", .0.display())]
    Foreign(PathBuf),
    /// Another sandbox runs in the directory.
    #[error("{}: another sandbox runs on this state: end it, or name a new directory with --state", .0.display())]
    Busy(PathBuf),
    /// The directory was made with another seed.
    #[error("{}: the sandbox was made with --seed {made}: leave --seed out, or name a new directory", path.display())]
    Seed {
        /// The directory.
        path: PathBuf,
        /// Its seed.
        made: u64,
    },
    /// Certificates and keys.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// An address.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// A register.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A register.
    #[error(transparent)]
    Register(#[from] OpenRegisterError),
    /// The write side.
    #[error(transparent)]
    Registrations(#[from] RegistrationsError),
    /// The configuration of the service behind.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The service behind.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The system.
    #[error("{0}")]
    System(#[from] io::Error),
}
