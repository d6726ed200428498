//! Other people's programs, run for what they print.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, bail};

/// What a program prints. A Ctrl-C does not reach it: half a step could not be put back.
///
/// # Errors
/// If it cannot be run, then with `hint`, or fails, then with its own words.
pub fn output(program: &str, args: &[&str], hint: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(args)
        .process_group(0)
        .output()
        .with_context(|| format!("cannot run {program}: {hint}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", args.join(" "), reason.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
