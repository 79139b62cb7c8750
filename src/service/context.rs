//! The context of a request, which every handler gets.

use super::caller::Caller;
use super::memory::{Pool, PoolPermit};
use super::problem::Problem;
use super::state::Service;
use super::stream::SharedStream;
use std::sync::Arc;
use tokio::time::timeout;

/// A request's context beside its head and body.
pub(super) struct RequestContext<'s> {
    pub(super) service: &'s Arc<Service>,
    /// The request's id: 20 to 50 characters, as FaR's `CallId` requires.
    pub(super) id: String,
    pub(super) caller: Caller,
    /// The key of the client's limits: its organisation, or its address.
    pub(super) client: String,
    /// The connection of the request.
    pub(super) stream: Option<SharedStream>,
}

impl RequestContext<'_> {
    /// Waits until the client has gone. Called when all of the request has arrived.
    pub(super) async fn client_gone(&self) {
        match &self.stream {
            Some(stream) => stream.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Waits for a place among those of a pool, of which the client has its share. Errors: there is none within `limits.wait_time`.
    pub(super) async fn place(&self, pool: &Pool) -> Result<PoolPermit, Problem> {
        let place = timeout(self.service.limits.wait_time, pool.acquire(&self.client, 1)).await;
        place.map_err(|_| Problem::busy())?.map_err(|_| Problem::busy())
    }

    /// Waits for a place to make an answer with so many persons of KRR, which takes microseconds for each; answers with few need
    /// none. Errors: there is none within `limits.wait_time`.
    pub(super) async fn place_for_persons(&self, persons: usize) -> Result<Option<PoolPermit>, Problem> {
        const MANY: usize = 100;
        if persons < MANY { Ok(None) } else { self.place(&self.service.answers).await.map(Some) }
    }

    /// Counts the ids of a request. Errors: the client has reached its limit.
    pub(super) fn count_ids(&self, ids: usize) -> Result<(), Problem> {
        self.service.clients.count_ids(&self.client, ids)
    }
}
