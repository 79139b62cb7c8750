//! Registers that have the answers of an official register for some ids only: what was asked, and how long it may be used.
//!
//! FaR has no export, and most users may not have a copy of KRR: they ask for the ids of a mailing, and must not keep the
//! answers. Such an answer holds for one sender at one moment. An id that was not asked is not an id that is not
//! registered.

use jiff::{SignedDuration, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// What was asked of an official register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Scope {
    /// The address of the register.
    pub source: String,
    /// The sender that the answers hold for, `16` and ten digits; empty for KRR; `kivra:` and the key of the tenant for
    /// answers of Kivra.
    pub sender: String,
    /// KRR: the organisation for which a supplier asked; empty without one.
    pub on_behalf_of: String,
    /// When the oldest answer was given, in seconds since 1970.
    pub oldest: i64,
    /// When the newest answer was given, in seconds since 1970.
    pub newest: i64,
    /// Number of ids that were asked.
    pub ids: u64,
    /// Number of ids that the register refused.
    pub refused: u64,
    /// How long answers may be used, in seconds.
    pub max_age: u64,
    /// How long answers may be kept, in seconds.
    pub delete_after: u64,
}

/// Why answers may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its oldest answer is of {oldest}, and answers may be used for {max_age:#}: ask again")]
pub struct ScopeError {
    /// The time of the oldest answer.
    pub oldest: Timestamp,
    /// How long answers may be used.
    pub max_age: SignedDuration,
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn time(seconds: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(seconds.clamp(first, last)).unwrap_or(Timestamp::MIN)
}

/// What `sender` begins with if the answers are Kivra's, and is so in no answer of FaR.
const KIVRA: &str = "kivra:";

impl Scope {
    /// [`sender`](Self::sender) for the key of a tenant of Kivra.
    pub fn sender_of_tenant(tenant: &str) -> String {
        format!("{KIVRA}{tenant}")
    }

    /// The key of the tenant, if the answers are Kivra's.
    pub fn tenant(&self) -> Option<&str> {
        self.sender.strip_prefix(KIVRA)
    }

    /// When the oldest answer was given.
    pub fn oldest(&self) -> Timestamp {
        time(self.oldest)
    }

    /// When the newest answer was given.
    pub fn newest(&self) -> Timestamp {
        time(self.newest)
    }

    /// Until when the file may be kept.
    pub fn delete_by(&self) -> Timestamp {
        self.oldest().checked_add(seconds(self.delete_after)).unwrap_or(Timestamp::MAX)
    }

    /// Errors: the oldest answer is older than answers may be when they are used.
    pub fn usable_at(&self, now: Timestamp) -> Result<(), ScopeError> {
        let (oldest, max_age) = (self.oldest(), seconds(self.max_age));
        match now.duration_since(oldest) > max_age {
            true => Err(ScopeError { oldest, max_age }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_usable_and_kept_for_a_time() {
        let scope = Scope { oldest: 1000, max_age: 60, delete_after: 600, ..Scope::default() };
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!(scope.usable_at(at(1060)), Ok(()));
        assert!(scope.usable_at(at(1061)).expect_err("stale").to_string().contains("for 1m"));
        assert_eq!(scope.delete_by(), at(1600));
        let forged = Scope { oldest: i64::MAX, delete_after: u64::MAX, max_age: u64::MAX, ..scope };
        assert_eq!(forged.delete_by(), Timestamp::MAX);
        assert_eq!(forged.usable_at(at(0)), Ok(()));
    }
}
