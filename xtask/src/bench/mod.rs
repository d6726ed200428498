//! `cargo xtask bench`: what tracing costs.
mod blk_tracer;
mod device;
mod fio;
mod observer;
mod overhead;
mod programs;
mod results;
mod statistics;
mod tracer;

use std::process::ExitCode;

use anyhow::Result;

/// The benchmarks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Benchmark {
    /// IOPS and BPF time per request: no tracer, tracer, bpftrace and blktrace, interleaved
    Overhead(overhead::Options),
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
    }
}
