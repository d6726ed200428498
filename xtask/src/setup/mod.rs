//! Everything that a fresh Debian 12+ or Ubuntu machine with rustup needs. Done steps are skipped.

mod apt_source;
mod packages;
mod toolchain;

use std::{ffi::OsString, process::Command};

use crate::process::say;
pub(crate) use toolchain::Tools;

/// Sets the machine up; `check` only looks.
pub(crate) fn setup(check: bool) -> anyhow::Result<Tools> {
    packages::install(check)?;
    let tools = toolchain::install(check)?;
    say(&format!(
        "eBPF programs are built by the toolchain {} with {}",
        tools.toolchain,
        tools.linker.display()
    ));
    Ok(tools)
}

impl Tools {
    /// A cargo command that finds the eBPF tools.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        let mut path = OsString::new();
        if let Some(folder) = self.linker.parent() {
            path.push(folder);
            path.push(":");
        }
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command
            .env("PATH", path)
            .env("TRACER_EBPF_TOOLCHAIN", &self.toolchain);
        command
    }
}
