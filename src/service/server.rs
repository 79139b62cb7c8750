//! Listening, connections, TLS handshakes, and shutdown.

use super::audit::AuditLog;
use super::caller::Peer;
use super::dispatch;
use super::response::Body;
use super::state::{ServeError, Service};
use super::tls::Material;
use crate::store::FileWatch;
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
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// How often the files of certificates and keys are examined on a file system without events.
const CREDENTIALS_POLL: Duration = Duration::from_secs(2);
/// How often they are examined in any case, and idle clients are removed.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Time that a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Serves at an address until SIGTERM or SIGINT. Then no connection is accepted, and requests have
/// `limits.shutdown_time` to finish. `ready` gets the address, and whether it uses TLS. A socket from systemd is used
/// instead of the address.
pub fn serve(
    service: Service,
    listen: SocketAddr,
    ready: impl FnOnce(SocketAddr, bool),
) -> Result<(), ServeError> {
    if !service.authenticates && !listen.ip().is_loopback() {
        return Err(ServeError::Open);
    }
    let failed = |error| ServeError::Listen(listen, error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let service = Arc::new(service);
    let served = runtime.block_on(run(&service, listen, ready));
    // Threads that wait for the rest of a body do not delay the end.
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
    let address = listener.local_addr()?;
    if !service.authenticates && !address.ip().is_loopback() {
        return Err(io::Error::other(ServeError::Open));
    }
    let hang_up = signal(SignalKind::hangup())?;
    ready(address, service.credentials.tls().is_some());
    // Without systemd there is no recipient.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let connections = GracefulShutdown::new();
    let mut housekeeping = tokio::spawn(housekeeping(Arc::clone(service), hang_up));
    tokio::select! {
        () = accept(service, &listener, &connections) => {}
        _ = &mut housekeeping => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    housekeeping.abort();
    drop(listener);
    // Connections in their handshake have no request.
    service.stopping.notify_waiters();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!(connections = connections.count(), "stopping: waiting for requests to finish");
    if tokio::time::timeout(service.limits.shutdown_time, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    Ok(())
}

/// Reloads certificates and keys when their files change or on SIGHUP, which also reopens the audit log.
async fn housekeeping(service: Arc<Service>, mut hang_up: Signal) {
    let changed = Arc::new(Notify::new());
    let waker = Arc::clone(&changed);
    let mut watch = FileWatch::new(service.credentials.files(), move || waker.notify_one());
    loop {
        watch.renew();
        let interval = match watch.interval(CREDENTIALS_POLL) {
            Some(poll) => poll,
            None => HOUSEKEEPING.min(service.credentials.refresh_interval()),
        };
        let hung_up = tokio::select! {
            _ = hang_up.recv() => true,
            () = changed.notified() => false,
            () = tokio::time::sleep(interval) => false,
        };
        if hung_up {
            service.audit.iter().for_each(AuditLog::reopen);
        }
        let blocking = Arc::clone(&service);
        // Token keys may be fetched from a URL.
        let _ = tokio::task::spawn_blocking(move || blocking.credentials.reload_if_due(hung_up)).await;
        service.clients.remove_idle();
        service.body_memory.remove_idle();
    }
}

async fn accept(service: &Arc<Service>, listener: &TcpListener, connections: &GracefulShutdown) {
    let free = Arc::new(Semaphore::new(service.limits.connections));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client has closed the connection.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let guard = service.clients.connect(address.ip());
        let (Some(guard), Ok(permit)) = (guard, Arc::clone(&free).try_acquire_owned()) else {
            service.metrics.refused.inc();
            continue;
        };
        let (service, watcher) = (Arc::clone(service), connections.watcher());
        tokio::spawn(async move {
            service.metrics.connections.inc();
            handle_connection(&service, stream, address, watcher).await;
            service.metrics.connections.dec();
            drop((permit, guard));
        });
    }
}

async fn handle_connection(service: &Arc<Service>, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
    let limits = &service.limits;
    // Responses are written whole, so waiting for more data would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(limits.head_time.max(limits.stall_time)));
    stream.set_write_timeout(Some(limits.stall_time));
    let stream = Box::pin(stream);
    let mut peer = Peer { address: address.ip().to_string(), organisation: None };
    match service.credentials.tls() {
        None => serve_requests(service, stream, peer, watcher).await,
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
            let handshake = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream));
            let result = tokio::select! {
                result = handshake => result,
                () = service.stopping.notified() => return,
            };
            match result {
                Ok(Ok(stream)) => {
                    if identify(&tls, stream.get_ref().1, &mut peer) {
                        serve_requests(service, stream, peer, watcher).await;
                    }
                }
                Ok(Err(error)) => tracing::info!(%error, address = peer.address, "no TLS handshake"),
                Err(_) => tracing::info!(address = peer.address, "no TLS handshake in time"),
            }
        }
    }
}

/// Sets the organisation of a client. False if the connection must be closed: its session was resumed, and its
/// certificate is no longer valid.
fn identify(tls: &Material, connection: &ServerConnection, peer: &mut Peer) -> bool {
    let address = &peer.address;
    match tls.organisation(connection.peer_certificates().unwrap_or_default()) {
        Ok(None) => {}
        Ok(Some(Ok(organisation))) => peer.organisation = Some(organisation),
        Ok(Some(Err(reason))) => {
            tracing::info!(%reason, address, "the client certificate names no organisation");
        }
        Err(error) => {
            tracing::info!(%error, address, "the client certificate of a resumed session is no longer valid");
            return false;
        }
    }
    true
}

async fn serve_requests<S>(service: &Arc<Service>, stream: S, peer: Peer, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (limits, peer) = (&service.limits, Arc::new(peer));
    let handler = {
        let service = Arc::clone(service);
        service_fn(move |request: Request<Incoming>| {
            let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
            async move { Ok::<Response<Body>, Infallible>(dispatch::answer(&service, &peer, request).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        // A client may close its sending side after the request and still read the response.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), handler);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
