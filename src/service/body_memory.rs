//! The memory budget for request bodies and what is built from them.

use super::config::Limits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of the budget per semaphore permit.
pub(super) const PERMIT_BYTES: usize = 1 << 12;

/// `limits.bodies_bytes`, of which one client may hold half: two clients have to exhaust theirs before a third waits.
pub(super) struct BodyMemory {
    total: Arc<Semaphore>,
    by_client: Mutex<HashMap<String, Arc<Semaphore>>>,
    client_permits: usize,
}

/// A reserved part of the budget, both of the client's and of the total.
pub(super) struct MemoryPermit {
    _of_client: OwnedSemaphorePermit,
    _of_total: OwnedSemaphorePermit,
}

impl BodyMemory {
    pub(super) fn new(limits: &Limits) -> BodyMemory {
        let client_permits = limits.bodies_bytes.div_ceil(2 * PERMIT_BYTES);
        BodyMemory {
            total: Arc::new(Semaphore::new(2 * client_permits)),
            by_client: Mutex::default(),
            client_permits,
        }
    }

    /// Bytes that one client may hold.
    pub(super) fn client_bytes(&self) -> usize {
        self.client_permits * PERMIT_BYTES
    }

    /// Reserves memory for a client. `None` if there is not enough within `wait`, or now if that is `None`.
    pub(super) async fn reserve(
        &self,
        client: &str,
        bytes: usize,
        wait: Option<Duration>,
    ) -> Option<MemoryPermit> {
        let permits = bytes.div_ceil(PERMIT_BYTES) as u32;
        let (of_client, total) = (self.of_client(client), Arc::clone(&self.total));
        let Some(wait) = wait else {
            let of_client = of_client.try_acquire_many_owned(permits).ok()?;
            let of_total = total.try_acquire_many_owned(permits).ok()?;
            return Some(MemoryPermit { _of_client: of_client, _of_total: of_total });
        };
        let both = async {
            let of_client = of_client.acquire_many_owned(permits).await?;
            let of_total = total.acquire_many_owned(permits).await?;
            Ok::<_, AcquireError>(MemoryPermit { _of_client: of_client, _of_total: of_total })
        };
        timeout(wait, both).await.ok()?.ok()
    }

    fn of_client(&self, client: &str) -> Arc<Semaphore> {
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(self.client_permits));
        Arc::clone(by_client.entry(client.to_owned()).or_insert_with(new))
    }

    /// Removes clients that hold no memory.
    pub(super) fn remove_idle(&self) {
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        by_client.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
    }
}
