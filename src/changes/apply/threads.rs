//! Threads that apply changes.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::LazyLock;

/// Fewer changes than this are applied on one core: waking another takes longer.
pub(super) const PARALLEL_CHANGES: usize = 256;

/// A separate pool: the global one may be busy with a whole list for a long time.
static THREADS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| ThreadPoolBuilder::new().build().ok());

/// Runs `work` for that many changes on these threads; on the current one if they are few, or if there is no pool.
pub(crate) fn on_threads<R: Send>(changes: usize, work: impl FnOnce() -> R + Send) -> R {
    match &*THREADS {
        Some(threads) if changes >= PARALLEL_CHANGES => threads.install(work),
        _ => work(),
    }
}

/// Runs two closures for that many changes, in parallel unless these are few.
pub(crate) fn join<A: Send, B: Send>(
    changes: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    match changes >= PARALLEL_CHANGES {
        true => on_threads(changes, || rayon::join(one, other)),
        false => (one(), other()),
    }
}
