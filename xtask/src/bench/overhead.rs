//! `cargo xtask bench overhead`: the same load without a tracer and with each, interleaved.
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::blk_tracer::{self, BlkTracer};
use super::device::{DebugFs, LoopDevice, Scratch};
use super::fio::{Load, Throughput};
use super::observer::{self, Observer};
use super::programs::{self, BpfCost, StatsSwitch};
use super::results::Results;
use super::{statistics, tracer};
use crate::{cargo, shell, signal};

/// Options of `cargo xtask bench overhead`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each runs every variant once, in random order
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each fio run
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    runtime: u32,
    /// Requests in flight
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    iodepth: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    strict: bool,
    /// A tracer that is built already
    #[arg(long)]
    tracer: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let (rounds, runtime, iodepth) = (12, 2, 8);
        Self {
            rounds,
            runtime,
            iodepth,
            json: false,
            strict: false,
            tracer: None,
        }
    }
}

/// BPF time varies less than IOPS does.
const BPF_ROUNDS: u32 = 5;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Variant {
    None,
    TracerSpans,
    TracerAggregate,
    Bpftrace,
    Blktrace,
    /// An empty BPF program: what the kernel's timing itself adds.
    Floor,
}

impl Variant {
    /// What is measured by fio's IOPS.
    const FOR_IOPS: [Self; 5] = [
        Self::None,
        Self::TracerSpans,
        Self::TracerAggregate,
        Self::Bpftrace,
        Self::Blktrace,
    ];

    /// What has BPF programs to time.
    const FOR_BPF: [Self; 4] = [
        Self::Floor,
        Self::TracerSpans,
        Self::TracerAggregate,
        Self::Bpftrace,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TracerSpans => "tracer spans",
            Self::TracerAggregate => "tracer aggregate",
            Self::Bpftrace => "bpftrace 2 points",
            Self::Blktrace => "blktrace",
            Self::Floor => "empty program",
        }
    }
}

/// One fio run under one variant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) throughput: Throughput,
    /// Requests or events that the tool says it had and lost.
    pub(super) lost: Option<u64>,
    /// Requests that the kernel did not show to the tool's BPF programs.
    pub(super) unseen: Option<u64>,
    /// From its start until the tool observes.
    pub(super) attach_ms: Option<f64>,
    /// In the second phase only.
    pub(super) bpf: Option<BpfCost>,
}

/// Builds the tracer, becomes root if need be, and measures.
pub(super) fn command(options: &Options) -> Result<ExitCode> {
    let tracer = match &options.tracer {
        Some(tracer) => std::path::absolute(tracer).context("--tracer is not a usable path")?,
        None => cargo::build_tracer(true)?,
    };
    if !shell::is_root() {
        return as_root(options, &tracer);
    }
    require_tools(&tracer)?;
    signal::catch();
    let results = measure_all(options, &tracer)?;
    super::conclude(&results, options.json, options.strict)
}

/// The same command under sudo, with the tracer that this user has built.
fn as_root(options: &Options, tracer: &Path) -> Result<ExitCode> {
    let own = std::env::current_exe().context("this program's own file is unknown")?;
    let mut sudo = shell::root_command(own, "attaching eBPF programs and making a loop device")?;
    sudo.args(["bench", "overhead", "--tracer"]).arg(tracer);
    for (name, value) in [
        ("--rounds", options.rounds),
        ("--runtime", options.runtime),
        ("--iodepth", options.iodepth),
    ] {
        sudo.arg(name).arg(value.to_string());
    }
    sudo.args(options.json.then_some("--json"));
    sudo.args(options.strict.then_some("--strict"));
    Err(sudo.exec()).context("sudo could not be started")
}

fn require_tools(tracer: &Path) -> Result<()> {
    let tools = [
        "fio", "bpftrace", "blktrace", "bpftool", "losetup", "mount", "umount",
    ];
    let missing: Vec<&str> = tools
        .into_iter()
        .filter(|tool| shell::find(tool).is_none())
        .collect();
    if !missing.is_empty() {
        bail!("missing: {}; run `cargo xtask setup`", missing.join(", "));
    }
    if !tracer.is_file() {
        bail!("there is no tracer at {}", tracer.display());
    }
    Ok(())
}

/// What every measurement needs. Fields are put back in order: the device before its folder.
struct Bench<'a> {
    tracer: &'a Path,
    load: Load,
    stats: StatsSwitch,
    _debugfs: DebugFs,
    /// Else the kernel's blk tracer stands in.
    blktrace_works: bool,
    device: LoopDevice,
    scratch: Scratch,
}

fn measure_all(options: &Options, tracer: &Path) -> Result<Results> {
    let stats = StatsSwitch::off()?;
    let debugfs = DebugFs::ensure()?;
    let scratch = Scratch::mount()?;
    let device = LoopDevice::create(scratch.folder())?;
    let load = Load {
        device: device.path().to_owned(),
        io_depth: options.iodepth,
        runtime_s: options.runtime,
    };
    let blktrace_works = blk_tracer::blktrace_works(device.path(), &scratch.fresh("trial")?);
    let bench = Bench {
        tracer,
        load,
        stats,
        _debugfs: debugfs,
        blktrace_works,
        device,
        scratch,
    };
    let mut results = Results::new(&bench.load, bench.device.is_direct(), blktrace_works);
    // The first run warms up the device and the CPU; it does not count.
    bench.measure(Variant::None, false)?;
    for round in 1..=options.rounds {
        for variant in statistics::shuffled(&Variant::FOR_IOPS) {
            eprintln!("round {round}/{}: {}", options.rounds, variant.name());
            results.add_iops(round, variant, bench.measure(variant, false)?);
        }
    }
    bench.stats.set(true)?;
    let rounds = options.rounds.min(BPF_ROUNDS);
    for round in 1..=rounds {
        for variant in statistics::shuffled(&Variant::FOR_BPF) {
            eprintln!("BPF time {round}/{rounds}: {}", variant.name());
            results.add_bpf(variant, bench.measure(variant, true)?);
        }
    }
    Ok(results)
}

impl Bench<'_> {
    fn measure(&self, variant: Variant, timed: bool) -> Result<Sample> {
        signal::check()?;
        let folder = self.scratch.fresh("sample")?;
        let sample = match variant {
            Variant::None => {
                let throughput = self.load.run(&folder.join("fio.json"))?;
                Ok(Sample {
                    throughput,
                    lost: None,
                    unseen: None,
                    attach_ms: None,
                    bpf: None,
                })
            }
            Variant::TracerSpans => self.with_tracer("spans", &folder, timed),
            Variant::TracerAggregate => self.with_tracer("aggregate", &folder, timed),
            Variant::Bpftrace => self.observed(&folder, timed, Observer::two_points),
            Variant::Floor => self.observed(&folder, timed, Observer::empty),
            Variant::Blktrace => self.with_blktrace(&folder, timed),
        };
        signal::check()?;
        let sample = sample.with_context(|| format!("variant `{}`", variant.name()))?;
        observer::empty_folder(&folder)?;
        Ok(sample)
    }

    fn with_tracer(&self, mode: &str, folder: &Path, timed: bool) -> Result<Sample> {
        tracer::measure(self.tracer, mode, &self.load, folder, timed)
    }

    fn with_blktrace(&self, folder: &Path, timed: bool) -> Result<Sample> {
        let device = self.device.path();
        if self.blktrace_works {
            return self.observed(folder, timed, || Observer::blktrace(device, folder));
        }
        let tracer = BlkTracer::start(device, folder)?;
        let attach_ms = Some(tracer.attach_ms);
        let throughput = self.load.run(&folder.join("fio.json"))?;
        Ok(Sample {
            throughput,
            lost: Some(tracer.stop()?),
            unseen: None,
            attach_ms,
            bpf: None,
        })
    }

    /// fio with another tool around it.
    fn observed(
        &self,
        folder: &Path,
        timed: bool,
        start: impl FnOnce() -> Result<Observer>,
    ) -> Result<Sample> {
        let before = if timed {
            programs::loaded()?
        } else {
            Vec::new()
        };
        let observer = start()?;
        let attach_ms = observer.attach_ms;
        let throughput = self.load.run(&folder.join("fio.json"))?;
        let bpf = if timed {
            Some(programs::cost_since(
                &before,
                &programs::loaded()?,
                "bpftrace",
            ))
        } else {
            None
        };
        let printed = observer.finish()?;
        let unseen = printed
            .counted()
            .map(|seen| throughput.requests.saturating_sub(seen));
        Ok(Sample {
            throughput,
            lost: Some(printed.lost()),
            unseen,
            attach_ms: Some(attach_ms),
            bpf,
        })
    }
}
