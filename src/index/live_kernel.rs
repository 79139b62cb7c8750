//! The lookup kernel for a register with changed parts.
//!
//! The stages are those of [`super::kernel`], which has pseudo-code and an example. The difference: stage 1 looks up
//! the part of each ordinal in the overlay first. If the part has changed, page and records are those of the part,
//! whose record 0 is reserved for absent recipients as in the file. This is the only branch, and its data is in cache.

use super::codes::{Code, code_at};
use super::kernel::{ABSENT, Sink, split_entry};
use super::live::Overlay;
use super::{Hit, Page, Slot};
use crate::cpu::{Work, prefetch};
use crate::identities::Ordinal;
use crate::limits::{BLOCK_PAGES, GROUP_IDS, PAGE_ORDINALS, PART_ORDINALS, PART_PAGES};
use std::sync::atomic::{AtomicU64, Ordering};

/// The arrays that the kernel reads. `trusted`, `pages` and `codes` are as in [`super::kernel::Kernel`]. If the records
/// of changed parts have another width than those of the file, `codes` is only record 0.
#[derive(Clone, Copy)]
pub(super) struct LiveKernel<'a, C> {
    pub(super) first: u32,
    pub(super) trusted: &'a [AtomicU64],
    pub(super) pages: &'a [Page],
    pub(super) codes: &'a [C],
    pub(super) overlay: &'a Overlay,
}

static EMPTY_PAGE: Page = Page::EMPTY;

/// The page, bit and records that decide an ordinal.
#[derive(Clone, Copy)]
struct Probe<'a, C> {
    page: &'a Page,
    codes: &'a [C],
    bit: u32,
    /// First record of the block or the part.
    first_record: u32,
}

impl<'a, C: Code> LiveKernel<'a, C> {
    /// The probe of an ordinal; `None` if its block of the file is not trusted yet.
    #[inline(always)]
    fn probe(&self, ordinal: Ordinal) -> Option<Probe<'a, C>> {
        let offset = ordinal.0.wrapping_sub(self.first);
        let page = offset / PAGE_ORDINALS;
        let bit = offset - page * PAGE_ORDINALS;
        if let Some(live) = self.overlay.get((page / PART_PAGES) as usize) {
            let page = &live.lines()[(page % PART_PAGES) as usize];
            return Some(Probe { page, codes: live.codes(), bit, first_record: 1 });
        }
        let block = ((page / BLOCK_PAGES) as usize).min(self.trusted.len() - 1);
        let entry = self.trusted[block].load(Ordering::Relaxed);
        if entry == 0 {
            return None;
        }
        let (first_page, first_record) = split_entry(entry);
        let page = &self.pages[(first_page + page % BLOCK_PAGES) as usize];
        Some(Probe { page, codes: self.codes, bit, first_record })
    }

    /// Looks up one ordinal. `None` if its block of the file is not trusted yet.
    pub(super) fn one(&self, ordinal: Ordinal) -> Option<Hit> {
        let probe = self.probe(ordinal)?;
        let slot = probe.slot();
        Some(Hit { slot: Slot(slot), code: code_at(probe.codes, slot) })
    }
}

impl<C> Probe<'_, C> {
    #[inline(always)]
    fn slot(&self) -> u32 {
        let (present, rank) = self.page.rank(self.bit);
        self.first_record.wrapping_add(rank) & 0u32.wrapping_sub(present)
    }
}

const _: () = assert!(split_entry(ABSENT).0 == 0, "an absent block is block 0, which is empty");

/// The lookup of at most [`GROUP_IDS`] ordinals. Returns `false` if a block of the file is not trusted yet; then `sink`
/// got no results.
pub(super) struct Group<'a, 'k, C, S: ?Sized> {
    pub(super) kernel: &'k LiveKernel<'a, C>,
    pub(super) ordinals: &'k [Ordinal],
    /// Index of the first ordinal, for `sink`.
    pub(super) first: usize,
    pub(super) sink: &'k mut S,
}

impl<C: Code, S: Sink + ?Sized> Work for Group<'_, '_, C, S> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Group { kernel, ordinals, first, sink } = self;
        let absent = Probe { page: &EMPTY_PAGE, codes: kernel.codes, bit: 0, first_record: 0 };
        let (mut probes, mut slots) = ([absent; GROUP_IDS], [0; GROUP_IDS]);
        for ordinal in ordinals {
            kernel.overlay.prefetch((ordinal.0.wrapping_sub(kernel.first) / PART_ORDINALS) as usize);
        }
        let mut trusted = true;
        for (to, ordinal) in probes.iter_mut().zip(ordinals) {
            let probe = kernel.probe(*ordinal);
            trusted &= probe.is_some();
            *to = probe.unwrap_or(absent);
            prefetch(std::slice::from_ref(to.page), 0);
        }
        if !trusted {
            return false;
        }
        for (slot, probe) in slots.iter_mut().zip(&probes[..ordinals.len()]) {
            *slot = probe.slot();
            prefetch(probe.codes, *slot as usize);
        }
        let probed = probes.iter().zip(&slots).take(ordinals.len());
        sink.take(
            first,
            probed.map(|(probe, &slot)| Hit { slot: Slot(slot), code: code_at(probe.codes, slot) }),
        );
        true
    }
}
