//! What a register has beside recipients, and whole lists.

use super::access::may_ask;
use super::body::{self, Unread};
use super::exchange::{Body, Day, Noted, Problem, content_type, json, query, with_note, with_version};
use super::reachability::Versioned;
use super::registers::Live;
use super::routes::Exchange;
use crate::mailing::{self, Duplicates, ListOptions, Mailing};
use crate::register::Register;
use hyper::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// A register.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Description {
    #[serde(flatten)]
    version: Versioned,
    /// Number of recipients.
    recipients: u32,
    /// Number of mailbox operators, senders and dispatchers.
    operators: usize,
    senders: usize,
    dispatchers: usize,
}

/// A mailbox operator.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Operator<'r> {
    id: &'r str,
    name: &'r str,
    /// Where messages are delivered; empty if the operator takes none.
    service_address: &'r str,
    /// Where recipients log in.
    ui_address: &'r str,
}

/// A sender.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Sender<'r> {
    id: &'r str,
    name: &'r str,
    /// The unit within the organisation.
    attention: &'r str,
}

/// A dispatcher.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Dispatcher<'r> {
    id: &'r str,
    name: &'r str,
    /// Ids of the senders that it may ask for.
    senders: Vec<&'r str>,
}

pub(super) fn description(live: &Live) -> Response<Body> {
    let register = live.register();
    let description = Description {
        version: Versioned::of(&register),
        recipients: register.recipients(),
        operators: register.operators().len(),
        senders: register.senders().len(),
        dispatchers: register.dispatchers().len(),
    };
    with_version(json(&description), &register)
}

pub(super) fn operators(live: &Live) -> Response<Body> {
    let register = live.register();
    let operators = register.operators().iter().map(|operator| Operator {
        id: &operator.id,
        name: &operator.name,
        service_address: &operator.service_address,
        ui_address: &operator.ui_address,
    });
    with_version(json(&operators.collect::<Vec<_>>()), &register)
}

pub(super) fn senders(live: &Live) -> Response<Body> {
    let register = live.register();
    let senders = register.senders().iter().map(|sender| Sender {
        id: &sender.id,
        name: &sender.name,
        attention: &sender.attention,
    });
    with_version(json(&senders.collect::<Vec<_>>()), &register)
}

pub(super) fn dispatchers(live: &Live) -> Response<Body> {
    let register = live.register();
    let dispatchers = register.dispatchers().iter().map(|dispatcher| Dispatcher {
        id: &dispatcher.id,
        name: &dispatcher.name,
        senders: senders_of(&register, &dispatcher.senders),
    });
    with_version(json(&dispatchers.collect::<Vec<_>>()), &register)
}

/// Ids of senders by their places.
pub(super) fn senders_of<'r>(register: &'r Register, places: &[u16]) -> Vec<&'r str> {
    let senders = places.iter().filter_map(|&place| register.senders().get(usize::from(place)));
    senders.map(|sender| sender.id.as_str()).collect()
}

/// What stands behind the question mark.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Checks {
    /// FaR: who sends, 10 or 12 digits.
    #[param(example = "164821000025")]
    sender: Option<String>,
    /// The day asked, `YYYY-MM-DD`; today (UTC) if it is missing.
    #[param(example = "2026-06-01")]
    date: Option<String>,
    /// Name of the column with the id, or its number from 1; told from the list if it is missing.
    id_column: Option<String>,
    /// Price of a letter on paper; for the savings, together with `digital_cost`.
    #[param(minimum = 0)]
    postage: Option<f64>,
    /// Price of a digital letter.
    #[param(minimum = 0)]
    digital_cost: Option<f64>,
}

/// The report of a list that comes as the body, in any form that `nabar check` takes.
pub(super) async fn check(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Unread>,
) -> Result<Response<Body>, Problem> {
    let asks: Checks = query(request.uri().query())?;
    if content_type(request.headers()).starts_with("multipart/") {
        let detail = "send the list itself as the body, not as a form";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail));
    }
    let prices = asks.postage.zip(asks.digital_cost);
    let given = [asks.postage, asks.digital_cost];
    let bad = given.iter().flatten().any(|price| !price.is_finite() || *price < 0.0);
    if bad || given.iter().flatten().count() == 1 {
        let detail = "postage and digital_cost are numbers from 0, and come together";
        return Err(Problem::bad_request("bad-query", detail));
    }
    let day = Day::of(asks.date.as_deref())?;
    let register = live.register();
    // A wrong sender is told before the list has come.
    let asked = register.question(asks.sender.as_deref(), day.date)?;
    may_ask(&exchange.caller, &register, asked.sender(), exchange.service.access.takes_tokens())?;
    drop(asked);
    let job = exchange.service.jobs.acquire().await.map_err(|_| body::broken())?;
    let body = request.into_body().take().ok_or_else(body::broken)?;
    let (reader, pump) = body::reader(body, exchange.service.limits.stall_time);
    let list_register = Arc::clone(&register);
    let work = tokio::task::spawn_blocking(move || {
        let question = list_register.question(asks.sender.as_deref(), day.date)?;
        let mailing = Mailing {
            question: &question,
            list: Path::new("-"),
            options: ListOptions {
                id_columns: asks.id_column.into_iter().collect(),
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
        mailing::check_stream(&mailing, Box::new(reader))
            .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-list", error.to_string()))
    });
    // The body is read for as long as the job reads.
    let (_, report) = tokio::join!(pump, work);
    drop(job);
    let report = report.map_err(|_| body::broken())??;
    let sender = report.sender.as_ref().map(|sender| sender.id.as_str());
    let noted = Noted {
        outcomes: report.outcomes.clone(),
        ..Noted::of(&register, sender, report.list.rows as usize)
    };
    Ok(with_note(with_version(json(&report), &register), noted))
}
