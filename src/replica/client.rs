//! The HTTP client of replicas and token keys: HTTP/1.1, TLS by rustls with ring.

use crate::files;
use crate::plain_text::plain;
use reqwest::{Client, ClientBuilder, Response};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// Certificates and a private key that the client presents.
pub(crate) type ClientIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Most bytes of a file with certificates.
const CERTIFICATES_BYTES_MAX: u64 = 16 << 20;

/// The certificates of a PEM file. Errors: a text that names the file.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |error: &dyn ToString| format!("{}: {}", path.display(), error.to_string());
    let pem = files::read_regular(path, CERTIFICATES_BYTES_MAX).map_err(|error| unusable(&error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| unusable(&error))?;
    match certificates.is_empty() {
        true => Err(unusable(&"it holds no certificate")),
        false => Ok(certificates),
    }
}

/// The private key of a PEM file that others cannot read. Errors: a text that names the file.
pub(crate) fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let unusable = |error: &dyn ToString| format!("{}: {}", path.display(), error.to_string());
    let key = files::read_secret(path, files::has_no_private_key).map_err(|error| unusable(&error))?;
    PrivateKeyDer::from_pem_slice(&key).map_err(|error| unusable(&error))
}

/// Root certificates for [`tls`].
pub(crate) fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    certificates.into_iter().try_for_each(|root| roots.add(root))?;
    Ok(roots)
}

/// Configuration of TLS. Servers must have a certificate below `roots`, or below Mozilla's root certificates.
///
/// Errors: the certificates or the key of `identity` are unusable.
pub(crate) fn tls(
    roots: Option<RootCertStore>,
    identity: Option<ClientIdentity>,
) -> Result<ClientConfig, rustls::Error> {
    let mozilla = || RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.unwrap_or_else(mozilla));
    match identity {
        None => Ok(config.with_no_client_auth()),
        Some((certificates, key)) => config.with_client_auth_cert(certificates, key),
    }
}

/// A client without time-outs, which follows redirects as reqwest does.
pub(crate) fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .user_agent(concat!("nabar/", env!("CARGO_PKG_VERSION")))
}

/// Drives a client on the calling thread.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Reads a body.
///
/// Errors: the connection fails, or the body is longer than `bytes_max`.
pub(crate) async fn read_body(mut response: Response, bytes_max: usize) -> io::Result<Vec<u8>> {
    let length = response.content_length().unwrap_or_default().min(bytes_max as u64);
    let mut body = Vec::with_capacity(length as usize);
    while let Some(chunk) = response.chunk().await.map_err(|error| io::Error::other(cause(&error)))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(io::Error::other(format!("the response is longer than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause of an error: the outer ones only repeat the address.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    plain(&cause.to_string()).into_owned()
}
