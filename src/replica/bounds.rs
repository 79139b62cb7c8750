//! What a source may say at most. A signature shows who said something, not that it is possible: a stolen key, or a
//! source without one, must not be able to fill a disk, or to take a replica to a sequence number from which it can
//! never go on (TUF: endless data, fast-forward).

use super::{ChangeBatch, FollowError, Offer, Part};
use crate::changes::Change;
use crate::limits::{
    REPLICA_CHANGES_MAX, REPLICA_FILE_BYTES_MAX, REPLICA_SEQUENCE_AHEAD_MAX, REPLICA_SEQUENCE_FIRST_MAX,
    REPLICA_TIME_AHEAD_SECONDS_MAX,
};
use crate::register::Kind;
use jiff::{SignedDuration, Timestamp};

fn refused(why: String) -> FollowError {
    FollowError::Untrusted(why)
}

/// Checks that a sequence number is not too far above the last known one; `None` if there is none yet.
fn check_sequence(known: Option<u64>, found: u64) -> Result<(), FollowError> {
    let max = match known {
        Some(known) => known.saturating_add(REPLICA_SEQUENCE_AHEAD_MAX),
        None => REPLICA_SEQUENCE_FIRST_MAX,
    };
    match found <= max {
        true => Ok(()),
        false => Err(refused(format!("it is at sequence {found}, and at most {max} is possible"))),
    }
}

/// Checks that a time is not too far ahead of the clock.
pub(super) fn check_time(now: Timestamp, found: Timestamp) -> Result<(), FollowError> {
    match found.duration_since(now) <= SignedDuration::from_secs(REPLICA_TIME_AHEAD_SECONDS_MAX) {
        true => Ok(()),
        false => {
            let hours = REPLICA_TIME_AHEAD_SECONDS_MAX / 3600;
            Err(refused(format!("its data is from {found}, more than {hours} hours ahead of this clock")))
        }
    }
}

/// Checks an offered register file before its first byte is requested. `known` is the last known sequence number.
pub(super) fn check_offer(offer: &Offer, known: Option<u64>) -> Result<(), FollowError> {
    let Offer { register, digest, bytes, sequence, latest } = offer;
    if digest.len() != 64 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        // It becomes part of a file name.
        return Err(refused("the digest of the register file is malformed".to_owned()));
    }
    if kind_of(register).is_none() {
        return Err(refused("the name of its register is malformed".to_owned()));
    }
    if *bytes > REPLICA_FILE_BYTES_MAX {
        let max = REPLICA_FILE_BYTES_MAX;
        return Err(refused(format!("its register file has {bytes} bytes, and at most {max} are accepted")));
    }
    if sequence > latest {
        return Err(refused("its register file is newer than the register".to_owned()));
    }
    check_sequence(known, *latest)
}

/// Checks changes before any of them is applied to a replica at sequence number `here`.
pub(super) fn check_batch(batch: &ChangeBatch, here: u64, now: Timestamp) -> Result<(), FollowError> {
    // A batch of a stream consists of several messages.
    if batch.changes.len() > 2 * REPLICA_CHANGES_MAX {
        let count = batch.changes.len();
        return Err(refused(format!("it has {count} changes, more than were requested")));
    }
    let last = batch.changes.last().map_or(here, Change::sequence);
    if last != batch.to {
        let to = batch.to;
        return Err(refused(format!("its changes end at sequence {last}, and it states {to}")));
    }
    check_sequence(Some(here), batch.to.max(batch.latest))?;
    let newest = batch.changes.iter().map(Change::time).max();
    newest.map_or(Ok(()), |newest| check_time(now, newest))
}

/// The kind of the register that a source names: `far` or `krr`, for a part followed by a space and the part.
pub(super) fn kind_of(register: &str) -> Option<Kind> {
    let (kind, part) = register.split_once(' ').map_or((register, None), |(kind, part)| (kind, Some(part)));
    let kind = [Kind::Far, Kind::Krr].into_iter().find(|known| known.name() == kind)?;
    let is_part = |part: &str| part.parse::<Part>().is_ok_and(|part| part.is_of(kind));
    part.is_none_or(is_part).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        let (register, digest) = ("far operator:164921000016".to_owned(), "0a".repeat(32));
        Offer { register, digest, bytes: 1, sequence: 5, latest: 7 }
    }

    #[test]
    fn offers_have_limits() {
        let ahead = REPLICA_SEQUENCE_AHEAD_MAX;
        let latest = |latest| Offer { latest, ..offer() };
        for (good, known) in [
            (offer(), None),
            (latest(REPLICA_SEQUENCE_FIRST_MAX), None),
            (latest(7 + ahead), Some(7)),
            (Offer { bytes: REPLICA_FILE_BYTES_MAX, ..offer() }, Some(0)),
            (Offer { register: "krr".to_owned(), ..offer() }, None),
        ] {
            assert!(check_offer(&good, known).is_ok(), "{good:?}");
        }
        let text = |digest: &str| Offer { digest: digest.to_owned(), ..offer() };
        let named = |register: &str| Offer { register: register.to_owned(), ..offer() };
        let traversal = format!("../{}", "0".repeat(61));
        for (bad, known) in [
            (latest(REPLICA_SEQUENCE_FIRST_MAX + 1), None),
            (latest(u64::MAX), None),
            (latest(8 + ahead), Some(7)),
            (latest(u64::MAX), Some(u64::MAX - ahead - 1)),
            (latest(4), None),
            (Offer { bytes: REPLICA_FILE_BYTES_MAX + 1, ..offer() }, None),
            (text(""), None),
            (text(&traversal), None),
            (text(&"0A".repeat(32)), None),
            (named(""), None),
            (named("far\n"), None),
            (named("far operator:1"), None),
            (named("krr dispatcher:984661185"), None),
        ] {
            assert!(matches!(check_offer(&bad, known), Err(FollowError::Untrusted(_))), "{bad:?}");
        }
    }

    #[test]
    fn times_may_be_a_day_ahead() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        for (time, good) in [
            ("1970-01-01T00:00:00Z", true),
            ("2026-06-02T00:00:00Z", true),
            ("2026-06-02T00:00:01Z", false),
            ("2261-01-01T00:00:00Z", false),
        ] {
            assert_eq!(check_time(now, time.parse().expect("a time")).is_ok(), good, "{time}");
        }
    }

    #[test]
    fn batches_have_limits() {
        let now = Timestamp::now();
        let batch = |to, latest| ChangeBatch {
            register: "far".to_owned(),
            changes: Vec::new(),
            to,
            latest,
            content: None,
        };
        assert!(check_batch(&batch(7, 7), 7, now).is_ok());
        assert!(check_batch(&batch(7, 7 + REPLICA_SEQUENCE_AHEAD_MAX), 7, now).is_ok());
        for (to, latest) in
            [(8, 8), (6, 7), (7, 8 + REPLICA_SEQUENCE_AHEAD_MAX), (7, u64::MAX), (u64::MAX, 7)]
        {
            assert!(check_batch(&batch(to, latest), 7, now).is_err(), "{to} {latest}");
        }
    }
}
