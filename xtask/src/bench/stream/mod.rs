//! `cargo xtask bench stream`: a guest's TCP stream in the lab, with no tracing, tracer and bpftrace in turn.
mod bpftrace;
mod results;
mod sample;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use super::kept::Kept;
use super::{InLab, statistics};
use crate::lab::Session;
use crate::{signal, workspace};
use bpftrace::Attached;
use results::Results;
use sample::Sample;

/// Options of `cargo xtask bench stream`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    in_lab: InLab,
    /// Rounds; each runs every variant once, and begins with another one
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Streams of each run, after one that does not count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// Seconds of each stream
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    runtime: u32,
    /// One in how many packets the sampling variant follows
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..))]
    sample: u32,
    /// Only the stream through this card
    #[arg(long)]
    route: Option<Route>,
}

/// The card that a stream passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Route {
    /// The guest's virtual one
    Vif,
    /// The one that is passed through to it
    Passthrough,
}

impl Route {
    const ALL: [Self; 2] = [Self::Vif, Self::Passthrough];

    const fn name(self) -> &'static str {
        match self {
            Self::Vif => "vif",
            Self::Passthrough => "passthrough",
        }
    }

    /// The peer host's end of the wire.
    const fn wire(self) -> &'static str {
        match self {
            Self::Vif => "tap0",
            Self::Passthrough => "tap1",
        }
    }

    /// What changes in its scenario where the stream must not leave the emulated machine: it goes to guest A over Dom0's
    /// bridge, or to Dom0, to whose spare card the passed-through one is wired.
    const fn inside(self) -> &'static str {
        match self {
            Self::Vif => "--profile=guest-to-guest",
            Self::Passthrough => "--set=workload.server=dom0",
        }
    }

    /// Where tracer attaches.
    const fn traced(self, is_virtual: bool) -> &'static [&'static str] {
        match (self, is_virtual) {
            (Self::Vif, true) => &["dom0", "B", "A"],
            _ => &["dom0", "B"],
        }
    }

    fn scenario(self) -> PathBuf {
        let file = format!("scenarios/nic-{}.toml", self.name());
        workspace::root().join(file)
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Variant {
    /// The same scenario with no datapath in any domain: the load alone.
    None,
    Tracer,
    /// One in so many packets.
    TracerSampling,
    Bpftrace,
}

impl Variant {
    const ALL: [Self; 4] = [
        Self::None,
        Self::Tracer,
        Self::TracerSampling,
        Self::Bpftrace,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tracer => "tracer",
            Self::TracerSampling => "tracer-sampling",
            Self::Bpftrace => "bpftrace",
        }
    }
}

/// Builds the tracer, becomes root if need be, and measures.
pub(super) fn command(options: &Options) -> Result<ExitCode> {
    let Options {
        iterations,
        runtime,
        sample,
        ..
    } = options;
    let settings = json!({"iterations": iterations, "runtime_s": runtime, "sample": sample});
    let measure = |tracer: &Path, kept: &Kept| measure_all(options, tracer, kept);
    options.in_lab.measure("stream", settings, measure)
}

struct Bench<'a> {
    options: &'a Options,
    session: Session,
    kept: &'a Kept,
}

fn measure_all(options: &Options, tracer: &Path, kept: &Kept) -> Result<Results> {
    let bench = Bench {
        options,
        session: Session::up(&options.in_lab.made, tracer)?,
        kept,
    };
    let mut results = Results::new(options);
    let routes = Route::ALL.into_iter();
    for route in routes.filter(|route| options.route.is_none_or(|only| only == *route)) {
        for round in 0..options.rounds {
            for variant in statistics::rotated(&Variant::ALL, round) {
                let name = format!("{}-{}-{}", route.name(), round + 1, variant.name());
                let traced = route.traced(options.in_lab.made.is_virtual());
                let changes = changes(variant, options.sample, traced);
                let sample =
                    bench.sample(&name, || bench.measure(route, variant, &changes, &name))?;
                results.add(route, variant, round, sample);
            }
        }
        // Timing the programs slows them down: a run of its own.
        let name = format!("{}-timed", route.name());
        let sample = bench.sample(&name, || bench.run(route, &timed(), &name))?;
        results.add_timed(route, sample);
    }
    Ok(results)
}

impl Bench<'_> {
    /// One that is kept, or a new one.
    fn sample(&self, name: &str, measure: impl FnOnce() -> Result<Sample>) -> Result<Sample> {
        if let Some(sample) = self.kept.sample(name)? {
            return Ok(sample);
        }
        signal::check()?;
        eprintln!("bench: {name}");
        self.kept.forget(name)?;
        let sample = measure().with_context(|| format!("the run {name}"))?;
        self.kept.keep(name, &sample)?;
        Ok(sample)
    }

    fn measure(
        &self,
        route: Route,
        variant: Variant,
        changes: &[String],
        name: &str,
    ) -> Result<Sample> {
        if variant != Variant::Bpftrace {
            return self.run(route, changes, name);
        }
        let is_virtual = self.options.in_lab.made.is_virtual();
        let attached = Attached::start(&self.session, route, is_virtual)?;
        let sample = self.run(route, changes, name)?;
        attached.finish()?;
        Ok(sample)
    }

    fn run(&self, route: Route, changes: &[String], name: &str) -> Result<Sample> {
        let Options {
            iterations,
            runtime,
            ..
        } = self.options;
        let mut args = vec![
            format!("--iterations={iterations}"),
            format!("--set=workload.duration={runtime}s"),
        ];
        args.extend_from_slice(changes);
        let run = self.kept.run(name);
        if self.options.in_lab.made.is_virtual() {
            args.push(route.inside().to_owned());
            let report = self.session.report(&route.scenario(), &args, &run)?;
            return Sample::of(&report, None);
        }
        let meter = self.session.meter(route.wire())?;
        let report = self.session.report(&route.scenario(), &args, &run)?;
        Sample::of(&report, Some(meter.bits_per_cpu_second()?))
    }
}

/// How a variant changes the scenario.
fn changes(variant: Variant, sample: u32, traced: &[&str]) -> Vec<String> {
    let mut changes = vec!["--set=probes.measure_cost=false".to_owned()];
    match variant {
        Variant::Tracer => {}
        Variant::TracerSampling => changes.push(format!("--set=probes.sample={sample}")),
        Variant::None | Variant::Bpftrace => {
            let off = |domain| format!("--set=domain.{domain}.datapaths=[]");
            changes.extend(traced.iter().map(off));
        }
    }
    changes
}

/// As [`Variant::Tracer`], with the kernel's account of each program.
fn timed() -> Vec<String> {
    vec!["--set=probes.measure_cost=true".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpftrace_watches_the_load_of_no_tracing() {
        let [none, bpftrace] =
            [Variant::None, Variant::Bpftrace].map(|v| changes(v, 16, &["dom0", "A"]));
        assert_eq!(none, bpftrace);
        assert!(none.contains(&"--set=domain.A.datapaths=[]".to_owned()));
    }

    #[test]
    fn only_the_sampling_variant_leaves_packets_out() {
        let sampled = |variant| {
            let changes = changes(variant, 16, &["B"]);
            changes.contains(&"--set=probes.sample=16".to_owned())
        };
        assert!(sampled(Variant::TracerSampling));
        assert!(!sampled(Variant::Tracer) && !sampled(Variant::None));
    }

    #[test]
    fn each_route_has_its_scenario() {
        assert!(Route::ALL.iter().all(|route| route.scenario().is_file()));
    }
}
