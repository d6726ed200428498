//! A differential flame graph: class and operation, component, stage; coloured by inferno by what B
//! takes longer or shorter than A.
//!
//! Weights are nanoseconds a request, so that runs of different lengths compare. inferno draws a frame
//! as wide as the second of its two weights, and would leave out what only the first has; so the second
//! is the larger of both here, and the first is such that the difference stays what it is.

use std::fmt::Write as _;

use anyhow::bail;
use inferno::flamegraph::Options;

use crate::{
    compare::{Compared, Comparison, Pair, Part},
    report::{folded::clean, svg::draw},
    units::{step, time},
};

/// Weights beyond this (115 days) are of a damaged recording, and more than inferno's colours count to.
const MOST_NS: f64 = 1e16;

pub(super) fn render(comparison: &Comparison) -> anyhow::Result<Vec<u8>> {
    let weight = |part: &Part| weights(&part.mean_ns).1;
    let stages = comparison.pairs.iter().flat_map(|pair| &pair.stages);
    let sum: f64 = stages.map(|stage| weight(&stage.part) as f64).sum();
    if sum < 1.0 {
        bail!("there is nothing to draw: no requests of both runs are paired");
    }
    if sum > MOST_NS {
        bail!("there is nothing to draw: the times of a request add up to over 115 days");
    }
    let folded = folded(comparison);
    let mut options = Options::default();
    options.title =
        "Mean time of a request: what B takes longer (red) or shorter (blue) than A".into();
    options.subtitle = Some(format!(
        "A: {}, B: {}; ns a request; a frame is as wide as the longer of both",
        clean(&comparison.a.source),
        clean(&comparison.b.source)
    ));
    options.count_name = "ns a request".into();
    draw(&folded, options)
}

/// Folded stacks with two weights each.
fn folded(comparison: &Comparison) -> String {
    let mut out = String::new();
    for pair in &comparison.pairs {
        let class = pair.a.datapath.split('/').next().unwrap_or_default();
        for stage in &pair.stages {
            let component = stage.component.name();
            let whole = pair
                .components
                .iter()
                .find(|whole| whole.component == stage.component)
                .map_or(&stage.part.mean_ns, |whole| &whole.part.mean_ns);
            let frames = [
                class.to_owned(),
                labelled(&operation(pair), &pair.total.mean_ns),
                labelled(component, whole),
                labelled(&stage.name(), &stage.part.mean_ns),
            ]
            .map(|frame| clean(&frame))
            .join(";");
            let (first, second) = weights(&stage.part.mean_ns);
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{frames} {first} {second}");
        }
    }
    out
}

/// The operation, and whose: a pair differs from every other in it.
fn operation(pair: &Pair) -> String {
    let (a, b) = (&pair.a, &pair.b);
    if a.title == b.title {
        format!("{} ({})", a.operation, a.title)
    } else {
        format!("{} (A {} | B {})", a.operation, a.title, b.title)
    }
}

/// A frame with both sides' means: a frame's own figures are those of its width.
fn labelled(name: &str, mean: &Compared) -> String {
    let side = |value: Option<f64>| value.map_or_else(|| "not timed".into(), time);
    let (a, b) = (side(mean.a), side(mean.b));
    let difference = mean.difference.map_or_else(|| "not compared".into(), step);
    format!("{name}: A {a}, B {b}, {difference}")
}

/// The two weights of a frame: the second is its width, the second less the first is its colour. What cannot be compared
/// has none.
fn weights(mean: &Compared) -> (u64, u64) {
    let whole = |value: Option<f64>| value.unwrap_or(0.0).clamp(0.0, MOST_NS).round() as u64;
    let (a, b) = (whole(mean.a), whole(mean.b));
    let width = a.max(b);
    if mean.difference.is_none() {
        return (width, width);
    }
    (width - b + a, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_wide_as_the_longer_side_and_as_coloured_as_they_differ() {
        for (a, b) in [(0i32, 7i32), (7, 0), (5, 7), (7, 5), (7, 7)] {
            let (first, second) = weights(&Compared::both(f64::from(a), f64::from(b)));
            assert_eq!(second, u64::from(a.max(b).unsigned_abs()));
            let difference = second.cast_signed() - first.cast_signed();
            assert_eq!(difference, i64::from(b - a));
        }
    }

    #[test]
    fn what_only_one_side_is_timed_on_is_neither_longer_nor_shorter() {
        let apart = Compared::apart(Some(7.0), None);
        assert_eq!(weights(&apart), (7, 7));
        assert_eq!(
            labelled("x", &apart),
            "x: A 7 ns, B not timed, not compared"
        );
    }
}
