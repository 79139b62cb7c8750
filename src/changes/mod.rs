//! Changes: how a register develops after its file was made.
//!
//! A [`Change`] concerns one recipient or organisation and has a sequence number. It is self-contained: it
//! names organisations by their ids, not by positions in a list. It is written as a line of JSON
//! (`docs/changes.md`) and as bytes of the change log (`docs/data-directory.md`). An `apply::Editor` applies
//! changes to a register and returns the next version.

pub(crate) mod apply;
mod change;
mod diff;
pub(crate) mod encoding;
pub(crate) mod json;
pub(crate) mod pages;

#[cfg(test)]
mod tests;

pub use crate::decode::Reason;
pub use change::Change;
pub(crate) use change::{ChangeBody, NamedRule, OrganisationId, PutPerson, PutRecipient, SetAcceptance};
pub use diff::difference;
pub use pages::BadPage;
