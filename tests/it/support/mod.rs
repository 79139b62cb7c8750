//! Helpers that several modules share.

pub(crate) mod client;
pub(crate) mod flag;
pub(crate) mod random;
pub(crate) mod recipients;
pub(crate) mod workspace;
