//! Authorities, their clients and their revocation lists, made by rcgen.

use super::clients::Authorities;
use super::{CredentialsError, Expiry, Material};
use crate::service::config::{ClientAuthority, SubjectAttribute, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub(in crate::service) const SWEDISH: &str = "165560000001";
pub(in crate::service) const NORWEGIAN: &str = "991825827";

/// An issuer of certificates and lists in memory.
pub(in crate::service) struct Issuer(CertifiedIssuer<'static, KeyPair>);

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

    pub(in crate::service) fn root(name: &str) -> Issuer {
        let key = KeyPair::generate().expect("a key");
        Issuer(CertifiedIssuer::self_signed(Issuer::parameters(name), key).expect("a root"))
    }

    fn below(&self, name: &str, serial: u64) -> Issuer {
        let mut parameters = Issuer::parameters(name);
        parameters.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        Issuer(CertifiedIssuer::signed_by(parameters, key, &self.0).expect("an issuer"))
    }

    pub(in crate::service) fn pem(&self) -> String {
        self.0.pem()
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A client with `serialNumber` of a Swedish and `organizationIdentifier` of a Norwegian organisation, so
    /// that the organisation says which of the two is believed.
    pub(in crate::service) fn client(&self, serial: u64) -> CertificateDer<'static> {
        self.client_until(serial, 1_000_000)
    }

    /// A client whose certificate expires in some seconds.
    pub(in crate::service) fn client_until(&self, serial: u64, seconds: i64) -> CertificateDer<'static> {
        let mut parameters = parameters("client");
        parameters.not_after = seconds_from_now(seconds).into();
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
    pub(in crate::service) fn list(
        &self,
        this_update: i64,
        next_update: i64,
        revoked: &[u64],
    ) -> rcgen::CertificateRevocationList {
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
pub(in crate::service) struct Files(TempDir);

impl Files {
    pub(in crate::service) fn new() -> Files {
        Files(tempfile::tempdir().expect("a directory"))
    }

    pub(in crate::service) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(in crate::service) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("private");
        path
    }

    /// A server with its own certificate, and authorities of clients.
    pub(in crate::service) fn tls(&self, client_authorities: Vec<ClientAuthority>) -> Tls {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters("server").self_signed(&key).expect("a certificate");
        Tls {
            certificate: self.write("server.pem", certificate.pem()),
            key: self.write("server.key", key.serialize_pem()),
            client_authorities,
            client_ca: None,
            client_crl: Vec::new(),
            client_optional: false,
        }
    }

    pub(in crate::service) fn authority(
        &self,
        root: &Issuer,
        believed: &[SubjectAttribute],
        crl: Vec<PathBuf>,
    ) -> ClientAuthority {
        let name = format!("{}.pem", fs::read_dir(self.0.path()).expect("listed").count());
        ClientAuthority { ca: self.write(&name, root.0.pem()), organisation_from: believed.to_vec(), crl }
    }
}

/// The authorities, and when their lists expire.
fn read(authorities: Vec<ClientAuthority>) -> Result<(Authorities, Vec<Expiry>), CredentialsError> {
    let tls = Tls {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        client_ca: None,
        client_crl: Vec::new(),
        client_authorities: authorities,
        client_optional: false,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let read = Authorities::read(&tls, &provider, None, &mut Vec::new())?;
    let next_updates = read.next_updates().cloned().collect();
    Ok((read, next_updates))
}

const SERIAL_NUMBER: &[SubjectAttribute] = &[SubjectAttribute::SerialNumber];
pub(in crate::service) const IDENTIFIER: &[SubjectAttribute] = &[SubjectAttribute::OrganizationIdentifier];

/// The organisation that a chain is let in as.
fn let_in(authorities: &Authorities, chain: &[CertificateDer<'_>]) -> Result<String, CertificateError> {
    let_in_at(authorities, chain, UnixTime::now())
}

fn let_in_at(
    authorities: &Authorities,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<String, CertificateError> {
    match authorities.organisation(chain, now) {
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
        assert!(read.organisation(&[], UnixTime::now()).expect("no certificate").is_none());
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
    assert_eq!(ends.len(), 1);
    assert!(ends[0].time < jiff::Timestamp::now().as_second());
    // The newer of two lists is used, in any order of files.
    for lists in [[&old, &new], [&new, &old]] {
        let (read, ends) = with(&lists);
        assert_eq!(let_in(&read, &[root.client(2)]).as_deref(), Ok(NORWEGIAN));
        assert_eq!(let_in(&read, &[root.client(1)]), Err(CertificateError::Revoked));
        let files: Vec<&str> = ends.iter().map(|end| &end.file[..]).collect();
        assert_eq!(files, [new.to_str().expect("a path")]);
    }
}

#[test]
fn a_list_that_expires_refuses_clients_without_being_read_again() {
    let (files, root) = (Files::new(), Issuer::root("root"));
    let list = files.write("crl", root.list(-10, 1000, &[]).der());
    let (read, ends) = read(vec![files.authority(&root, IDENTIFIER, vec![list.clone()])]).expect("a list");
    let Expiry { file, time } = &ends[0];
    assert_eq!(*file, list.display().to_string());
    let chain = [root.client(1)];
    let at = |time: i64| UnixTime::since_unix_epoch(Duration::from_secs(time.unsigned_abs()));
    assert_eq!(let_in_at(&read, &chain, at(time - 1)).as_deref(), Ok(NORWEGIAN));
    assert!(is_expired(let_in_at(&read, &chain, at(time + 1))));
}

/// What a client of each of two authorities is, with serial numbers from 1 to 3: let in or not.
fn admitted(material: &Material, roots: [&Issuer; 2]) -> [[bool; 3]; 2] {
    roots.map(|root| {
        [1, 2, 3].map(|serial| {
            let found = material.organisation(&[root.client(serial)], UnixTime::now());
            found.is_ok_and(|organisation| organisation.is_some_and(|organisation| organisation.is_ok()))
        })
    })
}

#[test]
fn what_cannot_be_reloaded_stays_and_the_rest_is_loaded() {
    let (files, one, other) = (Files::new(), Issuer::root("one"), Issuer::root("other"));
    let lists = |name: &str, root: &Issuer, revoked: &[u64]| {
        let list = root.list(-10, 1000, revoked);
        files.write(name, list.der())
    };
    let crl = vec![lists("one.crl", &one, &[1])];
    let first = files.authority(&one, IDENTIFIER, crl);
    let crl = vec![lists("other.crl", &other, &[1])];
    let second = files.authority(&other, IDENTIFIER, crl);
    let tls = files.tls(vec![first.clone(), second]);
    let mut failures = Vec::new();
    let loaded = Material::load(&tls, None, &mut failures).expect("material");
    let roots = [&one, &other];
    assert_eq!(admitted(&loaded, roots), [[false, true, true]; 2]);
    let (certificate, ca) = (fs::read(&tls.certificate).expect("read"), fs::read(&first.ca).expect("read"));
    for (path, broken, whole) in [
        (&first.crl[0], b"".as_slice(), None),
        (&first.crl[0], b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", None),
        (&first.ca, b"", Some(&ca)),
        (&tls.certificate, b"", Some(&certificate)),
        (&tls.key, b"", None),
    ] {
        let good = whole.cloned().unwrap_or_else(|| fs::read(path).expect("read"));
        fs::write(path, broken).expect("written");
        lists("other.crl", &other, &[1, 2]);
        // New lists are checked with the roots that stay.
        let revoked: &[u64] = if *path == first.crl[0] { &[1] } else { &[1, 2, 3] };
        if *path != first.crl[0] {
            lists("one.crl", &one, revoked);
        }
        let of_first = [1, 2, 3].map(|serial| !revoked.contains(&serial));
        let name = path.display().to_string();
        let mut none = Vec::new();
        let without = Material::load(&tls, None, &mut none).err().map(|error| error.to_string());
        assert!(without.is_some_and(|error| error.contains(&name)) && none.is_empty(), "{name}");
        let material = Material::load(&tls, Some(&loaded), &mut failures).expect("material");
        assert!(failures.iter().all(|error| error.to_string().contains(&name)), "{name}: {failures:?}");
        assert_eq!(failures.len(), 1, "{name}");
        assert_ne!(material.generation, loaded.generation);
        let in_force = [false, false, true];
        assert_eq!(admitted(&material, roots), [of_first, in_force], "{name}");
        // What stayed stays again.
        failures.clear();
        let again = Material::load(&tls, Some(&material), &mut failures).expect("material");
        assert_eq!(failures.len(), 1, "{name}");
        assert_eq!(admitted(&again, roots), [of_first, in_force], "{name}");
        failures.clear();
        fs::write(path, good).expect("written");
        lists("one.crl", &one, &[1]);
        lists("other.crl", &other, &[1]);
        let repaired = Material::load(&tls, Some(&again), &mut failures).expect("material");
        assert!(failures.is_empty(), "{name}");
        assert_eq!(admitted(&repaired, roots), [[false, true, true]; 2], "{name}");
    }
    // The root belongs to the other authority already: which of the two decides is unknown, so both stay.
    fs::write(&first.ca, other.0.pem()).expect("written");
    lists("other.crl", &other, &[1, 2]);
    let material = Material::load(&tls, Some(&loaded), &mut failures).expect("material");
    assert_eq!(admitted(&material, roots), [[false, true, true]; 2]);
    assert_eq!(failures.len(), 1, "{failures:?}");
    failures.clear();
    fs::write(&first.ca, &ca).expect("written");
    // A new key without its certificate.
    fs::write(&tls.key, KeyPair::generate().expect("a key").serialize_pem()).expect("written");
    assert!(Material::load(&tls, None, &mut failures).is_err());
    Material::load(&tls, Some(&loaded), &mut failures).expect("material");
    assert_eq!(failures.len(), 1);
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
