//! The header and the claims of a token.

use super::TokenError;
use crate::service::tls::{Thumbprint, normal};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::fmt;

/// The identifier scheme of Maskinporten's `consumer`.
const AUTHORITY: &str = "iso6523-actorid-upis";

/// Parses a part of a token: base64url of a JSON object. RFC 7519 lets a reader of repeated names take the last one or
/// refuse the token. Another reader of the same token may take the first, so it is refused.
pub(super) fn parse_part(part: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    match serde_json::from_slice(&bytes) {
        Ok(UniqueNames(Value::Object(members))) => Ok(members),
        // `UniqueNames` has no other error of its own.
        Err(error) if error.is_data() => Err(TokenError::RepeatedName),
        Ok(_) | Err(_) => Err(TokenError::Malformed),
    }
}

/// Checks that the header does not ask for more than is checked, and is that of an access token.
///
/// HelseID and RFC 9068 send `at+jwt`, Maskinporten no `typ`, others `JWT`. Tokens for other purposes are signed with the
/// same keys, and say so: `id+jwt`, `logout+jwt`, `dpop+jwt`.
pub(super) fn check_header(header: &Map<String, Value>) -> Result<(), TokenError> {
    const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];
    if header.contains_key("crit") {
        return Err(TokenError::Critical);
    }
    match header.get("typ") {
        None => Ok(()),
        Some(Value::String(given)) if TYPES.iter().any(|one| given.eq_ignore_ascii_case(one)) => Ok(()),
        Some(_) => Err(TokenError::Type),
    }
}

/// Checks that a token has one issuer, and was not issued in the future. `now` is in seconds since 1970.
pub(super) fn check_issued(claims: &Map<String, Value>, now: f64) -> Result<(), TokenError> {
    // jsonwebtoken accepts a list that has the right one.
    if !claims.get("iss").is_some_and(Value::is_string) {
        return Err(TokenError::Form("iss"));
    }
    match claims.get("iat").map(Value::as_f64) {
        None => Ok(()),
        Some(Some(issued)) if issued <= now => Ok(()),
        Some(Some(_)) => Err(TokenError::IssuedInFuture),
        Some(None) => Err(TokenError::Form("iat")),
    }
}

/// Checks that a bound token is used by its holder: `certificate` is the SHA-256 digest of the client certificate of the
/// connection (RFC 8705). Other bindings, such as `jkt` of DPoP, cannot be checked and are refused.
pub(super) fn check_binding(
    claims: &Map<String, Value>,
    certificate: Option<&Thumbprint>,
) -> Result<(), TokenError> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(()) };
    let members = confirmation.as_object().filter(|members| members.len() == 1);
    let digest = members.and_then(|members| members.get("x5t#S256")?.as_str());
    let digest = digest.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(TokenError::Binding)?;
    match certificate {
        None => Err(TokenError::NoCertificate),
        Some(certificate) if digest == certificate => Ok(()),
        Some(_) => Err(TokenError::OtherCertificate),
    }
}

/// The organisation of a token. Every answer is to an organisation that the audit log names, so a token without one is
/// refused.
pub(super) fn organisation(claims: &Map<String, Value>) -> Result<String, TokenError> {
    let of_consumer = claims.get("consumer").map(|consumer| {
        let number = consumer.as_object().and_then(of_consumer);
        number.ok_or(TokenError::Form("consumer"))
    });
    let of_organisation = claims.get("organisation").map(|organisation| {
        let number = organisation.as_str().and_then(normal);
        number.ok_or(TokenError::Form("organisation"))
    });
    match (of_consumer.transpose()?, of_organisation.transpose()?) {
        (Some(one), Some(other)) if one != other => Err(TokenError::Disagreement),
        (Some(number), _) | (None, Some(number)) => Ok(number),
        (None, None) => Err(TokenError::NoOrganisation),
    }
}

/// `0192:` and nine digits (Norway), or `0007:` and ten or twelve (Sweden).
fn of_consumer(consumer: &Map<String, Value>) -> Option<String> {
    if consumer.get("authority").is_some_and(|authority| authority != AUTHORITY) {
        return None;
    }
    let (scheme, number) = consumer.get("ID")?.as_str()?.split_once(':')?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    match (scheme, number.len()) {
        ("0192", 9) | ("0007", 10 | 12) if digits => normal(number),
        _ => None,
    }
}

/// The names in `scope`, which are separated by spaces.
pub(super) fn scopes(claims: &Map<String, Value>) -> Result<Vec<String>, TokenError> {
    match claims.get("scope") {
        None => Ok(Vec::new()),
        Some(Value::String(names)) => Ok(names.split_ascii_whitespace().map(str::to_owned).collect()),
        Some(_) => Err(TokenError::Form("scope")),
    }
}

/// A JSON value in which no object has two members of one name.
struct UniqueNames(Value);

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(given: D) -> Result<UniqueNames, D::Error> {
        UniqueNamesVisitor.deserialize(given).map(UniqueNames)
    }
}

#[derive(Clone, Copy)]
struct UniqueNamesVisitor;

impl<'de> DeserializeSeed<'de> for UniqueNamesVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, given: D) -> Result<Value, D::Error> {
        given.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNamesVisitor {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
