//! Access tokens: obtained from Maskinporten with a signed assertion, or from Kivra with a secret; kept until they end.

use super::answer::CallError;
use super::call::{HttpClient, Reply};
use super::config::{SourceFile, SourceKind};
use super::keys::{KeyFile, read_line};
use super::maskinporten::Maskinporten;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

const FORM: &str = "application/x-www-form-urlencoded";
/// A token is renewed when less than this is left of it.
const RENEWED_BEFORE: SignedDuration = SignedDuration::from_secs(30);

/// Obtains tokens, and keeps the last one until it ends.
pub(super) struct Tokens {
    issuer: Issuer,
    /// What the token must allow.
    scopes: Vec<String>,
    token: Mutex<Option<Token>>,
}

/// Who gives tokens.
enum Issuer {
    Maskinporten(Box<Maskinporten>),
    Kivra(KivraClient),
}

/// A client of Kivra: OAuth's client credentials.
struct KivraClient {
    address: String,
    /// `Basic` with the client's name and secret.
    authorization: HeaderValue,
    form: String,
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

impl Tokens {
    /// `None` if the source needs no tokens. Errors: a key or secret cannot be used; the text names the file.
    pub(super) fn new(
        file: &SourceFile,
        key: Option<&KeyFile>,
        on_behalf_of: Option<&str>,
    ) -> Result<Option<Tokens>, String> {
        let Some(token) = &file.token else { return Ok(None) };
        let issuer = match (file.kind, key) {
            (SourceKind::Kivra, _) => Issuer::Kivra(KivraClient::new(file)?),
            (_, Some(key)) => Issuer::Maskinporten(Box::new(Maskinporten::new(token, key, on_behalf_of)?)),
            (_, None) => return Ok(None),
        };
        Ok(Some(Tokens { issuer, scopes: token.scopes(), token: Mutex::new(None) }))
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

    /// The header of a request with a token, and the token. Errors: none can be obtained.
    pub(super) async fn header(&self, http: &HttpClient) -> Result<(HeaderMap, String), CallError> {
        let token = self.get(http).await?;
        let value = secret_header(&format!("Bearer {token}"));
        let value = value.ok_or_else(|| CallError::Stop("the access token is malformed".to_owned()))?;
        Ok((HeaderMap::from_iter([(AUTHORIZATION, value)]), token))
    }

    /// Forgets a token that the register has refused.
    pub(super) async fn forget(&self, refused: &str) {
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|token| token.text == refused) {
            *kept = None;
        }
    }

    async fn obtain(&self, http: &HttpClient) -> Result<(String, i64), CallError> {
        let name = self.issuer.name();
        let reply = match &self.issuer {
            Issuer::Maskinporten(client) => {
                let form = client.form().map_err(CallError::Stop)?;
                http.post(&client.address(), FORM, HeaderMap::new(), (form, 0)).await?
            }
            Issuer::Kivra(client) => {
                let headers = HeaderMap::from_iter([(AUTHORIZATION, client.authorization.clone())]);
                http.post(&client.address, FORM, headers, (client.form.clone(), 0)).await?
            }
        };
        if !reply.status.is_success() {
            return Err(match &self.issuer {
                Issuer::Maskinporten(client) => client.refusal(&reply),
                Issuer::Kivra(_) => kivra_refusal(&reply),
            });
        }
        let answer: Result<TokenAnswer, _> = serde_json::from_slice(&reply.body);
        let answer = answer.map_err(|_| CallError::BadAnswer(format!("{name}'s answer has no token")))?;
        if let Some(scope) = self.lacking(answer.scope.as_deref()) {
            return Err(CallError::Stop(format!(
                "{name} gives a token without the scope {scope}: ask for it"
            )));
        }
        match answer.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok((answer.access_token, answer.expires_in)),
            false => Err(CallError::BadAnswer(format!("{name}'s token is malformed"))),
        }
    }

    /// A scope that is not granted. Those of Kivra may have wildcards: the call itself shows what they allow.
    fn lacking(&self, granted: Option<&str>) -> Option<&String> {
        let granted: Vec<&str> = match &self.issuer {
            Issuer::Maskinporten(_) => granted?.split(' ').collect(),
            Issuer::Kivra(_) => return None,
        };
        self.scopes.iter().find(|scope| !granted.contains(&scope.as_str()))
    }
}

impl Issuer {
    fn name(&self) -> &'static str {
        match self {
            Issuer::Maskinporten(_) => "Maskinporten",
            Issuer::Kivra(_) => "Kivra",
        }
    }
}

/// A header that is not shown in logs. `None` if it has characters that no header can have.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl KivraClient {
    fn new(file: &SourceFile) -> Result<KivraClient, String> {
        const KEY: &str = "[token] secret_file";
        let token = file.token.as_ref().and_then(|token| Some((token, token.secret_file.as_ref()?)));
        let (token, path) = token.ok_or_else(|| format!("{KEY} is missing"))?;
        let secret = read_line(path, KEY)?;
        if secret.is_empty() {
            return Err(format!("{KEY}: the file is empty"));
        }
        let address = match &token.issuer {
            Some(issuer) => issuer.clone(),
            None => format!("{}/v1/auth", file.address.trim_end_matches('/')),
        };
        let credentials = BASE64_STANDARD.encode(format!("{}:{secret}", token.client_id));
        let authorization = secret_header(&format!("Basic {credentials}"));
        let authorization = authorization.ok_or_else(|| format!("{KEY} cannot be sent"))?;
        // Kivra separates scopes by commas.
        let scopes = reqwest::Url::parse_with_params("form:", [("scope", token.scopes().join(","))]);
        let scopes = scopes.map_err(|error| format!("[token] scopes: {error}"))?;
        let form = format!("grant_type=client_credentials&{}", scopes.query().unwrap_or_default());
        Ok(KivraClient { address, authorization, form })
    }
}

/// An error of Kivra: OAuth's word, or a code of its own.
#[derive(Deserialize)]
struct KivraError {
    #[serde(default)]
    error: String,
    #[serde(default)]
    code: Value,
}

/// What follows from an answer of Kivra without a token. Its texts are not shown.
fn kivra_refusal(reply: &Reply) -> CallError {
    let error: KivraError = match serde_json::from_slice(&reply.body) {
        Ok(error) if matches!(reply.status.as_u16(), 400 | 401 | 403) => error,
        _ => return reply.error("Kivra"),
    };
    // A number, or one in a text.
    let code = error.code.to_string();
    let what = match (&*error.error, code.trim_matches('"')) {
        ("invalid_client", _) | (_, "40100" | "40104") => {
            "it does not know the client or its secret: check [token] client_id and secret_file"
        }
        ("invalid_scope" | "unauthorized_client", _) | (_, "40101" | "40102" | "40300") => {
            "the client may not have one of the scopes: check [token] tenant, ask Kivra for the scope, or leave it out of \
             [token] scopes"
        }
        _ => "check [token] client_id, secret_file, tenant and scopes",
    };
    CallError::Stop(format!("Kivra gives no token (status {}): {what}", reply.status.as_u16()))
}
