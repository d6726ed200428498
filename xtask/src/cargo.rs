//! Cargo with the eBPF toolchain that setup chose.
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::{self, Choice};
use crate::{shell, workspace};

/// A cargo command in the workspace, which hands the eBPF toolchain to `tracer/build.rs`.
pub(crate) fn command(choice: &Choice) -> Result<Command> {
    let mut cargo = shell::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace::root());
    choice.apply(&mut cargo)?;
    Ok(cargo)
}

/// Builds `tracer` and returns the binary's path.
pub(crate) fn build_tracer(release: bool) -> Result<PathBuf> {
    build_tracer_with(&setup::toolchain()?, release, None)
}

/// As [`build_tracer`], with a known toolchain and perhaps for another target.
pub(crate) fn build_tracer_with(
    choice: &Choice,
    release: bool,
    target: Option<&str>,
) -> Result<PathBuf> {
    build(command(choice)?, release, target)
}

/// The triple that the lab's kernels run.
const LAB_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds an optimised `tracer` that needs no library where it runs.
pub(crate) fn build_static_tracer(choice: &Choice) -> Result<PathBuf> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the lab's kernels are x86-64: build the tracer for them on an x86-64 machine");
    }
    let mut cargo = command(choice)?;
    // Only with `--target` are build scripts and procedural macros left as they are.
    cargo.env(
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
        "-C target-feature=+crt-static",
    );
    // Every run copies it into domains, at the speed of emulated disks: without line tables it is a quarter.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    build(cargo, true, Some(LAB_TARGET))
}

fn build(mut cargo: Command, release: bool, target: Option<&str>) -> Result<PathBuf> {
    cargo.args(["build", "--package", "tracer", "--bin", "tracer"]);
    let mut binary = workspace::target_dir();
    if let Some(target) = target {
        cargo.args(["--target", target]);
        binary.push(target);
    }
    if release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)?;
    binary.push(if release { "release" } else { "debug" });
    Ok(binary.join("tracer"))
}
