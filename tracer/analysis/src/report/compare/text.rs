//! The comparison for a terminal. What a reader must know first stands first.

use std::fmt::{Result, Write as _};

use crate::{
    compare::{Compared, Comparison, Pair, Part, RunFacts, Side, StageCompared, Stretch},
    report::compare::rows::{Cells, iteration_rows, or_nothing, xen},
    units::percent,
};

const CELLS: Cells = Cells("-");

/// A stage that at least this share of the requests had is one that all had.
const ALL: f64 = 0.99;

pub(super) fn render(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, comparison);
    out
}

fn write(out: &mut String, comparison: &Comparison) -> Result {
    for warning in &comparison.warnings {
        writeln!(out, "WARNING: {warning}")?;
    }
    for (side, run) in [(Side::A, &comparison.a), (Side::B, &comparison.b)] {
        write_run(out, side, run)?;
    }
    for difference in &comparison.differences {
        writeln!(
            out,
            "differs: {}: A {}, B {}",
            difference.what,
            or_nothing(&difference.a),
            or_nothing(&difference.b)
        )?;
    }
    for pair in &comparison.pairs {
        write_pair(out, pair)?;
    }
    if !comparison.unpaired.is_empty() {
        writeln!(out)?;
    }
    for unpaired in &comparison.unpaired {
        writeln!(
            out,
            "not paired: {}'s {}, {} requests: {}",
            unpaired.side.name(),
            unpaired.title,
            unpaired.count,
            unpaired.why
        )?;
    }
    write_iterations(out, comparison)?;
    write_interrupts(out, comparison)
}

fn write_run(out: &mut String, side: Side, run: &RunFacts) -> Result {
    writeln!(
        out,
        "{}: {}  {} · Linux {} · {} · {} · {} lost",
        side.name(),
        run.source,
        run.scenario,
        run.host.kernel,
        xen(&run.host.xen_role),
        run.started,
        percent(run.lost_share)
    )
}

fn write_pair(out: &mut String, pair: &Pair) -> Result {
    writeln!(out)?;
    writeln!(
        out,
        "{}   A: {}, {} requests   B: {}, {} requests",
        pair.title(),
        pair.a.title,
        pair.a.count,
        pair.b.title,
        pair.b.count
    )?;
    for finding in &pair.findings {
        writeln!(out, "  {finding}")?;
    }
    let labels = pair.stages.iter().map(label);
    let width = labels.map(|label| label.chars().count()).max();
    let width = width.unwrap_or(0).max(9);
    writeln!(
        out,
        "  {:<width$} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}  {:>9} {:>9}  {:>9} {:>9}",
        "stage",
        "A mean",
        "B mean",
        "B-A",
        "B/A",
        "of B-A",
        "of var",
        "A p50",
        "B p50",
        "A p99",
        "B p99"
    )?;
    for stage in &pair.stages {
        write_stage(out, pair, stage, width)?;
    }
    let total = &pair.total;
    write_means(out, "total", width, &total.mean_ns)?;
    write!(out, " {:>7} {:>7}", "", "")?;
    write_percentiles(out, &total.p50_ns, &total.p99_ns)?;
    writeln!(out)?;
    if let Some(way) = pair.way.as_ref().filter(|way| !way.is_total) {
        let name = format!("{} … {}", way.from, way.to);
        write_means(out, &name, width, &way.mean_ns)?;
        writeln!(out, "  the way that both are timed on")?;
    }
    write_stretches(out, pair, width)?;
    writeln!(out, "  by component, the largest difference first:")?;
    for component in &pair.components {
        write_part(
            out,
            pair,
            component.component.name(),
            width,
            &component.part,
        )?;
        write_only(out, component.only_in)?;
        writeln!(out)?;
    }
    Ok(())
}

/// A stage's name, and the letters.
fn label(stage: &StageCompared) -> String {
    let letters = stage.letters.as_deref().unwrap_or("");
    format!("{:<4}{} → {}", letters, stage.from, stage.to)
}

fn write_stage(out: &mut String, pair: &Pair, stage: &StageCompared, width: usize) -> Result {
    write_part(out, pair, &label(stage), width, &stage.part)?;
    write_percentiles(out, &stage.p50_ns, &stage.p99_ns)?;
    write_only(out, stage.only_in)?;
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let had_a = share(stage.count_a, pair.a.count);
    let had_b = share(stage.count_b, pair.b.count);
    let (in_a, in_b) = (stage.is_in(Side::A), stage.is_in(Side::B));
    if (in_a && had_a < ALL) || (in_b && had_b < ALL) {
        write!(
            out,
            "  of requests: A {}, B {}",
            percent(had_a),
            percent(had_b)
        )?;
    }
    writeln!(out)
}

/// Means, their difference, and what it is of the whole's.
fn write_part(out: &mut String, pair: &Pair, name: &str, width: usize, part: &Part) -> Result {
    write_means(out, name, width, &part.mean_ns)?;
    let [of_mean, of_variance] = CELLS.shares(pair, part);
    write!(out, " {of_mean:>7} {of_variance:>7}")
}

fn write_means(out: &mut String, name: &str, width: usize, mean: &Compared) -> Result {
    let [a, b, difference, ratio] = CELLS.means(mean);
    write!(
        out,
        "  {name:<width$} {a:>9} {b:>9} {difference:>9} {ratio:>7}"
    )
}

fn write_percentiles(out: &mut String, p50: &Compared, p99: &Compared) -> Result {
    let [p50_a, p50_b, p99_a, p99_b] = CELLS.percentiles(p50, p99);
    write!(out, "  {p50_a:>9} {p50_b:>9}  {p99_a:>9} {p99_b:>9}")
}

fn write_only(out: &mut String, side: Option<Side>) -> Result {
    side.map_or(Ok(()), |side| write!(out, "  only in {}", side.name()))
}

/// Where the ways of both sides differ: from where they part to where they meet.
fn write_stretches(out: &mut String, pair: &Pair, width: usize) -> Result {
    let apart = |stretch: &&Stretch| !stretch.is_one_stage();
    if !pair.stretches.iter().any(|stretch| apart(&stretch)) {
        return Ok(());
    }
    writeln!(out, "  between points that both have:")?;
    for stretch in pair.stretches.iter().filter(apart) {
        let name = format!("    {} … {}", stretch.from, stretch.to);
        write_part(out, pair, &name, width, &stretch.part)?;
        writeln!(
            out,
            "  stages: A {}, B {}",
            stretch.stages_a.len(),
            stretch.stages_b.len()
        )?;
    }
    Ok(())
}

fn write_iterations(out: &mut String, comparison: &Comparison) -> Result {
    let Some(iterations) = &comparison.iterations else {
        return Ok(());
    };
    writeln!(out)?;
    writeln!(
        out,
        "  {:<28} {:>11} {:>11} {:>11} {:>7}",
        "iterations", "A", "B", "B-A", "B/A"
    )?;
    for row in iteration_rows(iterations) {
        let [a, b, difference, ratio] = CELLS.iteration(&row);
        writeln!(
            out,
            "  {:<28} {a:>11} {b:>11} {difference:>11} {ratio:>7}",
            row.0
        )?;
    }
    Ok(())
}

fn write_interrupts(out: &mut String, comparison: &Comparison) -> Result {
    if comparison.interrupts.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(
        out,
        "  {:<28} {:>11} {:>11} {:>7}  {:>9} {:>9} {:>7}  {:>9} {:>9}",
        "interrupts",
        "A/iteration",
        "B/iteration",
        "B/A",
        "A handler",
        "B handler",
        "B/A",
        "A softirq",
        "B softirq"
    )?;
    for irq in &comparison.interrupts {
        let [
            calls_a,
            calls_b,
            calls,
            time_a,
            time_b,
            time,
            delay_a,
            delay_b,
        ] = CELLS.interrupt(irq);
        write!(
            out,
            "  {:<28} {calls_a:>11} {calls_b:>11} {calls:>7}  {time_a:>9} {time_b:>9} {time:>7}  {delay_a:>9} {delay_b:>9}",
            irq.name
        )?;
        write_only(out, irq.only_in)?;
        writeln!(out)?;
    }
    Ok(())
}
