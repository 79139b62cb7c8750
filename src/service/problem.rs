//! Errors of HTTP requests as problem details (RFC 9457).

use crate::register::{Damage, QuestionError};
use hyper::StatusCode;
use serde::Serialize;

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
}

impl Problem {
    pub(super) fn new(status: StatusCode, word: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:nabar:problem:{word}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    pub(super) fn bad_request(word: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, word, detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail)
    }

    /// 500, on every path. The cause goes to the log only.
    pub(super) fn damaged(damage: &dyn std::error::Error) -> Problem {
        tracing::error!(%damage, "the register is damaged");
        let detail =
            "a part of the register that the request reads is damaged; `nabar verify` lists the damage";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged-register", detail)
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Damage> for Problem {
    fn from(damage: Damage) -> Problem {
        Problem::damaged(&damage)
    }
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Problem {
        let (word, detail) = match error {
            QuestionError::SenderMissing => {
                ("sender-missing", "a FaR register requires a sender: add ?sender=16…")
            }
            QuestionError::SenderUnknown => {
                ("unknown-sender", "the register has no such sender; GET /v1/senders lists them")
            }
            QuestionError::SenderUnwanted => {
                ("sender-unwanted", "a KRR register has no senders: omit the parameter sender")
            }
            QuestionError::Damaged(damage) => return Problem::damaged(&damage),
        };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, word, detail)
    }
}
