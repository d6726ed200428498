//! Which breakdowns and interrupts are held against each other, and which cannot be.

use tracer_common::point::Point;

use super::{NATIVE, breakdowns, compare, input, native, pair, span, vbd};
use crate::{
    Breakdown,
    compare::{CompareError, Selection, Side, compare as compare_inputs},
    document::{InterruptFigures, Iteration, IterationSummary},
    span::Span,
};

fn many() -> (Vec<Breakdown>, Vec<Breakdown>) {
    let a = [native(), vec![span("disk/native", 2, &NATIVE); 200]].concat();
    let tcp = Span {
        operation: 6,
        ..span(
            "net-tx/native",
            1,
            &[(Point::NetQueue, 0), (Point::NetXmit, 9)],
        )
    };
    let b = [
        vec![span("disk/native", 2, &NATIVE); 200],
        vec![tcp; 200],
        vbd(),
    ]
    .concat();
    (breakdowns("native", &a), breakdowns("native", &b))
}

#[test]
fn pairs_are_of_one_kind_and_what_fits_best_comes_first() {
    let (a, b) = many();
    let comparison = compare(a, b);
    let titles: Vec<(&str, &str)> = comparison
        .pairs
        .iter()
        .map(|pair| (&*pair.a.device, &*pair.b.device))
        .collect();
    assert_eq!(titles, [("sda", "xvda"), ("sdb", "sdb")]);
    assert_eq!(comparison.unpaired.len(), 1);
    assert_eq!(comparison.unpaired[0].side, Side::B);
    assert_eq!(comparison.unpaired[0].why, "A has no net-tx tcp");
}

#[test]
fn a_choice_among_equals_is_told() {
    let (a, _) = many();
    let comparison = compare(a, breakdowns("B", &vbd()));
    let said = |text: &str| {
        comparison
            .warnings
            .iter()
            .any(|warning| warning.contains(text))
    };
    assert!(
        said("2 breakdowns of A fit as well as each other"),
        "{:?}",
        comparison.warnings
    );
    assert!(said("--select-a TEXT chooses another"));
    assert_eq!(
        comparison.unpaired[0].title,
        "disk/native · native · sdb · read"
    );
    assert!(comparison.unpaired[0].why.contains("paired with another"));
}

#[test]
fn a_selection_chooses_and_pairs_whatever_it_leaves() {
    let (a, b) = many();
    let (a, b) = (input(a), input(b));
    let select = |a: Option<&str>, b: Option<&str>| Selection {
        a: a.map(Into::into),
        b: b.map(Into::into),
    };
    let chosen = compare_inputs(&a, &b, &select(Some("sdb"), Some("vbd"))).unwrap();
    assert_eq!(chosen.pairs.len(), 1);
    assert_eq!(chosen.pairs[0].b.title, "disk/vbd · native · xvda · read");
    assert_eq!(chosen.unpaired.len(), 3);
    assert!(
        chosen
            .unpaired
            .iter()
            .all(|other| other.why == "not selected")
    );
    let unlike = compare_inputs(&a, &b, &select(Some("sdb"), Some("tcp"))).unwrap();
    assert_eq!(unlike.pairs[0].title(), "disk read / net-tx tcp");
    assert!(
        unlike
            .warnings
            .iter()
            .any(|warning| warning.contains("not of the same way"))
    );
    let error = compare_inputs(&a, &b, &select(Some("nvme"), None)).unwrap_err();
    assert!(matches!(
        &error,
        CompareError::NoneSelected { side: "A", .. }
    ));
    assert!(
        error
            .to_string()
            .contains("disk/native · native · sda · read; ")
    );
}

#[test]
fn runs_with_nothing_in_common_are_an_error_that_says_what_they_have() {
    let disk = input(breakdowns("native", &native()));
    let tcp = input(
        many()
            .1
            .into_iter()
            .filter(|b| b.operation == "tcp")
            .collect(),
    );
    let none = input(Vec::new());
    let error = |a, b| {
        compare_inputs(a, b, &Selection::default())
            .unwrap_err()
            .to_string()
    };
    let text = error(&disk, &tcp);
    assert!(
        text.contains("A has disk/native · native · sda · read, B has net-tx/native"),
        "{text}"
    );
    assert!(text.contains("--select-a TEXT"));
    assert!(error(&disk, &none).starts_with("B has no requests to compare"));
    assert!(error(&none, &disk).starts_with("A has no requests to compare"));
    assert!(error(&none, &none).contains("nothing to compare"));
}

#[test]
fn iterations_and_interrupts_are_compared_without_requests_too() {
    let side = |ns: u64, irqs: &[(u32, &str, u64)]| {
        let mut input = input(Vec::new());
        input.report.summary = Some(IterationSummary {
            count: 1,
            mean_ns: ns as f64,
            ..IterationSummary::default()
        });
        input.report.iterations = vec![Iteration {
            duration_ns: ns,
            bytes: 1_000_000,
            ..Iteration::default()
        }];
        let figures = irqs.iter().map(|(irq, name, count)| InterruptFigures {
            irq: *irq,
            name: (*name).into(),
            count: *count,
            per_iteration: *count as f64,
            handler_total_ns: count * 1_000,
            ..InterruptFigures::default()
        });
        input.report.interrupts = figures.collect();
        input
    };
    let a = side(
        1_000_000_000,
        &[(1, "disk", 10), (2, "disk", 30), (3, "net", 5)],
    );
    let b = side(500_000_000, &[(9, "disk", 10), (7, "upcall", 1)]);
    let comparison = compare_inputs(&a, &b, &Selection::default()).unwrap();
    let iterations = comparison.iterations.unwrap();
    assert_eq!(iterations.bytes_per_second.ratio, Some(2.0));
    assert_eq!(iterations.operations_per_second.a, None);
    let [disk, net, upcall] = &comparison.interrupts[..] else {
        panic!("{:?}", comparison.interrupts);
    };
    assert_eq!(
        (&disk.irqs_a[..], &disk.irqs_b[..]),
        (&[1, 2][..], &[9][..])
    );
    assert_eq!(disk.per_iteration.difference, Some(-30.0));
    assert_eq!(disk.handler_mean_ns.a, Some(1_000.0));
    assert_eq!(disk.softirq_delay_mean_ns.a, None);
    assert_eq!(
        (net.only_in, upcall.only_in),
        (Some(Side::A), Some(Side::B))
    );
}

#[test]
fn what_the_hypervisor_took_stands_alone_and_is_blamed() {
    let side = |stolen: u64| -> Vec<Span> {
        let spans = (0..500u32).map(|number| {
            let mut span = span("disk/native", 2, &NATIVE);
            span.iteration = number / 100;
            // Of the stage that waits for the device; only its time grows.
            let last = span.points.len() - 1;
            for point in &mut span.points[last..] {
                point.1 += stolen;
            }
            span.taken
                .stolen
                .extend((stolen != 0).then_some((last - 1, stolen)));
            span
        });
        spans.collect()
    };
    let compared = pair(&side(0), &side(1_000_000));
    let blamed = compared.verdict.blamed.clone().unwrap();
    assert_eq!(
        (blamed.from.as_str(), blamed.to.as_str()),
        ("vcpu.off", "vcpu.on")
    );
    assert!((blamed.added_ns - 1e6).abs() < 1.0, "{blamed:?}");
    assert_eq!(compared.a.last_point, compared.b.last_point);
}
