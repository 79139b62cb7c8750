//! Which identities have occurred in a list: one bit for each ordinal of a country.

use super::ListError;
use crate::cpu::prefetch;
use crate::identities::{Country, Ordinal};
use crate::limits::GROUP_IDS;
use crate::memory;

/// A set of ordinals. Its memory is bounded by the identities that are possible, not by the list: pages of
/// the bitmap that are never touched take no memory (some 10 MB for the population of a country, at most
/// 150 MB). The identities of nearly everybody lie close together: their part comes in huge pages, of
/// which a few are enough, so that neither the system is asked for each page nor the processor for where it is.
pub(super) struct Seen {
    first: u32,
    bits: memmap2::MmapMut,
}

impl Seen {
    pub(super) fn new(country: Country) -> Result<Seen, ListError> {
        let ordinals = country.span();
        let bits = memory::zeroed(ordinals.len().div_ceil(8)).map_err(ListError::Memory)?;
        let people = country.people().ordinals();
        let place = |ordinal: u32| (ordinal - ordinals.start) as usize / 8;
        memory::prefer_huge_pages(&bits, place(people.start)..place(people.end));
        Ok(Seen { first: ordinals.start, bits })
    }

    /// Inserts ordinals in turn and tells for each place in `ordinals` whether it was there already.
    pub(super) fn insert_all(&mut self, ordinals: &[Ordinal], mut each: impl FnMut(usize, bool)) {
        for (group, ordinals) in ordinals.chunks(GROUP_IDS).enumerate() {
            for ordinal in ordinals {
                prefetch(&self.bits, (ordinal.0.wrapping_sub(self.first) / 8) as usize);
            }
            for (place, &ordinal) in ordinals.iter().enumerate() {
                each(group * GROUP_IDS + place, self.insert(ordinal));
            }
        }
    }

    /// Whether the ordinal was there already; it is now. Nobody's ordinal never is.
    #[inline(always)]
    fn insert(&mut self, ordinal: Ordinal) -> bool {
        let place = ordinal.0.wrapping_sub(self.first);
        let Some(byte) = self.bits.get_mut((place / 8) as usize) else { return false };
        let bit = 1 << (place % 8);
        let was = *byte & bit != 0;
        *byte |= bit;
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_there() {
        for country in [Country::Sweden, Country::Norway] {
            let mut seen = Seen::new(country).expect("memory");
            let range = country.span();
            for ordinal in [range.start, range.start + 1, range.start + 64, range.end - 1] {
                assert!(!seen.insert(Ordinal(ordinal)));
                assert!(seen.insert(Ordinal(ordinal)));
            }
            assert!(!seen.insert(Ordinal::NOBODY) && !seen.insert(Ordinal::NOBODY));
        }
    }
}
