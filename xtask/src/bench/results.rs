//! What the samples say: one line a variant, and the goals.
use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::Findings;
use super::fio::{Load, Throughput};
use super::goal::{Goal, cell, ratio_cell};
use super::overhead::{Sample, Variant};
use super::statistics::{median, range, spread};

/// All samples.
#[derive(Debug)]
pub(super) struct Results {
    io_depth: u32,
    runtime_s: u32,
    /// Whether the loop device reads its file with direct I/O.
    direct_loop: bool,
    /// Whether blktrace itself ran, or the kernel's blk tracer in its place.
    blktrace_works: bool,
    iops: BTreeMap<Variant, Vec<(u32, Sample)>>,
    bpf: BTreeMap<Variant, Vec<Sample>>,
}

/// One variant's figures; a figure that does not apply is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    variant: Variant,
    iops_median: Option<f64>,
    /// Of the same round without a tracer: median, smallest, largest.
    iops_ratio: Option<[f64; 3]>,
    /// CPU time of the whole machine that each request takes more than in the same round without a
    /// tracer: median over the rounds.
    added_cpu_ns_per_request: Option<f64>,
    bpf_ns_per_request: Option<f64>,
    /// Without what the kernel's timing adds to each run.
    bpf_net_ns_per_request: Option<f64>,
    lost: Option<u64>,
    /// Requests that the kernel did not show to the BPF programs, of a million.
    unseen_ppm: Option<f64>,
    attach_ms_max: Option<f64>,
}

impl Results {
    pub(super) fn new(load: &Load, direct_loop: bool, blktrace_works: bool) -> Self {
        Self {
            io_depth: load.io_depth,
            runtime_s: load.runtime_s,
            direct_loop,
            blktrace_works,
            iops: BTreeMap::new(),
            bpf: BTreeMap::new(),
        }
    }

    pub(super) fn add_iops(&mut self, round: u32, variant: Variant, sample: Sample) {
        self.iops.entry(variant).or_default().push((round, sample));
    }

    pub(super) fn add_bpf(&mut self, variant: Variant, sample: Sample) {
        self.bpf.entry(variant).or_default().push(sample);
    }

    /// What an empty program costs a run, in nanoseconds: the measurement's own floor.
    fn floor_ns_per_run(&self) -> Option<f64> {
        let samples = self.bpf.get(&Variant::Floor)?;
        let costs = samples
            .iter()
            .filter_map(|sample| sample.bpf)
            .filter(|cost| cost.runs > 0);
        let costs: Vec<f64> = costs
            .map(|cost| cost.run_ns as f64 / cost.runs as f64)
            .collect();
        median(&costs)
    }

    /// BPF time per request less `floor` for each run.
    fn bpf_ns(&self, variant: Variant, floor: f64) -> Option<f64> {
        let costs: Vec<f64> = self
            .bpf
            .get(&variant)?
            .iter()
            .filter_map(|sample| {
                // Programs that never ran have not been measured.
                let cost = sample.bpf.filter(|cost| cost.runs > 0)?;
                let net = cost.run_ns as f64 - cost.runs as f64 * floor;
                Some(net / sample.throughput.requests as f64)
            })
            .collect();
        median(&costs)
    }

    /// Each sample's throughput beside that of the same round without a tracer.
    fn pairs(&self, variant: Variant) -> Vec<(Throughput, Throughput)> {
        let none: BTreeMap<u32, Throughput> = self
            .iops
            .get(&Variant::None)
            .into_iter()
            .flatten()
            .map(|(round, sample)| (*round, sample.throughput))
            .collect();
        let samples = self.iops.get(&variant).into_iter().flatten();
        samples
            .filter_map(|(round, sample)| Some((sample.throughput, *none.get(round)?)))
            .collect()
    }

    fn line(&self, variant: Variant) -> Line {
        let pairs = self.pairs(variant);
        let iops: Vec<f64> = pairs.iter().map(|(sample, _)| sample.iops).collect();
        let ratios: Vec<f64> = pairs
            .iter()
            .map(|(sample, none)| sample.iops / none.iops)
            .collect();
        let added: Vec<f64> = pairs
            .iter()
            .map(|(sample, none)| sample.cpu_ns_per_request() - none.cpu_ns_per_request())
            .collect();
        let iops_samples = self
            .iops
            .get(&variant)
            .into_iter()
            .flatten()
            .map(|(_, sample)| sample);
        let bpf_samples = self.bpf.get(&variant).into_iter().flatten();
        let samples: Vec<&Sample> = iops_samples.chain(bpf_samples).collect();
        let losses: Vec<u64> = samples.iter().filter_map(|sample| sample.lost).collect();
        let unseen: Vec<(u64, u64)> = samples
            .iter()
            .filter_map(|sample| Some((sample.unseen?, sample.throughput.requests)))
            .collect();
        let unseen = unseen
            .into_iter()
            .reduce(|a, b| (a.0 + b.0, a.1 + b.1))
            .map(|(unseen, all)| unseen as f64 / all as f64 * 1e6);
        let attach: Vec<f64> = samples
            .iter()
            .filter_map(|sample| sample.attach_ms)
            .collect();
        let floor = self.floor_ns_per_run();
        Line {
            variant,
            iops_median: median(&iops),
            iops_ratio: spread(&ratios),
            added_cpu_ns_per_request: median(&added),
            bpf_ns_per_request: self.bpf_ns(variant, 0.0),
            bpf_net_ns_per_request: floor.and_then(|floor| self.bpf_ns(variant, floor)),
            lost: (!losses.is_empty()).then(|| losses.iter().sum()),
            unseen_ppm: unseen,
            attach_ms_max: range(&attach).map(|(_, max)| max),
        }
    }

    fn lines(&self) -> Vec<Line> {
        let variants: Vec<Variant> = self.iops.keys().chain(self.bpf.keys()).copied().collect();
        let mut lines: Vec<Line> = Vec::new();
        for variant in variants {
            if !lines.iter().any(|line| line.variant == variant) {
                lines.push(self.line(variant));
            }
        }
        lines
    }
}

impl Findings for Results {
    fn goals(&self) -> Vec<Goal> {
        let [spans, aggregate] =
            [Variant::TracerSpans, Variant::TracerAggregate].map(|v| self.line(v));
        let [bpftrace, blktrace] = [Variant::Bpftrace, Variant::Blktrace].map(|v| self.line(v));
        let part = |value: Option<f64>, divisor: f64| value.map(|value| value / divisor);
        let lost = spans.lost.zip(aggregate.lost).map(|(a, b)| (a + b) as f64);
        let attach = spans
            .attach_ms_max
            .zip(aggregate.attach_ms_max)
            .map(|(a, b)| a.max(b));
        vec![
            Goal {
                text: "spans: net BPF ns per request, at most bpftrace's".into(),
                decimals: 0,
                value: spans.bpf_net_ns_per_request,
                limit: bpftrace.bpf_net_ns_per_request,
            },
            Goal {
                text: "spans: added CPU ns per request, at most a third of blktrace's".into(),
                decimals: 0,
                value: spans.added_cpu_ns_per_request,
                limit: part(blktrace.added_cpu_ns_per_request, 3.0),
            },
            Goal {
                text: "aggregate: net BPF ns per request, at most half of bpftrace's".into(),
                decimals: 0,
                value: aggregate.bpf_net_ns_per_request,
                limit: part(bpftrace.bpf_net_ns_per_request, 2.0),
            },
            Goal {
                text: "lost records, none".into(),
                decimals: 0,
                value: lost,
                limit: Some(0.0),
            },
            Goal {
                text: "attach time in ms, at most a second".into(),
                decimals: 0,
                value: attach,
                limit: Some(1000.0),
            },
        ]
    }

    fn to_json(&self) -> Result<Value> {
        let goals: Vec<Value> = self.goals().iter().map(Goal::to_json).collect();
        let lines = serde_json::to_value(self.lines()).context("the results are not JSON")?;
        Ok(json!({
            "schema": "tracer.bench.overhead/1",
            "io_depth": self.io_depth,
            "runtime_s": self.runtime_s,
            "loop_direct_io": self.direct_loop,
            "blktrace_is_blk_tracer": !self.blktrace_works,
            "floor_ns_per_run": self.floor_ns_per_run(),
            "variants": lines,
            "goals": goals,
        }))
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direct = if self.direct_loop { "with" } else { "without" };
        let (depth, runtime) = (self.io_depth, self.runtime_s);
        writeln!(
            f,
            "fio: 4 KiB random reads, depth {depth}, {runtime} s a run;"
        )?;
        writeln!(f, "loop device {direct} direct I/O over a file in tmpfs\n")?;
        writeln!(
            f,
            "{:<18} {:>8} {:>23} {:>9} {:>8} {:>8} {:>6} {:>7} {:>9}",
            "variant",
            "IOPS",
            "ratio (min..max)",
            "added CPU",
            "BPF ns",
            "net ns",
            "lost",
            "unseen",
            "attach ms"
        )?;
        for line in self.lines() {
            let ratio = ratio_cell(line.iops_ratio);
            let lost = line
                .lost
                .map_or_else(|| "-".into(), |lost| lost.to_string());
            writeln!(
                f,
                "{:<18} {:>8} {ratio:>23} {:>9} {:>8} {:>8} {lost:>6} {:>7} {:>9}",
                line.variant.name(),
                cell(line.iops_median, 0),
                cell(line.added_cpu_ns_per_request, 0),
                cell(line.bpf_ns_per_request, 0),
                cell(line.bpf_net_ns_per_request, 0),
                cell(line.unseen_ppm, 0),
                cell(line.attach_ms_max, 0),
            )?;
        }
        let floor = cell(self.floor_ns_per_run(), 1);
        writeln!(
            f,
            "\nAdded CPU, BPF and net are ns per request. Added CPU is of the whole machine, the\n\
             tool's own user space included; net is BPF less the measurement's own {floor} ns a\n\
             run. Lost and attach: of all runs. Unseen: of a million requests, those whose events\n\
             the kernel called no BPF program for.\n"
        )?;
        for goal in self.goals() {
            writeln!(f, "{goal}")?;
        }
        Ok(())
    }
}
