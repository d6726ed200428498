//! Counters, interrupts and costs at one moment; a window is the difference of two.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use aya::{
    Ebpf,
    maps::{PerCpuArray, PerCpuHashMap},
};
use tracer_common::{
    aggregate::{GROUPS, Group},
    counter::Counter,
    irq::{IrqKey, IrqStats},
};

use crate::{
    clock,
    platform::interrupts::{self, InterruptLine},
};
use tracer_analysis::recording::snapshot::{
    GroupCount, IrqCount, ProgramCost, Snapshot, StageCount,
};

/// Of a domain in which nothing is attached.
#[must_use]
pub fn untraced() -> Snapshot {
    Snapshot {
        clock: clock::sample(),
        ..Snapshot::default()
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
