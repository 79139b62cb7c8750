//! The caller of a request: what its certificate or token says about it.

use super::problem::Problem;
use super::stream::SharedStream;
use super::tls::{NoOrganisation, Thumbprint};
use super::tokens::TokenError;
use crate::register::{Register, SenderIndex};
use hyper::StatusCode;
use std::net::IpAddr;

/// KRR: e-mail address, mobile number, whether the recipient can be notified, language.
pub(super) const CONTACT_SCOPE: &str = "krr:global/kontaktinformasjon.read";
/// KRR: mailbox, operator, certificate.
pub(super) const MAILBOX_SCOPE: &str = "krr:global/digitalpost.read";
/// KRR: the feed of changes, without the fields of the other two.
pub(super) const FEED_SCOPE: &str = "krr:global/hentendring.read";
/// Newer names, which suppliers have.
const OF_SUPPLIERS: [(&str, &str); 2] =
    [(CONTACT_SCOPE, "krr:global/kontaktinfo.read"), (MAILBOX_SCOPE, "krr:global/postkasse.read")];

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The address, without the port.
    pub(super) address: IpAddr,
    /// The port of the service that it connected to.
    pub(super) port: u16,
    /// The connection.
    pub(super) stream: Option<SharedStream>,
    /// Whether that is the address of probes and metrics.
    pub(super) is_admin: bool,
    /// The SHA-256 digest of its client certificate, if it sent a valid one.
    pub(super) certificate: Option<Thumbprint>,
    /// The organisation of its client certificate.
    pub(super) organisation: Option<String>,
    /// Why its client certificate names no organisation.
    pub(super) unnamed: Option<NoOrganisation>,
}

impl Peer {
    /// A client without a certificate.
    pub(super) fn new(address: IpAddr, port: u16) -> Peer {
        Peer {
            address,
            port,
            stream: None,
            is_admin: false,
            certificate: None,
            organisation: None,
            unnamed: None,
        }
    }
}

#[cfg(test)]
impl Default for Peer {
    fn default() -> Peer {
        Peer::new(std::net::Ipv4Addr::LOCALHOST.into(), 0)
    }
}

/// Why a request has no caller. The log has the text; the client gets the problem, which says less.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum AuthenticationError {
    #[error("there is neither a client certificate nor a bearer token")]
    Missing,
    #[error("the request has more than one Authorization header")]
    Repeated,
    #[error("there is no bearer token, and the client certificate names no organisation: {0}")]
    Unnamed(NoOrganisation),
    #[error("the token is refused: {0}")]
    Token(TokenError),
    /// The certificate was valid in the handshake.
    #[error("the client certificate is no longer valid: {0}")]
    Certificate(rustls::Error),
    /// The request has begun with another one.
    #[error("the credentials of the request name another caller, or other scopes, than when it began")]
    OtherCaller,
}

impl From<&AuthenticationError> for Problem {
    fn from(error: &AuthenticationError) -> Problem {
        let (word, detail) = match error {
            AuthenticationError::Missing | AuthenticationError::Unnamed(_) => (
                "missing-credentials",
                "send a client certificate that names an organisation, or a bearer token",
            ),
            AuthenticationError::Repeated
            | AuthenticationError::Token(_)
            | AuthenticationError::OtherCaller => (
                "bad-token",
                "the token has expired, is not an access token that is signed by a known key, has another issuer or \
                 audience, names no organisation, or is bound to another holder",
            ),
            AuthenticationError::Certificate(_) => {
                ("bad-certificate", "the client certificate of this connection is no longer accepted")
            }
        };
        Problem::new(StatusCode::UNAUTHORIZED, word, detail)
    }
}

/// The caller of a request. If authentication is on, every caller is an organisation, which the audit log names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Authentication is off: everything is allowed.
    Unrestricted,
    /// Authentication is on, and the request has no valid credentials.
    Unauthenticated,
    /// An organisation, by its certificate. Certificates have no scopes: they read KRR only if no tokens are accepted.
    Certificate { organisation: String, reads_krr: bool },
    /// An organisation, by its token, with the scopes of the token.
    Token { organisation: String, scopes: Vec<String> },
}

impl Caller {
    /// Number of the organisation.
    pub(super) fn organisation(&self) -> Option<&str> {
        match self {
            Caller::Unrestricted | Caller::Unauthenticated => None,
            Caller::Certificate { organisation, .. } | Caller::Token { organisation, .. } => {
                Some(organisation)
            }
        }
    }

    pub(super) fn is_unrestricted(&self) -> bool {
        matches!(self, Caller::Unrestricted)
    }

    /// Whether it may act for the sender at an index of the register: it is that sender, or a dispatcher that is
    /// registered for it.
    pub(super) fn may_act_for(&self, register: &Register, sender: SenderIndex) -> bool {
        self.is_unrestricted()
            || self.organisation().is_some_and(|organisation| {
                let mut dispatchers = register.dispatchers().iter();
                register.senders().get(usize::from(sender)).is_some_and(|sender| sender.id == organisation)
                    || dispatchers.any(|other| other.id == organisation && other.senders.contains(&sender))
            })
    }

    /// Whether it is a sender, a dispatcher or a mailbox operator of the register.
    pub(super) fn is_participant(&self, register: &Register) -> bool {
        self.is_unrestricted()
            || self.organisation().is_some_and(|organisation| {
                register.senders().iter().any(|sender| sender.id == organisation)
                    || register.dispatchers().iter().any(|dispatcher| dispatcher.id == organisation)
                    || register.operators().iter().any(|operator| operator.id == organisation)
            })
    }

    /// Whether it is a mailbox operator of the register.
    pub(super) fn is_operator(&self, register: &Register) -> bool {
        self.is_unrestricted()
            || self.organisation().is_some_and(|organisation| {
                register.operators().iter().any(|operator| operator.id == organisation)
            })
    }

    /// KRR: whether it may read the fields of a scope.
    pub(super) fn has_scope(&self, scope: &str) -> bool {
        match self {
            Caller::Unrestricted => true,
            Caller::Unauthenticated => false,
            Caller::Certificate { reads_krr, .. } => *reads_krr,
            Caller::Token { scopes, .. } => {
                let of_suppliers = OF_SUPPLIERS.iter().find(|(name, _)| *name == scope);
                let is_it =
                    |other: &String| other == scope || of_suppliers.is_some_and(|(_, name)| other == name);
                scopes.iter().any(is_it)
            }
        }
    }
}
