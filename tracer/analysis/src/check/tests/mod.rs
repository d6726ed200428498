//! What the tests of checks share.

mod properties;
mod refusals;
mod simulation;

use tracer_common::point::Point;

use super::{Check, CheckedRun, Policy, StageChecked, Status, check};
use crate::{
    BreakdownBuilder, Names, Report, document::DomainReport, recording::host::HostFacts, span::Span,
};

/// The points that the tests' requests pass: three stages.
const POINTS: [Point; 4] = [
    Point::BlkQueue,
    Point::BlkIssue,
    Point::IrqEntry,
    Point::BlkComplete,
];
/// Their names.
const STAGES: [&str; 3] = [
    "blk.queue..blk.issue",
    "blk.issue..irq.entry",
    "irq.entry..blk.complete",
];

/// A request's stages, in nanoseconds.
type Steps = [u64; 3];

/// A run of iterations of requests.
fn run(name: &str, iterations: &[Vec<Steps>]) -> CheckedRun {
    let iterations = (0..).zip(iterations);
    let spans = iterations
        .flat_map(|(iteration, requests)| requests.iter().map(move |steps| span(iteration, steps)));
    run_of(name, spans)
}

fn run_of(name: &str, spans: impl Iterator<Item = Span>) -> CheckedRun {
    let mut builder = BreakdownBuilder::new(0);
    spans.for_each(|span| builder.add(&span));
    let host = HostFacts {
        kernel: name.into(),
        cpus: 2,
        ..HostFacts::default()
    };
    let breakdowns = builder.finish(&Names {
        domain: "native".into(),
        devices: [(1, "sda".into())].into(),
        ..Names::default()
    });
    CheckedRun {
        source: name.into(),
        scenario: Some("name = \"test\"\n[run]\niterations = 5\n".into()),
        max_lost_percent: 1.0,
        report: Report {
            schema: crate::document::SCHEMA.into(),
            scenario: "test".into(),
            started: name.into(),
            host: host.clone(),
            domains: vec![DomainReport {
                name: "native".into(),
                host,
                ..DomainReport::default()
            }],
            breakdowns,
            ..Report::default()
        },
    }
}

fn span(iteration: u32, steps: &Steps) -> Span {
    let mut at = 1;
    let points = POINTS.iter().zip([0].iter().chain(steps));
    let points = points.map(|(point, step)| {
        at += step;
        (*point, at)
    });
    Span {
        datapath: "disk/native",
        iteration,
        device: 1,
        points: points.collect(),
        ..Span::default()
    }
}

fn checked(base: &[CheckedRun], new: &[CheckedRun]) -> Check {
    check(base, new, &Policy::default())
}

/// Of the first breakdown, the total or a stage.
fn stage<'c>(check: &'c Check, name: &str) -> &'c StageChecked {
    let mut stages = check.breakdowns[0].stages.iter();
    stages.find(|stage| stage.name == name).unwrap()
}

/// What a test says of a figure.
fn status(check: &Check, name: &str, metric: super::Metric) -> Status {
    let mut tests = stage(check, name).tests.iter();
    tests.find(|test| test.metric == metric).unwrap().status
}
