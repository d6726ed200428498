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

use std::process::ExitCode;

use anyhow::Result;

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
