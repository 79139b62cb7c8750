//! The identities that have occurred in a list: one bit for each ordinal of a country.

use super::error::ListError;
use super::id_numbers::IdNumbers;
use crate::cpu::prefetch;
use crate::identities::{Country, Ordinal};
use crate::limits::GROUP_IDS;
use crate::memory;
use std::ops::Range;

/// A set of ordinals. Its memory is bounded by the possible identities, not by the list: untouched pages of the bitmap
/// take no memory (some 10 MB for the population of a country, at most 150 MB). Nearly all identities are close
/// together: their part of the bitmap uses a few huge pages, which saves page faults and TLB misses.
pub(super) struct SeenIdentities {
    first: u32,
    bits: memmap2::MmapMut,
    /// Which parts of the bitmap, of [`PART_BYTES`] each, have an ordinal: the others are not read, which would take memory.
    parts: Vec<bool>,
    /// The ordinals of people, whose part of the bitmap is small.
    people: Range<u32>,
    /// Memory in bytes of the ordinals of the country.
    bytes_max: u64,
    /// Ordinals outside `people` that were announced; each may be in a page of its own.
    others: u64,
}

/// Bytes of a part of the bitmap.
const PART_BYTES: usize = 1 << 16;

impl SeenIdentities {
    /// An empty set for the ids of a list. Those of both countries are within the span of Sweden.
    pub(super) fn new(ids: &IdNumbers) -> Result<SeenIdentities, ListError> {
        let country = if ids.other.is_some() { Country::Sweden } else { ids.country };
        let ordinals = country.span();
        let bits = memory::zeroed(ordinals.len().div_ceil(8)).map_err(ListError::Memory)?;
        let people = country.main_space().ordinals();
        let byte_of = |ordinal: u32| (ordinal - ordinals.start) as usize / 8;
        memory::prefer_huge_pages(&bits, byte_of(people.start)..byte_of(people.end));
        Ok(SeenIdentities {
            first: ordinals.start,
            parts: vec![false; bits.len().div_ceil(PART_BYTES)],
            bits,
            people,
            bytes_max: ids.countries().map(|country| u64::from(country.size()) / 8).sum(),
            others: 0,
        })
    }

    /// Memory in bytes, at most, after some more ordinals are inserted. Called once for them, before they are.
    pub(super) fn bytes_with(&mut self, ordinals: &[Ordinal]) -> u64 {
        const PAGE_BYTES: u64 = 4096;
        let (first, length) = (self.people.start, self.people.len() as u32);
        let others = ordinals
            .iter()
            .filter(|ordinal| ordinal.0.wrapping_sub(first) >= length && **ordinal != Ordinal::ABSENT);
        self.others += others.count() as u64;
        (u64::from(length / 8) + self.others * PAGE_BYTES).min(self.bytes_max)
    }

    /// Inserts ordinals in order, and calls `each` with the index of each in `ordinals` and whether it was in the set.
    pub(super) fn insert_all(&mut self, ordinals: &[Ordinal], mut each: impl FnMut(usize, bool)) {
        for (group, ordinals) in ordinals.chunks(GROUP_IDS).enumerate() {
            for ordinal in ordinals {
                prefetch(&self.bits, (ordinal.0.wrapping_sub(self.first) / 8) as usize);
            }
            for (index, &ordinal) in ordinals.iter().enumerate() {
                each(group * GROUP_IDS + index, self.insert(ordinal));
            }
        }
    }

    /// Whether an ordinal is in the set.
    #[inline]
    pub(super) fn contains(&self, ordinal: Ordinal) -> bool {
        let bit = ordinal.0.wrapping_sub(self.first);
        self.bits.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// The inserted ordinals, ascending.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        let parts = self.bits.chunks(PART_BYTES).enumerate().zip(&self.parts);
        let bytes = parts.filter(|(_, is_used)| **is_used).flat_map(|((part, bytes), _)| {
            let first = part * PART_BYTES;
            bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte != 0)
                .map(move |(at, byte)| (first + at, *byte))
        });
        bytes.flat_map(|(at, byte)| {
            let first = self.first + 8 * at as u32;
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| Ordinal(first + bit))
        })
    }

    /// Inserts an ordinal, and returns whether it was in the set. Never inserts [`Ordinal::ABSENT`].
    #[inline(always)]
    fn insert(&mut self, ordinal: Ordinal) -> bool {
        let bit = ordinal.0.wrapping_sub(self.first);
        let Some(byte) = self.bits.get_mut((bit / 8) as usize) else { return false };
        let mask = 1 << (bit % 8);
        let was_set = *byte & mask != 0;
        *byte |= mask;
        if let Some(part) = self.parts.get_mut((bit / 8) as usize / PART_BYTES) {
            *part = true;
        }
        was_set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identities::Today;

    #[test]
    fn inserted_ordinals_are_found() {
        for country in [Country::Sweden, Country::Norway] {
            let ids = IdNumbers { country, other: None, today: Today::CONTRACT };
            let mut seen = SeenIdentities::new(&ids).expect("memory");
            let range = country.span();
            for ordinal in [range.start, range.start + 1, range.start + 64, range.end - 1] {
                assert!(!seen.contains(Ordinal(ordinal)) && !seen.insert(Ordinal(ordinal)));
                assert!(seen.contains(Ordinal(ordinal)) && seen.insert(Ordinal(ordinal)));
            }
            let inserted: Vec<u32> = seen.ordinals().map(|ordinal| ordinal.0).collect();
            assert_eq!(inserted, [range.start, range.start + 1, range.start + 64, range.end - 1]);
            assert!(!seen.contains(Ordinal::ABSENT));
            assert!(!seen.insert(Ordinal::ABSENT) && !seen.insert(Ordinal::ABSENT));
        }
    }

    /// Of two countries it has the ordinals of both, whichever country comes first.
    #[test]
    fn sets_of_two_countries_have_both() {
        for (country, other) in [(Country::Sweden, Country::Norway), (Country::Norway, Country::Sweden)] {
            let ids = IdNumbers { country, other: Some(other), today: Today::CONTRACT };
            let mut seen = SeenIdentities::new(&ids).expect("memory");
            let all = [country, other].map(|country| Ordinal(country.ordinals().end - 1));
            assert!(all.iter().all(|ordinal| !seen.insert(*ordinal) && seen.contains(*ordinal)));
            assert_eq!(seen.ordinals().count(), 2);
        }
    }
}
