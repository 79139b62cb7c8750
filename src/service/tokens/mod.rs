//! Bearer tokens: JWT signed by an issuer whose keys are known.

mod claims;

use super::config::Tokens;
use super::tls::{CredentialsError, Thumbprint};
use crate::files::read_regular;
use crate::replica::client;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Response;
use reqwest::redirect::Policy;
use serde::de::IgnoredAny;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most bytes of a JWKS.
const JWKS_BYTES_MAX: usize = 1 << 20;
/// Time to fetch a JWKS.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Most redirects on the way to a JWKS.
const REDIRECTS_MAX: usize = 10;
/// Tolerated difference between two clocks, in seconds.
pub(crate) const LEEWAY: u64 = 30;

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

/// A valid token.
pub(super) struct VerifiedToken {
    pub(super) organisation: String,
    pub(super) scopes: Vec<String>,
}

/// Why a token is refused. The log has the text, which never contains anything of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("it is not a signed JWT")]
    Malformed,
    #[error("its header or its claims have a name twice")]
    RepeatedName,
    #[error("its header has crit, and no extension is supported")]
    Critical,
    #[error("its typ is not that of an access token (at+jwt, JWT or none)")]
    Type,
    #[error("its algorithm is not in tokens.algorithms, or not that of the key")]
    Algorithm,
    #[error("tokens.jwks has no key with its kid")]
    UnknownKey,
    #[error("its signature is not valid")]
    Signature,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet (nbf)")]
    NotYetValid,
    #[error("it was issued in the future (iat)")]
    IssuedInFuture,
    #[error("it has another issuer than tokens.issuer")]
    Issuer,
    #[error("it has another audience than tokens.audience")]
    Audience,
    #[error("it lacks {0}")]
    Missing(&'static str),
    #[error("{0} has not the form that it should have")]
    Form(&'static str),
    #[error("it is bound to its holder (cnf) in a way that is not supported")]
    Binding,
    #[error("it is bound to a client certificate, and the connection has none")]
    NoCertificate,
    #[error("it is bound to another client certificate than that of the connection")]
    OtherCertificate,
    #[error("it names no organisation")]
    NoOrganisation,
    #[error("consumer and organisation name different organisations")]
    Disagreement,
}

impl From<&ErrorKind> for TokenError {
    fn from(kind: &ErrorKind) -> TokenError {
        let known = |name: &str| ["exp", "nbf", "iss", "aud"].into_iter().find(|other| *other == name);
        match kind {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::NotYetValid,
            ErrorKind::InvalidIssuer => TokenError::Issuer,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            ErrorKind::MissingRequiredClaim(name) => {
                known(name).map_or(TokenError::Malformed, TokenError::Missing)
            }
            ErrorKind::InvalidClaimFormat(name) => {
                known(name).map_or(TokenError::Malformed, TokenError::Form)
            }
            _ => TokenError::Malformed,
        }
    }
}

impl TokenKeys {
    /// Loads the keys from a file or URL.
    pub(super) fn load(tokens: &Tokens) -> Result<TokenKeys, CredentialsError> {
        let bad = |finding: String| CredentialsError { path: PathBuf::from(&tokens.jwks), finding };
        let text = match tokens.is_remote() {
            false => read_regular(Path::new(&tokens.jwks), JWKS_BYTES_MAX as u64)
                .map_err(|error| bad(error.to_string()))?,
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

    /// Verifies a token. `certificate` is the SHA-256 digest of the client certificate of its connection.
    pub(super) fn verify(
        &self,
        token: &str,
        certificate: Option<&Thumbprint>,
    ) -> Result<VerifiedToken, TokenError> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, _] = parts[..] else { return Err(TokenError::Malformed) };
        claims::check_header(&claims::parse_part(header)?)?;
        self.verify_signature(token).map_err(|error| match error {
            // A name that occurs twice may be one that `decode` reads.
            TokenError::Malformed => claims::parse_part(payload).err().unwrap_or(error),
            error => error,
        })?;
        let claims = claims::parse_part(payload)?;
        let now = jiff::Timestamp::now().as_second().saturating_add_unsigned(LEEWAY);
        claims::check_issued(&claims, now as f64)?;
        claims::check_binding(&claims, certificate)?;
        Ok(VerifiedToken { organisation: claims::organisation(&claims)?, scopes: claims::scopes(&claims)? })
    }

    /// Verifies that one of the keys has signed a token, and the registered claims.
    fn verify_signature(&self, token: &str) -> Result<(), TokenError> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            // The header has been parsed before: it names an algorithm that no one knows, such as `none`.
            ErrorKind::Json(_) => TokenError::Algorithm,
            _ => TokenError::Malformed,
        })?;
        let named = |key: &&TokenKey| header.kid.is_none() || key.id.is_none() || key.id == header.kid;
        let mut keys = self.keys.iter().filter(named).peekable();
        keys.peek().ok_or(TokenError::UnknownKey)?;
        let mut found = TokenError::Algorithm;
        for key in keys.filter(|key| key.validation.algorithms.contains(&header.alg)) {
            match decode::<IgnoredAny>(token, &key.key, &key.validation) {
                Ok(_) => return Ok(()),
                Err(error) => match TokenError::from(error.kind()) {
                    // Of several keys at most one has signed it.
                    TokenError::Signature if found != TokenError::Algorithm => {}
                    error => found = error,
                },
            }
        }
        Err(found)
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

#[cfg(test)]
pub(super) mod tests;
