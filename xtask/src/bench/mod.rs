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
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
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

/// Who goes on with a benchmark in the lab.
enum Prepared {
    /// This process, which is root, with this tracer.
    Here(PathBuf),
    /// It has been done under sudo, with this exit code.
    ByRoot(ExitCode),
}

/// Installs what the lab needs, builds a tracer for it unless there is one, and becomes root if need be.
fn prepared(tracer: &mut Option<PathBuf>) -> Result<Prepared> {
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
        return run_again(&mut sudo).map(Prepared::ByRoot);
    }
    if !tracer.is_file() {
        bail!("there is no tracer at {}", tracer.display());
    }
    signal::catch();
    Ok(Prepared::Here(tracer))
}

/// Runs this program again, as root; its exit code is this one's.
fn run_again(sudo: &mut Command) -> Result<ExitCode> {
    let status = sudo.status().context("sudo could not be started")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
