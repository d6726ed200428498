//! The measured workload and the interrupts of two runs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    compare::{compared::Compared, merge::merge, side::Side},
    document::{InterruptFigures, Iteration, IterationSummary, Report},
};

/// The measured workload. Durations are over the iterations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IterationsCompared {
    /// Iterations.
    pub count: Compared,
    /// Mean duration, in nanoseconds.
    pub mean_ns: Compared,
    /// Variance of the durations, in ns^2 (over n - 1).
    pub variance_ns2: Compared,
    /// Shortest, in nanoseconds.
    pub min_ns: Compared,
    /// Longest, in nanoseconds.
    pub max_ns: Compared,
    /// Longest less shortest, in nanoseconds.
    pub range_ns: Compared,
    /// Bytes of all iterations over their durations' sum.
    pub bytes_per_second: Compared,
    /// Operations of all iterations over their durations' sum.
    pub operations_per_second: Compared,
}

/// Interrupts whose handlers have one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InterruptCompared {
    /// The handler's name.
    pub name: String,
    /// The side that alone has it, if one does.
    pub only_in: Option<Side>,
    /// A's interrupt numbers.
    pub irqs_a: Vec<u32>,
    /// B's interrupt numbers.
    pub irqs_b: Vec<u32>,
    /// Calls an iteration.
    pub per_iteration: Compared,
    /// Mean handler time, in nanoseconds: the paper's "time per interrupt".
    pub handler_mean_ns: Compared,
    /// Mean delay from entry to the soft interrupt that it raised, in nanoseconds.
    pub softirq_delay_mean_ns: Compared,
}

/// Durations and throughput; `None` if neither run has an iteration.
pub(super) fn iterations(a: &Report, b: &Report) -> Option<IterationsCompared> {
    if a.summary.is_none() && b.summary.is_none() {
        return None;
    }
    let compared = |of: fn(&IterationSummary) -> f64| {
        Compared::new(a.summary.as_ref().map(of), b.summary.as_ref().map(of))
    };
    let rates =
        |of: fn(&Iteration) -> u64| Compared::new(rate(&a.iterations, of), rate(&b.iterations, of));
    Some(IterationsCompared {
        count: compared(|summary| summary.count as f64),
        mean_ns: compared(|summary| summary.mean_ns),
        variance_ns2: compared(|summary| summary.variance_ns2),
        min_ns: compared(|summary| summary.min_ns as f64),
        max_ns: compared(|summary| summary.max_ns as f64),
        range_ns: compared(|summary| summary.range_ns as f64),
        bytes_per_second: rates(|iteration| iteration.bytes),
        operations_per_second: rates(|iteration| iteration.operations),
    })
}

/// Something of all iterations over the sum of their durations; `None` if there is none of it.
fn rate(iterations: &[Iteration], of: fn(&Iteration) -> u64) -> Option<f64> {
    let sum = |of: &dyn Fn(&Iteration) -> u64| iterations.iter().map(|i| of(i) as f64).sum::<f64>();
    let (things, ns) = (sum(&of), sum(&|iteration| iteration.duration_ns));
    (things > 0.0 && ns > 0.0).then(|| things / (ns / 1e9))
}

/// The interrupts of one side whose handlers have one name. A device may have many, and their numbers
/// change from machine to machine.
#[derive(Debug, Default)]
struct Named {
    irqs: Vec<u32>,
    count: f64,
    per_iteration: f64,
    handler_ns: f64,
    softirq_count: f64,
    softirq_delay_ns: f64,
}

impl Named {
    fn handler_mean_ns(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.handler_ns / self.count)
    }

    fn softirq_delay_mean_ns(&self) -> Option<f64> {
        (self.softirq_count > 0.0).then(|| self.softirq_delay_ns / self.softirq_count)
    }
}

fn by_name(interrupts: &[InterruptFigures]) -> BTreeMap<&str, Named> {
    let mut names: BTreeMap<&str, Named> = BTreeMap::new();
    for irq in interrupts {
        let named = names.entry(&irq.name).or_default();
        named.irqs.push(irq.irq);
        named.count += irq.count as f64;
        named.per_iteration += irq.per_iteration;
        named.handler_ns += irq.handler_total_ns as f64;
        named.softirq_count += irq.softirq_count as f64;
        named.softirq_delay_ns += irq.softirq_delay_mean_ns * irq.softirq_count as f64;
    }
    names
}

/// Interrupts by the names of their handlers, in the order of the reports.
pub(super) fn interrupts(a: &[InterruptFigures], b: &[InterruptFigures]) -> Vec<InterruptCompared> {
    let names = |side: &[InterruptFigures]| -> Vec<String> {
        side.iter().map(|irq| irq.name.clone()).collect()
    };
    let (named_a, named_b) = (by_name(a), by_name(b));
    merge(&names(a), &names(b), |_, _| true)
        .into_iter()
        .map(|name| {
            let (a, b) = (named_a.get(name.as_str()), named_b.get(name.as_str()));
            let compared =
                |of: fn(&Named) -> Option<f64>| Compared::new(a.and_then(of), b.and_then(of));
            let irqs =
                |side: Option<&Named>| side.map_or_else(Vec::new, |named| named.irqs.clone());
            InterruptCompared {
                only_in: match (a, b) {
                    (Some(_), None) => Some(Side::A),
                    (None, Some(_)) => Some(Side::B),
                    _ => None,
                },
                irqs_a: irqs(a),
                irqs_b: irqs(b),
                per_iteration: compared(|named| Some(named.per_iteration)),
                handler_mean_ns: compared(Named::handler_mean_ns),
                softirq_delay_mean_ns: compared(Named::softirq_delay_mean_ns),
                name,
            }
        })
        .collect()
}
