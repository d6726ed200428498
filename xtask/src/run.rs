//! `cargo xtask run`: from a fresh clone to a breakdown.
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{cargo, setup, shell};

/// Sets up, builds and becomes `tracer run`, so that signals and the exit code are the tracer's own.
pub(crate) fn command(scenario: &Path, args: &[String]) -> Result<ExitCode> {
    if !scenario.is_file() {
        bail!(
            "there is no scenario file {}; see scenarios/",
            scenario.display()
        );
    }
    let choice = setup::ensure()?;
    let binary = cargo::build_tracer_with(&choice, true, None)?;
    let mut tracer = shell::root_command(binary, "attaching eBPF programs")?;
    let error = tracer.arg("run").arg(scenario).args(args).exec();
    Err(error).context("the tracer could not be started")
}
