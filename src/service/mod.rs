//! The service: registers over HTTP, in nabar's own interface and in the registers' contracts.
//!
//! `docs/service.md` describes every address. Requests are answered from the version that is the newest
//! when they begin, on the thread that read them; what may take long (a list, a great body) moves to a
//! thread of its own, so that nobody waits behind it.

mod access;
mod audit;
mod body;
mod clients;
mod compact;
mod config;
mod exchange;
pub(crate) mod far;
mod krr;
mod lines;
mod lists;
mod metrics;
mod openapi;
mod parts;
mod reachability;
mod registers;
mod replicas;
mod routes;
mod server;
mod soap;
mod tls;
mod tokens;

pub use config::{
    Audit, BadConfig, ClientAuthority, Config, Limits, NamedRegister, Replicas, SubjectAttribute, Time, Tls,
    Tokens,
};
pub use registers::{Live, OpenFailed, Registers};
pub use server::{CannotServe, Service, serve};
pub use tls::BadKeys;
