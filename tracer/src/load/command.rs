//! Runs an external program (fio, dd, netperf) as the workload.

use std::{
    io::{self, Read},
    process::{Command as Process, Stdio},
};

use anyhow::{Context as _, bail};

use crate::load::{Command, LoadResult, now_ns, process};

/// Most bytes kept of what the program prints.
const OUTPUT_BYTES: u64 = 1 << 20;

pub(super) fn run(command: &Command) -> anyhow::Result<LoadResult> {
    let start_ns = now_ns();
    let mut child = Process::new(&command.program)
        .args(&command.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| explain(&command.program, error))?;
    process::say_ready()?;
    let mut stdout = child.stdout.take().context("the program has no output")?;
    let mut output = Vec::new();
    stdout
        .by_ref()
        .take(OUTPUT_BYTES)
        .read_to_end(&mut output)?;
    io::copy(&mut stdout, &mut io::sink())?;
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "{} ended with {status}: {}",
            command.program,
            String::from_utf8_lossy(&output).trim()
        );
    }
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        operations: 1,
        output: Some(String::from_utf8_lossy(&output).into_owned()),
        ..LoadResult::default()
    })
}

fn explain(program: &str, error: io::Error) -> anyhow::Error {
    let advice = match program {
        "fio" | "netperf" | "iperf3" => format!("; on Debian: apt-get install {program}"),
        _ => String::new(),
    };
    anyhow::Error::new(error).context(format!("cannot run {program}{advice}"))
}
