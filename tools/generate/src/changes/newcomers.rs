//! The identity numbers of new recipients.

use std::collections::HashSet;

use crate::extract::Result;
use crate::identity::Register;
use crate::population;
use crate::random::Random;
use crate::universe::Universe;

/// All ids that have been in the register, so that none is added twice.
pub struct Newcomers {
    universe: Universe,
    /// The ids of the extract, ascending.
    first: Vec<u64>,
    joined: HashSet<u64>,
    /// Ids that were removed and have not returned.
    left: Vec<u64>,
}

/// Share of new recipients that have been in the register before.
const RETURN_MILLIONTHS: u64 = 100_000;

/// Draws may meet ids that are known this many times.
const MOST_DRAWS: u64 = 100_000;

impl Newcomers {
    pub fn new(register: Register, test_numbers: bool, mut ids: Vec<u64>) -> Result<Self> {
        ids.sort_unstable();
        if !ids.is_sorted_by(|left, right| left < right) {
            return Err("the extract names somebody twice".into());
        }
        let universe = match register {
            Register::Far => population::swedish(test_numbers),
            Register::Krr => population::norwegian(test_numbers),
        };
        Ok(Newcomers { universe, first: ids, joined: HashSet::new(), left: Vec::new() })
    }

    /// An id that is not in the register, which is added by this.
    pub fn join(&mut self, random: &mut Random) -> Result<u64> {
        if !self.left.is_empty() && random.chance(RETURN_MILLIONTHS) {
            return Ok(self.left.swap_remove(random.index(self.left.len())));
        }
        for _ in 0..MOST_DRAWS {
            let Some(id) = self.universe.draw(random) else { continue };
            if self.first.binary_search(&id).is_err() && self.joined.insert(id) {
                return Ok(id);
            }
        }
        // All numbers are used: only removed ids can be added.
        self.left.pop().ok_or_else(|| "the register has all the numbers that there are to join".into())
    }

    /// Notes an id that was removed from the register.
    pub fn leave(&mut self, id: u64) {
        self.left.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn only_removed_ids_are_added_again() {
        let mut members: HashSet<u64> =
            population::swedish(true).select(50_000, 1).unwrap().into_iter().collect();
        let mut newcomers = Newcomers::new(Register::Far, true, members.iter().copied().collect()).unwrap();
        let mut random = Random::new(1, Stream::Change, 0);
        let mut left = HashSet::new();
        let mut returned = 0;
        for round in 0..20_000 {
            let id = newcomers.join(&mut random).unwrap();
            assert!(members.insert(id), "a member joins");
            returned += u32::from(left.remove(&id));
            if round % 2 == 0 {
                members.remove(&id);
                left.insert(id);
                newcomers.leave(id);
            }
        }
        assert!((1000..4000).contains(&returned), "{returned}");
    }

    #[test]
    fn twice_in_the_extract_is_an_error() {
        assert!(Newcomers::new(Register::Krr, true, vec![3, 1, 3]).is_err());
    }
}
