//! Where the jitter comes from, in words.

use std::collections::BTreeMap;

use crate::{
    breakdown::{SlowSpan, StageFigures},
    sums::Sums,
};

/// Fewer requests than this are no ground for a statement.
const FEWEST: u64 = 100;
/// A standard deviation below this share of the mean is no jitter worth a name.
const LEAST_SPREAD: f64 = 0.01;
/// A share of variance below this names no single stage.
const LEAST_SHARE: f64 = 0.25;

/// Says which stage most of the variance is, and what sets the slowest requests apart.
#[must_use]
pub fn explain(total: &Sums, stages: &[StageFigures], slowest: &[SlowSpan]) -> Vec<String> {
    let spread = total.variance().sqrt();
    if total.count < FEWEST || spread < LEAST_SPREAD * total.mean() {
        return Vec::new();
    }
    let mut sentences = Vec::new();
    let largest = stages.iter().max_by(|a, b| {
        a.figures
            .share_of_variance
            .total_cmp(&b.figures.share_of_variance)
    });
    if let Some(stage) = largest.filter(|stage| stage.figures.share_of_variance >= LEAST_SHARE) {
        sentences.push(format!(
            "{:.0}% of the variance is the {}: {}.",
            stage.figures.share_of_variance * 100.0,
            stage.component.name(),
            words(stage)
        ));
    }
    sentences.extend(slow_stage(total, stages, slowest));
    sentences
}

fn words(stage: &StageFigures) -> String {
    let ends = match &stage.letters {
        Some(letters) => format!("{} to {} ({letters})", stage.from, stage.to),
        None => format!("{} to {}", stage.from, stage.to),
    };
    match &stage.meaning {
        Some(meaning) => format!("{meaning}: {ends}"),
        None => ends,
    }
}

/// The stage that grew most in the slowest requests.
fn slow_stage(total: &Sums, stages: &[StageFigures], slowest: &[SlowSpan]) -> Option<String> {
    let p99 = total.histogram.value_at_quantile(0.99);
    let slow: Vec<&SlowSpan> = slowest.iter().filter(|span| span.total_ns >= p99).collect();
    let mut sums: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for (from, to, time) in slow.iter().flat_map(|span| span.stages()) {
        *sums.entry((from, to)).or_default() += time as f64;
    }
    let count = slow.len().max(1) as f64;
    let growth = |stage: &StageFigures| {
        let slow = sums
            .get(&(stage.from.as_str(), stage.to.as_str()))
            .copied()
            .unwrap_or(0.0);
        slow / count - stage.figures.sum_ns as f64 / total.count.max(1) as f64
    };
    let stage = stages
        .iter()
        .max_by(|a, b| growth(a).total_cmp(&growth(b)))?;
    let longer = slow.iter().map(|span| span.total_ns as f64).sum::<f64>() / count - total.mean();
    if slow.is_empty() || longer <= 0.0 || growth(stage) < LEAST_SHARE * longer {
        return None;
    }
    Some(format!(
        "The {} slowest requests took {} longer than the mean; {:.0}% of that is {}.",
        slow.len(),
        crate::units::time(longer),
        (growth(stage) / longer * 100.0).min(100.0),
        words(stage)
    ))
}
