//! Keys of the fixtures, in each form, and what is said of those that cannot be used.

use super::{Credentials, KeyFile, jwk, pkcs12, read_key};
use crate::replica::client;
use crate::source::config::{PasswordOf, SourceFile, TokenFile};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PASSWORD: &str = "lösenord 1";
/// keytool wants six ASCII characters.
const KEYTOOL_PASSWORD: &str = "secret1";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keys").join(name)
}

/// A directory with private copies of the fixtures, and files with passwords.
fn keys() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
    };
    for entry in fs::read_dir(fixture("")).expect("fixtures").flatten() {
        write(&entry.file_name().to_string_lossy(), &fs::read(entry.path()).expect("a file"));
    }
    write("password", format!("{PASSWORD}\r\n").as_bytes());
    write("keytool-password", KEYTOOL_PASSWORD.as_bytes());
    write("wrong", b"hemligt\n");
    write("two-lines", b"hemligt\nhemligt\n");
    directory
}

fn chain() -> Vec<CertificateDer<'static>> {
    client::read_certificates(&fixture("chain.pem")).expect("certificates")
}

fn read(directory: &Path, name: &str, password: Option<&str>) -> Result<KeyFile, String> {
    let path = directory.join(name);
    let file = password.map(|password| directory.join(password));
    let password = PasswordOf { table: "tls", file: file.as_deref(), variable: None };
    pkcs12::read(&path, &fs::read(&path).expect("a file"), password)
}

fn public_key(found: &KeyFile) -> Vec<u8> {
    let key = any_supported_type(&found.key).expect("a key");
    key.public_key().expect("RSA").to_vec()
}

#[test]
fn pkcs12_of_openssl_and_keytool_old_and_new() {
    let keys = keys();
    for (name, password) in [
        ("modern.p12", Some("password")),
        ("legacy.p12", Some("password")),
        ("keytool.p12", Some("keytool-password")),
        ("no-password.p12", None),
    ] {
        let found = read(keys.path(), name, password).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            found.chain,
            chain(),
            "{name}: from the newest certificate of the key up to below the root"
        );
        let leaf = x509_parser::parse_x509_certificate(&found.chain[0]).expect("a certificate").1;
        assert_eq!(public_key(&found), leaf.public_key().raw, "{name}");
    }
}

/// keytool writes ECDSA keys without their public part, which is in the certificate.
#[test]
fn ecdsa_keys_of_keytool() {
    let keys = keys();
    let found = read(keys.path(), "keytool-ec.p12", Some("keytool-password"))
        .unwrap_or_else(|error| panic!("{error}"));
    let leaf = x509_parser::parse_x509_certificate(&found.chain[0]).expect("a certificate").1;
    assert_eq!((public_key(&found).as_slice(), found.chain.len()), (leaf.public_key().raw, 1));
    let error = read(keys.path(), "keytool-p521.p12", Some("keytool-password")).expect_err("another curve");
    assert!(error.contains("P-256 or P-384"), "{error}");
}

#[test]
fn what_is_wrong_with_pkcs12_is_said_without_the_password() {
    let keys = keys();
    fs::write(keys.path().join("other.p12"), b"0\x82no").expect("written");
    for (name, password, words) in [
        ("modern.p12", Some("wrong"), "the password is not the one"),
        ("legacy.p12", Some("wrong"), "the password is not the one"),
        ("modern.p12", None, "name a file with it in [tls] password_file, or an environment variable"),
        ("legacy.p12", None, "has a password"),
        (
            "modern.p12",
            Some("two-lines"),
            "[tls] password_file: the file must have the secret in its only line",
        ),
        ("modern.p12", Some("hemligt"), "[tls] password_file: the file cannot be read"),
        ("certificates.p12", Some("password"), "holds no private key: export"),
        ("key.p12", Some("password"), "holds no certificate of its private key: export"),
        ("two-keys.p12", Some("keytool-password"), "holds 2 private keys: export the one"),
        (
            "rc2-128.p12",
            Some("password"),
            "in a way that is not supported: export it again with `openssl pkcs12",
        ),
        ("other.p12", Some("password"), "not a PKCS#12 file in DER"),
        ("chain.pem", Some("password"), "not a PKCS#12 file in DER"),
    ] {
        let error = read(keys.path(), name, password).expect_err(name);
        assert!(error.contains(words), "{error}");
        assert!(
            ![PASSWORD, KEYTOOL_PASSWORD, "hemligt"].iter().any(|secret| error.contains(secret)),
            "{error}"
        );
    }
}

/// A stranger may have changed the file: nothing panics, and nothing but the right key comes out.
#[test]
fn damaged_pkcs12_is_refused() {
    for name in ["modern.p12", "legacy.p12"] {
        let keys = keys();
        let whole = fs::read(keys.path().join(name)).expect("a file");
        let password = keys.path().join("password");
        let read = |file: &[u8]| {
            let password = PasswordOf { table: "tls", file: Some(&password), variable: None };
            pkcs12::read(Path::new("org.p12"), file, password)
        };
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{name} cut off at {end}");
        }
        let mut damaged = whole.clone();
        let mut refused = 0;
        for at in 0..whole.len() {
            damaged[at] ^= 1 << (at % 8);
            match read(&damaged) {
                Ok(found) => assert_eq!(found.chain, chain(), "{name}: byte {at}"),
                Err(error) => {
                    assert!(error.starts_with("org.p12: "), "{error}");
                    refused += 1;
                }
            }
            damaged[at] = whole[at];
        }
        assert!(refused + 16 > whole.len(), "{name}: {refused} of {} bytes", whole.len());
    }
}

fn jwk_with(change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let text = fs::read(fixture("key.jwk")).expect("a file");
    let mut jwk = serde_json::from_slice(&text).expect("JSON");
    change(&mut jwk);
    serde_json::to_vec(&jwk).expect("JSON")
}

#[test]
fn a_jwk_is_the_key_of_the_certificate() {
    let keys = keys();
    let of_pkcs12 = read(keys.path(), "modern.p12", Some("password")).expect("a key");
    let alone = fs::read(fixture("key.jwk")).expect("a file");
    let set = jwk_with(|jwk| {
        let public = serde_json::json!({"kty": "RSA", "kid": "second", "n": jwk["n"], "e": "AQAB"});
        *jwk = serde_json::json!({ "keys": [public, jwk] });
    });
    // Some write leading zeros, and padding.
    let padded = jwk_with(|jwk| jwk["e"] = "AAEAAQ==".into());
    for file in [alone, set, padded] {
        let found = jwk::read(&file, None).expect("a key");
        assert_eq!((found.kid.as_deref(), found.chain.len()), (Some("first"), 0));
        assert_eq!(public_key(&found), public_key(&of_pkcs12));
    }
}

#[test]
fn what_is_wrong_with_a_jwk_is_said_without_its_values() {
    let secret = jwk_with(|_| {});
    let secret: serde_json::Value = serde_json::from_slice(&secret).expect("JSON");
    let secret = secret["d"].as_str().expect("a text").to_owned();
    let changed = |name: &'static str, value: serde_json::Value| {
        jwk_with(move |jwk| {
            let _ = jwk.as_object_mut().expect("an object").insert(name.to_owned(), value.clone());
        })
    };
    let without = |name: &'static str| {
        jwk_with(move |jwk| {
            let _ = jwk.as_object_mut().expect("an object").remove(name);
        })
    };
    let two = jwk_with(|jwk| *jwk = serde_json::json!({ "keys": [jwk, jwk] }));
    for (file, words) in [
        (without("d"), "public key"),
        (without("qi"), "lacks qi"),
        (without("kty"), "kty is not RSA"),
        (changed("kty", "EC".into()), "kty is not RSA"),
        (changed("dp", "a b".into()), "dp of the JWK is not base64url"),
        (changed("d", 7.into()), "not a JWK, at line 1"),
        (changed("oth", serde_json::json!([])), "more than two primes"),
        (two, "set of several"),
        (b"{\"keys\":[]}".to_vec(), "without a private key"),
        (b"{".to_vec(), "not a JWK"),
    ] {
        let error = jwk::read(&file, None).expect_err(words);
        assert!(error.contains(words) && !error.contains(&secret[..20]), "{error}");
    }
    let two = jwk_with(|jwk| {
        let mut other = jwk.clone();
        other["kid"] = "other".into();
        *jwk = serde_json::json!({ "keys": [other, jwk] });
    });
    assert_eq!(jwk::read(&two, Some("other")).expect("a key").kid.as_deref(), Some("other"));
    // A number that is not one of a key is refused where the key is used.
    let wrong = jwk::read(&changed("p", "AQAB".into()), None).expect("encoded");
    assert!(any_supported_type(&wrong.key).is_err());
}

/// A source file of KRR with some lines in `[token]`.
fn token(directory: &Path, lines: &str) -> Result<TokenFile, String> {
    let path = directory.join("krr.toml");
    let head =
        "kind = \"krr\"\naddress = \"https://krr.example\"\n[token]\nissuer = \"https://issuer.example/\"\n";
    fs::write(&path, format!("{head}client_id = \"a\"\n{lines}")).expect("written");
    let file = SourceFile::read(&path).map_err(|error| error.finding)?;
    Ok(file.token.expect("[token]"))
}

#[test]
fn the_key_of_tokens_is_pem_or_jwk_or_pkcs12() {
    let keys = keys();
    let of = |lines: &str| {
        let token = token(keys.path(), lines)?;
        read_key(token.key.as_deref().expect("a key"), &token)
    };
    assert_eq!(of("key = \"key.jwk\"").expect("a JWK").kid.as_deref(), Some("first"));
    let pkcs12 = "key = \"modern.p12\"\npassword_file = \"password\"";
    assert_eq!(of(pkcs12).expect("PKCS#12").chain, chain());
    let error = of("key = \"key.jwk\"\npassword_file = \"password\"").expect_err("a password");
    assert!(error.contains("the key is not a PKCS#12 file"), "{error}");
    for name in ["key.jwk", "modern.p12", "password"] {
        fs::set_permissions(keys.path().join(name), Permissions::from_mode(0o644)).expect("set");
        let error = of(if name == "key.jwk" { "key = \"key.jwk\"" } else { pkcs12 }).expect_err(name);
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(keys.path().join(name), Permissions::from_mode(0o600)).expect("set");
    }
}

#[test]
fn certificates_of_pkcs12_are_watched() {
    let keys = keys();
    let path = keys.path().join("far.toml");
    let text = "kind = \"far\"\naddress = \"https://far.example/\"\n[tls]\npkcs12 = \"modern.p12\"\npassword_file = \"password\"";
    fs::write(&path, text).expect("written");
    let file = SourceFile::read(&path).expect("valid");
    let read = Credentials::read(&file.tls, None).expect("readable");
    assert_eq!(read.identity.map(|(chain, _)| chain), Some(chain()));
    let [status] = &read.certificates[..] else { panic!("one certificate") };
    assert!(
        status.subject.contains("164821000025")
            && status.days_left("2100-01-01T00:00:00Z".parse().expect("a time")) > 0
    );
    assert!(status.days_left("2300-01-01T00:00:00Z".parse().expect("a time")) < 0, "it has ended then");
}
