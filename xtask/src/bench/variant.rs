//! What is measured: no tracer, tracer, bpftrace, blktrace.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process::output;

/// A way to watch fio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variant {
    /// Nothing watches.
    None,
    /// An empty program on `block_rq_issue`: what the kernel's own timing of programs adds to each run.
    Floor,
    /// `tracer run`, a record a request.
    Spans,
    /// `tracer run`, histograms in the kernel.
    Aggregate,
    /// A script that measures only issue to complete.
    Bpftrace,
    /// blktrace to a file.
    Blktrace,
}

/// The two-point script.
const TWO_POINTS: &str =
    "tracepoint:block:block_rq_issue { @start[args->dev, args->sector] = nsecs; }
tracepoint:block:block_rq_complete /@start[args->dev, args->sector]/ {
  @us = hist((nsecs - @start[args->dev, args->sector]) / 1000);
  delete(@start[args->dev, args->sector]);
}";
const EMPTY: &str = "tracepoint:block:block_rq_issue { }";

impl Variant {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "no tracer",
            Self::Floor => "empty program",
            Self::Spans => "tracer, spans",
            Self::Aggregate => "tracer, aggregate",
            Self::Bpftrace => "bpftrace, two points",
            Self::Blktrace => "blktrace to a file",
        }
    }

    /// Whether it runs BPF programs.
    pub(super) const fn has_bpf(self) -> bool {
        !matches!(self, Self::None | Self::Blktrace)
    }
}

/// What one measurement gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// fio's operations a second.
    pub(super) iops: f64,
    /// fio's operations.
    pub(super) requests: f64,
    /// Run time of the variant's BPF programs, in nanoseconds.
    pub(super) bpf_ns: f64,
    /// Their runs.
    pub(super) bpf_runs: f64,
    /// Records lost.
    pub(super) lost: u64,
    /// Time that attaching took, in nanoseconds.
    pub(super) attach_ns: u64,
    /// Whether the variant saw anything: a kernel may refuse blktrace.
    pub(super) traced: bool,
}

/// Where a measurement runs.
pub(super) struct Place<'a> {
    pub(super) tracer: &'a Path,
    pub(super) device: &'a str,
    pub(super) folder: &'a Path,
    pub(super) seconds: u32,
    pub(super) depth: u32,
    /// Whether the kernel times BPF programs meanwhile.
    pub(super) timed: bool,
}

impl Place<'_> {
    fn fio_args(&self) -> Vec<String> {
        let mut args: Vec<String> = [
            "--name=bench",
            "--rw=randread",
            "--bs=4k",
            "--direct=1",
            "--ioengine=libaio",
            "--time_based",
            "--output-format=json",
        ]
        .map(Into::into)
        .into();
        args.push(format!("--filename={}", self.device));
        args.push(format!("--iodepth={}", self.depth));
        args.push(format!("--runtime={}", self.seconds));
        args
    }

    /// Measures a variant once.
    pub(super) fn measure(&self, variant: Variant) -> anyhow::Result<Sample> {
        match variant {
            Variant::None => self.fio(),
            Variant::Floor => self.bpftrace(EMPTY),
            Variant::Bpftrace => self.bpftrace(TWO_POINTS),
            Variant::Blktrace => self.blktrace(),
            Variant::Spans => self.tracer("spans"),
            Variant::Aggregate => self.tracer("aggregate"),
        }
    }

    fn fio(&self) -> anyhow::Result<Sample> {
        sample(&output(Command::new("fio").args(self.fio_args()))?)
    }

    fn bpftrace(&self, script: &str) -> anyhow::Result<Sample> {
        let before = programs()?;
        let watcher = Watcher(
            Command::new("bpftrace")
                .args(["-e", script])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .context("cannot run bpftrace; `cargo xtask setup` installs it")?,
        );
        // It prints one line when it has attached; its programs are there then.
        wait_for_programs(&before)?;
        let mut sample = self.fio()?;
        add_cost(&mut sample, &before)?;
        drop(watcher);
        Ok(sample)
    }

    fn blktrace(&self) -> anyhow::Result<Sample> {
        if !Path::new("/sys/kernel/debug/block").exists() {
            let _ = Command::new("mount")
                .args(["-t", "debugfs", "debugfs", "/sys/kernel/debug"])
                .status();
        }
        let watcher = Command::new("blktrace")
            .args(["-d", self.device, "-o", "trace"])
            .current_dir(self.folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run blktrace; `cargo xtask setup` installs it")?;
        let mut watcher = Watcher(watcher);
        thread::sleep(Duration::from_secs(1));
        let mut sample = self.fio()?;
        watcher.interrupt();
        sample.traced =
            fs::metadata(self.folder.join("trace.blktrace.0")).is_ok_and(|file| file.len() != 0);
        let stdout = watcher.0.stdout.take().context("blktrace has no output")?;
        let lost = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.contains("dropped")
                    .then(|| line.split_whitespace().find_map(|word| word.parse().ok()))?
            });
        sample.lost = lost.unwrap_or(0);
        Ok(sample)
    }

    fn tracer(&self, mode: &str) -> anyhow::Result<Sample> {
        let run = self.folder.join("run");
        let _ = fs::remove_dir_all(&run);
        let scenario = self.folder.join("scenario.toml");
        let args = serde_json::to_string(&self.fio_args())?;
        let device = self.device;
        fs::write(
            &scenario,
            format!(
                "schema = 1\nname = \"overhead\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"command\"\nprogram = \"fio\"\nargs = {args}\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"disk/native\"]\ndevices = [\"{device}\"]\nmode = \"{mode}\"\nmeasure_cost = {}\n",
                self.timed
            ),
        )?;
        let text = output(
            Command::new(self.tracer)
                .args(["run", "--json", "--out"])
                .arg(&run)
                .arg(&scenario),
        )?;
        let report: Value = serde_json::from_str(&text).context("tracer's report is no JSON")?;
        let mut sample = sample(
            report["iterations"][0]["output"]
                .as_str()
                .unwrap_or_default(),
        )?;
        let domain = &report["domains"][0];
        sample.bpf_ns = domain["cost"]["bpf_run_ns"].as_f64().unwrap_or(0.0);
        sample.bpf_runs = domain["cost"]["bpf_runs"].as_f64().unwrap_or(0.0);
        sample.attach_ns = domain["cost"]["attach_ns"].as_u64().unwrap_or(0);
        sample.lost = ["ring_full", "slots_full"]
            .iter()
            .map(|name| domain["counters"][name].as_u64().unwrap_or(0))
            .sum();
        Ok(sample)
    }
}

/// A program that is interrupted when this goes.
struct Watcher(Child);

impl Watcher {
    fn interrupt(&mut self) {
        let _ = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        let _ = self.0.wait();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            self.interrupt();
        }
    }
}

/// fio's figures.
fn sample(json: &str) -> anyhow::Result<Sample> {
    let start = json.find('{').context("fio printed no JSON")?;
    let report: Value = serde_json::from_str(&json[start..]).context("fio's report is no JSON")?;
    let read = &report["jobs"][0]["read"];
    let iops = read["iops"].as_f64().context("fio's report has no iops")?;
    let requests = read["total_ios"]
        .as_f64()
        .context("fio's report has no total_ios")?;
    Ok(Sample {
        iops,
        requests,
        ..Sample::default()
    })
}

/// Run time and runs by program id.
fn programs() -> anyhow::Result<Vec<(u64, f64, f64)>> {
    let list: Value = serde_json::from_str(&output(
        Command::new("bpftool").args(["-j", "prog", "show"]),
    )?)?;
    let list = list.as_array().context("bpftool's list is none")?;
    Ok(list
        .iter()
        .filter_map(|program| {
            let figure = |name: &str| program[name].as_f64().unwrap_or(0.0);
            Some((
                program["id"].as_u64()?,
                figure("run_time_ns"),
                figure("run_cnt"),
            ))
        })
        .collect())
}

fn wait_for_programs(before: &[(u64, f64, f64)]) -> anyhow::Result<()> {
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(100));
        if programs()?.len() > before.len() {
            // The rest of its programs.
            thread::sleep(Duration::from_millis(500));
            return Ok(());
        }
    }
    bail!("bpftrace attached nothing within 10 s")
}

/// Adds the cost of the programs that came since.
fn add_cost(sample: &mut Sample, before: &[(u64, f64, f64)]) -> anyhow::Result<()> {
    for (id, ns, runs) in programs()? {
        if !before.iter().any(|other| other.0 == id) {
            sample.bpf_ns += ns;
            sample.bpf_runs += runs;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fio_is_read_behind_its_warnings() {
        let text = "note: something\n{\"jobs\":[{\"read\":{\"iops\":1000.5,\"total_ios\":3000}}]}";
        let sample = sample(text).unwrap();
        assert!((sample.iops - 1000.5).abs() < 1e-9);
        assert!((sample.requests - 3000.0).abs() < 1e-9);
        assert!(super::sample("nothing").is_err());
    }
}
