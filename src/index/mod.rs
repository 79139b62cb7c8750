//! The index: which ordinals a register has, and one small record for each. Bytes in, bytes out.
//!
//! A bitmap over ordinals with rank. 448 ordinals make a page of 64 bytes, 32 pages a block; a dense
//! directory says which blocks there are. The rank of a present ordinal is the place of its record, a
//! code of 1, 2 or 4 bytes for one of the states that recipients of this register are in. What a
//! recipient's position already says is stored nowhere.
//!
//! A block is *checked* when it is first asked for: its checksum, its counts, its bounds. So opening
//! costs nothing that grows with recipients, and a damaged file never gives an answer.

mod build;
mod codes;
mod kernel;
mod live;
mod live_kernel;
mod page;
#[cfg(test)]
mod tests;

pub(crate) use build::{Builder, Built, CodeBytes};
pub(crate) use codes::{Codes, Width};
pub(crate) use live::{Edit, LivePart, Overlay, PartView, Put};
pub(crate) use page::Page;

use crate::cpu::{Processor, prefetch};
use crate::identities::{Country, Ordinal};
use crate::limits::{
    BLOCK_ORDINALS, BLOCK_PAGES, BLOCK_PARTS, GROUP_IDS, PAGE_ORDINALS, PART_ORDINALS, PART_PAGES,
};
use bytemuck::{Pod, Zeroable};
use codes::{Code, with_codes};
use kernel::Kernel;
pub(crate) use kernel::{Single, Sink};
use live_kernel::LiveKernel;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of a record; 0 is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Slot(pub(crate) u32);

/// What the index knows of an ordinal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The recipient's record, counted from 1 in a changed part, through all of them in the file; 0 if
    /// absent.
    pub(crate) slot: Slot,
    /// Number of the recipient's state; 0 if absent.
    pub(crate) code: u32,
}

/// What belongs to one block of 14 336 ordinals, beside its pages: 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Block {
    /// First record of the block; the others follow it.
    pub(crate) first_record: u32,
    /// Number of records.
    pub(crate) records: u32,
    /// First entry of the block in the table of exceptions.
    pub(crate) first_exception: u32,
    /// Number of entries.
    pub(crate) exceptions: u32,
    /// First byte of the block's contact data (KRR).
    pub(crate) first_contact: u64,
    /// Bytes of contact data.
    pub(crate) contact_bytes: u64,
    /// XXH3 (128 bits) of pages, records and exceptions; see [`Index::hot_sum`].
    pub(crate) hot_sum: [u8; 16],
    /// The same of the cold columns.
    pub(crate) cold_sum: [u8; 16],
}

/// A block that is not what its checksum or its neighbours say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block} of the index is damaged: {finding}")]
pub struct DamagedBlock {
    /// Place of the block in the directory.
    pub block: u32,
    /// What does not hold.
    pub finding: &'static str,
}

/// The parts of an index, wherever their bytes are.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a> {
    pub(crate) country: Country,
    /// For each block that the country's ordinals span the number of its entry in `blocks`, 0 if there is none.
    pub(crate) directory: &'a [u32],
    /// Entry 0 is the empty block.
    pub(crate) blocks: &'a [Block],
    /// 32 for each entry of `blocks`.
    pub(crate) pages: &'a [Page],
    pub(crate) codes: Codes<'a>,
    /// Records with a rule set other than "all senders": their place in the block, ascending.
    pub(crate) exception_places: &'a [u16],
    /// Their rule sets.
    pub(crate) exception_rules: &'a [u32],
    /// Number of states; codes of the file are below it.
    pub(crate) states: u32,
    /// Parts that have changed since the file was made; they stand for those of the file.
    pub(crate) overlay: Option<&'a Overlay>,
}

/// Blocks that have been checked, by their place in the directory. Shared by all readers.
pub(crate) struct Trust {
    entries: Box<[AtomicU64]>,
}

impl Trust {
    /// Nothing is trusted yet. Cost: some 0.1 ms, whatever the register's size.
    pub(crate) fn new(country: Country) -> Trust {
        let blocks = directory_length(country);
        let mut entries: Vec<AtomicU64> = bytemuck::allocation::zeroed_vec(blocks + 1);
        entries[blocks] = AtomicU64::new(kernel::ABSENT); // for ordinals of no space
        Trust { entries: entries.into_boxed_slice() }
    }
}

/// Entries of the directory: one for each block that the country's ordinals span.
pub(crate) fn directory_length(country: Country) -> usize {
    (country.span().len() as u32 / BLOCK_ORDINALS) as usize
}

/// Entries of the directory in a file without recipients of later spaces: one for each block of the country's
/// first spaces. What is not in the file is 0.
pub(crate) fn short_directory_length(country: Country) -> usize {
    (country.ordinals().len() as u32 / BLOCK_ORDINALS) as usize
}

/// The part of a directory that a file has.
pub(crate) fn stored_directory(country: Country, directory: &[u32]) -> &[u32] {
    let (short, later) = directory.split_at(short_directory_length(country));
    if later.iter().all(|&number| number == 0) { short } else { directory }
}

impl<'a> Index<'a> {
    /// Looks up any number of ordinals, in groups, and gives `sink` what it finds.
    ///
    /// Cost: see the benchmark `lookup`. Errors: a block that was asked for is damaged.
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

    /// The records of the file if they are as wide as those of changed parts; else no part is left in the file, and
    /// only nobody's is needed.
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
    pub(crate) fn look_up_one(&self, trust: &Trust, ordinal: Ordinal) -> Result<Found, DamagedBlock> {
        let live = self.overlay.and_then(|overlay| {
            with_codes!(self.codes_beside(overlay), codes => {
                self.live_kernel(trust, overlay, codes).one(ordinal)
            })
        });
        if let Some(found) = live {
            return Ok(found);
        }
        let mut found = [Found::default()];
        self.look_up(trust, &[ordinal], &mut found[..])?;
        Ok(found[0])
    }

    /// What single lookups read, found once. `None` if parts have changed.
    pub(crate) fn single(&self, trust: &'a Trust) -> Option<Single<'a>> {
        let Index { pages, codes, .. } = *self;
        let first = self.country.ordinals().start;
        self.overlay.is_none().then_some(Single { first, trusted: &trust.entries, pages, codes })
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
        self.each_group(trust, ordinals, |at, ordinals| {
            processor.run(live_kernel::Group { kernel, ordinals, at, sink: &mut *sink })
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
            let at = number * GROUP_IDS;
            if !group(at, ordinals) {
                self.trust_blocks(trust, ordinals)?;
                group(at, ordinals);
            }
        }
        Ok(())
    }

    /// Checks the blocks of some ordinals that nobody has asked for yet.
    #[cold]
    fn trust_blocks(&self, trust: &Trust, ordinals: &[Ordinal]) -> Result<(), DamagedBlock> {
        for ordinal in ordinals {
            let place = self.place_of(*ordinal);
            if place < self.directory.len() {
                self.trust_block(trust, place)?;
            }
        }
        Ok(())
    }

    /// Checks the file's block at a place of the directory unless it is trusted. Returns the number of
    /// its entry, 0 if the file has no such block.
    fn trust_block(&self, trust: &Trust, place: usize) -> Result<u32, DamagedBlock> {
        match trust.entries[place].load(Ordering::Relaxed) {
            0 => {}
            entry => return Ok(kernel::split_entry(entry).0 / BLOCK_PAGES),
        }
        let block = self.check_block(place)?;
        let entry = match block {
            0 => kernel::ABSENT,
            block => kernel::trusted(block, self.blocks[block as usize].first_record),
        };
        // Relaxed: the entry publishes nothing but itself; the mapped bytes were there before.
        trust.entries[place].store(entry, Ordering::Relaxed);
        Ok(block)
    }

    /// Place in the directory of an ordinal's block; outside of it for ordinals of other countries.
    pub(crate) fn place_of(&self, ordinal: Ordinal) -> usize {
        (ordinal.0.wrapping_sub(self.country.ordinals().start) / BLOCK_ORDINALS) as usize
    }

    /// Number of the part of an ordinal: [`BLOCK_PARTS`] for each entry of the directory, outside of them
    /// for ordinals of other countries.
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

    /// Those of some parts that the file or the changes have.
    pub(crate) fn present(&self, parts: Range<usize>) -> impl Iterator<Item = usize> + use<'a> {
        let Index { directory, overlay, .. } = *self;
        let changed = move |part| overlay.is_some_and(|overlay| overlay.get(part).is_some());
        // Most blocks have nothing, neither in the file nor changed.
        let block_parts = BLOCK_PARTS as usize;
        let blocks = parts.start / block_parts..parts.end.div_ceil(block_parts);
        let in_file = move |block: usize| directory[block] != 0;
        let may_have = move |&block: &usize| {
            in_file(block) || overlay.is_some_and(|overlay| overlay.may_have(block * block_parts))
        };
        blocks.filter(may_have).flat_map(move |block| {
            let parts = (block * block_parts).max(parts.start)..((block + 1) * block_parts).min(parts.end);
            parts.filter(move |&part| in_file(block) || changed(part))
        })
    }

    /// The content of a part, `None` if neither the file nor the changes have it.
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
        let (pages, behind) = pages[page..].split_at(PART_PAGES as usize);
        let first = pages[0].before();
        let end = behind.first().map_or(block.records, Page::before);
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

    /// Whether the part of an ordinal has changed: then it is not read from the file.
    pub(crate) fn has_changed(&self, ordinal: Ordinal) -> bool {
        self.overlay.is_some_and(|overlay| overlay.get(self.part_of(ordinal)).is_some())
    }

    /// Asks for the memory of a part that has changed.
    pub(crate) fn ask_for(&self, part: usize) {
        if let Some(live) = self.overlay.and_then(|overlay| overlay.get(part)) {
            (0..live.lines().len()).for_each(|line| prefetch(live.lines(), line));
        }
    }

    /// Asks for the page of the file that an ordinal is on.
    pub(crate) fn ask_for_page(&self, trust: &Trust, ordinal: Ordinal) {
        let entry = trust.entries[self.place_of(ordinal).min(self.directory.len())].load(Ordering::Relaxed);
        let page = (ordinal.0 - self.country.ordinals().start) / PAGE_ORDINALS % BLOCK_PAGES;
        prefetch(self.pages, (kernel::split_entry(entry).0 + page) as usize);
    }

    /// The record of an ordinal of the file, 0 if the file does not have it; and its block.
    ///
    /// Errors: the block is damaged.
    pub(crate) fn of_file(&self, trust: &Trust, ordinal: Ordinal) -> Result<(&'a Block, Slot), DamagedBlock> {
        let place = self.place_of(ordinal);
        let damaged = DamagedBlock { block: place as u32, finding: "no such entry" };
        let number = self.trust_block(trust, place)?;
        let block = self.blocks.get(number as usize).ok_or(damaged)?;
        let page = (ordinal.0 - self.country.ordinals().start) / PAGE_ORDINALS;
        let pages = self.pages_of(number).ok_or(damaged)?;
        let bit = ordinal.0 - self.country.ordinals().start - page * PAGE_ORDINALS;
        let (present, rank) = pages[(page % BLOCK_PAGES) as usize].rank(bit);
        Ok((block, Slot((block.first_record + rank) * present)))
    }

    /// The content of a part that may be there or not, for editing.
    pub(crate) fn view_or_empty(&self, trust: &Trust, part: usize) -> Result<PartView<'a>, DamagedBlock> {
        let empty = || PartView::empty(&self.pages[..PART_PAGES as usize]);
        Ok(self.view(trust, part)?.unwrap_or_else(empty))
    }

    /// Checks all that [`Kernel`] relies on for the block at a place of the directory, and its checksum.
    /// Returns the number of its entry, 0 if the register has no such block.
    pub(crate) fn check_block(&self, place: usize) -> Result<u32, DamagedBlock> {
        let damaged = |finding| DamagedBlock { block: place as u32, finding };
        let number = self.directory[place];
        if number == 0 {
            return Ok(0);
        }
        let block = self.blocks.get(number as usize);
        // A forged file may have more blocks than there are places for them, and more pages than an entry can tell.
        let block =
            block.filter(|_| number as usize <= self.directory.len()).ok_or(damaged("no such entry"))?;
        let records = within(block.first_record, block.records, self.codes.len())
            .filter(|records| records.start > 0)
            .ok_or(damaged("its records lie outside the register"))?;
        let exceptions = within(block.first_exception, block.exceptions, self.exception_rules.len())
            .filter(|exceptions| exceptions.end <= self.exception_places.len())
            .ok_or(damaged("its exceptions lie outside the register"))?;
        let pages = self.pages_of(number).ok_or(damaged("its pages lie outside the register"))?;
        if self.hot_sum(place) != Some(block.hot_sum) {
            return Err(damaged("its checksum does not hold"));
        }
        let counted = pages.iter().try_fold(0, |before, page| page.check(before));
        if counted != Some(block.records) {
            return Err(damaged("its counts do not hold"));
        }
        if self.codes.slice(records).max() >= self.states {
            return Err(damaged("a record has a state that the register does not define"));
        }
        let places = &self.exception_places[exceptions];
        let ascending = places.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || places.last().is_some_and(|&last| u32::from(last) >= block.records) {
            return Err(damaged("its exceptions are not in order"));
        }
        Ok(number)
    }

    /// Checksum of what [`Block::hot_sum`] covers: the block's place in the directory and the first six
    /// fields of its entry, its pages, its records, the places and the rule sets of its exceptions.
    /// `None` if any of them lies outside the register.
    pub(crate) fn hot_sum(&self, place: usize) -> Option<[u8; 16]> {
        let number = *self.directory.get(place)?;
        let block = self.blocks.get(number as usize)?;
        let records = within(block.first_record, block.records, self.codes.len())?;
        let exceptions = within(block.first_exception, block.exceptions, self.exception_rules.len())?;
        let mut hasher = BlockHasher::new(place);
        hasher.update(&bytemuck::bytes_of(block)[..32]);
        hasher.update(bytemuck::cast_slice(self.pages_of(number)?));
        hasher.update(self.codes.slice(records).bytes());
        hasher.update(bytemuck::cast_slice(self.exception_places.get(exceptions.clone())?));
        hasher.update(bytemuck::cast_slice(&self.exception_rules[exceptions]));
        Some(hasher.sum())
    }

    /// The listed rule of a recipient that [`look_up`](Self::look_up) found, 0 if none is listed.
    pub(crate) fn rule_of(&self, ordinal: Ordinal, slot: Slot) -> u32 {
        let mut search = Search::of(self, ordinal);
        search.guess(self, slot);
        search.rule(self, slot)
    }

    /// The listed rules of recipients that [`look_up`](Self::look_up) found; `each` gets the recipient's
    /// place in `recipients` and the rule's number, 0 if none is listed.
    ///
    /// In groups, as the kernel does: each stage asks for the memory that the next one reads.
    pub(crate) fn rules_of(&self, recipients: &[(Ordinal, Slot)], mut each: impl FnMut(usize, u32)) {
        let mut searches = [Search::default(); GROUP_IDS];
        for (group, recipients) in recipients.chunks(GROUP_IDS).enumerate() {
            let searches = &mut searches[..recipients.len()];
            for (search, &(ordinal, _)) in searches.iter_mut().zip(recipients) {
                *search = Search::of(self, ordinal);
                prefetch(self.blocks, search.block);
            }
            for (search, &(_, slot)) in searches.iter_mut().zip(recipients) {
                search.guess(self, slot);
                prefetch(self.exception_places, search.first + search.guess);
                prefetch(self.exception_rules, search.first + search.guess);
            }
            for (place, (search, &(_, slot))) in searches.iter().zip(recipients).enumerate() {
                each(group * GROUP_IDS + place, search.rule(self, slot));
            }
        }
    }

    fn pages_of(&self, block: u32) -> Option<&'a [Page]> {
        let first = block as usize * BLOCK_PAGES as usize;
        self.pages.get(first..first + BLOCK_PAGES as usize)
    }
}

/// Looking for a record among the exceptions of its block.
#[derive(Clone, Copy, Default)]
struct Search<'a> {
    /// The part, if it has changed since the file was made.
    live: Option<&'a LivePart>,
    block: usize,
    first: usize,
    count: usize,
    /// Where it would be if exceptions were spread evenly, as they nearly are.
    guess: usize,
    place: u16,
}

impl<'a> Search<'a> {
    /// Finds the block, or the part that stands for it.
    fn of(index: &Index<'a>, ordinal: Ordinal) -> Search<'a> {
        let live = index.overlay.and_then(|overlay| overlay.get(index.part_of(ordinal)));
        let block = index.directory.get(index.place_of(ordinal)).map_or(0, |&number| number as usize);
        Search { live, block, ..Search::default() }
    }

    /// Reads the block.
    fn guess(&mut self, index: &Index<'a>, slot: Slot) {
        let block = index.blocks[self.block];
        self.place = slot.0.wrapping_sub(block.first_record) as u16;
        self.first = block.first_exception as usize;
        self.count = block.exceptions as usize;
        let share = u64::from(self.place) * self.count as u64 / u64::from(block.records.max(1));
        self.guess = (share as usize).min(self.count.saturating_sub(1));
    }

    /// The number of the rule, 0 if there is none.
    fn rule(&self, index: &Index<'a>, slot: Slot) -> u32 {
        if let Some(live) = self.live {
            return live.view().rule(slot.0 - 1);
        }
        let places = &index.exception_places[self.first..self.first + self.count];
        self.run(places).map_or(0, |at| index.exception_rules[self.first + at])
    }

    /// Widens around the guess until the record must be within, then halves.
    fn run(&self, places: &[u16]) -> Option<usize> {
        let (mut low, mut high, mut step) = (self.guess, self.guess, 8);
        while low > 0 && places[low] > self.place {
            low = low.saturating_sub(step);
            step *= 2;
        }
        while high < places.len() && places[high] < self.place {
            high += step;
            step *= 2;
        }
        let high = places.len().min(high + 1);
        places.get(low..high)?.binary_search(&self.place).ok().map(|at| low + at)
    }
}

/// `first..first + count` if it lies below `length`.
pub(crate) fn within(first: u32, count: u32, length: usize) -> Option<std::ops::Range<usize>> {
    let end = first as usize + count as usize;
    (end <= length).then_some(first as usize..end)
}

/// The checksum of a block: XXH3 with 128 bits, which takes a tenth of BLAKE3's time for some kilobytes.
/// It finds damage; against forgery the kernel is guarded by what [`Index::check_block`] checks besides.
pub(crate) struct BlockHasher(xxhash_rust::xxh3::Xxh3);

impl BlockHasher {
    /// Begins with the block's place in the directory, so that no block passes for another.
    pub(crate) fn new(place: usize) -> BlockHasher {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&(place as u32).to_le_bytes());
        BlockHasher(hasher)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum as it stands in a [`Block`], little-endian.
    pub(crate) fn sum(&self) -> [u8; 16] {
        self.0.digest128().to_le_bytes()
    }
}
