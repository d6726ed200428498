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
}

impl Load {
    /// fio's arguments, with its result written to `result`.
    pub(super) fn arguments(&self, result: &Path) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "--name=overhead",
            "--rw=randread",
            "--bs=4k",
            "--ioengine=libaio",
            "--direct=1",
            "--numjobs=1",
            "--time_based",
            "--norandommap",
            "--randrepeat=0",
            "--output-format=json",
        ]
        .map(str::to_owned)
        .into();
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
    parse(&text).with_context(|| format!("fio's result {} is not as expected", file.display()))
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
                requests: 370_000
            }
        );
    }

    #[test]
    fn failed_job_is_an_error() {
        assert!(parse(&RESULT.replace("\"error\": 0", "\"error\": 5")).is_err());
        assert!(parse(&RESULT.replace("370000", "0")).is_err());
        assert!(parse("fio: no such device").is_err());
    }
}
