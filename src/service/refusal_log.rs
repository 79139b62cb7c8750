//! Limits the lines of the log that strangers can cause.

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines per second.
const LINES: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

/// Counts lines about refused requests and connections.
pub(super) struct RefusalLog {
    lines: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

impl RefusalLog {
    pub(super) fn new() -> RefusalLog {
        RefusalLog { lines: RateLimiter::direct(Quota::per_second(LINES)), left_out: AtomicU64::new(0) }
    }

    /// Whether a line may be logged. Otherwise it is counted.
    pub(super) fn admits(&self) -> bool {
        // At this level, the log has every request.
        let is_admitted = tracing::enabled!(tracing::Level::DEBUG) || self.lines.check().is_ok();
        if !is_admitted {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        is_admitted
    }

    /// Logs how many lines were left out since the last time.
    pub(super) fn sum_up(&self) {
        let lines = self.left_out.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::info!(lines, "refusals that were not logged one by one");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let log = RefusalLog::new();
        let admitted = (0..1000).filter(|_| log.admits()).count();
        assert!((50..500).contains(&admitted), "{admitted}");
        assert_eq!(log.left_out.load(Ordering::Relaxed) as usize, 1000 - admitted);
        log.sum_up();
        assert_eq!(log.left_out.load(Ordering::Relaxed), 0);
    }
}
