//! The paper's tables 2 to 4: interrupts a run and time an interrupt, as traced and as
//! `/proc/interrupts` counts them.

use std::collections::BTreeMap;

use tracer_common::hist::lower_bound;

use crate::{
    breakdown::Bucket,
    document::{InterruptFigures, InterruptIteration},
    recording::{directory::Window, snapshot::IrqCount},
    replay::growth::{grow, grow_histogram},
};

/// The largest value of the slot that holds a quantile.
fn quantile(histogram: &BTreeMap<u16, u64>, q: f64) -> u64 {
    let total = histogram.values().copied().fold(0, u64::saturating_add);
    let rank = (total as f64 * q).ceil().max(1.0) as u64;
    let mut seen = 0u64;
    for (slot, count) in histogram {
        seen = seen.saturating_add(*count);
        if seen >= rank {
            return lower_bound(usize::from(*slot) + 1).saturating_sub(1);
        }
    }
    0
}

/// The bars of a histogram of the kernel side's.
fn buckets(histogram: &BTreeMap<u16, u64>) -> Vec<Bucket> {
    let bars = histogram.iter().filter(|(_, count)| **count != 0);
    bars.map(|(slot, count)| Bucket {
        from_ns: lower_bound(usize::from(*slot)),
        to_ns: lower_bound(usize::from(*slot) + 1).saturating_sub(1),
        count: *count,
    })
    .collect()
}

/// How long the windows are together, in seconds; `None` without a clock at each end.
fn seconds(windows: &[&Window]) -> Option<f64> {
    let sum = windows.iter().try_fold(0u64, |sum, window| {
        let (before, after) = window.before.clock.zip(window.after.clock)?;
        // A damaged recording may have any times.
        sum.checked_add(after.monotonic_ns.checked_sub(before.monotonic_ns)?)
    })?;
    (sum > 0).then_some(sum as f64 / 1e9)
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
    iterations: Vec<InterruptIteration>,
}

impl Handler {
    fn add(&mut self, after: &IrqCount, before: Option<&IrqCount>, iteration: usize) {
        let none = IrqCount::default();
        let before = before.unwrap_or(&none);
        if let Some(own) = self.iterations.get_mut(iteration) {
            grow(&mut own.count, after.count, before.count);
            grow(&mut own.handler_total_ns, after.time_sum, before.time_sum);
        }
        grow(&mut self.count, after.count, before.count);
        grow(&mut self.time_sum, after.time_sum, before.time_sum);
        grow(
            &mut self.softirq_count,
            after.softirq_count,
            before.softirq_count,
        );
        grow(
            &mut self.softirq_delay_sum,
            after.softirq_delay_sum,
            before.softirq_delay_sum,
        );
        grow_histogram(&mut self.time_hist, &after.time_hist, &before.time_hist);
        grow_histogram(
            &mut self.delay_hist,
            &after.softirq_delay_hist,
            &before.softirq_delay_hist,
        );
        grow_histogram(
            &mut self.distance_hist,
            &after.distance_hist,
            &before.distance_hist,
        );
    }
}

/// What `/proc/interrupts` counted in the windows. It is read before and after each look at the traced
/// counts, so that an arrival in between is known to be one: the least and the most that fit.
fn proc_counts(windows: &[&Window], irq: u32) -> (u64, u64) {
    let at = |counts: &BTreeMap<u32, u64>| counts.get(&irq).copied().unwrap_or(0);
    let (mut least, mut most) = (0, 0);
    for Window { before, after } in windows {
        grow(&mut least, at(&after.proc_before), at(&before.proc_after));
        grow(&mut most, at(&after.proc_after), at(&before.proc_before));
    }
    (least, most)
}

/// Figures of every handler that was called in the measured iterations.
pub(super) fn figures(domain: &str, windows: &[&Window]) -> Vec<InterruptFigures> {
    let mut handlers: BTreeMap<(u32, String), Handler> = BTreeMap::new();
    for (iteration, window) in windows.iter().enumerate() {
        for after in &window.after.irqs {
            let before = window
                .before
                .irqs
                .iter()
                .find(|before| before.irq == after.irq && before.name == after.name);
            handlers
                .entry((after.irq, after.name.clone()))
                .or_insert_with(|| Handler {
                    iterations: vec![InterruptIteration::default(); windows.len()],
                    ..Handler::default()
                })
                .add(after, before, iteration);
        }
    }
    let seconds = seconds(windows);
    let mut sharing: BTreeMap<u32, u64> = BTreeMap::new();
    for (irq, _) in handlers.keys() {
        *sharing.entry(*irq).or_default() += 1;
    }
    handlers
        .into_iter()
        .filter(|(_, handler)| handler.count != 0)
        .map(|((irq, name), handler)| {
            let proc = proc_counts(windows, irq);
            let shared = sharing.get(&irq).copied().unwrap_or(1) > 1;
            InterruptFigures {
                domain: domain.into(),
                per_second: seconds.map(|seconds| handler.count as f64 / seconds),
                ..figure(irq, name, &handler, proc, shared, windows.len())
            }
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
        domain: String::new(),
        per_second: None,
        handler_total_ns: handler.time_sum,
        handler_mean_ns: mean(handler.time_sum, handler.count),
        handler_p50_ns: quantile(&handler.time_hist, 0.5),
        handler_p99_ns: quantile(&handler.time_hist, 0.99),
        softirq_count: handler.softirq_count,
        softirq_delay_mean_ns: mean(handler.softirq_delay_sum, handler.softirq_count),
        softirq_delay_p99_ns: quantile(&handler.delay_hist, 0.99),
        distance_p50_ns: quantile(&handler.distance_hist, 0.5),
        distance_p99_ns: quantile(&handler.distance_hist, 0.99),
        distances: buckets(&handler.distance_hist),
        iterations: handler.iterations.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Pair, recording::snapshot::Snapshot};

    fn window(before_ns: u64, after_ns: u64) -> Window {
        let at = |monotonic_ns| Snapshot {
            clock: Some(Pair {
                tsc: 0,
                monotonic_ns,
                half_width: 0,
            }),
            ..Snapshot::default()
        };
        Window {
            before: at(before_ns),
            after: at(after_ns),
        }
    }

    #[test]
    fn windows_have_their_time_or_none_where_it_cannot_be() {
        let of = |windows: &[Window]| seconds(&windows.iter().collect::<Vec<_>>());
        let second = 1_000_000_000;
        let two = [window(second, 2 * second), window(5 * second, 6 * second)];
        assert_eq!(of(&two), Some(2.0));
        assert_eq!(of(&[window(0, u64::MAX), window(0, u64::MAX)]), None);
        assert_eq!(of(&[window(2, 1)]), None);
        assert_eq!(of(&[Window::default()]), None);
        assert_eq!(of(&[]), None);
    }
}
