//! Commands that make many runs, one after the other, and go on where they were interrupted.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The exit code for what could not be done, as the tracer has it.
pub(super) const NOT_DONE: i32 = 3;

/// What the tracer says of a run.
pub(super) fn manifest(run: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(run.join("manifest.json")).ok()?).ok()
}

/// The same of a run that ended well.
pub(super) fn complete(run: &Path) -> Option<Value> {
    manifest(run).filter(|manifest| manifest["state"] == "complete")
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
mod tests {
    use super::*;

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
        let write = |state: &str| {
            fs::create_dir_all(&run).unwrap();
            fs::write(run.join("manifest.json"), state).unwrap();
        };
        assert_eq!(complete(&run), None);
        write("{\"state\": {\"partial\": \"interrupted\"}}");
        assert_eq!((manifest(&run).is_some(), complete(&run)), (true, None));
        for _ in 0..2 {
            set_aside(&run).unwrap();
            assert!(!run.exists() && folder.join("run.partial").exists());
            write("{\"state\": \"complete\"}");
        }
        assert!(complete(&run).is_some());
        fs::remove_dir_all(&folder).unwrap();
    }
}
