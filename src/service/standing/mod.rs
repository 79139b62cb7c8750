//! Whether the caller of a request that takes long may still get its response.
//!
//! A request is authenticated when it begins. Streamed lines, a download, a long list or a request that waits for changes
//! may go on for hours after that, while the token expires, its key is withdrawn or the certificate is revoked. So the
//! credentials of a request in progress are verified again every second, exactly as those of a new request, and the
//! request ends when a new one would be refused.

use super::caller::{AuthenticationError, Caller};
use super::connection::Connection;
use super::problem::Problem;
use super::response::BodyWatch;
use super::state::Service;
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Time between verifications of the credentials of a request in progress.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The credentials of a request in progress.
pub(super) struct Standing {
    service: Arc<Service>,
    connection: Arc<Connection>,
    /// The `Authorization` headers of the request.
    headers: HeaderMap,
    caller: Caller,
}

impl Standing {
    /// The credentials of a request; `None` if authentication is off or the request has no caller.
    pub(super) fn new(
        service: &Arc<Service>,
        connection: &Arc<Connection>,
        headers: &HeaderMap,
        caller: &Caller,
    ) -> Option<Arc<Standing>> {
        caller.organisation()?;
        let given = headers.get_all(AUTHORIZATION).iter();
        Some(Arc::new(Standing {
            service: Arc::clone(service),
            connection: Arc::clone(connection),
            headers: given.map(|value| (AUTHORIZATION, value.clone())).collect(),
            caller: caller.clone(),
        }))
    }

    /// Authenticates the caller again. Errors: a new request would be refused, or have another caller.
    ///
    /// Cost: that of verifying a token; of a certificate, a lock.
    fn check(&self) -> Result<(), AuthenticationError> {
        let credentials = &self.service.credentials;
        let peer = self.connection.peer(credentials).map_err(AuthenticationError::Certificate)?;
        match credentials.authenticate(&peer, &self.headers)? == self.caller {
            true => Ok(()),
            false => Err(AuthenticationError::OtherCaller),
        }
    }

    /// As [`check`](Self::check); the log has the reason.
    fn verify(&self, request_id: &str, endpoint: &str) -> Result<(), Problem> {
        self.check().map_err(|error| {
            let address = self.connection.unverified().address;
            tracing::info!(request_id, endpoint, %address, reason = %error, "no longer authenticated");
            Problem::from(&error)
        })
    }

    /// Waits until the caller is no longer accepted.
    pub(super) async fn lost(&self, request_id: &str, endpoint: &str) -> Problem {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(problem) = self.verify(request_id, endpoint) {
                return problem;
            }
        }
    }

    /// Ends a body that is being sent when the caller is no longer accepted, after `note`.
    pub(super) fn watch(
        self: Arc<Self>,
        request_id: String,
        endpoint: &'static str,
        note: impl Fn(&Problem) + Send + 'static,
    ) -> BodyWatch {
        BodyWatch::new(INTERVAL, move || {
            self.verify(&request_id, endpoint).map_err(|problem| {
                note(&problem);
                io::Error::new(io::ErrorKind::PermissionDenied, "the caller is no longer accepted")
            })
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
