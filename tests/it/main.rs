//! The integration tests: one binary, one module for each subject.
//!
//! Two tests need a process to themselves and are binaries of their own: `tests/memory.rs` (counting allocator) and
//! `tests/commit.rs` (model checker).

mod changes;
mod cli;
mod contracts;
mod docs;
mod examples;
mod figures;
mod fleet;
mod follow;
mod kill;
mod model;
mod packages;
mod readers;
mod serve;
mod style;
mod support;
