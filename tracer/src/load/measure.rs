//! Time stamps and latency statistics of a load.

use hdrhistogram::Histogram;

use super::{LoadError, Result};
use tracer_analysis::recording::load::Summary;

/// The longest latency that percentiles tell apart: an hour, in nanoseconds.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Digits that the percentiles are exact to.
const DIGITS: u8 = 3;

/// `CLOCK_MONOTONIC` in nanoseconds, the clock of `bpf_ktime_get_ns`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    // The call only fails for an unknown clock.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
    })
}

/// Collects latencies. Everything is allocated by `new`, nothing by `record`.
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    count: u64,
    sum: u128,
    squares: u128,
    max: u64,
}

impl Latencies {
    pub(crate) fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS)
            .map_err(|error| LoadError::Failed(format!("cannot make a histogram: {error}")))?;
        Ok(Self {
            histogram,
            count: 0,
            sum: 0,
            squares: 0,
            max: 0,
        })
    }

    pub(crate) fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.count += 1;
        self.sum += u128::from(ns);
        self.squares += u128::from(ns) * u128::from(ns);
        self.max = self.max.max(ns);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Cannot fail: both have the same bounds.
        let _ = self.histogram.add(&other.histogram);
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.max = self.max.max(other.max);
    }

    /// None if nothing was recorded.
    #[allow(clippy::cast_precision_loss)] // statistics for people: 15 digits will do
    pub(crate) fn summary(&self) -> Option<Summary> {
        if self.count == 0 {
            return None;
        }
        let n = u128::from(self.count);
        // n * squares - sum^2 in whole numbers: no cancellation, unlike the same in floats.
        let scaled = n
            .checked_mul(self.squares)
            .zip(self.sum.checked_mul(self.sum))
            .map(|(a, b)| a.saturating_sub(b) as f64);
        let mean = self.sum as f64 / n as f64;
        let variance = match scaled {
            Some(scaled) => scaled / (n as f64) / (n as f64),
            None => (self.squares as f64 / n as f64 - mean * mean).max(0.0),
        };
        let at = |quantile| self.histogram.value_at_quantile(quantile).min(self.max);
        Some(Summary {
            count: self.count,
            mean_ns: mean,
            variance_ns2: variance,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_exact_where_it_says_so() {
        let mut all = Latencies::new().unwrap();
        let mut half = Latencies::new().unwrap();
        assert!(all.summary().is_none());
        for ns in 1..=500 {
            all.record(ns);
        }
        for ns in 501..=1000 {
            half.record(ns);
        }
        all.merge(&half);
        let summary = all.summary().unwrap();
        assert_eq!(summary.count, 1000);
        assert!((summary.mean_ns - 500.5).abs() < 1e-9);
        // (n^2 - 1) / 12 for 1..=n.
        assert!((summary.variance_ns2 - 999_999.0 / 12.0).abs() < 1e-6);
        assert_eq!((summary.p50, summary.p99, summary.max), (500, 990, 1000));
    }

    #[test]
    fn a_latency_beyond_the_histogram_keeps_its_maximum() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(u64::MAX / 2);
        assert_eq!(latencies.summary().unwrap().max, u64::MAX / 2);
    }
}
