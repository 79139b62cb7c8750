//! The speed of memory: copying, dependent reads, prefetched reads.

use crate::figures::Row;
use crate::record::Record;
use crate::{Effort, room, say};
use memmap2::{Advice, MmapMut};
use prefetch_index::prefetch_index;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Concurrent reads: as many as in nabar's lookups.
const GROUP: usize = 128;
/// Bytes that are copied, far more than caches hold.
const COPIED: usize = 256 << 20;

/// The next number of SplitMix64.
#[inline(always)]
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A pseudorandom index below a bound.
#[inline(always)]
fn below(state: &mut u64, bound: usize) -> usize {
    ((u128::from(random(state)) * bound as u128) >> 64) as usize
}

/// Memory in pages of one kind, as lines of numbers.
struct Memory {
    map: MmapMut,
    pages: &'static str,
}

impl Memory {
    fn new(bytes: usize, huge: bool) -> Memory {
        let map = MmapMut::map_anon(bytes).expect("memory");
        let advice = if huge { Advice::HugePage } else { Advice::NoHugePage };
        // Systems without huge pages refuse; then small pages are measured.
        let granted = map.advise(advice).is_ok();
        Memory { map, pages: if huge && granted { "huge pages" } else { "small pages" } }
    }

    /// Each line gets the index of the next, in one cycle through all (Sattolo's algorithm).
    fn circle(mut self) -> Memory {
        let lines = self.map.len() / LINE;
        let mut order: Vec<u32> = (0..lines as u32).collect();
        let mut state = 1;
        for place in (1..lines).rev() {
            order.swap(place, below(&mut state, place));
        }
        for (line, next) in order.iter().enumerate() {
            self.map[line * LINE..][..4].copy_from_slice(&next.to_le_bytes());
        }
        self
    }

    #[inline(always)]
    fn next(&self, line: usize) -> usize {
        let bytes = self.map[line * LINE..].first_chunk().expect("four bytes");
        u32::from_le_bytes(*bytes) as usize
    }

    /// Follows the cycle.
    fn follow(&self, reads: usize) {
        let mut line = 0;
        for _ in 0..reads {
            line = self.next(line);
        }
        black_box(line);
    }

    /// Reads random lines; all of a group are prefetched before the first is read.
    fn read_ahead(&self, reads: usize, mut state: u64) {
        let (lines, mut sum) = (self.map.len() / LINE, 0);
        let mut places = [0; GROUP];
        for _ in 0..reads / GROUP {
            for place in &mut places {
                *place = below(&mut state, lines);
                prefetch_index(&self.map[..], *place * LINE);
            }
            sum += places.iter().map(|place| self.next(*place)).sum::<usize>();
        }
        black_box(sum);
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

/// Touches and frees memory, so that it is available to the next measurement.
///
/// A virtual machine may get memory only when it is touched, at milliseconds per megabyte, and may lose memory that has
/// been free for some seconds. The first measurement would pay for that.
pub(crate) fn touch(bytes: u64) {
    const STEP: usize = 64 << 20;
    let (free, _) = room(std::path::Path::new("."));
    let steps = bytes.min(free / 2) as usize / STEP;
    let mut touched = Vec::new();
    for _ in 0..steps {
        let mut map = MmapMut::map_anon(STEP).expect("memory");
        map.chunks_mut(4096).for_each(|page| page[0] = 1);
        touched.push(map);
    }
}

/// Measures all.
pub(crate) fn measure(effort: &Effort, record: &mut Record) {
    record.begin("floors", Vec::new());
    say("floors: copying");
    copying(effort, record);
    for bytes in effort.probes() {
        for huge in [false, true] {
            say(&format!("floors: reads in {} MB, huge pages: {huge}", bytes >> 20));
            let memory = Memory::new(bytes, huge).circle();
            reading(&memory, effort, record);
        }
    }
    record.write();
}

fn copying(effort: &Effort, record: &mut Record) {
    let length = if effort.quick { COPIED / 16 } else { COPIED };
    let (from, mut to) = (vec![1u8; length], vec![2u8; length]);
    for round in 1..=effort.rounds {
        for threads in crate::lookup::threads() {
            let part = length.div_ceil(threads as usize);
            let seconds = seconds(|| {
                from.par_chunks(part)
                    .zip(to.par_chunks_mut(part))
                    .for_each(|(from, to)| to.copy_from_slice(from));
            });
            assert!(to[length - 1] == 1);
            black_box(&mut to);
            record.push(floor("memcpy", "memory", threads, round, length, seconds, length));
        }
    }
}

fn reading(memory: &Memory, effort: &Effort, record: &mut Record) {
    let reads = if effort.quick { 1 << 16 } else { 1 << 22 };
    let bytes = memory.map.len();
    memory.read_ahead(reads, 1);
    for round in 1..=effort.rounds {
        let waiting = seconds(|| memory.follow(reads / 8));
        record.push(floor("latency", memory.pages, 1, round, reads / 8, waiting, bytes));
        for threads in crate::lookup::threads() {
            let part = reads / threads as usize;
            let all = 0..threads;
            let seconds = seconds(|| {
                all.into_par_iter().for_each(|thread| memory.read_ahead(part, round * 100 + thread))
            });
            record.push(floor("throughput", memory.pages, threads, round, reads, seconds, bytes));
        }
    }
}

fn floor(job: &str, peer: &str, threads: u64, round: u64, rows: usize, seconds: f64, bytes: usize) -> Row {
    Row {
        suite: "floors".to_owned(),
        job: job.to_owned(),
        peer: peer.to_owned(),
        rows: rows as u64,
        order: "random".to_owned(),
        threads,
        round,
        seconds,
        bytes: bytes as u64,
        ..Row::default()
    }
}
