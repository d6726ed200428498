//! Properties that must hold for every breakdown.

use proptest::prelude::*;
use tracer_common::point::{Kind, Point};

use crate::{
    Breakdown, BreakdownBuilder, Names,
    datapath::Component,
    span::{Span, taken::Taken},
};

/// A span that passes some of the disk points.
fn span() -> impl Strategy<Value = Span> {
    (
        prop::collection::vec(prop::option::weighted(0.7, 0u64..5_000_000), 10),
        0u32..3,
        1u64..1 << 40,
    )
        .prop_filter_map("two points", |(steps, iteration, start)| {
            let mut at = start;
            let points: Vec<(Point, u64)> = Kind::Disk
                .points()
                .iter()
                .zip(steps)
                .filter_map(|(point, step)| {
                    at += step?;
                    Some((*point, at))
                })
                .collect();
            (points.len() >= 2).then_some(Span {
                datapath: "disk/native",
                iteration,
                device: 1,
                operation: 0,
                flags: 0,
                bytes: 4096,
                tid: 1,
                irq: 0,
                position: start,
                points,
                taken: Taken::default(),
            })
        })
}

fn build(spans: &[Span]) -> Breakdown {
    let mut builder = BreakdownBuilder::new(5);
    spans.iter().for_each(|span| builder.add(span));
    builder.finish(&Names::default()).remove(0)
}

proptest! {
    #[test]
    fn stages_and_shares_add_up(spans in prop::collection::vec(span(), 1..80)) {
        let breakdown = build(&spans);
        let sum: u64 = breakdown.stages.iter().map(|stage| stage.figures.sum_ns).sum();
        prop_assert_eq!(sum, breakdown.total.sum_ns);
        let mean: f64 = breakdown.stages.iter().map(|stage| stage.figures.share_of_mean).sum();
        let variance: f64 = breakdown.stages.iter().map(|stage| stage.figures.share_of_variance).sum();
        if breakdown.total.sum_ns > 0 {
            prop_assert!((mean - 1.0).abs() < 1e-9, "{}", mean);
        }
        if breakdown.total.variance_ns2 > 0.0 {
            prop_assert!((variance - 1.0).abs() < 1e-6, "{}", variance);
        }
    }

    #[test]
    fn means_of_the_stages_add_up_in_every_iteration(spans in prop::collection::vec(span(), 1..80)) {
        let breakdown = build(&spans);
        for (at, total) in breakdown.iterations.iter().enumerate() {
            let of_stages = breakdown.stages.iter().map(|stage| &stage.iterations[at]);
            prop_assert!(of_stages.clone().all(|own| own.iteration == total.iteration && own.count <= total.count));
            let sum: f64 = of_stages.map(|own| own.mean_ns).sum();
            prop_assert!((sum - total.mean_ns).abs() <= 1e-9 * total.mean_ns, "{} {}", sum, total.mean_ns);
        }
        for stage in &breakdown.stages {
            prop_assert_eq!(stage.iterations.len(), breakdown.iterations.len());
            let count: u64 = stage.iterations.iter().map(|own| own.count).sum();
            prop_assert_eq!(count, stage.figures.count);
            let longest = stage.iterations.iter().map(|own| own.max_ns).max();
            prop_assert_eq!(longest, Some(stage.figures.max_ns));
        }
    }

    #[test]
    fn the_order_of_spans_does_not_matter(spans in prop::collection::vec(span(), 1..60)) {
        let mut reversed = spans.clone();
        reversed.reverse();
        prop_assert_eq!(build(&spans), build(&reversed));
    }

    #[test]
    fn a_constant_on_one_stage_moves_that_stage_alone(
        steps in prop::collection::vec(prop::collection::vec(0u64..1_000_000, 10), 2..40),
        stage in 0usize..9,
        extra in 1u64..1_000_000,
    ) {
        let spans = |extra: u64| -> Vec<Span> {
            steps.iter().map(|steps| {
                let mut at = 1;
                let points = Kind::Disk.points().iter().zip(steps).enumerate().map(|(index, (point, step))| {
                    at += step + if index == stage + 1 { extra } else { 0 };
                    (*point, at)
                }).collect();
                Span { datapath: "disk/native", iteration: 0, device: 1, operation: 0, flags: 0, bytes: 0, tid: 0, irq: 0, position: 0, points, ..Span::default() }
            }).collect()
        };
        let (before, after) = (build(&spans(0)), build(&spans(extra)));
        for (index, (a, b)) in before.stages.iter().zip(&after.stages).enumerate() {
            let moved = b.figures.sum_ns - a.figures.sum_ns;
            prop_assert_eq!(moved, if index == stage { extra * steps.len() as u64 } else { 0 });
        }
    }
}

/// What the hypervisor took and what Dom0's scheduler took are different stages, whosever they are.
#[test]
fn what_was_taken_is_shown_by_who_took_it() {
    let span = Span {
        datapath: "disk/vbd",
        points: vec![(Point::BlkbackConsume, 10), (Point::BlkbackSubmit, 110)],
        taken: Taken {
            stolen: vec![(0, 20)],
            preempted: vec![(0, 50)],
        },
        ..Span::default()
    };
    let breakdown = build(&[span]);
    let stages: Vec<_> = breakdown
        .stages
        .iter()
        .map(|stage| (stage.from.as_str(), stage.component, stage.figures.sum_ns))
        .collect();
    assert_eq!(
        stages,
        [
            ("blkback.consume", Component::Backend, 30),
            ("vcpu.off", Component::Hypervisor, 20),
            ("blkback.preempted", Component::Dom0Scheduling, 50),
        ]
    );
}
