//! Reading the frames of a log, from its beginning or from a position in it.
//!
//! All readers of a log use [`LogReader`], so each check of heads, sums and sequence numbers is made in one place.

use super::directory::DataDirectory;
use super::disk::DiskFile;
use super::error::StoreError;
use super::format::{self, FRAME_HEAD_BYTES, FRAME_SUM_OFFSET, Frame, SEGMENT_HEAD_BYTES, SegmentHead, Sum};
use super::names;
use crate::changes::Change;
use crate::changes::encoding::ChangeDecoder;
use crate::register::Kind;
use std::io;
use std::sync::Arc;

/// Bytes of a segment that are read at once, unless a frame is longer. Small in tests, so that most frames are longer.
const WINDOW_BYTES: u64 = if cfg!(test) { 1 << 8 } else { 1 << 22 };

/// A position between two frames of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// The segment, by the sequence number that it follows.
    pub(crate) segment: u64,
    /// Format version of the segment.
    pub(crate) version: u32,
    /// Offset in the segment.
    pub(crate) bytes: u64,
    /// Sequence number of the register here.
    pub(crate) sequence: u64,
    /// Offset of the frame before; 0 if the head of the segment is before.
    pub(crate) last: u64,
    /// Sum of the frame before.
    pub(crate) sum: Sum,
}

/// What follows the last whole frame of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    Clean,
    /// Part of a batch that was never acknowledged, left by a crash.
    Torn {
        bytes: u64,
    },
}

/// Reads the frames of consecutive segments.
pub(crate) struct LogReader {
    directory: DataDirectory,
    /// The register that the log must belong to, if known.
    kind: Option<Kind>,
    /// Segments to read after the open one.
    segments: std::vec::IntoIter<u64>,
    open: Option<OpenSegment>,
    position: LogPosition,
    /// Bytes of the segment that were durable when its last frame was written.
    durable: u64,
    tail: Tail,
}

/// The segment that is read. It is not mapped: its writer may truncate a torn tail.
struct OpenSegment {
    file: Box<dyn DiskFile>,
    /// Some of its bytes, from the offset `start`.
    window: Arc<Vec<u8>>,
    start: u64,
}

/// A frame and its encoded changes.
pub(crate) struct LogFrame {
    pub(crate) frame: Frame,
    /// Offset of its changes in the segment.
    pub(crate) offset: u64,
    /// The segment, by the sequence number that it follows.
    segment: u64,
    window: Arc<Vec<u8>>,
}

impl LogFrame {
    /// The encoded changes.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.window[self.frame.payload.clone()]
    }

    /// The decoded changes, all of which are valid, and as many as the head says, up to its last sequence number.
    pub(crate) fn changes(&self, directory: &DataDirectory) -> Result<Vec<Change>, StoreError> {
        let Frame { after, to, changes, .. } = self.frame;
        let decoded: Option<Vec<Change>> = ChangeDecoder::new(self.payload(), after).collect();
        let decoded = decoded.ok_or_else(|| self.damaged(directory, "a change is not valid"))?;
        let last = decoded.last().map_or(after, Change::sequence);
        if (decoded.len(), last) != (changes as usize, to) {
            return Err(self.damaged(directory, "the changes of a batch differ from its head"));
        }
        Ok(decoded)
    }

    pub(crate) fn damaged(&self, directory: &DataDirectory, finding: &str) -> StoreError {
        directory.damaged(&names::segment(self.segment), self.offset, finding)
    }
}

impl OpenSegment {
    fn new(file: Box<dyn DiskFile>, start: u64) -> OpenSegment {
        OpenSegment { file, window: Arc::default(), start }
    }

    /// Moves the window to an offset; enlarges it if it begins there already. Returns whether there are more bytes.
    fn read_on(&mut self, from: u64) -> io::Result<bool> {
        let length = self.file.length()?.saturating_sub(from);
        let had = if self.start == from { self.window.len() as u64 } else { 0 };
        if length <= had {
            return Ok(false);
        }
        let mut bytes = vec![0; length.min(WINDOW_BYTES.max(4 * had)) as usize];
        let read = self.file.read_at(&mut bytes, from)?;
        bytes.truncate(read);
        (self.window, self.start) = (Arc::new(bytes), from);
        Ok(read as u64 > had)
    }

    /// As [`format::was_durable`], of the bytes from an offset to the end: there may be too many for the memory.
    fn was_durable(&self, at: u64) -> io::Result<bool> {
        // Windows overlap, so that each head is whole in one of them.
        const STEP: usize = WINDOW_BYTES as usize;
        const { assert!(STEP.is_multiple_of(8), "frames are aligned") };
        let mut window = vec![0; STEP + FRAME_HEAD_BYTES];
        let mut from = at + 8;
        loop {
            let read = self.file.read_at(&mut window, from)?;
            if format::has_later_frame(&window[..read], at) {
                return Ok(true);
            }
            if read < window.len() {
                return Ok(false);
            }
            from += STEP as u64;
        }
    }
}

impl LogReader {
    /// Reads segments from the beginning of the first. They are named by the sequence numbers that they follow,
    /// ascending.
    pub(crate) fn new(directory: &DataDirectory, segments: &[u64], kind: Option<Kind>) -> LogReader {
        let position = LogPosition { segment: 0, version: 0, bytes: 0, sequence: 0, last: 0, sum: [0; 32] };
        let segments = Vec::from(segments).into_iter();
        let directory = directory.clone();
        LogReader { directory, kind, segments, open: None, position, durable: 0, tail: Tail::Clean }
    }

    /// Reads from a position, then the segments after its own.
    pub(crate) fn resume(
        directory: &DataDirectory,
        position: LogPosition,
        segments: &[u64],
    ) -> Result<LogReader, StoreError> {
        let file = directory.open(&names::segment(position.segment))?;
        let open = Some(OpenSegment::new(file, position.bytes));
        Ok(LogReader { open, position, ..LogReader::new(directory, segments, None) })
    }

    /// The position after the last frame.
    pub(crate) fn position(&self) -> &LogPosition {
        &self.position
    }

    /// The error if a log ends here that has been read up to a later sequence number.
    pub(crate) fn ends_before(&self, until: u64) -> StoreError {
        let LogPosition { segment, bytes, sequence, .. } = self.position;
        let finding =
            format!("the log ends here, after sequence {sequence}, and was read up to {until} before");
        self.directory.damaged(&names::segment(segment), bytes, finding)
    }

    /// The position after the last frame, the durable bytes that this frame recorded, and what follows it.
    pub(crate) fn into_end(self) -> (LogPosition, u64, Tail) {
        (self.position, self.durable, self.tail)
    }

    /// The next frame of all segments, `None` at the end of the last.
    ///
    /// Errors: a segment does not continue the one before it, or what follows its last frame is not a torn tail.
    pub(crate) fn next(&mut self) -> Result<Option<LogFrame>, StoreError> {
        loop {
            if self.open.is_none() {
                let Some(after) = self.segments.next() else { return Ok(None) };
                self.enter(after, self.directory.open(&names::segment(after))?)?;
            }
            if let Some(frame) = self.next_in_segment()? {
                return Ok(Some(frame));
            }
            if let Err(damaged) = self.check_tail() {
                // A writer may have written more since these bytes were read. A later frame says that they are durable, so
                // they are whole by now, or damaged.
                self.release_window();
                return self.next_in_segment()?.map(Some).ok_or(damaged);
            }
            self.open = None;
            if self.tail != Tail::Clean {
                return Ok(None);
            }
        }
    }

    /// The next whole frame of the open segment; `None` if there is none yet.
    pub(crate) fn next_in_segment(&mut self) -> Result<Option<LogFrame>, StoreError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let position = &mut self.position;
        loop {
            let from = (position.bytes - open.start) as usize;
            if let Some(frame) = format::frame_at(&open.window, from, position.sequence, &position.sum) {
                let offset = open.start + frame.payload.start as u64;
                position.last = open.start + from as u64;
                position.bytes = open.start + frame.end() as u64;
                (position.sequence, position.sum) = (frame.to, frame.sum);
                self.durable = frame.durable;
                let (segment, window) = (position.segment, Arc::clone(&open.window));
                return Ok(Some(LogFrame { frame, offset, segment, window }));
            }
            let name = names::segment(position.segment);
            let is_whole = || open.window.get(from..).is_some_and(|rest| !format::may_go_on(rest));
            if is_whole() || !open.read_on(position.bytes).map_err(self.directory.io(&name))? {
                return Ok(None);
            }
        }
    }

    /// Frees the window. Bytes after the last frame are read again: a writer may have replaced them.
    pub(crate) fn release_window(&mut self) {
        if let Some(open) = &mut self.open
            && !open.window.is_empty()
        {
            (open.window, open.start) = (Arc::default(), self.position.bytes);
        }
    }

    /// Whether what was read last is still in the segment: another program, or a writer that found damage or an empty
    /// segment of an older format, may have truncated or replaced it, and then no frame ever follows what was read. Cost:
    /// opens the segment.
    pub(crate) fn is_current(&self) -> Result<bool, StoreError> {
        let name = names::segment(self.position.segment);
        let file = match self.directory.disk.open(&name) {
            // A checkpoint has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            file => file.map_err(self.directory.io(&name))?,
        };
        let failed = self.directory.io(&name);
        let LogPosition { version, bytes, last, sum, .. } = self.position;
        let is_read = match last {
            0 => {
                let mut head = [0; SEGMENT_HEAD_BYTES];
                let read = file.read_at(&mut head, 0).map_err(&failed)?;
                let head = format::decode_segment_head(&head[..read]);
                head.is_ok_and(|head| (head.version, head.sum) == (version, sum))
            }
            frame => {
                let mut found = Sum::default();
                let read = file.read_at(&mut found, frame + FRAME_SUM_OFFSET).map_err(&failed)?;
                read == found.len() && found == sum
            }
        };
        Ok(is_read && file.length().map_err(&failed)? >= bytes)
    }

    /// Makes the frames that were read durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let Some(open) = &self.open else { return Ok(()) };
        open.file.sync().map_err(self.directory.io(&names::segment(self.position.segment)))
    }

    /// Checks that the bytes after the last frame of a segment are a torn tail, if there are any. They may be many, and
    /// are read in windows.
    fn check_tail(&mut self) -> Result<(), StoreError> {
        let Some(open) = &self.open else { return Ok(()) };
        let (name, at) = (names::segment(self.position.segment), self.position.bytes);
        let bytes = open.file.length().map_err(self.directory.io(&name))?.saturating_sub(at);
        if bytes == 0 {
            return Ok(());
        }
        if self.segments.len() > 0 || open.was_durable(at).map_err(self.directory.io(&name))? {
            let finding = "a durable batch is damaged, and so is what follows it";
            return Err(self.directory.damaged(&name, at, finding));
        }
        self.tail = Tail::Torn { bytes };
        Ok(())
    }

    /// Opens the segment after a sequence number, which must continue the one that was read before, if any.
    pub(crate) fn enter(&mut self, after: u64, file: Box<dyn DiskFile>) -> Result<(), StoreError> {
        let name = names::segment(after);
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        let read = file.read_at(&mut bytes, 0).map_err(self.directory.io(&name))?;
        let head = self.directory.segment_head(&name, &bytes[..read])?;
        if self.kind.is_some_and(|kind| kind != head.kind) {
            return Err(self.directory.damaged(&name, 12, "it belongs to a register of another kind"));
        }
        if head.after != after {
            let finding = format!("it follows sequence {}", head.after);
            return Err(self.directory.damaged(&name, 0, finding));
        }
        let is_first = self.position.segment == 0 && self.position.bytes == 0;
        if !is_first && head.after != self.position.sequence {
            let after = self.position.sequence;
            return Err(StoreError::LogMissing { directory: self.directory.path.clone(), after });
        }
        if !is_first && head.sum != self.position.sum {
            return Err(self.directory.damaged(&name, 0, "it does not belong to the segment before it"));
        }
        let bytes = SEGMENT_HEAD_BYTES as u64;
        let SegmentHead { version, sum, .. } = head;
        self.position = LogPosition { segment: after, version, bytes, sequence: after, last: 0, sum };
        self.durable = bytes;
        self.open = Some(OpenSegment::new(file, bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::format::{LOG_VERSION, encode_segment_head, root_sum, seal_frame};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A segment that is written to while it is read: the first read sees its beginning only.
    struct Growing {
        bytes: Vec<u8>,
        beginning: u64,
        is_whole: AtomicBool,
    }

    impl DiskFile for Growing {
        fn length(&self) -> io::Result<u64> {
            let whole = self.bytes.len() as u64;
            Ok(if self.is_whole.load(Ordering::Relaxed) { whole } else { self.beginning })
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let end = self.length()?;
            self.is_whole.store(true, Ordering::Relaxed);
            let found = &self.bytes[(offset.min(end) as usize)..end as usize];
            let read = found.len().min(buffer.len());
            buffer[..read].copy_from_slice(&found[..read]);
            Ok(read)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn cut(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn reader(data: &DataDirectory, head: &SegmentHead, bytes: Vec<u8>, beginning: u64) -> LogReader {
        let file = Growing { bytes, beginning, is_whole: AtomicBool::new(false) };
        let (segment, version, sum) = (head.after, head.version, head.sum);
        let bytes = SEGMENT_HEAD_BYTES as u64;
        let position = LogPosition { segment, version, bytes, sequence: segment, last: 0, sum };
        let open = Some(OpenSegment::new(Box::new(file), bytes));
        LogReader { open, position, ..LogReader::new(data, &[], None) }
    }

    /// Bytes that a writer completes while a reader looks for later frames are no damage; those that stay as they are, are.
    #[test]
    fn what_is_completed_meanwhile_is_read() {
        let directory = tempfile::tempdir().expect("directory");
        let data = DataDirectory::new(directory.path());
        let head = SegmentHead { version: LOG_VERSION, kind: Kind::Far, after: 7, sum: root_sum(b"header") };
        let (mut bytes, mut sum, mut ends) = (Vec::from(encode_segment_head(&head)), head.sum, Vec::new());
        let start = bytes.len() as u64;
        for after in 7..10 {
            let mut frame = vec![0; FRAME_HEAD_BYTES];
            frame.extend_from_slice(b"changes");
            sum = seal_frame(&mut frame, after, after + 1, 1, bytes.len() as u64, &sum);
            bytes.extend_from_slice(&frame);
            ends.push(bytes.len() as u64);
        }
        for beginning in start + 1..ends[0] {
            let mut log = reader(&data, &head, bytes.clone(), beginning);
            for to in 8..11 {
                let frame = log.next().expect("no damage").expect("a frame");
                assert_eq!(frame.frame.to, to, "{beginning}");
            }
            assert!(log.next().expect("no damage").is_none());
            assert_eq!(log.into_end().2, Tail::Clean);
            let mut damaged = bytes.clone();
            damaged[start as usize + FRAME_HEAD_BYTES] ^= 1;
            let mut damaged = reader(&data, &head, damaged, beginning);
            assert!(matches!(damaged.next(), Err(StoreError::Damaged { .. })), "{beginning}");
        }
    }
}
