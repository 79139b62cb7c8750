//! Building an index from recipients in the order of their ordinals.

use super::{Block, Codes, Index, Page, Width, directory_length};
use crate::identities::{Country, Ordinal};
use crate::limits::{BLOCK_ORDINALS, BLOCK_PAGES, PAGE_ORDINALS};

/// Builds an index from recipients in ascending order.
pub(crate) struct IndexBuilder {
    built: BuiltIndex,
    /// The last ordinal added.
    last: Option<Ordinal>,
    /// Index in the directory of the block being filled.
    open: Option<usize>,
}

/// The owned arrays of an index.
pub(crate) struct BuiltIndex {
    pub(crate) country: Country,
    pub(crate) directory: Vec<u32>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) pages: Vec<Page>,
    pub(crate) codes: OwnedCodes,
    pub(crate) exception_places: Vec<u16>,
    pub(crate) exception_rules: Vec<u32>,
    pub(crate) states: u32,
}

/// Owned records of one width.
pub(crate) enum OwnedCodes {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
}

impl OwnedCodes {
    fn push(&mut self, code: u32) {
        match self {
            OwnedCodes::One(codes) => codes.push(code as u8),
            OwnedCodes::Two(codes) => codes.push(code as u16),
            OwnedCodes::Four(codes) => codes.push(code),
        }
    }

    pub(crate) fn as_codes(&self) -> Codes<'_> {
        match self {
            OwnedCodes::One(codes) => Codes::One(codes),
            OwnedCodes::Two(codes) => Codes::Two(codes),
            OwnedCodes::Four(codes) => Codes::Four(codes),
        }
    }
}

impl IndexBuilder {
    /// An index of `recipients` recipients with states below `states`. State 0 is reserved for absent recipients.
    pub(crate) fn new(country: Country, states: u32, recipients: usize) -> IndexBuilder {
        let capacity = recipients + 1;
        let mut codes = match Width::of_states(states as usize) {
            Width::One => OwnedCodes::One(Vec::with_capacity(capacity)),
            Width::Two => OwnedCodes::Two(Vec::with_capacity(capacity)),
            Width::Four => OwnedCodes::Four(Vec::with_capacity(capacity)),
        };
        codes.push(0);
        let built = BuiltIndex {
            country,
            directory: vec![0; directory_length(country)],
            blocks: vec![Block::default()],
            pages: vec![Page::EMPTY; BLOCK_PAGES as usize],
            codes,
            exception_places: Vec::new(),
            exception_rules: Vec::new(),
            states,
        };
        IndexBuilder { built, last: None, open: None }
    }

    /// Adds a recipient in state `code` with rule set `rule` (0: accepts all senders).
    ///
    /// Returns the recipient's block, so that the caller can update the fields of cold columns. Panics if the ordinal
    /// is not above the previous one or not of the country.
    pub(crate) fn push(&mut self, ordinal: Ordinal, code: u32, rule: u32) -> &mut Block {
        assert!(self.last < Some(ordinal), "ordinals must ascend");
        assert!(self.built.country.has(ordinal), "ordinals must be of the country");
        debug_assert!(code != 0 && code < self.built.states);
        self.last = Some(ordinal);
        let offset = ordinal.0 - self.built.country.ordinals().start;
        let entry = (offset / BLOCK_ORDINALS) as usize;
        if self.open != Some(entry) {
            self.close_block();
            self.open_block(entry);
        }
        let built = &mut self.built;
        let first_page = built.pages.len() - BLOCK_PAGES as usize;
        let page = (offset % BLOCK_ORDINALS / PAGE_ORDINALS) as usize;
        built.pages[first_page + page].set(offset % PAGE_ORDINALS, true);
        built.codes.push(code);
        let block = built.blocks.last_mut().expect("an open block");
        if rule != 0 {
            built.exception_places.push(block.records as u16);
            built.exception_rules.push(rule);
            block.exceptions += 1;
        }
        block.records += 1;
        block
    }

    fn open_block(&mut self, entry: usize) {
        let built = &mut self.built;
        built.directory[entry] = built.blocks.len() as u32;
        built.blocks.push(Block {
            first_record: built.codes.as_codes().len() as u32,
            first_exception: built.exception_rules.len() as u32,
            ..Block::default()
        });
        built.pages.resize(built.pages.len() + BLOCK_PAGES as usize, Page::EMPTY);
        self.open = Some(entry);
    }

    fn close_block(&mut self) {
        if self.open.take().is_some() {
            let first_page = self.built.pages.len() - BLOCK_PAGES as usize;
            self.built.pages[first_page..].iter_mut().fold(0, |before, page| page.close(before));
        }
    }

    /// The finished arrays. The caller sets the fields of cold columns and calls [`BuiltIndex::seal`], which sets
    /// [`Block::hot_sum`].
    pub(crate) fn finish(mut self) -> BuiltIndex {
        self.close_block();
        self.built
    }
}

impl BuiltIndex {
    pub(crate) fn as_index(&self) -> Index<'_> {
        Index {
            country: self.country,
            directory: &self.directory,
            blocks: &self.blocks,
            pages: &self.pages,
            codes: self.codes.as_codes(),
            exception_places: &self.exception_places,
            exception_rules: &self.exception_rules,
            states: self.states,
            overlay: None,
        }
    }

    /// Sets the checksums of all blocks.
    pub(crate) fn seal(&mut self) {
        for entry in 0..self.directory.len() {
            let number = self.directory[entry] as usize;
            if number != 0 {
                let sum = self.as_index().hot_sum(entry).expect("the builder's own block");
                self.blocks[number].hot_sum = sum;
            }
        }
    }
}
