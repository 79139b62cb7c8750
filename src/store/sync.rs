//! Synchronisation primitives of the commit protocol.

use arc_swap::ArcSwap;
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// A version that readers take without waiting and a writer replaces.
pub(crate) struct Published<V>(ArcSwap<V>);

impl<V> Published<V> {
    pub(crate) fn new(version: Arc<V>) -> Published<V> {
        Published(ArcSwap::new(version))
    }

    pub(crate) fn load(&self) -> Arc<V> {
        self.0.load_full()
    }

    pub(crate) fn store(&self, version: Arc<V>) {
        self.0.store(version);
    }
}
