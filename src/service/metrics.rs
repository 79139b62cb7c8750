//! Metrics for Prometheus.

use super::process::with_process_metrics;
use super::registers::Registers;
use super::tls::Material;
use crate::replica::FollowStatus;
use crate::source::FrontCounts;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency histogram, in seconds: 50 µs to 26 s, each four times the one before.
const BOUNDS: [f64; 10] = [5e-5, 2e-4, 8e-4, 3.2e-3, 0.0128, 0.0512, 0.2048, 0.8192, 3.2768, 13.1072];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByEndpoint {
    endpoint: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByStatus {
    endpoint: &'static str,
    status: u16,
    fault: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByRegister {
    register: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByOrigin {
    register: String,
    origin: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPart {
    part: &'static str,
}

/// The state of the service at the moment at which metrics are read.
pub(super) struct CurrentState {
    pub(super) ready: bool,
    /// Whether each part of the service works, by its name.
    pub(super) parts: [(&'static str, bool); 3],
    /// For how long the current attempt of each part has been running.
    pub(super) attempts: Vec<(&'static str, Duration)>,
    /// Bytes of the memory budget that requests hold.
    pub(super) memory: usize,
    /// Lists that are being checked.
    pub(super) jobs: usize,
    /// Lines of the log that were lost.
    pub(super) lost_log_lines: usize,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByFile {
    file: String,
}

/// The metrics of a service.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<ByStatus, Counter>,
    ids: Family<ByEndpoint, Counter>,
    seconds: Family<ByEndpoint, Histogram>,
    pub(super) connections: Gauge,
    pub(super) refused: Counter,
    pub(super) gave_way: Counter,
    sequence: Family<ByRegister, Gauge>,
    age: Family<ByRegister, Gauge<f64, AtomicU64>>,
    recipients: Family<ByRegister, Gauge>,
    applied: Family<ByRegister, Gauge>,
    versions: Family<ByRegister, Gauge>,
    following: Family<ByRegister, Gauge>,
    source_sequence: Family<ByRegister, Gauge>,
    source_connected: Family<ByRegister, Gauge>,
    source_contact: Family<ByRegister, Gauge<f64, AtomicU64>>,
    live_calls: Family<ByRegister, Gauge>,
    live_retries: Family<ByRegister, Gauge>,
    live_ids: Family<ByOrigin, Gauge>,
    live_answers: Family<ByRegister, Gauge>,
    ready: Gauge,
    healthy: Family<ByPart, Gauge>,
    attempts: Family<ByPart, Gauge<f64, AtomicU64>>,
    register_attempts: Family<ByRegister, Gauge<f64, AtomicU64>>,
    memory: Gauge,
    jobs: Gauge,
    lost_log_lines: Gauge,
    expiry: Family<ByFile, Gauge>,
    next_update: Family<ByFile, Gauge>,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        // The first time is taken for the start.
        with_process_metrics("");
        let mut registry = Registry::with_prefix("nabar");
        let metrics = Metrics {
            requests: Family::default(),
            ids: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            connections: Gauge::default(),
            refused: Counter::default(),
            gave_way: Counter::default(),
            sequence: Family::default(),
            age: Family::default(),
            recipients: Family::default(),
            applied: Family::default(),
            versions: Family::default(),
            following: Family::default(),
            source_sequence: Family::default(),
            source_connected: Family::default(),
            source_contact: Family::default(),
            live_calls: Family::default(),
            live_retries: Family::default(),
            live_ids: Family::default(),
            live_answers: Family::default(),
            ready: Gauge::default(),
            healthy: Family::default(),
            attempts: Family::default(),
            register_attempts: Family::default(),
            memory: Gauge::default(),
            jobs: Gauge::default(),
            lost_log_lines: Gauge::default(),
            expiry: Family::default(),
            next_update: Family::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests", metrics.requests.clone());
        registry.register("ids", "Ids in requests", metrics.ids.clone());
        let seconds = metrics.seconds.clone();
        registry.register_with_unit(
            "request",
            "Time from the head of a request to its response",
            Unit::Seconds,
            seconds,
        );
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register(
            "connections_refused",
            "Connections that were closed at once because of limits",
            metrics.refused.clone(),
        );
        registry.register(
            "connections_gave_way",
            "Connections that were closed for new ones",
            metrics.gave_way.clone(),
        );
        registry.register(
            "register_sequence",
            "Sequence number of the last change",
            metrics.sequence.clone(),
        );
        let age = metrics.age.clone();
        registry.register_with_unit(
            "register_age",
            "Time since the as-of time of the register",
            Unit::Seconds,
            age,
        );
        registry.register("register_recipients", "Recipients of the register", metrics.recipients.clone());
        registry.register("register_changes", "Changes applied since the start", metrics.applied.clone());
        registry.register(
            "register_versions",
            "Versions of the register in memory",
            metrics.versions.clone(),
        );
        let following = metrics.following.clone();
        registry.register(
            "register_following",
            "1 if the last attempt to read new changes succeeded",
            following,
        );
        registry.register(
            "source_sequence",
            "Last known sequence number of the source that the service follows; absent before the first",
            metrics.source_sequence.clone(),
        );
        registry.register(
            "source_connected",
            "1 if the last attempt to follow the source succeeded",
            metrics.source_connected.clone(),
        );
        registry.register_with_unit(
            "source_last_contact_timestamp",
            "Time of the last valid response of the source, since 1970; 0 before the first",
            Unit::Seconds,
            metrics.source_contact.clone(),
        );
        registry.register("live_calls", "Calls to the live register", metrics.live_calls.clone());
        registry.register(
            "live_retries",
            "Calls to the live register that failed and were made again",
            metrics.live_retries.clone(),
        );
        registry.register(
            "live_ids",
            "Ids of questions by where their answer was from: register, memory, or the question of another client",
            metrics.live_ids.clone(),
        );
        registry.register(
            "live_answers",
            "Answers of the live register in memory",
            metrics.live_answers.clone(),
        );
        registry.register("ready", "1 if the service is ready, as /readyz says", metrics.ready.clone());
        registry.register(
            "healthy",
            "1 if the part of the service works: audit, credentials, threads",
            metrics.healthy.clone(),
        );
        registry.register_with_unit(
            "attempt",
            "Time for which the current attempt of the part has been running: audit, credentials",
            Unit::Seconds,
            metrics.attempts.clone(),
        );
        registry.register_with_unit(
            "register_attempt",
            "Time for which the current attempt to read what is new has been running",
            Unit::Seconds,
            metrics.register_attempts.clone(),
        );
        let memory = metrics.memory.clone();
        registry.register_with_unit("memory", "Memory that requests hold", Unit::Bytes, memory);
        registry.register("jobs", "Lists that are being checked", metrics.jobs.clone());
        registry.register(
            "log_lines_lost",
            "Lines of the log that were lost because standard error was not read",
            metrics.lost_log_lines.clone(),
        );
        let expiry = metrics.expiry.clone();
        registry.register_with_unit(
            "certificate_expiry",
            "Expiry of the certificate, since 1970",
            Unit::Seconds,
            expiry,
        );
        let next_update = metrics.next_update.clone();
        registry.register_with_unit(
            "crl_next_update",
            "nextUpdate of the certificate revocation list, since 1970",
            Unit::Seconds,
            next_update,
        );
        Metrics { registry, ..metrics }
    }

    /// Counts a request. `fault`: why it was refused, by the code of its interface; empty if it was not.
    pub(super) fn count(
        &self,
        endpoint: &'static str,
        status: u16,
        fault: &str,
        ids: u64,
        elapsed: Duration,
    ) {
        self.requests.get_or_create(&ByStatus { endpoint, status, fault: fault.to_owned() }).inc();
        if ids > 0 {
            self.ids.get_or_create(&ByEndpoint { endpoint }).inc_by(ids);
        }
        self.seconds.get_or_create(&ByEndpoint { endpoint }).observe(elapsed.as_secs_f64());
    }

    /// The metrics in the text format of OpenMetrics.
    pub(super) fn text(
        &self,
        registers: &Registers,
        tls: Option<&Material>,
        current: &CurrentState,
    ) -> String {
        self.ready.set(i64::from(current.ready));
        for (part, works) in current.parts {
            self.healthy.get_or_create(&ByPart { part }).set(i64::from(works));
        }
        for (part, running) in &current.attempts {
            self.attempts.get_or_create(&ByPart { part }).set(running.as_secs_f64());
        }
        self.memory.set(current.memory as i64);
        self.jobs.set(current.jobs as i64);
        self.lost_log_lines.set(current.lost_log_lines as i64);
        if let Some(Material { expiries, next_updates, .. }) = tls {
            for (family, ends) in [(&self.expiry, expiries), (&self.next_update, next_updates)] {
                for end in ends {
                    family.get_or_create(&ByFile { file: end.file.clone() }).set(end.time);
                }
            }
        }
        if let Some(awaited) = registers.awaited() {
            let by = ByRegister { register: awaited.name.clone() };
            self.following.get_or_create(&by).set(0);
            self.set_source(&by, &awaited.source);
        }
        for served in registers.served() {
            let by = ByRegister { register: served.name.clone() };
            let register = served.register();
            let age = jiff::Timestamp::now().duration_since(register.as_of());
            self.sequence.get_or_create(&by).set(register.sequence() as i64);
            self.age.get_or_create(&by).set(age.as_secs_f64());
            self.recipients.get_or_create(&by).set(i64::from(register.recipients()));
            self.applied.get_or_create(&by).set(served.applied.load(Ordering::Relaxed) as i64);
            self.versions.get_or_create(&by).set(served.versions_in_memory() as i64);
            self.following.get_or_create(&by).set(i64::from(served.is_following()));
            let running = served.attempts().running().as_secs_f64();
            self.register_attempts.get_or_create(&by).set(running);
            if let Some(front) = served.front() {
                self.set_live(&by, front.counts());
            }
            if let Some(source) = served.source() {
                self.set_source(&by, source);
            }
        }
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        with_process_metrics(&out)
    }

    /// Sets the metrics of a replica.
    fn set_source(&self, by: &ByRegister, source: &FollowStatus) {
        // Without it, the lag is unknown: 0 would be a number.
        if let Some(sequence) = source.source_sequence() {
            self.source_sequence.get_or_create(by).set(sequence as i64);
        }
        self.source_connected.get_or_create(by).set(i64::from(source.is_connected()));
        let contact = source.last_contact().map_or(0, |last| last.as_millisecond());
        self.source_contact.get_or_create(by).set(contact as f64 / 1000.0);
    }

    /// Sets the metrics of a live register.
    fn set_live(&self, by: &ByRegister, counts: FrontCounts) {
        self.live_calls.get_or_create(by).set(counts.calls as i64);
        self.live_retries.get_or_create(by).set(counts.retries as i64);
        self.live_answers.get_or_create(by).set(counts.kept as i64);
        let ids = [("register", counts.asked), ("memory", counts.fresh), ("other", counts.shared)];
        for (origin, ids) in ids {
            let by = ByOrigin { register: by.register.clone(), origin };
            self.live_ids.get_or_create(&by).set(ids as i64);
        }
    }
}
