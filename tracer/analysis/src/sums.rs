//! Sums from which means, variances and shares follow. Integers, so that they are exact and the
//! order in which spans come does not matter.

use hdrhistogram::Histogram;
use tracer_common::hist::lower_bound;

use crate::recording::snapshot::StageCount;

/// Sums over the requests that had a stage. Times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Requests.
    pub count: u64,
    /// Sum of times.
    pub sum: u128,
    /// Sum of squares.
    pub square: u128,
    /// Sum of the products with the request's total.
    pub product: u128,
    /// Distribution: three significant digits.
    pub histogram: Histogram<u64>,
    /// Longest time.
    pub max: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0,
            square: 0,
            product: 0,
            histogram: histogram(),
            max: 0,
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "three digits are in the allowed range of 0 to 5"
)]
fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

impl Sums {
    /// Adds a request.
    pub fn add(&mut self, time: u64, total: u64) {
        self.count += 1;
        self.sum += u128::from(time);
        let (wide, total) = (u128::from(time), u128::from(total));
        self.square = self.square.saturating_add(wide * wide);
        self.product = self.product.saturating_add(wide * total);
        self.max = self.max.max(time);
        // An hour is more than any request takes; the histogram's memory stays bounded by it.
        let _ = self.histogram.record(time.min(3_600_000_000_000));
    }

    /// Takes over what the kernel has summed. The distribution is as coarse as its histogram.
    #[must_use]
    pub fn from_kernel(stage: &StageCount) -> Self {
        let mut sums = Self {
            count: stage.count,
            sum: u128::from(stage.sum),
            square: stage.square,
            product: stage.product,
            max: stage.max,
            ..Self::default()
        };
        for (slot, count) in &stage.hist {
            let low = lower_bound(usize::from(*slot));
            let high = lower_bound(usize::from(*slot) + 1).max(low + 1) - 1;
            let middle = low.midpoint(high).min(stage.max.max(low));
            // The histogram adds its slots up without a look at overflow.
            let _ = sums.histogram.record_n(middle, (*count).min(1 << 47));
        }
        sums
    }

    /// Mean over the requests that had the stage.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum as f64 / self.count as f64
        }
    }

    /// Variance over the requests that had the stage, in ns^2: (n Q - S^2) / n^2.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let n = u128::from(self.count);
        let spread = n
            .saturating_mul(self.square)
            .saturating_sub(self.sum.saturating_mul(self.sum));
        spread as f64 / (self.count as f64).powi(2)
    }

    /// Share of the total's variance that is this stage's: Cov(stage, total) / Var(total), where a
    /// request without the stage counts as zero. Over all stages these add up to one, since the
    /// stages of each request add up to its total.
    #[must_use]
    pub fn share_of_variance(&self, total: &Self) -> f64 {
        let n = i128::from(total.count);
        let signed = |value: u128| i128::try_from(value).unwrap_or(i128::MAX);
        let covariance = n
            .saturating_mul(signed(self.product))
            .saturating_sub(signed(self.sum).saturating_mul(signed(total.sum)));
        let variance = n
            .saturating_mul(signed(total.square))
            .saturating_sub(signed(total.sum).saturating_mul(signed(total.sum)));
        if variance == 0 {
            0.0
        } else {
            covariance as f64 / variance as f64
        }
    }

    /// Share of all requests' time that passed in this stage.
    #[must_use]
    pub fn share_of_mean(&self, total: &Self) -> f64 {
        if total.sum == 0 {
            0.0
        } else {
            self.sum as f64 / total.sum as f64
        }
    }
}
