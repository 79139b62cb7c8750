//! `POST /v1/check`: the report of a list.

use super::authorization::require_outcomes;
use super::body::{self, RequestBody};
use super::context::RequestContext;
use super::operation::{json_object, operation, problem, request_body, string_schema};
use super::problem::Problem;
use super::record::RequestRecord;
use super::registers::ServedRegister;
use super::request::{RequestDate, content_type, query, unsupported_content_type};
use super::response::{Body, json, with_extension, with_version};
use crate::mailing::{self, Duplicates, Hint, ListError, ListOptions, Mailing};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa::openapi::path::{OperationBuilder, ParameterIn};

/// Query parameters of `/v1/check`.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CheckParameters {
    /// FaR: the sender, 10 or 12 digits.
    #[param(example = "164821000025")]
    sender: Option<String>,
    /// The day of the mailing, `YYYY-MM-DD`; today (UTC) if absent.
    #[param(example = "2026-06-01")]
    date: Option<String>,
    /// Name of the column with the id, or its number from 1; detected if absent.
    id_column: Option<String>,
    /// Price of a letter on paper; requires `digital_cost`.
    #[param(minimum = 0)]
    postage: Option<f64>,
    /// Price of a digital letter; requires `postage`.
    #[param(minimum = 0)]
    digital_cost: Option<f64>,
}

impl CheckParameters {
    fn prices(&self) -> Result<Option<(f64, f64)>, Problem> {
        let given = [self.postage, self.digital_cost];
        let bad = given.iter().flatten().any(|price| !price.is_finite() || *price < 0.0);
        if bad || given.iter().flatten().count() == 1 {
            let detail = "postage and digital_cost are numbers from 0, and each requires the other";
            return Err(Problem::bad_request("bad-query", detail));
        }
        Ok(self.postage.zip(self.digital_cost))
    }
}

/// Reads the list while it arrives, in any format that `nabar check` reads.
pub(super) async fn check(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let parameters: CheckParameters = query(request.uri().query())?;
    if content_type(request.headers()).starts_with("multipart/") {
        return Err(unsupported_content_type("send the list itself as the body, not as a form"));
    }
    let (prices, day) = (parameters.prices()?, RequestDate::parse(parameters.date.as_deref())?);
    let register = served.register();
    // A wrong sender is refused before the list has arrived.
    let sender = register.question(parameters.sender.as_deref(), day.date)?.sender();
    require_outcomes(&context.caller, &register, sender)?;
    let service = context.service;
    let job = service.jobs.acquire().await.map_err(|_| body::truncated())?;
    let body = request.into_body().take().ok_or_else(body::truncated)?;
    let (reader, pump) = body::reader(body, service.limits.stall_time);
    let list_register = Arc::clone(&register);
    let work = tokio::task::spawn_blocking(move || {
        let question = list_register.question(parameters.sender.as_deref(), day.date)?;
        let mailing = Mailing {
            question: &question,
            list: Path::new("-"),
            options: ListOptions {
                id_columns: parameters.id_column.into_iter().collect(),
                ..ListOptions::default()
            },
            today: day.today,
            now: jiff::Timestamp::now(),
            duplicates: Duplicates::Keep,
            max_rejected: mailing::MAX_REJECTED,
            prices,
            threads: 1,
            progress: &(),
        };
        mailing::check_stream(&mailing, Box::new(reader)).map_err(|error| list_problem(&error))
    });
    // The body is read as long as the job reads it.
    let (_, report) = tokio::join!(pump, work);
    drop(job);
    let report = report.map_err(|_| body::truncated())??;
    let sender = report.sender.as_ref().map(|sender| sender.id.as_str());
    let record = RequestRecord {
        outcomes: report.outcomes.clone(),
        ..RequestRecord::of(&register, sender, report.list.rows as usize)
    };
    Ok(with_extension(with_version(json(&report), &register), record))
}

/// Errors of lists, with query parameters instead of command-line options.
fn list_problem(error: &ListError) -> Problem {
    if let ListError::Damaged(damage) = error {
        return Problem::damaged(damage);
    }
    let detail = match error.hint() {
        Some(Hint::NameIdColumn) => {
            format!("{error}. Set the query parameter id_column to the name or number of the column")
        }
        Some(Hint::SkipRows) => format!("{error}; send the list without it"),
        Some(Hint::ReplaceOutput | Hint::OtherOutput | Hint::ListIsRegister | Hint::VerifyRegister)
        | None => error.to_string(),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-list", detail)
}

pub(super) fn operation_of_check() -> OperationBuilder {
    let list = ["text/csv", "text/plain", "application/octet-stream"].map(|kind| (kind, string_schema()));
    operation()
        .parameters(Some(CheckParameters::into_params(|| Some(ParameterIn::Query))))
        .request_body(request_body(&list))
        .response("200", json_object("The report; docs/report.md describes it"))
        .response("422", problem("Unknown sender, or a list that cannot be read"))
}
