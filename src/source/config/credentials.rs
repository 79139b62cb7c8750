//! The tables `[tls]` and `[token]` of a source file: files and names, and which of them fit together.

use super::{SourceKind, check_address};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Certificates and keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// The client's certificate and the intermediate ones, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// Certificates and key in one PKCS#12 file, in place of `certificate` and `key`.
    pub pkcs12: Option<PathBuf>,
    /// The file with the password of `pkcs12`.
    pub password_file: Option<PathBuf>,
    /// The environment variable with the password of `pkcs12`.
    pub password_env: Option<String>,
    /// Roots of the register's certificate; Mozilla's if absent.
    pub ca: Option<PathBuf>,
}

/// How an access token is obtained: from Maskinporten with a key (KRR), or from Kivra with a secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// KRR: the issuer, such as `https://maskinporten.no/`. Kivra: the address that gives tokens; `/v1/auth` after the
    /// address of the register if absent.
    pub issuer: Option<String>,
    /// The client: `iss` of the assertion, or the user of Kivra.
    pub client_id: String,
    /// KRR: the private RSA key, as PEM, JWK or PKCS#12.
    pub key: Option<PathBuf>,
    /// KRR: the file with the password of a PKCS#12 file.
    pub password_file: Option<PathBuf>,
    /// KRR: the environment variable with the password of a PKCS#12 file.
    pub password_env: Option<String>,
    /// KRR: the key's id. If absent, that of a JWK is sent, or a chain of certificates.
    pub kid: Option<String>,
    /// KRR: the certificate of the key and the intermediate ones, as PEM: sent as `x5c` instead of `kid`.
    pub certificate: Option<PathBuf>,
    /// Kivra: the file with the client's secret.
    pub secret_file: Option<PathBuf>,
    /// Kivra: the key of the tenant, which is the sender.
    pub tenant: Option<String>,
    /// Scopes; those that outcomes need if absent.
    pub scopes: Option<Vec<String>>,
    /// KRR: the organisation for which a supplier asks; `--on-behalf-of` names another one for a job.
    pub consumer_org: Option<String>,
}

/// Where a password is.
#[derive(Clone, Copy)]
pub(in crate::source) struct PasswordOf<'f> {
    /// The table of the source file, for errors.
    pub(in crate::source) table: &'static str,
    pub(in crate::source) file: Option<&'f Path>,
    /// The name of an environment variable.
    pub(in crate::source) variable: Option<&'f str>,
}

impl PasswordOf<'_> {
    pub(in crate::source) fn is_given(&self) -> bool {
        self.file.is_some() || self.variable.is_some()
    }

    /// Errors do not repeat the name: somebody may have written the password in its place.
    fn check(&self) -> Result<(), String> {
        let table = self.table;
        if self.file.is_some() && self.variable.is_some() {
            return Err(format!("[{table}] has both password_file and password_env: remove one of them"));
        }
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = |name: &str| {
            name.bytes().all(is_of_name) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
        };
        match self.variable.is_none_or(is_name) {
            true => Ok(()),
            false => Err(format!(
                "[{table}] password_env is the name of an environment variable: letters, digits and underscores"
            )),
        }
    }
}

impl TlsFiles {
    pub(in crate::source) fn password(&self) -> PasswordOf<'_> {
        PasswordOf {
            table: "tls",
            file: self.password_file.as_deref(),
            variable: self.password_env.as_deref(),
        }
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let TlsFiles { certificate, key, pkcs12, password_file, password_env: _, ca } = self;
        [certificate, key, pkcs12, password_file, ca].into_iter().flatten()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let bad = |text: &str| Err(text.to_owned());
        match (&self.certificate, &self.key, &self.pkcs12) {
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return bad(
                    "[tls] has both pkcs12 and certificate or key: pkcs12 has them, remove the others",
                );
            }
            (Some(_), None, None) | (None, Some(_), None) => {
                return bad("[tls] has a certificate without a key, or a key without a certificate");
            }
            (.., None) if self.password().is_given() => {
                return bad(
                    "[tls] has a password, but no pkcs12 file that it opens: remove it, or name the file",
                );
            }
            _ => {}
        }
        self.password().check()
    }
}

/// The scopes without which KRR leaves out what outcomes depend on, and every letter would go on paper: of its own clients,
/// and of suppliers.
const KRR_SCOPES: [[&str; 2]; 2] = [
    ["krr:global/kontaktinformasjon.read", "krr:global/kontaktinfo.read"],
    ["krr:global/digitalpost.read", "krr:global/postkasse.read"],
];

/// The method and the path in the scopes of Kivra's calls. Both calls are made with POST; Kivra's documentation names the
/// methods so.
const KIVRA_SCOPES: [(&str, &str); 2] = [("get", "usermatch.ssn"), ("post", "companymatch.vatnr")];

impl TokenFile {
    pub(in crate::source) fn password(&self) -> PasswordOf<'_> {
        PasswordOf {
            table: "token",
            file: self.password_file.as_deref(),
            variable: self.password_env.as_deref(),
        }
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let TokenFile { key, password_file, certificate, secret_file, .. } = self;
        [key, password_file, certificate, secret_file].into_iter().flatten()
    }

    /// The scopes that are asked for.
    pub fn scopes(&self) -> Vec<String> {
        match (&self.scopes, &self.tenant) {
            (Some(scopes), _) => scopes.clone(),
            (None, Some(tenant)) => KIVRA_SCOPES
                .map(|(method, path)| format!("{method}:kivra.v2.tenant.{tenant}.{path}"))
                .to_vec(),
            (None, None) => KRR_SCOPES.map(|[name, _]| name.to_owned()).to_vec(),
        }
    }

    pub(super) fn check(&self, kind: SourceKind) -> Result<(), String> {
        if let Some(issuer) = &self.issuer {
            check_address(issuer, "[token] issuer")?;
        }
        match kind {
            SourceKind::Far => {
                Err("FaR takes no tokens: remove [token], and name a client certificate in [tls]".to_owned())
            }
            SourceKind::Krr => self.check_krr(),
            SourceKind::Kivra => self.check_kivra(),
        }
    }

    fn check_krr(&self) -> Result<(), String> {
        let bad = |text: &str| Err(text.to_owned());
        if self.secret_file.is_some() || self.tenant.is_some() {
            return bad("[token] secret_file and tenant are Kivra's: Maskinporten takes a key");
        }
        if self.issuer.is_none() || self.key.is_none() {
            return bad("[token] needs issuer, such as \"https://maskinporten.no/\", and key");
        }
        if self.kid.is_some() && self.certificate.is_some() {
            return bad("[token] has both kid and certificate: Maskinporten takes one of them");
        }
        self.password().check()?;
        let scopes = self.scopes();
        let has = |names: &[&str; 2]| scopes.iter().any(|scope| names.contains(&&**scope));
        match KRR_SCOPES.iter().find(|names| !has(names)) {
            None => Ok(()),
            Some([name, of_suppliers]) => Err(format!(
                "[token] scopes lacks {name} (for suppliers {of_suppliers}), without which outcomes are wrong"
            )),
        }
    }

    fn check_kivra(&self) -> Result<(), String> {
        let bad = |text: &str| Err(text.to_owned());
        let TokenFile { key, kid, certificate, consumer_org, .. } = self;
        if key.is_some() || kid.is_some() || certificate.is_some() || consumer_org.is_some() {
            return bad(
                "[token] key, kid, certificate and consumer_org are Maskinporten's: Kivra takes a secret_file",
            );
        }
        if self.password().is_given() {
            return bad("[token] password_file and password_env are for PKCS#12: Kivra takes a secret_file");
        }
        let (Some(tenant), Some(_)) = (&self.tenant, &self.secret_file) else {
            return bad("[token] needs tenant, the key of the tenant at Kivra, and secret_file");
        };
        // It is part of addresses and scopes.
        let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if tenant.is_empty() || tenant.len() > 128 || !tenant.bytes().all(is_of_key) {
            return bad("[token] tenant is the key of the tenant at Kivra: letters and digits");
        }
        let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if self.client_id.is_empty() || !self.client_id.bytes().all(is_visible) {
            return bad("[token] client_id has a character that no client of Kivra has");
        }
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        match self.scopes() {
            scopes if scopes.is_empty() || !scopes.iter().all(is_scope) => {
                bad("[token] scopes must have a scope, and a scope has no blanks")
            }
            _ => Ok(()),
        }
    }
}
