//! The check for a terminal. The verdict stands first.

use std::fmt::{Result, Write as _};

use super::{COLUMNS, headline, method, rows, sentences};
use crate::{
    check::{BreakdownChecked, Check},
    compare::RunFacts,
    units::percent,
};

pub(super) fn render(check: &Check) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, check);
    out
}

fn write(out: &mut String, check: &Check) -> Result {
    writeln!(out, "{}", headline(check))?;
    for line in check.reasons.iter().chain(&sentences(check)) {
        writeln!(out, "  {line}")?;
    }
    for warning in &check.warnings {
        writeln!(out, "WARNING: {warning}")?;
    }
    for (side, runs) in [("base", &check.base), ("new", &check.new)] {
        for run in runs {
            write_run(out, side, run)?;
        }
    }
    for difference in &check.differences {
        let (a, b) = (&difference.a, &difference.b);
        writeln!(out, "differs: {}: base {a}, new {b}", difference.what)?;
    }
    for breakdown in &check.breakdowns {
        write_breakdown(out, check, breakdown)?;
    }
    if !check.breakdowns.is_empty() {
        writeln!(out, "{}", method(check))?;
    }
    Ok(())
}

fn write_run(out: &mut String, side: &str, run: &RunFacts) -> Result {
    writeln!(
        out,
        "{side:<4} {}  {} · Linux {} · {} · {} lost",
        run.source,
        run.scenario,
        run.host.kernel,
        run.started,
        percent(run.lost_share)
    )
}

fn write_breakdown(out: &mut String, check: &Check, breakdown: &BreakdownChecked) -> Result {
    writeln!(
        out,
        "\n{}   base {} requests, new {}",
        breakdown.title, breakdown.base_count, breakdown.new_count
    )?;
    let names = breakdown
        .stages
        .iter()
        .map(|stage| stage.name.chars().count());
    let width = names.max().unwrap_or(0);
    let columns = |stage: &str, [figure, base, new, ratio, interval, p]: [&str; 6]| {
        format!("  {stage:<width$} {figure:<6} {base:>9} {new:>9} {ratio:>7} {interval:>14} {p:>8}")
    };
    writeln!(out, "{}", columns("stage", COLUMNS))?;
    for row in rows(check, breakdown) {
        let cells = columns(row.stage, row.cells.each_ref().map(String::as_str));
        let line = format!("{cells}  {:<9}  {}", row.status.name(), row.remark);
        writeln!(out, "{}", line.trim_end())?;
    }
    for stage in &breakdown.stages {
        if let Some(why) = &stage.left_out {
            writeln!(out, "  {:<width$} not checked: {why}", stage.name)?;
        }
    }
    writeln!(out)
}
