//! Where lines end, and where runs of digits are, many bytes at a time.
//!
//! Looking for one line end after another costs a call and a branch that is mispredicted for every other row. Here 64
//! bytes at a time become bits, and the line ends of a window are noted before the first row is read, without a branch
//! that depends on how long rows are.
//!
//! Runs of at least six digits are counted by the way. A row that has an identity has one such run; if a window has
//! no more runs than its rows have identities, no row holds another one, and none needs to be searched.

use crate::cpu::{PLACES, digits_of, places_of, places_of_either};
use std::ops::Range;

/// Bytes that are looked through together, few enough to stay in the nearest cache.
const WINDOW_BYTES: usize = 1 << 13;
/// Line ends that are noted for 64 bytes without asking how many there are.
const NOTED: usize = 4;
/// Digits that follow one another in every usual spelling of an identity: `900102-2384`.
pub(super) const RUN_DIGITS: usize = 6;

/// The ends of the lines of a window.
#[derive(Default)]
pub(super) struct Lines {
    /// Past each line's last byte, from the beginning of the window. Behind them lies what was noted for nothing.
    ends: Vec<u32>,
}

/// What a window holds.
pub(super) struct Window<'a> {
    /// Past each line's last byte, from the beginning of the window.
    pub(super) ends: &'a [u32],
    /// Runs of at least [`RUN_DIGITS`] digits in these lines.
    pub(super) runs: usize,
}

impl Window<'static> {
    pub(super) const NOTHING: Window<'static> = Window { ends: &[], runs: 0 };
}

impl Lines {
    pub(super) fn new() -> Lines {
        Lines { ends: vec![0; WINDOW_BYTES + PLACES] }
    }

    /// The ends of the whole lines that the first `length` of `bytes` begin with, as far as a window reaches and
    /// no `stop` byte comes and no CR without LF.
    ///
    /// A line that has one of these in it, and what follows it, is not among them.
    #[inline(always)]
    pub(super) fn find(&mut self, bytes: &[u8], length: usize, stop: Option<u8>) -> Window<'_> {
        let within = &bytes[..length.min(WINDOW_BYTES)];
        let (blocks, rest) = within.as_chunks::<PLACES>();
        let (mut count, mut at) = (0, 0);
        let (mut runs, mut all, mut stopped) = (Runs::default(), 0, false);
        for block in blocks {
            let lines = places_of(b'\n', block);
            let mut stops = match stop {
                Some(stop) => places_of_either(b'\r', stop, block),
                None => places_of(b'\r', block),
            };
            if stops != 0 {
                // A CR that belongs to a CR LF is no stop.
                let follows = u64::from(bytes.get(at + PLACES) == Some(&b'\n')) << (PLACES - 1);
                stops &= !(places_of(b'\r', block) & (lines >> 1 | follows));
            }
            // Those before the first stop.
            let before = (stops & stops.wrapping_neg()).wrapping_sub(1);
            all += runs.find(digits_of(block)).count_ones() as usize;
            self.note(lines & before, at as u32, &mut count);
            at += PLACES;
            if stops != 0 {
                stopped = true;
                break;
            }
        }
        for &byte in if stopped { &[] } else { rest } {
            let lone = byte == b'\r' && bytes.get(at + 1) != Some(&b'\n');
            if stop == Some(byte) || lone {
                break;
            }
            at += 1;
            all += usize::from(runs.find_one(byte.is_ascii_digit()));
            self.ends[count] = at as u32;
            count += usize::from(byte == b'\n');
        }
        let ends = &self.ends[..count];
        // Runs behind the last line end belong to a line that is not whole.
        let last = ends.last().map_or(0, |&end| end as usize);
        Window { ends, runs: all - runs_in(within, last..at) }
    }

    /// Notes the ends whose bits are set, of 64 bytes that begin at `at`.
    #[inline(always)]
    fn note(&mut self, mut ends: u64, at: u32, count: &mut usize) {
        let all = ends.count_ones() as usize;
        let mut noted = 0;
        while let Some(free) = self.ends[*count + noted..].first_chunk_mut::<NOTED>() {
            for end in free {
                *end = at + ends.trailing_zeros() + 1;
                ends &= ends.wrapping_sub(1);
            }
            noted += NOTED;
            if noted >= all {
                break;
            }
        }
        *count += all;
    }
}

/// Finds runs of at least [`RUN_DIGITS`] digits, 64 bytes at a time: the place of the sixth digit of each.
#[derive(Clone, Copy, Default)]
struct Runs {
    /// The digits before.
    digits: u64,
    /// Which of them have a digit before them.
    pairs: u64,
}

impl Runs {
    #[inline(always)]
    fn find(&mut self, digits: u64) -> u64 {
        // Bits that were `places` before, of this block and the one before it.
        let earlier = |bits: u64, before: u64, places: u32| bits << places | before >> (64 - places);
        let pairs = digits & earlier(digits, self.digits, 1);
        let quads = pairs & earlier(pairs, self.pairs, 2);
        let sixes = quads & earlier(pairs, self.pairs, 4);
        let first = sixes & !earlier(digits, self.digits, RUN_DIGITS as u32);
        (self.digits, self.pairs) = (digits, pairs);
        first
    }

    /// The same for one byte more.
    #[inline(always)]
    fn find_one(&mut self, is_digit: bool) -> bool {
        // The last digits are the highest bits.
        let digits = self.digits >> 1 | u64::from(is_digit) << 63;
        self.digits = digits;
        let run = digits.leading_ones() as usize;
        run == RUN_DIGITS
    }
}

/// Number of runs of at least [`RUN_DIGITS`] digits in a part of some bytes.
#[inline(always)]
pub(super) fn runs_in(bytes: &[u8], part: Range<usize>) -> usize {
    let (mut runs, mut count, mut at) = (Runs::default(), 0, part.start);
    while at < part.end {
        let left = part.end - at;
        let digits = match bytes[at..].first_chunk() {
            // What lies behind the part does not count.
            Some(block) => {
                digits_of(block) & u64::MAX.checked_shr(PLACES.saturating_sub(left) as u32).unwrap_or(0)
            }
            None => {
                let mut last = [0; PLACES];
                last[..left].copy_from_slice(&bytes[at..part.end]);
                digits_of(&last)
            }
        };
        count += runs.find(digits).count_ones() as usize;
        at += PLACES;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One byte after another.
    fn one_by_one(bytes: &[u8], stop: Option<u8>) -> (Vec<u32>, usize) {
        let is_stop =
            |at: usize| Some(bytes[at]) == stop || bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
        let until = (0..bytes.len().min(WINDOW_BYTES))
            .find(|&at| is_stop(at))
            .unwrap_or(bytes.len().min(WINDOW_BYTES));
        let ends: Vec<u32> = (0..until).filter(|&at| bytes[at] == b'\n').map(|at| at as u32 + 1).collect();
        let lines = &bytes[..ends.last().map_or(0, |&end| end as usize)];
        (ends, runs_one_by_one(lines))
    }

    fn runs_one_by_one(bytes: &[u8]) -> usize {
        bytes.split(|byte| !byte.is_ascii_digit()).filter(|run| run.len() >= RUN_DIGITS).count()
    }

    fn found(lines: &mut Lines, bytes: &[u8], stop: Option<u8>) -> (Vec<u32>, usize) {
        let window = lines.find(bytes, bytes.len(), stop);
        (window.ends.to_vec(), window.runs)
    }

    #[test]
    fn a_window_of_nothing_but_line_ends() {
        let bytes = [b'\n'; WINDOW_BYTES + 100];
        let mut lines = Lines::new();
        for length in [0, 1, 63, 64, 65, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 100] {
            assert_eq!(found(&mut lines, &bytes[..length], None), one_by_one(&bytes[..length], None));
        }
    }

    #[test]
    fn a_line_end_in_two_blocks() {
        let mut bytes = vec![b'x'; 200];
        let mut lines = Lines::new();
        for at in 60..70 {
            bytes[at] = b'\r';
            assert_eq!(found(&mut lines, &bytes, None), (vec![], 0), "alone at {at}");
            bytes[at + 1] = b'\n';
            assert_eq!(found(&mut lines, &bytes, None), (vec![at as u32 + 2], 0));
            // The line feed lies behind what is looked at.
            assert_eq!(lines.find(&bytes, at + 1, None).ends.len(), 0);
            bytes[at..at + 2].fill(b'x');
        }
    }

    proptest! {
        #[test]
        fn lines_end_where_they_do_one_by_one(
            pieces in proptest::collection::vec(prop_oneof![
                4 => "[a-z;]{0,80}\n", 2 => "[0-9]{1,20}", 2 => "[0-9]{4,7};", 1 => "[0-9]{0,12}\r\n", 1 => "x{0,3}\r"
            ], 0..200),
            stops in proptest::collection::vec(any::<u16>(), 0..3),
            lone in any::<bool>(),
        ) {
            let mut bytes = pieces.concat().into_bytes();
            if !lone {
                bytes.retain(|&byte| byte != b'\r');
            }
            for part in [0..bytes.len(), 0..bytes.len() / 2, bytes.len() / 3..bytes.len() / 2, 0..bytes.len().min(70)] {
                prop_assert_eq!(runs_in(&bytes, part.clone()), runs_one_by_one(&bytes[part]));
            }
            for place in stops {
                if let Some(byte) = bytes.get_mut(usize::from(place)) {
                    *byte = b'"';
                }
            }
            let mut lines = Lines::new();
            for stop in [None, Some(b'"')] {
                for from in [0, 1, 63, 64].into_iter().filter(|&from| from <= bytes.len()) {
                    prop_assert_eq!(found(&mut lines, &bytes[from..], stop), one_by_one(&bytes[from..], stop));
                }
            }
        }
    }
}
