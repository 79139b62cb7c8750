//! Private keys and certificates of a source file: PEM, JWK and PKCS#12.

mod ec;
mod jwk;
mod pkcs12;
#[cfg(test)]
mod tests;

use super::certificates::CertificateStatus;
use super::config::{PasswordOf, TlsFiles, TokenFile};
use crate::files;
use crate::replica::client::{self, ClientIdentity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// A private key, and what its file says of it.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) key: PrivateKeyDer<'static>,
    /// PKCS#12: the certificate of the key, then the certificates of its issuers up to the root, without it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// JWK: the id of the key.
    pub(super) kid: Option<String>,
}

/// What a source proves itself with.
pub(super) struct Credentials {
    /// The client certificate of TLS.
    pub(super) identity: Option<ClientIdentity>,
    /// The key that signs requests for tokens.
    pub(super) token: Option<KeyFile>,
    /// The first certificate of each chain.
    pub(super) certificates: Vec<CertificateStatus>,
}

impl Credentials {
    /// Reads the files that a source file names. Errors: a text that names the file, and never a password.
    pub(super) fn read(tls: &TlsFiles, token: Option<&TokenFile>) -> Result<Credentials, String> {
        let mut certificates = Vec::new();
        let identity = match (&tls.certificate, &tls.key, &tls.pkcs12) {
            (Some(certificate), Some(key), _) => {
                let chain = client::read_certificates(certificate)?;
                certificates.push(CertificateStatus::of(&chain, certificate)?);
                Some((chain, client::read_private_key(key)?))
            }
            (_, _, Some(path)) => {
                let file = read_secret(path)?;
                let found = pkcs12::read(path, &file, tls.password())?;
                certificates.push(CertificateStatus::of(&found.chain, path)?);
                Some((found.chain, found.key))
            }
            _ => None,
        };
        let mut signing = None;
        if let Some((token, path)) = token.and_then(|token| Some((token, token.key.as_ref()?))) {
            let mut found = read_key(path, token)?;
            if let Some(certificate) = &token.certificate {
                found.chain = client::read_certificates(certificate)?;
            }
            if !found.chain.is_empty() {
                certificates
                    .push(CertificateStatus::of(&found.chain, token.certificate.as_ref().unwrap_or(path))?);
            }
            signing = Some(found);
        }
        Ok(Credentials { identity, token: signing, certificates })
    }
}

/// The key of `[token] key`, in whichever form it is.
fn read_key(path: &Path, token: &TokenFile) -> Result<KeyFile, String> {
    let file = read_secret(path)?;
    let password = token.password();
    let is_pkcs12 = is_der(&file);
    if !is_pkcs12 && password.is_given() {
        return Err(format!(
            "{}: [token] has a password, but the key is not a PKCS#12 file: remove the password, or name that file",
            path.display()
        ));
    }
    match file.trim_ascii_start().first() {
        _ if is_pkcs12 => pkcs12::read(path, &file, password),
        Some(b'{') => {
            jwk::read(&file, token.kid.as_deref()).map_err(|why| format!("{}: {why}", path.display()))
        }
        _ => {
            let key = PrivateKeyDer::from_pem_slice(&file);
            let key = key.map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(KeyFile { key, chain: Vec::new(), kid: None })
        }
    }
}

/// Whether a file begins as DER does, and so may be PKCS#12.
fn is_der(file: &[u8]) -> bool {
    file.starts_with(&[0x30])
}

/// Reads a file with a private key, unless others may read it. PEM without a private key is no secret.
fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let is_public = |file: &[u8]| {
        let is_pem = memchr::memmem::find(file, b"-----BEGIN").is_some();
        is_pem && files::has_no_private_key(file)
    };
    files::read_secret(path, is_public).map_err(|error| format!("{}: {error}", path.display()))
}

impl PasswordOf<'_> {
    /// The password; empty if none is given. Errors: a text that names the key of the source file, and not its value.
    fn read(&self) -> Result<String, String> {
        let table = self.table;
        match (self.file, self.variable) {
            (Some(path), _) => read_line(path, &format!("[{table}] password_file")),
            (None, Some(name)) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => {
                    format!("the environment variable that [{table}] password_env names is not set")
                }
                std::env::VarError::NotUnicode(_) => {
                    format!("the environment variable that [{table}] password_env names is not UTF-8")
                }
            }),
            (None, None) => Ok(String::new()),
        }
    }
}

/// The first line of a file with a secret, which must be its only one. Errors: a text that begins with `key`, and does not
/// name the file: somebody may have written the secret itself in place of its name.
pub(super) fn read_line(path: &Path, key: &str) -> Result<String, String> {
    let file = files::read_secret(path, |_| false).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => format!("{key}: {error}"),
        _ => format!("{key}: the file cannot be read: {}", error.kind()),
    })?;
    let text = String::from_utf8(file).map_err(|_| format!("{key}: the file is not UTF-8"))?;
    let line = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    match line.contains(['\n', '\r', '\0']) {
        true => Err(format!("{key}: the file must have the secret in its only line")),
        false => Ok(line.to_owned()),
    }
}
