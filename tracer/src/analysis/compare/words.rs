//! The difference of two breakdowns in words, and what speaks against believing it.

use crate::{
    analysis::{
        breakdown::Breakdown,
        compare::{
            document::{Compared, Group, Pair, Part, Side, StageCompared, Stretch},
            points::Points,
            stretch::largest,
            verdict::{Outcome, differ, of_iterations},
        },
    },
    report::units::{bytes, percent, time},
};

/// Fewer requests than this are no ground for a statement on a tail.
const FEWEST: u64 = 100;
/// Mean sizes of requests that differ by more than this share are worth a warning.
const SAME_SIZE: f64 = 0.1;
/// Parts that add up to the whole within this share do add up: the rest is rounding.
const ADDS_UP: f64 = 1e-3;
/// A component below this share of a stretch is not named.
const WORTH_NAMING: f64 = 0.01;

impl Pair {
    /// Whether the means differ by more than a percent: else shares of the difference say nothing.
    #[must_use]
    pub fn means_differ(&self) -> bool {
        self.verdict.mean != Outcome::Same
    }

    /// Whether the variances differ by more than a twentieth.
    #[must_use]
    pub fn variances_differ(&self) -> bool {
        self.verdict.variance != Outcome::Same
    }
}

/// How many times A's figure B's is.
fn times(compared: &Compared) -> String {
    compared.ratio.map_or_else(
        || "A has none".into(),
        |ratio| {
            let digits = if ratio.abs() < 100.0 { 2 } else { 0 };
            format!("{ratio:.digits$} times A's")
        },
    )
}

/// Says who takes longer and where; the same of the variance; and whether it may be chance.
pub(super) fn findings(pair: &Pair, points: &Points, a: &Breakdown, b: &Breakdown) -> Vec<String> {
    let mut findings = vec![of_means(pair)];
    findings.extend(of_common_way(pair, points));
    findings.push(of_variances(pair));
    findings.extend(of_iterations(pair, a, b));
    findings
}

fn of_means(pair: &Pair) -> String {
    let total = &pair.total.mean_ns;
    let (a, b) = (total.a.unwrap_or(0.0), total.b.unwrap_or(0.0));
    let means = format!("A {}, B {}", time(a), time(b));
    // Where they say otherwise, few slow requests make the difference.
    let median = |value: Option<f64>| time(value.unwrap_or(0.0));
    let p50 = &pair.total.p50_ns;
    let medians = format!("medians A {}, B {}", median(p50.a), median(p50.b));
    if !pair.means_differ() {
        return format!("The mean of a request is the same, within 1% ({means}; {medians}).");
    }
    let step = total.step();
    let longer = if step > 0.0 { "longer" } else { "less" };
    format!(
        "B takes {} {longer} a request ({means}: {}; {medians}).{}",
        time(step.abs()),
        times(total),
        cause(pair, pair.verdict.mean, step, |part| &part.mean_ns)
    )
}

/// Where the requests of one side are timed further than those of the other: what the difference is
/// on the way that both are timed on.
fn of_common_way(pair: &Pair, points: &Points) -> Option<String> {
    let (a, b) = (&pair.a, &pair.b);
    if has_same_ends(a, b) {
        return None;
    }
    let place = |point: &str| points.place(point);
    let first = place(&a.first_point).max(place(&b.first_point));
    let last = place(&a.last_point).min(place(&b.last_point));
    let is_within = |stretch: &Stretch| first <= place(&stretch.from) && place(&stretch.to) <= last;
    let is_outside =
        |stretch: &Stretch| place(&stretch.to) <= first || last <= place(&stretch.from);
    let (within, outside): (Vec<&Stretch>, Vec<&Stretch>) = pair
        .stretches
        .iter()
        .partition(|stretch| is_within(stretch));
    if within.is_empty() || !outside.into_iter().all(is_outside) {
        return None;
    }
    let sum = |side: fn(&Compared) -> Option<f64>| -> f64 {
        let means = within
            .iter()
            .filter_map(|stretch| side(&stretch.part.mean_ns));
        means.sum()
    };
    let (a, b) = (sum(|mean| mean.a), sum(|mean| mean.b));
    Some(format!(
        "From {} to {}, where both are timed, B takes {} {} a request (A {}, B {}).",
        points.at(first),
        points.at(last),
        time((b - a).abs()),
        if b > a { "longer" } else { "less" },
        time(a),
        time(b)
    ))
}

fn of_variances(pair: &Pair) -> String {
    let total = &pair.total.variance_ns2;
    let spread = |value: Option<f64>| time(value.unwrap_or(0.0).max(0.0).sqrt());
    let spreads = format!(
        "standard deviation A {}, B {}",
        spread(total.a),
        spread(total.b)
    );
    if !pair.variances_differ() {
        return format!("The variance is the same, within 5% ({spreads}).");
    }
    let step = total.step();
    let more = if step > 0.0 { "more" } else { "less" };
    format!(
        "B varies {more} ({spreads}; variance {}).{}",
        times(total),
        cause(pair, pair.verdict.variance, step, |part| {
            &part.variance_ns2
        })
    )
}

/// The stretch that contributes most to a difference, in words, unless that is noise.
fn cause(pair: &Pair, outcome: Outcome, step: f64, of: fn(&Part) -> &Compared) -> String {
    if !outcome.has_cause() {
        return String::new();
    }
    let Some((stretch, share)) = largest(&pair.stretches, step, of) else {
        return String::new();
    };
    let percent = (share * 100.0).round();
    let back = if percent > 100.0 {
        "; other stages make up for some of it"
    } else {
        ""
    };
    format!(
        " {percent:.0}% of that is {}{back}.",
        stretch_words(pair, stretch)
    )
}

fn stretch_words(pair: &Pair, stretch: &Stretch) -> String {
    let members: Vec<&StageCompared> = pair
        .stages
        .iter()
        .filter(|stage| {
            let name = stage.name();
            stretch.stages_a.contains(&name) || stretch.stages_b.contains(&name)
        })
        .collect();
    if let [stage] = &members[..] {
        let only = stage
            .only_in
            .map_or_else(String::new, |side| format!(" (only in {})", side.name()));
        return format!("{}: {}{only}", stage.component.name(), stage.name());
    }
    format!(
        "between {} and {}, where A has {} and B has {}",
        stretch.from,
        stretch.to,
        components(&members, |stage| stage.part.mean_ns.a),
        components(&members, |stage| stage.part.mean_ns.b)
    )
}

/// One side's stages of a stretch by component, the longest first.
fn components(members: &[&StageCompared], of: fn(&StageCompared) -> Option<f64>) -> String {
    let mut times: Vec<(&str, f64)> = Vec::new();
    for stage in members {
        let (name, mean) = (stage.component.name(), of(stage).unwrap_or(0.0));
        match times.iter_mut().find(|known| known.0 == name) {
            Some(known) => known.1 += mean,
            None => times.push((name, mean)),
        }
    }
    times.sort_by(|x, y| y.1.total_cmp(&x.1));
    let whole: f64 = times.iter().map(|(_, mean)| mean).sum();
    let named: Vec<String> = times
        .into_iter()
        .filter(|(_, mean)| *mean > WORTH_NAMING * whole)
        .map(|(name, mean)| format!("{name} {}", time(mean)))
        .collect();
    if named.is_empty() {
        "nothing".into()
    } else {
        named.join(", ")
    }
}

/// What speaks against comparing these two, or against believing it.
pub(super) fn warnings(pair: &Pair, a: &Breakdown, b: &Breakdown) -> Vec<String> {
    let (own, other) = (&pair.a.device, &pair.b.device);
    let devices = if own == other {
        own.clone()
    } else {
        format!("{own}, {other}")
    };
    let title = format!("{} ({devices})", pair.title());
    let mut warnings = Vec::new();
    for (side, group, breakdown) in [(Side::A, &pair.a, a), (Side::B, &pair.b, b)] {
        let name = side.name();
        if group.count < FEWEST {
            let count = group.count;
            warnings.push(format!("{title}: {name} has few requests ({count}): its 99th percentiles are little more than its slowest ones"));
        }
        if group.approximate {
            warnings.push(format!(
                "{title}: {name}'s percentiles are within 12.5% (aggregate mode)"
            ));
        }
        let sum: f64 = breakdown
            .stages
            .iter()
            .map(|stage| stage.figures.sum_ns as f64)
            .sum();
        let total = breakdown.total.sum_ns as f64;
        if (sum - total).abs() > ADDS_UP * total {
            warnings.push(format!("{title}: {name}'s stages add up to {} of its total, not to all of it: the report is damaged, or the request's way was not seen whole", percent(sum / total.max(1.0))));
        }
    }
    warnings.extend(ends(&title, &pair.a, &pair.b));
    let sizes = &pair.total.request_bytes;
    if differ(sizes, SAME_SIZE) {
        warnings.push(format!(
            "{title}: A's requests are of {} on average, B's of {}: their times are not of the same work",
            bytes(sizes.a.unwrap_or(0.0)),
            bytes(sizes.b.unwrap_or(0.0))
        ));
    }
    warnings
}

fn has_same_ends(a: &Group, b: &Group) -> bool {
    a.first_point == b.first_point && a.last_point == b.last_point
}

/// Totals of different intervals.
fn ends(title: &str, a: &Group, b: &Group) -> Option<String> {
    (!has_same_ends(a, b)).then(|| {
        format!(
            "{title}: A's requests are timed from {} to {}, B's from {} to {}: the totals are not of the same way",
            a.first_point, a.last_point, b.first_point, b.last_point
        )
    })
}
