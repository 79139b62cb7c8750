//! A served register that the service writes to: publishing what was written, and folding its log.

use super::error::OpenRegisterError;
use super::served::{FALLBACK, ServedRegister};
use super::written::WrittenRegister;
use super::{RETRY, Threads};
use crate::store::{CHECKPOINT_AT, StoreError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

impl ServedRegister {
    /// Publishes what has been written. Called before a change is answered.
    pub(in crate::service) fn publish_written(&self, written: &WrittenRegister) {
        let _one = written.publishing();
        let newest = written.register();
        if !Arc::ptr_eq(&newest, &self.register()) {
            self.publish(newest);
        }
    }

    /// Folds the log into a new register file when it is long, and notes whether more can be written, in a thread.
    pub(super) fn tend_in_thread(self: &Arc<Self>, threads: &Threads) {
        let served = Arc::clone(self);
        threads.spawn(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let attempt = served.attempts().begin();
                let failed = served.note(served.tend().map_err(OpenRegisterError::from));
                drop(attempt);
                served.check_log();
                thread::park_timeout(if failed { RETRY } else { FALLBACK });
            }
        });
    }

    fn tend(&self) -> Result<(), StoreError> {
        let Some(written) = self.written() else { return Ok(()) };
        written.writer().check()?;
        if written.writer().log_bytes() >= CHECKPOINT_AT {
            let checkpoint = written.writer().checkpoint(false)?;
            tracing::info!(register = self.name, sequence = checkpoint.sequence, "new register file");
            self.publish_written(written);
        }
        Ok(())
    }
}
