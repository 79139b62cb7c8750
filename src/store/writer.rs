//! The writer of a data directory.

use super::assembly::{BatchAssembly, RepeatedChanges};
use super::batch::{ApplyError, Batch, Lines};
use super::commit::{Committer, Ticket};
use super::directory::DataDirectory;
use super::disk::{DiskFile, FileId};
use super::error::StoreError;
use super::format::{self, FRAME_HEAD_BYTES, LOG_VERSION, SEGMENT_HEAD_BYTES};
use super::load::LoadedRegister;
use super::log::{LogPosition, Tail};
use super::names;
use crate::changes::Change;
use crate::changes::apply::{Applied, Editor, join};
use crate::changes::encoding::encode;
use crate::limits::BATCH_BYTES_MAX;
use crate::register::{Kind, Register, moment};
use crate::rejected::RejectedLimit;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Applies changes to a data directory, durably. A directory has at most one writer at a time, across processes;
/// any number of threads may share it.
pub struct Writer {
    pub(super) directory: DataDirectory,
    pub(super) inner: Mutex<WriterState>,
    pub(super) committer: Committer<Register>,
    /// Held while a checkpoint is made.
    pub(super) checkpointing: Mutex<()>,
    kind: Kind,
    recovered: Recovered,
    _lock: Box<dyn Send + Sync>,
}

/// What opening a directory recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Sequence number of the register.
    pub sequence: u64,
    /// Changes read from the log.
    pub changes: u64,
    /// Bytes removed: a batch that a crash had truncated and that was never acknowledged.
    pub torn_bytes: u64,
}

/// State of the writer.
pub(super) struct WriterState {
    pub(super) editor: Editor,
    /// The last written version.
    pub(super) register: Arc<Register>,
    pub(super) position: LogPosition,
    pub(super) segment: Arc<Segment>,
    /// Sequence number of the register file.
    pub(super) base: u64,
    /// The register file, as it was just before it was opened.
    pub(super) file: FileId,
    /// Bytes of log since the register file.
    pub(super) log_bytes: u64,
    last: Option<Pending>,
    /// A write failed and could not be undone.
    failed: Option<io::ErrorKind>,
    /// Position up to which repeated changes have been compared with the log.
    repeated: Option<RepeatedChanges>,
}

/// The segment that is being written.
pub(super) struct Segment {
    file: Box<dyn DiskFile>,
    /// Bytes of it known to be durable.
    durable: AtomicU64,
}

impl Segment {
    pub(super) fn new(file: Box<dyn DiskFile>, durable: u64) -> Arc<Segment> {
        Arc::new(Segment { file, durable: AtomicU64::new(durable) })
    }
}

/// A batch in the log that is not yet known to be durable.
#[derive(Clone)]
pub struct Pending {
    ticket: Ticket,
    segment: Arc<Segment>,
    /// Offset of the end of the batch.
    end: u64,
}

impl Writer {
    /// Opens a data directory for writing: loads register file and log, and removes what a crash left.
    ///
    /// Errors: another process is writing; the directory is damaged.
    pub fn open(directory: impl AsRef<Path>) -> Result<Writer, StoreError> {
        Writer::of(DataDirectory::new(directory.as_ref()))
    }

    pub(crate) fn of(directory: DataDirectory) -> Result<Writer, StoreError> {
        // Before the lock, which would create a file in any directory.
        if directory.contents()?.registers.is_empty() {
            return Err(StoreError::not_one(&directory.path));
        }
        let lock = directory.lock()?;
        for name in directory.contents()?.partial {
            directory.disk.remove(&name).map_err(directory.io(&name))?;
        }
        let loaded = directory.load()?;
        let LoadedRegister { register, editor, base, file: base_file, position, log_bytes, durable, tail } =
            loaded;
        let name = names::segment(position.segment);
        let file = directory.open(&name)?;
        let torn_bytes = match tail {
            Tail::Clean => 0,
            Tail::Torn { bytes } => {
                file.cut(position.bytes).map_err(directory.io(&name))?;
                bytes
            }
        };
        // The log and the names of the files may be in the page cache only: they are made durable before more is
        // written. After a failed sync, pages may be marked clean without being on the disk, so everything not known
        // to be durable is written again first.
        rewrite(&*file, durable..position.bytes).and_then(|()| file.sync()).map_err(directory.io(&name))?;
        directory.disk.sync_names().map_err(directory.io(""))?;
        let recovered =
            Recovered { sequence: position.sequence, changes: position.sequence - base, torn_bytes };
        let segment = Segment::new(file, position.bytes);
        let kind = register.kind();
        let committer = Committer::new(Arc::clone(&register));
        let inner = WriterState {
            editor,
            register,
            position,
            segment,
            base,
            file: base_file,
            log_bytes,
            last: None,
            failed: None,
            repeated: None,
        };
        let (inner, checkpointing) = (Mutex::new(inner), Mutex::new(()));
        Ok(Writer { directory, inner, committer, checkpointing, kind, recovered, _lock: lock })
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// The kind of register.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What opening the directory recovered.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// The published register: all durable batches. Never waits.
    pub fn register(&self) -> Arc<Register> {
        self.committer.pin()
    }

    /// Bytes of log since the register file, which opening the directory has to read.
    pub fn log_bytes(&self) -> u64 {
        self.lock().log_bytes
    }

    /// Applies lines as one batch and waits until it is durable and published.
    ///
    /// With `skip_bad`, lines that are not changes or do not fit the register are rejected, up to that limit; without
    /// it the first of them is an error.
    pub fn apply(&self, lines: Lines, skip_bad: Option<RejectedLimit>) -> Result<Batch, ApplyError> {
        let (batch, pending) = self.append(lines, skip_bad)?;
        self.wait(pending)?;
        Ok(batch)
    }

    /// Applies lines as one batch and writes it to the log. Until [`wait`](Self::wait) has returned it is not
    /// published and may be lost.
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
        let mut assembly = BatchAssembly::new(lines, self.kind, from, time, skip_bad.is_some())?;
        assembly.compare(&self.directory, &mut inner.repeated)?;
        assembly.check_limit(skip_bad, read, 0)?;
        if assembly.changes.is_empty() {
            let pending = inner.last.clone();
            return Ok((assembly.summary(from, 0), pending));
        }
        if inner.position.version < LOG_VERSION {
            // Programs that know the format of this segment only must be able to read all of it.
            self.wait_for_all(inner)?;
            inner.begin_segment(&self.directory)?;
        }
        let written = self.write(inner, &mut assembly, skip_bad, read);
        if written.is_err() {
            // The editor may know rules and states that the register does not have.
            inner.renew_editor(&self.directory)?;
        }
        let (pending, without_effect) = written?;
        (inner.last, inner.repeated) = (Some(pending.clone()), None);
        Ok((assembly.summary(from, without_effect), Some(pending)))
    }

    /// Makes the next version and writes its changes to the log. Returns also the number of changes without effect.
    fn write(
        &self,
        inner: &mut WriterState,
        assembly: &mut BatchAssembly,
        skip_bad: Option<RejectedLimit>,
        read: u64,
    ) -> Result<(Pending, u64), ApplyError> {
        let register = Arc::clone(&inner.register);
        let editor = &mut inner.editor;
        let changes = &assembly.changes;
        let (applied, mut frame) =
            join(changes.len(), || editor.apply(&register, changes), || encoded(changes));
        let applied: Applied = applied.map_err(|damage| self.directory.damaged_register(&damage))?;
        if let Some(&(index, reason)) = applied.bad.first() {
            if skip_bad.is_none() {
                return Err(ApplyError::Bad { line: assembly.lines[index], reason });
            }
            assembly.check_limit(skip_bad, read, applied.bad.len() as u64)?;
            applied.bad.iter().for_each(|&(index, reason)| assembly.reject(index, reason));
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
        inner.write_frame(&frame, &self.directory)?;
        let LogPosition { segment, version, bytes: last, .. } = inner.position;
        let bytes = last + frame.len() as u64;
        inner.position = LogPosition { segment, version, bytes, sequence: to, last, sum };
        inner.log_bytes += frame.len() as u64;
        inner.register = Arc::new(applied.register);
        let ticket = self.committer.written(Arc::clone(&inner.register));
        Ok((Pending { ticket, segment: Arc::clone(&inner.segment), end: bytes }, applied.without_effect))
    }

    /// Waits until a batch is durable and published. Concurrent waits share one sync.
    pub fn wait(&self, pending: Option<Pending>) -> Result<(), StoreError> {
        let Some(Pending { ticket, segment, end }) = pending else { return Ok(()) };
        let synced = self.committer.wait(ticket, || segment.file.sync());
        synced.map_err(|error| self.failed(error.kind()))?;
        segment.durable.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Waits until all written batches are durable and published.
    pub(super) fn wait_for_all(&self, inner: &WriterState) -> Result<(), StoreError> {
        self.wait(inner.last.clone())
    }

    /// Checks that no sync has failed, and no write that could not be undone.
    pub(super) fn usable(&self, inner: &WriterState) -> Result<(), StoreError> {
        let failed = inner.failed.or_else(|| self.committer.failed());
        failed.map_or(Ok(()), |kind| Err(self.failed(kind)))?;
        // Changes to a register whose file has been written to would be changes to another one.
        inner.register.intact().map_err(|damage| self.directory.damaged_register(&damage))
    }

    /// Whether another program has put another file in place of the register file, or removed it.
    #[cfg(feature = "replica")]
    pub(crate) fn is_displaced(&self) -> bool {
        let (base, file) = {
            let inner = self.lock();
            (inner.base, inner.file)
        };
        self.directory.disk.file_id(&names::register(base)).map_or(true, |found| found != file)
    }

    fn failed(&self, kind: io::ErrorKind) -> StoreError {
        StoreError::Failed { directory: self.directory.path.clone(), kind }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WriterState> {
        // A panic under the lock may have left half a batch, so nothing more is written.
        self.inner.lock().unwrap_or_else(|poisoned| {
            let mut inner = poisoned.into_inner();
            inner.failed.get_or_insert(io::ErrorKind::Other);
            inner
        })
    }
}

impl WriterState {
    fn renew_editor(&mut self, directory: &DataDirectory) -> Result<(), StoreError> {
        self.editor = directory.editor(&self.register)?;
        Ok(())
    }

    /// Appends a frame. If that fails, the log is truncated to its former length.
    fn write_frame(&mut self, frame: &[u8], directory: &DataDirectory) -> Result<(), StoreError> {
        let (file, at) = (&self.segment.file, self.position.bytes);
        let written = file.write_at(frame, at);
        let name = names::segment(self.position.segment);
        written.map_err(|error| {
            if let Err(error) = file.cut(at) {
                self.failed = Some(error.kind());
            }
            directory.io(&name)(error)
        })
    }

    /// Begins a new segment, which replaces the last one if that is empty. All frames before must be durable.
    pub(super) fn begin_segment(&mut self, directory: &DataDirectory) -> Result<(), StoreError> {
        let LogPosition { sequence, sum, .. } = self.position;
        let made = directory.new_segment(self.register.kind(), sequence, sum);
        if let Err(StoreError::Io { error, .. }) = &made
            && !directory.is_missing(&names::segment(sequence))
        {
            // It has its name, perhaps not durably: readers would not look for more frames in the old one.
            self.failed = Some(error.kind());
        }
        let segment = made?;
        let bytes = SEGMENT_HEAD_BYTES as u64;
        let version = LOG_VERSION;
        self.position = LogPosition { segment: sequence, version, bytes, sequence, last: 0, sum };
        self.segment = Segment::new(segment, bytes);
        Ok(())
    }
}

/// Writes a part of a file again, unchanged.
fn rewrite(file: &dyn DiskFile, part: Range<u64>) -> io::Result<()> {
    let mut bytes = vec![0; part.end.saturating_sub(part.start) as usize];
    let read = file.read_at(&mut bytes, part.start)?;
    if read > 0 { file.write_at(&bytes[..read], part.start) } else { Ok(()) }
}

/// Encoded changes, after space for the head of their frame.
fn encoded(changes: &[Change]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + changes.len() * 48);
    frame.resize(FRAME_HEAD_BYTES, 0);
    changes.iter().for_each(|change| encode(change, &mut frame));
    frame
}
