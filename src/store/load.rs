//! Reading a data directory: the newest register file, and the changes after it.

use super::StoreError;
use super::disk::Disk;
use super::format::{self, BadSegment, FRAME_HEAD_BYTES, Frame, SegmentHead, Sum};
use super::names::{self, Contents};
use super::walk::Walk;
use crate::changes::Change;
use crate::changes::apply::{Editor, on_threads};
use crate::changes::encoding::Decoder;
use crate::register::{Damage, Register};
use crate::snapshot::Snapshot;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Changes that are applied at a time while reading the log.
const SLICE: usize = 500_000;

/// How often a directory is looked for that is not there, and after what time each.
const IDENTITY_ATTEMPTS: usize = 20;
const IDENTITY_WAIT: Duration = Duration::from_millis(1);

/// Where a log is read or written on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The segment, by the sequence number that it follows.
    pub(crate) segment: u64,
    /// Bytes of it that are whole frames.
    pub(crate) bytes: u64,
    /// The sequence number after them.
    pub(crate) sequence: u64,
    /// The sum after them.
    pub(crate) sum: Sum,
}

/// What lies behind the last whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    Clean,
    /// A batch that was never acknowledged, cut short by a crash.
    Torn {
        bytes: u64,
    },
}

/// A register in memory, with what it takes to apply more changes.
pub(crate) struct Loaded {
    pub(crate) register: Arc<Register>,
    pub(crate) editor: Editor,
    /// Sequence number of the register file.
    pub(crate) base: u64,
    pub(crate) position: Position,
    /// Bytes of log that were read.
    pub(crate) log_bytes: u64,
    /// Bytes of the last segment that were durable when its last frame was written.
    pub(crate) durable: u64,
}

/// A data directory on a disk.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn io(&self, name: &str) -> impl Fn(std::io::Error) -> StoreError + use<> {
        StoreError::io(&self.path, name)
    }

    pub(crate) fn damaged(&self, name: &str, at: u64, finding: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.path.join(name), at, finding: finding.to_string() }
    }

    /// Whether there is no such file; not if that cannot be told.
    pub(crate) fn is_missing(&self, name: &str) -> bool {
        self.disk.open(name).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    /// The register is damaged.
    pub(crate) fn unusable(&self, damage: &Damage) -> StoreError {
        self.damaged("", 0, format!("the register: {damage}"))
    }

    /// What applies changes to a register.
    pub(crate) fn editor(&self, register: &Register) -> Result<Editor, StoreError> {
        Editor::of(register).map_err(|damage| self.unusable(&damage))
    }

    /// Which directory it is, for those who have seen one: between it and another that takes its place there may be
    /// none for a moment.
    pub(crate) fn identity(&self) -> Result<(u64, u64), StoreError> {
        for _ in 0..IDENTITY_ATTEMPTS {
            if let Some(identity) = self.disk.identity() {
                return Ok(identity);
            }
            std::thread::sleep(IDENTITY_WAIT);
        }
        Err(StoreError::NotOne(self.path.clone()))
    }

    pub(crate) fn contents(&self) -> Result<Contents, StoreError> {
        Contents::of(&*self.disk, &self.path)
    }

    /// The register of a register file.
    pub(crate) fn register(&self, sequence: u64) -> Result<Register, StoreError> {
        let name = names::register(sequence);
        let storage = self.disk.read(&name).map_err(self.io(&name))?;
        let register = Snapshot::of_storage(storage).and_then(|snapshot| snapshot.register());
        let register =
            register.map_err(|error| StoreError::Register { path: self.path.join(&name), error })?;
        if register.sequence() != sequence {
            let finding = format!("it is the register at sequence {}", register.sequence());
            return Err(self.damaged(&name, 0, finding));
        }
        Ok(register)
    }

    /// Reads the newest register file and all changes after it.
    pub(crate) fn load(&self) -> Result<(Loaded, Tail), StoreError> {
        let contents = self.contents()?;
        let base = *contents.registers.last().ok_or_else(|| StoreError::NotOne(self.path.clone()))?;
        let register = self.register(base)?;
        let mut editor = self.editor(&register)?;
        let mut loading = Loading::new(self, register, &mut editor);
        let missing = |after| StoreError::LogMissing { directory: self.path.clone(), after };
        let first = contents.segments.iter().rposition(|&after| after <= base).ok_or(missing(base))?;
        let mut walk = Walk::new(self, &contents.segments[first..], Some(loading.register.kind()));
        let mut log_bytes = 0;
        while let Some(step) = walk.next()? {
            let frame = &step.frame;
            if frame.to <= base {
                continue;
            }
            let name = names::segment(walk.position.segment);
            if frame.after < base {
                let finding = "a batch begins before the register file and ends after it";
                return Err(self.damaged(&name, frame.payload.start as u64, finding));
            }
            log_bytes += (FRAME_HEAD_BYTES + frame.end() - frame.payload.start) as u64;
            loading.add(frame, step.payload(), &name)?;
        }
        if walk.position.sequence < base {
            return Err(missing(walk.position.sequence));
        }
        loading.flush()?;
        let register = Arc::new(loading.register);
        let Walk { position, durable, tail, .. } = walk;
        Ok((Loaded { register, editor, base, position, log_bytes, durable }, tail))
    }
}

/// A register that takes the changes of a log.
pub(crate) struct Loading<'p> {
    place: &'p Place,
    pub(crate) register: Register,
    editor: &'p mut Editor,
    pending: Vec<Change>,
}

impl<'p> Loading<'p> {
    pub(crate) fn new(place: &'p Place, register: Register, editor: &'p mut Editor) -> Loading<'p> {
        Loading { place, register, editor, pending: Vec::new() }
    }

    /// Takes the changes of a frame.
    pub(crate) fn add(&mut self, frame: &Frame, payload: &[u8], name: &str) -> Result<(), StoreError> {
        let before = self.pending.len();
        for change in Decoder::new(payload, frame.after) {
            let unreadable =
                || self.place.damaged(name, frame.payload.start as u64, "a change cannot be read");
            self.pending.push(change.ok_or_else(unreadable)?);
        }
        let whole = self.pending.len() - before == frame.changes as usize
            && self.pending.last().is_none_or(|last| last.sequence() == frame.to);
        if !whole {
            return Err(self.place.damaged(
                name,
                frame.payload.start as u64,
                "a batch is not what its head says",
            ));
        }
        if self.pending.len() >= SLICE { self.flush() } else { Ok(()) }
    }

    /// Applies what has been taken.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (editor, register, pending) = (&mut *self.editor, &self.register, &self.pending);
        let applied = on_threads(pending.len(), || editor.apply(register, pending));
        let applied = applied.map_err(|damage| self.place.unusable(&damage))?;
        if let Some((place, why)) = applied.bad.first() {
            let finding =
                format!("change {} does not fit the register: {why}", self.pending[*place].sequence());
            return Err(self.place.damaged("", 0, finding));
        }
        self.register = applied.register;
        self.pending.clear();
        Ok(())
    }
}

impl Place {
    pub(crate) fn segment_head(&self, name: &str, bytes: &[u8]) -> Result<SegmentHead, StoreError> {
        format::decode_segment_head(bytes).map_err(|bad| match bad {
            BadSegment::Head => {
                self.damaged(name, 0, "this is no segment of a change log, or its head is damaged")
            }
            BadSegment::Version(found) => {
                let reads = format::LOG_VERSION;
                let finding = format!("the log has format version {found}, this nabar reads up to {reads}");
                self.damaged(name, 8, finding)
            }
        })
    }
}

/// The directory that is meant by a path.
pub(crate) fn place(path: &Path) -> Place {
    Place { disk: Arc::new(super::disk::Directory(path.to_owned())), path: path.to_owned() }
}
