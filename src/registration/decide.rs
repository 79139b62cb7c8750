//! What a request changes in the register.

use super::error::RegistrationError;
use super::pending::{PendingRequest, Requested};
use crate::changes::{ChangeBody, NamedRule, OrganisationId, PutRecipient, SetAcceptance};
use crate::consent::{Acceptance, RuleSet};
use crate::identities::{Country, Identity, Today};
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::{AccountType, Damage, FarState, Operator, Recipient, Register, SenderIndex};
use hashbrown::HashSet;
use jiff::Timestamp;

/// A request that an operator may make.
pub(super) struct Decision<'r> {
    pub(super) register: &'r Register,
    pub(super) recipient: &'r Identity,
    pub(super) operator: &'r Operator,
    pub(super) time: Timestamp,
    /// Whether there are enough signatures.
    pub(super) is_complete: bool,
}

/// A recipient's account.
struct Account<'r> {
    state: FarState,
    operator: Option<&'r Operator>,
    rule: RuleSet,
    last_registration: Option<Timestamp>,
    last_sender_accept_change: Option<Timestamp>,
}

impl Account<'_> {
    fn is_active(&self) -> bool {
        self.state.account_type != AccountType::Not && !self.state.pending
    }
}

fn account_of<'r>(register: &'r Register, recipient: &Identity) -> Result<Option<Account<'r>>, Damage> {
    Ok(match register.recipient(recipient)? {
        Some(Recipient::Far { state, rule, last_registration, last_sender_accept_change }) => {
            let operator = state.operator.and_then(|index| register.operators().get(usize::from(index)));
            Some(Account { state, operator, rule, last_registration, last_sender_accept_change })
        }
        _ => None,
    })
}

/// The operator of a recipient that has an account.
pub(super) fn operator_of<'r>(
    register: &'r Register,
    recipient: &Identity,
) -> Result<Option<&'r Operator>, Damage> {
    let account = account_of(register, recipient)?;
    let account = account.filter(|account| account.state.account_type != AccountType::Not);
    Ok(account.and_then(|account| account.operator))
}

/// The id of a recipient's operator and whether its registration is pending; `None` without an account.
pub(super) fn standing_of(
    register: &Register,
    recipient: &Identity,
) -> Result<Option<(String, bool)>, Damage> {
    let account = account_of(register, recipient)?;
    let account = account.filter(|account| account.state.account_type != AccountType::Not);
    Ok(account.map(|account| {
        (account.operator.map(|operator| operator.id.clone()).unwrap_or_default(), account.state.pending)
    }))
}

impl<'r> Decision<'r> {
    /// The change, `None` if the register is as requested already, or stays as it is until the request is complete.
    ///
    /// Errors: the request does not fit the register.
    pub(super) fn change(&self, requested: &Requested) -> Result<Option<ChangeBody>, RegistrationError> {
        let account = account_of(self.register, self.recipient)?;
        match requested {
            Requested::Create(account_type) => self.create(account, account_type),
            Requested::Delete => {
                self.own(account)?;
                Ok(self.is_complete.then(|| ChangeBody::Remove(self.recipient.ordinal())))
            }
            Requested::Operator => self.take_over(account),
            Requested::Preferences(accepted) => self.accept(account, accepted),
        }
    }

    fn create(
        &self,
        account: Option<Account<'r>>,
        account_type: &str,
    ) -> Result<Option<ChangeBody>, RegistrationError> {
        let account_type = AccountType::of_name(account_type.as_bytes());
        let Some(account_type) = account_type.filter(|account_type| *account_type != AccountType::Not) else {
            return Err(RegistrationError::BadInput("accountType is Secure or Anonymous"));
        };
        let account = account.filter(|account| account.state.account_type != AccountType::Not);
        if let Some(account) = &account {
            if account.operator.is_some_and(|operator| operator.id != self.operator.id) {
                return Err(RegistrationError::NotAuthorised(
                    "the recipient has an account at another mailbox operator: take it over with changeServiceSupplier",
                ));
            }
            if account.is_active() && (!self.is_complete || account.state.account_type == account_type) {
                return Ok(None);
            }
        }
        let put = self.put(account.as_ref(), account_type, !self.is_complete)?;
        Ok(Some(put))
    }

    fn take_over(&self, account: Option<Account<'r>>) -> Result<Option<ChangeBody>, RegistrationError> {
        let account = account.filter(Account::is_active).ok_or(RegistrationError::NO_ACCOUNT)?;
        let is_there = account.operator.is_some_and(|operator| operator.id == self.operator.id);
        if is_there || !self.is_complete {
            return Ok(None);
        }
        self.put(Some(&account), account.state.account_type, false).map(Some)
    }

    fn accept(
        &self,
        account: Option<Account<'r>>,
        accepted: &[String],
    ) -> Result<Option<ChangeBody>, RegistrationError> {
        self.own(account)?;
        let senders = self.register.senders();
        let known: HashSet<&str> = senders.iter().map(|sender| sender.id.as_str()).collect();
        if !accepted.iter().all(|id| known.contains(id.as_str())) {
            return Err(RegistrationError::BadInput("an accepted sender is not a sender of the register"));
        }
        if !self.is_complete {
            return Ok(None);
        }
        // Senders that join later are accepted until the recipient deselects them.
        let declined = senders.iter().filter(|sender| accepted.binary_search(&sender.id).is_err());
        let declined: Option<Vec<_>> = declined.map(|sender| OrganisationId::parse(&sender.id)).collect();
        let declined =
            declined.ok_or(RegistrationError::Busy("a sender of the register has no valid number"))?;
        Ok(Some(ChangeBody::SetAcceptance(SetAcceptance {
            recipient: self.recipient.ordinal(),
            last_sender_accept_change: moment::nanoseconds(self.time).unwrap_or(NO_NANOSECONDS),
            rule: NamedRule::new(Acceptance::AllExcept, declined),
        })))
    }

    /// Errors: the recipient has no account, or not at this operator.
    fn own(&self, account: Option<Account<'r>>) -> Result<Account<'r>, RegistrationError> {
        let account = account.filter(Account::is_active).ok_or(RegistrationError::NO_ACCOUNT)?;
        match account.operator.is_some_and(|operator| operator.id == self.operator.id) {
            true => Ok(account),
            false => Err(RegistrationError::NotAuthorised("the recipient is not at this mailbox operator")),
        }
    }

    /// The account at the operator of the request, with the rule that the recipient has.
    fn put(
        &self,
        account: Option<&Account<'r>>,
        account_type: AccountType,
        pending: bool,
    ) -> Result<ChangeBody, RegistrationError> {
        let senders = self.register.senders();
        let time = |time: Option<Timestamp>| time.and_then(moment::nanoseconds).unwrap_or(NO_NANOSECONDS);
        let rule = match account {
            None => NamedRule::new(Acceptance::AllExcept, Vec::new()),
            Some(account) => {
                let named = account.rule.senders.iter().filter_map(|index| senders.get(usize::from(*index)));
                let named = named.filter_map(|sender| OrganisationId::parse(&sender.id));
                NamedRule::new(account.rule.acceptance, named.collect())
            }
        };
        let last_registration = match pending {
            true => account.and_then(|account| account.last_registration),
            false => Some(self.time),
        };
        Ok(ChangeBody::PutRecipient(PutRecipient {
            recipient: self.recipient.ordinal(),
            account_type,
            pending,
            operator: OrganisationId::parse(&self.operator.id),
            last_registration: time(last_registration),
            last_sender_accept_change: time(account.and_then(|account| account.last_sender_accept_change)),
            rule,
        }))
    }
}

/// What giving up a pending request changes: a recipient whose registration was pending leaves the register.
pub(super) fn given_up(
    register: &Register,
    recipient: &Identity,
    request: &PendingRequest,
) -> Result<Option<ChangeBody>, RegistrationError> {
    let Requested::Create(_) = request.requested else { return Ok(None) };
    let account = account_of(register, recipient)?;
    let is_of_request = |account: &Account<'_>| {
        account.state.pending && account.operator.is_some_and(|operator| operator.id == request.operator)
    };
    Ok(account.filter(is_of_request).map(|_| ChangeBody::Remove(recipient.ordinal())))
}

/// Whether a recipient already accepts some senders, whose ids ascend, and no other of the register.
pub(super) fn accepts_already(
    register: &Register,
    recipient: &Identity,
    accepted: &[String],
) -> Result<bool, Damage> {
    let account = account_of(register, recipient)?;
    Ok(account.is_some_and(|account| is_accepted(register, &account.rule, accepted)))
}

/// Whether the register is already as a pending request would make it.
pub(super) fn is_done(register: &Register, request: &PendingRequest) -> bool {
    let Ok(recipient) = Identity::parse(request.recipient.as_bytes(), Country::Sweden, Today::CONTRACT)
    else {
        return false;
    };
    let Ok(account) = account_of(register, &recipient) else { return false };
    let Some(account) = account else { return request.requested == Requested::Delete };
    let is_at_operator = account.operator.is_some_and(|operator| operator.id == request.operator);
    match &request.requested {
        Requested::Create(account_type) => {
            account.is_active() && is_at_operator && account.state.account_type.name() == account_type
        }
        Requested::Delete => account.state.account_type == AccountType::Not,
        Requested::Operator => account.is_active() && is_at_operator,
        Requested::Preferences(accepted) => is_accepted(register, &account.rule, accepted),
    }
}

/// Whether a rule accepts some senders of the register, whose ids ascend, and no other.
fn is_accepted(register: &Register, rule: &RuleSet, accepted: &[String]) -> bool {
    let senders = register.senders().iter().map(|sender| &sender.id);
    let mut numbered = (0..).map(SenderIndex::new).zip(senders);
    numbered.all(|(index, id)| rule.accepts(index) == accepted.binary_search(id).is_ok())
}
