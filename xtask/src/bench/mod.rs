//! Benchmarks: each compares side by side in one run, since machines are shared and only ratios hold.

mod overhead;
mod variant;

use clap::Subcommand;

/// The benchmarks.
#[derive(Subcommand)]
pub(crate) enum What {
    /// What tracing costs: fio's operations a second and BPF time a request, against bpftrace and
    /// blktrace.
    Overhead(overhead::Options),
}

/// Runs a benchmark.
pub(crate) fn bench(what: &What) -> anyhow::Result<()> {
    match what {
        What::Overhead(options) => overhead::run(options),
    }
}
