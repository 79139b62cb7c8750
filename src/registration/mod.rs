//! The write side of FaR's contract: mailbox operators register and deregister recipients, take them over from each other, and
//! store which senders they accept.
//!
//! A request is signed by the recipient; for a company, by as many of its signatories as its rule says. A company's request that
//! lacks signatures is pending: it is kept beside the register, and further signatures complete it. Each completed
//! request is one change in the log of the data directory, durable before it is answered. Signatures are not verified: the
//! operator that sends a request has verified them, and its client certificate says who it is.
//!
//! Contract: `Recipient.wsdl` v3, `schema/Authority.xsd`. What it leaves open is in `docs/writing.md`.

mod decide;
mod error;
mod pending;
mod signatories;
#[cfg(test)]
mod tests;

pub(crate) use error::RegistrationError;
pub use error::RegistrationsError;
pub(crate) use pending::{PendingKind, PendingRequest, Requested};
pub(crate) use signatories::{Company, Person, Signatories};

use crate::changes::ChangeBody;
use crate::identities::{Country, Identity, Space, Today};
use crate::register::{Kind, Operator, Register};
use crate::store::Writer;
use decide::Decision;
use jiff::Timestamp;
use pending::PendingRequests;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use url::Url;

/// Longest agreement text, in bytes.
const AGREEMENT_BYTES_MAX: usize = 64 << 10;

/// Who sends a request: a mailbox operator by its id, or any client if authentication is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acting<'c> {
    Anybody,
    Operator(&'c str),
}

impl Acting<'_> {
    fn is(self, operator: &str) -> bool {
        match self {
            Acting::Anybody => true,
            Acting::Operator(id) => id == operator,
        }
    }
}

/// A request with its signatures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission<'c> {
    /// The recipient, 12 digits.
    pub(crate) recipient: &'c str,
    /// The chosen mailbox operator: its id, or the domain of one of its addresses. `None`: the recipient's own one.
    pub(crate) supplier: Option<&'c str>,
    pub(crate) agreement: &'c str,
    /// The date of the request as the contract writes it (`xs:date`); empty if it has none.
    pub(crate) date: &'c str,
    pub(crate) signers: &'c [Person],
}

/// Whether the signatures of a request are sufficient (`SignatureAuthorizationResult`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) recipient: String,
    pub(crate) status: AuthorizationStatus,
    /// All who have signed, in the order of their signatures.
    pub(crate) signed_by: Vec<Person>,
    /// Those who have not signed yet and may.
    pub(crate) possible_signers: Vec<Person>,
    pub(crate) time: Timestamp,
}

/// `AuthorizationStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationStatus {
    Complete,
    Incomplete,
    /// The signatories of this company are not known. The request is not kept.
    RulesNotSupported,
}

impl AuthorizationStatus {
    /// The name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            AuthorizationStatus::Complete => "Complete",
            AuthorizationStatus::Incomplete => "Incomplete",
            AuthorizationStatus::RulesNotSupported => "RulesNotSupported",
        }
    }
}

/// The account of a company, as `isAuthorizedSigner` reports it.
pub(crate) struct CompanyAccount {
    pub(crate) is_pending: bool,
    /// Id of its operator; empty without one.
    pub(crate) operator: String,
    /// Of a pending registration. Those of a completed one are not kept.
    pub(crate) signed_by: Vec<Person>,
    pub(crate) agreement: Option<String>,
}

/// A data directory of FaR that operators write to.
pub(crate) struct Registrations {
    writer: Arc<Writer>,
    signatories: Signatories,
    pending: Mutex<PendingRequests>,
}

impl Registrations {
    /// Opens the pending requests of a data directory. `signatories`: the file of those who sign for companies.
    pub(crate) fn open(
        writer: Arc<Writer>,
        signatories: Option<&Path>,
    ) -> Result<Registrations, RegistrationsError> {
        debug_assert_eq!(writer.kind(), Kind::Far);
        let signatories = signatories.map_or(Ok(Signatories::default()), Signatories::read)?;
        let mut pending = PendingRequests::open(writer.directory())?;
        // A crash may have come after a request was completed and before it was removed.
        let register = writer.register();
        pending.retain(|request| !decide::is_done(&register, request))?;
        Ok(Registrations { writer, signatories, pending: Mutex::new(pending) })
    }

    /// Carries out a request, or keeps it until there are enough signatures. Returns when that is durable.
    ///
    /// Cost: one batch in the log; requests that are submitted at a time share a sync. For a company whose request is or was
    /// pending also a new file of pending requests.
    pub(crate) fn submit(
        &self,
        acting: Acting<'_>,
        requested: &Requested,
        submission: &Submission<'_>,
    ) -> Result<Authorization, RegistrationError> {
        if submission.agreement.len() > AGREEMENT_BYTES_MAX {
            return Err(RegistrationError::BadInput("AgreementText has more than 65536 bytes"));
        }
        let recipient = &recipient(submission.recipient)?;
        let time = Timestamp::now();
        let request = Request { registrations: self, acting, requested, submission, recipient, time };
        match recipient.space() {
            Space::Organisationsnummer => match self.signatories.company(recipient.as_str()) {
                Some(company) => request.of_company(company),
                None => {
                    // The request must be one that the operator may make, all the same.
                    request.change(&self.writer.register(), true)?;
                    let signers = submission.signers.to_vec();
                    Ok(request.authorization(AuthorizationStatus::RulesNotSupported, signers))
                }
            },
            _ => request.of_person(),
        }
    }

    /// The pending request of a recipient at an operator, with its signatures.
    pub(crate) fn pending_of(
        &self,
        acting: Acting<'_>,
        recipient_id: &str,
        user: &str,
        kind: PendingKind,
    ) -> Result<Option<(PendingRequest, Authorization)>, RegistrationError> {
        let recipient = recipient(recipient_id)?;
        self.check_user(&recipient, user)?;
        let pending = self.pending();
        let of = pending.of(recipient.as_str(), kind).filter(|request| acting.is(&request.operator));
        Ok(of.map(|request| (request.clone(), self.authorization_of(request))))
    }

    /// The pending registrations and deregistrations at an operator: of some recipients, or without any of all that a user may sign for.
    pub(crate) fn pending_accounts(
        &self,
        acting: Acting<'_>,
        recipients: &[&str],
        user: &str,
    ) -> Result<Vec<(PendingRequest, Authorization)>, RegistrationError> {
        if !recipients.is_empty() {
            let of = |id: &&str| self.pending_of(acting, id, user, PendingKind::Account).transpose();
            return recipients.iter().filter_map(of).collect();
        }
        let pending = self.pending();
        let of_user = pending.all(PendingKind::Account).filter(|request| {
            let company = self.signatories.company(&request.recipient);
            acting.is(&request.operator) && company.is_some_and(|company| company.has(user))
        });
        Ok(of_user.map(|request| (request.clone(), self.authorization_of(request))).collect())
    }

    /// Gives up a pending request. A recipient that was to be registered leaves the register.
    pub(crate) fn delete_pending(
        &self,
        acting: Acting<'_>,
        recipient_id: &str,
        user: &str,
        kind: PendingKind,
    ) -> Result<PendingRequest, RegistrationError> {
        let recipient = recipient(recipient_id)?;
        self.check_user(&recipient, user)?;
        let mut pending = self.pending();
        let of = pending.of(recipient.as_str(), kind).filter(|request| acting.is(&request.operator));
        let Some(request) = of.cloned() else {
            return Err(RegistrationError::Missing("the recipient has no such pending request here"));
        };
        let decide = |register: &Register| decide::given_up(register, &recipient, &request);
        let batch = self.writer.append_decided(Timestamp::now(), decide)?;
        self.writer.wait(batch)?;
        pending.remove(recipient.as_str(), kind)?;
        Ok(request)
    }

    /// The company whose signatories are known.
    pub(crate) fn company(&self, id: &str) -> Option<&Company> {
        self.signatories.company(id)
    }

    /// The account of a company, active or to be registered; `None` without one.
    pub(crate) fn account(&self, company: &str) -> Result<Option<CompanyAccount>, RegistrationError> {
        let (register, recipient) = (self.writer.register(), recipient(company)?);
        let Some((operator, is_pending)) = decide::standing_of(&register, &recipient)? else {
            return Ok(None);
        };
        let pending = self.pending();
        let request = pending.of(recipient.as_str(), PendingKind::Account).filter(|_| is_pending);
        Ok(Some(CompanyAccount {
            is_pending,
            operator,
            signed_by: request.map_or(Vec::new(), |request| request.signed_by.clone()),
            agreement: request.map(|request| request.agreement.clone()),
        }))
    }

    /// Checks that a user may sign for a recipient. Errors: it may not, as far as is known.
    pub(crate) fn check_user(&self, recipient: &Identity, user: &str) -> Result<(), RegistrationError> {
        let may = match recipient.space() {
            Space::Organisationsnummer => {
                self.signatories.company(recipient.as_str()).is_none_or(|company| company.has(user))
            }
            _ => user == recipient.as_str(),
        };
        match may {
            true => Ok(()),
            false => Err(RegistrationError::NotAuthorised("UserIdentity may not sign for the recipient")),
        }
    }

    fn authorization_of(&self, request: &PendingRequest) -> Authorization {
        let recipient = request.recipient.clone();
        let possible_signers = self.signatories.others_of(&recipient, &request.signed_by);
        let (signed_by, time) = (request.signed_by.clone(), request.time);
        Authorization {
            recipient,
            status: AuthorizationStatus::Incomplete,
            signed_by,
            possible_signers,
            time,
        }
    }

    fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the pending requests of a data directory that no service has open.
#[cfg(feature = "sandbox")]
pub(crate) fn write_pending(
    directory: &Path,
    requests: Vec<PendingRequest>,
) -> Result<(), RegistrationsError> {
    PendingRequests::open(directory)?.set(requests)
}

/// A request that is being carried out.
struct Request<'r> {
    registrations: &'r Registrations,
    acting: Acting<'r>,
    requested: &'r Requested,
    submission: &'r Submission<'r>,
    recipient: &'r Identity,
    time: Timestamp,
}

impl Request<'_> {
    fn of_person(&self) -> Result<Authorization, RegistrationError> {
        let signers = self.submission.signers;
        if signers.is_empty() || signers.iter().any(|signer| signer.id != self.recipient.as_str()) {
            return Err(RegistrationError::NotAuthorised("the signature is not that of the recipient"));
        }
        self.carry_out(true)?;
        Ok(self.authorization(AuthorizationStatus::Complete, signers.to_vec()))
    }

    fn of_company(&self, company: &Company) -> Result<Authorization, RegistrationError> {
        let (signers, id, kind) = (self.submission.signers, self.recipient.as_str(), self.requested.kind());
        if signers.is_empty() || !signers.iter().all(|signer| company.has(&signer.id)) {
            return Err(RegistrationError::NotAuthorised("a signature is not that of a signatory"));
        }
        // One request of a company at a time: what it completes is what was pending.
        let mut pending = self.registrations.pending();
        let register = self.registrations.writer.register();
        let operator = self.operator(&register)?.id.clone();
        let before = pending.of(id, kind).filter(|before| before.operator == operator).cloned();
        if self.is_so_already(&register)? {
            // One signature will do.
            if before.is_some() {
                pending.remove(id, kind)?;
            }
            return Ok(self.authorization(AuthorizationStatus::Complete, signers.to_vec()));
        }
        let same = before.filter(|before| before.requested == *self.requested);
        // Signatories may have left meanwhile.
        let mut signed_by = same.map_or(Vec::new(), |before| before.signed_by);
        signed_by.retain(|signer| company.has(&signer.id));
        for signer in signers {
            if signed_by.iter().all(|other| other.id != signer.id) {
                signed_by.push(company.named(signer));
            }
        }
        if signed_by.len() >= company.signatures {
            self.carry_out(true)?;
            match self.requested {
                Requested::Delete => pending.remove_all(id)?,
                _ => pending.remove(id, kind)?,
            }
            return Ok(self.authorization(AuthorizationStatus::Complete, signed_by));
        }
        pending.check_space(self.submission.agreement.len())?;
        self.carry_out(false)?;
        let Submission { supplier, agreement, date, .. } = *self.submission;
        pending.put(PendingRequest {
            recipient: id.to_owned(),
            requested: self.requested.clone(),
            operator,
            supplier: supplier.unwrap_or_default().to_owned(),
            agreement: agreement.to_owned(),
            date: date.to_owned(),
            signed_by: signed_by.clone(),
            time: self.time,
        })?;
        Ok(self.authorization(AuthorizationStatus::Incomplete, signed_by))
    }

    /// Errors: the request does not fit the register.
    fn is_so_already(&self, register: &Register) -> Result<bool, RegistrationError> {
        let change = self.change(register, true)?;
        match self.requested {
            // Its change is made again for its time.
            Requested::Preferences(accepted) => {
                Ok(decide::accepts_already(register, self.recipient, accepted)?)
            }
            _ => Ok(change.is_none()),
        }
    }

    /// Writes the change that the request makes, if it makes one.
    fn carry_out(&self, is_complete: bool) -> Result<(), RegistrationError> {
        let writer = &self.registrations.writer;
        let batch = writer.append_decided(self.time, |register| self.change(register, is_complete))?;
        writer.wait(batch).map_err(RegistrationError::from)
    }

    fn change(
        &self,
        register: &Register,
        is_complete: bool,
    ) -> Result<Option<ChangeBody>, RegistrationError> {
        let operator = self.operator(register)?;
        if !self.acting.is(&operator.id) {
            return Err(RegistrationError::NotAuthorised(
                "a mailbox operator may do this only for itself and its own recipients",
            ));
        }
        let Request { recipient, time, .. } = *self;
        Decision { register, recipient, operator, time, is_complete }.change(self.requested)
    }

    /// The operator that the request is for.
    fn operator<'r>(&self, register: &'r Register) -> Result<&'r Operator, RegistrationError> {
        match self.submission.supplier {
            Some(supplier) => supplier_of(register, supplier).ok_or(RegistrationError::NoSupplier),
            None => decide::operator_of(register, self.recipient)?.ok_or(RegistrationError::NO_ACCOUNT),
        }
    }

    fn authorization(&self, status: AuthorizationStatus, signed_by: Vec<Person>) -> Authorization {
        let recipient = self.recipient.as_str().to_owned();
        let possible_signers = self.registrations.signatories.others_of(&recipient, &signed_by);
        Authorization { recipient, status, signed_by, possible_signers, time: self.time }
    }
}

/// The identity of a `RecipientId`. Errors: it is none.
pub(crate) fn recipient(id: &str) -> Result<Identity, RegistrationError> {
    // 12 digits include the century, so the day does not matter.
    let identity = Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT);
    identity.map_err(|_| match id.starts_with("16") {
        true => RegistrationError::BadInput("the number of the organisation is not valid"),
        false => RegistrationError::NoSuchPerson,
    })
}

/// The operator that a request names: by its id, the domain of one of its addresses, or its name.
fn supplier_of<'r>(register: &'r Register, supplier: &str) -> Option<&'r Operator> {
    let host = |address: &str| {
        let url = Url::parse(address.trim()).ok()?;
        let host = url.host_str()?.to_ascii_lowercase();
        Some(host.strip_prefix("www.").map(str::to_owned).unwrap_or(host))
    };
    let wanted = supplier.trim().to_lowercase();
    let wanted = wanted.strip_prefix("www.").unwrap_or(&wanted);
    let has_domain = |operator: &&Operator| {
        [&operator.ui_address, &operator.service_address]
            .iter()
            .any(|address| host(address).as_deref() == Some(wanted))
    };
    let operators = register.operators();
    let by_id = operators.iter().find(|operator| operator.id == supplier.trim());
    let by_name = || operators.iter().find(|operator| operator.name.to_lowercase() == wanted);
    by_id.or_else(|| operators.iter().find(has_domain)).or_else(by_name)
}
