//! Runs and baselines, as the command line names them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use tracer_analysis::replay::analyse;
use tracer_analysis::{
    Report,
    baseline::{self, Baseline, Store},
    check::CheckedRun,
    compare::Input,
    document,
    recording::directory::RunDirectory,
    saved::{self, Kind},
};

/// A saved report does not say what its run allowed to be lost: the scenario's default.
const MAX_LOST_PERCENT: f64 = 1.0;

/// What can be named.
const CHOICE: &str =
    "name a run directory, or a report saved with `tracer report RUN --format json --output FILE`";

/// What to say of a file that is no report.
const REPORT: Kind = Kind {
    what: "a report",
    schema: document::SCHEMA,
    choice: CHOICE,
    again: "`tracer report RUN --format json --output FILE`",
};

/// A run directory, analysed, or a saved report.
pub(super) fn run(path: &Path) -> anyhow::Result<CheckedRun> {
    let source = path.display().to_string();
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {source}; {CHOICE}"))?;
    if !metadata.is_dir() {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {source}; {CHOICE}"))?;
        return report(&text, source);
    }
    if !is_run(path) {
        bail!("{source} is not the directory of a run: it has no manifest.json; {CHOICE}");
    }
    let directory = RunDirectory::open(path).with_context(|| {
        format!("cannot use {source}: make the run again, or use the tracer that made it")
    })?;
    let scenario = path.join("scenario.toml");
    let text = fs::read_to_string(&scenario)
        .with_context(|| format!("cannot read {}", scenario.display()))?;
    Ok(CheckedRun {
        report: analyse(&directory)?,
        max_lost_percent: directory.scenario()?.probes.max_lost_percent,
        scenario: Some(text),
        source,
    })
}

/// A run to compare. The report of a run directory has warnings of losses, a saved one may not.
pub(super) fn input(path: &Path) -> anyhow::Result<Input> {
    let run = run(path)?;
    Ok(Input {
        max_lost_share: run.max_lost_percent / 100.0,
        warns_of_losses: run.scenario.is_some(),
        source: run.source,
        report: run.report,
    })
}

/// A report that was saved as JSON.
fn report(text: &str, source: String) -> anyhow::Result<CheckedRun> {
    let report: Report = saved::parse(text, &source, &REPORT)?;
    Ok(CheckedRun {
        source,
        scenario: None,
        max_lost_percent: MAX_LOST_PERCENT,
        report,
    })
}

fn is_run(path: &Path) -> bool {
    path.join("manifest.json").exists()
}

/// Runs with figures by stage and iteration.
pub(super) fn runs(paths: &[PathBuf]) -> anyhow::Result<Vec<CheckedRun>> {
    paths
        .iter()
        .map(|path| run(path).and_then(with_iterations))
        .collect()
}

fn with_iterations(run: CheckedRun) -> anyhow::Result<CheckedRun> {
    match run.problem() {
        Some(problem) => bail!(
            "{}: {problem}; save it again with {}",
            run.source,
            REPORT.again
        ),
        None => Ok(run),
    }
}

/// The runs to check against: a baseline of the store, before a file or run directory of this name.
pub(super) fn baseline(name: &Path, store: &Store) -> anyhow::Result<Vec<CheckedRun>> {
    let stored = name
        .to_str()
        .filter(|name| store.path(name).is_some_and(|path| path.exists()));
    if let Some(name) = stored {
        return Ok(store.load(name)?.runs);
    }
    if name.is_dir() {
        return run(name).and_then(with_iterations).map(|run| vec![run]);
    }
    if name.exists() {
        let file = name.display().to_string();
        let text = fs::read_to_string(name).with_context(|| format!("cannot read {file}"))?;
        return if saved::schema(&text).as_deref() == Some(document::SCHEMA) {
            report(&text, file)
                .and_then(with_iterations)
                .map(|run| vec![run])
        } else {
            Ok(Baseline::parse(&text, &file)?.runs)
        };
    }
    match name.to_str().filter(|name| store.path(name).is_some()) {
        Some(name) => Ok(store.load(name)?.runs),
        None => bail!("{} is not there; {}", name.display(), baseline::KIND.choice),
    }
}
