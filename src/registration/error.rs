//! Why a request is refused, and why a register cannot be written to.

use crate::register::Damage;
use crate::store::{ApplyError, StoreError};
use std::io;
use std::path::PathBuf;

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationError {
    #[error("{0}")]
    BadInput(&'static str),
    #[error("{0}")]
    NotAuthorised(&'static str),
    #[error("{0}")]
    Missing(&'static str),
    #[error("no person has this number")]
    NoSuchPerson,
    #[error("ServiceSupplier is not a mailbox operator of the register")]
    NoSupplier,
    /// Technical: the client may try again.
    #[error("{0}")]
    Busy(&'static str),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Pending(#[from] RegistrationsError),
}

impl RegistrationError {
    pub(super) const NO_ACCOUNT: RegistrationError =
        RegistrationError::Missing("the recipient has no account");
}

impl From<StoreError> for RegistrationError {
    fn from(error: StoreError) -> RegistrationError {
        RegistrationError::Apply(error.into())
    }
}

/// Why what belongs to the write side cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationsError {
    /// The file of pending requests, or that of signatories.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {finding}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong. Without identity numbers.
        finding: String,
    },
}
