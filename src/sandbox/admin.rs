//! `/sandbox`: the page, the recipients, the faults and the calls.

use super::faults::FaultRule;
use super::maskinporten::Client;
use super::recorded::Wanted;
use super::reply::Reply;
use super::world::World;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// The files that clients may fetch: the sandbox is for those who can reach it.
pub(super) const FILES: [&str; 16] = [
    "ca.pem",
    "operator.pem",
    "operator.key",
    "operator2.pem",
    "operator2.key",
    "dispatcher.pem",
    "dispatcher.key",
    "sender.pem",
    "sender.key",
    "maskinporten.jwk",
    "maskinporten.pem",
    "far.toml",
    "krr.toml",
    "kivra.toml",
    "signatories.toml",
    "recipients.csv",
];

/// Most recipients of an answer, unless asked otherwise.
const RECIPIENTS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Residents {
    register: Option<String>,
    state: Option<String>,
    id: Option<String>,
    limit: Option<usize>,
}

/// Answers a call to `/sandbox` and what follows it.
pub(super) fn answer(world: &World, method: &Method, rest: &str, query: Option<&str>, body: &[u8]) -> Reply {
    let query = query.unwrap_or_default();
    match (method, rest) {
        (&Method::GET, "" | "/") => {
            Reply::new(StatusCode::OK, "text/html; charset=utf-8", world.page.clone())
        }
        (&Method::GET, "/recipients") => match serde_urlencoded::from_str(query) {
            Ok(wanted) => Reply::json(StatusCode::OK, &residents(world, &wanted)),
            Err(error) => bad(&error),
        },
        (&Method::GET, "/requests") => match serde_urlencoded::from_str::<Wanted>(query) {
            Ok(wanted) => {
                let calls = world.recorded.wanted(&wanted);
                Reply::json(StatusCode::OK, &json!({ "count": calls.len(), "requests": calls }))
            }
            Err(error) => bad(&error),
        },
        (&Method::DELETE, "/requests") => {
            world.recorded.clear();
            Reply::new(StatusCode::NO_CONTENT, "text/plain", "")
        }
        (&Method::GET, "/faults") => Reply::json(StatusCode::OK, &json!({ "faults": world.faults.all() })),
        (&Method::POST | &Method::PUT, "/faults") => {
            // A list, or one fault: each with the error of its form.
            let rules = match body.trim_ascii_start().first() {
                Some(b'[') => serde_json::from_slice::<Vec<FaultRule>>(body),
                _ => serde_json::from_slice::<FaultRule>(body).map(|rule| vec![rule]),
            };
            let rules = match rules {
                Ok(rules) => rules,
                Err(error) => return bad(&error),
            };
            match world.faults.add(rules, method == Method::PUT) {
                Ok(()) => Reply::json(StatusCode::OK, &json!({ "faults": world.faults.all() })),
                Err(finding) => bad(&finding),
            }
        }
        (&Method::DELETE, "/faults") => {
            world.faults.clear();
            Reply::new(StatusCode::NO_CONTENT, "text/plain", "")
        }
        (&Method::POST, "/clients") => match serde_json::from_slice::<Client>(body) {
            Ok(client) => {
                world.maskinporten.register(client);
                Reply::new(StatusCode::NO_CONTENT, "text/plain", "")
            }
            Err(error) => bad(&error),
        },
        (&Method::GET, _) => match rest.strip_prefix("/files/").filter(|name| FILES.contains(name)) {
            Some(name) => match world.place.read(name) {
                Ok(Some(text)) => Reply::new(StatusCode::OK, "text/plain; charset=utf-8", text),
                _ => Reply::new(StatusCode::NOT_FOUND, "text/plain", "the file is not there"),
            },
            None => unknown(),
        },
        _ => unknown(),
    }
}

fn unknown() -> Reply {
    Reply::new(StatusCode::NOT_FOUND, "text/plain", "GET /sandbox says what there is")
}

fn bad(error: &impl ToString) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }))
}

fn residents(world: &World, wanted: &Residents) -> Value {
    let Residents { register, state, id, limit } = wanted;
    let found = world.residents.iter().filter(|resident| {
        register.as_ref().is_none_or(|register| register == resident.register)
            && state.as_ref().is_none_or(|state| state == resident.state)
            && id.as_ref().is_none_or(|id| *id == resident.id)
    });
    let found = found.take(limit.unwrap_or(RECIPIENTS));
    let found: Vec<Value> = found
        .map(|resident| json!({ "register": resident.register, "state": resident.state, "id": resident.id }))
        .collect();
    json!({ "recipients": found })
}
