//! Stages gathered between points that both sides have. Where the datapaths differ (a native disk's
//! `blk.issue..irq.entry` is ring, backend and event channel of a vbd) no stage of one side can be held
//! against one of the other, but the way from where they part to where they meet can.

use crate::{
    compare::{
        compared::Compared,
        document::{Part, StageCompared, Stretch, Way, Whole},
        points::Points,
        side::Side,
        way::Sides,
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

/// Gathers stages into stretches between cuts. Each stage is in one, so that these add up as the stages do.
pub(super) fn stretches(
    stages: &[StageCompared],
    sides: &Sides<'_>,
    way: Option<&Way>,
    total: &Whole,
) -> Vec<Stretch> {
    let placed: Vec<Placed<'_>> = stages
        .iter()
        .map(|stage| Placed {
            stage,
            from: sides.points.place(&stage.from),
            to: sides.points.place(&stage.to),
        })
        .collect();
    let groups = gather(&placed, &sides.cuts, &sides.points).into_iter();
    groups
        .map(|(key, members)| stretch(key, &members, sides, way.map(|way| (way, total))))
        .collect()
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

fn gather<'p>(
    placed: &'p [Placed<'p>],
    cuts: &[usize],
    points: &Points,
) -> Vec<(Key, Vec<&'p Placed<'p>>)> {
    let mut groups: Vec<(Key, Vec<&Placed<'p>>)> = Vec::new();
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
}

/// The stages of a group as one; `whole`: what those on the way that both sides are timed on are a part of.
fn stretch(
    (from, to, alone): Key,
    members: &[&Placed<'_>],
    sides: &Sides<'_>,
    whole: Option<(&Way, &Whole)>,
) -> Stretch {
    let name = |place: Option<usize>| place.map_or("", |place| sides.points.at(place)).to_owned();
    let of = |side: Side| -> Vec<String> {
        let own = members.iter().filter(|placed| placed.stage.is_in(side));
        own.map(|placed| placed.stage.name()).collect()
    };
    let parts: Vec<&Part> = members.iter().map(|placed| &placed.stage.part).collect();
    let (stages_a, stages_b) = (of(Side::A), of(Side::B));
    let first = members.iter().find_map(|placed| placed.stage.not_compared);
    let is_all_of_both = !alone && !stages_a.is_empty() && !stages_b.is_empty();
    // Between two cuts the stages of both sides are the whole way, whichever points these have in between.
    let (part, not_compared) = match whole {
        Some(whole) if is_all_of_both && sides.is_way_compared(from, to) => {
            (compared(&parts, whole), None)
        }
        _ => (sum(&parts), first),
    };
    Stretch {
        from: name(members.iter().map(|placed| placed.from).min()),
        to: name(members.iter().map(|placed| placed.to).max()),
        stages_a,
        stages_b,
        not_compared,
        part,
    }
}

/// Parts as one that can be compared, whether or not each of them can.
fn compared(parts: &[&Part], (way, total): (&Way, &Whole)) -> Part {
    let sum = |of: fn(&Part) -> &Compared, side: fn(&Compared) -> Option<f64>| -> f64 {
        parts.iter().filter_map(|part| side(of(part))).sum()
    };
    let both = |of: fn(&Part) -> &Compared| (sum(of, |own| own.a), sum(of, |own| own.b));
    let (a, b) = both(|part| &part.mean_ns);
    let (cov_a, cov_b) = both(|part| &part.variance_ns2);
    Part::of(
        Compared::both(a, b),
        (Some(cov_a), Some(cov_b)),
        Some((way, total)),
    )
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
