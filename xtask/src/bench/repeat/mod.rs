//! `cargo xtask bench repeat`: one kernel booted again and again, each boot with a run on an idle host and one on a
//! busy one.
mod busy;
mod figures;
mod results;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Prepared;
use super::kept::Kept;
use crate::lab::{self, Session};
use crate::{signal, workspace};
use busy::Busy;
use figures::Figures;
use results::Results;

/// Options of `cargo xtask bench repeat`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    made: lab::Made,
    /// The scenario file
    #[arg(default_value = "scenarios/disk-vbd.toml")]
    scenario: PathBuf,
    /// Boots; each has a run on an idle host, and one on a busy one
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..))]
    boots: u32,
    /// The folder of the runs, `runs/bench-repeat-N` otherwise; those that it has are not made again
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a figure of a busy host differs
    #[arg(long)]
    strict: bool,
    /// A static tracer that is built already
    #[arg(long)]
    tracer: Option<PathBuf>,
    /// Further arguments for `tracer run`, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// What else the host does during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// Nothing that this benchmark knows of.
    Idle,
    /// A loop on each of its CPUs, all of which the emulator has to share.
    Busy,
}

impl Host {
    const ALL: [Self; 2] = [Self::Idle, Self::Busy];

    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
        }
    }
}

/// Builds the tracer, becomes root if need be, and measures.
pub(super) fn command(mut options: Options) -> Result<ExitCode> {
    let tracer = match super::prepared(&mut options.tracer)? {
        Prepared::Here(tracer) => tracer,
        Prepared::ByRoot(code) => return Ok(code),
    };
    let out = options.out.clone();
    let out = out.unwrap_or_else(|| workspace::new_run("bench-repeat"));
    let kept = Kept::open(out, &settings(&options)?)?;
    let bench = Bench {
        options: &options,
        tracer: &tracer,
        kept: &kept,
    };
    let results = bench.boots().and_then(|()| bench.results());
    // Also what came of a benchmark that was interrupted.
    Session::give_to_user(kept.folder())?;
    super::conclude(&results?, options.json, options.strict)
}

/// What runs must have in common to be held against each other.
fn settings(options: &Options) -> Result<Value> {
    let scenario = &options.scenario;
    let text = std::fs::read_to_string(scenario)
        .with_context(|| format!("cannot read {}", scenario.display()))?;
    let lab = format!("{:?}", options.made);
    Ok(json!({"lab": lab, "scenario": text, "args": options.args}))
}

struct Bench<'a> {
    options: &'a Options,
    tracer: &'a Path,
    kept: &'a Kept,
}

/// A run's name.
fn run(boot: u32, host: Host) -> String {
    format!("{}-{boot}", host.name())
}

impl Bench<'_> {
    /// All boots that are still missing.
    fn boots(&self) -> Result<()> {
        let start = Instant::now();
        let boots = self.options.boots;
        let mut to_do = Vec::new();
        for boot in 1..=boots {
            let missing = self.missing(boot)?;
            to_do.extend((!missing.is_empty()).then_some((boot, missing)));
        }
        for (done, (boot, hosts)) in to_do.iter().enumerate() {
            let rest = lab::left(start.elapsed(), done, to_do.len());
            eprintln!("bench: boot {boot} of {boots}{rest}");
            self.boot(*boot, hosts)
                .with_context(|| format!("boot {boot}"))?;
            signal::check()?;
        }
        Ok(())
    }

    /// The runs that a boot has still to make.
    fn missing(&self, boot: u32) -> Result<Vec<Host>> {
        let mut missing = Vec::new();
        for host in Host::ALL {
            let sample = self.kept.sample::<Figures>(&run(boot, host))?;
            missing.extend(sample.is_none().then_some(host));
        }
        Ok(missing)
    }

    /// A boot, its runs, and its end.
    fn boot(&self, boot: u32, hosts: &[Host]) -> Result<()> {
        let session = Session::boot(&self.options.made, self.tracer)?;
        let done = hosts.iter().try_for_each(|host| {
            eprintln!("bench: boot {boot}: {} host", host.name());
            self.run(&session, &run(boot, *host), *host)
        });
        session.down()?;
        done
    }

    fn run(&self, session: &Session, name: &str, host: Host) -> Result<()> {
        self.kept.forget(name)?;
        let busy = (host == Host::Busy).then(Busy::start);
        let run = self.kept.run(name);
        let report = session.report(&self.options.scenario, &self.options.args, &run)?;
        drop(busy);
        self.kept.keep(name, &Figures::of(&report)?)
    }

    fn results(&self) -> Result<Results> {
        let mut results = Results::default();
        let mut runs: [Vec<PathBuf>; 2] = Default::default();
        for boot in 1..=self.options.boots {
            for (host, runs) in Host::ALL.into_iter().zip(&mut runs) {
                let name = run(boot, host);
                if let Some(figures) = self.kept.sample(&name)? {
                    results.add(host, figures);
                    runs.push(self.kept.run(&name));
                }
            }
        }
        let [idle, busy] = &runs;
        results.check(self.tracer, self.kept.folder(), idle, busy)?;
        Ok(results)
    }
}
