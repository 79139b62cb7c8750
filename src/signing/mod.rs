//! Signatures of a source's responses to replicas: Ed25519 (RFC 8032), keys as PEM (RFC 8410).
//!
//! A key signs a [`Statement`]: a few lines of text with the request, the resulting sequence number and the BLAKE3 of
//! the response's bytes. `docs/replicas.md` lists the lines.

mod statement;

pub use statement::Statement;
pub(crate) use statement::header;

use crate::files::{FileMode, PartialFile, has_no_private_key, read_regular_text, read_secret};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds no such key.
    #[error("{}: no Ed25519 {what} in PEM; `nabar keygen` makes a pair", path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
        /// The kind of key expected.
        what: &'static str,
    },
    /// The operating system has no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(getrandom::Error),
}

impl KeyError {
    /// The file and its fault.
    pub(crate) fn finding(self) -> (PathBuf, String) {
        match self {
            KeyError::Io { path, error } => (path, error.to_string()),
            KeyError::NoKey { path, what } => (path, format!("no Ed25519 {what} in PEM")),
            KeyError::Random(error) => (PathBuf::new(), error.to_string()),
        }
    }
}

/// Private keys. All of them sign every statement, so that a new key can be added before an old one is removed.
#[derive(Clone, Default)]
pub struct SigningKeys(Vec<SigningKey>);

/// Trusted public keys. A signature by any of them is sufficient.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(Vec<VerifyingKey>);

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no signature.
    #[error("it is not signed")]
    Unsigned,
    /// Only keys that are not trusted have signed.
    #[error("it is not signed by a trusted key")]
    UntrustedKey,
    /// The signature of a trusted key is invalid.
    #[error("it was altered, or belongs to another request: the signature is invalid")]
    Invalid,
    /// There is a signature in format 1 only, which does not cover the length.
    #[error(
        "it is signed in format 1, without its length: update nabar at the source, which then signs in format 2"
    )]
    OldFormat,
}

impl SigningKeys {
    /// Reads private keys: PKCS#8 in PEM, as `nabar keygen` and `openssl genpkey -algorithm ed25519` write them.
    ///
    /// Errors: the group or others can read a key.
    pub fn read(paths: &[impl AsRef<Path>]) -> Result<SigningKeys, KeyError> {
        let read = |path: &Path| {
            let unusable = || KeyError::NoKey { path: path.to_owned(), what: "private key" };
            let pem = read_secret(path, has_no_private_key)
                .map_err(|error| KeyError::Io { path: path.to_owned(), error })?;
            SigningKey::from_pkcs8_pem(&String::from_utf8_lossy(&pem)).map_err(|_| unusable())
        };
        paths.iter().map(|path| read(path.as_ref())).collect::<Result<_, _>>().map(SigningKeys)
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Signatures of a statement by all keys: `ID=BASE64`, separated by a comma and a space.
    pub fn sign(&self, statement: &Statement) -> String {
        self.sign_text(&statement.text())
    }

    /// Signatures of a statement in format 1, which replicas of older versions check.
    pub(crate) fn sign_format_1(&self, statement: &Statement) -> String {
        self.sign_text(&statement.text_1())
    }

    /// The public keys.
    pub(crate) fn public(&self) -> TrustedKeys {
        TrustedKeys(self.0.iter().map(SigningKey::verifying_key).collect())
    }

    fn sign_text(&self, text: &str) -> String {
        let mut signatures = String::new();
        for key in &self.0 {
            let signature = BASE64_STANDARD.encode(key.sign(text.as_bytes()).to_bytes());
            let comma = if signatures.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(signatures, "{comma}{}={signature}", id(&key.verifying_key()));
        }
        signatures
    }
}

impl TrustedKeys {
    /// Reads public keys: SPKI in PEM.
    pub fn read(paths: &[impl AsRef<Path>]) -> Result<TrustedKeys, KeyError> {
        let read = |path: &Path| {
            let unusable = || KeyError::NoKey { path: path.to_owned(), what: "public key" };
            VerifyingKey::from_public_key_pem(&text(path)?).map_err(|_| unusable())
        };
        paths.iter().map(|path| read(path.as_ref())).collect::<Result<_, _>>().map(TrustedKeys)
    }

    /// Whether there are no keys: then nothing is checked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that a trusted key has signed a statement. `signatures` have the form of [`SigningKeys::sign`].
    pub fn check(&self, statement: &Statement, signatures: Option<&str>) -> Result<(), SignatureError> {
        let signatures = signatures.filter(|text| !text.is_empty()).ok_or(SignatureError::Unsigned)?;
        let text = statement.text();
        let mut found = Err(SignatureError::UntrustedKey);
        for (name, signature) in signatures.split(", ").filter_map(|part| part.split_once('=')) {
            for key in self.0.iter().filter(|key| id(key) == name) {
                let signature = BASE64_STANDARD.decode(signature).ok();
                let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
                if signature.is_some_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok()) {
                    return Ok(());
                }
                found = Err(SignatureError::Invalid);
            }
        }
        found
    }
}

/// Makes a pair of keys: `NAME.key`, readable by its owner only, and `NAME.pub`. Returns both paths.
///
/// Errors: one of the files exists.
pub fn generate(name: impl AsRef<Path>) -> Result<[PathBuf; 2], KeyError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(KeyError::Random)?;
    let key = SigningKey::from_bytes(&secret);
    let with = |ending: &str| {
        let mut name = name.as_ref().as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let [private, public] = [with(".key"), with(".pub")];
    let unusable = |path: &Path| KeyError::NoKey { path: path.to_owned(), what: "key" };
    // OpenSSL 3.0 cannot read a private key that includes the public key.
    let bytes = KeypairBytes { secret_key: secret, public_key: None };
    let pem = bytes.to_pkcs8_pem(LineEnding::LF).map_err(|_| unusable(&private))?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| KeyError::Io { path, error }
    };
    // Both are complete before one has its name.
    let written = write(&private, pem.as_bytes(), FileMode::PRIVATE).map_err(io(&private))?;
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|_| unusable(&public))?;
    let written_public = write(&public, pem.as_bytes(), FileMode::PUBLIC).map_err(io(&public))?;
    written.finish_new().map_err(io(&private))?;
    if let Err(error) = written_public.finish_new() {
        // A private key without its public key is useless.
        let _ = fs::remove_file(&private);
        return Err(io(&public)(error));
    }
    Ok([private, public])
}

/// Writes a file under a temporary name.
fn write(path: &Path, bytes: &[u8], mode: FileMode) -> io::Result<PartialFile> {
    let mut partial = PartialFile::begin(path, mode)?;
    partial.file().write_all(bytes)?;
    partial.file().sync_all()?;
    Ok(partial)
}

/// Identifier of a key: the first half of its BLAKE3, hexadecimal.
fn id(key: &VerifyingKey) -> String {
    blake3::hash(key.as_bytes()).to_hex()[..16].to_owned()
}

fn text(path: &Path) -> Result<String, KeyError> {
    /// Most bytes of a public key.
    const BYTES_MAX: u64 = 1 << 20;
    read_regular_text(path, BYTES_MAX).map_err(|error| KeyError::Io { path: path.to_owned(), error })
}

/// A nonce that a replica sends to have it signed: 32 hexadecimal digits.
pub fn nonce() -> Result<String, KeyError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            what: "changes",
            register: "far".to_owned(),
            from: 1,
            to: 2,
            latest: 3,
            content: "c".to_owned(),
            body: "b".to_owned(),
            bytes: Some(4),
            nonce: "n".to_owned(),
            time: "2026-06-01T00:00:00Z".to_owned(),
            expires: "2026-06-01T01:00:00Z".to_owned(),
        }
    }

    /// Both formats of statements as they were first signed. The file has the lines, and the signature in the last one.
    #[test]
    fn golden_statements_of_formats_1_and_2() {
        let keys = SigningKeys(vec![SigningKey::from_bytes(&[7; 32])]);
        let signed = statement();
        let made = [(signed.text_1(), keys.sign_format_1(&signed)), (signed.text(), keys.sign(&signed))];
        for (format, (text, signature)) in (1..).zip(made) {
            let name = format!("fixtures/golden/statement-format-{format}.txt");
            let golden =
                fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("golden");
            assert_eq!(golden, format!("{text}{signature}\n"));
        }
        let trusted = keys.public();
        assert_eq!(trusted.check(&signed, Some(&keys.sign(&signed))), Ok(()));
        let downgraded = trusted.check(&signed, Some(&keys.sign_format_1(&signed)));
        assert_eq!(downgraded, Err(SignatureError::Invalid), "format 1 does not pass for format 2");
    }

    #[test]
    fn signatures_are_valid_only_for_the_signed_statement() {
        let directory = tempfile::tempdir().expect("directory");
        let pair = |name: &str| generate(directory.path().join(name)).expect("a pair");
        let ([old, old_public], [new, new_public]) = (pair("old"), pair("new"));
        assert!(
            matches!(generate(directory.path().join("new")), Err(KeyError::Io { .. })),
            "existing keys are kept"
        );
        let trusted = |public: &[&PathBuf]| TrustedKeys::read(public).expect("keys");
        let keys = |private: &[&PathBuf]| SigningKeys::read(private).expect("keys");
        let signed = statement();
        let by_old = keys(&[&old]).sign(&signed);
        let by_both = keys(&[&old, &new]).sign(&signed);
        assert_eq!(trusted(&[&old_public]).check(&signed, Some(&by_old)), Ok(()));
        assert_eq!(trusted(&[&new_public]).check(&signed, Some(&by_both)), Ok(()), "both keys sign");
        assert_eq!(trusted(&[&old_public, &new_public]).check(&signed, Some(&by_old)), Ok(()));
        assert_eq!(trusted(&[&new_public]).check(&signed, Some(&by_old)), Err(SignatureError::UntrustedKey));
        assert_eq!(trusted(&[&old_public]).check(&signed, None), Err(SignatureError::Unsigned));
        assert_eq!(trusted(&[&old_public]).check(&signed, Some("")), Err(SignatureError::Unsigned));
        let altered = [
            Statement { what: "snapshot", ..signed.clone() },
            Statement { register: "krr".to_owned(), ..signed.clone() },
            Statement { from: 0, ..signed.clone() },
            Statement { to: 3, ..signed.clone() },
            Statement { latest: 2, ..signed.clone() },
            Statement { content: String::new(), ..signed.clone() },
            Statement { body: "a".to_owned(), ..signed.clone() },
            Statement { bytes: Some(5), ..signed.clone() },
            Statement { bytes: None, ..signed.clone() },
            Statement { expires: String::new(), ..signed.clone() },
            Statement { nonce: "m".to_owned(), ..signed.clone() },
            Statement { time: String::new(), ..signed.clone() },
        ];
        for altered in altered {
            assert_eq!(trusted(&[&old_public]).check(&altered, Some(&by_old)), Err(SignatureError::Invalid));
        }
        let garbage = by_old.replace('=', "=AAAA");
        assert_eq!(trusted(&[&old_public]).check(&signed, Some(&garbage)), Err(SignatureError::Invalid));
        assert!(
            matches!(SigningKeys::read(&[old_public]), Err(KeyError::NoKey { .. })),
            "a public key does not sign"
        );
        assert!(matches!(TrustedKeys::read(&[old]), Err(KeyError::NoKey { .. })));
    }
}
