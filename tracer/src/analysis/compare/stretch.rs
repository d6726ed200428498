//! Stages gathered between points that both sides have. Where the datapaths differ (a native disk's
//! `blk.issue..irq.entry` is ring, backend and event channel of a vbd) no stage of one side can be held
//! against one of the other, but the way from where they part to where they meet can.

use crate::{
    analysis::compare::{
        document::{Compared, Part, Side, StageCompared, Stretch},
        points::Points,
    },
    span::taken::is_aside,
};

/// A stage, and its ends as places in the order of all points.
struct Placed<'s> {
    stage: &'s StageCompared,
    from: usize,
    to: usize,
}

impl Placed<'_> {
    fn leaps(&self, place: usize) -> bool {
        self.from < place && place < self.to
    }
}

/// Gathers stages into stretches between `cuts`. Each stage is in one, so that these add up as the stages do.
pub(super) fn stretches(stages: &[StageCompared], points: &Points, cuts: &[usize]) -> Vec<Stretch> {
    let placed: Vec<Placed<'_>> = stages
        .iter()
        .map(|stage| Placed {
            stage,
            from: points.place(&stage.from),
            to: points.place(&stage.to),
        })
        .collect();
    gather(&placed, cuts, points)
}

/// The stretch that contributes most to `step`, the difference of a figure of the totals, and its share.
pub(super) fn largest(
    stretches: &[Stretch],
    step: f64,
    of: fn(&Part) -> &Compared,
) -> Option<(&Stretch, f64)> {
    stretches
        .iter()
        .map(|stretch| (stretch, of(&stretch.part).step() / step))
        .max_by(|x, y| x.1.total_cmp(&y.1))
        .filter(|(_, share)| share.is_finite() && *share > 0.0)
}

/// What the stages of a stretch have in common: the cuts around them, or their own ends, if they stand
/// alone.
type Key = (usize, usize, bool);

fn gather(placed: &[Placed<'_>], cuts: &[usize], points: &Points) -> Vec<Stretch> {
    let mut groups: Vec<(Key, Vec<&Placed<'_>>)> = Vec::new();
    for stage in placed {
        // The few that leap over a cut, and what contradicts the order, stand alone.
        let alone = is_aside(&stage.stage.from)
            || stage.from >= stage.to
            || cuts.iter().any(|cut| stage.leaps(*cut));
        let key = if alone {
            (stage.from, stage.to, true)
        } else {
            let low = cuts.iter().rfind(|cut| **cut <= stage.from);
            let high = cuts.iter().find(|cut| **cut >= stage.to);
            let low = low.copied().unwrap_or(0);
            (low, high.copied().unwrap_or(points.count()), false)
        };
        match groups.iter_mut().find(|group| group.0 == key) {
            Some(group) => group.1.push(stage),
            None => groups.push((key, vec![stage])),
        }
    }
    groups
        .into_iter()
        .map(|(_, members)| stretch(&members, points))
        .collect()
}

fn stretch(members: &[&Placed<'_>], points: &Points) -> Stretch {
    let name = |place: Option<usize>| place.map_or("", |place| points.at(place)).to_owned();
    let of = |side: Side| {
        let own = members.iter().filter(|placed| placed.stage.is_in(side));
        own.map(|placed| placed.stage.name()).collect()
    };
    let parts: Vec<&Part> = members.iter().map(|placed| &placed.stage.part).collect();
    Stretch {
        from: name(members.iter().map(|placed| placed.from).min()),
        to: name(members.iter().map(|placed| placed.to).max()),
        stages_a: of(Side::A),
        stages_b: of(Side::B),
        part: sum(&parts),
    }
}

/// Parts as one. What a part cannot be compared in, the whole cannot neither.
pub(super) fn sum(parts: &[&Part]) -> Part {
    let compared = |of: fn(&Part) -> &Compared| {
        let side = |side: fn(&Compared) -> Option<f64>| {
            let values = parts.iter().map(|part| side(of(part)));
            values.flatten().reduce(|x, y| x + y)
        };
        let (a, b) = (side(|figure| figure.a), side(|figure| figure.b));
        if parts.iter().all(|part| of(part).difference.is_some()) {
            Compared::new(a, b)
        } else {
            Compared::apart(a, b)
        }
    };
    let share = |of: fn(&Part) -> Option<f64>| {
        let shares: Option<Vec<f64>> = parts.iter().map(|part| of(part)).collect();
        shares.map(|shares| shares.iter().sum())
    };
    Part {
        mean_ns: compared(|part| &part.mean_ns),
        share_of_difference: share(|part| part.share_of_difference),
        variance_ns2: compared(|part| &part.variance_ns2),
        share_of_variance_difference: share(|part| part.share_of_variance_difference),
    }
}
