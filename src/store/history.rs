//! The changes that a data directory still has.

use super::StoreError;
use super::load::{Place, Walk, place};
use super::names;
use crate::changes::Change;
use crate::changes::encoding::Decoder;
use std::path::Path;

/// Changes in their order; see [`changes`].
pub struct History {
    place: Place,
    walk: Walk,
    /// The changes of the frame in hand.
    changes: std::vec::IntoIter<Change>,
    after: u64,
}

/// The changes of a data directory after a sequence number, as far as they are durable or written now.
///
/// Errors: they are gone; the log is damaged.
pub fn changes(directory: &Path, after: u64) -> Result<History, StoreError> {
    History::of(&place(directory), after)
}

impl History {
    pub(crate) fn of(place: &Place, after: u64) -> Result<History, StoreError> {
        let segments = place.contents()?.segments;
        let oldest = *segments.first().ok_or_else(|| StoreError::NotOne(place.path.clone()))?;
        let first = segments.iter().rposition(|&segment| segment <= after);
        let first = first.ok_or(StoreError::Gone { asked: after, oldest })?;
        let walk = Walk::new(place, &segments[first..], None);
        Ok(History { place: place.clone(), walk, changes: Vec::new().into_iter(), after })
    }

    fn advance(&mut self) -> Result<Option<Change>, StoreError> {
        loop {
            if let Some(change) = self.changes.find(|change| change.sequence() > self.after) {
                return Ok(Some(change));
            }
            let Some(step) = self.walk.next()? else { return Ok(None) };
            let frame = &step.frame;
            if frame.to <= self.after {
                continue;
            }
            let decoded: Option<Vec<Change>> = Decoder::new(step.payload(), frame.after).collect();
            let name = names::segment(self.walk.position.segment);
            let start = frame.payload.start as u64;
            let unreadable = || self.place.damaged(&name, start, "a change cannot be read");
            self.changes = decoded.ok_or_else(unreadable)?.into_iter();
        }
    }
}

impl Iterator for History {
    type Item = Result<Change, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
