//! Checkpoints: the log is folded into a new register file.

use super::error::StoreError;
use super::format::SEGMENT_HEAD_BYTES;
use super::load::LogReplay;
use super::log::LogReader;
use super::names;
use super::writer::Writer;
use crate::register::Register;
use crate::snapshot::write::Draft;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Most changes to apply while writers wait.
const CHANGES_LEFT: u64 = 20_000;
/// Most rounds of catching up before writers wait.
const ROUNDS: usize = 8;

/// Result of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Sequence number of the register file.
    pub sequence: u64,
    /// Changes folded into it; 0 if it was up to date.
    pub changes: u64,
    /// Length of the register file.
    pub file_bytes: u64,
    /// Files removed.
    pub removed: u64,
}

impl Writer {
    /// Writes the current register to a new register file, verifies it, and unless `keep` is set removes the files
    /// that it replaces.
    ///
    /// Readers and writers continue; writers wait at the end, until the last changes since have been applied. A crash
    /// at any point is safe. Cost for 8 million recipients: some seconds, and the memory of a build without its rows.
    pub fn checkpoint(&self, keep: bool) -> Result<Checkpoint, StoreError> {
        let _one: MutexGuard<'_, ()> = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let (register, base) = {
            let mut inner = self.lock();
            self.usable(&inner)?;
            self.wait_for_all(&inner)?;
            if inner.position.sequence != inner.position.segment {
                inner.begin_segment(&self.directory)?;
            }
            (Arc::clone(&inner.register), inner.base)
        };
        let sequence = register.sequence();
        if sequence != base {
            Arc::make_mut(&mut self.lock().known).registers.insert(sequence);
            self.write_register(&register)?;
            self.rebase(sequence)?;
        }
        let removed = if keep { 0 } else { self.remove_before(sequence)? };
        let name = names::register(sequence);
        let file_bytes = self.directory.open(&name)?.length().map_err(self.directory.io(&name))?;
        Ok(Checkpoint { sequence, changes: sequence - base, file_bytes, removed })
    }

    fn write_register(&self, register: &Register) -> Result<(), StoreError> {
        // What was read is that of the register file only if it has not been written to since.
        let draft = Draft::of(register).and_then(|draft| {
            register.intact()?;
            Ok(draft)
        });
        let draft = draft.map_err(|damage| self.directory.damaged_register(&damage))?;
        self.directory.write_register(register.sequence(), |out| draft.write_to(out))
    }

    /// Removes the files that a register file replaces. Writers wait: they compare repeated changes with old segments.
    fn remove_before(&self, sequence: u64) -> Result<u64, StoreError> {
        let _writers = self.lock();
        self.directory.remove_before(sequence)
    }

    /// Goes over to the new register file: loads it, applies the changes since, and replaces the version that is based
    /// on the old one.
    fn rebase(&self, sequence: u64) -> Result<(), StoreError> {
        let name = names::register(sequence);
        let file = self.directory.disk.file_id(&name).map_err(self.directory.io(&name))?;
        let register = self.directory.register(sequence)?;
        let mut editor = self.directory.editor(&register)?;
        let mut replay = LogReplay::new(&self.directory, register, &mut editor);
        let mut at = sequence;
        for _ in 0..ROUNDS {
            // The log may be ahead of the published version.
            if self.register().sequence().saturating_sub(at) < CHANGES_LEFT {
                break;
            }
            at = self.catch_up(&mut replay, sequence, at)?;
        }
        let mut inner = self.lock();
        self.usable(&inner)?;
        self.wait_for_all(&inner)?;
        self.catch_up(&mut replay, sequence, at)?;
        let register = Arc::new(replay.register);
        debug_assert_eq!(register.sequence(), inner.position.sequence);
        inner.editor = editor;
        inner.register = Arc::clone(&register);
        (inner.base, inner.file) = (sequence, file);
        inner.log_bytes = inner.position.bytes - SEGMENT_HEAD_BYTES as u64;
        self.committer.replace(register);
        Ok(())
    }

    /// Applies the changes after sequence number `at` in a segment; returns the sequence number at its end.
    fn catch_up(&self, replay: &mut LogReplay<'_>, segment: u64, at: u64) -> Result<u64, StoreError> {
        let mut log = LogReader::new(&self.directory, &[segment], None);
        while let Some(read) = log.next()? {
            if read.frame.after >= at {
                replay.add(&read)?;
            }
        }
        replay.flush()?;
        Ok(log.position().sequence.max(at))
    }
}
