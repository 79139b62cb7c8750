//! TLS: the server's certificate, and the authorities of client certificates.

mod clients;
mod organisation;
mod revocation;

pub(in crate::service) use organisation::{NoOrganisation, normal};

use super::config::Tls;
use crate::files::{has_no_private_key, read_regular, read_secret};
use clients::Authorities;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Different for each load.
    pub(super) generation: u64,
    identity: Arc<Identity>,
    clients: Option<Arc<Authorities>>,
    /// Expiries of certificates.
    pub(super) expiries: Vec<Expiry>,
    /// `nextUpdate` of revocation lists.
    pub(super) next_updates: Vec<Expiry>,
}

/// The server's certificate and key.
struct Identity {
    key: Arc<CertifiedKey>,
    expiry: Option<Expiry>,
}

impl Material {
    /// Loads certificates, keys and revocation lists.
    ///
    /// With the material of the last load, what cannot be used does not stop the rest: the part stays as it was (the
    /// server's certificate with its key, each authority, each file of revocation lists), and its error is added to
    /// `failures`.
    pub(super) fn load(
        tls: &Tls,
        last: Option<&Material>,
        failures: &mut Vec<CredentialsError>,
    ) -> Result<Material, CredentialsError> {
        static LOADS: AtomicU64 = AtomicU64::new(0);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let identity = Identity::read(tls, &provider).map(Arc::new);
        let identity = or_last(identity, last.map(|last| &last.identity), failures)?;
        let clients = match tls.requests_client_certificates() {
            false => None,
            true => {
                let last = last.and_then(|last| last.clients.as_ref());
                let read = Authorities::read(tls, &provider, last.map(|last| &**last), failures);
                Some(or_last(read.map(Arc::new), last, failures)?)
            }
        };
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&tls.certificate, &error))?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.clone()),
        };
        let resolver = SingleCertAndKey::from(CertifiedKey::clone(&identity.key));
        let mut server = builder.with_cert_resolver(Arc::new(resolver));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let roots = clients.iter().flat_map(|clients| clients.root_expiries());
        Ok(Material {
            server: Arc::new(server),
            generation: LOADS.fetch_add(1, Ordering::Relaxed),
            expiries: identity.expiry.iter().chain(roots).cloned().collect(),
            next_updates: clients.iter().flat_map(|clients| clients.next_updates()).cloned().collect(),
            identity,
            clients,
        })
    }

    /// The organisation of a client by the chain of a completed handshake; `None` if the client sent no
    /// certificate. Errors: the chain is no longer valid.
    pub(in crate::service) fn organisation(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Option<Result<String, NoOrganisation>>, rustls::Error> {
        self.clients.as_ref().map_or(Ok(None), |clients| clients.organisation(chain, now))
    }
}

impl Identity {
    fn read(tls: &Tls, provider: &CryptoProvider) -> Result<Identity, CredentialsError> {
        let chain = certificates(&tls.certificate)?;
        let expiry = expiry(&tls.certificate, &chain[..1]);
        let key = read_secret(&tls.key, has_no_private_key).map_err(|error| unusable(&tls.key, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unusable(&tls.key, &error))?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(&tls.key, &error))?;
        Ok(Identity { key: Arc::new(key), expiry })
    }
}

/// What was read, or if that failed, what was read the last time.
fn or_last<T: Clone>(
    read: Result<T, CredentialsError>,
    last: Option<&T>,
    failures: &mut Vec<CredentialsError>,
) -> Result<T, CredentialsError> {
    match (read, last) {
        (Err(error), Some(last)) => {
            failures.push(error);
            Ok(last.clone())
        }
        (read, _) => read,
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> CredentialsError {
    CredentialsError { path: path.to_owned(), finding: error.to_string() }
}

/// A SHA-256 digest of a certificate, which names it in tokens that are bound to it (RFC 8705).
pub(super) type Thumbprint = [u8; 32];

/// The digest of a certificate.
pub(super) fn thumbprint(certificate: &CertificateDer<'_>) -> Option<Thumbprint> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    suite.common.hash_provider.hash(certificate).as_ref().try_into().ok()
}

/// Most bytes of a file with certificates.
const CERTIFICATES_BYTES_MAX: u64 = 16 << 20;

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let bad = |finding: String| CredentialsError { path: path.to_owned(), finding };
    let pem = read_regular(path, CERTIFICATES_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem);
    let certificates: Vec<_> =
        certificates.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
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
pub(super) mod tests;
