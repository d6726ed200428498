//! `tracer compare`: two runs, or saved reports of runs, side by side.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    analysis::{
        Report,
        compare::{Comparison, Input, Selection, compare},
        document::SCHEMA,
    },
    cli::CompareArgs,
    commands::{PARTIAL, WELL, deliver},
    report,
    run::{self, RunDirectory},
};

/// A saved report does not say what its run allowed to be lost: the scenario's default.
const MAX_LOST_SHARE: f64 = 0.01;

/// What can be used.
const CHOICE: &str =
    "name a run directory, or a report saved with `tracer report RUN --format json --output FILE`";

/// Compares two runs; returns the exit code.
pub(super) fn obey(args: &CompareArgs) -> anyhow::Result<u8> {
    let (a, b) = (load(&args.a)?, load(&args.b)?);
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

/// A run directory, analysed, or a saved report.
pub(super) fn load(path: &Path) -> anyhow::Result<Input> {
    let source = path.display().to_string();
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {source}; {CHOICE}"))?;
    if !metadata.is_dir() {
        return Ok(Input {
            report: saved(path)?,
            source,
            max_lost_share: MAX_LOST_SHARE,
            warns_of_losses: false,
        });
    }
    if !path.join("manifest.json").exists() {
        bail!("{source} is not the directory of a run: it has no manifest.json; {CHOICE}");
    }
    let directory = RunDirectory::open(path).with_context(|| {
        format!("cannot use {source}: make the run again, or use the tracer that made it")
    })?;
    Ok(Input {
        report: run::analyse(&directory)?,
        max_lost_share: directory.scenario()?.probes.max_lost_percent / 100.0,
        warns_of_losses: true,
        source,
    })
}

/// A report that was saved as JSON.
fn saved(path: &Path) -> anyhow::Result<Report> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}; {CHOICE}"))?;
    let value: Value = serde_json::from_str(&text)
        .with_context(|| format!("{name} is not a report: it is not JSON; {CHOICE}"))?;
    match value.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {}
        Some(other) => {
            bail!("{name} is of the format {other}, and only {SCHEMA} can be used; {CHOICE}")
        }
        None => bail!("{name} is not a report: it has no schema; {CHOICE}"),
    }
    serde_json::from_value(value).with_context(|| {
        format!("{name} is damaged, or was saved by another version of tracer: save it again with `tracer report RUN --format json --output FILE`")
    })
}
