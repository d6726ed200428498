//! The way on which both sides of a pair are timed, and which of its stages can be held against each other: one rule for
//! `compare` and `check`.
//!
//! A total goes from a request's first point to its last. Where a kernel has refused a probe, the last point
//! is an earlier one, and the total a smaller figure of a shorter way: no faster kernel. What can be held
//! against each other is the way between points that (nearly) all requests of both sides pass.

use std::collections::BTreeMap;

use tracer_common::point::Point;

use super::{
    document::{Lacking, NotCompared, StageCompared},
    ends::{Ends, elsewhere},
    lacking::{LEFT_OVER, Shares, lacking},
    points::Points,
    runs::Runs,
    side::Side,
    spread::FEW,
};
use crate::{
    breakdown::{Breakdown, IterationFigures, StageFigures},
    span::{steal::is_taken_alike, taken::is_aside},
};

pub(crate) use super::ends::Elsewhere;

/// What of two breakdowns is timed on both sides, as places in the order of their points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommonWay {
    /// The totals: requests of both sides begin and end at the same points.
    Total,
    /// From one point to another.
    Between(usize, usize),
    /// Nothing.
    None,
}

/// Two breakdowns, each of one run or several, and what must be known of both before their parts are compared.
#[derive(Debug)]
pub(super) struct Sides<'b> {
    pub(super) a: &'b Breakdown,
    pub(super) b: &'b Breakdown,
    pub(super) points: Points,
    /// The places of the points that both sides pass and hardly any request leaps over, in ascending order.
    pub(super) cuts: Vec<usize>,
    pub(super) common: CommonWay,
    /// Where the totals are not of the same way: what differs most.
    pub(super) elsewhere: Option<Elsewhere>,
    pub(super) lacking: Vec<Lacking>,
    /// Whether time that others took cannot be told apart in the same way on both sides, so that it is in stages here and
    /// apart from them there.
    asides_differ: bool,
}

impl<'b> Sides<'b> {
    /// `a` and `b` are the runs of each side as one.
    pub(super) fn new(
        a: &'b Breakdown,
        b: &'b Breakdown,
        runs_a: &Runs<'_>,
        runs_b: &Runs<'_>,
    ) -> Self {
        let points = Points::new(a, b);
        let cuts = cuts(a, b, &points);
        let elsewhere = elsewhere(runs_a.breakdowns, runs_b.breakdowns, points.in_order());
        let lacking = lacking(runs_a, runs_b, points.in_order());
        let common = if elsewhere.is_none() {
            CommonWay::Total
        } else {
            between(a, b, &points, &cuts)
        };
        let mut sides = Self {
            a,
            b,
            points,
            cuts,
            common,
            elsewhere,
            lacking,
            asides_differ: false,
        };
        let mut stages = a.stages.iter().chain(&b.stages);
        if stages.any(|stage| is_aside(&stage.from)) {
            let knows = runs_a.untraced.know_asides_alike(runs_b.untraced);
            let several_cpus = [runs_a, runs_b]
                .iter()
                .any(|runs| runs.untraced.has_several_cpus(&a.domain));
            sides.asides_differ =
                !knows || sides.moves_taken_time() || sides.moves_end(several_cpus);
            if sides.asides_differ && common != CommonWay::Total {
                sides.common = CommonWay::None;
            }
        }
        sides
    }

    /// Whether a side has lost a point amid the way on which it depends whose time it is that others took there. One that
    /// only fewer of its requests pass is not lost: who is awake needs no interrupt and no waking.
    fn moves_taken_time(&self) -> bool {
        let (first, last) = match self.common {
            CommonWay::Between(first, last) => (first, last),
            _ => (0, self.points.count()),
        };
        let mut lacking = self.lacking_between(first, last).filter(|own| is_lost(own));
        lacking.any(|own| !self.is_taken_alike(&own.lack.point))
    }

    /// Whether a side lacks a point, wherever it is, without which other stages have other time taken from them: one whose
    /// program looks for such time at more than its requests, or, with several CPUs, one up to which the reader's counts.
    fn moves_end(&self, several_cpus: bool) -> bool {
        self.lacking.iter().any(|own| {
            let (waking, switch) = (Point::SchedWaking.name(), Point::SchedSwitch.name());
            let of_reader = own.lack.point == waking || own.lack.point == switch;
            let is_refused = own.lack.point == switch && own.lack.why.is_some();
            is_refused || (several_cpus && of_reader && is_lost(own))
        })
    }

    /// Whether the stages up to a point, and on from it, are taken from as those over it are.
    fn is_taken_alike(&self, point: &str) -> bool {
        let stages = || self.a.stages.iter().chain(&self.b.stages);
        let mut before = stages().filter(|stage| stage.to == point);
        before.all(|before| {
            let mut on = stages().filter(|stage| stage.from == point);
            on.all(|on| is_taken_alike(&before.from, point, &on.to))
        })
    }

    fn lacks_between(&self, first: usize, last: usize) -> bool {
        self.lacking_between(first, last).next().is_some()
    }

    /// The points between two places that a side lacks.
    fn lacking_between(&self, first: usize, last: usize) -> impl Iterator<Item = &Lacking> {
        self.lacking.iter().filter(move |own| {
            let place = self.points.place(&own.lack.point);
            first < place && place < last
        })
    }

    /// Whether both sides are of one datapath, and so have the same points if their kernels do.
    fn is_of_one_datapath(&self) -> bool {
        self.a.datapath == self.b.datapath
    }

    /// Whether a stage that only one side has is one that a few of its requests pass, as those of the other could have.
    pub(super) fn is_by_chance(&self, stage: &StageCompared) -> bool {
        let is_only_in = |side| stage.not_compared == Some(NotCompared::only_in(side));
        let share = match stage.only_in {
            Some(Side::A) if is_only_in(Side::A) => share(stage.count_a, self.a),
            Some(Side::B) if is_only_in(Side::B) => share(stage.count_b, self.b),
            _ => return false,
        };
        let is_lacked = |point: &str| self.lacking.iter().any(|own| own.lack.point == point);
        share <= FEW && !is_lacked(&stage.from) && !is_lacked(&stage.to)
    }

    /// Why what passes between two points cannot be held against each other, if it cannot. `only_in`: the side that alone
    /// has such a stage. What is aside is at no place of the way.
    pub(super) fn not_compared(
        &self,
        from: &str,
        to: &str,
        only_in: Option<Side>,
    ) -> Option<NotCompared> {
        let (first, last) = (self.points.place(from), self.points.place(to));
        let aside = is_aside(from);
        let is_off = match self.common {
            CommonWay::Total => false,
            CommonWay::Between(begin, end) => aside || first < begin || end < last,
            CommonWay::None => true,
        };
        if let Some(side) = only_in.filter(|_| !aside && self.is_of_one_datapath()) {
            Some(NotCompared::only_in(side))
        } else if is_off {
            Some(NotCompared::OffTheWay)
        } else if self.asides_differ {
            Some(NotCompared::TakenApart)
        } else if !aside && self.lacks_between(first, last) {
            Some(NotCompared::OverALostPoint)
        } else {
            None
        }
    }

    /// Whether the stages between two neighbouring cuts, all of them, can be held against each other.
    pub(super) fn is_way_compared(&self, from: usize, to: usize) -> bool {
        let on_way = match self.common {
            CommonWay::Total => true,
            CommonWay::Between(first, last) => first <= from && to <= last,
            CommonWay::None => false,
        };
        on_way && !self.asides_differ
    }

    /// Whether a stage is a part of the way that both sides are timed on.
    pub(super) fn is_on_way(&self, stage: &StageFigures) -> bool {
        let (from, to) = (self.points.place(&stage.from), self.points.place(&stage.to));
        match self.common {
            CommonWay::Total => true,
            CommonWay::Between(first, last) => {
                !is_aside(&stage.from) && first <= from && to <= last
            }
            CommonWay::None => false,
        }
    }

    /// Both ends of that way.
    pub(super) fn ends(&self) -> Option<(String, String)> {
        let at = |place: usize| self.points.at(place).to_owned();
        match self.common {
            CommonWay::Total => {
                let ends = Ends::new(self.a);
                Some((ends.first(), ends.last()))
            }
            CommonWay::Between(first, last) => Some((at(first), at(last))),
            CommonWay::None => None,
        }
    }

    /// The mean of every iteration of a side over that way, in nanoseconds.
    pub(super) fn iteration_means(&self, side: &Breakdown) -> Vec<f64> {
        if self.common == CommonWay::Total {
            return side.iterations.iter().map(|own| own.mean_ns).collect();
        }
        let parts = side.stages.iter().filter(|stage| self.is_on_way(stage));
        sum_of_means(&side.iterations, parts)
    }
}

/// Of a breakdown's requests.
fn share(count: u64, whole: &Breakdown) -> f64 {
    count as f64 / whole.total.count.max(1) as f64
}

/// Whether a side's kernel refused the point, or (nearly) none of its requests has it.
fn is_lost(own: &Lacking) -> bool {
    own.lack.why.is_some() || own.lack.share < LEFT_OVER * own.lack.other_share
}

/// The places of the points that both sides pass and hardly any request leaps over, in ascending order.
fn cuts(a: &Breakdown, b: &Breakdown, points: &Points) -> Vec<usize> {
    let leaps = |side: &Breakdown, place: usize| -> f64 {
        let leaping = side
            .stages
            .iter()
            .filter(|stage| points.place(&stage.from) < place && place < points.place(&stage.to));
        leaping.map(|stage| stage.figures.count as f64).sum()
    };
    let few = |side: &Breakdown, place: usize| leaps(side, place) <= FEW * side.total.count as f64;
    let common = points.common();
    common
        .filter(|place| few(a, *place) && few(b, *place))
        .collect()
}

/// From the first point to the last that (nearly) all requests of both sides pass.
fn between(a: &Breakdown, b: &Breakdown, points: &Points, cuts: &[usize]) -> CommonWay {
    let shares = [a, b].map(Shares::new);
    let pass = |place: usize| {
        let mut shares = shares.iter();
        shares.all(|shares| shares.share(points.at(place)) >= 1.0 - FEW)
    };
    let mut sure = cuts.iter().copied().filter(|place| pass(*place));
    match (sure.next(), sure.next_back()) {
        (Some(first), Some(last)) => CommonWay::Between(first, last),
        _ => CommonWay::None,
    }
}

/// What stages of a breakdown add to the mean of each of its iterations, in their order, in nanoseconds.
pub(crate) fn sum_of_means<'s>(
    iterations: &[IterationFigures],
    stages: impl Iterator<Item = &'s StageFigures>,
) -> Vec<f64> {
    let mut sums: BTreeMap<u32, f64> = iterations.iter().map(|own| (own.iteration, 0.0)).collect();
    for own in stages.flat_map(|stage| &stage.iterations) {
        if let Some(sum) = sums.get_mut(&own.iteration) {
            *sum += own.mean_ns;
        }
    }
    sums.into_values().collect()
}
