//! `serve`.

use super::args::{RegisterArg, Serve};
use super::follow::{FollowProgress, level};
use super::{CommandResult, Failure, check_open_files, disable_core_dumps, log};
use nabar::replica::{self, Event, Follow, FollowError, FollowStatus};
use nabar::service::{
    self, Config, FollowRules, NamedRegister, OpenRegisterError, Registers, Replicas, ServeError, Service,
    Writable,
};
use nabar::signing::SigningKeys;
use nabar::store::CHECKPOINT_AT;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tracing::Level;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// The address without `--listen` and `listen`.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Time that a replica has to be opened before the service listens without it.
const OPEN_TIME: Duration = Duration::from_secs(10);

pub(super) fn serve(args: &Serve) -> CommandResult {
    disable_core_dumps()?;
    check_open_files()?;
    let config = args.config.as_deref().map(Config::read).transpose();
    let mut config = config.map_err(|error| Failure::Usage(error.to_string()))?.unwrap_or_default();
    config.replicas.keys.extend(args.sign.iter().cloned());
    if args.writable && config.writable.is_none() {
        config.writable = Some(Writable::default());
    }
    if config.writable.is_some() && args.follow.is_some() {
        let text =
            "a replica takes no changes but those of its source: --follow excludes --writable and [writable]";
        return Err(Failure::Usage(text.to_owned()));
    }
    SigningKeys::read(&config.replicas.keys)?;
    let given = |given: &[RegisterArg]| -> Vec<_> {
        given.iter().map(|given| (given.name.clone(), given.path.clone())).collect()
    };
    let (mut registers, mut live) = (given(&args.registers), given(&args.sources));
    if registers.is_empty() && live.is_empty() {
        let configured = |named: &[NamedRegister]| -> Vec<_> {
            named.iter().map(|named| (named.name.clone(), named.path.clone())).collect()
        };
        (registers, live) = (configured(&config.registers), configured(&config.sources));
    }
    if registers.is_empty() && live.is_empty() {
        let text = "no register: name one with --register or --source, or in the configuration";
        return Err(Failure::Usage(text.to_owned()));
    }
    let _written = start_log(&args.log)?;
    let followed = match &args.follow {
        Some(address) => Some(follow_beside(args, address, &registers)?),
        None => {
            args.connection.only(&[], "without --follow")?;
            None
        }
    };
    let max_age = args.max_age.or(config.max_age.map(|age| age.0));
    let rules = FollowRules {
        max_age,
        allow_rollback: args.allow_rollback || config.allow_rollback,
        max_source_silence: config.max_source_silence.map(|silence| silence.0),
    };
    let registers =
        open_registers(registers, live, rules, &config.replicas, config.writable.as_ref(), followed)?;
    config.admin_listen = args.admin_listen.or(config.admin_listen);
    let mut service = Service::new(registers, &config)?;
    service.count_lost_log_lines(log::lost);
    let listen = args.listen.or(config.listen).unwrap_or(LISTEN);
    let admin = config.admin_listen;
    let authentication = config.authenticates();
    service::serve(service, listen, admin, |address, tls| {
        let scheme = if tls { "https" } else { "http" };
        // In the form of the log, at every level: scripts wait for this line. If standard error is closed, the
        // service runs all the same.
        let line = serde_json::json!({
            "timestamp": jiff::Timestamp::now().to_string(), "level": "INFO",
            "message": format!("listening on {scheme}://{address}"),
            "authentication": if authentication { "on" } else { "off: loopback only" }, "target": module_path!(),
        });
        log::write_line(&line.to_string());
    })?;
    Ok(())
}

/// Opens the registers, also one that is a replica.
fn open_registers(
    mut registers: Vec<(String, PathBuf)>,
    live: Vec<(String, PathBuf)>,
    rules: FollowRules,
    replicas: &Replicas,
    writable: Option<&Writable>,
    followed: Option<FollowedReplica>,
) -> Result<Registers, Failure> {
    let (followed, is_open) = match followed {
        Some(FollowedReplica { status, thread, is_open }) => (Some((status, thread)), is_open),
        None => (None, None),
    };
    let opened = match (&followed, is_open, registers.pop()) {
        (Some((status, _)), Some(is_open), Some(replica)) => {
            Registers::open_awaiting(replica, live, rules, replicas, Arc::clone(status), is_open)
        }
        (_, _, last) => {
            registers.extend(last);
            Registers::open(registers, live, rules, replicas, writable)
        }
    };
    let opened = opened.map_err(|error| match error {
        OpenRegisterError::Name(_)
        | OpenRegisterError::Twice(_)
        | OpenRegisterError::NoParts(_)
        | OpenRegisterError::NotWritable(_)
        | OpenRegisterError::Source(..) => Failure::Usage(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })?;
    if let Some((status, thread)) = followed {
        opened.follow_source(status, thread);
    }
    Ok(opened)
}

/// A replica that is followed in a thread.
struct FollowedReplica {
    status: Arc<FollowStatus>,
    thread: JoinHandle<()>,
    /// Gets a message when the replica can be opened; `None` if it can be already.
    is_open: Option<Receiver<()>>,
}

/// The first news of a replica.
enum FirstNews {
    Open,
    /// Its source is away, or has no register file that can be used.
    Waits,
    Ended(FollowError),
}

/// Follows the register of another service in a thread. Returns when the data directory can be served, or when that will take
/// time.
///
/// Errors: those that end following before that.
fn follow_beside(
    args: &Serve,
    address: &str,
    registers: &[(String, PathBuf)],
) -> Result<FollowedReplica, Failure> {
    let [(_, directory)] = registers else {
        let text = "--follow follows one register: name one data directory with --register";
        return Err(Failure::Usage(text.to_owned()));
    };
    let source = args.connection.to(address);
    let follow = Follow { directory: directory.clone(), once: false, checkpoint_at: CHECKPOINT_AT };
    let ((first, news), (opened, is_open)) = (channel(), channel());
    let status: Arc<FollowStatus> = Arc::default();
    let noted = Arc::clone(&status);
    let thread = thread::spawn(move || {
        let mut said = FollowProgress::default();
        let ended = replica::follow_with_status(&source, &follow, &noted, |event| {
            // The first of each counts.
            match &event {
                Event::Open(_) => {
                    let _ = opened.send(());
                    let _ = first.send(FirstNews::Open);
                }
                Event::Waiting(_) | Event::Untrusted(_) | Event::BadFile(_) => {
                    let _ = first.send(FirstNews::Waits);
                }
                _ => {}
            }
            if let Some(what) = said.line(&event) {
                match level(&event) {
                    Level::ERROR => tracing::error!(what, "replica"),
                    Level::WARN => tracing::warn!(what, "replica"),
                    _ => tracing::info!(what, "replica"),
                }
            }
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the replica is no longer updated; its last version, if any, is still served");
            let _ = first.send(FirstNews::Ended(error));
        }
    });
    match news.recv_timeout(OPEN_TIME) {
        Ok(FirstNews::Open) => Ok(FollowedReplica { status, thread, is_open: None }),
        Ok(FirstNews::Ended(error)) => Err(error.into()),
        Ok(FirstNews::Waits) | Err(RecvTimeoutError::Timeout) => {
            tracing::warn!("the register is not here yet: its requests are 503 until it is");
            Ok(FollowedReplica { status, thread, is_open: Some(is_open) })
        }
        // The channel closes without a message only if the thread panicked.
        Err(RecvTimeoutError::Disconnected) => {
            Err(Failure::Failed("the replica cannot be followed".to_owned()))
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Failure {
        match error {
            ServeError::Open | ServeError::Rules(_) => Failure::Usage(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

/// Starts the log; it is written until the guard is dropped.
pub(super) fn start_log(level: &str) -> Result<WorkerGuard, Failure> {
    let filter = EnvFilter::builder().parse(level);
    let filter = filter.map_err(|_| Failure::Usage("--log is error, warn, info, debug or off".to_owned()))?;
    let guard = log::start();
    let Some(writer) = log::writer() else { return Ok(guard) };
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(writer)
        // It would report a failed write to standard error, and panic there.
        .log_internal_errors(false)
        .init();
    Ok(guard)
}
