//! Ids and results as JSON.

use super::parameters::ReachabilityParameters;
use super::query::{QueryResults, ReachabilityQuery, ResultCache};
use crate::service::context::RequestContext;
use crate::service::organisations::RegisterVersion;
use crate::service::problem::Problem;
use crate::service::registers::ServedRegister;
use crate::service::request::from_json;
use crate::service::response::{Body, JSON, respond, with_extension, with_version};
use hyper::Response;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Ids, and the sender and date of the question.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::service) struct ReachabilityRequest<'a> {
    /// FaR: the sender, unless it is in the query string.
    #[serde(borrow, default)]
    #[schema(examples("164821000025"))]
    sender: Option<Cow<'a, str>>,
    /// The day of the mailing, unless it is in the query string.
    #[serde(borrow, default)]
    #[schema(examples("2026-06-01"))]
    date: Option<Cow<'a, str>>,
    /// Ids in any spelling.
    #[serde(borrow)]
    #[schema(value_type = Vec<String>)]
    recipients: Vec<Id<'a>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Id<'a>(#[serde(borrow)] Cow<'a, str>);

/// The results of a question. `write` writes the same without building it.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::service) struct ReachabilityResponse {
    register: RegisterVersion,
    /// FaR: 12 digits; `null` for KRR.
    #[schema(required = true)]
    sender: Option<String>,
    date: String,
    /// One for each id, in the order of the request.
    results: Vec<RecipientResult<'static>>,
}

/// The outcome for one recipient. All fields are always present.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::service) struct RecipientResult<'r> {
    /// `digital`, `notify`, `paper`, or `rejected` if the id is invalid.
    outcome: &'static str,
    /// Why it is `paper` or `rejected`; `null` otherwise.
    #[schema(required = true)]
    reason: Option<&'static str>,
    /// The mailbox operator, if it is `digital`; `null` otherwise.
    #[schema(required = true)]
    operator_id: Option<&'r str>,
}

/// Answers a request whose body is JSON.
pub(super) fn respond_in_json(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    parameters: &ReachabilityParameters,
    body: &[u8],
) -> Result<Response<Body>, Problem> {
    let request: ReachabilityRequest<'_> = from_json(body, "{\"sender\", \"recipients\"}")?;
    let sender = parameters.sender.as_deref().or(request.sender.as_deref());
    let date = parameters.date.as_deref().or(request.date.as_deref());
    let query = &ReachabilityQuery::new(context, served, sender, date)?;
    context.count_ids(request.recipients.len())?;
    let results = query.results(request.recipients.iter().map(|id| id.0.as_bytes()))?;
    let out = write(query, &results);
    Ok(with_extension(with_version(respond(JSON, out), &query.register), results.record(query)))
}

/// Writes a [`ReachabilityResponse`]: each distinct result is formatted once.
fn write(query: &ReachabilityQuery, results: &QueryResults) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + results.answers.len() * 80);
    out.push(b'{');
    member(&mut out, "register", &RegisterVersion::of(&query.register));
    out.push(b',');
    member(&mut out, "sender", &query.sender);
    out.push(b',');
    member(&mut out, "date", &query.date.date.to_string());
    out.extend_from_slice(b",\"results\":[");
    let mut cache = ResultCache::new(|(outcome, reason, operator)| {
        let present = |text: &&str| !text.is_empty();
        let (reason, operator_id) = (Some(reason).filter(present), Some(operator).filter(present));
        serde_json::to_vec(&RecipientResult { outcome, reason, operator_id }).unwrap_or_default()
    });
    for (index, answer) in results.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(cache.text(&query.register, answer));
    }
    out.extend_from_slice(b"]}");
    out
}

fn member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    out.extend_from_slice(format!("\"{name}\":").as_bytes());
    // Neither text nor numbers fail to serialize.
    let _ = serde_json::to_writer(&mut *out, value);
}
