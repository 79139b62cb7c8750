//! Walking through the frames of a log, from its beginning or from a place in it.

use super::StoreError;
use super::disk::DiskFile;
use super::format::{self, Frame, SEGMENT_HEAD_BYTES};
use super::load::{Place, Position, Tail};
use super::names;
use crate::register::Kind;
use std::sync::Arc;

/// Bytes of a segment that are read at a time, unless a frame is longer. Tests read few, so that most frames are.
const WINDOW_BYTES: u64 = if cfg!(test) { 1 << 8 } else { 1 << 22 };

/// Walks through the frames of segments that follow one another.
pub(crate) struct Walk {
    place: Place,
    /// The register that the log must be of.
    kind: Option<Kind>,
    segments: std::vec::IntoIter<u64>,
    open: Option<Open>,
    pub(crate) position: Position,
    /// Bytes of the segment that its last frame knew to be durable.
    pub(crate) durable: u64,
    pub(crate) tail: Tail,
}

/// The segment that is walked through. Read, not mapped: its writer may cut a torn end off.
struct Open {
    file: Box<dyn DiskFile>,
    /// Some of its bytes, and where they begin.
    window: Arc<Vec<u8>>,
    at: u64,
}

/// A frame and its changes.
pub(crate) struct Step {
    pub(crate) frame: Frame,
    window: Arc<Vec<u8>>,
    at: u64,
}

impl Step {
    /// The changes of the frame, encoded.
    pub(crate) fn payload(&self) -> &[u8] {
        let at = self.at as usize;
        &self.window[self.frame.payload.start - at..self.frame.payload.end - at]
    }
}

impl Open {
    /// Reads on from a place, more than before if nothing whole was there. Returns whether there is more.
    fn read_on(&mut self, from: u64) -> std::io::Result<bool> {
        let length = self.file.length()?.saturating_sub(from);
        let had = if self.at == from { self.window.len() as u64 } else { 0 };
        if length <= had {
            return Ok(false);
        }
        let mut bytes = vec![0; length.min(WINDOW_BYTES.max(4 * had)) as usize];
        let read = self.file.read_at(&mut bytes, from)?;
        bytes.truncate(read);
        (self.window, self.at) = (Arc::new(bytes), from);
        Ok(read as u64 > had)
    }
}

impl Walk {
    /// Through segments, by the sequence numbers that they follow, ascending.
    pub(crate) fn new(place: &Place, segments: &[u64], kind: Option<Kind>) -> Walk {
        let position = Position { segment: 0, bytes: 0, sequence: 0, sum: [0; 32] };
        let segments = Vec::from(segments).into_iter();
        Walk { place: place.clone(), kind, segments, open: None, position, durable: 0, tail: Tail::Clean }
    }

    /// From a place between two frames on, and then through the segments behind its own.
    pub(crate) fn resume(place: &Place, position: Position, segments: &[u64]) -> Result<Walk, StoreError> {
        let name = names::segment(position.segment);
        let file = place.disk.open(&name).map_err(place.io(&name))?;
        let open = Some(Open { file, window: Arc::default(), at: position.bytes });
        Ok(Walk { open, position, ..Walk::new(place, segments, None) })
    }

    /// The next frame, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, StoreError> {
        loop {
            let Some(open) = &mut self.open else {
                match self.segments.next() {
                    None => return Ok(None),
                    Some(after) => self.enter(after)?,
                }
                continue;
            };
            let from = (self.position.bytes - open.at) as usize;
            if let Some(frame) =
                format::frame_at(&open.window, from, self.position.sequence, &self.position.sum)
            {
                self.position.bytes = open.at + frame.end() as u64;
                self.position.sequence = frame.to;
                self.position.sum = frame.sum;
                self.durable = frame.durable;
                let at = open.at as usize;
                let frame = Frame { payload: frame.payload.start + at..frame.payload.end + at, ..frame };
                return Ok(Some(Step { frame, window: Arc::clone(&open.window), at: open.at }));
            }
            let name = names::segment(self.position.segment);
            if open.read_on(self.position.bytes).map_err(self.place.io(&name))? {
                continue;
            }
            let rest = Arc::clone(&open.window);
            if open.at == self.position.bytes && !rest.is_empty() {
                self.check_tail(&rest)?;
            }
            self.open = None;
            if self.tail != Tail::Clean {
                return Ok(None);
            }
        }
    }

    /// Whether the rest of a segment, which is no frame, is a torn end.
    fn check_tail(&mut self, rest: &[u8]) -> Result<(), StoreError> {
        let (name, at) = (names::segment(self.position.segment), self.position.bytes);
        if self.segments.len() > 0 || format::was_durable(rest, at) {
            let finding = "a batch that was durable is damaged, and so is what follows it";
            return Err(self.place.damaged(&name, at, finding));
        }
        self.tail = Tail::Torn { bytes: rest.len() as u64 };
        Ok(())
    }

    fn enter(&mut self, after: u64) -> Result<(), StoreError> {
        let name = names::segment(after);
        let file = self.place.disk.open(&name).map_err(self.place.io(&name))?;
        let mut head = [0; SEGMENT_HEAD_BYTES];
        let read = file.read_at(&mut head, 0).map_err(self.place.io(&name))?;
        let head = self.place.segment_head(&name, &head[..read])?;
        if self.kind.is_some_and(|kind| kind != head.kind) {
            return Err(self.place.damaged(&name, 12, "it is of another kind of register"));
        }
        let first = self.position.segment == 0 && self.position.bytes == 0;
        if head.after != after {
            return Err(self.place.damaged(&name, 0, format!("it follows sequence {}", head.after)));
        }
        if !first && head.after != self.position.sequence {
            let after = self.position.sequence;
            return Err(StoreError::LogMissing { directory: self.place.path.clone(), after });
        }
        if !first && head.sum != self.position.sum {
            return Err(self.place.damaged(&name, 0, "it does not belong to the segment before it"));
        }
        let bytes = SEGMENT_HEAD_BYTES as u64;
        self.position = Position { segment: after, bytes, sequence: after, sum: head.sum };
        self.durable = bytes;
        self.open = Some(Open { file, window: Arc::default(), at: bytes });
        Ok(())
    }
}
