//! nabar (Swedish *nåbar*, "reachable") answers who can be reached digitally, for a whole mass
//! mailing at once.
#![warn(missing_docs)]

pub mod consent;
pub mod extract;
mod files;
pub mod identities;
mod index;
pub mod limits;
pub mod mailing;
mod memory;
pub mod register;
pub mod snapshot;
