//! Peers in memory: a hash map, a minimal perfect hash, bitmaps.

use super::{BatchPart, Codes, Store, Text, answer_as_numbers, stem};
use nabar::register::Answer;
use prefetch_index::prefetch_index;
use ptr_hash::hash::FastIntHash;
use ptr_hash::{FastPtrHash, PtrHashParams};
use roaring::RoaringBitmap;
use std::sync::Arc;

/// hashbrown with its default hash function; the answer is stored beside the number.
#[derive(Clone)]
pub(super) struct HashMap(Arc<hashbrown::HashMap<u64, Answer>>);

impl HashMap {
    pub(super) fn new(decided: &[(u64, u8)]) -> HashMap {
        let codes = Codes::new();
        HashMap(Arc::new(decided.iter().map(|&(number, code)| (number, codes.of(code))).collect()))
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u64) -> Answer {
        self.0.get(&number).copied().unwrap_or_default()
    }

    fn answer_numbers(&self, numbers: &[u64], answers: &mut [Answer]) {
        for (answer, number) in answers.iter_mut().zip(numbers) {
            *answer = self.get(*number);
        }
    }
}

impl Store for HashMap {
    fn name(&self) -> &'static str {
        "hashbrown"
    }

    fn bytes(&self) -> u64 {
        self.0.allocation_size() as u64
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        self.answer_numbers(part.numbers, answers);
    }

    fn answer_texts(&self, texts: &[Text], answers: &mut [Answer]) -> bool {
        answer_as_numbers(texts, answers, |numbers, answers| self.answer_numbers(numbers, answers));
        true
    }
}

/// ptr_hash in its fastest variant, with number and code in 64 bits at each index.
///
/// Indices are streamed (which prefetches the memory of the hash), then the entries of a group are prefetched before the
/// first is read.
pub(super) struct PerfectHash {
    hash: FastPtrHash,
    entries: Vec<u64>,
    codes: Codes,
}

/// Ids whose entries are prefetched before the first is read.
const GROUP: usize = 128;
/// Prefetch distance of ptr_hash, as its author recommends.
const AHEAD: usize = 32;

impl PerfectHash {
    pub(super) fn new(decided: &[(u64, u8)]) -> PerfectHash {
        let numbers: Vec<u64> = decided.iter().map(|&(number, _)| number).collect();
        let hash = FastPtrHash::new(&numbers, PtrHashParams::default_fast());
        let mut entries = vec![0; hash.max_index()];
        for &(number, code) in decided {
            entries[hash.index(&number)] = number << 8 | u64::from(code);
        }
        PerfectHash { hash, entries, codes: Codes::new() }
    }

    fn answer_numbers(&self, numbers: &[u64], answers: &mut [Answer]) {
        let ask = |place: usize| prefetch_index(&self.entries, place);
        in_groups(self.hash.index_stream::<AHEAD, _>(numbers), numbers, answers, ask, |number, place| {
            let entry = self.entries[place];
            let code = if entry >> 8 == number { entry as u8 } else { crate::data::NOT_REGISTERED };
            self.codes.of(code)
        });
    }
}

/// Answers keys with streamed indices: the entries of a group are prefetched before the first is read.
#[inline(always)]
fn in_groups<K: Copy>(
    stream: impl Iterator<Item = usize>,
    keys: &[K],
    answers: &mut [Answer],
    ask: impl Fn(usize),
    answer: impl Fn(K, usize) -> Answer,
) {
    let take = |group: std::ops::Range<usize>, places: &[usize; GROUP], answers: &mut [Answer]| {
        for ((to, key), place) in answers[group.clone()].iter_mut().zip(&keys[group]).zip(places) {
            *to = answer(*key, *place);
        }
    };
    let (mut places, mut count) = ([0; GROUP], 0);
    // The stream may only be folded.
    stream.for_each(|place| {
        ask(place);
        places[count % GROUP] = place;
        count += 1;
        if count % GROUP == 0 {
            take(count - GROUP..count, &places, answers);
        }
    });
    take(count - count % GROUP..count, &places, answers);
}

impl Store for PerfectHash {
    fn name(&self) -> &'static str {
        "ptr_hash"
    }

    fn bytes(&self) -> u64 {
        let (pilots, remapped) = self.hash.bits_per_element();
        ((pilots + remapped) / 8.0 * self.hash.n() as f64) as u64 + self.entries.len() as u64 * 8
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        self.answer_numbers(part.numbers, answers);
    }

    fn answer_texts(&self, texts: &[Text], answers: &mut [Answer]) -> bool {
        answer_as_numbers(texts, answers, |numbers, answers| self.answer_numbers(numbers, answers));
        true
    }
}

/// The same hash of numbers cut to 32 bits, with these and the code in five bytes at each index.
pub(super) struct PackedHash {
    hash: FastPtrHash<FastIntHash, u32>,
    /// Three bytes more than there are entries, so that each can be read as eight.
    entries: Vec<u8>,
    codes: Codes,
}

/// Bytes of an entry: 32 bits of the number, and the code.
const PACKED: usize = 5;

impl PackedHash {
    pub(super) fn new(decided: &[(u64, u8)]) -> PackedHash {
        let stems: Vec<u32> = decided.iter().map(|&(number, _)| stem(number)).collect();
        let hash = FastPtrHash::new(&stems, PtrHashParams::default_fast());
        let mut entries = vec![0; hash.max_index() * PACKED + 3];
        for (stem, &(_, code)) in stems.iter().zip(decided) {
            let entry = &mut entries[hash.index(stem) * PACKED..][..PACKED];
            entry[..4].copy_from_slice(&stem.to_le_bytes());
            entry[4] = code;
        }
        PackedHash { hash, entries, codes: Codes::new() }
    }
}

impl Store for PackedHash {
    fn name(&self) -> &'static str {
        "ptr_hash packed"
    }

    fn bytes(&self) -> u64 {
        let (pilots, remapped) = self.hash.bits_per_element();
        ((pilots + remapped) / 8.0 * self.hash.n() as f64) as u64 + self.entries.len() as u64
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        let ask = |place: usize| prefetch_index(&self.entries, place * PACKED);
        let stream = self.hash.index_stream::<AHEAD, _>(part.stems);
        in_groups(stream, part.stems, answers, ask, |stem, place| {
            let entry = self.entries[place * PACKED..].first_chunk().expect("eight bytes");
            let entry = u64::from_le_bytes(*entry);
            let code = if entry as u32 == stem { (entry >> 32) as u8 } else { crate::data::NOT_REGISTERED };
            self.codes.of(code)
        });
    }
}

/// Roaring bitmaps, one for each answer. Numbers are cut to 32 bits, the form that they are made for.
pub(super) struct Bitmaps {
    bitmaps: Vec<(u8, RoaringBitmap)>,
    codes: Codes,
}

impl Bitmaps {
    /// `decided` ascends.
    pub(super) fn new(decided: &[(u64, u8)]) -> Bitmaps {
        let bitmap = |code: u8| {
            let members = decided.iter().filter(|&&(_, other)| other == code);
            let mut bitmap: RoaringBitmap = members.map(|&(number, _)| stem(number)).collect();
            bitmap.optimize();
            (code, bitmap)
        };
        // Recipients in none of them are not registered, so these need no bitmap.
        let mut bitmaps: Vec<(u8, RoaringBitmap)> = (1..=u8::MAX).map(bitmap).collect();
        bitmaps.retain(|(_, bitmap)| !bitmap.is_empty());
        bitmaps.sort_by_key(|(_, bitmap)| std::cmp::Reverse(bitmap.len()));
        Bitmaps { bitmaps, codes: Codes::new() }
    }
}

impl Store for Bitmaps {
    fn name(&self) -> &'static str {
        "roaring"
    }

    fn bytes(&self) -> u64 {
        self.bitmaps.iter().map(|(_, bitmap)| bitmap.serialized_size() as u64).sum()
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        for (answer, stem) in answers.iter_mut().zip(part.stems) {
            let member = self.bitmaps.iter().find(|(_, bitmap)| bitmap.contains(*stem));
            *answer = self.codes.of(member.map_or(crate::data::NOT_REGISTERED, |(code, _)| *code));
        }
    }
}
