//! Limits per client: connections, requests and ids per second.

use super::capacity::Capacity;
use super::config::Limits;
use super::problem::Problem;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The network that counts as one client: of IPv6 a /64, from which one host can take any number of addresses.
pub(super) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Counters by client: by organisation, or by address if authentication is off.
pub(super) struct ClientLimits {
    requests: Option<DefaultKeyedRateLimiter<String>>,
    ids: Option<IdLimiter>,
    /// Requests without valid credentials, by network.
    refusals: DefaultKeyedRateLimiter<IpAddr>,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
    connections_max: usize,
}

/// Counts a connection of a client until it is dropped.
pub(super) struct ConnectionGuard {
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
    network: IpAddr,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.network);
            }
        }
    }
}

impl ClientLimits {
    pub(super) fn new(limits: &Limits, capacity: Capacity) -> ClientLimits {
        // A burst may use what was left of the second before.
        let limiter = |rate: NonZeroU32| RateLimiter::keyed(Quota::per_second(rate));
        ClientLimits {
            requests: limits.requests_per_second.map(limiter),
            ids: limits.ids_per_second.map(IdLimiter::new),
            refusals: RateLimiter::keyed(Quota::per_second(limits.refusals_per_second)),
            connections: Arc::default(),
            connections_max: capacity.connections_per_client,
        }
    }

    /// Counts a connection. `None` if the client has reached its limit.
    pub(super) fn connect(&self, address: IpAddr) -> Option<ConnectionGuard> {
        let network = client_network(address);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(network).or_insert(0);
        if *count >= self.connections_max {
            return None;
        }
        *count += 1;
        Some(ConnectionGuard { connections: Arc::clone(&self.connections), network })
    }

    /// Counts a request. Errors: the client has reached its limit.
    pub(super) fn count_request(&self, client: &String) -> Result<(), Problem> {
        match &self.requests {
            Some(requests) => requests.check_key(client).map_err(|until| too_many("requests", &until)),
            None => Ok(()),
        }
    }

    /// Counts a request without valid credentials. Errors: the network has reached its limit.
    pub(super) fn count_refusal(&self, address: IpAddr) -> Result<(), Problem> {
        let checked = self.refusals.check_key(&client_network(address));
        checked.map_err(|until| too_many("requests without valid credentials", &until))
    }

    /// Counts ids. Errors: the client has reached its limit. A request of more ids than a second's is admitted if the
    /// client has asked for none during the last second; the client then waits until all of them would be due.
    pub(super) fn count_ids(&self, client: &str, ids: usize) -> Result<(), Problem> {
        match &self.ids {
            Some(limiter) => limiter.count(client, ids as u64, Instant::now()).map_err(|wait| {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Problem::too_many("ids", u32::try_from(seconds).unwrap_or(u32::MAX))
            }),
            None => Ok(()),
        }
    }

    /// Counts ids of a request that has been admitted already.
    pub(super) fn charge_ids(&self, client: &str, ids: u64) {
        if let Some(limiter) = &self.ids {
            limiter.charge(client, ids, Instant::now());
        }
    }

    /// Removes clients whose quota is full again.
    pub(super) fn remove_idle(&self) {
        self.requests.iter().for_each(RateLimiter::retain_recent);
        self.refusals.retain_recent();
        self.ids.iter().for_each(|limiter| limiter.remove_idle(Instant::now()));
    }
}

type NotUntil = governor::NotUntil<<DefaultClock as Clock>::Instant>;

fn too_many(what: &str, until: &NotUntil) -> Problem {
    let seconds = until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
    Problem::too_many(what, u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Ids per second by client, with debts: governor admits no more than a second's ids at once.
struct IdLimiter {
    ids_per_second: NonZeroU32,
    /// Until when the ids of each client are due, at the rate. A client may be a second behind.
    due: Mutex<HashMap<String, Instant>>,
}

const SECOND: Duration = Duration::from_secs(1);

impl IdLimiter {
    fn new(ids_per_second: NonZeroU32) -> IdLimiter {
        IdLimiter { ids_per_second, due: Mutex::default() }
    }

    fn time_for(&self, ids: u64) -> Duration {
        Duration::from_secs_f64(ids as f64 / f64::from(self.ids_per_second.get()))
    }

    /// Errors: the time to wait.
    fn count(&self, client: &str, ids: u64, now: Instant) -> Result<(), Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        // In seconds after the moment a second ago.
        let behind =
            due.get(client).map_or(Duration::ZERO, |due| (*due + SECOND).saturating_duration_since(now));
        let wait = (behind + self.time_for(ids).min(SECOND)).saturating_sub(SECOND);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        due.insert(client.to_owned(), now + behind + self.time_for(ids) - SECOND);
        Ok(())
    }

    fn charge(&self, client: &str, ids: u64, now: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let time = due.entry(client.to_owned()).or_insert(now - SECOND);
        *time = (*time).max(now - SECOND) + self.time_for(ids);
    }

    fn remove_idle(&self, now: Instant) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, due| *due + SECOND > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
            assert_eq!(client_network(parse(address)), parse(network), "{address}");
        }
    }

    #[test]
    fn all_ids_count_also_those_beyond_a_seconds() {
        let limiter = IdLimiter::new(NonZeroU32::new(1000).expect("not 0"));
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!(limiter.count("a", 600, at(0.0)), Ok(()));
        assert_eq!(limiter.count("a", 600, at(0.0)), Err(Duration::from_millis(200)));
        assert_eq!(limiter.count("a", 400, at(0.0)), Ok(()));
        assert_eq!(limiter.count("b", 1000, at(0.0)), Ok(()), "another client");
        assert!(limiter.count("a", 1, at(0.0005)).is_err());
        // A million ids are admitted when nothing is due, and then count in full: 999 seconds beyond the first.
        assert!(limiter.count("a", 1_000_000, at(0.9)).is_err());
        assert_eq!(limiter.count("a", 1_000_000, at(1.0)), Ok(()));
        let wait = limiter.count("a", 1, at(1.0)).expect_err("a debt");
        assert!((wait.as_secs_f64() - 999.001).abs() < 1e-6, "{wait:?}");
        assert_eq!(limiter.count("a", 1000, at(1001.0)), Ok(()));
        limiter.charge("b", 5000, at(10.0));
        assert_eq!(limiter.count("b", 1, at(10.0)), Err(Duration::from_millis(4001)));
        limiter.remove_idle(at(2000.0));
        assert!(limiter.due.lock().expect("unlocked").is_empty());
    }
}
