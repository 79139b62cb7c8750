//! The change log of a served data directory, and whether it is whole.

use crate::store::{Log, StoreError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two checks of a damaged log, at least.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The same, in durations of the last check: a log may be long.
const CHECK_SHARE: u32 = 20;

/// The log of a data directory. Damage is found by requests, and by checks after them until there is none.
pub(in crate::service) struct ServedLog {
    log: Arc<Log>,
    damaged: AtomicBool,
    /// Whether it has to be checked, although no damage was found.
    suspected: AtomicBool,
    /// When it may be checked again.
    due: Mutex<Option<Instant>>,
}

impl ServedLog {
    pub(super) fn new(directory: &Path) -> ServedLog {
        ServedLog {
            log: Log::new(directory),
            damaged: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            due: Mutex::default(),
        }
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Whether the last attempt to read it found damage.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Notes damage. Returns whether that is new.
    pub(super) fn note_damage(&self) -> bool {
        !self.damaged.swap(true, Ordering::Relaxed)
    }

    /// Requests a check.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
    }

    /// Forgets all findings: the log is no longer that of the register.
    pub(super) fn forget(&self) {
        self.damaged.store(false, Ordering::Relaxed);
        self.suspected.store(false, Ordering::Relaxed);
    }

    /// Reads the log up to a sequence number that `register` has reached, if there may be damage and the last check was
    /// not just now.
    pub(super) fn check(&self, register: &str, until: u64) {
        if !self.is_damaged() && !self.suspected.load(Ordering::Relaxed) {
            return;
        }
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        if due.is_some_and(|due| began < due) {
            return;
        }
        match self.log.check(until) {
            Ok(()) => {
                self.suspected.store(false, Ordering::Relaxed);
                if self.damaged.swap(false, Ordering::Relaxed) {
                    tracing::info!(register, "the log of changes can be read again");
                }
            }
            // A checkpoint removes segments: what is known stays.
            Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                if !self.damaged.swap(true, Ordering::Relaxed) {
                    tracing::error!(register, %error, "the log of changes is damaged");
                }
            }
        }
        let ended = Instant::now();
        *due = Some(ended + CHECK_INTERVAL.max((ended - began) * CHECK_SHARE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Lines, Writer, init};
    use std::fs;

    fn check_at_once(state: &ServedLog) {
        *state.due.lock().expect("no panic") = None;
        state.check("far", 1300);
    }

    /// A log is read again only if there may be damage, and damage is forgotten when there is none.
    #[test]
    fn a_log_is_checked_while_there_may_be_damage() {
        let directory = tempfile::tempdir().expect("directory");
        let (fixtures, data) =
            (Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), directory.path().join("far"));
        init(fixtures.join("far"), &data).expect("a data directory");
        let writer = Writer::open(&data).expect("a writer");
        let text = fs::read(fixtures.join("changes/far.jsonl")).expect("changes");
        writer.apply(Lines::parse(&text, writer.kind()), None).expect("applied");
        let log = data.join("changes-00000000000000001000.log");
        let whole = fs::read(&log).expect("read");
        let state = ServedLog::new(&data);
        // Suspected for another reason.
        state.suspect();
        check_at_once(&state);
        assert!(!state.is_damaged());
        let mut damaged = whole.clone();
        damaged[500] ^= 1;
        fs::write(&log, damaged).expect("written");
        check_at_once(&state);
        assert!(!state.is_damaged(), "there was no reason for a check");
        state.suspect();
        check_at_once(&state);
        assert!(state.is_damaged());
        fs::write(&log, &whole).expect("written");
        check_at_once(&state);
        assert!(!state.is_damaged());
        // A request has found what is not there any more.
        assert!(state.note_damage() && !state.note_damage());
        fs::write(&log, &whole[..whole.len() - 1]).expect("written");
        check_at_once(&state);
        assert!(state.is_damaged(), "it ends before what is served");
        state.forget();
        assert!(!state.is_damaged());
    }
}
