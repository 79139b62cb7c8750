//! Parsing what requests have in common: content type, query string, JSON, date.

use super::problem::Problem;
use crate::identities::Today;
use crate::register::date_of;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::Deserialize;
use std::collections::HashSet;
use url::form_urlencoded;
use utoipa::IntoParams;

/// The content type without its parameters, in lower case.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn unsupported_content_type(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail)
}

/// The parameters of a query string. Errors name the parameter, and never repeat its value.
pub(super) fn query<'q, P: Deserialize<'q> + IntoParams>(query: Option<&'q str>) -> Result<P, Problem> {
    let query = query.unwrap_or_default();
    let parameters = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(parameters).map_err(|error| {
        let known: Vec<String> = P::into_params(|| None).into_iter().map(|known| known.name).collect();
        Problem::bad_request("bad-query", query_error(query, &known, &error.path().to_string()))
    })
}

/// What is wrong with a query string; `failed` is the parameter at which parsing ended.
fn query_error(query: &str, known: &[String], failed: &str) -> String {
    let mut seen = HashSet::new();
    let all = || format!("its parameters are: {}", known.join(", "));
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if !known.iter().any(|known| *known == name) {
            let named = if is_plain(&name) {
                format!("unknown parameter {name}")
            } else {
                "unknown parameter".to_owned()
            };
            return format!("the query string has an {named}; {}", all());
        }
        if !seen.insert(name.clone()) {
            return format!("the query string has the parameter {name} twice");
        }
    }
    match known.iter().any(|known| known == failed) {
        true => format!("the parameter {failed} of the query string is malformed"),
        false => format!("the query string is incomplete; {}", all()),
    }
}

/// Whether a name from a client may be repeated: it is an identifier, and nothing that could identify somebody.
fn is_plain(name: &str) -> bool {
    const LENGTH_MAX: usize = 20;
    (1..=LENGTH_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
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
            Some(text) => date_of(text).ok_or_else(bad)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, IntoParams)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        from: u64,
        sender: Option<String>,
        postage: Option<f64>,
    }

    #[test]
    fn errors_name_the_parameter_and_never_the_value() {
        let parameters = "its parameters are: from, sender, postage";
        for (given, expected) in [
            ("", format!("the query string is incomplete; {parameters}")),
            ("sender=196810199809", format!("the query string is incomplete; {parameters}")),
            ("from=196810199809x", "the parameter from of the query string is malformed".to_owned()),
            ("from=-1", "the parameter from of the query string is malformed".to_owned()),
            ("from=", "the parameter from of the query string is malformed".to_owned()),
            (
                "from=1&postage=x&sender=y",
                "the parameter postage of the query string is malformed".to_owned(),
            ),
            ("postage=x&from=y", "the parameter postage of the query string is malformed".to_owned()),
            ("from=1&from=196810199809", "the query string has the parameter from twice".to_owned()),
            ("from=1&%66rom=2", "the query string has the parameter from twice".to_owned()),
            ("from=1&dat=2", format!("the query string has an unknown parameter dat; {parameters}")),
            (
                "from=1&id_column=2",
                format!("the query string has an unknown parameter id_column; {parameters}"),
            ),
            ("from=1&196810199809", format!("the query string has an unknown parameter; {parameters}")),
            ("from=1&a1=2", format!("the query string has an unknown parameter; {parameters}")),
            ("from=1&Anna=2", format!("the query string has an unknown parameter; {parameters}")),
            ("from=1&=2", format!("the query string has an unknown parameter; {parameters}")),
            ("from=1&a%0ab=2", format!("the query string has an unknown parameter; {parameters}")),
        ] {
            let problem = query::<Parameters>(Some(given)).expect_err(given);
            assert_eq!((problem.word(), problem.detail()), ("bad-query", &*expected), "{given}");
        }
        let parsed: Parameters = query(Some("from=1&sender=%31&postage=2.5")).expect("parameters");
        assert_eq!((parsed.from, parsed.sender.as_deref(), parsed.postage), (1, Some("1"), Some(2.5)));
    }

    #[test]
    fn dates_have_one_form() {
        assert!(RequestDate::parse(Some("2026-06-01")).is_ok());
        for bad in [
            "20260601",
            "2026-6-1",
            "2026-06-01T00:00",
            "+002026-06-01",
            " 2026-06-01",
            "2026-02-30",
            "1999-12-31",
        ] {
            assert_eq!(RequestDate::parse(Some(bad)).err().expect(bad).word(), "bad-date", "{bad}");
        }
    }
}
