//! The batch kernel: groups of ids, each stage asking for the memory that the next one reads.
//!
//! A lookup touches three places that depend on one another: the block's entry in the trusted
//! directory (small, stays in the nearest caches), the page (one line) and the code (one line). One id
//! at a time would wait for each; a group waits for all at once. Nothing branches on whether
//! an id is present: an absent id reads code 0 of slot 0, which is nobody's.
//!
//! This is one of the four files where `unsafe` is allowed. What it relies on is established by
//! [`super::Index::check_block`] before an entry of the trusted directory is ever non-zero.
#![allow(unsafe_code)]

use super::codes::Code;
use super::{Found, Page, Slot};
use crate::cpu::{Processor, Work, prefetch, vectorized};
use crate::identities::Ordinal;
use crate::limits::{BLOCK_PAGES, GROUP_IDS, PAGE_ORDINALS};
use std::sync::atomic::{AtomicU64, Ordering};

/// Entry of the trusted directory for a block that the register does not have: the empty block 0,
/// with a record number that is never used.
pub(super) const ABSENT: u64 = 1;

/// Entry of the trusted directory for a checked block.
pub(super) fn trusted(block: u32, first_record: u32) -> u64 {
    u64::from(block) << 32 | u64::from(first_record)
}

/// The block and the first record of an entry of the trusted directory.
#[inline(always)]
pub(super) fn split_entry(entry: u64) -> (u32, u32) {
    ((entry >> 32) as u32, entry as u32)
}

/// What the kernel reads.
///
/// Contract: the last entry of `trusted` is [`ABSENT`] and `pages` holds block 0, empty. Every entry
/// that is neither 0 nor [`ABSENT`] was made by [`trusted`] of a block whose pages lie in `pages`, whose
/// counts agree with its presence bits, and whose records lie in `codes`. `codes` is not empty.
#[derive(Clone, Copy)]
pub(super) struct Kernel<'a, C> {
    pub(super) first: u32,
    pub(super) trusted: &'a [AtomicU64],
    pub(super) pages: &'a [Page],
    pub(super) codes: &'a [C],
}

impl<C: Code> Kernel<'_, C> {
    /// Looks up at most [`GROUP_IDS`] ordinals. `false` if a block is not trusted yet; then `found` is
    /// as it was.
    #[inline(always)]
    pub(super) fn group(&self, ordinals: &[Ordinal], found: &mut [Found]) -> bool {
        assert!(ordinals.len() <= GROUP_IDS && ordinals.len() == found.len());
        vectorized(Group { kernel: self, ordinals, found })
    }

    /// Looks up one ordinal. `None` if its block is not trusted yet.
    #[inline(always)]
    pub(super) fn one(&self, ordinal: Ordinal, processor: Processor) -> Option<Found> {
        processor.run(One { kernel: self, ordinal })
    }

    /// As in a group, without asking for anything ahead. The fewer instructions it takes, the more lookups the
    /// processor has under way at a time.
    #[inline(always)]
    fn look_up(&self, ordinal: Ordinal) -> Option<Found> {
        let offset = ordinal.0.wrapping_sub(self.first);
        let page = offset / PAGE_ORDINALS;
        let block = ((page / BLOCK_PAGES) as usize).min(self.trusted.len() - 1);
        let entry = self.trusted[block].load(Ordering::Relaxed);
        if entry == 0 {
            return None;
        }
        let (number, record) = split_entry(entry);
        let place = (number * BLOCK_PAGES + page % BLOCK_PAGES) as usize;
        debug_assert!(place < self.pages.len());
        // SAFETY: a page of block 0 or of a trusted block; `pages` holds both.
        let (present, rank) = unsafe { self.pages.get_unchecked(place) }.rank(offset - page * PAGE_ORDINALS);
        let slot = record.wrapping_add(rank) & 0u32.wrapping_sub(present);
        debug_assert!((slot as usize) < self.codes.len());
        // SAFETY: slot 0, or a record of a trusted block whose counts were checked: both in `codes`.
        let code = unsafe { self.codes.get_unchecked(slot as usize) }.number();
        Some(Found { slot: Slot(slot), code })
    }

    #[inline(always)]
    fn group_of<const N: usize>(&self, ordinals: &[Ordinal], found: &mut [Found]) -> bool {
        let mut places = [Place::default(); N];
        let last = self.trusted.len() - 1;
        let mut untrusted = false;
        for (place, ordinal) in places.iter_mut().zip(ordinals) {
            let offset = ordinal.0.wrapping_sub(self.first);
            let page = offset / PAGE_ORDINALS;
            let block = ((page / BLOCK_PAGES) as usize).min(last);
            let entry = self.trusted[block].load(Ordering::Relaxed);
            untrusted |= entry == 0;
            let (number, record) = split_entry(entry);
            place.page = number * BLOCK_PAGES + page % BLOCK_PAGES;
            place.bit = offset - page * PAGE_ORDINALS;
            place.record = record;
            prefetch(self.pages, place.page as usize);
        }
        if untrusted {
            return false;
        }
        for (place, found) in places.iter().zip(found.iter_mut()) {
            debug_assert!((place.page as usize) < self.pages.len());
            // SAFETY: `page` is a page of block 0 or of a trusted block; `pages` holds both.
            let (present, rank) = unsafe { self.pages.get_unchecked(place.page as usize) }.rank(place.bit);
            let slot = place.record.wrapping_add(rank) & 0u32.wrapping_sub(present);
            prefetch(self.codes, slot as usize);
            found.slot = Slot(slot);
        }
        for found in found.iter_mut() {
            debug_assert!((found.slot.0 as usize) < self.codes.len());
            // SAFETY: slot 0, or a record of a trusted block whose counts were checked: both in `codes`.
            found.code = unsafe { self.codes.get_unchecked(found.slot.0 as usize) }.number();
        }
        true
    }
}

/// Ids of a small group.
pub(super) const FEW: usize = 4;

/// A single lookup is a group too, without the room for many.
macro_rules! few_or_many {
    ($group:ident) => {
        match $group.ordinals.len() {
            ..=$crate::index::kernel::FEW => {
                $group.kernel.group_of::<{ $crate::index::kernel::FEW }>($group.ordinals, $group.found)
            }
            _ => $group.kernel.group_of::<GROUP_IDS>($group.ordinals, $group.found),
        }
    };
}
pub(super) use few_or_many;

/// The lookup of one group.
struct Group<'a, C> {
    kernel: &'a Kernel<'a, C>,
    ordinals: &'a [Ordinal],
    found: &'a mut [Found],
}

impl<C: Code> Work for Group<'_, C> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        few_or_many!(self)
    }
}

/// The lookup of one ordinal.
struct One<'a, C> {
    kernel: &'a Kernel<'a, C>,
    ordinal: Ordinal,
}

impl<C: Code> Work for One<'_, C> {
    type Output = Option<Found>;

    #[inline(always)]
    fn run(self) -> Option<Found> {
        self.kernel.look_up(self.ordinal)
    }
}

#[derive(Clone, Copy, Default)]
struct Place {
    page: u32,
    bit: u32,
    record: u32,
}
