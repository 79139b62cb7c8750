//! Where a served register is read from, and which versions of it are accepted.

use super::error::OpenRegisterError;
use crate::register::Register;
use crate::snapshot::Snapshot;
use crate::store::{self, FileId, Reader};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The file or data directory that a register is read from.
pub(super) enum RegisterSource {
    File(RegisterFile),
    Directory(Box<Reader>),
}

/// A register file.
pub(super) struct RegisterFile {
    /// The file that is served, or the last one that was refused.
    id: FileId,
    /// Why the file that is there now is not served.
    refusal: Option<String>,
    /// Whether it was missing at the last look: it may be missing while it is replaced.
    was_missing: bool,
}

impl RegisterSource {
    /// Opens a register file or a data directory. Damage that the opening does not show is found by requests.
    pub(super) fn open(path: &Path) -> Result<(Arc<Register>, RegisterSource), OpenRegisterError> {
        if path.is_dir() {
            let reader = Reader::open(path)?;
            return Ok((reader.register(), RegisterSource::Directory(Box::new(reader))));
        }
        let failed = |error| OpenRegisterError::File { path: path.to_owned(), error };
        // The metadata first: if the file is replaced now, the next look sees another id.
        let metadata = std::fs::metadata(path).map_err(|error| failed(error.into()))?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("it is neither a regular file nor a directory").into()));
        }
        let register =
            Snapshot::open(path).and_then(|snapshot| snapshot.complete_register()).map_err(failed)?;
        let file = RegisterFile { id: FileId::of(&metadata), refusal: None, was_missing: false };
        Ok((Arc::new(register), RegisterSource::File(file)))
    }

    /// The newest version, if it is another than `current` and may replace it.
    ///
    /// Errors: there is one that may not, because it is damaged, of another kind, or (unless `allow_rollback`) earlier.
    pub(super) fn newest(
        &mut self,
        path: &Path,
        current: &Arc<Register>,
        allow_rollback: bool,
    ) -> Result<Option<Arc<Register>>, OpenRegisterError> {
        let metadata = std::fs::metadata(path);
        if metadata.as_ref().is_ok_and(|metadata| metadata.is_dir() != matches!(self, Self::Directory(_))) {
            return self.replace(path, current, allow_rollback);
        }
        match self {
            RegisterSource::Directory(reader) => {
                reader.refresh()?;
                let register = reader.register();
                if Arc::ptr_eq(&register, current) {
                    return Ok(None);
                }
                check_successor(path, current, &register, allow_rollback)?;
                Ok(Some(register))
            }
            RegisterSource::File(file) => match metadata {
                Err(error) if std::mem::replace(&mut file.was_missing, true) => {
                    Err(OpenRegisterError::File { path: path.to_owned(), error: error.into() })
                }
                Err(_) => Ok(None),
                Ok(metadata) if file.id == FileId::of(&metadata) => {
                    file.was_missing = false;
                    match &file.refusal {
                        None => Ok(None),
                        Some(why) => Err(OpenRegisterError::Refused(path.to_owned(), why.clone())),
                    }
                }
                Ok(metadata) => {
                    file.was_missing = false;
                    let replaced = self.replace(path, current, allow_rollback);
                    // What cannot be opened is tried again; what was read is refused until it changes.
                    if let (Err(OpenRegisterError::Refused(_, why)), RegisterSource::File(file)) =
                        (&replaced, &mut *self)
                    {
                        (file.id, file.refusal) = (FileId::of(&metadata), Some(why.clone()));
                    }
                    replaced
                }
            },
        }
    }

    /// The newest version again, if the register file of a data directory has been replaced by another whole one. Called
    /// after [`newest`](Self::newest).
    ///
    /// Errors: there is a register file in the directory that is not used.
    pub(super) fn replaced_file(&mut self) -> Result<Option<Arc<Register>>, OpenRegisterError> {
        match self {
            RegisterSource::Directory(reader) => {
                let is_replaced = reader.check_register_files()?;
                Ok(is_replaced.then(|| reader.register()))
            }
            RegisterSource::File(_) => Ok(None),
        }
    }

    /// Has a data directory loaded again: what was read last is not to be used.
    pub(super) fn forget(&mut self) {
        if let RegisterSource::Directory(reader) = self {
            reader.forget();
        }
    }

    /// Opens what is at the path now, and verifies all of it.
    fn replace(
        &mut self,
        path: &Path,
        current: &Register,
        allow_rollback: bool,
    ) -> Result<Option<Arc<Register>>, OpenRegisterError> {
        let (register, opened) = RegisterSource::open(path)?;
        check_successor(path, current, &register, allow_rollback)?;
        if let RegisterSource::File(_) = opened {
            verify(path, &register)?;
        }
        *self = opened;
        Ok(Some(register))
    }
}

/// Checks that a version may follow another one.
fn check_successor(
    path: &Path,
    current: &Register,
    next: &Register,
    allow_rollback: bool,
) -> Result<(), OpenRegisterError> {
    let refused = |why: String| Err(OpenRegisterError::Refused(path.to_owned(), why));
    if next.kind() != current.kind() {
        return refused(format!(
            "it is a register of {}, not of {}",
            next.kind().name(),
            current.kind().name()
        ));
    }
    if next.sequence() < current.sequence() && !allow_rollback {
        return refused(format!(
            "its sequence number {} is below {}, which is served: an earlier one was put in its place, or its log was cut off; \
             restore it, or start the service with --allow-rollback if that is meant",
            next.sequence(),
            current.sequence()
        ));
    }
    Ok(())
}

/// Verifies a register file as `nabar verify` does.
fn verify(path: &Path, register: &Register) -> Result<(), OpenRegisterError> {
    let failed = |error: io::Error| OpenRegisterError::File { path: path.to_owned(), error: error.into() };
    match store::verify(register).map_err(failed)? {
        None => Ok(()),
        Some(finding) => {
            Err(OpenRegisterError::Refused(path.to_owned(), format!("it is damaged: {finding}")))
        }
    }
}
