//! Building.

use std::path::PathBuf;

use crate::{process, setup, setup::Tools};

/// Set-up and release build; returns the program.
pub(crate) fn release() -> anyhow::Result<PathBuf> {
    let tools = setup::setup(false)?;
    release_with(&tools)
}

/// Release build; returns the program.
pub(crate) fn release_with(tools: &Tools) -> anyhow::Result<PathBuf> {
    let workspace = process::workspace()?;
    process::run(tools.cargo().current_dir(&workspace).args([
        "build",
        "--release",
        "--package",
        "tracer",
        "--bin",
        "tracer",
    ]))?;
    Ok(target_folder(&workspace).join("release/tracer"))
}

/// Where cargo builds.
pub(crate) fn target_folder(workspace: &std::path::Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |folder| workspace.join(folder))
}
