//! The register of a replica that cannot be opened yet: its source is away, or it is being downloaded or made again. The
//! service listens meanwhile, and is not ready.

use super::served::{FollowRules, ServedRegister};
use super::{RETRY, Threads, parts};
use crate::replica::FollowStatus;
use crate::service::config::Replicas;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;

/// A register that is served as soon as its replica can be opened.
pub(in crate::service) struct AwaitedRegister {
    /// The first segment of its paths; empty if it is at the root.
    pub(in crate::service) name: String,
    pub(super) path: PathBuf,
    pub(super) rules: FollowRules,
    pub(super) replicas: Replicas,
    /// The state of the replica.
    pub(in crate::service) source: Arc<FollowStatus>,
    /// Empty until it can be opened.
    pub(super) served: OnceLock<Arc<ServedRegister>>,
}

impl AwaitedRegister {
    /// Whether its source has answered lately.
    pub(in crate::service) fn hears_its_source(&self) -> bool {
        self.source.is_followed(self.rules.max_silence())
    }

    /// Waits until the replica is open, and serves it. `is_open` gets a message then.
    pub(super) fn serve_when_open(&self, is_open: &Receiver<()>, threads: &Threads, stop: &AtomicBool) {
        loop {
            match is_open.recv_timeout(RETRY) {
                _ if stop.load(Ordering::Relaxed) => return,
                Ok(()) => break,
                Err(RecvTimeoutError::Timeout) => {}
                // Following has ended. The service remains, and is not ready.
                Err(RecvTimeoutError::Disconnected) => thread::park_timeout(RETRY),
            }
        }
        let mut reported = None;
        while !stop.load(Ordering::Relaxed) {
            match self.open(threads) {
                Ok(()) => {
                    tracing::info!(register = self.name, "the register is served");
                    return;
                }
                Err(error) => {
                    let error = error.to_string();
                    if reported.as_ref() != Some(&error) {
                        tracing::error!(register = self.name, error, "cannot open the register; retrying");
                        reported = Some(error);
                    }
                    thread::park_timeout(RETRY);
                }
            }
        }
    }

    fn open(&self, threads: &Threads) -> Result<(), super::OpenRegisterError> {
        let (mut served, source) = ServedRegister::open(self.name.clone(), &self.path, self.rules)?;
        served.follows(&self.source);
        served.parts = parts::keep(&self.path, &served, &self.replicas, threads)?;
        let served = Arc::new(served);
        // Only this thread sets it.
        let _ = self.served.set(Arc::clone(&served));
        served.follow_in_thread(source, threads);
        Ok(())
    }
}
