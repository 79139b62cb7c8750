//! What all requests share.

use super::audit::AuditLog;
use super::capacity::Capacity;
use super::channel_rules::NamedRules;
use super::client_limits::ClientLimits;
use super::config::{Config, Limits};
use super::credentials::Credentials;
use super::fault_log::FaultLog;
use super::memory::{MemoryBudget, Pool};
use super::metrics::Metrics;
use super::open_connections::OpenConnections;
use super::print_certificate::PrintCertificate;
use super::refusal_log::RefusalLog;
use super::registers::Registers;
use super::tls::CredentialsError;
use crate::channels::ChannelRulesError;
use crate::runs::{DescriptionError, RunDescription};
use crate::source::ANSWERS_BYTES;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Why a service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Certificates or keys.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The audit log.
    #[error("{}: the audit log cannot be opened: {}", .0.display(), .1)]
    Audit(PathBuf, io::Error),
    /// Channel rules.
    #[error(transparent)]
    Rules(#[from] ChannelRulesError),
    /// A description of print runs.
    #[error("[[run]]: {0}")]
    Run(#[from] DescriptionError),
    /// The certificate of the print service.
    #[error("krr.print_certificate: {0}")]
    Print(String),
    /// Authentication is off, and the address is not a loopback address.
    #[error(
        "authentication is off, so the service must listen on a loopback address: set listen to 127.0.0.1 or [::1], \
         or configure tls.client_ca, tls.client_authority or tokens in nabar.toml"
    )]
    Open,
    /// Too few file descriptors or too little memory for any connection.
    #[error(
        "the limit of open files (ulimit -n) or limits.memory_bytes is too low: no connection could be accepted"
    )]
    Files,
    /// A thread that follows a register has ended by a fault.
    #[error("a thread that follows a register has ended; the log says why")]
    Thread,
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
    pub(super) capacity: Capacity,
    pub(super) open: OpenConnections,
    /// Lines of the log that were lost.
    pub(super) lost_log_lines: Option<fn() -> usize>,
    pub(super) memory: Arc<MemoryBudget>,
    /// One permit per list that is being checked.
    pub(super) jobs: Pool,
    /// One permit per answer with many persons of KRR that is being made: those of a client take half of the cores, however many it
    /// asks for at a time.
    pub(super) answers: Pool,
    /// Whether the service stops.
    pub(super) stopping: watch::Sender<bool>,
    /// Lines of the log about refused requests and connections.
    pub(super) refusal_log: RefusalLog,
    /// Lines of the log about requests that fail.
    pub(super) fault_log: FaultLog,
    /// Whether callers must authenticate.
    pub(super) authenticates: bool,
    /// Whether probes and metrics have an address of their own.
    pub(super) has_admin: bool,
    /// KRR's print service, if one is configured.
    pub(super) print: Option<PrintCertificate>,
    /// Channel rules that requests name.
    pub(super) rules: NamedRules,
    /// Descriptions of print runs, by their names.
    pub(super) runs: HashMap<String, RunDescription>,
}

impl Service {
    /// Loads credentials and opens the audit log.
    pub fn new(registers: Registers, config: &Config) -> Result<Service, ServeError> {
        let (mut limits, has_tls) = (config.limits, config.tls.is_some());
        if registers.served().any(|served| served.front().is_some()) {
            // The answers that are kept are part of the budget.
            limits.memory_bytes = limits.memory_bytes.saturating_sub(ANSWERS_BYTES);
        }
        let capacity = Capacity::new(&limits, has_tls, registers.with_parts()).ok_or(ServeError::Files)?;
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
            clients: ClientLimits::new(&limits, capacity),
            capacity,
            open: OpenConnections::default(),
            lost_log_lines: None,
            memory: Arc::new(MemoryBudget::new(&limits, capacity.connections, has_tls)),
            jobs: Pool::new(limits.jobs.max(1), limits.jobs.div_ceil(2).max(1)),
            answers: Pool::new(cores(), cores().div_ceil(2)),
            stopping: watch::Sender::new(false),
            refusal_log: RefusalLog::new(),
            fault_log: FaultLog::default(),
            authenticates: config.authenticates(),
            has_admin: config.admin_listen.is_some(),
            print: PrintCertificate::read(&config.krr).map_err(ServeError::Print)?,
            rules: NamedRules::new(&config.rules)?,
            runs: config
                .runs
                .iter()
                .map(|run| Ok((run.name.clone(), RunDescription::read(&run.path)?)))
                .collect::<Result<_, DescriptionError>>()?,
        })
    }

    /// Says how the lines of the log are counted that were lost, for the metric `nabar_log_lines_lost`.
    pub fn count_lost_log_lines(&mut self, lost: fn() -> usize) {
        self.lost_log_lines = Some(lost);
    }

    /// Waits until the service stops.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as this.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
