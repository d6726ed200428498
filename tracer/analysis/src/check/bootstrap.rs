//! Confidence intervals by the bootstrap (Efron and Tibshirani 1993), over the hierarchy of runs and their
//! iterations (Kalibera and Jones 2013).

use rand::{RngExt as _, SeedableRng as _, rngs::ChaCha8Rng};

use super::sample::Sample;

/// The seed: a check of the same figures says the same.
pub(super) const SEED: u64 = 2013;
/// How often each side is drawn anew. The tests make thousands of checks, unoptimised.
pub(super) const RESAMPLES: usize = if cfg!(test) { 200 } else { 2_000 };
/// From so many runs on, runs are the units: their own iterations add nothing that runs do not show.
pub(super) const RUNS_AS_UNITS: usize = 4;

/// The interval of the ratio new to base that has this share of all draws, in the middle.
pub(super) fn interval(base: &Sample, new: &Sample, confidence: f64) -> (f64, f64) {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let (of_base, of_new) = (Side::new(base), Side::new(new));
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let level = draw(&of_base, &mut random);
            base.scale.ratio(level, draw(&of_new, &mut random))
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let outside = (1.0 - confidence) / 2.0;
    let last = ratios.len() - 1;
    let low = (outside * last as f64).floor() as usize;
    (ratios[low], ratios[last - low])
}

/// What is drawn of a side.
enum Side<'s> {
    /// The levels of its runs, or the iterations of its only one.
    Units(Vec<f64>),
    /// A few runs, then iterations of each.
    Few(&'s [Vec<f64>]),
}

impl<'s> Side<'s> {
    fn new(sample: &'s Sample) -> Self {
        match sample.runs() {
            [run] => Self::Units(run.clone()),
            runs if runs.len() < RUNS_AS_UNITS => Self::Few(runs),
            _ => Self::Units(sample.run_levels()),
        }
    }
}

/// The level of as many runs, drawn with replacement; where there are few, of as many iterations of each.
fn draw(side: &Side<'_>, random: &mut ChaCha8Rng) -> f64 {
    match side {
        Side::Units(levels) => redrawn_mean(levels, random),
        Side::Few(runs) => {
            let levels = (0..runs.len()).map(|_| {
                let run = random.random_range(0..runs.len());
                redrawn_mean(&runs[run], random)
            });
            levels.sum::<f64>() / runs.len() as f64
        }
    }
}

fn redrawn_mean(values: &[f64], random: &mut ChaCha8Rng) -> f64 {
    let drawn = (0..values.len()).map(|_| values[random.random_range(0..values.len())]);
    drawn.sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::Scale;

    fn sample(runs: &[&[f64]]) -> Sample {
        Sample::new(Scale::Linear, runs.iter().map(|run| run.to_vec())).unwrap()
    }

    #[test]
    fn the_interval_has_the_ratio_and_grows_with_the_runs_own_differences() {
        let quiet = sample(&[&[100.0, 101.0, 99.0, 100.0], &[100.0, 99.0, 101.0, 100.0]]);
        let apart = sample(&[&[80.0, 81.0, 79.0, 80.0], &[120.0, 119.0, 121.0, 120.0]]);
        let (low, high) = interval(&quiet, &quiet, 0.95);
        assert!(low < 1.0 && 1.0 < high && high - low < 0.03, "{low} {high}");
        let (low, high) = interval(&quiet, &apart, 0.95);
        assert!(low < 0.85 && high > 1.15, "{low} {high}");
        assert_eq!(interval(&quiet, &apart, 0.95), (low, high), "a fixed seed");
    }
}
