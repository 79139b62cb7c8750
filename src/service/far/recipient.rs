//! The operations of Recipient.

use super::elements::{SENDER, is_organisation, is_recipient, put_sender};
use super::fault::FarFault;
use crate::consent::RuleSet;
use crate::identities::{Country, Identity, Ordinal, Rejection, Today};
use crate::limits::{ANSWER_BYTES_MAX, CALL_IDS_MAX};
use crate::register::{AccountType, Damage, FarState, Operator, Recipient, Register, SenderIndex};
use crate::service::problem::log_damage;
use crate::service::record::RequestRecord;
use crate::service::soap::{self, Call};
use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

const V3: &str = "http://minameddelanden.gov.se/schema/Recipient/v3";
const TYPES: &str = "http://minameddelanden.gov.se/schema/Recipient";

/// Writes times as `xs:dateTime`, in UTC.
pub(super) const TIMES: DateTimePrinter = DateTimePrinter::new();

/// Writes the response of an operation.
pub(super) fn run(
    register: &Register,
    operation: &str,
    call: &Call,
    out: &mut String,
) -> Result<RequestRecord, FarFault> {
    out.push_str(&format!("<{operation}Response xmlns=\"{V3}\" xmlns:r=\"{TYPES}\" xmlns:s=\"{SENDER}\">"));
    let record = match operation {
        "isReachable" => is_reachable(register, call, out)?,
        "isRegistered" => is_registered(register, call, out)?,
        "getAccountPreferences" => account_preferences(register, call, out)?,
        _ => return Err(FarFault::read_only()),
    };
    out.push_str(&format!("</{operation}Response>"));
    Ok(record)
}

/// The sender of `isReachable`: its index in the register, and its id in the message.
pub(super) fn sender_of<'c>(register: &Register, call: &'c Call) -> Result<(SenderIndex, &'c str), FarFault> {
    let mut senders = call.all("senderOrgNr");
    let (Some(sender), None) = (senders.next(), senders.next()) else {
        return Err(FarFault::bad_input("the message needs exactly one senderOrgNr"));
    };
    if !is_organisation(sender) {
        return Err(FarFault::bad_input("senderOrgNr is 16 and ten digits"));
    }
    let index = register.sender(sender);
    let index = index.ok_or_else(|| FarFault::not_authorised("senderOrgNr is not a registered sender"))?;
    Ok((index, sender))
}

fn is_reachable(register: &Register, call: &Call, out: &mut String) -> Result<RequestRecord, FarFault> {
    allow_arguments(call, &["senderOrgNr", "recipientId"])?;
    let ids = ids_of(call)?;
    let (index, sender) = sender_of(register, call)?;
    let mut record = RequestRecord::of(register, Some(sender), ids.len());
    let accounts = register.accounts(index, &ordinals(&ids)).map_err(|damage| damaged(register, &damage))?;
    out.reserve(ids.len() * 700);
    // The text of each state, formatted for the first recipient in that state.
    let mut statuses: HashMap<u32, String> = HashMap::new();
    let mut of_statuses = 0;
    let mut unknown = String::new();
    put_status(&mut unknown, None);
    unknown.push_str("</r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted></return>");
    for (id, account) in ids.iter().zip(accounts) {
        out.push_str("<return><r:AccountStatus><r:RecipientId>");
        out.push_str(id);
        out.push_str("</r:RecipientId>");
        let Some(account) = account else {
            out.push_str(&unknown);
            *record.outcomes.entry("paper").or_default() += 1;
            continue;
        };
        let supplier = supplier(register, account.state);
        let status = statuses.entry(account.code).or_insert_with(|| {
            let mut status = String::new();
            put_status(&mut status, Some((account.state, supplier)));
            of_statuses += status.len();
            status
        });
        check_length(out.len() + status.len() + of_statuses)?;
        out.push_str(status);
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
        *record.outcomes.entry(outcome).or_default() += 1;
    }
    Ok(record)
}

/// Errors: the texts of the register are too long for one answer.
fn check_length(bytes: usize) -> Result<(), FarFault> {
    match bytes > ANSWER_BYTES_MAX {
        true => Err(FarFault::too_much("the answer would be too long: ask for fewer recipients")),
        false => Ok(()),
    }
}

fn is_registered(register: &Register, call: &Call, out: &mut String) -> Result<RequestRecord, FarFault> {
    allow_arguments(call, &["recipientId"])?;
    let ids = ids_of(call)?;
    if ids.is_empty() {
        return Err(FarFault::bad_input("the message needs at least one recipientId"));
    }
    for id in &ids {
        out.push_str("<return>");
        soap::element(out, "r:RecipientId", id);
        let account = find(register, id)?;
        put_status(out, account.as_ref().map(|account| (account.state, supplier(register, account.state))));
        put_time(out, "r:LastRegistration", account.and_then(|account| account.last_registration));
        out.push_str("</return>");
        check_length(out.len())?;
    }
    Ok(RequestRecord::of(register, None, ids.len()))
}

fn account_preferences(
    register: &Register,
    call: &Call,
    out: &mut String,
) -> Result<RequestRecord, FarFault> {
    allow_arguments(call, &["RecipientId", "UserIdentity"])?;
    let id = call.all("RecipientId").next().filter(|id| is_recipient(id));
    let id = id.ok_or_else(|| FarFault::bad_input("RecipientId is 12 digits of a recipient"))?;
    if call.all("UserIdentity").next().is_none_or(str::is_empty) {
        return Err(FarFault::bad_input("UserIdentity is missing"));
    }
    let account = find(register, id)?;
    let account = account.ok_or_else(|| FarFault::missing("the recipient has no account"))?;
    out.push_str("<return>");
    soap::element(out, "r:Id", id);
    for (index, sender) in (0..).map(SenderIndex::new).zip(register.senders()) {
        if account.rule.accepts(index) {
            out.push_str("<r:AcceptedSenders>");
            put_sender(out, sender);
            out.push_str("</r:AcceptedSenders>");
        }
    }
    out.push_str("</return>");
    Ok(RequestRecord::of(register, None, 1))
}

/// Refuses arguments that the contract does not define: ids under a misspelt name would be ignored.
fn allow_arguments(call: &Call, names: &[&str]) -> Result<(), FarFault> {
    match call.has_others(names) {
        true => Err(FarFault::bad_input(format!(
            "the operation has no arguments other than {}",
            names.join(" and ")
        ))),
        false => Ok(()),
    }
}

/// The ids of a call. Errors: too many, or one that does not match the contract's pattern.
pub(super) fn ids_of(call: &Call) -> Result<Vec<&str>, FarFault> {
    let ids: Vec<&str> = call.all("recipientId").collect();
    if ids.len() > CALL_IDS_MAX {
        return Err(FarFault::too_much(format!("a call has at most {CALL_IDS_MAX} ids, not {}", ids.len())));
    }
    match ids.iter().position(|id| !is_recipient(id)) {
        Some(index) => Err(FarFault::bad_input(format!(
            "recipientId number {} is not 12 digits of a recipient",
            index + 1
        ))),
        None => Ok(ids),
    }
}

/// A recipient's account, without the decision for a sender.
struct FarAccount {
    state: FarState,
    rule: RuleSet,
    last_registration: Option<Timestamp>,
}

fn find(register: &Register, id: &str) -> Result<Option<FarAccount>, FarFault> {
    let Ok(identity) = identity(id) else { return Ok(None) };
    Ok(match register.recipient(&identity).map_err(|damage| damaged(register, &damage))? {
        Some(Recipient::Far { state, rule, last_registration, .. }) => {
            Some(FarAccount { state, rule, last_registration })
        }
        _ => None,
    })
}

/// 12 digits include the century, so the day does not matter.
fn identity(id: &str) -> Result<Identity, Rejection> {
    Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT)
}

/// Ordinals; that of no recipient for an id that matches the pattern and is invalid.
pub(super) fn ordinals(ids: &[&str]) -> Vec<Ordinal> {
    let ordinal = |id: &&str| identity(id).map_or(Ordinal::ABSENT, |identity| identity.ordinal());
    ids.iter().map(ordinal).collect()
}

fn damaged(register: &Register, damage: &Damage) -> FarFault {
    log_damage(damage, register.note_damage());
    FarFault::technical()
}

fn supplier(register: &Register, state: FarState) -> Option<&Operator> {
    state.operator.and_then(|index| register.operators().get(usize::from(index)))
}

/// Writes the part of `AccountStatus` between id and time.
fn put_status(out: &mut String, account: Option<(FarState, Option<&Operator>)>) {
    let account_type = account.map_or(AccountType::Not, |(state, _)| state.account_type);
    soap::element(out, "r:Type", account_type.name());
    let pending = account.is_some_and(|(state, _)| state.pending);
    soap::element(out, "r:Pending", if pending { "true" } else { "false" });
    // A recipient without an account has no supplier.
    let supplier = account.and_then(|(_, supplier)| supplier).filter(|_| account_type != AccountType::Not);
    if let Some(operator) = supplier {
        put_supplier(out, "r:ServiceSupplier", operator);
    }
}

/// Writes a `ServiceSupplier` under a name.
pub(super) fn put_supplier(out: &mut String, name: &str, operator: &Operator) {
    out.push_str(&format!("<{name}>"));
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
    out.push_str(&format!("</{name}>"));
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
