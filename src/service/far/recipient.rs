//! The operations of Recipient.

use super::SENDER;
use super::fault::Fault;
use crate::identities::{Country, Identity, Today};
use crate::limits::CALL_IDS_MAX;
use crate::register::{AccountType, FarState, Operator, Recipient, Register, Sender};
use crate::service::access::Caller;
use crate::service::exchange::Noted;
use crate::service::soap::{self, Call};

const V3: &str = "http://minameddelanden.gov.se/schema/Recipient/v3";
const V2: &str = "http://minameddelanden.gov.se/schema/Recipient/v2";
const TYPES: &str = "http://minameddelanden.gov.se/schema/Recipient";

/// All operations at this address, and the namespaces of their messages.
pub(super) const OPERATIONS: [(&str, &str); 14] = [
    ("isReachable", V3),
    ("isRegistered", V3),
    ("getAccountPreferences", V3),
    ("register", V3),
    ("deregister", V3),
    ("getPendingAccountRequest", V3),
    ("deletePendingAccountRequest", V3),
    ("getPendingAccountPreferences", V2),
    ("deletePendingAccountPreferences", V2),
    ("storeAccountPreferences", V2),
    ("changeServiceSupplier", V2),
    ("getPendingChangeServiceSupplier", V2),
    ("deletePendingChangeServiceSupplier", V2),
    ("isAuthorizedSigner", V2),
];

/// An answer and what is noted of it.
pub(super) fn answer(register: &Register, caller: &Caller, call: &Call) -> Result<(String, Noted), Fault> {
    let (operation, namespace) = (&*call.operation, &*call.namespace);
    if !OPERATIONS.contains(&(operation, namespace)) {
        return Err(Fault::unknown_operation());
    }
    let mut out = format!("<{operation}Response xmlns=\"{V3}\" xmlns:r=\"{TYPES}\" xmlns:s=\"{SENDER}\">");
    if operation != "isReachable" && !caller.has_a_part(register) {
        let description = "the caller is no sender, dispatcher or mailbox operator of the register";
        return Err(Fault::not_authorised(description));
    }
    let noted = match operation {
        "isReachable" => is_reachable(register, caller, call, &mut out)?,
        "isRegistered" => is_registered(register, call, &mut out)?,
        "getAccountPreferences" => account_preferences(register, call, &mut out)?,
        _ => return Err(Fault::read_only()),
    };
    out.push_str(&format!("</{operation}Response>"));
    Ok((out, noted))
}

fn is_reachable(register: &Register, caller: &Caller, call: &Call, out: &mut String) -> Result<Noted, Fault> {
    only(call, &["senderOrgNr", "recipientId"])?;
    let ids = ids_of(call)?;
    let mut senders = call.all("senderOrgNr");
    let (Some(sender), None) = (senders.next(), senders.next()) else {
        return Err(Fault::bad_input("senderOrgNr is there once"));
    };
    if !is_organisation(sender) {
        return Err(Fault::bad_input("senderOrgNr is 16 and ten digits"));
    }
    let place = register.sender(sender);
    let place = place.ok_or_else(|| Fault::not_authorised("senderOrgNr is no registered sender"))?;
    if !caller.may_ask_for(register, place) {
        let description = "the caller is neither the sender nor a dispatcher that is registered for it";
        return Err(Fault::not_authorised(description));
    }
    let mut noted = Noted::of(register, Some(sender), ids.len());
    out.reserve(ids.len() * 700);
    for id in &ids {
        out.push_str("<return><r:AccountStatus>");
        let outcome = match find(register, id)? {
            None => {
                put_account(out, id, None, None);
                out.push_str("</r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted>");
                "paper"
            }
            Some(found) => {
                put_account(out, id, Some((found.state, found.supplier)), found.registered.as_deref());
                out.push_str("</r:AccountStatus>");
                let accepted = found.rule.accepts(place);
                soap::element(out, "r:SenderAccepted", if accepted { "true" } else { "false" });
                if let Some(time) = found.changed {
                    soap::element(out, "r:LastSenderAcceptChange", &time);
                }
                let address =
                    found.supplier.is_some_and(|operator| !operator.service_address.trim().is_empty());
                found.state.decide(accepted, address).name()
            }
        };
        *noted.outcomes.entry(outcome).or_default() += 1;
        out.push_str("</return>");
    }
    Ok(noted)
}

fn is_registered(register: &Register, call: &Call, out: &mut String) -> Result<Noted, Fault> {
    only(call, &["recipientId"])?;
    let ids = ids_of(call)?;
    if ids.is_empty() {
        return Err(Fault::bad_input("recipientId is there at least once"));
    }
    for id in &ids {
        out.push_str("<return>");
        let found = find(register, id)?;
        let registered = found.as_ref().and_then(|found| found.registered.clone());
        put_account(out, id, found.map(|found| (found.state, found.supplier)), registered.as_deref());
        out.push_str("</return>");
    }
    Ok(Noted::of(register, None, ids.len()))
}

fn account_preferences(register: &Register, call: &Call, out: &mut String) -> Result<Noted, Fault> {
    only(call, &["RecipientId", "UserIdentity"])?;
    let id = call.all("RecipientId").next().filter(|id| is_recipient(id));
    let id = id.ok_or_else(|| Fault::bad_input("RecipientId is 12 digits of a recipient"))?;
    if call.all("UserIdentity").next().is_none_or(str::is_empty) {
        return Err(Fault::bad_input("UserIdentity is missing"));
    }
    let found = find(register, id)?;
    let found = found.ok_or_else(|| Fault::missing("the recipient has no account"))?;
    out.push_str("<return>");
    soap::element(out, "r:Id", id);
    for (place, sender) in (0..).zip(register.senders()) {
        if found.rule.accepts(place) {
            out.push_str("<r:AcceptedSenders>");
            put_sender(out, sender);
            out.push_str("</r:AcceptedSenders>");
        }
    }
    out.push_str("</return>");
    Ok(Noted::of(register, None, 1))
}

/// Refuses arguments that the contract does not have: a misspelt one would be an id that is not answered.
fn only(call: &Call, names: &[&str]) -> Result<(), Fault> {
    match call.has_others(names) {
        true => Err(Fault::bad_input(format!("the operation has no arguments but {}", names.join(" and ")))),
        false => Ok(()),
    }
}

/// The ids of a call: not too many, and each of the form that the contract has for them.
fn ids_of(call: &Call) -> Result<Vec<&str>, Fault> {
    let ids: Vec<&str> = call.all("recipientId").collect();
    if ids.len() > CALL_IDS_MAX {
        return Err(Fault::too_much(format!("a call has at most {CALL_IDS_MAX} ids, not {}", ids.len())));
    }
    match ids.iter().position(|id| !is_recipient(id)) {
        Some(place) => {
            Err(Fault::bad_input(format!("recipientId number {} is not 12 digits of a recipient", place + 1)))
        }
        None => Ok(ids),
    }
}

/// The contract's pattern: `16` and ten digits, or a year, a month and six digits. It knows no days and no
/// check digits; an id that nobody can have is one that the register does not know.
fn is_recipient(id: &str) -> bool {
    let digits = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    digits
        && match &id[..2] {
            "16" => true,
            "18" | "19" | "20" => ("01"..="12").contains(&&id[4..6]),
            _ => false,
        }
}

pub(super) fn is_organisation(id: &str) -> bool {
    is_recipient(id) && id.starts_with("16")
}

/// What the register knows of a recipient, as the contract asks for it.
struct Found<'r> {
    state: FarState,
    supplier: Option<&'r Operator>,
    rule: crate::consent::RuleSet,
    registered: Option<String>,
    changed: Option<String>,
}

fn find<'r>(register: &'r Register, id: &str) -> Result<Option<Found<'r>>, Fault> {
    // 12 digits have their century.
    let Ok(identity) = Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT) else {
        return Ok(None);
    };
    let found = register.recipient(&identity).map_err(|damage| {
        tracing::error!(%damage, "the register is damaged");
        Fault::technical()
    })?;
    Ok(match found {
        Some(Recipient::Far { state, rule, last_registration, last_sender_accept_change }) => Some(Found {
            state,
            supplier: state.operator.and_then(|place| register.operators().get(usize::from(place))),
            rule,
            registered: last_registration.map(|time| time.to_string()),
            changed: last_sender_accept_change.map(|time| time.to_string()),
        }),
        _ => None,
    })
}

/// What `AccountStatus` has in it.
fn put_account(
    out: &mut String,
    id: &str,
    found: Option<(FarState, Option<&Operator>)>,
    registered: Option<&str>,
) {
    soap::element(out, "r:RecipientId", id);
    let account_type = found.map_or(AccountType::Not, |(state, _)| state.account_type);
    soap::element(out, "r:Type", account_type.name());
    let pending = found.is_some_and(|(state, _)| state.pending);
    soap::element(out, "r:Pending", if pending { "true" } else { "false" });
    // Who has no account has no supplier.
    let supplier = found.and_then(|(_, supplier)| supplier).filter(|_| account_type != AccountType::Not);
    if let Some(operator) = supplier {
        out.push_str("<r:ServiceSupplier>");
        soap::element(out, "r:Id", &operator.id);
        soap::element(out, "r:Name", &operator.name);
        if !operator.logo.trim().is_empty() {
            soap::element(out, "r:Logo", &operator.logo);
        }
        soap::element(out, "r:ServiceAdress", &operator.service_address);
        if !operator.ui_address.trim().is_empty() {
            soap::element(out, "r:UIAdress", &operator.ui_address);
        }
        soap::element(out, "r:InternalServiceAdress", &operator.internal_service_address);
        out.push_str("</r:ServiceSupplier>");
    }
    if let Some(time) = registered {
        soap::element(out, "r:LastRegistration", time);
    }
}

pub(super) fn put_sender(out: &mut String, sender: &Sender) {
    soap::element(out, "s:Id", &sender.id);
    soap::element(out, "s:Name", &sender.name);
    if !sender.attention.trim().is_empty() {
        soap::element(out, "s:Attention", &sender.attention);
    }
}
