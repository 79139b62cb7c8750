//! The sheet of a workbook that a list is.

use super::report::SheetSummary;
use crate::sheets::{Sheet, shown_name};
use std::fmt;
use std::sync::Arc;

/// The sheet of a workbook that a list is.
#[derive(Clone)]
pub(super) struct ListSheet(pub(super) Arc<Sheet>);

impl ListSheet {
    /// What a report says of it.
    pub(super) fn summary(&self) -> SheetSummary {
        let Sheet { name, hidden_rows, empty_formulas, .. } = &*self.0;
        SheetSummary { name: shown_name(name), hidden_rows: *hidden_rows, empty_formulas: *empty_formulas }
    }
}

/// Its rows.
impl AsRef<[u8]> for ListSheet {
    fn as_ref(&self) -> &[u8] {
        &self.0.text
    }
}

impl PartialEq for ListSheet {
    fn eq(&self, other: &ListSheet) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ListSheet {}

impl fmt::Debug for ListSheet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.name)
    }
}
