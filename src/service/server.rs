//! Connections: who may open them, how many, how long, and how they end.

use super::access::{Access, Peer};
use super::audit::Audit;
use super::body;
use super::clients::Clients;
use super::config::{Config, Limits};
use super::exchange::Body;
use super::metrics::Metrics;
use super::registers::Registers;
use super::routes;
use super::tls::{BadKeys, Material};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConnection;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// How often certificates, keys and clients are looked through.
const LOOK: Duration = Duration::from_secs(2);
/// Time in which a TLS handshake must be done.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Why a service cannot be.
#[derive(Debug, thiserror::Error)]
pub enum CannotServe {
    /// Certificates or keys.
    #[error(transparent)]
    Keys(#[from] BadKeys),
    /// The audit log.
    #[error("{}: the audit log cannot be opened: {}", .0.display(), .1)]
    Audit(PathBuf, io::Error),
    /// Anybody could ask.
    #[error(
        "nobody is asked who they are, so only this machine may ask: listen on 127.0.0.1 or [::1], or set \
         tls.client_ca, tls.client_authority or tokens in nabar.toml"
    )]
    Open,
    /// The system.
    #[error("cannot serve at {0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// Registers, and what serves them.
pub struct Service {
    pub(super) registers: Registers,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) access: Access,
    pub(super) audit: Option<Audit>,
    pub(super) clients: Clients,
    /// Room for bodies.
    pub(super) bodies: Arc<Semaphore>,
    /// Room for lists.
    pub(super) jobs: Semaphore,
    pub(super) stopping: Notify,
    pub(super) authenticates: bool,
}

impl Service {
    /// A service of some registers.
    pub fn new(registers: Registers, config: &Config) -> Result<Service, CannotServe> {
        let limits = config.limits;
        Ok(Service {
            registers,
            limits,
            metrics: Metrics::new(),
            access: Access::new(config)?,
            audit: match &config.audit {
                Some(audit) => {
                    let failed = |error| CannotServe::Audit(audit.path.clone(), error);
                    Some(Audit::open(audit).map_err(failed)?)
                }
                None => None,
            },
            clients: Clients::new(&limits),
            bodies: Arc::new(Semaphore::new(body::of_all(&limits))),
            jobs: Semaphore::new(limits.jobs.max(1)),
            stopping: Notify::new(),
            authenticates: config.authenticates(),
        })
    }
}

/// Serves at an address until SIGTERM or SIGINT; `ready` is told where, and whether with TLS. Then nobody
/// new is let in, and exchanges have some time to end. A socket that systemd hands over takes the place of
/// the address.
pub fn serve(
    service: Service,
    listen: SocketAddr,
    ready: impl FnOnce(SocketAddr, bool),
) -> Result<(), CannotServe> {
    if !service.authenticates && !listen.ip().is_loopback() {
        return Err(CannotServe::Open);
    }
    let failed = |error| CannotServe::Listen(listen, error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let service = Arc::new(service);
    let served = runtime.block_on(run(&service, listen, ready));
    // Threads that wait for a body that never comes are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served.map_err(failed)
}

async fn run(
    service: &Arc<Service>,
    listen: SocketAddr,
    ready: impl FnOnce(SocketAddr, bool),
) -> io::Result<()> {
    let listener = match listenfd::ListenFd::from_env().take_tcp_listener(0)? {
        Some(given) => {
            given.set_nonblocking(true)?;
            TcpListener::from_std(given)?
        }
        None => TcpListener::bind(listen).await?,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let at = listener.local_addr()?;
    if !service.authenticates && !at.ip().is_loopback() {
        return Err(io::Error::other(CannotServe::Open));
    }
    let hang_up = signal(SignalKind::hangup())?;
    ready(at, service.access.tls().is_some());
    // Nobody may have asked to be told.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let connections = GracefulShutdown::new();
    let mut look = tokio::spawn(look(Arc::clone(service), hang_up));
    tokio::select! {
        () = accept(service, &listener, &connections) => {}
        _ = &mut look => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    look.abort();
    drop(listener);
    // Who has not even shaken hands has no exchange.
    service.stopping.notify_waiters();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!(connections = connections.count(), "stopping: waiting for exchanges to end");
    if tokio::time::timeout(service.limits.shutdown_time, connections.shutdown()).await.is_err() {
        tracing::warn!("some exchanges did not end in time");
    }
    Ok(())
}

/// Looks after what changes beside the registers. SIGHUP reads certificates and keys anew, and opens the
/// audit log anew.
async fn look(service: Arc<Service>, mut hang_up: Signal) {
    loop {
        let told = tokio::time::timeout(LOOK, hang_up.recv()).await.is_ok();
        if told {
            service.audit.iter().for_each(Audit::reopen);
        }
        let other = Arc::clone(&service);
        // Keys may be asked for at an address.
        let _ = tokio::task::spawn_blocking(move || other.access.follow(told)).await;
        service.clients.tidy();
    }
}

async fn accept(service: &Arc<Service>, listener: &TcpListener, connections: &GracefulShutdown) {
    let room = Arc::new(Semaphore::new(service.limits.connections));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client has gone already.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let counted = service.clients.connect(address.ip());
        let (Some(counted), Ok(place)) = (counted, Arc::clone(&room).try_acquire_owned()) else {
            service.metrics.refused.inc();
            continue;
        };
        let (service, watcher) = (Arc::clone(service), connections.watcher());
        tokio::spawn(async move {
            service.metrics.connections.inc();
            connect(&service, stream, address, watcher).await;
            service.metrics.connections.dec();
            drop((place, counted));
        });
    }
}

async fn connect(service: &Arc<Service>, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
    let limits = &service.limits;
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(limits.head_time.max(limits.stall_time)));
    stream.set_write_timeout(Some(limits.stall_time));
    let stream = Box::pin(stream);
    let mut peer = Peer { address: address.ip().to_string(), organisation: None };
    match service.access.tls() {
        None => converse(service, stream, peer, watcher).await,
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
            let handshake = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream));
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                () = service.stopping.notified() => return,
            };
            match shaken {
                Ok(Ok(stream)) => {
                    if identify(&tls, stream.get_ref().1, &mut peer) {
                        converse(service, stream, peer, watcher).await;
                    }
                }
                Ok(Err(error)) => tracing::info!(%error, address = peer.address, "no TLS handshake"),
                Err(_) => tracing::info!(address = peer.address, "no TLS handshake in time"),
            }
        }
    }
}

/// Finds the organisation of a client. False if the connection must be closed: its session was resumed, and
/// its certificate is not valid any more.
fn identify(tls: &Material, connection: &ServerConnection, peer: &mut Peer) -> bool {
    let address = &peer.address;
    match tls.organisation(connection.peer_certificates().unwrap_or_default()) {
        Ok(None) => {}
        Ok(Some(Ok(organisation))) => peer.organisation = Some(organisation),
        Ok(Some(Err(reason))) => {
            tracing::info!(%reason, address, "the client certificate names no organisation");
        }
        Err(error) => {
            tracing::info!(%error, address, "the client certificate of a resumed session is not valid any more");
            return false;
        }
    }
    true
}

async fn converse<S>(service: &Arc<Service>, stream: S, peer: Peer, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (limits, peer) = (&service.limits, Arc::new(peer));
    let exchange = {
        let service = Arc::clone(service);
        service_fn(move |request: Request<Incoming>| {
            let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
            async move { Ok::<Response<Body>, Infallible>(routes::answer(&service, &peer, request).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        // Who has sent all may say so; and an answer that takes long is not cut because nothing is sent.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), exchange);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
