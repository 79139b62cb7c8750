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

use super::codes::{Code, Codes, with_codes};
use super::{Found, Page, Slot};
use crate::cpu::{Work, prefetch};
use crate::identities::Ordinal;
use crate::limits::{BLOCK_PAGES, GROUP_IDS, PAGE_ORDINALS};
use std::sync::atomic::{AtomicU64, Ordering};

/// What every entry of the trusted directory has that may be relied on.
const TRUSTED: u64 = 1 << 63;

/// Entry of the trusted directory for a block that the register does not have: the empty block 0.
pub(super) const ABSENT: u64 = TRUSTED;

/// Entry of the trusted directory for a checked block. There are no more blocks than places in a country's directory
/// (some 80 000), so that a page's number has 31 bits.
pub(super) fn trusted(block: u32, first_record: u32) -> u64 {
    TRUSTED | u64::from(block * BLOCK_PAGES) << 32 | u64::from(first_record)
}

/// The first page and the first record of an entry of the trusted directory.
#[inline(always)]
pub(super) const fn split_entry(entry: u64) -> (u32, u32) {
    (((entry & !TRUSTED) >> 32) as u32, entry as u32)
}

/// Whoever takes in what a group finds.
pub(crate) trait Sink {
    /// The first of them is asked for at place `first`. Implementations are `#[inline(always)]`.
    fn take(&mut self, first: usize, found: impl ExactSizeIterator<Item = Found>);
}

impl Sink for [Found] {
    #[inline(always)]
    fn take(&mut self, first: usize, found: impl ExactSizeIterator<Item = Found>) {
        self[first..].iter_mut().zip(found).for_each(|(to, found)| *to = found);
    }
}

/// What is known of a group's ids between the stages.
struct Room {
    /// Place in the trusted directory.
    blocks: [u32; GROUP_IDS],
    /// Page of the block, later page and first record as an entry of the trusted directory has them.
    places: [u64; GROUP_IDS],
    /// Place in the page.
    bits: [u32; GROUP_IDS],
    slots: [u32; GROUP_IDS],
}

impl Room {
    fn new() -> Room {
        Room { blocks: [0; GROUP_IDS], places: [0; GROUP_IDS], bits: [0; GROUP_IDS], slots: [0; GROUP_IDS] }
    }
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
    /// Looks up one ordinal, without asking for anything ahead. `None` if its block is not trusted yet.
    ///
    /// The fewer instructions it takes, the more lookups the processor has under way at a time.
    #[inline(always)]
    fn look_up(&self, ordinal: Ordinal) -> Option<Found> {
        let offset = ordinal.0.wrapping_sub(self.first);
        let page = offset / PAGE_ORDINALS;
        let block = ((page / BLOCK_PAGES) as usize).min(self.trusted.len() - 1);
        let entry = self.trusted[block].load(Ordering::Relaxed);
        if entry == 0 {
            return None;
        }
        let slot = self.slot(entry | u64::from(page % BLOCK_PAGES) << 32, offset - page * PAGE_ORDINALS);
        Some(Found { slot: Slot(slot), code: self.code(slot) })
    }

    /// First stage: where each of at most [`GROUP_IDS`] ordinals is looked for. Asks for the pages. `false` if a block is
    /// not trusted yet.
    #[inline(always)]
    fn find(&self, ordinals: &[Ordinal], room: &mut Room) -> bool {
        let Room { blocks, places, bits, .. } = room;
        let count = ordinals.len();
        let last = (self.trusted.len() - 1) as u32;
        // Nothing but arithmetic, for several at a time.
        for (((block, place), bit), ordinal) in
            blocks.iter_mut().zip(places.iter_mut()).zip(bits.iter_mut()).zip(ordinals)
        {
            let offset = ordinal.0.wrapping_sub(self.first);
            let page = offset / PAGE_ORDINALS;
            *block = (page / BLOCK_PAGES).min(last);
            *place = u64::from(page % BLOCK_PAGES) << 32;
            *bit = offset - page * PAGE_ORDINALS;
        }
        let mut all = TRUSTED;
        for (place, block) in places[..count].iter_mut().zip(&blocks[..count]) {
            debug_assert!((*block as usize) < self.trusted.len());
            // SAFETY: no greater than the last.
            let entry = unsafe { self.trusted.get_unchecked(*block as usize) }.load(Ordering::Relaxed);
            all &= entry;
            *place |= entry;
            prefetch(self.pages, Self::page(*place));
        }
        all != 0
    }

    /// Second stage: reads the pages, and asks for the records.
    #[inline(always)]
    fn rank(&self, count: usize, room: &mut Room) {
        let Room { places, bits, slots, .. } = room;
        for ((slot, place), bit) in slots[..count].iter_mut().zip(&places[..count]).zip(&bits[..count]) {
            *slot = self.slot(*place, *bit);
            prefetch(self.codes, *slot as usize);
        }
    }

    /// The page that a trusted entry with a page of its block stands for.
    #[inline(always)]
    fn page(place: u64) -> usize {
        ((place & !TRUSTED) >> 32) as usize
    }

    /// The record of an ordinal on the page of a trusted entry with a page of its block.
    #[inline(always)]
    fn slot(&self, place: u64, bit: u32) -> u32 {
        let page = Self::page(place);
        debug_assert!(page < self.pages.len());
        // SAFETY: a page of block 0 or of a trusted block; `pages` holds both.
        let (present, rank) = unsafe { self.pages.get_unchecked(page) }.rank(bit);
        (place as u32).wrapping_add(rank) & 0u32.wrapping_sub(present)
    }

    #[inline(always)]
    fn code(&self, slot: u32) -> u32 {
        debug_assert!((slot as usize) < self.codes.len());
        // SAFETY: slot 0, or a record of a trusted block whose counts were checked: both in `codes`.
        unsafe { self.codes.get_unchecked(slot as usize) }.number()
    }
}

/// The lookup of any number of ordinals, a group at a time.
pub(super) struct Groups<'a, 'k, C, S: ?Sized, T> {
    pub(super) kernel: Kernel<'a, C>,
    pub(super) ordinals: &'k [Ordinal],
    pub(super) sink: &'k mut S,
    /// Makes the blocks of some ordinals trusted, if they can be.
    pub(super) trust: T,
}

impl<C: Code, S: Sink + ?Sized, E, T: FnMut(&[Ordinal]) -> Result<(), E>> Work for Groups<'_, '_, C, S, T> {
    type Output = Result<(), E>;

    #[inline(always)]
    fn run(self) -> Result<(), E> {
        let Groups { kernel, ordinals, sink, mut trust } = self;
        let mut find = |group: &[Ordinal], room: &mut Room| {
            while !kernel.find(group, room) {
                trust(group)?;
            }
            Ok(())
        };
        let (room, next_room) = (&mut Room::new(), &mut Room::new());
        let (mut room, mut next_room) = (room, next_room);
        let (mut at, mut groups) = (0, ordinals.chunks(GROUP_IDS));
        let Some(mut group) = groups.next() else { return Ok(()) };
        find(group, room)?;
        loop {
            kernel.rank(group.len(), room);
            // While the records are on their way the next group's pages are asked for, and while these are, the
            // records are taken: memory always has something to do.
            let next = groups.next();
            if let Some(next) = next {
                find(next, next_room)?;
            }
            let slots = &room.slots[..group.len()];
            sink.take(at, slots.iter().map(|&slot| Found { slot: Slot(slot), code: kernel.code(slot) }));
            let Some(next) = next else { break };
            at += group.len();
            group = next;
            std::mem::swap(&mut room, &mut next_room);
        }
        Ok(())
    }
}

/// What single lookups read: a [`Kernel`] of some width, found once.
pub(crate) struct Single<'a> {
    pub(super) first: u32,
    pub(super) trusted: &'a [AtomicU64],
    pub(super) pages: &'a [Page],
    pub(super) codes: Codes<'a>,
}

impl Single<'_> {
    /// Looks up one ordinal. `None` if its block is not trusted yet.
    #[inline(always)]
    pub(crate) fn look_up(&self, ordinal: Ordinal) -> Option<Found> {
        let Single { first, trusted, pages, codes } = *self;
        with_codes!(codes, codes => Kernel { first, trusted, pages, codes }.look_up(ordinal))
    }
}
