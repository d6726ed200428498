//! Commands inside the lab. A job is a folder in what Dom0 shares with this machine: `command`, and then
//! `pid`, `stdout`, `stderr` and at last `status`. A line on a virtio-serial port announces it; those of
//! guests Dom0 passes on.
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{instance, place, watch};
use crate::signal;

const POLL: Duration = Duration::from_millis(20);
/// A domain under an emulated CPU starts a job within this time.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long an ended job may take to say so: a tracer first puts back what it changed, and writes what it has.
const END_LIMIT: Duration = Duration::from_secs(90);

/// The pipes of the port, as QEMU names them after [`PIPE`]; it opens both ways of each.
pub(super) const PIPE: &str = "jobs";
const PIPE_IN: &str = "jobs.in";
const PIPE_OUT: &str = "jobs.out";

/// Makes the port's pipes in a lab's folder.
pub(super) fn make_pipes(folder: &Path) -> Result<()> {
    for name in [PIPE_IN, PIPE_OUT] {
        let path = folder.join(name);
        let text = CString::new(path.as_os_str().as_bytes()).context("a path with a zero byte")?;
        // SAFETY: the path is a string that ends with a zero byte.
        if unsafe { libc::mkfifo(text.as_ptr(), 0o600) } != 0 {
            return Err(io::Error::last_os_error())
                .with_context(|| format!("{} could not be made", path.display()));
        }
    }
    Ok(())
}

/// Writes a line to the port of the lab in this folder. One this short is written whole, whoever else writes.
pub(super) fn announce(folder: &Path, line: &str) -> Result<()> {
    let pipe = folder.join(PIPE_IN);
    // Without a QEMU that reads, opening fails rather than waits.
    let mut port = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe)
        .with_context(|| format!("{}: the lab does not run", pipe.display()))?;
    port.write_all(format!("{line}\n").as_bytes())
        .context("the lab's port took no line")
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What a job printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Printed {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Where a job's output goes.
pub(super) trait Outputs {
    /// More of the standard output.
    fn stdout(&mut self, bytes: &[u8]);
    /// More of the standard error.
    fn stderr(&mut self, bytes: &[u8]);
}

/// To this program's own output.
pub(super) struct PassOn;

impl Outputs for PassOn {
    fn stdout(&mut self, bytes: &[u8]) {
        let mut out = std::io::stdout();
        // A reader that went away does not end the job.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    fn stderr(&mut self, bytes: &[u8]) {
        let _ = std::io::stderr().write_all(bytes);
    }
}

impl Outputs for Printed {
    fn stdout(&mut self, bytes: &[u8]) {
        self.stdout.push_str(&String::from_utf8_lossy(bytes));
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.stderr.push_str(&String::from_utf8_lossy(bytes));
    }
}

/// A domain that runs commands: `dom0`, `native` or a guest.
#[derive(Clone, Debug)]
pub(super) struct Domain {
    /// The lab's folder.
    folder: PathBuf,
    name: String,
}

impl Domain {
    pub(super) fn of(folder: &Path, name: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Runs a script and returns what it printed.
    ///
    /// # Errors
    /// Beside failures to run it at all: a status other than 0.
    pub(super) fn output(&self, script: &str, limit: Duration) -> Result<String> {
        let mut printed = Printed::default();
        let status = self.run(script, Some(limit), &mut printed)?;
        if status != 0 {
            bail!(
                "`{script}` failed in {} with status {status}: {}",
                self.name,
                printed.stderr.trim_end()
            );
        }
        Ok(printed.stdout)
    }

    /// Runs a script and passes on what it prints, while it does; returns its status. A Ctrl-C here ends
    /// the job there.
    pub(super) fn run(
        &self,
        script: &str,
        limit: Option<Duration>,
        outputs: &mut dyn Outputs,
    ) -> Result<i32> {
        let id = format!(
            "{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let job = Job {
            domain: self,
            folder: self.folder.join("share/jobs").join(&id),
            id,
        };
        place::create(&job.folder)?;
        place::write(&job.folder.join("domain"), &self.name)?;
        place::write(&job.folder.join("command"), script)?;
        let ended = job.start().and_then(|()| job.follow(limit, outputs));
        if ended.is_err() {
            job.end();
        }
        // Its folder goes with the lab at the latest.
        let _ = fs::remove_dir_all(&job.folder);
        ended
    }
}

/// A file that grows.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    at: u64,
}

impl Tail {
    pub(super) const fn of(path: PathBuf) -> Self {
        Self { path, at: 0 }
    }

    /// What was added since it was last asked.
    pub(super) fn more(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Not there yet: nothing to show.
        if let Ok(mut file) = File::open(&self.path)
            && file.seek(SeekFrom::Start(self.at)).is_ok()
            && let Ok(read) = file.read_to_end(&mut bytes)
        {
            self.at += read as u64;
        }
        bytes
    }
}

struct Job<'a> {
    domain: &'a Domain,
    folder: PathBuf,
    id: String,
}

impl Job<'_> {
    /// Announces the job; done once it has begun.
    fn start(&self) -> Result<()> {
        let start = Instant::now();
        self.announce("run")?;
        while !self.has("pid") && !self.has("status") {
            self.require_lab()?;
            if start.elapsed() > START_LIMIT {
                bail!(
                    "{} did not start a command within {START_LIMIT:?}",
                    self.domain.name
                );
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn announce(&self, verb: &str) -> Result<()> {
        let line = format!("{verb} {} {}", self.domain.name, self.id);
        announce(&self.domain.folder, &line)
    }

    fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    fn follow(&self, limit: Option<Duration>, outputs: &mut dyn Outputs) -> Result<i32> {
        let start = Instant::now();
        let [mut stdout, mut stderr] =
            ["stdout", "stderr"].map(|name| Tail::of(self.folder.join(name)));
        loop {
            let status = fs::read_to_string(self.folder.join("status")).ok();
            outputs.stdout(&stdout.more());
            outputs.stderr(&stderr.more());
            if let Some(status) = status.as_deref().map(str::trim)
                && !status.is_empty()
            {
                return status.parse().context("a job without a status");
            }
            self.require_lab()?;
            if limit.is_some_and(|limit| start.elapsed() > limit) {
                bail!(
                    "a command in {} did not end within {:?}",
                    self.domain.name,
                    limit.unwrap_or_default()
                );
            }
            thread::sleep(POLL);
        }
    }

    fn require_lab(&self) -> Result<()> {
        signal::check()?;
        if instance::qemu(&self.domain.folder).is_none() {
            bail!(
                "the lab's QEMU has ended: {}",
                watch::last_words(&self.domain.folder)
            );
        }
        Ok(())
    }

    /// Ends the job's whole session there, if it still runs.
    fn end(&self) {
        if self.has("status") || instance::qemu(&self.domain.folder).is_none() {
            return;
        }
        if self.announce("end").is_err() {
            return;
        }
        let start = Instant::now();
        while !self.has("status") && start.elapsed() < END_LIMIT {
            thread::sleep(POLL);
        }
    }
}
