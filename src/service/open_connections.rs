//! The open connections, of which idle ones give way when there are hardly any left.
//!
//! A client has a quarter of all connections, so four clients can hold all of them without sending anything. When few are
//! left, each new connection closes one: of the client that has the most, the one that has been idle for longest. A client
//! with few connections keeps them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// All open connections, by number.
#[derive(Default)]
pub(super) struct OpenConnections {
    all: Mutex<HashMap<u64, Arc<Usage>>>,
    next: AtomicU64,
}

/// What a connection does.
pub(super) struct Usage {
    network: IpAddr,
    /// Requests that have not been answered completely.
    requests: AtomicUsize,
    /// Whether the client takes nothing of what is written.
    is_blocked: AtomicBool,
    /// When it became idle.
    since: Mutex<Instant>,
    closed: Notify,
}

/// A connection, until it is dropped.
pub(super) struct OpenConnection<'a> {
    connections: &'a OpenConnections,
    number: u64,
    pub(super) usage: Arc<Usage>,
}

/// A request in progress, until it is dropped.
pub(super) struct Busy(Arc<Usage>);

impl Usage {
    pub(super) fn begin_request(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Notes whether a write waits for the client.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && !self.is_blocked.load(Ordering::Relaxed)
    }

    fn since(&self) -> MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.since() = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenConnection<'_> {
    /// Waits until the connection gives way to another one.
    pub(super) async fn closed(&self) {
        self.usage.closed.notified().await;
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
    }
}

impl OpenConnections {
    /// Notes a connection from a network.
    pub(super) fn open(&self, network: IpAddr) -> OpenConnection<'_> {
        let usage = Arc::new(Usage {
            network,
            requests: AtomicUsize::new(0),
            is_blocked: AtomicBool::new(false),
            since: Mutex::new(Instant::now()),
            closed: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&usage));
        OpenConnection { connections: self, number, usage }
    }

    /// Closes the connection that has been idle for longest, of the client that has the most connections and an idle one.
    /// Returns whether there is one. Cost: in proportion to the number of connections.
    pub(super) fn close_idle(&self) -> bool {
        let mut all = self.lock();
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        all.values().for_each(|usage| *counts.entry(usage.network).or_default() += 1);
        let idle = all.iter().filter(|(_, usage)| usage.is_idle());
        let found = idle.max_by_key(|(_, usage)| (counts[&usage.network], Reverse(*usage.since())));
        let number = found.map(|(number, _)| *number);
        let usage = number.and_then(|number| all.remove(&number));
        usage.inspect(|usage| usage.closed.notify_one()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Usage>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_client_with_most_connections_gives_way() {
        let connections = OpenConnections::default();
        let from = |client: u8| connections.open(Ipv4Addr::new(192, 0, 2, client).into());
        let few = from(1);
        let many: Vec<_> = (0..4).map(|_| from(2)).collect();
        let busy = many[0].usage.begin_request();
        many[1].usage.set_blocked(true);
        drop(many[2].usage.begin_request());
        // 3 has been idle for longer than 2; the others are in use.
        let is_open = |open: &OpenConnection<'_>| connections.lock().contains_key(&open.number);
        let open = || many.iter().map(&is_open).collect::<Vec<_>>();
        assert!(connections.close_idle());
        assert_eq!(open(), [true, true, true, false]);
        assert!(connections.close_idle());
        assert_eq!(open(), [true, true, false, false]);
        assert!(connections.close_idle() && !is_open(&few), "the last idle one");
        assert!(!connections.close_idle());
        drop(busy);
        assert!(connections.close_idle());
        assert_eq!(open(), [false, true, false, false]);
    }
}
