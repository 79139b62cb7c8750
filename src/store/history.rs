//! The changes that a data directory still has.

use super::StoreError;
use super::format::{self, FRAME_HEAD_BYTES, Frame, SEGMENT_HEAD_BYTES, Sum};
use super::load::{Place, Position, place};
use super::names;
use super::walk::{Step, Walk};
use crate::changes::Change;
use crate::changes::encoding::{Decoder, encode};
use rayon::prelude::*;
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
    /// The furthest place: whoever follows asks for what comes behind it.
    end: Mutex<Option<Position>>,
}

/// Changes in their order; see [`changes`].
pub struct History {
    log: Arc<Log>,
    walk: Walk,
    /// The changes of the frame in hand.
    changes: std::vec::IntoIter<Change>,
    after: u64,
}

/// Frames that follow one another, outside of a log.
struct Frames {
    bytes: Vec<u8>,
    to: u64,
    sum: Sum,
}

impl Frames {
    fn after(after: u64) -> Frames {
        Frames { bytes: Vec::new(), to: after, sum: [0; 32] }
    }

    fn add(&mut self, to: u64, changes: u32, payload: &[u8]) {
        let mut frame = Vec::with_capacity((FRAME_HEAD_BYTES + payload.len()).next_multiple_of(8));
        frame.resize(FRAME_HEAD_BYTES, 0);
        frame.extend_from_slice(payload);
        self.sum = format::seal_frame(&mut frame, self.to, to, changes, 0, &self.sum);
        self.bytes.append(&mut frame);
        self.to = to;
    }

    /// Those changes of a frame that follow and are wanted. `None` if they cannot be read.
    fn add_part(&mut self, step: &Step, until: u64, most: usize, bytes: usize) -> Option<()> {
        let (mut part, mut to, mut changes) = (Vec::new(), self.to, 0);
        for change in Decoder::new(step.payload(), step.frame.after) {
            let change = change?;
            if change.sequence() <= self.to {
                continue;
            }
            if change.sequence() > until || changes == most || part.len() >= bytes {
                break;
            }
            encode(&change, &mut part);
            (to, changes) = (change.sequence(), changes + 1);
        }
        self.add(to, changes as u32, &part);
        Some(())
    }
}

/// The changes of frames that [`Log::frames`] made, which follow `after`. `None` if they are not.
pub fn changes_of_frames(bytes: &[u8], after: u64) -> Option<Vec<Change>> {
    let (mut at, mut to, mut sum) = (0, after, [0; 32]);
    let mut payloads = Vec::new();
    while at < bytes.len() {
        let frame = format::frame_at(bytes, at, to, &sum)?;
        payloads.push(frame.clone());
        (at, to, sum) = (frame.end(), frame.to, frame.sum);
    }
    let decoded = payloads.par_iter().map(|frame| {
        let changes: Option<Vec<Change>> = Decoder::new(&bytes[frame.payload.clone()], frame.after).collect();
        changes.filter(|changes| changes.len() == frame.changes as usize)
    });
    Some(decoded.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
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
        Arc::new(Log { place: place.clone(), places: Mutex::default(), end: Mutex::default() })
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
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = end.filter(|place| place.sequence <= after);
        let kept = [kept, end].into_iter().flatten().filter(|place| place.segment == segments[first]);
        let walk = match kept.max_by_key(|place| place.sequence) {
            Some(position) => Walk::resume(&self.place, position, &segments[first + 1..])?,
            None => Walk::new(&self.place, &segments[first..], None),
        };
        Ok(History { log: Arc::clone(self), walk, changes: Vec::new().into_iter(), after })
    }

    /// The same as frames that follow one another, for whoever sends them on: from `after` up to `until`, at most so
    /// many changes, and no more after so many bytes. Returns the sequence number of the last one too.
    ///
    /// The frames are those of the log, of which only the first and the last may be cut; their sums begin with zeros.
    /// Errors: as [`changes`](Self::changes).
    pub fn frames(
        self: &Arc<Log>,
        after: u64,
        until: u64,
        most: usize,
        bytes: usize,
    ) -> Result<(Vec<u8>, u64), StoreError> {
        let mut frames = Frames::after(after);
        let (mut walk, mut left) = (self.changes(after)?.walk, most);
        while left > 0
            && frames.bytes.len() < bytes
            && frames.to < until
            && let Some(step) = walk.next()?
        {
            self.keep(&walk.position);
            let Frame { after: before, to, changes, .. } = step.frame;
            if to <= after {
                continue;
            }
            let fits = before == frames.to && to <= until && changes as usize <= left;
            if fits && step.payload().len() <= bytes {
                frames.add(to, changes, step.payload());
            } else {
                let name = names::segment(walk.position.segment);
                let at = step.frame.payload.start as u64;
                let unreadable = || self.place.damaged(&name, at, "a change cannot be read");
                frames.add_part(&step, until, left, bytes).ok_or_else(unreadable)?;
            }
            if frames.to < to {
                break;
            }
            left = left.saturating_sub(changes as usize);
        }
        Ok((frames.bytes, frames.to))
    }

    /// Keeps a place in mind, unless there is another one shortly before it.
    fn keep(&self, position: &Position) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.as_ref().is_none_or(|end| end.sequence < position.sequence) {
            *end = Some(position.clone());
        }
        drop(end);
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
        for (most, bytes) in [(1000, 1 << 20), (1, 1 << 20), (10, 1 << 20), (1000, 100), (7, 1000)] {
            let (mut read, mut until) = (Vec::new(), 1000);
            while until < 1300 {
                let (bytes, to) = log.frames(until, 1299.max(until + 1), most, bytes).expect("frames");
                let changes = changes_of_frames(&bytes, until).expect("the same");
                assert!(!changes.is_empty() && changes.len() <= most);
                assert_eq!(changes.last().map(Change::sequence), Some(to));
                assert!(changes_of_frames(&bytes, until + 1).is_none());
                read.extend(changes);
                until = to;
            }
            assert_eq!(read, all);
        }
        assert!(log.places.lock().expect("no panic").len() > 3);
        assert!(matches!(log.changes(999), Err(StoreError::Gone { asked: 999, oldest: 1000 })));
    }
}
