//! States: what a register's records are numbers of.
//!
//! Recipients differ in few ways that decide anything: operator, account type, a pending registration;
//! for KRR the day on which the contact information expires. Each combination that occurs is a state,
//! kept once in 8 bytes, and a record is its number. So a mailing decides each state once, and a
//! recipient in one step.

use super::outcome::{Outcome, PaperReason};
use bytemuck::{Pod, Zeroable};
use hashbrown::HashMap;

/// One combination, as it stands in a register file: 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct State {
    /// KRR: first day (days since 1970-01-01, UTC) on which the person cannot be notified; 0 if never.
    /// FaR: number of the recipient's rule; 0 if it accepts all senders or is listed as an exception.
    detail: u32,
    /// Place of the operator plus one, 0 if there is none.
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
/// Tells a recipient without anything from nobody.
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
    /// All of them.
    pub(crate) const ALL: [AccountType; 3] = [AccountType::Not, AccountType::Anonymous, AccountType::Secure];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            AccountType::Not => "Not",
            AccountType::Anonymous => "Anonymous",
            AccountType::Secure => "Secure",
        }
    }

    /// The type of a word, if it is one.
    pub fn of_name(name: &[u8]) -> Option<AccountType> {
        AccountType::ALL.into_iter().find(|account_type| name == account_type.name().as_bytes())
    }
}

/// What decides in FaR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarState {
    /// `Type`.
    pub account_type: AccountType,
    /// `Pending`: a registration under way.
    pub pending: bool,
    /// Place of the operator in the register's list.
    pub operator: Option<u16>,
    /// Where the recipient's rule is.
    pub rule: StateRule,
}

/// Where the acceptance rule of recipients in a state is.
///
/// Rules that many recipients share are part of their states, as far as there are numbers for states;
/// the others are listed, recipient by recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRule {
    /// There is none: all senders are accepted.
    AcceptsAll,
    /// All recipients in the state have the rule with this number, which is not 0.
    Shared(u32),
    /// Each has one of its own, in the list of exceptions.
    Listed,
}

/// What decides in KRR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KrrState {
    /// `reservasjon` is JA.
    pub reserved: bool,
    /// `status` is SLETTET.
    pub deleted: bool,
    /// Place of the mailbox operator in the register's list.
    pub operator: Option<u16>,
    /// Whether there is a mailbox address at that operator.
    pub mailbox: bool,
    /// First day (days since 1970-01-01, UTC) on which no channel is fresh; 0 if none ever was.
    pub expires: u32,
}

impl FarState {
    /// The outcome of a letter, pure and total: the first that applies of `not_registered` (type Not),
    /// `sender_declined`, `pending`, `anonymous_account`, `operator_without_address`; else digital.
    ///
    /// What the recipient decided comes before what the account lacks: it stays true when a pending
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

impl KrrState {
    /// `varslingsstatus` is KAN_VARSLES on a day: active, not reserved, a fresh channel
    /// (eForvaltningsforskriften § 32).
    pub fn notifiable(self, day: u32) -> bool {
        !self.deleted && !self.reserved && day < self.expires
    }

    /// The outcome of a letter on a day, pure and total: the first that applies of `deleted`,
    /// `reserved`, `not_notifiable`; else digital with a mailbox, notify without.
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

fn operator_number(operator: Option<u16>) -> u16 {
    operator.map_or(0, |place| place + 1)
}

fn flag(set: bool, flag: u16) -> u16 {
    if set { flag } else { 0 }
}

impl State {
    pub(crate) fn operator(self) -> Option<u16> {
        self.operator.checked_sub(1)
    }

    fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The state with another operator, or none.
    pub(crate) fn with_operator(self, operator: Option<u16>) -> State {
        State { operator: operator_number(operator), ..self }
    }
}

impl From<FarState> for State {
    fn from(state: FarState) -> State {
        State {
            detail: if let StateRule::Shared(rule) = state.rule { rule } else { 0 },
            operator: operator_number(state.operator),
            flags: PRESENT
                | state.account_type as u16
                | flag(state.pending, PENDING)
                | flag(state.rule == StateRule::Listed, EXCEPTION),
        }
    }
}

impl From<KrrState> for State {
    fn from(state: KrrState) -> State {
        State {
            detail: state.expires,
            operator: operator_number(state.operator),
            flags: PRESENT
                | flag(state.reserved, RESERVED)
                | flag(state.deleted, DELETED)
                | flag(state.mailbox, MAILBOX),
        }
    }
}

impl From<State> for FarState {
    fn from(state: State) -> FarState {
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

impl From<State> for KrrState {
    fn from(state: State) -> KrrState {
        KrrState {
            reserved: state.has(RESERVED),
            deleted: state.has(DELETED),
            operator: state.operator(),
            mailbox: state.has(MAILBOX),
            expires: state.detail,
        }
    }
}

/// States as they come; their numbers are made final when all are known.
#[derive(Default)]
pub(crate) struct StateBook {
    numbers: HashMap<State, u32>,
}

impl StateBook {
    pub(crate) fn number(&mut self, state: State) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(state).or_insert(next)
    }

    /// The states by their provisional numbers.
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
                for operator in [None, Some(3)] {
                    let mut state = FarState { account_type, pending, operator, rule: StateRule::AcceptsAll };
                    for rule in [StateRule::Shared(7), StateRule::Listed, StateRule::AcceptsAll] {
                        state.rule = rule;
                        assert_eq!(FarState::from(State::from(state)), state);
                    }
                    let outcome = state.decide(accepted, address);
                    let reachable = account_type == AccountType::Secure
                        && !pending
                        && accepted
                        && operator.is_some()
                        && address;
                    assert_eq!(outcome == Outcome::Digital(3), reachable);
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
            for operator in [None, Some(1)] {
                for (expires, day) in [(0, 0), (0, 10), (10, 9), (10, 10), (10, 11)] {
                    let state = KrrState { reserved, deleted, operator, mailbox, expires };
                    assert_eq!(KrrState::from(State::from(state)), state);
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
                        let digital = mailbox && operator.is_some();
                        assert_eq!(outcome, if digital { Outcome::Digital(1) } else { Outcome::Notify });
                    }
                }
            }
        }
    }

    fn cases() -> impl Iterator<Item = (bool, bool, bool)> {
        BOTH.into_iter().flat_map(|a| BOTH.into_iter().flat_map(move |b| BOTH.map(move |c| (a, b, c))))
    }
}
