//! Connections: how many, how long, and how they end.

use super::exchange::Body;
use super::metrics::Metrics;
use super::registers::Registers;
use super::routes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body that is read whole. Longer ones only where they are streamed.
    pub body_bytes: usize,
    /// Bytes of a SOAP message or of a page of persons: 1000 ids take some 100 000.
    pub message_bytes: usize,
    /// Bytes of all bodies in memory at a time; who comes then waits.
    pub bodies_bytes: usize,
    /// Open connections; more are closed at once.
    pub connections: usize,
    /// Lists that are checked at a time; who comes then waits.
    pub jobs: usize,
    /// Headers of a request, and the bytes that its head may take.
    pub headers: usize,
    /// See [`headers`](Self::headers).
    pub head_bytes: usize,
    /// Time from a connection's or the last answer's end to the end of the next head.
    pub head_time: Duration,
    /// Time for which a client may send nothing, or take nothing, in the middle of an exchange.
    pub stall_time: Duration,
    /// Time that exchanges have to end when the service is told to.
    pub shutdown_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 64 << 20,
            message_bytes: 1 << 20,
            bodies_bytes: 512 << 20,
            connections: 4096,
            jobs: 2,
            headers: 64,
            head_bytes: 64 << 10,
            head_time: Duration::from_secs(60),
            stall_time: Duration::from_secs(30),
            shutdown_time: Duration::from_secs(30),
        }
    }
}

/// Registers, and what serves them.
pub struct Service {
    pub(super) registers: Registers,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    /// Room for bodies.
    pub(super) bodies: Semaphore,
    /// Room for lists.
    pub(super) jobs: Semaphore,
}

impl Service {
    /// A service of some registers.
    pub fn new(registers: Registers, limits: Limits) -> Service {
        let room = limits.bodies_bytes.max(limits.body_bytes).max(limits.message_bytes);
        Service {
            registers,
            limits,
            metrics: Metrics::new(),
            bodies: Semaphore::new(Service::permits(room)),
            jobs: Semaphore::new(limits.jobs.max(1)),
        }
    }
}

/// Serves at an address until SIGTERM or SIGINT; `ready` is told where. Then nobody new is let in, and
/// exchanges have some time to end.
pub fn serve(service: Service, listen: SocketAddr, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let service = Arc::new(service);
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        ready(listener.local_addr()?);
        let connections = GracefulShutdown::new();
        tokio::select! {
            () = accept(&service, &listener, &connections) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        drop(listener);
        tracing::info!(connections = connections.count(), "stopping: waiting for exchanges to end");
        if tokio::time::timeout(service.limits.shutdown_time, connections.shutdown()).await.is_err() {
            tracing::warn!("some exchanges did not end in time");
        }
        Ok(())
    });
    // Threads that wait for a body that never comes are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

async fn accept(service: &Arc<Service>, listener: &TcpListener, connections: &GracefulShutdown) {
    let room = Arc::new(Semaphore::new(service.limits.connections));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or the client has gone already.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(place) => connect(service, stream, place, connections),
            Err(_) => _ = service.metrics.refused.inc(),
        }
    }
}

fn connect(
    service: &Arc<Service>,
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    connections: &GracefulShutdown,
) {
    let limits = service.limits;
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(limits.head_time.max(limits.stall_time)));
    stream.set_write_timeout(Some(limits.stall_time));
    let exchange = {
        let service = Arc::clone(service);
        service_fn(move |request: Request<Incoming>| {
            let service = Arc::clone(&service);
            async move { Ok::<Response<Body>, Infallible>(routes::answer(&service, request).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(Box::pin(stream)), exchange);
    let connection = connections.watch(connection);
    let service = Arc::clone(service);
    service.metrics.connections.inc();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
        service.metrics.connections.dec();
        drop(place);
    });
}
