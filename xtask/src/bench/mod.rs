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
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::lab::{self, Session};
use crate::{shell, signal, workspace};
use goal::Goal;
use kept::Kept;

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
        Benchmark::Stream(options) => stream::command(&options),
        Benchmark::Repeat(options) => repeat::command(&options),
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

/// What the benchmarks in the lab are told.
#[derive(Clone, Debug, clap::Args)]
struct InLab {
    #[command(flatten)]
    made: lab::Made,
    /// The folder of the runs, `runs/bench-NAME-N` otherwise; those that it has are not made again
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    strict: bool,
    /// A static tracer that is built already
    #[arg(long)]
    tracer: Option<PathBuf>,
}

impl InLab {
    /// Installs what the lab needs, builds a tracer for it unless there is one, becomes root if need be, and measures
    /// into the folder of a benchmark of this name. Runs there are only held against each other if they have `settings`
    /// in common, and what the lab is made of.
    fn measure<F: Findings>(
        &self,
        name: &str,
        mut settings: Value,
        measure: impl FnOnce(&Path, &Kept) -> Result<F>,
    ) -> Result<ExitCode> {
        let mut tracer = self.tracer.clone();
        lab::prepare_session(&mut tracer)?;
        if !shell::is_root() {
            return lab::again_as_root(tracer.as_ref());
        }
        let tracer = tracer.unwrap_or_default();
        if !tracer.is_file() {
            bail!("there is no tracer at {}", tracer.display());
        }
        signal::catch();
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| workspace::new_run(&format!("bench-{name}")));
        settings["made_of"] = Session::made_of(&self.made, &tracer)?;
        let kept = Kept::open(out, &settings)?;
        let found = measure(&tracer, &kept);
        // Also what came of a benchmark that was interrupted.
        Session::give_to_user(kept.folder())?;
        let found = found.with_context(|| {
            format!(
                "the runs that are done stay in {0}; the same command with --out {0} goes on from there",
                kept.folder().display()
            )
        })?;
        conclude(&found, self.json, self.strict)
    }
}
