//! How often noise is taken for a regression, and a regression for noise: simulated runs of a machine that
//! is slower for a while now and then. `docs/check.md` has the figures.

use rand::{RngExt as _, SeedableRng as _, rngs::ChaCha8Rng};

use super::{STAGES, Steps, checked, run};
use crate::check::{CheckedRun, Verdict};

/// By how much a machine's slowness changes from iteration to iteration.
const DRIFT: f64 = 0.01;

/// A machine; its state goes on from run to run.
struct Machine {
    random: ChaCha8Rng,
    /// How much slower it is at present, as a logarithm.
    slowness: f64,
    /// By how much that changes from iteration to iteration.
    drift: f64,
    /// By how much boots differ.
    boots: f64,
}

impl Machine {
    fn new(seed: u64, drift: f64, boots: f64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            slowness: 0.0,
            drift,
            boots,
        }
    }

    /// Near enough to a normally distributed number: a sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0
    }

    /// A run of a kernel whose second stage takes so many times as long.
    fn run(&mut self, name: &str, iterations: usize, factor: f64) -> CheckedRun {
        let boot = self.boots * self.normal();
        let sides: Vec<Vec<Steps>> = (0..iterations)
            .map(|_| {
                self.slowness = 0.9 * self.slowness + self.drift * self.normal();
                let slowness = self.slowness + boot;
                (0..40).map(|_| self.request(slowness, factor)).collect()
            })
            .collect();
        run(name, &sides)
    }

    /// Latencies have long tails.
    fn request(&mut self, slowness: f64, factor: f64) -> Steps {
        let mut step = |ns: f64| (ns * (0.3 * self.normal() + slowness).exp()) as u64;
        [step(20_000.0), step(100_000.0 * factor), step(8_000.0)]
    }
}

/// How many of so many checks of runs of `factor` against those of 1 find a regression, and in how many of
/// these the stage is named.
fn found(checks: u64, iterations: usize, runs: usize, factor: f64, drift: f64) -> (u64, u64) {
    let (mut found, mut named) = (0, 0);
    for seed in 0..checks {
        let mut machine = Machine::new(seed, drift, if runs > 1 { 0.01 } else { 0.0 });
        let mut side = |name: &str, factor: f64| -> Vec<CheckedRun> {
            (0..runs)
                .map(|at| machine.run(&format!("{name}{at}"), iterations, factor))
                .collect()
        };
        let (base, new) = (side("a", 1.0), side("b", factor));
        let check = checked(&base, &new);
        if check.verdict == Verdict::Regressed {
            found += 1;
            let blamed = check.breakdowns[0].blamed.as_ref();
            named += u64::from(blamed.unwrap().stage == STAGES[1]);
        }
    }
    (found, named)
}

#[test]
#[ignore = "prints the table of docs/check.md"]
fn table() {
    const CHECKS: u64 = 100;
    for (iterations, runs) in [(5, 1), (10, 1), (20, 1), (5, 3), (5, 5), (5, 8)] {
        let row: Vec<(u64, u64)> = [1.0, 1.05, 1.1, 1.25]
            .iter()
            .map(|factor| found(CHECKS, iterations, runs, *factor, DRIFT))
            .collect();
        eprintln!("{iterations} iterations, {runs} runs: {row:?}");
    }
    for drift in [0.02, 0.04] {
        for (iterations, runs) in [(5, 1), (10, 1), (20, 1), (5, 3), (5, 5)] {
            let (alarms, _) = found(CHECKS, iterations, runs, 1.0, drift);
            eprintln!("drift {drift}, {iterations} iterations, {runs} runs: {alarms} alarms");
        }
    }
}

#[test]
fn noise_is_no_regression_and_a_quarter_more_is_one() {
    let (alarms, _) = found(24, 10, 1, 1.0, DRIFT);
    assert!(alarms <= 3, "{alarms} false alarms of 24");
    let (detected, named) = found(8, 10, 1, 1.25, DRIFT);
    assert!(
        detected >= 7 && named == detected,
        "{detected} of 8 found, {named} named"
    );
}

#[test]
fn boots_that_differ_are_no_regression_and_a_quarter_more_is_one() {
    let (alarms, _) = found(10, 3, 4, 1.0, DRIFT);
    assert!(alarms <= 2, "{alarms} false alarms of 10");
    let (detected, named) = found(4, 3, 4, 1.25, DRIFT);
    assert!(
        detected >= 3 && named == detected,
        "{detected} of 4 found, {named} named"
    );
}
