//! Maskinporten: the JWT bearer grant of RFC 7523.
//!
//! The assertion is signed by the cryptography of TLS (ring): its private-key operations take the same time for all
//! keys, which those of the crates for tokens do not promise (RUSTSEC-2023-0071).

use super::answer::CallError;
use super::call::Reply;
use super::config::TokenFile;
use super::keys::KeyFile;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::Signer;
use serde::Deserialize;
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is valid, in seconds: Maskinporten allows 120.
const ASSERTION_SECONDS: i64 = 100;

/// A client of Maskinporten.
pub(super) struct Maskinporten {
    issuer: String,
    client_id: String,
    /// With blanks in between.
    scopes: String,
    consumer_org: Option<String>,
    signer: Box<dyn Signer>,
    /// The id of the key, or its certificates.
    header: Value,
}

#[derive(Deserialize)]
struct TokenError {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Maskinporten {
    /// Errors: the key cannot be used; the text names the file.
    pub(super) fn new(
        file: &TokenFile,
        key: &KeyFile,
        on_behalf_of: Option<&str>,
    ) -> Result<Maskinporten, String> {
        let path = file.key.as_deref().unwrap_or("".as_ref()).display();
        let signing = any_supported_type(&key.key).map_err(|error| format!("{path}: {error}"))?;
        let signer = signing.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signer =
            signer.ok_or_else(|| format!("{path}: it is not an RSA key, which Maskinporten needs"))?;
        let kid = match &file.certificate {
            Some(_) => None,
            None => file.kid.as_ref().or(key.kid.as_ref()),
        };
        let header = match kid {
            Some(kid) => json!({ "alg": "RS256", "kid": kid }),
            None if key.chain.is_empty() => {
                let text = "[token] needs kid, the id of the key at Maskinporten, or certificate";
                return Err(format!("{path}: {text}"));
            }
            None => {
                let chain = key.chain.iter().map(|der| BASE64_STANDARD.encode(der));
                json!({ "alg": "RS256", "x5c": chain.collect::<Vec<_>>() })
            }
        };
        Ok(Maskinporten {
            issuer: file.issuer.as_deref().unwrap_or_default().trim_end_matches('/').to_owned(),
            client_id: file.client_id.clone(),
            scopes: file.scopes().join(" "),
            consumer_org: on_behalf_of.map(str::to_owned).or_else(|| file.consumer_org.clone()),
            signer,
            header,
        })
    }

    /// Where tokens are requested.
    pub(super) fn address(&self) -> String {
        format!("{}/token", self.issuer)
    }

    /// The form that requests a token.
    pub(super) fn form(&self) -> Result<String, String> {
        let assertion = self.assertion(Timestamp::now())?;
        // The grant's name and the assertion have no character that a form must escape, but for the colons.
        Ok(format!("grant_type={}&assertion={assertion}", GRANT.replace(':', "%3A")))
    }

    /// The signed assertion: base64url of header and claims, and the signature of both.
    fn assertion(&self, now: Timestamp) -> Result<String, String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| format!("the system has no random numbers: {error}"))?;
        let issued = now.as_second();
        let mut claims = json!({
            "aud": format!("{}/", self.issuer),
            "iss": self.client_id,
            "scope": self.scopes,
            "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(random),
        });
        if let Some(consumer) = &self.consumer_org {
            claims["consumer_org"] = json!(consumer);
        }
        let [header, claims] =
            [&self.header, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.signer.sign(signed.as_bytes());
        let signature = signature.map_err(|_| "the key of [token] cannot sign".to_owned())?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What follows from an answer without a token.
    pub(super) fn refusal(&self, reply: &Reply) -> CallError {
        match serde_json::from_slice::<TokenError>(&reply.body) {
            Ok(refusal) if reply.status.is_client_error() => refusal.error(),
            _ => reply.error("Maskinporten"),
        }
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
