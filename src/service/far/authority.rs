//! The operations of Authority.

use super::elements::{SENDER, is_organisation, put_sender};
use super::fault::FarFault;
use super::operations::AUTHORITY;
use crate::register::Register;
use crate::service::organisations::senders_of;
use crate::service::record::RequestRecord;
use crate::service::soap::{self, Call};

const DISPATCHER: &str = "http://minameddelanden.gov.se/schema/Dispatcher";

/// Writes the response of an operation.
pub(super) fn run(
    register: &Register,
    operation: &str,
    call: &Call,
    out: &mut String,
) -> Result<RequestRecord, FarFault> {
    out.push_str(&format!(
        "<{operation}Response xmlns=\"{AUTHORITY}\" xmlns:d=\"{DISPATCHER}\" xmlns:s=\"{SENDER}\">"
    ));
    match operation {
        "getSenders" => register.senders().iter().for_each(|sender| {
            out.push_str("<return xmlns=\"\">");
            put_sender(out, sender);
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
            let id = call.all("arg0").next().ok_or(FarFault::bad_input("arg0 is missing"))?;
            if !is_organisation(id) {
                return Err(FarFault::bad_input("arg0 is 16 and ten digits"));
            }
            let accepted = register.sender(id).is_some();
            out.push_str(&format!("<return xmlns=\"\">{accepted}</return>"));
        }
        _ => return Err(FarFault::read_only()),
    }
    out.push_str(&format!("</{operation}Response>"));
    Ok(RequestRecord::of(register, None, 0))
}
