//! What becomes of a letter, and why.

/// What the register says of one recipient and one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Goes to the recipient's mailbox, at this place in the register's list of operators.
    Digital(u16),
    /// KRR: no mailbox, but can be notified by e-mail or SMS.
    Notify,
    /// Goes on paper.
    Paper(PaperReason),
}

/// Why a letter goes on paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PaperReason {
    /// The register does not know the recipient, or says that there is no account.
    NotRegistered,
    /// FaR: the recipient does not accept this sender.
    SenderDeclined,
    /// FaR: the registration is under way.
    Pending,
    /// FaR: an account without verified identity.
    AnonymousAccount,
    /// FaR: the recipient has no operator, or one without a service address.
    OperatorWithoutAddress,
    /// KRR: reserved against digital mail.
    Reserved,
    /// KRR: no contact information that was updated or verified in the last 18 months.
    NotNotifiable,
    /// KRR: the person's entry was deleted.
    Deleted,
}

impl PaperReason {
    /// All of them, in the order of their numbers.
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
    /// `digital`, `notify` or `paper`.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Digital(_) => "digital",
            Outcome::Notify => "notify",
            Outcome::Paper(_) => "paper",
        }
    }

    /// Place of the operator, if it goes digitally.
    pub const fn operator(self) -> Option<u16> {
        match self {
            Outcome::Digital(operator) => Some(operator),
            _ => None,
        }
    }

    /// Name of the reason, empty unless it is paper.
    pub const fn reason(self) -> &'static str {
        match self {
            Outcome::Paper(reason) => reason.name(),
            _ => "",
        }
    }
}

/// An [`Outcome`] in 16 bits: paper by reason, then notify, then digital by operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer(pub(crate) u16);

impl Answer {
    const NOTIFY: u16 = PaperReason::ALL.len() as u16;
    const FIRST_OPERATOR: u16 = Self::NOTIFY + 1;

    /// Number of different answers of a register with so many operators.
    pub(crate) const fn count(operators: usize) -> usize {
        Self::FIRST_OPERATOR as usize + operators
    }

    /// Below [`count`](Self::count): paper by reason, notify, then digital by operator.
    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// 0 if it goes on paper, 1 if it is notified, 2 if it goes digitally.
    pub(crate) fn kind(self) -> usize {
        usize::from(self.0 >= Self::NOTIFY) + usize::from(self.0 >= Self::FIRST_OPERATOR)
    }

    /// What the answer says.
    pub fn outcome(self) -> Outcome {
        match PaperReason::ALL.get(self.0 as usize) {
            Some(&reason) => Outcome::Paper(reason),
            None if self.0 == Self::NOTIFY => Outcome::Notify,
            None => Outcome::Digital(self.0 - Self::FIRST_OPERATOR),
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        Answer(match outcome {
            Outcome::Paper(reason) => reason as u16,
            Outcome::Notify => Answer::NOTIFY,
            Outcome::Digital(operator) => Answer::FIRST_OPERATOR + operator,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_outcomes() {
        for number in 0..Answer::count(crate::limits::OPERATORS_MAX) as u16 {
            assert_eq!(Answer::from(Answer(number).outcome()), Answer(number));
        }
        for (number, reason) in PaperReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        assert_eq!(Answer::default().outcome(), Outcome::Paper(PaperReason::NotRegistered));
    }
}
