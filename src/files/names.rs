//! Names of files that fit a file system.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Bytes of a name that most file systems allow.
const NAME_BYTES_MAX: usize = 255;
/// Hexadecimal digits of the digest of a name that was cut.
const DIGEST_DIGITS: usize = 16;

/// A name with a suffix. A name that would be too long is cut, at the end of a character, and gets a digest of the whole, so
/// that different names stay different.
pub(crate) fn with_suffix(name: impl AsRef<OsStr>, suffix: &str) -> OsString {
    let bytes = name.as_ref().as_bytes();
    let mut fitting = bytes.to_owned();
    if bytes.len() + suffix.len() > NAME_BYTES_MAX {
        let is_inside = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
        let mut end = NAME_BYTES_MAX.saturating_sub(suffix.len() + 1 + DIGEST_DIGITS);
        while end > 0 && is_inside(bytes[end]) {
            end -= 1;
        }
        fitting.truncate(end);
        fitting.push(b'-');
        fitting.extend(blake3::hash(bytes).to_hex()[..DIGEST_DIGITS].bytes());
    }
    fitting.extend(suffix.bytes());
    OsStr::from_bytes(&fitting).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_different() {
        assert_eq!(with_suffix("far.nabar", ".rejected.csv"), "far.nabar.rejected.csv");
        let exact = "a".repeat(251);
        assert_eq!(with_suffix(&exact, ".csv"), &format!("{exact}.csv")[..]);
        let (one, other) = ("å".repeat(200), format!("{}ä", "å".repeat(199)));
        let [one, other] = [one, other].map(|name| with_suffix(name, ".csv").into_string().expect("text"));
        assert_ne!(one, other);
        for name in [one, other] {
            assert!(
                (254..=255).contains(&name.len()) && name.ends_with(".csv") && name.starts_with('å'),
                "{name}"
            );
        }
    }
}
