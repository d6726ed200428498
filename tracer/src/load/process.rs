//! A load's process: pinned, in its namespace, gone when its parent is.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use nix::{
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    sys::{prctl, signal::Signal},
    unistd::Pid,
};

use crate::load::{LoadResult, LoadSpec};

/// How long a load may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// Whether this load was told to stop.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Whether this load was told to stop.
pub(crate) fn stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

/// A line on standard output: the load runs, from now on.
pub(crate) fn say_ready() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush().context("the agent is gone")
}

/// Takes this process to where the load shall run, and watches for the word to stop: the end of
/// standard input.
pub(crate) fn enter(spec: &LoadSpec) -> anyhow::Result<()> {
    // Before anything else, so that no load outlives a killed agent.
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie the load to its parent")?;
    if let Some(name) = &spec.namespace {
        let path = Path::new("/run/netns").join(name);
        let namespace = File::open(&path).with_context(|| {
            format!("there is no network namespace {name} ({})", path.display())
        })?;
        setns(namespace, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter the network namespace {name}; run as root"))?;
    }
    pin(&spec.cpus)?;
    thread::Builder::new().name("stop".into()).spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        STOPPED.store(true, Ordering::Relaxed);
    })?;
    Ok(())
}

/// Binds the calling thread to some CPUs; none: leaves it as it is.
pub(crate) fn pin(cpus: &[u32]) -> anyhow::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu as usize)
            .with_context(|| format!("there is no CPU {cpu}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("cannot run on the CPUs {cpus:?}; are they online?"))
}

/// A load that runs in a child process. Dropping it kills the child.
#[derive(Debug)]
pub struct RunningLoad {
    child: Child,
    stdin: Option<ChildStdin>,
    result: Receiver<anyhow::Result<String>>,
    errors: Receiver<String>,
}

/// Starts a load as a child of `exe` (this program) and waits until it runs.
///
/// # Errors
/// If it cannot be started.
pub fn spawn(exe: &Path, spec: &LoadSpec) -> anyhow::Result<RunningLoad> {
    let mut child = Command::new(exe)
        .arg("load")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {} load", exe.display()))?;
    let mut stdin = child.stdin.take().context("the load has no input")?;
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    stdin.write_all(&line).context("the load ended at once")?;
    let stdout = child.stdout.take().context("the load has no output")?;
    let mut stderr = child
        .stderr
        .take()
        .context("the load has no error output")?;
    let (ready_sender, ready) = mpsc::channel();
    let (result_sender, result) = mpsc::channel();
    let (errors_sender, errors) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        let _ = errors_sender.send(text);
    });
    thread::spawn(move || read_output(stdout, &ready_sender, &result_sender));
    let mut load = RunningLoad {
        child,
        stdin: Some(stdin),
        result,
        errors,
    };
    match ready.recv_timeout(Duration::from_secs(30)) {
        Ok(()) => Ok(load),
        Err(_) => Err(load.failure()),
    }
}

fn read_output(
    stdout: ChildStdout,
    ready: &mpsc::Sender<()>,
    result: &mpsc::Sender<anyhow::Result<String>>,
) {
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    if reader.read_line(&mut line).is_ok() && line.trim() == "ready" && ready.send(()).is_ok() {
        let mut text = String::new();
        let outcome = reader.read_to_string(&mut text).map(|_| text);
        let _ = result.send(outcome.map_err(Into::into));
    }
}

impl RunningLoad {
    /// Waits for the load's own end, at most so long; `None` if it still runs then.
    ///
    /// # Errors
    /// If it failed.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<Option<LoadResult>> {
        let text = match self.result.recv_timeout(limit) {
            Ok(text) => text?,
            Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(self.failure()),
        };
        if text.trim().is_empty() {
            return Err(self.failure());
        }
        let _ = self.child.wait();
        serde_json::from_str(&text)
            .map(Some)
            .context("the load's result cannot be read")
    }

    /// Tells the load to stop and waits for its result.
    ///
    /// # Errors
    /// If it failed, or does not stop: then it is killed.
    pub fn stop(&mut self) -> anyhow::Result<LoadResult> {
        drop(self.stdin.take());
        match self.wait(STOP)? {
            Some(result) => Ok(result),
            None => {
                let _ = self.child.kill();
                bail!("the load did not stop within {STOP:?} and was killed")
            }
        }
    }

    /// What the load said before it failed.
    fn failure(&mut self) -> anyhow::Error {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let text = self
            .errors
            .recv_timeout(Duration::from_secs(1))
            .unwrap_or_default();
        match text.trim() {
            "" => anyhow!("the load was killed or ended without a result"),
            text => anyhow!("{}", text.strip_prefix("tracer: ").unwrap_or(text)),
        }
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
