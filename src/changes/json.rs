//! Changes as lines of JSON; `docs/changes.md` has the schema.

use super::change::{
    Change, ChangeBody, NamedRule, OrganisationId, PutDispatcher, PutPerson, PutRecipient, SetAcceptance,
    day_of,
};
use crate::consent::Acceptance;
use crate::decode::{DecodedPerson, Reason, decode_person, identity_reason, reason};
use crate::identities::{Country, Identity, Ordinal, Today};
use crate::limits::{SENDERS_MAX, SEQUENCE_MAX};
use crate::register::contact::Contact;
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::person::Text;
use crate::register::state::AccountType;
use crate::register::{Kind, Operator, Person, Sender};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The JSON object of a line.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    sequence: u64,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    put_recipient: Option<PutRecipientLine<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    remove_recipient: Option<RecipientLine<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    set_acceptance: Option<SetAcceptanceLine<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put_operator: Option<OperatorLine>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    remove_operator: Option<IdLine<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put_sender: Option<SenderLine>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    remove_sender: Option<IdLine<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    put_dispatcher: Option<DispatcherLine<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    remove_dispatcher: Option<IdLine<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put_person: Option<Person>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    remove_person: Option<PersonLine<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put_persons: Option<PersonsLine>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    set_aside: Option<ReasonLine<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    others: Option<OthersLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutRecipientLine<'a> {
    #[serde(borrow)]
    recipient_id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    account_type: Cow<'a, str>,
    #[serde(default)]
    pending: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    operator_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    last_registration: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    acceptance: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    exceptions: Vec<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    last_sender_accept_change: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetAcceptanceLine<'a> {
    #[serde(borrow)]
    recipient_id: Cow<'a, str>,
    #[serde(borrow)]
    acceptance: Cow<'a, str>,
    #[serde(borrow, default)]
    exceptions: Vec<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    last_sender_accept_change: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipientLine<'a> {
    #[serde(borrow)]
    recipient_id: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonLine<'a> {
    #[serde(borrow)]
    personidentifikator: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdLine<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorLine {
    id: String,
    name: String,
    #[serde(default)]
    service_address: String,
    #[serde(default)]
    ui_address: String,
    #[serde(default)]
    internal_service_address: String,
    #[serde(default)]
    logo: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SenderLine {
    id: String,
    name: String,
    #[serde(default)]
    attention: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DispatcherLine<'a> {
    id: String,
    name: String,
    #[serde(borrow, default)]
    senders: Vec<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonsLine {
    previous: u64,
    persons: Vec<Person>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonLine<'a> {
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow, default)]
    column: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OthersLine {
    previous: u64,
}

/// A line that is not a change, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Its sequence number, if legible.
    pub(crate) sequence: Option<u64>,
    /// Its time, if legible.
    pub(crate) time: Option<i64>,
    pub(crate) reason: Reason,
}

/// Parses a line. The message of the JSON parser is dropped: it may quote the line.
pub(crate) fn parse(line: &[u8], kind: Kind) -> Result<Change, BadLine> {
    let parsed: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        #[derive(Deserialize)]
        struct Numbered<'a> {
            sequence: u64,
            #[serde(borrow, default)]
            time: Cow<'a, str>,
        }
        let numbered = serde_json::from_slice::<Numbered<'_>>(line).ok();
        let name = if error.to_string().starts_with("unknown field") { "unknown_field" } else { "bad_json" };
        let time = numbered.as_ref().and_then(|numbered| moment::nanoseconds(moment::parse(&numbered.time)?));
        BadLine { sequence: numbered.map(|numbered| numbered.sequence), time, reason: reason(name, "") }
    })?;
    let (sequence, time) = (parsed.sequence, moment::parse(&parsed.time).and_then(moment::nanoseconds));
    let bad = |reason| BadLine { sequence: Some(sequence), time, reason };
    // Without the number: no line can follow one that uses it up.
    if sequence > SEQUENCE_MAX {
        return Err(BadLine { sequence: None, time, reason: reason("bad_value", "sequence") });
    }
    let time = time.ok_or(bad(reason("bad_time", "time")))?;
    let what = parsed.what(day_of(time)).map_err(bad)?;
    Change { sequence, time, what }.of_kind(kind)
}

impl Change {
    /// The change as a line of JSON, without its end.
    pub fn to_json(&self) -> String {
        text(self)
    }

    /// The change, if a register of that kind has such changes.
    pub(crate) fn of_kind(self, kind: Kind) -> Result<Change, BadLine> {
        let Change { sequence, time, ref what } = self;
        if what.kind().is_some_and(|required| required != kind) {
            let reason = reason("not_of_this_register", what.name());
            return Err(BadLine { sequence: Some(sequence), time: Some(time), reason });
        }
        Ok(self)
    }
}

/// A change as a line, without its end.
pub(crate) fn text(change: &Change) -> String {
    let time = moment::of_nanoseconds(change.time).to_string();
    let mut line = Line { sequence: change.sequence, time: time.into(), ..Line::default() };
    line.put(&change.what);
    serde_json::to_string(&line).unwrap_or_default()
}

impl<'a> Line<'a> {
    /// The one change of the line.
    fn what(self, today: Today) -> Result<ChangeBody, Reason> {
        let mut changes = [
            self.put_recipient.map(|line| line.what(today)),
            self.remove_recipient.map(|line| {
                identity(&line.recipient_id, Country::Sweden, today, "recipient_id").map(ChangeBody::Remove)
            }),
            self.set_acceptance.map(|line| line.what(today)),
            self.put_operator.map(|line| line.what()),
            self.remove_operator.map(|line| id(&line.id, "id").map(ChangeBody::RemoveOperator)),
            self.put_sender.map(|line| line.what()),
            self.remove_sender.map(|line| id(&line.id, "id").map(ChangeBody::RemoveSender)),
            self.put_dispatcher.map(|line| line.what()),
            self.remove_dispatcher.map(|line| id(&line.id, "id").map(ChangeBody::RemoveDispatcher)),
            self.put_person
                .map(|line| put_person(&line, today).map(|person| ChangeBody::PutPerson(Box::new(person)))),
            self.remove_person.map(|line| {
                identity(&line.personidentifikator, Country::Norway, today, "personidentifikator")
                    .map(ChangeBody::Remove)
            }),
            self.put_persons.map(|line| {
                let persons = line.persons.iter().map(|person| put_person(person, today));
                Ok(ChangeBody::PutPersons {
                    previous: line.previous,
                    persons: persons.collect::<Result<_, _>>()?,
                })
            }),
            self.set_aside.map(|line| {
                Ok(ChangeBody::SetAside { reason: line.reason.into(), column: line.column.into() })
            }),
            self.others.map(|line| Ok(ChangeBody::Others { previous: line.previous })),
        ]
        .into_iter()
        .flatten();
        match (changes.next(), changes.next()) {
            (Some(change), None) => change,
            (None, _) => Err(reason("no_change", "")),
            _ => Err(reason("several_changes", "")),
        }
    }

    fn put(&mut self, what: &ChangeBody) {
        match what {
            ChangeBody::PutRecipient(put) => self.put_recipient = Some(PutRecipientLine::of(put)),
            ChangeBody::Remove(ordinal) => {
                let Some(identity) = Identity::from_ordinal(*ordinal) else { return };
                let id: Cow<'_, str> = identity.as_str().to_owned().into();
                match identity.space().country() {
                    Country::Sweden => self.remove_recipient = Some(RecipientLine { recipient_id: id }),
                    Country::Norway => self.remove_person = Some(PersonLine { personidentifikator: id }),
                }
            }
            ChangeBody::SetAcceptance(set) => {
                self.set_acceptance = Some(SetAcceptanceLine {
                    recipient_id: digits(set.recipient).into(),
                    acceptance: set.rule.acceptance.name().into(),
                    exceptions: texts(&set.rule.senders),
                    last_sender_accept_change: written(set.last_sender_accept_change),
                });
            }
            ChangeBody::PutOperator(operator) => self.put_operator = Some(OperatorLine::of(operator)),
            ChangeBody::RemoveOperator(id) => self.remove_operator = Some(IdLine { id: id.text().into() }),
            ChangeBody::PutSender(sender) => {
                let Sender { id, name, attention } = (**sender).clone();
                self.put_sender = Some(SenderLine { id, name, attention });
            }
            ChangeBody::RemoveSender(id) => self.remove_sender = Some(IdLine { id: id.text().into() }),
            ChangeBody::PutDispatcher(put) => {
                let PutDispatcher { id, name, senders } = (**put).clone();
                self.put_dispatcher = Some(DispatcherLine { id, name, senders: texts(&senders) });
            }
            ChangeBody::RemoveDispatcher(id) => {
                self.remove_dispatcher = Some(IdLine { id: id.text().into() })
            }
            ChangeBody::PutPerson(put) => self.put_person = Some(person_of(put)),
            ChangeBody::PutPersons { previous, persons } => {
                let persons = persons.iter().map(person_of).collect();
                self.put_persons = Some(PersonsLine { previous: *previous, persons });
            }
            ChangeBody::Others { previous } => self.others = Some(OthersLine { previous: *previous }),
            ChangeBody::SetAside { reason, column } => {
                let (reason, column) = (reason.to_string().into(), column.to_string().into());
                self.set_aside = Some(ReasonLine { reason, column });
            }
        }
    }
}

impl PutRecipientLine<'_> {
    fn what(&self, today: Today) -> Result<ChangeBody, Reason> {
        let recipient = identity(&self.recipient_id, Country::Sweden, today, "recipient_id")?;
        let account_type = AccountType::of_name(self.account_type.trim().as_bytes());
        let operator = self.operator_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        Ok(ChangeBody::PutRecipient(PutRecipient {
            recipient,
            account_type: account_type.ok_or(reason("bad_type", "type"))?,
            pending: self.pending,
            operator: operator
                .map(|given| OrganisationId::parse(given).ok_or(reason("unknown_operator", "operator_id")))
                .transpose()?,
            last_registration: time(self.last_registration.as_deref(), "last_registration")?,
            last_sender_accept_change: time(
                self.last_sender_accept_change.as_deref(),
                "last_sender_accept_change",
            )?,
            rule: rule(self.acceptance.as_deref().unwrap_or_default(), &self.exceptions)?,
        }))
    }

    fn of(put: &PutRecipient) -> PutRecipientLine<'static> {
        PutRecipientLine {
            recipient_id: digits(put.recipient).into(),
            account_type: put.account_type.name().into(),
            pending: put.pending,
            operator_id: put.operator.map(|id| id.text().into()),
            last_registration: written(put.last_registration),
            acceptance: Some(put.rule.acceptance.name().into()),
            exceptions: texts(&put.rule.senders),
            last_sender_accept_change: written(put.last_sender_accept_change),
        }
    }
}

impl SetAcceptanceLine<'_> {
    fn what(&self, today: Today) -> Result<ChangeBody, Reason> {
        Ok(ChangeBody::SetAcceptance(SetAcceptance {
            recipient: identity(&self.recipient_id, Country::Sweden, today, "recipient_id")?,
            last_sender_accept_change: time(
                self.last_sender_accept_change.as_deref(),
                "last_sender_accept_change",
            )?,
            rule: rule(&self.acceptance, &self.exceptions)?,
        }))
    }
}

impl OperatorLine {
    fn what(self) -> Result<ChangeBody, Reason> {
        let OperatorLine { id: given, name, service_address, ui_address, internal_service_address, logo } =
            self;
        let id = id(&given, "id")?.text();
        Ok(ChangeBody::PutOperator(Box::new(Operator {
            id,
            name,
            service_address,
            ui_address,
            internal_service_address,
            logo,
        })))
    }

    fn of(operator: &Operator) -> OperatorLine {
        let Operator { id, name, service_address, ui_address, internal_service_address, logo } =
            operator.clone();
        OperatorLine { id, name, service_address, ui_address, internal_service_address, logo }
    }
}

impl SenderLine {
    fn what(self) -> Result<ChangeBody, Reason> {
        let id = id(&self.id, "id")?.text();
        Ok(ChangeBody::PutSender(Box::new(Sender { id, name: self.name, attention: self.attention })))
    }
}

impl DispatcherLine<'_> {
    fn what(self) -> Result<ChangeBody, Reason> {
        let given = id(&self.id, "id")?.text();
        let senders = senders(&self.senders, "senders")?;
        Ok(ChangeBody::PutDispatcher(Box::new(PutDispatcher { id: given, name: self.name, senders })))
    }
}

fn identity(text: &str, country: Country, today: Today, column: &'static str) -> Result<Ordinal, Reason> {
    let identity = Identity::parse(text.as_bytes(), country, today);
    identity.map(|identity| identity.ordinal()).map_err(|rejection| identity_reason(rejection, column))
}

fn id(text: &str, column: &'static str) -> Result<OrganisationId, Reason> {
    OrganisationId::parse(text).ok_or(reason("bad_organisation_number", column))
}

/// Nanoseconds of a time, [`NO_NANOSECONDS`] if absent or empty.
fn time(text: Option<&str>, column: &'static str) -> Result<i64, Reason> {
    match text.unwrap_or_default() {
        "" => Ok(NO_NANOSECONDS),
        text => moment::parse(text).and_then(moment::nanoseconds).ok_or(reason("bad_time", column)),
    }
}

fn rule(acceptance: &str, exceptions: &[Text<'_>]) -> Result<NamedRule, Reason> {
    let acceptance = match acceptance {
        "" => Acceptance::AllExcept,
        name => Acceptance::of_name(name.as_bytes()).ok_or(reason("bad_acceptance", "acceptance"))?,
    };
    Ok(NamedRule::new(acceptance, senders(exceptions, "exceptions")?))
}

fn senders(texts: &[Text<'_>], column: &'static str) -> Result<Vec<OrganisationId>, Reason> {
    let ids = texts.iter().map(|text| OrganisationId::parse(&text.0)).collect::<Option<Vec<_>>>();
    ids.filter(|ids| ids.len() <= SENDERS_MAX).ok_or(reason("unknown_sender", column))
}

/// A person in the fields of REST, packed.
pub(crate) fn put_person<S: AsRef<str>>(given: &Person<S>, today: Today) -> Result<PutPerson, Reason> {
    let DecodedPerson { ordinal: person, state, contact, operator, certificate } =
        decode_person(given, today)?;
    Ok(PutPerson { person, state, contact, operator, certificate })
}

fn person_of(put: &PutPerson) -> Person {
    let contact = Contact::unpack(&put.contact).unwrap_or_default();
    Person::of_parts(&digits(put.person), put.state, &contact, &put.operator, &put.certificate)
}

fn digits(ordinal: Ordinal) -> String {
    Identity::from_ordinal(ordinal).map_or(String::new(), |identity| identity.as_str().to_owned())
}

fn texts(ids: &[OrganisationId]) -> Vec<Text<'static>> {
    ids.iter().map(|id| Text(id.text().into())).collect()
}

fn written(nanoseconds: i64) -> Option<Cow<'static, str>> {
    moment::time(nanoseconds).map(|time| time.to_string().into())
}
