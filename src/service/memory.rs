//! The memory budget of the service: `limits.memory_bytes`, from the first byte of a request to the last byte of its
//! response.
//!
//! At most a quarter of the budget belongs to the connections: each has its buffers, and [`FREE_BYTES`] for a body and a
//! response that are small. An eighth is a reserve for what cannot be counted, such as the rounding of the allocator and
//! the stacks of threads. The rest is for requests that need more, in three pools: what needs little (up to
//! [`SMALL_BYTES`]) never waits for what needs much, and neither waits for lines that arrive at any pace. Of each pool one client may hold half, so two clients have to
//! exhaust theirs before a third one waits. Registers are not part of the budget.

use super::config::Limits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of a body, and of a response, that belong to the connection.
pub(super) const FREE_BYTES: usize = 1 << 14;
/// Bytes of a connection besides the buffer of the head: the buffer for writing, its task, a small body and response.
const CONNECTION_BYTES: usize = 5 << 14;
/// Bytes of the buffers of TLS.
const TLS_BYTES: usize = 7 << 14;
/// What a request needs at most to use the pool for small ones.
const SMALL_BYTES: usize = 1 << 18;
/// Bytes per permit.
const PERMIT_BYTES: usize = 1 << 12;

/// The budget.
pub(super) struct MemoryBudget {
    small: Pool,
    large: Pool,
    /// For lines that are answered while they arrive, at any pace.
    streams: Pool,
}

/// What many requests share, and of which one client has at most its share.
pub(super) struct Pool {
    total: Arc<Semaphore>,
    by_client: Mutex<HashMap<String, Arc<Semaphore>>>,
    permits: usize,
    client_permits: usize,
}

/// Part of a pool, both of the client's share and of the total.
pub(super) struct PoolPermit {
    of_client: OwnedSemaphorePermit,
    of_total: OwnedSemaphorePermit,
}

/// Memory that is reserved for a request, and released when this is dropped.
#[derive(Default)]
pub(super) struct Reservation {
    permits: Vec<PoolPermit>,
    source: Option<(Arc<MemoryBudget>, String)>,
}

/// No memory is available: other requests hold it, or the request needs more than a client may hold.
#[derive(Debug)]
pub(super) struct NoMemory;

fn connection_bytes(limits: &Limits, has_tls: bool) -> usize {
    limits.head_bytes + CONNECTION_BYTES + if has_tls { TLS_BYTES } else { 0 }
}

/// The number of connections for which a quarter of the budget suffices.
pub(super) fn connections_max(limits: &Limits, has_tls: bool) -> usize {
    limits.memory_bytes / 4 / connection_bytes(limits, has_tls)
}

impl MemoryBudget {
    /// A budget for a number of connections, which is at most [`connections_max`].
    pub(super) fn new(limits: &Limits, connections: usize, has_tls: bool) -> MemoryBudget {
        let of_connections = connections * connection_bytes(limits, has_tls);
        let of_requests = (limits.memory_bytes / 8 * 7).saturating_sub(of_connections);
        let pool = |bytes| Pool::new(bytes / PERMIT_BYTES, bytes / (2 * PERMIT_BYTES));
        MemoryBudget {
            small: pool(of_requests / 8),
            large: pool(of_requests / 8 * 6),
            streams: pool(of_requests / 8),
        }
    }

    /// Reserves memory for a client. If there is none, waits for it.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        client: &str,
        bytes: usize,
        wait: Duration,
    ) -> Result<Reservation, NoMemory> {
        let mut reservation = Reservation::none(self, client);
        if bytes > 0 {
            let pool = self.pool_for(bytes);
            let permit = timeout(wait, pool.acquire(client, bytes.div_ceil(PERMIT_BYTES))).await;
            reservation.permits.push(permit.map_err(|_| NoMemory)??);
        }
        Ok(reservation)
    }

    /// Reserves memory for lines that are answered while they arrive. If there is none, waits for it.
    pub(super) async fn reserve_stream(
        self: &Arc<Self>,
        client: &str,
        bytes: usize,
        wait: Duration,
    ) -> Result<Reservation, NoMemory> {
        let mut reservation = Reservation::none(self, client);
        let permit = timeout(wait, self.streams.acquire(client, bytes.div_ceil(PERMIT_BYTES))).await;
        reservation.permits.push(permit.map_err(|_| NoMemory)??);
        Ok(reservation)
    }

    fn pool_for(&self, bytes: usize) -> &Pool {
        if bytes <= SMALL_BYTES { &self.small } else { &self.large }
    }

    /// Removes clients that hold no memory.
    pub(super) fn remove_idle(&self) {
        self.small.remove_idle();
        self.large.remove_idle();
        self.streams.remove_idle();
    }

    /// Bytes that are reserved.
    pub(super) fn reserved(&self) -> usize {
        (self.small.held() + self.large.held() + self.streams.held()) * PERMIT_BYTES
    }
}

impl Pool {
    pub(super) fn new(permits: usize, client_permits: usize) -> Pool {
        let total = Arc::new(Semaphore::new(permits));
        Pool { total, by_client: Mutex::default(), permits, client_permits }
    }

    fn of_client(&self, client: &str) -> Arc<Semaphore> {
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = by_client.get(client) {
            return Arc::clone(semaphore);
        }
        let semaphore = Arc::new(Semaphore::new(self.client_permits));
        by_client.insert(client.to_owned(), Arc::clone(&semaphore));
        semaphore
    }

    /// The number as the semaphores count. Errors: no client may hold so many.
    fn count(&self, permits: usize) -> Result<u32, NoMemory> {
        u32::try_from(permits).ok().filter(|_| permits <= self.client_permits).ok_or(NoMemory)
    }

    /// Waits for a number of permits.
    pub(super) async fn acquire(&self, client: &str, permits: usize) -> Result<PoolPermit, NoMemory> {
        let permits = self.count(permits)?;
        let closed = |_: AcquireError| NoMemory;
        let of_client = self.of_client(client).acquire_many_owned(permits).await.map_err(closed)?;
        let of_total = Arc::clone(&self.total).acquire_many_owned(permits).await.map_err(closed)?;
        Ok(PoolPermit { of_client, of_total })
    }

    fn try_acquire(&self, client: &str, permits: usize) -> Result<PoolPermit, NoMemory> {
        let permits = self.count(permits)?;
        let of_client = self.of_client(client).try_acquire_many_owned(permits).map_err(|_| NoMemory)?;
        let of_total = Arc::clone(&self.total).try_acquire_many_owned(permits).map_err(|_| NoMemory)?;
        Ok(PoolPermit { of_client, of_total })
    }

    /// Removes clients that hold nothing.
    pub(super) fn remove_idle(&self) {
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        by_client.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
    }

    /// Permits that are held.
    pub(super) fn held(&self) -> usize {
        self.permits - self.total.available_permits()
    }
}

impl Reservation {
    /// No memory yet.
    pub(super) fn none(budget: &Arc<MemoryBudget>, client: &str) -> Reservation {
        Reservation { permits: Vec::new(), source: Some((Arc::clone(budget), client.to_owned())) }
    }

    /// Whether it has a budget to grow from.
    pub(super) fn can_grow(&self) -> bool {
        self.source.is_some()
    }

    /// Bytes that are reserved, in whole permits.
    pub(super) fn bytes(&self) -> usize {
        self.permits.iter().map(|permit| permit.of_total.num_permits() * PERMIT_BYTES).sum()
    }

    /// Changes the number of bytes, without waiting: requests that hold memory and wait for more could wait for each
    /// other. In case of an error, it is unchanged.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let held = self.bytes();
        if bytes > held {
            let (budget, client) = self.source.as_ref().ok_or(NoMemory)?;
            let more = (bytes - held).div_ceil(PERMIT_BYTES);
            let permit = budget.pool_for(bytes).try_acquire(client, more)?;
            self.permits.push(permit);
            return Ok(());
        }
        let mut excess = (held - bytes) / PERMIT_BYTES;
        while excess > 0
            && let Some(last) = self.permits.last_mut()
        {
            let released = excess.min(last.of_total.num_permits());
            drop((last.of_client.split(released), last.of_total.split(released)));
            if last.of_total.num_permits() == 0 {
                self.permits.pop();
            }
            excess -= released;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<MemoryBudget> {
        Arc::new(MemoryBudget::new(&Limits { memory_bytes: 64 << 20, ..Limits::default() }, 0, false))
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(future)
    }

    /// A client gets half of a pool, and another one the other half; then everybody waits, and no longer than allowed.
    #[test]
    fn one_client_gets_half() {
        let budget = budget();
        let most = (64 << 20) / 8 * 7 / 8 * 6 / 2;
        let reserve =
            |client: &'static str, bytes| now(budget.reserve(client, bytes, Duration::from_secs(1)));
        assert!(reserve("a", most + PERMIT_BYTES).is_err(), "more than any client may hold");
        let held = reserve("a", most).expect("half");
        assert!(reserve("a", SMALL_BYTES + 1).is_err());
        let small = reserve("a", SMALL_BYTES).expect("small ones are not affected");
        let other = reserve("b", most).expect("the other half");
        assert!(reserve("c", SMALL_BYTES + 1).is_err());
        assert!(budget.reserved() >= 2 * most);
        drop((held, small, other));
        assert_eq!(budget.reserved(), 0);
        assert!(reserve("c", most).is_ok());
    }

    #[test]
    fn reservations_change_without_waiting() {
        let budget = budget();
        let mut held = now(budget.reserve("a", 3 * SMALL_BYTES, Duration::ZERO)).expect("reserved");
        held.resize(5 * SMALL_BYTES).expect("more");
        assert_eq!((held.bytes(), budget.reserved()), (5 * SMALL_BYTES, 5 * SMALL_BYTES));
        assert!(held.resize(1 << 30).is_err());
        assert_eq!(held.bytes(), 5 * SMALL_BYTES, "unchanged");
        held.resize(SMALL_BYTES + 1).expect("less");
        assert_eq!(held.bytes(), SMALL_BYTES + PERMIT_BYTES);
        held.resize(0).expect("none");
        assert_eq!((held.bytes(), budget.reserved()), (0, 0));
        budget.remove_idle();
        assert!(budget.large.by_client.lock().expect("unlocked").is_empty());
    }
}
