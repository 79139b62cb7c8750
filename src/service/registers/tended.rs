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
        let newest = written.writer().register();
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
        }
        // Also what was written for a client that has gone before its answer.
        self.publish_written(written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::service::config::{Replicas, Writable};
    use crate::service::registers::{FollowRules, Registers};
    use crate::store::{Lines, init};
    use std::path::Path;

    /// A request whose client has gone ends when its change is durable, and not with its publication.
    #[test]
    fn what_was_written_is_published_without_an_answer() {
        let work = tempfile::tempdir().expect("a directory");
        let data = work.path().join("far");
        init(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far"), &data).expect("a data directory");
        let given = vec![(String::new(), data)];
        let (rules, replicas) = (FollowRules::default(), Replicas::default());
        let registers = Registers::open(given, Vec::new(), rules, &replicas, Some(&Writable::default()));
        let registers = registers.expect("opened");
        let served = &registers.all[0];
        let written = served.written().expect("a writer");
        let line = br#"{"remove_recipient":{"recipient_id":"194908079819"}}"#;
        let lines = Lines::parse_unnumbered(line, jiff::Timestamp::now(), written.writer().kind());
        written.writer().apply(lines.numbered_after(1000), None).expect("written");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(served.wait_for_change(1000));
        assert_eq!(served.register().sequence(), 1001);
    }
}
