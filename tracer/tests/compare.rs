//! Two fixed recordings compared, in every format, against files that people have read
//! (`TRACER_BLESS=1` writes them anew); and what the command says of what it cannot compare.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, path::Path, process::Output};

use proptest::{prelude::*, sample::Index};
use support::{assert_golden, golden, host, passed};
use tracer_analysis::{
    BreakdownBuilder, Names, Report,
    compare::{Comparison, Input, Selection, compare},
    document::{DomainReport, InterruptFigures, Iteration, IterationSummary},
    report::compare::{Format, render},
    span::{Span, taken::Taken},
};
use tracer_common::point::Point;

const FORMATS: [Format; 4] = [Format::Text, Format::Json, Format::Svg, Format::Html];

fn interrupt(irq: u32, name: &str, count: u64, handler_mean_ns: u64) -> InterruptFigures {
    InterruptFigures {
        irq,
        name: name.into(),
        count,
        per_iteration: count as f64 / 2.0,
        handler_total_ns: count * handler_mean_ns,
        softirq_count: count,
        softirq_delay_mean_ns: 3_000.0,
        ..InterruptFigures::default()
    }
}

/// The golden report, with a host and interrupts.
fn native() -> Report {
    let text = fs::read_to_string(golden("report.json")).unwrap();
    let mut report: Report = serde_json::from_str(&text).unwrap();
    report.host = host("6.12", "none");
    report.domains[0].host = report.host.clone();
    report.interrupts = vec![
        interrupt(36, "nvme0q1", 300, 900),
        interrupt(37, "nvme0q2", 100, 900),
        interrupt(4, "timer", 100, 2_000),
    ];
    report
}

/// A request of a guest's virtual disk, and a few that are written.
fn span(number: u64) -> Span {
    let steps = [
        (Point::BlkQueue, 0),
        (Point::BlkGetrq, 1_100 + number % 5 * 10),
        (Point::BlkInsert, 500),
        (Point::BlkIssue, 2_000 + number % 7 * 25),
        (Point::BlkfrontPush, 7_000 + number % 3 * 100),
        (Point::EvtchnUpcall, 230_000 + number % 17 * 9_000),
        (Point::IrqEntry, 2_500),
        (Point::BlkComplete, 1_900),
        (Point::SchedWaking, 500),
        (Point::SchedSwitch, 9_000),
    ];
    Span {
        datapath: "disk/vbd",
        iteration: u32::from(number >= 150),
        device: 202 << 20,
        operation: u8::from(number.is_multiple_of(50)),
        flags: 0,
        bytes: 131_072,
        tid: 78,
        irq: 50,
        position: number * 256,
        points: passed(1_000_000 * number, steps).collect(),
        taken: Taken::default(),
    }
}

fn vbd() -> Report {
    let mut builder = BreakdownBuilder::new(3);
    (0..300).for_each(|number| builder.add(&span(number)));
    let breakdowns = builder.finish(&Names {
        domain: "guest".into(),
        devices: [(202 << 20, "xvda".into())].into(),
        ..Names::default()
    });
    let iteration = |index| Iteration {
        index,
        duration_ns: 400_000_000,
        operations: 150,
        bytes: 150 * 131_072,
        ..Iteration::default()
    };
    Report {
        schema: "tracer.report/1".into(),
        version: "0".into(),
        scenario: "guest <vbd>".into(),
        question: "Is <b>this</b> escaped?".into(),
        started: "2026-01-02T00:00:00Z".into(),
        host: host("6.1", "guest"),
        breakdowns,
        iterations: vec![iteration(0), iteration(1)],
        summary: Some(IterationSummary {
            count: 2,
            mean_ns: 400_000_000.0,
            variance_ns2: 0.0,
            min_ns: 400_000_000,
            max_ns: 400_000_000,
            range_ns: 0,
        }),
        interrupts: vec![
            interrupt(50, "blkif", 300, 4_000),
            interrupt(4, "timer", 110, 2_100),
        ],
        domains: vec![DomainReport {
            name: "guest".into(),
            host: host("6.1", "guest"),
            spans: 300,
            ..DomainReport::default()
        }],
        ..Report::default()
    }
}

fn input(source: &str, report: Report) -> Input {
    Input {
        source: source.into(),
        report,
        max_lost_share: 0.01,
        warns_of_losses: false,
    }
}

fn comparison() -> Comparison {
    let (a, b) = (input("runs/<a>", native()), input("runs/b", vbd()));
    let mut comparison = compare(&a, &b, &Selection::default()).unwrap();
    comparison.version = "0".into();
    comparison
}

fn check(name: &str, format: Format) -> String {
    let rendered = String::from_utf8(render(&comparison(), format).unwrap()).unwrap();
    assert_golden(name, &rendered);
    rendered
}

#[test]
fn text() {
    check("compare.txt", Format::Text);
}

#[test]
fn json() {
    let text = check("compare.json", Format::Json);
    let read: Comparison = serde_json::from_str(&text).unwrap();
    assert_eq!(read, comparison());
}

#[test]
fn svg() {
    let image = check("compare.svg", Format::Svg);
    for stage in ["blk.issue..irq.entry", "blkfront.push..evtchn.upcall"] {
        assert!(
            image.contains(&format!("<title>{stage}")),
            "{stage} is only on one side, and is drawn all the same"
        );
    }
}

#[test]
fn html() {
    let page = check("compare.html", Format::Html);
    assert!(page.contains("guest &lt;vbd&gt;") && !page.contains("<vbd>"));
    assert!(page.contains("runs/&lt;a&gt;") && !page.contains("runs/<a>"));
    assert!(
        !page.contains("src=\"http") && !page.contains("<link"),
        "the page needs nothing else"
    );
}

#[test]
fn runs_without_requests_have_no_flame_graph() {
    let idle = || Report {
        breakdowns: Vec::new(),
        ..native()
    };
    let (a, b) = (input("a", idle()), input("b", idle()));
    let comparison = compare(&a, &b, &Selection::default()).unwrap();
    for format in [Format::Text, Format::Json, Format::Html] {
        render(&comparison, format).unwrap();
    }
    let error = render(&comparison, Format::Svg).unwrap_err().to_string();
    assert!(error.contains("nothing to draw"), "{error}");
}

/// A folder with two saved reports.
fn saved(a: &Report, b: &Report) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, report) in [("a.json", a), ("b.json", b)] {
        let bytes = serde_json::to_vec(report).unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn run(folder: &Path, args: &[&str]) -> Output {
    support::tracer()
        .current_dir(folder)
        .arg("compare")
        .args(args)
        .output()
        .unwrap()
}

/// The command's exit code, and what it said on standard error.
fn outcome(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = run(folder, args);
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), words)
}

#[test]
fn saved_reports_are_compared_in_every_format() {
    let folder = saved(&native(), &vbd());
    let output = run(folder.path(), &["a.json", "b.json"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("blk.issue … irq.entry"), "{text}");
    for format in ["text", "json", "svg", "html"] {
        let args = ["a.json", "b.json", "--format", format, "-o", "out"];
        let output = run(folder.path(), &args);
        assert!(output.status.success() && output.stdout.is_empty());
        assert!(folder.path().join("out").metadata().unwrap().len() > 1_000);
    }
    let (code, words) = outcome(folder.path(), &["a.json", "b.json", "--select-b", "sda"]);
    assert_eq!(code, 3);
    assert!(
        words.contains("B has: disk/vbd · guest · xvda · read"),
        "{words}"
    );
}

#[test]
fn a_side_that_is_partial_or_lost_too_much_ends_with_2() {
    let partial = Report {
        partial: Some("interrupted".into()),
        ..vbd()
    };
    let mut lossy = vbd();
    lossy.domains[0].lost_share = 0.011;
    for report in [&partial, &lossy] {
        let folder = saved(&native(), report);
        assert_eq!(outcome(folder.path(), &["a.json", "b.json"]).0, 2);
        assert_eq!(outcome(folder.path(), &["b.json", "a.json"]).0, 2);
    }
}

#[test]
fn what_is_no_run_is_told_with_what_to_do() {
    let folder = saved(&native(), &vbd());
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("old")).unwrap();
    fs::write(
        at("old/manifest.json"),
        r#"{"schema":"tracer.run/0","version":"0","started":"","state":"complete"}"#,
    )
    .unwrap();
    fs::write(at("words"), "not JSON").unwrap();
    fs::write(at("list"), "[1]").unwrap();
    fs::write(at("older"), r#"{"schema":"tracer.report/0"}"#).unwrap();
    fs::write(at("other"), r#"{"schema":"tracer.report/1"}"#).unwrap();
    for (name, said) in [
        ("nowhere", "cannot read nowhere; name a run directory"),
        ("empty", "empty is not the directory of a run"),
        (
            "old",
            "old is of the format tracer.run/0, this tracer reads tracer.run/2",
        ),
        ("old", "make the run again"),
        (
            "words",
            "words is not a report: it is not JSON; name a run directory",
        ),
        ("list", "list is not a report: it has no schema"),
        (
            "older",
            "older is of the format tracer.report/0, and only tracer.report/1 can be",
        ),
        (
            "other",
            "save it again with `tracer report RUN --format json",
        ),
    ] {
        for args in [[name, "b.json"], ["a.json", name]] {
            let (code, words) = outcome(folder.path(), &args);
            assert_eq!(code, 3, "{words}");
            assert!(words.contains(said), "{words}");
        }
    }
}

#[test]
fn runs_with_nothing_to_pair_end_with_3() {
    let mut packets = vbd();
    for breakdown in &mut packets.breakdowns {
        breakdown.datapath = "net-tx/vif".into();
    }
    let folder = saved(&native(), &packets);
    let (code, words) = outcome(folder.path(), &["a.json", "b.json"]);
    assert_eq!(code, 3);
    assert!(
        words.contains("there is nothing to pair: A has disk/native"),
        "{words}"
    );
    let select = ["--select-a", "disk", "--select-b", "· write"];
    let args = [&["a.json", "b.json"][..], &select].concat();
    assert_eq!(outcome(folder.path(), &args).0, 0);
}

/// A report with some of its numbers replaced.
fn damaged(damages: &[(Index, &str)]) -> Option<Report> {
    let mut text = serde_json::to_string(&vbd()).unwrap();
    for (at, number) in damages {
        let bytes = text.as_bytes();
        let starts: Vec<usize> = (1..bytes.len())
            .filter(|at| bytes[*at].is_ascii_digit() && bytes[at - 1] == b':')
            .collect();
        let start = starts[at.index(starts.len())];
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']');
        let end = start + bytes[start..].iter().position(is_end).unwrap();
        text.replace_range(start..end, number);
    }
    serde_json::from_str(&text).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_report_is_compared_or_refused_and_never_a_panic(
        damages in prop::collection::vec(
            (any::<Index>(), prop::sample::select(&["18446744073709551615", "0", "1e308", "-1e308", "1e-300"][..])),
            1..12,
        ),
    ) {
        let Some(report) = damaged(&damages) else {
            return Ok(());
        };
        let (a, b) = (input("a", native()), input("b", report));
        for (a, b) in [(&a, &b), (&b, &a), (&b, &b)] {
            let comparison = compare(a, b, &Selection::default()).unwrap();
            for format in FORMATS {
                let rendered = render(&comparison, format);
                prop_assert!(rendered.is_ok() || format == Format::Svg);
            }
            let bytes = render(&comparison, Format::Json).unwrap();
            prop_assert!(serde_json::from_slice::<Comparison>(&bytes).is_ok());
        }
    }
}
