//! The lines of the log about requests that fail, and about readiness: one when a fault begins, then one per minute at most.

use super::problem;
use crate::recurring::RecurringLine;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Faults by endpoint and status, of which there are few.
#[derive(Default)]
pub(super) struct FaultLog {
    failed: Mutex<BTreeMap<(&'static str, u16), Arc<RecurringLine>>>,
    readiness: Mutex<Readiness>,
}

/// What was last said of readiness.
struct Readiness {
    /// What fails; empty if the service is ready.
    failing: String,
    line: RecurringLine,
}

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness { failing: String::new(), line: RecurringLine::new() }
    }
}

impl FaultLog {
    /// Notes a request that has failed. Returns how many with this endpoint and status there were since the last line, if
    /// a line is due.
    pub(super) fn fails(&self, endpoint: &'static str, status: u16, now: Instant) -> Option<u64> {
        // At this level, the log has every request.
        if tracing::enabled!(tracing::Level::DEBUG) {
            return Some(1);
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let line = failed.entry((endpoint, status)).or_insert_with(|| Arc::new(RecurringLine::new()));
        line.occurs(now)
    }

    /// Logs whether the service is ready: at once if that or what fails (`failing`, empty if nothing) has changed, else as
    /// often as other faults.
    pub(super) fn log_readiness(&self, failing: &str, now: Instant) {
        let mut last = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        if last.failing != failing {
            failing.clone_into(&mut last.failing);
            last.line.restart();
            if failing.is_empty() {
                tracing::info!("the service is ready again");
            }
        }
        if !failing.is_empty()
            && let Some(times) = last.line.occurs(now)
        {
            tracing::warn!(failing, times, "the service is not ready");
        }
    }

    /// Logs what was not logged one by one, if that is due.
    pub(super) fn sum_up(&self, now: Instant) {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        for ((endpoint, status), line) in &*failed {
            if let Some(times) = line.remainder(now) {
                tracing::warn!(endpoint, status, times, "failed");
            }
        }
        drop(failed);
        problem::sum_up_damage(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn requests_that_fail_are_lines_by_endpoint_and_status() {
        let (log, start) = (FaultLog::default(), Instant::now());
        let fails = |endpoint, status| log.fails(endpoint, status, start);
        assert_eq!((fails("snapshot", 500), fails("snapshot", 500)), (Some(1), None));
        assert_eq!((fails("snapshot", 503), fails("changes", 500)), (Some(1), Some(1)));
        assert!((0..1000).all(|_| fails("snapshot", 500).is_none()));
        log.sum_up(start + Duration::from_mins(1));
        assert_eq!(log.fails("snapshot", 500, start + Duration::from_mins(2)), Some(1), "the rest was said");
    }
}
