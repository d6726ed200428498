//! Running other programs, saying so.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, anyhow, bail};

/// Says on standard error what is being done.
#[expect(clippy::print_stderr, reason = "talk goes to standard error")]
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// Runs a command; its output goes where this program's goes.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", words(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", words(command));
    }
    Ok(())
}

/// Runs a command for its standard output.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot run {}", words(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            words(command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn words(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// A command that runs as root: through sudo unless this process is root.
pub(crate) fn root_command(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("--preserve-env=PATH").arg(program);
        sudo
    }
}

/// Runs the tracer as root and returns its exit code.
pub(crate) fn as_root(tracer: &Path, command: &str, args: &[String]) -> anyhow::Result<u8> {
    let status = root_command(tracer).arg(command).args(args).status();
    let status = status.with_context(|| format!("cannot run {}", tracer.display()))?;
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .ok_or_else(|| anyhow!("tracer ended with {status}"))
}

/// Whether a program is on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Administrators' programs are not on every user's path.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The workspace's folder.
pub(crate) fn workspace() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .context("xtask has no workspace")
}
