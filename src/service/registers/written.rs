//! A register that the service writes to: it holds the data directory's lock, and publishes what it has written itself.

use super::error::OpenRegisterError;
use crate::register::Kind;
use crate::registration::Registrations;
use crate::store::Writer;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The writer of a served data directory.
pub(in crate::service) struct WrittenRegister {
    writer: Arc<Writer>,
    /// What operators do to FaR.
    registrations: Option<Registrations>,
    /// Held while a version is published, so that none replaces a newer one.
    publishing: Mutex<()>,
}

impl WrittenRegister {
    /// Opens a data directory for writing. `signatories`: who signs for the companies of FaR.
    pub(super) fn open(
        path: &Path,
        signatories: Option<&Path>,
    ) -> Result<WrittenRegister, OpenRegisterError> {
        if !path.is_dir() {
            return Err(OpenRegisterError::NotWritable(path.to_owned()));
        }
        let writer = Arc::new(Writer::open(path)?);
        let registrations = match writer.kind() {
            Kind::Far => Some(Registrations::open(Arc::clone(&writer), signatories)?),
            Kind::Krr => None,
        };
        Ok(WrittenRegister { writer, registrations, publishing: Mutex::default() })
    }

    pub(in crate::service) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(in crate::service) fn registrations(&self) -> Option<&Registrations> {
        self.registrations.as_ref()
    }

    /// Held while a version is published.
    pub(super) fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
