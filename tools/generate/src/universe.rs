//! The numbers that may be issued, and the choice of those that are.
//!
//! A *stratum* is a run of consecutive stems with a weight, for example the birth numbers of one day.
//! A *universe* is a list of strata in ascending order. Choosing `count` numbers places `count`
//! jittered positions on the line of all weights, and takes from each stratum as many of its numbers
//! as positions fell there. The chosen numbers are distinct and ascending without any set of seen
//! numbers, and memory is eight bytes per number.

use crate::identity::Register;
use crate::random::{Random, Stream};

/// `span` consecutive stems from `first_stem`.
#[derive(Clone, Copy, Debug)]
pub struct Stratum {
    pub first_stem: u64,
    pub span: u64,
    pub weight: u64,
}

/// All strata of a register, ascending and disjoint.
pub struct Universe {
    register: Register,
    strata: Vec<Stratum>,
    /// The sum of the weights up to and including each stratum.
    cumulative: Vec<u64>,
    /// The sum of the spans up to and including each stratum.
    spans: Vec<u64>,
}

/// Strata that together have a fixed share of the universe.
pub struct Group {
    /// In ten thousandths.
    pub share: u64,
    pub strata: Vec<Stratum>,
}

/// Weight of one ten thousandth of the universe; small enough that all weights fit 64 bits.
const SHARE_WEIGHT: u128 = 1 << 40;

/// A stratum of at least this span has numbers for a `SPARSE_FACTOR`th of its stems, so trying stems
/// at random ends. Norwegian strata, the only ones with gaps, have numbers for four stems of five.
const SPARSE_SPAN: u64 = 50;
const SPARSE_FACTOR: u64 = 16;

impl Universe {
    pub fn new(register: Register, groups: Vec<Group>) -> Self {
        let mut strata: Vec<Stratum> = groups.into_iter().flat_map(scaled).collect();
        strata.sort_unstable_by_key(|stratum| stratum.first_stem);
        let cumulative = sums(strata.iter().map(|stratum| stratum.weight));
        let spans = sums(strata.iter().map(|stratum| stratum.span));
        Universe { register, strata, cumulative, spans }
    }

    fn weight(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// Chooses `count` distinct numbers, ascending.
    pub fn select(&self, count: u64, seed: u64) -> Result<Vec<u64>, String> {
        let mut chosen = Vec::with_capacity(count as usize);
        let mut positions = Positions::new(self.weight(), count, seed);
        // The excess of full strata moves to the strata after them.
        let mut wanted = 0;
        for (index, (stratum, &end)) in self.strata.iter().zip(&self.cumulative).enumerate() {
            wanted += positions.before(end);
            if wanted > 0 {
                let mut random = Random::new(seed, Stream::Stratum, index as u64);
                let before = chosen.len();
                self.select_from(stratum, wanted, &mut random, &mut chosen);
                wanted -= (chosen.len() - before) as u64;
            }
        }
        if wanted > 0 {
            return Err(format!("{count} numbers are too many: {wanted} of them found no place"));
        }
        Ok(chosen)
    }

    /// Appends `count` numbers of the stratum, ascending, or all when it has fewer.
    fn select_from(&self, stratum: &Stratum, count: u64, random: &mut Random, chosen: &mut Vec<u64>) {
        let stems = stratum.first_stem..stratum.first_stem + stratum.span;
        if stratum.span < SPARSE_SPAN || count * SPARSE_FACTOR > stratum.span {
            let candidates: Vec<u64> = stems.filter_map(|stem| self.register.complete(stem)).collect();
            return sample(&candidates, count, random, chosen);
        }
        // Few of many: trying stems is faster than completing them all.
        let start = chosen.len();
        while ((chosen.len() - start) as u64) < count {
            let stem = stems.start + random.below(stratum.span);
            let Some(id) = self.register.complete(stem) else { continue };
            if let Err(place) = chosen[start..].binary_search(&id) {
                chosen.insert(start + place, id);
            }
        }
    }

    /// Draws one number, chosen or not; `None` when the stem drawn has no number.
    pub fn draw(&self, random: &mut Random) -> Option<u64> {
        let position = random.below(self.weight());
        let index = self.cumulative.partition_point(|&end| end <= position);
        let stratum = self.strata[index];
        self.register.complete(stratum.first_stem + random.below(stratum.span))
    }

    /// Draws one number, each as likely as any other: for registers that have nearly all of the heavy strata.
    pub fn draw_evenly(&self, random: &mut Random) -> Option<u64> {
        let position = random.below(self.spans.last().copied().unwrap_or(0));
        let index = self.spans.partition_point(|&end| end <= position);
        let stratum = self.strata[index];
        self.register.complete(stratum.first_stem + (self.spans[index] - 1 - position))
    }
}

/// The sums up to and including each number.
fn sums(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let add = |sum: &mut u64, number| {
        *sum += number;
        Some(*sum)
    };
    numbers.scan(0, add).collect()
}

/// Gives the group's strata absolute weights. None becomes zero.
fn scaled(group: Group) -> impl Iterator<Item = Stratum> {
    let sum: u128 = group.strata.iter().map(|stratum| u128::from(stratum.weight)).sum();
    let share = u128::from(group.share) * SHARE_WEIGHT;
    group.strata.into_iter().map(move |stratum| {
        let weight = (share * u128::from(stratum.weight) / sum).max(1) as u64;
        Stratum { weight, ..stratum }
    })
}

/// Appends `count` of the candidates, in order (Knuth's algorithm S).
fn sample(candidates: &[u64], count: u64, random: &mut Random, chosen: &mut Vec<u64>) {
    let mut wanted = count;
    for (index, &candidate) in candidates.iter().enumerate() {
        if wanted == 0 {
            return;
        }
        if random.below((candidates.len() - index) as u64) < wanted {
            chosen.push(candidate);
            wanted -= 1;
        }
    }
}

/// `count` ascending positions in `0..weight`, one at random in each of `count` equal parts.
struct Positions {
    weight: u64,
    count: u64,
    seed: u64,
    next_index: u64,
    next: u64,
}

impl Positions {
    fn new(weight: u64, count: u64, seed: u64) -> Self {
        let mut positions = Positions { weight, count, seed, next_index: 0, next: 0 };
        positions.next = positions.at(0);
        positions
    }

    fn at(&self, index: u64) -> u64 {
        if index >= self.count {
            return u64::MAX;
        }
        let jitter = Random::new(self.seed, Stream::Position, index).next() >> 32;
        let fixed_point = (u128::from(index) << 32) + u128::from(jitter);
        (fixed_point * u128::from(self.weight) / (u128::from(self.count) << 32)) as u64
    }

    /// How many positions not yet counted lie before `end`.
    fn before(&mut self, end: u64) -> u64 {
        let from = self.next_index;
        while self.next < end {
            self.next_index += 1;
            self.next = self.at(self.next_index);
        }
        self.next_index - from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn universe() -> Universe {
        let strata = (0..100)
            .map(|day| Stratum { first_stem: 19_850_101_000 + day * 1000, span: 10, weight: 1 + day })
            .collect();
        Universe::new(Register::Far, vec![Group { share: 10_000, strata }])
    }

    #[test]
    fn chosen_numbers_are_distinct_and_ascending() {
        for count in [0, 1, 10, 500] {
            let chosen = universe().select(count, 1).unwrap();
            assert_eq!(chosen.len() as u64, count);
            assert!(chosen.is_sorted_by(|left, right| left < right));
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(universe().select(100, 1), universe().select(100, 1));
        assert_ne!(universe().select(100, 1), universe().select(100, 2));
    }

    #[test]
    fn even_draws_are_of_every_stratum() {
        let mut random = Random::new(1, Stream::Choice, 0);
        let mut drawn: Vec<u64> = (0..20_000).filter_map(|_| universe().draw_evenly(&mut random)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn too_many_is_an_error() {
        assert!(universe().select(1001, 1).is_err());
    }

    #[test]
    fn heavy_strata_get_more() {
        let chosen = universe().select(300, 1).unwrap();
        let late = chosen.iter().filter(|&&id| id / 10 >= 19_850_151_000).count();
        assert!(late > 200, "{late}");
    }
}
