//! What is held against each other: a figure of every iteration of every run of one side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breakdown::IterationFigures;

/// A figure of an iteration. All in nanoseconds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean over all requests; one without the stage counts as zero.
    Mean,
    /// Median of the requests that had it.
    P50,
    /// Their 99th percentile.
    P99,
    /// The longest.
    Max,
    /// Standard deviation: the root of the variance, so that it has the unit of the others.
    Stddev,
    /// The longest less the shortest.
    Range,
}

/// What a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// How long it takes as a rule.
    Location,
    /// How long it takes at worst.
    Tail,
    /// How much it varies.
    Jitter,
}

impl Metric {
    /// All, in the order of reports.
    pub const ALL: [Self; 6] = [
        Self::Mean,
        Self::P50,
        Self::P99,
        Self::Max,
        Self::Stddev,
        Self::Range,
    ];

    /// The name in reports and policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Stddev => "stddev",
            Self::Range => "range",
        }
    }

    /// What it is about.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Mean | Self::P50 => Kind::Location,
            Self::P99 | Self::Max => Kind::Tail,
            Self::Stddev | Self::Range => Kind::Jitter,
        }
    }

    /// The figure of an iteration. All but the mean are of the requests that had the stage: none, if no
    /// request had.
    pub(super) fn of(self, iteration: &IterationFigures) -> Option<f64> {
        let value = match self {
            Self::Mean => return Some(iteration.mean_ns),
            Self::P50 => iteration.p50_ns as f64,
            Self::P99 => iteration.p99_ns as f64,
            Self::Max => iteration.max_ns as f64,
            Self::Stddev => iteration.variance_ns2.max(0.0).sqrt(),
            Self::Range => iteration.max_ns.saturating_sub(iteration.min_ns) as f64,
        };
        (iteration.count > 0).then_some(value)
    }

    /// On which scale it is averaged.
    pub(super) const fn scale(self) -> Scale {
        match self.kind() {
            Kind::Location => Scale::Linear,
            Kind::Tail | Kind::Jitter => Scale::Log,
        }
    }
}

/// On which scale figures are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// As they are: a rare stage's mean is zero in some iterations, and means add up only so.
    Linear,
    /// Their logarithms: tails have tails of their own, of which one would outweigh all else.
    Log,
}

/// What is shorter than the clock tells apart counts as this long, so that there is a ratio.
const LEAST_NS: f64 = 1.0;

impl Scale {
    fn to(self, ns: f64) -> f64 {
        match self {
            Self::Linear => ns,
            Self::Log => ns.max(LEAST_NS).ln(),
        }
    }

    /// The logarithms of levels.
    pub(super) fn logarithms(self, levels: &[f64]) -> Vec<f64> {
        let logarithm = |level: &f64| Self::Log.to(self.back(*level));
        levels.iter().map(logarithm).collect()
    }

    /// Back to nanoseconds.
    pub(super) fn back(self, level: f64) -> f64 {
        match self {
            Self::Linear => level,
            Self::Log => level.exp(),
        }
    }

    /// How many times the base the new level is.
    pub(super) fn ratio(self, base: f64, new: f64) -> f64 {
        self.back(new).max(LEAST_NS) / self.back(base).max(LEAST_NS)
    }
}

/// One side's figures on their scale.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) scale: Scale,
    /// By run, in ascending order, so that the order in which runs and iterations come tells nothing.
    runs: Vec<Vec<f64>>,
    /// How far the thirds of a run differ, as a ratio: of the run in which they do most.
    pub(super) drift: f64,
}

impl Sample {
    /// Figures by run, each run's in the order of its iterations. Runs without any are left out; `None`:
    /// there are none at all, or a figure is none (a damaged recording).
    pub(super) fn new(scale: Scale, runs: impl IntoIterator<Item = Vec<f64>>) -> Option<Self> {
        let scaled = |run: Vec<f64>| -> Vec<f64> { run.iter().map(|ns| scale.to(*ns)).collect() };
        let runs = runs.into_iter().filter(|run| !run.is_empty()).map(scaled);
        let mut runs: Vec<Vec<f64>> = runs.collect();
        if runs.is_empty() || runs.iter().flatten().any(|value| !value.is_finite()) {
            return None;
        }
        let drift = runs.iter().map(|run| drift(scale, run)).fold(1.0, f64::max);
        for run in &mut runs {
            run.sort_by(f64::total_cmp);
        }
        runs.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        Some(Self { scale, runs, drift })
    }

    pub(super) fn runs(&self) -> &[Vec<f64>] {
        &self.runs
    }

    /// Each run's level.
    pub(super) fn run_levels(&self) -> Vec<f64> {
        self.runs.iter().map(|run| mean(run)).collect()
    }

    /// The level: the mean of the runs' levels, however many iterations each has.
    pub(super) fn level(&self) -> f64 {
        mean(&self.run_levels())
    }

    /// The level in nanoseconds.
    pub(super) fn level_ns(&self) -> f64 {
        self.scale.back(self.level())
    }
}

/// Mean; of nothing zero.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// How far the thirds of a run differ, the highest by the lowest. Averages, unlike single iterations, differ
/// little by noise, and much by what goes up or down, or up and down again, during the run.
fn drift(scale: Scale, run: &[f64]) -> f64 {
    let third = |i: usize| &run[run.len() * i / 3..run.len() * (i + 1) / 3];
    let levels: Vec<f64> = (0..3)
        .map(third)
        .filter(|third| !third.is_empty())
        .map(mean)
        .collect();
    let low = levels.iter().copied().fold(f64::INFINITY, f64::min);
    let high = levels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scale.ratio(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_up_drifts_and_one_that_shakes_does_not() {
        let of = |run: &[f64]| Sample::new(Scale::Linear, [run.to_vec()]).unwrap().drift;
        assert!(of(&[100.0, 110.0, 120.0, 130.0, 140.0, 150.0]) > 1.3);
        assert!(of(&[100.0, 110.0, 100.0, 110.0, 100.0, 110.0]) < 1.001);
        assert!((of(&[100.0]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_long_run_weighs_no_more_than_a_short_one() {
        let sample = Sample::new(Scale::Linear, [vec![10.0; 90], vec![30.0; 2]]).unwrap();
        assert!((sample.level_ns() - 20.0).abs() < 1e-9);
        assert!(Sample::new(Scale::Linear, [vec![]]).is_none());
        assert!(Sample::new(Scale::Linear, [vec![f64::NAN]]).is_none());
    }
}
