//! Whether shares of requests differ by more than they do by themselves, from unit to unit: from run to run, and of one
//! run from iteration to iteration.

use crate::breakdown::{Breakdown, StageFigures};

/// Shares that differ by less are the same: also of the kernel's own points a few are passed over.
pub(super) const FEW: f64 = 0.05;
/// No spread excuses a larger difference.
const MOST: f64 = 0.15;
/// How many standard errors are chance.
const ERRORS: f64 = 3.0;

/// Whether two sides' shares differ by more than a few requests, and by more than their units (runs; of one run its
/// iterations) do among each other.
pub(super) fn differ(a: &[f64], b: &[f64]) -> bool {
    let chance = ERRORS * (squared_error(a) + squared_error(b)).sqrt();
    (mean(a) - mean(b)).abs() > chance.clamp(FEW, MOST)
}

/// Something of each of a side's units, made of the run that it is (a part) of, its requests, and how many of them had a
/// stage.
pub(super) fn of_units<T>(
    runs: &[&Breakdown],
    of: impl Fn(&Breakdown, u64, &dyn Fn(&StageFigures) -> u64) -> T,
) -> Vec<T> {
    match runs {
        [run] if run.iterations.len() > 1 => {
            let iterations = run.iterations.iter();
            let units = iterations.map(|iteration| {
                let count = |stage: &StageFigures| {
                    let mut own = stage.iterations.iter();
                    let own = own.find(|own| own.iteration == iteration.iteration);
                    own.map_or(0, |own| own.count)
                };
                of(run, iteration.count, &count)
            });
            units.collect()
        }
        runs => {
            let count = |stage: &StageFigures| stage.figures.count;
            runs.iter()
                .map(|run| of(run, run.total.count, &count))
                .collect()
        }
    }
}

pub(super) fn mean(shares: &[f64]) -> f64 {
    shares.iter().sum::<f64>() / shares.len().max(1) as f64
}

/// The square of the standard error of the mean; of a single one nothing is known.
fn squared_error(shares: &[f64]) -> f64 {
    if shares.len() < 2 {
        return 0.0;
    }
    let (count, mean) = (shares.len() as f64, mean(shares));
    let squares = shares.iter().map(|share| (share - mean).powi(2));
    squares.sum::<f64>() / (count - 1.0) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shakes_by_itself_differs_only_by_more() {
        assert!(!differ(&[1.0; 4], &[0.96; 4]));
        assert!(differ(&[1.0; 4], &[0.94; 4]));
        // 14 to 21% in the iterations of either run.
        let shaky = [0.14, 0.21, 0.17, 0.2, 0.15];
        assert!(!differ(&shaky, &[0.2, 0.24, 0.17, 0.25, 0.22]));
        assert!(differ(&shaky, &[0.0; 5]));
        // One iteration of five that lost all is no spread that excuses it.
        assert!(differ(&[1.0; 5], &[1.0, 1.0, 0.0, 1.0, 1.0]));
        assert!(differ(&[1.0], &[0.5]) && !differ(&[], &[]));
    }
}
