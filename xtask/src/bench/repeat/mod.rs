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
    /// Boots; each has a run on an idle host, and one on a busy one, which is first on every second boot
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
    /// Arguments for `tracer run`, after `--`
    #[arg(last = true, default_value = "--profile=check")]
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

    /// Each is first on every second boot, so that neither always has the younger one.
    const fn order(boot: u32) -> [Self; 2] {
        if boot % 2 == 1 {
            [Self::Idle, Self::Busy]
        } else {
            [Self::Busy, Self::Idle]
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
        }
    }
}

/// Builds the tracer, becomes root if need be, and measures.
pub(super) fn command(mut options: Options) -> Result<ExitCode> {
    let tracer = super::prepare(&mut options.tracer)?;
    let out = options.out.clone();
    let out = out.unwrap_or_else(|| workspace::new_run("bench-repeat"));
    let kept = Kept::open(out, &settings(&options, &tracer)?)?;
    let bench = Bench {
        options: &options,
        tracer: &tracer,
        kept: &kept,
    };
    let results = bench.boots().and_then(|()| bench.results());
    // Also what came of a benchmark that was interrupted.
    Session::give_to_user(kept.folder())?;
    let results = super::with_folder(results, kept.folder())?;
    super::conclude(&results, options.json, options.strict)
}

/// What runs must have in common to be held against each other.
fn settings(options: &Options, tracer: &Path) -> Result<Value> {
    let scenario = &options.scenario;
    let text = std::fs::read_to_string(scenario)
        .with_context(|| format!("cannot read {}", scenario.display()))?;
    let made_of = Session::made_of(&options.made, tracer)?;
    Ok(json!({"made_of": made_of, "scenario": text, "args": options.args}))
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
    /// All boots that are still missing. One that does not go well keeps the others from nothing, a Ctrl-C does.
    fn boots(&self) -> Result<()> {
        let start = Instant::now();
        let mut to_do = Vec::new();
        for boot in 1..=self.options.boots {
            to_do.extend((!self.is_done(boot)?).then_some(boot));
        }
        for (done, boot) in to_do.iter().enumerate() {
            let rest = lab::left(start.elapsed(), done, to_do.len());
            eprintln!("bench: boot {} of {}{rest}", done + 1, to_do.len());
            if let Err(error) = self.boot(*boot) {
                eprintln!("bench: boot {boot} failed: {error:#}");
            }
            signal::check()?;
        }
        Ok(())
    }

    /// Whether a boot has made both of its runs.
    fn is_done(&self, boot: u32) -> Result<bool> {
        for host in Host::ALL {
            if self.kept.sample::<Figures>(&run(boot, host))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A boot, both of its runs, and its end.
    fn boot(&self, boot: u32) -> Result<()> {
        for host in Host::ALL {
            self.kept.forget(&run(boot, host))?;
        }
        Session::for_one_boot(&self.options.made, "repeat", self.tracer, |session| {
            let mut hosts = Host::order(boot).into_iter();
            hosts.try_for_each(|host| self.run(session, boot, host))
        })
    }

    fn run(&self, session: &Session, boot: u32, host: Host) -> Result<()> {
        eprintln!("bench: boot {boot}, {} host", host.name());
        let busy = (host == Host::Busy).then(Busy::start);
        let (name, options) = (run(boot, host), self.options);
        let folder = self.kept.run(&name);
        let report = session.comparable(&options.scenario, &options.args, &folder)?;
        drop(busy);
        self.kept.keep(&name, &Figures::of(&report)?)
    }

    /// What the boots say that have made both runs.
    fn results(&self) -> Result<Results> {
        let mut results = Results::new(self.options.made.is_virtual());
        let mut runs: [Vec<PathBuf>; 2] = Default::default();
        for boot in 1..=self.options.boots {
            if !self.is_done(boot)? {
                continue;
            }
            for (host, runs) in Host::ALL.into_iter().zip(&mut runs) {
                let name = run(boot, host);
                if let Some(figures) = self.kept.sample(&name)? {
                    results.add(host, figures);
                    runs.push(self.kept.run(&name));
                }
            }
        }
        let [idle, busy] = &runs;
        if let Err(error) = results.check(self.tracer, self.kept.folder(), idle, busy) {
            // The tables stand without it.
            eprintln!("bench: {error:#}");
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_first_on_every_second_boot() {
        let first = [1, 2, 3, 4].map(|boot| Host::order(boot)[0]);
        assert_eq!(first, [Host::Idle, Host::Busy, Host::Idle, Host::Busy]);
        let both = Host::order(2);
        assert_eq!(both, [Host::Busy, Host::Idle]);
    }
}
