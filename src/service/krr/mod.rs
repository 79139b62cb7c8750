//! KRR's contracts: persons and changes over REST, and the SOAP service of contract 16-02.

mod feed;
mod oppslag;

use super::access::{CONTACT, MAILBOX};
use super::body::Unread;
use super::exchange::{
    Body, Day, JSON, Noted, Problem, content_type, from_json, json, with_note, with_version,
};
use super::registers::Live;
use super::routes::Exchange;
use crate::identities::{Country, Identity};
use crate::limits::CALL_IDS_MAX;
use crate::register::{Damage, Person, Recipient, Register, day_number};
use feed::NoPage;
use hyper::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(super) use oppslag::oppslagstjeneste;

/// What is asked.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct PersonsAsked {
    /// 1 to 1000 fødselsnummer or D-nummer.
    #[schema(min_items = 1, max_items = 1000)]
    personidentifikatorer: Vec<String>,
}

/// The answer.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Persons {
    /// In the order of the request.
    #[schema(value_type = Vec<Object>)]
    personer: Vec<Person>,
}

/// What is asked of the feed of changes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangesAsked {
    /// The last `tilEndringsId`; 0 to begin with everybody.
    fra_endrings_id: u64,
}

/// A page of the feed of changes.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changes {
    /// At most 1000 persons, each as it is now.
    #[schema(value_type = Vec<Object>)]
    list: Vec<Person>,
    fra_endrings_id: u64,
    /// From where to go on, also if nobody changed.
    til_endrings_id: u64,
    /// All is told when `tilEndringsId` is this.
    siste_endrings_id: u64,
}

/// Parts of a person that a caller may read.
#[derive(Clone, Copy)]
struct Scopes {
    contact: bool,
    mailbox: bool,
}

impl Scopes {
    /// Errors: the caller may read neither.
    fn of(exchange: &Exchange<'_>) -> Result<Scopes, Problem> {
        let may_read = |scope| exchange.caller.may_read(scope, exchange.service.access.takes_tokens());
        let scopes = Scopes { contact: may_read(CONTACT), mailbox: may_read(MAILBOX) };
        if scopes.contact || scopes.mailbox {
            return Ok(scopes);
        }
        let detail = "the token lacks krr:global/kontaktinformasjon.read and krr:global/digitalpost.read";
        Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail))
    }

    /// What of a person may be read. Reservation and status are always there.
    fn allowed(self, mut person: Person) -> Person {
        if !self.contact {
            person.kontaktinformasjon = None;
            [&mut person.varslingsstatus, &mut person.spraak, &mut person.spraak_oppdatert]
                .into_iter()
                .for_each(String::clear);
        }
        if !self.mailbox {
            person.digital_post = None;
            person.sertifikat.clear();
        }
        person
    }
}

/// Persons as the contract has them, on the day of the request.
pub(super) async fn persons(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Unread>,
) -> Result<Response<Body>, Problem> {
    let (scopes, asked): (Scopes, PersonsAsked) =
        asked(exchange, request, "{\"personidentifikatorer\": […]}").await?;
    let ids = &asked.personidentifikatorer;
    if !(1..=CALL_IDS_MAX).contains(&ids.len()) {
        let detail = format!("a call has 1 to {CALL_IDS_MAX} ids, not {}", ids.len());
        return Err(Problem::bad_request("number-of-ids", detail));
    }
    exchange.count_ids(ids.len())?;
    let (register, day) = (live.register(), Day::of(None)?);
    let persons = ids.iter().map(|id| find(&register, id, day).map(|person| scopes.allowed(person)));
    let personer: Result<Vec<Person>, Damage> = persons.collect();
    let personer = personer.map_err(|damage| Problem::damaged(&damage))?;
    let noted = Noted::of(&register, None, ids.len());
    Ok(with_note(with_version(json(&Persons { personer }), &register), noted))
}

/// A page of the feed of changes.
pub(super) async fn changes(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Unread>,
) -> Result<Response<Body>, Problem> {
    let (scopes, asked): (Scopes, ChangesAsked) = asked(exchange, request, "{\"fraEndringsId\": 0}").await?;
    let (register, day) = (live.register(), Day::of(None)?);
    let page = tokio::task::block_in_place(|| {
        feed::page(&register, live.log().as_ref(), asked.fra_endrings_id, CALL_IDS_MAX)
    });
    let page = page.map_err(|error| match error {
        NoPage::Unknown => Problem::bad_request("unknown-change", error.to_string()),
        NoPage::TooHigh => Problem::new(StatusCode::NOT_IMPLEMENTED, "high-numbers", error.to_string()),
        NoPage::Damaged(_) | NoPage::Log(_) => Problem::damaged(&error),
    })?;
    exchange.count_ids(page.persons.len())?;
    let told = page.persons.into_iter();
    let list = told.map(|(identity, recipient)| scopes.allowed(known_or_gone(&identity, recipient, day)));
    let changes = Changes {
        list: list.collect(),
        fra_endrings_id: page.from,
        til_endrings_id: page.to,
        siste_endrings_id: page.latest,
    };
    let noted = Noted::of(&register, None, changes.list.len());
    Ok(with_note(with_version(json(&changes), &register), noted))
}

/// Reads a question in JSON, and what its caller may read.
async fn asked<Q: DeserializeOwned>(
    exchange: &Exchange<'_>,
    request: Request<Unread>,
    form: &str,
) -> Result<(Scopes, Q), Problem> {
    if content_type(request.headers()) != JSON {
        let detail = "send the question as application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail));
    }
    let scopes = Scopes::of(exchange)?;
    let body = exchange.message(request, exchange.service.limits.message_bytes, 1).await?;
    let asked = from_json(&body.bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let detail = format!("not a JSON object {form}; the mistake is at line {line}, column {column}");
        Problem::bad_request("bad-json", detail)
    })?;
    Ok((scopes, asked))
}

/// Somebody by an id in any spelling.
fn find(register: &Register, id: &str, day: Day) -> Result<Person, Damage> {
    let identity = Identity::parse(id.as_bytes(), Country::Norway, day.today);
    let found = identity.ok().map(|identity| register.recipient(&identity)).transpose()?;
    Ok(known(found.flatten(), day).unwrap_or_else(|| nobody(id)))
}

/// Somebody whom the register knows, on a day.
fn known(recipient: Option<Recipient>, day: Day) -> Option<Person> {
    let Some(Recipient::Krr { state, person }) = recipient else { return None };
    let notifiable = state.notifiable(day_number(day.date));
    Some(Person { varslingsstatus: notifiability(notifiable), ..*person })
}

/// Somebody on a page of changes, who may have left the register.
fn known_or_gone(identity: &Identity, recipient: Option<Recipient>, day: Day) -> Person {
    let gone = || Person { status: "SLETTET".to_owned(), ..nobody(identity.as_str()) };
    known(recipient, day).unwrap_or_else(gone)
}

/// Somebody whom the register does not know, or an id that is none.
fn nobody(id: &str) -> Person {
    Person {
        personidentifikator: id.to_owned(),
        reservasjon: "NEI".to_owned(),
        status: "IKKE_REGISTRERT".to_owned(),
        varslingsstatus: notifiability(false),
        ..Person::default()
    }
}

fn notifiability(notifiable: bool) -> String {
    if notifiable { KAN_VARSLES } else { "KAN_IKKE_VARSLES" }.to_owned()
}

/// Who can be notified.
const KAN_VARSLES: &str = "KAN_VARSLES";
