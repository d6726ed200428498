//! The points that a side lacks while the other has them: its kernel refused a probe, or sends requests another way.

use std::collections::BTreeMap;

use crate::{
    analysis::{
        breakdown::Breakdown,
        compare::{
            document::{Lacking, Side},
            merge::merge,
            points::passed,
        },
    },
    span::taken::is_aside,
};

/// A point that fewer of the requests pass is one that some requests pass by their nature.
const COMMON: f64 = 0.2;
/// A side that has a point in less than this share of what another one has lacks it.
const LEFT_OVER: f64 = 0.05;

/// The share of requests that pass each point.
pub(super) fn shares(breakdown: &Breakdown) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for stage in breakdown.stages.iter().filter(|s| !is_aside(&s.from)) {
        let count = stage.figures.count;
        let leaving = &mut counts.entry(&stage.from).or_default().0;
        *leaving = leaving.saturating_add(count);
        let reaching = &mut counts.entry(&stage.to).or_default().1;
        *reaching = reaching.saturating_add(count);
    }
    let all = breakdown.total.count.max(1) as f64;
    let share = |(leaving, reaching): (u64, u64)| (leaving.max(reaching) as f64 / all).min(1.0);
    let named = counts.into_iter();
    named
        .map(|(point, count)| (point.to_owned(), share(count)))
        .collect()
}

/// The points that some runs of either side lack, while others have them; of one datapath only, since others
/// have other points by their nature.
pub(in crate::analysis) fn lacking(a: &[&Breakdown], b: &[&Breakdown]) -> Vec<Lacking> {
    let mut all = a.iter().chain(b);
    let first = all.next().map(|run| &run.datapath);
    if all.any(|run| Some(&run.datapath) != first) {
        return Vec::new();
    }
    let of = |side: &[&Breakdown]| side.iter().map(|run| shares(run)).collect::<Vec<_>>();
    let (shares_a, shares_b) = (of(a), of(b));
    let share = |run: &BTreeMap<String, f64>, point: &str| run.get(point).copied().unwrap_or(0.0);
    let order = a.iter().chain(b).fold(Vec::new(), |order, run| {
        merge(&order, &passed(run), |_, _| true)
    });
    let mut lacking = Vec::new();
    for point in order {
        let runs = shares_a.iter().chain(&shares_b);
        let most = runs.map(|run| share(run, &point)).fold(0.0, f64::max);
        for (side, runs) in [(Side::A, &shares_a), (Side::B, &shares_b)] {
            let lacks = |run: &&BTreeMap<String, f64>| share(run, &point) < LEFT_OVER * most;
            let without = runs.iter().filter(lacks).count();
            if most >= COMMON && without > 0 {
                lacking.push(Lacking {
                    side,
                    point: point.clone(),
                    runs: without as u64,
                    of: runs.len() as u64,
                });
            }
        }
    }
    lacking
}
