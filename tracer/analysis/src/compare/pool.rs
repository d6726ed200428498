//! Breakdowns of several runs as one.

use super::merge::merge;
use crate::breakdown::{Breakdown, StageFigures};

/// The runs' breakdowns as one: all their stages, and how many requests had each. None: there are none.
pub(crate) fn pooled(members: &[&Breakdown]) -> Option<Breakdown> {
    let (first, others) = members.split_first()?;
    let mut pooled = (*first).clone();
    for other in others {
        pooled.total.count = pooled.total.count.saturating_add(other.total.count);
        for (flag, count) in &other.flags {
            let sum = pooled.flags.entry(flag.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        let names = |side: &Breakdown| -> Vec<String> {
            side.stages.iter().map(StageFigures::name).collect()
        };
        let order = merge(&names(&pooled), &names(other), |_, _| true);
        pooled.stages = order
            .iter()
            .filter_map(|name| {
                let (own, others) = (find(&pooled, name), find(other, name));
                let mut stage = own.or(others)?.clone();
                if let (Some(_), Some(more)) = (own, others) {
                    let figures = &mut stage.figures;
                    figures.count = figures.count.saturating_add(more.figures.count);
                }
                Some(stage)
            })
            .collect();
    }
    Some(pooled)
}

/// The stage of this name: both ends.
pub(crate) fn find<'b>(breakdown: &'b Breakdown, name: &str) -> Option<&'b StageFigures> {
    breakdown.stages.iter().find(|stage| stage.name() == name)
}
