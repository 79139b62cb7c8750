//! What FaR answers if it does not answer.

use super::{authority, recipient};
use crate::service::exchange::{Body, respond};
use crate::service::soap::{self, NoCall, Version};
use hyper::{Response, StatusCode};

/// A service of FaR: each has faults of its own.
#[derive(Clone, Copy)]
pub(super) enum Service {
    Recipient,
    Authority,
}

impl Service {
    /// The name of an operation, if it is one: what else a client writes there is not repeated.
    pub(super) fn name_of(self, operation: &str) -> &'static str {
        let mut names: Box<dyn Iterator<Item = &'static str>> = match self {
            Service::Recipient => Box::new(recipient::OPERATIONS.iter().map(|(name, _)| *name)),
            Service::Authority => Box::new(authority::OPERATIONS.into_iter()),
        };
        names.find(|name| *name == operation).unwrap_or_default()
    }
}

/// A fault, by its code: below 5000 technical, from 5000 on what the caller can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: u16,
    description: String,
}

impl Fault {
    fn new(code: u16, description: impl Into<String>) -> Fault {
        Fault { code, description: description.into() }
    }

    pub(super) fn bad_input(description: impl Into<String>) -> Fault {
        Fault::new(5001, description)
    }

    pub(super) fn not_authorised(description: impl Into<String>) -> Fault {
        Fault::new(5002, description)
    }

    pub(super) fn missing(description: impl Into<String>) -> Fault {
        Fault::new(5003, description)
    }

    pub(super) fn too_much(description: impl Into<String>) -> Fault {
        Fault::new(5005, description)
    }

    /// Technical: to be tried again.
    pub(super) fn busy(description: impl Into<String>) -> Fault {
        Fault::new(4999, description)
    }

    pub(super) fn read_only() -> Fault {
        Fault::new(5000, "this is a read replica: register, change and sign at the register itself")
    }

    pub(super) fn unknown_operation() -> Fault {
        Fault::new(5000, "the service has no such operation")
    }

    /// The code 0 of the specification is not valid against its schema.
    pub(super) fn technical() -> Fault {
        Fault::new(4999, "a part of the register that was asked for is damaged")
    }

    /// As SOAP 1.1 has it, with status 500.
    pub(super) fn into_response(self, service: Service, operation: &str, call_id: &str) -> Response<Body> {
        let side = if self.code < 5000 { "Server" } else { "Client" };
        // Recipient's faults are one element of v3, Authority's one for each operation, of the first version.
        let (name, namespaces, common) = match (service, service.name_of(operation)) {
            (Service::Recipient, _) | (Service::Authority, "") => {
                ("f:applicationFault".to_owned(), String::new(), "schema/Common/v3")
            }
            (Service::Authority, name) => {
                let namespaces = format!(" xmlns:a=\"{}\"", authority::AUTHORITY);
                (format!("a:{name}Fault"), namespaces, "schema/Common")
            }
        };
        let mut out = Version::V11.open();
        out.push_str("<s:Fault>");
        soap::element(&mut out, "faultcode", &format!("s:{side}"));
        soap::element(&mut out, "faultstring", &self.description);
        out.push_str(&format!(
            "<detail><{name}{namespaces} xmlns:f=\"http://minameddelanden.gov.se/{common}\">"
        ));
        soap::element(&mut out, "f:ErrorCode", &self.code.to_string());
        soap::element(&mut out, "f:Description", &self.description);
        soap::element(&mut out, "f:CallId", call_id);
        out.push_str(&format!("</{name}></detail></s:Fault>{}", soap::CLOSE));
        let mut response = respond(soap::XML, out);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }
}

impl From<NoCall> for Fault {
    fn from(refused: NoCall) -> Fault {
        match refused {
            NoCall::Busy(why) => Fault::busy(why),
            NoCall::TooLong => {
                Fault::too_much("the message is longer than one with as many ids as a call may have")
            }
            NoCall::Malformed(why) => Fault::bad_input(why),
        }
    }
}
