//! Random numbers, where the files of the model expect them.

#[allow(dead_code)] // the tests use more of it
#[path = "../../../tests/it/support/random.rs"]
pub(crate) mod random;
