//! The integration tests: one binary, one module for each subject.
//!
//! Three tests need a process to themselves and are binaries of their own: `tests/memory.rs` (counting allocator),
//! `tests/commit.rs` (model checker) and `tests/budget.rs` (nothing may run beside it).

mod changes;
mod cli;
mod contracts;
mod docs;
mod examples;
mod figures;
mod files;
mod fleet;
mod follow;
mod kill;
mod model;
mod owners;
mod packages;
mod readers;
mod serve;
mod style;
mod support;
