//! Group commit and publication of batches.
//!
//! One writer hands in versions in order, each after its bytes are in the log. The first thread that waits for one
//! syncs the log, publishes the newest version that was written before the sync, and then wakes the other threads.
//! Therefore
//!
//! 1. a reader never sees a version whose changes are not durable;
//! 2. once a wait for a batch has returned, that batch or a later one is published;
//! 3. readers see versions in order, each complete.
//!
//! `super::sync` has the primitives: those of the standard library, and in `tests/commit.rs` those of a model
//! checker, which tries the interleavings.

use super::sync::{Arc, Condvar, Mutex, Published};
use std::io;

/// Number of a version in the order of writing, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What is written, what is durable, and the published version.
pub(crate) struct Committer<V> {
    state: Mutex<State<V>>,
    /// Notified after a sync.
    moved: Condvar,
    published: Published<V>,
}

struct State<V> {
    written: u64,
    durable: u64,
    /// The last written version.
    newest: Arc<V>,
    syncing: bool,
    /// After a failed sync the content of the disk is unknown; nothing more is committed.
    failed: Option<io::ErrorKind>,
}

impl<V> Committer<V> {
    /// `version` is durable.
    pub(crate) fn new(version: Arc<V>) -> Committer<V> {
        let state =
            State { written: 0, durable: 0, newest: Arc::clone(&version), syncing: false, failed: None };
        Committer { state: Mutex::new(state), moved: Condvar::new(), published: Published::new(version) }
    }

    /// The published version. Never waits.
    pub(crate) fn pin(&self) -> Arc<V> {
        self.published.load()
    }

    /// The error after which nothing more is committed.
    pub(crate) fn failed(&self) -> Option<io::ErrorKind> {
        self.lock().failed
    }

    /// Hands in a version whose bytes are in the log. Called by the writer only.
    pub(crate) fn written(&self, version: Arc<V>) -> Ticket {
        let mut state = self.lock();
        state.written += 1;
        state.newest = version;
        Ticket(state.written)
    }

    /// Replaces the last written version by one of the same content.
    pub(crate) fn replace(&self, version: Arc<V>) {
        let mut state = self.lock();
        state.newest = Arc::clone(&version);
        // Otherwise the thread that syncs publishes it.
        if state.durable == state.written && !state.syncing {
            self.published.store(version);
        }
    }

    /// Waits until a version is durable and published. `sync` makes the log durable.
    ///
    /// Errors: this or an earlier sync has failed.
    pub(crate) fn wait(&self, ticket: Ticket, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            if state.durable >= ticket.0 {
                return Ok(());
            }
            if let Some(failed) = state.failed {
                return Err(failed.into());
            }
            if state.syncing {
                state = self.moved.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            }
            state.syncing = true;
            let (target, version) = (state.written, Arc::clone(&state.newest));
            drop(state);
            let synced = sync();
            state = self.lock();
            state.syncing = false;
            match synced {
                Err(error) => state.failed = Some(error.kind()),
                Ok(()) => {
                    // If nothing was written in the meantime, the newest version may have been replaced.
                    let newest = if state.written == target { Arc::clone(&state.newest) } else { version };
                    self.published.store(newest);
                    state.durable = target;
                }
            }
            self.moved.notify_all();
        }
    }

    fn lock(&self) -> super::sync::MutexGuard<'_, State<V>> {
        // Nothing under the lock panics.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
