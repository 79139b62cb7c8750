//! Kivra's usermatch and companymatch, and the endpoint of its tokens.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The tenant, its client and the client's secret: they protect nothing.
pub(super) const TENANT: &str = "15514a7e0c3d9b26f8e1507a4c92d36bb0e8f571";
pub(super) const CLIENT: &str = "nabar-sandbox";
pub(super) const SECRET: &str = "not-a-secret";
/// Seconds for which a token is valid.
const TOKEN_SECONDS: u32 = 28_800;
const IDS_MAX: usize = 500_000;
/// Tokens that are remembered.
const TOKENS_MAX: usize = 10_000;

/// Those who have a Kivra mailbox, and the tokens.
pub(super) struct Kivra {
    /// As Kivra writes them: persons with 12 digits, organisations as VAT numbers.
    reachable: BTreeSet<String>,
    tokens: Mutex<HashMap<String, Instant>>,
}

/// An answer: status, and JSON.
pub(super) type Answer = (StatusCode, Value);

fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    (status, json!({ "code": code, "short_message": message, "long_message": message }))
}

impl Kivra {
    pub(super) fn new(ids: impl Iterator<Item = String>) -> Kivra {
        let address = |id: String| match id.strip_prefix("16") {
            Some(number) => format!("SE{number}01"),
            None => id,
        };
        Kivra { reachable: ids.map(address).collect(), tokens: Mutex::default() }
    }

    /// `POST /v1/auth`. `ends` is when the token really ends, if a fault says so.
    pub(super) fn token(&self, authorization: Option<&str>, form: &[u8], ends: Option<u32>) -> Answer {
        let form: Vec<(String, String)> = serde_urlencoded::from_bytes(form).unwrap_or_default();
        if !form.iter().any(|(name, value)| name == "grant_type" && value == "client_credentials") {
            return (StatusCode::BAD_REQUEST, json!({ "error": "unsupported_grant_type" }));
        }
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pairs = [format!("{CLIENT}:{SECRET}"), format!("{}:{}", encoded(CLIENT), encoded(SECRET))];
        let expected = pairs.map(|pair| format!("Basic {}", BASE64_STANDARD.encode(pair)));
        if !authorization.is_some_and(|given| expected.iter().any(|expected| expected == given)) {
            return (StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }));
        }
        let mut random = [0; 24];
        if getrandom::fill(&mut random).is_err() {
            return (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": "server_error" }));
        }
        let token = BASE64_URL_SAFE_NO_PAD.encode(random);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, ends| *ends > now);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(token.clone(), now + Duration::from_secs(ends.unwrap_or(TOKEN_SECONDS).into()));
        let scope =
            form.into_iter().find(|(name, _)| name == "scope").map_or_else(String::new, |(_, scope)| scope);
        let answer = json!({
            "access_token": token, "token_type": "bearer", "expires_in": TOKEN_SECONDS, "scope": scope,
        });
        (StatusCode::OK, answer)
    }

    /// `POST /v2/tenant/…`: `rest` is what follows.
    pub(super) fn matched(&self, authorization: Option<&str>, rest: &str, body: &[u8]) -> Answer {
        #[derive(Deserialize)]
        struct List {
            list: Vec<String>,
        }
        let token = authorization.and_then(|given| given.strip_prefix("Bearer ")).unwrap_or_default();
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.get(token).is_none_or(|ends| *ends <= Instant::now()) {
            return refusal(StatusCode::UNAUTHORIZED, "40100", "Unauthorized");
        }
        drop(tokens);
        let (tenant, path) = rest.split_once('/').unwrap_or((rest, ""));
        if tenant != TENANT || !["usermatch/ssn", "companymatch/vatnr"].contains(&path) {
            return refusal(StatusCode::NOT_FOUND, "40400", "Not Found");
        }
        if body.len() > 10_000_000 {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "41300", "Payload Too Large");
        }
        let Ok(List { list }) = serde_json::from_slice::<List>(body) else {
            return refusal(StatusCode::BAD_REQUEST, "40000", "The body is not {\"list\": [...]}");
        };
        if list.len() > IDS_MAX {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "41300", "Too many in the list");
        }
        let is_of_path = |address: &String| address.starts_with("SE") == (path == "companymatch/vatnr");
        let found =
            list.into_iter().filter(|address| is_of_path(address) && self.reachable.contains(address));
        (StatusCode::OK, json!({ "list": found.collect::<Vec<_>>() }))
    }
}
