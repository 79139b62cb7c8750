//! The register and its organisations.

use super::operation::{array_of, json_response, operation, response};
use super::registers::ServedRegister;
use super::response::{Body, JSON, json, with_version};
use crate::register::{Register, SenderIndex};
use hyper::Response;
use serde::Serialize;
use utoipa::openapi::path::OperationBuilder;

/// The version of the register that a response was made from.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub(super) struct RegisterVersion {
    /// `far` or `krr`.
    kind: &'static str,
    /// Sequence number of its last change.
    sequence: u64,
    /// The time as of which it is current.
    as_of: String,
}

impl RegisterVersion {
    pub(super) fn of(register: &Register) -> RegisterVersion {
        RegisterVersion {
            kind: register.kind().name(),
            sequence: register.sequence(),
            as_of: register.as_of().to_string(),
        }
    }
}

/// A register.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RegisterDescription {
    #[serde(flatten)]
    version: RegisterVersion,
    /// Number of recipients.
    recipients: u32,
    /// Number of mailbox operators.
    operators: usize,
    /// Number of senders.
    senders: usize,
    /// Number of dispatchers.
    dispatchers: usize,
}

/// A mailbox operator.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Operator<'r> {
    id: &'r str,
    name: &'r str,
    /// Address that messages are delivered to; empty if the operator receives no messages.
    service_address: &'r str,
    /// Address that recipients log in at.
    ui_address: &'r str,
}

/// A sender.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Sender<'r> {
    id: &'r str,
    name: &'r str,
    /// The unit within the organisation.
    attention: &'r str,
}

/// A dispatcher.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Dispatcher<'r> {
    id: &'r str,
    name: &'r str,
    /// Ids of the senders that it sends for.
    senders: Vec<&'r str>,
}

pub(super) fn register(served: &ServedRegister) -> Response<Body> {
    let register = served.register();
    let description = RegisterDescription {
        version: RegisterVersion::of(&register),
        recipients: register.recipients(),
        operators: register.operators().len(),
        senders: register.senders().len(),
        dispatchers: register.dispatchers().len(),
    };
    with_version(json(&description), &register)
}

pub(super) fn operators(served: &ServedRegister) -> Response<Body> {
    let register = served.register();
    let operators = register.operators().iter().map(|operator| Operator {
        id: &operator.id,
        name: &operator.name,
        service_address: &operator.service_address,
        ui_address: &operator.ui_address,
    });
    with_version(json(&operators.collect::<Vec<_>>()), &register)
}

pub(super) fn senders(served: &ServedRegister) -> Response<Body> {
    let register = served.register();
    let senders = register.senders().iter().map(|sender| Sender {
        id: &sender.id,
        name: &sender.name,
        attention: &sender.attention,
    });
    with_version(json(&senders.collect::<Vec<_>>()), &register)
}

pub(super) fn dispatchers(served: &ServedRegister) -> Response<Body> {
    let register = served.register();
    let dispatchers = register.dispatchers().iter().map(|dispatcher| Dispatcher {
        id: &dispatcher.id,
        name: &dispatcher.name,
        senders: senders_of(&register, &dispatcher.senders),
    });
    with_version(json(&dispatchers.collect::<Vec<_>>()), &register)
}

/// Ids of senders by their indexes.
pub(super) fn senders_of<'r>(register: &'r Register, indexes: &[SenderIndex]) -> Vec<&'r str> {
    let senders = indexes.iter().filter_map(|&index| register.senders().get(usize::from(index)));
    senders.map(|sender| sender.id.as_str()).collect()
}

pub(super) fn register_operation() -> OperationBuilder {
    operation().response("200", json_response("The register", "RegisterDescription"))
}

pub(super) fn operators_operation() -> OperationBuilder {
    operation().response("200", response("Mailbox operators", &[(JSON, array_of("Operator"))]))
}

pub(super) fn senders_operation() -> OperationBuilder {
    operation().response("200", response("Senders", &[(JSON, array_of("Sender"))]))
}

pub(super) fn dispatchers_operation() -> OperationBuilder {
    operation().response("200", response("Dispatchers", &[(JSON, array_of("Dispatcher"))]))
}
