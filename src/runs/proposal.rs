//! What proposals of descriptions have in common.

use std::collections::{BTreeMap, BTreeSet};

/// If another place has at least this share, in percent, of the different ids of the first one, both may be meant.
const OTHER_PLACE_PERCENT: usize = 60;

/// Whether a text is an id.
pub type IsId<'a> = &'a dyn Fn(&[u8]) -> bool;

/// No description can be proposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoProposal {
    /// It has no ids.
    #[error(
        "no ids were found: runs for window envelopes often have none, and then the system that makes the run must add them"
    )]
    NoIds,
    /// Each record is a letter.
    #[error("each record has an id: this is a list with one row a letter, which needs no description")]
    OneRowALetter,
    /// Ids were found, but not how letters begin.
    #[error("ids were found, but not how a letter begins: docs/runs.md tells how to describe it")]
    NoStart,
    /// Too few letters to tell what is around them.
    #[error("fewer than three letters were found: try a longer run, or describe it as docs/runs.md tells")]
    TooFew,
    /// Letters would hold ids of several recipients.
    #[error(
        "letters would hold the ids of several recipients, so it is not certain how they begin: docs/runs.md tells how to describe it"
    )]
    SeveralIds,
    /// An archive.
    #[error(
        "this is a ZIP file: describe its index as docs/runs.md tells; `nabar check --run` says what it finds"
    )]
    Archive,
    /// Several places have ids.
    #[error(
        "ids are at {0} and at {1}: which of them is the recipient's? docs/runs.md tells how to describe it"
    )]
    SeveralPlaces(String, String),
}

/// The place with the most different ids. Errors: there is none; another one has nearly as many.
pub(super) fn best_place<P: Clone + Ord>(
    ids: &BTreeMap<P, BTreeSet<Vec<u8>>>,
    is_beside: impl Fn(&P, &P) -> bool,
    shown: impl Fn(&P) -> String,
) -> Result<P, NoProposal> {
    // Of equal counts the first place.
    let most = |(place, found): &(&P, &BTreeSet<Vec<u8>>)| (found.len(), std::cmp::Reverse((*place).clone()));
    let (best, found) = ids.iter().max_by_key(most).ok_or(NoProposal::NoIds)?;
    let other = ids.iter().find(|(place, other)| {
        *place != best && is_beside(best, place) && other.len() * 100 >= found.len() * OTHER_PLACE_PERCENT
    });
    match other {
        Some((other, _)) => Err(NoProposal::SeveralPlaces(shown(best), shown(other))),
        None => Ok(best.clone()),
    }
}
