//! States of recipients.
//!
//! Few properties of a recipient decide the outcome: operator, account type, a pending registration; for KRR the day on
//! which the contact information expires. Each combination that occurs is a state of 8 bytes, stored once, and a record
//! is the number of a state. So a mailing evaluates each state once, and each recipient takes one table lookup.

use super::outcome::{Outcome, PaperReason};
use crate::organisations::{OperatorIndex, OperatorNumber};
use bytemuck::{Pod, Zeroable};
use hashbrown::HashMap;

/// A state as stored in a register file: 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct State {
    /// KRR: first day (days since 1970-01-01, UTC) on which the recipient cannot be notified; 0 if there never was a
    /// fresh channel. FaR: number of the recipient's rule; 0 if it accepts all senders or is in the list of exceptions.
    detail: u32,
    /// Number of the operator plus one, 0 without an operator.
    operator: u16,
    flags: u16,
}

/// FaR: bits 0 and 1 are the account type.
const TYPE: u16 = 0b11;
const PENDING: u16 = 1 << 2;
const EXCEPTION: u16 = 1 << 3;
/// KRR.
const RESERVED: u16 = 1 << 4;
const DELETED: u16 = 1 << 5;
const MAILBOX: u16 = 1 << 6;
/// Registers with a scope: the official register refused the id.
const REFUSED: u16 = 1 << 7;
/// Registers with a scope: the official register answered that it does not have the person.
const UNREGISTERED: u16 = 1 << 8;
/// Set for every recipient: distinguishes one without any property from an absent one.
const PRESENT: u16 = 1 << 15;

/// FaR's account types (`AccountTypes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum AccountType {
    /// `Not`: no account.
    Not = 0,
    /// `Anonymous`: an account with user name and password.
    Anonymous = 1,
    /// `Secure`: identity verified with e-legitimation.
    Secure = 2,
}

impl AccountType {
    /// All account types.
    pub(crate) const ALL: [AccountType; 3] = [AccountType::Not, AccountType::Anonymous, AccountType::Secure];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            AccountType::Not => "Not",
            AccountType::Anonymous => "Anonymous",
            AccountType::Secure => "Secure",
        }
    }

    /// Parses a [`name`](Self::name).
    pub fn of_name(name: &[u8]) -> Option<AccountType> {
        AccountType::ALL.into_iter().find(|account_type| name == account_type.name().as_bytes())
    }
}

/// The properties of a FaR recipient that decide the outcome. The operator is an index, or a number inside the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarState<Operator = OperatorIndex> {
    /// `Type`.
    pub account_type: AccountType,
    /// `Pending`: the registration is not completed.
    pub pending: bool,
    /// The mailbox operator.
    pub operator: Option<Operator>,
    /// Where the recipient's rule is stored.
    pub rule: StateRule,
}

/// Where the acceptance rule of recipients in a state is stored.
///
/// Rules that many recipients share are part of their states, as far as there are numbers for states. The other rules
/// are listed for each recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRule {
    /// No rule: all senders are accepted.
    AcceptsAll,
    /// All recipients in the state have the rule with this number, which is not 0.
    Shared(u32),
    /// The list of exceptions has the rule of each recipient.
    Listed,
}

/// The properties of a KRR recipient that decide the outcome. The operator is an index, or a number inside the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KrrState<Operator = OperatorIndex> {
    /// `reservasjon` is JA.
    pub reserved: bool,
    /// `status` is SLETTET.
    pub deleted: bool,
    /// The mailbox operator.
    pub operator: Option<Operator>,
    /// Whether the recipient has a mailbox address.
    pub mailbox: bool,
    /// First day (days since 1970-01-01, UTC) on which no channel is fresh; 0 if there never was a fresh channel.
    pub expires: u32,
}

impl FarState {
    /// The outcome of a letter: the first that applies of `not_registered` (type Not), `sender_declined`, `pending`,
    /// `anonymous_account`, `operator_without_address`; else digital.
    ///
    /// The recipient's own decision precedes defects of the account, because it remains in force when a pending
    /// registration is completed.
    pub fn decide(self, sender_accepted: bool, operator_has_address: bool) -> Outcome {
        let reason = match self {
            FarState { account_type: AccountType::Not, .. } => PaperReason::NotRegistered,
            _ if !sender_accepted => PaperReason::SenderDeclined,
            FarState { pending: true, .. } => PaperReason::Pending,
            FarState { account_type: AccountType::Anonymous, .. } => PaperReason::AnonymousAccount,
            FarState { operator: Some(operator), .. } if operator_has_address => {
                return Outcome::Digital(operator);
            }
            _ => PaperReason::OperatorWithoutAddress,
        };
        Outcome::Paper(reason)
    }
}

impl<Operator> KrrState<Operator> {
    /// Whether `varslingsstatus` is KAN_VARSLES on a day: active, not reserved, with a fresh channel
    /// (eForvaltningsforskriften § 32).
    pub fn notifiable(&self, day: u32) -> bool {
        !self.deleted && !self.reserved && day < self.expires
    }
}

impl KrrState {
    /// The outcome of a letter on a day: the first that applies of `deleted`, `reserved`, `not_notifiable`; else
    /// digital with a mailbox, notify without.
    pub fn decide(self, day: u32) -> Outcome {
        match self {
            KrrState { deleted: true, .. } => Outcome::Paper(PaperReason::Deleted),
            KrrState { reserved: true, .. } => Outcome::Paper(PaperReason::Reserved),
            _ if !self.notifiable(day) => Outcome::Paper(PaperReason::NotNotifiable),
            KrrState { mailbox: true, operator: Some(operator), .. } => Outcome::Digital(operator),
            _ => Outcome::Notify,
        }
    }
}

fn operator_field(operator: Option<OperatorNumber>) -> u16 {
    operator.map_or(0, |number| number.get() + 1)
}

fn flag(set: bool, flag: u16) -> u16 {
    if set { flag } else { 0 }
}

impl State {
    /// The official register was asked and refused the id. In registers with a scope only.
    pub(crate) const REFUSED: State = State { detail: 0, operator: 0, flags: PRESENT | REFUSED };
    /// The official register was asked and does not have the person. In registers with a scope only.
    pub(crate) const UNREGISTERED: State = State { detail: 0, operator: 0, flags: PRESENT | UNREGISTERED };

    /// Whether there is no recipient with this state: the register has the answer of the official one only.
    pub(crate) fn is_answer_only(self) -> bool {
        self == State::REFUSED || self == State::UNREGISTERED
    }

    pub(crate) fn operator(self) -> Option<OperatorNumber> {
        self.operator.checked_sub(1).map(OperatorNumber::new)
    }

    fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl<Operator> FarState<Operator> {
    /// The state with another operator.
    pub(crate) fn with_operator<Other>(self, operator: Option<Other>) -> FarState<Other> {
        let FarState { account_type, pending, operator: _, rule } = self;
        FarState { account_type, pending, operator, rule }
    }
}

impl<Operator> KrrState<Operator> {
    /// The state with another operator.
    pub(crate) fn with_operator<Other>(self, operator: Option<Other>) -> KrrState<Other> {
        let KrrState { reserved, deleted, operator: _, mailbox, expires } = self;
        KrrState { reserved, deleted, operator, mailbox, expires }
    }
}

impl From<FarState<OperatorNumber>> for State {
    fn from(state: FarState<OperatorNumber>) -> State {
        State {
            detail: if let StateRule::Shared(rule) = state.rule { rule } else { 0 },
            operator: operator_field(state.operator),
            flags: PRESENT
                | state.account_type as u16
                | flag(state.pending, PENDING)
                | flag(state.rule == StateRule::Listed, EXCEPTION),
        }
    }
}

impl From<KrrState<OperatorNumber>> for State {
    fn from(state: KrrState<OperatorNumber>) -> State {
        State {
            detail: state.expires,
            operator: operator_field(state.operator),
            flags: PRESENT
                | flag(state.reserved, RESERVED)
                | flag(state.deleted, DELETED)
                | flag(state.mailbox, MAILBOX),
        }
    }
}

impl From<State> for FarState<OperatorNumber> {
    fn from(state: State) -> Self {
        FarState {
            account_type: match state.flags & TYPE {
                2 => AccountType::Secure,
                1 => AccountType::Anonymous,
                _ => AccountType::Not,
            },
            pending: state.has(PENDING),
            operator: state.operator(),
            rule: match state.detail {
                0 if state.has(EXCEPTION) => StateRule::Listed,
                0 => StateRule::AcceptsAll,
                rule => StateRule::Shared(rule),
            },
        }
    }
}

impl From<State> for KrrState<OperatorNumber> {
    fn from(state: State) -> Self {
        KrrState {
            reserved: state.has(RESERVED),
            deleted: state.has(DELETED),
            operator: state.operator(),
            mailbox: state.has(MAILBOX),
            expires: state.detail,
        }
    }
}

/// Assigns provisional numbers to distinct states while a register is built.
#[derive(Default)]
pub(crate) struct StateNumbering {
    numbers: HashMap<State, u32>,
}

impl StateNumbering {
    pub(crate) fn number(&mut self, state: State) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(state).or_insert(next)
    }

    /// The states, indexed by provisional number.
    pub(crate) fn provisional(&self) -> Vec<State> {
        let mut provisional = vec![State::default(); self.numbers.len()];
        for (&state, &number) in &self.numbers {
            provisional[number as usize] = state;
        }
        provisional
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [bool; 2] = [false, true];

    /// Every input of the FaR decision, against the register's own definition of reachable.
    #[test]
    fn far_decides_every_case() {
        let types = [AccountType::Not, AccountType::Anonymous, AccountType::Secure];
        let mut seen = std::collections::HashMap::new();
        for account_type in types {
            for (pending, accepted, address) in cases() {
                for operator in [None, Some(OperatorIndex::new(3))] {
                    let state = FarState { account_type, pending, operator, rule: StateRule::AcceptsAll };
                    for rule in [StateRule::Shared(7), StateRule::Listed, StateRule::AcceptsAll] {
                        let numbered =
                            FarState { rule, ..state }.with_operator(operator.map(OperatorIndex::in_file));
                        assert_eq!(FarState::from(State::from(numbered)), numbered);
                    }
                    let outcome = state.decide(accepted, address);
                    let reachable = account_type == AccountType::Secure
                        && !pending
                        && accepted
                        && operator.is_some()
                        && address;
                    assert_eq!(outcome == Outcome::Digital(OperatorIndex::new(3)), reachable);
                    *seen.entry(outcome.reason()).or_insert(0) += 1;
                }
            }
        }
        // 48 cases: 16 without account; of the other 32 half declined; of those 16 half pending; of
        // those 8 half anonymous; of those 4 one reachable.
        let expected = [
            ("not_registered", 16),
            ("sender_declined", 16),
            ("pending", 8),
            ("anonymous_account", 4),
            ("operator_without_address", 3),
            ("", 1),
        ];
        assert_eq!(seen, std::collections::HashMap::from(expected));
    }

    #[test]
    fn krr_decides_every_case() {
        for (reserved, deleted, mailbox) in cases() {
            for operator in [None, Some(OperatorIndex::new(1))] {
                for (expires, day) in [(0, 0), (0, 10), (10, 9), (10, 10), (10, 11)] {
                    let state = KrrState { reserved, deleted, operator, mailbox, expires };
                    let numbered = state.with_operator(operator.map(OperatorIndex::in_file));
                    assert_eq!(KrrState::from(State::from(numbered)), numbered);
                    let fresh = (expires, day) == (10, 9);
                    let expected = match (deleted, reserved, fresh) {
                        (true, _, _) => "deleted",
                        (_, true, _) => "reserved",
                        (_, _, false) => "not_notifiable",
                        (false, false, true) => "",
                    };
                    let outcome = state.decide(day);
                    assert_eq!(outcome.reason(), expected);
                    assert_eq!(state.notifiable(day), expected.is_empty());
                    if expected.is_empty() {
                        let digital = operator.filter(|_| mailbox).map(Outcome::Digital);
                        assert_eq!(outcome, digital.unwrap_or(Outcome::Notify));
                    }
                }
            }
        }
    }

    fn cases() -> impl Iterator<Item = (bool, bool, bool)> {
        BOTH.into_iter().flat_map(|a| BOTH.into_iter().flat_map(move |b| BOTH.map(move |c| (a, b, c))))
    }
}
