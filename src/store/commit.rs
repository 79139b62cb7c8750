//! When a batch is committed: group commit and publication.
//!
//! One writer hands in versions in their order, each after its bytes are in the log. Whoever waits for
//! one first makes durable all that is in the log by then, publishes the newest version of it, and only
//! then lets go those who wait. So
//!
//! 1. a reader never sees a version whose changes are not durable;
//! 2. who was told that a batch is durable finds it, or a later one, in what is published;
//! 3. readers see versions in their order, each whole.
//!
//! `super::sync` has the primitives: those of the standard library, and in a test those of a model
//! checker, which tries the interleavings (`tests/commit.rs`).

use super::sync::{Arc, Condvar, Mutex, Published};
use std::io;

/// The place of a version in the order of writing, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What is written, what is durable, and the version that readers see.
pub(crate) struct Committer<V> {
    state: Mutex<State<V>>,
    /// Told when `state` has moved.
    moved: Condvar,
    published: Published<V>,
}

struct State<V> {
    written: u64,
    durable: u64,
    /// The version that was written last.
    newest: Arc<V>,
    syncing: bool,
    /// After a failed sync nobody knows what the disk has; nothing more is committed.
    failed: Option<io::ErrorKind>,
}

impl<V> Committer<V> {
    /// With a version that is durable.
    pub(crate) fn new(version: Arc<V>) -> Committer<V> {
        let state =
            State { written: 0, durable: 0, newest: Arc::clone(&version), syncing: false, failed: None };
        Committer { state: Mutex::new(state), moved: Condvar::new(), published: Published::new(version) }
    }

    /// The version that readers see. Never waits.
    pub(crate) fn pin(&self) -> Arc<V> {
        self.published.load()
    }

    /// What has failed, after which nothing more is committed.
    pub(crate) fn failed(&self) -> Option<io::ErrorKind> {
        self.lock().failed
    }

    /// Hands in a version whose bytes are in the log. Only the one writer calls it.
    pub(crate) fn written(&self, version: Arc<V>) -> Ticket {
        let mut state = self.lock();
        state.written += 1;
        state.newest = version;
        Ticket(state.written)
    }

    /// Puts a version of the same content in the place of the one that was written last.
    pub(crate) fn replace(&self, version: Arc<V>) {
        let mut state = self.lock();
        state.newest = Arc::clone(&version);
        // Else whoever syncs will publish it.
        if state.durable == state.written && !state.syncing {
            self.published.store(version);
        }
    }

    /// Waits until a version is durable and published. `sync` makes durable what is in the log.
    ///
    /// Errors: a sync has failed, this one or an earlier one.
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
                    // If nothing was written meanwhile, the newest may have been replaced.
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
