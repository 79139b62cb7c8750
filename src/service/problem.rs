//! Errors of HTTP requests as problem details (RFC 9457).

use crate::recurring::RecurringLine;
use crate::register::{QuestionError, Register};
use hyper::StatusCode;
use serde::Serialize;
use std::time::Instant;

/// The status that is recorded if the client did not receive the whole response, as other servers record it.
pub(super) const CLIENT_GONE: u16 = 499;

/// An error response in the form of RFC 9457.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// `urn:nabar:problem:` and a word that does not change between versions.
    #[serde(rename = "type")]
    #[schema(rename = "type", examples("urn:nabar:problem:unknown-sender"))]
    kind: String,
    /// The name of the HTTP status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, and how to correct it.
    detail: String,
    /// Seconds after which the client may retry, for 429 and 503.
    #[serde(skip)]
    retry_after: u32,
    /// The sender that the request named, for the audit log.
    #[serde(skip)]
    sender: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, word: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:nabar:problem:{word}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: 1,
            sender: None,
        }
    }

    /// 503: a retry may succeed.
    pub(super) fn busy() -> Problem {
        let detail = "other requests hold all memory, or all places for lists; retry";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }

    /// 413: the texts of the register are too long for one answer.
    pub(super) fn answer_too_large() -> Problem {
        let detail = "the texts of these recipients are too long for one answer: ask for fewer ids";
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "answer-too-large", detail)
    }

    /// 503: the register cannot be opened yet.
    pub(super) fn awaited() -> Problem {
        let detail = "the register is not here yet: it is being replicated, or its source is away; retry";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "register-awaited", detail)
    }

    /// 503: the service stops.
    pub(super) fn stopping() -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the service stops; retry")
    }

    /// 499: the client has closed the connection. It is recorded, and reaches no client.
    pub(super) fn client_gone() -> Problem {
        let status = StatusCode::from_u16(CLIENT_GONE).unwrap_or(StatusCode::BAD_REQUEST);
        Problem::new(status, "client-gone", "the client has closed the connection")
    }

    /// 429, after some seconds.
    pub(super) fn too_many(what: &str, seconds: u32) -> Problem {
        let detail = format!("the client has reached its limit of {what} per second; retry in {seconds} s");
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail);
        problem.retry_after = seconds;
        problem
    }

    /// Seconds after which the client may retry.
    pub(super) fn retry_after(&self) -> u32 {
        self.retry_after
    }

    /// Names the sender of the request, for the audit log.
    pub(super) fn about_sender(mut self, sender: Option<&str>) -> Problem {
        self.sender = sender.map(str::to_owned).or(self.sender);
        self
    }

    pub(super) fn sender(&self) -> Option<&str> {
        self.sender.as_deref()
    }

    pub(super) fn bad_request(word: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, word, detail)
    }

    /// Channel rules, or what they name, cannot be used.
    pub(super) fn rules_unavailable() -> Problem {
        let detail =
            "the rules, or a list or register that they name, cannot be used as they are; the log says why";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "rules-unavailable", detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail)
    }

    /// 500, on every path. The cause goes to the log only. From now on, the service is not ready.
    pub(super) fn damaged(register: &Register, damage: &dyn std::error::Error) -> Problem {
        Problem::unreadable(damage, register.note_damage())
    }

    /// The same, without a note of the damage. `is_new`: whether it was not known before.
    pub(super) fn unreadable(damage: &dyn std::error::Error, is_new: bool) -> Problem {
        log_damage(damage, is_new);
        let detail =
            "a part of the register that the request reads is damaged; `nabar verify` lists the damage";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged-register", detail)
    }

    /// The word that names the problem: the last part of its type.
    pub(super) fn word(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The lines about damage in any register: a client can ask for what is damaged as often as it likes.
static DAMAGE: RecurringLine = RecurringLine::new();

/// Logs that a request has found damage, unless that has been said within the last minute. `is_new`: whether it was not
/// known before.
pub(super) fn log_damage(damage: &dyn std::error::Error, is_new: bool) {
    if is_new {
        DAMAGE.restart();
    }
    // At this level, the log has every request.
    let every = tracing::enabled!(tracing::Level::DEBUG).then_some(1);
    if let Some(times) = every.or_else(|| DAMAGE.occurs(Instant::now())) {
        tracing::error!(%damage, times, "the register is damaged");
    }
}

/// Logs how often damage was found since it was last logged, if that is due.
pub(super) fn sum_up_damage(now: Instant) {
    if let Some(times) = DAMAGE.remainder(now) {
        tracing::error!(times, "the register is damaged");
    }
}

impl Problem {
    /// Why a register cannot answer a question.
    pub(super) fn of_question(register: &Register, error: QuestionError) -> Problem {
        let (word, detail) = match error {
            QuestionError::SenderMissing => {
                ("sender-missing", "a FaR register requires a sender: add ?sender=16…")
            }
            QuestionError::SenderUnknown => {
                ("unknown-sender", "the register has no such sender; GET /v1/senders lists them")
            }
            QuestionError::SenderNotAsked => {
                ("unknown-sender", "the register has answers for another sender")
            }
            QuestionError::SenderUnwanted => {
                ("sender-unwanted", "a KRR register has no senders: omit the parameter sender")
            }
            QuestionError::Damaged(damage) => return Problem::damaged(register, &damage),
        };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, word, detail)
    }
}
