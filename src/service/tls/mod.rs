//! TLS: the server's certificate, and the authorities of client certificates.

mod clients;
mod organisation;
mod revocation;

pub(in crate::service) use organisation::{NoOrganisation, normal};

use super::config::Tls;
use clients::{Authorities, Expiries};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {finding}", path.display())]
pub struct CredentialsError {
    pub(super) path: PathBuf,
    pub(super) finding: String,
}

/// When the certificates or lists of a file expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) file: String,
    /// Seconds since 1970.
    pub(super) time: i64,
}

impl Expiry {
    fn new(file: &Path, time: i64) -> Expiry {
        Expiry { file: file.display().to_string(), time }
    }
}

/// What handshakes need, and when it expires.
pub(super) struct Material {
    pub(super) server: Arc<ServerConfig>,
    clients: Option<Arc<Authorities>>,
    /// Expiries of certificates.
    pub(super) expiries: Vec<Expiry>,
    /// `nextUpdate` of revocation lists.
    pub(super) next_updates: Vec<Expiry>,
}

impl Material {
    /// Loads certificates, keys and revocation lists.
    pub(super) fn load(tls: &Tls) -> Result<Material, CredentialsError> {
        let chain = certificates(&tls.certificate)?;
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |error: &dyn std::fmt::Display| CredentialsError {
                path: path.clone(),
                finding: error.to_string(),
            }
        };
        let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| bad(&tls.key)(&error))?;
        let mut expiries = Vec::from_iter(expiry(&tls.certificate, &chain[..1]));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (clients, Expiries { roots, next_updates }) = match tls.requests_client_certificates() {
            false => (None, Expiries::default()),
            true => Authorities::read(tls, &provider).map(|(read, ends)| (Some(Arc::new(read)), ends))?,
        };
        expiries.extend(roots);
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&tls.certificate)(&error))?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.clone()),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(|error| bad(&tls.key)(&error))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Material { server: Arc::new(server), clients, expiries, next_updates })
    }

    /// The organisation of a client by the chain of a completed handshake; `None` if the client sent no
    /// certificate. Errors: the chain is no longer valid.
    pub(super) fn organisation(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<Option<Result<String, NoOrganisation>>, rustls::Error> {
        self.clients.as_ref().map_or(Ok(None), |clients| clients.organisation(chain))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let bad = |finding: String| CredentialsError { path: path.to_owned(), finding };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
    let whole = certificates.iter().all(|der| x509_parser::parse_x509_certificate(der).is_ok());
    match whole && !certificates.is_empty() {
        true => Ok(certificates),
        false => Err(bad("it contains no certificate, or one that cannot be parsed".to_owned())),
    }
}

/// When the first of some certificates expires.
fn expiry(path: &Path, certificates: &[CertificateDer<'_>]) -> Option<Expiry> {
    let times = certificates.iter().filter_map(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    times.min().map(|time| Expiry::new(path, time))
}

#[cfg(test)]
mod tests;
