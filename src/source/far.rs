//! FaR's contract, asked: `isReachable` of Recipient, version 3, SOAP 1.1.

use super::answer::{Answers, CallError, canonical, organisation};
use crate::changes::{ChangeBody, NamedRule, PutRecipient};
use crate::consent::Acceptance;
use crate::identities::{Identity, Ordinal};
use crate::limits::CALL_IDS_MAX;
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::{AccountType, Operator};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

const V3: &str = "http://minameddelanden.gov.se/schema/Recipient/v3";
/// What the namespaces of all versions and services begin with.
const SCHEMAS: &str = "http://minameddelanden.gov.se/schema/";
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// Deepest nesting of elements in an answer.
const DEPTH_MAX: usize = 32;

/// The message that asks for some ids. `sender` is `16` and ten digits.
pub(super) fn request(sender: &str, ids: &[Ordinal]) -> String {
    let mut out = String::with_capacity(300 + ids.len() * 45);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    for part in ["<s:Envelope xmlns:s=\"", SOAP, "\"><s:Body><isReachable xmlns=\"", V3, "\"><senderOrgNr>"] {
        out.push_str(part);
    }
    out.push_str(sender);
    out.push_str("</senderOrgNr>");
    for id in ids.iter().filter_map(|ordinal| Identity::from_ordinal(*ordinal)) {
        for part in ["<recipientId>", id.as_str(), "</recipientId>"] {
            out.push_str(part);
        }
    }
    out.push_str("</isReachable></s:Body></s:Envelope>");
    out
}

/// A `ReachabilityStatus` as it is read.
#[derive(Default)]
struct Status {
    id: Option<Ordinal>,
    account_type: Option<AccountType>,
    pending: Option<bool>,
    accepted: Option<bool>,
    supplier: Option<Operator>,
    last_registration: Option<i64>,
    last_sender_accept_change: Option<i64>,
    /// Whether its `AccountStatus` has begun.
    is_begun: bool,
}

/// An element that a row has twice: which of both counts is unknown.
fn twice(name: &str) -> CallError {
    CallError::BadAnswer(format!("a row of the answer has {name} twice"))
}

fn set<T>(field: &mut Option<T>, value: T, name: &str) -> Result<(), CallError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice(name)),
    }
}

/// A fault as it is read. Its description may name ids, and is not read.
#[derive(Default)]
struct Fault {
    code: Option<u32>,
}

/// The field of an operator for an element of `ServiceSupplier`.
fn field<'o>(operator: &'o mut Operator, name: &str) -> Option<&'o mut String> {
    Some(match name {
        "Id" => &mut operator.id,
        "Name" => &mut operator.name,
        "ServiceAdress" => &mut operator.service_address,
        "UIAdress" => &mut operator.ui_address,
        "InternalServiceAdress" => &mut operator.internal_service_address,
        "Logo" => &mut operator.logo,
        _ => return None,
    })
}

/// The names of the open elements, without prefixes.
#[derive(Default)]
struct OpenElements {
    names: String,
    /// Where each name begins.
    starts: Vec<usize>,
}

impl OpenElements {
    fn push(&mut self, name: &str) {
        self.starts.push(self.names.len());
        self.names.push_str(name);
    }

    fn pop(&mut self) {
        self.names.truncate(self.starts.pop().unwrap_or_default());
    }

    fn depth(&self) -> usize {
        self.starts.len()
    }

    /// The innermost element and the one around it; empty without one.
    fn innermost(&self) -> (&str, &str) {
        let end = self.names.len();
        let start = self.starts.last().copied().unwrap_or(end);
        let before = self.starts.len().checked_sub(2).map_or(start, |index| self.starts[index]);
        (&self.names[before..start], &self.names[start..end])
    }
}

/// The local name of an element, or a name that no element has if it is of another namespace than the contract's and
/// SOAP's. The parts of a fault have none.
fn known_name<'n>(namespace: &ResolveResult<'_>, name: &'n str) -> &'n str {
    match namespace {
        ResolveResult::Bound(namespace) if namespace.as_ref() == SOAP => name,
        ResolveResult::Bound(namespace) if namespace.as_ref().starts_with(SCHEMAS) => name,
        ResolveResult::Unbound if ["faultcode", "faultstring", "faultactor", "detail"].contains(&name) => {
            name
        }
        _ => "?",
    }
}

/// Reads the answer to [`request`]. Elements that are not known are ignored.
///
/// Errors: a fault of the register, or not an answer.
pub(super) fn read(body: &[u8], sender: &str) -> Result<Answers, CallError> {
    let bad = |why: &str| CallError::BadAnswer(format!("the answer {why}"));
    let body = std::str::from_utf8(body).map_err(|_| bad("is not UTF-8, or is cut off"))?;
    let mut answer = MessageReader::default();
    let mut reader = NsReader::from_str(body.strip_prefix('\u{feff}').unwrap_or(body));
    let mut open = OpenElements::default();
    let mut text = String::new();
    loop {
        let (namespace, event) =
            reader.read_resolved_event().map_err(|_| bad("is not XML, or is cut off"))?;
        match event {
            Event::Start(start) => {
                open.push(known_name(&namespace, start.local_name().into_inner()));
                if open.depth() > DEPTH_MAX {
                    return Err(bad("is nested too deeply"));
                }
                text.clear();
                answer.start(&open)?;
            }
            Event::Empty(start) => {
                open.push(known_name(&namespace, start.local_name().into_inner()));
                answer.start(&open)?;
                answer.end(&open, "", sender)?;
                open.pop();
            }
            Event::End(_) => {
                answer.end(&open, text.trim(), sender)?;
                open.pop();
                text.clear();
            }
            Event::Text(part) => text.push_str(part.as_ref()),
            Event::CData(part) => text.push_str(part.as_ref()),
            Event::GeneralRef(entity) => match entity.resolve_char_ref() {
                Ok(Some(character)) => text.push(character),
                _ => text.push_str(
                    resolve_predefined_entity(entity.as_ref()).ok_or_else(|| bad("has an unknown entity"))?,
                ),
            },
            Event::DocType(_) => return Err(bad("has a document type, which SOAP forbids")),
            Event::Eof if open.depth() == 0 => return answer.finish(),
            Event::Eof => return Err(bad("is cut off")),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
        }
    }
}

#[derive(Default)]
struct MessageReader {
    answers: Answers,
    status: Status,
    fault: Option<Fault>,
    has_response: bool,
}

impl MessageReader {
    fn start(&mut self, open: &OpenElements) -> Result<(), CallError> {
        match open.innermost() {
            ("Body", "Fault") => self.fault = Some(Fault::default()),
            ("Body", "isReachableResponse") => self.has_response = true,
            ("AccountStatus", "ServiceSupplier") if self.status.supplier.is_some() => {
                return Err(twice("ServiceSupplier"));
            }
            ("AccountStatus", "ServiceSupplier") => self.status.supplier = Some(Operator::default()),
            ("return", "AccountStatus") if std::mem::replace(&mut self.status.is_begun, true) => {
                return Err(twice("AccountStatus"));
            }
            ("isReachableResponse", "return") if self.answers.answers.len() == CALL_IDS_MAX => {
                return Err(CallError::BadAnswer("the answer has more rows than a call has ids".to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, open: &OpenElements, text: &str, sender: &str) -> Result<(), CallError> {
        let (parent, name) = open.innermost();
        if let Some(fault) = &mut self.fault {
            if name == "ErrorCode" {
                fault.code = text.parse().ok();
            }
            return Ok(());
        }
        let bad = || CallError::BadAnswer(format!("the value of {name} is not one that the contract allows"));
        let truth = || match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad()),
        };
        let time = || moment::parse(text).and_then(moment::nanoseconds).map(Some).ok_or_else(bad);
        let status = &mut self.status;
        match (parent, name) {
            ("isReachableResponse", "return") => return self.end_of_status(sender),
            ("AccountStatus", "RecipientId") => {
                set(&mut status.id, canonical(text).ok_or_else(bad)?, name)?;
            }
            ("AccountStatus", "Type") => {
                set(&mut status.account_type, AccountType::of_name(text.as_bytes()).ok_or_else(bad)?, name)?;
            }
            ("AccountStatus", "Pending") => set(&mut status.pending, truth()?, name)?,
            ("AccountStatus", "LastRegistration") => status.last_registration = time()?,
            ("return", "SenderAccepted") => set(&mut status.accepted, truth()?, name)?,
            ("return", "LastSenderAcceptChange") => status.last_sender_accept_change = time()?,
            ("ServiceSupplier", name) => {
                if let Some(field) = status.supplier.as_mut().and_then(|operator| field(operator, name)) {
                    text.clone_into(field);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end_of_status(&mut self, sender: &str) -> Result<(), CallError> {
        let Status {
            id,
            account_type,
            pending,
            accepted,
            supplier,
            last_registration,
            last_sender_accept_change,
            is_begun: _,
        } = std::mem::take(&mut self.status);
        let (Some(recipient), Some(account_type), Some(pending), Some(accepted)) =
            (id, account_type, pending, accepted)
        else {
            let text = "an answer lacks RecipientId, Type, Pending or SenderAccepted";
            return Err(CallError::BadAnswer(text.to_owned()));
        };
        let operator = match supplier.filter(|_| account_type != AccountType::Not) {
            None => None,
            Some(mut supplier) => {
                let id = organisation(&supplier.id)?;
                supplier.id = id.text();
                if !self.answers.operators.contains(&supplier) {
                    self.answers.operators.push(supplier);
                }
                Some(id)
            }
        };
        // The answer holds for this sender only.
        let accepts = if accepted { vec![organisation(sender)?] } else { Vec::new() };
        self.answers.answers.push(ChangeBody::PutRecipient(PutRecipient {
            recipient,
            account_type,
            pending,
            operator,
            last_registration: last_registration.unwrap_or(NO_NANOSECONDS),
            last_sender_accept_change: last_sender_accept_change.unwrap_or(NO_NANOSECONDS),
            rule: NamedRule::new(Acceptance::Only, accepts),
        }));
        Ok(())
    }

    fn finish(self) -> Result<Answers, CallError> {
        match self.fault {
            Some(fault) => Err(fault.error()),
            None if self.has_response => Ok(self.answers),
            None => Err(CallError::BadAnswer("the answer is not one of isReachable".to_owned())),
        }
    }
}

impl Fault {
    /// What follows from a fault.
    fn error(&self) -> CallError {
        match self.code {
            None => CallError::again("the register answered with a fault without a code"),
            Some(code @ 0..=4999) => CallError::again(format!("technical fault {code} of the register")),
            Some(5001 | 6004 | 6006 | 6007) => CallError::BadIds,
            Some(code @ (5002 | 5020)) => CallError::Stop(format!(
                "fault {code}: the register does not let this certificate ask for this sender: check the sender's number, \
                 and that the certificate's organisation is registered as the sender or its dispatcher"
            )),
            Some(5005) => CallError::TooMany,
            Some(code) => CallError::Stop(format!("fault {code} of the register")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: &str = "164821000025";

    fn message(body: &str) -> Vec<u8> {
        format!("<?xml version=\"1.0\"?><x:Envelope xmlns:x=\"{SOAP}\"><x:Body>{body}</x:Body></x:Envelope>")
            .into_bytes()
    }

    fn status(id: &str, more: &str) -> String {
        format!("<n:return><r:AccountStatus><r:RecipientId>{id}</r:RecipientId>{more}</n:return>")
    }

    fn response(rows: &str) -> Vec<u8> {
        message(&format!(
            "<n:isReachableResponse xmlns:n=\"{V3}\" xmlns:r=\"http://minameddelanden.gov.se/schema/Recipient\">{rows}</n:isReachableResponse>"
        ))
    }

    #[test]
    fn answers_are_read() {
        let supplier = "<r:ServiceSupplier><r:Id>164821000025</r:Id><r:Name>A &amp; B</r:Name>\
                        <r:ServiceAdress>https://a.example</r:ServiceAdress><r:New>x</r:New></r:ServiceSupplier>";
        let first = status(
            "196810199809",
            &format!(
                "<r:Type>Secure</r:Type><r:Pending>false</r:Pending>{supplier}\
                 <r:LastRegistration>2026-01-02T03:04:05Z</r:LastRegistration></r:AccountStatus>\
                 <r:SenderAccepted>true</r:SenderAccepted>\
                 <q:SenderAccepted xmlns:q=\"urn:q\">false</q:SenderAccepted><r:Later><r:Type>Unknown</r:Type></r:Later>"
            ),
        );
        let second = status(
            "195904109807",
            "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted>",
        );
        let read = read(&response(&(first + &second)), SENDER).expect("answers");
        assert_eq!(read.operators.len(), 1);
        assert_eq!(read.operators[0].name, "A & B");
        let [ChangeBody::PutRecipient(a), ChangeBody::PutRecipient(b)] = &read.answers[..] else {
            panic!("two")
        };
        assert_eq!(
            (a.account_type, a.pending, b.account_type),
            (AccountType::Secure, false, AccountType::Not)
        );
        assert_eq!(a.operator, Some(organisation("164821000025").expect("an id")));
        assert_ne!(a.last_registration, NO_NANOSECONDS);
        assert_eq!((a.rule.senders.len(), b.rule.senders.len()), (1, 0));
    }

    /// The id of an operator has one spelling: the journal and the register file compare it.
    #[test]
    fn the_id_of_an_operator_is_kept_in_its_usual_spelling() {
        for spelling in ["164821000025", "4821000025", "482100-0025"] {
            let row = status(
                "196810199809",
                &format!(
                    "<r:Type>Secure</r:Type><r:Pending>false</r:Pending><r:ServiceSupplier><r:Id>{spelling}</r:Id></r:ServiceSupplier>\
                     </r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"
                ),
            );
            let read = read(&response(&row), SENDER).expect("answers");
            assert_eq!(read.operators[0].id, "164821000025", "{spelling}");
        }
    }

    fn error(body: &[u8]) -> String {
        match read(body, SENDER) {
            Ok(_) => "answers".to_owned(),
            Err(CallError::Again { why, .. }) => format!("again: {why}"),
            Err(CallError::BadAnswer(why)) => format!("bad: {why}"),
            Err(CallError::BadIds) => "ids".to_owned(),
            Err(CallError::TooMany) => "too many".to_owned(),
            Err(CallError::Stop(why) | CallError::TokenRefused(why)) => format!("stop: {why}"),
        }
    }

    #[test]
    fn faults_say_what_to_do() {
        let fault = |code: &str| {
            error(&message(&format!(
                "<x:Fault><faultcode>x:Server</faultcode><faultstring>196810199809</faultstring><detail>\
                 <c:applicationFault xmlns:c=\"http://minameddelanden.gov.se/schema/Common/v3\"><c:ErrorCode>{code}</c:ErrorCode></c:applicationFault></detail></x:Fault>"
            )))
        };
        for (code, expected) in [
            ("0", "again: technical fault 0"),
            ("4999", "again: technical fault 4999"),
            ("5001", "ids"),
            ("6007", "ids"),
            ("5002", "stop: fault 5002"),
            ("5005", "too many"),
            ("5003", "stop: fault 5003"),
            ("x", "again: the register answered with a fault without a code"),
        ] {
            let found = fault(code);
            assert!(found.starts_with(expected) && !found.contains("1968"), "{code}: {found}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let row = |more: &str| response(&status("196810199809", more));
        let whole = row(
            "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted>",
        );
        assert_eq!(error(&whole), "answers");
        for end in 0..whole.len() {
            assert!(error(&whole[..end]).starts_with("bad: "), "cut off at {end}");
        }
        for (body, expected) in [
            (
                row("<r:Type>Not</r:Type></r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted>"),
                "lacks RecipientId, Type, Pending",
            ),
            (
                row("<r:Type>Not</r:Type><r:RecipientId>195904109807</r:RecipientId></r:AccountStatus>"),
                "RecipientId twice",
            ),
            (
                row(
                    "<r:Type>Not</r:Type></r:AccountStatus><r:AccountStatus/><r:SenderAccepted>true</r:SenderAccepted>",
                ),
                "AccountStatus twice",
            ),
            (row("<r:ServiceSupplier/><r:ServiceSupplier/></r:AccountStatus>"), "ServiceSupplier twice"),
            (response("<n:return><r:x/></n:return>"), "lacks"),
            (b"<html><body>Gateway</body></html>".to_vec(), "not one of isReachable"),
            (b"hello".to_vec(), "not one of isReachable"),
            (b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>".to_vec(), "document type"),
            (
                row("<r:Type>Some</r:Type></r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"),
                "value of Type",
            ),
            (
                row(
                    "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus><r:SenderAccepted>2</r:SenderAccepted>",
                ),
                "SenderAccepted",
            ),
            (row("</r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"), "lacks"),
            (
                response(&status(
                    "1968-10-19",
                    "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus>",
                )),
                "RecipientId",
            ),
        ] {
            let found = error(&body);
            assert!(found.starts_with("bad: ") && found.contains(expected), "{found}");
        }
    }

    /// The work of a hostile answer is bounded.
    #[test]
    fn an_answer_has_no_more_rows_than_a_call_has_ids() {
        let row = |number: usize| {
            status(
                "196810199809",
                &format!(
                    "<r:Type>Secure</r:Type><r:Pending>false</r:Pending><r:ServiceSupplier><r:Id>164821000025</r:Id>\
                     <r:Name>{number}</r:Name></r:ServiceSupplier></r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"
                ),
            )
        };
        let rows = |count: usize| response(&(0..count).map(row).collect::<String>());
        assert_eq!(error(&rows(1000)), "answers");
        assert!(error(&rows(1001)).contains("more rows than a call has ids"));
    }

    #[test]
    fn a_request_names_each_id() {
        let ids = [canonical("196810199809"), canonical("195904109807")].map(|id| id.expect("an id"));
        let text = request(SENDER, &ids);
        assert_eq!(text.matches("<recipientId>").count(), 2);
        assert!(
            text.contains("<senderOrgNr>164821000025</senderOrgNr><recipientId>196810199809</recipientId>")
        );
    }
}
