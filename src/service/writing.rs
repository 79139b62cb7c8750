//! `POST /v1/changes`: changes of any kind, from the register's owner.

use super::body::RequestBody;
use super::context::RequestContext;
use super::operation::{json_response, operation, problem, request_body, string_schema};
use super::problem::{Problem, log_damage};
use super::record::RequestRecord;
use super::registers::{ServedRegister, WrittenRegister};
use super::request::query;
use super::response::{Body, json, with_extension, with_version};
use crate::rejected::RejectedLimit;
use crate::store::{ApplyError, Batch, Lines, SetAside};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa::openapi::path::{OperationBuilder, ParameterIn};

/// Bytes of memory per byte of a body: its lines, what is made of them, and their frame in the log.
const BODY_WEIGHT: usize = 6;

/// Query parameters of `POST /v1/changes`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WriteParameters {
    /// Rejects bad lines, up to this number or percentage of them, and applies the others. Absent: a bad line refuses the request.
    max_rejected: Option<String>,
}

/// What the changes of a request did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct WrittenBatch {
    /// Sequence number of the register before.
    from: u64,
    /// Sequence number that is durable and visible.
    to: u64,
    /// Changes that were applied.
    applied: u64,
    /// Changes whose number the register already had.
    skipped: u64,
    /// Applied changes that removed something that did not exist.
    without_effect: u64,
    /// Lines that were rejected, with `max_rejected`.
    set_aside: Vec<RejectedLine>,
}

/// A rejected line. It has nothing of the line's content.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RejectedLine {
    /// Number of the line in the body, from 1, blank lines not counted if the lines have no numbers of their own.
    line: u64,
    /// The number that it used up.
    sequence: Option<u64>,
    /// Why, by the names in docs/changes.md.
    reason: &'static str,
    /// The rejected field; empty if none.
    column: &'static str,
}

impl WrittenBatch {
    fn of(batch: Batch) -> WrittenBatch {
        let Batch { from, to, applied, skipped, without_effect, set_aside } = batch;
        let rejected = |SetAside { line, sequence, reason }: SetAside| {
            let (reason, column) = (reason.name, reason.column);
            RejectedLine { line, sequence, reason, column }
        };
        let set_aside = set_aside.into_iter().map(rejected).collect();
        WrittenBatch { from, to, applied, skipped, without_effect, set_aside }
    }
}

/// The changes of the body, as one batch. Returns when they are durable and visible.
pub(super) async fn write(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let WriteParameters { max_rejected } = query(request.uri().query())?;
    let limit = max_rejected.map(|text| text.parse::<RejectedLimit>()).transpose();
    let limit = limit.map_err(|form| Problem::bad_request("bad-query", format!("max_rejected: {form}")))?;
    let written = Arc::clone(served.written().ok_or_else(read_only)?);
    let body = context.read_body(request, context.service.limits.body_bytes, BODY_WEIGHT).await?;
    // Applying is not interrupted: what has begun is durable, whether its client still waits or not.
    let batch = run(&written, move |written| apply(written, &body.bytes, limit)).await?;
    served.publish_written(&written);
    let register = served.register();
    let record = RequestRecord::of(&register, None, batch.applied as usize);
    Ok(with_extension(with_version(json(&WrittenBatch::of(batch)), &register), record))
}

/// Runs what writes in a thread that may wait for the disk.
pub(super) async fn run<T: Send + 'static>(
    written: &Arc<WrittenRegister>,
    work: impl FnOnce(&WrittenRegister) -> T + Send + 'static,
) -> T {
    let written = Arc::clone(written);
    match tokio::task::spawn_blocking(move || work(&written)).await {
        Ok(done) => done,
        // The thread has panicked, and so does the request.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn apply(written: &WrittenRegister, text: &[u8], limit: Option<RejectedLimit>) -> Result<Batch, Problem> {
    let writer = written.writer();
    let applied = match is_numbered(text) {
        true => writer.apply(Lines::parse(text, writer.kind()), limit),
        false => {
            let lines = Lines::parse_unnumbered(text, Timestamp::now(), writer.kind());
            let appended = writer.append_after(|sequence| lines.numbered_after(sequence), limit);
            appended.and_then(|(batch, pending)| {
                writer.wait(pending)?;
                Ok(batch)
            })
        }
    };
    applied.map_err(|error| refusal(&error))
}

/// Whether the first line has a sequence number: then all have.
fn is_numbered(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: Option<IgnoredAny>,
    }
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    serde_json::from_slice::<Numbered>(first).is_ok_and(|first| first.sequence.is_some())
}

fn refusal(error: &ApplyError) -> Problem {
    let problem = |status, word| Problem::new(status, word, error.to_string());
    match error {
        ApplyError::Bad { .. } | ApplyError::TooManyRejected { .. } => {
            problem(StatusCode::UNPROCESSABLE_ENTITY, "bad-change")
        }
        ApplyError::Gap { .. } => problem(StatusCode::CONFLICT, "changes-missing"),
        ApplyError::Fork { .. } => problem(StatusCode::CONFLICT, "another-change"),
        ApplyError::TooLong { .. } => problem(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
        ApplyError::Store(error) => not_written(error),
    }
}

/// 503: the data directory cannot be written to. The log says why.
pub(super) fn not_written(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "a change was not written");
    let detail =
        "the register cannot be written to now; the change is not applied, unless a later answer shows it";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-written", detail)
}

/// 403: changes are not taken.
pub(super) fn read_only() -> Problem {
    Problem::forbidden(
        "the service does not take changes of this register: serve its data directory with --writable",
    )
}

pub(super) fn write_operation() -> OperationBuilder {
    operation()
        .parameters(Some(WriteParameters::into_params(|| Some(ParameterIn::Query))))
        .request_body(request_body(&[("application/jsonl", string_schema())]))
        .response(
            "200",
            json_response("What the changes did, when it is durable and visible", "WrittenBatch"),
        )
        .response("403", problem("The register is read only, or the caller is not its owner"))
        .response(
            "409",
            problem("Numbers are missing before the first line, or the register has other changes"),
        )
        .response("413", problem("The body is too long"))
        .response("422", problem("A line is not a change, or does not fit the register: nothing is applied"))
        .response("503", problem("The register cannot be written to"))
}

/// Logs damage that a decision has found.
pub(super) fn log_found(written: &WrittenRegister, damage: &crate::register::Damage) {
    log_damage(damage, written.writer().register().note_damage());
}
