//! The histogram that the kernel side fills: log-linear, 8 slots an octave, so that a slot is at
//! most 12.5% wide. (The scheme of `HdrHistogram` and of `libbpf-tools`' log-linear histograms.)

/// Slots of a histogram. The last one takes everything from 2^33 ns (8.6 s) up.
pub const SLOTS: usize = 256;

/// The slot of `value`.
#[inline(always)]
#[must_use]
pub const fn slot(value: u64) -> usize {
    if value < 8 {
        return value as usize;
    }
    let octave = 63 - value.leading_zeros() as usize;
    let slot = ((octave - 2) << 3) + ((value >> (octave - 3)) & 7) as usize;
    if slot < SLOTS { slot } else { SLOTS - 1 }
}

/// The smallest value of `slot`. A slot beyond [`SLOTS`] counts as that: the number may come from a
/// damaged recording, and must not shift out of 64 bits.
#[must_use]
pub const fn lower_bound(slot: usize) -> u64 {
    let slot = if slot > SLOTS { SLOTS } else { slot };
    if slot < 8 {
        return slot as u64;
    }
    let octave = (slot >> 3) + 2;
    (8 + (slot as u64 & 7)) << (octave - 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lower_bound_falls_in_its_own_slot() {
        for s in 0..SLOTS {
            assert_eq!(slot(lower_bound(s)), s);
        }
    }

    proptest! {
        #[test]
        fn slot_is_monotonic_and_an_eighth_wide(value in 0u64..(1 << 33)) {
            let s = slot(value);
            prop_assert!(lower_bound(s) <= value);
            prop_assert!(slot(value + 1) >= s);
            if value >= 8 && s + 1 < SLOTS {
                prop_assert!(lower_bound(s + 1) > value);
                prop_assert!(lower_bound(s + 1) - lower_bound(s) <= lower_bound(s) / 8);
            }
        }
    }
}
