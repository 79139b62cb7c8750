//! What all calls to a sandbox share.

use super::behind::Behind;
use super::faults::Faults;
use super::kivra::Kivra;
use super::maskinporten::Maskinporten;
use super::place::Place;
use super::population::Resident;
use super::recorded::Recorded;

/// The parts of a sandbox.
pub(super) struct World {
    pub(super) place: Place,
    pub(super) residents: Vec<Resident>,
    pub(super) faults: Faults,
    pub(super) recorded: Recorded,
    pub(super) maskinporten: Maskinporten,
    pub(super) kivra: Kivra,
    pub(super) behind: Behind,
    /// The page, in HTML.
    pub(super) page: String,
}
