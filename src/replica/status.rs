//! How a replica is doing, for metrics and readiness.

use super::{Event, FollowerLink};
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// The state of a replica, from its events. Threads may read it while another one notes events.
#[derive(Debug, Default)]
pub struct FollowStatus {
    source_sequence: AtomicU64,
    /// Whether the source has stated it.
    knows_source: AtomicBool,
    sequence: AtomicU64,
    /// Milliseconds since 1970; 0 before the first contact.
    last_contact: AtomicI64,
    connected: AtomicBool,
    failed: AtomicU64,
    /// Bytes of the register file that is being downloaded, at most so far.
    downloaded: AtomicU64,
    ended: AtomicBool,
    link: FollowerLink,
}

impl FollowStatus {
    /// Notes an event.
    pub fn note(&self, event: &Event) {
        match event {
            Event::Progress(at, latest) | Event::Loading(at, latest) => {
                self.sequence.store(*at, Ordering::Relaxed);
                self.source_sequence.store(*latest, Ordering::Relaxed);
                self.knows_source.store(true, Ordering::Release);
                self.downloaded.store(0, Ordering::Relaxed);
                self.in_contact();
            }
            // A file that is refused and downloaded again and again is no contact.
            Event::Downloading(here, _) if self.downloaded.fetch_max(*here, Ordering::Relaxed) >= *here => {}
            Event::Downloading(..) | Event::Reconnected => self.in_contact(),
            Event::Open(sequence) => self.sequence.store(*sequence, Ordering::Relaxed),
            Event::AttemptFailed => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.connected.store(false, Ordering::Relaxed);
            }
            Event::Behind
            | Event::Diverged(_)
            | Event::Damaged(_)
            | Event::Waiting(_)
            | Event::BadFile(_)
            | Event::Untrusted(_)
            | Event::Silent(_) => {}
        }
    }

    /// Notes that following has ended.
    pub fn note_end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.connected.store(false, Ordering::Relaxed);
    }

    fn in_contact(&self) {
        self.last_contact.store(Timestamp::now().as_millisecond(), Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
    }

    /// Connects the follower with readers in the same process.
    pub fn link(&self) -> FollowerLink {
        self.link.clone()
    }

    /// Last known sequence number of the source; `None` before it has stated one.
    pub fn source_sequence(&self) -> Option<u64> {
        self.knows_source.load(Ordering::Acquire).then(|| self.source_sequence.load(Ordering::Relaxed))
    }

    /// Sequence number of the replica.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Time of the last valid response of the source.
    pub fn last_contact(&self) -> Option<Timestamp> {
        let milliseconds = self.last_contact.load(Ordering::Relaxed);
        Timestamp::from_millisecond(milliseconds).ok().filter(|_| milliseconds != 0)
    }

    /// Whether the last attempt succeeded.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Number of attempts that failed.
    pub fn failed_attempts(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the register is followed, and the source has answered within some time.
    pub fn is_followed(&self, max_silence: SignedDuration) -> bool {
        let silence = self.last_contact().map(|last| Timestamp::now().duration_since(last));
        !self.ended.load(Ordering::Relaxed) && silence.is_some_and(|silence| silence <= max_silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_followed_while_it_answers() {
        let (status, minute) = (FollowStatus::default(), SignedDuration::from_mins(1));
        assert!(!status.is_followed(minute), "nothing is known yet");
        status.note(&Event::Open(7));
        assert!(!status.is_followed(minute), "the directory was opened without the source");
        // A source that no longer has the changes, and begins to send its register file.
        status.note(&Event::Behind);
        status.note(&Event::Downloading(0, 20));
        assert_eq!(status.source_sequence(), None, "0 is a number, and it has stated none");
        status.note(&Event::Progress(8, 9));
        assert!(status.is_followed(minute) && status.is_connected());
        assert_eq!((status.sequence(), status.source_sequence()), (8, Some(9)));
        status.note(&Event::AttemptFailed);
        assert!(status.is_followed(minute) && !status.is_connected(), "it may be away for a minute");
        assert!(!status.is_followed(SignedDuration::from_secs(-1)));
        status.note(&Event::Reconnected);
        assert_eq!((status.is_connected(), status.failed_attempts()), (true, 1));
        // A file that is refused, and downloaded again.
        for (here, connected) in [(9, true), (10, true), (4, false), (10, false), (11, true)] {
            status.note(&Event::AttemptFailed);
            status.note(&Event::Downloading(here, 20));
            assert_eq!(status.is_connected(), connected, "{here} bytes");
        }
        status.note_end();
        assert!(!status.is_followed(minute) && !status.is_connected());
    }
}
