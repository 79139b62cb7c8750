//! Certificate revocation lists in files.

use super::{CredentialsError, Expiry};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
use x509_parser::revocation_list::CertificateRevocationList;

/// The revocation lists of an authority.
#[derive(Default)]
pub(super) struct Lists {
    /// Each with its file.
    pub(super) lists: Vec<(PathBuf, CertificateRevocationListDer<'static>)>,
    /// The first `nextUpdate` of the lists in each file.
    pub(super) next_updates: Vec<Expiry>,
}

/// A parsed list.
struct List {
    der: CertificateRevocationListDer<'static>,
    file: PathBuf,
    /// Seconds since 1970, as the next.
    this_update: i64,
    next_update: i64,
    /// Issuer and issuing distribution point, both as DER.
    scope: (Vec<u8>, Option<Vec<u8>>),
}

/// Reads the lists of an authority. Of several lists with the same scope only the newest is kept: rustls uses
/// the first that matches, so the order of files would decide.
///
/// `roots` are those of the authority. A list whose issuer is one of them must have a valid signature. The
/// signature of another list is verified when a client sends the certificate of its issuer.
pub(super) fn read(
    files: &[PathBuf],
    roots: &[CertificateDer<'_>],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<Lists, CredentialsError> {
    let mut found = Vec::new();
    for path in files {
        for der in in_file(path)? {
            let bad = |finding: String| CredentialsError { path: path.clone(), finding };
            found.push(checked(der, path, roots, algorithms).map_err(bad)?);
        }
    }
    found.sort_by_key(|list: &List| std::cmp::Reverse(list.this_update));
    let mut scopes = HashSet::new();
    found.retain(|list| scopes.insert(list.scope.clone()));
    let mut first = BTreeMap::new();
    for list in &found {
        let earliest: &mut i64 = first.entry(list.file.clone()).or_insert(list.next_update);
        *earliest = list.next_update.min(*earliest);
    }
    Ok(Lists {
        lists: found.into_iter().map(|list| (list.file, list.der)).collect(),
        next_updates: first.into_iter().map(|(file, time)| Expiry::new(&file, time)).collect(),
    })
}

/// The lists in a file: one as DER, or any number as PEM.
fn in_file(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, CredentialsError> {
    /// The tag of a SEQUENCE, which every DER list begins with and no PEM file does.
    const SEQUENCE: u8 = 0x30;
    let bad = |finding: String| CredentialsError { path: path.to_owned(), finding };
    let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
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

fn checked(
    der: CertificateRevocationListDer<'static>,
    path: &Path,
    roots: &[CertificateDer<'_>],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<List, String> {
    let (rest, list) = x509_parser::parse_x509_crl(&der)
        .map_err(|error| format!("its certificate revocation list cannot be read: {error}"))?;
    if !rest.is_empty() {
        return Err("it has data after its certificate revocation list".to_owned());
    }
    if !has_signature_of_root(&list, roots, algorithms) {
        return Err(format!("its signature is not by the key of its issuer, {}", list.issuer()));
    }
    let next_update = list.next_update().ok_or("its list has no nextUpdate")?.timestamp();
    let point = list.tbs_cert_list.find_extension(&OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
    let scope = (list.issuer().as_raw().to_vec(), point.map(|point| point.value.to_vec()));
    let this_update = list.last_update().timestamp();
    Ok(List { file: path.to_owned(), this_update, next_update, scope, der })
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
