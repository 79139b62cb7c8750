//! Bytes on their way to files, of one chunk.

/// The parts of files that a chunk adds, one behind the other in one piece of memory: the system gives and clears memory
/// in pages that may be megabytes large, and buffers that are apart would have some of them each.
pub(super) struct Buffers {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    /// Past the last byte that each part has.
    ends: Vec<usize>,
}

/// Short rows are copied in this many bytes whatever their length: the rest is overwritten by the next
/// one. A copy of known length is a few vector instructions; of unknown length, a call and a branch
/// that is mispredicted for every other row.
const WIDE: usize = 96;

impl Buffers {
    /// The pieces of memory are multiples of it, so that chunks that are a little larger do not need a new one.
    const STEP_BYTES: usize = 1 << 18;

    /// So many parts, without room.
    pub(super) fn new(parts: usize) -> Buffers {
        Buffers { bytes: Vec::new(), starts: vec![0; parts], ends: vec![0; parts] }
    }

    /// Makes room for parts of so many bytes and what is copied beyond them, and empties them.
    pub(super) fn lay_out(&mut self, lengths: &[u64]) {
        let mut at = 0;
        for ((start, end), length) in self.starts.iter_mut().zip(&mut self.ends).zip(lengths) {
            (*start, *end) = (at, at);
            at += *length as usize + WIDE;
        }
        if self.bytes.len() < at {
            self.bytes = Vec::new(); // not two of them at a time
            self.bytes = vec![0; at.next_multiple_of(Self::STEP_BYTES)];
        }
    }

    /// What a part has.
    pub(super) fn filled(&self, part: usize) -> &[u8] {
        &self.bytes[self.starts[part]..self.ends[part]]
    }

    /// The parts, to be filled.
    #[inline(always)]
    pub(super) fn filling(&mut self) -> Filling<'_> {
        Filling { bytes: &mut self.bytes, ends: &mut self.ends }
    }
}

/// Parts that are being filled, none with more than it has room for.
pub(super) struct Filling<'a> {
    bytes: &'a mut [u8],
    ends: &'a mut [usize],
}

impl Filling<'_> {
    /// Appends the first `length` bytes of `source`, which may go on beyond them, to a part.
    #[inline(always)]
    pub(super) fn push(&mut self, part: usize, source: &[u8], length: usize) {
        let end = &mut self.ends[part];
        let to = &mut self.bytes[*end..];
        match (source.first_chunk::<WIDE>(), to.first_chunk_mut::<WIDE>()) {
            (Some(source), Some(to)) if length <= WIDE => *to = *source,
            _ => to[..length].copy_from_slice(&source[..length]),
        }
        *end += length;
    }

    /// Appends the first `length` bytes of an array to a part.
    #[inline(always)]
    pub(super) fn push_array<const N: usize>(&mut self, part: usize, source: &[u8; N], length: usize) {
        const { assert!(N <= WIDE) };
        debug_assert!(length <= N);
        let end = &mut self.ends[part];
        let to = &mut self.bytes[*end..];
        match to.first_chunk_mut::<N>() {
            Some(to) => *to = *source,
            None => to[..length].copy_from_slice(&source[..length]),
        }
        *end += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_what_was_pushed() {
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
            // No more room than that: what is copied beyond a row must not reach the next part.
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
