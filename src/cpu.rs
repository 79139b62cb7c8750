//! What the processor can do beyond the least that nabar runs on.
//!
//! One of the four files where `unsafe` is allowed; nothing here reads or writes memory.
#![allow(unsafe_code)]

/// Asks for the cache line of an element that will be read soon. Never reads, so that any index is
/// allowed.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86-64, and a prefetch of any address has no effect but on caches.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().wrapping_add(index).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (slice, index);
}

/// Bytes that [`places_of`] looks at together.
pub(crate) const PLACES: usize = 64;

/// The places of a byte among 64 bytes, one bit for each, the first the lowest.
#[inline(always)]
pub(crate) fn places_of(byte: u8, among: &[u8; PLACES]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set1_epi8};
        let quarters: [__m128i; 4] = bytemuck::cast(*among);
        let places = |quarter: usize| {
            // SAFETY: SSE2 is part of x86-64, and nothing but registers is touched.
            let places =
                unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(quarters[quarter], _mm_set1_epi8(byte as i8))) };
            u64::from(places as u32) << (16 * quarter)
        };
        places(0) | places(1) | places(2) | places(3)
    }
    #[cfg(not(target_arch = "x86_64"))]
    among.iter().rev().fold(0, |places, &other| places << 1 | u64::from(other == byte))
}

/// The places of one or the other byte among 64 bytes, as [`places_of`] gives those of one.
#[inline(always)]
pub(crate) fn places_of_either(one: u8, other: u8, among: &[u8; PLACES]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
        let quarters: [__m128i; 4] = bytemuck::cast(*among);
        let places = |quarter: usize| {
            // SAFETY: SSE2 is part of x86-64, and nothing but registers is touched.
            let places = unsafe {
                let equal = |byte: u8| _mm_cmpeq_epi8(quarters[quarter], _mm_set1_epi8(byte as i8));
                _mm_movemask_epi8(_mm_or_si128(equal(one), equal(other)))
            };
            u64::from(places as u32) << (16 * quarter)
        };
        places(0) | places(1) | places(2) | places(3)
    }
    #[cfg(not(target_arch = "x86_64"))]
    among.iter().rev().fold(0, |places, &byte| places << 1 | u64::from(byte == one || byte == other))
}

/// The places of ASCII digits among 64 bytes, one bit for each, the first the lowest.
#[inline(always)]
pub(crate) fn digits_of(among: &[u8; PLACES]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_add_epi8, _mm_cmpgt_epi8, _mm_movemask_epi8, _mm_set1_epi8};
        let quarters: [__m128i; 4] = bytemuck::cast(*among);
        // Added to it, the digits are the greatest numbers that a signed byte has.
        const UP: i8 = i8::MAX - b'9' as i8;
        let places = |quarter: usize| {
            // SAFETY: SSE2 is part of x86-64, and nothing but registers is touched.
            let places = unsafe {
                let up = _mm_add_epi8(quarters[quarter], _mm_set1_epi8(UP));
                _mm_movemask_epi8(_mm_cmpgt_epi8(up, _mm_set1_epi8(i8::MAX - 10)))
            };
            u64::from(places as u32) << (16 * quarter)
        };
        places(0) | places(1) | places(2) | places(3)
    }
    #[cfg(not(target_arch = "x86_64"))]
    among.iter().rev().fold(0, |places, byte| places << 1 | u64::from(byte.is_ascii_digit()))
}

/// A loop that gains from newer instructions.
///
/// A trait and not a closure: only a method that is always inlined is sure to be compiled for the
/// processor that [`vectorized`] has found. (A closure that was not inlined cost the lookup a quarter.)
pub(crate) trait Work {
    /// What comes of it.
    type Output;

    /// Does it. Implementations are `#[inline(always)]`, and what they call in their loops too.
    fn run(self) -> Self::Output;
}

/// What the processor has, for those who ask often: asking takes as long as a short piece of work.
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

    #[test]
    fn places_are_those_of_the_byte() {
        let mut among = [b'x'; PLACES];
        for place in [0, 1, 15, 16, 31, 47, 48, 62, 63] {
            among[place] = b'\n';
        }
        for byte in [b'\n', b'x', 0, 0x80, 0xFF] {
            among[7] = byte;
            let places = places_of(byte, &among);
            (0..PLACES).for_each(|place| assert_eq!(places >> place & 1 == 1, among[place] == byte));
        }
        let either = places_of_either(b'\n', 0, &among);
        (0..PLACES)
            .for_each(|place| assert_eq!(either >> place & 1 == 1, [b'\n', 0].contains(&among[place])));
        for byte in 0..=255 {
            among[9] = byte;
            let digits = digits_of(&among);
            (0..PLACES).for_each(|place| assert_eq!(digits >> place & 1 == 1, among[place].is_ascii_digit()));
        }
    }

    #[test]
    fn work_is_done_and_prefetching_changes_nothing() {
        let numbers: Vec<u64> = (0..1000).collect();
        prefetch(&numbers, 5);
        prefetch(&numbers, usize::MAX);
        assert_eq!(vectorized(Ones(&numbers)), 4932);
    }
}
