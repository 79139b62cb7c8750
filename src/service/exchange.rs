//! Requests and responses, and what goes wrong with them.

use crate::identities::Today;
use crate::register::{NotAsked, Register};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// What is sent.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Sequence number of the version that answered.
pub(super) const SEQUENCE: HeaderName = HeaderName::from_static("nabar-sequence");
/// Its as-of time.
pub(super) const AS_OF: HeaderName = HeaderName::from_static("nabar-as-of");

/// What is noted of a request, for metrics and the audit log.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    /// Ids asked for.
    pub(super) ids: u64,
    /// How many of them had which outcome.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// In whose name.
    pub(super) sender: Option<String>,
    /// The version that answered.
    pub(super) sequence: Option<u64>,
}

impl Noted {
    pub(super) fn of(register: &Register, sender: Option<&str>, ids: usize) -> Noted {
        Noted {
            ids: ids as u64,
            sender: sender.map(str::to_owned),
            sequence: Some(register.sequence()),
            ..Noted::default()
        }
    }

    /// Adds up what is noted of parts of an answer.
    pub(super) fn add(&mut self, other: Noted) {
        self.ids += other.ids;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

/// What is noted while an answer is still being made.
#[derive(Clone, Default)]
pub(super) struct Notes(pub(super) Arc<Mutex<Noted>>);

pub(super) const JSON: &str = "application/json";

/// Why a request is not answered, as RFC 9457 has it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// `urn:nabar:problem:` and a word that stays.
    #[serde(rename = "type")]
    #[schema(rename = "type", examples("urn:nabar:problem:unknown-sender"))]
    kind: String,
    /// The same for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was wrong with this request, and what to do.
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

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn damaged(damage: &dyn std::error::Error) -> Problem {
        tracing::error!(%damage, "the register is damaged");
        let detail = "a part of the register that was asked for is damaged; `nabar verify` tells more";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged-register", detail)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = respond("application/problem+json", body);
        *response.status_mut() = self.status();
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<NotAsked> for Problem {
    fn from(error: NotAsked) -> Problem {
        let (word, detail) = match error {
            NotAsked::SenderMissing => {
                ("sender-missing", "a FaR register answers for one sender: add ?sender=16…")
            }
            NotAsked::SenderUnknown => {
                ("unknown-sender", "the register knows no such sender; GET /v1/senders lists them")
            }
            NotAsked::SenderUnwanted => {
                ("sender-unwanted", "a KRR register has no senders: leave sender out")
            }
            NotAsked::Damaged(damage) => return Problem::damaged(&damage),
        };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, word, detail)
    }
}

/// A response with a body that is at hand.
pub(super) fn respond(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    stream(content_type, Full::new(body.into()).map_err(|never| match never {}).boxed_unsync())
}

/// A response with any body.
pub(super) fn stream(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response in JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    respond(JSON, serde_json::to_vec(value).unwrap_or_default())
}

/// An object in JSON. (Alone, serde would take the values of its members in an array too.)
pub(super) fn from_json<'j, T: Deserialize<'j>>(text: &'j [u8]) -> serde_json::Result<T> {
    match text.trim_ascii_start().first() {
        Some(b'[') => Err(serde::de::Error::custom("an array")),
        _ => serde_json::from_slice(text),
    }
}

/// Says which version answered. If its file was overwritten meanwhile, it is an error instead.
pub(super) fn with_version(mut response: Response<Body>, register: &Register) -> Response<Body> {
    if let Err(damage) = register.intact() {
        return Problem::damaged(&damage).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(SEQUENCE, register.sequence().into());
    if let Ok(as_of) = HeaderValue::from_str(&register.as_of().to_string()) {
        headers.insert(AS_OF, as_of);
    }
    response
}

/// Notes something of a response.
pub(super) fn with_note<N: Clone + Send + Sync + 'static>(
    mut response: Response<Body>,
    note: N,
) -> Response<Body> {
    response.extensions_mut().insert(note);
    response
}

/// The content type without its parameters, in small letters.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The day asked, and the day that tells the century of ids with ten digits: the same.
#[derive(Clone, Copy)]
pub(super) struct Day {
    pub(super) date: Date,
    pub(super) today: Today,
}

impl Day {
    /// Of `YYYY-MM-DD`, or today (UTC).
    pub(super) fn of(date: Option<&str>) -> Result<Day, Problem> {
        let bad = || Problem::bad_request("bad-date", "date is YYYY-MM-DD, from 2000 to 2099");
        let date = match date {
            Some(text) => text.parse::<Date>().map_err(|_| bad())?,
            None => Offset::UTC.to_datetime(jiff::Timestamp::now()).date(),
        };
        let year = u32::try_from(date.year()).map_err(|_| bad())?;
        let today = Today::new(year, date.month() as u32, date.day() as u32);
        Ok(Day { date, today: today.ok_or_else(bad)? })
    }
}

/// What an address asks behind its question mark.
pub(super) fn query<'q, Q: serde::Deserialize<'q>>(query: Option<&'q str>) -> Result<Q, Problem> {
    serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|_| {
        Problem::bad_request("bad-query", "an unknown, doubled or malformed name behind the question mark")
    })
}
