//! The naive model of lists, the very files of the integration tests.

#![allow(dead_code, unreachable_pub)] // the tests use more of it

#[path = "../../../tests/it/model/columns.rs"]
mod columns;
#[path = "../../../tests/it/model/delimiter.rs"]
mod delimiter;
#[path = "../../../tests/it/model/expected.rs"]
pub(crate) mod expected;
#[path = "../../../tests/it/model/fixed.rs"]
mod fixed;
#[path = "../../../tests/it/model/form.rs"]
pub(crate) mod form;
#[path = "../../../tests/it/model/guard.rs"]
mod guard;
#[path = "../../../tests/it/model/identities.rs"]
pub(crate) mod identities;
#[path = "../../../tests/it/model/lists.rs"]
pub(crate) mod lists;
#[path = "../../../tests/it/model/maker.rs"]
mod maker;
#[path = "../../../tests/it/model/names.rs"]
mod names;
#[path = "../../../tests/it/model/registers.rs"]
pub(crate) mod registers;
#[path = "../../../tests/it/model/rows.rs"]
mod rows;
#[path = "../../../tests/it/model/test_numbers.rs"]
mod test_numbers;
