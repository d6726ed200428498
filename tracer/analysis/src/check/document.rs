//! A check as a document: what `tracer check --format json` prints. `docs/check.md` explains the fields; the
//! schema's version changes with their meaning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sample::Metric;
use crate::{
    compare::{self, Difference, Lack, RunFacts},
    datapath::Component,
};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.check/1";

/// New runs against a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the tracer that checked.
    pub version: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Where the runs cannot be compared, or nothing can be told from them: why, and what to do.
    pub reasons: Vec<String>,
    /// What a reader must know first.
    pub warnings: Vec<String>,
    /// The baseline's runs.
    pub base: Vec<RunFacts>,
    /// The new ones.
    pub new: Vec<RunFacts>,
    /// What else differs between the first runs of both sides.
    pub differences: Vec<Difference>,
    /// How it was checked.
    pub method: Method,
    /// What was checked, by breakdown.
    pub breakdowns: Vec<BreakdownChecked>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No regression.
    Passed,
    /// A regression.
    Regressed,
    /// No regression is shown, but one that matters is not ruled out, and the policy does not let that pass.
    Undecided,
    /// No regression is shown, but what would show one could not be tested: points or datapaths of the baseline are
    /// gone, or no figure is firm.
    CannotTell,
    /// The runs are not of a kind, or cannot be trusted.
    NotComparable,
}

/// How it was checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    /// How often a check of two equal kernels may fail.
    pub alpha: f64,
    /// Of the intervals.
    pub confidence: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Its draws.
    pub resamples: u64,
    /// Tests among which alpha is divided.
    pub tests: u64,
}

/// What a test deals to the sides at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Iterations: there is one run a side.
    Iterations,
    /// Runs.
    Runs,
}

/// Which test it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Procedure {
    /// Of Mann and Whitney: of ranks.
    Rank,
    /// Student's, of runs too few for ranks to tell.
    Student,
}

/// What a test says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Worse, by as much as matters.
    Regressed,
    /// Better, by as much as matters.
    Improved,
    /// Not worse by as much as matters.
    NotWorse,
    /// It cannot tell.
    Undecided,
}

/// Why a test cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The interval has both what matters and what does not.
    Interval,
    /// The difference may be chance, with so many tests.
    Chance,
    /// So few iterations or runs could not show any difference.
    Few,
    /// The runs drift by as much themselves.
    Drift,
    /// A stage is slower in one run than in another, the total is not.
    OneRun,
    /// Some requests pass one of its ends by: what they add to a longer way may be its own.
    PassedBy,
}

/// How many more iterations or runs a side a firm answer would take, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct More {
    /// How many.
    pub count: u64,
    /// Of what.
    pub of: Unit,
}

/// A breakdown of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BreakdownChecked {
    /// The base's title.
    pub title: String,
    /// The datapath.
    pub datapath: String,
    /// The domain.
    pub domain: String,
    /// `read`, `write`, `tcp`, ...
    pub operation: String,
    /// Requests of the base.
    pub base_count: u64,
    /// Requests of the new runs.
    pub new_count: u64,
    /// Points that some runs lack and others have. Only the ways between points that both sides have are tested.
    #[serde(default)]
    pub lacking: Vec<MissingPoint>,
    /// Where something regressed: the stage that contributes most.
    pub blamed: Option<Blamed>,
    /// The total first, then the stages in the datapath's order.
    pub stages: Vec<StageChecked>,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The baseline.
    Base,
    /// The new runs.
    New,
}

/// A point that runs of a side lack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MissingPoint {
    /// The side.
    pub side: Side,
    /// What it lacks.
    #[serde(flatten)]
    pub lack: Lack,
}

impl From<&compare::Lacking> for MissingPoint {
    fn from(lacking: &compare::Lacking) -> Self {
        Self {
            side: match lacking.side {
                compare::Side::A => Side::Base,
                compare::Side::B => Side::New,
            },
            lack: lacking.lack.clone(),
        }
    }
}

/// A mean that cannot be held against the base's: undecided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incomparable {
    /// The base's, in nanoseconds; none: the base does not have it.
    pub base_ns: Option<f64>,
    /// The new runs', in nanoseconds; none: they do not have it.
    pub new_ns: Option<f64>,
    /// Why.
    pub why: String,
}

/// The stage that contributes most to a total's regression; where no total's figure has regressed, the one that has
/// regressed most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Blamed {
    /// Whether the total has regressed; else only stages of it have.
    pub total: bool,
    /// The figure, of the total if that has regressed: the mean, if that regressed, else the first that did.
    pub metric: Metric,
    /// The stage.
    pub stage: String,
    /// What it adds to the figure, in nanoseconds; of the median what its own has risen by, times the share of requests
    /// that have it; where no stage's own has regressed, what it adds to the mean.
    pub added_ns: f64,
    /// Of the total's mean: its share of that difference; above 1 where other stages go the other way.
    pub share: Option<f64>,
}

/// The total, or a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageChecked {
    /// `total`, or both ends. Where the runs have no stages in common between two points: these.
    pub name: String,
    /// Whose time it is; none: the total, or several components.
    pub component: Option<Component>,
    /// Its share of the base's mean.
    pub base_share: f64,
    /// Its share of the new runs' mean.
    pub new_share: f64,
    /// Why it was left out, if it was.
    pub left_out: Option<String>,
    /// Why its mean cannot be tested, if it cannot: it counts as an undecided figure.
    #[serde(default)]
    pub incomparable: Option<Incomparable>,
    /// The tests.
    pub tests: Vec<Test>,
}

/// A figure held against the base's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Test {
    /// The figure.
    pub metric: Metric,
    /// What it says.
    pub status: Status,
    /// The base's level, in nanoseconds.
    pub base_ns: f64,
    /// The new runs' level, in nanoseconds.
    pub new_ns: f64,
    /// New over base.
    pub ratio: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The smallest ratio that matters, by the policy.
    pub matters: f64,
    /// How often chance makes it so much worse; of an improved one, so much better.
    pub p: f64,
    /// The same, corrected for the number of tests.
    pub p_corrected: f64,
    /// Which test.
    pub procedure: Procedure,
    /// What it deals to the sides.
    pub unit: Unit,
    /// The base's units.
    pub base_units: u64,
    /// The new side's.
    pub new_units: u64,
    /// With one run a side: how far the thirds of either run differ, as a ratio.
    pub drift: Option<f64>,
    /// Why it cannot tell.
    pub why: Option<Why>,
    /// What a firm answer would take; none: more than is sensible, or it is firm.
    pub more: Option<More>,
}

impl Check {
    /// The JSON schema of checks.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// All tests, each with its breakdown and stage.
    pub fn tests(&self) -> impl Iterator<Item = (&BreakdownChecked, &StageChecked, &Test)> {
        self.breakdowns.iter().flat_map(|breakdown| {
            let stages = breakdown.stages.iter();
            stages
                .flat_map(move |stage| stage.tests.iter().map(move |test| (breakdown, stage, test)))
        })
    }

    /// How many figures are of this status; what cannot be compared is undecided.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        let tests = self.tests();
        let tested = tests.filter(|(_, _, test)| test.status == status).count();
        if status == Status::Undecided {
            tested + self.incomparable()
        } else {
            tested
        }
    }

    /// How many figures there are: tested, or not to be compared.
    #[must_use]
    pub fn figures(&self) -> usize {
        self.tests().count() + self.incomparable()
    }

    /// How many means cannot be held against the base's.
    #[must_use]
    pub fn incomparable(&self) -> usize {
        let stages = self.breakdowns.iter().flat_map(|own| &own.stages);
        stages.filter(|stage| stage.incomparable.is_some()).count()
    }

    /// How many breakdowns only the baseline has.
    #[must_use]
    pub fn gone(&self) -> usize {
        let gone = self.breakdowns.iter().filter(|own| own.is_gone());
        gone.count()
    }
}

impl BreakdownChecked {
    /// Whether only the baseline has it: whether it is slower, nothing says.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.base_count > 0 && self.new_count == 0
    }
}

impl Side {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "the baseline",
            Self::New => "the new runs",
        }
    }

    /// That it does not have something, in words.
    #[must_use]
    pub const fn lacks_it(self) -> &'static str {
        match self {
            Self::Base => "the baseline does not have it",
            Self::New => "the new runs do not have it",
        }
    }
}

impl Status {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::NotWorse => "not worse",
            Self::Undecided => "undecided",
        }
    }
}

impl More {
    /// As in "3 more runs a side".
    #[must_use]
    pub fn words(self) -> String {
        let plural = if self.count == 1 { "" } else { "s" };
        match self.of {
            Unit::Runs => format!("{} more run{plural} a side", self.count),
            Unit::Iterations => format!("{} more iteration{plural} a run", self.count),
        }
    }
}

impl Unit {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iterations => "iterations",
            Self::Runs => "runs",
        }
    }
}
