//! Blocks that have changed since the register file was made, each in memory of its own.
//!
//! A changed block is never written to again: a batch of changes makes new ones of the blocks that it
//! touches, and a new [`Overlay`] that shares all others with the one before. Readers of the old
//! overlay keep the old blocks alive, and the last of them to leave gives them back.
//!
//! A block is one piece of memory: its 32 pages, a line that tells where the rest is, its records
//! after one that is nobody's, its exceptions, and for each recipient that changed its *cold entry*,
//! bytes that [`crate::register`] reads. So a lookup finds pages and records at places that need no
//! reading, as it does in the file, and copying a block is copying memory.

use super::codes::{Code, Codes, Width};
use super::page::Page;
use crate::cpu::{Work, vectorized};
use crate::limits::{BLOCK_PAGES, PAGE_ORDINALS};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;
use std::sync::Arc;

const PAGES: usize = BLOCK_PAGES as usize;
const LINE: usize = size_of::<Page>();
/// First byte of the records.
const RECORDS_AT: usize = (PAGES + 1) * LINE;

/// A block in memory of its own.
#[derive(Clone)]
pub(crate) struct LiveBlock(Arc<[Page]>);

/// The line behind the pages: how much there is, and where (bytes from the block's beginning).
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Head {
    records: u32,
    width: u32,
    exceptions: u32,
    exception_rules_at: u32,
    exception_places_at: u32,
    cold: u32,
    cold_ends_at: u32,
    cold_places_at: u32,
    cold_bytes: u32,
    cold_bytes_at: u32,
    unused: [u32; 6],
}

/// One block's content, wherever it lies.
#[derive(Clone, Copy)]
pub(crate) struct BlockView<'a> {
    /// 32 of them.
    pub(crate) pages: &'a [Page],
    /// Its records, in the order of their ordinals; without nobody's.
    pub(crate) codes: Codes<'a>,
    /// Records with a listed rule: their places in `codes`, ascending.
    pub(crate) exception_places: &'a [u16],
    /// Their rules.
    pub(crate) exception_rules: &'a [u32],
    /// Recipients that have changed since the file was made: their ordinals in the block, ascending.
    pub(crate) cold_places: &'a [u16],
    /// For each where its cold entry ends.
    pub(crate) cold_ends: &'a [u32],
    /// The cold entries, one after another.
    pub(crate) cold_bytes: &'a [u8],
}

/// A change of one recipient of a block.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// The recipient's ordinal in the block.
    pub(crate) offset: u16,
    /// What it is now; `None` if it is gone.
    pub(crate) put: Option<Put>,
}

/// What a recipient is now.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    /// Number of the state.
    pub(crate) code: u32,
    /// The listed rule, 0 if none is.
    pub(crate) rule: u32,
    /// Where its cold entry lies in the bytes that come with the edits.
    pub(crate) cold: Range<usize>,
}

impl<'a> BlockView<'a> {
    /// A block without recipients.
    pub(super) const fn empty(pages: &'a [Page]) -> BlockView<'a> {
        BlockView {
            pages,
            codes: Codes::One(&[]),
            exception_places: &[],
            exception_rules: &[],
            cold_places: &[],
            cold_ends: &[],
            cold_bytes: &[],
        }
    }

    /// Number of records.
    pub(crate) fn records(&self) -> u32 {
        self.codes.len() as u32
    }

    /// Whether an ordinal of the block is present (1 or 0), and how many are before it.
    pub(crate) fn rank(&self, offset: u16) -> (u32, u32) {
        let offset = u32::from(offset);
        self.pages[(offset / PAGE_ORDINALS) as usize].rank(offset % PAGE_ORDINALS)
    }

    /// The present ordinals of the block, ascending, in the order of the records.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = u32> + use<'a> {
        (0u32..)
            .zip(self.pages)
            .flat_map(|(page, bits)| bits.bits().map(move |bit| page * PAGE_ORDINALS + bit))
    }

    /// The listed rule of a record, 0 if none is.
    pub(crate) fn rule(&self, record: u32) -> u32 {
        let found = self.exception_places.binary_search(&(record as u16));
        found.map_or(0, |at| self.exception_rules[at])
    }

    /// The cold entry of an ordinal, if it has changed since the file was made.
    pub(crate) fn cold(&self, offset: u16) -> Option<&'a [u8]> {
        let at = self.cold_places.binary_search(&offset).ok()?;
        self.cold_bytes.get(self.cold_range(at..at + 1))
    }

    /// Where the cold entries of a range lie.
    fn cold_range(&self, entries: Range<usize>) -> Range<usize> {
        let end = |entry: usize| entry.checked_sub(1).map_or(0, |before| self.cold_ends[before] as usize);
        end(entries.start)..end(entries.end)
    }
}

/// Memory for making blocks, of which many are made one after another.
#[derive(Default)]
pub(crate) struct Workspace {
    ranks: Vec<(u32, u32)>,
    merged: Merged,
    lines: Vec<Page>,
}

/// What edits make of a block's lists, until there is memory for all of it.
#[derive(Default)]
struct Merged {
    exception_places: Vec<u16>,
    exception_rules: Vec<u32>,
    cold_places: Vec<u16>,
    cold_ends: Vec<u32>,
    cold_bytes: Vec<u8>,
}

impl Merged {
    /// Lists of the block `before` after `edits`; `ranks` has for each edit what [`BlockView::rank`] says.
    fn merge(&mut self, before: &BlockView<'_>, edits: &[Edit], ranks: &[(u32, u32)], cold: &[u8]) {
        let merged = self;
        merged.clear();
        let (mut from, mut shift, mut exception, mut entry) = (0, 0i32, 0, 0);
        for (edit, &(present, rank)) in edits.iter().zip(ranks) {
            let until =
                exception + before.exception_places[exception..].partition_point(|&p| u32::from(p) < rank);
            merged.exceptions(before, exception..until, shift);
            exception = until
                + usize::from(before.exception_places.get(until) == Some(&(rank as u16)) && present == 1);
            let until = entry + before.cold_places[entry..].partition_point(|&place| place < edit.offset);
            merged.entries(before, entry..until);
            entry = until + usize::from(before.cold_places.get(until) == Some(&edit.offset));
            if let Some(put) = &edit.put {
                if put.rule != 0 {
                    merged.exception_places.push((rank as i32 + shift) as u16);
                    merged.exception_rules.push(put.rule);
                }
                merged.cold_places.push(edit.offset);
                merged.cold_bytes.extend_from_slice(&cold[put.cold.clone()]);
                merged.cold_ends.push(merged.cold_bytes.len() as u32);
            }
            shift += i32::from(edit.put.is_some()) - present as i32;
            from = rank + present;
        }
        debug_assert!(from <= before.records());
        merged.exceptions(before, exception..before.exception_places.len(), shift);
        merged.entries(before, entry..before.cold_places.len());
    }

    fn clear(&mut self) {
        let Merged { exception_places, exception_rules, cold_places, cold_ends, cold_bytes } = self;
        exception_places.clear();
        exception_rules.clear();
        cold_places.clear();
        cold_ends.clear();
        cold_bytes.clear();
    }

    /// Takes over exceptions whose records have moved by `shift`.
    fn exceptions(&mut self, before: &BlockView<'_>, range: Range<usize>, shift: i32) {
        let places = before.exception_places[range.clone()].iter();
        self.exception_places.extend(places.map(|&place| (i32::from(place) + shift) as u16));
        self.exception_rules.extend_from_slice(&before.exception_rules[range]);
    }

    /// Takes over cold entries.
    fn entries(&mut self, before: &BlockView<'_>, range: Range<usize>) {
        let bytes = before.cold_range(range.clone());
        let shift = (self.cold_bytes.len() as u32).wrapping_sub(bytes.start as u32);
        self.cold_places.extend_from_slice(&before.cold_places[range.clone()]);
        self.cold_ends.extend(before.cold_ends[range].iter().map(|end| end.wrapping_add(shift)));
        self.cold_bytes.extend_from_slice(&before.cold_bytes[bytes]);
    }

    /// The line behind the pages of a block with these lists, and the block's length in lines.
    fn head(&self, records: u32, width: Width) -> (Head, usize) {
        let mut at = RECORDS_AT + (records as usize + 1) * width as usize;
        let mut next = |bytes: usize, alignment: usize| {
            let start = at.next_multiple_of(alignment);
            at = start + bytes;
            start as u32
        };
        let head = Head {
            records,
            width: width as u32,
            exceptions: self.exception_rules.len() as u32,
            exception_rules_at: next(size_of_val(&self.exception_rules[..]), 4),
            exception_places_at: next(size_of_val(&self.exception_places[..]), 2),
            cold: self.cold_ends.len() as u32,
            cold_ends_at: next(size_of_val(&self.cold_ends[..]), 4),
            cold_places_at: next(size_of_val(&self.cold_places[..]), 2),
            cold_bytes: self.cold_bytes.len() as u32,
            cold_bytes_at: next(self.cold_bytes.len(), 1),
            unused: [0; 6],
        };
        (head, at.div_ceil(LINE))
    }
}

impl LiveBlock {
    /// The block `before` after `edits`, whose offsets ascend, in records of a width that holds all
    /// states. `cold` has the cold entries of the edits.
    ///
    /// Cost: copies the block once, some kilobytes.
    pub(crate) fn edited(
        before: &BlockView<'_>,
        width: Width,
        edits: &[Edit],
        cold: &[u8],
        workspace: &mut Workspace,
    ) -> LiveBlock {
        debug_assert!(edits.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        let Workspace { ranks, merged, lines } = workspace;
        ranks.clear();
        ranks.extend(edits.iter().map(|edit| before.rank(edit.offset)));
        merged.merge(before, edits, ranks, cold);
        let gone = ranks.iter().map(|(present, _)| present).sum::<u32>();
        let put_count = edits.iter().filter(|edit| edit.put.is_some()).count() as u32;
        let records = before.records() + put_count - gone;
        let (head, count) = merged.head(records, width);
        // What lay there before is written over, but for what nobody reads between the lists.
        lines.resize(count, Page::EMPTY);
        lines[..PAGES].copy_from_slice(before.pages);
        for edit in edits {
            let offset = u32::from(edit.offset);
            lines[(offset / PAGE_ORDINALS) as usize].set(offset % PAGE_ORDINALS, edit.put.is_some());
        }
        let moved =
            edits.iter().zip(&*ranks).any(|(edit, (present, _))| edit.put.is_some() != (*present == 1));
        if moved {
            vectorized(Count { pages: &mut lines[..PAGES] });
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(lines);
        put(bytes, (PAGES * LINE) as u32, bytemuck::bytes_of(&head));
        put(bytes, head.exception_rules_at, bytemuck::cast_slice(&merged.exception_rules));
        put(bytes, head.exception_places_at, bytemuck::cast_slice(&merged.exception_places));
        put(bytes, head.cold_ends_at, bytemuck::cast_slice(&merged.cold_ends));
        put(bytes, head.cold_places_at, bytemuck::cast_slice(&merged.cold_places));
        put(bytes, head.cold_bytes_at, &merged.cold_bytes);
        let codes = &mut bytes[RECORDS_AT..RECORDS_AT + (records as usize + 1) * width as usize];
        match width {
            Width::One => edit_codes::<u8>(before.codes, codes, edits, ranks),
            Width::Two => edit_codes::<u16>(before.codes, codes, edits, ranks),
            Width::Four => edit_codes::<u32>(before.codes, codes, edits, ranks),
        }
        LiveBlock(Arc::from(&lines[..]))
    }

    /// The memory of the block: its pages first.
    #[inline(always)]
    pub(super) fn lines(&self) -> &[Page] {
        &self.0
    }

    /// The records, the first of which is nobody's. More may follow that are none.
    #[inline(always)]
    pub(super) fn codes<C: Code>(&self) -> &[C] {
        bytemuck::cast_slice(&self.0[PAGES + 1..])
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    pub(crate) fn view(&self) -> BlockView<'_> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        let head: Head = bytemuck::pod_read_unaligned(&bytes[PAGES * LINE..RECORDS_AT]);
        let records = 1..head.records as usize + 1;
        let codes = match head.width {
            1 => Codes::One(self.codes()),
            2 => Codes::Two(self.codes()),
            _ => Codes::Four(self.codes()),
        };
        let cold = head.cold as usize;
        BlockView {
            pages: &self.0[..PAGES],
            codes: codes.slice(records),
            exception_places: array(bytes, head.exception_places_at, head.exceptions as usize),
            exception_rules: array(bytes, head.exception_rules_at, head.exceptions as usize),
            cold_places: array(bytes, head.cold_places_at, cold),
            cold_ends: array(bytes, head.cold_ends_at, cold),
            cold_bytes: array(bytes, head.cold_bytes_at, head.cold_bytes as usize),
        }
    }
}

/// Sets the counts of a block's pages.
struct Count<'a> {
    pages: &'a mut [Page],
}

impl Work for Count<'_> {
    type Output = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        self.pages.iter_mut().fold(0, |before, page| page.close(before))
    }
}

fn put(bytes: &mut [u8], at: u32, what: &[u8]) {
    bytes[at as usize..at as usize + what.len()].copy_from_slice(what);
}

fn array<T: Pod>(bytes: &[u8], at: u32, count: usize) -> &[T] {
    bytemuck::cast_slice(&bytes[at as usize..at as usize + count * size_of::<T>()])
}

/// The records after the edits, behind nobody's.
fn edit_codes<C: Code>(before: Codes<'_>, bytes: &mut [u8], edits: &[Edit], ranks: &[(u32, u32)]) {
    let codes: &mut [C] = bytemuck::cast_slice_mut(bytes);
    codes[0] = C::of(0);
    let (mut from, mut to) = (0, 1);
    let copy = |codes: &mut [C], records: Range<usize>, to: &mut usize| {
        let end = *to + records.len();
        before.slice(records).copy_to(&mut codes[*to..end]);
        *to = end;
    };
    for (edit, &(present, rank)) in edits.iter().zip(ranks) {
        copy(codes, from..rank as usize, &mut to);
        if let Some(put) = &edit.put {
            codes[to] = C::of(put.code);
            to += 1;
        }
        from = (rank + present) as usize;
    }
    copy(codes, from..before.len(), &mut to);
}

/// Places of the directory that share a chunk of an overlay.
const CHUNK: usize = 64;

/// The changed blocks of a register, by their places in the directory. Cheap to copy: what does not
/// change is shared.
#[derive(Clone)]
pub(crate) struct Overlay {
    chunks: Vec<Option<Arc<[Option<LiveBlock>; CHUNK]>>>,
    /// Width of the records of all changed blocks; if it is not that of the file, all blocks are here.
    width: Width,
}

impl Overlay {
    /// Nothing has changed in a directory of `places`.
    pub(crate) fn new(places: usize, width: Width) -> Overlay {
        Overlay { chunks: vec![None; places.div_ceil(CHUNK)], width }
    }

    /// The same with some blocks replaced.
    pub(crate) fn with(&self, width: Width, blocks: impl Iterator<Item = (usize, LiveBlock)>) -> Overlay {
        let mut overlay = Overlay { width, ..self.clone() };
        for (place, block) in blocks {
            let chunk =
                overlay.chunks[place / CHUNK].get_or_insert_with(|| Arc::new([const { None }; CHUNK]));
            Arc::make_mut(chunk)[place % CHUNK] = Some(block);
        }
        overlay
    }

    #[inline(always)]
    pub(super) fn get(&self, place: usize) -> Option<&LiveBlock> {
        self.chunks.get(place / CHUNK)?.as_ref()?[place % CHUNK].as_ref()
    }

    pub(crate) fn width(&self) -> Width {
        self.width
    }

    /// Number of changed blocks, and bytes that they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let blocks = self.chunks.iter().flatten().flat_map(|chunk| chunk.iter().flatten());
        blocks.fold((0, 0), |(count, bytes), block| (count + 1, bytes + block.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BLOCK_ORDINALS;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<u16, (u32, u32, Vec<u8>)>;

    fn agrees(view: &BlockView<'_>, model: &Model, changed: &BTreeMap<u16, bool>) {
        assert_eq!(view.records() as usize, model.len());
        assert!(view.offsets().eq(model.keys().map(|&offset| u32::from(offset))));
        for (record, (&offset, (code, rule, cold))) in (0..).zip(model) {
            assert_eq!(view.rank(offset), (1, record));
            assert_eq!(view.codes.get(crate::index::Slot(record)), *code);
            assert_eq!(view.rule(record), *rule);
            assert_eq!(view.cold(offset), changed.contains_key(&offset).then_some(&cold[..]));
        }
        assert_eq!(view.exception_places.len(), model.values().filter(|(_, rule, _)| *rule != 0).count());
        assert_eq!(
            view.cold_places.len(),
            model.keys().filter(|offset| changed.contains_key(offset)).count()
        );
    }

    fn offset() -> impl Strategy<Value = u16> {
        prop_oneof![0..2000u16, 0..BLOCK_ORDINALS as u16, Just(BLOCK_ORDINALS as u16 - 1)]
    }

    type Step = BTreeMap<u16, Option<(u32, u32, Vec<u8>)>>;

    fn step() -> impl Strategy<Value = (usize, Step)> {
        let put = (
            1..200u32,
            prop_oneof![3 => Just(0u32), 1 => 1..9u32],
            proptest::collection::vec(any::<u8>(), 0..20),
        );
        (0..3usize, proptest::collection::btree_map(offset(), proptest::option::weighted(0.7, put), 0..200))
    }

    proptest! {
        /// Edit upon edit, in every width, against a map.
        #[test]
        fn edited_blocks_agree_with_a_map(steps in proptest::collection::vec(step(), 1..12)) {
            let (mut block, mut workspace) = (None::<LiveBlock>, Workspace::default());
            let (mut model, mut changed) = (Model::new(), BTreeMap::new());
            for (width, step) in steps {
                let mut cold = Vec::new();
                let edits: Vec<Edit> = step.iter().map(|(&offset, put)| {
                    let put = put.as_ref().map(|(code, rule, bytes)| {
                        let start = cold.len();
                        cold.extend_from_slice(bytes);
                        Put { code: *code, rule: *rule, cold: start..cold.len() }
                    });
                    Edit { offset, put }
                }).collect();
                let empty = [Page::EMPTY; PAGES];
                let before = block.as_ref().map_or(BlockView::empty(&empty), LiveBlock::view);
                let edited = LiveBlock::edited(&before, [Width::One, Width::Two, Width::Four][width], &edits, &cold, &mut workspace);
                if let Some(before) = &block {
                    agrees(&before.view(), &model, &changed);
                }
                for (offset, put) in step {
                    match put {
                        Some(put) => { model.insert(offset, put); }
                        None => { model.remove(&offset); }
                    }
                    changed.insert(offset, true);
                }
                agrees(&edited.view(), &model, &changed);
                block = Some(edited);
            }
        }
    }

    #[test]
    fn overlays_share_what_does_not_change() {
        let empty = [Page::EMPTY; PAGES];
        let block =
            LiveBlock::edited(&BlockView::empty(&empty), Width::One, &[], &[], &mut Workspace::default());
        let first = Overlay::new(200, Width::One)
            .with(Width::One, [(3, block.clone()), (150, block.clone())].into_iter());
        let second = first.with(Width::One, [(4, block.clone())].into_iter());
        assert!(first.get(4).is_none() && second.get(4).is_some() && second.get(199).is_none());
        assert_eq!((first.size().0, second.size().0), (2, 3));
        assert_eq!(
            Arc::strong_count(&block.0),
            5,
            "here, one and two in the chunks that differ, one in the shared one"
        );
        drop(first);
        drop(second);
        assert_eq!(Arc::strong_count(&block.0), 1);
    }
}
