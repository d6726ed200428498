//! Where the requests of a side begin and end: whether totals are of the same way.

use std::collections::BTreeMap;

use tracer_common::point::Point;

use super::spread::{differ, mean, of_units};
use crate::{
    breakdown::{Breakdown, StageFigures},
    span::taken::is_aside,
    units::percent,
};

/// Of requests whose reader did not sleep.
const READER_AWAKE: &str = "reader_awake";
/// Where such requests end: at the waking of a reader that was about to sleep, or where it would have been woken.
const ENDS_OF_AWAKE: [Point; 3] = [Point::SchedWaking, Point::BlkComplete, Point::SockReady];

/// The share of a run's requests whose reader did not sleep.
pub(super) fn awake(breakdown: &Breakdown) -> f64 {
    let awake = *breakdown.flags.get(READER_AWAKE).unwrap_or(&0) as f64;
    awake / breakdown.total.count.max(1) as f64
}

/// At which points requests begin and end, as shares of all: those that begin are counted up, those that end down.
#[derive(Debug)]
pub(super) struct Ends(BTreeMap<String, f64>);

impl Ends {
    /// Of a run.
    pub(super) fn new(breakdown: &Breakdown) -> Self {
        Self::of(breakdown, breakdown.total.count, &|stage| {
            stage.figures.count
        })
    }

    fn of(breakdown: &Breakdown, all: u64, count: &dyn Fn(&StageFigures) -> u64) -> Self {
        let mut leaving: BTreeMap<String, f64> = BTreeMap::new();
        for stage in breakdown.stages.iter().filter(|s| !is_aside(&s.from)) {
            let share = count(stage) as f64 / all.max(1) as f64;
            *leaving.entry(stage.from.clone()).or_default() += share;
            *leaving.entry(stage.to.clone()).or_default() -= share;
        }
        Self(leaving)
    }

    /// The same, as the readers were told: one that did not sleep does not wait to get its CPU.
    fn told(self, breakdown: &Breakdown) -> Self {
        let Self(mut leaving) = self;
        let mut left = awake(breakdown);
        for point in ENDS_OF_AWAKE {
            let end_there = -leaving.get(point.name()).copied().unwrap_or(0.0);
            let moved = left.min(end_there);
            if moved > 0.0 {
                left -= moved;
                *leaving.entry(point.name().into()).or_default() += moved;
                let switch = Point::SchedSwitch.name().to_owned();
                *leaving.entry(switch).or_default() -= moved;
            }
        }
        Self(leaving)
    }

    /// Where most requests begin: more leave it than reach it.
    pub(super) fn first(&self) -> String {
        self.most(1.0)
    }

    /// Where most requests end.
    pub(super) fn last(&self) -> String {
        self.most(-1.0)
    }

    fn most(&self, sign: f64) -> String {
        let ends = self.0.iter();
        let most = ends.max_by(|x, y| (sign * x.1).total_cmp(&(sign * y.1)));
        most.map_or_else(String::new, |(point, _)| point.clone())
    }

    /// The share of requests that begin (`sign` 1) or end (-1) at a point.
    fn share(&self, point: &str, sign: f64) -> f64 {
        (sign * self.0.get(point).copied().unwrap_or(0.0)).max(0.0)
    }
}

/// The ends of each of a side's units.
fn units(runs: &[&Breakdown]) -> Vec<Ends> {
    of_units(runs, |run, all, count| Ends::of(run, all, count).told(run))
}

/// A point at which another share of one side's requests begin or end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Elsewhere {
    /// `begin` or `end`.
    pub(crate) verb: &'static str,
    /// The point.
    pub(crate) point: String,
    /// The share of A's requests.
    pub(crate) a: f64,
    /// The share of B's.
    pub(crate) b: f64,
}

impl Elsewhere {
    /// In words; `names` are the sides', as in "of A's requests".
    pub(crate) fn words(&self, [of_a, of_b]: [&str; 2]) -> String {
        let (a, b, verb, point) = (percent(self.a), percent(self.b), self.verb, &self.point);
        format!("{a} of {of_a} requests {verb} at {point}, {b} of {of_b}")
    }
}

/// The point of `order` at which the ends of two sides differ most, of equals the latest; None: they are the same.
pub(super) fn elsewhere(a: &[&Breakdown], b: &[&Breakdown], order: &[String]) -> Option<Elsewhere> {
    let (units_a, units_b) = (units(a), units(b));
    let mut most: Option<Elsewhere> = None;
    for point in order {
        for (verb, sign) in [("begin", 1.0), ("end", -1.0)] {
            let shares = |units: &[Ends]| -> Vec<f64> {
                units.iter().map(|ends| ends.share(point, sign)).collect()
            };
            let (a, b) = (shares(&units_a), shares(&units_b));
            if !differ(&a, &b) {
                continue;
            }
            let own = Elsewhere {
                verb,
                point: point.clone(),
                a: mean(&a),
                b: mean(&b),
            };
            let size = |own: &Elsewhere| (own.a - own.b).abs();
            if most.as_ref().is_none_or(|most| size(&own) >= size(most)) {
                most = Some(own);
            }
        }
    }
    most
}
