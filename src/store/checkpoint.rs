//! Checkpoints: a new register file of register file and log.

use super::disk::{Disk, Stream};
use super::load::{Loading, Place};
use super::walk::Walk;
use super::writer::Writer;
use super::{StoreError, names};
use crate::register::Register;
use crate::snapshot::Snapshot;
use crate::snapshot::write::Draft;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Changes that may be left to apply while writers wait.
const LEFT: u64 = 20_000;
/// Times that the changes of the meantime are applied before writers wait.
const ROUNDS: usize = 8;

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Sequence number of the register file.
    pub sequence: u64,
    /// Changes that it took in; 0 if it was up to date.
    pub changes: u64,
    /// Length of the register file.
    pub file_bytes: u64,
    /// Files that were removed.
    pub removed: u64,
}

impl Writer {
    /// Makes a register file of the register as it is now, verifies it, and removes the files that it
    /// makes superfluous, unless they are to be kept.
    ///
    /// Readers and writers go on meanwhile; writers wait at the end, for the time that some changes of
    /// the meantime take. Safe from a crash at any point. Cost: some seconds and the memory of a build
    /// without its rows for 8 million recipients.
    pub fn checkpoint(&self, keep: bool) -> Result<Checkpoint, StoreError> {
        let _one: MutexGuard<'_, ()> = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let (register, base) = {
            let mut inner = self.lock();
            self.usable(&inner)?;
            self.wait_for_all(&inner)?;
            if inner.position.sequence != inner.position.segment {
                inner.begin_segment(&self.place)?;
            }
            (Arc::clone(&inner.register), inner.base)
        };
        let sequence = register.sequence();
        if sequence != base {
            self.write_register(&register)?;
        }
        let removed = if keep { 0 } else { self.remove_before(sequence)? };
        if sequence != base {
            self.rebase(sequence)?;
        }
        let name = names::register(sequence);
        let file_bytes =
            self.place.disk.open(&name).and_then(|file| file.length()).map_err(self.place.io(&name))?;
        Ok(Checkpoint { sequence, changes: sequence - base, file_bytes, removed })
    }

    /// Writes a register file, and gives it its name when it is durable and has been verified.
    fn write_register(&self, register: &Register) -> Result<(), StoreError> {
        let draft = Draft::of(register).map_err(|damage| self.place.unusable(&damage))?;
        self.place.write_register(register.sequence(), |out| draft.write_to(out))
    }

    /// Removes what the register file of a sequence number makes superfluous. Writers wait, who else might
    /// compare with a segment that goes.
    fn remove_before(&self, sequence: u64) -> Result<u64, StoreError> {
        let _writers = self.lock();
        self.place.remove_before(sequence)
    }

    /// Goes over to the new register file: reads it, applies what has come since, and takes the place of
    /// the version that was made of the old one.
    fn rebase(&self, sequence: u64) -> Result<(), StoreError> {
        let register = self.place.register(sequence)?;
        let mut editor = self.place.editor(&register)?;
        let mut loading = Loading::new(&self.place, register, &mut editor);
        let mut at = sequence;
        for _ in 0..ROUNDS {
            // What is in the log may be ahead of what is durable.
            if self.register().sequence().saturating_sub(at) < LEFT {
                break;
            }
            at = self.catch_up(&mut loading, sequence, at)?;
        }
        let mut inner = self.lock();
        self.usable(&inner)?;
        self.wait_for_all(&inner)?;
        self.catch_up(&mut loading, sequence, at)?;
        let register = Arc::new(loading.register);
        debug_assert_eq!(register.sequence(), inner.position.sequence);
        inner.editor = editor;
        inner.register = Arc::clone(&register);
        inner.base = sequence;
        inner.log_bytes = inner.position.bytes - super::format::SEGMENT_HEAD_BYTES as u64;
        self.committer.replace(register);
        Ok(())
    }

    /// Applies the changes after `at` in the segment that follows `segment`; returns how far that is.
    fn catch_up(&self, loading: &mut Loading<'_>, segment: u64, at: u64) -> Result<u64, StoreError> {
        let mut walk = Walk::new(&self.place, &[segment], None);
        let name = names::segment(segment);
        while let Some(step) = walk.next()? {
            if step.frame.after >= at {
                loading.add(&step.frame, step.payload(), &name)?;
            }
        }
        loading.flush()?;
        Ok(walk.position.sequence.max(at))
    }
}

impl Place {
    /// Writes a register file under a temporary name, makes it durable, verifies it and renames it.
    pub(super) fn write_register(
        &self,
        sequence: u64,
        write: impl FnOnce(Stream<'_>) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        let name = names::register(sequence);
        let partial = names::partial(&name);
        let disk: &dyn Disk = &*self.disk;
        let written = (|| {
            let file = disk.create(&partial)?;
            write(Stream { file: &*file, at: 0 })?;
            file.sync()
        })();
        let checked = written.map_err(self.io(&name)).and_then(|()| self.verify_register(&partial));
        if checked.is_err() {
            // Best effort: what remains has a name that says what it is.
            let _ = disk.remove(&partial);
        }
        checked?;
        disk.rename(&partial, &name).and_then(|()| disk.sync_names()).map_err(self.io(&name))
    }

    /// Checks a register file completely.
    fn verify_register(&self, name: &str) -> Result<(), StoreError> {
        let storage = self.disk.read(name).map_err(self.io(name))?;
        let snapshot = Snapshot::of_storage(storage)
            .map_err(|error| StoreError::Register { path: self.path.join(name), error })?;
        match snapshot.verify().first() {
            None => Ok(()),
            Some(finding) => Err(self.damaged(name, 0, finding)),
        }
    }

    /// Removes register files and segments that nobody needs who has the register file of a sequence
    /// number. Returns how many.
    fn remove_before(&self, sequence: u64) -> Result<u64, StoreError> {
        let contents = self.contents()?;
        let registers = contents.registers.iter().filter(|&&number| number < sequence);
        let segments = contents.segments.iter().filter(|&&after| after < sequence);
        let names = segments.map(|&after| names::segment(after));
        let mut removed = 0;
        for name in registers.map(|&number| names::register(number)).chain(names) {
            // Segments from the oldest on, each durably: whatever a crash leaves follows one another.
            self.disk.remove(&name).map_err(self.io(&name))?;
            self.disk.sync_names().map_err(self.io(""))?;
            removed += 1;
        }
        Ok(removed)
    }
}
