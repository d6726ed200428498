//! The report for a terminal. What a reader must know first stands first.

mod domain;

use std::fmt::Write as _;

use crate::{
    breakdown::{Breakdown, Figures, StageFigures},
    document::Report,
    recording::environment::Verdict,
    units::{bar, bytes, percent, time},
};

/// Columns of the bars.
const BAR: usize = 20;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    if let Some(reason) = &report.partial {
        writeln!(out, "PARTIAL RUN: {reason}")?;
    }
    for warning in &report.warnings {
        writeln!(out, "WARNING: {warning}")?;
    }
    writeln!(out, "{}  {}", report.scenario, report.question)?;
    let host = &report.host;
    writeln!(
        out,
        "Linux {} · {} · {} CPUs · clock source {} · {}",
        host.kernel, host.cpu_model, host.cpus, host.clocksource, report.started
    )?;
    for breakdown in &report.breakdowns {
        write_breakdown(out, breakdown)?;
    }
    write_iterations(out, report)?;
    write_interrupts(out, report)?;
    write_environment(out, report)?;
    for domain in &report.domains {
        domain::write_domain(out, domain)?;
    }
    for threshold in &report.thresholds {
        let verdict = if threshold.kept { "kept" } else { "EXCEEDED" };
        let actual = threshold.actual_ns.map_or_else(|| "nothing".into(), time);
        writeln!(
            out,
            "threshold {verdict}: {} (measured {actual})",
            threshold.text
        )?;
    }
    Ok(())
}

fn write_breakdown(out: &mut String, breakdown: &Breakdown) -> std::fmt::Result {
    let total = &breakdown.total;
    writeln!(out)?;
    writeln!(
        out,
        "{}   {} requests, {}{}",
        breakdown.title(),
        total.count,
        bytes(breakdown.bytes as f64),
        if breakdown.approximate {
            ", percentiles within 12.5%"
        } else {
            ""
        }
    )?;
    let widths = stage_width(breakdown);
    writeln!(
        out,
        "  {:<widths$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {:>6} {:<BAR$} {:>6}",
        "stage", "count", "mean", "p50", "p99", "p99.9", "max", "mean%", "", "var%"
    )?;
    for stage in &breakdown.stages {
        write_row(out, &label(stage), widths, &stage.figures)?;
        let f = &stage.figures;
        let (mean, variance) = (percent(f.share_of_mean), percent(f.share_of_variance));
        let error = stage.error_ns.map_or(String::new(), |error| {
            format!("  ±{}", time(error).trim_start())
        });
        writeln!(
            out,
            "  {mean:>6} {:<BAR$} {variance:>6}{error}",
            bar(f.share_of_mean, BAR)
        )?;
    }
    write_row(out, "total", widths, total)?;
    writeln!(
        out,
        "  standard deviation {}",
        time(total.variance_ns2.sqrt())
    )?;
    write_components(out, breakdown)?;
    for sentence in &breakdown.jitter {
        writeln!(out, "  jitter: {sentence}")?;
    }
    // Where each has one of its own there is nothing to tell.
    let (requests, interrupts) = (breakdown.by_interrupt, breakdown.interrupts);
    if interrupts != 0 && interrupts < requests {
        let each = requests as f64 / interrupts as f64;
        writeln!(
            out,
            "  {interrupts} interrupts brought {requests} of them: {each:.1} each"
        )?;
    }
    if !breakdown.flags.is_empty() {
        let flags: Vec<String> = breakdown
            .flags
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        writeln!(out, "  of these: {}", flags.join(", "))?;
    }
    write_slowest(out, breakdown)
}

/// The figures of a stage or of the whole, without the line's end.
fn write_row(out: &mut String, label: &str, width: usize, f: &Figures) -> std::fmt::Result {
    write!(
        out,
        "  {label:<width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        f.count,
        time(f.mean_ns),
        time(f.p50_ns as f64),
        time(f.p99_ns as f64),
        time(f.p999_ns as f64),
        time(f.max_ns as f64)
    )
}

fn label(stage: &StageFigures) -> String {
    let letters = stage.letters.as_deref().unwrap_or("");
    format!("{:<4}{} → {}", letters, stage.from, stage.to)
}

fn stage_width(breakdown: &Breakdown) -> usize {
    breakdown
        .stages
        .iter()
        .map(|stage| label(stage).chars().count())
        .max()
        .unwrap_or(0)
        .max(5)
}

fn write_components(out: &mut String, breakdown: &Breakdown) -> std::fmt::Result {
    let parts: Vec<String> = breakdown
        .components
        .iter()
        .map(|component| {
            format!(
                "{} {} ({}, {} of variance)",
                component.component.name(),
                time(component.mean_ns),
                percent(component.share_of_mean),
                percent(component.share_of_variance)
            )
        })
        .collect();
    writeln!(out, "  by component: {}", parts.join(" · "))
}

fn write_slowest(out: &mut String, breakdown: &Breakdown) -> std::fmt::Result {
    if breakdown.slowest.is_empty() {
        return Ok(());
    }
    writeln!(out, "  slowest:")?;
    for span in &breakdown.slowest {
        let stages: Vec<String> = span
            .points
            .windows(2)
            .map(|pair| format!("{} {}", pair[1].0, time((pair[1].1 - pair[0].1) as f64)))
            .collect();
        let flags = if span.flags.is_empty() {
            String::new()
        } else {
            format!(" [{}]", span.flags.join(" "))
        };
        writeln!(
            out,
            "    {:>9}  iteration {}, {}, {} bytes, thread {}{flags}: {} → {}",
            time(span.total_ns as f64),
            span.iteration.saturating_add(1),
            span.position,
            span.bytes,
            span.tid,
            span.points.first().map_or("", |point| point.0.as_str()),
            stages.join(" → ")
        )?;
    }
    Ok(())
}

fn write_iterations(out: &mut String, report: &Report) -> std::fmt::Result {
    let Some(summary) = &report.summary else {
        return Ok(());
    };
    writeln!(out)?;
    writeln!(
        out,
        "iterations: {}   mean {}   standard deviation {}   max-min {} ({} .. {})",
        summary.count,
        time(summary.mean_ns),
        time(summary.variance_ns2.sqrt()),
        time(summary.range_ns as f64),
        time(summary.min_ns as f64),
        time(summary.max_ns as f64)
    )?;
    for iteration in &report.iterations {
        let seconds = iteration.duration_ns as f64 / 1e9;
        let mut line = format!(
            "  {:>4} {:>9}",
            iteration.index.saturating_add(1),
            time(iteration.duration_ns as f64)
        );
        if iteration.bytes > 0 && seconds > 0.0 {
            write!(line, "  {}/s", bytes(iteration.bytes as f64 / seconds))?;
        }
        if iteration.operations > 1 && seconds > 0.0 {
            write!(
                line,
                "  {:.0} operations/s",
                iteration.operations as f64 / seconds
            )?;
        }
        if let Some(l) = &iteration.latency {
            write!(
                line,
                "  as the load saw it: mean {}, p99 {}",
                time(l.mean_ns),
                time(l.p99 as f64)
            )?;
        }
        for name in ["lost", "retransmits", "refused", "skipped", "errors"] {
            let value = iteration
                .extra
                .get(name)
                .and_then(serde_json::Value::as_u64);
            if let Some(value) = value.filter(|value| *value != 0) {
                write!(line, "  {value} {name}")?;
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn write_interrupts(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.interrupts.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let several = report.domains.len() > 1;
    writeln!(
        out,
        "{:<28} {:>9} {:>10} {:>8} {:>9} {:>9} {:>9} {:>10} {:>10}  /proc/interrupts",
        "interrupt", "count", "/iteration", "/s", "handler", "p99", "sum", "→ softirq", "distance"
    )?;
    for irq in &report.interrupts {
        let agreement = match (&irq.explanation, irq.agrees) {
            (_, true) => format!("{} agrees", irq.proc_interrupts),
            (Some(why), false) => format!("{}: {why}", irq.proc_interrupts),
            (None, false) => format!("{} DISAGREES", irq.proc_interrupts),
        };
        writeln!(
            out,
            "{:<28} {:>9} {:>10.1} {:>8} {:>9} {:>9} {:>9} {:>10} {:>10}  {agreement}",
            if several {
                format!("{}: {} {}", irq.domain, irq.irq, irq.name)
            } else {
                format!("{} {}", irq.irq, irq.name)
            },
            irq.count,
            irq.per_iteration,
            irq.per_second
                .map_or_else(|| "-".into(), |rate| format!("{rate:.0}")),
            time(irq.handler_mean_ns),
            time(irq.handler_p99_ns as f64),
            time(irq.handler_total_ns as f64),
            if irq.softirq_count == 0 {
                "-".into()
            } else {
                time(irq.softirq_delay_mean_ns)
            },
            time(irq.distance_p50_ns as f64)
        )?;
    }
    Ok(())
}

fn write_environment(out: &mut String, report: &Report) -> std::fmt::Result {
    for finding in report
        .environment
        .iter()
        .filter(|finding| finding.verdict == Verdict::Differs)
    {
        writeln!(
            out,
            "environment: {} is {}, the scenario wants {}{}",
            finding.what,
            finding.actual,
            finding.wanted.as_deref().unwrap_or("nothing"),
            finding
                .hint
                .as_ref()
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default()
        )?;
    }
    Ok(())
}
