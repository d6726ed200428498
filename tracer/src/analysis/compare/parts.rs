//! Totals, stages and components of two breakdowns, such that the parts' differences add up to those of
//! the totals.

use std::collections::BTreeMap;

use crate::{
    analysis::{
        breakdown::{Breakdown, StageFigures},
        compare::{
            document::{Compared, ComponentCompared, Group, Part, Side, StageCompared, Whole},
            merge::merge,
            points::Points,
            stretch,
        },
    },
    span::taken::is_aside,
};

/// Mean over all requests of a breakdown of what sums up to `sum`.
fn mean(sum: u64, breakdown: &Breakdown) -> f64 {
    sum as f64 / breakdown.total.count.max(1) as f64
}

/// Mean bytes of a request. None: it has none, or they are not known (aggregate mode counts none).
fn request_bytes(breakdown: &Breakdown) -> Option<f64> {
    (breakdown.bytes > 0).then(|| mean(breakdown.bytes, breakdown))
}

/// The totals.
pub(super) fn whole(a: &Breakdown, b: &Breakdown) -> Whole {
    let compared = |of: fn(&Breakdown) -> f64| Compared::both(of(a), of(b));
    Whole {
        mean_ns: compared(|side| mean(side.total.sum_ns, side)),
        p50_ns: compared(|side| side.total.p50_ns as f64),
        p99_ns: compared(|side| side.total.p99_ns as f64),
        variance_ns2: compared(|side| side.total.variance_ns2),
        request_bytes: Compared::new(request_bytes(a), request_bytes(b)),
    }
}

/// The stages of both, in an order that is that of both.
pub(super) fn stages(
    a: &Breakdown,
    b: &Breakdown,
    points: &Points,
    total: &Whole,
) -> Vec<StageCompared> {
    let names = |side: &Breakdown| -> Vec<(String, String)> {
        let stages = side.stages.iter();
        stages
            .map(|stage| (stage.from.clone(), stage.to.clone()))
            .collect()
    };
    let place = |name: &(String, String)| points.place(&name.0);
    merge(&names(a), &names(b), |a, b| place(a) <= place(b))
        .into_iter()
        .filter_map(|(from, to)| {
            let find = |side: &'_ Breakdown| {
                let is_it = |stage: &&StageFigures| stage.from == from && stage.to == to;
                side.stages.iter().find(is_it).cloned()
            };
            stage((a, find(a)), (b, find(b)), total)
        })
        .collect()
}

/// A stage of one side, or of both.
fn stage(
    (whole_a, a): (&Breakdown, Option<StageFigures>),
    (whole_b, b): (&Breakdown, Option<StageFigures>),
    total: &Whole,
) -> Option<StageCompared> {
    let known = a.as_ref().or(b.as_ref())?.clone();
    let compared =
        |of: fn(&StageFigures) -> f64| Compared::new(a.as_ref().map(of), b.as_ref().map(of));
    // Where a side has no such stage, none of its requests spent time in it: zero, and no hole.
    let parts = |of: fn(&StageFigures, &Breakdown) -> f64| {
        let of_a = a.as_ref().map_or(0.0, |stage| of(stage, whole_a));
        let of_b = b.as_ref().map_or(0.0, |stage| of(stage, whole_b));
        Compared::both(of_a, of_b)
    };
    let mean_ns = parts(|stage, whole| mean(stage.figures.sum_ns, whole));
    let variance_ns2 =
        parts(|stage, whole| stage.figures.share_of_variance * whole.total.variance_ns2);
    let count = |side: &Option<StageFigures>| side.as_ref().map_or(0, |stage| stage.figures.count);
    Some(StageCompared {
        only_in: match (&a, &b) {
            (Some(_), None) => Some(Side::A),
            (None, Some(_)) => Some(Side::B),
            _ => None,
        },
        count_a: count(&a),
        count_b: count(&b),
        part: Part {
            share_of_difference: share(&mean_ns, &total.mean_ns),
            share_of_variance_difference: share(&variance_ns2, &total.variance_ns2),
            mean_ns,
            variance_ns2,
        },
        p50_ns: compared(|stage| stage.figures.p50_ns as f64),
        p99_ns: compared(|stage| stage.figures.p99_ns as f64),
        from: known.from,
        to: known.to,
        letters: known.letters,
        component: known.component,
    })
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

/// The stages by component, the largest difference first.
pub(super) fn components(stages: &[StageCompared]) -> Vec<ComponentCompared> {
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
            let parts: Vec<&Part> = members.iter().map(|stage| &stage.part).collect();
            Some(ComponentCompared {
                component: members.first()?.component,
                only_in: match (has(Side::A), has(Side::B)) {
                    (true, false) => Some(Side::A),
                    (false, true) => Some(Side::B),
                    _ => None,
                },
                part: stretch::sum(&parts),
            })
        })
        .collect();
    let size = |component: &ComponentCompared| component.part.mean_ns.step().abs();
    components.sort_by(|x, y| size(y).total_cmp(&size(x)));
    components
}

/// What a side of the pair is.
pub(super) fn group(breakdown: &Breakdown, stages: &[StageCompared], side: Side) -> Group {
    let (first_point, last_point) = ends(stages, side);
    Group {
        title: breakdown.title(),
        datapath: breakdown.datapath.clone(),
        domain: breakdown.domain.clone(),
        device: breakdown.device.clone(),
        operation: breakdown.operation.clone(),
        count: breakdown.total.count,
        bytes: breakdown.bytes,
        approximate: breakdown.approximate,
        first_point,
        last_point,
    }
}

/// Where most of a side's requests begin and end: more leave the first point than reach it, and more
/// reach the last one than leave it.
fn ends(stages: &[StageCompared], side: Side) -> (String, String) {
    let mut leaving: BTreeMap<&str, i128> = BTreeMap::new();
    let on_the_way = stages.iter().filter(|stage| !is_aside(&stage.from));
    for stage in on_the_way.filter(|stage| stage.is_in(side)) {
        let count = match side {
            Side::A => stage.count_a,
            Side::B => stage.count_b,
        };
        *leaving.entry(&stage.from).or_default() += i128::from(count);
        *leaving.entry(&stage.to).or_default() -= i128::from(count);
    }
    let most = |sign: i128| {
        let point = leaving.iter().max_by_key(|(_, count)| sign * **count);
        point.map_or_else(String::new, |(point, _)| (*point).to_owned())
    };
    (most(1), most(-1))
}
