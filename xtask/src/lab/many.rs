//! Commands that make many runs, one after the other, and go on where they were interrupted.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tracer_analysis::recording::directory::{Manifest, State};

/// The exit code for what could not be done, as the tracer has it.
pub(super) const NOT_DONE: i32 = 3;

/// What the tracer says of a run.
pub(super) fn manifest(run: &Path) -> Option<Manifest> {
    serde_json::from_slice(&fs::read(run.join("manifest.json")).ok()?).ok()
}

/// The same of a run that ended well.
pub(super) fn complete(run: &Path) -> Option<Manifest> {
    manifest(run).filter(|manifest| manifest.state == State::Complete)
}

/// Runs the tracer on this machine; returns its exit code.
pub(super) fn exit_code(tracer: &mut Command) -> Result<i32> {
    let status = tracer.status().context("the tracer could not be started")?;
    Ok(status.code().unwrap_or(NOT_DONE))
}

/// How long the rest takes, if it takes as long as what is done.
pub(crate) fn left(elapsed: Duration, done: usize, all: usize) -> String {
    if done == 0 {
        return String::new();
    }
    let each = elapsed.as_secs_f64() / done as f64;
    let minutes = each * (all - done) as f64 / 60.0;
    format!(", about {:.0} min left", minutes.ceil())
}

/// A run that did not end well is made again; what there is of it is kept beside.
pub(super) fn set_aside(run: &Path) -> Result<()> {
    if !run.exists() {
        return Ok(());
    }
    let aside = run.with_extension("partial");
    if aside.exists() {
        fs::remove_dir_all(&aside)
            .with_context(|| format!("{} could not be removed", aside.display()))?;
    }
    fs::rename(run, &aside).with_context(|| format!("{} could not be renamed", run.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use tracer_analysis::recording::directory::SCHEMA;
    use tracer_analysis::scenario::RunChanges;

    use super::*;

    /// Writes down that a run came so far.
    pub(in super::super) fn write_manifest(run: &Path, state: State, changes: Option<RunChanges>) {
        let manifest = Manifest {
            schema: SCHEMA.into(),
            version: "0.1.0".into(),
            started: "2026-12-01T00:00:00Z".into(),
            state,
            changes,
        };
        fs::create_dir_all(run).unwrap();
        let text = serde_json::to_string(&manifest).unwrap();
        fs::write(run.join("manifest.json"), text).unwrap();
    }

    #[test]
    fn the_rest_takes_as_long_as_what_is_done() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        assert_eq!(left(minutes(0), 0, 32), "");
        assert_eq!(left(minutes(4), 2, 8), ", about 12 min left");
    }

    #[test]
    fn a_run_that_did_not_end_well_is_set_aside() {
        let folder = std::env::temp_dir().join(format!("xtask-many-{}", std::process::id()));
        let run = folder.join("run");
        let write = |state| write_manifest(&run, state, None);
        let is_there = || (manifest(&run).is_some(), complete(&run).is_some());
        assert_eq!(is_there(), (false, false));
        write(State::Partial("interrupted".into()));
        assert_eq!(is_there(), (true, false));
        for _ in 0..2 {
            set_aside(&run).unwrap();
            assert!(!run.exists() && folder.join("run.partial").exists());
            write(State::Complete);
        }
        assert!(complete(&run).is_some());
        fs::remove_dir_all(&folder).unwrap();
    }
}
