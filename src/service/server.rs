//! Listening, connections, TLS handshakes, and shutdown.

use super::audit::AuditLog;
use super::client_limits::client_network;
use super::config::Limits;
use super::connection::Connection;
use super::dispatch;
use super::health;
use super::open_connections::{OpenConnection, Usage};
use super::paced::PacedStream;
use super::response::Body;
use super::state::{ServeError, Service};
use super::stream::SharedStream;
use crate::recurring::RecurringLine;
use crate::store::FileWatch;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::net::sockopt::socket_acceptconn;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// How often the files of certificates and keys are examined on a file system without events.
const CREDENTIALS_POLL: Duration = Duration::from_secs(2);
/// How often they are examined in any case, and idle clients are removed.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Open connections of probes and metrics; the oldest gives way to a further one.
const ADMIN_CONNECTIONS: usize = 64;
/// If fewer connections are free than this share of all, each new one closes an idle one.
const RESERVE_SHARE: usize = 16;
/// Time that a connection has to end when it gives way to another one.
const GIVE_WAY_TIME: Duration = Duration::from_secs(1);
/// Time for the head of a request of a probe.
const ADMIN_HEAD_TIME: Duration = Duration::from_secs(5);
/// Time after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for which a thread without work is kept: it keeps what the allocator has not given back.
const KEEP_THREADS: Duration = Duration::from_millis(100);
/// Requests besides jobs that have a thread of their own at a time.
const LONG_REQUESTS: usize = 32;
/// Threads that answer requests, at least.
const WORKERS_MIN: usize = 2;
/// Time that a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Serves at an address until SIGTERM or SIGINT. Then no connection is accepted, and requests have
/// `limits.shutdown_time` to finish; a second signal ends them. `ready` gets the address, and whether it uses TLS. A
/// socket from systemd is used instead of the address. `admin`: the address of probes and metrics, if it is another one.
pub fn serve(
    service: Service,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    ready: impl FnOnce(SocketAddr, bool),
) -> Result<(), ServeError> {
    if !service.authenticates && !listen.ip().is_loopback() {
        return Err(ServeError::Open);
    }
    let failed = |error| ServeError::Listen(listen, error);
    let threads = service.limits.jobs + LONG_REQUESTS;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // A thread whose write to the audit log does not end must leave others.
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let runtime = runtime
        .worker_threads(cores.max(WORKERS_MIN))
        .enable_all()
        .max_blocking_threads(threads)
        .thread_keep_alive(KEEP_THREADS);
    let runtime = runtime.build().map_err(failed)?;
    let service = Arc::new(service);
    let served = runtime.block_on(run(&service, listen, admin, ready));
    // Threads that wait for the rest of a body do not delay the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if !service.registers.are_followed() {
        return Err(ServeError::Thread);
    }
    served.map_err(failed)
}

async fn run(
    service: &Arc<Service>,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    ready: impl FnOnce(SocketAddr, bool),
) -> io::Result<()> {
    let listener = match listenfd::ListenFd::from_env().take_tcp_listener(0)? {
        Some(given) => {
            if !socket_acceptconn(&given)? {
                return Err(io::Error::other("the socket that was passed (LISTEN_FDS) does not listen"));
            }
            given.set_nonblocking(true)?;
            TcpListener::from_std(given)?
        }
        None => TcpListener::bind(listen).await?,
    };
    let admin = match admin {
        Some(address) => Some(TcpListener::bind(address).await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let address = listener.local_addr()?;
    if !service.authenticates && !address.ip().is_loopback() {
        return Err(io::Error::other(ServeError::Open));
    }
    let hang_up = signal(SignalKind::hangup())?;
    if let Some(admin) = &admin {
        tracing::info!(address = %admin.local_addr()?, "probes and metrics");
    }
    ready(address, service.credentials.tls().is_some());
    // Without systemd there is no recipient.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let connections = GracefulShutdown::new();
    let reload = Arc::new(Reload::default());
    let reloading = tokio::spawn(keep_credentials(Arc::clone(service), Arc::clone(&reload)));
    let mut housekeeping = tokio::spawn(housekeeping(Arc::clone(service), hang_up, reload));
    tokio::select! {
        () = accept(service, &listener, &connections) => {}
        () = accept_admin(service, admin.as_ref(), &connections) => {}
        ended = &mut housekeeping => tracing::error!(?ended, "the housekeeping has ended by a fault"),
        () = service.registers.broken() => tracing::error!("a thread that follows a register has ended"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    housekeeping.abort();
    reloading.abort();
    drop(listener);
    // Connections in their handshake have no request.
    service.stopping.send_replace(true);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!(connections = connections.count(), "stopping: waiting for requests to finish");
    tokio::select! {
        finished = tokio::time::timeout(service.limits.shutdown_time, connections.shutdown()) => {
            if finished.is_err() {
                tracing::warn!("some requests did not finish in time");
            }
        }
        _ = terminate.recv() => tracing::warn!("stopping at once: the signal was repeated"),
        _ = interrupt.recv() => tracing::warn!("stopping at once: the signal was repeated"),
    }
    service.audit.iter().for_each(|audit| audit.write_counted(true));
    Ok(())
}

/// Whether credentials are to be loaded again, also if no file has changed.
#[derive(Default)]
struct Reload {
    is_forced: AtomicBool,
    due: Notify,
}

/// Reloads certificates and keys when their files change or on SIGHUP. A file system that hangs stops nothing else.
async fn keep_credentials(service: Arc<Service>, reload: Arc<Reload>) {
    let waker = Arc::clone(&reload);
    let files = service.credentials.files().to_vec();
    let watch = tokio::task::spawn_blocking(move || FileWatch::new(&files, move || waker.due.notify_one()));
    let Ok(mut watch) = watch.await else { return };
    loop {
        let renewed = tokio::task::spawn_blocking(move || {
            watch.renew();
            let poll = watch.interval(CREDENTIALS_POLL);
            (watch, poll)
        });
        let Ok((same, poll)) = renewed.await else { return };
        watch = same;
        let interval = poll.unwrap_or_else(|| HOUSEKEEPING.min(service.credentials.refresh_interval()));
        // Either way the files are examined.
        let _ = tokio::time::timeout(interval, reload.due.notified()).await;
        let is_forced = reload.is_forced.swap(false, Ordering::Relaxed);
        let blocking = Arc::clone(&service);
        // Token keys may be fetched from a URL.
        let _ = tokio::task::spawn_blocking(move || blocking.credentials.reload_if_due(is_forced)).await;
    }
}

/// Writes what was counted, and forgets clients that have gone. SIGHUP reopens the audit log and reloads credentials.
async fn housekeeping(service: Arc<Service>, mut hang_up: Signal, reload: Arc<Reload>) {
    let mut flush: Option<JoinHandle<()>> = None;
    loop {
        let hung_up = tokio::select! {
            _ = hang_up.recv() => true,
            () = tokio::time::sleep(HOUSEKEEPING) => false,
        };
        if hung_up {
            reload.is_forced.store(true, Ordering::Relaxed);
            reload.due.notify_one();
        }
        // Not another one while it waits for a hung file system, unless the file is to be replaced.
        if hung_up || flush.as_ref().is_none_or(JoinHandle::is_finished) {
            let service = Arc::clone(&service);
            flush = Some(tokio::task::spawn_blocking(move || {
                if hung_up {
                    service.audit.iter().for_each(AuditLog::reopen);
                }
                service.audit.iter().for_each(|audit| audit.write_counted(false));
            }));
        }
        service.clients.remove_idle();
        service.memory.remove_idle();
        service.jobs.remove_idle();
        service.answers.remove_idle();
        service.refusal_log.sum_up();
        service.fault_log.sum_up(Instant::now());
        health::report_hanging(&service);
        health::log_readiness(&service);
    }
}

async fn accept(service: &Arc<Service>, listener: &TcpListener, connections: &GracefulShutdown) {
    let free = Arc::new(Semaphore::new(service.capacity.connections));
    let reserve = service.capacity.connections.div_ceil(RESERVE_SHARE);
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client has closed the connection.
                log_accept_error(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let guard = service.clients.connect(address.ip());
        let left = free.available_permits();
        let gives_way =
            guard.is_some() && left < reserve && service.open.close_one(left == 0, service.authenticates);
        let permit = match Arc::clone(&free).try_acquire_owned() {
            // The connection that gives way has not ended yet.
            Err(_) if gives_way => {
                let freed = tokio::time::timeout(GIVE_WAY_TIME, Arc::clone(&free).acquire_owned()).await;
                freed.ok().and_then(Result::ok)
            }
            permit => permit.ok(),
        };
        let (Some(guard), Some(permit)) = (guard, permit) else {
            service.metrics.refused.inc();
            continue;
        };
        let registered = service.open.register(client_network(address.ip()));
        let (service, watcher) = (Arc::clone(service), connections.watcher());
        tokio::spawn(async move {
            service.metrics.connections.inc();
            let open = service.open.open(registered);
            tokio::select! {
                () = handle_connection(&service, stream, address, watcher, &open) => {}
                () = open.closed() => drop(service.metrics.gave_way.inc()),
            }
            drop(open);
            service.metrics.connections.dec();
            drop((permit, guard));
        });
    }
}

/// Logs that a connection could not be accepted, unless that has been said within the last minute.
fn log_accept_error(error: &io::Error) {
    static LINE: RecurringLine = RecurringLine::new();
    if let Some(times) = LINE.occurs(Instant::now()) {
        tracing::warn!(%error, times, "cannot accept a connection");
    }
}

/// Accepts connections of probes and metrics.
async fn accept_admin(
    service: &Arc<Service>,
    listener: Option<&TcpListener>,
    connections: &GracefulShutdown,
) {
    let Some(listener) = listener else { return std::future::pending().await };
    let mut open = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let (service, watcher) = (Arc::clone(service), connections.watcher());
                let task = tokio::spawn(async move {
                    let local = stream.local_addr().ok();
                    let stream = timed(&service.limits, shared(stream));
                    let connection = Connection::for_admin(address, local);
                    serve_requests(&service, stream, connection, watcher, None).await;
                });
                open.retain(|task: &AbortHandle| !task.is_finished());
                open.push_back(task.abort_handle());
                // A probe takes a millisecond: the oldest connection is one that sends nothing.
                if open.len() > ADMIN_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
            }
            Err(error) => {
                log_accept_error(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn shared(stream: TcpStream) -> SharedStream {
    // Responses are written whole, so waiting for more data would only delay them.
    let _ = stream.set_nodelay(true);
    SharedStream::new(stream)
}

/// A connection that ends if nothing is received or sent for some time, or if its client takes responses too slowly.
fn timed(limits: &Limits, stream: SharedStream) -> PacedStream<Pin<Box<TimeoutStream<SharedStream>>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(limits.head_time.max(limits.stall_time)));
    stream.set_write_timeout(Some(limits.stall_time));
    PacedStream::new(Box::pin(stream), limits.stall_time, limits.bytes_per_second_min)
}

async fn handle_connection(
    service: &Arc<Service>,
    stream: TcpStream,
    address: SocketAddr,
    watcher: Watcher,
    open: &OpenConnection<'_>,
) {
    let (local, shared) = (stream.local_addr().ok(), shared(stream));
    let stream = timed(&service.limits, shared.clone()).noted_in(Arc::clone(&open.usage));
    match service.credentials.tls() {
        None => {
            let connection = Connection::new(address, local, &[], Some(shared));
            serve_requests(service, stream, connection, watcher, Some(&open.usage)).await
        }
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
            let handshake = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream));
            let result = tokio::select! {
                result = handshake => result,
                () = service.stopped() => return,
            };
            match result {
                Ok(Ok(stream)) => {
                    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let connection = Connection::new(address, local, chain, Some(shared));
                    if is_admitted(service, &connection) {
                        serve_requests(service, stream, connection, watcher, Some(&open.usage)).await;
                    }
                }
                _ if !service.refusal_log.admits() => {}
                Ok(Err(error)) => tracing::info!(%error, address = %address.ip(), "no TLS handshake"),
                Err(_) => tracing::info!(address = %address.ip(), "no TLS handshake in time"),
            }
        }
    }
}

/// Whether a connection may have requests. Not if its session was resumed, and its certificate is no longer valid.
fn is_admitted(service: &Service, connection: &Connection) -> bool {
    let address = connection.unverified().address;
    match connection.peer(&service.credentials) {
        Ok(peer) => {
            if let Some(reason) = peer.unnamed {
                tracing::info!(%reason, %address, "the client certificate names no organisation");
            }
            true
        }
        Err(error) => {
            tracing::info!(%error, %address, "the client certificate of a resumed session is no longer valid");
            false
        }
    }
}

async fn serve_requests<S>(
    service: &Arc<Service>,
    stream: S,
    connection: Connection,
    watcher: Watcher,
    usage: Option<&Arc<Usage>>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (limits, client) = (&service.limits, Arc::new(connection));
    let is_admin = client.unverified().is_admin;
    let handler = {
        let (service, usage) = (Arc::clone(service), usage.map(Arc::clone));
        service_fn(move |mut request: Request<Incoming>| {
            let (service, client) = (Arc::clone(&service), Arc::clone(&client));
            let busy = usage.as_ref().map(Usage::begin_request);
            if let Some(usage) = &usage {
                request.extensions_mut().insert(Arc::clone(usage));
            }
            async move {
                let mut response = dispatch::answer(&service, &client, request).await;
                response.body_mut().guard(busy);
                Ok::<Response<Body>, Infallible>(response)
            }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if is_admin { ADMIN_HEAD_TIME.min(limits.head_time) } else { limits.head_time })
        // A probe does not keep its place from others.
        .keep_alive(!is_admin)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        // A client may close its sending side after the request and still read the response.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), handler);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
