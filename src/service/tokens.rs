//! Bearer tokens: JWT signed by an issuer whose keys are known.

use super::config::Tokens;
use super::tls::{CredentialsError, normal};
use crate::replica::client;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Response;
use reqwest::redirect::Policy;
use serde::Deserialize;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Most bytes of a JWKS.
const JWKS_BYTES_MAX: usize = 1 << 20;
/// Time to fetch a JWKS.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Most redirects on the way to a JWKS.
const REDIRECTS_MAX: usize = 10;
/// Tolerated difference between two clocks, in seconds.
const LEEWAY: u64 = 30;

/// The keys of the issuer.
pub(super) struct TokenKeys {
    keys: Vec<TokenKey>,
}

/// A key, and the claims that it requires of a token.
struct TokenKey {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

/// The claims of a valid token.
pub(super) struct VerifiedToken {
    pub(super) organisation: Option<String>,
    pub(super) scopes: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    /// Maskinporten: the caller, as `0192:` or `0007:` and the organisation's number.
    consumer: Option<Consumer>,
    /// Other issuers: the number itself.
    organisation: Option<String>,
    /// Names, separated by spaces.
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct Consumer {
    #[serde(rename = "ID")]
    id: String,
}

impl TokenKeys {
    /// Loads the keys from a file or URL.
    pub(super) fn load(tokens: &Tokens) -> Result<TokenKeys, CredentialsError> {
        let bad = |finding: String| CredentialsError { path: PathBuf::from(&tokens.jwks), finding };
        let text = match tokens.is_remote() {
            false => std::fs::read(&tokens.jwks).map_err(|error| bad(error.to_string()))?,
            true => fetch(&tokens.jwks).map_err(|error| bad(error.to_string()))?,
        };
        let set: JwkSet =
            serde_json::from_slice(&text).map_err(|_| bad("it is not a JSON Web Key Set".to_owned()))?;
        // Keys of unknown types cannot have signed these tokens.
        let keys: Vec<TokenKey> = set.keys.iter().filter_map(|jwk| TokenKey::of(jwk, tokens)).collect();
        match keys.is_empty() {
            true => Err(bad("it has no usable key".to_owned())),
            false => Ok(TokenKeys { keys }),
        }
    }

    /// Verifies a token. `None` if it is not valid, for any reason.
    pub(super) fn verify(&self, token: &str) -> Option<VerifiedToken> {
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
        Some(VerifiedToken {
            organisation: number.or(claims.organisation).and_then(|number| normal(&number)),
            scopes: claims.scope.split_ascii_whitespace().map(str::to_owned).collect(),
        })
    }
}

impl TokenKey {
    /// `None` if the key is not for signatures of an accepted algorithm.
    fn of(jwk: &Jwk, tokens: &Tokens) -> Option<TokenKey> {
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
        Some(TokenKey { id: jwk.common.key_id.clone(), key, validation })
    }
}

/// Fetches a JWKS over HTTPS. Redirects are followed on the same host.
fn fetch(address: &str) -> io::Result<Vec<u8>> {
    let redirects = Policy::custom(|attempt| {
        let same_host = attempt.previous()[0].host_str() == attempt.url().host_str();
        match same_host && attempt.previous().len() <= REDIRECTS_MAX {
            true => attempt.follow(),
            false => attempt.error("redirected too often, or to another host"),
        }
    });
    let tls = client::tls(None, None).map_err(io::Error::other)?;
    let client = client::builder(tls).https_only(true).timeout(FETCH_TIMEOUT).redirect(redirects).build();
    let failed = |error| io::Error::other(client::cause(&error));
    let client = client.map_err(failed)?;
    client::runtime()?.block_on(async {
        let response = client.get(address).send().await.and_then(Response::error_for_status);
        client::read_body(response.map_err(failed)?, JWKS_BYTES_MAX).await
    })
}
