//! The service: registers over HTTP, in nabar's interface and in the registers' contracts.
//!
//! `docs/service.md` describes every path, and `routes::ROUTES` is the table of them. A request is answered from the
//! version that is newest when it begins, on the thread that read it; long work (a list, a large body) moves to another
//! thread.
//!
//! Modules depend on each other in one direction, which a test checks: configuration and responses; shared state
//! (`state`) and the request's `context`; handlers; the table of routes; `dispatch`; `server`.

mod attempts;
mod audit;
mod authorization;
mod body;
mod caller;
mod capacity;
mod channel_rules;
mod check;
mod client_limits;
mod config;
mod connection;
mod context;
mod credentials;
mod dispatch;
pub(crate) mod far;
mod fault_log;
mod health;
mod krr;
mod live;
mod memory;
mod metrics;
mod open_connections;
mod openapi;
mod operation;
mod organisations;
mod origin;
mod paced;
mod print_certificate;
mod problem;
mod process;
mod reachability;
mod record;
mod refusal_log;
mod registers;
mod replicas;
mod request;
mod response;
mod route;
mod routes;
mod server;
mod soap;
mod standing;
mod state;
mod stream;
mod tls;
mod tokens;
mod writing;

pub use config::{
    Audit, ClientAuthority, Config, ConfigError, Limits, MEMORY_MIN, NamedRegister, Replicas,
    SubjectAttribute, Time, Tls, Tokens, Writable,
};
pub use origin::{AllowedHost, BadHost};
pub use process::{COMMIT, with_process_metrics};
pub use registers::{FollowRules, MAX_SOURCE_SILENCE, OpenRegisterError, Registers};
pub use server::serve;
pub use state::{ServeError, Service};
pub use tls::CredentialsError;
#[cfg(feature = "sandbox")]
pub(crate) use tokens::LEEWAY as TOKEN_LEEWAY;
