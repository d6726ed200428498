//! Where the requests of a breakdown begin and end: whether totals are of the same way.

use std::collections::BTreeMap;

use tracer_common::point::Point;

use crate::{
    analysis::breakdown::{Breakdown, StageFigures},
    span::taken::is_aside,
};

/// Sides of which more requests than this share begin, or end, at other points are not timed on the same way.
const MOST_ELSEWHERE: f64 = 0.05;
/// Of requests whose reader was on its CPU when it was woken.
const READER_AWAKE: &str = "reader_awake";

/// At which points the requests of a breakdown begin and end, as shares of all.
#[derive(Debug)]
pub(super) struct Ends(BTreeMap<String, f64>);

impl Ends {
    pub(super) fn new(breakdown: &Breakdown) -> Self {
        let mut leaving: BTreeMap<String, f64> = BTreeMap::new();
        let share =
            |stage: &StageFigures| stage.figures.count as f64 / breakdown.total.count.max(1) as f64;
        for stage in breakdown.stages.iter().filter(|s| !is_aside(&s.from)) {
            *leaving.entry(stage.from.clone()).or_default() += share(stage);
            *leaving.entry(stage.to.clone()).or_default() -= share(stage);
        }
        Self(leaving)
    }

    /// The same, as the readers were told: one that was still on its CPU when it was woken does not wait to get it.
    pub(super) fn told(breakdown: &Breakdown) -> Self {
        let Self(mut leaving) = Self::new(breakdown);
        let (waking, switch) = (Point::SchedWaking.name(), Point::SchedSwitch.name());
        let awake = *breakdown.flags.get(READER_AWAKE).unwrap_or(&0) as f64;
        let of_all = awake / breakdown.total.count.max(1) as f64;
        let end_there = -leaving.get(waking).copied().unwrap_or(0.0);
        let moved = of_all.min(end_there);
        if moved > 0.0 {
            *leaving.entry(waking.into()).or_default() += moved;
            *leaving.entry(switch.into()).or_default() -= moved;
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

    /// Whether at most few requests begin or end elsewhere than the other side's.
    pub(super) fn are_those_of(&self, other: &Self) -> bool {
        self.apart(other, 1.0) <= MOST_ELSEWHERE && self.apart(other, -1.0) <= MOST_ELSEWHERE
    }

    /// The share of requests that begin (`sign` 1) or end (-1) at a point.
    pub(super) fn share(&self, point: &str, sign: f64) -> f64 {
        (sign * self.0.get(point).copied().unwrap_or(0.0)).max(0.0)
    }

    /// The share of requests that begin or end elsewhere: half of what the shares differ by.
    fn apart(&self, other: &Self, sign: f64) -> f64 {
        let new = other.0.keys().filter(|point| !self.0.contains_key(*point));
        let points = self.0.keys().chain(new);
        let apart = points.map(|point| self.share(point, sign) - other.share(point, sign));
        apart.map(f64::abs).sum::<f64>() / 2.0
    }
}
