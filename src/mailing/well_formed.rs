//! Lines whose quotation marks all enclose whole cells, read 64 bytes at a time.

use crate::cpu::{BLOCK_BYTES, BaselineScan, BlockScan};
use std::ops::Range;

/// The cell of a column in a line, of which `text` is all but the line end, whose quotation marks all enclose whole cells,
/// and the number of its cells. `None` if one does not (a doubled one, a stray one, a cell with a line end), or if the line has too few cells.
///
/// 64 bytes at a time: every odd quotation mark must begin a cell, and every even one must end one. So most quoted rows
/// are read without a search for each mark.
pub(super) fn cell_of_well_formed_line(
    bytes: &[u8],
    text: Range<usize>,
    delimiter: u8,
    column: usize,
) -> Option<(Range<usize>, usize)> {
    let (mut start, mut end) = (if column == 0 { Some(text.start) } else { None }, text.end);
    // Delimiters outside of quotes until now; and of the block before: all ones if it ends within quotes, 1 if it ends
    // with a delimiter (or the line begins here), 1 if it ends with a closing quotation mark.
    let (mut delimiters, mut within, mut after_delimiter, mut after_closing) = (0, 0, 1, 0);
    let mut at = text.start;
    while at < text.end {
        let left = text.end - at;
        let mut last = [0; BLOCK_BYTES];
        let block = match bytes[at..text.end].first_chunk() {
            Some(block) => block,
            None => {
                last[..left].copy_from_slice(&bytes[at..text.end]);
                &last
            }
        };
        let (marks, delimiter_bits) = (BaselineScan.equal(b'"', block), BaselineScan.equal(delimiter, block));
        let end_bit = 1_u64.checked_shl(left as u32).unwrap_or(0);
        let quoted = within ^ parity_to_each_bit(marks);
        let (opening, closing) = (marks & quoted, marks & !quoted);
        let after_closings = closing << 1 | after_closing;
        if opening & !(delimiter_bits << 1 | after_delimiter) != 0
            || after_closings & !(delimiter_bits | end_bit) != 0
        {
            return None;
        }
        let mut outside = delimiter_bits & !quoted;
        while outside != 0 && delimiters <= column {
            let found = at + outside.trailing_zeros() as usize;
            delimiters += 1;
            if delimiters == column {
                start = Some(found + 1);
            } else if delimiters == column + 1 {
                end = found;
            }
            outside &= outside - 1;
        }
        delimiters += outside.count_ones() as usize;
        within = 0_u64.wrapping_sub(quoted >> 63);
        (after_delimiter, after_closing) = (delimiter_bits >> 63, closing >> 63);
        at += BLOCK_BYTES;
    }
    let start = start.filter(|_| within == 0)?;
    let cell = match bytes[start..end].first() {
        Some(b'"') => start + 1..end - 1,
        _ => start..end,
    };
    Some((cell, delimiters + 1))
}

/// Whether the number of bits up to each one, itself included, is odd.
fn parity_to_each_bit(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}
