//! The report as a document: what `--json` prints. `docs/report-schema.md` explains the fields; the
//! schema's version changes with their meaning.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Breakdown,
    breakdown::Bucket,
    recording::{
        bindings::{Planned, Unavailable},
        environment::Finding,
        host::HostFacts,
        load::Summary,
    },
    scenario::RunChanges,
};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.report/1";

/// A run, analysed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The tracer's version.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// Its question.
    pub question: String,
    /// When the run began (RFC 3339).
    pub started: String,
    /// How the scenario was changed for the run (`--profile`, `--set`); none: an older tracer made it, and
    /// did not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub changes: Option<RunChanges>,
    /// Why the run is partial, if it is.
    pub partial: Option<String>,
    /// What a reader must know first.
    pub warnings: Vec<String>,
    /// Where it ran.
    pub host: HostFacts,
    /// The domains.
    pub domains: Vec<DomainReport>,
    /// What the scenario wants of the machine against what is so.
    pub environment: Vec<Finding>,
    /// The measured workload, by iteration.
    pub iterations: Vec<Iteration>,
    /// Over the iterations.
    pub summary: Option<IterationSummary>,
    /// Interrupts.
    pub interrupts: Vec<InterruptFigures>,
    /// Requests.
    pub breakdowns: Vec<Breakdown>,
    /// Limits.
    pub thresholds: Vec<ThresholdResult>,
}

/// How a domain was traced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DomainReport {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: HostFacts,
    /// Trace points attached.
    pub bindings: Vec<Planned>,
    /// Trace points that could not be.
    pub unavailable: Vec<Unavailable>,
    /// The kernel side's counters, over the measured window.
    pub counters: BTreeMap<String, u64>,
    /// One in so many packets is followed; 1: all are.
    #[serde(default)]
    pub sample: u32,
    /// Spans of the measured iterations.
    pub spans: u64,
    /// Spans that began outside every measured iteration: warm-up, pauses.
    pub outside: u64,
    /// Requests still in flight at the end.
    pub in_flight: u64,
    /// Spans whose stamps were not in order.
    pub disordered: u64,
    /// Spans with fewer than two points.
    pub incomplete: u64,
    /// Spans lost.
    pub lost: u64,
    /// ... as a share of all.
    pub lost_share: f64,
    /// What tracing cost.
    pub cost: Cost,
    /// How the domain's clock maps to the run's timeline.
    pub clock: ClockReport,
    /// How its requests were joined with another domain's records; none: they are whole spans.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub join: Option<JoinReport>,
}

/// What tracing cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Whether the kernel timed the programs (`probes.measure_cost`).
    pub measured: bool,
    /// Run time of all programs, in nanoseconds.
    pub bpf_run_ns: u64,
    /// Runs of all programs.
    pub bpf_runs: u64,
    /// Run time a request, in nanoseconds. Includes the measuring itself, about 50 ns a run.
    pub bpf_ns_per_request: f64,
    /// Bytes of records.
    pub record_bytes: u64,
    /// Time that loading and attaching took, in nanoseconds.
    pub attach_ns: u64,
    /// By program.
    pub programs: Vec<ProgramFigures>,
}

/// What one program cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramFigures {
    /// The program.
    pub name: String,
    /// Runs.
    pub runs: u64,
    /// Time in nanoseconds.
    pub run_ns: u64,
}

/// A domain's clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClockReport {
    /// How its times come onto the run's timeline. `its own`: it has the only clock, or is joined with no
    /// other domain. `TSC`: both domains have read the same counter. `causality`: they have not; no answer
    /// before its question bounds the distance. `none`: nothing tells it.
    pub method: String,
    /// TSC ticks a nanosecond, as fitted over the run.
    pub ticks_per_ns: Option<f64>,
    /// Bound of the error against the run's timeline, in nanoseconds; of a domain that is joined with no
    /// other, against the TSC.
    pub error_ns: Option<f64>,
    /// With `causality`: what was added to its times, in nanoseconds.
    pub offset_ns: Option<i64>,
    /// Requests by which causality was checked.
    pub checked: u64,
    /// Those of them that break it beyond the error bound.
    pub violations: u64,
}

/// How a guest's requests were joined with what their backend saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinReport {
    /// The backend's domain.
    pub backend: String,
    /// Requests of the measured iterations that became whole spans.
    pub joined: u64,
    /// Those that did not, by reason.
    pub unjoined: BTreeMap<String, u64>,
    /// Packets of the guest's flows that only the backend saw: the guest joined them to others (GRO, a
    /// busy socket), or they were dropped on the way to it.
    #[serde(default)]
    pub only_backend: u64,
}

/// One measured iteration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Iteration {
    /// Its number, from 0.
    pub index: u32,
    /// Time from the first operation to the last, in nanoseconds; random waits between them (`think_time`) are in it.
    pub duration_ns: u64,
    /// Operations.
    pub operations: u64,
    /// Bytes.
    pub bytes: u64,
    /// Latency as the load saw it.
    pub latency: Option<Summary>,
    /// What only this kind of load knows: lost packets, rates, what a program printed.
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// Durations over the iterations, as in the paper's figures 6 to 9.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IterationSummary {
    /// Iterations.
    pub count: u64,
    /// Mean, in nanoseconds.
    pub mean_ns: f64,
    /// Variance, in ns^2 (over n - 1).
    pub variance_ns2: f64,
    /// Shortest.
    pub min_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// Longest less shortest.
    pub range_ns: u64,
}

/// One interrupt handler over the measured iterations. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InterruptFigures {
    /// The domain.
    pub domain: String,
    /// Interrupt number.
    pub irq: u32,
    /// The handler's name.
    pub name: String,
    /// Calls traced.
    pub count: u64,
    /// Calls an iteration.
    pub per_iteration: f64,
    /// Calls a second, over the iterations and the looks at the counters around them; none without a clock.
    pub per_second: Option<f64>,
    /// Arrivals by `/proc/interrupts` over the same windows.
    pub proc_interrupts: u64,
    /// Whether both agree.
    pub agrees: bool,
    /// Why they may differ.
    pub explanation: Option<String>,
    /// Sum of handler times.
    pub handler_total_ns: u64,
    /// Mean handler time: the paper's "time per interrupt".
    pub handler_mean_ns: f64,
    /// Its median (12.5% a histogram slot).
    pub handler_p50_ns: u64,
    /// Its 99th percentile.
    pub handler_p99_ns: u64,
    /// Calls after which a soft interrupt that they raised began; of several the first.
    pub softirq_count: u64,
    /// Mean delay from entry to that soft interrupt.
    pub softirq_delay_mean_ns: f64,
    /// Its 99th percentile.
    pub softirq_delay_p99_ns: u64,
    /// Median distance between arrivals on one CPU.
    pub distance_p50_ns: u64,
    /// Its 99th percentile.
    pub distance_p99_ns: u64,
    /// All distances between arrivals on one CPU (12.5% a bar; `count`: arrivals).
    pub distances: Vec<Bucket>,
    /// By iteration.
    pub iterations: Vec<InterruptIteration>,
}

/// One interrupt handler in one measured iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterruptIteration {
    /// Calls traced.
    pub count: u64,
    /// Sum of handler times, in nanoseconds.
    pub handler_total_ns: u64,
}

/// A limit and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdResult {
    /// The limit in words.
    pub text: String,
    /// The limit, in nanoseconds.
    pub limit_ns: u64,
    /// What was measured; none if there was nothing to measure.
    pub actual_ns: Option<f64>,
    /// Whether it was kept.
    pub kept: bool,
}

impl DomainReport {
    /// What a datapath wants and no probe of the domain stamps, by point: two probes may stamp one.
    pub fn untraced(&self) -> impl Iterator<Item = (&str, &Unavailable)> {
        let wanted = self.unavailable.iter();
        let points = wanted.filter_map(|missing| Some((missing.point.as_deref()?, missing)));
        points.filter(|(point, _)| {
            let mut stamped = self.bindings.iter();
            !stamped.any(|binding| binding.point.as_deref() == Some(*point))
        })
    }
}

impl Report {
    /// Requests lost, as a share of all: of the domain that lost most.
    #[must_use]
    pub fn lost_share(&self) -> f64 {
        let domains = self.domains.iter();
        domains.map(|domain| domain.lost_share).fold(0.0, f64::max)
    }

    /// The JSON schema of reports.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}
