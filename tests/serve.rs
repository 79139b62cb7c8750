//! The service through the real binary, as its clients see it: each test starts one of its own.
//!
//! What is promised to whoever asks: the same answer in every form, and the one that `nabar lookup` gives;
//! what is wrong with a request is told; no client, however it behaves, keeps another from its answer or
//! brings the service down; nobody's number is logged; and every answer is right for the version it names,
//! while the register changes.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/documented.rs"]
mod documented;
#[path = "serve/forms.rs"]
mod forms;
#[path = "serve/hostile.rs"]
mod hostile;
#[path = "serve/ids.rs"]
mod ids;
#[path = "serve/live.rs"]
mod live;
#[path = "serve/load.rs"]
mod load;
#[path = "serve/privacy.rs"]
mod privacy;
#[path = "serve/problems.rs"]
mod problems;
#[path = "serve/regressions.rs"]
mod regressions;
#[path = "serve/replicas.rs"]
mod replicas;
#[path = "serve/soap.rs"]
mod soap;
#[path = "serve/stop.rs"]
mod stop;
#[allow(dead_code)] // Shared with the tests of data directories, which use all of it.
#[path = "changes/workspace.rs"]
mod workspace;
