//! Limits the lines of the log about a fault that recurs: one when it begins, then one per minute at most, with how often it
//! has occurred since the last one. Without this, each request of a client could be a line.
//!
//! The time of a monotonic clock is an argument, so that tests need no waiting.
#![cfg_attr(not(feature = "service"), allow(dead_code))]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines about the same fault, at least.
const INTERVAL: Duration = Duration::from_mins(1);

/// The lines about one fault.
pub(crate) struct RecurringLine {
    state: Mutex<LineState>,
}

struct LineState {
    /// When the last line was written.
    written: Option<Instant>,
    /// Occurrences since.
    left_out: u64,
}

impl RecurringLine {
    pub(crate) const fn new() -> RecurringLine {
        RecurringLine { state: Mutex::new(LineState { written: None, left_out: 0 }) }
    }

    /// Notes an occurrence. If a line is due, returns how often the fault has occurred since the last line, this time
    /// included.
    pub(crate) fn occurs(&self, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        state.left_out += 1;
        state.take_if_due(now)
    }

    /// How often the fault has occurred since the last line, if it has and a line is due. For a task that runs regularly:
    /// without it, the last occurrences would not be in the log.
    pub(crate) fn remainder(&self, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        if state.left_out > 0 { state.take_if_due(now) } else { None }
    }

    /// Begins another fault, whose first occurrence is a line at once. Returns how often the one before has occurred since
    /// its last line.
    pub(crate) fn restart(&self) -> u64 {
        let mut state = self.lock();
        state.written = None;
        std::mem::take(&mut state.left_out)
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineState {
    fn take_if_due(&mut self, now: Instant) -> Option<u64> {
        if self.written.is_some_and(|written| now.saturating_duration_since(written) < INTERVAL) {
            return None;
        }
        self.written = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_recurs_is_a_line_per_minute() {
        let (line, start) = (RecurringLine::new(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(line.remainder(start), None, "there is nothing to be said");
        assert_eq!(line.occurs(start), Some(1));
        let lines: u64 =
            (0..600).filter_map(|tenth| line.occurs(start + Duration::from_millis(tenth * 100))).sum();
        assert_eq!(lines, 0, "within the minute");
        assert_eq!(line.occurs(after(60)), Some(601));
        assert_eq!(line.occurs(after(61)), None);
        assert_eq!((line.remainder(after(119)), line.remainder(after(120))), (None, Some(1)));
        assert_eq!(line.remainder(after(1000)), None, "all is said");
        assert_eq!(line.occurs(after(1000)), Some(1));
        // A clock that seems to go back.
        assert_eq!(line.occurs(after(999)), None);
    }

    #[test]
    fn another_fault_is_a_line_at_once() {
        let (line, start) = (RecurringLine::new(), Instant::now());
        assert_eq!((line.occurs(start), line.occurs(start), line.occurs(start)), (Some(1), None, None));
        assert_eq!(line.restart(), 2);
        assert_eq!((line.occurs(start), line.occurs(start)), (Some(1), None));
    }
}
