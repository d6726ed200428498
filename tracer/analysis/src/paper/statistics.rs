//! What a few iterations say of a figure: 95% confidence intervals.

use statrs::distribution::{ChiSquared, ContinuousCDF as _, StudentsT};

/// How often an interval misses the true value.
const MISSES: f64 = 0.05;

/// A figure over the iterations, in its own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Iterations.
    pub count: usize,
    /// The figure.
    pub value: f64,
    /// Its 95% confidence interval, where it has one: a single iteration says nothing of it.
    pub interval: Option<(f64, f64)>,
    /// The smallest and the largest of the iterations, where the figure is their mean.
    pub extremes: Option<(f64, f64)>,
}

impl Estimate {
    /// Whether it is below another for all that the intervals say; `None` if either has none.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> Option<bool> {
        Some(self.interval?.1 < other.interval?.0)
    }
}

/// The mean, with Student's t interval. It takes iterations to be independent, and their means to be near a
/// normal distribution. `None` of nothing.
#[must_use]
pub fn mean(samples: &[f64]) -> Option<Estimate> {
    let (mean, variance) = moments(samples)?;
    let n = samples.len() as f64;
    let interval = StudentsT::new(0.0, 1.0, n - 1.0).ok().map(|t| {
        let half = t.inverse_cdf(1.0 - MISSES / 2.0) * (variance / n).sqrt();
        (mean - half, mean + half)
    });
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Estimate {
        count: samples.len(),
        value: mean,
        interval: interval.filter(|(low, high)| low.is_finite() && high.is_finite()),
        extremes: Some((least, most)),
    })
}

/// The variance (over n - 1), with the chi-squared interval, which takes iterations to be normally
/// distributed. `None` of fewer than two.
#[must_use]
pub fn variance(samples: &[f64]) -> Option<Estimate> {
    let (_, variance) = moments(samples).filter(|_| samples.len() > 1)?;
    let freedom = samples.len() as f64 - 1.0;
    let interval = ChiSquared::new(freedom).ok().map(|chi| {
        let bound = |tail| freedom * variance / chi.inverse_cdf(tail);
        (bound(1.0 - MISSES / 2.0), bound(MISSES / 2.0))
    });
    Some(Estimate {
        count: samples.len(),
        value: variance,
        interval: interval.filter(|(low, high)| low.is_finite() && high.is_finite()),
        extremes: None,
    })
}

/// The largest less the smallest. It has no interval: it grows with the number of iterations. `None` of
/// fewer than two.
#[must_use]
pub fn range(samples: &[f64]) -> Option<Estimate> {
    let (least, most) = mean(samples)
        .filter(|_| samples.len() > 1)
        .and_then(|mean| mean.extremes)?;
    Some(Estimate {
        count: samples.len(),
        value: most - least,
        interval: None,
        extremes: None,
    })
}

/// Mean and variance (over n - 1; zero of one); `None` of nothing, and of what is not finite: only a damaged
/// report has that.
fn moments(samples: &[f64]) -> Option<(f64, f64)> {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    let variance = squares / (n - 1.0).max(1.0);
    (mean.is_finite() && variance.is_finite()).then_some((mean, variance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{a} is not {b}");
    }

    #[test]
    fn interval_of_a_mean_is_students() {
        let estimate = mean(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        close(estimate.value, 3.0);
        // t(0.975, 4) = 2.776445, times the standard error, sqrt(2.5 / 5).
        let (low, high) = estimate.interval.unwrap();
        close(low, 3.0 - 2.776_445 * 0.5_f64.sqrt());
        close(high, 3.0 + 2.776_445 * 0.5_f64.sqrt());
        assert_eq!(estimate.extremes, Some((1.0, 5.0)));
    }

    #[test]
    fn interval_of_a_variance_is_chi_squared() {
        let estimate = variance(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        close(estimate.value, 2.5);
        // chi2(0.975, 4) = 11.143287, chi2(0.025, 4) = 0.484419.
        let (low, high) = estimate.interval.unwrap();
        close(low, 4.0 * 2.5 / 11.143_287);
        close(high, 4.0 * 2.5 / 0.484_419);
    }

    #[test]
    fn too_few_iterations_have_no_interval() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[7.0]).unwrap().interval, None);
        assert_eq!(variance(&[7.0]), None);
        assert_eq!(range(&[7.0]), None);
        close(range(&[7.0, 4.0]).unwrap().value, 3.0);
        assert_eq!(mean(&[f64::NAN, 1.0]), None);
    }
}
