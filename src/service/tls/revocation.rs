//! Certificate revocation lists in files.

use super::{CredentialsError, Expiry};
use crate::files::read_regular;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
use x509_parser::revocation_list::CertificateRevocationList;

/// The revocation lists of an authority.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// All that were read.
    read: Vec<Arc<List>>,
    /// Of those with the same scope, the newest: rustls uses the first that matches, so the order of files would
    /// decide.
    pub(super) in_force: Vec<Arc<List>>,
    /// The first `nextUpdate` of the lists in force of each file.
    next_updates: Vec<Expiry>,
}

/// A parsed list.
#[derive(Debug)]
pub(super) struct List {
    pub(super) der: CertificateRevocationListDer<'static>,
    file: PathBuf,
    /// Seconds since 1970, as the next.
    this_update: i64,
    next_update: i64,
    /// Issuer and issuing distribution point, both as DER.
    scope: (Vec<u8>, Option<Vec<u8>>),
}

/// What a list is checked against.
pub(super) struct Check<'a, S> {
    /// The roots of the authority. A list whose issuer is one of them must have a valid signature. The signature of
    /// another list is verified when a client sends the certificate of its issuer.
    pub(super) roots: &'a [CertificateDer<'static>],
    pub(super) algorithms: &'a WebPkiSupportedAlgorithms,
    /// Whether rustls can use it.
    pub(super) is_supported: S,
}

impl Lists {
    /// Reads the lists of an authority. A file that cannot be used is replaced by what it contained the last time, if
    /// that passes the same checks, and its error is added to `failures`. Errors: there is no such content.
    pub(super) fn read<S: Fn(&CertificateRevocationListDer<'static>) -> Result<(), String>>(
        files: &[PathBuf],
        check: &Check<'_, S>,
        last: Option<&Lists>,
        failures: &mut Vec<CredentialsError>,
    ) -> Result<Lists, CredentialsError> {
        let mut read = Vec::new();
        for path in files {
            let of_file = in_file(path).and_then(|ders| check.all(ders, path)).or_else(|error| {
                let last = last.iter().flat_map(|last| &last.read).filter(|list| list.file == *path);
                let ders: Vec<_> = last.map(|list| list.der.clone()).collect();
                match check.all(ders, path) {
                    Ok(lists) if !lists.is_empty() => {
                        failures.push(error);
                        Ok(lists)
                    }
                    _ => Err(error),
                }
            })?;
            read.extend(of_file);
        }
        let mut in_force = read.clone();
        in_force.sort_by_key(|list| std::cmp::Reverse(list.this_update));
        let mut scopes = HashSet::new();
        in_force.retain(|list| scopes.insert(list.scope.clone()));
        let mut first = BTreeMap::new();
        for list in &in_force {
            let earliest: &mut i64 = first.entry(list.file.clone()).or_insert(list.next_update);
            *earliest = list.next_update.min(*earliest);
        }
        let next_updates = first.into_iter().map(|(file, time)| Expiry::new(&file, time)).collect();
        Ok(Lists { read, in_force, next_updates })
    }

    /// The first `nextUpdate` of the lists in force of each file.
    pub(super) fn next_updates(&self) -> &[Expiry] {
        &self.next_updates
    }
}

impl<S: Fn(&CertificateRevocationListDer<'static>) -> Result<(), String>> Check<'_, S> {
    fn all(
        &self,
        ders: Vec<CertificateRevocationListDer<'static>>,
        path: &Path,
    ) -> Result<Vec<Arc<List>>, CredentialsError> {
        let bad = |finding: String| CredentialsError { path: path.to_owned(), finding };
        ders.into_iter().map(|der| self.one(der, path).map(Arc::new).map_err(bad)).collect()
    }

    fn one(&self, der: CertificateRevocationListDer<'static>, path: &Path) -> Result<List, String> {
        let (rest, list) = x509_parser::parse_x509_crl(&der)
            .map_err(|error| format!("its certificate revocation list cannot be read: {error}"))?;
        if !rest.is_empty() {
            return Err("it has data after its certificate revocation list".to_owned());
        }
        if !has_signature_of_root(&list, self.roots, self.algorithms) {
            return Err(format!("its signature is not by the key of its issuer, {}", list.issuer()));
        }
        let next_update = list.next_update().ok_or("its list has no nextUpdate")?.timestamp();
        let point = list.tbs_cert_list.find_extension(&OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
        let scope = (list.issuer().as_raw().to_vec(), point.map(|point| point.value.to_vec()));
        let this_update = list.last_update().timestamp();
        (self.is_supported)(&der)?;
        Ok(List { file: path.to_owned(), this_update, next_update, scope, der })
    }
}

/// Most bytes of a file with revocation lists. The longest known have some 10 MB.
const LISTS_BYTES_MAX: u64 = 256 << 20;

/// The lists in a file: one as DER, or any number as PEM.
fn in_file(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, CredentialsError> {
    /// The tag of a SEQUENCE, which every DER list begins with and no PEM file does.
    const SEQUENCE: u8 = 0x30;
    let bad = |finding: String| CredentialsError { path: path.to_owned(), finding };
    let bytes = read_regular(path, LISTS_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![bytes.into()]);
    }
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let lists = read.map_err(|error| bad(error.to_string()))?;
    match lists.is_empty() {
        true => Err(bad("it contains no certificate revocation list".to_owned())),
        false => Ok(lists),
    }
}

/// Whether a list has the signature of a root with the name of its issuer, or no root has that name.
///
/// This finds a damaged or forged list before it replaces a good one, and any algorithm that verifies the
/// signature will do for that. rustls verifies the signature again, with the algorithm that the list names,
/// whenever it uses the list.
fn has_signature_of_root(
    list: &CertificateRevocationList<'_>,
    roots: &[CertificateDer<'_>],
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let parsed = roots.iter().filter_map(|root| Some(x509_parser::parse_x509_certificate(root).ok()?.1));
    let issuers: Vec<_> = parsed.filter(|root| root.subject().as_raw() == list.issuer().as_raw()).collect();
    let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    issuers.is_empty()
        || issuers.iter().any(|root| {
            let key = &root.public_key().subject_public_key.data;
            algorithms.all.iter().any(|one| one.verify_signature(key, message, signature).is_ok())
        })
}
