//! The other tools: bpftrace and blktrace, started before fio and stopped after it.
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::device::DebugFs;
use crate::{shell, signal};

/// Issue to completion only: the least that a block latency tool does.
const TWO_POINTS: &str = r#"BEGIN { printf("ready\n"); }
tracepoint:block:block_rq_issue { @start[args->dev, args->sector] = nsecs; }
tracepoint:block:block_rq_complete /@start[args->dev, args->sector]/ {
    @ns = hist(nsecs - @start[args->dev, args->sector]);
    delete(@start[args->dev, args->sector]);
}
END { clear(@start); }"#;

/// A program that does nothing: what the kernel's own timing adds to each run.
const EMPTY: &str = r#"BEGIN { printf("ready\n"); } tracepoint:block:block_rq_issue {}"#;

/// Starting and stopping may not take longer.
const LIMIT: Duration = Duration::from_secs(30);

/// A running tool; ended when dropped.
#[derive(Debug)]
pub(super) struct Observer {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    /// From the start of the program until it observes.
    pub(super) attach_ms: f64,
}

impl Observer {
    /// Starts the bpftrace script of issue and completion.
    pub(super) fn two_points() -> Result<Self> {
        Self::bpftrace(TWO_POINTS)
    }

    /// Starts the bpftrace script that does nothing.
    pub(super) fn empty() -> Result<Self> {
        Self::bpftrace(EMPTY)
    }

    fn bpftrace(script: &str) -> Result<Self> {
        let mut command = shell::command("bpftrace");
        command.args(["-B", "line", "-e", script]);
        let mut observer = Self::spawn(&mut command)?;
        let start = Instant::now();
        let stdout = observer.stdout.as_mut().context("bpftrace has no output")?;
        // BEGIN runs when everything is attached.
        for line in stdout.lines() {
            if line.context("bpftrace's output could not be read")? == "ready" {
                observer.attach_ms = start.elapsed().as_secs_f64() * 1e3;
                return Ok(observer);
            }
        }
        bail!(
            "bpftrace ended before it attached: {}",
            observer.stop()?.stderr
        )
    }

    /// Starts blktrace, writing to `folder`.
    pub(super) fn blktrace(device: &Path, folder: &Path) -> Result<Self> {
        let mut command = shell::command("blktrace");
        command
            .arg("-d")
            .arg(device)
            .arg("-D")
            .arg(folder)
            .args(["-o", "trace"]);
        let mut observer = Self::spawn(&mut command)?;
        let start = Instant::now();
        let name = device.file_name().context("the loop device has no name")?;
        let counter: PathBuf = Path::new(DebugFs::FOLDER)
            .join("block")
            .join(name)
            .join("dropped");
        while !counter.exists() {
            if start.elapsed() > LIMIT || observer.child.try_wait()?.is_some() {
                bail!("blktrace did not start: {}", observer.stop()?.stderr);
            }
            thread::sleep(Duration::from_millis(2));
        }
        observer.attach_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(observer)
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{}` could not be started", shell::describe(command)))?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self {
            child,
            stdout,
            attach_ms: 0.0,
        })
    }

    /// Ends the tool; an error if it had ended before, as it then has not observed everything.
    pub(super) fn finish(mut self) -> Result<Printed> {
        let ended = self.child.try_wait().context("a tool's state is unknown")?;
        let printed = self.stop()?;
        match ended {
            Some(status) => bail!(
                "it ended too early ({status}): {}",
                printed.stderr.trim_end()
            ),
            None => Ok(printed),
        }
    }

    /// Asks the tool to end and returns what it printed.
    fn stop(mut self) -> Result<Printed> {
        signal::send(self.child.id(), libc::SIGINT);
        let mut printed = Printed::default();
        if let Some(mut stdout) = self.stdout.take() {
            stdout
                .read_to_string(&mut printed.stdout)
                .context("a tool's output is unreadable")?;
        }
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr
                .read_to_string(&mut printed.stderr)
                .context("a tool's errors are unreadable")?;
        }
        if shell::wait_within(&mut self.child, LIMIT)?.is_none() {
            bail!("a tool did not end within {} s", LIMIT.as_secs());
        }
        Ok(printed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // After `stop` the child has ended and both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a tool printed until it ended.
#[derive(Debug, Default)]
pub(super) struct Printed {
    stdout: String,
    stderr: String,
}

impl Printed {
    /// Of a tool that ran elsewhere.
    pub(super) fn of(stdout: String) -> Self {
        Self {
            stdout,
            stderr: String::new(),
        }
    }

    /// Events that the tool says it lost: bpftrace's `Lost N events`, blktrace's `(dropped N)`.
    pub(super) fn lost(&self) -> u64 {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        lines
            .map(|line| number_after(line, "Lost ") + dropped(line))
            .sum()
    }

    /// Requests in bpftrace's histograms, if it printed one.
    pub(super) fn counted(&self) -> Option<u64> {
        self.stdout.lines().filter_map(bucket).reduce(|a, b| a + b)
    }
}

/// The count in a line of a bpftrace histogram, such as `[2K, 4K)   1234 |@@@   |`.
fn bucket(line: &str) -> Option<u64> {
    let (range, rest) = line.split_once(')')?;
    if !range.starts_with('[') {
        return None;
    }
    rest.split_once('|')?.0.trim().parse().ok()
}

/// blktrace prints the sum of all CPUs as `Total: N events (dropped M), ...`.
fn dropped(line: &str) -> u64 {
    if line.trim_start().starts_with("Total:") {
        number_after(line, "(dropped ")
    } else {
        0
    }
}

fn number_after(line: &str, mark: &str) -> u64 {
    line.split_once(mark)
        .and_then(|(_, rest)| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

/// Removes what blktrace wrote; it fills memory.
pub(super) fn empty_folder(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("{} is left behind", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_both_tools_are_counted() {
        let blktrace = Printed {
            stdout: "=== loop0 ===\n  CPU  0:  10 events,  1 KiB data\n  \
                     Total:  1000 events (dropped 12),  47 KiB data\n"
                .into(),
            stderr: "You have 12 dropped events\n".into(),
        };
        assert_eq!(blktrace.lost(), 12);
        let bpftrace = Printed {
            stdout: "@ns:\n".into(),
            stderr: "Lost 7 events\n".into(),
        };
        assert_eq!(bpftrace.lost(), 7);
        assert_eq!(bpftrace.counted(), None);
    }

    #[test]
    fn requests_in_a_histogram_are_counted() {
        let printed = Printed {
            stdout: "ready\n@ns:\n[4K, 8K)              12 |@@@@      |\n\
                     [8K, 16K)            30 |@@@@@@@@@@|\n"
                .into(),
            stderr: String::new(),
        };
        assert_eq!(printed.counted(), Some(42));
    }
}
