//! The writer of a data directory.

use super::assembly::{BatchAssembly, RepeatedChanges};
use super::batch::{ApplyError, Batch, Lines};
use super::commit::{Committer, Ticket};
use super::directory::DataDirectory;
use super::disk::{DiskFile, FileId, LOCK, Lock};
use super::error::StoreError;
use super::format::{self, FRAME_HEAD_BYTES, LOG_VERSION, SEGMENT_HEAD_BYTES};
use super::load::LoadedRegister;
use super::log::{LogPosition, Tail};
use super::names;
use super::open_files::{KnownFiles, OpenFiles, Segment};
use crate::changes::Change;
#[cfg(feature = "service")]
use crate::changes::ChangeBody;
use crate::changes::apply::{Applied, Editor, join};
use crate::changes::encoding::encode;
use crate::limits::BATCH_BYTES_MAX;
use crate::register::{Kind, Register, moment};
use crate::rejected::RejectedLimit;
#[cfg(feature = "service")]
use jiff::Timestamp;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;
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
    lock: Lock,
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
    pub(super) known: Arc<KnownFiles>,
    last: Option<Pending>,
    /// A write failed and could not be undone.
    failed: Option<io::ErrorKind>,
    /// Position up to which repeated changes have been compared with the log.
    repeated: Option<RepeatedChanges>,
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
            known: Arc::new(KnownFiles::of(directory.contents()?)),
            last: None,
            failed: None,
            repeated: None,
        };
        let (inner, checkpointing) = (Mutex::new(inner), Mutex::new(()));
        Ok(Writer { directory, inner, committer, checkpointing, kind, recovered, lock })
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
        self.append_after(|_| lines, skip_bad)
    }

    /// As [`append`](Self::append), for lines that depend on the sequence number before them. No other batch comes between.
    pub fn append_after(
        &self,
        lines: impl FnOnce(u64) -> Lines,
        skip_bad: Option<RejectedLimit>,
    ) -> Result<(Batch, Option<Pending>), ApplyError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        self.usable(inner)?;
        let from = inner.position.sequence;
        let lines = lines(from);
        let read = lines.len() as u64;
        let time = moment::nanoseconds(inner.register.as_of()).unwrap_or_default();
        let mut assembly = BatchAssembly::new(lines, self.kind, from, time, skip_bad.is_some())?;
        assembly.compare(&self.directory, &mut inner.repeated)?;
        assembly.check_limit(skip_bad, read, 0)?;
        if assembly.changes.is_empty() {
            let pending = inner.last.clone();
            return Ok((assembly.summary(from, 0), pending));
        }
        let (pending, without_effect) = self.write_batch(inner, &mut assembly, skip_bad, read)?;
        Ok((assembly.summary(from, without_effect), Some(pending)))
    }

    /// Decides on a change by the newest written version, and writes it to the log as a batch with the next number. No
    /// other batch comes between. Until [`wait`](Self::wait) has returned, what was decided may be lost, and so may the
    /// version that it was decided by.
    ///
    /// Errors: those of `decide`; a change that does not fit the register; the directory cannot be written.
    #[cfg(feature = "service")]
    pub(crate) fn append_decided<E: From<ApplyError>>(
        &self,
        time: Timestamp,
        decide: impl FnOnce(&Register) -> Result<Option<ChangeBody>, E>,
    ) -> Result<Option<Pending>, E> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        self.usable(inner).map_err(ApplyError::from)?;
        let Some(what) = decide(&inner.register)? else { return Ok(inner.last.clone()) };
        let sequence = inner.position.sequence + 1;
        let change = Change { sequence, time: moment::nanoseconds(time).unwrap_or_default(), what };
        let mut assembly = BatchAssembly::of(change);
        let (pending, _) = self.write_batch(inner, &mut assembly, None, 1)?;
        Ok(Some(pending))
    }

    /// Makes the next version, and writes its changes to the log in the current format.
    fn write_batch(
        &self,
        inner: &mut WriterState,
        assembly: &mut BatchAssembly,
        skip_bad: Option<RejectedLimit>,
        read: u64,
    ) -> Result<(Pending, u64), ApplyError> {
        if inner.position.version < LOG_VERSION {
            // Programs that know the format of this segment only must be able to read all of it.
            self.wait_for_all(inner)?;
            inner.begin_segment(&self.directory)?;
        }
        let written = self.write(inner, assembly, skip_bad, read);
        if written.is_err() {
            // The editor may know rules and states that the register does not have.
            inner.renew_editor(&self.directory)?;
        }
        let (pending, without_effect) = written?;
        (inner.last, inner.repeated) = (Some(pending.clone()), None);
        Ok((pending, without_effect))
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
        self.in_place(inner)
    }

    /// Checks the lock and the [open files](OpenFiles::check): what is written to files that others have removed or replaced
    /// would not be found again. Cost: seven system calls.
    fn in_place(&self, inner: &WriterState) -> Result<(), StoreError> {
        self.directory.leads_to(LOCK, &self.lock.file)?;
        self.files_of(inner).check()
    }

    /// Errors: nothing more can be written, because a write or a sync has failed, or another program has replaced the files.
    #[cfg(feature = "service")]
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.usable(&self.lock())
    }

    fn files_of(&self, inner: &WriterState) -> OpenFiles {
        OpenFiles {
            directory: self.directory.clone(),
            register: Arc::clone(&inner.register),
            base: inner.base,
            file: inner.file,
            segment: Arc::clone(&inner.segment),
            position: inner.position.clone(),
            may_have_tail: inner.failed.is_some(),
            known: Arc::clone(&inner.known),
        }
    }

    /// The files that it has open, which can be checked after it was closed.
    #[cfg(feature = "replica")]
    pub(crate) fn open_files(&self) -> OpenFiles {
        // What a failed write left is removed when the directory is opened again.
        OpenFiles { may_have_tail: true, ..self.files_of(&self.lock()) }
    }

    /// Checks the lock and the [open files](OpenFiles::check_all).
    ///
    /// Errors: another program has replaced, removed or altered one, or added one.
    #[cfg(feature = "replica")]
    pub(crate) fn check_files(&self) -> Result<(), StoreError> {
        let inner = self.lock();
        self.directory.leads_to(LOCK, &self.lock.file)?;
        self.files_of(&inner).check_all()
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
        Arc::make_mut(&mut self.known).segments.insert(sequence);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::init;
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    /// A data directory with a writer, and the lines of changes that it can apply.
    fn begun(at: &Path) -> (PathBuf, Writer, Vec<Vec<u8>>) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let directory = at.join("far");
        init(fixtures.join("far"), &directory).expect("a data directory");
        let text = fs::read(fixtures.join("changes/far.jsonl")).expect("changes");
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let writer = Writer::open(&directory).expect("a writer");
        (directory, writer, lines)
    }

    /// What is written to a file that is not found again is not acknowledged. With the same file in its place, the writer
    /// goes on.
    #[test]
    fn nothing_is_written_to_files_that_were_replaced_or_removed() {
        let work = tempfile::tempdir().expect("directory");
        let (directory, writer, lines) = begun(work.path());
        let mut next = 0;
        let mut apply = || {
            let applied = writer.apply(Lines::parse(&lines[next], writer.kind()), None);
            next += usize::from(applied.is_ok());
            applied.map(drop)
        };
        apply().expect("applied");
        let aside = work.path().join("aside");
        let is_refused = |applied: Result<(), ApplyError>, what: &str| {
            let why = applied.expect_err(what).to_string();
            assert!(why.contains("another program has"), "{what}: {why}");
        };
        for name in [LOCK.to_owned(), names::register(1000), names::segment(1000), String::new()] {
            let path = directory.join(&name);
            fs::rename(&path, &aside).expect("renamed");
            is_refused(apply(), &name);
            assert!(writer.checkpoint(false).is_err(), "{name}");
            if aside.is_file() {
                fs::copy(&aside, &path).expect("copied");
                is_refused(apply(), &name);
                fs::remove_file(&path).expect("removed");
            }
            fs::rename(&aside, &path).expect("renamed");
            apply().expect("its own file");
        }
        let segment = File::options().write(true).open(directory.join(names::segment(1000))).expect("opened");
        let length = segment.metadata().expect("read").len();
        for other in [length - 1, length + 1] {
            segment.set_len(other).expect("its length is changed");
            is_refused(apply(), "length");
        }
        segment.set_len(length).expect("as it was");
        // Another log of the same length.
        let whole = fs::read(directory.join(names::segment(1000))).expect("read");
        segment.write_all_at(&vec![0; whole.len()], 0).expect("written");
        is_refused(apply(), "in place");
        segment.write_all_at(&whole, 0).expect("written");
        apply().expect("its own file");
    }

    /// Without its lock, a directory takes a second writer; then the first one writes nothing more.
    #[test]
    fn of_two_writers_only_the_second_one_writes() {
        let work = tempfile::tempdir().expect("directory");
        let (directory, first, lines) = begun(work.path());
        let apply = |writer: &Writer| writer.apply(Lines::parse(&lines[0], writer.kind()), None);
        fs::remove_file(directory.join(LOCK)).expect("removed");
        let second = Writer::open(&directory).expect("a second writer");
        assert!(apply(&first).is_err());
        apply(&second).expect("applied");
        drop((first, second));
        assert_eq!(Writer::open(&directory).expect("whole").recovered().sequence, 1001);
    }
}
