//! The caller of a request: what its certificate or token says about it.

use crate::register::{Register, SenderIndex};

/// KRR: e-mail address, mobile number, whether the recipient can be notified, language.
pub(super) const CONTACT_SCOPE: &str = "krr:global/kontaktinformasjon.read";
/// KRR: mailbox, operator, certificate.
pub(super) const MAILBOX_SCOPE: &str = "krr:global/digitalpost.read";

/// The other end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// The address, without the port.
    pub(super) address: String,
    /// The organisation of its client certificate, if it sent a valid one.
    pub(super) organisation: Option<String>,
}

/// The caller of a request.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Authentication is off: everything is allowed.
    Unrestricted,
    /// Authentication is on, and the request has no valid credentials.
    Unauthenticated,
    /// An organisation, by its certificate. Certificates have no scopes: they read KRR only if no tokens are accepted.
    Certificate { organisation: String, reads_krr: bool },
    /// A token, with its scopes.
    Token { organisation: Option<String>, scopes: Vec<String> },
}

impl Caller {
    /// Number of the organisation.
    pub(super) fn organisation(&self) -> Option<&str> {
        match self {
            Caller::Unrestricted | Caller::Unauthenticated => None,
            Caller::Certificate { organisation, .. } => Some(organisation),
            Caller::Token { organisation, .. } => organisation.as_deref(),
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

    /// KRR: whether it may read the fields of a scope.
    pub(super) fn has_scope(&self, scope: &str) -> bool {
        match self {
            Caller::Unrestricted => true,
            Caller::Unauthenticated => false,
            Caller::Certificate { reads_krr, .. } => *reads_krr,
            Caller::Token { scopes, .. } => scopes.iter().any(|other| other == scope),
        }
    }
}
