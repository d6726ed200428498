//! Formatting, lints and tests.

use crate::{
    process::{self, is_root, run, say},
    setup::{self, Tools},
};

/// Everything that is tested here; the eBPF crate compiles only for the BPF machine.
const SCOPE: [&str; 3] = ["--workspace", "--exclude", "tracer-ebpf"];

/// Formatting and lints.
pub(crate) fn lint(tools: &Tools) -> anyhow::Result<()> {
    let workspace = process::workspace()?;
    say("formatting");
    run(tools
        .cargo()
        .current_dir(&workspace)
        .args(["fmt", "--all", "--check"]))?;
    say("lints");
    run(tools
        .cargo()
        .current_dir(&workspace)
        .arg("clippy")
        .args(SCOPE)
        .args(["--all-targets", "--", "-D", "warnings"]))
}

/// Set-up, formatting, lints, and every test. Tests that load programs into the kernel need root: they
/// are built as the user and run through sudo.
pub(crate) fn test(args: &[String]) -> anyhow::Result<()> {
    let tools = setup::setup(false)?;
    lint(&tools)?;
    say("tests");
    let mut command = tools.cargo();
    command
        .current_dir(process::workspace()?)
        .arg("test")
        .args(SCOPE)
        .args(args);
    if !is_root() {
        say("tests that load programs into the kernel need root: sudo may ask for your password");
        command.env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "sudo --preserve-env",
        );
        command.env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            "sudo --preserve-env",
        );
    }
    run(&mut command)
}
