//! RSA keys as JWK (RFC 7517, RFC 7518): a key, or a set of keys.

use super::KeyFile;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use der::asn1::UintRef;
use der::{Encode, Sequence};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer};
use serde::Deserialize;

/// A JWK. Members that are not used are ignored, as the standard says.
#[derive(Deserialize)]
struct Jwk {
    #[serde(default)]
    kty: String,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
    oth: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// `RSAPrivateKey` of RFC 8017, with two primes.
#[derive(Sequence)]
struct RsaPrivateKey<'k> {
    version: u8,
    modulus: UintRef<'k>,
    public_exponent: UintRef<'k>,
    private_exponent: UintRef<'k>,
    prime1: UintRef<'k>,
    prime2: UintRef<'k>,
    exponent1: UintRef<'k>,
    exponent2: UintRef<'k>,
    coefficient: UintRef<'k>,
}

/// Reads a private RSA key. Of a set, it is the key with the id `kid`, or the only one.
///
/// Errors: what is wrong and what to do, without any value of the key.
pub(super) fn read(file: &[u8], kid: Option<&str>) -> Result<KeyFile, String> {
    // The error of serde would name content.
    let bad = |error: serde_json::Error| {
        format!("it is not a JWK, at line {} column {}", error.line(), error.column())
    };
    let is_set = serde_json::from_slice::<JwkSet>(file);
    let jwk = match is_set {
        Ok(JwkSet { keys }) => select(keys, kid)?,
        Err(_) => serde_json::from_slice(file).map_err(bad)?,
    };
    if jwk.kty != "RSA" {
        return Err("it is not a JWK of an RSA key (kty is not RSA), which Maskinporten needs".to_owned());
    }
    if jwk.d.is_none() {
        return Err("it is a public key (a JWK without d): name the file of the private one".to_owned());
    }
    if jwk.oth.is_some() {
        return Err(
            "it is an RSA key with more than two primes, which nothing supports: make another".to_owned()
        );
    }
    let key = PrivatePkcs1KeyDer::from(encode(&jwk)?);
    Ok(KeyFile { key: PrivateKeyDer::Pkcs1(key), chain: Vec::new(), kid: jwk.kid })
}

fn select(keys: Vec<Jwk>, kid: Option<&str>) -> Result<Jwk, String> {
    let has_kid = keys.iter().any(|key| kid.is_some() && key.kid.as_deref() == kid);
    let mut private: Vec<Jwk> =
        keys.into_iter().filter(|key| key.d.is_some() && (!has_kid || key.kid.as_deref() == kid)).collect();
    match (private.pop(), private.len()) {
        (Some(key), 0) => Ok(key),
        (None, _) => Err("it is a set of JWK without a private key: name the file of the private one".to_owned()),
        (Some(_), _) => {
            Err("it is a set of several JWK: write the one that is registered into a file of its own, or name its kid"
                .to_owned())
        }
    }
}

fn encode(jwk: &Jwk) -> Result<Vec<u8>, String> {
    let number = |name: &str, text: &Option<String>| {
        let text = text.as_deref().ok_or_else(|| {
            format!("the JWK lacks {name}: export it with all of n, e, d, p, q, dp, dq and qi")
        })?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        bytes.map_err(|_| format!("{name} of the JWK is not base64url"))
    };
    let [n, e, d, p, q, dp, dq, qi] = [
        number("n", &jwk.n)?,
        number("e", &jwk.e)?,
        number("d", &jwk.d)?,
        number("p", &jwk.p)?,
        number("q", &jwk.q)?,
        number("dp", &jwk.dp)?,
        number("dq", &jwk.dq)?,
        number("qi", &jwk.qi)?,
    ];
    let key = || {
        let key = RsaPrivateKey {
            version: 0,
            modulus: UintRef::new(&n)?,
            public_exponent: UintRef::new(&e)?,
            private_exponent: UintRef::new(&d)?,
            prime1: UintRef::new(&p)?,
            prime2: UintRef::new(&q)?,
            exponent1: UintRef::new(&dp)?,
            exponent2: UintRef::new(&dq)?,
            coefficient: UintRef::new(&qi)?,
        };
        key.to_der()
    };
    key().map_err(|_| "the numbers of the JWK are too long for a key".to_owned())
}
