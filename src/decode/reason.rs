//! Reasons for rejecting a row of an extract or a change.

use crate::identities::Rejection;
use std::fmt::{self, Display, Formatter};

/// Why a row of an extract or a change is rejected, and which column is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Such as `bad_time`; `docs/extract.md` and `docs/changes.md` list them.
    pub name: &'static str,
    /// The column or field, empty if the reason concerns no single one.
    pub column: &'static str,
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.column.is_empty() { Ok(()) } else { write!(f, " in {}", self.column) }
    }
}

pub(crate) const fn reason(name: &'static str, column: &'static str) -> Reason {
    Reason { name, column }
}

/// The reason for rejecting an identity.
pub(crate) fn identity_reason(rejection: Rejection, column: &'static str) -> Reason {
    reason(rejection.name(), column)
}
