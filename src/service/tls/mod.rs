//! Certificates: the service's own, and those of clients.

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
pub struct BadKeys {
    pub(super) path: PathBuf,
    pub(super) finding: String,
}

/// Until when a file is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) file: String,
    /// Seconds since 1970.
    pub(super) at: i64,
}

impl Expiry {
    fn new(file: &Path, at: i64) -> Expiry {
        Expiry { file: file.display().to_string(), at }
    }
}

/// What connections are encrypted with, and until when it is good.
pub(super) struct Material {
    /// For handshakes.
    pub(super) server: Arc<ServerConfig>,
    clients: Option<Arc<Authorities>>,
    /// Expiries of certificates.
    pub(super) expiries: Vec<Expiry>,
    /// `nextUpdate` of revocation lists.
    pub(super) next_updates: Vec<Expiry>,
}

impl Material {
    /// Reads certificates, keys and revocation lists.
    pub(super) fn load(tls: &Tls) -> Result<Material, BadKeys> {
        let chain = certificates(&tls.certificate)?;
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |error: &dyn std::fmt::Display| BadKeys { path: path.clone(), finding: error.to_string() }
        };
        let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| bad(&tls.key)(&error))?;
        let mut expiries = Vec::from_iter(expiry(&tls.certificate, &chain[..1]));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (clients, Expiries { roots, next_updates }) = match tls.asks_clients() {
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
    /// certificate. Errors: the chain is not valid any more.
    pub(super) fn organisation(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<Option<Result<String, NoOrganisation>>, rustls::Error> {
        self.clients.as_ref().map_or(Ok(None), |clients| clients.organisation(chain))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadKeys> {
    let bad = |finding: String| BadKeys { path: path.to_owned(), finding };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
    let whole = certificates.iter().all(|der| x509_parser::parse_x509_certificate(der).is_ok());
    match whole && !certificates.is_empty() {
        true => Ok(certificates),
        false => Err(bad("it holds no certificate, or one that cannot be read".to_owned())),
    }
}

/// When the first of some certificates expires.
fn expiry(path: &Path, certificates: &[CertificateDer<'_>]) -> Option<Expiry> {
    let times = certificates.iter().filter_map(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    times.min().map(|at| Expiry::new(path, at))
}

#[cfg(test)]
mod tests;
