//! Since when the current attempt of a recurring task runs.
//!
//! Reading or writing a file has no time-out: on a hung file system it never returns, and the thread that called it can
//! say nothing. What its last attempt did is then out of date, so others look at when the current one began.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The attempts of one task that are running.
pub(super) struct Attempts {
    /// Time that an attempt may take.
    most: Duration,
    began: Mutex<Vec<Instant>>,
    /// Whether it has been logged that an attempt takes too long.
    is_reported: AtomicBool,
}

/// An attempt, until it is dropped.
pub(super) struct Attempt<'a> {
    attempts: &'a Attempts,
    began: Instant,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut began = self.attempts.lock();
        if let Some(position) = began.iter().position(|began| *began == self.began) {
            began.swap_remove(position);
        }
    }
}

impl Attempts {
    pub(super) const fn new(most: Duration) -> Attempts {
        Attempts { most, began: Mutex::new(Vec::new()), is_reported: AtomicBool::new(false) }
    }

    /// Notes that an attempt begins.
    pub(super) fn begin(&self) -> Attempt<'_> {
        let began = Instant::now();
        self.lock().push(began);
        Attempt { attempts: self, began }
    }

    /// For how long the oldest attempt has been running; 0 if there is none.
    pub(super) fn running(&self) -> Duration {
        self.lock().iter().map(Instant::elapsed).max().unwrap_or_default()
    }

    /// Whether an attempt has been running for longer than it may.
    pub(super) fn is_overdue(&self) -> bool {
        self.running() > self.most
    }

    /// Logs once that an attempt takes too long, and once that it has ended. `what` is the task.
    pub(super) fn report(&self, what: &str) {
        let (running, is_overdue) = (self.running(), self.is_overdue());
        match (self.is_reported.swap(is_overdue, Ordering::Relaxed), is_overdue) {
            (false, true) => {
                let seconds = running.as_secs();
                tracing::error!(what, seconds, "an attempt does not end: the file system may hang");
            }
            (true, false) => tracing::info!(what, "the attempt has ended"),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_attempt_counts() {
        let (patient, strict) = (Attempts::new(Duration::MAX), Attempts::new(Duration::ZERO));
        assert_eq!(patient.running(), Duration::ZERO);
        assert!(!strict.is_overdue());
        let first = strict.begin();
        let second = strict.begin();
        let of_patient = patient.begin();
        while strict.running() == Duration::ZERO || patient.running() == Duration::ZERO {}
        assert!(strict.is_overdue() && !patient.is_overdue());
        drop(first);
        while !strict.is_overdue() {}
        drop((second, of_patient));
        assert!(!strict.is_overdue());
        assert_eq!(patient.running(), Duration::ZERO);
    }
}
