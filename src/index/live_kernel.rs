//! The batch kernel for a register with changed parts: as [`super::kernel`], but each id may find its
//! page and its record in memory of its own.
//!
//! Whether a part has changed is a branch on what lies in the nearest caches. From there on
//! nothing branches: a changed part has its records behind one that is nobody's, as the file has.

use super::codes::Code;
use super::kernel::{ABSENT, Sink, split_entry};
use super::live::Overlay;
use super::{Found, Page, Slot};
use crate::cpu::{Work, prefetch};
use crate::identities::Ordinal;
use crate::limits::{BLOCK_PAGES, GROUP_IDS, PAGE_ORDINALS, PART_ORDINALS, PART_PAGES};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the kernel reads. `trusted`, `pages` and `codes` are as in [`super::kernel::Kernel`]; `codes` is
/// only nobody's record if the changed parts have another width than the file.
#[derive(Clone, Copy)]
pub(super) struct LiveKernel<'a, C> {
    pub(super) first: u32,
    pub(super) trusted: &'a [AtomicU64],
    pub(super) pages: &'a [Page],
    pub(super) codes: &'a [C],
    pub(super) overlay: &'a Overlay,
}

static NO_PAGE: Page = Page::EMPTY;

/// Where an id is looked for.
#[derive(Clone, Copy)]
struct Place<'a, C> {
    page: &'a Page,
    codes: &'a [C],
    bit: u32,
    record: u32,
}

impl<'a, C: Code> LiveKernel<'a, C> {
    /// Where an ordinal is looked for; `None` if its block of the file is not trusted yet.
    #[inline(always)]
    fn place(&self, ordinal: Ordinal) -> Option<Place<'a, C>> {
        let offset = ordinal.0.wrapping_sub(self.first);
        let page = offset / PAGE_ORDINALS;
        let bit = offset - page * PAGE_ORDINALS;
        if let Some(live) = self.overlay.get((page / PART_PAGES) as usize) {
            let page = &live.lines()[(page % PART_PAGES) as usize];
            return Some(Place { page, codes: live.codes(), bit, record: 1 });
        }
        let block = ((page / BLOCK_PAGES) as usize).min(self.trusted.len() - 1);
        let entry = self.trusted[block].load(Ordering::Relaxed);
        if entry == 0 {
            return None;
        }
        let (first, record) = split_entry(entry);
        let page = &self.pages[(first + page % BLOCK_PAGES) as usize];
        Some(Place { page, codes: self.codes, bit, record })
    }

    /// Looks up one ordinal. `None` if its block of the file is not trusted yet.
    pub(super) fn one(&self, ordinal: Ordinal) -> Option<Found> {
        let place = self.place(ordinal)?;
        let slot = place.slot();
        Some(Found { slot: Slot(slot), code: place.codes[slot as usize].number() })
    }
}

impl<C> Place<'_, C> {
    #[inline(always)]
    fn slot(&self) -> u32 {
        let (present, rank) = self.page.rank(self.bit);
        self.record.wrapping_add(rank) & 0u32.wrapping_sub(present)
    }
}

const _: () = assert!(split_entry(ABSENT).0 == 0, "an absent block is block 0, which is empty");

/// The lookup of at most [`GROUP_IDS`] ordinals. `false` if a block of the file is not trusted yet; then `sink` has
/// been given nothing.
pub(super) struct Group<'a, 'k, C, S: ?Sized> {
    pub(super) kernel: &'k LiveKernel<'a, C>,
    pub(super) ordinals: &'k [Ordinal],
    /// Place of the first ordinal for `sink`.
    pub(super) at: usize,
    pub(super) sink: &'k mut S,
}

impl<C: Code, S: Sink + ?Sized> Work for Group<'_, '_, C, S> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Group { kernel, ordinals, at, sink } = self;
        let nowhere = Place { page: &NO_PAGE, codes: kernel.codes, bit: 0, record: 0 };
        let (mut places, mut slots) = ([nowhere; GROUP_IDS], [0; GROUP_IDS]);
        for ordinal in ordinals {
            kernel.overlay.ask_for((ordinal.0.wrapping_sub(kernel.first) / PART_ORDINALS) as usize);
        }
        let mut trusted = true;
        for (to, ordinal) in places.iter_mut().zip(ordinals) {
            let place = kernel.place(*ordinal);
            trusted &= place.is_some();
            *to = place.unwrap_or(nowhere);
            prefetch(std::slice::from_ref(to.page), 0);
        }
        if !trusted {
            return false;
        }
        for (slot, place) in slots.iter_mut().zip(&places[..ordinals.len()]) {
            *slot = place.slot();
            prefetch(place.codes, *slot as usize);
        }
        let found = places.iter().zip(&slots).take(ordinals.len());
        sink.take(
            at,
            found.map(|(place, &slot)| Found { slot: Slot(slot), code: place.codes[slot as usize].number() }),
        );
        true
    }
}
