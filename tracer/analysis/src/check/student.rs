//! Student's test, for runs that are too few for a test of ranks.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::sample::mean;

/// The standard deviation of logarithms is at least this: percentiles are known to a thousandth, and runs that are
/// equal to the nanosecond, as in virtual time, do not show that the next one is.
const LEAST_DEVIATION: f64 = 1e-3;

/// The probability that runs of one kind, whose values are normally distributed, give a mean of `new` that
/// is as far above that of `base`. Both sides' spread is taken to be the same, so that a side may have one
/// run alone: logarithms of times are nearer to that than the times, since what is slower varies by more.
/// `None`: one each, which says nothing of the spread, or values that are no numbers.
pub(super) fn p_greater(base: &[f64], new: &[f64]) -> Option<f64> {
    let freedom = (base.len() + new.len()).checked_sub(2).filter(|n| *n > 0)? as f64;
    if base.is_empty() || new.is_empty() {
        return None;
    }
    let squares = |side: &[f64]| -> f64 {
        let middle = mean(side);
        side.iter().map(|value| (value - middle).powi(2)).sum()
    };
    let parts = 1.0 / base.len() as f64 + 1.0 / new.len() as f64;
    let variance = (squares(base) + squares(new)) / freedom;
    let error = (variance.max(LEAST_DEVIATION.powi(2)) * parts).sqrt();
    let step = mean(new) - mean(base);
    if !step.is_finite() || !error.is_finite() {
        return None;
    }
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some(t.sf(step / error).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn textbook_values() {
        // scipy.stats.ttest_ind([4, 5, 6], [1, 2, 3], alternative="greater")
        let p = p_greater(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert!((p - 0.010_656).abs() < 1e-4, "{p}");
        assert_eq!(p_greater(&[1.0], &[2.0]), None);
        assert!(p_greater(&[1.0, 1.1, 0.9], &[9.0]).unwrap() < 0.001);
        assert!(p_greater(&[1.0, 1.1, 0.9], &[1.0]).unwrap() > 0.4);
    }

    #[test]
    fn two_equal_runs_do_not_prove_that_a_third_one_differs() {
        let p = p_greater(&[10_000f64.ln(); 2], &[10_600f64.ln()]).unwrap();
        assert!((1e-3..2e-2).contains(&p), "{p}");
        assert!(p_greater(&[1.0; 4], &[1.0; 4]).unwrap() > 0.4);
        assert_eq!(p_greater(&[f64::INFINITY; 2], &[f64::INFINITY]), None);
    }
}
