//! The points that a side lacks while the other has them: its kernel refused a probe, or sends requests another way.

use std::collections::BTreeMap;

use tracer_common::point::Point;

use super::{
    document::{Lack, Lacking},
    ends::awake,
    runs::Runs,
    side::Side,
    spread::{FEW, differ, mean, of_units},
};
use crate::{
    breakdown::{Breakdown, StageFigures},
    span::taken::is_aside,
};

/// A point that fewer of the requests pass is one that some requests pass by their nature, unless a run says that its
/// kernel could not be traced there.
const COMMON: f64 = 0.2;
/// A side that has a point in less than this share of what another one has lacks it.
pub(super) const LEFT_OVER: f64 = 0.05;
/// An iteration that would have had fewer such requests may have none by chance.
const LEAST_REQUESTS: f64 = 20.0;

/// The share of requests that pass each point, and how many requests these are of.
#[derive(Debug)]
pub(super) struct Shares {
    all: u64,
    of: BTreeMap<String, f64>,
}

impl Shares {
    pub(super) fn new(breakdown: &Breakdown) -> Self {
        Self::of(breakdown, breakdown.total.count, &|stage| {
            stage.figures.count
        })
    }

    fn of(breakdown: &Breakdown, all: u64, count: &dyn Fn(&StageFigures) -> u64) -> Self {
        let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for stage in breakdown.stages.iter().filter(|s| !is_aside(&s.from)) {
            let leaving = &mut counts.entry(&stage.from).or_default().0;
            *leaving = leaving.saturating_add(count(stage));
            let reaching = &mut counts.entry(&stage.to).or_default().1;
            *reaching = reaching.saturating_add(count(stage));
        }
        let share = |count: u64| (count as f64 / all.max(1) as f64).min(1.0);
        let passed = counts.iter();
        let mut of: BTreeMap<String, f64> = passed
            .map(|(point, (leaving, reaching))| {
                ((*point).to_owned(), share(*leaving.max(reaching)))
            })
            .collect();
        // A reader that did not sleep has no switch to wait for, nor, unless it was about to, a waking.
        let (waking, switch) = (Point::SchedWaking.name(), Point::SchedSwitch.name());
        let (leaving, reaching) = counts.get(waking).copied().unwrap_or_default();
        let awake = awake(breakdown);
        let never_woken = awake - share(reaching.saturating_sub(leaving)).min(awake);
        for (point, more) in [(waking, never_woken), (switch, awake)] {
            if more > 0.0 {
                let own = of.entry(point.to_owned()).or_default();
                *own = (*own + more).min(1.0);
            }
        }
        Self { all, of }
    }

    pub(super) fn share(&self, point: &str) -> f64 {
        self.of.get(point).copied().unwrap_or(0.0)
    }
}

/// The points of `order` that runs of either side lack, while others have them; of one datapath only, since others have
/// other points by their nature.
pub(super) fn lacking(a: &Runs<'_>, b: &Runs<'_>, order: &[String]) -> Vec<Lacking> {
    let mut all = a.breakdowns.iter().chain(b.breakdowns);
    let first = all.next().map(|run| &run.datapath);
    if all.any(|run| Some(&run.datapath) != first) {
        return Vec::new();
    }
    let sides = [(Side::A, a), (Side::B, b)]
        .map(|(side, runs)| (side, runs, of_units(runs.breakdowns, Shares::of)));
    let on_way = order.iter().filter(|point| !is_aside(point));
    on_way
        .flat_map(|point| {
            let [one, other] = &sides;
            [lack(point, one, other), lack(point, other, one)]
        })
        .flatten()
        .collect()
}

type Units<'r> = (Side, &'r Runs<'r>, Vec<Shares>);

/// What a side lacks of a point.
fn lack(point: &str, (side, runs, own): &Units<'_>, (_, _, other): &Units<'_>) -> Option<Lacking> {
    let of = |units: &[Shares]| {
        units
            .iter()
            .map(|unit| unit.share(point))
            .collect::<Vec<_>>()
    };
    let (shares, others) = (of(own), of(other));
    let most = shares.iter().chain(&others).copied().fold(0.0, f64::max);
    let has_none = |unit: &&Shares| {
        unit.share(point) < LEFT_OVER * most
            && (runs.breakdowns.len() > 1 || most * unit.all as f64 >= LEAST_REQUESTS)
    };
    let without = own.iter().filter(has_none).count();
    let first = runs.breakdowns.first()?;
    let why = runs.untraced.why(&first.domain, point);
    let is_gone = without > 0 && (most >= COMMON || (why.is_some() && most > 0.0));
    // One that all others' requests pass, and many of this side's do not.
    let is_rarer =
        mean(&others) >= 1.0 - FEW && mean(&shares) < mean(&others) && differ(&shares, &others);
    (is_gone || is_rarer).then(|| Lacking {
        side: *side,
        lack: Lack {
            point: point.to_owned(),
            share: mean(&shares),
            other_share: mean(&others),
            runs: if runs.breakdowns.len() > 1 {
                without as u64
            } else {
                1
            },
            of: runs.breakdowns.len() as u64,
            why: why.map(str::to_owned),
        },
    })
}
