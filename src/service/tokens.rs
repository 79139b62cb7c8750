//! Bearer tokens: JWT signed by an issuer whose keys are known.

use super::config::Tokens;
use super::tls::{BadKeys, normal};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Most bytes of a JWKS.
const JWKS_BYTES_MAX: u64 = 1 << 20;
/// Seconds that two clocks may differ.
const LEEWAY: u64 = 30;

/// The issuer's keys, and what a token must say.
pub(super) struct Keys {
    keys: Vec<(Option<String>, DecodingKey)>,
    validation: Validation,
}

/// What a token says.
pub(super) struct Token {
    pub(super) organisation: Option<String>,
    pub(super) scopes: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    /// Maskinporten: who asks, as `0192:` or `0007:` and the organisation's number.
    consumer: Option<Consumer>,
    /// Others: the number itself.
    organisation: Option<String>,
    /// Names with spaces between them.
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct Consumer {
    #[serde(rename = "ID")]
    id: String,
}

impl Keys {
    /// Reads the keys, from a file or an address.
    pub(super) fn load(tokens: &Tokens) -> Result<Keys, BadKeys> {
        let bad = |finding: String| BadKeys { path: PathBuf::from(&tokens.jwks), finding };
        let text = match tokens.is_remote() {
            false => std::fs::read(&tokens.jwks).map_err(|error| bad(error.to_string()))?,
            true => fetch(&tokens.jwks).map_err(|error| bad(error.to_string()))?,
        };
        let set: JwkSet =
            serde_json::from_slice(&text).map_err(|_| bad("it is no JSON Web Key Set".to_owned()))?;
        // A key of a kind that is not known here is not for these tokens.
        let keys = set
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.common.key_id.clone(), DecodingKey::from_jwk(jwk).ok()?)));
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            return Err(bad("it has no key that can be used".to_owned()));
        }
        let mut validation = Validation::new(tokens.algorithms[0]);
        validation.algorithms.clone_from(&tokens.algorithms);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&tokens.issuer]);
        validation.set_audience(&[&tokens.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        Ok(Keys { keys, validation })
    }

    /// Checks a token. `None` if it is not to be believed, for whatever reason.
    pub(super) fn check(&self, token: &str) -> Option<Token> {
        let header = decode_header(token).ok()?;
        let named = |id: &Option<String>| header.kid.is_none() || *id == header.kid;
        let mut candidates = self.keys.iter().filter(|(id, _)| named(id));
        let claims =
            candidates.find_map(|(_, key)| decode::<Claims>(token, key, &self.validation).ok())?.claims;
        let number = claims.consumer.map(|consumer| match consumer.id.split_once(':') {
            Some((_, number)) => number.to_owned(),
            None => consumer.id,
        });
        Some(Token {
            organisation: number.or(claims.organisation).map(|number| normal(&number)),
            scopes: claims.scope.split_ascii_whitespace().map(str::to_owned).collect(),
        })
    }
}

fn fetch(address: &str) -> Result<Vec<u8>, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .https_only(true)
        .build()
        .into();
    agent.get(address).call()?.body_mut().with_config().limit(JWKS_BYTES_MAX).read_to_vec()
}
