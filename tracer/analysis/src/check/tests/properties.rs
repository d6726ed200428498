//! What must hold for every check.

use proptest::prelude::*;

use super::{STAGES, Steps, checked, run, run_of, span, stage, status};
use crate::check::{Check, CheckedRun, Metric, Policy, Status, Unit, Verdict};

/// Iterations of requests, each stage up to a tenth longer than the shortest.
fn iterations(count: usize) -> impl Strategy<Value = Vec<Vec<Steps>>> {
    let step = || 100_000u64..110_000;
    let request = (step(), step(), step()).prop_map(|(a, b, c)| [a, b, c]);
    prop::collection::vec(prop::collection::vec(request, 1..12), count)
}

fn any_iterations() -> impl Strategy<Value = Vec<Vec<Steps>>> {
    let request = prop::array::uniform3(0u64..5_000_000);
    prop::collection::vec(prop::collection::vec(request, 0..6), 1..9)
}

fn runs(sides: &[Vec<Vec<Steps>>], name: &str) -> Vec<CheckedRun> {
    let numbered = sides.iter().enumerate();
    numbered
        .map(|(at, side)| run(&format!("{name}{at}"), side))
        .collect()
}

fn slower(iterations: &[Vec<Steps>], at: usize, extra: u64) -> Vec<Vec<Steps>> {
    let mut slower = iterations.to_vec();
    for request in slower.iter_mut().flatten() {
        request[at] += extra;
    }
    slower
}

/// Whether a figure of the total is firm.
fn has_firm_total(check: &Check) -> bool {
    let mut tests = stage(check, "total").tests.iter();
    tests.any(|test| test.status != Status::Undecided)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_run_is_no_regression_of_itself(sides in prop::collection::vec(any_iterations(), 1..6)) {
        let check = checked(&runs(&sides, "run"), &runs(&sides, "same"));
        let has_requests = sides.iter().flatten().any(|requests| !requests.is_empty());
        let expected = if !has_requests {
            Verdict::NotComparable
        } else if has_firm_total(&check) {
            Verdict::Passed
        } else {
            Verdict::CannotTell
        };
        prop_assert_eq!(check.verdict, expected, "{:?}", check.reasons);
        for (_, _, test) in check.tests() {
            prop_assert!(test.status != Status::Improved, "{:?}", test);
            prop_assert!((test.ratio - 1.0).abs() < 1e-9);
            prop_assert!(test.low <= test.ratio + 1e-9 && test.ratio <= test.high + 1e-9, "{:?}", test);
        }
    }

    #[test]
    fn a_constant_on_one_stage_is_blamed_on_it(
        side in iterations(8),
        at in 0usize..3,
        extra in 200_000u64..2_000_000,
    ) {
        let new = run("b", &slower(&side, at, extra));
        let check = checked(&[run("a", &side)], &[new]);
        prop_assert_eq!(check.verdict, Verdict::Regressed);
        let blamed = check.breakdowns[0].blamed.as_ref().unwrap();
        prop_assert_eq!(&blamed.stage, STAGES[at]);
        prop_assert_eq!(blamed.metric, Metric::Mean);
        prop_assert!((blamed.added_ns - extra as f64).abs() < 1.0);
        prop_assert!((blamed.share.unwrap() - 1.0).abs() < 1e-6);
        prop_assert_eq!(status(&check, STAGES[at], Metric::Mean), Status::Regressed);
        // A constant is no jitter, and the other stages are as they were.
        for metric in [Metric::Stddev, Metric::Range] {
            prop_assert!(status(&check, STAGES[at], metric) != Status::Regressed);
        }
        for other in (0..3).filter(|other| *other != at) {
            let tests = &stage(&check, STAGES[other]).tests;
            prop_assert!(tests.iter().all(|test| test.status != Status::Regressed), "{:?}", tests);
        }
    }

    #[test]
    fn what_is_faster_is_an_improvement(side in iterations(7), at in 0usize..3) {
        let slow = run("a", &slower(&side, at, 300_000));
        let check = checked(&[slow], &[run("b", &side)]);
        prop_assert_eq!(check.verdict, Verdict::Passed);
        prop_assert_eq!(status(&check, "total", Metric::Mean), Status::Improved);
    }

    #[test]
    fn neither_order_matters(
        base in prop::collection::vec(any_iterations(), 1..5),
        new in prop::collection::vec(any_iterations(), 1..5),
    ) {
        let (base, new) = (runs(&base, "base"), runs(&new, "new"));
        let reversed = |runs: &[CheckedRun]| -> Vec<CheckedRun> {
            let mut runs = runs.to_vec();
            runs.reverse();
            for breakdown in runs.iter_mut().flat_map(|run| &mut run.report.breakdowns) {
                breakdown.iterations.reverse();
                breakdown.stages.iter_mut().for_each(|stage| stage.iterations.reverse());
            }
            runs
        };
        let check = checked(&base, &new);
        prop_assert_eq!(&check, &checked(&reversed(&base), &reversed(&new)));
            }

    #[test]
    fn figures_are_within_their_bounds(
        base in prop::collection::vec(any_iterations(), 1..6),
        new in prop::collection::vec(any_iterations(), 1..6),
    ) {
        let check = checked(&runs(&base, "base"), &runs(&new, "new"));
        for (_, _, test) in check.tests() {
            prop_assert!((0.0..=1.0).contains(&test.p), "{:?}", test);
            prop_assert!((test.p..=1.0).contains(&test.p_corrected), "{:?}", test);
            prop_assert!(test.low <= test.high && test.low > 0.0, "{:?}", test);
            prop_assert!(test.high.is_finite() && test.ratio.is_finite(), "{:?}", test);
            prop_assert_eq!(test.why.is_some(), test.status == Status::Undecided);
            prop_assert!(test.more.is_none_or(|more| more.count > 0 && more.count <= 1_000));
            let single = base.len() == 1 && new.len() == 1;
            prop_assert!(!single || test.unit == Unit::Iterations);
        }
        for breakdown in &check.breakdowns {
            let share = |of: fn(&crate::check::StageChecked) -> f64| -> f64 {
                breakdown.stages[1..].iter().map(of).sum()
            };
            prop_assert!((share(|stage| stage.base_share) - 1.0).abs() < 1e-6 || breakdown.base_count == 0 || share(|s| s.base_share) == 0.0);
        }
    }
}

#[test]
fn few_iterations_tell_a_slower_total_and_say_how_many_tell_the_rest() {
    let side: Vec<Vec<Steps>> = (0..6)
        .map(|i| vec![[100_000 + i * 100, 900_000, 50_000]; 9])
        .collect();
    let check = checked(&[run("a", &side)], &[run("b", &slower(&side, 1, 400_000))]);
    assert_eq!(check.verdict, Verdict::Regressed);
    assert_eq!(status(&check, "total", Metric::Mean), Status::Regressed);
    assert_eq!(
        check.breakdowns[0].blamed.as_ref().unwrap().stage,
        STAGES[1]
    );
    let test = &stage(&check, STAGES[1]).tests[0];
    assert_eq!(test.status, Status::Undecided);
    let more = test.more.unwrap();
    assert_eq!((more.count, more.of), (2, Unit::Iterations), "{test:?}");
}

#[test]
fn an_improvement_fails_nothing_and_has_its_own_probability() {
    let side: Vec<Vec<Steps>> = (0..10)
        .map(|i| vec![[100_000 + i * 100, 900_000, 50_000]; 9])
        .collect();
    let check = checked(&[run("a", &slower(&side, 1, 400_000))], &[run("b", &side)]);
    assert_eq!(check.verdict, Verdict::Passed);
    for name in ["total", STAGES[1]] {
        let test = &stage(&check, name).tests[0];
        assert_eq!(test.status, Status::Improved, "{test:?}");
        assert!(test.p_corrected <= check.method.alpha, "{test:?}");
    }
}

#[test]
fn a_single_iteration_does_not_show_that_nothing_has_changed() {
    let side = |ns| vec![vec![[100_000, ns, 50_000]; 9]];
    let check = checked(&[run("a", &side(900_000))], &[run("b", &side(920_000))]);
    let test = &stage(&check, "total").tests[0];
    assert_eq!(test.status, Status::Undecided, "{test:?}");
    assert!(test.more.unwrap().count >= 3, "{test:?}");
}

#[test]
fn what_one_of_several_runs_has_alone_is_not_judged_by_its_iterations() {
    let side = |name: &str, stolen: u64| {
        let spans = (0..10u32).flat_map(move |iteration| {
            (0..9).map(move |_| {
                let mut span = span(iteration, &[100_000, 900_000, 50_000 + stolen]);
                if stolen > 0 {
                    span.taken.stolen = vec![(2, stolen)];
                }
                span
            })
        });
        run_of(name, spans)
    };
    let base = [side("a0", 20_000), side("a1", 0), side("a2", 0)];
    let new = [side("b0", 0), side("b1", 40_000), side("b2", 0)];
    let check = checked(&base, &new);
    assert_eq!(check.verdict, Verdict::Passed);
    let tests = &stage(&check, "vcpu.off..vcpu.on").tests;
    let metrics: Vec<Metric> = tests.iter().map(|test| test.metric).collect();
    assert_eq!(metrics, [Metric::Mean]);
    assert_eq!(tests[0].unit, Unit::Runs);
}

#[test]
fn blame_weighs_runs_and_iterations_as_the_test_does() {
    // Many requests of the second stage's slow iterations in the new run, few in the base: its mean over requests
    // rises, that over iterations does not.
    let side = |step: u64, many_of_slow: bool| -> Vec<Vec<Steps>> {
        (0..40u64)
            .map(|i| {
                let is_slow = i % 2 == 0;
                let count = if is_slow == many_of_slow { 100 } else { 1 };
                let second = if is_slow { 200_000 } else { 100_000 };
                vec![[step + i * 10, second, 50_000]; count]
            })
            .collect()
    };
    let base = run("a", &side(100_000, false));
    let new = run("b", &side(160_000, true));
    let check = checked(&[base], &[new]);
    assert_eq!(status(&check, "total", Metric::Mean), Status::Regressed);
    let blamed = check.breakdowns[0].blamed.as_ref().unwrap();
    assert_eq!(blamed.stage, STAGES[0]);
    assert!((blamed.added_ns - 60_000.0).abs() < 1.0, "{blamed:?}");
}

#[test]
fn one_run_shows_a_slower_stage_only_with_a_slower_total_or_where_runs_repeat() {
    let side = |extra: u64| -> Vec<Vec<Steps>> {
        (0..10)
            .map(|i| vec![[100_000 + i * 100, 9_000_000, 150_000 + extra]; 9])
            .collect()
    };
    let (base, new) = ([run("a", &side(0))], [run("b", &side(60_000))]);
    let check = checked(&base, &new);
    assert_eq!(check.verdict, Verdict::Passed);
    let test = &stage(&check, STAGES[2]).tests[0];
    assert_eq!(test.status, Status::Undecided);
    assert_eq!(test.why, Some(super::super::Why::OneRun));
    assert_eq!(test.more.unwrap().of, Unit::Runs);
    // Nor a faster one.
    let turned = checked(&new, &base);
    let test = &stage(&turned, STAGES[2]).tests[0];
    assert_eq!(test.why, Some(super::super::Why::OneRun));
    let policy = Policy::parse("one_run = \"stages\"", "policy").unwrap();
    let check = super::check(&base, &new, &policy);
    assert_eq!(check.verdict, Verdict::Regressed);
    assert_eq!(status(&check, STAGES[2], Metric::Mean), Status::Regressed);
    // Several runs show it as they are.
    let side = |name: &str, extra: u64| -> Vec<CheckedRun> {
        let sides = (0..4).map(|at| run(&format!("{name}{at}"), &side(extra + at * 50)));
        sides.collect()
    };
    let check = checked(&side("a", 0), &side("b", 60_000));
    assert_eq!(status(&check, STAGES[2], Metric::Mean), Status::Regressed);
}

#[test]
fn of_stages_that_regressed_without_their_total_the_one_that_rose_most_is_blamed() {
    let side = |name: &str, first: u64, last: u64| -> Vec<CheckedRun> {
        let run = |at: u64| {
            let steps = |i: u64| {
                [
                    100_000 + i * 100 + first + at * 50,
                    9_000_000,
                    150_000 + last,
                ]
            };
            let iterations: Vec<Vec<Steps>> = (0..10).map(|i| vec![steps(i); 9]).collect();
            run(&format!("{name}{at}"), &iterations)
        };
        (0..4).map(run).collect()
    };
    let check = checked(&side("a", 0, 0), &side("b", 30_000, 60_000));
    let of_total = stage(&check, "total").tests.iter();
    assert!(
        of_total
            .clone()
            .all(|test| test.status != Status::Regressed)
    );
    for slower in [STAGES[0], STAGES[2]] {
        assert_eq!(status(&check, slower, Metric::Mean), Status::Regressed);
    }
    let blamed = check.breakdowns[0].blamed.as_ref().unwrap();
    assert!(!blamed.total && blamed.share.is_none(), "{blamed:?}");
    assert_eq!((&*blamed.stage, blamed.metric), (STAGES[2], Metric::Mean));
    assert!((blamed.added_ns - 60_000.0).abs() < 1.0, "{blamed:?}");
}

#[test]
fn what_drifts_as_far_by_itself_is_not_blamed() {
    let line = |from: u64| -> Vec<Vec<Steps>> {
        (from..from + 9)
            .map(|i| vec![[100_000, 500_000 + i * 20_000, 50_000]; 5])
            .collect()
    };
    let check = checked(&[run("a", &line(0))], &[run("b", &line(9))]);
    assert_eq!(check.verdict, Verdict::Passed, "{check:?}");
    let test = &stage(&check, "total").tests[0];
    assert_eq!(test.why, Some(crate::check::Why::Drift), "{test:?}");
    assert_eq!(test.more.unwrap().of, Unit::Runs);
}

#[test]
fn several_runs_are_the_units_and_their_own_differences_count() {
    let boot = |name: &str, level: u64| {
        let side: Vec<Vec<Steps>> = (0..20)
            .map(|i| vec![[100_000, level + i * 10, 50_000]; 5])
            .collect();
        run(name, &side)
    };
    let side = |name: &str, levels: &[u64]| -> Vec<CheckedRun> {
        let numbered = levels.iter().enumerate();
        numbered
            .map(|(at, level)| boot(&format!("{name}{at}"), *level))
            .collect()
    };
    // By iterations 60 to 60 and no overlap in the means of the sides; by boots it is noise.
    let (base, new) = (
        side("a", &[900_000, 1_100_000, 950_000]),
        side("b", &[1_050_000, 1_150_000, 980_000]),
    );
    assert_eq!(checked(&base, &new).verdict, Verdict::Passed);
    // Three boots of each that agree tell what one cannot.
    let (base, new) = (
        side("a", &[900_000, 901_000, 902_000]),
        side("b", &[1_100_000, 1_101_000, 1_102_000]),
    );
    let check = checked(&base, &new);
    assert_eq!(check.verdict, Verdict::Regressed);
    let test = &stage(&check, STAGES[1]).tests[0];
    assert_eq!(
        (test.unit, test.base_units, test.status),
        (Unit::Runs, 3, Status::Regressed)
    );
    // One new boot against several.
    assert_eq!(checked(&base, &new[..1]).verdict, Verdict::Regressed);
    let same = side("c", &[900_000]);
    assert_eq!(checked(&base, &same).verdict, Verdict::Passed);
}

#[test]
fn a_stage_of_few_requests_is_not_blamed_for_the_median_of_all() {
    // One request in twenty waits for a virtual CPU, by turns shortly and for very long, and longer in the new run.
    let side = |name: &str, step: u64, waits: [u64; 2]| {
        let spans = (0..10u32).flat_map(move |iteration| {
            (0..20).map(move |request| {
                let mut span = span(iteration, &[100_000, step, 50_000 + u64::from(iteration)]);
                if request == 0 {
                    let wait = waits[iteration as usize % 2];
                    span.points.last_mut().unwrap().1 += wait;
                    span.taken.stolen = vec![(2, wait)];
                }
                span
            })
        });
        run_of(name, spans)
    };
    let base = side("a", 1_000_000, [1000, 60_000_000]);
    let new = side("b", 1_300_000, [2000, 90_000_000]);
    let check = checked(&[base], &[new]);
    let total = |metric| status(&check, "total", metric);
    assert_ne!(total(Metric::Mean), Status::Regressed);
    assert_eq!(total(Metric::P50), Status::Regressed);
    let waited = stage(&check, "vcpu.off..vcpu.on").tests.iter();
    let rise = |test: &super::super::Test| test.new_ns - test.base_ns;
    let median = waited
        .filter(|test| test.metric == Metric::P50)
        .map(rise)
        .next();
    assert!(median.unwrap() > 1_000_000.0);
    let blamed = check.breakdowns[0].blamed.as_ref().unwrap();
    assert_eq!(blamed.stage, "blk.issue..irq.entry");
    // Nor where its own median has regressed beyond doubt, by five times as much.
    let base = side("a", 1_000_000, [2_000_000, 2_000_000]);
    let new = side("b", 1_300_000, [3_500_000, 3_500_000]);
    let policy = Policy {
        metrics: vec![Metric::P50],
        ..Policy::default()
    };
    let check = super::check(&[base], &[new], &policy);
    let of_wait = status(&check, "vcpu.off..vcpu.on", Metric::P50);
    assert_eq!(of_wait, Status::Regressed);
    let blamed = check.breakdowns[0].blamed.as_ref().unwrap();
    assert_eq!(blamed.stage, "blk.issue..irq.entry");
    assert!((blamed.added_ns - 300_000.0).abs() < 1.0, "{blamed:?}");
}
