//! How many cells or bytes rows have: signs that a row is two, or that its cells have moved.

use super::names;
use super::rows::{Layout, RowRules};
use std::ops::Range;

/// How many cells the rows of a list have, or bytes of fixed width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowShape {
    /// Of rows with delimiters.
    Cells {
        /// Cells that most rows have, at least 1.
        usual: usize,
        /// Cells that a row may have something in, at least 1: those of the header, or the usual number.
        most: usize,
        /// Columns, from 0, that have the identities of others, in the first rows or by their title.
        others: Vec<usize>,
        /// Those of them that have nothing else in most of the first rows.
        only_others: Vec<usize>,
    },
    /// Of rows of fixed width.
    Bytes {
        /// Bytes that most rows have; 0 if unknown.
        usual: usize,
        /// Bytes beyond which a row may be two, blanks at its end aside.
        most: usize,
    },
}

impl RowShape {
    /// All rows have so many cells, whether the header has a title for each or not: those of a sheet.
    pub(super) fn widen(&mut self, columns: usize) {
        if let RowShape::Cells { most, .. } = self {
            *most = columns.max(*most);
        }
    }

    /// Whether a row has something beyond the last column, and as many cells as two rows that were joined, or one outside
    /// `known` that ends like an identity that cannot be read or is withheld. Of fixed width: whether it is much longer than
    /// usual.
    pub(super) fn has_extra(
        &self,
        bytes: &[u8],
        row: &Range<usize>,
        cells: &[Range<usize>],
        known: &[Range<usize>],
    ) -> bool {
        match *self {
            RowShape::Cells { usual, most, .. } => {
                let text = |cell: &Range<usize>| bytes[cell.clone()].trim_ascii();
                let filled = cells.iter().rposition(|cell| !text(cell).is_empty()).map_or(0, |last| last + 1);
                let may_be_second = |cell: &Range<usize>| {
                    !known.contains(cell) && names::ends_unreadable(&String::from_utf8_lossy(text(cell)))
                };
                filled > most && (usual > 1 && filled >= 2 * usual - 1 || cells.iter().any(may_be_second))
            }
            RowShape::Bytes { most, .. } => bytes[row.clone()].trim_ascii_end().len() > most,
        }
    }

    /// Whether the identity of another column may be in the identity's column, because the row lost cells or has further
    /// ones: one of these columns is that near, and has no identity in this row.
    pub(super) fn is_shifted(&self, rules: &RowRules, bytes: &[u8], cells: &[Range<usize>]) -> bool {
        let (Layout::Delimited { column, .. }, RowShape::Cells { usual, others, .. }) = (&rules.layout, self)
        else {
            return false;
        };
        let (lost, gained) = (usual.saturating_sub(cells.len()), cells.len().saturating_sub(*usual));
        let text = |column: usize| cells.get(column).map(|cell| &bytes[cell.clone()]);
        let is_identity = |column: usize| text(column).is_some_and(|text| rules.identity(text).is_ok());
        others.iter().any(|&other| {
            let is_near = if other > *column { other - column <= lost } else { column - other <= gained };
            is_near && !is_identity(other)
        }) || self.neighbours(*column).any(|other| {
            // A row of the usual length that lost a cell or has one more: its neighbours have moved, too.
            let mirrored = (2 * column).checked_sub(other).filter(|column| !others.contains(column));
            let has_moved = text(other).is_some_and(is_text) || mirrored.is_some_and(is_identity);
            !is_identity(other) && has_moved
        })
    }

    /// The columns beside the identities' that have those of others and nothing else.
    pub(super) fn neighbours(&self, column: usize) -> impl Iterator<Item = usize> {
        let only_others = match self {
            RowShape::Cells { only_others, .. } => &only_others[..],
            RowShape::Bytes { .. } => &[],
        };
        only_others.iter().copied().filter(move |other| other.abs_diff(column) <= SHIFT_COLUMNS)
    }
}

/// Columns by which a cell may have moved.
const SHIFT_COLUMNS: usize = 2;

/// Whether a cell has three letters and no digit, and is no placeholder.
fn is_text(cell: &[u8]) -> bool {
    let text = String::from_utf8_lossy(cell);
    let letters = text.chars().filter(|character| character.is_alphabetic()).count();
    letters >= 3
        && !cell.iter().any(u8::is_ascii_digit)
        && !names::is_placeholder(&text)
        && !names::is_mask(&text)
}
