//! Bearer tokens: JWT signed by an issuer whose keys are known.

use super::config::Tokens;
use super::tls::{BadKeys, normal};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Most bytes of a JWKS.
const JWKS_BYTES_MAX: u64 = 1 << 20;
/// Seconds that two clocks may differ.
const LEEWAY: u64 = 30;

/// The issuer's keys, and what a token must say.
pub(super) struct Keys {
    keys: Vec<Key>,
}

/// A key, and what a token that it has signed must say.
struct Key {
    id: Option<String>,
    key: DecodingKey,
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
        let keys: Vec<Key> = set.keys.iter().filter_map(|jwk| Key::of(jwk, tokens)).collect();
        match keys.is_empty() {
            true => Err(bad("it has no key that can be used".to_owned())),
            false => Ok(Keys { keys }),
        }
    }

    /// Checks a token. `None` if it is not to be believed, for whatever reason.
    pub(super) fn check(&self, token: &str) -> Option<Token> {
        let header = decode_header(token).ok()?;
        let mut candidates = self.keys.iter().filter(|key| {
            let named = header.kid.is_none() || key.id.is_none() || key.id == header.kid;
            named && key.validation.algorithms.contains(&header.alg)
        });
        let decoded = candidates.find_map(|key| decode::<Claims>(token, &key.key, &key.validation).ok());
        let claims = decoded?.claims;
        let number = claims.consumer.map(|consumer| match consumer.id.split_once(':') {
            Some((_, number)) => number.to_owned(),
            None => consumer.id,
        });
        Some(Token {
            organisation: number.or(claims.organisation).and_then(|number| normal(&number)),
            scopes: claims.scope.split_ascii_whitespace().map(str::to_owned).collect(),
        })
    }
}

impl Key {
    /// A key for signatures of an algorithm that is accepted; `None` if it is another.
    fn of(jwk: &Jwk, tokens: &Tokens) -> Option<Key> {
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let of_kind = |algorithm: &Algorithm| match jwk.algorithm {
            AlgorithmParameters::RSA(_) => matches!(
                algorithm,
                Algorithm::RS256
                    | Algorithm::RS384
                    | Algorithm::RS512
                    | Algorithm::PS256
                    | Algorithm::PS384
                    | Algorithm::PS512
            ),
            AlgorithmParameters::EllipticCurve(_) => matches!(algorithm, Algorithm::ES256 | Algorithm::ES384),
            AlgorithmParameters::OctetKeyPair(_) => matches!(algorithm, Algorithm::EdDSA),
            _ => false,
        };
        let algorithms: Vec<Algorithm> = tokens.algorithms.iter().copied().filter(of_kind).collect();
        let mut validation = Validation::new(*algorithms.first()?);
        validation.algorithms = algorithms;
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&tokens.issuer]);
        validation.set_audience(&[&tokens.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        Some(Key { id: jwk.common.key_id.clone(), key, validation })
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
