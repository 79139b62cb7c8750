//! The service through the real binary, as its clients see it: each test starts one.
//!
//! The promises to a client: every form of a request has the same answer, which is that of `nabar lookup`; errors state
//! what is wrong with the request; no client can block another or bring the service down; no identity is logged; and
//! every answer is right for the version it names, while the register changes.

mod awaited;
mod damage;
mod documented;
mod forms;
mod front;
mod healing;
mod health;
mod hostile;
mod ids;
mod limits;
mod live;
mod load;
mod log_lines;
mod origins;
mod privacy;
mod problems;
mod regressions;
mod replicas;
mod rules;
mod soap;
mod stop;
mod system;
mod workbooks;
