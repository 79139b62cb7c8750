//! Reading changes from the log of a data directory.

use super::directory::DataDirectory;
use super::error::StoreError;
use super::format::{self, FRAME_HEAD_BYTES, Frame, SEGMENT_HEAD_BYTES, Sum};
use super::log::{LogPosition, LogReader};
use crate::changes::Change;
use crate::changes::encoding::{ChangeDecoder, encode};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Distance between remembered positions in the log.
const POSITION_EVERY_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// The log of a data directory, for repeated reading: it remembers positions, some hundred bytes for each MiB read.
pub struct Log {
    directory: DataDirectory,
    known: Mutex<KnownPositions>,
}

#[derive(Default)]
struct KnownPositions {
    /// Device and inode of the directory.
    identity: Option<(u64, u64)>,
    /// By sequence number.
    positions: BTreeMap<u64, LogPosition>,
    /// The furthest position, from which a follower reads next.
    end: Option<LogPosition>,
}

/// Changes in order; see [`changes`].
pub struct History {
    log: Arc<Log>,
    /// Device and inode of the directory.
    identity: (u64, u64),
    reader: LogReader,
    /// The rest of the current frame.
    changes: std::vec::IntoIter<Change>,
    after: u64,
    /// The sequence number that the log is known to reach; `None` if its end is unknown.
    until: Option<u64>,
}

/// Builds consecutive frames that begin with a sum of zeros, outside a log.
struct FrameBuilder {
    bytes: Vec<u8>,
    to: u64,
    sum: Sum,
}

impl FrameBuilder {
    fn after(after: u64) -> FrameBuilder {
        FrameBuilder { bytes: Vec::new(), to: after, sum: [0; 32] }
    }

    fn add(&mut self, to: u64, changes: u32, payload: &[u8]) {
        let mut frame = Vec::with_capacity((FRAME_HEAD_BYTES + payload.len()).next_multiple_of(8));
        frame.resize(FRAME_HEAD_BYTES, 0);
        frame.extend_from_slice(payload);
        self.sum = format::seal_frame(&mut frame, self.to, to, changes, 0, &self.sum);
        self.bytes.append(&mut frame);
        self.to = to;
    }

    /// Adds the changes of a frame after the last one, up to `until`, at most `most`, and none after `bytes` bytes.
    fn add_part(&mut self, changes: Vec<Change>, until: u64, most: usize, bytes: usize) {
        let (mut part, mut to, mut count) = (Vec::new(), self.to, 0);
        for change in changes {
            if change.sequence() <= self.to {
                continue;
            }
            if change.sequence() > until || count == most || part.len() >= bytes {
                break;
            }
            encode(&change, &mut part);
            (to, count) = (change.sequence(), count + 1);
        }
        self.add(to, count as u32, &part);
    }
}

/// The changes of frames that [`Log::frames`] made, at most `most`. `None` if the bytes are not such frames after
/// `after`, or contain more changes, or one that is not valid.
///
/// The number of changes is checked before any of them is decoded, so that few bytes cannot take much memory.
pub fn changes_of_frames(bytes: &[u8], after: u64, most: usize) -> Option<Vec<Change>> {
    let (mut at, mut to, mut sum, mut left) = (0, after, [0; 32], most);
    let mut frames = Vec::new();
    while at < bytes.len() {
        let frame = format::frame_at(bytes, at, to, &sum)?;
        left = left.checked_sub(frame.changes as usize)?;
        (at, to, sum) = (frame.end(), frame.to, frame.sum);
        frames.push(frame);
    }
    let decoded = |frame: &Frame| {
        let decoder = ChangeDecoder::new(&bytes[frame.payload.clone()], frame.after);
        // One more than there should be, and not as many as there are.
        let changes: Option<Vec<Change>> = decoder.take(frame.changes as usize + 1).collect();
        changes.filter(|changes| {
            let last = changes.last().map_or(frame.after, Change::sequence);
            (changes.len(), last) == (frame.changes as usize, frame.to)
        })
    };
    match &frames[..] {
        // The usual case: waking other cores takes longer.
        [frame] => decoded(frame),
        frames => {
            Some(frames.par_iter().map(decoded).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
    }
}

/// The changes of a data directory after a sequence number, up to the end of the log.
///
/// Errors: they are no longer in the log; the log is damaged.
pub fn changes(directory: impl AsRef<Path>, after: u64) -> Result<History, StoreError> {
    Log::new(directory).changes(after)
}

impl Log {
    /// The log of a data directory; nothing is read yet.
    pub fn new(directory: impl AsRef<Path>) -> Arc<Log> {
        Log::of(&DataDirectory::new(directory.as_ref()))
    }

    pub(super) fn of(directory: &DataDirectory) -> Arc<Log> {
        Arc::new(Log { directory: directory.clone(), known: Mutex::default() })
    }

    /// The changes after a sequence number, up to the end of the log.
    ///
    /// Errors: they are no longer in the log; the log is damaged.
    pub fn changes(self: &Arc<Log>, after: u64) -> Result<History, StoreError> {
        let identity = self.directory.identity()?;
        let segments = self.directory.contents()?.segments;
        let oldest = *segments.first().ok_or_else(|| StoreError::not_one(&self.directory.path))?;
        let first = segments.iter().rposition(|&segment| segment <= after);
        let first = first.ok_or(StoreError::Gone { asked: after, oldest })?;
        let reader = match self.resumed(after, &segments[first..], oldest, identity)? {
            Some(reader) => reader,
            None => LogReader::new(&self.directory, &segments[first..], None),
        };
        let changes = Vec::new().into_iter();
        Ok(History { log: Arc::clone(self), identity, reader, changes, after, until: None })
    }

    /// A reader at the last known position before a sequence number, if that is in the first of the segments.
    fn resumed(
        &self,
        after: u64,
        segments: &[u64],
        oldest: u64,
        identity: (u64, u64),
    ) -> Result<Option<LogReader>, StoreError> {
        let kept = self.known().before(after, oldest, identity);
        let Some(position) = kept.filter(|position| position.segment == segments[0]) else { return Ok(None) };
        let reader = LogReader::resume(&self.directory, position, &segments[1..])?;
        let is_current = reader.is_current()?;
        if !is_current {
            // The segment has been truncated or replaced: nothing would ever follow what was read.
            *self.known() = KnownPositions::default();
        }
        Ok(is_current.then_some(reader))
    }

    /// The changes after a sequence number, up to one that a reader of the directory has read and that is not lower.
    ///
    /// Errors: as [`changes`](Self::changes); a log that ends before `until` is damaged.
    pub fn changes_until(self: &Arc<Log>, after: u64, until: u64) -> Result<History, StoreError> {
        Ok(History { until: Some(until), ..self.changes(after)? })
    }

    /// Checks that all changes up to a sequence number can be read. Cost: reads and decodes the log.
    ///
    /// Errors: as [`changes_until`](Self::changes_until).
    #[cfg(feature = "service")]
    pub(crate) fn check(self: &Arc<Log>, until: u64) -> Result<(), StoreError> {
        let oldest = self.directory.contents()?.segments.first().copied();
        let oldest = oldest.ok_or_else(|| StoreError::not_one(&self.directory.path))?;
        self.changes_until(oldest, until)?.try_for_each(|change| change.map(drop))
    }

    /// The changes after `after` up to `until` as consecutive frames for a replica: at most `most` changes, and none
    /// after `bytes` bytes. Also returns the sequence number of the last one.
    ///
    /// The frames are those of the log, of which only the first and the last may be cut; their sums begin with zeros.
    /// Errors: as [`changes_until`](Self::changes_until).
    pub fn frames(
        self: &Arc<Log>,
        after: u64,
        until: u64,
        most: usize,
        bytes: usize,
    ) -> Result<(Vec<u8>, u64), StoreError> {
        let mut frames = FrameBuilder::after(after);
        let History { mut reader, identity, .. } = self.changes(after)?;
        let mut left = most;
        while left > 0 && frames.bytes.len() < bytes && frames.to < until {
            let read = reader.next()?.ok_or_else(|| reader.ends_before(until))?;
            self.known().keep(reader.position(), identity);
            let Frame { after: before, to, changes, .. } = read.frame;
            if to <= after {
                continue;
            }
            let fits = before == frames.to && to <= until && changes as usize <= left;
            if fits && read.payload().len() <= bytes {
                frames.add(to, changes, read.payload());
            } else {
                frames.add_part(read.changes(&self.directory)?, until, left, bytes);
            }
            if frames.to < to {
                break;
            }
            left = left.saturating_sub(changes as usize);
        }
        Ok((frames.bytes, frames.to))
    }

    fn known(&self) -> MutexGuard<'_, KnownPositions> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownPositions {
    /// The last known position at or before a sequence number. `oldest` is the first segment of the directory.
    fn before(&mut self, after: u64, oldest: u64, identity: (u64, u64)) -> Option<LogPosition> {
        if self.identity != Some(identity) {
            *self = KnownPositions { identity: Some(identity), ..KnownPositions::default() };
        }
        self.positions.retain(|_, position| position.segment >= oldest);
        let kept = self.positions.range(..=after).next_back().map(|(_, position)| position);
        let end = self.end.as_ref().filter(|position| position.sequence <= after);
        kept.into_iter().chain(end).max_by_key(|position| position.sequence).cloned()
    }

    /// Remembers a position if it is the furthest, or far enough from the one before it.
    fn keep(&mut self, position: &LogPosition, identity: (u64, u64)) {
        if self.identity != Some(identity) {
            return;
        }
        if self.end.as_ref().is_none_or(|end| end.sequence < position.sequence) {
            self.end = Some(position.clone());
        }
        let before = self.positions.range(..=position.sequence).next_back();
        let near = match before {
            Some((_, before)) if before.segment == position.segment => before.bytes,
            _ => SEGMENT_HEAD_BYTES as u64,
        };
        if position.bytes >= near + POSITION_EVERY_BYTES {
            self.positions.insert(position.sequence, position.clone());
        }
    }
}

impl History {
    fn advance(&mut self) -> Result<Option<Change>, StoreError> {
        loop {
            if let Some(change) = self.changes.find(|change| change.sequence() > self.after) {
                return Ok(
                    Some(change).filter(|change| self.until.is_none_or(|until| change.sequence() <= until))
                );
            }
            // What follows is not read: a batch may be in the middle of being written.
            if self.until.is_some_and(|until| self.reader.position().sequence >= until) {
                return Ok(None);
            }
            let Some(read) = self.reader.next()? else {
                // Before the first frame is read, the position of the reader is unknown.
                let missing = self.until.filter(|until| self.reader.position().sequence < *until);
                return missing.map_or(Ok(None), |until| Err(self.reader.ends_before(until)));
            };
            self.log.known().keep(self.reader.position(), self.identity);
            if read.frame.to <= self.after {
                continue;
            }
            self.changes = read.changes(&self.log.directory)?.into_iter();
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
    use crate::store::{Lines, Reader, Writer, init, names};
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    /// The changes do not depend on the first sequence number or on the remembered positions.
    #[test]
    fn a_log_is_read_from_any_sequence_number() {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("far");
        init(fixture("far"), &data).expect("a data directory");
        let writer = Writer::open(&data).expect("a writer");
        let text = std::fs::read(fixture("changes/far.jsonl")).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        for (index, batch) in lines.chunks(7).enumerate() {
            if index == 20 {
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
                let changes = changes_of_frames(&bytes, until, most).expect("the same");
                assert!(!changes.is_empty() && changes.len() <= most);
                assert_eq!(changes.last().map(Change::sequence), Some(to));
                assert!(changes_of_frames(&bytes, until + 1, most).is_none());
                assert!(changes_of_frames(&bytes, until, changes.len() - 1).is_none(), "one too many");
                read.extend(changes);
                until = to;
            }
            assert_eq!(read, all);
        }
        assert!(log.known().positions.len() > 3);
        assert!(matches!(log.changes(999), Err(StoreError::Gone { asked: 999, oldest: 1000 })));
    }

    /// Another directory under the same name, whose log has other batches at the same offsets: readers go over to it.
    #[test]
    fn readers_go_over_to_a_directory_that_replaces_theirs() {
        let directory = tempfile::tempdir().expect("directory");
        let [data, old, new] = ["far", "old", "new"].map(|name| directory.path().join(name));
        let text = std::fs::read(fixture("changes/far.jsonl")).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        let fill = |path: &Path, batch: usize| {
            init(fixture("far"), path).expect("a data directory");
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
        // After an error the directory is loaded again as soon as that is possible.
        let segment = data.join(names::segment(1000));
        let bytes = std::fs::read(&segment).expect("a segment");
        std::fs::remove_file(&segment).expect("removed");
        assert!(reader.refresh().is_err());
        std::fs::write(&segment, bytes).expect("written");
        assert!(reader.refresh().expect("whole again"));
        assert_eq!(reader.register().sequence(), 1000 + lines.len() as u64);
    }

    /// A log that has no changes yet, or none since a checkpoint, is whole.
    #[cfg(feature = "service")]
    #[test]
    fn an_empty_log_is_whole() {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("far");
        init(fixture("far"), &data).expect("a data directory");
        let log = Log::new(&data);
        log.check(1000).expect("whole");
        assert!(log.check(1001).is_err(), "there was a change");
        assert_eq!(log.changes_until(1000, 1000).expect("a log").count(), 0);
    }
}
