//! Persons and changes over REST.

use super::feed::{self, FeedError};
use super::person::{find, registered_or_deleted};
use super::scopes::KrrScopes;
use crate::identities::{Country, Identity};
use crate::limits::{ANSWER_BYTES_MAX, CALL_IDS_MAX};
use crate::register::{Person, Register};
use crate::service::body::RequestBody;
use crate::service::context::RequestContext;
use crate::service::live;
use crate::service::operation::{json_response, operation, problem, request_body, schema};
use crate::service::problem::Problem;
use crate::service::record::RequestRecord;
use crate::service::registers::ServedRegister;
use crate::service::request::{RequestDate, content_type, from_json, unsupported_content_type};
use crate::service::response::{Body, JSON, json, with_extension, with_version};
use crate::source::Front;
use hyper::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::openapi::path::OperationBuilder;

/// Ids of persons.
#[derive(Deserialize, utoipa::ToSchema)]
pub(in crate::service) struct PersonsRequest {
    /// 1 to 1000 fødselsnummer or D-nummer.
    #[schema(min_items = 1, max_items = 1000)]
    personidentifikatorer: Vec<String>,
}

/// Persons.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::service) struct PersonsResponse {
    /// In the order of the request.
    #[schema(value_type = Vec<Object>)]
    personer: Vec<Person>,
}

/// A position in the feed of changes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::service) struct ChangesRequest {
    /// The last `tilEndringsId`; 0 for a first copy of all persons.
    fra_endrings_id: u64,
}

/// A page of the feed of changes.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::service) struct ChangesPage {
    /// At most 1000 persons, each in its current state.
    #[schema(value_type = Vec<Object>)]
    list: Vec<Person>,
    fra_endrings_id: u64,
    /// `fraEndringsId` of the next request, also if the page is empty.
    til_endrings_id: u64,
    /// Equal to `tilEndringsId` on the last page.
    siste_endrings_id: u64,
}

/// `POST /rest/v1/personer` and `/rest/v2/personer`.
pub(in crate::service) async fn persons(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let request: PersonsRequest = read(context, request, "{\"personidentifikatorer\": […]}").await?;
    let ids = &request.personidentifikatorer;
    if !(1..=CALL_IDS_MAX).contains(&ids.len()) {
        let detail = format!("a request has 1 to {CALL_IDS_MAX} ids, not {}", ids.len());
        return Err(Problem::bad_request("number-of-ids", detail));
    }
    context.count_ids(ids.len())?;
    let day = RequestDate::today()?;
    let register = match served.front() {
        None => served.register(),
        Some(front) => asked(front, context, ids, day).await?,
    };
    let _place = context.place_for_persons(ids.len()).await?;
    let scopes = KrrScopes::of(&context.caller);
    let (mut personer, mut bytes) = (Vec::<Person>::with_capacity(ids.len()), 0);
    for id in ids {
        let person = find(&register, id, day).map_err(|damage| Problem::damaged(&register, &damage))?;
        bytes += person.text_bytes();
        if bytes > ANSWER_BYTES_MAX {
            return Err(Problem::answer_too_large());
        }
        personer.push(scopes.limit(person));
    }
    let record = RequestRecord::of(&register, None, ids.len());
    Ok(with_extension(with_version(json(&PersonsResponse { personer }), &register), record))
}

/// The answers of a live register.
async fn asked(
    front: &Front,
    context: &RequestContext<'_>,
    ids: &[String],
    day: RequestDate,
) -> Result<Arc<Register>, Problem> {
    let parsed = ids.iter().filter_map(|id| Identity::parse(id.as_bytes(), Country::Norway, day.today).ok());
    let answers =
        live::ask_whole(front, None, context, parsed.map(|identity| identity.ordinal()).collect()).await?;
    let refused =
        || Problem::bad_request("refused-by-register", "the register refuses a personidentifikator");
    answers.ok_or_else(refused)
}

/// `POST /rest/v2/krr/hentEndringer`.
pub(in crate::service) async fn changes(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let request: ChangesRequest = read(context, request, "{\"fraEndringsId\": 0}").await?;
    let _place = context.place_for_persons(CALL_IDS_MAX).await?;
    let (register, day) = (served.register(), RequestDate::today()?);
    let page = tokio::task::block_in_place(|| {
        served.read_log(|log| feed::page(&register, log, request.fra_endrings_id, CALL_IDS_MAX))
    });
    let page = page.map_err(|error| match error {
        FeedError::Unknown => Problem::bad_request("unknown-change", error.to_string()),
        FeedError::TooHigh => {
            Problem::new(StatusCode::NOT_IMPLEMENTED, "sequence-too-high", error.to_string())
        }
        FeedError::TooLarge => Problem::answer_too_large(),
        FeedError::Damaged(_) => Problem::damaged(&register, &error),
        FeedError::Log(_) => served.unreadable_log(&error),
    })?;
    context.count_ids(page.persons.len())?;
    let scopes = KrrScopes::of(&context.caller);
    let persons = page.persons.into_iter();
    let list = persons
        .map(|(identity, recipient)| scopes.limit(registered_or_deleted(&identity, recipient, day)))
        .collect();
    let changes = ChangesPage {
        list,
        fra_endrings_id: page.from,
        til_endrings_id: page.to,
        siste_endrings_id: page.latest,
    };
    let record = RequestRecord::of(&register, None, changes.list.len());
    Ok(with_extension(with_version(json(&changes), &register), record))
}

/// Bytes of memory per byte of a request: an id may be as short as two quotation marks.
const JSON_WEIGHT: usize = 12;

/// Reads a request in JSON of the form that `form` shows.
async fn read<R: DeserializeOwned>(
    context: &RequestContext<'_>,
    request: Request<RequestBody>,
    form: &str,
) -> Result<R, Problem> {
    if content_type(request.headers()) != JSON {
        return Err(unsupported_content_type("send the request as application/json"));
    }
    let body = context.read_body(request, context.service.limits.message_bytes, JSON_WEIGHT).await?;
    from_json(&body.bytes, form)
}

pub(in crate::service) fn persons_operation() -> OperationBuilder {
    operation()
        .request_body(request_body(&[(JSON, schema("PersonsRequest"))]))
        .response("200", json_response("Persons, in the order of the request", "PersonsResponse"))
}

pub(in crate::service) fn changes_operation() -> OperationBuilder {
    operation()
        .description(Some(
            "From 0 the feed begins with all persons. The last page has equal `tilEndringsId` and `sisteEndringsId`.",
        ))
        .request_body(request_body(&[(JSON, schema("ChangesRequest"))]))
        .response("200", json_response("At most 1000 persons, each in its current state", "ChangesPage"))
        .response("501", problem("The register's sequence numbers are too high for a feed from 0"))
}
