//! `cargo xtask bench overhead`: what tracing costs a fast device.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use crate::{
    bench::variant::{Place, Sample, Variant},
    build,
    process::{is_root, output, run as run_command, say},
};

/// The variants, in the order of the table.
const VARIANTS: [Variant; 5] = [
    Variant::None,
    Variant::Spans,
    Variant::Aggregate,
    Variant::Bpftrace,
    Variant::Blktrace,
];

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; each measures every variant once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of fio a measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Requests that fio keeps in flight.
    #[arg(long, default_value_t = 8)]
    depth: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Fail if a goal is missed.
    #[arg(long)]
    strict: bool,
}

/// A loop device over a file in memory; gone when dropped.
struct Disk {
    folder: PathBuf,
    device: String,
}

impl Disk {
    fn new() -> anyhow::Result<Self> {
        let folder = Path::new("/dev/shm").join(format!("tracer-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let file = folder.join("disk");
        let mut disk = Self {
            folder,
            device: String::new(),
        };
        run_command(
            Command::new("dd")
                .args(["if=/dev/urandom", "bs=1M", "count=256", "status=none"])
                .arg(format!("of={}", file.display())),
        )?;
        disk.device = output(
            Command::new("losetup")
                .args(["--find", "--show"])
                .arg(&file),
        )?
        .trim()
        .to_owned();
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.device.is_empty() {
            let _ = Command::new("losetup")
                .args(["--detach", &self.device])
                .status();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The kernel's timing of BPF programs; off again when dropped.
struct Timing;

impl Timing {
    fn on() -> anyhow::Result<Self> {
        fs::write("/proc/sys/kernel/bpf_stats_enabled", "1")
            .context("the kernel does not time BPF programs")?;
        Ok(Self)
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        let _ = fs::write("/proc/sys/kernel/bpf_stats_enabled", "0");
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !is_root() {
        bail!("the benchmark must be root: run `sudo -E cargo xtask bench overhead`");
    }
    let tracer = build::release()?;
    let disk = Disk::new()?;
    let place = |timed| Place {
        tracer: &tracer,
        device: &disk.device,
        folder: &disk.folder,
        seconds: options.seconds,
        depth: options.depth,
        timed,
    };
    let mut rounds: Vec<Vec<Sample>> = Vec::new();
    for round in 0..options.rounds.max(1) {
        say(&format!("round {} of {}", round + 1, options.rounds.max(1)));
        // Every variant once a round, each round beginning with another one, so that a drift of the
        // machine does not fall on one variant alone.
        let mut samples = vec![Sample::default(); VARIANTS.len()];
        for step in 0..VARIANTS.len() {
            let index = (step + round) % VARIANTS.len();
            samples[index] = place(false).measure(VARIANTS[index])?;
        }
        rounds.push(samples);
    }
    say("timing the BPF programs, apart: it costs time itself");
    let timing = Timing::on()?;
    let floor = place(true).measure(Variant::Floor)?;
    let timed: Vec<Sample> = VARIANTS
        .iter()
        .map(|variant| {
            if variant.has_bpf() {
                place(true).measure(*variant)
            } else {
                Ok(Sample::default())
            }
        })
        .collect::<anyhow::Result<_>>()?;
    drop(timing);
    let floor_ns = floor.bpf_ns / floor.bpf_runs.max(1.0);
    report(options, &rounds, &timed, floor_ns)
}

/// A variant's line of the table.
struct Line {
    variant: Variant,
    iops: f64,
    ratio: f64,
    least: f64,
    most: f64,
    bpf_ns: f64,
    net_ns: f64,
    lost: u64,
    attach_ns: u64,
    traced: bool,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn line(index: usize, rounds: &[Vec<Sample>], timed: &Sample, floor_ns: f64) -> Line {
    let ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round[index].iops / round[0].iops.max(1.0))
        .collect();
    let requests = timed.requests.max(1.0);
    Line {
        variant: VARIANTS[index],
        iops: median(rounds.iter().map(|round| round[index].iops).collect()),
        least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        most: ratios.iter().copied().fold(0.0, f64::max),
        ratio: median(ratios),
        bpf_ns: timed.bpf_ns / requests,
        net_ns: (timed.bpf_ns - timed.bpf_runs * floor_ns) / requests,
        lost: rounds.iter().map(|round| round[index].lost).sum(),
        attach_ns: rounds
            .iter()
            .map(|round| round[index].attach_ns)
            .max()
            .unwrap_or(0),
        traced: rounds.iter().all(|round| round[index].traced),
    }
}

/// The goals: name, whether reached.
fn goals(lines: &[Line]) -> Vec<(String, bool)> {
    let at = |variant: Variant| lines.iter().find(|line| line.variant == variant);
    let (Some(spans), Some(aggregate), Some(bpftrace), Some(blktrace)) = (
        at(Variant::Spans),
        at(Variant::Aggregate),
        at(Variant::Bpftrace),
        at(Variant::Blktrace),
    ) else {
        return Vec::new();
    };
    let cost = |line: &Line| 1.0 - line.ratio;
    let attach_ns = spans.attach_ns.max(aggregate.attach_ns);
    let mut goals = vec![
        (
            "spans: IOPS no lower than with bpftrace's two points".into(),
            spans.ratio >= bpftrace.ratio,
        ),
        (
            "spans: net BPF time no more than bpftrace's two points".into(),
            spans.net_ns <= bpftrace.net_ns,
        ),
        (
            "aggregate: half of bpftrace's net BPF time".into(),
            aggregate.net_ns <= bpftrace.net_ns / 2.0,
        ),
        ("no record lost".into(), spans.lost + aggregate.lost == 0),
        (
            "attached in under a second".into(),
            attach_ns < 1_000_000_000,
        ),
    ];
    if blktrace.traced {
        let third = cost(spans) <= cost(blktrace) / 3.0;
        goals.push(("spans: a third of blktrace's cost in IOPS".into(), third));
    }
    goals
}

#[expect(clippy::print_stdout, reason = "the table is this command's data")]
fn report(
    options: &Options,
    rounds: &[Vec<Sample>],
    timed: &[Sample],
    floor_ns: f64,
) -> anyhow::Result<()> {
    let lines: Vec<Line> = timed
        .iter()
        .enumerate()
        .map(|(index, timed)| line(index, rounds, timed, floor_ns))
        .collect();
    let goals = goals(&lines);
    if options.json {
        let variants: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({"variant": line.variant.name(), "iops": line.iops, "ratio": line.ratio, "ratio_least": line.least, "ratio_most": line.most, "bpf_ns_per_request": line.bpf_ns, "bpf_net_ns_per_request": line.net_ns, "lost": line.lost, "traced": line.traced, "attach_ns": line.attach_ns})
            })
            .collect();
        let goals: Vec<_> = goals
            .iter()
            .map(|(goal, reached)| json!({"goal": goal, "reached": reached}))
            .collect();
        println!(
            "{:#}",
            json!({"schema": "tracer.bench-overhead/1", "floor_ns_per_run": floor_ns, "variants": variants, "goals": goals})
        );
    } else {
        println!(
            "fio 4 KiB random reads, depth {}, {} s, {} rounds; the kernel's timing itself: {floor_ns:.0} ns a run",
            options.depth,
            options.seconds,
            rounds.len()
        );
        println!(
            "{:<22} {:>10} {:>7} {:>15} {:>12} {:>8} {:>6} {:>8}",
            "variant", "IOPS", "ratio", "(least..most)", "BPF ns/req", "net", "lost", "attach"
        );
        for line in &lines {
            if !line.traced {
                println!(
                    "{:<22} saw nothing: this kernel refuses it",
                    line.variant.name()
                );
                continue;
            }
            println!(
                "{:<22} {:>10.0} {:>7.3} {:>15} {:>12.0} {:>8.0} {:>6} {:>5} ms",
                line.variant.name(),
                line.iops,
                line.ratio,
                format!("{:.3}..{:.3}", line.least, line.most),
                line.bpf_ns,
                line.net_ns,
                line.lost,
                line.attach_ns / 1_000_000
            );
        }
        for (goal, reached) in &goals {
            println!("{} {goal}", if *reached { "reached" } else { "MISSED " });
        }
    }
    if options.strict && goals.iter().any(|(_, reached)| !reached) {
        bail!("a goal was missed");
    }
    Ok(())
}
