//! The operations of Authority.

use super::fault::{Fault, Service};
use super::{SENDER, recipient};
use crate::register::Register;
use crate::service::exchange::Noted;
use crate::service::lists::senders_of;
use crate::service::soap::{self, Call};

pub(super) const AUTHORITY: &str = "http://minameddelanden.gov.se/Authority";
const DISPATCHER: &str = "http://minameddelanden.gov.se/schema/Dispatcher";

/// All operations at this address. Their faults are named after them.
pub(super) const OPERATIONS: [&str; 7] = [
    "getSenders",
    "getDispatchers",
    "isSenderAccepted",
    "getUserAccessRights",
    "getUserAccessRightsNoConcent",
    "testNewSigner",
    "verifyAuthorizedSignatures",
];

/// Writes an answer; what is noted of it.
pub(super) fn answer(register: &Register, call: &Call, out: &mut String) -> Result<Noted, Fault> {
    let operation = Service::Authority.name_of(&call.operation);
    if call.namespace != AUTHORITY || operation.is_empty() {
        return Err(Fault::unknown_operation());
    }
    out.push_str(&format!(
        "<{operation}Response xmlns=\"{AUTHORITY}\" xmlns:d=\"{DISPATCHER}\" xmlns:s=\"{SENDER}\">"
    ));
    match operation {
        "getSenders" => register.senders().iter().for_each(|sender| {
            out.push_str("<return xmlns=\"\">");
            recipient::put_sender(out, sender);
            out.push_str("</return>");
        }),
        "getDispatchers" => register.dispatchers().iter().for_each(|dispatcher| {
            out.push_str("<return xmlns=\"\">");
            soap::element(out, "d:Id", &dispatcher.id);
            soap::element(out, "d:Name", &dispatcher.name);
            for sender in senders_of(register, &dispatcher.senders) {
                soap::element(out, "d:Senders", sender);
            }
            out.push_str("</return>");
        }),
        "isSenderAccepted" => {
            let id = call.all("arg0").next().ok_or(Fault::bad_input("arg0 is missing"))?;
            if !recipient::is_organisation(id) {
                return Err(Fault::bad_input("arg0 is 16 and ten digits"));
            }
            let accepted = register.sender(id).is_some();
            out.push_str(&format!("<return xmlns=\"\">{accepted}</return>"));
        }
        _ => return Err(Fault::read_only()),
    }
    out.push_str(&format!("</{operation}Response>"));
    Ok(Noted::of(register, None, 0))
}
