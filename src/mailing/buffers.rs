//! Buffers for the parts of files that one chunk adds.

/// One buffer for each file, all in one allocation: pages may be megabytes large, and separate allocations would each
/// touch some of them.
pub(super) struct Buffers {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    /// End of the filled bytes of each part.
    ends: Vec<usize>,
}

/// Short rows are copied with this fixed length; the excess is overwritten by the next row. A copy of known length is a
/// few vector instructions; a copy of unknown length is a call, and a branch that is mispredicted for every other row.
const WIDE: usize = 96;

impl Buffers {
    /// Allocations are multiples of it, so that a slightly larger chunk needs no new one.
    const STEP_BYTES: usize = 1 << 18;

    /// Empty buffers without memory.
    pub(super) fn new(parts: usize) -> Buffers {
        Buffers { bytes: Vec::new(), starts: vec![0; parts], ends: vec![0; parts] }
    }

    /// Empties the buffers, and makes them large enough for parts of these lengths and the excess copied after each.
    pub(super) fn lay_out(&mut self, lengths: &[u64]) {
        let mut at = 0;
        for ((start, end), length) in self.starts.iter_mut().zip(&mut self.ends).zip(lengths) {
            (*start, *end) = (at, at);
            at += *length as usize + WIDE;
        }
        if self.bytes.len() < at {
            self.bytes = Vec::new(); // freed before the next one is allocated
            self.bytes = vec![0; at.next_multiple_of(Self::STEP_BYTES)];
        }
    }

    /// The bytes of a part.
    pub(super) fn filled(&self, part: usize) -> &[u8] {
        &self.bytes[self.starts[part]..self.ends[part]]
    }

    /// The parts, for filling.
    #[inline(always)]
    pub(super) fn filling(&mut self) -> PartsMut<'_> {
        PartsMut { bytes: &mut self.bytes, ends: &mut self.ends }
    }
}

/// Parts that are being filled, none beyond its length.
pub(super) struct PartsMut<'a> {
    bytes: &'a mut [u8],
    ends: &'a mut [usize],
}

impl PartsMut<'_> {
    /// Appends the first `length` bytes of `source` to a part.
    #[inline(always)]
    pub(super) fn push(&mut self, part: usize, source: &[u8], length: usize) {
        let end = &mut self.ends[part];
        let target = &mut self.bytes[*end..];
        match (source.first_chunk::<WIDE>(), target.first_chunk_mut::<WIDE>()) {
            (Some(source), Some(target)) if length <= WIDE => *target = *source,
            _ => target[..length].copy_from_slice(&source[..length]),
        }
        *end += length;
    }

    /// Appends the first `length` bytes of an array to a part.
    #[inline(always)]
    pub(super) fn push_array<const N: usize>(&mut self, part: usize, source: &[u8; N], length: usize) {
        const { assert!(N <= WIDE) };
        debug_assert!(length <= N);
        let end = &mut self.ends[part];
        let target = &mut self.bytes[*end..];
        match target.first_chunk_mut::<N>() {
            Some(target) => *target = *source,
            None => target[..length].copy_from_slice(&source[..length]),
        }
        *end += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_the_pushed_bytes() {
        let source: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let pushed =
            [(0, 0, 5), (1, 3, 128), (0, 9, 129), (2, 990, 10), (1, 0, 0), (1, 500, 400), (2, 7, 100)];
        let mut buffers = Buffers::new(4);
        for _ in 0..2 {
            let mut expected = vec![Vec::new(); 4];
            for &(part, start, length) in &pushed {
                expected[part].extend_from_slice(&source[start..start + length]);
            }
            expected[0].extend_from_slice(b"abc");
            // Exactly these lengths: the excess after a row must not reach the next part.
            buffers.lay_out(&expected.iter().map(|part| part.len() as u64).collect::<Vec<_>>());
            let mut filling = buffers.filling();
            for &(part, start, length) in pushed.iter().rev().filter(|pushed| pushed.0 == 2).rev() {
                filling.push(part, &source[start..], length);
            }
            for &(part, start, length) in pushed.iter().filter(|pushed| pushed.0 != 2) {
                filling.push(part, &source[start..], length);
            }
            filling.push_array(0, b"abcdef", 3);
            for (part, expected) in expected.iter().enumerate() {
                assert_eq!(buffers.filled(part), expected);
            }
        }
    }
}
