//! Prefetching, byte masks, and code compiled for newer processors.
//!
//! One of the four files in which `unsafe` is allowed. The unsafe code does not read or write memory.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Prefetches the cache line of an element. It does not read the element, so any index is allowed.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        // SAFETY: SSE is part of x86-64, and a prefetch of any address has no effect but on caches.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().wrapping_add(index).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (slice, index);
}

/// Bytes that a [`BlockScan`] compares at once.
pub(crate) const BLOCK_BYTES: usize = 64;

/// Compares the 64 bytes of a block at once. A result has one bit per byte, the first byte's the lowest.
pub(crate) trait BlockScan: Copy {
    /// Bytes equal to `byte`.
    fn equal(self, byte: u8, block: &[u8; BLOCK_BYTES]) -> u64;
    /// Bytes equal to `one` or `other`.
    fn equal_either(self, one: u8, other: u8, block: &[u8; BLOCK_BYTES]) -> u64;
    /// ASCII digits.
    fn digits(self, block: &[u8; BLOCK_BYTES]) -> u64;
}

/// Scans blocks with the instructions that every processor has that nabar runs on.
#[derive(Clone, Copy)]
pub(crate) struct BaselineScan;

#[cfg(target_arch = "x86_64")]
impl BaselineScan {
    #[inline(always)]
    fn mask(block: &[u8; BLOCK_BYTES], compare: impl Fn(__m128i) -> __m128i) -> u64 {
        let quarters: [__m128i; 4] = bytemuck::cast(*block);
        quarters.into_iter().rev().fold(0, |mask, quarter| {
            // SAFETY: SSE2 is part of x86-64, and only registers are touched.
            mask << 16 | u64::from(unsafe { _mm_movemask_epi8(compare(quarter)) } as u32)
        })
    }
}

#[cfg(target_arch = "x86_64")]
impl BlockScan for BaselineScan {
    #[inline(always)]
    fn equal(self, byte: u8, block: &[u8; BLOCK_BYTES]) -> u64 {
        // SAFETY: as in `mask`.
        Self::mask(block, |bytes| unsafe { _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8)) })
    }

    #[inline(always)]
    fn equal_either(self, one: u8, other: u8, block: &[u8; BLOCK_BYTES]) -> u64 {
        Self::mask(block, |bytes| {
            // SAFETY: as in `mask`.
            unsafe {
                let equal = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
                _mm_or_si128(equal(one), equal(other))
            }
        })
    }

    #[inline(always)]
    fn digits(self, block: &[u8; BLOCK_BYTES]) -> u64 {
        Self::mask(block, |bytes| {
            // SAFETY: as in `mask`.
            unsafe {
                let shifted = _mm_add_epi8(bytes, _mm_set1_epi8(DIGITS_TO_TOP));
                _mm_cmpgt_epi8(shifted, _mm_set1_epi8(i8::MAX - 10))
            }
        })
    }
}

/// Added to the digits, it makes them the ten greatest numbers of a signed byte.
#[cfg(target_arch = "x86_64")]
const DIGITS_TO_TOP: i8 = i8::MAX - b'9' as i8;

#[cfg(not(target_arch = "x86_64"))]
impl BlockScan for BaselineScan {
    #[inline(always)]
    fn equal(self, byte: u8, block: &[u8; BLOCK_BYTES]) -> u64 {
        block.iter().rev().fold(0, |mask, &other| mask << 1 | u64::from(other == byte))
    }

    #[inline(always)]
    fn equal_either(self, one: u8, other: u8, block: &[u8; BLOCK_BYTES]) -> u64 {
        block.iter().rev().fold(0, |mask, &byte| mask << 1 | u64::from(byte == one || byte == other))
    }

    #[inline(always)]
    fn digits(self, block: &[u8; BLOCK_BYTES]) -> u64 {
        block.iter().rev().fold(0, |mask, byte| mask << 1 | u64::from(byte.is_ascii_digit()))
    }
}

/// Scans blocks with AVX2: half as many instructions as [`BaselineScan`]. Only [`scanned`] makes one, after it has
/// detected AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2Scan(());

#[cfg(target_arch = "x86_64")]
impl Avx2Scan {
    #[inline(always)]
    fn mask(block: &[u8; BLOCK_BYTES], compare: impl Fn(__m256i) -> __m256i) -> u64 {
        let [low, high]: [__m256i; 2] = bytemuck::cast(*block);
        // SAFETY: an `Avx2Scan` proves AVX2, and only registers are touched.
        let bits = |bytes: __m256i| u64::from(unsafe { _mm256_movemask_epi8(compare(bytes)) } as u32);
        bits(high) << 32 | bits(low)
    }
}

#[cfg(target_arch = "x86_64")]
impl BlockScan for Avx2Scan {
    #[inline(always)]
    fn equal(self, byte: u8, block: &[u8; BLOCK_BYTES]) -> u64 {
        // SAFETY: as in `mask`.
        Self::mask(block, |bytes| unsafe { _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8)) })
    }

    #[inline(always)]
    fn equal_either(self, one: u8, other: u8, block: &[u8; BLOCK_BYTES]) -> u64 {
        Self::mask(block, |bytes| {
            // SAFETY: as in `mask`.
            unsafe {
                let one = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(one as i8));
                _mm256_or_si256(one, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(other as i8)))
            }
        })
    }

    #[inline(always)]
    fn digits(self, block: &[u8; BLOCK_BYTES]) -> u64 {
        Self::mask(block, |bytes| {
            // SAFETY: as in `mask`.
            unsafe {
                let shifted = _mm256_add_epi8(bytes, _mm256_set1_epi8(DIGITS_TO_TOP));
                _mm256_cmpgt_epi8(shifted, _mm256_set1_epi8(i8::MAX - 10))
            }
        })
    }
}

/// A loop over blocks of bytes, compiled once for each [`BlockScan`].
pub(crate) trait ScanWork {
    /// The result.
    type Output;

    /// Does the work. `#[inline(always)]`, as [`Work::run`] is.
    fn run<S: BlockScan>(self, scan: S) -> Self::Output;
}

/// Runs `work` with the best scan of the processor, compiled as [`vectorized`] compiles a [`Work`].
#[inline(always)]
pub(crate) fn scanned<W: ScanWork>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        struct Scanned<W>(W, Avx2Scan);

        impl<W: ScanWork> Work for Scanned<W> {
            type Output = W::Output;

            #[inline(always)]
            fn run(self) -> W::Output {
                self.0.run(self.1)
            }
        }

        let processor = Processor::detect();
        if processor.newer {
            return processor.run(Scanned(work, Avx2Scan(())));
        }
    }
    work.run(BaselineScan)
}

/// Work that is faster with newer instructions.
///
/// A trait instead of a closure, because only an `#[inline(always)]` method is guaranteed to be compiled for the
/// detected processor. (A closure that was not inlined made lookups 25 % slower.)
pub(crate) trait Work {
    /// The result.
    type Output;

    /// Does the work. Implementations, and the functions they call in loops, must be `#[inline(always)]`.
    fn run(self) -> Self::Output;
}

/// The detected processor. Detection takes as long as a short piece of work, so frequent callers keep this value.
#[derive(Clone, Copy)]
pub(crate) struct Processor {
    /// Whether it has AVX2, BMI, LZCNT and POPCNT (x86-64-v3, since 2013 to 2015).
    newer: bool,
}

impl Processor {
    #[inline(always)]
    pub(crate) fn detect() -> Processor {
        #[cfg(target_arch = "x86_64")]
        let newer = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        #[cfg(not(target_arch = "x86_64"))]
        let newer = false;
        Processor { newer }
    }

    /// Runs `work` compiled for the newer instructions where the processor has them, else for the least that the
    /// program runs on.
    #[inline(always)]
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        if self.newer {
            // SAFETY: only `detect` makes a `Processor`, and it has asked the processor for the features.
            return unsafe { vectorized_v3(work) };
        }
        work.run()
    }
}

/// Runs `work` as [`Processor::run`] does.
#[inline(always)]
pub(crate) fn vectorized<W: Work>(work: W) -> W::Output {
    Processor::detect().run(work)
}

/// # Safety
///
/// The processor has AVX2, BMI1, BMI2, LZCNT and POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn vectorized_v3<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones<'a>(&'a [u64]);

    impl Work for Ones<'_> {
        type Output = u32;

        #[inline(always)]
        fn run(self) -> u32 {
            self.0.iter().map(|number| number.count_ones()).sum()
        }
    }

    struct EveryByte;

    impl ScanWork for EveryByte {
        type Output = ();

        #[inline(always)]
        fn run<S: BlockScan>(self, scan: S) {
            let bits = |of: &dyn Fn(u8) -> bool, block: &[u8; BLOCK_BYTES]| {
                block.iter().rev().fold(0, |mask: u64, &byte| mask << 1 | u64::from(of(byte)))
            };
            for first in 0..=255_u8 {
                let block: [u8; BLOCK_BYTES] =
                    std::array::from_fn(|position| first.wrapping_add((position * position) as u8));
                for byte in [first, b'\n', 0, 0x80, 0xFF] {
                    assert_eq!(scan.equal(byte, &block), bits(&|other| other == byte, &block));
                    let either = bits(&|other| other == byte || other == b'"', &block);
                    assert_eq!(scan.equal_either(byte, b'"', &block), either);
                }
                assert_eq!(scan.digits(&block), bits(&|byte| byte.is_ascii_digit(), &block));
            }
        }
    }

    #[test]
    fn scans_agree_with_byte_by_byte_comparison() {
        EveryByte.run(BaselineScan);
        scanned(EveryByte);
    }

    #[test]
    fn work_runs_and_prefetching_has_no_effect() {
        let numbers: Vec<u64> = (0..1000).collect();
        prefetch(&numbers, 5);
        prefetch(&numbers, usize::MAX);
        assert_eq!(vectorized(Ones(&numbers)), 4932);
    }
}
