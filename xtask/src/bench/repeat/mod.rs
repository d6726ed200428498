//! `cargo xtask bench repeat`: one kernel booted again and again, each boot with a run on an idle host and one on a
//! busy one.
mod busy;
mod figures;
mod results;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::InLab;
use super::kept::Kept;
use crate::lab::{self, Session};
use crate::signal;
use busy::Busy;
use figures::Figures;
use results::Results;

/// Options of `cargo xtask bench repeat`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    in_lab: InLab,
    /// The scenario file
    #[arg(default_value = "scenarios/disk-vbd.toml")]
    scenario: PathBuf,
    /// Boots; each has a run on an idle host, and one on a busy one, which is first on every second boot
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..))]
    boots: u32,
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
pub(super) fn command(options: &Options) -> Result<ExitCode> {
    let scenario = &options.scenario;
    let text = std::fs::read_to_string(scenario)
        .with_context(|| format!("cannot read {}", scenario.display()))?;
    let settings = json!({"scenario": text, "args": options.args});
    let measure = |tracer: &Path, kept: &Kept| {
        let bench = Bench {
            options,
            tracer,
            kept,
        };
        bench.boots()?;
        bench.results()
    };
    options.in_lab.measure("repeat", settings, measure)
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
            to_do.extend(self.figures(boot)?.is_none().then_some(boot));
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

    /// What each host's run of a boot says, if it has made both.
    fn figures(&self, boot: u32) -> Result<Option<[Figures; 2]>> {
        let [idle, busy] = Host::ALL.map(|host| self.kept.sample(&run(boot, host)));
        Ok(idle?.zip(busy?).map(|(idle, busy)| [idle, busy]))
    }

    /// A boot, both of its runs, and its end.
    fn boot(&self, boot: u32) -> Result<()> {
        for host in Host::ALL {
            self.kept.forget(&run(boot, host))?;
        }
        Session::for_one_boot(
            &self.options.in_lab.made,
            "repeat",
            self.tracer,
            |session| {
                let mut hosts = Host::order(boot).into_iter();
                hosts.try_for_each(|host| self.run(session, boot, host))
            },
        )
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
        let mut results = Results::new(self.options.in_lab.made.is_virtual());
        let mut runs: [Vec<PathBuf>; 2] = Default::default();
        for boot in 1..=self.options.boots {
            let figures = self.figures(boot)?.into_iter().flatten();
            for ((host, figures), runs) in Host::ALL.into_iter().zip(figures).zip(&mut runs) {
                results.add(host, figures);
                runs.push(self.kept.run(&run(boot, host)));
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
