//! Certificates of a sandbox: an authority, a server and clients, made by rcgen.

use super::error::SandboxError;
use super::place::Place;
use jiff::{Timestamp, Zoned};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A certificate with its chain, and its private key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The name of the authority.
const AUTHORITY: &str = "nabar sandbox authority";
/// Years for which the authority and the certificates are valid.
const AUTHORITY_YEARS: i16 = 20;
const CERTIFICATE_YEARS: i16 = 5;

/// The authority that issues all certificates of a sandbox.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub(super) pem: String,
}

/// What a server certificate is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerCertificate {
    Valid,
    /// It ended yesterday.
    Expired,
    /// For another host.
    WrongName,
    /// Of an authority that no client knows.
    Untrusted,
}

impl Authority {
    /// The authority of a sandbox: the one that it has, or a new one.
    pub(super) fn of(place: &Place) -> Result<Authority, SandboxError> {
        if let (Some(pem), Some(key)) = (place.read("ca.pem")?, place.read("ca.key")?) {
            let key = KeyPair::from_pem(&key)?;
            return Ok(Authority { issuer: Issuer::new(parameters_of_authority(AUTHORITY), key), pem });
        }
        let (authority, key) = Authority::new(AUTHORITY)?;
        place.write("ca.pem", authority.pem.as_bytes())?;
        place.write("ca.key", key.as_bytes())?;
        Ok(authority)
    }

    fn new(name: &str) -> Result<(Authority, String), SandboxError> {
        let key = KeyPair::generate()?;
        let certificate = parameters_of_authority(name).self_signed(&key)?;
        let key_pem = key.serialize_pem();
        let issuer = Issuer::new(parameters_of_authority(name), key);
        Ok((Authority { issuer, pem: certificate.pem() }, key_pem))
    }

    /// The certificate of an organisation, whose number is the serialNumber of the subject; PEM, and its key.
    pub(super) fn client(&self, organisation: &str, name: &str) -> Result<(String, String), SandboxError> {
        let key = KeyPair::generate()?;
        let pem = self.certificate_of(organisation, name, &key)?;
        Ok((pem, key.serialize_pem()))
    }

    /// As [`client`](Self::client), for a key that there is.
    pub(super) fn certificate_of(
        &self,
        organisation: &str,
        name: &str,
        key: &KeyPair,
    ) -> Result<String, SandboxError> {
        let mut parameters = parameters(name, Validity::Now)?;
        parameters.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), organisation);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(parameters.signed_by(key, &self.issuer)?.pem())
    }

    /// A server certificate for the loopback names and addresses, and for other names; PEM, and its key.
    pub(super) fn server(
        &self,
        kind: ServerCertificate,
        names: &[String],
    ) -> Result<(String, String), SandboxError> {
        let key = KeyPair::generate()?;
        let names = match kind {
            ServerCertificate::WrongName => vec!["another.example".to_owned()],
            _ => names.iter().cloned().chain(["localhost".to_owned()]).collect(),
        };
        let validity = if kind == ServerCertificate::Expired { Validity::Past } else { Validity::Now };
        let mut parameters = parameters("nabar sandbox", validity)?;
        for name in names {
            let name = match name.parse::<IpAddr>() {
                Ok(address) => rcgen::SanType::IpAddress(address),
                Err(_) => rcgen::SanType::DnsName(name.try_into()?),
            };
            parameters.subject_alt_names.push(name);
        }
        if kind != ServerCertificate::WrongName {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            parameters.subject_alt_names.extend(loopback.map(rcgen::SanType::IpAddress));
        }
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = match kind {
            ServerCertificate::Untrusted => {
                let (stranger, _) = Authority::new("another authority")?;
                parameters.signed_by(&key, &stranger.issuer)?
            }
            _ => parameters.signed_by(&key, &self.issuer)?,
        };
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

#[derive(Clone, Copy)]
enum Validity {
    Now,
    Past,
}

fn parameters_of_authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let year = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
    parameters.not_before = date_time_ymd(i32::from(year) - 1, 1, 1);
    parameters.not_after = date_time_ymd(i32::from(year + AUTHORITY_YEARS), 1, 1);
    parameters
}

fn parameters(name: &str, validity: Validity) -> Result<CertificateParams, SandboxError> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let day = |day: &Zoned| {
        date_time_ymd(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    let yesterday = today.yesterday().unwrap_or_else(|_| today.clone());
    parameters.not_before = date_time_ymd(i32::from(today.year()) - 1, 1, 1);
    parameters.not_after = match validity {
        Validity::Now => date_time_ymd(i32::from(today.year() + CERTIFICATE_YEARS), 1, 1),
        Validity::Past => day(&yesterday),
    };
    Ok(parameters)
}

/// Parses certificates, PEM.
pub(super) fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, SandboxError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.map_err(|error| SandboxError::State(error.to_string()))
}

/// Parses a certificate and its key, both PEM.
pub(super) fn identity(pem: &str, key: &str) -> Result<Identity, SandboxError> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    Ok((chain(pem)?, key.map_err(|error| SandboxError::State(error.to_string()))?))
}
