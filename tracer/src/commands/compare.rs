//! `tracer compare`: two runs, or saved reports of runs, side by side.

use crate::{
    cli::CompareArgs,
    commands::{PARTIAL, WELL, deliver, load},
};
use tracer_analysis::{
    compare::{Comparison, Selection, compare},
    report,
};

/// Compares two runs; returns the exit code.
pub(super) fn obey(args: &CompareArgs) -> anyhow::Result<u8> {
    let (a, b) = (load::input(&args.a)?, load::input(&args.b)?);
    let selection = Selection {
        a: args.select_a.clone(),
        b: args.select_b.clone(),
    };
    let comparison = compare(&a, &b, &selection)?;
    let bytes = report::compare::render(&comparison, args.format)?;
    deliver(args.output.as_deref(), &bytes)?;
    Ok(code(&comparison))
}

/// How far the runs can be trusted, as an exit code.
fn code(comparison: &Comparison) -> u8 {
    let sides = [&comparison.a, &comparison.b];
    if sides
        .iter()
        .any(|run| run.partial.is_some() || run.lost_too_many)
    {
        PARTIAL
    } else {
        WELL
    }
}
