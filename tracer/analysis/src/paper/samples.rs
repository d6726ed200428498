//! A figure of each iteration of a run.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    document::{InterruptFigures, Iteration, Report},
    paper::case::{Case, Workload},
};

/// Bytes of an iteration of the paper's disk cases: 8000 reads of 128 KiB.
const DISK_BYTES: u64 = 8_000 * 128 * 1024;
/// Seconds of an iteration of its network cases, as the scenarios have them, and how far off it may be.
const STREAM_SECONDS: f64 = 10.0;
const STREAM_SLACK: f64 = 1.0;
/// What a device's interrupt brings of its requests at least. Completions are now and then found when
/// another interrupt comes by.
const DEVICES_SHARE: f64 = 0.01;

/// What is measured of an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// Its duration, in seconds.
    Seconds,
    /// 10^6 bytes a second.
    MegabytesPerSecond,
    /// 10^6 bits a second, where they arrive.
    MegabitsPerSecond,
    /// Request and response, a second.
    TransactionsPerSecond,
    /// Interrupts of the device in the measured domain.
    Interrupts,
    /// Time in their handlers, in microseconds an interrupt.
    InterruptMicroseconds,
    /// TCP segments that were sent again.
    Retransmits,
}

/// One for each iteration that has it; else says why there is none.
///
/// # Errors
/// Says what is missing.
pub(super) fn samples(report: &Report, case: Case, sample: Sample) -> Result<Vec<f64>, String> {
    let samples: Vec<f64> = match sample {
        Sample::Interrupts | Sample::InterruptMicroseconds => {
            let irqs = device_interrupts(report, case)?;
            of_interrupts(&irqs, sample)?
        }
        _ => {
            let iterations = report.iterations.iter();
            iterations
                .filter_map(|iteration| of_iteration(iteration, sample))
                .collect()
        }
    };
    if samples.is_empty() {
        return Err("it has no iteration with such a figure".into());
    }
    Ok(samples)
}

fn of_iteration(iteration: &Iteration, sample: Sample) -> Option<f64> {
    let seconds = iteration.duration_ns as f64 / 1e9;
    let extra = |key: &str| iteration.extra.get(key).and_then(Value::as_f64);
    let rate = |things: f64| (seconds > 0.0).then(|| things / seconds);
    match sample {
        Sample::Seconds => Some(seconds),
        Sample::MegabytesPerSecond => rate(iteration.bytes as f64 / 1e6),
        Sample::MegabitsPerSecond => extra("bits_per_second").map(|bits| bits / 1e6),
        Sample::TransactionsPerSecond => rate(iteration.operations as f64),
        Sample::Retransmits => extra("retransmits"),
        Sample::Interrupts | Sample::InterruptMicroseconds => None,
    }
}

/// The handlers of the interrupts that brought the case's requests.
pub(super) fn device_interrupts(
    report: &Report,
    case: Case,
) -> Result<Vec<&InterruptFigures>, String> {
    // A card's interrupts are those of both directions: a sender is answered.
    let classes: &[&str] = match case.workload {
        Workload::Disk => &["disk"],
        _ => &["net-tx", "net-rx"],
    };
    let mut irqs = BTreeSet::new();
    for class in classes {
        for breakdown in case.breakdowns(report, class) {
            let least = breakdown.by_interrupt as f64 * DEVICES_SHARE;
            let brought = breakdown.by_irq.iter();
            let own = brought.filter(|(_, requests)| **requests as f64 >= least);
            irqs.extend(own.map(|(irq, _)| (breakdown.domain.as_str(), *irq)));
        }
    }
    let handlers: Vec<_> = report
        .interrupts
        .iter()
        .filter(|handler| irqs.contains(&(handler.domain.as_str(), handler.irq)))
        .collect();
    if handlers.is_empty() {
        return Err("no interrupt is known to have brought its requests".into());
    }
    Ok(handlers)
}

/// Handlers that share a line are all called when it rings: such an interrupt is counted once.
fn of_interrupts(handlers: &[&InterruptFigures], sample: Sample) -> Result<Vec<f64>, String> {
    let iterations = handlers.iter().map(|handler| handler.iterations.len());
    let iterations = iterations.max().unwrap_or(0);
    if iterations == 0 {
        return Err("it has no interrupts by iteration: an older tracer made it".into());
    }
    let lines: BTreeSet<(&str, u32)> = handlers
        .iter()
        .map(|handler| (handler.domain.as_str(), handler.irq))
        .collect();
    let figures = (0..iterations).map(|iteration| {
        let calls = lines.iter().map(|line| calls(handlers, *line, iteration));
        let calls = calls.sum::<u64>() as f64;
        let own = handlers.iter().filter_map(|h| h.iterations.get(iteration));
        let ns: f64 = own.map(|own| own.handler_total_ns as f64).sum();
        match sample {
            Sample::InterruptMicroseconds => (calls > 0.0).then(|| ns / 1e3 / calls),
            _ => Some(calls),
        }
    });
    Ok(figures.flatten().collect())
}

fn calls(handlers: &[&InterruptFigures], line: (&str, u32), iteration: usize) -> u64 {
    handlers
        .iter()
        .filter(|handler| (handler.domain.as_str(), handler.irq) == line)
        .filter_map(|handler| handler.iterations.get(iteration))
        .map(|own| own.count)
        .max()
        .unwrap_or(0)
}

/// Whether each iteration did as much as the paper's: else times and counts of an iteration are not to be
/// held against it.
pub(super) fn is_papers_amount(report: &Report, case: Case) -> bool {
    report.iterations.iter().all(|iteration| {
        if case.workload == Workload::Disk {
            return iteration.bytes == DISK_BYTES;
        }
        let seconds = iteration.duration_ns as f64 / 1e9;
        (seconds - STREAM_SECONDS).abs() <= STREAM_SLACK
    })
}
