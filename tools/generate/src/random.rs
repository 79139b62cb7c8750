//! Seeded random numbers whose values never change.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, 2014). It is written out here, together with
//! the few distributions the package needs, because the output files are compared byte for byte
//! between machines and over time. All arithmetic is on integers.
//!
//! Every recipient, row and stratum gets a separate generator, keyed by seed, stream and key. What
//! is drawn for one recipient therefore depends neither on the order of output nor on its neighbours.

/// One million, the unit of every probability.
pub const MILLION: u64 = 1_000_000;

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a generator is used for. Different streams of one seed are unrelated.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    Position = 1,
    Stratum = 2,
    Order = 3,
    Actor = 4,
    Recipient = 5,
    Person = 6,
    Certificate = 7,
    Choice = 8,
    Row = 9,
    Relaxed = 10,
    Change = 11,
}

/// A SplitMix64 generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The finishing function of SplitMix64: a bijection that spreads every input bit.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl Random {
    /// The generator of `key` within `stream` of `seed`.
    pub fn new(seed: u64, stream: Stream, key: u64) -> Self {
        let base = mix(seed.wrapping_add(GOLDEN_GAMMA.wrapping_mul(stream as u64)));
        Random(mix(base ^ mix(key.wrapping_add(GOLDEN_GAMMA))))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        mix(self.0)
    }

    /// A number in `0..bound`. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// An index in `0..length`.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True with probability `millionths` / 1 000 000.
    pub fn chance(&mut self, millionths: u64) -> bool {
        self.below(MILLION) < millionths
    }

    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.index(items.len())]
    }

    /// An index drawn in proportion to `weights`.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut rest = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if rest < weight {
                return index;
            }
            rest -= weight;
        }
        unreachable!("the draw is below the sum of the weights")
    }

    /// Moves `count` random items to the front of `items`, in random order (Fisher and Yates).
    pub fn shuffle_front<T>(&mut self, items: &mut [T], count: usize) {
        for index in 0..count.min(items.len()) {
            let other = index + self.index(items.len() - index);
            items.swap(index, other);
        }
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.shuffle_front(items, items.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first values of SplitMix64 with seed 1234567.
    #[test]
    fn values_are_those_of_splitmix64() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        assert_eq!(random.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn below_covers_its_range() {
        let mut random = Random::new(1, Stream::Choice, 0);
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[random.index(7)] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..1000).collect();
        Random::new(1, Stream::Order, 0).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<u32>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<u32>>());
    }
}
