//! Building an index from recipients in the order of their ordinals.

use super::{Block, Codes, Index, Page, Width, directory_length};
use crate::identities::{Country, Ordinal};
use crate::limits::{BLOCK_ORDINALS, BLOCK_PAGES, PAGE_ORDINALS};

/// Takes recipients in ascending order and lays out the parts of an index.
pub(crate) struct Builder {
    built: Built,
    /// The last ordinal taken.
    last: Option<Ordinal>,
    /// Place in the directory of the block being filled.
    open: Option<usize>,
}

/// The parts of an index, owned. Codes are four bytes each until they are written.
pub(crate) struct Built {
    pub(crate) country: Country,
    pub(crate) directory: Vec<u32>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) pages: Vec<Page>,
    pub(crate) codes: CodeBytes,
    pub(crate) exception_places: Vec<u16>,
    pub(crate) exception_rules: Vec<u32>,
    pub(crate) states: u32,
}

/// Owned records of one width.
pub(crate) enum CodeBytes {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
}

impl CodeBytes {
    fn push(&mut self, code: u32) {
        match self {
            CodeBytes::One(codes) => codes.push(code as u8),
            CodeBytes::Two(codes) => codes.push(code as u16),
            CodeBytes::Four(codes) => codes.push(code),
        }
    }

    pub(crate) fn as_codes(&self) -> Codes<'_> {
        match self {
            CodeBytes::One(codes) => Codes::One(codes),
            CodeBytes::Two(codes) => Codes::Two(codes),
            CodeBytes::Four(codes) => Codes::Four(codes),
        }
    }
}

impl Builder {
    /// An index of `recipients` recipients in states below `states`, of which 0 is nobody's.
    pub(crate) fn new(country: Country, states: u32, recipients: usize) -> Builder {
        let capacity = recipients + 1;
        let mut codes = match Width::of_states(states as usize) {
            Width::One => CodeBytes::One(Vec::with_capacity(capacity)),
            Width::Two => CodeBytes::Two(Vec::with_capacity(capacity)),
            Width::Four => CodeBytes::Four(Vec::with_capacity(capacity)),
        };
        codes.push(0);
        let built = Built {
            country,
            directory: vec![0; directory_length(country)],
            blocks: vec![Block::default()],
            pages: vec![Page::EMPTY; BLOCK_PAGES as usize],
            codes,
            exception_places: Vec::new(),
            exception_rules: Vec::new(),
            states,
        };
        Builder { built, last: None, open: None }
    }

    /// Adds a recipient in state `code` with rule set `rule` (0: accepts all senders).
    ///
    /// Returns the recipient's block, for the fields of cold columns. Panics unless ordinals are of the
    /// country and ascend: the caller has sorted them.
    pub(crate) fn push(&mut self, ordinal: Ordinal, code: u32, rule: u32) -> &mut Block {
        assert!(self.last < Some(ordinal), "recipients are in ascending order");
        assert!(self.built.country.has(ordinal), "a recipient of the country");
        debug_assert!(code != 0 && code < self.built.states);
        self.last = Some(ordinal);
        let offset = ordinal.0 - self.built.country.ordinals().start;
        let place = (offset / BLOCK_ORDINALS) as usize;
        if self.open != Some(place) {
            self.close_block();
            self.open_block(place);
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

    fn open_block(&mut self, place: usize) {
        let built = &mut self.built;
        built.directory[place] = built.blocks.len() as u32;
        built.blocks.push(Block {
            first_record: built.codes.as_codes().len() as u32,
            first_exception: built.exception_rules.len() as u32,
            ..Block::default()
        });
        built.pages.resize(built.pages.len() + BLOCK_PAGES as usize, Page::EMPTY);
        self.open = Some(place);
    }

    fn close_block(&mut self) {
        if self.open.take().is_some() {
            let first_page = self.built.pages.len() - BLOCK_PAGES as usize;
            self.built.pages[first_page..].iter_mut().fold(0, |before, page| page.close(before));
        }
    }

    /// The finished parts. [`Block::hot_sum`] and the fields of cold columns are still to be set, by
    /// [`Built::seal`] and the caller.
    pub(crate) fn finish(mut self) -> Built {
        self.close_block();
        self.built
    }
}

impl Built {
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
        for place in 0..self.directory.len() {
            let number = self.directory[place] as usize;
            if number != 0 {
                let sum = self.as_index().hot_sum(place).expect("the builder's own block");
                self.blocks[number].hot_sum = sum;
            }
        }
    }
}
