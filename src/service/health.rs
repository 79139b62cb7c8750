//! Liveness, readiness and metrics.

use super::attempts::Attempts;
use super::context::RequestContext;
use super::metrics::CurrentState;
use super::operation::{json_object, operation, text};
use super::response::{Body, json, respond};
use super::state::Service;
use crate::replica::FollowStatus;
use hyper::{Response, StatusCode};
use std::time::Instant;
use utoipa::openapi::path::OperationBuilder;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the last attempt of each part of the service did.
pub(super) struct Health {
    /// Whether the audit log can be written; true without one.
    pub(super) audit: bool,
    /// Whether certificates, revocation lists and keys could be loaded.
    pub(super) credentials: bool,
    /// Whether the threads run that follow registers.
    pub(super) threads: bool,
    /// Whether each register can be queried, is as new as it must be, and is followed.
    pub(super) registers: Vec<bool>,
    /// Whether all registers could be opened.
    pub(super) has_all: bool,
}

impl Health {
    pub(super) fn of(service: &Service) -> Health {
        let registers = service.registers.served();
        Health {
            audit: service.audit.as_ref().is_none_or(|audit| !audit.is_failing()),
            credentials: service.credentials.are_loaded(),
            threads: service.registers.are_followed(),
            has_all: service.registers.awaited().is_none(),
            registers: registers
                .map(|served| {
                    served.is_fresh()
                        && served.is_intact()
                        && served.is_following()
                        && served.hears_its_source()
                })
                .collect(),
        }
    }

    /// Logs whether the service is ready, if that has changed or was not said for a minute.
    fn log(&self, service: &Service) {
        let failing = if self.is_ready() { String::new() } else { self.failing(service) };
        service.fault_log.log_readiness(&failing, Instant::now());
    }

    /// What fails, for the log; empty if the service is ready.
    fn failing(&self, service: &Service) -> String {
        let parts = [("audit", self.audit), ("credentials", self.credentials), ("threads", self.threads)];
        let parts = parts.into_iter().filter(|(_, works)| !works).map(|(part, _)| part.to_owned());
        let registers = service.registers.served().zip(&self.registers).filter(|(_, ready)| !**ready);
        let registers = registers.map(|(served, _)| {
            let members = [
                ("fresh", served.is_fresh()),
                ("intact", served.is_intact()),
                ("following", served.is_following()),
                ("heard", served.hears_its_source()),
            ];
            let failing = members.into_iter().filter(|(_, works)| !works).map(|(member, _)| member);
            format!("register {:?}: not {}", served.name, failing.collect::<Vec<_>>().join(", "))
        });
        let awaited = service.registers.awaited();
        let awaited = awaited.map(|awaited| format!("register {:?}: not here yet", awaited.name));
        parts.chain(awaited).chain(registers).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn is_ready(&self) -> bool {
        self.audit
            && self.credentials
            && self.threads
            && self.has_all
            && self.registers.iter().all(|ready| *ready)
    }
}

/// The attempts of the parts of the service, by name.
fn attempts(service: &Service) -> impl Iterator<Item = (&'static str, &Attempts)> {
    let audit = service.audit.iter().map(|audit| ("audit", audit.attempts()));
    audit.chain([("credentials", service.credentials.attempts())])
}

/// Logs attempts that take too long, once.
pub(super) fn report_hanging(service: &Service) {
    attempts(service).for_each(|(part, attempts)| attempts.report(part));
    service.registers.served().for_each(|served| served.attempts().report(&served.name));
}

/// Logs whether the service is ready, also if it is not asked.
pub(super) fn log_readiness(service: &Service) {
    Health::of(service).log(service);
}

pub(super) fn healthz(_: &RequestContext<'_>) -> Response<Body> {
    respond("text/plain", "ok\n")
}

/// Whether requests can be answered as they should be.
pub(super) fn readyz(context: &RequestContext<'_>) -> Response<Body> {
    let service = context.service;
    let health = Health::of(service);
    health.log(service);
    let registers = service.registers.served().zip(&health.registers).map(|(served, ready)| {
        let register = served.register();
        let source = served.source().map(|source| source_state(source, served.hears_its_source()));
        serde_json::json!({
            "name": served.name, "sequence": register.sequence(), "as_of": register.as_of().to_string(),
            "ready": ready, "fresh": served.is_fresh(), "intact": served.is_intact(),
            "following": served.is_following(), "hangs": served.attempts().is_overdue(), "source": source,
        })
    });
    // Its sequence number and its time are not known.
    let awaited = service.registers.awaited().map(|awaited| {
        serde_json::json!({
            "name": awaited.name, "sequence": null, "as_of": null, "ready": false, "fresh": false, "intact": false,
            "following": false, "hangs": false,
            "source": source_state(&awaited.source, awaited.hears_its_source()),
        })
    });
    let registers: Vec<_> = registers.chain(awaited).collect();
    let hanging = attempts(service).filter(|(_, attempts)| attempts.is_overdue()).map(|(part, _)| part);
    let hanging: Vec<_> = hanging.collect();
    let mut response = json(&serde_json::json!({
        "ready": health.is_ready(), "audit": health.audit, "credentials": health.credentials,
        "threads": health.threads, "hanging": hanging, "registers": registers,
    }));
    if !health.is_ready() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn source_state(source: &FollowStatus, is_heard: bool) -> serde_json::Value {
    serde_json::json!({
        "heard": is_heard, "connected": source.is_connected(), "sequence": source.source_sequence(),
        "last_contact": source.last_contact().map(|last| last.to_string()),
    })
}

pub(super) fn metrics(context: &RequestContext<'_>) -> Response<Body> {
    let (service, health) = (context.service, Health::of(context.service));
    health.log(service);
    let current = CurrentState {
        ready: health.is_ready(),
        parts: [("audit", health.audit), ("credentials", health.credentials), ("threads", health.threads)],
        attempts: attempts(service).map(|(part, attempts)| (part, attempts.running())).collect(),
        memory: service.memory.reserved(),
        jobs: service.jobs.held(),
        lost_log_lines: service.lost_log_lines.map_or(0, |lost| lost()),
    };
    let tls = service.credentials.tls();
    respond(OPEN_METRICS, service.metrics.text(&service.registers, tls.as_deref(), &current))
}

pub(super) fn healthz_operation() -> OperationBuilder {
    operation().response("200", text("The service runs", "text/plain"))
}

pub(super) fn readyz_operation() -> OperationBuilder {
    operation()
        .response("200", json_object("All requests can be answered"))
        .response("503", json_object("A part of the service fails: the member that is false"))
}

pub(super) fn metrics_operation() -> OperationBuilder {
    operation().response("200", text("OpenMetrics", "application/openmetrics-text"))
}
