//! Metrics of `nabar follow`, for Prometheus.

use super::Failure;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nabar::replica::{Event, FollowStatus};
use nabar::service::with_process_metrics;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Connections at a time; the oldest gives way to a further one.
const CONNECTIONS: usize = 16;
/// Longest time for the head of a request, and for a whole connection.
const HEAD_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_secs(30);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one replica.
#[derive(Clone)]
pub(super) struct FollowMetrics {
    registry: Arc<Registry>,
    status: Arc<FollowStatus>,
    sequence: Gauge,
    last_contact: Gauge<f64, AtomicU64>,
    connected: Gauge,
    failed: Counter,
}

/// The sequence number of the source, a gauge without a value until the source has stated it.
#[derive(Debug)]
struct SourceSequence(Arc<FollowStatus>);

impl EncodeMetric for SourceSequence {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // Sequence numbers are below 2^63.
        self.0.source_sequence().map_or(Ok(()), |sequence| encoder.encode_gauge(&(sequence as i64)))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl FollowMetrics {
    pub(super) fn new() -> FollowMetrics {
        // The first time is taken for the start.
        with_process_metrics("");
        let mut registry = Registry::with_prefix("nabar_follow");
        let status: Arc<FollowStatus> = Arc::default();
        let sequence = Gauge::default();
        let (last_contact, connected, failed) = (Gauge::default(), Gauge::default(), Counter::default());
        let numbers = [
            ("sequence", "Sequence number of the replica", &sequence),
            ("connected", "Whether the last attempt succeeded: 1, or 0", &connected),
        ];
        let help = "Last known sequence number of the source; absent before the first";
        registry.register("source_sequence", help, SourceSequence(Arc::clone(&status)));
        for (name, help, gauge) in numbers {
            registry.register(name, help, gauge.clone());
        }
        let help = "Time of the last valid response of the source, since 1970; 0 before the first";
        registry.register_with_unit("last_contact_timestamp", help, Unit::Seconds, last_contact.clone());
        let help = "Transfers that failed or were refused";
        registry.register("transfers_failed", help, failed.clone());
        let registry = Arc::new(registry);
        FollowMetrics { registry, status, sequence, last_contact, connected, failed }
    }

    /// Notes an event of the replica.
    pub(super) fn note(&self, event: &Event) {
        self.status.note(event);
        if let Event::AttemptFailed = event {
            self.failed.inc();
        }
    }

    /// The metrics in the text format of OpenMetrics.
    fn text(&self) -> String {
        // Sequence numbers are below 2^63.
        self.sequence.set(self.status.sequence() as i64);
        self.connected.set(i64::from(self.status.is_connected()));
        let last_contact = self.status.last_contact().map_or(0, |last| last.as_millisecond());
        self.last_contact.set(last_contact as f64 / 1000.0);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        with_process_metrics(&text)
    }

    /// Serves the metrics in a thread until the process ends. Returns the address, for port 0 with the port that was
    /// chosen.
    pub(super) fn listen(&self, address: SocketAddr) -> Result<SocketAddr, Failure> {
        let failed =
            |error: io::Error| Failure::Failed(format!("cannot serve metrics on {address}: {error}"));
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let metrics = self.clone();
        let serve = move || {
            // Fails only without a runtime.
            if let Ok(listener) = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) }) {
                runtime.block_on(accept(&listener, &metrics));
            }
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(serve).map_err(failed)?;
        Ok(bound)
    }
}

async fn accept(listener: &tokio::net::TcpListener, metrics: &FollowMetrics) {
    let mut open = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or the client has closed the connection.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let metrics = metrics.clone();
        let task = tokio::spawn(async move {
            let handler = service_fn(|request| {
                let response = respond(&metrics, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), handler);
            // The client's errors are its own.
            let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
        });
        open.retain(|task: &AbortHandle| !task.is_finished());
        open.push_back(task.abort_handle());
        // A scrape takes a millisecond: the oldest connection is one that sends nothing.
        if open.len() > CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
    }
}

fn respond(metrics: &FollowMetrics, request: &Request<Incoming>) -> Response<String> {
    let mut response = Response::new(String::new());
    match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => {
            *response.body_mut() = metrics.text();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
        }
        ("/metrics", _) => *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED,
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}
