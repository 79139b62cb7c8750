//! Parsing what requests have in common: content type, query string, JSON, date.

use super::problem::Problem;
use crate::identities::Today;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::Deserialize;

/// The content type without its parameters, in lower case.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn unsupported_content_type(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail)
}

/// The parameters of a query string.
pub(super) fn query<'q, P: Deserialize<'q>>(query: Option<&'q str>) -> Result<P, Problem> {
    serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|_| {
        Problem::bad_request("bad-query", "the query string has an unknown, repeated or malformed parameter")
    })
}

/// A JSON object of the form that `form` shows.
pub(super) fn from_json<'j, T: Deserialize<'j>>(text: &'j [u8], form: &str) -> Result<T, Problem> {
    // serde would also accept an array of the members' values.
    let parsed = match text.trim_ascii_start().first() {
        Some(b'[') => Err(serde::de::Error::custom("an array")),
        _ => serde_json::from_slice(text),
    };
    parsed.map_err(|error: serde_json::Error| {
        // The message of the library may quote the request.
        let (line, column) = (error.line(), error.column());
        let detail = format!("the body is not a JSON object {form}: error at line {line}, column {column}");
        Problem::bad_request("bad-json", detail)
    })
}

/// The date of a request. The century of ids with ten digits is derived from the same day.
#[derive(Clone, Copy)]
pub(super) struct RequestDate {
    pub(super) date: Date,
    pub(super) today: Today,
}

impl RequestDate {
    /// Parses `YYYY-MM-DD`; today (UTC) if it is absent.
    pub(super) fn parse(date: Option<&str>) -> Result<RequestDate, Problem> {
        let bad = || Problem::bad_request("bad-date", "date is YYYY-MM-DD, from 2000 to 2099");
        let date = match date {
            Some(text) => text.parse::<Date>().map_err(|_| bad())?,
            None => Offset::UTC.to_datetime(jiff::Timestamp::now()).date(),
        };
        let year = u32::try_from(date.year()).map_err(|_| bad())?;
        let today = Today::new(year, date.month() as u32, date.day() as u32);
        Ok(RequestDate { date, today: today.ok_or_else(bad)? })
    }

    pub(super) fn today() -> Result<RequestDate, Problem> {
        RequestDate::parse(None)
    }
}
