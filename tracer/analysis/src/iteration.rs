//! Sums of one iteration. There is one for each stage and iteration, so that a histogram with all its slots
//! would be megabytes a stage: only those slots are kept that something is in.

use std::collections::BTreeMap;

/// Bits of a time that tell its slot: as exact as [`crate::sums::Sums`] with three digits.
const KEPT_BITS: u32 = 11;

/// Sums over the requests of an iteration that had a stage. Times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct IterationSums {
    /// Requests.
    pub count: u64,
    /// Sum of times.
    pub sum: u128,
    /// Sum of squares.
    square: u128,
    /// Shortest time; none of no requests.
    pub min: Option<u64>,
    /// Longest time.
    pub max: u64,
    /// Requests by the longest time of their slot. At most 54 times 1024 slots, and no more than requests.
    slots: BTreeMap<u64, u64>,
}

impl IterationSums {
    /// Adds a request.
    pub fn add(&mut self, time: u64) {
        self.count += 1;
        self.sum += u128::from(time);
        let square = u128::from(time) * u128::from(time);
        self.square = self.square.saturating_add(square);
        self.min = Some(self.min.map_or(time, |min| min.min(time)));
        self.max = self.max.max(time);
        *self.slots.entry(longest_of_slot(time)).or_default() += 1;
    }

    /// Variance over the requests that had the stage, in ns^2.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let squares = u128::from(self.count).saturating_mul(self.square);
        let spread = squares.saturating_sub(self.sum.saturating_mul(self.sum));
        spread as f64 / (self.count as f64).powi(2)
    }

    /// The time that this share of the requests does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (share * self.count as f64).ceil() as u64;
        let mut seen = 0;
        for (longest, count) in &self.slots {
            seen += count;
            if seen >= wanted {
                return (*longest).min(self.max);
            }
        }
        self.max
    }
}

fn longest_of_slot(time: u64) -> u64 {
    let width = (u64::BITS - time.leading_zeros()).saturating_sub(KEPT_BITS);
    time | ((1 << width) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sums::Sums;

    proptest! {
        #[test]
        fn figures_are_those_of_the_whole(times in prop::collection::vec(0u64..3_600_000_000_000, 1..200)) {
            let (mut own, mut whole) = (IterationSums::default(), Sums::default());
            for time in &times {
                own.add(*time);
                whole.add(*time, *time);
            }
            prop_assert_eq!(own.min, times.iter().min().copied());
            prop_assert_eq!(own.max, whole.max);
            prop_assert_eq!(own.variance(), whole.variance());
            for share in [0.5, 0.99] {
                let expected = whole.histogram.value_at_quantile(share).min(whole.max);
                prop_assert_eq!(own.quantile(share), expected);
            }
        }
    }
}
