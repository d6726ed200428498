//! Reports of a fixed recording, in every format, against files that people have read.
//! `TRACER_BLESS=1` writes them anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

mod support;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use support::{assert_golden, golden, passed};
use tracer_analysis::{
    BreakdownBuilder, Names, Report,
    check::Check,
    compare::Comparison,
    document::{DomainReport, Iteration, IterationSummary},
    report::{Format, render},
    span::{Span, taken::Taken},
};
use tracer_common::point::Point;

/// A few hundred requests whose times follow a simple rule.
fn report() -> Report {
    let mut builder = BreakdownBuilder::new(3);
    for number in 0..400u64 {
        let slow = if number % 97 == 0 { 900_000 } else { 0 };
        let start = 1_000_000 * number;
        let steps = [
            (Point::BlkQueue, 0),
            (Point::BlkGetrq, 900 + number % 7 * 10),
            (Point::BlkInsert, 500),
            (Point::BlkIssue, 2_000 + number % 11 * 25),
            (Point::IrqEntry, 80_000 + number % 13 * 700),
            (Point::SoftirqEntry, 3_000 + slow),
            (Point::BlkComplete, 800),
            (Point::SchedWaking, 400),
            (Point::SchedSwitch, 6_000),
        ];
        builder.add(&Span {
            datapath: "disk/native",
            iteration: u32::try_from(number / 200).unwrap(),
            device: 8 << 20,
            operation: 0,
            flags: 0,
            bytes: 131_072,
            tid: 77,
            irq: 36,
            position: number * 256,
            points: passed(start, steps).collect(),
            taken: Taken::default(),
        });
    }
    let names = Names {
        domain: "native".into(),
        devices: [(8 << 20, "sda <&> \"x\"".into())].into(),
        ..Names::default()
    };
    Report {
        schema: "tracer.report/1".into(),
        version: "0".into(),
        scenario: "golden".into(),
        question: "Is <b>this</b> escaped?".into(),
        started: "2026-01-01T00:00:00Z".into(),
        warnings: vec!["a warning comes first".into()],
        breakdowns: builder.finish(&names),
        iterations: (0..2)
            .map(|index| Iteration {
                index,
                duration_ns: 200_000_000 + u64::from(index) * 5_000_000,
                operations: 200,
                bytes: 200 * 131_072,
                ..Iteration::default()
            })
            .collect(),
        summary: Some(IterationSummary {
            count: 2,
            mean_ns: 202_500_000.0,
            variance_ns2: 1.25e13,
            min_ns: 200_000_000,
            max_ns: 205_000_000,
            range_ns: 5_000_000,
        }),
        domains: vec![DomainReport {
            name: "native".into(),
            spans: 400,
            ..DomainReport::default()
        }],
        ..Report::default()
    }
}

fn check(name: &str, format: Format) {
    let rendered = String::from_utf8(render(&report(), format).unwrap()).unwrap();
    assert_golden(name, &rendered);
}

#[test]
fn text() {
    check("report.txt", Format::Text);
}

#[test]
fn json() {
    check("report.json", Format::Json);
    let bytes = render(&report(), Format::Json).unwrap();
    assert_eq!(serde_json::from_slice::<Report>(&bytes).unwrap(), report());
}

/// The lab's tests, and programs of others in Rust, read these documents by their types.
#[test]
fn comparisons_and_checks_are_read_back_as_they_were_written() {
    fn assert_read_back<T: Serialize + DeserializeOwned>(name: &str) {
        let text = std::fs::read_to_string(golden(name)).unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        let read: T = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written, "{name}");
    }
    assert_read_back::<Comparison>("compare.json");
    assert_read_back::<Check>("check.json");
}

#[test]
fn folded() {
    check("report.folded", Format::Folded);
}

#[test]
fn svg() {
    check("report.svg", Format::Svg);
}

#[test]
fn html() {
    check("report.html", Format::Html);
    let page = String::from_utf8(render(&report(), Format::Html).unwrap()).unwrap();
    assert!(page.contains("Is &lt;b&gt;this&lt;/b&gt; escaped?") && !page.contains("<b>this</b>"));
    assert!(
        !page.contains("src=\"http") && !page.contains("<link"),
        "the page needs nothing else"
    );
}

#[test]
fn perfetto() {
    check("report.perfetto.json", Format::Perfetto);
}

#[test]
fn an_empty_report_is_no_failure() {
    for format in [
        Format::Text,
        Format::Json,
        Format::Folded,
        Format::Html,
        Format::Perfetto,
    ] {
        render(&Report::default(), format).unwrap();
    }
    let error = render(&Report::default(), Format::Svg)
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing to draw"), "{error}");
}
