//! The files that a writer has open, and whether their names still lead to them.

use super::directory::DataDirectory;
use super::disk::{DiskFile, FileId};
use super::error::StoreError;
use super::format::FRAME_SUM_OFFSET;
use super::log::LogPosition;
use super::names::{self, Contents};
use crate::register::Register;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The segment that is being written.
pub(super) struct Segment {
    pub(super) file: Box<dyn DiskFile>,
    /// Bytes of it known to be durable.
    pub(super) durable: AtomicU64,
}

impl Segment {
    pub(super) fn new(file: Box<dyn DiskFile>, durable: u64) -> Arc<Segment> {
        Arc::new(Segment { file, durable: AtomicU64::new(durable) })
    }
}

/// The register file and the end of the log of a writer, also after it was closed.
#[derive(Clone)]
pub(crate) struct OpenFiles {
    pub(super) directory: DataDirectory,
    pub(super) register: Arc<Register>,
    /// Sequence number of the register file.
    pub(super) base: u64,
    /// The register file, as it was just before it was opened.
    pub(super) file: FileId,
    pub(super) segment: Arc<Segment>,
    pub(super) position: LogPosition,
    /// Whether there may be bytes after the last batch, which could not be written to the end.
    pub(super) may_have_tail: bool,
    pub(super) known: Arc<KnownFiles>,
}

/// The register files and segments that a writer found when it opened its directory, or has made since.
#[derive(Clone, Default)]
pub(super) struct KnownFiles {
    pub(super) registers: BTreeSet<u64>,
    pub(super) segments: BTreeSet<u64>,
}

impl KnownFiles {
    pub(super) fn of(contents: Contents) -> KnownFiles {
        let Contents { registers, segments, .. } = contents;
        KnownFiles { registers: registers.into_iter().collect(), segments: segments.into_iter().collect() }
    }
}

impl OpenFiles {
    /// The same files after their directory has been renamed.
    #[cfg(feature = "replica")]
    pub(crate) fn moved_to(self, path: &std::path::Path) -> OpenFiles {
        OpenFiles { directory: DataDirectory::new(path), ..self }
    }

    /// Checks that the names of the files lead to them, that the register file is unaltered, and that the log ends as it was
    /// written. Cost: some system calls.
    ///
    /// Errors: another program has replaced, removed or altered one.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.register.intact().map_err(|damage| self.directory.damaged_register(&damage))?;
        let segment = &self.segment.file;
        self.leads_to(&names::register(self.base), Ok(self.file))?;
        let name = names::segment(self.position.segment);
        self.leads_to(&name, segment.id())?;
        let (length, end) = (segment.length().map_err(self.directory.io(&name))?, self.position.bytes);
        if length < end || length > end && !self.may_have_tail {
            let finding = "another program has changed its length";
            return Err(self.directory.damaged(&name, length.min(end), finding));
        }
        let mut sum = self.position.sum;
        if self.position.last > 0 {
            let at = self.position.last + FRAME_SUM_OFFSET;
            segment.read_at(&mut sum, at).map_err(self.directory.io(&name))?;
        }
        match sum == self.position.sum {
            true => Ok(()),
            false => {
                Err(self.directory.damaged(&name, self.position.last, "another program has written to it"))
            }
        }
    }

    /// As [`check`](Self::check), and checks that there are no other register files and segments: readers would read them.
    ///
    /// Errors: also if there are.
    pub(crate) fn check_all(&self) -> Result<(), StoreError> {
        self.check()?;
        let Contents { registers, segments, .. } = self.directory.contents()?;
        let register = registers.iter().find(|register| !self.known.registers.contains(register));
        let segment = segments.iter().find(|segment| !self.known.segments.contains(segment));
        let name = register.map(|register| names::register(*register));
        match name.or_else(|| segment.map(|segment| names::segment(*segment))) {
            Some(name) => Err(self.directory.damaged(&name, 0, "another program has put it there")),
            None => Ok(()),
        }
    }

    fn leads_to(&self, name: &str, opened: io::Result<FileId>) -> Result<(), StoreError> {
        let opened = opened.map_err(self.directory.io(name))?;
        self.directory.leads_to(name, &opened)
    }
}
