//! Reading a data directory while somebody else writes to it.

use super::disk::DiskFile;
use super::format::{self, SEGMENT_HEAD_BYTES};
use super::load::{Loaded, Loading, Place, Position, place};
use super::{StoreError, names};
use crate::register::Register;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Times that a directory is read anew because a checkpoint removed files meanwhile.
const ATTEMPTS: usize = 16;

/// Follows a data directory: any number of them in any number of processes. Takes no lock and never makes
/// the writer wait.
pub struct Reader {
    place: Place,
    /// Which directory is read; `None` if it is read anew because it could not be read on.
    identity: Option<(u64, u64)>,
    loaded: Loaded,
    segment: Box<dyn DiskFile>,
}

impl Reader {
    /// Reads a data directory as it is now.
    pub fn open(directory: &Path) -> Result<Reader, StoreError> {
        Reader::of(place(directory))
    }

    pub(crate) fn of(place: Place) -> Result<Reader, StoreError> {
        // First: if another directory takes its place now, that is seen at the next look.
        let identity = place.disk.identity().ok_or_else(|| StoreError::NotOne(place.path.clone()))?;
        let (loaded, segment) = load(&place)?;
        Ok(Reader { place, identity: Some(identity), loaded, segment })
    }

    /// The register as of the last [`refresh`](Self::refresh). Whoever keeps it keeps that version.
    pub fn register(&self) -> Arc<Register> {
        Arc::clone(&self.loaded.register)
    }

    /// The register file that the register is made of.
    pub fn register_file(&self) -> PathBuf {
        self.place.path.join(names::register(self.loaded.base))
    }

    /// Takes in what has been written since. Returns whether there was anything: changes, a register file that
    /// they have been folded into, or another directory that has taken the place of the one that was read.
    ///
    /// What it shows from then on is durable. After an error the directory is read anew at the next call.
    /// Cost: some microseconds if there was nothing.
    pub fn refresh(&mut self) -> Result<bool, StoreError> {
        if self.identity != Some(self.place.identity()?) {
            *self = Reader::of(self.place.clone())?;
            return Ok(true);
        }
        let read = self.read_all();
        if read.is_err() {
            self.identity = None;
        }
        read
    }

    fn read_all(&mut self) -> Result<bool, StoreError> {
        let before = (self.loaded.position.sequence, self.loaded.base);
        let passed;
        loop {
            self.read_on()?;
            let next = self.loaded.position.sequence;
            if next == self.loaded.position.segment {
                passed = self.place.is_missing(&names::segment(next));
                break;
            }
            // A checkpoint begins a segment where the one before it ends.
            match self.place.disk.open(&names::segment(next)) {
                Ok(file) => self.enter(file, next)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Removed only behind a later checkpoint: then the next segment may be gone as well.
                    passed = self.place.is_missing(&names::segment(self.loaded.position.segment));
                    break;
                }
                Err(error) => return Err(self.place.io(&names::segment(next))(error)),
            }
        }
        self.rebase(passed)?;
        Ok((self.loaded.position.sequence, self.loaded.base) != before)
    }

    fn enter(&mut self, file: Box<dyn DiskFile>, after: u64) -> Result<(), StoreError> {
        // What is still to come in the old segment came before the new one was made.
        self.read_on()?;
        if self.loaded.position.sequence != after {
            return Ok(());
        }
        let name = names::segment(after);
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        let read = file.read_at(&mut bytes, 0).map_err(self.place.io(&name))?;
        let head = self.place.segment_head(&name, &bytes[..read])?;
        if (head.after, head.sum) != (after, self.loaded.position.sum) {
            return Err(self.place.damaged(&name, 0, "it does not belong to the segment before it"));
        }
        let position = &mut self.loaded.position;
        *position = Position { segment: after, bytes: SEGMENT_HEAD_BYTES as u64, ..position.clone() };
        self.segment = file;
        Ok(())
    }

    /// Applies the whole frames behind where the segment was read to.
    fn read_on(&mut self) -> Result<(), StoreError> {
        let position = &self.loaded.position;
        let name = names::segment(position.segment);
        let length = self.segment.length().map_err(self.place.io(&name))?;
        if length <= position.bytes {
            return Ok(());
        }
        let mut bytes = vec![0; (length - position.bytes) as usize];
        let read = self.segment.read_at(&mut bytes, position.bytes).map_err(self.place.io(&name))?;
        bytes.truncate(read);
        let (mut at, mut sequence, mut sum) = (0, position.sequence, position.sum);
        let mut frames = Vec::new();
        while let Some(frame) = format::frame_at(&bytes, at, sequence, &sum) {
            (at, sequence, sum) = (frame.end(), frame.to, frame.sum);
            frames.push(frame);
        }
        if frames.is_empty() {
            return Ok(()); // A batch is being written.
        }
        // Whoever shows a batch must not be alone with it after a power cut.
        self.segment.sync().map_err(self.place.io(&name))?;
        let register = self.loaded.register.at(self.loaded.register.version().clone());
        let mut loading = Loading::new(&self.place, register, &mut self.loaded.editor);
        for frame in &frames {
            loading.add(frame, &bytes[frame.payload.clone()], &name)?;
        }
        loading.flush()?;
        self.loaded.register = Arc::new(loading.register);
        let position = &mut self.loaded.position;
        *position = Position { bytes: position.bytes + at as u64, sequence, sum, ..position.clone() };
        Ok(())
    }

    /// Goes over to the register file of a checkpoint when there is one, or when one has `passed` by.
    fn rebase(&mut self, passed: bool) -> Result<(), StoreError> {
        let newer = self.loaded.position.segment;
        if !passed && (newer <= self.loaded.base || self.place.is_missing(&names::register(newer))) {
            return Ok(());
        }
        let (loaded, segment) = load(&self.place)?;
        if loaded.position.sequence >= self.loaded.position.sequence {
            (self.loaded, self.segment) = (loaded, segment);
        }
        Ok(())
    }
}

/// Loads a directory from which a checkpoint may be removing files.
fn load(place: &Place) -> Result<(Loaded, Box<dyn DiskFile>), StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let loaded = place.load().and_then(|(loaded, _)| {
            let name = names::segment(loaded.position.segment);
            let segment = place.disk.open(&name).map_err(place.io(&name))?;
            // As in `read_on`.
            segment.sync().map_err(place.io(&name))?;
            Ok((loaded, segment))
        });
        match loaded {
            Err(StoreError::Io { error, .. })
                if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
            Err(StoreError::LogMissing { .. }) if attempt < ATTEMPTS => {}
            loaded => return loaded,
        }
    }
}
