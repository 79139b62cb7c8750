//! Signatures of what a source tells its replicas: Ed25519 (RFC 8032), keys as PEM (RFC 8410).
//!
//! What is signed is a [`Statement`]: a few lines of text that name what was asked, what the answer leads to, and the
//! BLAKE3 of its bytes. `docs/replicas.md` has the lines.

mod statement;

pub use statement::Statement;
pub(crate) use statement::header;

use crate::files;
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
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no such key.
    #[error("{}: no {what} of Ed25519 in PEM; `nabar keygen` makes a pair", path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl KeyError {
    /// The file, and what is wrong with it.
    pub(crate) fn finding(self) -> (PathBuf, String) {
        match self {
            KeyError::Io { path, error } => (path, error.to_string()),
            KeyError::NoKey { path, what } => (path, format!("no {what} of Ed25519 in PEM")),
            KeyError::Random(error) => (PathBuf::new(), error.to_string()),
        }
    }
}

/// Keys that sign: all of them sign everything, so that a new one can join before an old one goes.
#[derive(Clone, Default)]
pub struct Keys(Vec<SigningKey>);

/// Keys that are trusted: a signature by any of them is enough.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Vec<VerifyingKey>);

/// Why something is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbelieved {
    /// There is no signature.
    #[error("it is not signed")]
    Unsigned,
    /// There are only signatures by others.
    #[error("it is signed by no key that is trusted")]
    Stranger,
    /// A signature by a trusted key does not hold.
    #[error("it has been altered, or answers another question: its signature does not hold")]
    Altered,
}

impl Keys {
    /// Reads private keys: PKCS#8 in PEM, as `nabar keygen` and `openssl genpkey -algorithm ed25519` write them.
    pub fn read(paths: &[PathBuf]) -> Result<Keys, KeyError> {
        let read = |path: &PathBuf| {
            let unusable = || KeyError::NoKey { path: path.clone(), what: "private key" };
            SigningKey::from_pkcs8_pem(&text(path)?).map_err(|_| unusable())
        };
        paths.iter().map(read).collect::<Result<_, _>>().map(Keys)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of these keys, and no others, have made some signatures. Whether they hold is not asked.
    pub(crate) fn have_signed(&self, signatures: &str) -> bool {
        let names = signatures.split(", ").filter_map(|part| part.split_once('=')).map(|(name, _)| name);
        names.eq(self.0.iter().map(|key| id(&key.verifying_key())))
    }

    /// Signatures of a statement, by all keys: `ID=BASE64`, with a comma and a blank between them.
    pub fn sign(&self, statement: &Statement) -> String {
        let text = statement.text();
        let mut signatures = String::new();
        for key in &self.0 {
            let signature = BASE64_STANDARD.encode(key.sign(text.as_bytes()).to_bytes());
            let comma = if signatures.is_empty() { "" } else { ", " };
            // Writing to memory does not fail.
            let _ = write!(signatures, "{comma}{}={signature}", id(&key.verifying_key()));
        }
        signatures
    }
}

impl Trusted {
    /// Reads public keys: SPKI in PEM.
    pub fn read(paths: &[PathBuf]) -> Result<Trusted, KeyError> {
        let read = |path: &PathBuf| {
            let unusable = || KeyError::NoKey { path: path.clone(), what: "public key" };
            VerifyingKey::from_public_key_pem(&text(path)?).map_err(|_| unusable())
        };
        paths.iter().map(read).collect::<Result<_, _>>().map(Trusted)
    }

    /// Whether none is: then nothing is checked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a trusted key has signed a statement. `signatures` as [`Keys::sign`] writes them.
    pub fn check(&self, statement: &Statement, signatures: Option<&str>) -> Result<(), Unbelieved> {
        let signatures = signatures.filter(|text| !text.is_empty()).ok_or(Unbelieved::Unsigned)?;
        let text = statement.text();
        let mut found = Err(Unbelieved::Stranger);
        for (name, signature) in signatures.split(", ").filter_map(|part| part.split_once('=')) {
            for key in self.0.iter().filter(|key| id(key) == name) {
                let signature = BASE64_STANDARD.decode(signature).ok();
                let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
                if signature.is_some_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok()) {
                    return Ok(());
                }
                found = Err(Unbelieved::Altered);
            }
        }
        found
    }
}

/// Makes a pair of keys: `NAME.key`, which only its owner may read, and `NAME.pub`. Returns both paths.
///
/// Errors: one of them is there already.
pub fn generate(name: &Path) -> Result<[PathBuf; 2], KeyError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(KeyError::Random)?;
    let key = SigningKey::from_bytes(&secret);
    let with = |ending: &str| {
        let mut name = name.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let [private, public] = [with(".key"), with(".pub")];
    let unusable = |path: &Path| KeyError::NoKey { path: path.to_owned(), what: "key" };
    // Without the public key in it, which OpenSSL 3.0 does not read.
    let bytes = KeypairBytes { secret_key: secret, public_key: None };
    let pem = bytes.to_pkcs8_pem(LineEnding::LF).map_err(|_| unusable(&private))?;
    write_new(&private, pem.as_bytes(), 0o600)?;
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|_| unusable(&public))?;
    if let Err(error) = write_new(&public, pem.as_bytes(), 0o644) {
        // Half a pair is of use to nobody.
        let _ = fs::remove_file(&private);
        return Err(error);
    }
    Ok([private, public])
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    use std::os::unix::fs::OpenOptionsExt;
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = written.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        files::sync_directory(path)
    });
    written.map_err(|error| KeyError::Io { path: path.to_owned(), error })
}

/// What a key is named by: the first half of its BLAKE3, hexadecimal.
fn id(key: &VerifyingKey) -> String {
    blake3::hash(key.as_bytes()).to_hex()[..16].to_owned()
}

fn text(path: &Path) -> Result<String, KeyError> {
    fs::read_to_string(path).map_err(|error| KeyError::Io { path: path.to_owned(), error })
}

/// Random bytes for a replica to have signed, 32 hexadecimal digits.
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
            nonce: "n".to_owned(),
            time: "2026-06-01T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn a_signature_holds_for_what_was_signed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("directory");
        let pair = |name: &str| generate(&directory.path().join(name)).expect("a pair");
        let ([old, old_public], [new, new_public]) = (pair("old"), pair("new"));
        assert!(matches!(generate(&directory.path().join("new")), Err(KeyError::Io { .. })), "kept");
        let trusted = |public: &[&PathBuf]| {
            Trusted::read(&public.iter().map(|path| (*path).clone()).collect::<Vec<_>>()).expect("keys")
        };
        let keys = |private: &[&PathBuf]| {
            Keys::read(&private.iter().map(|path| (*path).clone()).collect::<Vec<_>>()).expect("keys")
        };
        let said = statement();
        let by_old = keys(&[&old]).sign(&said);
        let by_both = keys(&[&old, &new]).sign(&said);
        assert_eq!(trusted(&[&old_public]).check(&said, Some(&by_old)), Ok(()));
        assert_eq!(trusted(&[&new_public]).check(&said, Some(&by_both)), Ok(()), "the overlap");
        assert_eq!(trusted(&[&old_public, &new_public]).check(&said, Some(&by_old)), Ok(()));
        assert_eq!(trusted(&[&new_public]).check(&said, Some(&by_old)), Err(Unbelieved::Stranger));
        assert_eq!(trusted(&[&old_public]).check(&said, None), Err(Unbelieved::Unsigned));
        assert_eq!(trusted(&[&old_public]).check(&said, Some("")), Err(Unbelieved::Unsigned));
        let altered = [
            Statement { what: "snapshot", ..said.clone() },
            Statement { register: "krr".to_owned(), ..said.clone() },
            Statement { from: 0, ..said.clone() },
            Statement { to: 3, ..said.clone() },
            Statement { latest: 2, ..said.clone() },
            Statement { content: String::new(), ..said.clone() },
            Statement { body: "a".to_owned(), ..said.clone() },
            Statement { nonce: "m".to_owned(), ..said.clone() },
            Statement { time: String::new(), ..said.clone() },
        ];
        for altered in altered {
            assert_eq!(trusted(&[&old_public]).check(&altered, Some(&by_old)), Err(Unbelieved::Altered));
        }
        let garbage = by_old.replace('=', "=AAAA");
        assert_eq!(trusted(&[&old_public]).check(&said, Some(&garbage)), Err(Unbelieved::Altered));
        assert!(
            matches!(Keys::read(&[old_public]), Err(KeyError::NoKey { .. })),
            "a public key does not sign"
        );
        assert!(matches!(Trusted::read(&[old]), Err(KeyError::NoKey { .. })));
    }
}
