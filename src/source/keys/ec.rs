//! ECDSA keys without their public part, as Java's keytool writes them: TLS wants both.

use der::asn1::{BitString, OctetString};
use der::{Any, Decode, Encode, Sequence};

/// `PrivateKeyInfo` of RFC 5208, without attributes.
#[derive(Sequence)]
struct Pkcs8 {
    version: u8,
    algorithm: Any,
    key: OctetString,
}

/// `ECPrivateKey` of RFC 5915. The curve is in the algorithm of PKCS#8.
#[derive(Sequence)]
struct EcKey {
    version: u8,
    key: OctetString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<Any>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public: Option<BitString>,
}

/// A key of PKCS#8 with the public part of a certificate. Whether both belong together, the user of the key checks.
/// `None` if it is no such key, or has a public part.
pub(super) fn with_public(key: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let outer = Pkcs8::from_der(key).ok()?;
    let inner = EcKey::from_der(outer.key.as_bytes()).ok()?;
    if inner.public.is_some() {
        return None;
    }
    let inner = EcKey { public: Some(BitString::from_bytes(public).ok()?), curve: None, ..inner };
    Pkcs8 { key: OctetString::new(inner.to_der().ok()?).ok()?, ..outer }.to_der().ok()
}
