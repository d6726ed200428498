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

/// A point that more than this share of a side's requests leap over is no place to cut.
const MOST_LEAPS: f64 = 0.05;

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

/// Gathers stages into stretches. Each stage is in one, so that these add up as the stages do.
/// `count_a` and `count_b` are the sides' requests.
pub(super) fn stretches(
    stages: &[StageCompared],
    points: &Points,
    count_a: u64,
    count_b: u64,
) -> Vec<Stretch> {
    let placed: Vec<Placed<'_>> = stages
        .iter()
        .map(|stage| Placed {
            stage,
            from: points.place(&stage.from),
            to: points.place(&stage.to),
        })
        .collect();
    let cuts: Vec<usize> = points
        .common()
        .filter(|place| {
            let leaps = || placed.iter().filter(|placed| placed.leaps(*place));
            let few = |leaps: f64, of: u64| leaps <= MOST_LEAPS * of as f64;
            few(leaps().map(|p| p.stage.count_a as f64).sum(), count_a)
                && few(leaps().map(|p| p.stage.count_b as f64).sum(), count_b)
        })
        .collect();
    gather(&placed, &cuts, points)
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

/// Parts as one.
pub(super) fn sum(parts: &[&Part]) -> Part {
    let compared = |of: fn(&Part) -> &Compared| {
        let side = |side: fn(&Compared) -> Option<f64>| {
            let values = parts.iter().filter_map(|part| side(of(part)));
            values.sum::<f64>()
        };
        Compared::both(side(|figure| figure.a), side(|figure| figure.b))
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
