//! A run, as far as a check needs it: also what a baseline keeps of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    breakdown::{Breakdown, IterationFigures, StageFigures},
    compare::{RunFacts, facts},
    document::{DomainReport, Report},
};

/// A run to check, or to check against.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckedRun {
    /// The run directory or report, as it was named.
    pub source: String,
    /// The scenario's text with all changes applied; none of a saved report, which does not have it.
    pub scenario: Option<String>,
    /// The share of requests, in percent, that it may have lost.
    pub max_lost_percent: f64,
    /// Its report. A baseline keeps no histograms, no slowest requests, no interrupts and no list of attached programs.
    pub report: Report,
}

impl CheckedRun {
    /// Drops what no check needs.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let report = &mut self.report;
        report.interrupts.clear();
        report.iterations.clear();
        report.thresholds.clear();
        report.domains = std::mem::take(&mut report.domains)
            .into_iter()
            .map(|domain| DomainReport {
                // Without the attached programs nothing would tell that another one stamps the point.
                unavailable: domain.untraced().map(|(_, own)| own.clone()).collect(),
                name: domain.name,
                host: domain.host,
                sample: domain.sample,
                spans: domain.spans,
                lost: domain.lost,
                lost_share: domain.lost_share,
                clock: domain.clock,
                ..DomainReport::default()
            })
            .collect();
        for breakdown in &mut report.breakdowns {
            breakdown.histogram.clear();
            breakdown.slowest.clear();
            breakdown.jitter.clear();
            breakdown
                .stages
                .iter_mut()
                .for_each(|stage| stage.histogram.clear());
        }
        self
    }

    /// What it is. A policy may allow more losses, or fewer.
    pub(super) fn facts(&self, max_lost_percent: Option<f64>) -> RunFacts {
        let percent = max_lost_percent.unwrap_or(self.max_lost_percent);
        facts(&self.source, &self.report, percent / 100.0)
    }

    /// What is wrong with its figures: those by stage and iteration are newer than reports are, and a damaged
    /// report may have any.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let all = self.report.breakdowns.iter();
        all.clone()
            .any(lacks_iterations)
            .then_some("it has no figures by stage and iteration: an older tracer made it")
            .or_else(|| {
                all.clone()
                    .any(contradicts_itself)
                    .then_some("its figures contradict each other: it is damaged")
            })
    }
}

fn lacks_iterations(breakdown: &Breakdown) -> bool {
    !breakdown.iterations.is_empty()
        && breakdown
            .stages
            .iter()
            .any(|stage| stage.iterations.is_empty())
}

fn contradicts_itself(breakdown: &Breakdown) -> bool {
    let of_total = &breakdown.iterations;
    let fits =
        |stage: &StageFigures| {
            stage.iterations.len() == of_total.len()
                && stage.iterations.iter().zip(of_total).all(|(own, total)| {
                    own.iteration == total.iteration && own.count <= total.count
                })
        };
    let numbers = of_total
        .iter()
        .chain(breakdown.stages.iter().flat_map(|s| &s.iterations));
    !breakdown.stages.iter().all(fits) || !numbers.into_iter().all(is_possible)
}

/// Whether figures can be those of any requests: times in order, no mean and no variance beyond the longest one.
fn is_possible(figures: &IterationFigures) -> bool {
    let longest = figures.max_ns as f64;
    // Sums are exact, what is made of them is rounded.
    let within = |value: f64, most: f64| (0.0..=most * (1.0 + 1e-9)).contains(&value);
    let in_order = figures.min_ns <= figures.max_ns
        && figures.p50_ns <= figures.p99_ns
        && figures.p99_ns <= figures.max_ns;
    in_order && within(figures.mean_ns, longest) && within(figures.variance_ns2, longest.powi(2))
}
