//! What cannot be compared is refused with a reason.

use super::{STAGES, Steps, checked, run, stage};
use crate::check::{Check, CheckedRun, Metric, Policy, Unit, Verdict, check, not_of_a_kind};

fn quiet(name: &str) -> CheckedRun {
    let side: Vec<Vec<Steps>> = (0..6)
        .map(|i| vec![[10_000 + i, 90_000 - i, 5_000]; 9])
        .collect();
    run(name, &side)
}

fn changed(change: impl FnOnce(&mut CheckedRun)) -> CheckedRun {
    let mut run = quiet("b");
    change(&mut run);
    run
}

fn reason(check: &Check) -> &str {
    assert_eq!(check.verdict, Verdict::NotComparable);
    assert!(check.breakdowns.is_empty());
    &check.reasons[0]
}

/// The scenario's text, otherwise.
fn scenario(from: &str, to: &str) -> CheckedRun {
    changed(|run| run.scenario = run.scenario.take().map(|text| text.replace(from, to)))
}

fn assert_refused(new: &[CheckedRun], said: &str) {
    let check = checked(&[quiet("a")], new);
    assert!(reason(&check).contains(said), "{said}: {:?}", check.reasons);
}

#[test]
fn one_run_of_another_kind_among_others_is_refused() {
    for (other, said) in [
        (
            changed(|run| run.report.scenario = "other".into()),
            "b of other: run the same scenario",
        ),
        (
            scenario("[run]", "[run]\nwarm_up = 9"),
            "with different settings (run.warm_up)",
        ),
        (
            changed(|run| run.report.host.cpus = 8),
            "different machines (CPUs: 2 and 8)",
        ),
        (
            changed(|run| run.report.domains[0].host.xen_role = "dom0".into()),
            "native: Xen role:  and dom0",
        ),
        (
            changed(|run| run.report.domains[0].name = "guest".into()),
            "domains: native and guest",
        ),
        (
            changed(|run| run.report.partial = Some("killed".into())),
            "partial run (killed): make it again",
        ),
        (
            changed(|run| run.report.domains[0].lost_share = 0.02),
            "lost 2.0% of its requests, more than 1%",
        ),
    ] {
        assert_refused(&[quiet("c"), other], said);
    }
}

#[test]
fn runs_with_nothing_to_hold_against_are_refused() {
    for (other, said) in [
        (
            changed(|run| run.report.breakdowns[0].datapath = "disk/vbd".into()),
            "no datapath in common",
        ),
        (
            changed(|run| run.report.breakdowns.clear()),
            "the new runs no requests",
        ),
        (
            changed(|run| run.report.breakdowns[0].iterations.clear()),
            "known by iteration",
        ),
    ] {
        assert_refused(std::slice::from_ref(&other), said);
        // Of two, the other is checked, and this one told.
        let check = checked(&[quiet("a")], &[quiet("c"), other]);
        assert_eq!(check.verdict, Verdict::CannotTell, "{said}");
        let gone = "1 of 2 new runs do not have it";
        assert!(check.reasons[0].ends_with(gone), "{:?}", check.reasons);
        assert!(!check.breakdowns[0].stages[0].tests.is_empty());
        let told = "1 of 2 new runs have it";
        assert!(check.warnings[0].contains(told), "{:?}", check.warnings);
    }
}

#[test]
fn runs_of_one_kind_make_a_baseline() {
    assert_eq!(
        not_of_a_kind(&[quiet("a"), quiet("b")], &Policy::default()),
        Vec::<String>::new()
    );
    let other = changed(|run| run.report.scenario = "x".into());
    let reasons = |runs: &[CheckedRun], policy: &str| -> Vec<String> {
        not_of_a_kind(runs, &Policy::parse(policy, "policy").unwrap())
    };
    assert_eq!(reasons(&[quiet("a"), other], "").len(), 1);
    let lossy = changed(|run| run.report.domains[0].lost_share = 0.02);
    assert_eq!(reasons(std::slice::from_ref(&lossy), "").len(), 1);
    assert_eq!(reasons(&[lossy], "max_lost_percent = 5"), [""; 0]);
}

#[test]
fn a_saved_report_does_not_hide_that_the_others_have_other_settings() {
    let mut report = quiet("a");
    report.scenario = None;
    let other = changed(|run| {
        run.scenario = run
            .scenario
            .take()
            .map(|text| format!("{text}drop_caches = true\n"));
    });
    let check = checked(&[report], &[quiet("b"), other]);
    let said = reason(&check);
    assert!(said.contains("different settings"), "{said}");
}

#[test]
fn what_tests_nothing_does_not_pass() {
    let text = "ignore_stages = [\"total\"]\nmin_share_percent = 100\none_run = \"stages\"";
    let policy = Policy::parse(text, "policy").unwrap();
    let check = check(&[quiet("a")], &[quiet("b")], &policy);
    assert_eq!(check.verdict, Verdict::NotComparable);
    assert!(check.reasons[0].contains("no figure to test"), "{check:?}");
}

#[test]
fn runs_without_a_counterpart_are_refused_where_there_is_none_at_all() {
    let other = changed(|run| run.report.breakdowns[0].datapath = "disk/vbd".into());
    let check = checked(&[quiet("a")], &[other]);
    let said = reason(&check);
    assert!(
        said.contains("no datapath in common") && said.contains("disk/vbd · native"),
        "{said}"
    );
    let aggregate = changed(|run| run.report.breakdowns[0].iterations.clear());
    assert!(reason(&checked(&[quiet("a")], &[aggregate])).contains("aggregate"));
}

#[test]
fn more_iterations_and_another_kernel_are_no_other_question() {
    let other = changed(|run| {
        run.scenario = run.scenario.take().map(|text| text.replace("= 5", "= 50"));
        run.report.host.kernel = "6.19".into();
    });
    let check = checked(&[quiet("a")], &[other]);
    assert_eq!(check.verdict, Verdict::Passed);
    assert_eq!(check.differences[0].what, "kernel");
}

#[test]
fn a_policy_leaves_out_what_it_names_and_what_is_small() {
    let text = format!(
        "ignore_stages = [\"{}\", \"typo\"]\nmin_share_percent = 20\nmetrics = [\"max\"]",
        STAGES[1]
    );
    let policy = Policy::parse(&text, "p").unwrap();
    let check = check(&[quiet("a")], &[quiet("b")], &policy);
    let left_out = |name: &str| stage(&check, name).left_out.as_deref();
    assert_eq!(left_out(STAGES[1]), Some("ignored by the policy"));
    assert_eq!(left_out(STAGES[0]), Some("less than 20% of the total"));
    assert_eq!(left_out("total"), None);
    assert!(check.tests().all(|(_, _, test)| test.metric == Metric::Max));
    assert!(
        check
            .warnings
            .iter()
            .any(|w| w.contains("the stage typo, which no run has"))
    );
    let text = "ignore_datapaths = [\"disk/native\"]";
    let policy = Policy::parse(text, "p").unwrap();
    assert_eq!(
        super::check(&[quiet("a")], &[quiet("b")], &policy).verdict,
        Verdict::NotComparable
    );
}

#[test]
fn one_run_a_side_needs_its_total() {
    let with = |text: &str, new: &[CheckedRun]| {
        let text = format!("ignore_stages = [\"total\"]\n{text}");
        check(&[quiet("a")], new, &Policy::parse(&text, "p").unwrap())
    };
    let refused = with("", &[quiet("b")]);
    assert!(reason(&refused).contains("one_run = \"stages\""));
    for check in [
        with("one_run = \"stages\"", &[quiet("b")]),
        with("", &[quiet("b"), quiet("c")]),
    ] {
        assert_eq!(check.verdict, Verdict::Passed, "{:?}", check.reasons);
    }
}

#[test]
fn a_run_that_is_named_twice_is_no_second_run() {
    let saved = changed(|run| run.source = "b.json".into());
    let check = checked(&[quiet("a")], &[quiet("b"), saved.clone()]);
    let said = reason(&check);
    assert!(said.contains("b and b.json are the same run"), "{said}");
    let reasons = not_of_a_kind(&[quiet("b"), saved], &Policy::default());
    assert_eq!(reasons.len(), 1, "{reasons:?}");
}

#[test]
fn a_run_that_is_in_the_baseline_is_not_held_against_itself() {
    let saved = changed(|run| run.source = "b.json".into());
    let check = checked(&[quiet("a"), quiet("b")], &[quiet("c"), saved]);
    let said = reason(&check);
    assert!(
        said.contains("b.json is itself in the baseline, as b"),
        "{said}"
    );
}

#[test]
fn a_run_without_requests_is_no_baseline() {
    let empty = changed(|run| run.report.breakdowns.clear());
    let reasons = not_of_a_kind(&[empty], &Policy::default());
    assert!(reasons[0].contains("no requests"), "{reasons:?}");
}

/// A run with a second breakdown of the same figures.
fn with_writes(name: &str) -> CheckedRun {
    let mut run = quiet(name);
    let mut writes = run.report.breakdowns[0].clone();
    writes.operation = "write".into();
    run.report.breakdowns.push(writes);
    run
}

#[test]
fn what_one_side_lacks_is_listed_and_does_not_pass_where_undecided_does_not() {
    let strict = Policy::parse("undecided = \"fail\"\nmetrics = [\"mean\"]", "p").unwrap();
    let why = |check: &Check| check.breakdowns[1].stages[0].left_out.clone().unwrap();
    let gone = check(&[with_writes("a")], &[quiet("b")], &strict);
    assert_eq!(gone.verdict, Verdict::Undecided);
    assert_eq!(why(&gone), "the new runs do not have it");
    let by_default = checked(&[with_writes("a")], &[quiet("b")]);
    assert_eq!(by_default.verdict, Verdict::CannotTell);
    assert!(
        by_default.reasons[0].contains("write: the new runs do not have it"),
        "{:?}",
        by_default.reasons
    );
    let lax = Policy::parse("cannot_tell = \"pass\"", "p").unwrap();
    let passed = check(&[with_writes("a")], &[quiet("b")], &lax);
    assert_eq!(passed.verdict, Verdict::Passed);
    assert_eq!(passed.warnings[0], by_default.reasons[0]);
    let fresh = check(&[quiet("a")], &[with_writes("b")], &strict);
    assert_eq!(fresh.verdict, Verdict::Passed);
    assert_eq!(why(&fresh), "the baseline does not have it");
    assert!(fresh.warnings[0].contains("0 of 1 baseline runs have it"));
}

#[test]
fn what_one_run_of_several_a_side_has_makes_no_check_of_one_run() {
    let side = |name: &str| {
        [
            with_writes(name),
            quiet(&format!("{name}1")),
            quiet(&format!("{name}2")),
        ]
    };
    let check = checked(&side("a"), &side("b"));
    assert_eq!(
        check.method.alpha.to_bits(),
        Policy::default().alpha.to_bits()
    );
    let units = |at: usize| {
        let stages = check.breakdowns[at].stages.iter();
        let units = stages.flat_map(|stage| stage.tests.iter().map(|test| test.unit));
        units.collect::<Vec<_>>()
    };
    assert!(!units(0).is_empty() && units(0).iter().all(|unit| *unit == Unit::Runs));
    assert!(!units(1).is_empty() && units(1).iter().all(|unit| *unit == Unit::Iterations));
    // A stage of the one is believed no more than in a check of one run a side.
    let slow = |name: &str| {
        let mut run = with_writes(name);
        for figures in &mut run.report.breakdowns[1].stages[2].iterations {
            let longer = |ns: u64| ns * 4;
            figures.mean_ns *= 4.0;
            (figures.min_ns, figures.max_ns) = (longer(figures.min_ns), longer(figures.max_ns));
            (figures.p50_ns, figures.p99_ns) = (longer(figures.p50_ns), longer(figures.p99_ns));
        }
        [run, quiet(&format!("{name}1")), quiet(&format!("{name}2"))]
    };
    let check = checked(&side("a"), &slow("b"));
    assert_eq!(check.verdict, Verdict::Passed);
    let tests = &check.breakdowns[1].stages[3].tests;
    assert!(tests.iter().any(|test| test.ratio > 3.9), "{tests:?}");
}

#[test]
fn each_datapath_that_the_policy_ignores_is_looked_for() {
    let other = |name: &str| {
        let mut run = with_writes(name);
        run.report.breakdowns[1].datapath = "disk/vbd".into();
        run
    };
    let text = "ignore_datapaths = [\"disk/vbd\", \"disk/native\", \"typo\"]";
    let policy = Policy::parse(text, "p").unwrap();
    let mut only_vbd = other("b");
    only_vbd.report.breakdowns.remove(0);
    let check = check(&[other("a")], &[only_vbd], &policy);
    assert_eq!(
        check.warnings,
        ["the policy ignores the datapath typo, which no run has"]
    );
}

#[test]
fn losses_are_what_the_policy_allows() {
    let lossy = changed(|run| run.report.domains[0].lost_share = 0.02);
    let policy = Policy::parse("max_lost_percent = 3", "p").unwrap();
    assert_eq!(
        check(&[quiet("a")], &[lossy], &policy).verdict,
        Verdict::Passed
    );
    let strict = Policy::parse("undecided = \"fail\"\nmax_lost_percent = 0", "p").unwrap();
    assert_eq!(
        check(&[quiet("a")], &[quiet("b")], &strict).verdict,
        Verdict::Passed
    );
}

/// A run of a kernel that times the second stage as two.
fn halved() -> CheckedRun {
    let mut other = quiet("b");
    let stages = &mut other.report.breakdowns[0].stages;
    let mut half = stages[1].clone();
    for (half, whole) in half.iterations.iter_mut().zip(&mut stages[1].iterations) {
        half.mean_ns /= 2.0;
        whole.mean_ns /= 2.0;
    }
    half.figures.sum_ns /= 2;
    stages[1].figures.sum_ns -= half.figures.sum_ns;
    half.to = "blkfront.push".into();
    stages[1].from = "blkfront.push".into();
    stages.insert(1, half);
    other
}

#[test]
fn a_way_with_an_ignored_stage_in_it_is_left_out() {
    let text = "ignore_stages = [\"blkfront.push..irq.entry\"]";
    let policy = Policy::parse(text, "p").unwrap();
    let check = check(&[quiet("a")], &[halved()], &policy);
    let why = stage(&check, STAGES[1]).left_out.as_ref().unwrap();
    assert!(
        why.contains("blkfront.push..irq.entry, which is a part"),
        "{why}"
    );
    assert_eq!(check.warnings.len(), 1, "{:?}", check.warnings);
    assert!(
        check.warnings[0].ends_with(
            "the baseline lacks blkfront.push; only ways between points that both sides have were tested"
        ),
        "{:?}",
        check.warnings
    );
}

#[test]
fn a_stage_that_one_kernel_times_as_two_is_checked_as_one() {
    let check = checked(&[quiet("a")], &[halved()]);
    assert_eq!(check.verdict, Verdict::Passed);
    let tests = &stage(&check, STAGES[1]).tests;
    assert_eq!(tests.len(), 1, "only the mean: {tests:?}");
    assert!((tests[0].ratio - 1.0).abs() < 1e-9);
    assert!(
        check.breakdowns[0]
            .stages
            .iter()
            .all(|stage| !stage.name.contains("push"))
    );
}

#[test]
fn old_and_damaged_reports_are_told() {
    assert_eq!(quiet("a").problem(), None);
    let old = changed(|run| run.report.breakdowns[0].stages[0].iterations.clear());
    assert!(old.problem().unwrap().contains("older tracer"));
    let damaged = changed(|run| run.report.breakdowns[0].iterations[2].mean_ns = -1.0);
    assert!(damaged.problem().unwrap().contains("damaged"));
    let damaged = changed(|run| run.report.breakdowns[0].iterations.truncate(1));
    assert!(damaged.problem().unwrap().contains("damaged"));
    let figures = |change: fn(&mut crate::breakdown::IterationFigures)| {
        changed(|run| change(&mut run.report.breakdowns[0].stages[1].iterations[0]))
    };
    for damaged in [
        figures(|own| own.mean_ns = 1e308),
        figures(|own| own.variance_ns2 = 1e300),
        figures(|own| own.p50_ns = own.p99_ns + 1),
        figures(|own| own.p99_ns = own.max_ns + 1),
        figures(|own| own.min_ns = own.max_ns + 1),
    ] {
        assert!(damaged.problem().unwrap().contains("damaged"));
    }
    assert_eq!(quiet("a").trimmed().problem(), None);
}
