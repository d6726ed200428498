//! A scenario's limits against a run's figures.

use crate::{
    breakdown::{Breakdown, Figures},
    document::ThresholdResult,
    scenario::types::{Statistic, Threshold},
    units,
};

/// Holds every limit against every breakdown that it speaks of.
#[must_use]
pub fn check(thresholds: &[Threshold], breakdowns: &[Breakdown]) -> Vec<ThresholdResult> {
    thresholds
        .iter()
        .flat_map(|threshold| check_one(threshold, breakdowns))
        .collect()
}

fn check_one(threshold: &Threshold, breakdowns: &[Breakdown]) -> Vec<ThresholdResult> {
    let limit_ns = u64::try_from(threshold.at_most.0.as_nanos()).unwrap_or(u64::MAX);
    let meant = |breakdown: &&Breakdown| {
        breakdown.datapath == threshold.datapath
            && threshold
                .operation
                .as_ref()
                .is_none_or(|wanted| *wanted == breakdown.operation)
    };
    let mut results: Vec<ThresholdResult> = breakdowns
        .iter()
        .filter(meant)
        .filter_map(|breakdown| {
            let figures = if threshold.stage == "total" {
                &breakdown.total
            } else {
                &breakdown.stage(&threshold.stage)?.figures
            };
            let actual = value(figures, threshold.statistic);
            Some(ThresholdResult {
                text: format!("{}: {}", breakdown.title(), words(threshold)),
                limit_ns,
                actual_ns: Some(actual),
                kept: actual <= limit_ns as f64,
            })
        })
        .collect();
    if results.is_empty() {
        // A limit on what was not measured is not kept: a typing error must not pass as success.
        let text = format!(
            "{}: {}: nothing was measured",
            threshold.datapath,
            words(threshold)
        );
        results.push(ThresholdResult {
            text,
            limit_ns,
            actual_ns: None,
            kept: false,
        });
    }
    results
}

fn words(threshold: &Threshold) -> String {
    format!(
        "{:?} of {} at most {}",
        threshold.statistic,
        threshold.stage,
        units::time(threshold.at_most.0.as_nanos() as f64)
    )
}

fn value(figures: &Figures, statistic: Statistic) -> f64 {
    match statistic {
        Statistic::Mean => figures.mean_ns,
        Statistic::P50 => figures.p50_ns as f64,
        Statistic::P90 => figures.p90_ns as f64,
        Statistic::P99 => figures.p99_ns as f64,
        Statistic::P999 => figures.p999_ns as f64,
        Statistic::Max => figures.max_ns as f64,
    }
}
