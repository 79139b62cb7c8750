//! The one writer of a data directory.

use super::batch::{ApplyError, Assembly, Batch, Compared, Lines};
use super::commit::{Committer, Ticket};
use super::disk::{Disk, DiskFile};
use super::format::{self, FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES};
use super::load::{Loaded, Place, Position, Tail, place};
use super::{StoreError, names};
use crate::changes::Change;
use crate::changes::apply::{Applied, Editor, both};
use crate::changes::encoding::encode;
use crate::limits::BATCH_BYTES_MAX;
use crate::register::{Kind, Register, moment};
use crate::rejected::RejectedLimit;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Applies changes to a data directory, durably. There is one at a time for a directory, over all
/// processes; its methods may be called by any number of threads.
pub struct Writer {
    pub(super) place: Place,
    pub(super) inner: Mutex<Inner>,
    pub(super) committer: Committer<Register>,
    /// Held by whoever makes a checkpoint.
    pub(super) checkpointing: Mutex<()>,
    kind: Kind,
    recovered: Recovered,
    _lock: Box<dyn Send + Sync>,
}

/// What was found when a directory was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Sequence number of the register.
    pub sequence: u64,
    /// Changes that were read from the log.
    pub changes: u64,
    /// Bytes of a batch that was never acknowledged, which a crash had cut short, and which were removed.
    pub torn_bytes: u64,
}

/// What the writer knows that readers do not.
pub(super) struct Inner {
    pub(super) editor: Editor,
    /// The version that was written last.
    pub(super) register: Arc<Register>,
    pub(super) position: Position,
    pub(super) segment: Arc<Segment>,
    /// Sequence number of the register file.
    pub(super) base: u64,
    /// Bytes of log since the register file.
    pub(super) log_bytes: u64,
    last: Option<Pending>,
    /// A write failed and could not be taken back.
    failed: Option<io::ErrorKind>,
    /// How far repeated changes have been compared with the log.
    compared: Option<Compared>,
}

/// The segment that is written to.
pub(super) struct Segment {
    file: Box<dyn DiskFile>,
    /// Bytes of it that are known to be durable.
    durable: AtomicU64,
}

impl Segment {
    pub(super) fn new(file: Box<dyn DiskFile>, durable: u64) -> Arc<Segment> {
        Arc::new(Segment { file, durable: AtomicU64::new(durable) })
    }
}

/// A batch that is in the log and not yet known to be durable.
#[derive(Clone)]
pub struct Pending {
    ticket: Ticket,
    segment: Arc<Segment>,
    /// Where the batch ends.
    end: u64,
}

impl Writer {
    /// Opens a data directory for writing: reads register file and log, removes what a crash left.
    ///
    /// Errors: another process writes; the directory is damaged.
    pub fn open(directory: &Path) -> Result<Writer, StoreError> {
        Writer::of(place(directory))
    }

    pub(crate) fn of(place: Place) -> Result<Writer, StoreError> {
        // Before the lock: it would make a file in any directory.
        if place.contents()?.registers.is_empty() {
            return Err(StoreError::NotOne(place.path));
        }
        let lock = place.disk.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked(place.path.clone()),
            _ => place.io(super::disk::LOCK)(error),
        })?;
        for name in place.contents()?.partial {
            place.disk.remove(&name).map_err(place.io(&name))?;
        }
        let (loaded, tail) = place.load()?;
        let Loaded { register, editor, base, position, log_bytes, durable } = loaded;
        let name = names::segment(position.segment);
        let file = place.disk.open(&name).map_err(place.io(&name))?;
        let torn_bytes = match tail {
            Tail::Clean => 0,
            Tail::Torn { bytes } => {
                file.cut(position.bytes).map_err(place.io(&name))?;
                bytes
            }
        };
        // What was read may be in the page cache only, and so may the names of the files: before more is
        // built on them, they are made durable. A sync that failed has left pages that pass for written
        // and are not, so what nobody knew to be durable is written again first.
        rewrite(&*file, durable..position.bytes).and_then(|()| file.sync()).map_err(place.io(&name))?;
        place.disk.sync_names().map_err(place.io(""))?;
        let recovered =
            Recovered { sequence: position.sequence, changes: position.sequence - base, torn_bytes };
        let segment = Segment::new(file, position.bytes);
        let kind = register.kind();
        let committer = Committer::new(Arc::clone(&register));
        let (last, failed, compared) = (None, None, None);
        let inner = Inner { editor, register, position, segment, base, log_bytes, last, failed, compared };
        let (inner, checkpointing) = (Mutex::new(inner), Mutex::new(()));
        Ok(Writer { place, inner, committer, checkpointing, kind, recovered, _lock: lock })
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.place.path
    }

    /// Which register it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was found when the directory was opened.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// The register as readers in this process see it: all that is durable. Never waits.
    pub fn register(&self) -> Arc<Register> {
        self.committer.pin()
    }

    /// Bytes of log since the register file: what opening the directory has to read.
    pub fn log_bytes(&self) -> u64 {
        self.lock().log_bytes
    }

    /// Applies some lines as one batch and waits until it is durable and visible.
    ///
    /// With `skip_bad` lines that are no changes, or do not fit the register, are set aside, as long as they are no
    /// more than that of the batch; without it the first of them refuses the batch.
    pub fn apply(&self, lines: Lines, skip_bad: Option<RejectedLimit>) -> Result<Batch, ApplyError> {
        let (batch, pending) = self.append(lines, skip_bad)?;
        self.wait(pending)?;
        Ok(batch)
    }

    /// Applies some lines as one batch and writes it to the log. It is visible to nobody, and may be lost,
    /// until [`wait`](Self::wait) has returned.
    pub fn append(
        &self,
        lines: Lines,
        skip_bad: Option<RejectedLimit>,
    ) -> Result<(Batch, Option<Pending>), ApplyError> {
        let read = lines.len() as u64;
        let mut guard = self.lock();
        let inner = &mut *guard;
        self.usable(inner)?;
        let from = inner.position.sequence;
        let time = moment::nanoseconds(inner.register.as_of()).unwrap_or_default();
        let mut assembly = Assembly::of(lines, self.kind, from, time, skip_bad.is_some())?;
        assembly.compare(&self.place, &mut inner.compared)?;
        assembly.within(skip_bad, read, 0)?;
        if assembly.changes.is_empty() {
            let pending = inner.last.clone();
            return Ok((assembly.summary(from, 0), pending));
        }
        let written = self.write(inner, &mut assembly, skip_bad, read);
        if written.is_err() {
            // The editor may know what the register does not have.
            inner.renew_editor(&self.place)?;
        }
        let (pending, without_effect) = written?;
        (inner.last, inner.compared) = (Some(pending.clone()), None);
        Ok((assembly.summary(from, without_effect), Some(pending)))
    }

    /// Makes the next version, and writes its changes to the log.
    fn write(
        &self,
        inner: &mut Inner,
        assembly: &mut Assembly,
        skip_bad: Option<RejectedLimit>,
        read: u64,
    ) -> Result<(Pending, u64), ApplyError> {
        let register = Arc::clone(&inner.register);
        let editor = &mut inner.editor;
        let changes = &assembly.changes;
        let (applied, mut frame) =
            both(changes.len(), || editor.apply(&register, changes), || encoded(changes));
        let applied: Applied = applied.map_err(|damage| self.place.unusable(&damage))?;
        if let Some(&(place, reason)) = applied.bad.first() {
            if skip_bad.is_none() {
                return Err(ApplyError::Bad { line: assembly.lines[place], reason });
            }
            assembly.within(skip_bad, read, applied.bad.len() as u64)?;
            applied.bad.iter().for_each(|&(place, reason)| assembly.set_change_aside(place, reason));
            frame = encoded(&assembly.changes);
        }
        let payload = (frame.len() - FRAME_HEAD_BYTES) as u64;
        if payload > BATCH_BYTES_MAX {
            return Err(ApplyError::TooLong { bytes: payload, max: BATCH_BYTES_MAX });
        }
        let before = &inner.position;
        let to = applied.register.sequence();
        let count = assembly.changes.len() as u32;
        let durable = inner.segment.durable.load(Ordering::Acquire);
        let sum = format::seal_frame(&mut frame, before.sequence, to, count, durable, &before.sum);
        inner.write_frame(&frame, &self.place)?;
        let bytes = inner.position.bytes + frame.len() as u64;
        inner.position = Position { segment: inner.position.segment, bytes, sequence: to, sum };
        inner.log_bytes += frame.len() as u64;
        inner.register = Arc::new(applied.register);
        let ticket = self.committer.written(Arc::clone(&inner.register));
        Ok((Pending { ticket, segment: Arc::clone(&inner.segment), end: bytes }, applied.without_effect))
    }

    /// Waits until a batch is durable and visible. Batches that are waited for at the same time share one
    /// sync.
    pub fn wait(&self, pending: Option<Pending>) -> Result<(), StoreError> {
        let Some(Pending { ticket, segment, end }) = pending else { return Ok(()) };
        let synced = self.committer.wait(ticket, || segment.file.sync());
        synced.map_err(|error| self.place.failed(error.kind()))?;
        segment.durable.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Waits until everything that was written is durable and visible.
    pub(super) fn wait_for_all(&self, inner: &Inner) -> Result<(), StoreError> {
        self.wait(inner.last.clone())
    }

    /// Whether more may be written: no write has failed in part, and no sync.
    pub(super) fn usable(&self, inner: &Inner) -> Result<(), StoreError> {
        let failed = inner.failed.or_else(|| self.committer.failed());
        failed.map_or(Ok(()), |kind| Err(self.place.failed(kind)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was held may have left half a batch: nothing more is written then.
        self.inner.lock().unwrap_or_else(|poisoned| {
            let mut inner = poisoned.into_inner();
            inner.failed.get_or_insert(io::ErrorKind::Other);
            inner
        })
    }
}

impl Place {
    fn failed(&self, kind: io::ErrorKind) -> StoreError {
        StoreError::Failed { directory: self.path.clone(), kind }
    }
}

impl Inner {
    fn renew_editor(&mut self, place: &Place) -> Result<(), StoreError> {
        self.editor = place.editor(&self.register)?;
        Ok(())
    }

    /// Appends a frame; if that fails, the log is as it was.
    fn write_frame(&mut self, frame: &[u8], place: &Place) -> Result<(), StoreError> {
        let (file, at) = (&self.segment.file, self.position.bytes);
        let written = file.write_at(frame, at);
        let name = names::segment(self.position.segment);
        written.map_err(|error| {
            if let Err(error) = file.cut(at) {
                self.failed = Some(error.kind());
            }
            place.io(&name)(error)
        })
    }

    /// Begins a new segment behind all that is in the log, which must be durable.
    pub(super) fn begin_segment(&mut self, place: &Place) -> Result<(), StoreError> {
        let Position { sequence, sum, .. } = self.position;
        let made = new_segment(place, self.register.kind(), sequence, sum);
        if let Err(StoreError::Io { error, .. }) = &made
            && !place.is_missing(&names::segment(sequence))
        {
            // It has its name, though perhaps not durably: nobody would read on in the old one.
            self.failed = Some(error.kind());
        }
        let segment = made?;
        let bytes = SEGMENT_HEAD_BYTES as u64;
        self.position = Position { segment: sequence, bytes, sequence, sum };
        self.segment = Segment::new(segment, bytes);
        Ok(())
    }
}

/// Makes an empty segment that follows a sequence number, durably.
pub(super) fn new_segment(
    place: &Place,
    kind: Kind,
    after: u64,
    sum: format::Sum,
) -> Result<Box<dyn DiskFile>, StoreError> {
    let name = names::segment(after);
    let partial = names::partial(&name);
    let head = format::encode_segment_head(&format::SegmentHead { kind, after, sum });
    let disk: &dyn Disk = &*place.disk;
    let make = || {
        let file = disk.create(&partial)?;
        file.write_at(&head, 0)?;
        file.sync()?;
        disk.rename(&partial, &name)?;
        disk.sync_names()?;
        Ok(file)
    };
    make().map_err(place.io(&name))
}

/// Writes a part of a file as it is already.
fn rewrite(file: &dyn DiskFile, part: Range<u64>) -> io::Result<()> {
    let mut bytes = vec![0; part.end.saturating_sub(part.start) as usize];
    let read = file.read_at(&mut bytes, part.start)?;
    if read > 0 { file.write_at(&bytes[..read], part.start) } else { Ok(()) }
}

/// Changes with room for the head of their frame.
fn encoded(changes: &[Change]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + changes.len() * 48);
    frame.resize(FRAME_HEAD_BYTES, 0);
    changes.iter().for_each(|change| encode(change, &mut frame));
    frame
}
