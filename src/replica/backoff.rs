//! Exponential backoff with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// First and longest delay.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// Failures after which a job with `once` gives up: half a minute to a minute.
const ATTEMPTS: u32 = 9;

/// Counts consecutive failures.
#[derive(Clone, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether the last attempt succeeded.
    pub(crate) fn is_first(&self) -> bool {
        self.failures == 0
    }

    /// Whether a job with `once` gives up.
    pub(crate) fn is_over(&self) -> bool {
        self.failures >= ATTEMPTS
    }

    /// Notes a failure; returns the delay before the next attempt. It doubles, less up to a half at random.
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
    fn delays_grow_to_a_limit_and_start_over_after_a_success() {
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
