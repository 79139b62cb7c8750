//! A simulated disk that distinguishes written from durable bytes and injects failures.
//!
//! A file has its current content, its durable content as of the last sync, and the edits between the two; so have
//! the names of the directory. A power cut leaves the durable content and *some* of the edits (`survivors.rs`); the
//! end of a process leaves the current content.

use crate::index::Page;
use crate::register::column::Storage;
use crate::store::directory::DataDirectory;
use crate::store::disk::{Disk, DiskFile, FileId, Lock};
use crate::store::format::{self, SegmentHead};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes with the alignment of every column.
#[derive(Clone, Default)]
pub(super) struct Bytes {
    pages: Vec<Page>,
    length: usize,
}

impl Bytes {
    pub(super) fn of(bytes: &[u8]) -> Bytes {
        let mut new = Bytes::default();
        new.write(0, bytes);
        new
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.set_length(self.length.max(at + bytes.len()));
        bytemuck::cast_slice_mut(&mut self.pages)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn set_length(&mut self, length: usize) {
        let end = self.length.min(length);
        self.pages.resize(length.div_ceil(size_of::<Page>()), Page::EMPTY);
        self.length = length;
        // Truncated bytes read as zero if the file grows again.
        bytemuck::cast_slice_mut::<Page, u8>(&mut self.pages)[end..].fill(0);
    }
}

impl crate::register::column::Bytes for Bytes {}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.pages)[..self.length]
    }
}

/// An edit of the content of a file.
#[derive(Clone)]
pub(super) enum Edit {
    Write { at: usize, bytes: Arc<[u8]> },
    Cut(usize),
}

impl Edit {
    pub(super) fn apply(&self, content: &mut Bytes) {
        match self {
            Edit::Write { at, bytes } => content.write(*at, bytes),
            Edit::Cut(length) => content.set_length(*length),
        }
    }
}

/// An edit of the names: a creation, a renaming or a removal.
#[derive(Clone)]
pub(super) struct NameEdit {
    gone: Option<String>,
    put: Option<(String, usize)>,
}

impl NameEdit {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.gone {
            names.remove(name);
        }
        names.extend(self.put.clone());
    }
}

#[derive(Clone, Default)]
pub(super) struct SimFile {
    pub(super) now: Arc<Bytes>,
    pub(super) durable: Arc<Bytes>,
    /// Since the last sync.
    pub(super) edits: Vec<Edit>,
    /// Shared with each mapping of the file.
    mapped: Arc<()>,
}

/// The content of a file as [`Disk::read`] returns it.
struct Mapping {
    bytes: Arc<Bytes>,
    _mapped: Arc<()>,
}

impl crate::register::column::Bytes for Mapping {}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }
}

/// The failure to inject, and when. Operations are counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// The power fails during an operation.
    Crash(usize),
    /// One operation fails with an error; later ones succeed. A write has written a part.
    Error(usize, ErrorKind),
    /// All operations from one on fail.
    Errors(usize, ErrorKind),
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Write,
    Sync,
    Cut,
    Rename,
    Remove,
    SyncNames,
}

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) files: Vec<SimFile>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable: BTreeMap<String, usize>,
    /// Edits since the last sync of the names.
    pub(super) edits: Vec<NameEdit>,
    /// Number of operations so far.
    pub(super) operations: Vec<Operation>,
    /// The file, or the names, whose last edit a crash has interrupted.
    pub(super) interrupted: Option<Target>,
    fault: Fault,
    crashed: bool,
    locked: bool,
}

/// Target of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    File(usize),
    Names,
}

fn refused(kind: ErrorKind) -> io::Error {
    io::Error::new(kind, "the test says so")
}

/// What an operation must do.
enum Verdict {
    Go,
    /// Fail after the first half.
    Fail(io::Error),
    /// Fail, and keep the edit as one that may have been done.
    Crash(io::Error),
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(refused(ErrorKind::NotConnected)) } else { Ok(()) }
    }

    fn operation(&mut self, operation: Operation) -> io::Result<Verdict> {
        self.alive()?;
        self.operations.push(operation);
        let number = self.operations.len();
        Ok(match self.fault {
            Fault::Crash(at) if at == number => {
                self.crashed = true;
                Verdict::Crash(refused(ErrorKind::NotConnected))
            }
            Fault::Error(at, kind) if at == number => Verdict::Fail(refused(kind)),
            Fault::Errors(from, kind) if from <= number => Verdict::Fail(refused(kind)),
            _ => Verdict::Go,
        })
    }

    fn edit_file(&mut self, file: usize, operation: Operation, edit: Edit) -> io::Result<()> {
        let verdict = self.operation(operation)?;
        let edited = &mut self.files[file];
        assert_eq!(Arc::strong_count(&edited.mapped), 1, "a mapped file is never written");
        match verdict {
            Verdict::Crash(error) => {
                edited.edits.push(edit);
                self.interrupted = Some(Target::File(file));
                Err(error)
            }
            Verdict::Fail(error) => {
                if let Edit::Write { at, bytes } = edit {
                    let half = Edit::Write { at, bytes: bytes[..bytes.len() / 2].into() };
                    half.apply(Arc::make_mut(&mut edited.now));
                    edited.edits.push(half);
                }
                Err(error)
            }
            Verdict::Go => {
                edit.apply(Arc::make_mut(&mut edited.now));
                edited.edits.push(edit);
                Ok(())
            }
        }
    }

    fn edit_names(&mut self, operation: Operation, edit: NameEdit) -> io::Result<()> {
        match self.operation(operation)? {
            Verdict::Crash(error) => {
                self.edits.push(edit);
                self.interrupted = Some(Target::Names);
                Err(error)
            }
            Verdict::Fail(error) => Err(error),
            Verdict::Go => {
                edit.apply(&mut self.names);
                self.edits.push(edit);
                Ok(())
            }
        }
    }

    /// A failed sync marks pages clean that are not on the disk, as Linux does.
    fn sync(&mut self, file: usize) -> io::Result<()> {
        let verdict = self.operation(Operation::Sync)?;
        let SimFile { now, durable, edits, .. } = &mut self.files[file];
        match verdict {
            Verdict::Crash(error) => Err(error),
            Verdict::Fail(error) => {
                edits.clear();
                Err(error)
            }
            Verdict::Go => {
                edits.iter().for_each(|edit| edit.apply(Arc::make_mut(durable)));
                edits.clear();
                if (**now).as_ref() == (**durable).as_ref() {
                    *durable = Arc::clone(now);
                }
                Ok(())
            }
        }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        match self.operation(Operation::SyncNames)? {
            Verdict::Crash(error) | Verdict::Fail(error) => Err(error),
            Verdict::Go => {
                self.durable = self.names.clone();
                self.edits.clear();
                Ok(())
            }
        }
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        self.alive()?;
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// A directory on such a disk.
#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    pub(super) fn of(state: State) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(state)))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic on the disk")
    }

    /// The data directory on this disk.
    pub(super) fn directory(&self) -> DataDirectory {
        DataDirectory { disk: Arc::new(self.clone()), path: PathBuf::from("/simulated") }
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    pub(super) fn fault(&self) -> Fault {
        self.state().fault
    }

    /// Number of operations so far.
    pub(super) fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    pub(super) fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// The same disk for another process, after all processes have ended: the current content, no more durable than
    /// before.
    pub(super) fn after_exit(&self) -> SimDisk {
        let mut state = self.state().clone();
        match state.interrupted.take() {
            Some(Target::File(file)) => drop(state.files[file].edits.pop()),
            Some(Target::Names) => drop(state.edits.pop()),
            None => {}
        }
        state.files.iter_mut().for_each(|file| file.mapped = Arc::default());
        SimDisk::of(State {
            operations: Vec::new(),
            fault: Fault::None,
            crashed: false,
            locked: false,
            ..state
        })
    }

    /// After a power cut that has left only the durable content.
    pub(super) fn after_power_cut(&self) -> SimDisk {
        let state = self.state();
        SimDisk::fresh(
            state.durable.iter().map(|(name, &file)| (name.clone(), Arc::clone(&state.files[file].durable))),
        )
    }

    /// A disk with durable files.
    pub(super) fn fresh(files: impl IntoIterator<Item = (String, Arc<Bytes>)>) -> SimDisk {
        let mut state = State::default();
        for (name, content) in files {
            state.names.insert(name, state.files.len());
            let durable = Arc::clone(&content);
            state.files.push(SimFile { now: content, durable, ..SimFile::default() });
        }
        state.durable = state.names.clone();
        SimDisk::of(state)
    }

    /// Makes the last segment of a data directory one of format 1, as if it had been written long ago.
    pub(super) fn age(&self) {
        let mut state = self.state();
        let last = state.names.iter().rfind(|(name, _)| name.starts_with("changes-")).map(|(_, &file)| file);
        let Some(file) = last else { return };
        let SimFile { now, durable, .. } = &mut state.files[file];
        let head = format::decode_segment_head((**now).as_ref()).expect("a segment");
        let head = format::encode_segment_head(&SegmentHead { version: 1, ..head });
        // Its head was durable before it got its name.
        for content in [now, durable] {
            Arc::make_mut(content).write(0, &head);
        }
    }

    /// All names and their current content.
    pub(super) fn contents(&self) -> BTreeMap<String, Arc<Bytes>> {
        let state = self.state();
        let content = |(name, &file): (&String, &usize)| (name.clone(), Arc::clone(&state.files[file].now));
        state.names.iter().map(content).collect()
    }
}

impl Disk for SimDisk {
    fn identity(&self) -> Option<(u64, u64)> {
        Some((0, 0))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Storage> {
        let state = self.state();
        let SimFile { now, mapped, .. } = &state.files[state.file(name)?];
        Ok(Arc::new(Mapping { bytes: Arc::clone(now), _mapped: Arc::clone(mapped) }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.state().file(name)?;
        Ok(Box::new(Opened { disk: self.clone(), file }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let file = match state.file(name) {
            Ok(file) => {
                state.edit_file(file, Operation::Create, Edit::Cut(0))?;
                file
            }
            Err(_) => {
                state.files.push(SimFile::default());
                let file = state.files.len() - 1;
                let edit = NameEdit { gone: None, put: Some((name.to_owned(), file)) };
                state.edit_names(Operation::Create, edit)?;
                file
            }
        };
        Ok(Box::new(Opened { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let put = Some((to.to_owned(), state.file(from)?));
        state.edit_names(Operation::Rename, NameEdit { gone: Some(from.to_owned()), put })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.file(name)?;
        state.edit_names(Operation::Remove, NameEdit { gone: Some(name.to_owned()), put: None })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.state().sync_names()
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut state = self.state();
        state.alive()?;
        match std::mem::replace(&mut state.locked, true) {
            true => Err(ErrorKind::WouldBlock.into()),
            false => Ok(Lock::new(FileId::default(), SimLock(self.clone()))),
        }
    }
}

struct SimLock(SimDisk);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

struct Opened {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for Opened {
    fn length(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        Ok((*state.files[self.file].now).as_ref().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.alive()?;
        let bytes = (*state.files[self.file].now).as_ref().get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let edit = Edit::Write { at: offset as usize, bytes: bytes.into() };
        self.disk.state().edit_file(self.file, Operation::Write, edit)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state().sync(self.file)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.disk.state().edit_file(self.file, Operation::Cut, Edit::Cut(length as usize))
    }
}
