//! Authorities, their clients and their revocation lists, made by rcgen.

use super::clients::{Authorities, Expiries};
use super::{CredentialsError, Expiry};
use crate::service::config::{ClientAuthority, SubjectAttribute, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const SWEDISH: &str = "165560000001";
const NORWEGIAN: &str = "991825827";

/// An issuer of certificates and lists in memory.
struct Issuer(CertifiedIssuer<'static, KeyPair>);

fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

impl Issuer {
    fn parameters(name: &str) -> CertificateParams {
        let mut parameters = parameters(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters
    }

    fn root(name: &str) -> Issuer {
        let key = KeyPair::generate().expect("a key");
        Issuer(CertifiedIssuer::self_signed(Issuer::parameters(name), key).expect("a root"))
    }

    fn below(&self, name: &str, serial: u64) -> Issuer {
        let mut parameters = Issuer::parameters(name);
        parameters.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        Issuer(CertifiedIssuer::signed_by(parameters, key, &self.0).expect("an issuer"))
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A client with `serialNumber` of a Swedish and `organizationIdentifier` of a Norwegian organisation, so
    /// that the organisation says which of the two is believed.
    fn client(&self, serial: u64) -> CertificateDer<'static> {
        let mut parameters = parameters("client");
        parameters.serial_number = Some(serial.into());
        let attributes = [(5, "5560000001".to_owned()), (97, format!("NTRNO-{NORWEGIAN}"))];
        for (attribute, value) in attributes {
            parameters.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, attribute]), value);
        }
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        parameters.signed_by(&key, &self.0).expect("a certificate").der().clone()
    }

    /// A list with `thisUpdate` and `nextUpdate` in seconds from now.
    fn list(&self, this_update: i64, next_update: i64, revoked: &[u64]) -> rcgen::CertificateRevocationList {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: seconds_from_now(this_update).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let parameters = CertificateRevocationListParams {
            this_update: seconds_from_now(this_update).into(),
            next_update: seconds_from_now(next_update).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        parameters.signed_by(&self.0).expect("a list")
    }
}

fn seconds_from_now(seconds: i64) -> SystemTime {
    let apart = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    if seconds < 0 { now - apart } else { now + apart }
}

/// A directory with files of authorities.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("written");
        path
    }

    fn authority(&self, root: &Issuer, believed: &[SubjectAttribute], crl: Vec<PathBuf>) -> ClientAuthority {
        let name = format!("{}.pem", fs::read_dir(self.0.path()).expect("listed").count());
        ClientAuthority { ca: self.write(&name, root.0.pem()), organisation_from: believed.to_vec(), crl }
    }
}

fn read(authorities: Vec<ClientAuthority>) -> Result<(Authorities, Expiries), CredentialsError> {
    let tls = Tls {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        client_ca: None,
        client_crl: Vec::new(),
        client_authorities: authorities,
        client_optional: false,
    };
    Authorities::read(&tls, &Arc::new(rustls::crypto::ring::default_provider()))
}

const SERIAL_NUMBER: &[SubjectAttribute] = &[SubjectAttribute::SerialNumber];
const IDENTIFIER: &[SubjectAttribute] = &[SubjectAttribute::OrganizationIdentifier];

/// The organisation that a chain is let in as.
fn let_in(authorities: &Authorities, chain: &[CertificateDer<'_>]) -> Result<String, CertificateError> {
    match authorities.organisation(chain) {
        Ok(found) => Ok(found.expect("a chain").expect("an organisation")),
        Err(Error::InvalidCertificate(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn is_expired(result: Result<String, CertificateError>) -> bool {
    matches!(result, Err(CertificateError::ExpiredRevocationListContext { .. }))
}

#[test]
fn the_authority_that_signed_decides_what_is_believed() {
    let files = Files::new();
    // The same name: only their signatures tell them apart.
    let (one, other) = (Issuer::root("root"), Issuer::root("root"));
    let authorities =
        vec![files.authority(&one, SERIAL_NUMBER, vec![]), files.authority(&other, IDENTIFIER, vec![])];
    for authorities in [authorities.clone(), authorities.into_iter().rev().collect()] {
        let (read, _) = read(authorities).expect("authorities");
        assert_eq!(let_in(&read, &[one.client(1)]).as_deref(), Ok(SWEDISH));
        assert_eq!(let_in(&read, &[other.client(1)]).as_deref(), Ok(NORWEGIAN));
        let between = other.below("between", 2);
        assert_eq!(let_in(&read, &[between.client(1), between.certificate()]).as_deref(), Ok(NORWEGIAN));
        assert!(let_in(&read, &[Issuer::root("root").client(1)]).is_err());
        assert!(let_in(&read, &[between.client(1)]).is_err(), "without the intermediate");
        assert!(read.organisation(&[]).expect("no certificate").is_none());
    }
}

#[test]
fn a_root_belongs_to_one_authority() {
    let (files, root) = (Files::new(), Issuer::root("root"));
    let twice =
        vec![files.authority(&root, SERIAL_NUMBER, vec![]), files.authority(&root, IDENTIFIER, vec![])];
    let error = read(twice).expect_err("two authorities").to_string();
    assert!(error.contains("a root that another client authority"), "{error}");
}

#[test]
fn revoked_clients_and_clients_without_a_list_are_refused() {
    let (files, root) = (Files::new(), Issuer::root("root"));
    let (covered, uncovered) = (root.below("covered", 10), root.below("uncovered", 11));
    let lists = format!(
        "{}{}",
        root.list(-10, 1000, &[1]).pem().expect("PEM"),
        covered.list(-10, 1000, &[2]).pem().expect("PEM")
    );
    let (read, _) =
        read(vec![files.authority(&root, IDENTIFIER, vec![files.write("crl", lists)])]).expect("lists");
    assert_eq!(let_in(&read, &[root.client(2)]).as_deref(), Ok(NORWEGIAN));
    assert_eq!(let_in(&read, &[root.client(1)]), Err(CertificateError::Revoked));
    assert_eq!(let_in(&read, &[covered.client(1), covered.certificate()]).as_deref(), Ok(NORWEGIAN));
    assert_eq!(let_in(&read, &[covered.client(2), covered.certificate()]), Err(CertificateError::Revoked));
    let result = let_in(&read, &[uncovered.client(3), uncovered.certificate()]);
    assert_eq!(result, Err(CertificateError::UnknownRevocationStatus));
}

#[test]
fn intermediates_are_checked_only_if_a_list_covers_them() {
    let (files, root) = (Files::new(), Issuer::root("root"));
    let between = root.below("between", 7);
    let chain = [between.client(1), between.certificate()];
    let own = files.write("own.crl", between.list(-10, 1000, &[]).der());
    let roots = files.write("root.crl", root.list(-10, 1000, &[7]).der());
    let (alone, _) = read(vec![files.authority(&root, IDENTIFIER, vec![own.clone()])]).expect("a list");
    assert_eq!(let_in(&alone, &chain).as_deref(), Ok(NORWEGIAN));
    let (both, _) = read(vec![files.authority(&root, IDENTIFIER, vec![own, roots])]).expect("lists");
    assert_eq!(let_in(&both, &chain), Err(CertificateError::Revoked));
}

#[test]
fn a_client_that_one_authority_revokes_is_refused_by_all() {
    let (files, root) = (Files::new(), Issuer::root("root"));
    let below = root.below("below", 7);
    let list = files.write("crl", below.list(-10, 1000, &[1]).der());
    let (upper, lower) =
        (files.authority(&root, SERIAL_NUMBER, vec![]), files.authority(&below, IDENTIFIER, vec![list]));
    for (order, organisation) in
        [(vec![upper.clone(), lower.clone()], SWEDISH), (vec![lower.clone(), upper.clone()], NORWEGIAN)]
    {
        let (read, _) = read(order).expect("authorities");
        assert_eq!(let_in(&read, &[below.client(1), below.certificate()]), Err(CertificateError::Revoked));
        assert_eq!(let_in(&read, &[below.client(2), below.certificate()]).as_deref(), Ok(organisation));
    }
}

#[test]
fn an_expired_list_refuses_all_clients_of_its_authority() {
    let (files, root, other) = (Files::new(), Issuer::root("root"), Issuer::root("other"));
    let old = files.write("old.crl", root.list(-1000, -10, &[]).der());
    let new = files.write("new.crl", root.list(-10, 1000, &[1]).der());
    let without = files.authority(&other, IDENTIFIER, vec![]);
    let with = |lists: &[&PathBuf]| {
        let lists = lists.iter().map(|list| (*list).clone()).collect();
        read(vec![without.clone(), files.authority(&root, IDENTIFIER, lists)]).expect("lists")
    };
    let (expired, ends) = with(&[&old]);
    assert!(is_expired(let_in(&expired, &[root.client(2)])));
    assert_eq!(let_in(&expired, &[other.client(2)]).as_deref(), Ok(NORWEGIAN));
    assert_eq!(ends.next_updates.len(), 1);
    assert!(ends.next_updates[0].time < jiff::Timestamp::now().as_second());
    // The newer of two lists is used, in any order of files.
    for lists in [[&old, &new], [&new, &old]] {
        let (read, ends) = with(&lists);
        assert_eq!(let_in(&read, &[root.client(2)]).as_deref(), Ok(NORWEGIAN));
        assert_eq!(let_in(&read, &[root.client(1)]), Err(CertificateError::Revoked));
        let files: Vec<&str> = ends.next_updates.iter().map(|end| &end.file[..]).collect();
        assert_eq!(files, [new.to_str().expect("a path")]);
    }
}

#[test]
fn a_list_that_expires_refuses_clients_without_being_read_again() {
    let (files, root) = (Files::new(), Issuer::root("root"));
    let list = files.write("crl", root.list(-10, 2, &[]).der());
    let (read, ends) = read(vec![files.authority(&root, IDENTIFIER, vec![list.clone()])]).expect("a list");
    let Expiry { file, time } = &ends.next_updates[0];
    assert_eq!(*file, list.display().to_string());
    let chain = [root.client(1)];
    while jiff::Timestamp::now().as_second() < *time {
        if let Err(error) = let_in(&read, &chain) {
            assert!(jiff::Timestamp::now().as_second() >= *time, "too early: {error}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(is_expired(let_in(&read, &chain)));
}

#[test]
fn a_file_without_a_usable_list_is_refused_with_its_name() {
    let (files, root, namesake) = (Files::new(), Issuer::root("root"), Issuer::root("root"));
    let good = root.list(-10, 1000, &[]).der().to_vec();
    let with = |content: &[u8]| {
        let list = files.write("the.crl", content);
        read(vec![files.authority(&root, IDENTIFIER, vec![list])])
    };
    assert!(with(&good).is_ok());
    let cut = &good[..good.len() - 1];
    let forged = namesake.list(-10, 1000, &[]).der().to_vec();
    let twice = [&good[..], &good].concat();
    let certificate = root.0.pem();
    let bad = [
        (b"".as_slice(), "contains no"),
        (b"-", "contains no"),
        (cut, "cannot be read"),
        (&twice, "data after"),
    ];
    let also = [(&forged[..], "signature is not by"), (certificate.as_bytes(), "contains no")];
    for (content, finding) in bad.into_iter().chain(also) {
        let error = with(content).expect_err(finding).to_string();
        assert!(error.contains("the.crl: ") && error.contains(finding), "{error}");
    }
    for index in 0..good.len() {
        let mut damaged = good.clone();
        damaged[index] ^= 1;
        // A list of another issuer is read, but covers no client.
        if let Ok((read, _)) = with(&damaged) {
            assert!(let_in(&read, &[root.client(1)]).is_err(), "byte {index}");
        }
    }
    let missing = files.0.path().join("missing.crl");
    let error = read(vec![files.authority(&root, IDENTIFIER, vec![missing])]).expect_err("no file");
    assert!(error.to_string().contains("missing.crl: "), "{error}");
}
