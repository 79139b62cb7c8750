//! Which tokens are accepted, and the reason for each refusal.

use super::*;
use crate::service::config::Time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(in crate::service) const ISSUER: &str = "https://issuer.example/";
pub(in crate::service) const AUDIENCE: &str = "https://nabar.example";
const ORGANISATION: &str = "165560000001";
const CERTIFICATE: Thumbprint = [7; 32];

/// Signs tokens with a key that it writes into a JWKS.
pub(in crate::service) struct TestIssuer {
    key: SigningKey,
    pub(in crate::service) work: TempDir,
}

impl TestIssuer {
    /// An issuer, and the configuration of its tokens.
    pub(in crate::service) fn new(seed: u8) -> (TestIssuer, Tokens) {
        let issuer = TestIssuer {
            key: SigningKey::from_bytes(&[seed; 32]),
            work: tempfile::tempdir().expect("a directory"),
        };
        let jwks = issuer.work.path().join("jwks.json");
        let x = URL_SAFE_NO_PAD.encode(issuer.key.verifying_key());
        let text = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "one"}]}).to_string();
        std::fs::write(&jwks, text).expect("written");
        let tokens = Tokens {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            jwks: jwks.display().to_string(),
            algorithms: vec![Algorithm::EdDSA],
            refresh: Time(SignedDuration::from_hours(1)),
        };
        (issuer, tokens)
    }

    /// A token with any header and claims.
    pub(in crate::service) fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(message.as_bytes()).to_bytes();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token with good claims and others, which replace them or remove them by `null`.
    pub(in crate::service) fn token(&self, other: Value) -> String {
        self.sign(r#"{"alg":"EdDSA","kid":"one"}"#, &claims(other))
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn claims(other: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": now(), "exp": now() + 120,
        "consumer": {"authority": "iso6523-actorid-upis", "ID": "0007:5560000001"},
    });
    for (name, value) in other.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let members = claims.as_object_mut().expect("an object");
    members.retain(|_, value| !value.is_null());
    claims.to_string()
}

fn keys() -> (TestIssuer, TokenKeys) {
    let (issuer, tokens) = TestIssuer::new(1);
    let keys = TokenKeys::load(&tokens).expect("keys");
    (issuer, keys)
}

/// The organisation that a token with these claims names, or why it is refused.
fn verified(other: Value, certificate: Option<&Thumbprint>) -> Result<String, TokenError> {
    let (issuer, keys) = keys();
    keys.verify(&issuer.token(other), certificate).map(|token| token.organisation)
}

#[test]
fn headers_are_those_of_access_tokens() {
    let (issuer, keys) = keys();
    for (more, expected) in [
        ("", None),
        (r#","typ":"JWT""#, None),
        (r#","typ":"jwt""#, None),
        (r#","typ":"at+jwt""#, None),
        (r#","typ":"application/at+jwt""#, None),
        (r#","typ":"id+jwt""#, Some(TokenError::Type)),
        (r#","typ":"dpop+jwt""#, Some(TokenError::Type)),
        (r#","typ":"logout+jwt""#, Some(TokenError::Type)),
        (r#","typ":"token-introspection+jwt""#, Some(TokenError::Type)),
        (r#","typ":"JOSE""#, Some(TokenError::Type)),
        (r#","typ":"""#, Some(TokenError::Type)),
        (r#","typ":null"#, Some(TokenError::Type)),
        (r#","typ":["JWT"]"#, Some(TokenError::Type)),
        (r#","crit":["b64"],"b64":true"#, Some(TokenError::Critical)),
        (r#","crit":["exp"]"#, Some(TokenError::Critical)),
        (r#","crit":[]"#, Some(TokenError::Critical)),
        (r#","crit":null"#, Some(TokenError::Critical)),
        (r#","kid":"two""#, Some(TokenError::RepeatedName)),
        (r#","typ":"JWT","typ":"JWT""#, Some(TokenError::RepeatedName)),
        (r#","x":{"y":1,"y":1}"#, Some(TokenError::RepeatedName)),
    ] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"one"{more}}}"#);
        let found = keys.verify(&issuer.sign(&header, &claims(json!({}))), None);
        assert_eq!(found.err(), expected, "{header}");
    }
    for (header, expected) in [
        (r#"{"alg":"EdDSA"}"#, None),
        (r#"{"alg":"EdDSA","kid":"two"}"#, Some(TokenError::UnknownKey)),
        (r#"{"alg":"RS256","kid":"one"}"#, Some(TokenError::Algorithm)),
        (r#"{"alg":"none","kid":"one"}"#, Some(TokenError::Algorithm)),
        (r#"{"kid":"one"}"#, Some(TokenError::Algorithm)),
        ("[]", Some(TokenError::Malformed)),
        ("", Some(TokenError::Malformed)),
        ("{", Some(TokenError::Malformed)),
    ] {
        let found = keys.verify(&issuer.sign(header, &claims(json!({}))), None);
        assert_eq!(found.err(), expected, "{header}");
    }
}

#[test]
fn registered_claims_have_their_reason() {
    for (other, expected) in [
        (json!({"exp": now() - 60}), TokenError::Expired),
        (json!({"exp": null}), TokenError::Missing("exp")),
        (json!({"exp": "x"}), TokenError::Missing("exp")),
        (json!({"nbf": now() + 120}), TokenError::NotYetValid),
        (json!({"nbf": "x"}), TokenError::Form("nbf")),
        (json!({"iss": "https://other.example/"}), TokenError::Issuer),
        (json!({"iss": null}), TokenError::Missing("iss")),
        (json!({"iss": [ISSUER, "https://other.example/"]}), TokenError::Form("iss")),
        (json!({"aud": "https://other.example"}), TokenError::Audience),
        (json!({"aud": null}), TokenError::Missing("aud")),
        (json!({"iat": now() + 120}), TokenError::IssuedInFuture),
        (json!({"iat": 1e300}), TokenError::IssuedInFuture),
        (json!({"iat": "now"}), TokenError::Form("iat")),
        (json!({"scope": ["a"]}), TokenError::Form("scope")),
    ] {
        assert_eq!(verified(other.clone(), None), Err(expected), "{other}");
    }
    for good in
        [json!({"iat": null}), json!({"iat": now() + 5}), json!({"iat": 0.5}), json!({"iat": now() - 9999})]
    {
        assert_eq!(verified(good.clone(), None).as_deref(), Ok(ORGANISATION), "{good}");
    }
}

#[test]
fn repeated_claims_are_refused() {
    let (issuer, keys) = keys();
    let good = claims(json!({"scope": "a"}));
    let inner = good.strip_prefix('{').expect("an object");
    for repeated in [
        r#""iss":"https://issuer.example/","#,
        r#""exp":1,"#,
        r#""scope":"b","#,
        r#""consumer":{"ID":"0192:991825827"},"#,
        r#""x":[{"y":1,"y":2}],"#,
        r#""x":1,"\u0078":1,"#,
    ] {
        let token = issuer.sign(r#"{"alg":"EdDSA"}"#, &format!("{{{repeated}{inner}"));
        assert_eq!(keys.verify(&token, None).err(), Some(TokenError::RepeatedName), "{repeated}");
    }
    assert!(keys.verify(&issuer.sign(r#"{"alg":"EdDSA"}"#, &good), None).is_ok());
}

#[test]
fn bound_tokens_are_for_the_holder_of_the_certificate() {
    let digest = URL_SAFE_NO_PAD.encode(CERTIFICATE);
    let bound = json!({"cnf": {"x5t#S256": digest}});
    assert_eq!(verified(bound.clone(), Some(&CERTIFICATE)).as_deref(), Ok(ORGANISATION));
    assert_eq!(verified(bound.clone(), Some(&[8; 32])), Err(TokenError::OtherCertificate));
    assert_eq!(verified(bound, None), Err(TokenError::NoCertificate));
    for other in [
        json!({"jkt": digest}),
        json!({"x5t#S256": digest, "jkt": digest}),
        json!({"x5t#S256": 1}),
        json!({"x5t#S256": "!"}),
        json!({"x5t": digest}),
        json!({}),
        json!([]),
        json!("x"),
    ] {
        let found = verified(json!({"cnf": other}), Some(&CERTIFICATE));
        assert_eq!(found, Err(TokenError::Binding), "{other}");
    }
    // A part of the digest is not the digest.
    for part in [&CERTIFICATE[..31], &[]] {
        let other = json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(part)}});
        assert_eq!(verified(other, Some(&CERTIFICATE)), Err(TokenError::OtherCertificate));
    }
}

#[test]
fn the_organisation_has_scheme_and_length() {
    for (id, expected) in [
        ("0192:991825827", Some("991825827")),
        ("0007:5560000001", Some(ORGANISATION)),
        ("0007:165560000001", Some(ORGANISATION)),
        ("0007:991825827", None),
        ("0192:5560000001", None),
        ("0192:99182582", None),
        ("0192:9918258270", None),
        ("0192: 991825827", None),
        ("0192:\u{ff19}91825827", None),
        ("0007:556000-0001", None),
        // Test numbers of persons.
        ("0007:196810199809", None),
        ("0007:6810199809", None),
        ("0192:01017012345", None),
        ("9908:991825827", None),
        ("192:991825827", None),
        (":991825827", None),
        ("991825827", None),
        ("5560000001", None),
        ("0192:0192:991825827", None),
        ("", None),
    ] {
        let found = verified(json!({"consumer": {"ID": id}}), None);
        assert_eq!(found.as_deref(), expected.ok_or(&TokenError::Form("consumer")), "{id}");
    }
    for (other, expected) in [
        (json!({"consumer": null}), Err(TokenError::NoOrganisation)),
        (json!({"consumer": null, "sub": ORGANISATION}), Err(TokenError::NoOrganisation)),
        (json!({"consumer": "0192:991825827"}), Err(TokenError::Form("consumer"))),
        (json!({"consumer": {}}), Err(TokenError::Form("consumer"))),
        (json!({"consumer": {"ID": 1}}), Err(TokenError::Form("consumer"))),
        (
            json!({"consumer": {"authority": "other", "ID": "0192:991825827"}}),
            Err(TokenError::Form("consumer")),
        ),
        (json!({"consumer": null, "organisation": "5560000001"}), Ok(ORGANISATION)),
        (json!({"consumer": null, "organisation": "196810199809"}), Err(TokenError::Form("organisation"))),
        (json!({"consumer": null, "organisation": ""}), Err(TokenError::Form("organisation"))),
        (json!({"organisation": ORGANISATION}), Ok(ORGANISATION)),
        (json!({"organisation": "991825827"}), Err(TokenError::Disagreement)),
    ] {
        let found = verified(other.clone(), None);
        assert_eq!(found.as_deref(), expected.as_ref().map(|text| *text), "{other}");
    }
}

#[test]
fn the_signature_is_that_of_a_known_key() {
    let (issuer, keys) = keys();
    let (other, _) = TestIssuer::new(2);
    assert_eq!(keys.verify(&other.token(json!({})), None).err(), Some(TokenError::Signature));
    let good = issuer.token(json!({}));
    assert!(keys.verify(&good, None).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    for bad in [
        String::new(),
        "abc".to_owned(),
        "..".to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
    ] {
        assert_eq!(keys.verify(&bad, None).err(), Some(TokenError::Malformed), "{bad}");
    }
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    assert_eq!(keys.verify(&unsigned, None).err(), Some(TokenError::Signature));
}
