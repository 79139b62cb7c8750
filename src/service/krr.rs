//! KRR's REST contract: `POST /rest/v1/personer` and `/rest/v2/personer`.

use super::access::{CONTACT, MAILBOX};
use super::body;
use super::exchange::{Body, Day, JSON, Noted, Problem, content_type, json, with_note, with_version};
use super::registers::Live;
use super::routes::Exchange;
use crate::identities::{Country, Identity};
use crate::limits::CALL_IDS_MAX;
use crate::register::{Kontaktinformasjon, Person, Recipient, day_number};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

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

/// Persons as the contract has them, on the day of the request.
pub(super) async fn persons(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Incoming>,
) -> Result<Response<Body>, Problem> {
    if content_type(request.headers()) != JSON {
        body::drain(request.into_body()).await;
        let detail = "send the ids as application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail));
    }
    let (service, caller) = (exchange.service, &exchange.caller);
    let may_read = |scope| caller.may_read(scope, service.access.takes_tokens());
    let (contact, mailbox) = (may_read(CONTACT), may_read(MAILBOX));
    if !(contact || mailbox) {
        let detail = "the token lacks krr:global/kontaktinformasjon.read and krr:global/digitalpost.read";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail));
    }
    let body = exchange.message(request, service.limits.message_bytes, 1).await?;
    let asked: PersonsAsked = serde_json::from_slice(&body.bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let detail =
            format!("not a JSON object {{\"personidentifikatorer\": […]}}; the mistake is at {place}");
        Problem::bad_request("bad-json", detail)
    })?;
    let ids = &asked.personidentifikatorer;
    if !(1..=CALL_IDS_MAX).contains(&ids.len()) {
        let detail = format!("a call has 1 to {CALL_IDS_MAX} ids, not {}", ids.len());
        return Err(Problem::bad_request("number-of-ids", detail));
    }
    exchange.count_ids(ids.len())?;
    let (register, day) = (live.register(), Day::of(None)?);
    let mut personer = Vec::with_capacity(ids.len());
    for id in ids {
        let identity = Identity::parse(id.as_bytes(), Country::Norway, day.today);
        let found = identity.ok().map(|identity| register.recipient(&identity)).transpose();
        personer.push(match found.map_err(|damage| Problem::damaged(&damage))?.flatten() {
            Some(Recipient::Krr { state, person }) => {
                let notifiable = state.notifiable(day_number(day.date));
                allowed(Person { varslingsstatus: notifiability(notifiable), ..*person }, contact, mailbox)
            }
            _ => allowed(unknown(id), contact, mailbox),
        });
    }
    let noted = Noted::of(&register, None, ids.len());
    Ok(with_note(with_version(json(&Persons { personer }), &register), noted))
}

/// What of a person may be read with the scopes of a token. Reservation and status are always there.
fn allowed(mut person: Person, contact: bool, mailbox: bool) -> Person {
    if !contact {
        person.kontaktinformasjon = None;
        [&mut person.varslingsstatus, &mut person.spraak, &mut person.spraak_oppdatert]
            .into_iter()
            .for_each(String::clear);
    }
    if !mailbox {
        person.digital_post = None;
        person.sertifikat.clear();
    }
    person
}

fn notifiability(notifiable: bool) -> String {
    if notifiable { "KAN_VARSLES" } else { "KAN_IKKE_VARSLES" }.to_owned()
}

/// Somebody whom the register does not know, or an id that is none.
fn unknown(id: &str) -> Person {
    Person {
        personidentifikator: id.to_owned(),
        reservasjon: "NEI".to_owned(),
        status: "IKKE_REGISTRERT".to_owned(),
        varslingsstatus: notifiability(false),
        kontaktinformasjon: None::<Kontaktinformasjon>,
        ..Person::default()
    }
}
