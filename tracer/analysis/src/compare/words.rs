//! The difference of two breakdowns in words, and what speaks against believing it.

use crate::{
    breakdown::Breakdown,
    compare::{
        compared::Compared,
        document::{Lack, NotCompared, Pair, Part, StageCompared, Stretch, Way},
        outcome::Outcome,
        side::Side,
        stretch::largest,
        verdict::{differ, of_iterations},
        way::Sides,
    },
    units::{bytes, percent, time},
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
        !matches!(self.verdict.mean, Outcome::Same | Outcome::OtherWay)
    }

    /// Whether the variances differ by more than a twentieth.
    #[must_use]
    pub fn variances_differ(&self) -> bool {
        !matches!(self.verdict.variance, Outcome::Same | Outcome::OtherWay)
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
pub(super) fn findings(pair: &Pair, sides: &Sides<'_>) -> Vec<String> {
    let mut findings = match &pair.way {
        Some(way) if way.is_total => vec![of_means(pair), of_variances(pair)],
        Some(way) => vec![of_way(pair, way), of_totals(sides)],
        None => vec![format!(
            "Nothing is compared: there is no way on which the requests of both sides are timed. {}",
            of_totals(sides)
        )],
    };
    findings.extend(of_iterations(pair, sides));
    findings
}

fn of_means(pair: &Pair) -> String {
    let total = &pair.total.mean_ns;
    let means = means(total);
    // Where they say otherwise, few slow requests make the difference.
    let median = |value: Option<f64>| time(value.unwrap_or(0.0));
    let p50 = &pair.total.p50_ns;
    let medians = format!("medians A {}, B {}", median(p50.a), median(p50.b));
    if !pair.means_differ() {
        return format!("The mean of a request is the same, within 1% ({means}; {medians}).");
    }
    format!(
        "B takes {} a request ({means}: {}; {medians}).{}",
        longer(total.step()),
        times(total),
        cause(pair, pair.verdict.mean, total.step(), |part| &part.mean_ns)
    )
}

/// Of requests that are not timed on the same way, where both are.
fn of_way(pair: &Pair, way: &Way) -> String {
    let mean = &way.mean_ns;
    let both_timed = format!("From {} to {}, where both are timed,", way.from, way.to);
    let means = means(mean);
    if !pair.means_differ() {
        return format!("{both_timed} the mean of a request is the same, within 1% ({means}).");
    }
    format!(
        "{both_timed} B takes {} a request ({means}: {}).{}",
        longer(mean.step()),
        times(mean),
        cause(pair, pair.verdict.mean, mean.step(), |part| &part.mean_ns)
    )
}

/// Why totals are not compared.
fn of_totals(sides: &Sides<'_>) -> String {
    let differs = sides.elsewhere.as_ref();
    let differs = differs.map_or_else(String::new, |own| own.words(["A's", "B's"]));
    format!("The totals are not of the same way, and not compared: {differs}.")
}

fn means(mean: &Compared) -> String {
    let (a, b) = (mean.a.unwrap_or(0.0), mean.b.unwrap_or(0.0));
    format!("A {}, B {}", time(a), time(b))
}

/// By how much B takes longer, or less.
fn longer(step: f64) -> String {
    let longer = if step > 0.0 { "longer" } else { "less" };
    format!("{} {longer}", time(step.abs()))
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
        .filter(|stage| stretch.has(stage))
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
    warnings.extend(ends(&title, pair));
    for side in [Side::A, Side::B] {
        let lacking = pair.lacking.iter().filter(|lacking| lacking.side == side);
        let points: Vec<String> = lacking.map(|lacking| lacking.lack.words()).collect();
        if !points.is_empty() {
            let (name, points) = (side.name(), points.join(", "));
            warnings.push(format!("{title}: {name} lacks {points}: only the ways between points that both have are compared"));
        }
    }
    if pair
        .stages
        .iter()
        .any(|stage| stage.not_compared == Some(NotCompared::TakenApart))
    {
        warnings.push(format!("{title}: what others took of stages is not known alike of A and B: the stages are not compared"));
    }
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

/// Totals of different intervals.
fn ends(title: &str, pair: &Pair) -> Option<String> {
    let (a, b) = (&pair.a, &pair.b);
    let is_total = pair.way.as_ref().is_some_and(|way| way.is_total);
    let has_same = a.first_point == b.first_point && a.last_point == b.last_point;
    if is_total {
        return None;
    }
    Some(if has_same {
        format!(
            "{title}: many requests of one side are timed further than the other's: the totals are not of the same way, and not compared"
        )
    } else {
        format!(
            "{title}: A's requests are timed from {} to {}, B's from {} to {}: the totals are not of the same way, and not compared",
            a.first_point, a.last_point, b.first_point, b.last_point
        )
    })
}

impl Lack {
    /// The point, how many of the requests pass it all the same, and why.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = self.point.clone();
        if self.runs > 0 && self.runs < self.of {
            words += &format!(" in {} of {} runs", self.runs, self.of);
        } else if self.share > 0.0 {
            let (own, other) = (percent(self.share), percent(self.other_share));
            words += &format!(" of many requests ({own} pass it, {other} of the other side's)");
        }
        if let Some(why) = &self.why {
            words += &format!(" ({why})");
        }
        words
    }
}
