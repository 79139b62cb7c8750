//! The operations of Recipient.

use super::SENDER;
use super::fault::Fault;
use crate::consent::RuleSet;
use crate::identities::{Country, Identity, Ordinal, Rejection, Today};
use crate::limits::CALL_IDS_MAX;
use crate::register::{AccountType, Damage, FarState, Operator, Recipient, Register, Sender};
use crate::service::access::Caller;
use crate::service::exchange::Noted;
use crate::service::soap::{self, Call};
use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

const V3: &str = "http://minameddelanden.gov.se/schema/Recipient/v3";
const V2: &str = "http://minameddelanden.gov.se/schema/Recipient/v2";
const TYPES: &str = "http://minameddelanden.gov.se/schema/Recipient";

/// Writes times as `xs:dateTime`, in UTC.
const TIMES: DateTimePrinter = DateTimePrinter::new();

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

/// Writes an answer; what is noted of it.
pub(super) fn answer(
    register: &Register,
    caller: &Caller,
    call: &Call,
    out: &mut String,
) -> Result<Noted, Fault> {
    let (operation, namespace) = (&*call.operation, &*call.namespace);
    if !OPERATIONS.contains(&(operation, namespace)) {
        return Err(Fault::unknown_operation());
    }
    if operation != "isReachable" && !caller.has_a_part(register) {
        let description = "the caller is no sender, dispatcher or mailbox operator of the register";
        return Err(Fault::not_authorised(description));
    }
    out.push_str(&format!("<{operation}Response xmlns=\"{V3}\" xmlns:r=\"{TYPES}\" xmlns:s=\"{SENDER}\">"));
    let noted = match operation {
        "isReachable" => is_reachable(register, caller, call, out)?,
        "isRegistered" => is_registered(register, call, out)?,
        "getAccountPreferences" => account_preferences(register, call, out)?,
        _ => return Err(Fault::read_only()),
    };
    out.push_str(&format!("</{operation}Response>"));
    Ok(noted)
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
    let accounts = register.accounts(place, &ordinals(&ids)).map_err(|damage| damaged(&damage))?;
    out.reserve(ids.len() * 700);
    // What is the same for all recipients in a state, made when the first of them comes.
    let mut statuses: HashMap<u32, String> = HashMap::new();
    let mut unknown = String::new();
    put_status(&mut unknown, None);
    unknown.push_str("</r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted></return>");
    for (id, account) in ids.iter().zip(accounts) {
        out.push_str("<return><r:AccountStatus><r:RecipientId>");
        out.push_str(id);
        out.push_str("</r:RecipientId>");
        let Some(account) = account else {
            out.push_str(&unknown);
            *noted.outcomes.entry("paper").or_default() += 1;
            continue;
        };
        let supplier = supplier(register, account.state);
        out.push_str(statuses.entry(account.code).or_insert_with(|| {
            let mut status = String::new();
            put_status(&mut status, Some((account.state, supplier)));
            status
        }));
        put_time(out, "r:LastRegistration", account.last_registration);
        out.push_str("</r:AccountStatus>");
        out.push_str(match account.accepted {
            true => "<r:SenderAccepted>true</r:SenderAccepted>",
            false => "<r:SenderAccepted>false</r:SenderAccepted>",
        });
        put_time(out, "r:LastSenderAcceptChange", account.last_sender_accept_change);
        out.push_str("</return>");
        let address = supplier.is_some_and(|operator| !operator.service_address.trim().is_empty());
        let outcome = account.state.decide(account.accepted, address).name();
        *noted.outcomes.entry(outcome).or_default() += 1;
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
        soap::element(out, "r:RecipientId", id);
        let found = find(register, id)?;
        put_status(out, found.as_ref().map(|found| (found.state, supplier(register, found.state))));
        put_time(out, "r:LastRegistration", found.and_then(|found| found.last_registration));
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

/// What the register knows of a recipient without asking for a sender.
struct Found {
    state: FarState,
    rule: RuleSet,
    last_registration: Option<Timestamp>,
}

fn find(register: &Register, id: &str) -> Result<Option<Found>, Fault> {
    let Ok(identity) = identity(id) else { return Ok(None) };
    let found = register.recipient(&identity).map_err(|damage| damaged(&damage))?;
    Ok(match found {
        Some(Recipient::Far { state, rule, last_registration, .. }) => {
            Some(Found { state, rule, last_registration })
        }
        _ => None,
    })
}

/// 12 digits have their century, whatever the day.
fn identity(id: &str) -> Result<Identity, Rejection> {
    Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT)
}

/// Nobody's for what fits the contract's pattern and is no identity.
fn ordinals(ids: &[&str]) -> Vec<Ordinal> {
    let ordinal = |id: &&str| identity(id).map_or(Ordinal::NOBODY, |identity| identity.ordinal());
    ids.iter().map(ordinal).collect()
}

fn damaged(damage: &Damage) -> Fault {
    tracing::error!(%damage, "the register is damaged");
    Fault::technical()
}

fn supplier(register: &Register, state: FarState) -> Option<&Operator> {
    state.operator.and_then(|place| register.operators().get(usize::from(place)))
}

/// What `AccountStatus` has between id and time.
fn put_status(out: &mut String, found: Option<(FarState, Option<&Operator>)>) {
    let account_type = found.map_or(AccountType::Not, |(state, _)| state.account_type);
    soap::element(out, "r:Type", account_type.name());
    let pending = found.is_some_and(|(state, _)| state.pending);
    soap::element(out, "r:Pending", if pending { "true" } else { "false" });
    // Who has no account has no supplier.
    let supplier = found.and_then(|(_, supplier)| supplier).filter(|_| account_type != AccountType::Not);
    let Some(operator) = supplier else { return };
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

fn put_time(out: &mut String, name: &str, time: Option<Timestamp>) {
    if let Some(time) = time {
        for part in ["<", name, ">"] {
            out.push_str(part);
        }
        // Writing to a string does not fail.
        let _ = TIMES.print_timestamp(&time, &mut *out);
        for part in ["</", name, ">"] {
            out.push_str(part);
        }
    }
}

pub(super) fn put_sender(out: &mut String, sender: &Sender) {
    soap::element(out, "s:Id", &sender.id);
    soap::element(out, "s:Name", &sender.name);
    if !sender.attention.trim().is_empty() {
        soap::element(out, "s:Attention", &sender.attention);
    }
}
