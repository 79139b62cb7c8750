//! The client's end of a connection.
//!
//! A connection may stay open for days. So the certificate of its client is verified not only in the handshake, but
//! again before the first request after certificates or revocation lists were reloaded, and once a minute while requests
//! arrive: a certificate or a revocation list expires without a reload.

use super::caller::Peer;
use super::credentials::Credentials;
use super::stream::SharedStream;
use super::tls::thumbprint;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time after which a certificate is verified again without a reload.
const VERIFIED_FOR: Duration = Duration::from_secs(60);

/// A connection, and what its client's certificate says.
pub(super) struct Connection {
    /// What is known without the certificate.
    peer: Arc<Peer>,
    /// The client's certificate and its intermediates; empty if it sent none.
    chain: Vec<CertificateDer<'static>>,
    verified: Mutex<Option<Verified>>,
}

/// The last verification that succeeded.
struct Verified {
    generation: u64,
    at: UnixTime,
    peer: Arc<Peer>,
}

impl Connection {
    /// A connection between two addresses, and the certificates that its client sent.
    pub(super) fn new(
        remote: SocketAddr,
        local: Option<SocketAddr>,
        chain: &[CertificateDer<'_>],
        stream: Option<SharedStream>,
    ) -> Connection {
        let port = local.map_or(0, |local| local.port());
        let certificate = chain.first().and_then(thumbprint);
        Connection {
            peer: Arc::new(Peer { certificate, stream, ..Peer::new(remote.ip(), port) }),
            chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
            verified: Mutex::new(None),
        }
    }

    /// A connection to the address of probes and metrics.
    pub(super) fn for_admin(remote: SocketAddr, local: Option<SocketAddr>) -> Connection {
        let port = local.map_or(0, |local| local.port());
        let peer = Arc::new(Peer { is_admin: true, ..Peer::new(remote.ip(), port) });
        Connection { peer, chain: Vec::new(), verified: Mutex::new(None) }
    }

    /// The client, without its organisation.
    pub(super) fn unverified(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The client, with the organisation of its certificate. Errors: the certificate is not valid, or no longer valid.
    ///
    /// Costs a lock, and some signature verifications if the certificate has to be verified again.
    pub(super) fn peer(&self, credentials: &Credentials) -> Result<Arc<Peer>, rustls::Error> {
        self.peer_at(credentials, UnixTime::now())
    }

    fn peer_at(&self, credentials: &Credentials, now: UnixTime) -> Result<Arc<Peer>, rustls::Error> {
        if self.chain.is_empty() {
            return Ok(Arc::clone(&self.peer));
        }
        let Some(material) = credentials.tls() else { return Ok(Arc::clone(&self.peer)) };
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let until = |at: UnixTime| at.as_secs().saturating_add(VERIFIED_FOR.as_secs());
        if let Some(last) = verified.as_ref()
            && last.generation == material.generation
            && (last.at.as_secs()..until(last.at)).contains(&now.as_secs())
        {
            return Ok(Arc::clone(&last.peer));
        }
        *verified = None;
        let (organisation, unnamed) = match material.organisation(&self.chain, now)? {
            None => (None, None),
            Some(Ok(organisation)) => (Some(organisation), None),
            Some(Err(reason)) => (None, Some(reason)),
        };
        let peer = Arc::new(Peer { organisation, unnamed, ..Peer::clone(&self.peer) });
        *verified = Some(Verified { generation: material.generation, at: now, peer: Arc::clone(&peer) });
        Ok(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::Config;
    use crate::service::tls::tests::{Files, IDENTIFIER, Issuer, NORWEGIAN};
    use rustls::{CertificateError, Error};
    use std::net::Ipv4Addr;

    fn connection(chain: &[CertificateDer<'_>]) -> Connection {
        let address = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Connection::new(address(1), Some(address(8443)), chain, None)
    }

    /// The name of an error, without its context.
    fn name(error: &Error) -> &'static str {
        match error {
            Error::InvalidCertificate(CertificateError::Revoked) => "revoked",
            Error::InvalidCertificate(CertificateError::ExpiredContext { .. }) => "expired",
            Error::InvalidCertificate(CertificateError::ExpiredRevocationListContext { .. }) => {
                "list expired"
            }
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => "unknown issuer",
            _ => "other",
        }
    }

    #[test]
    fn a_certificate_is_verified_again_after_a_reload_and_as_time_passes() {
        let (files, root, other) = (Files::new(), Issuer::root("root"), Issuer::root("other"));
        let list = |next_update, revoked: &[u64]| {
            files.write("the.crl", root.list(-10, next_update, revoked).der());
        };
        list(100_000, &[]);
        let authority = files.authority(&root, IDENTIFIER, vec![files.path("the.crl")]);
        let tls = files.tls(vec![authority.clone()]);
        let config = Config { tls: Some(tls), ..Config::default() };
        let credentials = Credentials::new(&config).expect("credentials");
        let [revoked, kept, short] =
            [root.client(1), root.client(2), root.client_until(3, 1000)].map(|chain| connection(&[chain]));
        let none = connection(&[]);
        let start = UnixTime::now();
        let after = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(start.as_secs() + seconds));
        let of = |connection: &Connection, seconds| match connection.peer_at(&credentials, after(seconds)) {
            Ok(peer) => Ok(peer.organisation.clone().unwrap_or_default()),
            Err(error) => Err(name(&error)),
        };
        let organisation = || Ok(NORWEGIAN.to_owned());
        for connection in [&revoked, &kept, &short] {
            assert_eq!(of(connection, 0), organisation());
        }
        assert_eq!(of(&none, 0), Ok(String::new()));
        let same = |one: u64, other: u64| {
            let [one, other] = [one, other].map(|at| kept.peer_at(&credentials, after(at)).expect("a peer"));
            Arc::ptr_eq(&one, &other)
        };
        assert!(same(0, 59), "verified too often");
        assert!(!same(59, 60), "not verified again");
        // The certificate expires, without a reload.
        assert_eq!(of(&short, 2000), Err("expired"));
        // Revoked.
        list(100_000, &[1]);
        credentials.reload_if_due(true);
        assert_eq!(of(&revoked, 61), Err("revoked"));
        assert_eq!(of(&revoked, 61), Err("revoked"), "again");
        assert_eq!(of(&kept, 61), organisation());
        // The list expires, without a reload.
        assert_eq!(of(&kept, 200_000), Err("list expired"));
        assert_eq!(of(&kept, 62), organisation());
        // A broken list leaves the old one in force.
        files.write("the.crl", "");
        credentials.reload_if_due(true);
        assert_eq!(of(&revoked, 63), Err("revoked"));
        assert_eq!(of(&kept, 63), organisation());
        // The authority is replaced by another.
        files.write("the.crl", other.list(-10, 100_000, &[]).der());
        std::fs::write(&authority.ca, other.pem()).expect("written");
        credentials.reload_if_due(true);
        assert_eq!(of(&kept, 64), Err("unknown issuer"));
        assert_eq!(of(&none, 64), Ok(String::new()));
    }
}
