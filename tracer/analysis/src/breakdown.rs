//! The breakdown: what a report says of the requests of one datapath, device and operation.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    datapath::{Component, Stage},
    iteration::IterationSums,
    span::{own_times, taken::Taken},
    sums::Sums,
};
use tracer_common::point::Point;

/// Figures of a stage, a component or the whole. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Requests that had it.
    pub count: u64,
    /// Mean over these.
    pub mean_ns: f64,
    /// Variance over these, in ns^2.
    pub variance_ns2: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// Sum over all requests.
    pub sum_ns: u64,
    /// Share of the sum of totals, from 0 to 1.
    pub share_of_mean: f64,
    /// Cov(this, total) / Var(total); negative if it is short when the total is long.
    pub share_of_variance: f64,
}

impl Figures {
    /// Figures from sums.
    #[must_use]
    pub fn new(sums: &Sums, total: &Sums) -> Self {
        let at = |quantile| sums.histogram.value_at_quantile(quantile).min(sums.max);
        Self {
            count: sums.count,
            mean_ns: sums.mean(),
            variance_ns2: sums.variance(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: sums.max,
            sum_ns: u64::try_from(sums.sum).unwrap_or(u64::MAX),
            share_of_mean: sums.share_of_mean(total),
            share_of_variance: sums.share_of_variance(total),
        }
    }
}

/// A bar of a histogram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// Smallest time, in nanoseconds.
    pub from_ns: u64,
    /// Largest time, in nanoseconds.
    pub to_ns: u64,
    /// Requests.
    pub count: u64,
}

/// A stage: the interval between two neighbouring trace points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageFigures {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// blktrace's letters for it, where there are any.
    pub letters: Option<String>,
    /// Whose time it is.
    pub component: Component,
    /// What passes in it, in words, where its ends do not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub meaning: Option<String>,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Where it begins in one domain and ends in another: the bound of the clocks' error, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_ns: Option<f64>,
    /// The distribution.
    pub histogram: Vec<Bucket>,
    /// By iteration: one for each of the breakdown's, also where no request had the stage. The means add up
    /// to those of the totals.
    #[serde(default)]
    pub iterations: Vec<IterationFigures>,
}

impl StageFigures {
    /// The stage between two points.
    #[must_use]
    pub fn new(from: Point, to: Point, sums: &Sums, total: &Sums) -> Self {
        let Stage {
            component,
            letters,
            meaning,
        } = Stage::between(from, to);
        Self {
            from: from.name().into(),
            to: to.name().into(),
            letters: letters.map(Into::into),
            component,
            meaning: meaning.map(Into::into),
            figures: Figures::new(sums, total),
            error_ns: None,
            histogram: buckets(sums),
            iterations: Vec::new(),
        }
    }

    /// Both ends, and the letters.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}..{}", self.from, self.to)
    }
}

/// Bars that double in width, as people draw latencies.
#[must_use]
pub fn buckets(sums: &Sums) -> Vec<Bucket> {
    let mut bars: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
    for value in sums.histogram.iter_recorded() {
        let time = value.value_iterated_to();
        // Four bars an octave.
        let key = (f64::max(time as f64, 1.0).log2() * 4.0).floor() as u32;
        let bar = bars.entry(key).or_insert((time, time, 0));
        bar.0 = bar.0.min(time);
        bar.1 = bar.1.max(time);
        bar.2 += value.count_since_last_iteration();
    }
    bars.into_iter()
        .map(|(key, (_, to, count))| Bucket {
            from_ns: 2f64.powf(f64::from(key) / 4.0).floor() as u64,
            to_ns: to,
            count,
        })
        .collect()
}

/// A component: the stages that are its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentFigures {
    /// The component.
    pub component: Component,
    /// Sum over all requests, in nanoseconds.
    pub sum_ns: u64,
    /// Mean over all requests of the group, in nanoseconds.
    pub mean_ns: f64,
    /// Share of the sum of totals.
    pub share_of_mean: f64,
    /// Share of the variance.
    pub share_of_variance: f64,
}

/// The totals, or one stage, of one iteration's requests. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IterationFigures {
    /// The iteration, from 0.
    pub iteration: u32,
    /// Requests that had it.
    pub count: u64,
    /// Mean over *all* requests of the iteration; one without the stage counts as zero.
    pub mean_ns: f64,
    /// Variance over those that had it, in ns^2.
    pub variance_ns2: f64,
    /// Shortest.
    pub min_ns: u64,
    /// Median of those that had it (as coarse as 0.1%).
    #[serde(default)]
    pub p50_ns: u64,
    /// Their 99th percentile.
    #[serde(default)]
    pub p99_ns: u64,
    /// Longest.
    pub max_ns: u64,
}

impl IterationFigures {
    /// Figures of an iteration with so many requests.
    #[must_use]
    pub fn new(iteration: u32, sums: &IterationSums, requests: u64) -> Self {
        Self {
            iteration,
            count: sums.count,
            mean_ns: sums.sum as f64 / requests.max(1) as f64,
            variance_ns2: sums.variance(),
            min_ns: sums.min.unwrap_or(0),
            p50_ns: sums.quantile(0.5),
            p99_ns: sums.quantile(0.99),
            max_ns: sums.max,
        }
    }
}

/// One of the slowest requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlowSpan {
    /// The iteration, from 0.
    pub iteration: u32,
    /// From the first point to the last, in nanoseconds.
    pub total_ns: u64,
    /// Bytes.
    pub bytes: u32,
    /// Thread.
    pub tid: u32,
    /// First sector, or `source port -> destination port, sequence`.
    pub position: String,
    /// What else is true of it.
    pub flags: Vec<String>,
    /// Points passed: the name, and nanoseconds on the run's timeline.
    pub points: Vec<(String, u64)>,
    /// What was taken from stages meanwhile.
    #[serde(flatten)]
    pub taken: Taken,
}

impl SlowSpan {
    /// The stages, as [`crate::span::Span::stages`] has them: names of both ends, and nanoseconds.
    pub fn stages(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let asides = self.taken.asides();
        own_times(&self.points, &self.taken)
            .map(|(from, to, time)| (from.as_str(), to.as_str(), time))
            .chain(asides.map(|(from, to, time)| (from.name(), to.name(), time)))
    }
}

/// Requests of one datapath, device and operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Breakdown {
    /// The domain.
    pub domain: String,
    /// The datapath.
    pub datapath: String,
    /// The device or interface.
    pub device: String,
    /// `read`, `write`, `tcp`, ...
    pub operation: String,
    /// Whether percentiles come from the kernel's coarse histograms (12.5% a slot).
    pub approximate: bool,
    /// From the first point to the last.
    pub total: Figures,
    /// The totals' distribution.
    pub histogram: Vec<Bucket>,
    /// The stages, in the datapath's order. Those of each request add up to its total.
    pub stages: Vec<StageFigures>,
    /// The stages by component.
    pub components: Vec<ComponentFigures>,
    /// Totals by iteration.
    pub iterations: Vec<IterationFigures>,
    /// Requests by what else is true of them.
    pub flags: BTreeMap<String, u64>,
    /// Bytes of all requests.
    pub bytes: u64,
    /// Requests of which it is known that an interrupt brought them.
    #[serde(default)]
    pub by_interrupt: u64,
    /// Interrupts that brought these: fewer, where one brought several.
    #[serde(default)]
    pub interrupts: u64,
    /// Requests by the number of the interrupt that brought them: which ones are the device's.
    #[serde(default)]
    pub by_irq: BTreeMap<u32, u64>,
    /// The slowest requests.
    pub slowest: Vec<SlowSpan>,
    /// Where the jitter comes from, in words.
    pub jitter: Vec<String>,
}

impl Breakdown {
    /// Name of the group.
    #[must_use]
    pub fn title(&self) -> String {
        format!(
            "{} · {} · {} · {}",
            self.datapath, self.domain, self.device, self.operation
        )
    }

    /// The stage of this name: both ends, or the letters.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageFigures> {
        self.stages
            .iter()
            .find(|stage| stage.name() == name || stage.letters.as_deref() == Some(name))
    }
}
