//! Checks of saved reports against baselines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod commands;
mod forms;
#[path = "../support/mod.rs"]
mod support;

use support::{host, passed};
use tracer_analysis::{BreakdownBuilder, Names, Report, document::DomainReport, span::Span};
use tracer_common::point::Point;

/// A request whose device takes `extra` nanoseconds longer; requests differ by a simple rule.
fn span(number: u64, extra: u64) -> Span {
    let steps = [
        (Point::BlkQueue, 0),
        (Point::BlkIssue, 2_000 + number % 7 * 30),
        (Point::IrqEntry, 80_000 + number % 13 * 700 + extra),
        (Point::BlkComplete, 4_000 + number % 5 * 60),
    ];
    Span {
        datapath: "disk/native",
        iteration: u32::try_from(number / 40).unwrap(),
        device: 8 << 20,
        bytes: 4096,
        points: passed(1_000_000 * number, steps).collect(),
        ..Span::default()
    }
}

/// A report of eight iterations on a kernel.
fn report(kernel: &str, extra: u64) -> Report {
    let mut builder = BreakdownBuilder::new(3);
    (0..320).for_each(|number| builder.add(&span(number, extra)));
    let host = host(kernel, "none");
    Report {
        schema: "tracer.report/1".into(),
        version: "0".into(),
        scenario: "native-disk".into(),
        started: format!("2026-01-01T00:00:00Z {kernel}"),
        host: host.clone(),
        domains: vec![DomainReport {
            name: "native".into(),
            host,
            spans: 320,
            ..DomainReport::default()
        }],
        breakdowns: builder.finish(&Names {
            domain: "native".into(),
            devices: [(8 << 20, "sda <&> \"x\"".into())].into(),
            ..Names::default()
        }),
        ..Report::default()
    }
}
