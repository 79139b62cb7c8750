//! One error for callers that do not need to know which operation failed.

use crate::extract::{BuildError, ExportError};
use crate::mailing::ListError;
use crate::register::{Damage, QuestionError};
use crate::snapshot::OpenError;
use crate::store::{ApplyError, InitError, StoreError};

/// Any error of the engine. Each operation returns a precise error of its own, which converts to this one with `?`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum Error {
    /// A register file cannot be opened.
    Open(#[from] OpenError),
    /// A register cannot answer for this sender or day.
    Question(#[from] QuestionError),
    /// A register is damaged.
    Damage(#[from] Damage),
    /// A list cannot be checked or split.
    List(#[from] ListError),
    /// A register file cannot be built from an extract.
    Build(#[from] BuildError),
    /// An extract cannot be written.
    Export(#[from] ExportError),
    /// A data directory cannot be created.
    Init(#[from] InitError),
    /// A data directory cannot be read or written.
    Store(#[from] StoreError),
    /// Changes cannot be applied.
    Apply(#[from] ApplyError),
    /// A replica cannot follow its source.
    #[cfg(feature = "replica")]
    Follow(#[from] crate::replica::FollowError),
    /// A key cannot be read or created.
    #[cfg(feature = "replica")]
    Key(#[from] crate::signing::KeyError),
    /// A replica cannot publish to a fleet or follow one.
    #[cfg(feature = "fleet")]
    Fleet(#[from] crate::fleet::FleetError),
    /// A register cannot be opened for the service.
    #[cfg(feature = "service")]
    OpenRegister(#[from] crate::service::OpenRegisterError),
    /// Registers cannot be served.
    #[cfg(feature = "service")]
    Serve(#[from] crate::service::ServeError),
}
