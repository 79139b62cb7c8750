//! A page: presence bits of 448 ordinals and their rank in one cache line.

use crate::limits::PAGE_ORDINALS;
use bytemuck::{Pod, Zeroable};

/// 64 bytes: seven words of presence bits and one of four counts.
///
/// Bit `b` of word `w` is set if the ordinal `64 · w + b` of the page is present. The last word holds four 16-bit
/// counts, lowest first: the number of present ordinals of the *block* before word 0, 2, 4 and 6 of this page. So a
/// rank takes one count and at most two population counts, all from the cache line of the presence bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Page {
    words: [u64; 8],
}

/// The word of a [`Page`] that holds its counts.
const COUNTS: usize = 7;

impl Page {
    pub(crate) const EMPTY: Page = Page { words: [0; 8] };

    /// Marks an ordinal of the page as present or absent. [`Page::close`] sets the counts.
    pub(super) fn set(&mut self, bit: u32, present: bool) {
        debug_assert!(bit < PAGE_ORDINALS);
        let word = &mut self.words[(bit / 64) as usize];
        *word = *word & !(1 << (bit % 64)) | u64::from(present) << (bit % 64);
    }

    /// Sets the counts. `before` is the number of present ordinals on earlier pages of the block; returns that number
    /// for the next page.
    #[inline(always)]
    pub(super) fn close(&mut self, before: u32) -> u32 {
        let (counts, total) = self.counts(before);
        self.words[COUNTS] = counts;
        total
    }

    /// Checks the counts against the presence bits. Parameter and result are those of [`Page::close`]; `None` if the
    /// counts are wrong.
    pub(super) fn check(&self, before: u32) -> Option<u32> {
        let (counts, total) = self.counts(before);
        (self.words[COUNTS] == counts).then_some(total)
    }

    #[inline(always)]
    fn counts(&self, before: u32) -> (u64, u32) {
        let (mut counts, mut total) = (0, before);
        for (word, bits) in self.words[..COUNTS].iter().enumerate() {
            if word % 2 == 0 {
                counts |= u64::from(total) << (8 * word);
            }
            total += bits.count_ones();
        }
        (counts, total)
    }

    /// Whether an ordinal of the page is present (1 or 0), and its rank: the number of present ordinals before it in
    /// the block.
    ///
    /// No branch depends on the page: a branch that is mispredicted while memory is outstanding costs more than the
    /// whole function.
    #[inline(always)]
    pub(super) fn rank(&self, bit: u32) -> (u32, u32) {
        debug_assert!(bit < PAGE_ORDINALS);
        let (word, pair) = ((bit >> 6) as usize & 7, (bit >> 7) as usize & 3);
        let below = (1u64 << (bit & 63)) - 1;
        let second = 0u64.wrapping_sub(u64::from(bit >> 6 & 1));
        // If the bit is in the second word of the pair, the first word counts as a whole. The second word of the last
        // pair is the word of counts; no bit is in it, and `second` masks it out.
        let first = self.words[2 * pair] & (below | second);
        let last = self.words[2 * pair + 1] & below & second;
        let count = (self.words[COUNTS] >> (16 * pair)) as u16;
        let present = (self.words[word] >> (bit & 63)) as u32 & 1;
        (present, u32::from(count) + first.count_ones() + last.count_ones())
    }

    /// Number of present ordinals of the block before the page.
    pub(super) fn before(&self) -> u32 {
        u32::from(self.words[COUNTS] as u16)
    }

    /// The present ordinals of the page, ascending.
    pub(super) fn bits(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.words[..COUNTS]).flat_map(|(word, &bits)| {
            let next = |bits: &u64| Some(bits & (bits - 1)).filter(|&rest| rest != 0);
            std::iter::successors((bits != 0).then_some(bits), next)
                .map(move |bits| 64 * word + bits.trailing_zeros())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rank_agrees_with_a_set(
            bits in proptest::collection::btree_set(0..PAGE_ORDINALS, 0..448), before in 0..13_888u32
        ) {
            let mut page = Page::EMPTY;
            bits.iter().for_each(|&bit| page.set(bit, true));
            prop_assert_eq!(page.close(before), before + bits.len() as u32);
            prop_assert_eq!(page.check(before), Some(before + bits.len() as u32));
            prop_assert_eq!(page.bits().collect::<Vec<_>>(), bits.iter().copied().collect::<Vec<_>>());
            for bit in 0..PAGE_ORDINALS {
                let (present, rank) = page.rank(bit);
                prop_assert_eq!(present == 1, bits.contains(&bit));
                prop_assert_eq!(rank as usize, before as usize + bits.range(..bit).count());
            }
            page.words[COUNTS] ^= 1 << (before % 64);
            prop_assert_eq!(page.check(before), None);
        }
    }
}
