//! Limits per client: connections, requests and ids per second.

use super::config::Limits;
use super::problem::Problem;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hyper::StatusCode;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

/// Counters by client: by organisation, or by address if authentication is off.
pub(super) struct ClientLimits {
    requests: Option<DefaultKeyedRateLimiter<String>>,
    ids: Option<(NonZeroU32, DefaultKeyedRateLimiter<String>)>,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
    connections_max: usize,
}

/// Counts a connection of a client until it is dropped.
pub(super) struct ConnectionGuard {
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.address);
            }
        }
    }
}

impl ClientLimits {
    pub(super) fn new(limits: &Limits) -> ClientLimits {
        // A burst may use what was left of the second before.
        let limiter = |rate: NonZeroU32| RateLimiter::keyed(Quota::per_second(rate));
        ClientLimits {
            requests: limits.requests_per_second.map(limiter),
            ids: limits.ids_per_second.map(|rate| (rate, limiter(rate))),
            connections: Arc::default(),
            connections_max: limits.connections_per_client,
        }
    }

    /// Counts a connection. `None` if the client has reached its limit.
    pub(super) fn connect(&self, address: IpAddr) -> Option<ConnectionGuard> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(address).or_insert(0);
        if *count >= self.connections_max {
            return None;
        }
        *count += 1;
        Some(ConnectionGuard { connections: Arc::clone(&self.connections), address })
    }

    /// Counts a request. Errors: the client has reached its limit.
    pub(super) fn count_request(&self, client: &String) -> Result<(), Problem> {
        match &self.requests {
            Some(requests) if requests.check_key(client).is_err() => Err(too_many("requests")),
            _ => Ok(()),
        }
    }

    /// Counts ids. The limiter never admits more than one second's ids at once, so a larger request counts as one
    /// second's. Errors: the client has reached its limit.
    pub(super) fn count_ids(&self, client: &String, ids: usize) -> Result<(), Problem> {
        let Some((rate, limiter)) = &self.ids else { return Ok(()) };
        let Some(ids) = NonZeroU32::new(u32::try_from(ids).unwrap_or(u32::MAX).min(rate.get())) else {
            return Ok(());
        };
        match limiter.check_key_n(client, ids) {
            Ok(Ok(())) => Ok(()),
            _ => Err(too_many("ids")),
        }
    }

    /// Removes clients whose quota is full again.
    pub(super) fn remove_idle(&self) {
        self.requests.iter().for_each(RateLimiter::retain_recent);
        self.ids.iter().for_each(|(_, limiter)| limiter.retain_recent());
    }
}

fn too_many(what: &str) -> Problem {
    let detail = format!("the client has reached its limit of {what} per second; retry in a second");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail)
}
