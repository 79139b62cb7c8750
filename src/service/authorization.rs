//! Authorization: what a route requires of its caller.
//!
//! The requirement is a column of the table of routes, and [`Requirement::check`] runs before the handler. What depends
//! on the body cannot be decided then: the sender of a question to FaR, and the operation of a SOAP message. So
//! [`require_outcomes`] runs whenever a question is made, and each of FaR's operations has a requirement in a second
//! table (`far/operations.rs`), which is checked before the operation runs.

use super::caller::{CONTACT_SCOPE, Caller, FEED_SCOPE, MAILBOX_SCOPE};
use super::credentials::Credentials;
use super::problem::Problem;
use super::registers::ServedRegister;
use crate::register::{Kind, Register, SenderIndex};
use url::form_urlencoded;

/// What a route requires of its caller. Without authentication, every caller meets every requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    /// Nothing: the response contains nothing about recipients.
    Public,
    /// Valid credentials.
    Authenticated,
    /// FaR: to be the sender of the question, or a dispatcher of that sender. KRR: both scopes, since an outcome
    /// reveals mailbox and notification.
    Outcomes,
    /// KRR: at least one of the two scopes. The response has the fields of the caller's scopes.
    KrrScope,
    /// KRR: the scope of the feed, or one of the two scopes, to which alone it has been open. Fields as above.
    KrrFeed,
    /// FaR: credentials; then what the operation in the message requires.
    FarOperation,
    /// To be listed in `replicas.organisations`, or to have a part in `replicas.parts`.
    Replica,
    /// To be listed in `writable.owners`.
    Owner,
}

impl Requirement {
    /// As `docs/service.md` words it.
    #[cfg(test)]
    pub(super) const fn description(self) -> &'static str {
        match self {
            Requirement::Public => "none",
            Requirement::Authenticated => "credentials",
            Requirement::Outcomes => "FaR: the sender or its dispatcher; KRR: both scopes",
            Requirement::KrrScope => "one of the two scopes",
            Requirement::KrrFeed => "one of the two scopes, or the feed's",
            Requirement::FarOperation => "credentials; then by operation",
            Requirement::Replica => "`replicas.organisations` or `replicas.parts`",
            Requirement::Owner => "`writable.owners`",
        }
    }

    /// Checks a caller before the handler runs. `query` is the query string of the request.
    pub(super) fn check(
        self,
        caller: &Caller,
        credentials: &Credentials,
        served: Option<&ServedRegister>,
        query: Option<&str>,
    ) -> Result<(), Problem> {
        match (caller, self) {
            (Caller::Unrestricted, _) | (_, Requirement::Public) => Ok(()),
            (Caller::Unauthenticated, _) => Err(Problem::forbidden("the path requires credentials")),
            (_, Requirement::Authenticated | Requirement::FarOperation) => Ok(()),
            (_, Requirement::Outcomes) => check_outcomes(caller, served, query),
            (_, Requirement::KrrFeed) if caller.has_scope(FEED_SCOPE) => Ok(()),
            (_, Requirement::KrrScope | Requirement::KrrFeed) => {
                match caller.has_scope(CONTACT_SCOPE) || caller.has_scope(MAILBOX_SCOPE) {
                    true => Ok(()),
                    false => Err(Problem::forbidden(
                        "the token lacks krr:global/kontaktinformasjon.read and krr:global/digitalpost.read",
                    )),
                }
            }
            (_, Requirement::Replica) => check_replica(caller, credentials, served),
            (_, Requirement::Owner) => {
                match caller.organisation().is_some_and(|organisation| credentials.is_owner(organisation)) {
                    true => Ok(()),
                    false => Err(Problem::forbidden("the caller is not in writable.owners of nabar.toml")),
                }
            }
        }
    }
}

/// KRR: the scopes. FaR: the sender, if the query string names one that the register has; otherwise the handler reads
/// it from the body, or reports that it is missing or unknown.
fn check_outcomes(
    caller: &Caller,
    served: Option<&ServedRegister>,
    query: Option<&str>,
) -> Result<(), Problem> {
    let Some(register) = served.map(ServedRegister::register) else { return Ok(()) };
    match register.kind() {
        Kind::Krr => require_outcomes(caller, &register, None),
        Kind::Far => {
            let mut parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            let Some((_, sender)) = parameters.find(|(name, _)| name == "sender") else { return Ok(()) };
            // The usual case, without a search and an allocation.
            if caller.organisation() == Some(&*sender) {
                return Ok(());
            }
            match register.sender(&sender) {
                Some(sender) => require_sender(caller, &register, sender),
                None => Ok(()),
            }
        }
    }
}

/// What a question about outcomes requires: for FaR the sender, at an index of the register.
pub(super) fn require_outcomes(
    caller: &Caller,
    register: &Register,
    sender: Option<SenderIndex>,
) -> Result<(), Problem> {
    match (register.kind(), sender) {
        (Kind::Far, Some(sender)) => require_sender(caller, register, sender),
        (Kind::Krr, _) if caller.has_scope(CONTACT_SCOPE) && caller.has_scope(MAILBOX_SCOPE) => Ok(()),
        (Kind::Krr, _) => Err(Problem::forbidden(
            "the token lacks krr:global/kontaktinformasjon.read or krr:global/digitalpost.read",
        )),
        (Kind::Far, None) => Err(Problem::forbidden("a question to FaR requires a sender")),
    }
}

/// Requires that a caller acts for the sender at an index of the register.
pub(super) fn require_sender(
    caller: &Caller,
    register: &Register,
    sender: SenderIndex,
) -> Result<(), Problem> {
    match caller.may_act_for(register, sender) {
        true => Ok(()),
        false => Err(Problem::forbidden(
            "the caller is neither the sender nor a dispatcher that is registered for it",
        )),
    }
}

fn check_replica(
    caller: &Caller,
    credentials: &Credentials,
    served: Option<&ServedRegister>,
) -> Result<(), Problem> {
    let allowed = caller.organisation().is_some_and(|organisation| {
        let mut parts = served.iter().flat_map(|served| &served.parts);
        credentials.may_replicate(organisation) || parts.any(|kept| kept.part.organisation() == organisation)
    });
    if allowed { Ok(()) } else { Err(not_a_replica()) }
}

pub(super) fn not_a_replica() -> Problem {
    Problem::forbidden(
        "the caller may not copy this: replicas.organisations in nabar.toml lists who may copy whole registers, \
         replicas.parts the parts that others may copy",
    )
}
