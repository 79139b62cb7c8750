//! The lookup kernel for a register file without changes.
//!
//! A lookup reads three memory locations, each of which depends on the one before: the block's entry in the directory
//! of trusted blocks (small, stays in cache), the page (one cache line) and the record (one cache line). Ordinals are
//! looked up in groups, so that the cache misses of a group overlap:
//!
//! ```text
//! look_up(ordinals, sink):
//!     for each group of 128 ordinals:
//!         # stage 1, find: compute the page of each ordinal
//!         for each i:
//!             offset     = ordinals[i] - first           # wraps around for ordinals below `first`
//!             page       = offset / 448
//!             bits[i]    = offset % 448
//!             entry      = trusted[min(page / 32, last)] # `last` holds ABSENT, for ordinals of no block
//!             if entry == 0: check the block, repeat the stage
//!             targets[i] = entry + page % 32             # (page in `pages`, first record of the block)
//!             prefetch pages[targets[i].page]
//!         # stage 2, rank: compute the slot of each ordinal
//!         for each i:
//!             present, rank = pages[targets[i].page].rank(bits[i])
//!             slots[i]   = present * (targets[i].first_record + rank)
//!             prefetch codes[slots[i]]
//!         # stage 1 of the next group runs here, while the records arrive
//!         # stage 3: read the records
//!         for each i:
//!             sink.take(slots[i], codes[slots[i]])
//! ```
//!
//! No branch depends on whether an ordinal is present, because a mispredicted branch would discard the work behind it.
//! An absent ordinal gets slot 0, and record 0 is reserved for absent recipients.
//!
//! # Example
//!
//! A Swedish register (`first` = 0), ordinal 20 000. The directory of trusted blocks has at index 1 the block number 3
//! with first record 5000.
//!
//! | stage | computation | result |
//! |---|---|---|
//! | find | page 20 000 / 448, bit 20 000 % 448 | page 44, bit 288 |
//! | | index in the directory 44 / 32, page in the block 44 % 32 | index 1, page 12 |
//! | | entry 1: first page 3 · 32 = 96, first record 5000; 96 + 12 | page 108 in `pages` |
//! | rank | bit 288 of page 108: word 4, bit 32 | set: present |
//! | | count before word 4 in the block: 40; bits set in word 4 below bit 32: 9 | rank 49 |
//! | | first record 5000 + rank 49 | slot 5049 |
//! | read | `codes[5049]` | the state, say 7 |
//!
//! If bit 288 is not set, the slot is 0 and `codes[0]` is state 0: not registered.
//!
//! # Safety
//!
//! This is one of the four files in which `unsafe` is allowed. [`super::Index::check_block`] establishes the
//! preconditions before an entry of the directory of trusted blocks becomes non-zero.
#![allow(unsafe_code)]

use super::codes::{Code, Codes, with_codes};
use super::{Hit, Page, Slot};
use crate::cpu::{Work, prefetch};
use crate::identities::Ordinal;
use crate::limits::{BLOCK_PAGES, GROUP_IDS, PAGE_ORDINALS};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bit that is set in every valid entry of the directory of trusted blocks.
const TRUSTED: u64 = 1 << 63;

/// Entry of a block that the register does not have: refers to the empty block 0.
pub(super) const ABSENT: u64 = TRUSTED;

/// Entry of a checked block: [`TRUSTED`], 31 bits for its first page, 32 bits for its first record. 31 bits suffice,
/// because there are no more blocks than entries in a country's directory (some 80 000).
pub(super) fn trusted(block: u32, first_record: u32) -> u64 {
    TRUSTED | u64::from(block * BLOCK_PAGES) << 32 | u64::from(first_record)
}

/// The first page and the first record of an entry.
#[inline(always)]
pub(super) const fn split_entry(entry: u64) -> (u32, u32) {
    (((entry & !TRUSTED) >> 32) as u32, entry as u32)
}

/// Receives the results of a lookup.
pub(crate) trait Sink {
    /// Takes the results for consecutive ordinals, of which `first` is the index of the first. Implementations must be
    /// `#[inline(always)]`.
    fn take(&mut self, first: usize, hits: impl ExactSizeIterator<Item = Hit>);
}

impl Sink for [Hit] {
    #[inline(always)]
    fn take(&mut self, first: usize, hits: impl ExactSizeIterator<Item = Hit>) {
        self[first..].iter_mut().zip(hits).for_each(|(to, hit)| *to = hit);
    }
}

/// Intermediate results of a group between the stages.
struct GroupScratch {
    /// Index in the directory of trusted blocks.
    blocks: [u32; GROUP_IDS],
    /// Page in the block, shifted by 32; after [`Kernel::find`] an entry whose page is that of the ordinal.
    targets: [u64; GROUP_IDS],
    /// Bit in the page.
    bits: [u32; GROUP_IDS],
    slots: [u32; GROUP_IDS],
}

impl GroupScratch {
    fn new() -> GroupScratch {
        GroupScratch {
            blocks: [0; GROUP_IDS],
            targets: [0; GROUP_IDS],
            bits: [0; GROUP_IDS],
            slots: [0; GROUP_IDS],
        }
    }
}

/// The arrays that the kernel reads.
///
/// Contract:
///
/// - The last entry of `trusted` is [`ABSENT`].
/// - `pages` begins with block 0, which is empty.
/// - Every entry that is neither 0 nor [`ABSENT`] is the result of [`trusted`] for a block whose pages are in `pages`,
///   whose counts agree with its presence bits, and whose records are in `codes`.
/// - `codes` is not empty.
#[derive(Clone, Copy)]
pub(super) struct Kernel<'a, C> {
    pub(super) first: u32,
    pub(super) trusted: &'a [AtomicU64],
    pub(super) pages: &'a [Page],
    pub(super) codes: &'a [C],
}

impl<C: Code> Kernel<'_, C> {
    /// Looks up one ordinal, without prefetching. `None` if its block is not trusted yet.
    ///
    /// The processor overlaps consecutive lookups, and the fewer instructions a lookup takes, the more of them overlap.
    #[inline(always)]
    fn look_up(&self, ordinal: Ordinal) -> Option<Hit> {
        let offset = ordinal.0.wrapping_sub(self.first);
        let page = offset / PAGE_ORDINALS;
        let block = ((page / BLOCK_PAGES) as usize).min(self.trusted.len() - 1);
        let entry = self.trusted[block].load(Ordering::Relaxed);
        if entry == 0 {
            return None;
        }
        let slot = self.slot(entry | u64::from(page % BLOCK_PAGES) << 32, offset - page * PAGE_ORDINALS);
        Some(Hit { slot: Slot(slot), code: self.code(slot) })
    }

    /// Stage 1: computes the pages of at most [`GROUP_IDS`] ordinals and prefetches them. `false` if a block is not
    /// trusted yet.
    #[inline(always)]
    fn find(&self, ordinals: &[Ordinal], scratch: &mut GroupScratch) -> bool {
        let GroupScratch { blocks, targets, bits, .. } = scratch;
        let count = ordinals.len();
        let last = (self.trusted.len() - 1) as u32;
        // Arithmetic only, so that the compiler vectorizes it.
        for (((block, target), bit), ordinal) in
            blocks.iter_mut().zip(targets.iter_mut()).zip(bits.iter_mut()).zip(ordinals)
        {
            let offset = ordinal.0.wrapping_sub(self.first);
            let page = offset / PAGE_ORDINALS;
            *block = (page / BLOCK_PAGES).min(last);
            *target = u64::from(page % BLOCK_PAGES) << 32;
            *bit = offset - page * PAGE_ORDINALS;
        }
        let mut all = TRUSTED;
        for (target, block) in targets[..count].iter_mut().zip(&blocks[..count]) {
            debug_assert!((*block as usize) < self.trusted.len());
            // SAFETY: `block` was limited to the last index.
            let entry = unsafe { self.trusted.get_unchecked(*block as usize) }.load(Ordering::Relaxed);
            all &= entry;
            *target |= entry;
            prefetch(self.pages, Self::page(*target));
        }
        all != 0
    }

    /// Stage 2: computes the slots from the pages and prefetches the records.
    #[inline(always)]
    fn rank(&self, count: usize, scratch: &mut GroupScratch) {
        let GroupScratch { targets, bits, slots, .. } = scratch;
        for ((slot, target), bit) in slots[..count].iter_mut().zip(&targets[..count]).zip(&bits[..count]) {
            *slot = self.slot(*target, *bit);
            prefetch(self.codes, *slot as usize);
        }
    }

    /// The index in `pages` of an entry with the page of an ordinal.
    #[inline(always)]
    fn page(target: u64) -> usize {
        ((target & !TRUSTED) >> 32) as usize
    }

    /// The slot of an ordinal: `target` is an entry with the page of the ordinal, `bit` its bit in the page.
    #[inline(always)]
    fn slot(&self, target: u64, bit: u32) -> u32 {
        let page = Self::page(target);
        debug_assert!(page < self.pages.len());
        // SAFETY: the page belongs to block 0 or to a trusted block, and `pages` has both.
        let (present, rank) = unsafe { self.pages.get_unchecked(page) }.rank(bit);
        // A file that is overwritten may have other counts than those that were checked.
        let last = self.codes.len().saturating_sub(1) as u32;
        ((target as u32).wrapping_add(rank) & 0u32.wrapping_sub(present)).min(last)
    }

    #[inline(always)]
    fn code(&self, slot: u32) -> u32 {
        debug_assert!((slot as usize) < self.codes.len());
        // SAFETY: `slot` limits it to the length of `codes`, which has record 0.
        unsafe { self.codes.get_unchecked(slot as usize) }.number()
    }
}

/// The lookup of any number of ordinals, in groups.
pub(super) struct Groups<'a, 'k, C, S: ?Sized, T> {
    pub(super) kernel: Kernel<'a, C>,
    pub(super) ordinals: &'k [Ordinal],
    pub(super) sink: &'k mut S,
    /// Checks the blocks of ordinals and makes them trusted. Errors: a block is damaged.
    pub(super) trust: T,
}

impl<C: Code, S: Sink + ?Sized, E, T: FnMut(&[Ordinal]) -> Result<(), E>> Work for Groups<'_, '_, C, S, T> {
    type Output = Result<(), E>;

    #[inline(always)]
    fn run(self) -> Result<(), E> {
        let Groups { kernel, ordinals, sink, mut trust } = self;
        let mut find = |group: &[Ordinal], scratch: &mut GroupScratch| {
            while !kernel.find(group, scratch) {
                trust(group)?;
            }
            Ok(())
        };
        let (scratch, next_scratch) = (&mut GroupScratch::new(), &mut GroupScratch::new());
        let (mut scratch, mut next_scratch) = (scratch, next_scratch);
        let (mut first, mut groups) = (0, ordinals.chunks(GROUP_IDS));
        let Some(mut group) = groups.next() else { return Ok(()) };
        find(group, scratch)?;
        loop {
            kernel.rank(group.len(), scratch);
            // Prefetch the next group's pages while this group's records arrive, and read the records while the pages
            // arrive, so that memory requests are always in flight.
            let next = groups.next();
            if let Some(next) = next {
                find(next, next_scratch)?;
            }
            let slots = &scratch.slots[..group.len()];
            sink.take(first, slots.iter().map(|&slot| Hit { slot: Slot(slot), code: kernel.code(slot) }));
            let Some(next) = next else { break };
            first += group.len();
            group = next;
            std::mem::swap(&mut scratch, &mut next_scratch);
        }
        Ok(())
    }
}

/// The arrays of a [`Kernel`] of any record width, for single lookups.
pub(crate) struct SingleLookup<'a> {
    pub(super) first: u32,
    pub(super) trusted: &'a [AtomicU64],
    pub(super) pages: &'a [Page],
    pub(super) codes: Codes<'a>,
}

impl SingleLookup<'_> {
    /// Looks up one ordinal. `None` if its block is not trusted yet.
    #[inline(always)]
    pub(crate) fn look_up(&self, ordinal: Ordinal) -> Option<Hit> {
        let SingleLookup { first, trusted, pages, codes } = *self;
        with_codes!(codes, codes => Kernel { first, trusted, pages, codes }.look_up(ordinal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    /// A file that is overwritten after its blocks were checked: counts that lead beyond the records read none of them.
    #[test]
    fn counts_that_were_overwritten_lead_to_the_last_record() {
        let overwritten: Page = bytemuck::cast([u64::MAX; 8]);
        let mut pages = vec![Page::zeroed(); BLOCK_PAGES as usize];
        pages.extend(vec![overwritten; BLOCK_PAGES as usize]);
        let directory = [AtomicU64::new(trusted(1, 1)), AtomicU64::new(ABSENT)];
        let codes = [0u8, 7, 9];
        let kernel = Kernel { first: 0, trusted: &directory, pages: &pages, codes: &codes };
        let ordinals = [Ordinal(0), Ordinal(PAGE_ORDINALS - 1), Ordinal(5 * PAGE_ORDINALS + 70)];
        let mut hits = [Hit { slot: Slot(0), code: 0 }; 3];
        let trust = |_: &[Ordinal]| Err(());
        let groups = Groups { kernel, ordinals: &ordinals, sink: &mut hits[..], trust };
        assert_eq!(groups.run(), Ok(()));
        for (ordinal, hit) in ordinals.into_iter().zip(hits) {
            assert_eq!((hit.slot.0, hit.code), (2, 9), "the last record");
            let single = kernel.look_up(ordinal).expect("trusted");
            assert_eq!((single.slot.0, single.code), (2, 9));
        }
    }
}
