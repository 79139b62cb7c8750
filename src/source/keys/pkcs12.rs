//! Keys and certificates in PKCS#12 files (RFC 7292), as Windows, Java and OpenSSL write them.
//!
//! The key belongs to the certificate with its public key: ids and names in the file are not needed, and may be wrong.

use super::{KeyFile, ec};
use crate::source::config::PasswordOf;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use std::path::Path;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

/// Certificates of a chain, at most.
const CHAIN_MAX: usize = 16;

/// Reads the one private key of a file, and the chain of its certificate.
///
/// Errors: what is wrong and what to do, with the name of the file.
pub(super) fn read(path: &Path, file: &[u8], password: PasswordOf<'_>) -> Result<KeyFile, String> {
    let name = |why: String| format!("{}: {why}", path.display());
    let given = password.read()?;
    let archive = Pkcs12Archive::from_pkcs12(file, &given)
        .map_err(|error| name(finding(&error, password.is_given(), password.table)))?;
    let mut keys: Vec<&[u8]> = archive.keys.iter().map(|key| key.key.as_der()).collect();
    keys.sort_unstable();
    keys.dedup();
    let key = match keys[..] {
        [key] => key,
        [] => {
            return Err(name(
                "it holds no private key: export the certificate again, together with its private key"
                    .to_owned(),
            ));
        }
        _ => {
            return Err(name(format!(
                "it holds {} private keys: export the one that is meant into a file of its own, for example with `keytool \
                 -importkeystore -srcalias NAME`",
                keys.len()
            )));
        }
    };
    let certificates: Vec<&[u8]> = archive.certs.iter().map(|bag| bag.cert.as_der()).collect();
    let (key, signing) = usable(key, &certificates).ok_or_else(|| {
        name("its private key cannot be used: RSA with 2048 to 8192 bits, ECDSA with P-256 or P-384, and Ed25519 can, if its \
              certificate is in the file too"
            .to_owned())
    })?;
    let public = signing.public_key();
    let public = public.as_ref().map(AsRef::as_ref).unwrap_or_default();
    let chain = chain(&certificates, public).ok_or_else(|| {
        name(
            "it holds no certificate of its private key: export the key together with its certificates"
                .to_owned(),
        )
    })?;
    Ok(KeyFile { key, chain, kid: None })
}

/// A key as TLS takes it, if need be with the public part of its certificate. `None` if it cannot be used.
fn usable(key: &[u8], certificates: &[&[u8]]) -> Option<(PrivateKeyDer<'static>, Arc<dyn SigningKey>)> {
    let of = |key: Vec<u8>| {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        any_supported_type(&key).ok().map(|signing| (key, signing))
    };
    let completed = |certificate: &&[u8]| {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        of(ec::with_public(key, &certificate.public_key().subject_public_key.data)?)
    };
    of(key.to_vec()).or_else(|| certificates.iter().find_map(completed))
}

/// What an error of the file means. Its own text may be about anything in the file, and is not shown.
fn finding(error: &Error, has_password: bool, table: &str) -> String {
    let again = |what: &str| format!("{what}: export it again, for example with `openssl pkcs12 -export`");
    match error {
        Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError if has_password => {
            "the password is not the one of this PKCS#12 file, or the file is damaged".to_owned()
        }
        Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => format!(
            "the PKCS#12 file has a password: name a file with it in [{table}] password_file, or an environment variable \
             in [{table}] password_env"
        ),
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => {
            "the PKCS#12 file is encrypted or signed in a way that is not supported: export it again with `openssl pkcs12 \
             -export -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg SHA256`"
                .to_owned()
        }
        Error::InvalidParameters => {
            again("the PKCS#12 file wants more than a million rounds for its password")
        }
        _ => again("it is not a PKCS#12 file in DER, or is damaged or cut off"),
    }
}

/// The certificate with a public key, then the certificate of each issuer, without the self-signed root: the other side
/// has it, or does not trust it. Of several, the one that is valid longest. `None` if no certificate has the key.
fn chain(certificates: &[&[u8]], public: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let parsed = certificates.iter().filter_map(|der| Some((*der, parse_x509_certificate(der).ok()?.1)));
    let mut left: Vec<(&[u8], X509Certificate<'_>)> = parsed.collect();
    let mut next = take(&mut left, |certificate| certificate.public_key().raw == public)?;
    let mut chain = Vec::new();
    loop {
        chain.push(CertificateDer::from(next.0.to_vec()));
        if is_self_signed(&next.1) || chain.len() == CHAIN_MAX {
            return Some(chain);
        }
        let is_issuer = |other: &X509Certificate<'_>| {
            other.subject().as_raw() == next.1.issuer().as_raw() && is_key_of(other, &next.1)
        };
        match take(&mut left, is_issuer) {
            Some(issuer) if !is_self_signed(&issuer.1) => next = issuer,
            _ => return Some(chain),
        }
    }
}

/// Removes the certificate that fits and is valid longest.
fn take<'c>(
    left: &mut Vec<(&'c [u8], X509Certificate<'c>)>,
    fits: impl Fn(&X509Certificate<'_>) -> bool,
) -> Option<(&'c [u8], X509Certificate<'c>)> {
    let fitting = left.iter().enumerate().filter(|(_, (_, certificate))| fits(certificate));
    let (index, _) =
        fitting.max_by_key(|(_, (_, certificate))| certificate.validity().not_after.timestamp())?;
    Some(left.swap_remove(index))
}

/// Whether the key id of an issuer is the one that a certificate names; also if one of them has none.
fn is_key_of(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    use x509_parser::extensions::ParsedExtension::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
    let own = issuer.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    let named = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    own.zip(named).is_none_or(|(own, named)| own == named)
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}
