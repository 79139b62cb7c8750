//! Finds line ends and counts runs of digits, 64 bytes at a time.
//!
//! A search for each single line end costs a call and a branch that is mispredicted for every other row. Here 64 bytes
//! at a time become bits, and the line ends of a window are recorded before the first row is read, without a branch
//! that depends on the length of rows.
//!
//! Runs of at least six digits are counted in the same pass. A row with an identity has one such run; if a window has
//! no more runs than its rows have identities, no row holds another identity, and none needs to be searched. So are
//! delimiters: a row with other cells than usual may be two, or may have lost a cell.

use crate::cpu::{BLOCK_BYTES, BlockScan};
use std::ops::Range;

/// Bytes of a window, few enough for the L1 cache.
const WINDOW_BYTES: usize = 1 << 13;
/// Line ends of 64 bytes that are recorded without a check of their number.
const RECORDED: usize = 4;
/// Consecutive digits that every usual spelling of an identity has: `900102-2384`.
pub(super) const RUN_DIGITS: usize = 6;

/// The ends of the lines of a window.
#[derive(Default)]
pub(super) struct LineFinder {
    /// End of each line, from the beginning of the window. The elements after the last line end are garbage.
    ends: Vec<u32>,
    /// Delimiters from the beginning of the window to each of these ends.
    delimiters: Vec<u32>,
    /// The digits of each block of the window, as bits, after a word of zeros.
    digits: Vec<u64>,
}

/// The whole lines of a window.
pub(super) struct LineWindow<'a> {
    /// End of each line, from the beginning of the window.
    pub(super) ends: &'a [u32],
    /// Delimiters from the beginning of the window to each of these ends.
    pub(super) delimiters: &'a [u32],
    /// Runs of at least [`RUN_DIGITS`] digits in these lines.
    pub(super) runs: usize,
}

impl LineWindow<'static> {
    pub(super) const EMPTY: LineWindow<'static> = LineWindow { ends: &[], delimiters: &[], runs: 0 };
}

impl LineFinder {
    pub(super) fn new() -> LineFinder {
        LineFinder {
            ends: vec![0; WINDOW_BYTES + BLOCK_BYTES],
            delimiters: vec![0; WINDOW_BYTES + BLOCK_BYTES],
            digits: vec![0; 1 + WINDOW_BYTES.div_ceil(BLOCK_BYTES)],
        }
    }

    /// The whole lines at the beginning of the first `length` of `bytes`, within a window.
    ///
    /// Ends before the first line with a `stop` byte or with a CR without LF. Without a delimiter, none is counted.
    #[inline(always)]
    pub(super) fn find<S: BlockScan>(
        &mut self,
        scan: S,
        bytes: &[u8],
        length: usize,
        stop: Option<u8>,
        delimiter: Option<u8>,
    ) -> LineWindow<'_> {
        let within = &bytes[..length.min(WINDOW_BYTES)];
        let (blocks, rest) = within.as_chunks::<BLOCK_BYTES>();
        let (mut count, mut at, mut delimiters) = (0, 0, 0);
        let mut stopped = false;
        for (block, digits) in blocks.iter().zip(&mut self.digits[1..]) {
            *digits = scan.digits(block);
            let lines = scan.equal(b'\n', block);
            let mut stops = match stop {
                Some(stop) => scan.equal_either(b'\r', stop, block),
                None => scan.equal(b'\r', block),
            };
            if stops != 0 {
                // The CR of a CR LF is not a stop.
                let follows = u64::from(bytes.get(at + BLOCK_BYTES) == Some(&b'\n')) << (BLOCK_BYTES - 1);
                stops &= !(scan.equal(b'\r', block) & (lines >> 1 | follows));
            }
            // The bits before the first stop.
            let before = (stops & stops.wrapping_neg()).wrapping_sub(1);
            let found = delimiter.map_or(0, |delimiter| scan.equal(delimiter, block));
            let recorded = (&mut self.ends[..], &mut self.delimiters[..]);
            record(recorded, lines & before, found, (at as u32, delimiters), &mut count);
            delimiters += found.count_ones();
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
                delimiters += u32::from(delimiter == Some(byte));
                (self.ends[count], self.delimiters[count]) = (at as u32, delimiters);
                count += usize::from(byte == b'\n');
            }
        }
        let ends = &self.ends[..count];
        // Digits after the last line end belong to a line that is not whole.
        let last = ends.last().map_or(0, |&end| end as usize);
        let (whole, partial) = (last / BLOCK_BYTES, last % BLOCK_BYTES);
        let mut blocks = 1 + whole;
        if partial > 0 {
            self.digits[blocks] &= (1 << partial) - 1;
            blocks += 1;
        }
        let delimiters = &self.delimiters[..count];
        LineWindow { ends, delimiters, runs: count_runs(&self.digits[..blocks]) }
    }
}

/// Appends the line ends whose bits are set, of the 64 bytes at `at`, and the delimiters up to each, of which there are
/// `before` before these bytes, to the first `count` of both slices.
#[inline(always)]
fn record(
    (ends, delimiters): (&mut [u32], &mut [u32]),
    mut bits: u64,
    found: u64,
    (at, before): (u32, u32),
    count: &mut usize,
) {
    let all = bits.count_ones() as usize;
    let mut recorded = 0;
    while let Some(free) = ends[*count + recorded..].first_chunk_mut::<RECORDED>()
        && let Some(counted) = delimiters[*count + recorded..].first_chunk_mut::<RECORDED>()
    {
        for (end, delimiters) in free.iter_mut().zip(counted) {
            *end = at + bits.trailing_zeros() + 1;
            // The bits up to the line end; all of them after the last one.
            let up_to = bits ^ bits.wrapping_sub(1);
            *delimiters = before + (found & up_to).count_ones();
            bits &= bits.wrapping_sub(1);
        }
        recorded += RECORDED;
        if recorded >= all {
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

/// Number of runs of at least [`RUN_DIGITS`] digits in consecutive blocks, the first of which has none.
///
/// Each word depends on the one before it only, so the loop is compiled to vector instructions.
#[inline(always)]
fn count_runs(blocks: &[u64]) -> usize {
    blocks.windows(2).map(|pair| u64::from(run_marks(pair[0], pair[1]).count_ones())).sum::<u64>() as usize
}

/// The sixth digit of each run whose sixth digit is in `digits`; `before` is the block before.
///
/// A digit is the sixth of its run if it, and the bytes 2 and 4 before it, are digits that follow a digit, and if the
/// byte 6 before it is not a digit.
#[inline(always)]
fn run_marks(before: u64, digits: u64) -> u64 {
    const { assert!(RUN_DIGITS == 6) };
    let pairs = digits & (digits << 1 | before >> 63);
    let pairs_before = before & before << 1;
    let sixes = pairs & (pairs << 2 | pairs_before >> 62) & (pairs << 4 | pairs_before >> 60);
    sixes & !(digits << 6 | before >> 58)
}

/// Number of runs of at least [`RUN_DIGITS`] digits in a part of `bytes`.
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

    /// The naive model: byte by byte.
    fn one_by_one(bytes: &[u8], stop: Option<u8>) -> (Vec<u32>, Vec<u32>, usize) {
        let is_stop =
            |at: usize| Some(bytes[at]) == stop || bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
        let until = (0..bytes.len().min(WINDOW_BYTES))
            .find(|&at| is_stop(at))
            .unwrap_or(bytes.len().min(WINDOW_BYTES));
        let ends: Vec<u32> = (0..until).filter(|&at| bytes[at] == b'\n').map(|at| at as u32 + 1).collect();
        let lines = &bytes[..ends.last().map_or(0, |&end| end as usize)];
        let to = |end: &u32| lines[..*end as usize].iter().filter(|&&byte| byte == b';').count() as u32;
        let delimiters = ends.iter().map(to).collect();
        (ends, delimiters, runs_one_by_one(lines))
    }

    fn runs_one_by_one(bytes: &[u8]) -> usize {
        bytes.split(|byte| !byte.is_ascii_digit()).filter(|run| run.len() >= RUN_DIGITS).count()
    }

    fn find(lines: &mut LineFinder, bytes: &[u8], stop: Option<u8>) -> (Vec<u32>, Vec<u32>, usize) {
        let window = lines.find(BaselineScan, bytes, bytes.len(), stop, Some(b';'));
        (window.ends.to_vec(), window.delimiters.to_vec(), window.runs)
    }

    #[test]
    fn a_window_of_line_ends_only() {
        let bytes = [b'\n'; WINDOW_BYTES + 100];
        let mut lines = LineFinder::new();
        for length in [0, 1, 63, 64, 65, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 100] {
            assert_eq!(find(&mut lines, &bytes[..length], None), one_by_one(&bytes[..length], None));
        }
    }

    #[test]
    fn a_line_end_across_two_blocks() {
        let mut bytes = vec![b'x'; 200];
        let mut lines = LineFinder::new();
        for at in 60..70 {
            bytes[at] = b'\r';
            assert_eq!(find(&mut lines, &bytes, None), (vec![], vec![], 0), "alone at {at}");
            bytes[at + 1] = b'\n';
            assert_eq!(find(&mut lines, &bytes, None), (vec![at as u32 + 2], vec![0], 0));
            // The line feed is after the given length.
            assert_eq!(lines.find(BaselineScan, &bytes, at + 1, None, None).ends.len(), 0);
            bytes[at..at + 2].fill(b'x');
        }
    }

    proptest! {
        #[test]
        fn line_ends_match_the_naive_model(
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
            for position in stops {
                if let Some(byte) = bytes.get_mut(usize::from(position)) {
                    *byte = b'"';
                }
            }
            let mut lines = LineFinder::new();
            for stop in [None, Some(b'"')] {
                for from in [0, 1, 63, 64].into_iter().filter(|&from| from <= bytes.len()) {
                    prop_assert_eq!(find(&mut lines, &bytes[from..], stop), one_by_one(&bytes[from..], stop));
                }
            }
        }
    }
}
