//! What the follower of a data directory and the readers of the same process tell each other.

use crate::store::{OpenFiles, StoreError, Writer};
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connects the follower of a data directory with the readers of the directory in the same process. Copies share it.
///
/// Readers tell the follower of damage: it then verifies the register file, and starts over if it is damaged. The follower
/// tells the readers which files are its own, also while it does not have them open: no other file that a program puts into
/// the directory is read.
#[derive(Clone, Default)]
pub struct FollowerLink(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_suspected: AtomicBool,
    state: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    /// The writer of the directory, while it is open.
    writer: Option<Arc<Writer>>,
    /// The files of the last writer, after it was closed; or those that have taken their place since, by the follower.
    closed: Option<OpenFiles>,
    /// Whether the follower is checking or replacing the directory: what is in it may be the work of another program.
    is_replacing: bool,
}

/// Whether a directory can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its files are those of its follower.
    Own,
    /// That is not known: the follower has not opened it yet, or is checking or replacing it.
    Unknown,
}

impl FollowerLink {
    /// Has the register file verified: there is reason to believe that it is damaged. A follower of a service on another
    /// machine does that half a minute later at most.
    pub fn suspect(&self) {
        self.0.is_suspected.store(true, Ordering::Relaxed);
    }

    /// Whether it is suspected since the last [`take_suspicion`](Self::take_suspicion).
    pub(crate) fn is_suspected(&self) -> bool {
        self.0.is_suspected.load(Ordering::Relaxed)
    }

    pub(super) fn take_suspicion(&self) -> bool {
        self.0.is_suspected.swap(false, Ordering::Relaxed)
    }

    /// Checks that the names in the directory lead to the files that its follower has open, and that the end of its log is
    /// the one that was written. Cost: some microseconds.
    ///
    /// Errors: another program has replaced, removed or altered one, which is reported to the follower.
    pub(crate) fn check(&self) -> Result<Standing, StoreError> {
        match &*self.state() {
            LinkState { writer: Some(writer), .. } => writer.check_files(),
            LinkState { closed: Some(files), is_replacing: false, .. } => files.check_all(),
            LinkState { .. } => return Ok(Standing::Unknown),
        }
        .map(|()| Standing::Own)
        .inspect_err(|_| self.suspect())
    }

    /// From now on, until a writer is linked, nothing in the directory is to be read.
    pub(super) fn replacing(&self) {
        self.state().is_replacing = true;
    }

    /// Lets the follower put other files in the place of those that it had open. No reader reads meanwhile.
    pub(super) fn exchange<E>(
        &self,
        files: &OpenFiles,
        exchange: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.state();
        exchange()?;
        state.closed = Some(files.clone());
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FollowerLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FollowerLink")
            .field("is_suspected", &self.is_suspected())
            .finish_non_exhaustive()
    }
}

/// A writer that readers of the same process know of until it is dropped.
pub(super) struct LinkedWriter {
    writer: Arc<Writer>,
    link: Option<FollowerLink>,
}

impl LinkedWriter {
    pub(super) fn new(writer: Writer, link: Option<&FollowerLink>) -> LinkedWriter {
        let writer = Arc::new(writer);
        if let Some(link) = link {
            let writer = Some(Arc::clone(&writer));
            *link.state() = LinkState { writer, closed: None, is_replacing: false };
        }
        LinkedWriter { writer, link: link.cloned() }
    }
}

impl Deref for LinkedWriter {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl Drop for LinkedWriter {
    /// Afterwards no reader holds the writer, so the lock of the directory is free.
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            let mut state = link.state();
            if state.writer.take_if(|writer| Arc::ptr_eq(writer, &self.writer)).is_some() {
                state.closed = Some(self.writer.open_files());
            }
        }
    }
}
