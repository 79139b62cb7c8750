//! What each client may take: connections, requests and ids a second.

use super::body;
use super::config::Limits;
use super::exchange::Problem;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hyper::StatusCode;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Clients by their organisations, or by their addresses if nobody is asked who they are.
pub(super) struct Clients {
    requests: Option<DefaultKeyedRateLimiter<String>>,
    ids: Option<(NonZeroU32, DefaultKeyedRateLimiter<String>)>,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
    bodies: Mutex<HashMap<String, Arc<Semaphore>>>,
    body_permits: usize,
}

/// A connection of a client, counted while it lives.
pub(super) struct Counted {
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for Counted {
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

impl Clients {
    pub(super) fn new(limits: &Limits) -> Clients {
        // What was not used in one second may be used in the next.
        let limiter = |rate: NonZeroU32| RateLimiter::keyed(Quota::per_second(rate));
        Clients {
            requests: limits.requests_a_second.map(limiter),
            ids: limits.ids_a_second.map(|rate| (rate, limiter(rate))),
            connections: Arc::default(),
            most: limits.connections_a_client,
            bodies: Mutex::default(),
            body_permits: body::of_a_client(limits),
        }
    }

    /// Counts a connection, unless the client has as many as it may.
    pub(super) fn connect(&self, address: IpAddr) -> Option<Counted> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(address).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Counted { connections: Arc::clone(&self.connections), address })
    }

    /// Counts a request of a client.
    pub(super) fn request(&self, client: &String) -> Result<(), Problem> {
        match &self.requests {
            Some(requests) if requests.check_key(client).is_err() => Err(too_many("requests")),
            _ => Ok(()),
        }
    }

    /// Counts the ids of a request. More than a second's are never let through at once, so such a request
    /// counts as a second's.
    pub(super) fn ids(&self, client: &String, ids: usize) -> Result<(), Problem> {
        let Some((rate, limiter)) = &self.ids else { return Ok(()) };
        let Some(ids) = NonZeroU32::new(u32::try_from(ids).unwrap_or(u32::MAX).min(rate.get())) else {
            return Ok(());
        };
        match limiter.check_key_n(client, ids) {
            Ok(Ok(())) => Ok(()),
            _ => Err(too_many("ids")),
        }
    }

    /// Room for the bodies of a client.
    pub(super) fn bodies(&self, client: &str) -> Arc<Semaphore> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let room = || Arc::new(Semaphore::new(self.body_permits));
        Arc::clone(bodies.entry(client.to_owned()).or_insert_with(room))
    }

    /// Forgets clients that have not asked for long.
    pub(super) fn tidy(&self) {
        self.requests.iter().for_each(RateLimiter::retain_recent);
        self.ids.iter().for_each(|(_, limiter)| limiter.retain_recent());
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.retain(|_, room| Arc::strong_count(room) > 1);
    }
}

fn too_many(what: &str) -> Problem {
    let detail = format!("the client has asked for all the {what} of this second; ask again in one");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail)
}
