//! nabar (Swedish *nåbar*, "reachable") answers who can be reached digitally, for a whole mass mailing at
//! once.
//!
//! A register (FaR of Sweden, KRR of Norway) is built once from an [`extract`] into a
//! [file](snapshot) that is memory-mapped and answers from where it lies. A
//! [`Question`](register::Question) is one sender's on one day; it is asked of one
//! [identity](identities::Identity), of many, or of a [whole list](mailing).
//!
//! ```
//! use nabar::identities::{Identity, Today};
//! use nabar::register::Outcome;
//! use nabar::extract::BuildOptions;
//! use nabar::snapshot::Snapshot;
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("far.nabar");
//! let summary = nabar::extract::build(Path::new("fixtures/far"), &file, &BuildOptions::strict())?;
//! assert_eq!(summary.recipients, 500);
//!
//! let register = Snapshot::open(&file)?.register()?;
//! let question = register.question(Some("164821000025"), jiff::civil::date(2026, 6, 1))?;
//! let today = Today::new(2026, 6, 1).ok_or("no such day")?;
//! let recipient = Identity::parse(b"19681019-9809", register.kind().country(), today)?;
//! let Outcome::Digital(operator) = question.ask(&recipient)? else { panic!("on paper") };
//! assert_eq!(register.operators()[usize::from(operator)].name, "Brevia AB");
//! # Ok(())
//! # }
//! ```

pub mod changes;
pub mod consent;
mod cpu;
pub mod extract;
pub mod files;
pub mod fleet;
pub mod identities;
mod index;
pub mod limits;
pub mod mailing;
mod memory;
pub mod register;
pub mod rejected;
pub mod replica;
pub mod service;
pub mod signing;
pub mod snapshot;
pub mod store;
