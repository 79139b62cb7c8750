//! How long to wait before something is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// At first, and at most.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// How often something is tried again by what is to end: for half a minute to a minute.
const ATTEMPTS: u32 = 9;

/// Counts what fails one time after another.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It went well.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether it went well the last time.
    pub(crate) fn is_first(&self) -> bool {
        self.failures == 0
    }

    /// Whether it has been tried often enough.
    pub(crate) fn is_over(&self) -> bool {
        self.failures >= ATTEMPTS
    }

    /// It failed: how long to wait, longer each time, and not as long as others whom the same has happened to.
    pub(crate) fn next(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        let part = RandomState::new().hash_one(self.failures) as f64 / u64::MAX as f64;
        longest.mul_f64(0.5 + part / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_to_a_limit_and_begins_anew_when_all_is_well() {
        let mut backoff = Backoff::default();
        for round in 0..2 {
            let mut waited = Duration::ZERO;
            let mut longest = FIRST;
            while !backoff.is_over() {
                assert_eq!(backoff.is_first(), waited.is_zero(), "{round}");
                let wait = backoff.next();
                assert!((longest / 2..=longest).contains(&wait));
                (waited, longest) = (waited + wait, (longest * 2).min(LONGEST));
            }
            assert!((Duration::from_secs(25)..Duration::from_secs(60)).contains(&waited), "{waited:?}");
            (0..100).for_each(|_| assert!(backoff.next() <= LONGEST));
            backoff.reset();
        }
    }
}
