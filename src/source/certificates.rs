//! How long certificates are valid.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use std::path::Path;
use x509_parser::parse_x509_certificate;

/// A certificate of a source file, the first one of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Its subject.
    pub subject: String,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

impl CertificateStatus {
    /// The first certificate of a file. Errors: there is none, or it cannot be read; the text names the file.
    pub(super) fn of(certificates: &[CertificateDer<'_>], path: &Path) -> Result<CertificateStatus, String> {
        let unusable = |error: &dyn ToString| format!("{}: {}", path.display(), error.to_string());
        let first = certificates.first().ok_or_else(|| unusable(&"it holds no certificate"))?;
        let (_, certificate) = parse_x509_certificate(first).map_err(|error| unusable(&error))?;
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp());
        Ok(CertificateStatus {
            subject: crate::plain_text::plain(&certificate.subject().to_string()).into_owned(),
            not_after: not_after.unwrap_or(Timestamp::MAX),
        })
    }

    /// Whole days until it ends; negative afterwards.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.duration_since(now).as_hours().div_euclid(24)
    }
}
