//! Faults of FaR's contract.

use super::operations::{AUTHORITY, FarService};
use crate::service::problem::Problem;
use crate::service::response::{Body, respond};
use crate::service::soap::{self, CallError, Version};
use hyper::{Response, StatusCode};

/// A fault. Codes below 5000 are technical; from 5000 on, the message is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FarFault {
    pub(super) code: u16,
    description: String,
}

impl FarFault {
    fn new(code: u16, description: impl Into<String>) -> FarFault {
        FarFault { code, description: description.into() }
    }

    pub(super) fn bad_input(description: impl Into<String>) -> FarFault {
        FarFault::new(5001, description)
    }

    pub(super) fn not_authorised(description: impl Into<String>) -> FarFault {
        FarFault::new(5002, description)
    }

    pub(super) fn missing(description: impl Into<String>) -> FarFault {
        FarFault::new(5003, description)
    }

    pub(super) fn too_much(description: impl Into<String>) -> FarFault {
        FarFault::new(5005, description)
    }

    /// A refusal of the route: its limits, or its requirement.
    pub(super) fn of_refusal(problem: &Problem) -> FarFault {
        match problem.status() {
            StatusCode::FORBIDDEN => FarFault::not_authorised(problem.detail()),
            StatusCode::NOT_IMPLEMENTED => FarFault::new(5000, problem.detail()),
            _ => FarFault::busy(problem.detail()),
        }
    }

    /// Technical: the client may retry.
    pub(super) fn busy(description: impl Into<String>) -> FarFault {
        FarFault::new(4999, description)
    }

    pub(super) fn read_only() -> FarFault {
        FarFault::new(5000, "this is a read replica: register, change and sign at the register itself")
    }

    pub(super) fn no_such_person() -> FarFault {
        FarFault::new(6007, "no person has this number")
    }

    pub(super) fn no_supplier() -> FarFault {
        FarFault::new(8004, "ServiceSupplier is not a mailbox operator of the register")
    }

    pub(super) fn unknown_operation() -> FarFault {
        FarFault::new(5000, "the service has no such operation")
    }

    /// The specification's code 0 is not valid in its schema.
    pub(super) fn technical() -> FarFault {
        FarFault::new(4999, "a part of the register that the call reads is damaged")
    }

    /// Status 500, as SOAP 1.1 requires.
    pub(super) fn into_response(self, service: FarService, operation: &str, call_id: &str) -> Response<Body> {
        let side = if self.code < 5000 { "Server" } else { "Client" };
        // Recipient has one fault element (v3), Authority one per operation (first version).
        let (name, namespaces, common) = match (service, service.name_of(operation)) {
            (FarService::Recipient, _) | (FarService::Authority, "") => {
                ("f:applicationFault".to_owned(), String::new(), "schema/Common/v3")
            }
            (FarService::Authority, name) => {
                let namespaces = format!(" xmlns:a=\"{}\"", AUTHORITY);
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

impl From<CallError> for FarFault {
    fn from(refused: CallError) -> FarFault {
        match refused {
            CallError::Busy(why) => FarFault::busy(why),
            CallError::TooLong => {
                FarFault::too_much("the message is longer than a call with the maximum number of ids")
            }
            CallError::Malformed(why) => FarFault::bad_input(why),
        }
    }
}
