//! `cargo xtask bench`: what tracing costs, and how far the lab's figures repeat.
mod blk_tracer;
mod device;
mod fio;
mod goal;
mod kept;
mod observer;
mod overhead;
mod programs;
mod repeat;
mod results;
mod statistics;
mod stream;
mod tracer;

use std::fmt::Display;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Error, Result, bail};
use serde_json::Value;

use crate::{lab, shell, signal};
use goal::Goal;

/// The benchmarks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Benchmark {
    /// IOPS and BPF time per request: no tracer, tracer, bpftrace and blktrace, interleaved
    Overhead(overhead::Options),
    /// Throughput of a TCP stream of a guest in the lab: no tracing, tracer and bpftrace, interleaved
    Stream(stream::Options),
    /// How far a scenario's stages repeat from boot to boot of the lab, on an idle host and on a busy one
    Repeat(repeat::Options),
}

impl Default for Benchmark {
    fn default() -> Self {
        Self::Overhead(overhead::Options::default())
    }
}

/// Runs a benchmark.
pub(crate) fn command(benchmark: Benchmark) -> Result<ExitCode> {
    match benchmark {
        Benchmark::Overhead(options) => overhead::command(&options),
        Benchmark::Stream(options) => stream::command(options),
        Benchmark::Repeat(options) => repeat::command(options),
    }
}

/// What a benchmark found.
trait Findings: Display {
    /// The same as its tables, for programs.
    fn to_json(&self) -> Result<Value>;
    fn goals(&self) -> Vec<Goal>;
}

/// Prints what was found, as JSON or as tables; a missed goal is a failure if that is strict.
fn conclude(found: &impl Findings, json: bool, strict: bool) -> Result<ExitCode> {
    if json {
        println!("{:#}", found.to_json()?);
    } else {
        print!("{found}");
    }
    let missed = found.goals().iter().any(|goal| !goal.is_met());
    Ok(if strict && missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Installs what the lab needs, builds a tracer for it unless there is one, and becomes root if need be; returns the
/// tracer.
fn prepare(tracer: &mut Option<PathBuf>) -> Result<PathBuf> {
    let was_built = tracer.is_some();
    lab::prepare_session(tracer)?;
    let tracer = tracer.clone().unwrap_or_default();
    if !shell::is_root() {
        let own = std::env::current_exe().context("this program's own file is unknown")?;
        let mut sudo = shell::root_command(own, "the lab's network and images")?;
        // The benchmark's own options follow its name; others, of the scenario's runs, can follow a `--`.
        sudo.args(std::env::args_os().skip(1).take(2));
        if !was_built {
            sudo.arg("--tracer").arg(tracer);
        }
        sudo.args(std::env::args_os().skip(3));
        return Err(run_again(&mut sudo));
    }
    if !tracer.is_file() {
        bail!("there is no tracer at {}", tracer.display());
    }
    signal::catch();
    Ok(tracer)
}

/// Becomes this program again, as root; returns only if it cannot.
fn run_again(sudo: &mut Command) -> Error {
    Error::from(sudo.exec()).context("sudo could not be started")
}

/// What a benchmark came to, with where its runs are if that is an error.
fn with_folder<T>(done: Result<T>, folder: &Path) -> Result<T> {
    done.with_context(|| {
        format!(
            "the runs that are done stay in {0}; the same command with --out {0} goes on from there",
            folder.display()
        )
    })
}
