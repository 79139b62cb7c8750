//! Certificates: the service's own, and those of clients.

use super::config::Tls;
use crate::register::organisation;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::oid_registry::OID_X509_SERIALNUMBER;

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {finding}", path.display())]
pub struct BadKeys {
    pub(super) path: PathBuf,
    pub(super) finding: String,
}

/// Until when a certificate is good.
#[derive(Clone, Debug)]
pub(super) struct Expiry {
    pub(super) file: String,
    /// Seconds since 1970.
    pub(super) at: i64,
}

/// What connections are encrypted with, and until when it is good.
pub(super) fn load(tls: &Tls) -> Result<(Arc<ServerConfig>, Vec<Expiry>), BadKeys> {
    let chain = certificates(&tls.certificate)?;
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |error: &dyn std::fmt::Display| BadKeys { path: path.clone(), finding: error.to_string() }
    };
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| bad(&tls.key)(&error))?;
    let mut expiries = vec![expiry(&tls.certificate, &chain[..1])];
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&tls.certificate)(&error))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots_given = certificates(path)?;
            expiries.push(expiry(path, &roots_given));
            let mut roots = RootCertStore::empty();
            for root in roots_given {
                roots.add(root).map_err(|error| bad(path)(&error))?;
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                if tls.client_optional { verifier.allow_unauthenticated() } else { verifier }.build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad(path)(&error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| bad(&tls.key)(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), expiries.into_iter().flatten().collect()))
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
    let file = path.display().to_string();
    times.min().map(|at| Expiry { file, at })
}

/// The organisation of a certificate: `serialNumber` of its subject.
pub(super) fn organisation_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let mut numbers = certificate.subject().iter_by_oid(&OID_X509_SERIALNUMBER);
    let number = numbers.next()?.as_str().ok()?.trim();
    normal(number)
}

/// A number of an organisation as registers have it: `16` and ten digits if it is Swedish, nine if it is
/// Norwegian. `None` for all else: the certificates of people have their own numbers there, which belong into
/// no log.
pub(super) fn normal(number: &str) -> Option<String> {
    let norwegian = number.len() == 9 && number.bytes().all(|byte| byte.is_ascii_digit());
    organisation(number).or_else(|| norwegian.then(|| number.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_organisations_are_callers() {
        for given in ["164821000025", "4821000025", "482100-0025"] {
            assert_eq!(normal(given).as_deref(), Some("164821000025"));
        }
        assert_eq!(normal("991825827").as_deref(), Some("991825827"));
        // Test numbers of people, in the spellings that certificates have.
        for given in ["196810199809", "19681019-9809", "681019-9809", "PNOSE-196810199809", "01017012345", ""]
        {
            assert_eq!(normal(given), None);
        }
    }
}
