//! The open connections, of which some give way when there are hardly any left.
//!
//! A client has a quarter of all connections, so a few clients can hold all of them: without sending anything, by not
//! reading responses, or with bodies that do not end. When few are left, each new connection closes an idle one of a
//! client that has more than its share of them; when none is left, any connection of such a client, or else the oldest one
//! of a caller who has not been authenticated: who has many addresses, or a network, can hold all connections with one of
//! each. An authenticated caller with few connections keeps them.

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
    /// Whether its last caller was authenticated.
    is_authenticated: AtomicBool,
    /// When it was opened, or became idle.
    since: Mutex<Instant>,
    closed: Notify,
}

/// What a connection is used for, from what closes last to what closes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ConnectionUse {
    /// A request is received or answered.
    Busy,
    /// The client takes nothing of its response.
    Blocked,
    /// Nothing.
    Idle,
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

    /// Notes whether the caller of a request was authenticated.
    pub(super) fn set_authenticated(&self, is_authenticated: bool) {
        self.is_authenticated.store(is_authenticated, Ordering::Relaxed);
    }

    fn kind(&self) -> ConnectionUse {
        match (self.is_blocked.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed)) {
            (true, _) => ConnectionUse::Blocked,
            (false, 0) => ConnectionUse::Idle,
            (false, _) => ConnectionUse::Busy,
        }
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
    /// Notes a connection from a network, before anything is done for it: also one whose task has not begun may give way.
    pub(super) fn register(&self, network: IpAddr) -> (u64, Arc<Usage>) {
        let usage = Arc::new(Usage {
            network,
            requests: AtomicUsize::new(0),
            is_blocked: AtomicBool::new(false),
            is_authenticated: AtomicBool::new(false),
            since: Mutex::new(Instant::now()),
            closed: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&usage));
        (number, usage)
    }

    /// A registered connection, which is forgotten when it is dropped.
    pub(super) fn open(&self, (number, usage): (u64, Arc<Usage>)) -> OpenConnection<'_> {
        OpenConnection { connections: self, number, usage }
    }

    /// Closes a connection of a client with more than its share, which is what all clients could have alike: one that has
    /// been idle for longest. If all connections are taken (`is_full`), also one whose client takes nothing of its
    /// response, or any of its connections, or else an idle one of any client. If there is none and callers must
    /// authenticate (`authenticates`), the oldest one whose caller has not.
    ///
    /// Returns whether there is one. Cost: in proportion to the number of connections.
    pub(super) fn close_one(&self, is_full: bool, authenticates: bool) -> bool {
        let mut all = self.lock();
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        all.values().for_each(|usage| *counts.entry(usage.network).or_default() += 1);
        let share = (all.len() / counts.len().max(1)).max(2);
        let candidates = all.iter().filter_map(|(number, usage)| {
            let (count, use_) = (counts[&usage.network], usage.kind());
            let is_unknown = authenticates && !usage.is_authenticated.load(Ordering::Relaxed);
            let may_close = match use_ {
                ConnectionUse::Idle => count >= share || is_full,
                ConnectionUse::Blocked | ConnectionUse::Busy => (count >= share || is_unknown) && is_full,
            };
            let has_more = count >= share;
            // Of those who are unknown, the oldest: a new one has yet to send its credentials.
            let use_ = if is_unknown && !has_more { ConnectionUse::Idle } else { use_ };
            may_close.then(|| ((has_more, is_unknown, use_, count, Reverse(*usage.since())), *number))
        });
        let number = candidates.max().map(|(_, number)| number);
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
        let from =
            |client: u8| connections.open(connections.register(Ipv4Addr::new(192, 0, 2, client).into()));
        let few = from(1);
        let many: Vec<_> = (0..4).map(|_| from(2)).collect();
        let busy = many[0].usage.begin_request();
        many[1].usage.set_blocked(true);
        drop(many[2].usage.begin_request());
        // 3 has been idle for longer than 2; the others are in use.
        let is_open = |open: &OpenConnection<'_>| connections.lock().contains_key(&open.number);
        let open = || many.iter().map(&is_open).collect::<Vec<_>>();
        assert!(connections.close_one(false, false));
        assert_eq!(open(), [true, true, true, false]);
        assert!(connections.close_one(false, false));
        assert_eq!(open(), [true, true, false, false]);
        assert!(!connections.close_one(false, false), "the others are in use, or of a client with few");
        assert!(connections.close_one(true, false));
        assert_eq!(open(), [true, false, false, false], "its client takes nothing");
        assert!(is_open(&few));
        drop(busy);
    }

    /// Clients that hold all connections with requests that do not end, and one more.
    #[test]
    fn requests_of_clients_with_more_than_their_share_give_way() {
        let connections = OpenConnections::default();
        let from =
            |client: u8| connections.open(connections.register(Ipv4Addr::new(192, 0, 2, client).into()));
        let few: Vec<_> = (100..110).map(from).collect();
        let many: Vec<_> = (0..5).flat_map(|client| [client; 20]).map(from).collect();
        let _busy: Vec<_> = many.iter().map(|open| open.usage.begin_request()).collect();
        let is_open = |open: &&OpenConnection<'_>| connections.lock().contains_key(&open.number);
        for closed in 1..=50 {
            assert!(connections.close_one(true, false));
            assert_eq!(many.iter().filter(is_open).count(), 100 - closed);
        }
        assert!(few.iter().all(|open| is_open(&open)));
    }

    /// One connection from each of many networks, all in use: who has been authenticated keeps theirs.
    #[test]
    fn callers_that_are_not_authenticated_give_way_to_others() {
        let connections = OpenConnections::default();
        let open: Vec<_> = (0..20)
            .map(|client| connections.open(connections.register(Ipv4Addr::new(192, 0, 2, client).into())))
            .collect();
        let _busy: Vec<_> = open.iter().map(|open| open.usage.begin_request()).collect();
        open[..5].iter().for_each(|open| open.usage.set_authenticated(true));
        assert!(!connections.close_one(true, false), "without authentication all are unknown");
        assert!(!connections.close_one(false, true), "there is room");
        for closed in 1..=15 {
            assert!(connections.close_one(true, true));
            let left = open.iter().filter(|open| connections.lock().contains_key(&open.number)).count();
            assert_eq!(left, 20 - closed);
        }
        assert!(open[..5].iter().all(|open| connections.lock().contains_key(&open.number)));
        assert!(!connections.close_one(true, true));
    }
}
