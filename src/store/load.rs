//! Loading a data directory: the newest register file, and the changes after it.

use super::directory::DataDirectory;
use super::disk::FileId;
use super::error::StoreError;
use super::format::FRAME_HEAD_BYTES;
use super::log::{LogFrame, LogPosition, LogReader, Tail};
use super::names;
use crate::changes::Change;
use crate::changes::apply::{Editor, on_threads};
use crate::changes::json::BadLine;
use crate::register::Register;
use std::sync::Arc;

/// Changes that are applied together while the log is read.
const CHANGES_TOGETHER: usize = 500_000;

/// A register in memory, with what is needed to apply more changes.
pub(crate) struct LoadedRegister {
    pub(crate) register: Arc<Register>,
    pub(crate) editor: Editor,
    /// Sequence number of the register file.
    pub(crate) base: u64,
    /// The register file, as it was just before it was opened.
    pub(crate) file: FileId,
    /// The end of the log.
    pub(crate) position: LogPosition,
    /// Bytes of log after the register file.
    pub(crate) log_bytes: u64,
    /// Bytes of the last segment that were durable when its last frame was written.
    pub(crate) durable: u64,
    pub(crate) tail: Tail,
}

/// Applies the frames of a log to a register.
pub(crate) struct LogReplay<'e> {
    directory: &'e DataDirectory,
    pub(crate) register: Register,
    editor: &'e mut Editor,
    pending: Vec<Change>,
}

impl DataDirectory {
    pub(super) fn editor(&self, register: &Register) -> Result<Editor, StoreError> {
        Editor::of(register).map_err(|damage| self.damaged_register(&damage))
    }

    /// Loads the newest register file and all changes after it.
    pub(super) fn load(&self) -> Result<LoadedRegister, StoreError> {
        let contents = self.contents()?;
        let base = *contents.registers.last().ok_or_else(|| StoreError::not_one(&self.path))?;
        let name = names::register(base);
        let file = self.disk.file_id(&name).map_err(self.io(&name))?;
        let register = self.register(base)?;
        let mut editor = self.editor(&register)?;
        let mut replay = LogReplay::new(self, register, &mut editor);
        let missing = |after| StoreError::LogMissing { directory: self.path.clone(), after };
        let first = contents.segments.iter().rposition(|&after| after <= base).ok_or(missing(base))?;
        let mut log = LogReader::new(self, &contents.segments[first..], Some(replay.register.kind()));
        let mut log_bytes = 0;
        while let Some(read) = log.next()? {
            let frame = &read.frame;
            if frame.to <= base {
                continue;
            }
            if frame.after < base {
                return Err(read.damaged(self, "a batch begins before the register file and ends after it"));
            }
            log_bytes += (FRAME_HEAD_BYTES + frame.end() - frame.payload.start) as u64;
            replay.add(&read)?;
        }
        let (position, durable, tail) = log.into_end();
        if position.sequence < base {
            return Err(missing(position.sequence));
        }
        replay.flush()?;
        let register = Arc::new(replay.register);
        Ok(LoadedRegister { register, editor, base, file, position, log_bytes, durable, tail })
    }
}

impl<'e> LogReplay<'e> {
    pub(super) fn new(
        directory: &'e DataDirectory,
        register: Register,
        editor: &'e mut Editor,
    ) -> LogReplay<'e> {
        LogReplay { directory, register, editor, pending: Vec::new() }
    }

    /// Adds the changes of a frame, and applies what has been added if there is much of it.
    pub(super) fn add(&mut self, read: &LogFrame) -> Result<(), StoreError> {
        let kind = self.register.kind();
        for change in read.changes(self.directory)? {
            // As for a line of JSON.
            let change = change.of_kind(kind).map_err(|BadLine { reason, .. }| {
                let finding = format!("a change does not fit the register: {reason}");
                read.damaged(self.directory, &finding)
            });
            self.pending.push(change?);
        }
        if self.pending.len() >= CHANGES_TOGETHER { self.flush() } else { Ok(()) }
    }

    /// Applies what has been added.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (editor, register, pending) = (&mut *self.editor, &self.register, &self.pending);
        let applied = on_threads(pending.len(), || editor.apply(register, pending));
        let applied = applied.map_err(|damage| self.directory.damaged_register(&damage))?;
        if let Some((index, why)) = applied.bad.first() {
            let sequence = self.pending[*index].sequence();
            let finding = format!("change {sequence} does not fit the register: {why}");
            return Err(self.directory.damaged("", 0, finding));
        }
        self.register = applied.register;
        self.pending.clear();
        Ok(())
    }
}
