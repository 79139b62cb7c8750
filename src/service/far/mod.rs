//! FaR's contract: the services Recipient (v3) and Authority, SOAP 1.1, read only.

mod authority;
mod fault;
mod recipient;

use super::exchange::{Body, Noted, content_type, respond, with_note, with_version};
use super::registers::Live;
use super::routes::{Exchange, not_allowed};
use super::soap;
use super::soap::Call;
use crate::register::Register;
use fault::{Fault, Service};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};

const XML: &str = "text/xml; charset=utf-8";

const RECIPIENT_WSDL: &str = include_str!("recipient.wsdl");
const AUTHORITY_WSDL: &str = include_str!("authority.wsdl");

const SENDER: &str = "http://minameddelanden.gov.se/schema/Sender";

/// Answers at the address of Recipient.
pub(super) async fn recipient(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Incoming>,
) -> Response<Body> {
    let register = live.register();
    let answer = |call: &Call| recipient::answer(&register, &exchange.caller, call);
    exchanged(exchange, Service::Recipient, request, RECIPIENT_WSDL, &register, answer).await
}

/// Answers at the address of Authority.
pub(super) async fn authority(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Incoming>,
) -> Response<Body> {
    let register = live.register();
    let answer = |call: &Call| authority::answer(&register, call);
    exchanged(exchange, Service::Authority, request, AUTHORITY_WSDL, &register, answer).await
}

/// Reads a call and sends what comes of it: an answer and what is noted of it, or a fault.
async fn exchanged(
    exchange: &Exchange<'_>,
    service: Service,
    request: Request<Incoming>,
    wsdl: &str,
    register: &Register,
    answer: impl FnOnce(&Call) -> Result<(String, Noted), Fault>,
) -> Response<Body> {
    match *request.method() {
        Method::POST => {}
        Method::GET | Method::HEAD if asks_for_wsdl(request.uri().query()) => {
            return respond(
                XML,
                wsdl.replace("{address}", &address(&request, exchange.service.access.tls().is_some())),
            );
        }
        _ => return not_allowed("POST, and GET with ?wsdl"),
    }
    let kind = content_type(request.headers());
    let header = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let header = header.unwrap_or_default().to_owned();
    let mut operation = String::new();
    let answered = if let Err(problem) = exchange.count_request() {
        Err(Fault::busy(problem.detail()))
    } else if matches!(&*kind, "text/xml" | "application/xml" | "") {
        let service = exchange.service;
        match exchange.message(request, service.limits.message_bytes, 1).await {
            Err(problem) if problem.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Fault::too_much("the message is longer than one with as many ids as a call may have"))
            }
            Err(problem) if problem.status().is_server_error() => Err(Fault::busy(problem.detail())),
            Err(problem) => Err(Fault::bad_input(problem.detail())),
            Ok(body) => soap::read(&body.bytes, &header).map_err(Fault::bad_input).and_then(|call| {
                operation.clone_from(&call.operation);
                let ids = call.all("recipientId").count() + call.all("RecipientId").count();
                exchange.count_ids(ids).map_err(|problem| Fault::busy(problem.detail()))?;
                answer(&call)
            }),
        }
    } else {
        Err(Fault::bad_input("send SOAP 1.1 as text/xml"))
    };
    match answered {
        Ok((answer, noted)) => {
            let head = format!("<s:Envelope xmlns:s=\"{}\"><s:Body>", soap::ENVELOPE);
            let message = [&head, &*answer, "</s:Body></s:Envelope>"].concat();
            with_note(with_version(respond(XML, message), register), noted)
        }
        Err(fault) => {
            let (call_id, code) = (&exchange.id, fault.code);
            tracing::info!(call_id, code, operation = service.name_of(&operation), "fault");
            fault.into_response(service, &operation, call_id)
        }
    }
}

fn asks_for_wsdl(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.eq_ignore_ascii_case("wsdl"))
}

/// Where the client thinks that it is: what the WSDL tells it to call.
fn address(request: &Request<Incoming>, secure: bool) -> String {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or("localhost");
    let scheme = if secure { "https" } else { "http" };
    quick_xml::escape::escape(format!("{scheme}://{host}{}", request.uri().path())).into_owned()
}
