//! Changed parts: copies of parts of blocks that have changed since the register file was made.
//!
//! A changed part is immutable. A batch of changes makes new copies of the parts that it modifies, and a new
//! [`Overlay`] that shares all other parts with the previous one. Readers of the old overlay keep the old parts alive;
//! the last reader frees them.
//!
//! A part is one allocation: its 4 pages, a header of one cache line, its records after record 0, its exceptions, and
//! the *cold entry* of each changed recipient, which [`crate::register`] interprets. Pages and records are at fixed
//! offsets, so a lookup does not read the header.

use super::codes::{Code, Codes, Width};
use super::page::Page;
use crate::cpu::{Work, prefetch, vectorized};
use crate::limits::{PAGE_ORDINALS, PART_PAGES};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;
use std::sync::Arc;

const PAGES: usize = PART_PAGES as usize;
const LINE: usize = size_of::<Page>();
/// Offset of the records.
const RECORDS_AT: usize = (PAGES + 1) * LINE;

/// A changed part.
#[derive(Clone)]
pub(crate) struct LivePart(Arc<[Page]>);

/// The header after the pages: lengths and byte offsets of the arrays.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct PartHeader {
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

/// Borrowed content of a part.
#[derive(Clone, Copy)]
pub(crate) struct PartView<'a> {
    /// The 4 pages.
    pub(crate) pages: &'a [Page],
    /// Rank of the first record. Ranks in `pages` and `exception_places` count from the beginning of the block in the
    /// file, or of the part if it has changed.
    pub(super) first: u32,
    /// The records in ascending order of ordinals, without record 0.
    pub(crate) codes: Codes<'a>,
    /// Ranks of the records with a listed rule, ascending. For a part of the file these are all exceptions of the
    /// block; see [`narrowed`](Self::narrowed).
    pub(super) exception_places: &'a [u16],
    /// The rules of the exceptions.
    pub(super) exception_rules: &'a [u32],
    /// Offsets in the part of the recipients that have changed since the file was made, ascending.
    pub(super) cold_places: &'a [u16],
    /// For each of them, the end of its cold entry in `cold_bytes`.
    pub(super) cold_ends: &'a [u32],
    /// The cold entries.
    pub(super) cold_bytes: &'a [u8],
}

/// A change of a recipient in a part.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// Offset of the recipient's ordinal in the part.
    pub(crate) offset: u16,
    /// The new record; `None` if the recipient is removed.
    pub(crate) put: Option<PutRecord>,
}

/// The new record of a recipient.
#[derive(Clone, Debug)]
pub(crate) struct PutRecord {
    /// Number of the state.
    pub(crate) code: u32,
    /// The listed rule; 0 without a listed rule.
    pub(crate) rule: u32,
    /// Range of its cold entry in the bytes that are passed with the edits.
    pub(crate) cold: Range<usize>,
}

impl<'a> PartView<'a> {
    /// A part without recipients.
    pub(super) const fn empty(pages: &'a [Page]) -> PartView<'a> {
        PartView {
            pages,
            first: 0,
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

    /// The view with the exceptions of the part only.
    fn narrowed(self) -> PartView<'a> {
        let before = |rank: u32| self.exception_places.partition_point(|&other| u32::from(other) < rank);
        let own = before(self.first)..before(self.first + self.records());
        PartView {
            exception_places: &self.exception_places[own.clone()],
            exception_rules: &self.exception_rules[own],
            ..self
        }
    }

    /// Whether the ordinal at an offset is present (1 or 0), and the number of present ordinals before it in the part.
    pub(crate) fn rank(&self, offset: u16) -> (u32, u32) {
        let offset = u32::from(offset);
        let (present, rank) = self.pages[(offset / PAGE_ORDINALS) as usize].rank(offset % PAGE_ORDINALS);
        (present, rank - self.first)
    }

    /// The offsets of the present ordinals, ascending, in the order of the records.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = u32> + use<'a> {
        (0u32..)
            .zip(self.pages)
            .flat_map(|(page, bits)| bits.bits().map(move |bit| page * PAGE_ORDINALS + bit))
    }

    /// The listed rule of a record; 0 without a listed rule.
    pub(crate) fn rule(&self, record: u32) -> u32 {
        let found = self.exception_places.binary_search(&((record + self.first) as u16));
        found.map_or(0, |index| self.exception_rules[index])
    }

    /// The cold entry of the recipient at an offset, if it has changed since the file was made.
    pub(crate) fn cold(&self, offset: u16) -> Option<&'a [u8]> {
        let entry = self.cold_places.binary_search(&offset).ok()?;
        self.cold_bytes.get(self.cold_range(entry..entry + 1))
    }

    /// The range in `cold_bytes` of a range of cold entries.
    fn cold_range(&self, entries: Range<usize>) -> Range<usize> {
        let end = |entry: usize| entry.checked_sub(1).map_or(0, |before| self.cold_ends[before] as usize);
        end(entries.start)..end(entries.end)
    }
}

/// Positions of an edit in the arrays of a part.
#[derive(Clone, Copy)]
struct Cut {
    /// Index among the records, and whether the recipient has a record (1 or 0).
    record: usize,
    present: usize,
    /// Index among the exceptions, and whether the recipient has an exception (1 or 0).
    exception: usize,
    listed: usize,
    /// Index among the cold entries, and whether the recipient has a cold entry (1 or 0).
    entry: usize,
    changed: usize,
}

impl Cut {
    fn of(before: &PartView<'_>, edit: &Edit) -> Cut {
        let (present, rank) = before.rank(edit.offset);
        let block_rank = (rank + before.first) as u16;
        let exception = before.exception_places.partition_point(|&other| other < block_rank);
        let is_exception = before.exception_places.get(exception) == Some(&block_rank);
        let entry = before.cold_places.partition_point(|&offset| offset < edit.offset);
        let changed = before.cold_places.get(entry) == Some(&edit.offset);
        Cut {
            record: rank as usize,
            present: present as usize,
            exception,
            listed: usize::from(is_exception && present == 1),
            entry,
            changed: usize::from(changed),
        }
    }
}

/// Copies an array with replacements. `cuts` ascend; each has an index, the number of elements removed there (0 or 1),
/// and the element inserted there.
fn splice<T: Copy>(before: &[T], to: &mut [T], cuts: impl Iterator<Item = (usize, usize, Option<T>)>) {
    let (mut from, mut end) = (0, 0);
    for (index, removed, new) in cuts {
        end += copy(&before[from..index], &mut to[end..]);
        end += copy(new.as_slice(), &mut to[end..]);
        from = index + removed;
    }
    copy(&before[from..], &mut to[end..]);
}

fn copy<T: Copy>(from: &[T], to: &mut [T]) -> usize {
    to[..from.len()].copy_from_slice(from);
    from.len()
}

impl PartHeader {
    /// The header of `before` after edits, and the length of the part in cache lines.
    fn of(before: &PartView<'_>, width: Width, edits: &[Edit], cuts: &[Cut]) -> (PartHeader, usize) {
        let sum = |of: fn(&Cut) -> usize| cuts.iter().map(of).sum::<usize>();
        let puts = || edits.iter().filter_map(|edit| edit.put.as_ref());
        let records = before.codes.len() + puts().count() - sum(|cut| cut.present);
        let listed = puts().filter(|put| put.rule != 0).count();
        let exceptions = before.exception_rules.len() + listed - sum(|cut| cut.listed);
        let cold = before.cold_ends.len() + puts().count() - sum(|cut| cut.changed);
        let removed = cuts.iter().map(|cut| before.cold_range(cut.entry..cut.entry + cut.changed).len());
        let cold_bytes = before.cold_bytes.len() + puts().map(|put| put.cold.len()).sum::<usize>()
            - removed.sum::<usize>();
        let mut end = RECORDS_AT + (records + 1) * width as usize;
        let mut next = |bytes: usize, alignment: usize| {
            let start = end.next_multiple_of(alignment);
            end = start + bytes;
            start as u32
        };
        let header = PartHeader {
            records: records as u32,
            width: width as u32,
            exceptions: exceptions as u32,
            exception_rules_at: next(exceptions * 4, 4),
            exception_places_at: next(exceptions * 2, 2),
            cold: cold as u32,
            cold_ends_at: next(cold * 4, 4),
            cold_places_at: next(cold * 2, 2),
            cold_bytes: cold_bytes as u32,
            cold_bytes_at: next(cold_bytes, 1),
            unused: [0; 6],
        };
        (header, end.div_ceil(LINE))
    }
}

impl LivePart {
    /// The part `before` after `edits`, whose offsets ascend. `width` must suffice for all states; `cold` has the cold
    /// entries of the edits.
    ///
    /// Cost: one copy of the part, some kilobytes.
    pub(crate) fn edited(before: &PartView<'_>, width: Width, edits: &[Edit], cold: &[u8]) -> LivePart {
        let before = &before.narrowed();
        debug_assert!(edits.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        let cuts: Vec<Cut> = edits.iter().map(|edit| Cut::of(before, edit)).collect();
        let (header, count) = PartHeader::of(before, width, edits, &cuts);
        let mut part: Arc<[Page]> = bytemuck::allocation::zeroed_arc_slice(count);
        let lines = Arc::get_mut(&mut part).unwrap_or_default();
        edit_pages(before, &mut lines[..PAGES], edits, &cuts);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(lines);
        bytes[PAGES * LINE..RECORDS_AT].copy_from_slice(bytemuck::bytes_of(&header));
        match width {
            Width::One => edit_codes::<u8>(before.codes, bytes, &header, edits, &cuts),
            Width::Two => edit_codes::<u16>(before.codes, bytes, &header, edits, &cuts),
            Width::Four => edit_codes::<u32>(before.codes, bytes, &header, edits, &cuts),
        }
        edit_exceptions(before, bytes, &header, edits, &cuts);
        edit_cold(before, bytes, &header, edits, &cuts, cold);
        LivePart(part)
    }

    /// The memory of the part in cache lines. The pages come first.
    #[inline(always)]
    pub(super) fn lines(&self) -> &[Page] {
        &self.0
    }

    /// The memory that begins with the records, of which record 0 is reserved. It extends beyond the last record.
    #[inline(always)]
    pub(super) fn codes<C: Code>(&self) -> &[C] {
        bytemuck::cast_slice(&self.0[PAGES + 1..])
    }

    /// Number of records.
    pub(crate) fn records(&self) -> u32 {
        self.head().records
    }

    fn head(&self) -> PartHeader {
        bytemuck::cast(self.0[PAGES])
    }

    /// Size of the part in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    pub(crate) fn view(&self) -> PartView<'_> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        let header = self.head();
        let records = 1..header.records as usize + 1;
        let codes = match header.width {
            1 => Codes::One(self.codes()),
            2 => Codes::Two(self.codes()),
            _ => Codes::Four(self.codes()),
        };
        let cold = header.cold as usize;
        PartView {
            pages: &self.0[..PAGES],
            first: 0,
            codes: codes.slice(records),
            exception_places: array(bytes, header.exception_places_at, header.exceptions as usize),
            exception_rules: array(bytes, header.exception_rules_at, header.exceptions as usize),
            cold_places: array(bytes, header.cold_places_at, cold),
            cold_ends: array(bytes, header.cold_ends_at, cold),
            cold_bytes: array(bytes, header.cold_bytes_at, header.cold_bytes as usize),
        }
    }
}

fn array<T: Pod>(bytes: &[u8], at: u32, count: usize) -> &[T] {
    bytemuck::cast_slice(&bytes[at as usize..at as usize + count * size_of::<T>()])
}

fn array_mut<T: Pod>(bytes: &mut [u8], at: u32, count: u32) -> &mut [T] {
    bytemuck::cast_slice_mut(&mut bytes[at as usize..at as usize + count as usize * size_of::<T>()])
}

fn edit_pages(before: &PartView<'_>, pages: &mut [Page], edits: &[Edit], cuts: &[Cut]) {
    pages.copy_from_slice(before.pages);
    let mut moved = before.first != 0;
    for (edit, cut) in edits.iter().zip(cuts) {
        let offset = u32::from(edit.offset);
        pages[(offset / PAGE_ORDINALS) as usize].set(offset % PAGE_ORDINALS, edit.put.is_some());
        moved |= edit.put.is_some() != (cut.present == 1);
    }
    if moved {
        vectorized(Count { pages });
    }
}

/// Sets the counts of a part's pages.
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

/// Writes the records after the edits, after record 0.
fn edit_codes<C: Code>(
    before: Codes<'_>,
    bytes: &mut [u8],
    header: &PartHeader,
    edits: &[Edit],
    cuts: &[Cut],
) {
    let codes: &mut [C] = array_mut(bytes, RECORDS_AT as u32, header.records + 1);
    codes[0] = C::of(0);
    let (mut from, mut to) = (0, 1);
    let copy = |codes: &mut [C], records: Range<usize>, to: &mut usize| {
        let end = *to + records.len();
        before.slice(records).copy_to(&mut codes[*to..end]);
        *to = end;
    };
    for (edit, cut) in edits.iter().zip(cuts) {
        copy(codes, from..cut.record, &mut to);
        if let Some(put) = &edit.put {
            codes[to] = C::of(put.code);
            to += 1;
        }
        from = cut.record + cut.present;
    }
    copy(codes, from..before.len(), &mut to);
}

fn edit_exceptions(
    before: &PartView<'_>,
    bytes: &mut [u8],
    header: &PartHeader,
    edits: &[Edit],
    cuts: &[Cut],
) {
    let rule = |edit: &Edit| edit.put.as_ref().map(|put| put.rule).filter(|&rule| rule != 0);
    let pairs = || edits.iter().zip(cuts);
    let rules = pairs().map(|(edit, cut)| (cut.exception, cut.listed, rule(edit)));
    splice(before.exception_rules, array_mut(bytes, header.exception_rules_at, header.exceptions), rules);
    // The ranks shift with the records before them.
    let ranks: &mut [u16] = array_mut(bytes, header.exception_places_at, header.exceptions);
    let (mut from, mut end, mut shift) = (0, 0, 0i32);
    for step in 0..=edits.len() {
        let until = cuts.get(step).map_or(before.exception_places.len(), |cut| cut.exception);
        for &rank in &before.exception_places[from..until] {
            ranks[end] = (i32::from(rank) - before.first as i32 + shift) as u16;
            end += 1;
        }
        let Some((edit, cut)) = edits.get(step).zip(cuts.get(step)) else { return };
        if rule(edit).is_some() {
            ranks[end] = (cut.record as i32 + shift) as u16;
            end += 1;
        }
        shift += i32::from(edit.put.is_some()) - cut.present as i32;
        from = cut.exception + cut.listed;
    }
}

fn edit_cold(
    before: &PartView<'_>,
    bytes: &mut [u8],
    header: &PartHeader,
    edits: &[Edit],
    cuts: &[Cut],
    cold: &[u8],
) {
    let pairs = || edits.iter().zip(cuts);
    let offsets = pairs().map(|(edit, cut)| (cut.entry, cut.changed, edit.put.as_ref().map(|_| edit.offset)));
    splice(before.cold_places, array_mut(bytes, header.cold_places_at, header.cold), offsets);
    let (ends_at, data_at) = (header.cold_ends_at as usize, header.cold_bytes_at as usize);
    let (lists, data) = bytes.split_at_mut(data_at);
    let ends: &mut [u32] = bytemuck::cast_slice_mut(&mut lists[ends_at..ends_at + header.cold as usize * 4]);
    let (mut from, mut entry, mut end) = (0, 0, 0);
    for step in 0..=edits.len() {
        let until = cuts.get(step).map_or(before.cold_ends.len(), |cut| cut.entry);
        let old = before.cold_range(from..until);
        let shift = (end as u32).wrapping_sub(old.start as u32);
        for old_end in &before.cold_ends[from..until] {
            ends[entry] = old_end.wrapping_add(shift);
            entry += 1;
        }
        end += copy(&before.cold_bytes[old], &mut data[end..]);
        let Some((edit, cut)) = edits.get(step).zip(cuts.get(step)) else { return };
        if let Some(put) = &edit.put {
            end += copy(&cold[put.cold.clone()], &mut data[end..]);
            ends[entry] = end as u32;
            entry += 1;
        }
        from = cut.entry + cut.changed;
    }
}

/// Parts per chunk of an overlay. Copying a chunk increments the reference count of each of its parts.
const CHUNK: usize = 16;

const _: () = assert!(CHUNK.is_multiple_of(crate::limits::BLOCK_PARTS as usize), "a block is in one chunk");
/// How many changed parts ahead reference counts are prefetched.
const PREFETCH_AHEAD: usize = 4;

/// The changed parts of a register, by number. Cheap to clone: unchanged chunks are shared.
#[derive(Clone)]
pub(crate) struct Overlay {
    /// Chunks up to the last changed part.
    chunks: Arc<Vec<Option<Arc<Chunk>>>>,
    /// Width of the records of all changed parts. If it is not that of the file, all parts of the file have changed.
    width: Width,
}

/// Consecutive parts.
type Chunk = [Option<LivePart>; CHUNK];

impl Overlay {
    /// An overlay without changed parts.
    pub(crate) fn new(width: Width) -> Overlay {
        Overlay { chunks: Arc::default(), width }
    }

    /// The overlay with parts replaced. Consecutive parts should be consecutive in `parts`.
    pub(crate) fn with(&self, width: Width, parts: Vec<(usize, LivePart)>) -> Overlay {
        let mut chunks = Vec::clone(&self.chunks);
        if let Some(last) = parts.iter().map(|(number, _)| number / CHUNK).max() {
            chunks.resize(chunks.len().max(last + 1), None);
        }
        let ahead: Vec<usize> = parts.iter().skip(PREFETCH_AHEAD).map(|(number, _)| number / CHUNK).collect();
        for (index, (number, part)) in parts.into_iter().enumerate() {
            ahead.get(index).into_iter().for_each(|&chunk| self.prefetch_reference_counts(chunk));
            let chunk = chunks[number / CHUNK].get_or_insert_with(|| Arc::new([const { None }; CHUNK]));
            Arc::make_mut(chunk)[number % CHUNK] = Some(part);
        }
        Overlay { chunks: Arc::new(chunks), width }
    }

    /// Prefetches the reference counts of a chunk's parts, which precede the parts in memory.
    fn prefetch_reference_counts(&self, chunk: usize) {
        let chunk = self.chunks.get(chunk).into_iter().flatten();
        let parts = chunk.flat_map(|chunk| chunk.iter().flatten());
        parts.for_each(|part| prefetch(part.lines(), usize::MAX));
    }

    #[inline(always)]
    pub(super) fn get(&self, part: usize) -> Option<&LivePart> {
        self.chunks.get(part / CHUNK)?.as_ref()?[part % CHUNK].as_ref()
    }

    /// Whether any part in the chunk of `part` has changed. All parts of a block are in one chunk.
    pub(super) fn may_include(&self, part: usize) -> bool {
        self.chunks.get(part / CHUNK).is_some_and(Option::is_some)
    }

    /// Prefetches the pointer to a part.
    #[inline(always)]
    pub(super) fn prefetch(&self, part: usize) {
        if let Some(Some(chunk)) = self.chunks.get(part / CHUNK) {
            prefetch(&chunk[..], part % CHUNK);
        }
    }

    pub(crate) fn width(&self) -> Width {
        self.width
    }

    /// Number of changed parts, and their size in bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let parts = self.chunks.iter().flatten().flat_map(|chunk| chunk.iter().flatten());
        parts.fold((0, 0), |(count, bytes), part| (count + 1, bytes + part.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PART_ORDINALS;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<u16, (u32, u32, Vec<u8>)>;

    fn agrees(view: &PartView<'_>, model: &Model, changed: &BTreeMap<u16, bool>) {
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
        prop_oneof![0..500u16, 0..PART_ORDINALS as u16, Just(PART_ORDINALS as u16 - 1)]
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
        /// Repeated edits, in every width, against a map.
        #[test]
        fn edited_parts_agree_with_a_map(steps in proptest::collection::vec(step(), 1..12)) {
            let mut block: Option<LivePart> = None;
            let (mut model, mut changed) = (Model::new(), BTreeMap::new());
            for (width, step) in steps {
                let mut cold = Vec::new();
                let edits: Vec<Edit> = step.iter().map(|(&offset, put)| {
                    let put = put.as_ref().map(|(code, rule, bytes)| {
                        let start = cold.len();
                        cold.extend_from_slice(bytes);
                        PutRecord { code: *code, rule: *rule, cold: start..cold.len() }
                    });
                    Edit { offset, put }
                }).collect();
                let empty = [Page::EMPTY; PAGES];
                let before = block.as_ref().map_or(PartView::empty(&empty), LivePart::view);
                let edited = LivePart::edited(&before, [Width::One, Width::Two, Width::Four][width], &edits, &cold);
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
    fn overlays_share_unchanged_chunks() {
        let empty = [Page::EMPTY; PAGES];
        let block = LivePart::edited(&PartView::empty(&empty), Width::One, &[], &[]);
        let first = Overlay::new(Width::One).with(Width::One, vec![(3, block.clone()), (150, block.clone())]);
        let second = first.with(Width::One, vec![(4, block.clone())]);
        assert!(first.get(4).is_none() && second.get(4).is_some() && second.get(199).is_none());
        assert_eq!((first.size().0, second.size().0), (2, 3));
        assert_eq!(
            Arc::strong_count(&block.0),
            5,
            "this test, one and two in the chunks that differ, one in the shared chunk"
        );
        drop(first);
        drop(second);
        assert_eq!(Arc::strong_count(&block.0), 1);
    }
}
