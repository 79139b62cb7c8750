//! Where lines end, and where runs of digits are, many bytes at a time.
//!
//! Looking for one line end after another costs a call and a branch that is mispredicted for every other row. Here 64
//! bytes at a time become bits, and the line ends of a window are noted before the first row is read, without a branch
//! that depends on how long rows are.
//!
//! Runs of at least six digits are counted by the way. A row that has an identity has one such run; if a window has
//! no more runs than its rows have identities, no row holds another one, and none needs to be searched.

use crate::cpu::{BLOCK_BYTES, BlockScan};
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
    /// Past each line's last byte, from the beginning of the window. Entries after the last line are leftovers.
    ends: Vec<u32>,
    /// The digits of each block of the window, as bits, after a word of zeros.
    digits: Vec<u64>,
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
        Lines {
            ends: vec![0; WINDOW_BYTES + BLOCK_BYTES],
            digits: vec![0; 1 + WINDOW_BYTES.div_ceil(BLOCK_BYTES)],
        }
    }

    /// The ends of the whole lines that the first `length` of `bytes` begin with, as far as a window reaches and
    /// no `stop` byte comes and no CR without LF.
    ///
    /// A line that has one of these in it, and what follows it, is not among them.
    #[inline(always)]
    pub(super) fn find<S: BlockScan>(
        &mut self,
        scan: S,
        bytes: &[u8],
        length: usize,
        stop: Option<u8>,
    ) -> Window<'_> {
        let within = &bytes[..length.min(WINDOW_BYTES)];
        let (blocks, rest) = within.as_chunks::<BLOCK_BYTES>();
        let (mut count, mut at) = (0, 0);
        let mut stopped = false;
        for (block, digits) in blocks.iter().zip(&mut self.digits[1..]) {
            *digits = scan.digits(block);
            let lines = scan.equal(b'\n', block);
            let mut stops = match stop {
                Some(stop) => scan.equal_either(b'\r', stop, block),
                None => scan.equal(b'\r', block),
            };
            if stops != 0 {
                // A CR that belongs to a CR LF is no stop.
                let follows = u64::from(bytes.get(at + BLOCK_BYTES) == Some(&b'\n')) << (BLOCK_BYTES - 1);
                stops &= !(scan.equal(b'\r', block) & (lines >> 1 | follows));
            }
            // Those before the first stop.
            let before = (stops & stops.wrapping_neg()).wrapping_sub(1);
            note(&mut self.ends, lines & before, at as u32, &mut count);
            at += BLOCK_BYTES;
            if stops != 0 {
                stopped = true;
                break;
            }
        }
        if !stopped && !rest.is_empty() {
            self.digits[1 + blocks.len()] = digits_of(scan, rest);
            for &byte in rest {
                let lone = byte == b'\r' && bytes.get(at + 1) != Some(&b'\n');
                if stop == Some(byte) || lone {
                    break;
                }
                at += 1;
                self.ends[count] = at as u32;
                count += usize::from(byte == b'\n');
            }
        }
        let ends = &self.ends[..count];
        // Digits behind the last line end belong to a line that is not whole.
        let last = ends.last().map_or(0, |&end| end as usize);
        let (whole, partial) = (last / BLOCK_BYTES, last % BLOCK_BYTES);
        let mut blocks = 1 + whole;
        if partial > 0 {
            self.digits[blocks] &= (1 << partial) - 1;
            blocks += 1;
        }
        Window { ends, runs: count_runs(&self.digits[..blocks]) }
    }
}

/// Appends the ends whose bits are set, of 64 bytes that begin at `at`, to the first `count` of `ends`.
#[inline(always)]
fn note(ends: &mut [u32], mut bits: u64, at: u32, count: &mut usize) {
    let all = bits.count_ones() as usize;
    let mut noted = 0;
    while let Some(free) = ends[*count + noted..].first_chunk_mut::<NOTED>() {
        for end in free {
            *end = at + bits.trailing_zeros() + 1;
            bits &= bits.wrapping_sub(1);
        }
        noted += NOTED;
        if noted >= all {
            break;
        }
    }
    *count += all;
}

/// The digits among fewer than 64 bytes.
#[inline(always)]
fn digits_of<S: BlockScan>(scan: S, bytes: &[u8]) -> u64 {
    let mut block = [0; BLOCK_BYTES];
    block[..bytes.len()].copy_from_slice(bytes);
    scan.digits(&block)
}

/// Number of runs of at least [`RUN_DIGITS`] digits in consecutive blocks, of which the first is empty.
///
/// Each word depends on the one before it only, so the loop is compiled to vector instructions.
#[inline(always)]
fn count_runs(blocks: &[u64]) -> usize {
    blocks.windows(2).map(|pair| u64::from(run_marks(pair[0], pair[1]).count_ones())).sum::<u64>() as usize
}

/// The sixth digit of each run that reaches it in `digits`, of which `before` is the block before.
///
/// A digit is the sixth of its run if it and the digits 2 and 4 before it each have a digit before them, and if no digit
/// is 6 before it.
#[inline(always)]
fn run_marks(before: u64, digits: u64) -> u64 {
    const { assert!(RUN_DIGITS == 6) };
    let pairs = digits & (digits << 1 | before >> 63);
    let pairs_before = before & before << 1;
    let sixes = pairs & (pairs << 2 | pairs_before >> 62) & (pairs << 4 | pairs_before >> 60);
    sixes & !(digits << 6 | before >> 58)
}

/// Number of runs of at least [`RUN_DIGITS`] digits in a part of some bytes.
#[inline(always)]
pub(super) fn runs_in<S: BlockScan>(scan: S, bytes: &[u8], part: Range<usize>) -> usize {
    let (blocks, rest) = bytes[part].as_chunks();
    let digits = blocks.iter().map(|block| scan.digits(block)).chain([digits_of(scan, rest)]);
    let (mut before, mut runs) = (0, 0);
    for digits in digits {
        runs += run_marks(before, digits).count_ones() as usize;
        before = digits;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::BaselineScan;
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
        let window = lines.find(BaselineScan, bytes, bytes.len(), stop);
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
            assert_eq!(lines.find(BaselineScan, &bytes, at + 1, None).ends.len(), 0);
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
                prop_assert_eq!(runs_in(BaselineScan, &bytes, part.clone()), runs_one_by_one(&bytes[part]));
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
