//! The certificate of KRR's print service, to which letters go that no mailbox takes. It is no part of the register, and is
//! configured.

use super::config::Krr;
use crate::replica::client;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

/// The print service.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrintCertificate {
    /// The organisation number of the print service.
    pub(super) postkasseleverandoer_adresse: String,
    /// Its X.509 certificate: DER as base64.
    pub(super) x509_sertifikat: String,
}

impl PrintCertificate {
    /// The print service of the configuration, if it has one. Errors: a text that names the file of the certificate.
    pub(super) fn read(config: &Krr) -> Result<Option<PrintCertificate>, String> {
        let (Some(operator), Some(path)) = (&config.print_mailbox_operator, &config.print_certificate) else {
            return Ok(None);
        };
        // The chain after it is not needed to encrypt.
        let certificates = client::read_certificates(path)?;
        let first = certificates.first().map(|der| BASE64_STANDARD.encode(der)).unwrap_or_default();
        Ok(Some(PrintCertificate { postkasseleverandoer_adresse: operator.clone(), x509_sertifikat: first }))
    }
}
