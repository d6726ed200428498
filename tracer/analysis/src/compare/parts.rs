//! Totals, stages and components of two breakdowns, such that the parts' differences add up to those of
//! the totals.

use std::collections::BTreeMap;

use crate::{
    breakdown::{Breakdown, StageFigures},
    compare::{
        compared::Compared,
        document::{ComponentCompared, Group, NotCompared, Part, StageCompared, Way, Whole},
        ends::Ends,
        merge::merge,
        side::Side,
        stretch,
        way::{CommonWay, Sides},
    },
};

/// Mean over all requests of a breakdown of what sums up to `sum`.
fn mean(sum: u64, breakdown: &Breakdown) -> f64 {
    sum as f64 / breakdown.total.count.max(1) as f64
}

/// Mean bytes of a request. None: it has none, or they are not known (aggregate mode counts none).
fn request_bytes(breakdown: &Breakdown) -> Option<f64> {
    (breakdown.bytes > 0).then(|| mean(breakdown.bytes, breakdown))
}

/// The totals, of which only those of one way have a difference.
pub(super) fn whole(sides: &Sides<'_>) -> Whole {
    let (a, b) = (sides.a, sides.b);
    let compared = |of: fn(&Breakdown) -> f64| match sides.common {
        CommonWay::Total => Compared::both(of(a), of(b)),
        _ => Compared::apart(Some(of(a)), Some(of(b))),
    };
    Whole {
        mean_ns: compared(|side| mean(side.total.sum_ns, side)),
        p50_ns: compared(|side| side.total.p50_ns as f64),
        p99_ns: compared(|side| side.total.p99_ns as f64),
        variance_ns2: compared(|side| side.total.variance_ns2),
        request_bytes: Compared::new(request_bytes(a), request_bytes(b)),
    }
}

/// The way that both sides are timed on; `total` is theirs.
pub(super) fn way(sides: &Sides<'_>, total: &Whole) -> Option<Way> {
    let (from, to) = sides.ends()?;
    let is_total = sides.common == CommonWay::Total;
    let sum = |side: &Breakdown| {
        let stages = side.stages.iter();
        let on_it = stages.filter(|stage| sides.is_on_way(stage));
        on_it.map(|stage| mean(stage.figures.sum_ns, side)).sum()
    };
    Some(Way {
        from,
        to,
        is_total,
        mean_ns: if is_total {
            total.mean_ns
        } else {
            Compared::both(sum(sides.a), sum(sides.b))
        },
    })
}

/// The stages of both, in an order that is that of both; `way` and `total` are theirs.
pub(super) fn stages(sides: &Sides<'_>, way: Option<&Way>, total: &Whole) -> Vec<StageCompared> {
    let names = |side: &Breakdown| -> Vec<(String, String)> {
        let stages = side.stages.iter();
        stages
            .map(|stage| (stage.from.clone(), stage.to.clone()))
            .collect()
    };
    let place = |name: &(String, String)| sides.points.place(&name.0);
    let order = merge(&names(sides.a), &names(sides.b), |a, b| {
        place(a) <= place(b)
    });
    let stages = order.into_iter().filter_map(|(from, to)| {
        let find = |side: &Breakdown| {
            let is_it = |stage: &&StageFigures| stage.from == from && stage.to == to;
            side.stages.iter().find(is_it).cloned()
        };
        let (a, b) = (find(sides.a), find(sides.b));
        let only_in = match (&a, &b) {
            (Some(_), None) => Some(Side::A),
            (None, Some(_)) => Some(Side::B),
            _ => None,
        };
        let not_compared = sides.not_compared(&from, &to, only_in);
        let whole = way
            .filter(|_| not_compared.is_none())
            .map(|way| (way, total));
        let compared = stage((sides.a, a), (sides.b, b), whole)?;
        Some(StageCompared {
            only_in,
            not_compared,
            ..compared
        })
    });
    stages.collect()
}

/// A stage of one side, or of both; `whole`: what it is a part of on both sides, if it is.
fn stage(
    (whole_a, a): (&Breakdown, Option<StageFigures>),
    (whole_b, b): (&Breakdown, Option<StageFigures>),
    whole: Option<(&Way, &Whole)>,
) -> Option<StageCompared> {
    let known = a.as_ref().or(b.as_ref())?.clone();
    let compared = |of: fn(&StageFigures) -> f64| {
        let (a, b) = (a.as_ref().map(of), b.as_ref().map(of));
        match whole {
            Some(_) => Compared::new(a, b),
            None => Compared::apart(a, b),
        }
    };
    let parts = |of: fn(&StageFigures, &Breakdown) -> f64| {
        let of_a = a.as_ref().map(|stage| of(stage, whole_a));
        let of_b = b.as_ref().map(|stage| of(stage, whole_b));
        // On a way that both pass a side without such a stage spent no time in it: zero, and no hole.
        match whole {
            Some(_) => Compared::both(of_a.unwrap_or(0.0), of_b.unwrap_or(0.0)),
            None => Compared::apart(of_a, of_b),
        }
    };
    let mean_ns = parts(|stage, whole| mean(stage.figures.sum_ns, whole));
    let covariance =
        parts(|stage, whole| stage.figures.share_of_variance * whole.total.variance_ns2);
    let count = |side: &Option<StageFigures>| side.as_ref().map_or(0, |stage| stage.figures.count);
    Some(StageCompared {
        only_in: None,
        not_compared: None,
        count_a: count(&a),
        count_b: count(&b),
        part: Part::of(mean_ns, (covariance.a, covariance.b), whole),
        p50_ns: compared(|stage| stage.figures.p50_ns as f64),
        p99_ns: compared(|stage| stage.figures.p99_ns as f64),
        from: known.from,
        to: known.to,
        letters: known.letters,
        component: known.component,
    })
}

impl Part {
    /// What it is of the whole, if it can be compared: only totals of one way have variances that can.
    pub(super) fn of(
        mean_ns: Compared,
        (cov_a, cov_b): (Option<f64>, Option<f64>),
        whole: Option<(&Way, &Whole)>,
    ) -> Self {
        let variance_ns2 = match whole {
            Some((way, _)) if way.is_total => Compared::new(cov_a, cov_b),
            _ => Compared::apart(cov_a, cov_b),
        };
        Self {
            share_of_difference: whole.and_then(|(way, _)| share(&mean_ns, &way.mean_ns)),
            share_of_variance_difference: whole
                .and_then(|(_, total)| share(&variance_ns2, &total.variance_ns2)),
            mean_ns,
            variance_ns2,
        }
    }
}

/// A difference below this share of both figures is what floating point leaves.
const LEAST_DIFFERENCE: f64 = 1e-9;

/// A part's share of the whole's difference.
fn share(part: &Compared, whole: &Compared) -> Option<f64> {
    let (a, b) = whole.a.zip(whole.b)?;
    let least = LEAST_DIFFERENCE * a.abs().max(b.abs());
    let share = part.difference? / whole.difference.filter(|step| step.abs() > least)?;
    share.is_finite().then_some(share)
}

/// The stages by component, the largest difference first; `whole` is what they are parts of.
pub(super) fn components(
    stages: &[StageCompared],
    sides: &Sides<'_>,
    whole: Option<(&Way, &Whole)>,
) -> Vec<ComponentCompared> {
    let mut groups: BTreeMap<&str, Vec<&StageCompared>> = BTreeMap::new();
    for stage in stages {
        groups
            .entry(stage.component.name())
            .or_default()
            .push(stage);
    }
    let mut components: Vec<ComponentCompared> = groups
        .into_values()
        .filter_map(|members| {
            let has = |side: Side| members.iter().any(|stage| stage.is_in(side));
            let parts = |is_off: bool| -> Vec<Part> {
                let off = |stage: &&&StageCompared| {
                    (stage.not_compared == Some(NotCompared::OffTheWay)) == is_off
                };
                let members = members.iter().filter(off);
                members
                    .map(|stage| part_of_component(stage, sides, whole))
                    .collect()
            };
            let (on_way, off) = (parts(false), parts(true));
            let parts = if on_way.is_empty() { &off } else { &on_way };
            Some(ComponentCompared {
                component: members.first()?.component,
                only_in: match (has(Side::A), has(Side::B)) {
                    (true, false) => Some(Side::A),
                    (false, true) => Some(Side::B),
                    _ => None,
                },
                // Of one that is only in part on the common way, that part.
                part: stretch::sum(&parts.iter().collect::<Vec<_>>()),
            })
        })
        .collect();
    let size = |component: &ComponentCompared| component.part.mean_ns.step().abs();
    components.sort_by(|x, y| size(y).total_cmp(&size(x)));
    components
}

/// A stage as a part of its component: one that a few requests of one side pass took those of the other no time.
fn part_of_component(
    stage: &StageCompared,
    sides: &Sides<'_>,
    whole: Option<(&Way, &Whole)>,
) -> Part {
    let Part {
        mean_ns,
        variance_ns2,
        ..
    } = &stage.part;
    if !sides.is_by_chance(stage) {
        return stage.part.clone();
    }
    let of_both = |figure: &Compared| (figure.a.unwrap_or(0.0), figure.b.unwrap_or(0.0));
    let ((a, b), (cov_a, cov_b)) = (of_both(mean_ns), of_both(variance_ns2));
    Part::of(Compared::both(a, b), (Some(cov_a), Some(cov_b)), whole)
}

/// What a side of the pair is.
pub(super) fn group(breakdown: &Breakdown) -> Group {
    let ends = Ends::new(breakdown);
    Group {
        title: breakdown.title(),
        datapath: breakdown.datapath.clone(),
        domain: breakdown.domain.clone(),
        device: breakdown.device.clone(),
        operation: breakdown.operation.clone(),
        count: breakdown.total.count,
        bytes: breakdown.bytes,
        approximate: breakdown.approximate,
        first_point: ends.first(),
        last_point: ends.last(),
    }
}
