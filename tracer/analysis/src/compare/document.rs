//! A comparison as a document: what `tracer compare --format json` prints. `docs/compare.md` explains
//! the fields; the schema's version changes with their meaning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    compared::Compared,
    load::{InterruptCompared, IterationsCompared},
    outcome::Verdict,
    side::Side,
};
use crate::{datapath::Component, recording::host::HostFacts};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.compare/1";

/// Two runs, side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the tracer that compared.
    pub version: String,
    /// The reference.
    pub a: RunFacts,
    /// What is held against it.
    pub b: RunFacts,
    /// What a reader must know first.
    pub warnings: Vec<String>,
    /// What else than the figures differs: scenario, kernel, Xen, CPU, settings.
    pub differences: Vec<Difference>,
    /// Breakdowns of both runs that were paired.
    pub pairs: Vec<Pair>,
    /// Breakdowns of either run that were not.
    pub unpaired: Vec<Unpaired>,
    /// The measured workload, over the iterations.
    pub iterations: Option<IterationsCompared>,
    /// Interrupts by handler.
    pub interrupts: Vec<InterruptCompared>,
}

/// One of the runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunFacts {
    /// The run directory or report, as it was named.
    pub source: String,
    /// The scenario's name.
    pub scenario: String,
    /// Its question.
    pub question: String,
    /// When the run began (RFC 3339).
    pub started: String,
    /// The tracer's version.
    pub version: String,
    /// Why the run is partial, if it is.
    pub partial: Option<String>,
    /// Requests lost, as a share of all: of the domain that lost most.
    pub lost_share: f64,
    /// Whether that is more than the run allows (`probes.max_lost_percent`; a saved report: 1%).
    pub lost_too_many: bool,
    /// Where it ran.
    pub host: HostFacts,
}

/// A fact that is not the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What it is about.
    pub what: String,
    /// A's.
    pub a: String,
    /// B's.
    pub b: String,
}

/// Breakdowns of both runs that are of the same kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// A's requests.
    pub a: Group,
    /// B's requests.
    pub b: Group,
    /// The difference in words.
    pub findings: Vec<String>,
    /// Whether the iterations tell the sides apart, and what is to blame.
    pub verdict: Verdict,
    /// The points that either or both sides pass, in an order that is that of both.
    pub points: Vec<String>,
    /// Points that one side lacks, where both are of one datapath: a probe that its kernel refused, or another way
    /// through it.
    pub lacking: Vec<Lacking>,
    /// From the first point to the last. Without differences where that is not the same way on both sides.
    pub total: Whole,
    /// The way on which both sides are timed; none: there is none, and nothing is compared.
    pub way: Option<Way>,
    /// The stages by component, the largest difference first; where the totals are not compared, of the stages on
    /// the common way.
    pub components: Vec<ComponentCompared>,
    /// The stages, in the datapaths' order.
    pub stages: Vec<StageCompared>,
    /// The stages, gathered between points that both sides have, in the datapaths' order.
    pub stretches: Vec<Stretch>,
}

/// A point that a side lacks: the other side's requests pass it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lacking {
    /// Whose requests do not pass it.
    pub side: Side,
    /// What it lacks.
    #[serde(flatten)]
    pub lack: Lack,
}

/// What is missing of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lack {
    /// The point.
    pub point: String,
    /// The share of the side's requests that pass it all the same, from 0 to 1.
    pub share: f64,
    /// The share of the other side's requests that pass it.
    pub other_share: f64,
    /// Runs of the side that lack it.
    pub runs: u64,
    /// Of so many.
    pub of: u64,
    /// Why it could not be traced, if a run of the side says.
    pub why: Option<String>,
}

/// Why parts of a way are not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotCompared {
    /// B has no such stage.
    OnlyInA,
    /// A has no such stage.
    OnlyInB,
    /// Not all requests of both sides are timed there.
    OffTheWay,
    /// Time that others took is in it on one side, and apart from it on the other.
    TakenApart,
    /// It leaps over a point that one side lacks: more requests do there.
    OverALostPoint,
}

impl NotCompared {
    /// Of what only one side has.
    #[must_use]
    pub const fn only_in(side: Side) -> Self {
        match side {
            Side::A => Self::OnlyInA,
            Side::B => Self::OnlyInB,
        }
    }
}

/// The way on which both sides are timed. Its parts' differences add up to its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Way {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// Whether it is all of both sides' totals.
    pub is_total: bool,
    /// Mean over all requests of a side, in nanoseconds.
    pub mean_ns: Compared,
}

/// The requests of one side of a pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// The breakdown's title.
    pub title: String,
    /// The datapath.
    pub datapath: String,
    /// The domain.
    pub domain: String,
    /// The device or interface.
    pub device: String,
    /// `read`, `write`, `tcp`, ...
    pub operation: String,
    /// Requests.
    pub count: u64,
    /// Bytes of all requests.
    pub bytes: u64,
    /// Whether percentiles come from the kernel's coarse histograms (12.5% a slot).
    pub approximate: bool,
    /// Where most of the requests begin.
    pub first_point: String,
    /// Where most of the requests end.
    pub last_point: String,
}

/// The totals of a pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Whole {
    /// Mean of a request, in nanoseconds.
    pub mean_ns: Compared,
    /// Median, in nanoseconds.
    pub p50_ns: Compared,
    /// 99th percentile, in nanoseconds.
    pub p99_ns: Compared,
    /// Variance, in ns^2.
    pub variance_ns2: Compared,
    /// Bytes a request; none where the run does not count them (aggregate mode).
    pub request_bytes: Compared,
}

/// What a stage, a component or a stretch is of the whole. Those of a pair add up to its totals. What is not on
/// the way on which both sides are timed has no difference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Mean over *all* requests of the side, in nanoseconds; one without it counts as zero.
    pub mean_ns: Compared,
    /// Its share of the difference of the way's means; above 1 or negative where parts go against each other.
    pub share_of_difference: Option<f64>,
    /// What it is of the totals' variance: Cov(this, total), in ns^2.
    pub variance_ns2: Compared,
    /// Its share of the difference of the totals' variances.
    pub share_of_variance_difference: Option<f64>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageCompared {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// blktrace's letters for it, where there are any.
    pub letters: Option<String>,
    /// Whose time it is.
    pub component: Component,
    /// The side that alone has it, if one does.
    pub only_in: Option<Side>,
    /// Why it is not compared, if it is not.
    pub not_compared: Option<NotCompared>,
    /// A's requests that had it.
    pub count_a: u64,
    /// B's requests that had it.
    pub count_b: u64,
    /// What it is of the whole.
    #[serde(flatten)]
    pub part: Part,
    /// Median over the requests that had it, in nanoseconds.
    pub p50_ns: Compared,
    /// 99th percentile over the requests that had it, in nanoseconds.
    pub p99_ns: Compared,
}

impl StageCompared {
    /// Both ends.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}..{}", self.from, self.to)
    }

    /// Whether this side has it.
    #[must_use]
    pub fn is_in(&self, side: Side) -> bool {
        self.only_in.is_none_or(|only| only == side)
    }
}

/// A component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentCompared {
    /// The component.
    pub component: Component,
    /// The side that alone has it, if one does.
    pub only_in: Option<Side>,
    /// What it is of the whole.
    #[serde(flatten)]
    pub part: Part,
}

/// Stages between two points: one that both sides have, or, where their ways differ, all of either
/// side from where the ways part to where they meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stretch {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// A's stages.
    pub stages_a: Vec<String>,
    /// B's stages.
    pub stages_b: Vec<String>,
    /// Why it is not compared, if it is not.
    pub not_compared: Option<NotCompared>,
    /// What it is of the whole.
    #[serde(flatten)]
    pub part: Part,
}

impl Stretch {
    /// Whether a stage is one of its own.
    #[must_use]
    pub fn has(&self, stage: &StageCompared) -> bool {
        let name = stage.name();
        self.stages_a.contains(&name) || self.stages_b.contains(&name)
    }

    /// Whether it is one stage, of both sides or of one alone.
    #[must_use]
    pub fn is_one_stage(&self) -> bool {
        let first = self.stages_a.first().or(self.stages_b.first());
        self.stages_a
            .iter()
            .chain(&self.stages_b)
            .all(|stage| Some(stage) == first)
    }
}

/// A breakdown without a counterpart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unpaired {
    /// Whose.
    pub side: Side,
    /// Its title.
    pub title: String,
    /// Its requests.
    pub count: u64,
    /// Why it has none.
    pub why: String,
}

impl Comparison {
    /// The JSON schema of comparisons.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl Pair {
    /// Stages of requests that leap over one of a stretch's ends: of a longer way that it is a part of.
    pub fn over(&self, stretch: &Stretch) -> impl Iterator<Item = &StageCompared> {
        let place = |point: &str| self.points.iter().position(|other| other == point);
        let (from, to) = (place(&stretch.from), place(&stretch.to));
        self.stages.iter().filter(move |stage| {
            let (first, last) = (place(&stage.from), place(&stage.to));
            let is_longer = (first, last) != (from, to);
            is_longer && first <= from && to <= last && !stretch.has(stage)
        })
    }

    /// What is compared: class of the datapath and operation.
    #[must_use]
    pub fn title(&self) -> String {
        let (a, b) = (self.a.kind(), self.b.kind());
        if a == b { a } else { format!("{a} / {b}") }
    }
}

impl Group {
    /// Class of the datapath (its name up to the slash) and operation.
    #[must_use]
    pub fn kind(&self) -> String {
        let class = self.datapath.split('/').next().unwrap_or_default();
        format!("{class} {}", self.operation)
    }
}
