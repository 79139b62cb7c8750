//! The token endpoint that Maskinporten has: the JWT bearer grant of RFC 7523, with all of its checks.

use super::faults::Fault;
use super::random::Random;
use crate::service::TOKEN_LEEWAY;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLAIMS: [&str; 8] = ["aud", "iss", "iat", "exp", "jti", "scope", "consumer_org", "resource"];
const NEEDED: [&str; 5] = ["aud", "iss", "iat", "exp", "scope"];
/// Seconds: how far a clock may be away, how long an assertion may be valid, and how long a token is.
const SKEW: i64 = 10;
const ASSERTION_MAX: i64 = 120;
const TOKEN: i64 = 120;
/// The audience of access tokens.
pub(super) const AUDIENCE: &str = "nabar-sandbox";
/// The scopes of KRR.
pub(super) const SCOPES: [&str; 5] = [
    "krr:global/kontaktinformasjon.read",
    "krr:global/digitalpost.read",
    "krr:global/kontaktinfo.read",
    "krr:global/postkasse.read",
    "krr:global/hentendring.read",
];

/// A client, as it is registered at Maskinporten.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) client_id: String,
    /// Its organisation number, 9 digits.
    pub(super) organisation: String,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    /// Its public RSA keys, as JWK with `kid`.
    #[serde(default)]
    pub(super) keys: Vec<Value>,
    /// What each customer has delegated to this supplier.
    #[serde(default)]
    pub(super) customers: BTreeMap<String, Vec<String>>,
}

/// The endpoint, and what it remembers.
pub(super) struct Maskinporten {
    key: SigningKey,
    /// The enterprise certificate that an assertion may have as `x5c` (DER, Base64), and its public key (JWK).
    certificate: (String, Value),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: HashMap<String, Client>,
    /// Assertions that were used, by client and `jti`, and when they end.
    used: HashMap<(String, String), i64>,
}

/// A refusal: the code of OAuth, and the description with Maskinporten's code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenRefusal {
    error: &'static str,
    description: String,
}

fn refused(code: &str) -> TokenRefusal {
    let (error, text) = match code {
        "MP-012" => ("invalid_grant", "Authorization grant has already been used"),
        "MP-100" => ("invalid_client", "Unknown client"),
        "MP-110" => ("invalid_grant", "Invalid JWT audience: it is the issuer, with a slash at its end"),
        "MP-121" => ("invalid_client", "The key has expired"),
        "MP-130" => ("invalid_grant", "The assertion has expired, or the clock is wrong"),
        "MP-200" => ("invalid_scope", "The client may not have the scope"),
        "MP-250" => ("invalid_grant", "The consumer has no access"),
        "MP-251" => ("invalid_grant", "The consumer has not delegated the scope"),
        _ => ("invalid_grant", "Refused"),
    };
    TokenRefusal { error, description: format!("{text} ({code})") }
}

fn invalid(error: &'static str, description: impl Into<String>) -> TokenRefusal {
    TokenRefusal { error, description: description.into() }
}

impl TokenRefusal {
    pub(super) fn json(&self) -> Value {
        json!({ "error": self.error, "error_description": self.description })
    }
}

impl Maskinporten {
    pub(super) fn new(seed: u64, clients: Vec<Client>, certificate: (String, Value)) -> Maskinporten {
        let mut secret = [0; 32];
        Random::new(seed, "tokens").fill(&mut secret);
        let clients = clients.into_iter().map(|client| (client.client_id.clone(), client)).collect();
        let state = State { clients, used: HashMap::new() };
        Maskinporten { key: SigningKey::from_bytes(&secret), certificate, state: Mutex::new(state) }
    }

    /// The keys of access tokens.
    pub(super) fn jwks(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.key.verifying_key());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x, "kid": "sandbox" }] })
    }

    /// Registers a client, or replaces one.
    pub(super) fn register(&self, client: Client) {
        self.lock().clients.insert(client.client_id.clone(), client);
    }

    /// Answers the form of a token request. `issuer` is the address that the client has used; `now` in seconds since 1970.
    pub(super) fn token(
        &self,
        form: &[u8],
        issuer: &str,
        signed_as: &str,
        now: i64,
        faults: &[Fault],
    ) -> Result<Value, TokenRefusal> {
        let mut now = now;
        let mut seconds = TOKEN;
        for fault in faults {
            match fault {
                Fault::TokenError(code) => return Err(refused(code)),
                Fault::ClockSkew(skew) => now = now.saturating_add(*skew),
                // The service behind accepts a token for a while longer.
                Fault::TokenSeconds(given) => seconds = i64::from(*given) - TOKEN_LEEWAY as i64 - 1,
                _ => {}
            }
        }
        let form: Vec<(String, String)> = serde_urlencoded::from_bytes(form)
            .map_err(|_| invalid("invalid_request", "The body is not a form"))?;
        let field =
            |name: &str| form.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let (Some(grant), Some(assertion), 2) = (field("grant_type"), field("assertion"), form.len()) else {
            return Err(invalid("invalid_request", "The form has exactly grant_type and assertion"));
        };
        if grant != GRANT {
            return Err(invalid("unsupported_grant_type", format!("grant_type is {GRANT}")));
        }
        let (claims, client) = self.verified(assertion)?;
        let consumer = self.check(&claims, &client, &[issuer.to_owned()], now)?;
        let scope = claims["scope"].as_str().unwrap_or_default();
        let token = json!({
            "iss": signed_as, "aud": AUDIENCE, "scope": scope, "client_id": client.client_id,
            // The service behind has the clock of this machine.
            "iat": now.min(jiff::Timestamp::now().as_second()), "exp": jiff::Timestamp::now().as_second() + seconds,
            "consumer": { "authority": "iso6523-actorid-upis", "ID": format!("0192:{consumer}") },
        });
        Ok(json!({
            "access_token": self.sign(&token), "token_type": "Bearer", "expires_in": TOKEN - 1, "scope": scope,
        }))
    }

    /// The claims of an assertion whose signature is that of its client.
    fn verified(&self, assertion: &str) -> Result<(Map<String, Value>, Client), TokenRefusal> {
        let malformed = || invalid("invalid_grant", "The assertion is not a signed JWT");
        let part = |index: usize| -> Option<Map<String, Value>> {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(index)?).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        let (header, claims) = (part(0).ok_or_else(malformed)?, part(1).ok_or_else(malformed)?);
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("RS256") => Algorithm::RS256,
            Some("RS384") => Algorithm::RS384,
            Some("RS512") => Algorithm::RS512,
            _ => return Err(invalid("invalid_grant", "The algorithm is RS256, RS384 or RS512")),
        };
        let client = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let client = self.lock().clients.get(client).cloned().ok_or_else(|| refused("MP-100"))?;
        let key = match (header.get("kid"), header.get("x5c")) {
            (Some(kid), None) => {
                let key = client.keys.iter().find(|key| key.get("kid") == Some(kid));
                key.cloned().ok_or_else(|| invalid("invalid_client", "Unknown key identifier"))?
            }
            (None, Some(chain)) => {
                let leaf = chain.as_array().and_then(|chain| chain.first()).and_then(Value::as_str);
                match leaf == Some(self.certificate.0.as_str()) {
                    true => self.certificate.1.clone(),
                    false => {
                        return Err(invalid(
                            "invalid_client",
                            "The certificate is not the enterprise certificate of the sandbox",
                        ));
                    }
                }
            }
            _ => return Err(invalid("invalid_grant", "The header has one of kid and x5c")),
        };
        let component = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
        let key = DecodingKey::from_rsa_components(component("n"), component("e"));
        let key = key.map_err(|_| invalid("invalid_client", "The key of the client is not an RSA key"))?;
        let mut validation = Validation::new(algorithm);
        // The claims are checked below, by Maskinporten's rules.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        let verified = jsonwebtoken::decode::<Value>(assertion, &key, &validation);
        verified.map_err(|_| invalid("invalid_grant", "The signature is not that of the key"))?;
        Ok((claims, client))
    }

    /// Checks the claims. Returns the consumer: the customer, or the client itself.
    fn check(
        &self,
        claims: &Map<String, Value>,
        client: &Client,
        issuers: &[String],
        now: i64,
    ) -> Result<String, TokenRefusal> {
        if let Some(unknown) = claims.keys().find(|name| !CLAIMS.contains(&name.as_str())) {
            // A name that somebody has chosen may be anything.
            let shown = crate::plain_text::masked(unknown, 6);
            return Err(invalid("invalid_grant", format!("Unknown claim {shown}")));
        }
        if let Some(lost) = NEEDED.iter().find(|name| !claims.contains_key(**name)) {
            return Err(invalid("invalid_grant", format!("The claim {lost} is missing")));
        }
        let audience = claims["aud"].as_str();
        if !issuers.iter().any(|issuer| audience == Some(issuer)) {
            return Err(refused("MP-110"));
        }
        let (Some(issued), Some(ends)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
            return Err(invalid("invalid_grant", "iat and exp are whole seconds since 1970"));
        };
        if (issued - now).abs() > SKEW || ends <= now {
            return Err(refused("MP-130"));
        }
        if ends - issued > ASSERTION_MAX {
            return Err(invalid("invalid_grant", "An assertion is valid for at most 120 seconds (MP-130)"));
        }
        let scopes: Vec<&str> = claims["scope"].as_str().unwrap_or_default().split(' ').collect();
        let has = |granted: &[String]| scopes.iter().all(|scope| granted.iter().any(|other| other == scope));
        if scopes.contains(&"") || !has(&client.scopes) {
            return Err(refused("MP-200"));
        }
        let consumer = match claims.get("consumer_org").and_then(Value::as_str) {
            None => client.organisation.clone(),
            Some(customer) => match client.customers.get(customer) {
                None => return Err(refused("MP-250")),
                Some(delegated) if !has(delegated) => return Err(refused("MP-251")),
                Some(_) => customer.to_owned(),
            },
        };
        // The last: an assertion that is refused is not used.
        if let Some(jti) = claims.get("jti").and_then(Value::as_str) {
            let mut state = self.lock();
            state.used.retain(|_, ends| *ends > now);
            if state.used.insert((client.client_id.clone(), jti.to_owned()), ends).is_some() {
                return Err(refused("MP-012"));
            }
        }
        Ok(consumer)
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": "sandbox" });
        let [header, claims] = [&header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claims of an assertion as a client has sent it, unverified, for those who look at its calls.
pub(super) fn claims_of(form: &[u8]) -> Option<Value> {
    let form: Vec<(String, String)> = serde_urlencoded::from_bytes(form).ok()?;
    let (_, assertion) = form.into_iter().find(|(name, _)| name == "assertion")?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?).ok()
}

/// Metadata at `/.well-known/oauth-authorization-server`.
pub(super) fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "token_endpoint": format!("{issuer}token"), "jwks_uri": format!("{issuer}jwk"),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"], "grant_types_supported": [GRANT],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "RS512"],
    })
}

/// A DER certificate as `x5c` has it.
pub(super) fn x5c(der: &[u8]) -> String {
    BASE64_STANDARD.encode(der)
}
