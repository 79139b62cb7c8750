//! Access tokens of Maskinporten: the JWT bearer grant of RFC 7523.
//!
//! The assertion is signed by the cryptography of TLS (ring): its private-key operations take the same time for all
//! keys, which those of the crates for tokens do not promise (RUSTSEC-2023-0071).

use super::answer::CallError;
use super::call::HttpClient;
use super::config::TokenFile;
use crate::replica::client;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderMap;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::Signer;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const FORM: &str = "application/x-www-form-urlencoded";
/// How long an assertion is valid, in seconds: Maskinporten allows 120.
const ASSERTION_SECONDS: i64 = 100;
/// A token is renewed when less than this is left of it.
const RENEWED_BEFORE: SignedDuration = SignedDuration::from_secs(30);

/// Obtains tokens, and keeps the last one until it ends.
pub(super) struct Tokens {
    file: TokenFile,
    consumer_org: Option<String>,
    key: Box<dyn Signer>,
    /// `x5c` of the header: certificates as base64.
    chain: Vec<String>,
    token: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    /// When it is renewed.
    until: Timestamp,
}

/// The answer to a request for a token.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: i64,
    /// The granted scopes; all that were asked for, if absent.
    scope: Option<String>,
}

#[derive(Deserialize)]
struct TokenError {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Tokens {
    /// Errors: the key cannot be used; the text names the file.
    pub(super) fn new(file: &TokenFile, on_behalf_of: Option<&str>) -> Result<Tokens, String> {
        let unusable = |error: &dyn ToString| format!("{}: {}", file.key.display(), error.to_string());
        let key =
            any_supported_type(&client::read_private_key(&file.key)?).map_err(|error| unusable(&error))?;
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let key = signer.ok_or_else(|| unusable(&"it is not an RSA key, which Maskinporten needs"))?;
        let chain = match &file.certificate {
            None => Vec::new(),
            Some(path) => {
                client::read_certificates(path)?.iter().map(|der| BASE64_STANDARD.encode(der)).collect()
            }
        };
        let consumer_org = on_behalf_of.map(str::to_owned).or_else(|| file.consumer_org.clone());
        Ok(Tokens { file: file.clone(), consumer_org, key, chain, token: Mutex::new(None) })
    }

    /// A token that is valid for some time.
    pub(super) async fn get(&self, http: &HttpClient) -> Result<String, CallError> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Timestamp::now() < token.until) {
            return Ok(token.text.clone());
        }
        let (text, seconds) = self.obtain(http).await?;
        let left = SignedDuration::from_secs(seconds.clamp(0, 86_400));
        let until =
            Timestamp::now().saturating_add(left - RENEWED_BEFORE.min(left / 2)).unwrap_or(Timestamp::MIN);
        *kept = Some(Token { text: text.clone(), until });
        Ok(text)
    }

    /// Forgets a token that the register has refused.
    pub(super) async fn forget(&self, refused: &str) {
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|token| token.text == refused) {
            *kept = None;
        }
    }

    async fn obtain(&self, http: &HttpClient) -> Result<(String, i64), CallError> {
        let assertion = self.assertion(Timestamp::now()).map_err(CallError::Stop)?;
        let address = format!("{}/token", self.file.issuer.trim_end_matches('/'));
        // The grant's name and the assertion have no character that a form must escape, but for the colons.
        let body = format!("grant_type={}&assertion={assertion}", GRANT.replace(':', "%3A"));
        let reply = http.post(&address, FORM, HeaderMap::new(), (body, 0)).await?;
        if reply.status.is_success() {
            let answer: Result<TokenAnswer, _> = serde_json::from_slice(&reply.body);
            let answer =
                answer.map_err(|_| CallError::BadAnswer("Maskinporten's answer has no token".to_owned()))?;
            let granted = answer.scope.as_deref().map(|scope| scope.split(' ').collect::<Vec<_>>());
            let lacks =
                |scope: &&String| granted.as_ref().is_some_and(|granted| !granted.contains(&&***scope));
            if let Some(scope) = self.file.scopes.iter().find(lacks) {
                return Err(CallError::Stop(format!(
                    "Maskinporten gives a token without the scope {scope}: ask for it"
                )));
            }
            return match answer.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => Ok((answer.access_token, answer.expires_in)),
                false => Err(CallError::BadAnswer("Maskinporten's token is malformed".to_owned())),
            };
        }
        match serde_json::from_slice::<TokenError>(&reply.body) {
            Ok(refusal) if reply.status.is_client_error() => Err(refusal.error()),
            _ => Err(reply.error("Maskinporten")),
        }
    }

    /// The signed assertion: base64url of header and claims, and the signature of both.
    fn assertion(&self, now: Timestamp) -> Result<String, String> {
        let header = match &self.file.kid {
            Some(kid) => json!({ "alg": "RS256", "kid": kid }),
            None => json!({ "alg": "RS256", "x5c": self.chain }),
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| format!("the system has no random numbers: {error}"))?;
        let issued = now.as_second();
        let mut claims = json!({
            "aud": format!("{}/", self.file.issuer.trim_end_matches('/')),
            "iss": self.file.client_id,
            "scope": self.file.scopes.join(" "),
            "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(random),
        });
        if let Some(consumer) = &self.consumer_org {
            claims["consumer_org"] = json!(consumer);
        }
        let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(signed.as_bytes());
        let signature = signature.map_err(|_| format!("{}: cannot sign with it", self.file.key.display()))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Maskinporten's codes, and what to do.
const CODES: [(&str, &str); 8] = [
    ("MP-012", "the assertion was used before"),
    ("MP-100", "it does not know client_id: check it"),
    ("MP-110", "it is not the issuer that the assertion names: check [token] issuer"),
    ("MP-121", "the key has expired: register a new one, and name it in [token] key and kid"),
    ("MP-130", "the assertion has expired: check this machine's clock"),
    ("MP-200", "the client may not have one of the scopes: ask for it, or remove it from [token] scopes"),
    ("MP-250", "the customer has no access, or has not delegated it to this supplier: check consumer_org"),
    ("MP-251", "the customer has no access, or has not delegated it to this supplier: check consumer_org"),
];

fn is_of_code(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'_'
}

impl TokenError {
    fn error(&self) -> CallError {
        let known = CODES.iter().find(|(code, _)| self.error_description.contains(code));
        match known {
            // A second assertion has another number.
            Some(("MP-012", why)) => CallError::again(format!("Maskinporten: {why}")),
            Some((code, what)) => CallError::Stop(format!("Maskinporten gives no token ({code}): {what}")),
            // A code of OAuth. Anything else may repeat what was sent.
            None if (1..=40).contains(&self.error.len()) && self.error.bytes().all(is_of_code) => {
                CallError::Stop(format!("Maskinporten gives no token: {}", self.error))
            }
            None => CallError::Stop("Maskinporten gives no token".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        let of = |text: &str| {
            let error = TokenError { error: "invalid_grant".to_owned(), error_description: text.to_owned() };
            match error.error() {
                CallError::Stop(text) => text,
                CallError::Again { why, .. } => format!("again: {why}"),
                other => panic!("{other:?}"),
            }
        };
        assert!(of("Invalid assertion. (MP-130)").contains("clock"));
        assert!(of("MP-012: jti").starts_with("again: "));
        assert_eq!(of("something else"), "Maskinporten gives no token: invalid_grant");
        for (code, _) in CODES {
            assert!(of(code).contains("Maskinporten"));
        }
    }
}
