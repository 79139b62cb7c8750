//! FaR's contract: the services Recipient (v3) and Authority, SOAP 1.1, read only.

mod authority;
mod fault;
mod recipient;

use super::body::Unread;
use super::exchange::{Body, Noted, respond, with_note, with_version};
use super::registers::Live;
use super::routes::Exchange;
use super::soap::{self, Call, Version, XML};
use crate::register::Register;
use fault::{Fault, Service};
use hyper::{Request, Response};

const RECIPIENT_WSDL: &str = include_str!("recipient.wsdl");
const AUTHORITY_WSDL: &str = include_str!("authority.wsdl");

const SENDER: &str = "http://minameddelanden.gov.se/schema/Sender";

/// Answers at the address of Recipient.
pub(super) async fn recipient(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Unread>,
) -> Response<Body> {
    let register = live.register();
    let answer = |call: &Call, out: &mut String| recipient::answer(&register, &exchange.caller, call, out);
    exchanged(exchange, Service::Recipient, request, RECIPIENT_WSDL, &register, answer).await
}

/// Answers at the address of Authority.
pub(super) async fn authority(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Unread>,
) -> Response<Body> {
    let register = live.register();
    let answer = |call: &Call, out: &mut String| authority::answer(&register, call, out);
    exchanged(exchange, Service::Authority, request, AUTHORITY_WSDL, &register, answer).await
}

/// Reads a call and sends what comes of it: an answer and what is noted of it, or a fault.
async fn exchanged(
    exchange: &Exchange<'_>,
    service: Service,
    request: Request<Unread>,
    wsdl: &str,
    register: &Register,
    answer: impl FnOnce(&Call, &mut String) -> Result<Noted, Fault>,
) -> Response<Body> {
    if let Some(response) = soap::described(exchange, &request, wsdl) {
        return response;
    }
    let mut operation = String::new();
    let answered = match soap::call(exchange, request, Version::V11).await {
        Err(refused) => Err(refused.into()),
        Ok(call) => {
            operation.clone_from(&call.operation);
            let ids = call.all("recipientId").count() + call.all("RecipientId").count();
            let counted = exchange.count_ids(ids).map_err(|problem| Fault::busy(problem.detail()));
            let mut out = Version::V11.open();
            counted.and_then(|()| answer(&call, &mut out)).map(|noted| (out + soap::CLOSE, noted))
        }
    };
    match answered {
        Ok((answer, noted)) => with_note(with_version(respond(XML, answer), register), noted),
        Err(fault) => {
            let (call_id, code) = (&exchange.id, fault.code);
            tracing::info!(call_id, code, operation = service.name_of(&operation), "fault");
            fault.into_response(service, &operation, call_id)
        }
    }
}
