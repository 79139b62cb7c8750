//! What the processor can do beyond the least that nabar runs on.
//!
//! One of the three files where `unsafe` is allowed; nothing here reads or writes memory.
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

/// Runs `work` compiled for AVX2, BMI and POPCNT where the processor has them (x86-64-v3, since 2013 to
/// 2015), else as it is. Worth it for loops whose body is inlined into `work`.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("lzcnt")
    {
        // SAFETY: the processor has just been asked for the features.
        return unsafe { vectorized_v3(work) };
    }
    work()
}

/// # Safety
///
/// The processor has AVX2, BMI1, BMI2, POPCNT and LZCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
unsafe fn vectorized_v3<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_and_prefetching_changes_nothing() {
        let numbers: Vec<u64> = (0..1000).collect();
        prefetch(&numbers, 5);
        prefetch(&numbers, usize::MAX);
        assert_eq!(vectorized(|| numbers.iter().map(|n| n.count_ones()).sum::<u32>()), 4932);
    }
}
