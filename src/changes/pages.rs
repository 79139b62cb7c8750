//! Pages of KRR's `HentEndringer`: the SOAP response, and the object of its REST successor.
//!
//! A page has all persons who changed after one change number, up to another. It becomes one change that puts
//! all of them and takes the register to the second number, even if the page is empty.

use super::change::{Change, ChangeBody, day_of};
use super::json::{BadLine, put_person};
use crate::decode::{ChangesPage, reason};
use crate::limits::SEQUENCE_MAX;
use crate::register::{Person, moment};
use jiff::Timestamp;
use serde::Deserialize;
use std::path::Path;

/// The response of `/rest/v2/krr/hentEndringer`. Unknown fields are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestPage {
    list: Vec<Person>,
    fra_endrings_id: u64,
    til_endrings_id: u64,
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {finding}")]
pub struct BadPage {
    path: String,
    finding: String,
}

/// Number of a line or a person, and the change.
type NumberedChange = (u64, Result<Change, BadLine>);

/// Whether a text consists of pages, not of lines.
pub(crate) fn is_page(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii_start();
    let key = |name: &str| memchr::memmem::find(&text[..text.len().min(1 << 20)], name.as_bytes()).is_some();
    match text.first() {
        Some(b'<') => true,
        // A page may be longer than is searched below, with its list first.
        Some(b'{') if begins_as_page(&text[1..]) => true,
        Some(b'{') => {
            // A line of changes has `sequence`, a page does not.
            let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let has = |name: &str| memchr::memmem::find(first, name.as_bytes()).is_some();
            !has("\"sequence\"") && (key("\"fraEndringsId\"") || key("\"tilEndringsId\""))
        }
        _ => false,
    }
}

fn begins_as_page(object: &[u8]) -> bool {
    let keys = ["\"list\"", "\"fraEndringsId\"", "\"tilEndringsId\"", "\"sisteEndringsId\""];
    keys.iter().any(|key| object.trim_ascii_start().starts_with(key.as_bytes()))
}

/// Whether the beginning of a text is too short to tell pages from lines.
pub(crate) fn is_undecided(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii();
    text.is_empty() || text == b"{"
}

/// Parses one page in XML, or any number of consecutive pages in JSON. `time` is when they were fetched: pages
/// have no time.
///
/// Persons that are rejected precede their page as bad lines, numbered by line (XML) or position in the list
/// (JSON), from 1.
pub(crate) fn parse(text: &[u8], path: &Path, time: Timestamp) -> Result<Vec<NumberedChange>, BadPage> {
    let bad = |finding: String| BadPage { path: path.display().to_string(), finding };
    let time = moment::nanoseconds(time).ok_or_else(|| bad("the time is out of range".to_owned()))?;
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut read = Vec::new();
    if text.trim_ascii_start().starts_with(b"<") {
        // The message names the path.
        let page = ChangesPage::read(text, path)
            .map_err(|error| BadPage { path: "page".to_owned(), finding: error.to_string() })?;
        take(page.from, page.to, page.persons, time, &mut read);
        return Ok(read);
    }
    let mut pages = serde_json::Deserializer::from_slice(text).into_iter::<RestPage>();
    loop {
        match pages.next() {
            None => return Ok(read),
            // The message of the JSON parser may quote a person, so only line and column are reported.
            Some(Err(error)) => {
                let (line, column) = (error.line(), error.column());
                return Err(bad(format!(
                    "line {line}, column {column}: this is not a page of hentEndringer"
                )));
            }
            Some(Ok(page)) => {
                let persons = (1..).zip(page.list).collect();
                take(page.fra_endrings_id, page.til_endrings_id, persons, time, &mut read);
            }
        }
    }
}

fn take(from: u64, to: u64, given: Vec<(u64, Person)>, time: i64, read: &mut Vec<NumberedChange>) {
    let mut persons = Vec::with_capacity(given.len());
    let last = given.last().map_or(1, |(line, _)| *line);
    for (line, person) in given {
        match put_person(&person, day_of(time)) {
            Ok(person) => persons.push(person),
            Err(reason) => read.push((line, Err(BadLine { sequence: None, time: None, reason }))),
        }
    }
    let change = match (from..=SEQUENCE_MAX).contains(&to) {
        true => Ok(Change { sequence: to, time, what: ChangeBody::PutPersons { previous: from, persons } }),
        false => Err(BadLine { sequence: None, time: None, reason: reason("bad_value", "tilEndringsId") }),
    };
    read.push((last, change));
}
