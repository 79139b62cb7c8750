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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of log between the places that are kept.
const KEPT_EVERY: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// The log of a data directory, for those who read it again and again: it keeps in mind where in it which
/// changes are, some hundred bytes for each MiB that has been read.
pub struct Log {
    place: Place,
    known: Mutex<Known>,
}

/// Places in a log that are known.
#[derive(Default)]
struct Known {
    /// The directory that has them.
    identity: Option<(u64, u64)>,
    /// Places between frames, by the sequence number there.
    places: BTreeMap<u64, Position>,
    /// The furthest place: whoever follows asks for what comes behind it.
    end: Option<Position>,
}

/// Changes in their order; see [`changes`].
pub struct History {
    log: Arc<Log>,
    /// The directory that is read.
    identity: (u64, u64),
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
    let decoded = |frame: &Frame| {
        let changes: Option<Vec<Change>> = Decoder::new(&bytes[frame.payload.clone()], frame.after).collect();
        changes.filter(|changes| changes.len() == frame.changes as usize)
    };
    match &payloads[..] {
        // Most often there is one: waking other cores takes longer.
        [frame] => decoded(frame),
        frames => {
            Some(frames.par_iter().map(decoded).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
    }
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
        Arc::new(Log { place: place.clone(), known: Mutex::default() })
    }

    /// The changes after a sequence number, as far as they are durable or written now.
    ///
    /// Errors: they are gone; the log is damaged.
    pub fn changes(self: &Arc<Log>, after: u64) -> Result<History, StoreError> {
        let identity = self.place.identity()?;
        let segments = self.place.contents()?.segments;
        let oldest = *segments.first().ok_or_else(|| StoreError::NotOne(self.place.path.clone()))?;
        let first = segments.iter().rposition(|&segment| segment <= after);
        let first = first.ok_or(StoreError::Gone { asked: after, oldest })?;
        let kept = self.known().before(after, oldest, identity);
        let walk = match kept.filter(|place| place.segment == segments[first]) {
            Some(position) => Walk::resume(&self.place, position, &segments[first + 1..])?,
            None => Walk::new(&self.place, &segments[first..], None),
        };
        Ok(History { log: Arc::clone(self), identity, walk, changes: Vec::new().into_iter(), after })
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
        let History { mut walk, identity, .. } = self.changes(after)?;
        let mut left = most;
        while left > 0
            && frames.bytes.len() < bytes
            && frames.to < until
            && let Some(step) = walk.next()?
        {
            self.known().keep(&walk.position, identity);
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

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The last place in a directory that is not behind a sequence number. `oldest` is its first segment.
    fn before(&mut self, after: u64, oldest: u64, identity: (u64, u64)) -> Option<Position> {
        if self.identity != Some(identity) {
            *self = Known { identity: Some(identity), ..Known::default() };
        }
        self.places.retain(|_, place| place.segment >= oldest);
        let kept = self.places.range(..=after).next_back().map(|(_, place)| place);
        let end = self.end.as_ref().filter(|place| place.sequence <= after);
        kept.into_iter().chain(end).max_by_key(|place| place.sequence).cloned()
    }

    /// Keeps a place in mind, but of those shortly behind another one only the last of all.
    fn keep(&mut self, position: &Position, identity: (u64, u64)) {
        if self.identity != Some(identity) {
            return;
        }
        if self.end.as_ref().is_none_or(|end| end.sequence < position.sequence) {
            self.end = Some(position.clone());
        }
        let before = self.places.range(..=position.sequence).next_back();
        let near = match before {
            Some((_, place)) if place.segment == position.segment => place.bytes,
            _ => SEGMENT_HEAD_BYTES as u64,
        };
        if position.bytes >= near + KEPT_EVERY {
            self.places.insert(position.sequence, position.clone());
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
            self.log.known().keep(&self.walk.position, self.identity);
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
    use crate::store::{Lines, Reader, Writer, init};
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
            writer.apply(Lines::parse(&batch.concat(), writer.kind()), None).expect("applied");
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
        assert!(log.known().places.len() > 3);
        assert!(matches!(log.changes(999), Err(StoreError::Gone { asked: 999, oldest: 1000 })));
    }

    /// Another directory under the same name, whose log has other changes at the same places: whoever reads it goes
    /// over to it, whatever they had read of the one before.
    #[test]
    fn another_directory_takes_its_place() {
        let directory = tempfile::tempdir().expect("directory");
        let [data, old, new] = ["far", "old", "new"].map(|name| directory.path().join(name));
        let text = std::fs::read(fixture("changes/far.jsonl")).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        let fill = |path: &Path, batch: usize| {
            init(&fixture("far"), path).expect("a data directory");
            let writer = Writer::open(path).expect("a writer");
            for batch in lines.chunks(batch) {
                writer.apply(Lines::parse(&batch.concat(), writer.kind()), None).expect("applied");
            }
        };
        fill(&data, 100);
        fill(&new, 7);
        let (log, mut reader) = (Log::new(&data), Reader::open(&data).expect("a reader"));
        let read = || -> Vec<Change> { log.changes(1200).and_then(Iterator::collect).expect("changes") };
        let before = read();
        assert!(!reader.refresh().expect("nothing new"));
        std::fs::rename(&data, &old).expect("renamed");
        assert!(matches!(reader.refresh(), Err(StoreError::NotOne(_))));
        std::fs::rename(&new, &data).expect("renamed");
        assert!(reader.refresh().expect("another directory"));
        assert!(!reader.refresh().expect("nothing new"));
        assert_eq!(read(), before);
        // What cannot be read is read anew as soon as it can.
        let segment = data.join(names::segment(1000));
        let bytes = std::fs::read(&segment).expect("a segment");
        std::fs::remove_file(&segment).expect("removed");
        assert!(reader.refresh().is_err());
        std::fs::write(&segment, bytes).expect("written");
        assert!(reader.refresh().expect("whole again"));
        assert_eq!(reader.register().sequence(), 1000 + lines.len() as u64);
    }
}
