//! The authorities of client certificates: which of them issued a certificate, and whether it is revoked.
//!
//! Each authority has its own verifiers, with its own roots and revocation lists. So the authority of a
//! certificate follows from signatures, and not from the name of its issuer, which any certificate can carry.
//!
//! A chain is verified in the handshake, and once more after it, which is when its authority is looked up. In
//! the handshake of a resumed session the client sends no certificate, and rustls takes the chain from the
//! session without verifying it. Without the second verification a client could resume a session after its
//! certificate or the revocation list has expired.

use super::organisation::{NoOrganisation, organisation_of};
use super::revocation::{Check, Lists};
use super::{CredentialsError, Expiry, certificates, expiry, or_last, unusable};
use crate::service::config::{ClientAuthority, SubjectAttribute, Tls};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use std::path::Path;
use std::sync::Arc;

type Verifier = Arc<dyn ClientCertVerifier>;

/// What rustls requires of revocation lists.
const SUPPORTED_LISTS: &str = "a list must be as RFC 5280 requires, with nextUpdate and a CRL number, and \
                               neither a delta nor an indirect list";

/// The authorities whose certificates are accepted.
#[derive(Debug)]
pub(in crate::service) struct Authorities {
    /// In the order of the configuration.
    authorities: Vec<Arc<Authority>>,
    /// Subjects of all roots. Clients choose their certificate by them.
    subjects: Vec<DistinguishedName>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Authority {
    roots: Arc<Roots>,
    /// Each must accept a chain.
    verifiers: Vec<Verifier>,
    organisation_from: Vec<SubjectAttribute>,
    lists: Lists,
}

/// The roots of an authority.
#[derive(Debug)]
struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
    expiry: Option<Expiry>,
}

impl Roots {
    fn read(path: &Path) -> Result<Roots, CredentialsError> {
        let certificates = certificates(path)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|error| unusable(path, &error))?;
        }
        Ok(Roots { expiry: expiry(path, &certificates), store: Arc::new(store), certificates })
    }
}

impl Authorities {
    /// Reads roots and revocation lists. `last` is what was read the last time: a file that cannot be used is replaced by
    /// what it contained then, or else its authority stays as it was, with an error in `failures`.
    pub(super) fn read(
        tls: &Tls,
        provider: &Arc<CryptoProvider>,
        last: Option<&Authorities>,
        failures: &mut Vec<CredentialsError>,
    ) -> Result<Authorities, CredentialsError> {
        let algorithms = provider.signature_verification_algorithms;
        let mut authorities = Vec::new();
        let mut all_roots = RootCertStore::empty();
        for (index, given) in tls.authorities().iter().enumerate() {
            // The configuration is read once, so that an authority keeps its place.
            let last = last.and_then(|last| last.authorities.get(index));
            let read = Authority::read(given, provider, last.map(|last| &**last), failures);
            let authority = or_last(read.map(Arc::new), last, failures)?;
            add_once(&mut all_roots, &authority.roots.store, &given.ca)?;
            authorities.push(authority);
        }
        let (subjects, mandatory) = (all_roots.subjects(), !tls.client_optional);
        Ok(Authorities { authorities, subjects, mandatory, algorithms })
    }

    /// When the roots of each authority begin to expire.
    pub(super) fn root_expiries(&self) -> impl Iterator<Item = &Expiry> {
        self.authorities.iter().filter_map(|authority| authority.roots.expiry.as_ref())
    }

    /// `nextUpdate` of the lists in force.
    pub(super) fn next_updates(&self) -> impl Iterator<Item = &Expiry> {
        self.authorities.iter().flat_map(|authority| authority.lists.next_updates())
    }

    /// The organisation of a client by its chain; `None` if the client sent no certificate. Errors: the chain
    /// is not valid, or no longer valid.
    pub(in crate::service) fn organisation(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Option<Result<String, NoOrganisation>>, Error> {
        let Some((end_entity, intermediates)) = chain.split_first() else { return Ok(None) };
        let authority = self.authority_of(end_entity, intermediates, now)?;
        Ok(Some(organisation_of(end_entity, &authority.organisation_from)))
    }

    /// The first authority that accepts a chain.
    ///
    /// The root of one authority may be an intermediate of another. Then both accept a certificate, and it is
    /// refused if the lists of one of them refuse it.
    fn authority_of(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<&Authority, Error> {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let mut found = Err(unknown.clone());
        for authority in &self.authorities {
            match (authority.accept(end_entity, intermediates, now), &found) {
                (Err(error), _) if is_about_revocation(&error) => return Err(error),
                (Ok(()), Err(_)) => found = Ok(&**authority),
                // More specific than "unknown issuer", which every other authority gives.
                (Err(error), Err(other)) if *other == unknown => found = Err(error),
                _ => {}
            }
        }
        found
    }
}

impl Authority {
    fn read(
        given: &ClientAuthority,
        provider: &Arc<CryptoProvider>,
        last: Option<&Authority>,
        failures: &mut Vec<CredentialsError>,
    ) -> Result<Authority, CredentialsError> {
        let roots = Roots::read(&given.ca).map(Arc::new);
        let roots = or_last(roots, last.map(|last| &last.roots), failures)?;
        let store = &roots.store;
        let builder = || WebPkiClientVerifier::builder_with_provider(store.clone(), provider.clone());
        // One by one: an error of all lists together does not say which list is at fault.
        let is_supported = |list: &CertificateRevocationListDer<'static>| match builder()
            .with_crls([list.clone()])
            .build()
        {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}; {SUPPORTED_LISTS}")),
        };
        let check = Check {
            roots: &roots.certificates,
            algorithms: &provider.signature_verification_algorithms,
            is_supported,
        };
        let lists = Lists::read(&given.crl, &check, last.map(|last| &last.lists), failures)?;
        let verifiers = if lists.in_force.is_empty() {
            vec![builder().build()]
        } else {
            // Intermediates are checked if a list covers them. The client's own certificate must be covered:
            // otherwise a missing list would admit the certificates that it revokes.
            let lists = || lists.in_force.iter().map(|list| list.der.clone());
            let chain = builder().with_crls(lists()).allow_unknown_revocation_status();
            let end_entity = builder().with_crls(lists()).only_check_end_entity_revocation();
            [chain, end_entity].map(|builder| builder.enforce_revocation_expiration().build()).into()
        };
        let verifiers = verifiers.into_iter().collect::<Result<_, _>>();
        Ok(Authority {
            verifiers: verifiers.map_err(|error| unusable(&given.ca, &error))?,
            roots,
            organisation_from: given.organisation_from.clone(),
            lists,
        })
    }

    fn accept(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.verifiers
            .iter()
            .try_for_each(|one| one.verify_client_cert(end_entity, intermediates, now).map(drop))
    }
}

/// Adds the roots of an authority to those of all. Errors: a root belongs to another authority already, and
/// it would be ambiguous which of the two decides.
fn add_once(all: &mut RootCertStore, roots: &RootCertStore, path: &Path) -> Result<(), CredentialsError> {
    let is_known = |root: &TrustAnchor<'_>| {
        let same = |other: &TrustAnchor<'_>| {
            (&other.subject, &other.subject_public_key_info) == (&root.subject, &root.subject_public_key_info)
        };
        all.roots.iter().any(same)
    };
    if roots.roots.iter().any(is_known) {
        let finding = "it has a root that another client authority in nabar.toml also has".to_owned();
        return Err(CredentialsError { path: path.to_owned(), finding });
    }
    all.roots.extend_from_slice(&roots.roots);
    Ok(())
}

/// Whether a chain was refused because of revocation lists. They are consulted only for certificates whose
/// signatures lead to a root of the authority.
fn is_about_revocation(error: &Error) -> bool {
    use CertificateError::{
        ExpiredRevocationList, ExpiredRevocationListContext, Revoked, UnknownRevocationStatus,
    };
    match error {
        Error::InvalidCertificate(error) => matches!(
            error,
            Revoked | UnknownRevocationStatus | ExpiredRevocationList | ExpiredRevocationListContext { .. }
        ),
        Error::InvalidCertRevocationList(_) => true,
        _ => false,
    }
}

impl ClientCertVerifier for Authorities {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.authority_of(end_entity, intermediates, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
