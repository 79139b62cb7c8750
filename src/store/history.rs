//! The changes that a data directory still has.

use super::StoreError;
use super::format::SEGMENT_HEAD_BYTES;
use super::load::{Place, Position, place};
use super::names;
use super::walk::Walk;
use crate::changes::Change;
use crate::changes::encoding::Decoder;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of log between the places that are kept.
const KEPT_EVERY: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// The log of a data directory, for those who read it again and again: it keeps in mind where in it which
/// changes are, some hundred bytes for each MiB that has been read.
pub struct Log {
    place: Place,
    /// Places between frames, by the sequence number there.
    places: Mutex<BTreeMap<u64, Position>>,
}

/// Changes in their order; see [`changes`].
pub struct History {
    log: Arc<Log>,
    walk: Walk,
    /// The changes of the frame in hand.
    changes: std::vec::IntoIter<Change>,
    after: u64,
}

/// The changes of a data directory after a sequence number, as far as they are durable or written now.
///
/// Errors: they are gone; the log is damaged.
pub fn changes(directory: &Path, after: u64) -> Result<History, StoreError> {
    Log::new(directory).changes(after)
}

impl Log {
    /// Of a data directory; nothing is read yet.
    pub fn new(directory: &Path) -> Arc<Log> {
        Log::of(&place(directory))
    }

    pub(crate) fn of(place: &Place) -> Arc<Log> {
        Arc::new(Log { place: place.clone(), places: Mutex::default() })
    }

    /// The changes after a sequence number, as far as they are durable or written now.
    ///
    /// Errors: they are gone; the log is damaged.
    pub fn changes(self: &Arc<Log>, after: u64) -> Result<History, StoreError> {
        let segments = self.place.contents()?.segments;
        let oldest = *segments.first().ok_or_else(|| StoreError::NotOne(self.place.path.clone()))?;
        let first = segments.iter().rposition(|&segment| segment <= after);
        let first = first.ok_or(StoreError::Gone { asked: after, oldest })?;
        let kept = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.retain(|_, place| place.segment >= oldest);
            places.range(..=after).next_back().map(|(_, place)| place.clone())
        };
        let walk = match kept.filter(|place| place.segment == segments[first]) {
            Some(position) => Walk::resume(&self.place, position, &segments[first + 1..])?,
            None => Walk::new(&self.place, &segments[first..], None),
        };
        Ok(History { log: Arc::clone(self), walk, changes: Vec::new().into_iter(), after })
    }

    /// Keeps a place in mind, unless there is another one shortly before it.
    fn keep(&self, position: &Position) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let before = places.range(..=position.sequence).next_back();
        let near = match before {
            Some((_, place)) if place.segment == position.segment => place.bytes,
            _ => SEGMENT_HEAD_BYTES as u64,
        };
        if position.bytes >= near + KEPT_EVERY {
            places.insert(position.sequence, position.clone());
        }
    }
}

impl History {
    fn advance(&mut self) -> Result<Option<Change>, StoreError> {
        loop {
            if let Some(change) = self.changes.find(|change| change.sequence() > self.after) {
                return Ok(Some(change));
            }
            let Some(step) = self.walk.next()? else { return Ok(None) };
            self.log.keep(&self.walk.position);
            let frame = &step.frame;
            if frame.to <= self.after {
                continue;
            }
            let decoded: Option<Vec<Change>> = Decoder::new(step.payload(), frame.after).collect();
            let name = names::segment(self.walk.position.segment);
            let start = frame.payload.start as u64;
            let unreadable = || self.log.place.damaged(&name, start, "a change cannot be read");
            self.changes = decoded.ok_or_else(unreadable)?.into_iter();
        }
    }
}

impl Iterator for History {
    type Item = Result<Change, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Lines, Writer, init};
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    /// Wherever reading begins, and whatever places are kept by then, the same changes are read.
    #[test]
    fn a_log_is_read_from_anywhere() {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("far");
        init(&fixture("far"), &data).expect("a data directory");
        let writer = Writer::open(&data).expect("a writer");
        let text = std::fs::read(fixture("changes/far.jsonl")).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        for (place, batch) in lines.chunks(7).enumerate() {
            if place == 20 {
                writer.checkpoint(true).expect("a checkpoint");
            }
            writer.apply(Lines::parse(&batch.concat(), writer.kind()), false).expect("applied");
        }
        let all: Vec<Change> = changes(&data, 1000).and_then(Iterator::collect).expect("changes");
        assert_eq!(all.len(), lines.len());
        let log = Log::new(&data);
        let afters = (1000..=1000 + all.len() as u64).rev().chain([1000, 1001, 1150, 1299]);
        for after in afters {
            let read: Vec<Change> = log.changes(after).and_then(Iterator::collect).expect("changes");
            assert_eq!(read, all[(after - 1000) as usize..], "after {after}");
        }
        assert!(log.places.lock().expect("no panic").len() > 3);
        assert!(matches!(log.changes(999), Err(StoreError::Gone { asked: 999, oldest: 1000 })));
    }
}
