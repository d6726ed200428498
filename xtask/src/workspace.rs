//! Where things are: the workspace, the target folder and the cache.
use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

/// The folder of the workspace's `Cargo.toml`: of the checkout in which cargo runs this. A copied target folder has a
/// binary that was built in another one.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let by_cargo = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let own = by_cargo.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        own.parent().map(Path::to_owned).unwrap_or(own)
    })
}

/// Cargo's target folder, moved by `CARGO_TARGET_DIR` as cargo has it.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// `runs/STEM-N` of the folder where the command was given, with the first number that is not taken.
pub(crate) fn new_run(stem: &str) -> PathBuf {
    (1..)
        .map(|number| PathBuf::from("runs").join(format!("{stem}-{number}")))
        .find(|folder| !folder.exists())
        .unwrap_or_default()
}

/// The folder of downloaded and built tools, shared by all checkouts of this user.
///
/// `TRACER_CACHE_DIR`, else `$XDG_CACHE_HOME/tracer`, else `~/.cache/tracer`.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("TRACER_CACHE_DIR") {
        return std::path::absolute(dir).context("TRACER_CACHE_DIR is not a usable path");
    }
    if let Some(dir) = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(Path::new(&dir).join("tracer"));
    }
    let home = env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .context("there is no cache folder: set HOME, XDG_CACHE_HOME or TRACER_CACHE_DIR")?;
    Ok(Path::new(&home).join(".cache/tracer"))
}
