//! What the tests of comparisons share.

mod pairing;
mod properties;
mod words;

use tracer_common::point::Point;

use crate::{
    Breakdown, BreakdownBuilder, Names, Report,
    compare::{Comparison, Input, Pair, Selection, compare as compare_inputs},
    span::{Span, taken::Taken},
};

fn span(datapath: &'static str, device: u32, steps: &[(Point, u64)]) -> Span {
    let mut at = 1;
    let points = steps.iter().map(|(point, step)| {
        at += step;
        (*point, at)
    });
    Span {
        datapath,
        iteration: 0,
        device,
        operation: 0,
        flags: 0,
        bytes: 4096,
        tid: 1,
        irq: 0,
        position: 0,
        points: points.collect(),
        taken: Taken::default(),
    }
}

fn breakdown(spans: &[Span]) -> Breakdown {
    breakdowns("native", spans).remove(0)
}

fn breakdowns(domain: &str, spans: &[Span]) -> Vec<Breakdown> {
    let mut builder = BreakdownBuilder::new(0);
    spans.iter().for_each(|span| builder.add(span));
    builder.finish(&Names {
        domain: domain.into(),
        devices: [(1, "sda".into()), (2, "sdb".into()), (3, "xvda".into())].into(),
        ..Names::default()
    })
}

fn input(breakdowns: Vec<Breakdown>) -> Input {
    Input {
        source: "run".into(),
        report: Report {
            breakdowns,
            ..Report::default()
        },
        max_lost_share: 0.01,
        warns_of_losses: false,
    }
}

fn compare(a: Vec<Breakdown>, b: Vec<Breakdown>) -> Comparison {
    compare_inputs(&input(a), &input(b), &Selection::default()).unwrap()
}

fn pair(a: &[Span], b: &[Span]) -> Pair {
    compare(vec![breakdown(a)], vec![breakdown(b)])
        .pairs
        .remove(0)
}

const NATIVE: [(Point, u64); 4] = [
    (Point::BlkQueue, 0),
    (Point::BlkIssue, 2_000),
    (Point::IrqEntry, 100_000),
    (Point::BlkComplete, 3_000),
];
const VBD: [(Point, u64); 6] = [
    (Point::BlkQueue, 0),
    (Point::BlkIssue, 2_000),
    (Point::BlkfrontPush, 8_000),
    (Point::EvtchnUpcall, 400_000),
    (Point::IrqEntry, 5_000),
    (Point::BlkComplete, 3_000),
];

fn native() -> Vec<Span> {
    vec![span("disk/native", 1, &NATIVE); 200]
}

fn vbd() -> Vec<Span> {
    vec![span("disk/vbd", 3, &VBD); 200]
}
