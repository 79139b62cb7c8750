//! The batch kernel for a register with changed parts: as [`super::kernel`], but each id may find its
//! page and its record in memory of its own.
//!
//! Whether a part has changed is a branch on what lies in the nearest caches. From there on
//! nothing branches: a changed part has its records behind one that is nobody's, as the file has.

use super::codes::Code;
use super::kernel::{ABSENT, few_or_many, split_entry};
use super::live::Overlay;
use super::{Found, Page, Slot};
use crate::cpu::{Work, prefetch, vectorized};
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
    /// Looks up at most [`GROUP_IDS`] ordinals. `false` if a block of the file is not trusted yet; then
    /// `found` is as it was.
    #[inline(always)]
    pub(super) fn group(&self, ordinals: &[Ordinal], found: &mut [Found]) -> bool {
        assert!(ordinals.len() <= GROUP_IDS && ordinals.len() == found.len());
        vectorized(Group { kernel: self, ordinals, found })
    }

    #[inline(always)]
    fn group_of<const N: usize>(&self, ordinals: &[Ordinal], found: &mut [Found]) -> bool {
        let mut places = [Place { page: &NO_PAGE, codes: self.codes, bit: 0, record: 0 }; N];
        let last = self.trusted.len() - 1;
        let mut untrusted = false;
        for ordinal in ordinals {
            self.overlay.ask_for((ordinal.0.wrapping_sub(self.first) / PART_ORDINALS) as usize);
        }
        for (place, ordinal) in places.iter_mut().zip(ordinals) {
            let offset = ordinal.0.wrapping_sub(self.first);
            let page = offset / PAGE_ORDINALS;
            place.bit = offset - page * PAGE_ORDINALS;
            match self.overlay.get((page / PART_PAGES) as usize) {
                Some(live) => {
                    place.page = &live.lines()[(page % PART_PAGES) as usize];
                    place.codes = live.codes();
                    place.record = 1;
                }
                None => {
                    let block = ((page / BLOCK_PAGES) as usize).min(last);
                    let entry = self.trusted[block].load(Ordering::Relaxed);
                    untrusted |= entry == 0;
                    let (number, record) = split_entry(entry);
                    place.page = &self.pages[(number * BLOCK_PAGES + page % BLOCK_PAGES) as usize];
                    place.record = record;
                }
            }
            prefetch(std::slice::from_ref(place.page), 0);
        }
        if untrusted {
            return false;
        }
        for (place, found) in places.iter().zip(found.iter_mut()) {
            let (present, rank) = place.page.rank(place.bit);
            let slot = place.record.wrapping_add(rank) & 0u32.wrapping_sub(present);
            prefetch(place.codes, slot as usize);
            found.slot = Slot(slot);
        }
        for (place, found) in places.iter().zip(found.iter_mut()) {
            found.code = place.codes[found.slot.0 as usize].number();
        }
        true
    }
}

const _: () = assert!(ABSENT >> 32 == 0, "an absent block is block 0, which is empty");

/// The lookup of one group.
struct Group<'a, 'k, C> {
    kernel: &'k LiveKernel<'a, C>,
    ordinals: &'k [Ordinal],
    found: &'k mut [Found],
}

impl<C: Code> Work for Group<'_, '_, C> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        few_or_many!(self)
    }
}
