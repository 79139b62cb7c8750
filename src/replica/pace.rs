//! The least rate of a transfer. A limit on the time of a single read does not end a transfer that sends a byte in each
//! (TUF: slow retrieval).

use crate::limits::{REPLICA_GRACE_SECONDS, REPLICA_RATE_MIN};
use std::io;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A transfer may take `grace`, and a second for each `bytes_per_second` bytes that it has brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaceLimit {
    pub(crate) grace: Duration,
    pub(crate) bytes_per_second: u64,
}

impl Default for PaceLimit {
    fn default() -> PaceLimit {
        PaceLimit { grace: Duration::from_secs(REPLICA_GRACE_SECONDS), bytes_per_second: REPLICA_RATE_MIN }
    }
}

/// The time that a transfer has waited, and what it has brought.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: PaceLimit,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(limit: PaceLimit) -> Pace {
        Pace { limit, waited: Duration::ZERO, bytes: 0 }
    }

    /// The time that may still be waited; `None` if there is none left.
    fn left(&self) -> Option<Duration> {
        let earned = Duration::from_secs_f64(self.bytes as f64 / self.limit.bytes_per_second.max(1) as f64);
        (self.limit.grace + earned).checked_sub(self.waited).filter(|left| !left.is_zero())
    }

    /// Waits for the next bytes of a transfer. The time that passes between the calls does not count: a slow disk is
    /// not the source's fault.
    ///
    /// Errors: those of `next`; the transfer is slower than the limit.
    pub(crate) async fn next<T: AsRef<[u8]>>(
        &mut self,
        next: impl Future<Output = io::Result<Option<T>>>,
    ) -> io::Result<Option<T>> {
        let began = Instant::now();
        let received = match self.left() {
            None => return Err(self.too_slow()),
            Some(left) => timeout(left, next).await.map_err(|_| self.too_slow())??,
        };
        self.waited += began.elapsed();
        self.bytes += received.as_ref().map_or(0, |received| received.as_ref().len() as u64);
        Ok(received)
    }

    fn too_slow(&self) -> io::Error {
        let (bytes, rate) = (self.bytes, self.limit.bytes_per_second);
        let text =
            format!("it is too slow: {bytes} bytes so far, and at least {rate} per second are expected");
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_earns_its_time() {
        let limit = PaceLimit { grace: Duration::from_secs(60), bytes_per_second: 1000 };
        let left = |waited, bytes| Pace { limit, waited: Duration::from_secs(waited), bytes }.left();
        assert_eq!(left(0, 0), Some(Duration::from_secs(60)));
        assert_eq!(left(59, 0), Some(Duration::from_secs(1)));
        assert_eq!(left(60, 0), None);
        // A byte a second, for an hour.
        assert_eq!(left(61, 61), None);
        assert_eq!(left(3600, 3600), None);
        assert_eq!(left(3600, 3_600_000), Some(Duration::from_secs(60)));
        assert_eq!(
            left(3600, u64::MAX / 1000),
            left(0, u64::MAX / 1000).map(|all| all - Duration::from_secs(3600))
        );
    }

    #[test]
    fn a_source_that_falls_silent_is_left() {
        let runtime = crate::replica::client::runtime().expect("a runtime");
        runtime.block_on(async {
            let limit = PaceLimit { grace: Duration::from_millis(20), bytes_per_second: 1 << 40 };
            let mut pace = Pace::new(limit);
            let sent = async { Ok(Some([0u8; 4])) };
            assert_eq!(pace.next(sent).await.expect("in time"), Some([0; 4]));
            let silent = std::future::pending::<io::Result<Option<Vec<u8>>>>();
            let error = pace.next(silent).await.expect_err("silence");
            assert!(error.to_string().contains("too slow: 4 bytes so far"), "{error}");
        });
    }
}
