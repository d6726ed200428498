//! `cargo xtask bench`: what tracing costs.
mod blk_tracer;
mod device;
mod fio;
mod goal;
mod observer;
mod overhead;
mod programs;
mod results;
mod statistics;
mod stream;
mod tracer;

use std::fmt::Display;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use serde_json::Value;

use goal::Goal;

/// The benchmarks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Benchmark {
    /// IOPS and BPF time per request: no tracer, tracer, bpftrace and blktrace, interleaved
    Overhead(overhead::Options),
    /// Throughput of a TCP stream of a guest in the lab: no tracing, tracer and bpftrace, interleaved
    Stream(stream::Options),
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

/// Runs this program again, as root; its exit code is this one's.
fn run_again(sudo: &mut Command) -> Result<ExitCode> {
    let status = sudo.status().context("sudo could not be started")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
