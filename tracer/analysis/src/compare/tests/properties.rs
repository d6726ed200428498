//! What must hold for every comparison.

use proptest::prelude::*;
use tracer_common::point::{Kind, Point};

use super::{pair, span};
use crate::{
    compare::{Compared, Pair, Part, Side},
    span::Span,
};

/// A request: its points, and the time to each from the one before.
type Steps = Vec<(Point, u64)>;

/// Requests that pass some of a disk's points, those on Xen among them.
fn requests() -> impl Strategy<Value = Vec<Span>> {
    let points = Kind::Disk.points();
    let steps = prop::collection::vec(prop::option::weighted(0.8, 0u64..5_000_000), points.len());
    let request = steps.prop_filter_map("two points", |steps| {
        let passed: Steps = Kind::Disk
            .points()
            .iter()
            .zip(steps)
            .filter_map(|(point, step)| Some((*point, step?)))
            .collect();
        (passed.len() >= 2).then(|| span("disk/native", 1, &passed))
    });
    prop::collection::vec(request, 1..40)
}

/// Requests that pass every point, the first `extra` ns later to one of them.
fn whole(steps: &[Vec<u64>], stage: usize, extra: u64) -> Vec<Span> {
    let later = |at: usize| if at == stage + 1 { extra } else { 0 };
    let request = |steps: &Vec<u64>| {
        let points = Kind::Disk.points().iter().zip(steps).enumerate();
        let passed: Steps = points
            .map(|(at, (point, step))| (*point, step + later(at)))
            .collect();
        span("disk/native", 1, &passed)
    };
    steps.iter().map(request).collect()
}

/// Whether parts add up to the way that both sides are timed on, and in variance to the totals.
fn check_sum<'p>(
    parts: impl Iterator<Item = &'p Part> + Clone,
    pair: &Pair,
) -> Result<(), TestCaseError> {
    let mean: f64 = parts.clone().map(|part| part.mean_ns.step()).sum();
    let size = |figure: &Compared| 1.0 + figure.a.unwrap_or(0.0) + figure.b.unwrap_or(0.0);
    let way = pair
        .way
        .as_ref()
        .map_or_else(Compared::default, |way| way.mean_ns);
    prop_assert!(
        (mean - way.step()).abs() < 1e-9 * size(&pair.total.mean_ns),
        "{} {:?}",
        mean,
        way
    );
    if !pair.way.as_ref().is_some_and(|way| way.is_total) {
        prop_assert_eq!(pair.total.mean_ns.difference, None);
        return Ok(());
    }
    let variance: f64 = parts.map(|part| part.variance_ns2.step()).sum();
    let total = &pair.total.variance_ns2;
    prop_assert!(
        (variance - total.step()).abs() < 1e-6 * size(total),
        "{} {:?}",
        variance,
        total
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn differences_of_parts_add_up_to_the_difference_of_totals(a in requests(), b in requests()) {
        // Of one datapath, what only one side has is not compared, and no part of any difference.
        for stage in &pair(&a, &b).stages {
            let is_compared = stage.part.mean_ns.difference.is_some();
            prop_assert_eq!(is_compared, stage.not_compared.is_none());
            prop_assert!(!is_compared || stage.only_in.is_none());
        }
        let of_another = |span: &Span| Span { datapath: "disk/passthrough", ..span.clone() };
        let b: Vec<Span> = b.iter().map(of_another).collect();
        let pair = pair(&a, &b);
        check_sum(pair.stages.iter().map(|stage| &stage.part), &pair)?;
        check_sum(pair.components.iter().map(|component| &component.part), &pair)?;
        check_sum(pair.stretches.iter().map(|stretch| &stretch.part), &pair)?;
        // Each side's stages add up to its total, whatever the other's way is.
        for side in [|figure: &Compared| figure.a, |figure: &Compared| figure.b] {
            let means = pair.stages.iter().filter_map(|stage| side(&stage.part.mean_ns));
            let total = side(&pair.total.mean_ns).unwrap();
            prop_assert!((means.sum::<f64>() - total).abs() < 1e-9 * (1.0 + total));
        }
        let in_stretches: usize = pair.stretches.iter().map(|s| s.stages_a.len() + s.stages_b.len()).sum();
        let stages: usize = [Side::A, Side::B].iter().map(|side| pair.stages.iter().filter(|s| s.is_in(*side)).count()).sum();
        prop_assert_eq!(in_stretches, stages);
    }

    #[test]
    fn a_run_does_not_differ_from_itself(spans in requests()) {
        let pair = pair(&spans, &spans);
        prop_assert_eq!(pair.total.mean_ns.difference, Some(0.0));
        for part in pair.stages.iter().map(|s| &s.part).chain(pair.components.iter().map(|c| &c.part)) {
            prop_assert_eq!(part.mean_ns.difference, Some(0.0));
            prop_assert_eq!(part.variance_ns2.difference, Some(0.0));
            prop_assert_eq!(part.share_of_difference, None);
        }
        prop_assert!(pair.stages.iter().all(|stage| stage.only_in.is_none()));
        prop_assert_eq!(pair.findings.len(), 2);
        prop_assert!(pair.findings.iter().all(|finding| finding.contains("is the same")));
    }

    #[test]
    fn a_constant_added_to_one_stage_is_found_there(
        steps in prop::collection::vec(prop::collection::vec(1u64..1_000_000, Kind::Disk.points().len()), 2..20),
        stage in 0..Kind::Disk.points().len() - 1,
        extra in 1_000_000u64..50_000_000,
    ) {
        let pair = pair(&whole(&steps, stage, 0), &whole(&steps, stage, extra));
        for (at, compared) in pair.stages.iter().enumerate() {
            let difference = compared.part.mean_ns.step();
            let expected = if at == stage { extra as f64 } else { 0.0 };
            prop_assert!((difference - expected).abs() < 1e-3, "{} {}", compared.name(), difference);
        }
        let name = pair.stages[stage].name();
        prop_assert!(pair.findings[0].contains("100% of that is"), "{}", pair.findings[0]);
        prop_assert!(pair.findings[0].contains(&name), "{}", pair.findings[0]);
        // Constant time is no variance.
        prop_assert!(pair.findings[1].contains("is the same"), "{}", pair.findings[1]);
    }
}
