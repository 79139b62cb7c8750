//! nabar (Swedish *nåbar*, "reachable") determines which recipients of a mass mailing can be reached digitally.
//!
//! A register (FaR of Sweden, KRR of Norway) is built from an [`extract`] into a [file](snapshot), which is
//! memory-mapped and queried in place. A [`Question`] has one sender and one day. It answers for a
//! single [identity](identities::Identity), for many, or for a [list](mailing).
//!
//! ```
//! use nabar::{BuildOptions, Identity, Outcome, Snapshot, Today};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("far.nabar");
//! let summary = nabar::build("fixtures/far", &file, &BuildOptions::strict())?;
//! assert_eq!(summary.recipients, 500);
//!
//! let register = Snapshot::open(&file)?.register()?;
//! let question = register.question(Some("164821000025"), jiff::civil::date(2026, 6, 1))?;
//! let today = Today::new(2026, 6, 1).ok_or("no such day")?;
//! let recipient = Identity::parse(b"19681019-9809", register.kind().country(), today)?;
//! let Outcome::Digital(operator) = question.ask(&recipient)? else { panic!("not digital") };
//! assert_eq!(register.operator(operator).name, "Brevia AB");
//! # Ok(())
//! # }
//! ```

// Parts of the engine are used by features only.
#![cfg_attr(not(all(feature = "fleet", feature = "service")), allow(dead_code, unused_imports))]

pub mod changes;
pub mod channels;
pub mod consent;
mod cpu;
mod decode;
mod error;
pub mod extract;
pub mod files;
#[cfg(feature = "fleet")]
pub mod fleet;
pub mod identities;
mod index;
pub mod limits;
pub mod line_reader;
pub mod mailing;
mod memory;
mod organisations;
pub mod plain_text;
#[cfg(feature = "source")]
mod recurring;
pub mod register;
#[cfg(feature = "service")]
pub mod registration;
pub mod rejected;
#[cfg(feature = "replica")]
pub mod replica;
pub mod runs;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "service")]
pub mod service;
pub mod sheets;
#[cfg(feature = "replica")]
pub mod signing;
pub mod snapshot;
#[cfg(feature = "source")]
pub mod source;
pub mod store;
pub mod time;

pub use error::Error;
pub use extract::{BuildOptions, build};
pub use identities::{Identity, Rejection, Today};
pub use mailing::{Destination, Mailing, Report, check, split};
pub use register::{Answer, Kind, Operator, OperatorIndex, Outcome, PaperReason, Question, Register, Sender};
pub use snapshot::Snapshot;
pub use store::{Reader, Writer};
