//! Why a register cannot be served.

use crate::registration::RegistrationsError;
use crate::snapshot::OpenError;
use crate::store::StoreError;
use std::path::PathBuf;

/// Why a register cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenRegisterError {
    /// The source file of a live register.
    #[error("{}: {}", .0.display(), .1)]
    Source(PathBuf, String),
    /// The register file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] StoreError),
    /// A name that cannot be a segment of a path.
    #[error("the name of a register has lower-case letters, digits and - only (NAME=REGISTER), not {0:?}")]
    Name(String),
    /// Parts of a register file.
    #[error("{} is a register file: replicas.parts needs a data directory, which `nabar init` makes", .0.display())]
    NoParts(PathBuf),
    /// A register file, or a source, that is to be written to.
    #[error("{} is not a data directory, which `nabar init` makes: only that can be written to", .0.display())]
    NotWritable(PathBuf),
    /// What belongs to the write side.
    #[error(transparent)]
    Registrations(#[from] RegistrationsError),
    /// What has replaced the register is not served; the register as it was before is.
    #[error("{}: the new register is not served: {}", .0.display(), .1)]
    Refused(PathBuf, String),
    /// Two registers at one path.
    #[error("two registers have the name {0:?}; name each differently: NAME=REGISTER")]
    Twice(String),
}
