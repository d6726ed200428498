//! The way on which both sides of a pair are timed: one rule for `compare` and `check`.
//!
//! A total goes from a request's first point to its last. Where a kernel has refused a probe, the last point
//! is an earlier one, and the total a smaller figure of a shorter way: no faster kernel. What can be held
//! against each other is the way between points that (nearly) all requests of both sides pass.

use std::collections::BTreeMap;

use crate::{
    analysis::{
        breakdown::{Breakdown, IterationFigures, StageFigures},
        compare::{ends::Ends, lacking::shares, points::Points},
    },
    report::units::percent,
    span::taken::is_aside,
};

/// A point that more than this share of a side's requests leap over is no place to cut.
const MOST_LEAPS: f64 = 0.05;
/// The same of points that the way may begin or end at: so many may not pass them.
const MOST_ELSEWHERE: f64 = MOST_LEAPS;

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

/// Two breakdowns, and what must be known of both before their parts are compared.
#[derive(Debug)]
pub(super) struct Sides<'b> {
    pub(super) a: &'b Breakdown,
    pub(super) b: &'b Breakdown,
    pub(super) points: Points,
    /// The places of the points that both sides pass and hardly any request leaps over, in ascending order.
    pub(super) cuts: Vec<usize>,
    pub(super) common: CommonWay,
}

impl<'b> Sides<'b> {
    pub(super) fn new(a: &'b Breakdown, b: &'b Breakdown) -> Self {
        let points = Points::new(a, b);
        let cuts = cuts(a, b, &points);
        let common = if Ends::told(a).are_those_of(&Ends::told(b)) {
            CommonWay::Total
        } else {
            between(a, b, &points, &cuts)
        };
        Self {
            a,
            b,
            points,
            cuts,
            common,
        }
    }

    /// Whether what passes between two points is on the way that both sides are timed on. What is aside is at no
    /// place of the way.
    pub(super) fn is_on_way(&self, from: &str, to: &str) -> bool {
        let (from_place, to_place) = (self.points.place(from), self.points.place(to));
        match self.common {
            CommonWay::Total => true,
            CommonWay::Between(first, last) => {
                !is_aside(from) && first <= from_place && to_place <= last
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
        let parts = side
            .stages
            .iter()
            .filter(|stage| self.is_on_way(&stage.from, &stage.to));
        sum_of_means(&side.iterations, parts)
    }

    /// What tells the sides' ends apart most, of equals the latest; `names`: theirs, as in "of A's requests".
    pub(super) fn what_differs(&self, names: [&str; 2]) -> String {
        let ends = [self.a, self.b].map(Ends::told);
        let mut most = (0.0, String::new());
        for point in (0..self.points.count()).map(|place| self.points.at(place)) {
            for (verb, sign) in [("begin", 1.0), ("end", -1.0)] {
                let [a, b] = [0, 1].map(|side| ends[side].share(point, sign));
                if (a - b).abs() >= most.0 {
                    let (of_a, of_b, [own, other]) = (percent(a), percent(b), names);
                    let words =
                        format!("{of_a} of {own} requests {verb} at {point}, {of_b} of {other}");
                    most = ((a - b).abs(), words);
                }
            }
        }
        most.1
    }
}

/// What tells the ends of two breakdowns' requests apart most; `names` are theirs.
pub(in crate::analysis) fn what_differs(a: &Breakdown, b: &Breakdown, names: [&str; 2]) -> String {
    Sides::new(a, b).what_differs(names)
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
    let few =
        |side: &Breakdown, place: usize| leaps(side, place) <= MOST_LEAPS * side.total.count as f64;
    let common = points.common();
    common
        .filter(|place| few(a, *place) && few(b, *place))
        .collect()
}

/// From the first point to the last that (nearly) all requests of both sides pass.
fn between(a: &Breakdown, b: &Breakdown, points: &Points, cuts: &[usize]) -> CommonWay {
    let (shares_a, shares_b) = (shares(a), shares(b));
    let pass = |shares: &BTreeMap<String, f64>, place: usize| {
        let share = shares.get(points.at(place)).copied();
        share.unwrap_or(0.0) >= 1.0 - MOST_ELSEWHERE
    };
    let mut sure = cuts
        .iter()
        .copied()
        .filter(|place| pass(&shares_a, *place) && pass(&shares_b, *place));
    match (sure.next(), sure.next_back()) {
        (Some(first), Some(last)) => CommonWay::Between(first, last),
        _ => CommonWay::None,
    }
}

/// What stages of a breakdown add to the mean of each of its iterations, in their order, in nanoseconds.
pub(in crate::analysis) fn sum_of_means<'s>(
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
