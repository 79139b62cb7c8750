//! FaR's contract, asked: `isReachable` of Recipient, version 3, SOAP 1.1.

mod rows;

use super::answer::{Answers, CallError, canonical, organisation};
use crate::changes::{ChangeBody, NamedRule, OrganisationId, PutRecipient};
use crate::consent::Acceptance;
use crate::identities::{Identity, Ordinal};
use crate::limits::CALL_IDS_MAX;
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::{AccountType, Operator};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use rows::RowShapes;

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

/// The elements that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Document,
    Envelope,
    Body,
    Fault,
    FaultPart,
    ErrorCode,
    Response,
    Row,
    AccountStatus,
    RecipientId,
    Type,
    Pending,
    LastRegistration,
    SenderAccepted,
    LastSenderAcceptChange,
    Supplier,
    Id,
    Name,
    ServiceAdress,
    UIAdress,
    InternalServiceAdress,
    Logo,
    Other,
}

impl Element {
    /// A child of an element by its name. What is in an element that is not known is not known either, also if it has a
    /// known name: an element that a later version adds may hold others, which are not those of the row.
    fn child(self, name: &str) -> Element {
        match (self, name) {
            (Element::Document, "Envelope") => Element::Envelope,
            (Element::Envelope, "Body") => Element::Body,
            (Element::Body, "Fault") => Element::Fault,
            (Element::Fault | Element::FaultPart, "ErrorCode") => Element::ErrorCode,
            (Element::Fault | Element::FaultPart, _) => Element::FaultPart,
            (Element::Body, "isReachableResponse") => Element::Response,
            (Element::Response, "return") => Element::Row,
            (Element::Row, "AccountStatus") => Element::AccountStatus,
            (Element::Row, "SenderAccepted") => Element::SenderAccepted,
            (Element::Row, "LastSenderAcceptChange") => Element::LastSenderAcceptChange,
            (Element::AccountStatus, "RecipientId") => Element::RecipientId,
            (Element::AccountStatus, "Type") => Element::Type,
            (Element::AccountStatus, "Pending") => Element::Pending,
            (Element::AccountStatus, "LastRegistration") => Element::LastRegistration,
            (Element::AccountStatus, "ServiceSupplier") => Element::Supplier,
            (Element::Supplier, "Id") => Element::Id,
            (Element::Supplier, "Name") => Element::Name,
            (Element::Supplier, "ServiceAdress") => Element::ServiceAdress,
            (Element::Supplier, "UIAdress") => Element::UIAdress,
            (Element::Supplier, "InternalServiceAdress") => Element::InternalServiceAdress,
            (Element::Supplier, "Logo") => Element::Logo,
            _ => Element::Other,
        }
    }

    /// The field of an operator that it fills.
    fn field(self, operator: &mut Operator) -> Option<&mut String> {
        Some(match self {
            Element::Id => &mut operator.id,
            Element::Name => &mut operator.name,
            Element::ServiceAdress => &mut operator.service_address,
            Element::UIAdress => &mut operator.ui_address,
            Element::InternalServiceAdress => &mut operator.internal_service_address,
            Element::Logo => &mut operator.logo,
            _ => return None,
        })
    }
}

/// The open elements.
#[derive(Default)]
struct OpenElements(Vec<Element>);

impl OpenElements {
    fn push(&mut self, name: &str) {
        let child = self.innermost().child(name);
        self.0.push(child);
    }

    fn pop(&mut self) {
        self.0.pop();
    }

    fn depth(&self) -> usize {
        self.0.len()
    }

    fn innermost(&self) -> Element {
        self.0.last().copied().unwrap_or(Element::Document)
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
    read_with(body, sender, RowShapes::default())
}

fn read_with<'b>(body: &'b [u8], sender: &str, mut shapes: RowShapes<'b>) -> Result<Answers, CallError> {
    let bad = |why: &str| CallError::BadAnswer(format!("the answer {why}"));
    let body = std::str::from_utf8(body).map_err(|_| bad("is not UTF-8, or is cut off"))?;
    let mut answer = MessageReader::new(sender)?;
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
                shapes.tag(open.innermost());
                answer.start(open.innermost())?;
            }
            Event::Empty(start) => {
                open.push(known_name(&namespace, start.local_name().into_inner()));
                shapes.tag(open.innermost());
                answer.start(open.innermost())?;
                answer.end(open.innermost(), "")?;
                open.pop();
            }
            Event::End(_) => {
                let element = open.innermost();
                shapes.tag(element);
                answer.end(element, text.trim())?;
                open.pop();
                text.clear();
                if element == Element::Row {
                    *reader.get_mut() = shapes.rows(reader.get_mut(), &mut answer)?;
                }
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

struct MessageReader {
    /// The rule of recipients that accept the sender, and of those that do not.
    rules: [NamedRule; 2],
    answers: Answers,
    status: Status,
    /// The operator of the row, if the same text was read before.
    known_supplier: Option<OrganisationId>,
    fault: Option<Fault>,
    has_response: bool,
}

impl MessageReader {
    /// Errors: the sender is not an organisation.
    fn new(sender: &str) -> Result<MessageReader, CallError> {
        // An answer holds for this sender only.
        let accepting = NamedRule::new(Acceptance::Only, vec![organisation(sender)?]);
        Ok(MessageReader {
            rules: [NamedRule::new(Acceptance::Only, Vec::new()), accepting],
            answers: Answers::default(),
            status: Status::default(),
            known_supplier: None,
            fault: None,
            has_response: false,
        })
    }

    fn start(&mut self, element: Element) -> Result<(), CallError> {
        match element {
            Element::Fault => self.fault = Some(Fault::default()),
            Element::Response => self.has_response = true,
            Element::Supplier if self.status.supplier.is_some() => return Err(twice("ServiceSupplier")),
            Element::Supplier => self.status.supplier = Some(Operator::default()),
            Element::AccountStatus if std::mem::replace(&mut self.status.is_begun, true) => {
                return Err(twice("AccountStatus"));
            }
            Element::Row => self.check_rows()?,
            _ => {}
        }
        Ok(())
    }

    /// Before a row. Errors: there are as many as a call can have.
    fn check_rows(&self) -> Result<(), CallError> {
        match self.answers.answers.len() {
            CALL_IDS_MAX.. => {
                Err(CallError::BadAnswer("the answer has more rows than a call has ids".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, element: Element, text: &str) -> Result<(), CallError> {
        if let Some(fault) = &mut self.fault {
            if element == Element::ErrorCode {
                fault.code = text.parse().ok();
            }
            return Ok(());
        }
        let bad =
            || CallError::BadAnswer(format!("the value of {element:?} is not one that the contract allows"));
        let truth = || match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad()),
        };
        let time = || moment::parse(text).and_then(moment::nanoseconds).map(Some).ok_or_else(bad);
        let status = &mut self.status;
        match element {
            Element::Row => self.end_of_row()?,
            Element::RecipientId => {
                set(&mut status.id, canonical(text).ok_or_else(bad)?, "RecipientId")?;
            }
            Element::Type => {
                set(
                    &mut status.account_type,
                    AccountType::of_name(text.as_bytes()).ok_or_else(bad)?,
                    "Type",
                )?;
            }
            Element::Pending => set(&mut status.pending, truth()?, "Pending")?,
            Element::LastRegistration => status.last_registration = time()?,
            Element::SenderAccepted => set(&mut status.accepted, truth()?, "SenderAccepted")?,
            Element::LastSenderAcceptChange => status.last_sender_accept_change = time()?,
            _ => {
                if let Some(field) = status.supplier.as_mut().and_then(|operator| element.field(operator)) {
                    if element == Element::Id && !field.is_empty() {
                        return Err(twice("Id"));
                    }
                    text.clone_into(field);
                }
            }
        }
        Ok(())
    }

    fn end_of_row(&mut self) -> Result<(), CallError> {
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
        let known_supplier = self.known_supplier.take();
        let (Some(recipient), Some(account_type), Some(pending), Some(accepted)) =
            (id, account_type, pending, accepted)
        else {
            let text = "an answer lacks RecipientId, Type, Pending or SenderAccepted";
            return Err(CallError::BadAnswer(text.to_owned()));
        };
        let operator = match supplier.filter(|_| account_type != AccountType::Not) {
            None => known_supplier.filter(|_| account_type != AccountType::Not),
            Some(mut supplier) => {
                let id = organisation(&supplier.id)?;
                supplier.id = id.text();
                if !self.answers.operators.contains(&supplier) {
                    self.answers.operators.push(supplier);
                }
                Some(id)
            }
        };
        self.answers.answers.push(ChangeBody::PutRecipient(PutRecipient {
            recipient,
            account_type,
            pending,
            operator,
            last_registration: last_registration.unwrap_or(NO_NANOSECONDS),
            last_sender_accept_change: last_sender_accept_change.unwrap_or(NO_NANOSECONDS),
            rule: self.rules[usize::from(accepted)].clone(),
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
            Some(code @ (5002 | 5020)) => CallError::SenderRefused(format!(
                "fault {code}: the register does not let this certificate ask for this sender: check the sender's number, \
                 and that the certificate's organisation is registered as the sender or its dispatcher"
            )),
            Some(5005) => CallError::TooMany,
            Some(code) => CallError::Stop(format!("fault {code} of the register")),
        }
    }
}

#[cfg(test)]
mod tests;
