//! The index: the ordinals of a register, with a small record for each. It works on bytes and does no I/O.
//!
//! A bitmap over ordinals with rank. 448 ordinals form a page of 64 bytes, 32 pages a block; a dense directory refers
//! to the existing blocks. The rank of a present ordinal is the slot of its record in the block: the number of the
//! recipient's state, in 1, 2 or 4 bytes. Identity numbers are not stored, because the position in the bitmap implies
//! them.
//!
//! The checksum, counts and bounds of a block are checked at its first access. So the cost of opening does not grow
//! with the number of recipients, and damaged blocks give errors instead of answers.

mod build;
mod codes;
mod kernel;
mod live;
mod live_kernel;
mod page;
#[cfg(test)]
mod tests;

pub(crate) use build::{BuiltIndex, IndexBuilder, OwnedCodes};
pub(crate) use codes::{Codes, Width};
pub(crate) use live::{Edit, LivePart, Overlay, PartView, PutRecord};
pub(crate) use page::Page;

use crate::cpu::{Processor, prefetch};
use crate::identities::{Country, Ordinal};
use crate::limits::{
    BLOCK_ORDINALS, BLOCK_PAGES, BLOCK_PARTS, GROUP_IDS, PAGE_ORDINALS, PART_ORDINALS, PART_PAGES,
};
use bytemuck::{Pod, Zeroable};
use codes::{Code, with_codes};
use kernel::Kernel;
pub(crate) use kernel::{SingleLookup, Sink};
use live_kernel::LiveKernel;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of a record. Record 0 is reserved for absent recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Slot(pub(crate) u32);

/// Result of a lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The recipient's record, numbered from 1 in the changed part or in the file; 0 if absent.
    pub(crate) slot: Slot,
    /// Number of the recipient's state; 0 if absent.
    pub(crate) code: u32,
}

/// Header of a block of 14 336 ordinals: 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Block {
    /// First record of the block; its records are contiguous.
    pub(crate) first_record: u32,
    /// Number of records.
    pub(crate) records: u32,
    /// First entry of the block in the table of exceptions.
    pub(crate) first_exception: u32,
    /// Number of exceptions.
    pub(crate) exceptions: u32,
    /// First byte of the block's contact data (KRR).
    pub(crate) first_contact: u64,
    /// Bytes of contact data.
    pub(crate) contact_bytes: u64,
    /// XXH3 (128 bits) of pages, records and exceptions; see [`Index::hot_sum`].
    pub(crate) hot_sum: [u8; 16],
    /// XXH3 (128 bits) of the cold columns; see [`Cold::sum`](crate::register::cold::Cold::sum).
    pub(crate) cold_sum: [u8; 16],
}

/// A damaged block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block} of the index is damaged: {finding}")]
pub struct DamagedBlock {
    /// Index of the block in the directory.
    pub block: u32,
    /// What is wrong.
    pub finding: &'static str,
}

/// The borrowed arrays of an index.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a> {
    pub(crate) country: Country,
    /// For each block in the span of the country's ordinals, its number in `blocks`; 0 if the register does not have
    /// it.
    pub(crate) directory: &'a [u32],
    /// Entry 0 is the empty block.
    pub(crate) blocks: &'a [Block],
    /// 32 pages for each entry of `blocks`.
    pub(crate) pages: &'a [Page],
    pub(crate) codes: Codes<'a>,
    /// Records with a listed rule: their indices in the block, ascending.
    pub(crate) exception_places: &'a [u16],
    /// The rules of these records.
    pub(crate) exception_rules: &'a [u32],
    /// Number of states; the codes of the file are below it.
    pub(crate) states: u32,
    /// Parts that have changed since the file was made. They replace those of the file.
    pub(crate) overlay: Option<&'a Overlay>,
}

/// The directory of trusted blocks: those that have been checked. Shared by all readers.
pub(crate) struct Trust {
    entries: Box<[AtomicU64]>,
}

impl Trust {
    /// A directory without trusted blocks. Cost: some 0.1 ms, independent of the register's size.
    pub(crate) fn new(country: Country) -> Trust {
        let blocks = directory_length(country);
        let mut entries: Vec<AtomicU64> = bytemuck::allocation::zeroed_vec(blocks + 1);
        entries[blocks] = AtomicU64::new(kernel::ABSENT); // for ordinals outside the country's span
        Trust { entries: entries.into_boxed_slice() }
    }
}

/// Length of the directory: one entry for each block in the span of the country's ordinals.
pub(crate) fn directory_length(country: Country) -> usize {
    (country.span().len() as u32 / BLOCK_ORDINALS) as usize
}

/// Length of the directory in a file without recipients of later identity spaces: one entry for each block of the
/// country's first spaces. Entries beyond the end are 0.
pub(crate) fn short_directory_length(country: Country) -> usize {
    (country.ordinals().len() as u32 / BLOCK_ORDINALS) as usize
}

/// The part of a directory that is stored in a file.
pub(crate) fn stored_directory(country: Country, directory: &[u32]) -> &[u32] {
    let (short, later) = directory.split_at(short_directory_length(country));
    if later.iter().all(|&number| number == 0) { short } else { directory }
}

impl<'a> Index<'a> {
    /// Looks up any number of ordinals, in groups, and passes the results to `sink`.
    ///
    /// Cost: see the benchmark `lookup`. Errors: the block of an ordinal is damaged.
    pub(crate) fn look_up<S: Sink + ?Sized>(
        &self,
        trust: &Trust,
        ordinals: &[Ordinal],
        sink: &mut S,
    ) -> Result<(), DamagedBlock> {
        match self.overlay {
            None => with_codes!(self.codes, codes => self.groups(trust, codes, ordinals, sink)),
            Some(overlay) => with_codes!(self.codes_beside(overlay), codes => {
                self.live_groups(&self.live_kernel(trust, overlay, codes), trust, ordinals, sink)
            }),
        }
    }

    /// The records of the file if they have the width of those of changed parts. Otherwise all parts have changed, and
    /// only record 0 is needed.
    fn codes_beside(&self, overlay: &Overlay) -> Codes<'a> {
        match overlay.width() {
            width if width == self.codes.width() => self.codes,
            Width::One => Codes::One(&[0]),
            Width::Two => Codes::Two(&[0]),
            Width::Four => Codes::Four(&[0]),
        }
    }

    /// Looks up one ordinal.
    ///
    /// Errors: its block is damaged.
    pub(crate) fn look_up_one(&self, trust: &Trust, ordinal: Ordinal) -> Result<Hit, DamagedBlock> {
        let live = self.overlay.and_then(|overlay| {
            with_codes!(self.codes_beside(overlay), codes => {
                self.live_kernel(trust, overlay, codes).one(ordinal)
            })
        });
        if let Some(hit) = live {
            return Ok(hit);
        }
        let mut hits = [Hit::default()];
        self.look_up(trust, &[ordinal], &mut hits[..])?;
        Ok(hits[0])
    }

    /// The arrays for single lookups. `None` if parts have changed.
    pub(crate) fn single(&self, trust: &'a Trust) -> Option<SingleLookup<'a>> {
        let Index { pages, codes, .. } = *self;
        let first = self.country.ordinals().start;
        self.overlay.is_none().then_some(SingleLookup { first, trusted: &trust.entries, pages, codes })
    }

    fn kernel<'k, C: Code>(&self, trust: &'k Trust, codes: &'k [C]) -> Kernel<'k, C>
    where
        'a: 'k,
    {
        Kernel { first: self.country.ordinals().start, trusted: &trust.entries, pages: self.pages, codes }
    }

    fn groups<C: Code, S: Sink + ?Sized>(
        &self,
        trust: &Trust,
        codes: &[C],
        ordinals: &[Ordinal],
        sink: &mut S,
    ) -> Result<(), DamagedBlock> {
        let trust_blocks = |ordinals: &[Ordinal]| self.trust_blocks(trust, ordinals);
        let kernel = self.kernel(trust, codes);
        Processor::detect().run(kernel::Groups { kernel, ordinals, sink, trust: trust_blocks })
    }

    fn live_kernel<'k, C: Code>(
        &self,
        trust: &'k Trust,
        overlay: &'k Overlay,
        codes: &'k [C],
    ) -> LiveKernel<'k, C>
    where
        'a: 'k,
    {
        let first = self.country.ordinals().start;
        LiveKernel { first, trusted: &trust.entries, pages: self.pages, codes, overlay }
    }

    fn live_groups<C: Code, S: Sink + ?Sized>(
        &self,
        kernel: &LiveKernel<'_, C>,
        trust: &Trust,
        ordinals: &[Ordinal],
        sink: &mut S,
    ) -> Result<(), DamagedBlock> {
        let processor = Processor::detect();
        self.each_group(trust, ordinals, |first, ordinals| {
            processor.run(live_kernel::Group { kernel, ordinals, first, sink: &mut *sink })
        })
    }

    #[inline(always)]
    fn each_group(
        &self,
        trust: &Trust,
        ordinals: &[Ordinal],
        mut group: impl FnMut(usize, &[Ordinal]) -> bool,
    ) -> Result<(), DamagedBlock> {
        for (number, ordinals) in ordinals.chunks(GROUP_IDS).enumerate() {
            let first = number * GROUP_IDS;
            if !group(first, ordinals) {
                self.trust_blocks(trust, ordinals)?;
                group(first, ordinals);
            }
        }
        Ok(())
    }

    /// Checks those blocks of ordinals that are not trusted yet.
    #[cold]
    fn trust_blocks(&self, trust: &Trust, ordinals: &[Ordinal]) -> Result<(), DamagedBlock> {
        for ordinal in ordinals {
            let entry = self.entry_of(*ordinal);
            if entry < self.directory.len() {
                self.trust_block(trust, entry)?;
            }
        }
        Ok(())
    }

    /// Checks the file's block at an index of the directory unless it is trusted. Returns the number of the block, 0 if
    /// the file does not have it.
    fn trust_block(&self, trust: &Trust, entry: usize) -> Result<u32, DamagedBlock> {
        match trust.entries[entry].load(Ordering::Relaxed) {
            0 => {}
            trusted => return Ok(kernel::split_entry(trusted).0 / BLOCK_PAGES),
        }
        let block = self.check_block(entry)?;
        let trusted = match block {
            0 => kernel::ABSENT,
            block => kernel::trusted(block, self.blocks[block as usize].first_record),
        };
        // Relaxed: the entry does not publish other memory; the mapped bytes existed before.
        trust.entries[entry].store(trusted, Ordering::Relaxed);
        Ok(block)
    }

    /// Index in the directory of an ordinal's block; out of bounds for ordinals of other countries.
    pub(crate) fn entry_of(&self, ordinal: Ordinal) -> usize {
        (ordinal.0.wrapping_sub(self.country.ordinals().start) / BLOCK_ORDINALS) as usize
    }

    /// Number of the part of an ordinal: [`BLOCK_PARTS`] for each entry of the directory; out of bounds for ordinals of
    /// other countries.
    pub(crate) fn part_of(&self, ordinal: Ordinal) -> usize {
        (ordinal.0.wrapping_sub(self.country.ordinals().start) / PART_ORDINALS) as usize
    }

    /// The first ordinal of a part.
    pub(crate) fn first_of(&self, part: usize) -> Ordinal {
        Ordinal(self.country.ordinals().start + part as u32 * PART_ORDINALS)
    }

    /// Number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.directory.len() * BLOCK_PARTS as usize
    }

    /// Those of `parts` that exist in the file or have changed.
    pub(crate) fn present(&self, parts: Range<usize>) -> impl Iterator<Item = usize> + use<'a> {
        let Index { directory, overlay, .. } = *self;
        let changed = move |part| overlay.is_some_and(|overlay| overlay.get(part).is_some());
        // Most blocks have no recipients, neither in the file nor changed.
        let block_parts = BLOCK_PARTS as usize;
        let blocks = parts.start / block_parts..parts.end.div_ceil(block_parts);
        let in_file = move |block: usize| directory[block] != 0;
        let may_have = move |&block: &usize| {
            in_file(block) || overlay.is_some_and(|overlay| overlay.may_include(block * block_parts))
        };
        blocks.filter(may_have).flat_map(move |block| {
            let parts = (block * block_parts).max(parts.start)..((block + 1) * block_parts).min(parts.end);
            parts.filter(move |&part| in_file(block) || changed(part))
        })
    }

    /// The content of a part, `None` if it is neither in the file nor changed.
    ///
    /// Errors: its block of the file is damaged.
    pub(crate) fn view(&self, trust: &Trust, part: usize) -> Result<Option<PartView<'a>>, DamagedBlock> {
        if let Some(live) = self.overlay.and_then(|overlay| overlay.get(part)) {
            return Ok(Some(live.view()));
        }
        let number = self.trust_block(trust, part / BLOCK_PARTS as usize)?;
        if number == 0 {
            return Ok(None);
        }
        let block = &self.blocks[number as usize];
        let pages = self.pages_of(number).unwrap_or_default();
        let page = part % BLOCK_PARTS as usize * PART_PAGES as usize;
        let (pages, later) = pages[page..].split_at(PART_PAGES as usize);
        let first = pages[0].before();
        let end = later.first().map_or(block.records, Page::before);
        let records = (block.first_record + first) as usize..(block.first_record + end) as usize;
        let exceptions = within(block.first_exception, block.exceptions, self.exception_places.len());
        let exceptions = exceptions.unwrap_or_default();
        Ok(Some(PartView {
            first,
            codes: self.codes.slice(records),
            exception_places: &self.exception_places[exceptions.clone()],
            exception_rules: &self.exception_rules[exceptions],
            ..PartView::empty(pages)
        }))
    }

    /// Whether the part of an ordinal has changed since the file was made.
    pub(crate) fn has_changed(&self, ordinal: Ordinal) -> bool {
        self.overlay.is_some_and(|overlay| overlay.get(self.part_of(ordinal)).is_some())
    }

    /// Prefetches a part, if it has changed.
    pub(crate) fn prefetch_part(&self, part: usize) {
        if let Some(live) = self.overlay.and_then(|overlay| overlay.get(part)) {
            (0..live.lines().len()).for_each(|line| prefetch(live.lines(), line));
        }
    }

    /// Prefetches the page of an ordinal in the file.
    pub(crate) fn prefetch_page(&self, trust: &Trust, ordinal: Ordinal) {
        let entry = trust.entries[self.entry_of(ordinal).min(self.directory.len())].load(Ordering::Relaxed);
        let page = (ordinal.0 - self.country.ordinals().start) / PAGE_ORDINALS % BLOCK_PAGES;
        prefetch(self.pages, (kernel::split_entry(entry).0 + page) as usize);
    }

    /// The block and slot of an ordinal in the file. The slot is 0 if the file does not have the ordinal.
    ///
    /// Errors: the block is damaged.
    pub(crate) fn in_file(&self, trust: &Trust, ordinal: Ordinal) -> Result<(&'a Block, Slot), DamagedBlock> {
        let entry = self.entry_of(ordinal);
        let damaged = DamagedBlock { block: entry as u32, finding: "its header does not exist" };
        let number = self.trust_block(trust, entry)?;
        let block = self.blocks.get(number as usize).ok_or(damaged)?;
        let page = (ordinal.0 - self.country.ordinals().start) / PAGE_ORDINALS;
        let pages = self.pages_of(number).ok_or(damaged)?;
        let bit = ordinal.0 - self.country.ordinals().start - page * PAGE_ORDINALS;
        let (present, rank) = pages[(page % BLOCK_PAGES) as usize].rank(bit);
        Ok((block, Slot((block.first_record + rank) * present)))
    }

    /// The content of a part, or an empty part, for editing.
    pub(crate) fn view_or_empty(&self, trust: &Trust, part: usize) -> Result<PartView<'a>, DamagedBlock> {
        let empty = || PartView::empty(&self.pages[..PART_PAGES as usize]);
        Ok(self.view(trust, part)?.unwrap_or_else(empty))
    }

    /// Checks the preconditions of [`Kernel`] for the block at an index of the directory, and its checksum. Returns the
    /// number of the block, 0 if the file does not have it.
    pub(crate) fn check_block(&self, entry: usize) -> Result<u32, DamagedBlock> {
        let damaged = |finding| DamagedBlock { block: entry as u32, finding };
        let number = self.directory[entry];
        if number == 0 {
            return Ok(0);
        }
        let block = self.blocks.get(number as usize);
        // A forged file may have more blocks than the directory, and so more pages than 31 bits can number.
        let block = block
            .filter(|_| number as usize <= self.directory.len())
            .ok_or(damaged("its header does not exist"))?;
        let records = within(block.first_record, block.records, self.codes.len())
            .filter(|records| records.start > 0)
            .ok_or(damaged("its records are out of bounds"))?;
        let exceptions = within(block.first_exception, block.exceptions, self.exception_rules.len())
            .filter(|exceptions| exceptions.end <= self.exception_places.len())
            .ok_or(damaged("its exceptions are out of bounds"))?;
        let pages = self.pages_of(number).ok_or(damaged("its pages are out of bounds"))?;
        if self.hot_sum(entry) != Some(block.hot_sum) {
            return Err(damaged("its checksum does not match"));
        }
        let counted = pages.iter().try_fold(0, |before, page| page.check(before));
        if counted != Some(block.records) {
            return Err(damaged("its counts do not match its presence bits"));
        }
        if self.codes.slice(records).max() >= self.states {
            return Err(damaged("a record has an undefined state"));
        }
        let ranks = &self.exception_places[exceptions];
        let ascending = ranks.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || ranks.last().is_some_and(|&last| u32::from(last) >= block.records) {
            return Err(damaged("its exceptions are not in ascending order"));
        }
        Ok(number)
    }

    /// The checksum [`Block::hot_sum`]: of the block's index in the directory, the first six fields of its header, its
    /// pages, its records, and the indices and rules of its exceptions. `None` if any of them is out of bounds.
    pub(crate) fn hot_sum(&self, entry: usize) -> Option<[u8; 16]> {
        let number = *self.directory.get(entry)?;
        let block = self.blocks.get(number as usize)?;
        let records = within(block.first_record, block.records, self.codes.len())?;
        let exceptions = within(block.first_exception, block.exceptions, self.exception_rules.len())?;
        let mut hasher = BlockHasher::new(entry);
        hasher.update(&bytemuck::bytes_of(block)[..32]);
        hasher.update(bytemuck::cast_slice(self.pages_of(number)?));
        hasher.update(self.codes.slice(records).bytes());
        hasher.update(bytemuck::cast_slice(self.exception_places.get(exceptions.clone())?));
        hasher.update(bytemuck::cast_slice(&self.exception_rules[exceptions]));
        Some(hasher.sum())
    }

    /// The listed rule of a recipient that [`look_up`](Self::look_up) found; 0 without a listed rule.
    pub(crate) fn rule_of(&self, ordinal: Ordinal, slot: Slot) -> u32 {
        let mut search = ExceptionSearch::of(self, ordinal);
        search.guess(self, slot);
        search.rule(self, slot)
    }

    /// The listed rules of recipients that [`look_up`](Self::look_up) found. `each` gets the index in `recipients` and
    /// the number of the rule; 0 without a listed rule.
    ///
    /// In groups, as in [`kernel`]: each stage prefetches the memory that the next one reads.
    pub(crate) fn rules_of(&self, recipients: &[(Ordinal, Slot)], mut each: impl FnMut(usize, u32)) {
        let mut searches = [ExceptionSearch::default(); GROUP_IDS];
        for (group, recipients) in recipients.chunks(GROUP_IDS).enumerate() {
            let searches = &mut searches[..recipients.len()];
            for (search, &(ordinal, _)) in searches.iter_mut().zip(recipients) {
                *search = ExceptionSearch::of(self, ordinal);
                prefetch(self.blocks, search.block);
            }
            for (search, &(_, slot)) in searches.iter_mut().zip(recipients) {
                search.guess(self, slot);
                prefetch(self.exception_places, search.first + search.guess);
                prefetch(self.exception_rules, search.first + search.guess);
            }
            for (index, (search, &(_, slot))) in searches.iter().zip(recipients).enumerate() {
                each(group * GROUP_IDS + index, search.rule(self, slot));
            }
        }
    }

    fn pages_of(&self, block: u32) -> Option<&'a [Page]> {
        let first = block as usize * BLOCK_PAGES as usize;
        self.pages.get(first..first + BLOCK_PAGES as usize)
    }
}

/// Interpolation search for a record among the exceptions of its block.
#[derive(Clone, Copy, Default)]
struct ExceptionSearch<'a> {
    /// The part, if it has changed.
    live: Option<&'a LivePart>,
    block: usize,
    first: usize,
    count: usize,
    /// Index of the exception if exceptions were distributed evenly, which they nearly are.
    guess: usize,
    /// Index of the record in the block.
    record: u16,
}

impl<'a> ExceptionSearch<'a> {
    /// Finds the block, or the changed part.
    fn of(index: &Index<'a>, ordinal: Ordinal) -> ExceptionSearch<'a> {
        let live = index.overlay.and_then(|overlay| overlay.get(index.part_of(ordinal)));
        let block = index.directory.get(index.entry_of(ordinal)).map_or(0, |&number| number as usize);
        ExceptionSearch { live, block, ..ExceptionSearch::default() }
    }

    /// Reads the header of the block and computes the guess.
    fn guess(&mut self, index: &Index<'a>, slot: Slot) {
        let block = index.blocks[self.block];
        self.record = slot.0.wrapping_sub(block.first_record) as u16;
        self.first = block.first_exception as usize;
        self.count = block.exceptions as usize;
        let share = u64::from(self.record) * self.count as u64 / u64::from(block.records.max(1));
        self.guess = (share as usize).min(self.count.saturating_sub(1));
    }

    /// The number of the rule; 0 without a listed rule.
    fn rule(&self, index: &Index<'a>, slot: Slot) -> u32 {
        if let Some(live) = self.live {
            return live.view().rule(slot.0 - 1);
        }
        let ranks = &index.exception_places[self.first..self.first + self.count];
        self.find(ranks).map_or(0, |found| index.exception_rules[self.first + found])
    }

    /// Widens the range around the guess until it must include the record, then does a binary search.
    fn find(&self, ranks: &[u16]) -> Option<usize> {
        let (mut low, mut high, mut step) = (self.guess, self.guess, 8);
        while low > 0 && ranks[low] > self.record {
            low = low.saturating_sub(step);
            step *= 2;
        }
        while high < ranks.len() && ranks[high] < self.record {
            high += step;
            step *= 2;
        }
        let high = ranks.len().min(high + 1);
        ranks.get(low..high)?.binary_search(&self.record).ok().map(|found| low + found)
    }
}

/// The range `first..first + count`, if its end is at most `length`.
pub(crate) fn within(first: u32, count: u32, length: usize) -> Option<std::ops::Range<usize>> {
    let end = first as usize + count as usize;
    (end <= length).then_some(first as usize..end)
}

/// The checksum of a block: XXH3 with 128 bits, which takes a tenth of BLAKE3's time for some kilobytes. It detects
/// damage, not forgery. [`Index::check_block`] checks the kernel's preconditions separately.
pub(crate) struct BlockHasher(xxhash_rust::xxh3::Xxh3);

impl BlockHasher {
    /// Starts with the block's index in the directory, so that blocks cannot be exchanged.
    pub(crate) fn new(entry: usize) -> BlockHasher {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&(entry as u32).to_le_bytes());
        BlockHasher(hasher)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum as stored in a [`Block`], little-endian.
    pub(crate) fn sum(&self) -> [u8; 16] {
        self.0.digest128().to_le_bytes()
    }
}
