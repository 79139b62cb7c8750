//! Following a data directory while a writer writes to it.

use super::directory::DataDirectory;
use super::disk::{DiskFile, FileId};
use super::error::StoreError;
use super::load::{LoadedRegister, LogReplay};
use super::log::LogReader;
use super::names;
use super::register_file::RegisterFileLooks;
use crate::changes::apply::Editor;
use crate::register::Register;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Attempts to load a directory while checkpoints remove files.
const LOAD_ATTEMPTS: usize = 16;

/// Follows a data directory. There may be any number of readers in any number of processes; they take no lock and
/// never block the writer.
pub struct Reader {
    directory: DataDirectory,
    /// Device and inode of the directory; `None` if it must be loaded again after an error.
    identity: Option<(u64, u64)>,
    state: ReaderState,
    looks: RegisterFileLooks,
    /// How often the directory was loaded.
    loads: u64,
}

/// A register, and the log that it was read from.
struct ReaderState {
    register: Arc<Register>,
    editor: Editor,
    /// Sequence number of the register file.
    base: u64,
    /// The register file, as it was just before it was opened.
    file: FileId,
    log: LogReader,
}

impl Reader {
    /// Loads a data directory.
    pub fn open(directory: impl AsRef<Path>) -> Result<Reader, StoreError> {
        Reader::of(DataDirectory::new(directory.as_ref()))
    }

    pub(crate) fn of(directory: DataDirectory) -> Result<Reader, StoreError> {
        // First: a directory that replaces this one from now on is noticed by the next refresh.
        let identity = directory.disk.identity().ok_or_else(|| StoreError::not_one(&directory.path))?;
        let state = ReaderState::load(&directory)?;
        let looks = RegisterFileLooks::default();
        Ok(Reader { directory, identity: Some(identity), state, looks, loads: 1 })
    }

    /// The register as of the last [`refresh`](Self::refresh). It never changes; later versions are other registers.
    pub fn register(&self) -> Arc<Register> {
        Arc::clone(&self.state.register)
    }

    /// The register file below the register.
    pub fn register_file(&self) -> PathBuf {
        self.directory.path.join(names::register(self.state.base))
    }

    /// Bytes in the log after the last whole batch: of a batch that is being written, or of one that was never
    /// acknowledged and that the next writer removes.
    pub fn unfinished_bytes(&self) -> Result<u64, StoreError> {
        let position = self.state.log.position();
        let name = names::segment(position.segment);
        match self.directory.disk.open(&name).and_then(|file| file.length()) {
            Ok(length) => Ok(length.saturating_sub(position.bytes)),
            // A checkpoint has folded it into a register file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.directory.io(&name)(error)),
        }
    }

    /// Reads what is new. Returns whether there was anything: changes, the register file of a checkpoint, or another
    /// directory in place of the one that was read.
    ///
    /// The register is durable from then on. After an error the next call loads the directory again.
    /// Cost: some microseconds if nothing is new.
    pub fn refresh(&mut self) -> Result<bool, StoreError> {
        if self.identity != Some(self.directory.identity()?) {
            return self.load_again();
        }
        let refreshed = self.read_all();
        match refreshed {
            // What is in the log now is not what was read.
            Ok(false) if !self.state.log.is_current()? => return self.load_again(),
            Ok(_) => {}
            Err(_) => self.identity = None,
        }
        refreshed
    }

    /// Looks at the register files, after a [`refresh`](Self::refresh). If another program has replaced the one that is
    /// read, or has written to it, what is there now is verified, and read if it is whole. Returns whether it was. In a
    /// replica nothing of another program is read: it is what its source says, and its follower makes the file again.
    ///
    /// Errors: what is there now is not whole ([`StoreError::Replaced`]), or there is a newer register file to which the
    /// log does not lead, such as a damaged one ([`StoreError::Newer`]). The register is then the same as before.
    /// Cost: some microseconds if nothing is new; a file that has been refused is not read again.
    pub fn check_register_files(&mut self) -> Result<bool, StoreError> {
        let ReaderState { register, base, file, .. } = &self.state;
        let Some(whole) = self.looks.replacement(&self.directory, register, *base, *file)? else {
            return self.looks.newer(&self.directory, *base, register.kind()).map(|()| false);
        };
        let state = ReaderState::load(&self.directory)?;
        // Otherwise it was replaced again, or the log is shorter: the next look and refresh decide.
        let is_it = state.file == whole && state.base == *base;
        let is_taken = is_it && state.log.position().sequence >= self.state.log.position().sequence;
        if is_taken {
            self.state = state;
            self.loads += 1;
        }
        Ok(is_taken)
    }

    fn load_again(&mut self) -> Result<bool, StoreError> {
        let loads = self.loads + 1;
        *self = Reader { loads, ..Reader::of(self.directory.clone())? };
        Ok(true)
    }

    /// How often the directory was loaded as a whole. Until that is more, each register continues the one before.
    #[cfg(feature = "fleet")]
    pub(crate) fn loads(&self) -> u64 {
        self.loads
    }

    /// Has the next refresh load the directory again.
    #[cfg(feature = "service")]
    pub(crate) fn forget(&mut self) {
        self.identity = None;
    }

    fn read_all(&mut self) -> Result<bool, StoreError> {
        let before = (self.state.log.position().sequence, self.state.base);
        let passed;
        loop {
            self.read_segment()?;
            let (segment, next) = (self.state.log.position().segment, self.state.log.position().sequence);
            if next == segment {
                passed = self.directory.is_missing(&names::segment(next));
                break;
            }
            // A checkpoint begins a segment where the one before it ends.
            match self.directory.disk.open(&names::segment(next)) {
                Ok(file) => self.enter(file, next)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Removed only after a later checkpoint: then the next segment may be removed as well.
                    passed = self.directory.is_missing(&names::segment(segment));
                    break;
                }
                Err(error) => return Err(self.directory.io(&names::segment(next))(error)),
            }
        }
        self.rebase(passed)?;
        Ok((self.state.log.position().sequence, self.state.base) != before)
    }

    fn enter(&mut self, file: Box<dyn DiskFile>, after: u64) -> Result<(), StoreError> {
        // The old segment was complete before the new one was made.
        self.read_segment()?;
        if self.state.log.position().sequence != after {
            return Ok(());
        }
        self.state.log.enter(after, file)
    }

    /// Applies the whole frames of the segment that have not been read.
    fn read_segment(&mut self) -> Result<(), StoreError> {
        let ReaderState { register, editor, log, .. } = &mut self.state;
        // Without a frame, a batch may be in the middle of being written.
        let Some(mut read) = log.next_in_segment()? else {
            log.release_window();
            return Ok(());
        };
        let mut replay = LogReplay::new(&self.directory, register.at(register.version().clone()), editor);
        loop {
            replay.add(&read)?;
            match log.next_in_segment()? {
                Some(next) => read = next,
                None => break,
            }
        }
        replay.flush()?;
        drop(read);
        log.release_window();
        // A batch that a reader shows must survive a power cut.
        log.sync()?;
        *register = Arc::new(replay.register);
        Ok(())
    }

    /// Goes over to the register file of a checkpoint if it exists, or if one was `passed`.
    fn rebase(&mut self, passed: bool) -> Result<(), StoreError> {
        let newer = self.state.log.position().segment;
        if !passed && (newer <= self.state.base || self.directory.is_missing(&names::register(newer))) {
            return Ok(());
        }
        let state = ReaderState::load(&self.directory)?;
        if state.log.position().sequence >= self.state.log.position().sequence {
            self.state = state;
            self.loads += 1;
        }
        Ok(())
    }
}

impl ReaderState {
    /// Loads a directory from which a checkpoint may be removing files.
    fn load(directory: &DataDirectory) -> Result<ReaderState, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let loaded = directory.load().and_then(|loaded| {
                let LoadedRegister { register, editor, base, file, position, .. } = loaded;
                let log = LogReader::resume(directory, position, &[])?;
                // As in `read_segment`.
                log.sync()?;
                Ok(ReaderState { register, editor, base, file, log })
            });
            match loaded {
                Err(StoreError::Io { error, .. })
                    if error.kind() == io::ErrorKind::NotFound && attempt < LOAD_ATTEMPTS => {}
                Err(StoreError::LogMissing { .. }) if attempt < LOAD_ATTEMPTS => {}
                loaded => return loaded,
            }
        }
    }
}
