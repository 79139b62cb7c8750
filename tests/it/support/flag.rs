//! A flag for threads that run until a test ends.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets a flag when dropped, also by a panic.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
