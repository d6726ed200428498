//! What a test says: a regression must be large enough to matter, outside of the interval, more than chance,
//! and more than the runs drift by themselves.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::{
    bootstrap::{self, RUNS_AS_UNITS},
    document::{More, Procedure, Status, Test, Unit, Why},
    policy::Policy,
    rank::{self, lowest_p},
    sample::{Metric, Sample},
    student,
};

/// How much more than the thirds of a run differ the runs must. Thirds of a straight line differ by two
/// thirds of the way; the line goes on to the other run, and on in the pause between.
const DRIFT_MARGIN: f64 = 2.0;
/// Fewer iterations of a run do not show whether it drifts.
const LEAST_ITERATIONS: usize = 4;
/// What tells a slower kernel from a slower hour: no more of the same run does.
pub(super) const MORE_RUNS: More = More {
    count: RUNS_AS_UNITS as u64 - 1,
    of: Unit::Runs,
};
/// More than so many iterations or runs nobody makes.
const MOST: f64 = 1_000.0;

/// Both sides' figures, and what chance makes of them.
#[derive(Debug)]
pub(super) struct Tested {
    metric: Metric,
    base: Sample,
    new: Sample,
    pub(super) p_worse: f64,
    pub(super) p_better: f64,
    procedure: Procedure,
    unit: Unit,
    /// The probability at which this test alone would be believed.
    bound: f64,
}

impl Tested {
    /// Tests both ways. Ranks, unless there are so few runs that ranks could never be below `bound`.
    pub(super) fn new(metric: Metric, base: Sample, new: Sample, bound: f64) -> Self {
        let (unit, of_base, of_new) = match (base.runs(), new.runs()) {
            ([base], [new]) => (Unit::Iterations, base.clone(), new.clone()),
            _ => (Unit::Runs, base.run_levels(), new.run_levels()),
        };
        let (base_units, new_units) = (of_base.len(), of_new.len());
        let can_tell =
            lowest_p(base_units, new_units) <= bound && rank::holds(base_units, new_units);
        let by_student = (unit == Unit::Runs && !can_tell)
            .then(|| {
                let scale = metric.scale();
                let (base, new) = (scale.logarithms(&of_base), scale.logarithms(&of_new));
                student::p_greater(&base, &new).zip(student::p_greater(&new, &base))
            })
            .flatten();
        let by_ranks = || rank::p_higher_and_lower(&of_base, &of_new);
        let (p_worse, p_better) = by_student.unwrap_or_else(by_ranks);
        Self {
            metric,
            p_worse,
            p_better,
            procedure: if by_student.is_some() {
                Procedure::Student
            } else {
                Procedure::Rank
            },
            unit,
            bound,
            base,
            new,
        }
    }

    /// Units of both sides.
    fn units(&self) -> (usize, usize) {
        let count = |sample: &Sample| match (self.unit, sample.runs()) {
            (Unit::Iterations, [run]) => run.len(),
            (_, runs) => runs.len(),
        };
        (count(&self.base), count(&self.new))
    }

    /// The test, given its corrected probabilities, which are believed up to `alpha`.
    pub(super) fn decide(&self, worse: f64, better: f64, alpha: f64, policy: &Policy) -> Test {
        let (base_ns, new_ns) = (self.base.level_ns(), self.new.level_ns());
        let ratio = self.base.scale.ratio(self.base.level(), self.new.level());
        let (low, high) = bootstrap::interval(&self.base, &self.new, policy.confidence);
        let (share, least_ns) = policy.effect(self.metric.kind());
        let matters = |from_ns: f64| 1.0 + share.max(least_ns / from_ns.max(1.0));
        let drift = self.base.drift.max(self.new.drift);
        let drift = (self.unit == Unit::Iterations).then_some(drift);
        let way = |ratio, low, high, p, from_ns| Way {
            ratio,
            low,
            high,
            matters: matters(from_ns),
            is_chance: p > alpha || self.is_short(),
            is_drift: drift.is_some_and(|drift| ratio <= drift.powf(DRIFT_MARGIN)),
        };
        let up = way(ratio, low, high, worse, base_ns);
        let down = way(1.0 / ratio, 1.0 / high, 1.0 / low, better, new_ns);
        let status = if up.is_shown() {
            Status::Regressed
        } else if down.is_shown() {
            Status::Improved
        } else if up.is_ruled_out() && !self.is_short() {
            Status::NotWorse
        } else {
            Status::Undecided
        };
        let (p, p_corrected) = match status {
            Status::Improved => (self.p_better, better),
            _ => (self.p_worse, worse),
        };
        let why = (status == Status::Undecided).then(|| self.why(&up));
        let (base_units, new_units) = self.units();
        Test {
            metric: self.metric,
            status,
            base_ns,
            new_ns,
            ratio,
            low,
            high,
            matters: up.matters,
            p,
            p_corrected,
            procedure: self.procedure,
            unit: self.unit,
            base_units: base_units as u64,
            new_units: new_units as u64,
            drift,
            why,
            more: why.and_then(|why| self.more(why, &up)),
        }
    }

    /// Whether a run has so few iterations that nothing it shows is believed, that nothing has changed neither.
    fn is_short(&self) -> bool {
        let (base, new) = self.units();
        self.unit == Unit::Iterations && base.min(new) < LEAST_ITERATIONS
    }

    /// Whether a side has so few units that no test alone could show anything.
    fn is_few(&self) -> bool {
        let (base, new) = self.units();
        self.procedure == Procedure::Rank && lowest_p(base, new) > self.bound
    }

    fn why(&self, way: &Way) -> Why {
        if self.is_short() {
            Why::Few
        } else if way.ratio < way.matters || way.low <= 1.0 {
            Why::Interval
        } else if self.is_few() {
            Why::Few
        } else if way.is_chance {
            Why::Chance
        } else {
            Why::Drift
        }
    }

    /// What a firm answer would take: intervals get narrower with the root of the number of units.
    fn more(&self, why: Why, way: &Way) -> Option<More> {
        let (base, new) = self.units();
        let have = base.min(new);
        let times = match why {
            Why::Drift | Why::OneRun | Why::PassedBy => return Some(MORE_RUNS),
            Why::Interval if way.ratio < way.matters => {
                (way.high - way.ratio) / (way.matters - way.ratio)
            }
            Why::Interval => (way.ratio - way.low) / (way.ratio - 1.0),
            Why::Few => 1.0,
            Why::Chance => normal_distance(self.bound) / normal_distance(self.p_worse),
        };
        let mut wanted = (have as f64 * times.powi(2)).ceil().max(have as f64 + 1.0);
        if self.unit == Unit::Iterations && (why != Why::Interval || way.ratio >= way.matters) {
            wanted = wanted.max(LEAST_ITERATIONS as f64);
            while wanted <= MOST && lowest_p(wanted as usize, wanted as usize) > self.bound {
                wanted += 1.0;
            }
        }
        (wanted <= MOST).then(|| More {
            count: (wanted as usize - have) as u64,
            of: self.unit,
        })
    }
}

/// How many standard deviations out a normal figure is that is exceeded this often.
fn normal_distance(p: f64) -> f64 {
    -Normal::standard().inverse_cdf(p.clamp(1e-12, 0.499))
}

/// The step from one side to the other, one way.
#[derive(Debug)]
struct Way {
    ratio: f64,
    low: f64,
    high: f64,
    /// The smallest ratio that matters.
    matters: f64,
    is_chance: bool,
    is_drift: bool,
}

impl Way {
    fn is_shown(&self) -> bool {
        self.ratio >= self.matters && self.low > 1.0 && !self.is_chance && !self.is_drift
    }

    fn is_ruled_out(&self) -> bool {
        self.high < self.matters
    }
}
