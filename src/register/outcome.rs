//! Outcomes of letters: digital, notify or paper, and the reasons for paper; or that there is no answer.

use crate::organisations::OperatorIndex;

/// The outcome for one recipient and one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Delivered to the recipient's mailbox at this operator.
    Digital(OperatorIndex),
    /// KRR: the recipient has no mailbox but can be notified by e-mail or SMS.
    Notify,
    /// Printed.
    Paper(PaperReason),
    /// Unknown: the register has answers for some recipients only ([`Scope`](super::Scope)), and not for this one.
    NotAsked,
    /// Unknown: the official register was asked and refused the id as invalid.
    Refused,
    /// The id is one of another country than the register. Only in jobs whose channel rules name a register of that country.
    OtherCountry,
}

/// Why a letter is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum PaperReason {
    /// The register does not have the recipient, or the recipient has no account.
    NotRegistered,
    /// FaR: the recipient does not accept this sender.
    SenderDeclined,
    /// FaR: the registration is not completed.
    Pending,
    /// FaR: the account has no verified identity.
    AnonymousAccount,
    /// FaR: the recipient has no operator, or one without a service address.
    OperatorWithoutAddress,
    /// KRR: reserved against digital mail.
    Reserved,
    /// KRR: no contact information that was updated or verified in the last 18 months.
    NotNotifiable,
    /// KRR: the recipient's entry was deleted.
    Deleted,
}

impl PaperReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [PaperReason; 8] = [
        PaperReason::NotRegistered,
        PaperReason::SenderDeclined,
        PaperReason::Pending,
        PaperReason::AnonymousAccount,
        PaperReason::OperatorWithoutAddress,
        PaperReason::Reserved,
        PaperReason::NotNotifiable,
        PaperReason::Deleted,
    ];

    /// The name in reports and feedback, such as `not_registered`.
    pub const fn name(self) -> &'static str {
        match self {
            PaperReason::NotRegistered => "not_registered",
            PaperReason::SenderDeclined => "sender_declined",
            PaperReason::Pending => "pending",
            PaperReason::AnonymousAccount => "anonymous_account",
            PaperReason::OperatorWithoutAddress => "operator_without_address",
            PaperReason::Reserved => "reserved",
            PaperReason::NotNotifiable => "not_notifiable",
            PaperReason::Deleted => "deleted",
        }
    }
}

impl Outcome {
    /// `digital`, `notify` or `paper`; `not_asked`, `rejected` for an id that the official register refused, or
    /// `other_country`.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Digital(_) => "digital",
            Outcome::Notify => "notify",
            Outcome::Paper(_) => "paper",
            Outcome::NotAsked => "not_asked",
            Outcome::Refused => "rejected",
            Outcome::OtherCountry => "other_country",
        }
    }

    /// The mailbox operator of a digital letter.
    pub const fn operator(self) -> Option<OperatorIndex> {
        match self {
            Outcome::Digital(operator) => Some(operator),
            Outcome::Notify
            | Outcome::Paper(_)
            | Outcome::NotAsked
            | Outcome::Refused
            | Outcome::OtherCountry => None,
        }
    }

    /// Name of the reason for paper, or for rejection; empty for other outcomes.
    pub const fn reason(self) -> &'static str {
        match self {
            Outcome::Paper(reason) => reason.name(),
            Outcome::Refused => "refused_by_register",
            Outcome::Digital(_) | Outcome::Notify | Outcome::NotAsked | Outcome::OtherCountry => "",
        }
    }
}

/// An [`Outcome`] in 16 bits: paper by reason, then not asked, refused and other country, then notify, then
/// digital by operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer(pub(crate) u16);

impl Answer {
    const NOT_ASKED: u16 = PaperReason::ALL.len() as u16;
    const REFUSED: u16 = Self::NOT_ASKED + 1;
    const OTHER_COUNTRY: u16 = Self::REFUSED + 1;
    const NOTIFY: u16 = Self::OTHER_COUNTRY + 1;
    const FIRST_OPERATOR: u16 = Self::NOTIFY + 1;

    /// Number of distinct answers of a register with `operators` operators.
    pub(crate) const fn count(operators: usize) -> usize {
        Self::FIRST_OPERATOR as usize + operators
    }

    /// The answer as a number below [`count`](Self::count).
    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// Whether an answer of a number is an outcome of a letter: it was asked for, and not refused.
    pub(crate) fn decides(number: usize) -> bool {
        number != usize::from(Self::NOT_ASKED) && number != usize::from(Self::REFUSED)
    }

    /// 0 for paper and without an answer, 1 for notify, 2 for digital.
    pub(crate) fn kind(self) -> usize {
        usize::from(self.0 >= Self::NOTIFY) + usize::from(self.0 >= Self::FIRST_OPERATOR)
    }

    /// The answer as an [`Outcome`].
    pub fn outcome(self) -> Outcome {
        match (PaperReason::ALL.get(self.0 as usize), self.0) {
            (Some(&reason), _) => Outcome::Paper(reason),
            (None, Self::NOT_ASKED) => Outcome::NotAsked,
            (None, Self::REFUSED) => Outcome::Refused,
            (None, Self::OTHER_COUNTRY) => Outcome::OtherCountry,
            (None, Self::NOTIFY) => Outcome::Notify,
            (None, _) => Outcome::Digital(OperatorIndex::new(self.0 - Self::FIRST_OPERATOR)),
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        Answer(match outcome {
            Outcome::Paper(reason) => reason as u16,
            Outcome::NotAsked => Answer::NOT_ASKED,
            Outcome::Refused => Answer::REFUSED,
            Outcome::OtherCountry => Answer::OTHER_COUNTRY,
            Outcome::Notify => Answer::NOTIFY,
            Outcome::Digital(operator) => Answer::FIRST_OPERATOR + operator.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_outcomes_convert_both_ways() {
        for number in 0..Answer::count(crate::limits::OPERATORS_MAX) as u16 {
            assert_eq!(Answer::from(Answer(number).outcome()), Answer(number));
        }
        for (number, reason) in PaperReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        assert_eq!(Answer::default().outcome(), Outcome::Paper(PaperReason::NotRegistered));
    }
}
