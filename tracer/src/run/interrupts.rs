//! The paper's tables 2 to 4: interrupts a run and time an interrupt, as traced and as
//! `/proc/interrupts` counts them.

use std::collections::BTreeMap;

use tracer_common::hist::lower_bound;

use crate::{
    analysis::document::InterruptFigures, probe::snapshot::IrqCount,
    run::directory::IterationRecord,
};

/// The largest value of the slot that holds a quantile.
fn quantile(histogram: &BTreeMap<u16, u64>, q: f64) -> u64 {
    let total: u64 = histogram.values().sum();
    let rank = (total as f64 * q).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (slot, count) in histogram {
        seen += count;
        if seen >= rank {
            return lower_bound(usize::from(*slot) + 1).saturating_sub(1);
        }
    }
    0
}

/// Sums over the windows of one handler.
#[derive(Default)]
struct Handler {
    count: u64,
    time_sum: u64,
    softirq_count: u64,
    softirq_delay_sum: u64,
    time_hist: BTreeMap<u16, u64>,
    delay_hist: BTreeMap<u16, u64>,
    distance_hist: BTreeMap<u16, u64>,
}

fn add_hist(sum: &mut BTreeMap<u16, u64>, after: &[(u16, u64)], before: &[(u16, u64)]) {
    let before: BTreeMap<u16, u64> = before.iter().copied().collect();
    for (slot, count) in after {
        let grown = count.saturating_sub(before.get(slot).copied().unwrap_or(0));
        if grown != 0 {
            *sum.entry(*slot).or_default() += grown;
        }
    }
}

impl Handler {
    fn add(&mut self, after: &IrqCount, before: Option<&IrqCount>) {
        let none = IrqCount::default();
        let before = before.unwrap_or(&none);
        self.count += after.count.saturating_sub(before.count);
        self.time_sum += after.time_sum.saturating_sub(before.time_sum);
        self.softirq_count += after.softirq_count.saturating_sub(before.softirq_count);
        self.softirq_delay_sum += after
            .softirq_delay_sum
            .saturating_sub(before.softirq_delay_sum);
        add_hist(&mut self.time_hist, &after.time_hist, &before.time_hist);
        add_hist(
            &mut self.delay_hist,
            &after.softirq_delay_hist,
            &before.softirq_delay_hist,
        );
        add_hist(
            &mut self.distance_hist,
            &after.distance_hist,
            &before.distance_hist,
        );
    }
}

/// What `/proc/interrupts` counted in the windows. It is read before and after each look at the traced
/// counts, so that an arrival in between is known to be one: the least and the most that fit.
fn proc_counts(iterations: &[IterationRecord], irq: u32) -> (u64, u64) {
    let at = |counts: &BTreeMap<u32, u64>| counts.get(&irq).copied().unwrap_or(0);
    iterations.iter().fold((0, 0), |(least, most), iteration| {
        let (before, after) = (&iteration.before, &iteration.after);
        (
            least + at(&after.proc_before).saturating_sub(at(&before.proc_after)),
            most + at(&after.proc_after).saturating_sub(at(&before.proc_before)),
        )
    })
}

/// Figures of every handler that was called in the measured iterations.
pub(super) fn figures(iterations: &[IterationRecord]) -> Vec<InterruptFigures> {
    let mut handlers: BTreeMap<(u32, String), Handler> = BTreeMap::new();
    for iteration in iterations {
        for after in &iteration.after.irqs {
            let before = iteration
                .before
                .irqs
                .iter()
                .find(|before| before.irq == after.irq && before.name == after.name);
            handlers
                .entry((after.irq, after.name.clone()))
                .or_default()
                .add(after, before);
        }
    }
    let mut sharing: BTreeMap<u32, u64> = BTreeMap::new();
    for (irq, _) in handlers.keys() {
        *sharing.entry(*irq).or_default() += 1;
    }
    handlers
        .into_iter()
        .filter(|(_, handler)| handler.count != 0)
        .map(|((irq, name), handler)| {
            let proc = proc_counts(iterations, irq);
            let shared = sharing.get(&irq).copied().unwrap_or(1) > 1;
            figure(irq, name, &handler, proc, shared, iterations.len())
        })
        .collect()
}

fn figure(
    irq: u32,
    name: String,
    handler: &Handler,
    (least, most): (u64, u64),
    shared: bool,
    iterations: usize,
) -> InterruptFigures {
    let mean = |sum: u64, count: u64| {
        if count == 0 {
            0.0
        } else {
            sum as f64 / count as f64
        }
    };
    let agrees = (least..=most).contains(&handler.count);
    let explanation = (!agrees && shared).then(|| {
        "the line is shared: the kernel counts arrivals, the tracer each handler's calls".to_owned()
    });
    InterruptFigures {
        irq,
        name,
        count: handler.count,
        per_iteration: handler.count as f64 / iterations.max(1) as f64,
        proc_interrupts: handler.count.clamp(least, most.max(least)),
        agrees,
        explanation,
        handler_total_ns: handler.time_sum,
        handler_mean_ns: mean(handler.time_sum, handler.count),
        handler_p50_ns: quantile(&handler.time_hist, 0.5),
        handler_p99_ns: quantile(&handler.time_hist, 0.99),
        softirq_count: handler.softirq_count,
        softirq_delay_mean_ns: mean(handler.softirq_delay_sum, handler.softirq_count),
        softirq_delay_p99_ns: quantile(&handler.delay_hist, 0.99),
        distance_p50_ns: quantile(&handler.distance_hist, 0.5),
        distance_p99_ns: quantile(&handler.distance_hist, 0.99),
    }
}
