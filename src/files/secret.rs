//! Private keys and tokens, which other users must not be able to read.

use super::input::open_regular;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most bytes of a file with keys or a token.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Reads a file with a private key or a token, unless its content is `public`: then it holds no secret, and was given by
/// mistake.
///
/// Errors: it is not a regular file; others may read or write it, or the group may. Only if the file belongs to root, its group may read it: such a
/// group was made for the key.
pub(crate) fn read_secret(path: &Path, is_public: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let metadata = file.metadata()?;
    let mut secret = Vec::new();
    file.take(SECRET_BYTES_MAX).read_to_end(&mut secret)?;
    if let Some(why) = exposure(metadata.mode(), metadata.uid()).filter(|_| !is_public(&secret)) {
        let (mode, path) = (metadata.mode() & 0o7777, path.display());
        let text = format!(
            "{why} (mode {mode:04o}), but it is secret: run `chmod 600 {path}`, and replace the secret if others may \
             have read it"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(secret)
}

/// Whether a file of PEM has no private key, such as one of certificates.
pub(crate) fn has_no_private_key(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, b"PRIVATE KEY-----").is_none()
}

/// Who may read or change a file besides its owner.
fn exposure(mode: u32, owner: u32) -> Option<&'static str> {
    const ROOT: u32 = 0;
    match (mode & 0o077, owner) {
        (0, _) | (0o040, ROOT) => None,
        (bits, _) if bits & 0o007 != 0 => Some("every user of this machine has access to the file"),
        _ => Some("the group of the file has access to it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_that_others_can_read_are_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("source.key");
        let public = "-----BEGIN CERTIFICATE-----\nAA";
        fs::write(&path, public).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        assert!(read_secret(&path, has_no_private_key).is_ok() && read_secret(&path, |_| false).is_err());
        fs::write(&path, format!("{public}\n-----BEGIN EC PRIVATE KEY-----")).expect("written");
        assert!(read_secret(&path, has_no_private_key).is_err());
        fs::write(&path, "secret").expect("written");
        for (mode, allowed) in [(0o600, true), (0o400, true), (0o644, false), (0o604, false), (0o620, false)]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            match read_secret(&path, |_| false) {
                Ok(secret) => assert!(allowed && secret == b"secret", "{mode:o}"),
                Err(error) => {
                    let text = error.to_string();
                    let how = text.contains(&format!("chmod 600 {}", path.display()));
                    assert!(!allowed && how && text.contains(&format!("{mode:04o}")), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_group_may_read_the_keys_of_root_only() {
        assert_eq!(exposure(0o100_640, 0), None);
        assert_eq!(exposure(0o100_440, 0), None);
        assert!(exposure(0o100_640, 1000).is_some());
        assert!(exposure(0o100_660, 0).is_some());
        assert!(exposure(0o100_644, 0).is_some());
    }
}
