//! Counters, interrupts and costs at one moment; a window is the difference of two.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::Pair;

/// One interrupt handler's statistics since attaching, summed over CPUs. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrqCount {
    /// Interrupt number.
    pub irq: u32,
    /// The handler's name.
    pub name: String,
    /// Calls.
    pub count: u64,
    /// Calls that found work.
    pub handled: u64,
    /// Sum of handler times.
    pub time_sum: u64,
    /// Longest handler time.
    pub time_max: u64,
    /// Handler calls followed by a soft interrupt that they raised.
    pub softirq_count: u64,
    /// Sum of the delays from entry to soft interrupt.
    pub softirq_delay_sum: u64,
    /// Longest such delay.
    pub softirq_delay_max: u64,
    /// Histogram of handler times: slot, count.
    pub time_hist: Vec<(u16, u64)>,
    /// Histogram of delays.
    pub softirq_delay_hist: Vec<(u16, u64)>,
    /// Histogram of distances between arrivals on one CPU.
    pub distance_hist: Vec<(u16, u64)>,
}

/// A program's run time, as the kernel counts it while `kernel.bpf_stats_enabled` is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// The program.
    pub name: String,
    /// Runs.
    pub runs: u64,
    /// Time in nanoseconds.
    pub run_ns: u64,
}

/// A histogram group of aggregate mode, summed over CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCount {
    /// Index of the device in the request.
    pub device: u32,
    /// 0: read, 1: write.
    pub operation: u8,
    /// Requests.
    pub count: u64,
    /// Sum of totals.
    pub total_sum: u64,
    /// Longest total.
    pub total_max: u64,
    /// Sum of squares of totals.
    pub total_square: u128,
    /// Histogram of totals.
    pub total_hist: Vec<(u16, u64)>,
    /// Index in `PAIRS`, and its sums.
    pub stages: Vec<StageCount>,
}

/// One stage of a [`GroupCount`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCount {
    /// Index in [`tracer_common::aggregate::PAIRS`].
    pub pair: usize,
    /// Requests.
    pub count: u64,
    /// Sum of times.
    pub sum: u64,
    /// Longest time.
    pub max: u64,
    /// Sum of squares.
    pub square: u128,
    /// Sum of products with the total.
    pub product: u128,
    /// Histogram.
    pub hist: Vec<(u16, u64)>,
}

/// Everything countable at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// By [`Counter`] name.
    pub counters: BTreeMap<String, u64>,
    /// Traced interrupts.
    pub irqs: Vec<IrqCount>,
    /// `/proc/interrupts` just before the traced ones were read, by number.
    pub proc_before: BTreeMap<u32, u64>,
    /// ... and just after.
    pub proc_after: BTreeMap<u32, u64>,
    /// Interrupts that the processor delivers itself, and no event channel of Xen's, by number.
    #[serde(default)]
    pub native_irqs: BTreeSet<u32>,
    /// What the programs cost so far.
    pub costs: Vec<ProgramCost>,
    /// Aggregate mode's histograms.
    pub groups: Vec<GroupCount>,
    /// The clock.
    pub clock: Option<Pair>,
    /// The clock since the last snapshot.
    #[serde(default)]
    pub clocks: Vec<Pair>,
}
