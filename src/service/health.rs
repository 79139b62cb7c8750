//! Liveness, readiness and metrics.

use super::context::RequestContext;
use super::operation::{json_object, operation, text};
use super::response::{Body, json, respond};
use hyper::{Response, StatusCode};
use std::sync::atomic::Ordering;
use utoipa::openapi::path::OperationBuilder;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn healthz(_: &RequestContext<'_>) -> Response<Body> {
    respond("text/plain", "ok\n")
}

/// Whether all registers can be queried.
pub(super) fn readyz(context: &RequestContext<'_>) -> Response<Body> {
    let all = &context.service.registers.all;
    let registers = all.iter().map(|served| {
        let register = served.register();
        serde_json::json!({
            "name": served.name, "sequence": register.sequence(), "as_of": register.as_of().to_string(),
            "fresh": served.is_fresh(), "intact": register.is_intact(),
            "following": !served.failing.load(Ordering::Relaxed),
        })
    });
    let registers: Vec<_> = registers.collect();
    let ready = all.iter().all(|served| served.is_fresh() && served.register().is_intact());
    let mut response = json(&serde_json::json!({ "ready": ready, "registers": registers }));
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

pub(super) fn metrics(context: &RequestContext<'_>) -> Response<Body> {
    let service = context.service;
    respond(OPEN_METRICS, service.metrics.text(&service.registers, service.credentials.tls().as_deref()))
}

pub(super) fn healthz_operation() -> OperationBuilder {
    operation().response("200", text("The service runs", "text/plain"))
}

pub(super) fn readyz_operation() -> OperationBuilder {
    operation()
        .response("200", json_object("All registers can be queried"))
        .response("503", json_object("A register is too old or was overwritten in place"))
}

pub(super) fn metrics_operation() -> OperationBuilder {
    operation().response("200", text("OpenMetrics", "application/openmetrics-text"))
}
