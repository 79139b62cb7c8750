//! Building responses.

use super::problem::Problem;
use crate::register::Register;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::io;

/// The body of a response.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Sequence number of the version that the response was made from.
pub(super) const SEQUENCE: HeaderName = HeaderName::from_static("nabar-sequence");
/// Its as-of time.
pub(super) const AS_OF: HeaderName = HeaderName::from_static("nabar-as-of");

/// Content type of JSON.
pub(super) const JSON: &str = "application/json";

/// A response with a body in memory.
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

/// An error response.
pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let status = problem.status();
    let mut response = respond("application/problem+json", serde_json::to_vec(problem).unwrap_or_default());
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Adds the headers that name the version. If its file was overwritten since, the response is 500 instead.
pub(super) fn with_version(mut response: Response<Body>, register: &Register) -> Response<Body> {
    if let Err(damage) = register.intact() {
        return problem(&Problem::damaged(&damage));
    }
    let headers = response.headers_mut();
    headers.insert(SEQUENCE, register.sequence().into());
    if let Ok(as_of) = HeaderValue::from_str(&register.as_of().to_string()) {
        headers.insert(AS_OF, as_of);
    }
    response
}

/// Attaches a value for the code that sends and records the response.
pub(super) fn with_extension<E: Clone + Send + Sync + 'static>(
    mut response: Response<Body>,
    extension: E,
) -> Response<Body> {
    response.extensions_mut().insert(extension);
    response
}
