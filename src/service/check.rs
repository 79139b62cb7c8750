//! `POST /v1/check`: the report of a list.

use super::authorization::require_outcomes;
use super::body::{self, RequestBody};
use super::context::RequestContext;
use super::memory::Reservation;
use super::operation::{json_object, operation, problem, request_body, string_schema};
use super::problem::Problem;
use super::record::RequestRecord;
use super::registers::ServedRegister;
use super::request::{RequestDate, content_type, query, unsupported_content_type};
use super::response::{Body, json, with_extension, with_version};
use super::state::Service;
use crate::mailing::{
    self, Duplicates, GROUPS_BYTES_MAX, GroupBy, GroupOptions, Hint, ListError, ListOptions, Mailing, Prices,
    Progress, StreamLimits,
};
use crate::register::Register;
use crate::runs::RunDescription;
use crate::sheets::{WorkbookError, WorkbookLimits, XLSX_TYPE};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Currency of the prices, as the report shows it.
    currency: Option<String>,
    /// Name of channel rules in the configuration: the report then has channels and rules.
    rules: Option<String>,
    /// Name of a description of print runs in the configuration: the list is such a run.
    run: Option<String>,
    /// The sheet of a workbook, which is sent as what it is (`Content-Type`); without it, the only one with ids.
    sheet: Option<String>,
    /// Letters by the text of a column, or by `age`: names or numbers of columns, with commas between them; at most four.
    #[param(example = "ort,age")]
    group_by: Option<String>,
    /// Groups with fewer letters are not shown, so that they point at no recipient; 10 if absent.
    #[param(minimum = 1, maximum = 1_000_000)]
    smallest_group: Option<u64>,
}

/// Largest `smallest_group`.
const GROUP_LETTERS_MAX: u64 = 1_000_000;
/// Most columns by which the letters of a list are grouped.
const GROUPINGS_MAX: usize = 4;

impl CheckParameters {
    fn groups(&self) -> Result<GroupOptions, Problem> {
        let by: Vec<GroupBy> =
            self.group_by.iter().flat_map(|all| all.split(',')).map(|name| name.trim().into()).collect();
        let smallest = self.smallest_group.unwrap_or(GroupOptions::default().smallest);
        let has_empty = by.iter().any(|by| *by == GroupBy::Column(String::new()));
        if by.len() > GROUPINGS_MAX || has_empty || !(1..=GROUP_LETTERS_MAX).contains(&smallest) {
            let detail = "group_by is one to four columns with commas between them, smallest_group a number from 1 to a million";
            return Err(Problem::bad_request("bad-query", detail));
        }
        Ok(GroupOptions { by, smallest })
    }

    /// The description of the print run that the list is, if it is one.
    fn run(&self, service: &Service) -> Result<Option<RunDescription>, Problem> {
        let Some(name) = &self.run else { return Ok(None) };
        if self.id_column.is_some() {
            return Err(Problem::bad_request(
                "bad-query",
                "the description of a run says where ids are: omit id_column",
            ));
        }
        let found = service.runs.get(name).cloned();
        let unknown = || {
            let detail = "there is no description of print runs of this name";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-run", detail)
        };
        found.ok_or_else(unknown).map(Some)
    }

    fn prices(&self) -> Result<Option<Prices>, Problem> {
        let given = [self.postage, self.digital_cost];
        let bad = given.iter().flatten().any(|price| !price.is_finite() || *price < 0.0);
        if bad || given.iter().flatten().count() == 1 {
            let detail = "postage and digital_cost are numbers from 0, and each requires the other";
            return Err(Problem::bad_request("bad-query", detail));
        }
        let prices = self.postage.zip(self.digital_cost);
        let currency = self.currency.clone().unwrap_or_default();
        Ok(prices.map(|(postage, digital_cost)| Prices { postage, digital_cost, currency }))
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
    let is_workbook = content_type(request.headers()) == XLSX_TYPE;
    let (prices, groups) = (parameters.prices()?, parameters.groups()?);
    let run = parameters.run(context.service)?;
    let day = RequestDate::parse(parameters.date.as_deref())?;
    let register = served.register();
    // A wrong sender is refused before the list has arrived.
    let question = register.question(parameters.sender.as_deref(), day.date);
    let sender = question.map_err(|error| Problem::of_question(&register, error))?.sender();
    require_outcomes(&context.caller, &register, sender)?;
    // The rows are counted while they are read, against later requests.
    context.count_ids(1)?;
    let service = context.service;
    let _place = context.place(&service.jobs).await?;
    let of_workbook = if is_workbook { WORKBOOK_BYTES } else { 0 };
    let job_bytes = JOB_BYTES + of_workbook + groups.by.len() * GROUPS_BYTES_MAX;
    let job = Arc::new(CheckJob {
        service: Arc::clone(service),
        client: context.client.clone(),
        counted: AtomicU64::new(1),
        memory: Mutex::new(context.reserve(job_bytes).await?),
        job_bytes,
        is_cancelled: AtomicBool::new(false),
        has_memory: AtomicBool::new(true),
    });
    let _cancel = CancelOnDrop(Arc::clone(&job));
    let body = request.into_body().take().ok_or_else(body::truncated)?;
    let (reader, pump) = body::reader(service, body);
    let (list_register, progress) = (Arc::clone(&register), Arc::clone(&job));
    let (rules, caller) = (Arc::clone(service), context.caller.clone());
    let limits = StreamLimits {
        bytes: service.limits.list_bytes,
        expansion: service.limits.list_expansion,
        zstd_window_log: ZSTD_WINDOW_LOG,
        letter_bytes: LETTER_BYTES,
        workbook: if is_workbook {
            WORKBOOK_LIMITS
        } else {
            WorkbookLimits { file_bytes: 0, ..WORKBOOK_LIMITS }
        },
    };
    let work = tokio::task::spawn_blocking(move || {
        let question = list_register.question(parameters.sender.as_deref(), day.date);
        let question = question.map_err(|error| Problem::of_question(&list_register, error))?;
        let ruling = parameters.rules.as_deref();
        let ruling = ruling.map(|name| rules.rules.ruling(name, &caller, &question, &day)).transpose()?;
        let mailing = Mailing {
            ruling: ruling.as_deref(),
            question: &question,
            list: Path::new("-"),
            options: ListOptions {
                id_columns: parameters.id_column.into_iter().collect(),
                run,
                sheet: parameters.sheet,
                ..ListOptions::default()
            },
            today: day.today,
            now: jiff::Timestamp::now(),
            duplicates: Duplicates::Keep,
            max_rejected: mailing::MAX_REJECTED,
            groups: Some(&groups),
            prices: prices.as_ref(),
            asked: None,
            threads: 1,
            progress: &*progress,
        };
        mailing::check_stream(&mailing, Box::new(reader), limits)
            .map_err(|error| list_problem(&list_register, &error))
    });
    // The body is read as long as the job reads it.
    if let Some(problem) = pump.await {
        return Err(problem);
    }
    let report = tokio::select! {
        report = work => report,
        () = context.client_gone() => return Err(Problem::client_gone()),
    };
    if !job.has_memory.load(Ordering::Relaxed) {
        return Err(Problem::busy());
    }
    let report = report.map_err(|_| body::truncated())??;
    let sender = report.sender.as_ref().map(|sender| sender.id.as_str());
    let record = RequestRecord {
        outcomes: report.outcomes.clone(),
        ..RequestRecord::of(&register, sender, report.list.rows as usize)
    };
    Ok(with_extension(with_version(json(&report), &register), record))
}

/// Memory of a job: the window of Zstandard, two chunks of the list, and the rows of one, which may be empty.
const JOB_BYTES: usize = 64 << 20;
/// Memory of a workbook beside that, with the limits below: the file, its texts, and its rows twice.
const WORKBOOK_BYTES: usize = 128 << 20;
/// A workbook of some 50 000 rows.
const WORKBOOK_LIMITS: WorkbookLimits = WorkbookLimits {
    file_bytes: 8 << 20,
    text_bytes: 8 << 20,
    sheet_bytes: 64 << 20,
    other_bytes: 1 << 20,
    row_bytes: 16 << 20,
    ods: false,
};
/// Largest letter of a print run: two of them, and what has arrived after them, are part of the memory of a job.
const LETTER_BYTES: usize = 8 << 20;
/// Zstandard's levels up to 19 need 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A job, as its thread and its request see it.
struct CheckJob {
    service: Arc<Service>,
    client: String,
    /// Rows that have been counted as ids.
    counted: AtomicU64,
    memory: Mutex<Reservation>,
    /// Memory without that of its identities.
    job_bytes: usize,
    is_cancelled: AtomicBool,
    /// False if the job has ended because there was no memory.
    has_memory: AtomicBool,
}

impl Progress for CheckJob {
    fn advanced(&self, rows: u64, _: u64) {
        let counted = self.counted.fetch_max(rows, Ordering::Relaxed);
        self.service.clients.charge_ids(&self.client, rows.saturating_sub(counted));
    }

    fn interrupted(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    fn limits_memory(&self) -> bool {
        true
    }

    fn may_use(&self, bytes: u64) -> bool {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = self.job_bytes + bytes as usize;
        let has_memory = needed <= memory.bytes() || memory.resize(needed).is_ok();
        self.has_memory.store(has_memory, Ordering::Relaxed);
        has_memory
    }
}

/// Ends the job when its request is abandoned: the client has gone.
struct CancelOnDrop(Arc<CheckJob>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }
}

/// Errors of lists, with query parameters instead of command-line options.
fn list_problem(register: &Register, error: &ListError) -> Problem {
    if let ListError::Damaged(damage) = error {
        return Problem::damaged(register, damage);
    }
    if let ListError::FurtherRegister { .. } = error {
        return Problem::rules_unavailable();
    }
    // Names of sheets may be personal data.
    if let ListError::Workbook(error) = error {
        let detail = match error {
            WorkbookError::NoSuchSheet { .. } => {
                "no sheet of the workbook has the name that sheet gives".to_owned()
            }
            WorkbookError::NoIds(_) => {
                "no sheet of the workbook has a column of ids: name it with sheet".to_owned()
            }
            WorkbookError::SeveralSheets(sheets) => {
                format!("{} sheets of the workbook have ids: name one of them with sheet", sheets.len())
            }
            error => error.to_string(),
        };
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-list", detail);
    }
    let detail = match error.hint() {
        Some(Hint::NameIdColumn) => {
            format!("{error}. Set the query parameter id_column to the name or number of the column")
        }
        Some(Hint::NameDelimiter) => format!("{error}. Name it in a first line such as sep=;"),
        Some(Hint::SkipRows) => format!("{error}; send the list without it"),
        Some(
            Hint::ReplaceOutput
            | Hint::OtherOutput
            | Hint::ListIsRegister
            | Hint::VerifyRegister
            | Hint::AskMissing,
        )
        | None => error.to_string(),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-list", detail)
}

pub(super) fn operation_of_check() -> OperationBuilder {
    let list =
        ["text/csv", "text/plain", XLSX_TYPE, "application/octet-stream"].map(|kind| (kind, string_schema()));
    operation()
        .parameters(Some(CheckParameters::into_params(|| Some(ParameterIn::Query))))
        .request_body(request_body(&list))
        .response("200", json_object("The report; docs/report.md describes it"))
        .response("422", problem("Unknown sender or rules, or a list that cannot be read"))
}
