//! What all requests share.

use super::audit::AuditLog;
use super::body_memory::BodyMemory;
use super::client_limits::ClientLimits;
use super::config::{Config, Limits};
use super::credentials::Credentials;
use super::metrics::Metrics;
use super::registers::Registers;
use super::tls::CredentialsError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::sync::{Notify, Semaphore};

/// Why a service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Certificates or keys.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The audit log.
    #[error("{}: the audit log cannot be opened: {}", .0.display(), .1)]
    Audit(PathBuf, io::Error),
    /// Authentication is off, and the address is not a loopback address.
    #[error(
        "authentication is off, so the service must listen on a loopback address: set listen to 127.0.0.1 or [::1], \
         or configure tls.client_ca, tls.client_authority or tokens in nabar.toml"
    )]
    Open,
    /// The system.
    #[error("cannot serve at {0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// The registers that are served, and the state that requests share.
pub struct Service {
    pub(super) registers: Registers,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) credentials: Credentials,
    pub(super) audit: Option<AuditLog>,
    pub(super) clients: ClientLimits,
    pub(super) body_memory: BodyMemory,
    /// One permit per list that is being checked.
    pub(super) jobs: Semaphore,
    pub(super) stopping: Notify,
    /// Whether callers must authenticate.
    pub(super) authenticates: bool,
}

impl Service {
    /// Loads credentials and opens the audit log.
    pub fn new(registers: Registers, config: &Config) -> Result<Service, ServeError> {
        let limits = config.limits;
        Ok(Service {
            registers,
            limits,
            metrics: Metrics::new(),
            credentials: Credentials::new(config)?,
            audit: match &config.audit {
                Some(audit) => {
                    let failed = |error| ServeError::Audit(audit.path.clone(), error);
                    Some(AuditLog::open(audit).map_err(failed)?)
                }
                None => None,
            },
            clients: ClientLimits::new(&limits),
            body_memory: BodyMemory::new(&limits),
            jobs: Semaphore::new(limits.jobs.max(1)),
            stopping: Notify::new(),
            authenticates: config.authenticates(),
        })
    }
}
