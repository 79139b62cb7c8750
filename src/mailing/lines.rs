//! Where lines end, many at a time.
//!
//! Looking for one line end after another costs a call and a branch that is mispredicted for every other row. Here 64
//! bytes at a time become bits, and the places of all line ends of a window are noted before the first row is read,
//! without a branch that depends on how long rows are.

use crate::cpu::{PLACES, places_of};

/// Bytes that are looked through together, few enough to stay in the nearest cache.
const WINDOW_BYTES: usize = 1 << 13;
/// Line ends that are noted for 64 bytes without asking how many there are.
const NOTED: usize = 4;

/// The ends of the lines of a window.
#[derive(Default)]
pub(super) struct Lines {
    /// Past each line's last byte, from the beginning of the window. Behind them lies what was noted for nothing.
    ends: Vec<u32>,
}

impl Lines {
    pub(super) fn new() -> Lines {
        Lines { ends: vec![0; WINDOW_BYTES + PLACES] }
    }

    /// The ends of the whole lines that `bytes` begin with, as far as a window reaches and no `stop` byte comes.
    ///
    /// A line that has one in it, and what follows it, is not among them.
    #[inline(always)]
    pub(super) fn find(&mut self, bytes: &[u8], stop: Option<u8>) -> &[u32] {
        let bytes = &bytes[..bytes.len().min(WINDOW_BYTES)];
        let (blocks, rest) = bytes.as_chunks::<PLACES>();
        let (mut count, mut at) = (0, 0);
        for block in blocks {
            let ends = places_of(b'\n', block);
            let stops = stop.map_or(0, |stop| places_of(stop, block));
            if stops != 0 {
                // Those before the first of them.
                self.note(ends & (stops & stops.wrapping_neg()).wrapping_sub(1), at, &mut count);
                return &self.ends[..count];
            }
            self.note(ends, at, &mut count);
            at += PLACES as u32;
        }
        for (place, &byte) in (at + 1..).zip(rest) {
            if stop == Some(byte) {
                break;
            }
            self.ends[count] = place;
            count += usize::from(byte == b'\n');
        }
        &self.ends[..count]
    }

    /// Notes the ends whose bits are set, of 64 bytes that begin at `at`.
    #[inline(always)]
    fn note(&mut self, mut ends: u64, at: u32, count: &mut usize) {
        let all = ends.count_ones() as usize;
        let mut noted = 0;
        while let Some(room) = self.ends[*count + noted..].first_chunk_mut::<NOTED>() {
            for end in room {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One byte after another.
    fn one_by_one(bytes: &[u8], stop: Option<u8>) -> Vec<u32> {
        let window = bytes.iter().take(WINDOW_BYTES).take_while(|&&byte| Some(byte) != stop);
        (1..).zip(window).filter(|&(_, &byte)| byte == b'\n').map(|(end, _)| end).collect()
    }

    #[test]
    fn a_window_of_nothing_but_line_ends() {
        let bytes = [b'\n'; WINDOW_BYTES + 100];
        let mut lines = Lines::new();
        for length in [0, 1, 63, 64, 65, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 100] {
            assert_eq!(lines.find(&bytes[..length], None), one_by_one(&bytes[..length], None));
        }
    }

    proptest! {
        #[test]
        fn lines_end_where_they_do_one_by_one(
            lengths in proptest::collection::vec(0..200usize, 0..200), stops in proptest::collection::vec(any::<u16>(), 0..3)
        ) {
            let mut bytes: Vec<u8> = lengths.iter().flat_map(|&length| [&vec![b'x'; length][..], b"\n"].concat()).collect();
            for place in stops {
                if let Some(byte) = bytes.get_mut(usize::from(place)) {
                    *byte = b'"';
                }
            }
            let mut lines = Lines::new();
            for stop in [None, Some(b'"')] {
                for from in [0, 1, 63, 64].into_iter().filter(|&from| from <= bytes.len()) {
                    prop_assert_eq!(lines.find(&bytes[from..], stop), one_by_one(&bytes[from..], stop));
                }
            }
        }
    }
}
