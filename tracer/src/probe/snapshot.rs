//! Counters, interrupts and costs at one moment; a window is the difference of two.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use aya::{
    Ebpf,
    maps::{PerCpuArray, PerCpuHashMap},
};
use serde::{Deserialize, Serialize};
use tracer_common::{
    aggregate::{GROUPS, Group},
    counter::Counter,
    irq::{IrqKey, IrqStats},
};

use crate::{
    clock::{self, Pair},
    platform::interrupts::{self, InterruptLine},
};

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

impl Snapshot {
    /// Of a domain in which nothing is attached.
    #[must_use]
    pub fn untraced() -> Self {
        Self {
            clock: clock::sample(),
            ..Self::default()
        }
    }
}

/// Takes a snapshot.
#[must_use]
pub fn take(ebpf: &Ebpf) -> Snapshot {
    let proc_before = counts(&proc_interrupts());
    let irqs = irqs(ebpf);
    let lines = proc_interrupts();
    Snapshot {
        proc_before,
        proc_after: counts(&lines),
        native_irqs: native(&lines),
        irqs,
        counters: counters(ebpf),
        costs: costs(ebpf),
        groups: groups(ebpf),
        clock: clock::sample(),
        clocks: Vec::new(),
    }
}

fn proc_interrupts() -> BTreeMap<u32, InterruptLine> {
    let text = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    interrupts::parse(&text)
}

fn counts(lines: &BTreeMap<u32, InterruptLine>) -> BTreeMap<u32, u64> {
    lines.iter().map(|(irq, line)| (*irq, line.count)).collect()
}

fn native(lines: &BTreeMap<u32, InterruptLine>) -> BTreeSet<u32> {
    let native = lines.iter().filter(|(_, line)| line.is_native());
    native.map(|(irq, _)| *irq).collect()
}

fn counters(ebpf: &Ebpf) -> BTreeMap<String, u64> {
    let Some(map) = ebpf
        .map("COUNTERS")
        .and_then(|map| PerCpuArray::<_, u64>::try_from(map).ok())
    else {
        return BTreeMap::new();
    };
    Counter::ALL
        .iter()
        .filter_map(|counter| {
            let values = map.get(&(*counter as u32), 0).ok()?;
            Some((counter.name().to_owned(), values.iter().sum()))
        })
        .collect()
}

/// The occupied slots of per-CPU histograms, summed.
fn sum_hist<'a>(histograms: impl Iterator<Item = &'a [u32]>) -> Vec<(u16, u64)> {
    let mut sums = BTreeMap::new();
    for histogram in histograms {
        for (slot, count) in histogram
            .iter()
            .enumerate()
            .filter(|(_, count)| **count != 0)
        {
            *sums
                .entry(u16::try_from(slot).unwrap_or(u16::MAX))
                .or_insert(0) += u64::from(*count);
        }
    }
    sums.into_iter().collect()
}

fn irqs(ebpf: &Ebpf) -> Vec<IrqCount> {
    let Some(map) = ebpf
        .map("IRQS")
        .and_then(|map| PerCpuHashMap::<_, IrqKey, IrqStats>::try_from(map).ok())
    else {
        return Vec::new();
    };
    let mut counts: Vec<IrqCount> = map
        .iter()
        .filter_map(Result::ok)
        .map(|(key, cpus)| {
            let sum = |field: fn(&IrqStats) -> u64| cpus.iter().map(field).sum();
            let max = |field: fn(&IrqStats) -> u64| cpus.iter().map(field).max().unwrap_or(0);
            let name = cpus
                .iter()
                .map(|cpu| cpu.name)
                .find(|name| name[0] != 0)
                .unwrap_or([0; 32]);
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            IrqCount {
                irq: key.irq,
                name: String::from_utf8_lossy(name).into_owned(),
                count: sum(|cpu| cpu.count),
                handled: sum(|cpu| cpu.handled),
                time_sum: sum(|cpu| cpu.time_sum),
                time_max: max(|cpu| cpu.time_max),
                softirq_count: sum(|cpu| cpu.softirq_count),
                softirq_delay_sum: sum(|cpu| cpu.softirq_delay_sum),
                softirq_delay_max: max(|cpu| cpu.softirq_delay_max),
                time_hist: sum_hist(cpus.iter().map(|cpu| &cpu.time_hist[..])),
                softirq_delay_hist: sum_hist(cpus.iter().map(|cpu| &cpu.softirq_delay_hist[..])),
                distance_hist: sum_hist(cpus.iter().map(|cpu| &cpu.distance_hist[..])),
            }
        })
        .collect();
    counts.sort_by(|a, b| (a.irq, &a.name).cmp(&(b.irq, &b.name)));
    counts
}

fn costs(ebpf: &Ebpf) -> Vec<ProgramCost> {
    ebpf.programs()
        .filter_map(|(name, program)| {
            let info = program.info().ok()?;
            let run_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
            Some(ProgramCost {
                name: name.into(),
                runs: info.run_count(),
                run_ns,
            })
        })
        .collect()
}

fn groups(ebpf: &Ebpf) -> Vec<GroupCount> {
    let Some(map) = ebpf
        .map("GROUPS")
        .and_then(|map| PerCpuArray::<_, Group>::try_from(map).ok())
    else {
        return Vec::new();
    };
    (0..GROUPS)
        .filter_map(|index| {
            let cpus = map.get(&index, 0).ok()?;
            let group = group(index, &cpus);
            (group.count != 0).then_some(group)
        })
        .collect()
}

fn group(index: u32, cpus: &[Group]) -> GroupCount {
    let stages = (0..tracer_common::aggregate::MAX_STAGES)
        .map(|pair| StageCount {
            pair,
            count: cpus.iter().map(|cpu| cpu.stages[pair].count).sum(),
            sum: cpus.iter().map(|cpu| cpu.stages[pair].sum).sum(),
            max: cpus
                .iter()
                .map(|cpu| cpu.stages[pair].max)
                .max()
                .unwrap_or(0),
            square: cpus.iter().map(|cpu| cpu.stages[pair].square.value()).sum(),
            product: cpus
                .iter()
                .map(|cpu| cpu.stages[pair].product.value())
                .sum(),
            hist: sum_hist(cpus.iter().map(|cpu| &cpu.stages[pair].hist[..])),
        })
        .filter(|stage| stage.count != 0)
        .collect();
    GroupCount {
        device: index / 2,
        operation: u8::try_from(index % 2).unwrap_or(0),
        count: cpus.iter().map(|cpu| cpu.count).sum(),
        total_sum: cpus.iter().map(|cpu| cpu.total_sum).sum(),
        total_max: cpus.iter().map(|cpu| cpu.total_max).max().unwrap_or(0),
        total_square: cpus.iter().map(|cpu| cpu.total_square.value()).sum(),
        total_hist: sum_hist(cpus.iter().map(|cpu| &cpu.total_hist[..])),
        stages,
    }
}
