//! The load: fio reading 4 KiB blocks at random places.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::shell;

/// How fio is run.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) device: PathBuf,
    pub(super) io_depth: u32,
    pub(super) runtime_s: u32,
}

/// What fio measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Throughput {
    pub(super) iops: f64,
    pub(super) requests: u64,
    /// CPU time of the whole machine meanwhile, in nanoseconds.
    pub(super) cpu_ns: u64,
}

impl Throughput {
    /// CPU time of the whole machine for each request.
    pub(super) fn cpu_ns_per_request(&self) -> f64 {
        self.cpu_ns as f64 / self.requests as f64
    }
}

impl Load {
    /// fio's arguments, with its result written to `result`.
    pub(super) fn arguments(&self, result: &Path) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "--rw=randread",
            "--bs=4k",
            "--ioengine=libaio",
            "--direct=1",
            "--numjobs=1",
            "--time_based",
            "--norandommap",
            "--randrepeat=0",
            "--output-format=json",
            "--exec_prerun=head -n 1 /proc/stat",
            "--exec_postrun=head -n 1 /proc/stat",
        ]
        .map(str::to_owned)
        .into();
        // What the commands before and after print goes to files that begin with the job's name.
        arguments.push(format!("--name={}", result.display()));
        arguments.push(format!("--filename={}", self.device.display()));
        arguments.push(format!("--iodepth={}", self.io_depth));
        arguments.push(format!("--runtime={}", self.runtime_s));
        arguments.push(format!("--output={}", result.display()));
        arguments
    }

    /// Runs fio alone.
    pub(super) fn run(&self, result: &Path) -> Result<Throughput> {
        shell::output(shell::command("fio").args(self.arguments(result)))?;
        read_result(result)
    }
}

/// Reads the file that fio wrote.
pub(super) fn read_result(file: &Path) -> Result<Throughput> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("fio's result {} could not be read", file.display()))?;
    let mut throughput = parse(&text)
        .with_context(|| format!("fio's result {} is not as expected", file.display()))?;
    let [before, after] = ["prerun", "postrun"].map(|when| busy_ticks(file, when));
    // SAFETY: sysconf takes a plain number and touches no memory of this process.
    let ticks_a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let tick_ns = 1_000_000_000 / u64::try_from(ticks_a_second).unwrap_or(100).max(1);
    throughput.cpu_ns = after?.saturating_sub(before?) * tick_ns;
    Ok(throughput)
}

fn busy_ticks(result: &Path, when: &str) -> Result<u64> {
    let file = PathBuf::from(format!("{}.{when}.txt", result.display()));
    let text = fs::read_to_string(&file)
        .with_context(|| format!("{} could not be read", file.display()))?;
    parse_busy(&text).with_context(|| format!("{} is no line of /proc/stat", file.display()))
}

/// Ticks that all CPUs were not idle, nor taken by the hypervisor: the first line of `/proc/stat`
/// (proc_stat(5)).
fn parse_busy(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    if words.next()? != "cpu" {
        return None;
    }
    let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks.as_slice() else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

#[derive(Deserialize)]
struct Output {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i32,
    read: Direction,
}

#[derive(Deserialize)]
struct Direction {
    iops: f64,
    total_ios: u64,
}

fn parse(text: &str) -> Result<Throughput> {
    // fio puts notes in front of the JSON.
    let start = text.find('{').context("there is no JSON in it")?;
    let output: Output = serde_json::from_str(&text[start..])?;
    let [job] = output.jobs.as_slice() else {
        bail!("it has {} jobs, not one", output.jobs.len());
    };
    if job.error != 0 || job.read.total_ios == 0 {
        bail!("fio read nothing, or failed with error {}", job.error);
    }
    Ok(Throughput {
        iops: job.read.iops,
        requests: job.read.total_ios,
        cpu_ns: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = r#"fio: a note
        {"fio version": "fio-3.33", "jobs": [{"jobname": "overhead", "error": 0,
         "read": {"io_bytes": 4096, "iops": 123456.5, "total_ios": 370000, "clat_ns": {}}}]}"#;

    #[test]
    fn iops_and_requests_are_read_behind_a_note() {
        let throughput = parse(RESULT).unwrap();
        assert_eq!(
            throughput,
            Throughput {
                iops: 123_456.5,
                requests: 370_000,
                cpu_ns: 0
            }
        );
    }

    #[test]
    fn busy_time_leaves_out_idle_and_stolen() {
        assert_eq!(parse_busy("cpu  10 1 20 1000 50 3 4 9999 0 0"), Some(38));
        assert_eq!(parse_busy("cpu0 10 1 20 1000 50 3 4"), None);
        assert_eq!(parse_busy("cpu 10 1"), None);
    }

    #[test]
    fn failed_job_is_an_error() {
        assert!(parse(&RESULT.replace("\"error\": 0", "\"error\": 5")).is_err());
        assert!(parse(&RESULT.replace("370000", "0")).is_err());
        assert!(parse("fio: no such device").is_err());
    }
}
