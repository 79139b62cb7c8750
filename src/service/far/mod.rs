//! FaR's contract: the services Recipient (v3) and Authority, SOAP 1.1.

mod authority;
mod elements;
mod fault;
mod operations;
mod recipient;
mod registrations;

use super::body::RequestBody;
use super::context::RequestContext;
use super::live;
use super::problem::Problem;
use super::record::RequestRecord;
use super::registers::ServedRegister;
use super::response::{Body, respond, with_extension, with_version};
use super::soap::{self, Call, Version, XML};
use super::writing;
use crate::identities::Ordinal;
use crate::register::Register;
use crate::source::Front;
use fault::FarFault;
use hyper::{Request, Response};
use operations::{FarOperation, FarService, OperationRequirement};
use std::sync::Arc;

pub(super) const RECIPIENT_WSDL: &str = include_str!("recipient.wsdl");
pub(super) const AUTHORITY_WSDL: &str = include_str!("authority.wsdl");

/// `POST /Recipient/v3`.
pub(super) async fn recipient(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    Ok(respond_to_call(context, FarService::Recipient, request, served).await)
}

/// `POST /Authority`.
pub(super) async fn authority(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    Ok(respond_to_call(context, FarService::Authority, request, served).await)
}

/// Turns a refusal of the route into a fault.
pub(super) fn refuse_recipient(context: &RequestContext<'_>, problem: &Problem) -> Response<Body> {
    send_fault(context, FarService::Recipient, None, FarFault::of_refusal(problem))
}

/// Turns a refusal of the route into a fault.
pub(super) fn refuse_authority(context: &RequestContext<'_>, problem: &Problem) -> Response<Body> {
    send_fault(context, FarService::Authority, None, FarFault::of_refusal(problem))
}

fn send_fault(
    context: &RequestContext<'_>,
    service: FarService,
    call: Option<&Call>,
    fault: FarFault,
) -> Response<Body> {
    let (call_id, code) = (&context.id, fault.code);
    let operation = call.map_or("", |call| &call.operation);
    if context.service.refusal_log.admits() {
        tracing::info!(call_id, code, operation = service.name_of(operation), "fault");
    }
    let sender = call.and_then(|call| call.all("senderOrgNr").next());
    let record = RequestRecord::of_refusal(code.to_string(), sender);
    with_extension(fault.into_response(service, operation, call_id), record)
}

async fn respond_to_call(
    context: &RequestContext<'_>,
    service: FarService,
    request: Request<RequestBody>,
    served: &ServedRegister,
) -> Response<Body> {
    let call = match soap::call(context, request, Version::V11).await {
        Ok(call) => Arc::new(call),
        Err(error) => return send_fault(context, service, None, error.into()),
    };
    match run(context, service, &call, served).await {
        Ok((message, record, register)) => {
            with_extension(with_version(respond(XML, message), &register), record)
        }
        Err(fault) => send_fault(context, service, Some(&call), fault),
    }
}

/// Checks limits and the operation's requirement, and runs the operation. Returns the message of the response.
async fn run(
    context: &RequestContext<'_>,
    service: FarService,
    call: &Arc<Call>,
    served: &ServedRegister,
) -> Result<(String, RequestRecord, Arc<Register>), FarFault> {
    let ids = call.all("recipientId").count() + call.all("RecipientId").count();
    context.count_ids(ids).map_err(|problem| FarFault::of_refusal(&problem))?;
    let operation = service.operation(&call.namespace, &call.operation);
    let operation = operation.ok_or_else(FarFault::unknown_operation)?;
    let refused = |problem: Problem| FarFault::of_refusal(&problem);
    if operation.requirement == OperationRequirement::Operator {
        return change(context, operation, Arc::clone(call), served).await;
    }
    let mut register = live::register_for(served, call.all("senderOrgNr").next()).map_err(refused)?;
    authorize(context, operation, &register, call)?;
    if let Some(front) = served.front() {
        register = asked(front, context, operation, &register, call).await?;
    }
    let mut message = Version::V11.open();
    let record = match service {
        FarService::Recipient => recipient::run(&register, operation.name, call, &mut message)?,
        FarService::Authority => authority::run(&register, operation.name, call, &mut message)?,
    };
    message.push_str(soap::CLOSE);
    Ok((message, record, register))
}

/// Runs an operation that changes the register, or reads what is pending. What it has changed is durable, and visible to the
/// next question, when it returns.
async fn change(
    context: &RequestContext<'_>,
    operation: &'static FarOperation,
    call: Arc<Call>,
    served: &ServedRegister,
) -> Result<(String, RequestRecord, Arc<Register>), FarFault> {
    authorize(context, operation, &served.register(), &call)?;
    let written = served.written().ok_or_else(FarFault::read_only)?;
    // One recipient, under any name of its element.
    context.count_ids(1).map_err(|problem| FarFault::of_refusal(&problem))?;
    let caller = context.caller.clone();
    let element = writing::run(written, move |written| {
        registrations::run(written, &caller, operation.namespace, operation.name, &call)
    });
    let element = element.await?;
    served.publish_written(written);
    let register = served.register();
    let message = [&Version::V11.open(), &element, soap::CLOSE].concat();
    Ok((message, RequestRecord::of(&register, None, 1), register))
}

/// The answers of a live register for the ids of a call.
async fn asked(
    front: &Front,
    context: &RequestContext<'_>,
    operation: &FarOperation,
    register: &Register,
    call: &Call,
) -> Result<Arc<Register>, FarFault> {
    if operation.name != "isReachable" {
        return Err(FarFault::of_refusal(&live::not_here(register.kind())));
    }
    let (_, sender) = recipient::sender_of(register, call)?;
    let ids = recipient::ordinals(&recipient::ids_of(call)?);
    let ids = ids.into_iter().filter(|id| *id != Ordinal::ABSENT).collect();
    let answers = live::ask_whole(front, Some(sender), context, ids).await;
    let answers = answers.map_err(|problem| FarFault::of_refusal(&problem))?;
    answers.ok_or_else(|| FarFault::bad_input("the register refuses a recipientId"))
}

/// Errors: the caller does not meet the operation's requirement, or the message names no valid sender.
fn authorize(
    context: &RequestContext<'_>,
    operation: &FarOperation,
    register: &Register,
    call: &Call,
) -> Result<(), FarFault> {
    match operation.requirement {
        OperationRequirement::Nothing => Ok(()),
        OperationRequirement::Operator if context.caller.is_operator(register) => Ok(()),
        OperationRequirement::Operator => {
            Err(FarFault::not_authorised("the caller is not a mailbox operator of the register"))
        }
        OperationRequirement::Participant if context.caller.is_participant(register) => Ok(()),
        OperationRequirement::Participant => Err(FarFault::not_authorised(
            "the caller is not a sender, dispatcher or mailbox operator of the register",
        )),
        OperationRequirement::Sender => {
            let (sender, _) = recipient::sender_of(register, call)?;
            match context.caller.may_act_for(register, sender) {
                true => Ok(()),
                false => Err(FarFault::not_authorised(
                    "the caller is neither the sender nor a dispatcher that is registered for it",
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests;
