//! Extracts: the interchange form of registers, a directory of text files.
//!
//! `docs/extract.md` specifies it. [`build`] makes a register file from one, [`export`] the reverse;
//! `build(export(x))` is `x`, byte for byte.

mod build;
mod description;
mod error;
mod export;
mod far;
mod far_actors;
mod krr;
mod rejected;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use crate::decode::Reason;
pub(crate) use build::build_with_rejected;
pub use build::{BuildOptions, MAX_REJECTED, Summary, build};
pub use error::{BuildError, TooManyRejected};
pub use export::{ExportError, export};
