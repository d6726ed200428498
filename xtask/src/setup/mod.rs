//! `cargo xtask setup`: what building, running and testing need, installed only where it is missing.
pub(crate) mod apt;
mod choice;
mod compiler;
mod linker;
mod packages;
pub(crate) mod private_apt;
mod rust_src;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

pub(crate) use choice::Choice;
use compiler::Compiler;
pub(crate) use compiler::Version;

use crate::{shell, workspace};

/// Options of `cargo xtask setup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print what is missing and change nothing; exits with 1 when something is
    #[arg(long)]
    check: bool,
}

/// Runs `cargo xtask setup`.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    if options.check {
        return check();
    }
    ensure()?;
    ensure_lab()?;
    println!("setup: complete");
    Ok(ExitCode::SUCCESS)
}

/// Installs what is missing and returns the toolchain.
pub(crate) fn ensure() -> Result<Choice> {
    packages::install()?;
    install_components()?;
    let choice = match Choice::load() {
        Some(choice) => choice,
        None => provide_toolchain()?,
    };
    report(&choice);
    if let Err(error) = mount_tracefs() {
        eprintln!("tracefs: {error:#}");
    }
    for problem in kernel_problems() {
        eprintln!("kernel: {problem}");
    }
    Ok(choice)
}

/// Installs what the lab needs besides.
pub(crate) fn ensure_lab() -> Result<()> {
    packages::install_lab()
}

/// The toolchain for a build: what setup chose, or what works without setup.
pub(crate) fn toolchain() -> Result<Choice> {
    if let Some(choice) = Choice::load() {
        return Ok(choice);
    }
    let cache = workspace::cache_dir()?;
    let choice = discover(&compiler::candidates()?, &cache)
        .context("the eBPF toolchain is not complete: run `cargo xtask setup`")?;
    choice.save()?;
    Ok(choice)
}

/// What is already there, best first.
fn discover(compilers: &[Compiler], cache: &Path) -> Option<Choice> {
    compilers
        .iter()
        .filter(|compiler| compiler.has_source())
        .find_map(|compiler| {
            let linker = linker::find(compiler, cache)?;
            Some(Choice::new(compiler, &linker))
        })
}

fn provide_toolchain() -> Result<Choice> {
    let cache = workspace::cache_dir()?;
    fs::create_dir_all(&cache)
        .with_context(|| format!("the cache {} could not be created", cache.display()))?;
    let compilers = compiler::candidates()?;
    let choice = match discover(&compilers, &cache) {
        Some(choice) => choice,
        None => complete_toolchain(&compilers, &cache)?,
    };
    choice.save()?;
    Ok(choice)
}

/// Adds to the best compiler what it lacks: sources, a linker or both.
fn complete_toolchain(compilers: &[Compiler], cache: &Path) -> Result<Choice> {
    let linkable: Vec<Compiler> = compilers
        .iter()
        .filter(|compiler| linker::can_build(compiler) || linker::find(compiler, cache).is_some())
        .cloned()
        .collect();
    if linkable.is_empty() {
        bail!(
            "no bpf-linker works with LLVM of the installed toolchains: \
             run `rustup toolchain install stable`, or put a newer bpf-linker on PATH"
        );
    }
    let compiler = match linkable.iter().find(|compiler| compiler.has_source()) {
        Some(compiler) => compiler.clone(),
        None => rust_src::provide(&linkable, cache)?,
    };
    let linker = match linker::find(&compiler, cache) {
        Some(linker) => linker,
        None => linker::build(&compiler, cache)?,
    };
    Ok(Choice::new(&compiler, &linker))
}

fn report(choice: &Choice) {
    eprintln!(
        "eBPF toolchain: {} (Rust {})",
        choice.toolchain, choice.release
    );
    eprintln!("bpf-linker: {}", choice.linker.display());
}

/// rustfmt and clippy, which a minimal rustup profile lacks.
fn install_components() -> Result<()> {
    for component in missing_components() {
        eprintln!("{component}: adding it with rustup");
        shell::run(shell::command("rustup").args(["component", "add", component]))?;
    }
    Ok(())
}

fn missing_components() -> Vec<&'static str> {
    [("rustfmt", "fmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(_, sub)| !shell::succeeds(shell::command("cargo").args([*sub, "--version"])))
        .map(|(component, _)| component)
        .collect()
}

fn check() -> Result<ExitCode> {
    let mut missing: Vec<String> = packages::missing()
        .iter()
        .map(|name| (*name).into())
        .collect();
    missing.extend(missing_components().iter().map(|name| (*name).into()));
    let choice = Choice::load();
    match &choice {
        Some(choice) => report(choice),
        None => missing.extend(missing_toolchain()?),
    }
    missing.extend(
        kernel_problems()
            .into_iter()
            .map(|problem| format!("kernel: {problem}")),
    );
    for name in &missing {
        println!("missing: {name}");
    }
    if missing.is_empty() {
        println!("setup: nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn missing_toolchain() -> Result<Vec<String>> {
    let cache = workspace::cache_dir()?;
    let compilers = compiler::candidates()?;
    if let Some(choice) = discover(&compilers, &cache) {
        report(&choice);
        return Ok(Vec::new());
    }
    if !compilers.iter().any(Compiler::has_source) {
        return Ok(vec![
            "rust-src, the library sources of an installed toolchain".into(),
        ]);
    }
    Ok(vec![
        "bpf-linker that works with an installed toolchain".into(),
    ])
}

/// Systems without systemd mount it only when they are told to.
fn mount_tracefs() -> Result<()> {
    const TRACEFS: &str = "/sys/kernel/tracing";
    if mounts_tracefs(&mounts()) || !Path::new(TRACEFS).exists() {
        return Ok(());
    }
    let mut mount = shell::root_command("mount", "mounting tracefs")?;
    shell::run(mount.args(["-t", "tracefs", "tracefs", TRACEFS]))
}

fn mounts() -> String {
    fs::read_to_string("/proc/mounts").unwrap_or_default()
}

/// What the running kernel lacks; only another kernel or its administrator can change it.
fn kernel_problems() -> Vec<String> {
    let mut problems = Vec::new();
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        problems
            .push("no BTF (/sys/kernel/btf/vmlinux): tracer needs CONFIG_DEBUG_INFO_BTF".into());
    }
    if !mounts_tracefs(&mounts()) {
        problems
            .push("tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing".into());
    }
    problems
}

fn mounts_tracefs(mounts: &str) -> bool {
    mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some("tracefs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracefs_is_found_by_type() {
        assert!(mounts_tracefs(
            "nodev /sys/kernel/tracing tracefs rw,relatime 0 0\n"
        ));
        assert!(!mounts_tracefs(
            "tracefs /sys/kernel/tracing tmpfs rw 0 0\n"
        ));
    }
}
